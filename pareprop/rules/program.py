"""A rule compiled for a neuron model, and its functions called from Python."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import elementary
from ..arrays import allocate_aligned
from ..neurons import compile as compiler
from ..neurons.compile import Part
from ..neurons.language import Tree, evaluate_tree
from ..values import Given, Later
from .bound import BoundRule

if TYPE_CHECKING:
    from .generate import RuleGenerator

TILE = 256  # bytes of numbers of targets that go through an interval together
LONGEST = 8  # the longest block has 2**LONGEST steps
LOSS = {8: 1e3, 4: 30.0}  # largest growth of rounding errors within a block, by bytes of a number
_programs: dict[str, RuleProgram] = {}


@dataclass(frozen=True)
class BlockTable:
    """Numbers of targets that depend on the place of a step in its block alone.

    Attributes
    ----------
    shift : ndarray
        (n,), log2 of the steps of each target's block, over which powers of its diagonal lose few digits.
    table : ndarray
        (steps of the longest block, columns, n or 1), see `RuleGenerator.table`.
    shared : bool
        Whether all targets have the same numbers.
    """

    shift: np.ndarray
    table: np.ndarray
    shared: bool


class _Event(ctypes.Structure):
    """A RULE_EVENT, see `rule_row.h`."""

    _fields_ = (
        ("step", ctypes.c_int64),
        ("enters", ctypes.c_int64),
        ("arrived", ctypes.c_double),
        ("at", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
    )


_OWES = 2  # of `rule_row.h`
_ROW = (
    "n x_stride *target *x *C *weight n_events *event stride *present *end ends end_columns shared *shift what eta. "
    "low. high. factor. *arriving ahead"
).split()


class _Row(ctypes.Structure):
    """A RULE_ROW, see `rule_row.h`."""

    _fields_ = tuple(
        (name.strip("*."), ctypes.c_void_p if "*" in name else ctypes.c_double if "." in name else ctypes.c_int64)
        for name in _ROW
    )


class RuleProgram:
    """A rule at neurons of a model, and the parts of its kernels that are loaded.

    Attributes
    ----------
    bound : BoundRule
        The rule at neurons of the model.
    n_constants, n_states, n_synapse, n_numbers, n_map, n_entries : int
        How many there are: constants of a target, states of `neuron`, states of a synapse, numbers that vary with the
        step, varying numbers of a composed map, numbers by which a spike enters it (both 0 if steps do not compose).
    """

    n_constants: int
    n_states: int
    n_synapse: int
    n_numbers: int
    n_map: int
    n_entries: int

    def __init__(self, bound: BoundRule, generator: RuleGenerator) -> None:
        self.bound, self._columns, self._diagonal = bound, generator.columns.trees, generator.diagonal
        self._own, self._generator = generator.own, generator
        self._loaded: dict[Part, ctypes.CDLL] = {}
        for name, size in generator.sizes.items():
            setattr(self, name, size)

    def load_parts(self, parts: Iterable[Part], comm: Later = None) -> None:
        """Load parts that are not loaded; collective over `comm`, as `neurons.compile.compile_model`."""
        if lacking := [part for part in parts if compiler.is_missing(comm, part in self._loaded)]:
            for part, content in zip(lacking, compiler.fetch_parts(self._generator, comm, lacking), strict=True):
                self._loaded.setdefault(part, compiler.load_library(content))

    def get_address(self, name: str, real: type) -> int:
        """Return the address of a function, "interval", or "step", "trace" or "row", for a type of numbers."""
        precision = "double" if np.dtype(real).itemsize == 8 else "single"
        part = Part("rule_interval" if name == "interval" else "rule_spike", precision)
        self.load_parts([part])
        address = ctypes.cast(getattr(self._loaded[part], f"rule_{name}_{precision}"), ctypes.c_void_p).value
        assert address
        return address

    def compute_constants(self, values: Given, n: int) -> np.ndarray:
        """Return the constants of n targets, float64 (n_constants, n), from `BoundRule.compute_values`."""
        columns = np.empty((self.n_constants, n))
        for column, tree in zip(columns, self._columns, strict=True):
            column[:] = evaluate_tree(tree, values)
        return columns

    def select_synapse_constants(self, constants: np.ndarray) -> np.ndarray:
        """Return the constants that synapses read where they follow each step, (n, n_own)."""
        return np.ascontiguousarray(constants[self._own].T)

    def build_block_table(self, values: Given, n: int, real: type) -> BlockTable:
        """Return the `BlockTable` of n targets, from `BoundRule.compute_values`."""
        if not self.n_entries:
            return BlockTable(np.zeros(n, real), np.zeros((1, 0, 1), real), True)
        keeps = [np.broadcast_to(np.abs(np.asarray(evaluate_tree(tree, values), float)), n) for tree in self._diagonal]
        least = np.minimum(np.min(keeps, axis=0, initial=1.0), 1.0)
        fades = -elementary.log(np.maximum(least, 1e-300))
        powers = np.arange(LONGEST, 0, -1)
        span = elementary.log(LOSS[np.dtype(real).itemsize])
        shift = np.select([np.ldexp(fades, power) <= span for power in powers], [*powers.astype(real)], real(0))
        given: dict[Tree, np.ndarray] = {
            tree: np.broadcast_to(np.asarray(evaluate_tree(tree, values), float), n).astype(real)
            for tree in self._generator.list_table_trees()
        }
        shared = all(bool(np.all(row == row[:1])) for row in (shift, *given.values()))
        if shared:
            given = {tree: row[:1] for tree, row in given.items()}
        return BlockTable(
            shift, self._generator.fill_table(given, (shift[:1] if shared else shift).astype(int)), shared
        )

    def allocate_scratch(self, n_steps: int, n: int, real: type) -> tuple[np.ndarray, np.ndarray]:
        """Return the arrays that "interval" writes: numbers of steps of a tile of targets; derivatives, 0 at first."""
        tile = TILE // np.dtype(real).itemsize
        going_back = allocate_aligned((-(-n // tile), self.n_synapse, tile), real)
        return allocate_aligned((n_steps, self.n_numbers, tile), real), going_back

    def step(self, n: int, u: int, places: BlockTable, *arrays: object) -> None:
        """Call the step of n targets in double precision, see `rule.pxi`; of `arrays` the modulator is a number.

        It writes the last three: numbers, entries (or None) and ends of blocks.
        """
        *_, end = arrays
        assert isinstance(end, np.ndarray)
        table = places.table, len(places.table), int(places.shared), places.shift
        self.call_function("step", n, n, u, *arrays, len(end), *table)

    def advance_trace(
        self, k: int, own: np.ndarray, number: np.ndarray, arrived: float, x: np.ndarray, C: np.ndarray
    ) -> None:
        """Take the synapse onto target k through a step, in double precision."""
        target, n = np.array([k], np.uint32), x.shape[1]
        self.call_function("trace", 1, n, target, own, number, arrived, x[:, k:], n, C[k:])

    def apply_events(
        self,
        k: int,
        events: list[tuple[int, bool, float]],
        places: BlockTable,
        state: np.ndarray,
        entry: np.ndarray,
        end: np.ndarray,
        x: np.ndarray,
        C: np.ndarray,
    ) -> None:
        """Take the synapse onto target k through events, in double precision; C becomes minus its gradient."""
        target, n, table = np.array([k], np.uint32), x.shape[1], places.table
        met = (_Event * len(events))(
            *(
                _Event(step, enters, arrived, entry[step].ctypes.data, table[step % len(table)].ctypes.data)
                for step, enters, arrived in events
            )
        )
        row = _Row(
            n=1, x_stride=n, target=target.ctypes.data, x=x[:, k:].ctypes.data, C=C[k:].ctypes.data, weight=0,
            n_events=len(events), event=ctypes.addressof(met), stride=n, present=state[self.n_states :].ctypes.data,
            end=end.ctypes.data, ends=len(end), end_columns=end.shape[1], shared=places.shared,
            shift=places.shift.ctypes.data, what=_OWES,
        )  # fmt: skip
        compiler.bind_call(self.get_address("row", np.float64), [ctypes.addressof(row)])()

    def call_function(self, name: str, *arguments: object) -> None:
        """Call a function in the precision of its first array of real numbers."""
        dtypes = (item.dtype for item in arguments if isinstance(item, np.ndarray))
        real = next(dtype.type for dtype in dtypes if dtype.kind == "f")
        compiler.bind_call(self.get_address(name, real), arguments)()


def compile_rule(bound: BoundRule, comm: Later = None, parts: Iterable[Part] = ()) -> RuleProgram:
    """Return a rule at neurons of a model, with the parts that are asked for; collective over `comm`."""
    if bound.digest not in _programs:
        from .generate import RuleGenerator  # a run without rules needs none of it

        _programs[bound.digest] = RuleProgram(bound, RuleGenerator(bound))
    _programs[bound.digest].load_parts(parts, comm)
    return _programs[bound.digest]
