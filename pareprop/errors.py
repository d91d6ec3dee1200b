"""Exceptions of the package, one type per kind of error."""

from __future__ import annotations


class ParepropError(Exception):
    """Base of all errors that pareprop raises on purpose."""


class InputError(ParepropError):
    """Invalid input: a parameter, a key, a file. Exit code 2."""


class StateError(ParepropError):
    """A run that cannot continue: numbers that are not finite, a full disk. Exit code 3."""


class NotFiniteError(StateError):
    """Numbers that are not finite: a setting is at fault, not the machine. Exit code 3."""


class ParepropWarning(UserWarning):
    """A notice of a run: a warning, given once."""


class RankLost(Exception):
    """A rank ended, or cannot continue within a communication interval, so that ranks cannot end together. Exit code 3.

    `message` is the text for the user; `speaks`: this rank prints it.
    """

    def __init__(self, message: str, speaks: bool) -> None:
        super().__init__(message)
        self.speaks = speaks


MESSAGE_LIMIT, VALUE_LIMIT = 2000, 100  # longer messages, and values in them, in characters, are shortened


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `text`, or its beginning and end if it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    half = (limit - 30) // 2
    return f"{text[:half]} ... ({len(text)} characters) ... {text[-half:]}"


def quote(value: object, limit: int = VALUE_LIMIT) -> str:
    """Return a value for a message, as Python writes it, on one line and shortened."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1000:
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        text = f"a nested {type(value).__name__}"
    return shorten(" ".join(text.splitlines()), limit)


def escape_unprintable(text: str) -> str:
    """Return a text with escapes for control characters (except newlines and tabs), and for text that UTF-8 cannot
    encode.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    """Return the escape of a character, as in Python, JSON and TOML."""
    return f"\\u{ord(char):04x}" if ord(char) < 2**16 else f"\\U{ord(char):08x}"


def describe(problem: BaseException) -> str:
    """Return an exception of a foreign package on one line: type and text, shortened."""
    try:
        text = " ".join(str(problem).split())
    except Exception:
        text = "without a text"
    return f"{type(problem).__name__}: {shorten(text, 300) or 'without a text'}"
