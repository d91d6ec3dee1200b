"""A rule compiled for a neuron model, and its functions called from Python."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .. import elementary
from ..neurons import compile as compiler
from ..neurons.language import evaluate
from ..values import Given, Later
from .bound import Bound
from .generate import RuleGenerator

BLOCKS = (256, 128, 64, 32, 16, 8, 4, 2)  # steps
LOSS = {8: 1e3, 4: 30.0}  # factor of rounding errors that a block may have, by bytes of a number
_programs: dict[str, RuleProgram] = {}


class RuleProgram:
    """A rule at neurons of a model, whose kernels are loaded.

    Attributes
    ----------
    bound : Bound
        The rule at neurons of the model.
    n_constants, n_states, n_synapse, n_numbers, n_map : int
        Numbers of a target that do not move, states of `neuron`, states of a synapse, numbers of a step that move, and
        those of a map of steps, 0 if they do not compose.
    """

    n_constants: int
    n_states: int
    n_synapse: int
    n_numbers: int
    n_map: int

    def __init__(self, bound: Bound, generator: RuleGenerator, content: bytes) -> None:
        self.bound, self._columns, self._diagonal = bound, generator.columns.trees, generator.diagonal
        self._library, self._own = compiler.load_library(content), generator.own
        for name, size in generator.sizes.items():
            setattr(self, name, size)

    def address(self, name: str, real: type) -> int:
        """Return the address of a function, "step" or "trace", for a type of numbers."""
        precision = "double" if np.dtype(real).itemsize == 8 else "single"
        address = ctypes.cast(getattr(self._library, f"rule_{name}_{precision}"), ctypes.c_void_p).value
        assert address
        return address

    def constants(self, values: Given, n: int) -> np.ndarray:
        """Return the numbers of n targets that do not move, float64 (n_constants, n), of what `Bound.values` gave."""
        columns = np.empty((self.n_constants, n))
        for column, tree in zip(columns, self._columns, strict=True):
            column[:] = evaluate(tree, values)
        return columns

    def blocks(self, values: Given, n: int, real: type) -> np.ndarray:
        """Return the steps of a block of n targets, float64 (n,): the diagonal's power over them loses few digits."""
        if not self.n_map:
            return np.ones(n)
        keeps = [np.broadcast_to(np.abs(np.asarray(evaluate(tree, values), float)), n) for tree in self._diagonal]
        least = np.minimum(np.min(keeps, axis=0), 1.0)
        fades = -elementary.log(np.maximum(least, 1e-300))
        span = elementary.log(LOSS[np.dtype(real).itemsize])
        return np.select([fades * steps <= span for steps in BLOCKS], list(map(float, BLOCKS)), 1.0)

    def own(self, constants: np.ndarray) -> np.ndarray:
        """Return what synapses read of constants and steps of a block, (n_constants + 1, n), as (n, n_own)."""
        return np.ascontiguousarray(constants[[*self._own, self.n_constants]].T)

    def step(self, n: int, width: int, u: int, *arrays: object) -> None:
        """Call the step of n targets in double precision, see `learners.pxi`; of `arrays` the modulator is a number."""
        self._call("step", n, n, width, u, *arrays)

    def follow(
        self, n: int, own: np.ndarray, ring: np.ndarray, u: int, end: int | None, arrived: float,
        target: np.ndarray, x_stride: int, x: np.ndarray, C: np.ndarray,
    ) -> None:  # fmt: skip
        """Let n synapses go through steps [u, end) by maps, or through step u, in double precision."""
        width, row = ring.shape[2], ring.shape[1] * ring.shape[2]
        if end is None:
            self._call("trace", n, width, target, own, ring[u], arrived, x, x_stride, C)
        else:
            self._call("window", n, width, target, own, ring, row, len(ring), u, end, arrived, x, x_stride, C)

    def _call(self, name: str, *arguments: object) -> None:
        kinds = {np.ndarray: ctypes.c_void_p, float: ctypes.c_double, np.float64: ctypes.c_double}
        types = [kinds.get(type(item), ctypes.c_int64) for item in arguments]
        given = [item.ctypes.data if isinstance(item, np.ndarray) else item for item in arguments]
        ctypes.CFUNCTYPE(None, *types)(self.address(name, np.float64))(*given)

    def call(self, name: str, *arguments: object) -> None:
        """Call a function with arrays and whole numbers; arrays say in which precision."""
        arrays = [item for item in arguments if isinstance(item, np.ndarray)]
        types = [ctypes.c_void_p if isinstance(item, np.ndarray) else ctypes.c_int64 for item in arguments]
        given = [item.ctypes.data if isinstance(item, np.ndarray) else item for item in arguments]
        ctypes.CFUNCTYPE(None, *types)(self.address(name, arrays[0].dtype.type))(*given)


class _Source:
    """What `compiler` makes a shared object of, in place of a neuron model."""

    def __init__(self, bound: Bound, generator: RuleGenerator) -> None:
        self.name, self.digest, self.here = bound.name, bound.digest, bound.here
        self._generator = generator

    code_files = tuple(Path(__file__).parent / f"{name}.py" for name in ("linear", "bound", "generate", "definition"))

    def write_source(self, headers: Mapping[str, str]) -> str:
        """Return the C."""
        return self._generator.source(headers)


def compile_rule(bound: Bound, comm: Later = None) -> RuleProgram:
    """Return the kernels of a rule at neurons of a model; collective over `comm`, as `neurons.compile.compile`."""
    if compiler.is_lacked(comm, _programs.get(bound.digest)):
        generator = RuleGenerator(bound)
        content = compiler.fetch(_Source(bound, generator), comm)
        _programs.setdefault(bound.digest, RuleProgram(bound, generator, content))
    return _programs[bound.digest]
