"""Exceptions of the package, one type per kind of mistake."""

from __future__ import annotations


class ParepropError(Exception):
    """Base of all errors that pareprop raises on purpose."""


class InputError(ParepropError):
    """Bad input of the user: a parameter, a key, a file. Exit code 2."""


class StateError(ParepropError):
    """A run that cannot go on: numbers that are not finite, a disk that is full. Exit code 3."""
