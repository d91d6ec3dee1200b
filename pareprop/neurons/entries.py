"""Check tables, names, numbers and words in definitions of neuron models and learning rules."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import InputError, quote
from ..values import AnyValue, Values
from .language import NAME

WORDS = 5000  # characters of a description


def table(here: str, value: object, most: int) -> Values:
    """Return a table of names, empty if there is none; `here`: definition and key, for messages."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{here} = {quote(value)} must be a table of names")
    if len(value) > most:
        raise InputError(f"{here} has {len(value)} entries, at most {most}")
    return dict(value)


def names(here: str, value: object, most: int) -> tuple[str, ...]:
    """Return the names of a list, each once, or one name."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or len(items) > most:
        raise InputError(f"{here} = {quote(value)} must be a list of at most {most} names")
    for k, item in enumerate(items):
        if not isinstance(item, str):
            raise InputError(f"{here}: {quote(item)} must be a name")
        if item in items[:k]:
            raise InputError(f"{here} names {quote(item)} twice")
    return tuple(items)


def with_unit(here: str, value: object, *, is_number: bool, may_be_infinite: bool = False) -> tuple[AnyValue, str]:
    """Return value and unit of a parameter, which must be a number, or of a state, which may be an expression."""
    pair = tuple(value) if isinstance(value, list | tuple) else (value, "1")
    if len(pair) != 2 or not isinstance(pair[1], str) or not 0 < len(pair[1]) <= NAME or not pair[1].isprintable():
        raise InputError(f'{here} = {quote(value)} must be a value and a unit, such as [10.0, "ms"]')
    given, unit = pair
    if given == "inf" and may_be_infinite:  # which JSON cannot write as a number
        given = math.inf
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            given = float(given)
        except OverflowError:
            raise InputError(f"{here} = {quote(given)} is too large") from None
        if math.isnan(given) or (math.isinf(given) and not may_be_infinite):
            raise InputError(f"{here} = {given} must be finite")
    elif is_number:
        raise InputError(f"{here} = {quote(given)} must be a number, with a unit")
    return given, unit


def words(here: str, value: object) -> str:
    """Return a description or a source."""
    if not isinstance(value, str) or len(value) > WORDS:
        raise InputError(f"{here} must be text of at most {WORDS} characters")
    if not value.isascii() and value.encode(errors="replace").decode() != value:  # half of a pair, as JSON may hold
        raise InputError(f"{here} = {quote(value)} is no text that a file can hold")
    return value
