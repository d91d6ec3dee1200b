"""NEST's exception classes, and notices that are given once."""

from __future__ import annotations

import functools
import json
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InputError, ParepropError, StateError, quote
from ..values import AnyValue, Foreign, Given

NAMES = (
    "BadDelay", "BadParameter", "BadParameterValue", "BadProperty", "DimensionMismatch", "IOError", "IllegalConnection",
    "InexistentConnection", "ModelInUse", "NewModelNameExists", "NodeWithProxiesExpected", "NotImplemented",
    "NumericalInstability", "RangeCheck", "StepMultipleRequired", "TimeMultipleRequired", "TypeMismatch",
    "UnaccessedDictionaryEntry", "UndefinedName", "UnknownComponent", "UnknownModelName", "UnknownNode",
    "UnknownReceptorType", "UnknownSynapseType",
)  # fmt: skip


class KernelException(Exception):
    """Base of all errors of NEST's kernel; `nest.NESTError`."""


NESTError = KernelException
NESTErrors: Any = types.ModuleType("NESTErrors", "NEST's exception classes.")  # Any: its classes are made by name
NESTErrors.KernelException = KernelException
for _name in NAMES:
    setattr(NESTErrors, _name, type(_name, (KernelException,), {"__module__": "NESTErrors"}))
KernelException.__module__ = "NESTErrors"


_made: dict[tuple[type[Exception], type[Exception]], type[Exception]] = {}


def _derive_error(kind: type[Exception], base: type[Exception] = KernelException) -> type[Exception]:
    """An error of NEST that scripts can also catch as one of Python's, the same class each time."""
    if (kind, base) not in _made:
        _made[kind, base] = _make_error_class(kind, base)
    return _made[kind, base]


def _make_error_class(kind: type[Exception], base: type[Exception]) -> type[Exception]:
    name = kind.__name__ if base is KernelException else base.__name__
    return type(name, (base, kind), {"__module__": "NESTErrors", "__str__": Exception.__str__})


MOST = 800  # characters of a message
BARE = (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError)


def make_lookup_error(kind: type[Exception], text: str) -> Exception:
    """Make an error about a name that is not there, which Python's own protocols understand: `hasattr`, `in`."""
    return _derive_error(kind)(_in_one_line(text))


def format_output(values: AnyValue, output: str, names: object = None, index: Iterable[int] | None = None) -> AnyValue:
    """Return values that `get` found in the form that NEST calls `output`: "", "json" for a text, "pandas" for a table.

    `values` has values by name, or the values of the one name `names`. `index` has the rows of a table; without it NEST
    makes none.
    """
    if output == "pandas" and index is not None:
        return _make_table({names: values} if isinstance(names, str) else values, list(index))
    if output not in ("", "json", "pandas"):
        raise NESTErrors.NotImplemented(f"output = '{output}': there are 'json' and 'pandas'")
    return json.dumps(values, default=lambda value: value.tolist()) if output == "json" else values


def _make_table(columns: Given, index: list[int]) -> Foreign:
    try:
        import pandas
    except ImportError:
        raise make_lookup_error(ImportError, "output = 'pandas': Pandas could not be imported") from None
    rows = {key: [value] if len(index) == 1 else list(value) for key, value in columns.items()} if index else {}
    return pandas.DataFrame(rows, index=index)


def _in_one_line(text: object) -> str:
    return " ".join(str(text).split())[:MOST]


def explain_errors(function: Callable) -> Callable:
    """Wrap a function of NEST, so that errors of Python name the call and its arguments."""

    @functools.wraps(function)
    def call_explained(*args: object, **named: object) -> Any:  # Any: what the function returns
        try:
            return function(*args, **named)
        except BARE as problem:
            if isinstance(problem, KernelException):
                raise
            given = [_format_argument(value) for value in args] + [
                f"{key}={_format_argument(value)}" for key, value in named.items()
            ]
            said = problem.args[0] if isinstance(problem, KeyError) and problem.args else problem
            room = function.__module__.removeprefix(__name__.removesuffix("errors")) + "."
            name = (room if room in ("random.", "math.") else "") + function.__name__
            text = f"{name}({', '.join(given)}): {_in_one_line(said)}; see help(nest.{name})"
            kind = next(base for base in type(problem).__mro__ if base in BARE)
            raise _derive_error(kind)(text) from problem

    return call_explained


def _format_argument(value: object) -> str:
    return quote(value) if isinstance(value, str | int | float | None) else type(value).__name__


EARLIER = "make them before the first step"  # the advice of a refusal to make something later


class NESTWarning(UserWarning):
    """A warning to a script, shown once."""


def make_refusal(feature: str, instead: str, kind: type[Exception] | None = None) -> Exception:
    """Make the error for a feature that cannot be represented exactly.

    `feature` is the request of the script, `instead` an advice; `kind` is a Python error that the error is, too.
    """
    made = _derive_error(kind, NESTErrors.NotImplemented) if kind else NESTErrors.NotImplemented
    return made(f"pareprop does not support {feature}: {instead}")


HERE = __name__.split(".", maxsplit=1)[0] + "."  # of the modules of this package
_given: set[str] = set()


def warn_once(text: str, rank: int = 0) -> None:
    """Warn, once per process and text, on rank 0 alone, at the line of the script that called."""
    if text not in _given:
        _given.add(text)
        if rank == 0:
            level, frame = 2, sys._getframe(1)
            while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(HERE):
                level, frame = level + 1, frame.f_back
            warnings.warn(text, NESTWarning, stacklevel=level)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise errors of the package as NEST's: bad input as `BadProperty`, overflow as `NumericalInstability`."""
    try:
        yield
    except StateError as problem:
        raise NESTErrors.NumericalInstability(str(problem)) from None
    except InputError as problem:
        raise NESTErrors.BadProperty(str(problem)) from None
    except ParepropError as problem:
        raise KernelException(str(problem)) from None
