"""Evidence accumulation: decide, after a pause, on which side there were more cues.

Bellec et al. 2020, figure 3; sizes and parameters of NEST's tutorial
`eprop_supervised_classification_evidence-accumulation_bsshslm_2020`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ..engines.sample import Sample
from ..values import Values
from .cues import GROUPS, CueTrials
from .draws import draw_noise, make_one_hot
from .memory import MemoryBase

ON_SIDE = 0.7  # probability that a cue is on the drawn side


class EvidenceAccumulation(CueTrials, MemoryBase):
    """Times are in steps of 1 ms; a trial is cues, pause and recall, and errors count in the recall alone."""

    name: ClassVar[str] = "evidence-accumulation"
    summary: ClassVar[str] = "the side with more cues, reported after a pause (Bellec et al. 2020)"

    n_cues: int = Field(7, ge=1, description="cues of a trial")
    cue: int = Field(100, ge=1, description="steps of a cue")
    spacing: int = Field(50, ge=1, description="steps before each cue")
    pause: int = Field(1050, ge=0, description="steps between last cue and recall")
    spike_probability: float = Field(0.04, ge=0, le=1, description="of an active source per step; a quarter for noise")

    def list_attributes(self) -> Values:
        """Return names for the figures."""
        return {"output_names": GROUPS[:2], "input_groups": GROUPS, "input_group_sizes": [self.n_group] * 4}

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a new trial; the side with more cues is right."""
        cues, label = self.draw_cues(index, phase, ON_SIDE)
        probability = self.compute_spike_probabilities(cues)
        spikes = draw_noise(self.seed, f"{phase}/{index}/spikes", probability, self.n_steps, self.n_group)
        return Sample(spikes, make_one_hot(label, 2, self.n_steps), label=label)
