"""Measure the seconds that a step of a neuron costs on this machine; takes milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from .calls import Cells, Real
from .compile import Program

FEW, NEURONS, STEPS, ROUNDS = 8, 1008, 10, 3  # neurons of a short and a long call, calls of a round, rounds


@dataclass(frozen=True)
class Cost:
    """Costs of a neuron and step.

    Attributes
    ----------
    step, sweep : float
        Seconds of a step forward, and of a step of the backward pass (interval variant), or 0.
    """

    step: float
    sweep: float = 0.0


@cache
def measure(program: Program, single: bool = False, sweeps: bool = True) -> Cost:
    """Return the costs of a model; seconds are of one core, the fastest of a few rounds.

    Parameters
    ----------
    program : Program
        The compiled model.
    single : bool
        Whether in single precision.
    sweeps : bool
        Whether to measure the backward pass, too.

    Returns
    -------
    Cost
        The costs.
    """
    real: Real = np.float32 if single else np.float64
    kinds = ("step", "sweep")[: 1 + sweeps]
    few, many = (_seconds(program, n, real, kinds) for n in (FEW, NEURONS))  # a call by itself takes as long for both
    return Cost(*(max(b - a, 0.0) / (NEURONS - FEW) for a, b in zip(few, many, strict=True)))


def _seconds(program: Program, n: int, real: Real, kinds: Sequence[str]) -> list[float]:
    """Return the seconds of a step forward of n neurons, and of one back."""
    seconds = []
    for call in calls(program, n, real, kinds=kinds).values():
        laps = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(STEPS):
                call()
            laps.append(time.perf_counter() - start)
        seconds.append(min(laps) / STEPS)
    return seconds


def calls(
    program: Program, n: int, real: Real = np.float64, current: float = 0.0, kinds: Sequence[str] = ("step", "sweep")
) -> dict[str, Callable[[], None]]:
    """Return calls for timing: a step forward of n neurons as "step", a step of the backward pass as "sweep".

    Parameters
    ----------
    program : Program
        The compiled model.
    n : int
        Number of neurons.
    real : type
        Precision.
    current : float
        Constant current of each in pA.
    kinds : sequence of str
        Which calls.
    """
    cells = Cells(program, n, {}, 1.0, real, kinds)
    ports, level = np.zeros((program.n_ports, n), real), np.full(n, current, real)
    _, psi, kept = cells.step(ports, level)
    adjoint, credit = np.zeros((program.n_adjoint, n), real), np.zeros((program.n_ports, n), real)
    credit[0] = psi
    row, zero = np.empty((max(program.n_kept, 1), n), real), np.zeros(n, real)
    made: dict[str, Callable[[], None]] = {
        "step": cells.step_caller(ports, level, row, psi),
        "sweep": cells.sweep_caller(cells.before, kept, 0.1, zero, zero, adjoint, credit),
    }
    arrays = cells, ports, level, psi, kept, adjoint, credit, row, zero  # which calls do not keep alive by themselves
    return {kind: partial(_run, made[kind], arrays) for kind in kinds}


def _run(call: Callable[[], None], arrays: object) -> None:
    call()
