"""Evidence accumulation: decide, after a pause, on which side there were more cues.

Bellec et al. 2020, figure 3; sizes and parameters of NEST's tutorial
`eprop_supervised_classification_evidence-accumulation_bsshslm_2020`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from .. import elementary, rng
from ..engines.interval import IntervalSettings
from ..engines.sample import Sample
from ..engines.spike import SpikeSettings
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import Adam
from ..network.parameters import Normal, Uniform
from .base import LEARNING, MODEL, TaskBase
from .draws import glorot, noise, one_hot

GROUPS = ("left", "right", "recall", "noise")


class EvidenceAccumulation(TaskBase):
    """Times are in steps of 1 ms; a trial is cues, pause and recall, and errors count in the recall alone."""

    name: ClassVar[str] = "evidence-accumulation"
    summary: ClassVar[str] = "the side with more cues, reported after a pause (Bellec et al. 2020)"
    figure: ClassVar[str] = "evidence"
    n_classes: ClassVar[int] = 2
    variant_defaults: ClassVar[dict[str, dict]] = {
        "spike": {"batch_size": 1, "iterations": 64000, "validate_every": 320}
    }  # fmt: skip

    iterations: int = Field(2000, ge=0, description="training iterations at most")
    batch_size: int = Field(32, ge=1, description="trials per optimizer step, 1 in the spike variant")
    eta: float = Field(5e-3, ge=0, description="learning rate of Adam, times (1 - kappa)^2 / recall if spike")
    validate_every: int = Field(10, ge=0, description="iterations between validations, 0 for none")
    validate_samples: int = Field(32, ge=1, description="trials of a validation")
    stop_below: float = Field(0.05, ge=0, description="stop when the validation error is below it (NEST: 0.07)")
    stop_samples: int = Field(512, ge=1, description="trials on which the error must stay below that, to stop")
    test_samples: int = Field(512, ge=0, description="trials of the test after training")
    n_reg: int = Field(50, ge=1, json_schema_extra=MODEL, description="recurrent neurons without adaptation")
    n_ad: int = Field(50, ge=1, json_schema_extra=MODEL, description="recurrent neurons with adaptation")
    n_group: int = Field(10, ge=1, description="sources in each of the four groups of inputs")
    n_cues: int = Field(7, ge=1, description="cues of a trial")
    cue: int = Field(100, ge=1, description="steps of a cue")
    spacing: int = Field(50, ge=1, description="steps before each cue")
    pause: int = Field(1050, ge=0, description="steps between last cue and recall")
    recall: int = Field(150, ge=1, description="steps of the recall")
    spike_probability: float = Field(0.04, ge=0, le=1, description="of an active source per step; a quarter for noise")
    c_reg: float = Field(
        300.0, ge=0, json_schema_extra=LEARNING, description="coefficient of the firing-rate regularisation"
    )
    f_target: float = Field(10.0, ge=0, json_schema_extra=LEARNING, description="target firing rate in Hz")
    adapt_tau: float = Field(
        2000.0, gt=0, json_schema_extra=MODEL, description="time constant of the adaptive threshold in ms"
    )
    kappa: float = Field(
        0.95, ge=0, lt=1, json_schema_extra=LEARNING, description="filter of the eligibility traces (spike variant)"
    )

    @property
    def n_steps(self) -> int:
        """Steps of one trial."""
        return self.n_cues * (self.spacing + self.cue) + self.pause + self.recall

    @property
    def learning_window(self) -> int:
        """Steps of the recall."""
        return self.recall

    def settings(self) -> IntervalSettings | SpikeSettings:
        """Return the settings of the variant; the interval variant averages gradients over the recall."""
        if self.variant == "spike":
            return SpikeSettings(learning_window=self.recall)
        return IntervalSettings(learning_window=self.recall, average_gradient=True)

    def attributes(self) -> dict[str, Any]:
        """Return names for the figures."""
        return {"output_names": GROUPS[:2], "input_groups": GROUPS, "input_group_sizes": [self.n_group] * 4}

    def model(self) -> Model:
        """Return the network of the tutorial; with squared errors in the spike variant, as in the paper."""
        spiking, scale = self.variant == "spike", 1.0 - self.kappa
        eta = self.eta * scale**2 / self.recall if spiking else self.eta
        optimizer = Adam(eta=eta, batch_size=self.batch_size, epsilon=1e-8)
        model = Model(self.variant, self.seed, optimizer=optimizer, precision=self.precision)
        inputs = model.inputs("in", 4 * self.n_group)
        values = {
            "C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0, "t_ref": 5.0, "f_target": self.f_target,
            "surrogate_gradient_height": 0.3 / 0.6, "surrogate_gradient_width": 0.6,
        }  # fmt: skip
        if spiking:
            c_reg = self.c_reg / self.n_steps / scale**2
            values |= {"c_reg": c_reg, "kappa": self.kappa, "kappa_reg": self.kappa}
            own = {"loss": "mean_squared_error"}
        else:
            values |= {"c_reg": self.c_reg, "regular_spike_arrival": True}
            own = {"loss": "cross_entropy", "regular_spike_arrival": False}
        adapt_beta = 1.7 * elementary.expm1(-1.0 / self.adapt_tau) / elementary.expm1(-1.0 / 20.0)
        groups = [
            model.neurons("reg", self.n_reg, "iaf", **values),
            model.neurons("ad", self.n_ad, "iaf_adapt", adapt_tau=self.adapt_tau, adapt_beta=adapt_beta, **values),
        ]
        out = model.readouts("out", 2, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=20.0, **own)
        self._connect(model, inputs, groups, out, scale if spiking else 1.0)
        return model

    def _connect(
        self, model: Model, inputs: Population, groups: list[Population], out: Population, scale: float
    ) -> None:  # fmt: skip
        n_rec, bound = self.n_reg + self.n_ad, scale * glorot(self.n_reg + self.n_ad, 2)
        for group in groups:
            model.connect(inputs, group, weight=Normal(std=1.0 / math.sqrt(inputs.size)))
            for other in groups:
                model.connect(other, group, weight=Normal(std=1.0 / math.sqrt(n_rec)), allow_autapses=False)
            model.connect(group, out, weight=Uniform(low=-bound, high=bound))
            model.connect(out, group, weight=Normal(std=1.0 / scale))

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
