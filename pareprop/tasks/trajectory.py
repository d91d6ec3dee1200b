"""A network draws a path in the plane: the base of lemniscate and handwriting.

Sizes and parameters of NEST's tutorials `eprop_supervised_regression_lemniscate_bsshslm_2020` and the one on
handwriting; weights and noise are drawn with our own generator, so any number of ranks draws the same.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from .. import elementary
from ..engines.sample import Sample
from ..network.model import Model
from ..network.optimizers import Adam, GradientDescent, Optimizer
from ..network.parameters import Normal
from ..values import Values
from .base import LEARNING, MODEL, TaskBase
from .draws import draw_noise


class Trajectory(TaskBase):
    """Two readouts follow x and y of a path; `compute_path` gives the target."""

    figure: ClassVar[str] = "trajectory"
    variant_defaults: ClassVar[dict[str, dict]] = {"spike": {"eta": 1e-2}}

    iterations: int = Field(5000, ge=0, description="training iterations")
    test_samples: int = Field(1, ge=0, description="samples of the test after training, 0 for none")
    eta: float = Field(5e-3, ge=0, description="learning rate of Adam; in the spike variant of descent, and 1e-2")
    n_in: int = Field(100, ge=1, json_schema_extra=MODEL, description="input spike sources")
    n_rec: int = Field(200, ge=1, json_schema_extra=MODEL, description="recurrent neurons, all adaptive")
    input_rate: float = Field(0.05, ge=0, le=1, description="probability of an input spike per step")
    c_reg: float = Field(
        150.0, ge=0, json_schema_extra=LEARNING, description="coefficient of the firing-rate regularisation"
    )
    f_target: float = Field(20.0, ge=0, json_schema_extra=LEARNING, description="target firing rate in Hz")
    adapt_tau: float = Field(
        2000.0, gt=0, json_schema_extra=MODEL, description="time constant of the adaptive threshold in ms"
    )
    kappa: float = Field(
        0.97, ge=0, lt=1, json_schema_extra=LEARNING, description="filter of the eligibility traces (spike variant)"
    )
    cutoff: float = Field(
        100.0, ge=0, json_schema_extra=LEARNING, description="eprop_isi_trace_cutoff in ms (spike variant)"
    )

    def list_recorded_samples(self) -> dict[tuple[str, int], str]:
        """Return the first, the last, and four samples between."""
        between = {max(self.iterations // part, 1) for part in (250, 50, 10, 2)}
        names = {("train", number * self.batch_size): f"iteration-{number}" for number in sorted(between)}
        return names | super().list_recorded_samples()

    def compute_path(self) -> np.ndarray:
        """Return x and y in every step, (n_steps, 2)."""
        raise NotImplementedError

    def build_model(self) -> Model:
        """Return the network of the tutorials: adaptive neurons only, with membrane time constants of 30 +- 2 ms."""
        model = Model(self.variant, self.seed, optimizer=self._make_optimizer(), precision=self.precision)
        inputs = model.inputs("in", self.n_in)
        values, own = self._list_variant_parameters()
        neurons = model.neurons(
            "rec",
            self.n_rec,
            "iaf_adapt",
            C_m=250.0,
            E_L=0.0,
            V_m=0.0,
            V_th=0.03,
            tau_m=Normal(mean=30.0, std=2.0),
            t_ref=0.0,
            f_target=self.f_target,
            surrogate_gradient_height=10.0,
            surrogate_gradient_width=0.03,
            adapt_tau=self.adapt_tau,
            adapt_beta=1.7 * elementary.expm1(-1.0 / self.adapt_tau) / elementary.expm1(-1.0 / 30.0),
            **values,
        )
        out = model.readouts("out", 2, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=50.0, **own)
        model.connect(inputs, neurons, weight=Normal(std=self._scale / math.sqrt(self.n_in)))
        model.connect(neurons, neurons, weight=Normal(std=self._scale / math.sqrt(self.n_rec)), allow_autapses=False)
        model.connect(neurons, out, weight=Normal(std=self._scale / math.sqrt(self.n_rec)))
        model.connect(out, neurons, weight=Normal(std=self._scale / math.sqrt(self.n_rec)))
        return model

    @property
    def _scale(self) -> float:
        """Scale weights down in the spike variant, whose traces lack a factor 1 - kappa."""
        return self.eprop.compute_scale(self.kappa)

    def _make_optimizer(self) -> Optimizer:
        if self.eprop.is_online:
            eta = self.eta * (self._scale * self._scale)
            return GradientDescent(eta=eta, batch_size=self.batch_size, optimize_each_step=False)
        return Adam(eta=self.eta, batch_size=self.batch_size, epsilon=1e-8)

    def _list_variant_parameters(self) -> tuple[Values, Values]:
        """Return the parameters of neurons and readouts in which the variants differ."""
        if not self.eprop.is_online:
            own: Values = {"regular_spike_arrival": False}
            return own | {"c_reg": self.c_reg}, own
        own = {"eprop_isi_trace_cutoff": self.cutoff}
        return own | {"c_reg": self.c_reg / self.n_steps, "kappa": self.kappa, "kappa_reg": self.kappa}, own

    @cached_property
    def _sample(self) -> Sample:
        frozen = draw_noise(self.seed, "noise", np.full(self.n_in, self.input_rate), self.n_steps)
        return Sample(frozen, np.ascontiguousarray(self.compute_path()))

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the sample, the same for every index: noise and target are frozen."""
        return self._sample
