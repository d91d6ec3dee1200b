"""Base of the supervised memory tasks: groups of inputs, a network of plain and adaptive neurons, a final recall.

Sizes and parameters of NEST's tutorial `eprop_supervised_classification_evidence-accumulation_bsshslm_2020`.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from .. import elementary
from ..engines.base import Settings
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import Adam
from ..network.parameters import Normal, Uniform
from ..values import Values
from .base import LEARNING, MODEL, TaskBase
from .draws import compute_glorot_bound

N_GROUPS = 4  # of inputs


class MemoryBase(TaskBase):
    """Errors count in the recall alone. A subclass adds settings and samples."""

    figure: ClassVar[str] = "evidence"
    n_classes: ClassVar[int] = 2
    variant_defaults: ClassVar[dict[str, dict]] = {
        "spike": {"batch_size": 1, "iterations": 64000, "validate_every": 320}
    }

    iterations: int = Field(2000, ge=0, description="training iterations at most")
    batch_size: int = Field(32, ge=1, description="trials per optimizer step, by default 1 in the spike variant")
    eta: float = Field(5e-3, ge=0, description="learning rate of Adam, times (1 - kappa)^2 / recall if spike")
    validate_every: int = Field(10, ge=0, description="iterations between validations, 0 for none")
    validate_samples: int = Field(32, ge=1, description="trials of a validation")
    stop_below: float = Field(0.05, ge=0, description="stop when the validation error is below it (NEST: 0.07)")
    stop_samples: int = Field(512, ge=1, description="trials on which the error must stay below that, to stop")
    test_samples: int = Field(512, ge=0, description="trials of the test after training")
    recall: int = Field(150, ge=1, description="steps of the recall")
    n_reg: int = Field(50, ge=1, json_schema_extra=MODEL, description="recurrent neurons without adaptation")
    n_ad: int = Field(50, ge=1, json_schema_extra=MODEL, description="recurrent neurons with adaptation")
    n_group: int = Field(10, ge=1, description="sources in each of the four groups of inputs")
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
    def learning_window(self) -> int:
        """Steps of the recall."""
        return self.recall

    def make_settings(self) -> Settings:
        """Return the settings of the variant; the interval variant averages gradients over the recall."""
        return self.eprop.make_settings(self.recall, average_gradient=True)

    def build_model(self) -> Model:
        """Return the network of the tutorial; with squared errors in the spike variant, as in the paper."""
        spiking, scale = self.eprop.is_online, self.eprop.compute_scale(self.kappa)
        eta = self.eta * (scale * scale) / self.recall if spiking else self.eta
        optimizer = Adam(eta=eta, batch_size=self.batch_size, epsilon=1e-8)
        model = Model(self.variant, self.seed, optimizer=optimizer, precision=self.precision)
        inputs = model.inputs("in", N_GROUPS * self.n_group)
        values = {
            "C_m": 1.0,
            "E_L": 0.0,
            "V_m": 0.0,
            "V_th": 0.6,
            "tau_m": 20.0,
            "t_ref": 5.0,
            "f_target": self.f_target,
            "surrogate_gradient_height": 0.3 / 0.6,
            "surrogate_gradient_width": 0.6,
        }
        if spiking:
            c_reg = self.c_reg / self.n_steps / (scale * scale)
            values |= {"c_reg": c_reg, "kappa": self.kappa, "kappa_reg": self.kappa}
            own: Values = {"loss": "mean_squared_error"}
        else:
            values |= {"c_reg": self.c_reg, "regular_spike_arrival": True}
            own = {"loss": "cross_entropy", "regular_spike_arrival": False}
        adapt_beta = 1.7 * elementary.expm1(-1.0 / self.adapt_tau) / elementary.expm1(-1.0 / 20.0)
        groups = [
            model.neurons("reg", self.n_reg, "iaf", **values),
            model.neurons("ad", self.n_ad, "iaf_adapt", adapt_tau=self.adapt_tau, adapt_beta=adapt_beta, **values),
        ]
        out = model.readouts("out", 2, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=20.0, **own)
        self._connect_populations(model, inputs, groups, out, scale if spiking else 1.0)
        return model

    def _connect_populations(
        self, model: Model, inputs: Population, groups: list[Population], out: Population, scale: float
    ) -> None:
        n_rec, bound = self.n_reg + self.n_ad, scale * compute_glorot_bound(self.n_reg + self.n_ad, 2)
        for group in groups:
            model.connect(inputs, group, weight=Normal(std=1.0 / math.sqrt(inputs.size)))
            for other in groups:
                model.connect(other, group, weight=Normal(std=1.0 / math.sqrt(n_rec)), allow_autapses=False)
            model.connect(group, out, weight=Uniform(low=-bound, high=bound))
            model.connect(out, group, weight=Normal(std=1.0 / scale))
