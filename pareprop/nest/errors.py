"""NEST's exception classes, and notices that are given once."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError, ParepropError, StateError

NAMES = (
    "BadDelay", "BadParameter", "BadParameterValue", "BadProperty", "DimensionMismatch", "IllegalConnection",
    "InexistentConnection", "ModelInUse", "NewModelNameExists", "NodeWithProxiesExpected", "NotImplemented",
    "NumericalInstability", "RangeCheck", "StepMultipleRequired", "TimeMultipleRequired", "TypeMismatch",
    "UnaccessedDictionaryEntry", "UndefinedName", "UnknownComponent", "UnknownModelName", "UnknownNode",
    "UnknownReceptorType", "UnknownSynapseType",
)  # fmt: skip


class KernelException(Exception):
    """Base of all errors of NEST's kernel; `nest.NESTError`."""


NESTError = KernelException
NESTErrors = types.ModuleType("NESTErrors", "NEST's exception classes.")
NESTErrors.KernelException = KernelException
for _name in NAMES:
    setattr(NESTErrors, _name, type(_name, (KernelException,), {"__module__": "NESTErrors"}))
KernelException.__module__ = "NESTErrors"


class NESTWarning(UserWarning):
    """What a script should know, and is told once."""


def refuse(feature: str, instead: str) -> KernelException:
    """Make the error for a feature that cannot be represented exactly.

    Parameters
    ----------
    feature : str
        What the script asked for.
    instead : str
        What to do instead.
    """
    return NESTErrors.NotImplemented(f"pareprop does not support {feature}: {instead}")


_given: set[str] = set()


def notice(text: str, rank: int = 0) -> None:
    """Warn, once per process and text, on rank 0 alone."""
    if text not in _given:
        _given.add(text)
        if rank == 0:
            warnings.warn(text, NESTWarning, stacklevel=3)


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
