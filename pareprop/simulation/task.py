"""Protocols of tasks: samples of fixed inputs and targets (`Task`), episodes (`ClosedTask`), open runs (`OpenTask`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..engines.episode import Episode
from ..engines.sample import Sample

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # comes with pydantic and mypy; in typing from Python 3.13 on


class Task(Protocol):
    """A task with samples: their inputs and targets are known before the network runs.

    Attributes
    ----------
    n_steps : int
        Steps of one sample.
    learning_window : int
        Number of steps at the end of a sample that have a learning signal.
    available : Mapping of str to int
        Optional: number of samples of each phase with a fixed number. Samples of "train" make an epoch and then repeat;
        of other phases more are refused, because they would repeat.
    classes : list of str
        Optional: names of the classes that a label may be, for figures of a run.
    """

    n_steps: int
    learning_window: int

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return sample number `index` of `phase` ("train", "validate", "test"), the same on all ranks."""


class ClosedTask(Protocol):
    """A task with episodes in closed loop: any object with the method `episode`. See the module `episodes`.

    Subclasses inherit the defaults of `seed` and of the attributes after `n_actions`.

    Attributes
    ----------
    n_steps : int
        Most steps of an episode.
    seed : int
        Seed of actions.
    first, period : int
        Step of the first decision, and steps between decisions.
    n_actions : int
        Number of actions; the network has a readout for each, and one for the value.
    sensor_delay : int
        Steps from a decision to the first one that the reply drives, at least 1.
    replicated : bool
        Whether each rank steps its own environment, which must be a function of seed and actions; else the first
        rank of a group steps it and broadcasts the replies.
    bootstrap : bool
        Whether the network's value after an episode without end is read, one period later; else it counts as 0.
    act : str
        How actions are chosen outside of training: "sample" or "greedy". Training samples.
    """

    n_steps: int
    seed: int = 1
    first: int
    period: int
    n_actions: int
    sensor_delay: int = 1
    replicated: bool = False
    bootstrap: bool = False
    act: str = "sample"

    def episode(self, index: int, phase: str = "train") -> Episode:
        """Return episode number `index` of `phase`."""


class OpenTask(Protocol):
    """A run without an end, whose next inputs may depend on the network's activity so far.

    Any object with the method `piece`; `Simulation.advance` runs it.

    Attributes
    ----------
    n_steps : int
        Steps of a sample; samples follow each other without a break.
    learning_window : int
        Number of steps at the end of a sample that have a learning signal, if pieces do not state theirs.
    """

    n_steps: int
    learning_window: int

    def piece(self, first: int, last: int) -> Sample:
        """Return inputs and targets of steps [first, last) of the run, all in one sample; the same on all ranks."""


class LateTask(OpenTask, Protocol):
    """A run without an end in the interval variant, whose pieces need no targets.

    Any task with the method `late_target` is one. Weights change just before the step after a batch.
    """

    def late_target(self) -> np.ndarray:
        """Return the target of the ended sample, float64 (n_steps, n_readouts); called just before the next step."""


def is_open(task: object) -> TypeIs[OpenTask]:
    """Whether a task delivers its samples in pieces, without a fixed end."""
    return hasattr(task, "piece")


def is_closed(task: Task | ClosedTask | OpenTask) -> TypeIs[ClosedTask]:
    """Whether a task has episodes in closed loop."""
    return hasattr(task, "episode")


def ends_late(task: Task | ClosedTask | OpenTask) -> TypeIs[LateTask]:
    """Whether the target of a sample is requested just before the step after it."""
    return hasattr(task, "late_target")
