"""Read fields of case files with checks: each message names the key, the value and the bound."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..later import h5py
from ..values import Foreign, Values

LIMIT = 2**28  # datasets with more values are refused before memory is allocated


def number(attributes: Values, key: str) -> float:
    """Return a number among the attributes."""
    value = attributes.get(key)
    if not isinstance(value, int | float):
        raise InputError(f"attribute '{key}' is {'missing' if value is None else repr(value)}, must be a number")
    return value


def whole(attributes: Values, key: str) -> int:
    """Return a whole number among the attributes."""
    value = number(attributes, key)
    if not float(value).is_integer():
        raise InputError(f"{key} = {value} must be a whole number")
    return int(value)


def group(node: h5py.Group, key: str) -> h5py.Group:
    """Return a group of the file."""
    if key not in node or not isinstance(node[key], h5py.Group):
        what = "is no group" if key in node else "is missing"
        raise InputError(f"group '{key}' {what} in '{node.name}'")
    return node[key]


def numbered(file: h5py.Group, key: str) -> list[tuple[str, Values]]:
    """Return number and attributes of each of the groups 0, 1, ... within group `key`; [] without such a group."""
    if key not in file:
        return []
    nodes = group(file, key)
    for name in nodes:
        if not name.isdecimal():
            raise InputError(f"'{key}' holds '{name}', must hold groups 0, 1, ...")
    return [(name, attributes(group(nodes, name))) for name in sorted(nodes, key=int)]


def optimizer_of(settings: Values) -> Values:
    """Return the settings of an optimizer; without `epsilon` unless it is Adam, as case files give it to all."""
    return settings if settings.get("type") == "adam" else {k: v for k, v in settings.items() if k != "epsilon"}


def dataset(group: h5py.Group, key: str) -> np.ndarray:
    """Return a dataset that lies in this file."""
    if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
        raise InputError(f"dataset '{key}' lies in another file")
    if key not in group or not isinstance(group[key], h5py.Dataset):
        raise InputError(f"dataset '{key}' is missing in '{group.name}'")
    if group[key].external or group[key].is_virtual:
        raise InputError(f"dataset '{key}' lies in another file")
    if group[key].size > LIMIT:
        raise InputError(f"dataset '{key}' has {group[key].size} values, at most {LIMIT} are read")
    return np.asarray(group[key][()])


def array(file: h5py.File, key: str, ndim: int) -> np.ndarray:
    """Return a dataset of numbers with `ndim` axes."""
    array = dataset(file, key)
    if array.ndim != ndim or array.dtype.kind not in "biuf":
        raise InputError(f"'{key}' has shape {array.shape} of {array.dtype}, must be {ndim}-dimensional numbers")
    return array


def whole_array(file: h5py.File, key: str, ndim: int) -> np.ndarray:
    """Return a dataset of whole numbers with `ndim` axes."""
    values = array(file, key, ndim)
    others = values[~(np.isfinite(values) & (values == np.floor(values)))]
    if others.size:
        raise InputError(f"'{key}' holds {others[0]}, must hold whole numbers")
    return values


def attributes(node: Foreign) -> Values:
    """Return the attributes as Python types."""
    plain = {}
    for key, value in node.attrs.items():
        value = value.decode() if isinstance(value, bytes) else value
        plain[key] = value.item() if isinstance(value, np.generic) else value
    return plain
