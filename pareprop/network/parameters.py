"""Base of checked descriptions, distributions of values, and the messages of their checks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)  # fmt: skip

from .. import files
from ..errors import VALUE_LIMIT, InputError, quote, shorten

FLOAT_MAX = float(np.finfo(float).max)
PROBLEMS = 100  # reported at once
T = TypeVar("T", bound=BaseModel)


class _Checked(type(BaseModel)):  # type: ignore[misc]
    """Lets a class that is called with bad values raise `InputError`, as all functions of the package do."""

    def __call__(cls, *arguments: Any, **values: Any) -> Any:
        try:
            return super().__call__(*arguments, **values)
        except ValidationError as problem:
            raise InputError(_explain_all(cls, problem, cls.__name__)) from None


class Frozen(BaseModel, metaclass=_Checked):
    """Base of all checked descriptions: immutable, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` and "5" for numbers, which pydantic would convert."""
        _require_kind(value, _base_types(cls.model_fields[info.field_name].annotation))
        return value


class Text(str):
    """Text of the command line, where numbers are text as well."""


def value_of(text: str) -> Any:
    """Parse the value of a setting "key=value" as TOML; return what is not TOML as text."""
    try:
        table = files.parse_toml(f"value = {text}")
    except ValueError:
        return Text(text)
    return table["value"] if len(table) == 1 else Text(text)  # a line break ends the value


@cache
def _base_types(annotation: Any) -> frozenset[Any]:
    if get_origin(annotation) is Literal:
        return frozenset(map(type, get_args(annotation)))
    inner = get_args(annotation)
    return frozenset().union(*map(_base_types, inner)) if inner else frozenset([annotation])


def _require_kind(value: Any, kinds: frozenset[Any]) -> None:
    if kinds == {bool} and not isinstance(value, bool | np.bool_ | Text) and not (is_whole(value) and value in (0, 1)):
        raise ValueError("must be true or false")
    if kinds.isdisjoint((int, float)) or Any in kinds:
        return
    if isinstance(value, list | tuple):
        for item in value:
            _require_kind(item, kinds)
    elif isinstance(value, np.ndarray):
        _require_kind(value.dtype.type(), kinds)
    elif isinstance(value, bool | np.bool_) and bool not in kinds:
        raise ValueError("must be a number, not true or false")
    elif isinstance(value, str | bytes) and not isinstance(value, Text) and kinds.isdisjoint((str, Path)):
        raise ValueError("must be a number, not text")
    elif isinstance(value, complex):
        raise ValueError("must be a real number")


class Constant(Frozen):
    """The same value for all."""

    kind: Literal["constant"] = "constant"
    value: float


class Normal(Frozen):
    """Normally distributed with mean `mean` and standard deviation `std`."""

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    std: float = Field(ge=0)


class Uniform(Frozen):
    """Uniformly distributed in [low, high)."""

    kind: Literal["uniform"] = "uniform"
    low: float
    high: float

    @model_validator(mode="after")
    def _check_order(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} must not exceed high = {self.high}")
        return self


def is_number(value: Any) -> bool:
    """Return whether a value is a real number by its type, and not a truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number by its type, and not a truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def array_of(value: Any, here: str) -> np.ndarray:
    """Return numbers, one or several, as an array of their type; `InputError` names what is none, after `here`."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{here} = {quote(value)} must be a number, or several")
    return array


def plain(value: Any) -> Any:
    """Turn NumPy scalars into Python's, sequences into read-only float arrays, tables into distributions."""
    if isinstance(value, Mapping) and value.get("kind") != "constant":
        return _distribution(value)
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0:
        try:
            array = array_of(value, "").astype(float)
        except InputError:
            raise ValueError("an array of parameters must hold numbers that a float can") from None
        if array.ndim != 1 or not np.all(np.isfinite(array)):
            raise ValueError("an array of parameters must have one dimension and finite values")
        array.setflags(write=False)
        return array
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _distribution(given: Mapping[str, Any]) -> Normal | Uniform:
    """Return the distribution that a table describes; ValueError names the wrong key and nothing else."""
    uniform = given.get("kind") == "uniform" or not {"low", "high"}.isdisjoint(given)
    kind = Uniform if uniform else Normal
    try:
        return kind.model_validate(dict(given))
    except ValidationError as problem:
        errors = problem.errors()[:PROBLEMS]
    unknown = [str(error["loc"][0]) for error in errors if error["type"] == "extra_forbidden"]
    keys = ["low", "high"] if uniform else ["mean", "std"]
    told = [f"unknown key {quote(key)}{nearest(key, keys)}" for key in unknown]
    for error in errors if not told else ():
        key = ".".join(map(str, error["loc"][:1]))
        value = "" if error["type"] == "missing" or not key else f" = {quote(error['input'])}"
        text = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        told.append(f"{key}{value}: {text}" if value else f"{key} {text}".strip())
    raise ValueError("; ".join(told))


Value = Annotated[float | np.ndarray | Normal | Uniform, BeforeValidator(plain)]


def validate(kind: type[T], values: Mapping[str, Any], origin: str) -> T:
    """Build a checked description.

    Parameters
    ----------
    kind : type
        Subclass of `Frozen`.
    values : Mapping
        Name to value.
    origin : str
        Owner of the values, named in the message.

    Returns
    -------
    Frozen
        Instance of `kind`.

    Raises
    ------
    InputError
        Reports all problems at once, each with key, value and bound.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as problem:
        raise InputError(_explain_all(kind, problem, origin)) from None


def check_lengths(values: Frozen, size: int, origin: str) -> None:
    """Raise `InputError` if an array among checked values has not one value for each of `size` neurons."""
    for key in type(values).model_fields:
        value = getattr(values, key)
        if isinstance(value, np.ndarray) and len(value) != size:
            raise InputError(f"{origin}: {key} has {len(value)} values for {size} neurons")


def _explain_all(kind: type[BaseModel], problem: ValidationError, origin: str) -> str:
    return "; ".join(_explain(kind, error, origin) for error in problem.errors()[:PROBLEMS])


def _explain(kind: type[BaseModel], error: Any, origin: str) -> str:
    key = shorten(".".join(str(part) for part in error["loc"][:1]), VALUE_LIMIT)
    if error["type"] == "extra_forbidden":
        return f"{origin}: unknown parameter '{key}'{nearest(key, kind.model_fields)}"
    text = shorten(error["msg"].removeprefix("Value error, "))
    input_value = error["input"]
    value = f" = {quote(input_value)}" if key and not isinstance(input_value, dict) else ""
    return f"{origin}: {key}{value}: {text}" if key else f"{origin}: {text}"


def nearest(name: str, known: Any) -> str:
    """Return a hint: the known name nearest to `name`, or a list of the known names if none is near."""
    known = [item for item in known if len(item) <= VALUE_LIMIT][:PROBLEMS]  # longer ones would take minutes
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if len(name) <= VALUE_LIMIT else []
    return f", did you mean '{close[0]}'?" if close else shorten(f" (known: {', '.join(known)})")


def _extremes(value: Any) -> tuple[float, float] | None:
    if isinstance(value, Uniform):
        return value.low, value.high
    if value is None or isinstance(value, Normal):  # unbounded: checked after drawing
        return None
    return float(np.min(value)), float(np.max(value))


def require_above(owner: Any, bound: float, *names: str, equal: bool = False) -> None:
    """Raise ValueError unless each parameter of `owner` lies above `bound` (or at it, with `equal`)."""
    for name in names:
        limits = _extremes(getattr(owner, name))
        if limits and (limits[0] < bound or (limits[0] == bound and not equal)):
            raise ValueError(f"{name} = {limits[0]:g} must be {'at least' if equal else 'above'} {bound:g}")


def require_order(owner: Any, lower: str, upper: str, equal: bool = False) -> None:
    """Raise ValueError unless `lower` of `owner` lies below `upper` (or at it, with `equal`), where both are known."""
    low, high = getattr(owner, lower), getattr(owner, upper)
    if any(value is None or isinstance(value, Normal | Uniform) for value in (low, high)):
        return
    if np.any(np.asarray(low) > high) or (not equal and np.any(np.asarray(low) == high)):
        relation = "not exceed" if equal else "be below"
        raise ValueError(f"{lower} = {np.max(low):g} must {relation} {upper} = {np.min(high):g}")
