"""Read node populations: ids, types, parameters of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, quote
from ..later import h5py
from ..values import AnyValue, Numbers, Values
from . import hdf5, table
from .circuit import Circuit, Files, load_json

POINT = ("point_neuron", "point_process")


@dataclass(frozen=True)
class Nodes:
    """A node population; cells are in the order of their ids.

    `virtual` cells are inputs. `template` is the model template, "" if there is none. `sign` is int8 (size,), +1 where
    column `ei` is "e", -1 where it is "i", 0 elsewhere; None without such a column. `values` map a parameter to a float
    or float64 (size,).
    """

    name: str
    size: int
    virtual: bool
    template: str
    sign: np.ndarray | None
    values: Values


def read(circuit: Circuit) -> list[Nodes]:
    """Return all node populations of a circuit."""
    all_nodes = []
    for files in circuit.nodes:
        with hdf5.open_file(files.data) as file:
            populations = hdf5.get_group(file, "nodes")
            all_nodes += [
                _read_population(circuit, files, hdf5.get_group(populations, name), name) for name in populations
            ]
    names = [nodes.name for nodes in all_nodes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{circuit.path}: node population '{twice}' is in two files")
    return all_nodes


def _read_population(circuit: Circuit, files: Files, group: h5py.Group, name: str) -> Nodes:
    kind = hdf5.to_int64(hdf5.read_whole(hdf5.get_dataset(group, "node_type_id")))
    if not len(kind):
        raise InputError(f"node population '{name}' has no nodes")
    place = _read_node_ids(group, len(kind))
    rows = table.read(files.types, "node_type_id", name) if files.types else {}
    used = np.unique(kind)
    unknown = [int(number) for number in used if number not in rows]
    if unknown and (files.types or len(used) > 1):
        raise InputError(f"node population '{name}': node_type_id = {unknown[0]} is not in {files.types}")
    types = {int(number): rows.get(int(number), {}) for number in used}
    models = {row.get("model_type", "virtual") for row in types.values()}
    if models != {"virtual"} and not models <= set(POINT):
        raise InputError(
            f"node population '{name}': model_type = '{sorted(models)[0]}' must be 'virtual' or '{POINT[0]}' for all"
        )
    virtual = models == {"virtual"}
    templates = sorted({row.get("model_template", "") for row in types.values()})
    if len(templates) > 1 and not virtual:
        raise InputError(f"node population '{name}': model templates {', '.join(templates)} must be one")
    values: Values = {}
    if not virtual:
        values = _read_type_values(circuit, name, kind, types) | _read_node_values(group, len(kind))
        values = {
            key: _shorten_values(_order_by_id(value, place)) if np.ndim(value) else value
            for key, value in values.items()
        }
    sign = _read_signs(name, kind, types)
    return Nodes(name, len(kind), virtual, templates[0], sign if sign is None else _order_by_id(sign, place), values)


def _read_node_ids(group: h5py.Group, n: int) -> np.ndarray | None:
    """Return the node id of each row, None if ids are the row numbers."""
    if (ids := hdf5.find_dataset(group, "node_id")) is None:
        return None
    node_ids = hdf5.to_int64(hdf5.read_whole(ids))
    if len(node_ids) != n:
        raise InputError(f"dataset '{ids.name}' has {len(node_ids)} values for {n} nodes")
    wrong = np.flatnonzero((node_ids < 0) | (node_ids >= n))
    missing = np.flatnonzero(np.bincount(node_ids, minlength=n) == 0) if not len(wrong) else wrong
    if len(wrong) or len(missing):
        problem = f"{node_ids[wrong[0]]} is there" if len(wrong) else f"{missing[0]} is missing"
        raise InputError(f"dataset '{ids.name}' must hold each of 0 to {n - 1} once, {problem}")
    return None if np.array_equal(node_ids, np.arange(n)) else node_ids


def _order_by_id(values: np.ndarray, place: np.ndarray | None) -> np.ndarray:
    if place is None or not np.ndim(values):
        return values
    ordered = np.empty_like(values)
    ordered[place] = values
    return ordered


def _shorten_values(values: np.ndarray) -> Numbers:
    return float(values[0]) if np.all(values == values[0]) else values


def _read_type_values(
    circuit: Circuit, name: str, kind: np.ndarray, types: dict[int, table.Row]
) -> dict[str, np.ndarray]:
    """Return the parameters in the types' JSON files, name to (size,)."""
    folder = circuit.components.get("point_neuron_models_dir")
    read: dict[int, Values] = {}
    for number, row in types.items():
        file = row.get("dynamics_params")
        if not file:
            read[number] = {}
        elif folder is None:
            raise InputError(f"{circuit.path}: components.point_neuron_models_dir is missing, '{name}' needs {file}")
        else:
            read[number] = read_json(folder / file)
    keys = sorted({key for values in read.values() for key in values})
    texts = {key for key in keys if any(isinstance(values.get(key), str | bool) for values in read.values())}
    columns: Values = {key: np.empty(len(kind)) for key in keys if key not in texts}
    for number, values in read.items():
        for key in keys:
            if key not in values:
                raise InputError(f"node population '{name}': type {number} has no {key}, other types have")
            if key not in texts:
                columns[key][kind == number] = values[key]
            elif columns.setdefault(key, values[key]) != values[key]:
                raise InputError(
                    f"node population '{name}': {key} = {values[key]} of type {number} must be equal for all types"
                )
    return columns


def read_json(path: Path) -> Values:
    """Return parameters in a JSON file: numbers and texts; items of a list get the name of the list and a number."""
    content = load_json(path)
    if isinstance(content, dict):  # items of a list, such as tau_syn, get numbers
        content = dict(entry for key, value in content.items() for entry in _expand_item(key, value))
    if not isinstance(content, dict) or not all(isinstance(value, int | float | str) for value in content.values()):
        raise InputError(f"{path}: must hold an object of numbers, lists of numbers, and texts")
    for key, value in content.items():
        if isinstance(value, int) and abs(value) > 2**63:
            raise InputError(f"{path}: {key} = {quote(value)} must lie in -2^63 to 2^63")
    return content


def _expand_item(key: str, value: object) -> list[tuple[str, AnyValue]]:
    if not isinstance(value, list):
        return [(key, value)]
    return [(f"{key}_{k}", item if isinstance(item, int | float) else None) for k, item in enumerate(value, 1)]


def _read_node_values(group: h5py.Group, n: int) -> dict[str, np.ndarray]:
    """Return the parameters of single nodes, in the groups' `dynamics_params`, name to (size,)."""
    own = hdf5.find_dataset(group, "node_group_id")
    ids = np.zeros(n, np.int64) if own is None else hdf5.to_int64(hdf5.read_whole(own))
    at = hdf5.find_dataset(group, "node_group_index")
    index = np.arange(n) if at is None else hdf5.to_int64(hdf5.read_whole(at))
    columns: dict[str, np.ndarray] = {}
    for number in np.unique(ids):
        if f"{number}/dynamics_params" not in group:
            continue
        params = hdf5.get_group(hdf5.get_group(group, str(number)), "dynamics_params")
        mine = ids == number
        for key in params:
            values = hdf5.read_whole(hdf5.get_dataset(params, key, "iuf"))
            if len(index[mine]) and (index[mine].min() < 0 or index[mine].max() >= len(values)):
                raise InputError(f"node_group_index = {index[mine].max()} is beyond '{params.name}/{key}'")
            if key not in columns and np.any(~mine):
                raise InputError(f"'{params.name}/{key}' is not there for the nodes of other groups")
            columns.setdefault(key, np.empty(n))[mine] = values[index[mine]]
    return columns


def _read_signs(name: str, kind: np.ndarray, types: dict[int, table.Row]) -> np.ndarray | None:
    letters = {number: row.get("ei") for number, row in types.items()}
    if not any(letters.values()):
        return None
    signs = np.zeros(len(kind), np.int8)
    for number, letter in letters.items():
        if letter not in ("e", "i", None):
            raise InputError(f"node population '{name}': ei = '{letter}' of type {number} must be 'e' or 'i'")
        signs[kind == number] = {"e": 1, "i": -1, None: 0}[letter]
    return signs
