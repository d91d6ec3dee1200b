"""The compiled functions of a model called from Python, for checks and tests; engines call them from compiled code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..values import Given
from .compile import Program, Table, bind_call, is_shared

Real = type[np.floating[Any]]  # Any: of one width or another


class Cells:
    """Neurons of one model, and the functions of `cython_core/neuron_model.h` on them; columns are rows here.

    Parameters
    ----------
    program : Program
        The compiled model.
    n : int
        Number of neurons, or of synapses.
    values : Mapping of str to float or ndarray
        Parameters that are not defaults, one value or (n,).
    dt : float
        Time step in ms.
    real : type
        `np.float64` or `np.float32`.
    kinds : str
        Parts with the functions that are called, see `Program.get_address`.

    Attributes
    ----------
    state : ndarray
        (n_states, n), of type `real`.
    z, refractory : ndarray
        (n,): spikes of the latest step, and steps of refractoriness left.
    before : ndarray
        (n_kept, n): values that the latest step stored.
    """

    def __init__(
        self,
        program: Program,
        n: int,
        values: Given,
        dt: float,
        real: Real = np.float64,
        kinds: Sequence[str] = ("quick",),
    ) -> None:
        self.program, self.n, self.dt, self.real = program, n, dt, real
        self._table = Table.from_address(program.get_address(real, *kinds))
        with np.errstate(over="ignore"):  # a bound of -1.8e308 is infinite in single precision
            self.constant = program.compute_constants(values, dt, n).astype(real)
        self.state = program.compute_initial(values, dt, n).astype(real)
        self.z, self.refractory = np.zeros(n, real), np.zeros(n, real)
        t_ref = np.broadcast_to(values.get("t_ref", program.definition.defaults["t_ref"]), n)
        self.t_ref = np.rint(t_ref / dt).astype(real)
        self.shared = int(is_shared(self.constant, self.t_ref))
        self.before = np.zeros((program.n_kept, n), real)
        self._step: tuple[Callable[[], None], np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None
        self._call_function("start", n, n, dt, self.constant, self.state, self.z, self.refractory, self.before)

    def bind_function(self, name: str, *arguments: object) -> Callable[[], None]:
        """Return a call of a function; `dt`, the third argument, is double, other floats are `real`."""
        given = [
            self.real(item) if isinstance(item, float) and place != 2 else item for place, item in enumerate(arguments)
        ]
        return bind_call(getattr(self._table, name), given)

    def _call_function(self, name: str, *arguments: object) -> None:
        self.bind_function(name, *arguments)()

    def step(self, ports: object, current: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Advance neurons by a step; return z, psi (n,) and kept (n_kept, n).

        `ports` (n_ports, n) are the sums of arriving spikes, `current` (n,) is I. z are spikes, psi surrogate
        gradients, and kept the values of this step that derivatives need.
        """
        if self._step is None:
            port = np.empty((self.program.n_ports, self.n), self.real)
            level, psi = np.empty((2, self.n), self.real)
            kept = np.empty((max(self.program.n_kept, 1), self.n), self.real)
            self._step = self.bind_step(port, level, kept, psi), port, level, kept, psi
        call, port, level, kept, psi = self._step
        port[:], level[:] = np.asarray(ports), np.asarray(current)
        call()
        return self.z.copy(), psi.copy(), kept[: self.program.n_kept].copy()

    def bind_step(
        self, ports: np.ndarray, current: np.ndarray, kept: np.ndarray, psi: np.ndarray
    ) -> Callable[[], None]:
        """Return a call of a step on arrays of type `real`, which it does not keep alive; none is forced to spike."""
        return self.bind_function(
            "step", self.n, self.n, self.dt, self.constant, self.shared, self.t_ref, current, ports, self.state, self.z,
            self.refractory, self.before, kept, psi, 0,
        )  # fmt: skip

    def advance_trace(
        self, port: int, before: np.ndarray, kept: np.ndarray, psi: np.ndarray, arrived: float, trace: np.ndarray
    ) -> np.ndarray:
        """Advance the traces (n_traces, n) of one synapse onto each neuron in place; return e (n,)."""
        e = np.empty(self.n, self.real)
        self._call_function(
            "trace", self.n, self.n, self.dt, port, self.constant, before, kept, psi, float(arrived), trace, self.n, e
        )
        return e

    def run_backward_step(
        self,
        before: np.ndarray,
        kept: np.ndarray,
        share: float,
        signal: np.ndarray,
        rate: np.ndarray,
        adjoint: np.ndarray,
        psi: np.ndarray,
    ) -> np.ndarray:
        """Take one step of the backward pass, changing `adjoint` (n_adjoint, n) in place; return port gradients
        (n_ports, n).

        A port gradient is the contribution of an arrival at the port to the gradient.
        """
        gradient = np.zeros((self.program.n_ports, self.n), self.real)
        gradient[0] = psi
        self.bind_backward_step(before, kept, float(share), signal, rate, adjoint, gradient)()
        return gradient

    def bind_backward_step(self, *arguments: np.ndarray | float) -> Callable[[], None]:
        """Return a call of a step of the backward pass on arrays of type `real`, which it does not keep alive.

        Its arguments are the arguments of `run_backward_step`; the last one is the result array, with psi in its first
        row.
        """
        *given, gradient = arguments
        return self.bind_function(
            "sweep", self.n, self.n, self.dt, self.constant, self.shared, *given, gradient, self.n
        )

    def decay_trace(self, n_steps: int, trace: np.ndarray) -> None:
        """Let traces decay for `n_steps` past a cutoff, in place."""
        self._call_function("decay", self.n, self.n, self.dt, n_steps, self.constant, trace, self.n)
