"""Base of checked descriptions, distributions of values, and the messages of their checks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError

FLOAT_MAX = float(np.finfo(float).max)
T = TypeVar("T", bound=BaseModel)


class Frozen(BaseModel):
    """Base of all checked descriptions: immutable, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


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
    def _ordered(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} must not exceed high = {self.high}")
        return self


def plain(value: Any) -> Any:
    """Turn NumPy scalars into Python's and sequences into read-only float arrays."""
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0:
        array = np.array(value, dtype=float)
        if array.ndim != 1 or not np.all(np.isfinite(array)):
            raise ValueError("an array of parameters must have one dimension and finite values")
        array.setflags(write=False)
        return array
    return value.item() if isinstance(value, np.generic) else value


Value = Annotated[float | np.ndarray | Normal | Uniform, BeforeValidator(plain)]


def checked(kind: type[T], values: Mapping[str, Any], origin: str) -> T:
    """Build `kind` from `values`; all problems in one `InputError`, each with key, value and bound.

    Parameters
    ----------
    kind : a `Frozen` class
    values : name to value
    origin : what the values belong to, named in the message
    """
    try:
        return kind(**values)
    except ValidationError as problem:
        raise InputError("; ".join(_explain(kind, error, origin) for error in problem.errors())) from None


def _explain(kind: type[BaseModel], error: Any, origin: str) -> str:
    key = ".".join(str(part) for part in error["loc"][:1])
    if error["type"] == "extra_forbidden":
        return f"{origin}: unknown parameter '{key}'{nearest(key, kind.model_fields)}"
    text = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    shown = f" = {given!r}" if key and not isinstance(given, dict) else ""
    return f"{origin}: {key}{shown}: {text}" if key else f"{origin}: {text}"


def nearest(name: str, known: Any) -> str:
    """Return a hint with the known name nearest to `name`, and what is known otherwise."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else f" (known: {', '.join(known)})"


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
