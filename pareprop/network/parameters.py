"""Base of checked descriptions, distributions of values, and the messages of their checks."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .. import elementary, files, rng
from ..errors import VALUE_LIMIT, InputError, quote, shorten
from ..kernels import random
from ..values import AnyValue, Given

FLOAT_MAX = float(np.finfo(float).max)
FAR = 100.0  # a note is printed if the mean of lognormal values is this many times a default
PROBLEMS = 100  # reported at once
ELSEWHERE = {  # names of NEST and PyTorch to names of the package
    "lr": ("eta",),
    "learning_rate": ("eta",),
    "betas": ("beta_1", "beta_2"),
    "eps": ("epsilon",),
    "p": ("probability",),
    "pairwise_bernoulli": ("fixed_probability",),
    "conn_spec": ("rule",),
    "syn_spec": ("weight", "delay_ms"),
    "receptor_type": ("port",),
    "synapse_model": ("learning_rule",),
    "outdegree": ("indegree",),
    "lif": ("iaf",),
    "LIF": ("iaf",),
    "alif": ("iaf_adapt",),
    "ALIF": ("iaf_adapt",),
}
T = TypeVar("T", bound=BaseModel)

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Metaclass
else:
    _Metaclass = type(BaseModel)


class _Checked(_Metaclass):
    """Lets a class that is called with bad values raise `InputError`, as all functions of the package do."""

    def __call__(cls, *arguments: object, **values: object) -> Any:  # Any: an object of the class
        first: str = getattr(cls, "positional", "")
        if len(arguments) > bool(first) or (arguments and first in values):
            raise TypeError(f"{cls.__name__}: give values by name" + (f", all but {first}, once" if first else ""))
        try:
            return super().__call__(**dict(zip((first,), arguments, strict=False)), **values)
        except ValidationError as problem:
            raise InputError(_explain_all(cls, problem, cls.__name__)) from None  # type: ignore[arg-type]  # its classes

    def __dir__(cls) -> list[str]:
        """Return what `help()` shows: methods and properties of the class, none of its bases, pydantic's among them."""
        shown = (FunctionType, classmethod, staticmethod, property)
        return [name for name, value in vars(cls).items() if name[0] != "_" and isinstance(value, shown)]


class Frozen(BaseModel, metaclass=_Checked):
    """Base of all checked descriptions: immutable, no unknown names, no NaN.

    Attributes
    ----------
    bounds : tuple of str
        Bounds of parameters, such as "tau_m > 0" and "V_reset < V_th", in addition to the bounds of base classes.
    positional : str
        Name of the value that may be given without its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    bounds: ClassVar[tuple[str, ...]] = ()
    positional: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: object) -> None:
        """Set the signature that `help()` shows: names and defaults; pydantic's has the types with all validators."""
        super().__pydantic_init_subclass__(**options)
        empty, kind, first = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY, cls.positional
        defaults = {name: empty if field.is_required() else field.default for name, field in cls.model_fields.items()}
        parameters = {name: inspect.Parameter(name, kind, default=default) for name, default in defaults.items()}
        if first in parameters:
            item = parameters.pop(first).replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
            parameters = {first: item} | parameters
        cls.__signature__ = inspect.Signature(list(parameters.values()))

    @field_validator("*", mode="before")
    @classmethod
    def _is_of_its_kind(cls, value: object, info: ValidationInfo) -> object:
        """Refuse `true` and "5" for numbers, which pydantic would convert."""
        if info.field_name is not None:
            annotation: AnyValue = cls.model_fields[info.field_name].annotation
            _require_kind(value, _base_types(annotation))
        return value

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        for bound in list_bounds(type(self)):
            limit = getattr(self, bound.limit) if isinstance(bound.limit, str) else bound.limit
            if broken := bound.find_broken(getattr(self, bound.name), limit):
                raise ValueError(f"{bound.name} = {broken[1]:g} {broken[2]}")
        return self


def list_meanings(kind: type) -> dict[str, str]:
    """Return the description of each attribute from the docstrings (numpydoc) of a class and its bases."""
    said: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("pareprop"):
            continue
        _, _, listed = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes\n----------\n")
        names: list[str] = []
        for line in listed.partition("\n\n")[0].splitlines():
            if line.startswith(" "):
                said |= {name: f"{said[name]} {line.strip()}".strip() for name in names}
            else:
                names = line.partition(" : ")[0].split(", ")
                said |= dict.fromkeys(names, "")
    return said


class Text(str):
    """Text from the command line, which may stand for a number."""


def parse_setting(text: str) -> tuple[str, AnyValue]:
    """Return key and value of a setting "key=value" of the command line; `InputError` if it is none."""
    key, equal, value = text.partition("=")
    if not equal:
        raise InputError(f"--set {text}: must be key=value")
    return key.strip(), _parse_value(value.strip())


def _parse_value(text: str) -> AnyValue:
    """Parse a value as TOML; return other text as it is."""
    try:
        table = files.parse_toml(f"value = {text}")
    except ValueError:
        return Text(text)
    return table["value"] if len(table) == 1 else Text(text)  # a line break ends the value


@cache
def _base_types(annotation: object) -> frozenset[object]:
    if get_origin(annotation) is Literal:
        return frozenset(map(type, get_args(annotation)))
    inner = get_args(annotation)
    return frozenset().union(*map(_base_types, inner)) if inner else frozenset([annotation])


def _require_kind(value: object, kinds: frozenset[object]) -> None:
    if kinds == {bool} and not isinstance(value, bool | np.bool_ | Text) and not (is_whole(value) and value in (0, 1)):
        raise ValueError("must be true or false")
    if kinds.isdisjoint((int, float)) or Any in kinds:  # Any: as an annotation has it
        return
    if isinstance(value, list | tuple):
        for item in {type(item): item for item in value if not isinstance(item, list | tuple)}.values():
            _require_kind(item, kinds)  # one of each type: there may be millions
    elif isinstance(value, np.ndarray):
        _require_kind(value.dtype.type(), kinds)
    elif isinstance(value, bool | np.bool_) and bool not in kinds:
        raise ValueError("must be a number, not true or false")
    elif isinstance(value, str | bytes) and not isinstance(value, Text) and kinds.isdisjoint((str, Path)):
        raise ValueError("must be a number, not text")
    elif isinstance(value, complex):
        raise ValueError("must be a real number")


class Distribution(Frozen):
    """Random numbers, each drawn from a separate random stream.

    A new distribution is a class here, an entry of `DISTRIBUTIONS`, and a formula in `cython_core/random.pxd`.

    Attributes
    ----------
    kernel_code : int
        Number of the formula in `kernels.random`.
    is_constant : bool
        Whether all numbers are the same.
    center : float
        The median.
    """

    kernel_code: ClassVar[int]
    is_constant: ClassVar[bool] = False

    @property
    def center(self) -> float:
        """The median."""
        raise NotImplementedError

    @property
    def numbers(self) -> tuple[float, float]:
        """The two numbers of the formula in `kernels.random`: the fields except `kind`, in their order, then 0."""
        first, second, *_ = *(value for name, value in self if name != "kind"), 0.0
        return first, second

    def draw_values(self, key: np.ndarray, ids: ArrayLike, n: int = 1) -> np.ndarray:
        """Draw `n` numbers from each random stream, float64 (n_ids, n).

        `key` is uint64 (2,), from `rng.make_key`; `ids` are non-negative integers (n_ids,), the streams, such as ids of
        neurons or of targets.
        """
        return rng.draw_values(self.kernel_code, *self.numbers, key, ids, n)

    def __str__(self) -> str:
        values = ", ".join(f"{key}={value}" for key, value in self.model_dump(exclude={"kind"}).items())
        return f"{type(self).__name__}({values})"


class Constant(Distribution):
    """The same value for all."""

    kernel_code: ClassVar[int] = random.CONSTANT
    is_constant: ClassVar[bool] = True

    kind: Literal["constant"] = "constant"
    value: float

    @property
    def center(self) -> float:
        """The median."""
        return self.value


class Normal(Distribution):
    """Normally distributed with mean `mean` and standard deviation `std`."""

    kernel_code: ClassVar[int] = random.NORMAL

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    std: float = Field(ge=0)

    @property
    def center(self) -> float:
        """The median."""
        return self.mean


class LogNormal(Distribution):
    """Exponential of a normally distributed number with mean `mean` and standard deviation `std`, as in NEST.

    Values with mean m and standard deviation s, in ms say, have `std = sqrt(log(1 + (s / m)**2))` and
    `mean = log(m) - std**2 / 2`: m = 15 and s = 3 need `LogNormal(mean=2.688, std=0.198)`.
    """

    kernel_code: ClassVar[int] = random.LOGNORMAL

    kind: Literal["lognormal"] = "lognormal"
    mean: float = 0.0
    std: float = Field(ge=0)

    @property
    def center(self) -> float:
        """The median."""
        return float(elementary.exp(self.mean))

    def note_large(self, default: AnyValue) -> str | None:
        """Return a notice if the mean of the values is beyond a hundred times a default, None if not."""
        exponent = self.mean + 0.5 * self.std * self.std
        if not is_number(default) or not default or exponent <= math.log(FAR) + math.log(abs(default)):
            return None
        what = f"values of LogNormal(mean={self.mean:g}, std={self.std:g}) have a mean of e^{exponent:.3g}"
        line = f"{what}, the default is {default:g}: mean and std are those of the logarithm, as in NEST"
        if self.mean <= 0:
            return line
        ratio = self.std / self.mean
        std = math.sqrt(math.log1p(ratio * ratio))
        meant = f"LogNormal(mean={math.log(self.mean) - 0.5 * std * std:.4g}, std={std:.4g})"
        return f"{line}; {meant} has a mean of {self.mean:g} and a standard deviation of {self.std:g}"


class Uniform(Distribution):
    """Uniformly distributed in [low, high)."""

    kernel_code: ClassVar[int] = random.UNIFORM
    bounds: ClassVar[tuple[str, ...]] = ("low <= high",)

    kind: Literal["uniform"] = "uniform"
    low: float
    high: float

    @property
    def center(self) -> float:
        """The median."""
        return 0.5 * self.low + 0.5 * self.high


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    kind.model_fields["kind"].default: kind for kind in (Normal, Uniform, LogNormal, Constant)
}


def is_number(value: object) -> bool:
    """Return whether a value is a real number by its type, and not a truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def show_value(value: object) -> str:
    """Return one value, an array or a distribution as short text."""
    return "given for each" if isinstance(value, np.ndarray) else f"{value:g}" if is_number(value) else str(value)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number by its type, and not a truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def array_of(value: object, here: str) -> np.ndarray:
    """Return one or several numbers as an array of their type; `InputError`, after `here`, names a value that is no
    number.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{here} = {quote(value)} must be a number, or several")
    return array


def normalize_value(value: object) -> AnyValue:
    """Turn NumPy scalars into Python's, sequences into read-only float arrays, tables into distributions."""
    if isinstance(value, Mapping):
        return _make_distribution(value)
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0:
        try:
            array = array_of(value, "").astype(float)
        except InputError:
            raise ValueError("an array of parameters must hold numbers that a float can") from None
        if array.ndim != 1:
            raise ValueError("an array of parameters must have one dimension")
        if not np.all(np.isfinite(array)):
            raise ValueError("values of an array must be finite")
        array.setflags(write=False)
        return array
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _read_value(value: AnyValue) -> Distribution | np.ndarray | float:
    """Return a float, one for each as an array, or a distribution; ValueError for anything else."""
    value = normalize_value(value)
    if isinstance(value, Distribution | np.ndarray):
        return value
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    except (TypeError, ValueError):
        raise ValueError("must be a number, one for each, or a distribution") from None
    if not np.isfinite(number):
        raise ValueError("must be finite")
    return number


def _make_distribution(given: Given) -> Distribution:
    """Return the distribution that a table describes; ValueError names the wrong key and nothing else."""
    name = given.get("kind", "normal" if {"low", "high"}.isdisjoint(given) else "uniform")
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        raise ValueError(f"kind = {quote(name)} is not a distribution{suggest_name(str(name), DISTRIBUTIONS)}")
    kind = DISTRIBUTIONS[name]
    try:
        return kind.model_validate(dict(given))
    except ValidationError as problem:
        errors = problem.errors()[:PROBLEMS]
    keys = [key for key in kind.model_fields if key != "kind"]
    unknown = [str(error["loc"][0]) for error in errors if error["type"] == "extra_forbidden"]
    problems = [f"unknown key {quote(key)}{suggest_name(key, keys)}" for key in unknown]
    for error in errors if not problems else ():
        key = ".".join(map(str, error["loc"][:1]))
        value = "" if error["type"] == "missing" or not key else f" = {quote(error['input'])}"
        text = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        problems.append(f"{key}{value}: {text}" if value else f"{key} {text}".strip())
    raise ValueError("; ".join(problems))


class Scaled(Frozen):
    """Normally distributed weights around 0, scaled to move targets by a given fraction of their threshold.

    The standard deviation follows from the mean number of sources of a target, and from its response to one spike at
    rest. If each source fires at `rate_hz`, as a Poisson process, voltages of neurons that do not spike have a standard
    deviation of `gain` times the distance from rest to threshold, voltages of readouts of `gain` mV. Squares of gains
    of several projections onto a population add up. With a gain of 1 neurons of `tau_m` = 20 ms fire at about 15 Hz.

    Attributes
    ----------
    gain : float
        Standard deviation of the voltages over the distance to threshold.
    rate_hz : float
        Mean rate of the sources in Hz.
    fires_hz : float or None
        Mean rate in Hz at which the targets fire at first, without other input, in place of `gain`, which a trial of
        their equations finds; for projections onto neurons.
    """

    gain: float = Field(1.0, ge=0)
    rate_hz: float = Field(10.0, gt=0)
    fires_hz: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.fires_hz is not None and "gain" in self.model_fields_set:
            raise ValueError("gain and fires_hz are given: give one of them")
        return self


def _read_weight(value: AnyValue) -> Distribution | np.ndarray | float | Scaled:
    """Return the value of `_read_value`, or a `Scaled`, also from a table with `gain` or `fires_hz`."""
    if isinstance(value, Mapping) and ("gain" in value or "fires_hz" in value):
        try:
            return Scaled(**value)
        except InputError as problem:
            raise ValueError(str(problem)) from None
    return value if isinstance(value, Scaled) else _read_value(value)


Value = Annotated[SkipValidation[float | np.ndarray | Distribution], BeforeValidator(_read_value)]
Weight = Annotated[SkipValidation[float | np.ndarray | Distribution | Scaled], BeforeValidator(_read_weight)]


def validate_values(kind: type[T], values: Given, origin: str) -> T:
    """Return an instance of `kind`, a subclass of `Frozen`, from values by name.

    `origin` is the owner of the values, named in messages unless it is empty. `InputError` reports all problems at
    once, each with key, value and bound.
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
    return "; ".join(_explain_error(kind, error, origin) for error in problem.errors()[:PROBLEMS])


def _explain_error(kind: type[BaseModel], error: Given, origin: str) -> str:
    key = shorten(".".join(str(part) for part in error["loc"][:1]), VALUE_LIMIT)
    origin = f"{origin}: " if origin else ""
    if error["type"] == "extra_forbidden":
        return f"{origin}unknown parameter '{key}'{suggest_name(key, kind.model_fields)}"
    text = shorten(error["msg"].removeprefix("Value error, "))
    input_value = error["input"]
    value = f" = {quote(input_value)}" if key and not isinstance(input_value, dict) else ""
    return f"{origin}{key}{value}: {text}" if key else f"{origin}{text}"


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint: the known name nearest to `name`, or if none is near, the known names, the nearest first."""
    known = [item for item in known if len(item) <= VALUE_LIMIT][:PROBLEMS]  # longer ones would take minutes
    meant = ELSEWHERE.get(name, ())
    if meant and set(meant) <= set(known):
        return f", did you mean {' and '.join(map(repr, meant))}?"
    if len(name) <= VALUE_LIMIT:
        if close := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
            return f", did you mean '{close[0]}'?"
        given = name.casefold()
        known.sort(key=lambda item: difflib.SequenceMatcher(None, given, item.casefold()).ratio(), reverse=True)
    return shorten(f" (known: {', '.join(known)})")


@dataclass(frozen=True)
class Bound:
    """A relation between values of a parameter and a number, or the values of another parameter.

    Attributes
    ----------
    name : str
        The parameter.
    words : str
        The relation in words, such as "be above".
    holds : callable
        The relation, of two arrays.
    limit : float or str
        The number, or the name of the other parameter.
    """

    name: str
    words: str
    holds: Callable[[np.ndarray, np.ndarray], np.ndarray]
    limit: float | str

    def find_broken(self, value: object, limit: object) -> tuple[int, float, str] | None:
        """Return the first value that violates the relation: index, value and the relation in words; None if there is
        none.

        `value` and `limit` are values of the parameter and of its limit: one for all, an array, or a distribution,
        whose lowest value is checked if it has one. None is not checked.
        """
        if isinstance(value, Uniform) and not isinstance(self.limit, str):
            value = value.low
        if any(item is None or isinstance(item, Distribution) for item in (value, limit)):
            return None
        values, limits = np.atleast_1d(np.asarray(value, float)), np.atleast_1d(np.asarray(limit, float))
        if len(values) != len(limits) and 1 not in (len(values), len(limits)):
            return None  # lengths are checked separately
        values, limits = np.broadcast_arrays(values, limits)
        broken = np.flatnonzero(~self.holds(values, limits))
        if not len(broken):
            return None
        bound = f"{limits[broken[0]]:g}"
        owner = f"{self.limit} = " if isinstance(self.limit, str) else ""
        return int(broken[0]), float(values[broken[0]]), f"must {self.words} {owner}{bound}"


RELATIONS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    ">": ("be above", np.greater),
    ">=": ("be at least", np.greater_equal),
    "<": ("be below", np.less),
    "<=": ("not exceed", np.less_equal),
}


@cache
def list_bounds(kind: type[Frozen]) -> tuple[Bound, ...]:
    """Return the bounds of a description and its base classes."""
    texts = [text for owner in reversed(kind.__mro__) for text in vars(owner).get("bounds", ())]
    return tuple(
        Bound(name, *RELATIONS[relation], limit if limit in kind.model_fields else float(limit))
        for name, relation, limit in map(str.split, texts)
    )
