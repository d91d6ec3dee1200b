"""Protocol of a task: inputs and targets, sample by sample."""

from __future__ import annotations

from typing import Protocol

from ..engines.sample import Sample


class Task(Protocol):
    """Inputs, targets and score of a task: data, no loops.

    Attributes
    ----------
    n_steps : int
        Steps of one sample.
    learning_window : int
        The last steps of a sample, with a learning signal.
    """

    n_steps: int
    learning_window: int

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return sample number `index` of `phase` ("train", "validate", "test"), the same on all ranks."""
