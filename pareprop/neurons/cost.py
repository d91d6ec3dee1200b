"""What a neuron and step of a model cost on this machine: numbers that are kept, and seconds, measured in no time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np

from .calls import Cells, Real
from .compile import Program

FEW, NEURONS, STEPS, ROUNDS = 8, 1008, 10, 3


@dataclass(frozen=True)
class Cost:
    """Costs of a neuron and step.

    Attributes
    ----------
    kept : int
        Numbers that are kept of a step for the derivatives, the surrogate gradient among them.
    step, sweep : float
        Seconds of a step forward, and of one of the sweep back (interval variant).
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
    few, many = (_seconds(program, n, real) for n in (FEW, NEURONS))  # a call from Python takes as long for any number
    step, sweep = (max(b - a, 0.0) / (NEURONS - FEW) for a, b in zip(few, many, strict=True))
    return Cost(1 + program.n_kept, step, sweep)


def _seconds(program: Program, n: int, real: Real) -> list[float]:
    """Return the seconds of a step forward of n neurons, and of one back."""
    cells = Cells(program, n, {}, 1.0, real)
    ports, level = np.zeros((program.n_ports, n), real), np.zeros(n, real)
    _, psi, kept = cells.step(ports, level)
    adjoint, credit = np.zeros((program.n_adjoint, n), real), np.zeros((program.n_ports, n), real)
    row, zero = np.empty((max(program.n_kept, 1), n), real), np.zeros(n, real)
    seconds = []
    for call in (
        cells.step_caller(ports, level, row, psi),
        cells.sweep_caller(cells.before, kept, 0.1, zero, zero, adjoint, credit),
    ):
        laps = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(STEPS):
                call()
            laps.append(time.perf_counter() - start)
        seconds.append(min(laps) / STEPS)
    return seconds
