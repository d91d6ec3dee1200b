"""Store and recall: store the value that is shown together with a command, over others, until the recall.

The memory task of Bellec et al. 2018 (arXiv:1803.09574), supervised, with the sizes of evidence accumulation.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from .. import rng
from ..engines.sample import Sample
from ..values import Values
from .draws import draw_noise, make_one_hot
from .memory import MemoryBase

GROUPS = ("value 0", "value 1", "store", "recall")


class StoreRecall(MemoryBase):
    """Each frame shows a value of 0 or 1; the command to store comes with one of them. Times in steps of 1 ms.

    The trial ends with the command to recall, without a value.
    """

    name: ClassVar[str] = "store-recall"
    summary: ClassVar[str] = "keep a value over others until it is asked for (Bellec et al. 2018)"

    iterations: int = Field(400, ge=0, description="training iterations at most")
    n_frames: int = Field(4, ge=1, description="frames with a value before the recall")
    frame: int = Field(200, ge=1, description="steps of a frame")
    recall: int = Field(200, ge=1, description="steps of the recall")
    adapt_tau: float = Field(1200.0, gt=0, description="time constant of the adaptive threshold in ms")
    spike_probability: float = Field(0.05, ge=0, le=1, description="of an active source per step")

    @property
    def n_steps(self) -> int:
        """Steps of one trial."""
        return self.n_frames * self.frame + self.recall

    def list_attributes(self) -> Values:
        """Return names for the figures."""
        sizes = [self.n_group] * len(GROUPS)
        return {"output_names": GROUPS[:2], "input_groups": GROUPS, "input_group_sizes": sizes}

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a new trial: all values are drawn, and the frame with the command to store."""
        draws = rng.draw_uniform(rng.make_key(self.seed, f"{phase}/values"), [index], 1 + self.n_frames)[0]
        values, stored = (draws[1:] >= 0.5).astype(int), int(draws[0] * self.n_frames)
        active = np.zeros((self.n_steps, len(GROUPS)))
        for k, value in enumerate(values):
            steps = slice(k * self.frame, (k + 1) * self.frame)
            active[steps, value] = self.spike_probability
            active[steps, 2] = self.spike_probability * (k == stored)
        active[-self.recall :, 3] = self.spike_probability
        label = int(values[stored])
        spikes = draw_noise(self.seed, f"{phase}/{index}/spikes", active, self.n_steps, self.n_group)
        return Sample(spikes, make_one_hot(label, 2, self.n_steps), label=label)
