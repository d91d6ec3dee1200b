"""Identity of a model: a short digest of each of its parts, by which a resumed run knows its network again.

And its facts, name by name, by which ranks find out that they were given different models.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..errors import quote
from ..kernels import checksum
from .connectivity import Population
from .model import Model

LENGTH = 16  # hexadecimal digits
NEWER = ("port", "N", "delay_law")  # fields that count where they are given
FEW = 4  # values of an array that are shown
PLAIN = bool | int | float | str | bytes | np.generic | None


def digest_parts(model: Model) -> dict[str, str]:
    """Return a digest of each population, projection and background by name, and of what else a model has.

    Parameters
    ----------
    model : Model
        The network; given weights and synapses count with their values.

    Returns
    -------
    dict of str to str
        Names to digests.
    """
    rest = {name: getattr(model, name) for name in ("variant", "dt_ms", "optimizer", "precision", "local", "loss")}
    parts: list[Any] = [*model.populations, *model.projections, *model.backgrounds]
    named = [(item.name, item) for item in parts]
    return {name: make_digest(item) for name, item in [*rest.items(), *named]}


def make_digest(thing: Any) -> str:
    """Return a digest of a description: of its type, fields and values."""
    digest = hashlib.sha256()
    _add(digest.update, thing)
    return digest.hexdigest()[:LENGTH]


def _add(update: Callable[[bytes], None], thing: Any) -> None:
    if isinstance(thing, np.ndarray):
        update(f"{thing.dtype.str}{thing.shape}".encode())
        update(np.ascontiguousarray(thing).data)  # type: ignore[arg-type]  # a buffer
    elif isinstance(thing, Mapping):
        for key in sorted(thing, key=str):
            update(f"{key}=".encode())
            _add(update, thing[key])
    elif isinstance(thing, list | tuple):
        update(f"{len(thing)} ".encode())
        for item in thing:
            _add(update, item)
    elif isinstance(thing, BaseModel) or (dataclasses.is_dataclass(thing) and not isinstance(thing, type)):
        fields = type(thing).model_fields if isinstance(thing, BaseModel) else dataclasses.fields(thing)
        names = list(fields) if isinstance(fields, dict) else [field.name for field in fields]
        # checkpoints were written before these were there
        names = [name for name in names if name not in NEWER or getattr(thing, name) is not None]
        update(type(thing).__qualname__.encode())
        _add(update, {name: getattr(thing, name) for name in names})
    elif isinstance(thing, Path):  # files may move
        update(thing.name.encode())
    elif hasattr(thing, "__dict__"):
        update(getattr(thing, "__qualname__", type(thing).__qualname__).encode())
        _add(update, vars(thing) if not isinstance(thing, FunctionType | type) else {})
    else:
        update(f"{thing!r};".encode())


def list_facts(model: Model) -> dict[str, str]:
    """Return all that a model says, name to value as text; arrays by their checksum.

    What has no value to show, such as the code of a loss, counts by its name.
    """
    facts = {name: show(getattr(model, name)) for name in ("variant", "seed", "dt_ms", "precision", "loss", "local")}
    facts |= list_fields(model.optimizer)
    described: dict[str, list[Any]] = {
        "population": model.populations, "projection": model.projections, "background": model.backgrounds
    }  # fmt: skip
    for kind, items in described.items():
        facts |= {f"number of {kind}s": str(len(items))}
        for item in items:
            facts |= {f"{kind} '{item.name}': {name}": text for name, text in list_fields(item).items()}
    return facts


def list_fields(thing: Any) -> dict[str, str]:
    """Return the fields of a description, name to value as text; those of a population's parameters among them."""
    facts: dict[str, Any] = {}
    for name, value in _fields(thing).items():
        if name == "params" and value is not None:
            facts |= list_fields(value)
        else:
            facts[name] = value.name if isinstance(value, Population) else show(value)
    return facts


def _fields(thing: Any) -> dict[str, Any]:
    names = getattr(type(thing), "model_fields", None) or [field.name for field in dataclasses.fields(thing)]
    return {name: getattr(thing, name) for name in names}


def show(value: Any) -> str:
    """Show a value as text that is the same wherever the value is: no address, no folder, arrays by their checksum."""
    if isinstance(value, PLAIN):
        return quote(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, Path):  # files may lie elsewhere on another node
        return value.name
    if isinstance(value, np.ndarray) and value.dtype != object:
        mark = checksum.xxh64(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        return f"{value.tolist()}" if value.size <= FEW else f"an array {value.shape} of {value.dtype}, {mark:016x}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {show(value[key])}' for key in sorted(value, key=str))}}}"
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        inside = _fields(value)
    elif isinstance(value, FunctionType | type) or not hasattr(value, "__dict__"):
        return getattr(value, "__qualname__", type(value).__qualname__)
    else:  # an object of a script: what it holds may be of one rank alone
        inside = {name: item for name, item in vars(value).items() if isinstance(item, PLAIN | np.ndarray)}
    return f"{type(value).__qualname__}({', '.join(f'{name}={show(item)}' for name, item in inside.items())})"
