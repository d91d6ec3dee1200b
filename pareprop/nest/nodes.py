"""Nodes: blocks of equal models with their parameters, and the collections that scripts hold."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import SupportsInt, TypeVar

import numpy as np

from ..values import AnyValue, Values
from .catalogue import LISTS, NodeModel
from .devices.base import Device
from .errors import NESTErrors, explain_errors, format_output, make_lookup_error

D = TypeVar("D", bound=Device)


class Block:
    """Nodes that were created together.

    Attributes
    ----------
    model : NodeModel
        Of all of them.
    first, n : int
        Id of the first one, and how many there are.
    values : dict
        Parameter to one value for all, or an array (or a list, of arrays or texts) with one for each.
    """

    def __init__(self, model: NodeModel, first: int, n: int) -> None:
        self.model, self.first, self.n = model, first, n
        self.values: Values = {key: ([value] * n if key in LISTS else value) for key, value in model.defaults.items()}

    def get_value(self, key: str, local: int) -> AnyValue:
        """Value of one node."""
        value = self.values[key]
        value = value[local] if isinstance(value, list | np.ndarray) else value
        return value.item() if isinstance(value, np.generic) else value

    def get_array(self, key: str, local: np.ndarray) -> np.ndarray:
        """Values of some nodes as an array."""
        value = self.values[key]
        return np.asarray(value)[local] if isinstance(value, list | np.ndarray) else np.full(len(local), value)

    def set_values(self, key: str, local: np.ndarray, value: AnyValue) -> None:
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
    """Ids of nodes of a network, int64 in ascending order, with NEST's operators."""

    __slots__ = ("_ids", "_kernel")

    def __init__(self, kernel: object, ids: np.ndarray) -> None:
        _keep_kernel(self, kernel)  # `__setattr__` sets parameters
        _keep_ids(self, ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __bool__(self) -> bool:
        return len(self._ids) > 0

    def __iter__(self) -> Iterator[NodeCollection]:
        for place in range(len(self._ids)):
            yield NodeCollection(self._kernel, self._ids[place : place + 1])

    def __contains__(self, node: SupportsInt) -> bool:
        return int(node) in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeCollection) and np.array_equal(self._ids, other._ids)

    __hash__ = None  # type: ignore[assignment]  # Python's way to say so

    def __int__(self) -> int:
        return int(self.global_id)

    def __add__(self, other: object) -> NodeCollection:
        if not isinstance(other, NodeCollection):
            return NotImplemented
        joined = np.concatenate([self._ids, other._ids])
        ids = np.unique(joined)
        if len(ids) != len(joined):
            raise NESTErrors.BadProperty("node collections that share nodes cannot be joined")
        return NodeCollection(self._kernel, ids)

    @explain_errors
    def __getitem__(self, key: object) -> NodeCollection:
        ids = self._ids
        if type(key) is int or isinstance(key, np.integer):
            if not -len(ids) <= key < len(ids):
                raise IndexError("list index out of range")
            key = int(key) % len(ids)
            return NodeCollection(self._kernel, ids[key : key + 1])
        if isinstance(key, slice):
            if key.step is not None and key.step < 1:
                raise IndexError("slicing step for NodeCollection must be strictly positive")
            return NodeCollection(self._kernel, ids[key])
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

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self._ids.astype(dtype or np.int64, copy=bool(copy) or True)

    def tolist(self) -> list[int]:
        """The ids."""
        return self._ids.tolist()

    @explain_errors
    def index(self, node_id: int) -> int:
        """Place of an id."""
        positions = np.flatnonzero(self._ids == node_id)
        if not len(positions):
            raise ValueError(f"{node_id} is not in NodeCollection")
        return int(positions[0])

    def list_blocks(self) -> list[tuple[Block, np.ndarray]]:
        """The blocks that the nodes belong to, with their places in them."""
        return self._kernel.nodes.list_blocks(self._ids)

    # ---- parameters --------------------------------------------------------------------------------------------------

    @explain_errors
    def get(self, *names: object, output: str = "") -> AnyValue:
        """Parameters: of one node values, of several tuples of them; a dictionary for several names, or all.

        With `output` "json" they are a text, with "pandas" a table.
        """
        return format_output(self._read_parameters(*names), output, names[-1] if names else None, self._ids)

    def _read_parameters(self, *names: AnyValue) -> AnyValue:
        if not len(self):
            raise NESTErrors.UnknownNode("get() of an empty NodeCollection")
        if len(names) > 2:
            raise TypeError(f"get() takes at most 2 positional arguments ({len(names)} given)")
        if len(names) == 2:
            values = [self._pick_values(value, names[1]) for value in self._read_column(names[0])]
            if len(values) == 1:
                return values[0]
            return values if isinstance(names[1], str) else {key: [one[key] for one in values] for key in values[0]}
        if names and isinstance(names[0], str):
            column = self._read_column(names[0])
            return column[0] if len(self) == 1 else tuple(column)
        keys = list(names[0]) if names else self._kernel.list_parameters(self)
        columns = {key: self._read_column(key) for key in keys}
        return {key: column[0] if len(self) == 1 else tuple(column) for key, column in columns.items()}

    @staticmethod
    def _pick_values(value: AnyValue, keys: AnyValue) -> AnyValue:
        for key in [keys] if isinstance(keys, str) else keys:
            if not isinstance(value, Mapping) or key not in value:
                known = f"; there are {', '.join(value)}" if isinstance(value, Mapping) else ""
                raise make_lookup_error(KeyError, f"there is no '{key}' in what get() returns{known}")
        return value[keys] if isinstance(keys, str) else {key: value[key] for key in keys}

    def _read_column(self, key: str) -> list[AnyValue]:
        return self._kernel.read(self, key)

    @explain_errors
    def set(self, params: object = None, **values: object) -> None:
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
            self._kernel.write(self, {key: PerNode(column) for key, column in columns.items()})
        else:
            for node, entry in zip(self, params, strict=True):
                self._kernel.write(node, entry)

    def __getattr__(self, name: str) -> AnyValue:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("spatial",):
            return None
        try:
            return self.get(name)
        except KeyError as problem:
            raise make_lookup_error(AttributeError, str(problem)) from None

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *(self._kernel.list_parameters(self) if len(self) else ())})

    def __setattr__(self, name: str, value: object) -> None:
        self.set({name: value})

    def __str__(self) -> str:
        if not len(self):
            return "NodeCollection(<empty>)"
        lines, cuts = [], np.flatnonzero(np.diff(self._ids) != 1) + 1
        for run in np.split(self._ids, cuts):
            for block, local in self._kernel.nodes.list_blocks(run):
                ids = block.first + local
                last = f", last={ids[-1]}" if len(ids) > 1 else ""
                lines.append(f"model={block.model.name}, size={len(ids)}, first={ids[0]}{last}")
        if len(lines) == 1:
            return f"NodeCollection(metadata=None, {lines[0]})"
        return "NodeCollection(metadata=None,\n               " + ";\n               ".join(lines) + ")"

    __repr__ = __str__


_keep_kernel, _keep_ids = (vars(NodeCollection)[name].__set__ for name in ("_kernel", "_ids"))


class PerNode(list):
    """One value for each node, even where a value is a list itself."""


class NodeTable:
    """All nodes of a network.

    Attributes
    ----------
    blocks : list of Block
        In order of creation.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._firsts: list[int] = []
        self._devices: dict[int, Device] = {}
        self.n = 0

    def add_nodes(self, model: NodeModel, n: int) -> np.ndarray:
        """Add `n` nodes; return their ids."""
        self.blocks.append(Block(model, self.n + 1, n))
        self._firsts.append(self.n + 1)
        self.n += n
        return np.arange(self.n - n + 1, self.n + 1)

    def list_blocks(self, ids: np.ndarray) -> list[tuple[Block, np.ndarray]]:
        """Blocks and places in them of ascending ids."""
        if not len(ids):
            return []
        owner = np.searchsorted(self._firsts, ids, side="right") - 1
        cuts = np.flatnonzero(np.diff(owner)) + 1
        return [
            (self.blocks[which[0]], part - self.blocks[which[0]].first)
            for which, part in zip(np.split(owner, cuts), np.split(ids, cuts), strict=True)
        ]

    def list_models(self, ids: np.ndarray) -> list[NodeModel]:
        """Models of the blocks that nodes belong to, in any order."""
        owner = np.searchsorted(self._firsts, ids, side="right") - 1
        return [self.blocks[which].model for which in np.flatnonzero(np.bincount(owner)).tolist()]

    def test_nodes(self, ids: np.ndarray, test: Callable[[NodeModel], bool]) -> np.ndarray:
        """Whether the models of nodes pass a test, bool (n,)."""
        passed = np.array([test(block.model) for block in self.blocks], bool)
        return passed[np.searchsorted(self._firsts, ids, side="right") - 1]

    def any_node_passes(self, ids: np.ndarray, test: Callable[[NodeModel], bool]) -> bool:
        """Whether the model of any of some nodes passes a test."""
        return any(map(test, self.list_models(ids)))

    def list_end_models(self, source: np.ndarray, target: np.ndarray) -> list[tuple[NodeModel, NodeModel]]:
        """Models at the two ends of connections, each pair once."""
        n = len(self.blocks)
        pre, post = (np.searchsorted(self._firsts, ids, side="right") - 1 for ids in (source, target))
        found = np.unique(pre * n + post).tolist()
        return [(self.blocks[key // n].model, self.blocks[key % n].model) for key in found]

    def get_device(self, node: int, dt: float, kind: type[D]) -> D:
        """A device of some class, the same each time."""
        if node not in self._devices:
            block, local = self.find_block(node)
            assert block.model.device is not None  # else `kind` is none of its classes
            self._devices[node] = block.model.device(node, block.model.name, partial(block.get_value, local=local), dt)
        device = self._devices[node]
        assert isinstance(device, kind)
        return device

    def find_block(self, node: int) -> tuple[Block, int]:
        """Block of a node, and its place in it."""
        block = self.blocks[bisect.bisect_right(self._firsts, node) - 1]
        return block, node - block.first

    def list_blocks_of_kind(self, *kinds: str) -> list[Block]:
        """Blocks of some kinds, in order of creation."""
        return [block for block in self.blocks if block.model.kind in kinds]

    def list_ids_of_kind(self, *kinds: str) -> np.ndarray:
        """Ids of the nodes of some kinds, ascending."""
        ids = [block.first + np.arange(block.n) for block in self.list_blocks_of_kind(*kinds)]
        return np.concatenate([np.zeros(0, np.int64), *ids])
