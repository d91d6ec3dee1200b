"""Exceptions of the package, one type per kind of error."""

from __future__ import annotations


class ParepropError(Exception):
    """Base of all errors that pareprop raises on purpose."""


class InputError(ParepropError):
    """Invalid input: a parameter, a key, a file. Exit code 2."""


class StateError(ParepropError):
    """A run that cannot continue: numbers that are not finite, a full disk. Exit code 3."""
