"""Exceptions of the package, one type per kind of mistake."""

from __future__ import annotations


class ParepropError(Exception):
    """Base of all errors that pareprop raises on purpose."""


class InputError(ParepropError):
    """Bad input of the user: a parameter, a key, a file. Exit code 2."""


class StateError(ParepropError):
    """A run that cannot go on: numbers that are not finite, a disk that is full. Exit code 3."""


class RankLost(Exception):
    """Another rank ended, so this one can't go on, nor agree with others on how to end. Exit code 3.

    Parameters
    ----------
    message : str
    speaks : bool
        Whether this rank tells the user.
    """

    def __init__(self, message: str, speaks: bool) -> None:
        super().__init__(message)
        self.speaks = speaks
