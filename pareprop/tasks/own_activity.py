"""Activity fitting: every neuron learns its target firing rate over time, with signs kept."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from .. import elementary, rng
from ..engines.sample import Sample
from ..errors import InputError
from ..exchange_formats.event_reader import compute_fingerprint
from ..network.connectivity import Population
from ..network.degrees import AT_MOST
from ..network.local_readouts import LocalReadouts
from ..network.model import Model
from ..network.optimizers import Adam
from ..network.parameters import Normal, Uniform
from ..parallel.spike_log import SpikeLog
from ..sonata import circuit, nodes
from ..values import Values
from .base import LEARNING, MODEL, TaskBase
from .input_spikes import InputSpikes
from .target_rates import TargetRates

INPUT_HZ = 20.0
DRIVE = 0.7  # mean drive of the inputs, times V_th
TAU_M, V_TH = 20.0, 1.0  # ms, and the unit of voltages
NEURON = {
    "C_m": 1.0,
    "E_L": 0.0,
    "V_th": V_TH,
    "tau_m": TAU_M,
    "t_ref": 3.0,
    "c_reg": 0.0,
    "surrogate_gradient_height": 0.3,
    "surrogate_gradient_width": 1.0,
}
GAIN = 0.3  # of recurrent weights before they are divided by the square root of the in-degree


class OwnActivity(TaskBase):
    """A recurrent network in which each neuron has a target rate over time, and a readout of its spikes.

    The targets are synthetic: a log-normal mean rate times the exponential of a sum of three sines; or they are read
    from a file.
    """

    name: ClassVar[str] = "own-activity"
    summary: ClassVar[str] = "every neuron learns a target firing rate over time; log-normal degrees, signs kept"
    figure: ClassVar[str] = "own-activity"
    by_content: ClassVar[tuple[str, ...]] = ("activity",)

    variant: Literal["interval"] = Field("interval", description="interval (Bellec 2020), which has local readouts")
    precision: Literal["double", "single"] = Field("single", description="of weights, state and histories")
    iterations: int = Field(300, ge=0, description="training iterations")
    eta: float = Field(1e-3, ge=0, description="learning rate")
    n_rec: int = Field(1000, ge=2, json_schema_extra=MODEL, description="neurons")
    n_in: int = Field(
        400, ge=1, json_schema_extra=MODEL, description="Poisson inputs of 20 Hz, the same spikes in every iteration"
    )
    indegree: int = Field(
        110, ge=0, json_schema_extra=MODEL, description="mean number of recurrent synapses of a neuron"
    )
    indegree_in: int = Field(20, ge=0, json_schema_extra=MODEL, description="inputs of a neuron")
    sigma_degrees: float = Field(
        0.8, ge=0, le=5, json_schema_extra=MODEL, description="of the logarithm of in- and out-degrees"
    )
    excitatory: float = Field(0.6, gt=0, le=1, json_schema_extra=MODEL, description="share of neurons that excite")
    signs: bool = Field(True, description="whether weights keep the signs of their sources")
    rewire_every: int = Field(
        0, ge=0, json_schema_extra=LEARNING, description="optimizer steps between two rewirings, 0 for none"
    )
    rewire_l1: float = Field(
        0.01, ge=0, json_schema_extra=LEARNING, description="strength of the L1 term with rewiring"
    )
    tau_out: float = Field(100.0, gt=0, description="time constant of the readouts in ms")
    tau_rise: float = Field(
        0.0, ge=0, description="time constant in ms with which readouts rise, as fluorescence of calcium; 0 for none"
    )
    loss: Literal["mean_squared_error", "correlation"] = Field(
        "mean_squared_error", json_schema_extra=LEARNING, description="of a neuron: mean_squared_error or correlation"
    )
    n_step: int = Field(1000, ge=1, description="steps of a trial")
    trials: int = Field(1, ge=1, description="trials of a sample, over whose mean the loss is taken")
    noise: float = Field(0.0, ge=0, le=1, description="share of inputs with new spikes in each trial, the last ones")
    skip: int = Field(100, ge=0, description="first steps that correlations leave out")
    activity: Path | None = Field(
        None, description="HDF5 file with 'rates' in Hz, (n_step, neurons), or NWB file, in place of sines"
    )
    series: str = Field(
        "", description="of an NWB file: units, or the name of a fluorescence; needed if there are several"
    )
    sonata: Path | None = Field(
        None,
        json_schema_extra=MODEL,
        description="circuit_config.json of a SONATA network in place of the drawn one; its inputs, if it has any",
    )
    sonata_options: Values = Field(
        {},
        json_schema_extra=MODEL,
        description="sign (source, weights or free), values, projections, round_delays, default_weight, default_delay",
    )

    def list_fingerprints(self) -> dict[str, str]:
        """Return a digest of the file of the targets, if there is one."""
        return {} if self.activity is None else {"fingerprint of activity": compute_fingerprint([self.activity])}

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self.n_step * self.trials

    def list_remarks(self) -> list[str]:
        """Return a line about trials of a recording that end too early."""
        recording = self.rates.recording
        return [] if recording is None else [f"data: {line}" for line in recording.remarks]

    def list_attributes(self) -> Values:
        """Return attributes of the results, for the figure."""
        return {"measured_from": self.skip}

    def build_model(self) -> Model:
        """Return the network."""
        if self.skip >= self.n_step:
            raise InputError(f"skip = {self.skip} must be below n_step = {self.n_step}")
        rule = Adam(eta=self.eta, batch_size=self.batch_size)
        if self.sonata:
            model = self._read_network(rule)
        else:
            model = Model(self.variant, self.seed, optimizer=rule, precision=self.precision)
            model.inputs("in", self.n_in)
            neurons = model.neurons(
                "rec", self.n_rec, "iaf", sign=draw_signs(self.seed, self.n_rec, self.excitatory), **NEURON
            )
            self._connect_inputs(model)
            self._connect_neurons(model, neurons)
        self.rates.check()
        course = {"tau_rise": self.tau_rise, "loss": self.loss, "trials": self.trials}
        model.local_readouts(
            "out", model.of_role("recurrent"), tau_m=self.tau_out, weight=1000.0, feedback=1e-3, **course
        )
        return model

    def _read_network(self, rule: Adam) -> Model:
        """Return the SONATA network; without virtual populations it has the inputs of the drawn network."""
        options = {"sign": "source" if self.signs else "free", **self.sonata_options}
        options["values"] = NEURON | options.get("values", {})
        assert self.sonata is not None  # else the network is drawn
        if self._rewiring:
            options["projections"] = {"*": {"rewire": self._rewiring}, **options.get("projections", {})}
        try:
            model = Model.from_sonata(
                self.sonata,
                variant=self.variant,
                seed=self.seed,
                optimizer=rule,
                precision=self.precision,
                neuron="iaf",
                **options,
            )
        except TypeError as problem:
            known = ("sign", "values", "projections", "round_delays", "default_weight", "default_delay")
            raise InputError(f"sonata_options: {problem}; known are {', '.join(known)}") from None
        if not model.size("input"):
            model.inputs("in", self.n_in)
            self._connect_inputs(model)
        return model

    @property
    def _rewiring(self) -> dict[str, float] | None:
        """Settings of the rewiring; None without rewiring."""
        return {"every": self.rewire_every, "l1": self.rewire_l1} if self.rewire_every else None

    def _connect_inputs(self, model: Model) -> None:
        if self.indegree_in > self.n_in:
            raise InputError(f"indegree_in = {self.indegree_in} must be at most n_in = {self.n_in}")
        mean = DRIVE * V_TH / max(self.indegree_in * INPUT_HZ / 1000.0 * TAU_M, 1e-12)
        for neurons in model.of_role("recurrent"):
            model.connect(
                model.of_role("input")[0],
                neurons,
                "fixed_indegree",
                indegree=self.indegree_in,
                allow_multapses=False,
                weight=Uniform(low=0.0, high=2.0 * mean),
                rewire=self._rewiring,
            )

    def _connect_neurons(self, model: Model, neurons: Population) -> None:
        if self.indegree > (limit := int(AT_MOST * (self.n_rec - 1))):
            why = f"half of the n_rec - 1 = {self.n_rec - 1} other neurons"
            raise InputError(f"indegree = {self.indegree} must be at most {limit}, {why}")
        balance = self.excitatory / max(1.0 - self.excitatory, 1e-12)
        model.connect(
            neurons,
            neurons,
            "lognormal_degrees",
            indegree=self.indegree,
            sigma_in=self.sigma_degrees,
            sigma_out=self.sigma_degrees,
            allow_autapses=False,
            weight=Normal(std=GAIN),
            normalized=True,
            sign="source",
            keep_signs=self.signs,
            inhibition=balance if self.excitatory < 1 else 1.0,
            rewire=self._rewiring,
        )

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the sample: only the inputs with new spikes in each trial depend on `index`."""
        none, frozen = np.zeros((self.n_steps, 0)), self._frozen
        if not self.noise:
            return Sample(frozen, none, local_targets=self.rates.read)
        chance = np.where(np.arange(self._sizes[0]) < self._n_frozen, 0.0, -elementary.expm1(-INPUT_HZ / 1000.0))
        key = rng.make_key(self.seed, f"activity/noise/{phase}/{index}")
        others = SpikeLog.from_arrays(*rng.draw_bernoulli(key, chance, self.n_steps))
        return Sample(_merge_logs(self.n_steps, frozen, others), none, local_targets=self.rates.read)

    @property
    def _n_frozen(self) -> int:
        """Inputs with the same spikes in each trial."""
        return self._sizes[0] - round(self.noise * self._sizes[0])

    @cached_property
    def _frozen(self) -> SpikeLog:
        """Spikes of the inputs that repeat in each trial of a sample."""
        spikes = self._read_input_spikes()
        if spikes is None:
            rates = np.where(np.arange(self._sizes[0]) < self._n_frozen, INPUT_HZ, 0.0)
            spikes = Sample.from_rates(rates, np.zeros((self.n_step, 0)), self.seed, 0).inputs
        elif self.noise:
            raise InputError(f"noise = {self.noise} needs drawn inputs, but {self.sonata} names files of input spikes")
        steps, ids = spikes.list_spikes(self.n_step)
        starts = np.repeat(self.n_step * np.arange(self.trials), len(steps))
        return SpikeLog.from_spikes(starts + np.tile(steps, self.trials), np.tile(ids, self.trials), self.n_steps)

    def _read_input_spikes(self) -> SpikeLog | None:
        """Return the first sample of the input spikes in files of the SONATA configuration; None without files."""
        spike_files = circuit.read(self.sonata).spikes if self.sonata else []
        return InputSpikes(spike_files, self.build_model()).sample(0, self.n_step) if spike_files else None

    @cached_property
    def rates(self) -> TargetRates:
        """Target rates of the neurons."""
        readouts = LocalReadouts(name="out", of=(), tau_m=self.tau_out, tau_rise=self.tau_rise)
        return TargetRates(self.seed, self.n_step, self.trials, self._sizes[1], self.activity, self.series, readouts)

    @cached_property
    def _sizes(self) -> tuple[int, int]:
        """Numbers of inputs and of neurons."""
        if not self.sonata:
            return self.n_in, self.n_rec
        populations = nodes.read(circuit.read(self.sonata))
        inputs = sum(population.size for population in populations if population.virtual)
        return inputs or self.n_in, sum(population.size for population in populations if not population.virtual)


def draw_signs(seed: int, n: int, excitatory: float) -> np.ndarray:
    """Return the sign of each of `n` neurons, int8 (n,): +1 with probability `excitatory`, or -1."""
    drawn = rng.draw_uniform(rng.make_key(seed, "activity/sign"), np.arange(n), 1)[:, 0]
    return np.where(drawn < excitatory, 1, -1).astype(np.int8)


def _merge_logs(n_steps: int, *logs: SpikeLog) -> SpikeLog:
    """Return the spikes of several logs, sorted by step, then id."""
    steps, ids = (np.concatenate(values) for values in zip(*(log.list_spikes(n_steps) for log in logs), strict=True))
    order = np.lexsort([ids, steps])
    return SpikeLog.from_spikes(steps[order], ids[order], n_steps)
