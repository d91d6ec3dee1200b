"""Delayed choice: after a pause, choose the side with more cues; the reward at the end is the only feedback.

The trial of evidence accumulation (Bellec et al. 2020, figure 3) without targets. No input depends on the choice.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from .. import elementary
from ..engines.episode import Reply
from ..network.connectivity import Population
from ..network.model import Model
from ..parallel.spike_log import SpikeLog
from ..values import Values
from .base import MODEL
from .closed import ClosedBase
from .cues import GROUPS, CueTrials
from .population_code import EpisodeSpikes


class Trial:
    """One trial with input spikes and one decision in its last step; `right` is the rewarded choice."""

    def __init__(self, spikes: SpikeLog, right: int) -> None:
        self._spikes, self._right = spikes, right

    def reset(self) -> Reply:
        """Return the input spikes of the trial."""
        return Reply(self._spikes, 0.0, info={"right": float(self._right)})

    def step(self, action: int) -> Reply:
        """Choose, which ends the trial; return the reward."""
        return Reply(SpikeLog(1), float(action == self._right), terminated=True, info={"right": float(self._right)})


class DelayedChoice(CueTrials, ClosedBase):
    """Times are in steps of 1 ms; a trial is cues, pause and recall."""

    name: ClassVar[str] = "delayed-choice"
    summary: ClassVar[str] = "choose the side with more cues after a pause, learned from a reward at the end"

    batch_size: int = Field(64, ge=1, description="trials per optimizer step")
    test_samples: int = Field(1024, ge=0, description="trials of the test after training, 0 for none")
    gamma: float = Field(1.0, ge=0, le=1, description="discount per decision; there is one")
    c_H: float = Field(0.1, ge=0, description="factor of the entropy bonus")
    c_reg: float = Field(1.0, ge=0, description="coefficient of the firing-rate regularisation")
    feedback: Literal["symmetric", "random", "adaptive"] = Field("random", description="feedback weights")
    n_rec: int = Field(50, ge=1, description="recurrent neurons without adaptation")
    n_ad: int = Field(50, ge=1, json_schema_extra=MODEL, description="recurrent neurons with adaptation")
    adapt_tau: float = Field(
        500.0, gt=0, json_schema_extra=MODEL, description="time constant of the adaptive threshold in ms"
    )
    tau_out: float = Field(20.0, gt=0, description="time constant of the readouts in ms")
    n_group: int = Field(10, ge=1, description="sources in each of the four groups of inputs")
    n_cues: int = Field(1, ge=1, description="cues of a trial")
    cue: int = Field(50, ge=1, description="steps of a cue")
    spacing: int = Field(25, ge=1, description="steps before each cue")
    pause: int = Field(300, ge=0, description="steps between last cue and recall")
    recall: int = Field(50, ge=1, description="steps of the recall")
    on_side: float = Field(0.7, ge=0, le=1, description="probability that a cue is on the drawn side")
    spike_probability: float = Field(0.04, ge=0, le=1, description="of an active source per step; a quarter for noise")
    period: int = Field(1, ge=1, le=1, description="steps between decisions; there is one")
    sensor_delay: int = Field(1, ge=1, le=1, description="steps that a reply takes; there is none")

    @property
    def n_decisions(self) -> int:
        """One decision."""
        return 1

    @property
    def n_actions(self) -> int:
        """Left and right."""
        return 2

    @property
    def first(self) -> int:
        """Step of the decision, the last one."""
        return self.n_steps - 1

    @property
    def code(self) -> object:
        """This task, which has `n_sources`: there are no observations to code."""
        return self

    @property
    def n_sources(self) -> int:
        """Number of input sources."""
        return len(GROUPS) * self.n_group

    def list_attributes(self) -> Values:
        """Return names for the figures."""
        names = {"input_groups": GROUPS, "input_group_sizes": [self.n_group] * len(GROUPS)}
        return super().list_attributes() | names | {"action_names": GROUPS[:2]}

    def episode(self, index: int, phase: str = "train") -> Trial:
        """Return a new trial: a side is drawn, and each cue is on it with probability `on_side`."""
        cues, right = self.draw_cues(index, phase, self.on_side)
        spikes = EpisodeSpikes(self.seed, f"{phase}/{index}/spikes", self.n_sources, self.n_steps)
        probability = np.repeat(self.compute_spike_probabilities(cues), self.n_group, axis=1)
        return Trial(spikes.draw_spikes(probability, self.n_steps), right)

    def _add_neurons(self, model: Model) -> list[Population]:
        values = self._list_neuron_parameters() | {"t_ref": 5.0}
        adapt_beta = 1.7 * elementary.expm1(-1.0 / self.adapt_tau) / elementary.expm1(-1.0 / 20.0)
        return [
            model.neurons("reg", self.n_rec, "iaf", **values),
            model.neurons("ad", self.n_ad, "iaf_adapt", adapt_tau=self.adapt_tau, adapt_beta=adapt_beta, **values),
        ]
