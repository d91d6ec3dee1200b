"""Nodes: blocks of equal models with their parameters, and the collections that scripts hold."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .catalogue import LISTS, UNSUPPORTED, NodeModel, check_node, old_names
from .errors import NESTErrors
from .random import Parameter


class Block:
    """Nodes that were created together.

    Attributes
    ----------
    model : of all of them
    ids : half-open range of their ids
    values : parameter to one value for all, or an array (or a list, of arrays or texts) with one for each
    """

    def __init__(self, model: NodeModel, first: int, n: int) -> None:
        self.model, self.first, self.n = model, first, n
        self.values: dict[str, Any] = {key: ([value] * n if key in LISTS else value)
                                       for key, value in model.defaults.items()}  # fmt: skip

    def get(self, key: str, local: int) -> Any:
        """Value of one node."""
        value = self.values[key]
        value = value[local] if isinstance(value, list | np.ndarray) else value
        return value.item() if isinstance(value, np.generic) else value

    def array(self, key: str, local: np.ndarray) -> np.ndarray:
        """Values of some nodes as an array."""
        value = self.values[key]
        return np.asarray(value)[local] if isinstance(value, list | np.ndarray) else np.full(len(local), value)

    def put(self, key: str, local: np.ndarray, value: Any) -> None:
        """Set one value, or as many as there are nodes in `local`."""
        if np.ndim(value) == 0 and len(local) == self.n:
            self.values[key] = value
            return
        kept = self.values[key]
        if not isinstance(kept, np.ndarray):
            text = isinstance(value, str) or isinstance(np.ravel(np.asarray(value, object))[0], str)
            kept = np.full(self.n, kept, dtype=object if text else None)
        if kept.dtype != object and np.result_type(kept, np.asarray(value)) != kept.dtype:
            kept = kept.astype(np.result_type(kept, np.asarray(value)))
        kept = kept.copy()
        kept[local] = value
        self.values[key] = kept[0] if np.all(kept == kept[0]) else kept


class NodeCollection:
    """Ids of nodes in ascending order, with NEST's operators.

    Parameters
    ----------
    kernel : the network that they belong to
    ids : int64 ascending
    """

    __slots__ = ("_ids", "_kernel")

    def __init__(self, kernel: Any, ids: np.ndarray) -> None:
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __bool__(self) -> bool:
        return len(self._ids) > 0

    def __iter__(self) -> Iterator[NodeCollection]:
        for place in range(len(self._ids)):
            yield NodeCollection(self._kernel, self._ids[place : place + 1])

    def __contains__(self, node: Any) -> bool:
        return int(node) in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeCollection) and np.array_equal(self._ids, other._ids)

    __hash__ = None

    def __int__(self) -> int:
        return int(self.global_id)

    def __add__(self, other: Any) -> NodeCollection:
        if not isinstance(other, NodeCollection):
            return NotImplemented
        joined = np.concatenate([self._ids, other._ids])
        ids = np.unique(joined)
        if len(ids) != len(joined):
            raise NESTErrors.BadProperty("node collections that share nodes cannot be joined")
        return NodeCollection(self._kernel, ids)

    def __getitem__(self, key: Any) -> NodeCollection:
        if isinstance(key, slice):
            if key.step is not None and key.step < 1:
                raise IndexError("slicing step for NodeCollection must be strictly positive")
            return NodeCollection(self._kernel, self._ids[key])
        if isinstance(key, int | np.integer) and not isinstance(key, bool):
            if not -len(self) <= key < len(self):
                raise IndexError("list index out of range")
            key = int(key) % len(self)
            return NodeCollection(self._kernel, self._ids[key : key + 1])
        places = np.asarray(key)
        if places.dtype == bool:
            if places.shape != self._ids.shape:
                raise IndexError("Bool index array must be the same length as NodeCollection")
            places = np.flatnonzero(places)
        if places.size == 0:
            return NodeCollection(self._kernel, self._ids[:0])
        if not np.issubdtype(places.dtype, np.integer) or places.ndim != 1:
            raise IndexError("only integers, slices, lists, tuples, and numpy arrays are valid indices")
        if places.min() < 0 or places.max() >= len(self):
            raise IndexError("list index out of range")
        if np.any(np.diff(places) <= 0):
            raise NESTErrors.BadProperty("indices must be in ascending order, without repeats")
        return NodeCollection(self._kernel, self._ids[places])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._ids.astype(dtype or np.int64, copy=bool(copy) or True)

    def tolist(self) -> list[int]:
        """The ids."""
        return self._ids.tolist()

    def index(self, node_id: int) -> int:
        """Place of an id."""
        found = np.flatnonzero(self._ids == node_id)
        if not len(found):
            raise ValueError(f"{node_id} is not in NodeCollection")
        return int(found[0])

    def parts(self) -> list[tuple[Block, np.ndarray]]:
        """The blocks that the nodes belong to, with their places in them."""
        return self._kernel.nodes.parts(self._ids)

    # ---- parameters --------------------------------------------------------------------------------------------------

    def get(self, *names: Any, output: str = "") -> Any:
        """Parameters: of one node values, of several tuples of them; a dictionary for several names, or all."""
        if output not in ("", "json"):
            raise NESTErrors.NotImplemented(f"output = '{output}': make a table of the dictionary yourself")
        if not len(self):
            raise NESTErrors.UnknownNode("get() of an empty NodeCollection")
        if len(names) > 2:
            raise TypeError(f"get() takes at most 2 positional arguments ({len(names)} given)")
        if len(names) == 2:
            values = [self._pick(value, names[1]) for value in self._column(names[0])]
            return values[0] if len(values) == 1 else tuple(values)
        if names and isinstance(names[0], str):
            column = self._column(names[0])
            return column[0] if len(self) == 1 else tuple(column)
        keys = list(names[0]) if names else self._kernel.known(self)
        found = {key: self._column(key) for key in keys}
        return {key: column[0] if len(self) == 1 else tuple(column) for key, column in found.items()}

    @staticmethod
    def _pick(value: Any, keys: Any) -> Any:
        return value[keys] if isinstance(keys, str) else {key: value[key] for key in keys}

    def _column(self, key: str) -> list[Any]:
        return self._kernel.read(self, key)

    def set(self, params: Any = None, **values: Any) -> None:
        """Set parameters: of all nodes by a dictionary, one value each by arrays in it, or by a dictionary each."""
        if params is not None and values:
            raise TypeError("set() takes either a dictionary or keyword arguments")
        params = values if params is None else params
        if isinstance(params, Mapping):
            self._kernel.write(self, params)
            return
        if not isinstance(params, Sequence) or len(params) not in (1, len(self)):
            raise TypeError(f"status dict must be a dict, or a list of 1 or {len(self)} dicts")
        if len(params) == 1:
            self._kernel.write(self, params[0])
        elif all(params[0].keys() == other.keys() for other in params):
            columns = {key: [entry[key] for entry in params] for key in params[0]}
            self._kernel.write(self, {key: Each(column) for key, column in columns.items()})
        else:
            for node, entry in zip(self, params, strict=True):
                self._kernel.write(node, entry)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("spatial",):
            return None
        try:
            return self.get(name)
        except KeyError:
            raise AttributeError(f"NodeCollection has no attribute or parameter '{name}'") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.set({name: value})

    def __str__(self) -> str:
        if not len(self):
            return "NodeCollection(<empty>)"
        lines, cuts = [], np.flatnonzero(np.diff(self._ids) != 1) + 1
        for run in np.split(self._ids, cuts):
            for block, local in self._kernel.nodes.parts(run):
                ids = block.first + local
                last = f", last={ids[-1]}" if len(ids) > 1 else ""
                lines.append(f"model={block.model.name}, size={len(ids)}, first={ids[0]}{last}")
        if len(lines) == 1:
            return f"NodeCollection(metadata=None, {lines[0]})"
        return "NodeCollection(metadata=None,\n               " + ";\n               ".join(lines) + ")"

    __repr__ = __str__


class Each(list):
    """One value for each node, even where a value is a list itself."""


class NodeTable:
    """All nodes of a network.

    Attributes
    ----------
    blocks : in order of creation
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._firsts: list[int] = []
        self.n = 0

    def create(self, model: NodeModel, n: int) -> np.ndarray:
        """Add `n` nodes; return their ids."""
        self.blocks.append(Block(model, self.n + 1, n))
        self._firsts.append(self.n + 1)
        self.n += n
        return np.arange(self.n - n + 1, self.n + 1)

    def parts(self, ids: np.ndarray) -> list[tuple[Block, np.ndarray]]:
        """Blocks and places in them of ascending ids."""
        if not len(ids):
            return []
        owner = np.searchsorted(self._firsts, ids, side="right") - 1
        cuts = np.flatnonzero(np.diff(owner)) + 1
        return [(self.blocks[which[0]], part - self.blocks[which[0]].first)
                for which, part in zip(np.split(owner, cuts), np.split(ids, cuts), strict=True)]  # fmt: skip

    def place(self, node: int) -> tuple[Block, int]:
        """Block of a node, and its place in it."""
        block = self.blocks[bisect.bisect_right(self._firsts, node) - 1]
        return block, node - block.first

    def of_kind(self, *kinds: str) -> list[Block]:
        """Blocks of some kinds, in order of creation."""
        return [block for block in self.blocks if block.model.kind in kinds]


def write(kernel: Any, nodes: NodeCollection, params: Mapping[str, Any]) -> None:
    """Set parameters of nodes, all or none.

    Raises
    ------
    KernelException
        For an unknown name or a bad value; nothing has changed then.
    """
    parts = nodes.parts()
    for block, local in parts:
        values = old_names(params, block.model.defaults)
        unknown = [key for key in values if key not in block.values]
        if unknown:
            raise NESTErrors.UnaccessedDictionaryEntry(
                f"Unaccessed elements in params: '{unknown[0]}' is no parameter of {block.model.name}"
            )
        start = 0 if len(parts) == 1 else int(np.searchsorted(nodes._ids, block.first + local[0]))
        _write_block(kernel, block, local, {
            key: _spread(kernel, key, value, len(nodes), start, block.first + local) for key, value in values.items()
        })  # fmt: skip


def _spread(kernel: Any, key: str, value: Any, n: int, start: int, ids: np.ndarray) -> Any:
    """Bring a value into the form in which blocks keep it: one for all, or one for each node of `ids`."""
    if isinstance(value, Parameter):
        return value.of_nodes(kernel.generators, ids)
    if key in LISTS and not isinstance(value, Each):
        return [_as_list(key, value)] * len(ids)
    if isinstance(value, NodeCollection) or (np.ndim(value) if not isinstance(value, Each) else True):
        if len(value) < n:
            raise IndexError("list index out of range")
        chosen = list(value)[start : start + len(ids)]
        return [_as_list(key, entry) for entry in chosen] if key in LISTS else _numbers(key, chosen)
    return _numbers(key, [value])[0]


def _as_list(key: str, value: Any) -> Any:
    if key == "record_from":
        return (value,) if isinstance(value, str) else tuple(value)
    if value is None or (not isinstance(value, NodeCollection) and np.ndim(value) != 1):
        raise NESTErrors.TypeMismatch(f"'{key}' must be a list of numbers")
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise NESTErrors.TypeMismatch(f"'{key}' must be a list of numbers") from None


def _numbers(key: str, values: list[Any]) -> Any:
    array = np.asarray(values)
    return array if array.dtype.kind in "biuf" else np.asarray(values, object)


def _write_block(kernel: Any, block: Block, local: np.ndarray, values: dict[str, Any]) -> None:
    for key, value in values.items():
        _check_type(block.model, key, value)
    trial = Block.__new__(Block)
    trial.model, trial.first, trial.n, trial.values = block.model, block.first, block.n, dict(block.values)
    for key, value in values.items():
        if key in LISTS:
            kept = list(trial.values[key])
            for place, entry in zip(local.tolist(), value, strict=True):
                kept[place] = entry
            trial.values[key] = kept
        elif key == "f_target" and block.model.kind == "neuron":
            trial.put(key, local, value)
        else:
            trial.put(key, local, float(value) if type(value) in (int, np.int64) and _is_float(block, key) else value)
    where = f"{block.model.name} with node id {block.first + local[0]}"
    if block.model.kind in ("stimulator", "recorder"):
        one = {key: (value if np.ndim(value) == 0 else value[0]) for key, value in values.items() if key not in LISTS}
        check_node(block.model, trial.values, one, where, kernel.resolution)
        done = set()
        for entry in zip(*(values[key] for key in values if key in LISTS), strict=True):
            if (mark := tuple(map(id, entry))) not in done:
                done.add(mark)
                given = dict(zip([key for key in values if key in LISTS], entry, strict=True))
                check_node(block.model, trial.values, given, where, kernel.resolution)
    else:
        check_node(block.model, trial.values, values, where, kernel.resolution)
    block.values = trial.values


def _is_float(block: Block, key: str) -> bool:
    return isinstance(block.model.defaults[key], float)


def _check_type(model: NodeModel, key: str, value: Any) -> None:
    default = model.defaults[key]
    if isinstance(default, bool):
        good = np.asarray(value).dtype.kind in "bi"
    elif isinstance(default, float) or default is None:
        good = np.asarray(value).dtype.kind in "iuf"
    elif isinstance(default, str):
        good = all(isinstance(entry, str) for entry in np.ravel(np.asarray(value, object)))
    else:
        return
    if not good and key not in UNSUPPORTED:
        raise NESTErrors.TypeMismatch(f"'{key}' of {model.name} has a value of the wrong type: {value!r}")
