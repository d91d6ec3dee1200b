"""What a neuron and step of a model cost on this machine: numbers that are kept, and seconds, measured in no time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .calls import Cells
from .compile import Program

NEURONS, STEPS, ROUNDS = 1000, 10, 3


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
    real: Any = np.float32 if single else np.float64
    cells = Cells(program, NEURONS, {}, 1.0, real)
    ports, level = np.zeros((program.n_ports, NEURONS), real), np.zeros(NEURONS, real)
    _, psi, kept = cells.step(ports, level)
    adjoint, credit = np.zeros((program.n_adjoint, NEURONS), real), np.zeros((program.n_ports, NEURONS), real)
    row, zero = np.empty((max(program.n_kept, 1), NEURONS), real), np.zeros(NEURONS, real)
    step = cells.step_caller(ports, level, row, psi)
    sweep = cells.sweep_caller(cells.before, kept, 0.1, zero, zero, adjoint, credit)
    seconds = []
    for call in (step, sweep):
        laps = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(STEPS):
                call()
            laps.append(time.perf_counter() - start)
        seconds.append(min(laps) / STEPS / NEURONS)
    return Cost(1 + program.n_kept, *seconds)
