"""Identity of a model: a short digest of each of its parts, by which a resumed run knows its network again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from pydantic import BaseModel

from .model import Model

LENGTH = 16  # hexadecimal digits


def digest_parts(model: Model) -> dict[str, str]:
    """Return a digest of each population and projection by name, and of what else a model has.

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
    named = [(item.name, item) for item in (*model.populations, *model.projections)]
    return {name: make_digest(item) for name, item in [*rest.items(), *named]}


def make_digest(thing: Any) -> str:
    """Return a digest of a description: of its type, fields and values."""
    found = hashlib.sha256()
    _add(found.update, thing)
    return found.hexdigest()[:LENGTH]


def _add(update: Callable[[bytes], None], thing: Any) -> None:
    if isinstance(thing, np.ndarray):
        update(f"{thing.dtype.str}{thing.shape}".encode())
        update(np.ascontiguousarray(thing).data)
    elif isinstance(thing, Mapping):
        for key in sorted(thing, key=str):
            update(f"{key}=".encode())
            _add(update, thing[key])
    elif isinstance(thing, list | tuple):
        update(f"{len(thing)} ".encode())
        for item in thing:
            _add(update, item)
    elif isinstance(thing, BaseModel) or (dataclasses.is_dataclass(thing) and not isinstance(thing, type)):
        fields = getattr(type(thing), "model_fields", None)
        names = fields or [field.name for field in dataclasses.fields(thing)]
        update(type(thing).__qualname__.encode())
        _add(update, {name: getattr(thing, name) for name in names})
    elif isinstance(thing, Path):  # files may move
        update(thing.name.encode())
    elif hasattr(thing, "__dict__"):
        update(getattr(thing, "__qualname__", type(thing).__qualname__).encode())
        _add(update, vars(thing) if not isinstance(thing, FunctionType | type) else {})
    else:
        update(f"{thing!r};".encode())
