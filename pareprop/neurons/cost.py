"""Measure what a step of a neuron costs on this machine: numbers that are kept, and seconds; takes milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
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
    kept : int
        Numbers that are kept of a step for the derivatives, the surrogate gradient among them.
    step, sweep : float
        Seconds of a step forward, and of a step of the backward pass (interval variant).
    """

    kept: int
    step: float
    sweep: float


@cache
def measure(program: Program, single: bool = False) -> Cost:
    """Return the costs of a model; seconds are of one core, the fastest of a few rounds.

    Parameters
    ----------
    program : Program
        The compiled model.
    single : bool
        Whether in single precision.

    Returns
    -------
    Cost
        The costs.
    """
    real: Real = np.float32 if single else np.float64
    few, many = (_seconds(program, n, real) for n in (FEW, NEURONS))  # a call by itself takes as long for both
    step, sweep = (max(b - a, 0.0) / (NEURONS - FEW) for a, b in zip(few, many, strict=True))
    return Cost(1 + program.n_kept, step, sweep)


def _seconds(program: Program, n: int, real: Real) -> list[float]:
    """Return the seconds of a step forward of n neurons, and of one back."""
    seconds = []
    for call in calls(program, n, real).values():
        laps = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(STEPS):
                call()
            laps.append(time.perf_counter() - start)
        seconds.append(min(laps) / STEPS)
    return seconds


def calls(program: Program, n: int, real: Real = np.float64, current: float = 0.0) -> dict[str, Callable[[], None]]:
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
    """
    cells = Cells(program, n, {}, 1.0, real)
    ports, level = np.zeros((program.n_ports, n), real), np.full(n, current, real)
    _, psi, kept = cells.step(ports, level)
    adjoint, credit = np.zeros((program.n_adjoint, n), real), np.zeros((program.n_ports, n), real)
    credit[0] = psi
    row, zero = np.empty((max(program.n_kept, 1), n), real), np.zeros(n, real)
    step = cells.step_caller(ports, level, row, psi)
    sweep = cells.sweep_caller(cells.before, kept, 0.1, zero, zero, adjoint, credit)
    arrays = cells, ports, level, psi, kept, adjoint, credit, row, zero  # which calls do not keep alive by themselves
    return {"step": partial(_run, step, arrays), "sweep": partial(_run, sweep, arrays)}


def _run(call: Callable[[], None], arrays: object) -> None:
    call()
