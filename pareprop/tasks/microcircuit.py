"""The cortical microcircuit of Potjans and Diesmann 2014: its activity, and how it learns."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from .. import elementary, rng
from ..engines.base import Settings
from ..engines.sample import Sample
from ..errors import InputError
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import GradientDescent
from ..network.parameters import Distribution, LogNormal, Normal
from ..network.variants import VariantName
from ..parallel.spike_log import SpikeLog
from ..values import Given, Values
from . import potjans_diesmann as table
from .base import LEARNING, MODEL, TaskBase, list_feedback_options
from .circuit import Circuit
from .draws import make_one_hot

TOLERANCE = 1e-6  # relative error up to which a time counts as a whole number of steps
TAU_OUT, TAU_REG = 20.0, 1000.0  # ms: of the readouts, and of the filter of rates in the spike variant
CUTOFF = 30.0  # ms after its arrival, from which on a spike adds nothing to gradients (spike variant)
SURROGATE = {"surrogate_gradient_height": 0.3, "surrogate_gradient_width": 20.0}  # 1, mV
CALM = 0.1  # c_reg of inhibitory neurons, relative to excitatory ones
HIGHEST = 1e6  # pA, bound of weights
DEFAULTS: dict[str, Values] = {  # defaults of settings, by `learn`
    "nothing": {},
    "volleys": {
        "variant": "interval",
        "iterations": 150,
        "batch_size": 2,
        "sample_ms": 60.0,
        "eta": 8.0,
        "c_reg": 25.0,
        "thalamic_hz": 120.0,
        "thalamic_start": 20.0,
        "test_samples": 128,
    },
    "rates": {"variant": "interval", "iterations": 100, "sample_ms": 200.0, "eta": 4.0, "c_reg": 1000.0},
}
ONLINE: dict[str, Values] = {  # other defaults in the spike variant
    "volleys": {"iterations": 400, "batch_size": 1, "sample_ms": 80.0, "eta": 0.5, "eta_out": 2.5, "c_reg": 600.0},
    "rates": {"iterations": 300, "eta": 2.0},
}


class Microcircuit(TaskBase):
    """A square millimetre of early sensory cortex: four layers, each with excitatory and inhibitory neurons.

    In-degrees are the full network's also with fewer neurons, unless `indegrees` is below 1. Neurons start at rest;
    each sample continues from the state at the end of the previous one, so the last sample shows the stationary
    activity.

    With `learn`, all synapses between neurons and from the thalamus learn, and keep their signs. "volleys": in each
    sample one part of the thalamic neurons fires a volley, one part for each class, and readouts of L5E report the
    class. "rates": starting from wrong weights, regularisation alone brings the populations to their published rates.
    """

    name: ClassVar[str] = "microcircuit"
    summary: ClassVar[str] = "the cortical microcircuit (Potjans and Diesmann 2014): its rates; or it learns volleys"
    figure: ClassVar[str] = "microcircuit"

    variant: VariantName = Field(
        "spike",
        json_schema_extra=MODEL,
        description="spike (e-prop+), or interval, the default with learn; in both samples follow each other",
    )
    precision: Literal["double", "single"] = Field(
        "single", json_schema_extra=MODEL, description="precision of weights, state and histories"
    )
    learn: Literal["nothing", "volleys", "rates"] = Field(
        "nothing",
        json_schema_extra=LEARNING,
        description="nothing; volleys: which part of the thalamus fired; rates: the published rates, from wrong ones",
    )
    iterations: int = Field(3, ge=0, description="iterations; 150 for volleys, 100 for rates")
    eta: float = Field(
        0.0, ge=0, description="learning rate, for weights in units of their mean, per ms; 8 for volleys, 4 for rates"
    )
    eta_out: float = Field(
        2.0, ge=0, json_schema_extra=LEARNING, description="learning rate of the readouts, in units of theirs"
    )
    scale: float = Field(
        0.1,
        gt=0,
        le=1000,
        json_schema_extra=MODEL,
        description="number of neurons, relative to the full network (77 169)",
    )
    indegrees: float = Field(
        1.0,
        gt=0,
        le=1,
        json_schema_extra=MODEL,
        description="in-degrees, relative to the full network; below 1 weights grow and a current compensates",
    )
    background: Literal["poisson", "constant"] = Field(
        "poisson", json_schema_extra=MODEL, description="background: poisson, or constant currents of the same mean"
    )
    spread: Literal["normal", "lognormal"] = Field(
        "normal", json_schema_extra=MODEL, description="distribution of weights, a tenth of their mean wide"
    )
    dt_ms: float = Field(0.1, gt=0, le=1, json_schema_extra=MODEL, description="step in ms")
    sample_ms: float = Field(500.0, gt=0, description="duration of a sample in ms; 60 for volleys, 200 for rates")
    thalamic_hz: float = Field(
        0.0, ge=0, description="rate of the thalamic neurons in a volley of 10 ms, 120 in the article; 0 for none"
    )
    thalamic_start: float = Field(300.0, ge=0, description="time of the volley in each sample in ms; 20 to learn it")
    jitter: float = Field(5.0, ge=0, description="most ms by which a volley that is learned comes earlier or later")
    classes: int = Field(
        2, ge=2, json_schema_extra=MODEL, description="classes of volleys, each from an equal part of the thalamus"
    )
    c_reg: float = Field(
        0.0,
        ge=0,
        json_schema_extra=LEARNING,
        description="coefficient of the firing-rate regularisation; 25 for volleys, 1000 for rates",
    )
    wrong: float = Field(
        0.1,
        ge=0,
        json_schema_extra=MODEL,
        description="learn=rates: spread of the logarithm of factors of the weights, one for each pair of populations",
    )

    @classmethod
    def find_defaults(cls, values: Given) -> Given:
        """Return defaults that depend on `learn`."""
        learn = values.get("learn")
        defaults = DEFAULTS.get(learn, {}) if isinstance(learn, str) else {}
        more = ONLINE.get(str(learn), {}) if values.get("variant") == "spike" else {}
        return {**defaults, **more}

    @model_validator(mode="after")
    def _check_learning(self) -> Microcircuit:
        if self.learn == "nothing" and self.eta:
            raise ValueError(f"eta = {self.eta:g} needs learn = 'volleys' or 'rates'")
        if self.learn != "volleys":
            return self
        earliest = self.thalamic_start - self.jitter
        if not self.thalamic_hz:
            raise ValueError("learn = 'volleys' needs thalamic_hz above 0")
        if not self.sample_ms > earliest:
            text = f"sample_ms = {self.sample_ms:g} must be above {earliest:g}, when the earliest volley comes"
            raise ValueError(text)
        if self.classes > self._thalamic_size:
            raise ValueError(f"classes = {self.classes} must be at most {self._thalamic_size}, the thalamic neurons")
        return self

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return max(round(self.sample_ms / self.dt_ms), 1)

    @property
    def learning_window(self) -> int:
        """Steps after the start of the earliest volley, if volleys are learned."""
        first = round(max(self.thalamic_start - self.jitter, 0.0) / self.dt_ms)
        return max(self.n_steps - first, 0) if self.learn == "volleys" else 0

    def make_settings(self) -> Settings:
        """Return the settings of the variant: the network continues from sample to sample."""
        return self.eprop.make_settings(self.learning_window, lead=0, reset=False)

    def list_attributes(self) -> Values:
        """Return attributes of the results, for the figure: rates of the full network."""
        return {"reference_names": list(self.circuit.names), "reference_hz": self.circuit.rates_hz.tolist()}

    # ---- network -----------------------------------------------------------------------------------------------------

    @property
    def circuit(self) -> Circuit:
        """The full network."""
        return table.build_circuit()

    @property
    def weight_unit(self) -> float:
        """Weight in pA of an excitatory synapse of this network."""
        return float(table.WEIGHT / np.sqrt(self.indegrees))

    def build_model(self) -> Model:
        """Return the network; `InputError` if `sample_ms` is not a whole number of steps."""
        if abs(self.sample_ms / self.dt_ms - self.n_steps) > TOLERANCE * self.n_steps:
            raise InputError(f"sample_ms = {self.sample_ms:g} must be a whole number of steps of {self.dt_ms:g} ms")
        rule: Values = {"Wmin": -HIGHEST, "Wmax": HIGHEST, "batch_size": self.batch_size, "normalized": True}
        if self.eprop.is_online:
            rule |= {"optimize_each_step": False}
        optimizer = GradientDescent(eta=self.eta * self.dt_ms * (self.weight_unit * self.weight_unit), **rule)
        model = Model(self.variant, self.seed, self.dt_ms, precision=self.precision, optimizer=optimizer)
        populations = self._add_neurons(model)
        self._connect_populations(model, populations)
        if self.thalamic_hz:
            self._add_thalamus(model, populations)
        if self.learn == "volleys":
            self._add_readouts(model, populations, rule)
        return model

    def _add_neurons(self, model: Model) -> list[Population]:
        circuit, tau = self.circuit, table.NEURON["tau_syn_ex"]
        currents = circuit.compute_compensation(self.indegrees, tau)
        if self.background == "constant":
            currents = currents + np.sqrt(self.indegrees) * tau / 1000.0 * circuit.compute_mean_poisson()
        populations = []
        for k, size in enumerate(circuit.list_sizes(self.scale)):
            sign = 1 if circuit.excitatory[k] else -1
            options = {**table.NEURON, **self._list_learning_parameters(sign), "I_e": float(currents[k])}
            neurons = model.neurons(
                circuit.names[k],
                int(size),
                "iaf_psc_exp",
                sign=sign,
                area=circuit.areas[k],
                f_target=float(circuit.rates_hz[k]),
                **options,
            )
            populations.append(neurons)
            for item in circuit.poisson if self.background == "poisson" else ():
                rate, weight = float(item.rate_hz[k] * self.indegrees), float(item.weight[k] / np.sqrt(self.indegrees))
                if rate:
                    name = item.name and f"{item.name}->{neurons.name}"
                    model.background(neurons, rate_hz=rate, weight=weight, port="exc", name=name)
        return populations

    def _list_learning_parameters(self, sign: int) -> dict[str, float]:
        """Return the parameters of surrogate gradient, regularisation and filters of neurons; {} if nothing learns."""
        if self.learn == "nothing":
            return {}
        c_reg = self.c_reg / (self.dt_ms * self.dt_ms) * (1.0 if sign > 0 else CALM)  # rates per step, sums of steps
        if not self.eprop.is_online:
            return {**SURROGATE, "c_reg": c_reg}
        kappa, kappa_reg = (float(elementary.exp(-self.dt_ms / tau)) for tau in (TAU_OUT, TAU_REG))
        c_reg *= self.dt_ms / self.n_steps / self.eprop.compute_scale(kappa)
        return {**SURROGATE, "c_reg": c_reg, "kappa": kappa, "kappa_reg": kappa_reg, "eprop_isi_trace_cutoff": CUTOFF}

    def _connect_populations(self, model: Model, populations: list[Population]) -> None:
        """Connect populations, each pair by a fixed total number of synapses, as in the article."""
        circuit = self.circuit
        indegrees, weights = circuit.indegrees * self.indegrees, circuit.weights / np.sqrt(self.indegrees)
        if self.learn == "rates":
            drawn = rng.draw_normal(
                rng.make_key(self.seed, "microcircuit/wrong"), np.arange(len(weights)), len(weights)
            )
            weights = weights * elementary.exp(self.wrong * drawn)
        for j, post in enumerate(populations):
            for i in np.flatnonzero(indegrees[j]):
                if number := round(float(indegrees[j, i]) * post.size):
                    delay = circuit.delays[j, i]
                    excites = bool(circuit.excitatory[i])
                    self._add_synapses(model, populations[i], post, number, float(weights[j, i]), delay, excites)

    def _add_thalamus(self, model: Model, populations: list[Population]) -> None:
        """Add thalamic neurons and their synapses."""
        thalamus = model.inputs("thalamus", self._thalamic_size, sign=1)
        for indegree, post in zip(self.circuit.thalamic * self.indegrees, populations, strict=True):
            if number := round(float(indegree) * post.size):
                self._add_synapses(model, thalamus, post, number, self.weight_unit, np.array(table.DELAY[True]), True)

    @property
    def _thalamic_size(self) -> int:
        return max(round(table.THALAMIC_SIZE * self.scale), 1)

    def _add_synapses(
        self,
        model: Model,
        pre: Population,
        post: Population,
        number: int,
        weight: float,
        delay: np.ndarray,
        excites: bool,
    ) -> None:
        drawn: Distribution = Normal(mean=weight, std=table.SPREAD * abs(weight))
        if self.spread == "lognormal":  # of the same mean and deviation; signs come from the sources
            variance = float(elementary.log1p(table.SPREAD * table.SPREAD))
            drawn = LogNormal(mean=float(elementary.log(abs(weight))) - 0.5 * variance, std=math.sqrt(variance))
        model.connect(
            pre,
            post,
            "fixed_total_number",
            N=number,
            weight=drawn,
            delay_ms=Normal(mean=float(delay[0]), std=float(delay[1])),
            port="exc" if excites else "inh",
            sign="source",
            plastic=self._is_plastic(pre, post),
        )

    def _is_plastic(self, pre: Population, post: Population) -> bool:
        """Return whether synapses between two populations learn."""
        return self.learn != "nothing"

    def _add_readouts(self, model: Model, populations: list[Population], rule: Values) -> None:
        """Add a readout for each class, which receives from one population and sends its errors to all neurons."""
        readouts = model.readouts("class", self.classes, C_m=1.0, E_L=0.0, tau_m=TAU_OUT, loss="cross_entropy")
        (read,) = (item for item in populations if item.name == self.circuit.read)
        weight = Normal(std=1.0 / math.sqrt(read.size))
        optimizer = GradientDescent(eta=self.eta_out * (weight.std * weight.std), **rule)
        model.connect(read, readouts, weight=weight, optimizer=optimizer)
        for post in populations:
            model.connect(readouts, post, **list_feedback_options("symmetric" if post == read else "random", weight))

    # ---- samples -----------------------------------------------------------------------------------------------------

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a sample: with a thalamic volley if `thalamic_hz` > 0; with its class as target if volleys learn."""
        if self.learn == "volleys":
            label, shift = self._draw_trial(index, phase)
            first, last = (self._thalamic_size * k // self.classes for k in (label, label + 1))
            target = make_one_hot(label, self.classes, self.n_steps)
            return Sample(self._draw_volley(index, phase, first, last, shift), target, label=label)
        target = np.zeros((self.n_steps, 0))
        if not self.thalamic_hz:
            return Sample(SpikeLog(self.n_steps), target)
        return Sample(self._draw_volley(index, phase, 0, self._thalamic_size, 0.0), target)

    def _draw_trial(self, index: int, phase: str) -> tuple[int, float]:
        """Return the class of a sample, and the delay of its volley in ms.

        Samples follow each other in blocks with all classes in random order. The common part of the volleys, which is
        far larger than their differences, thus cancels in the gradient of a batch with all classes.
        """
        turn, place = divmod(index, self.classes)
        order, lateness = np.split(
            rng.draw_uniform(rng.make_key(self.seed, f"volley/{phase}"), [turn], 2 * self.classes)[0], 2
        )
        label = int(np.argsort(order, kind="stable")[place])
        return label, self.jitter * (2.0 * float(lateness[place]) - 1.0)

    def _draw_volley(self, index: int, phase: str, first: int, last: int, shift_ms: float) -> SpikeLog:
        """Return the spikes of thalamic neurons [first, last) in a volley that comes `shift_ms` later than usual."""
        length = round(table.THALAMIC_MS / self.dt_ms)
        key = rng.make_key(self.seed, f"thalamus/{phase}/{index}")
        chance = np.zeros(self._thalamic_size)
        chance[first:last] = -elementary.expm1(-self.thalamic_hz * self.dt_ms / 1000.0)
        steps, ids = SpikeLog.from_arrays(*rng.draw_bernoulli(key, chance, length)).list_spikes(length)
        steps += max(round((self.thalamic_start + shift_ms) / self.dt_ms), 0)
        inside = steps < self.n_steps
        return SpikeLog.from_spikes(steps[inside], ids[inside], self.n_steps)
