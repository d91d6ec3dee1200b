"""Protocols of tasks: inputs and targets, sample by sample; episodes, or runs without an end, whose inputs depend on
the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..engines.episode import Episode
from ..engines.sample import Sample

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # of what depends on pydantic or mypy; typing has it from Python 3.13 on


class Task(Protocol):
    """Inputs, targets and score of a task: data, no loops.

    Attributes
    ----------
    n_steps : int
        Steps of one sample.
    learning_window : int
        The last steps of a sample, with a learning signal.
    available : Mapping of str to int
        Optional: how many samples there are of phases that have only some. Those of "train" make an epoch, after which
        they repeat; of others more are refused, as they would repeat.
    """

    n_steps: int
    learning_window: int

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return sample number `index` of `phase` ("train", "validate", "test"), the same on all ranks."""


class ClosedTask(Protocol):
    """Episodes in closed loop; whatever has the method `episode` is taken for one. See the module `episodes`.

    Subclasses take over the values of `seed` and of what follows `n_actions`.

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
        Whether each rank steps an environment of its own, which must be a function of seed and actions; else the first
        rank of a group steps it and broadcasts the replies.
    bootstrap : bool
        Whether the value after an episode that was cut off is read, which takes one period more; else it is 0.
    act : str
        "sample" or "greedy", in all phases but the training, which samples.
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
    """A run without an end, of which what happens next may depend on what the network has done.

    Whatever has the method `piece` is taken for one; `Simulation.advance` runs it.

    Attributes
    ----------
    n_steps : int
        Steps of a sample; samples follow each other without a break.
    learning_window : int
        The last steps of a sample, with a learning signal, where pieces have no window of their own.
    """

    n_steps: int
    learning_window: int

    def piece(self, first: int, last: int) -> Sample:
        """Return what happens in steps [first, last) of the run, which lie in one sample; the same on all ranks."""


def is_open(task: object) -> TypeIs[OpenTask]:
    """Whether a task tells what happens piece by piece."""
    return hasattr(task, "piece")


def is_closed(task: Task | ClosedTask | OpenTask) -> TypeIs[ClosedTask]:
    """Whether a task has episodes in closed loop."""
    return hasattr(task, "episode")
