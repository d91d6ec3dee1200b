"""The cortical microcircuit of Potjans and Diesmann 2014: its activity, without learning."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from .. import elementary, rng
from ..engines.base import Settings
from ..engines.sample import Sample
from ..errors import InputError
from ..network.connectivity import Population
from ..network.model import Model
from ..network.parameters import Normal
from ..parallel.spike_log import SpikeLog
from . import potjans_diesmann as table
from .base import MODEL, TaskBase

TOLERANCE = 1e-6  # of whole steps


class Microcircuit(TaskBase):
    """A square millimetre of early sensory cortex: four layers, each with excitatory and inhibitory neurons.

    In-degrees stay those of the full network when it has fewer neurons, unless `indegrees` says otherwise. Neurons
    start at rest; a sample goes on where the one before ended, so that the last one shows the stationary activity.
    """

    name: ClassVar[str] = "microcircuit"
    summary: ClassVar[str] = "the cortical microcircuit (Potjans and Diesmann 2014): rates of its eight populations"
    figure: ClassVar[str] = "microcircuit"

    variant: Literal["spike"] = Field(
        "spike", json_schema_extra=MODEL, description="spike (e-prop+), whose samples follow each other without a gap"
    )
    precision: Literal["double", "single"] = Field(
        "single", json_schema_extra=MODEL, description="precision of weights, state and histories"
    )
    iterations: int = Field(3, ge=0, description="samples, one after the other")
    eta: float = Field(0.0, ge=0, le=0, description="learning rate; nothing learns here")
    scale: float = Field(
        0.1, gt=0, le=1000, json_schema_extra=MODEL, description="neurons by those of the full network (77 169)"
    )
    indegrees: float = Field(
        1.0, gt=0, le=1, json_schema_extra=MODEL,
        description="in-degrees by those of the full network; below 1 weights grow and a current compensates",
    )  # fmt: skip
    background: Literal["poisson", "constant"] = Field(
        "poisson", json_schema_extra=MODEL, description="background: poisson, or constant currents of the same mean"
    )
    dt_ms: float = Field(0.1, gt=0, le=1, json_schema_extra=MODEL, description="step in ms")
    sample_ms: float = Field(500.0, gt=0, description="duration of a sample in ms")
    thalamic_hz: float = Field(
        0.0, ge=0, description="rate of the thalamic neurons in a volley of 10 ms, 120 in the article; 0 for none"
    )
    thalamic_start: float = Field(300.0, ge=0, description="time of the volley in each sample in ms")

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return max(round(self.sample_ms / self.dt_ms), 1)

    def settings(self) -> Settings:
        """Return the settings of the variant."""
        return self.eprop.settings(self.n_steps, lead=0)

    def attributes(self) -> dict[str, Any]:
        """Return attributes of the results, for the figure: rates of the full network."""
        return {"reference_names": list(table.POPULATIONS), "reference_hz": table.RATES_HZ.tolist()}

    def model(self) -> Model:
        """Return the network.

        Raises
        ------
        InputError
            If `sample_ms` is no whole number of steps.
        """
        if abs(self.sample_ms / self.dt_ms - self.n_steps) > TOLERANCE * self.n_steps:
            raise InputError(f"sample_ms = {self.sample_ms:g} must be a whole number of steps of {self.dt_ms:g} ms")
        model = Model(self.variant, self.seed, self.dt_ms, precision=self.precision)
        populations = self._add_neurons(model)
        self._connect(model, populations)
        if self.thalamic_hz:
            self._add_thalamus(model, populations)
        return model

    def _add_neurons(self, model: Model) -> list[Population]:
        growth, tau = 1.0 / np.sqrt(self.indegrees), table.NEURON["tau_syn_ex"]
        currents = table.compensate(self.indegrees, tau)
        if self.background == "constant":
            currents = currents + np.sqrt(self.indegrees) * tau / 1000.0 * table.mean_background()
        populations = []
        sizes = table.list_sizes(self.scale)
        for k, (name, size) in enumerate(zip(table.POPULATIONS, sizes, strict=True)):
            sign = 1 if table.EXCITATORY[k] else -1
            options = {**table.NEURON, "I_e": float(currents[k]), "f_target": float(table.RATES_HZ[k])}
            neurons = model.neurons(name, int(size), "iaf_psc_exp", sign=sign, **options)
            populations.append(neurons)
            if self.background == "poisson":
                rate = float(table.BACKGROUND_INDEGREE[k] * self.indegrees * table.BACKGROUND_HZ)
                model.background(neurons, rate_hz=rate, weight=table.WEIGHT * growth, port="exc")
        return populations

    def _connect(self, model: Model, populations: list[Population]) -> None:
        """Connect all pairs of populations that have synapses; a total number of them as in the article."""
        indegrees, weights = table.list_indegrees() * self.indegrees, table.list_weights() / np.sqrt(self.indegrees)
        for j, post in enumerate(populations):
            for i, pre in enumerate(populations):
                excites = bool(table.EXCITATORY[i])
                if number := round(float(indegrees[j, i]) * post.size):
                    self._add_synapses(model, pre, post, number, float(weights[j, i]), excites)

    def _add_thalamus(self, model: Model, populations: list[Population]) -> Population:
        """Add thalamic neurons and their synapses."""
        thalamus = model.inputs("thalamus", max(round(table.THALAMIC_SIZE * self.scale), 1), sign=1)
        weight = float(table.WEIGHT / np.sqrt(self.indegrees))
        for indegree, post in zip(table.list_thalamic_indegrees() * self.indegrees, populations, strict=True):
            if number := round(float(indegree) * post.size):
                self._add_synapses(model, thalamus, post, number, weight, True)
        return thalamus

    def _add_synapses(
        self, model: Model, pre: Population, post: Population, number: int, weight: float, excites: bool
    ) -> None:
        mean, std = table.DELAY[excites]
        model.connect(
            pre, post, "fixed_total_number", N=number, weight=Normal(mean=weight, std=table.SPREAD * abs(weight)),
            delay_ms=Normal(mean=mean, std=std), port="exc" if excites else "inh", sign="source", plastic=False,
        )  # fmt: skip

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a sample without target, with a thalamic volley if there are any."""
        target = np.zeros((self.n_steps, 0))
        if not self.thalamic_hz:
            return Sample(SpikeLog(self.n_steps), target)
        size = max(round(table.THALAMIC_SIZE * self.scale), 1)
        first, last = (round(time / self.dt_ms) for time in (0.0, table.THALAMIC_MS))
        key = rng.key(self.seed, f"thalamus/{phase}/{index}")
        chance = np.full(size, -elementary.expm1(-self.thalamic_hz * self.dt_ms / 1000.0))
        ids, ptr = rng.bernoulli(key, chance, last - first)
        start = min(round(self.thalamic_start / self.dt_ms), self.n_steps)
        stop = min(start + last - first, self.n_steps)
        whole = np.concatenate([np.zeros(start, np.int64), ptr[: stop - start + 1]])
        whole = np.concatenate([whole, np.full(self.n_steps - stop, whole[-1])])
        return Sample(SpikeLog.from_arrays(ids[: whole[-1]], whole), target)
