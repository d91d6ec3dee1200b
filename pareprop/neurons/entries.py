"""Check tables, names, numbers and words in definitions of neuron models and learning rules."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import ClassVar, TypeVar

from ..errors import InputError, quote
from ..values import AnyValue, Given, Values
from .language import NAME, check_name, suggest_nearest

WORDS = 5000  # characters of a description
TEXT = 100_000  # characters of all expressions of a definition
MOST = 200  # definitions in a table
Made = TypeVar("Made")


def check_table(here: str, value: object, most: int) -> Values:
    """Return a table of names, empty if there is none; `here`: definition and key, for messages."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{here} = {quote(value)} must be a table of names")
    if len(value) > most:
        raise InputError(f"{here} has {len(value)} entries, at most {most}")
    return dict(value)


def check_names(here: str, value: object, most: int) -> tuple[str, ...]:
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
    if given == "inf" and may_be_infinite:  # JSON has no such number
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


def check_words(here: str, value: object) -> str:
    """Return a description or a source."""
    if not isinstance(value, str) or len(value) > WORDS:
        raise InputError(f"{here} must be text of at most {WORDS} characters")
    if not value.isascii() and value.encode(errors="replace").decode() != value:  # half of a pair, as JSON may hold
        raise InputError(f"{here} = {quote(value)} is no text that a file can hold")
    return value


class Definition:
    """Base of neuron models and learning rules: names, units, tables and digest.

    Attributes
    ----------
    common : dict of str to (float, str)
        Parameters of all definitions.
    most : dict of str to int
        Largest number of entries of each table; tables without an entry here have the limit of "states".
    taken : set of str
        Names with a fixed meaning in equations.
    """

    common: ClassVar[Mapping[str, tuple[float, str]]] = {}
    most: ClassVar[Mapping[str, int]] = {}
    taken: ClassVar[Collection[str]] = ()
    name: str
    here: str

    def _set_common(self, tables: Given, description: object, source: object) -> None:
        """Check and set the attributes of all definitions; `name` and `here` (for messages) are set before."""
        self._given = {
            key: check_table(f"{self.here}: {key}", value, self.most.get(key, self.most["states"]))
            for key, value in tables.items()
        }
        self.parameters, self.states = self._with_units("parameters"), self._with_units("states")
        self.description = check_words(f"{self.here}: description", description)
        self.source = check_words(f"{self.here}: source", source)

    def _describe_key(self, key: str) -> str:
        """Return a key of the definition for messages."""
        return f"{self.here}: {key}"

    def _with_units(self, key: str) -> dict[str, tuple[AnyValue, str]]:
        """Return values and units of parameters or states, by name."""
        return {
            name: with_unit(
                f"{self._describe_key(key)}: {quote(name)}",
                value,
                is_number=key == "parameters",
                may_be_infinite=math.inf in self.common.get(name, ()),
            )
            for name, value in self._given[key].items()
        }

    def _check_own_names(self, names: Mapping[str, Iterable[str]]) -> None:
        """Raise `InputError` unless the names, by key, are allowed in expressions and each has one meaning."""
        owners = dict.fromkeys(self.common, "parameters")
        for key, some in names.items():
            for name in some:
                if isinstance(name, str) and name in self.taken:
                    raise InputError(
                        f"{self._describe_key(key)}: name '{name}' has a meaning in rules already; take another"
                    )
                check_name(name, self._describe_key(key))
                other = owners.setdefault(name, key)
                if other != key:
                    raise InputError(f"{self._describe_key(key)}: the name '{name}' stands in {other} already")

    def _check_length(self, *more: object) -> None:
        """Raise `InputError` if the expressions of all tables and `more` are too long."""
        values = [value for entries in self._given.values() for value in entries.values()]
        texts = [value[0] if isinstance(value, list | tuple) and value else value for value in (*values, *more)]
        if (length := sum(len(text) for text in texts if isinstance(text, str))) > TEXT:
            raise InputError(f"{self.here}: its expressions have {length} characters, must have at most {TEXT}")

    @property
    def defaults(self) -> dict[str, float]:
        """Default of every parameter, common ones included."""
        return {name: value for name, (value, _) in {**self.common, **self.parameters}.items()}

    def _list_forms(self, *keys: str) -> Values:
        """Return tables in the form of TOML and JSON."""
        forms: Values = {key: dict(self._given[key]) for key in keys}
        for key in {"parameters", "states"} & forms.keys():
            pairs = getattr(self, key).items()
            forms[key] = {name: ["inf" if value == math.inf else value, unit] for name, (value, unit) in pairs}
        return forms

    def to_dict(self) -> Values:
        """Return the definition in the form of TOML and JSON, without empty keys."""
        raise NotImplementedError

    def _list_digested(self) -> list[AnyValue]:
        """Return name and equations, without descriptions."""
        words = ("description", "source", "nest")
        return [self.name, {key: value for key, value in self.to_dict().items() if key not in words}]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of name and equations, without parts that kernels do not read."""
        return hashlib.sha256(json.dumps(self._list_digested()).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def without_empty(definition: Given) -> Values:
    """Return a definition without its empty keys."""
    return {key: value for key, value in definition.items() if value not in (None, "", {}, [])}


def make_definition(
    kind: str, keys: Collection[str], made: Callable[..., Made], name: str, given: object, origin: str
) -> Made:
    """Return the result of `made(name, **keys)` for a table; raise `InputError` if the table is wrong.

    `kind` describes the definition in messages, `keys` are the known keys, `given` is the table, and `origin` names its
    place in messages ("" for none).
    """
    here = f"{origin}: " if origin else ""
    if not isinstance(given, Mapping):
        raise InputError(f"{here}{kind} {quote(name)} = {quote(given)} must be a table")
    for key in given:
        if key not in keys:
            raise InputError(f"{here}{kind} {quote(name)}: unknown key {quote(key)}{suggest_nearest(str(key), keys)}")
    try:
        return made(name, **given)
    except InputError as problem:
        raise InputError(f"{here}{problem}") from None


def make_definitions(key: str, made: Callable[[str, object, str], Made], given: object, origin: str) -> dict[str, Made]:
    """Return the results of `made` for each name and table of a table `key`; `origin` is the place, for messages."""
    here = f"{origin}: " if origin else ""
    if not isinstance(given, Mapping):
        raise InputError(f"{here}{key} = {quote(given)} must be a table of names")
    if len(given) > MOST:
        raise InputError(f"{here}{key} has {len(given)} entries, at most {MOST}")
    return {name: made(name, one, origin) for name, one in given.items()}
