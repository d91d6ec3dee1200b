"""Sine waves: a network learns to produce a sum of four sines from frozen input noise.

Bellec et al. 2020, Supplementary; sizes, parameters and draws of NEST's tutorial
`eprop_supervised_regression_sine-waves_bsshslm_2020`.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from .. import elementary
from ..engines.sample import Sample
from ..machine import require_bytes
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import GradientDescent
from ..network.parameters import Normal
from ..network.variants import NeuronName, VariantName
from ..values import Values
from .base import LEARNING, MODEL, TaskBase, connect_dense, list_feedback_options
from .draws import LegacyNormal


class SineWaves(TaskBase):
    """With `indegree` = 0 all-to-all with the draws of the tutorial; else sparse and of any size."""

    name: ClassVar[str] = "sine-waves"
    summary: ClassVar[str] = "a sum of four sines from frozen input noise (Bellec et al. 2020)"
    figure: ClassVar[str] = "readout"

    iterations: int = Field(2000, ge=0, description="training iterations")
    eta: float | None = Field(  # type: ignore[assignment]  # None: default of the variant
        None, ge=0, description="learning rate, times (1 - kappa)^2 in the spike variant [1e-4]"
    )
    eta_out: float | None = Field(None, ge=0, description="learning rate of synapses onto readouts [eta]")
    n_in: int = Field(100, ge=1, json_schema_extra=MODEL, description="input spike sources")
    n_rec: int = Field(100, ge=1, json_schema_extra=MODEL, description="recurrent neurons")
    n_out: int = Field(1, ge=1, json_schema_extra=MODEL, description="readouts")
    n_step: int = Field(1000, ge=2, description="steps of one sample")
    neuron: NeuronName = Field("iaf", json_schema_extra=MODEL, description="model of the recurrent neurons")
    indegree: int = Field(
        0, ge=0, json_schema_extra=MODEL, description="recurrent synapses per neuron, 0 for all-to-all"
    )
    delay: int = Field(
        1, ge=1, le=31, json_schema_extra=MODEL, description="delay in steps between neurons, to the readouts and back"
    )
    feedback: Literal["random", "symmetric", "adaptive"] = Field(
        "random", json_schema_extra=LEARNING, description="learning-signal weights"
    )
    input_rate: float = Field(0.05, ge=0, le=1, description="probability of an input spike per step")
    c_reg: float = Field(
        300.0, ge=0, json_schema_extra=LEARNING, description="firing-rate regularisation, / 1000 in the spike variant"
    )
    f_target: float = Field(10.0, ge=0, json_schema_extra=LEARNING, description="target firing rate in Hz")
    kappa: float = Field(
        0.97, ge=0, lt=1, json_schema_extra=LEARNING, description="filter of the eligibility traces (spike variant)"
    )
    cutoff: float = Field(
        100.0, ge=0, json_schema_extra=LEARNING, description="eprop_isi_trace_cutoff in ms (spike variant)"
    )
    periods: tuple[int, ...] = (1000, 500, 333, 200)

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self.n_step

    @property
    def _scale(self) -> float:
        """Scale weights down in the spike variant, whose traces lack a factor 1 - kappa."""
        return self.eprop.compute_scale(self.kappa)

    def build_model(self) -> Model:
        """Return the network of the tutorial."""
        model = Model(self.variant, self.seed, optimizer=self._make_optimizer(self._eta), precision=self.precision)
        inputs = model.inputs("in", self.n_in)
        neurons = model.neurons("rec", self.n_rec, self.neuron, **self._list_neuron_parameters())
        own = self.eprop.select_parameters(
            "readout", {"eprop_isi_trace_cutoff": self.cutoff, "regular_spike_arrival": False}
        )
        out = model.readouts("out", self.n_out, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=30.0, **own)
        if self.indegree:
            self._connect_sparse(model, inputs, neurons, out)
            return model
        ends = ((inputs, neurons), (neurons, neurons), (neurons, out), (out, neurons))
        for (pre, post), weights in zip(ends, self._tutorial[:4], strict=True):
            own = {"feedback": self.feedback} if pre == out else self._list_readout_options() if post == out else {}
            delay = 1 if pre == inputs else self.delay
            connect_dense(model, pre, post, weights * self._scale, delay=delay, **own)
        return model

    @property
    def _eta(self) -> float:
        return 1e-4 if self.eta is None else self.eta

    def list_scheduled(self) -> dict[str, tuple[float, float]]:
        """Return first and last value of all settings that follow the schedule, by name."""
        return {"eta": (self._eta, self.eta_end)}

    def _make_optimizer(self, eta: float) -> GradientDescent:
        scale = self._scale * self._scale
        return GradientDescent(eta=eta * scale, batch_size=self.batch_size)

    def _list_readout_options(self) -> Values:  # arguments of `connect`
        return {} if self.eta_out is None else {"optimizer": self._make_optimizer(self.eta_out)}

    def _list_neuron_parameters(self) -> Values:
        online = self.eprop.is_online
        values = {
            "C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.03, "V_reset": 0.0, "tau_m": 30.0, "t_ref": 0.0,
            "f_target": self.f_target, "c_reg": self.c_reg / 1000.0 if online else self.c_reg, "adapt_beta": 0.0174,
            "adapt_tau": 2000.0, "surrogate_gradient_height": 10.0,
            "surrogate_gradient_width": 1.0 / 33.3 if online else 0.03, "regular_spike_arrival": False,
            "kappa": self.kappa, "kappa_reg": self.kappa, "eprop_isi_trace_cutoff": self.cutoff,
        }  # fmt: skip
        return self.eprop.select_parameters(self.neuron, values)

    def _connect_sparse(self, model: Model, inputs: Population, neurons: Population, out: Population) -> None:
        def make_normal(fan_in: int) -> Normal:
            return Normal(std=self._scale / math.sqrt(fan_in))

        model.connect(inputs, neurons, weight=make_normal(self.n_in))
        model.connect(
            neurons,
            neurons,
            "fixed_indegree",
            indegree=self.indegree,
            allow_autapses=False,
            delay=self.delay,
            weight=make_normal(self.indegree),
        )
        model.connect(neurons, out, weight=make_normal(self.n_rec), delay=self.delay, **self._list_readout_options())
        model.connect(out, neurons, delay=self.delay, **list_feedback_options(self.feedback, make_normal(self.n_rec)))

    @cached_property
    def _tutorial(self) -> tuple[np.ndarray, ...]:
        """Draw w_in, w_rec, w_out, w_fb, raster and target in the order and precision (single) of the tutorial."""
        n = self.n_in + (0 if self.indegree else self.n_rec)
        rows = self.n_step if self.indegree else max(self.n_step, self.n_rec)
        largest = max(n * rows, self.n_out * max(self.n_rec, self.n_step))
        sizes = ", ".join(f"{name} = {getattr(self, name)}" for name in ("n_in", "n_rec", "n_out", "n_step"))
        require_bytes(8 * largest, f"{sizes}: a draw")
        rng = np.random.RandomState(self.seed)
        normal = LegacyNormal(rng)
        n_in, n_rec, n_out = (self.n_in, self.n_rec, self.n_out) if not self.indegree else (self.n_in, 0, 0)
        w_in = normal.draw_normals(n_in, n_rec).T / np.sqrt(n_in)
        w_rec = normal.draw_normals(n_rec, n_rec).T / np.sqrt(max(n_rec, 1))
        w_rec[np.diag_indices(n_rec)] = np.nan
        w_out = normal.draw_normals(n_rec, n_out).T / np.sqrt(max(n_rec, 1))
        w_fb = normal.draw_normals(n_rec, n_out) / np.sqrt(max(n_rec, 1))
        raster = rng.rand(self.n_step, n_in) < self.input_rate
        raster[0] = False  # a spike that arrives in step 0 would be lost
        target = np.column_stack([self._draw_sines(rng) for _ in range(self.n_out)])
        single = (array.astype(np.float32).astype(float) for array in (w_in, w_rec, w_out, w_fb))
        return *single, raster, target

    def _draw_sines(self, rng: np.random.RandomState) -> np.ndarray:
        amplitude = rng.uniform(0.5, 2.0, len(self.periods))
        phase = rng.uniform(0.0, 2.0 * np.pi, len(self.periods))
        total = np.zeros(self.n_step)
        for a, p, period in zip(amplitude, phase, self.periods, strict=True):
            total += a * elementary.sin(np.linspace(0.0, 2.0 * np.pi * (self.n_step // period), self.n_step) + p)
        total -= total[0]
        return total / max(np.abs(total).max(), np.finfo(float).tiny)

    @cached_property
    def _sample(self) -> Sample:
        return Sample.from_raster(*self._tutorial[4:])

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the sample, the same for every index: noise and target are frozen."""
        return self._sample


class SineWavesPlus(SineWaves):
    """The spike variant with biological features, as in NEST's tutorial `eprop_supervised_regression_sine-waves`."""

    name: ClassVar[str] = "sine-waves-plus"
    summary: ClassVar[str] = "sine waves with e-prop+: per-spike updates, no resets (Korcsak-Gorzo et al. 2025)"

    variant: VariantName = "spike"
