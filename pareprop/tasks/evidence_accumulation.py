"""Evidence accumulation: decide, after a pause, on which side there were more cues.

Bellec et al. 2020, figure 3; sizes and parameters of NEST's tutorial
`eprop_supervised_classification_evidence-accumulation_bsshslm_2020`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from .. import rng
from ..engines.sample import Sample
from .draws import noise, one_hot
from .memory import MemoryBase

GROUPS = ("left", "right", "recall", "noise")


class EvidenceAccumulation(MemoryBase):
    """Times are in steps of 1 ms; a trial is cues, pause and recall, and errors count in the recall alone."""

    name: ClassVar[str] = "evidence-accumulation"
    summary: ClassVar[str] = "the side with more cues, reported after a pause (Bellec et al. 2020)"

    n_cues: int = Field(7, ge=1, description="cues of a trial")
    cue: int = Field(100, ge=1, description="steps of a cue")
    spacing: int = Field(50, ge=1, description="steps before each cue")
    pause: int = Field(1050, ge=0, description="steps between last cue and recall")
    spike_probability: float = Field(0.04, ge=0, le=1, description="of an active source per step; a quarter for noise")

    @property
    def n_steps(self) -> int:
        """Steps of one trial."""
        return self.n_cues * (self.spacing + self.cue) + self.pause + self.recall

    def attributes(self) -> dict[str, Any]:
        """Return names for the figures."""
        return {"output_names": GROUPS[:2], "input_groups": GROUPS, "input_group_sizes": [self.n_group] * 4}

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a new trial: a side is drawn, each cue is on it with probability 0.7, the side with more cues is
        right.
        """
        draws = rng.uniform(rng.key(self.seed, f"{phase}/cues"), [index], 1 + self.n_cues)[0]
        side = int(draws[0] >= 0.5)
        cues = np.where(draws[1:] < 0.7, side, 1 - side)
        label = int(2 * cues.sum() > self.n_cues)
        spikes = noise(self.seed, f"{phase}/{index}/spikes", self._probabilities(cues), self.n_steps, self.n_group)
        return Sample(spikes, one_hot(label, 2, self.n_steps), label=label)

    def _probabilities(self, cues: np.ndarray) -> np.ndarray:
        """Return the spike probabilities, (n_steps, n_inputs / n_group)."""
        active = np.zeros((self.n_steps, 4))
        for number, cue in enumerate(cues):
            first = number * (self.spacing + self.cue) + self.spacing
            active[first : first + self.cue, cue] = self.spike_probability
        active[-self.recall :, 2] = self.spike_probability
        active[:, 3] = self.spike_probability / 4.0
        return active
