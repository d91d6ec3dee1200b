"""What watches a run, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ParepropError
from .sample import Sample

if TYPE_CHECKING:
    from .simulation import Simulation


@dataclass(frozen=True)
class Outcome:
    """What one sample gave.

    Attributes
    ----------
    index, phase : of the sample
    sample : inputs and target
    error, signal : float64 (n_steps, n_readouts)
    loss : of this sample
    """

    index: int
    phase: str
    sample: Sample
    error: np.ndarray
    signal: np.ndarray
    loss: float


class Observer:
    """Base of everything that watches a run; override what you need. All methods are collective.

    Attributes
    ----------
    everywhere : whether all groups of ranks are to be told, or the first alone, such as for writing files; samples are
        told where they run, and the first of a batch runs in the first group
    """

    everywhere = True

    def start(self, simulation: Simulation) -> None:
        """Before the first iteration of a `train` or `test`."""

    def before_sample(self, simulation: Simulation, index: int, phase: str) -> None:
        """Before a sample runs."""

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        """After a sample, before weights change (interval variant)."""

    def after_batch(self, simulation: Simulation, first: int, n: int, phase: str) -> None:
        """After samples [first, first + n) of a phase, run by one or several groups of ranks."""

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        """After iteration number `iteration` (from 0), weights changed; `loss` is the mean of its samples."""

    def finish(self, simulation: Simulation) -> None:
        """After the last iteration."""

    def failed(self, simulation: Simulation, problem: ParepropError) -> str:
        """The run can't go on, maybe in the midst of an iteration (not `simulation.between`); tell what is safe."""
        return ""

    def saved(self, simulation: Simulation) -> dict[str, Any]:
        """What the observer keeps in a checkpoint: numbers, texts, lists and small arrays; rank 0's are kept."""
        return {}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take back on every rank what `saved` gave, before `start`."""
