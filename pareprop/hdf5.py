"""Checked and bounded reading of groups and datasets of a file that a run wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from .errors import InputError, escape_unprintable
from .later import h5py
from .machine import require_bytes
from .values import Values


def read_text(node: h5py.HLObject, name: str) -> str:
    """Return an attribute as printable text, "" when it is absent."""
    value = node.attrs.get(name, "")
    raw = value if isinstance(value, bytes) else str(value).encode(errors="replace")
    return escape_unprintable(raw.decode(errors="replace"))


def find_child(node: h5py.Group, name: str) -> h5py.Group | None:
    """Return the group of that name, None if it is absent or no group."""
    node_below = node.get(name)
    return node_below if isinstance(node_below, h5py.Group) else None


def find_dataset(node: h5py.Group, name: str, ndim: int | None = 1) -> h5py.Dataset | None:
    """Return a numeric dataset, None if it is absent; `InputError` for other numbers of axes, or without numbers."""
    data = node.get(name)
    if data is None:
        return None
    if not isinstance(data, h5py.Dataset) or ndim not in (None, data.ndim) or data.dtype.kind not in "iufb":
        shape = "" if ndim is None else f", ndim {ndim}"
        raise InputError(f"{node.file.filename}: {node.name.rstrip('/')}/{name} must be a numeric array{shape}")
    return data


def read_values(node: h5py.Group, name: str, ndim: int | None = 1) -> np.ndarray | None:
    """Read a whole dataset; None if it is absent. Errors as in `find_dataset`."""
    data = find_dataset(node, name, ndim)
    if data is not None:
        require_bytes(data.size * data.dtype.itemsize, f"{node.file.filename}: {data.name}")
    return None if data is None else data[...]


def require_dataset(node: h5py.Group, name: str, ndim: int | None = 1) -> np.ndarray:
    """Read a whole dataset; `InputError` if it is absent, and as in `find_dataset`."""
    data = read_values(node, name, ndim)
    if data is None:
        raise InputError(f"{node.file.filename}: {node.name.rstrip('/')}/{name} is missing")
    return data


def read_columns(node: h5py.Group, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read datasets of equal length; `InputError` as in `require_dataset`, and if the lengths differ."""
    found = {name: require_dataset(node, name) for name in names}
    if len({*map(len, found.values())}) > 1:
        lengths = ", ".join(f"{name} has {len(column)}" for name, column in found.items())
        raise InputError(f"{node.file.filename}: entries of {node.name}: {lengths}: must be equal")
    return found


def read_pair(node: h5py.Group, first: str, second: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Read two datasets of equal length; None if one is absent. Errors as in `read_columns`."""
    if first not in node or second not in node:
        return None
    a, b = read_columns(node, (first, second)).values()
    return a, b


def list_sections(file: h5py.File) -> dict[str, Values]:
    """Return the configuration of a run by section, {} when it is absent; ValueError when it is malformed."""
    return {name: dict(keys) for name, keys in json.loads(read_text(file, "config") or "{}").items()}
