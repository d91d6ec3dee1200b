"""The benchmark: its settings (`Bench`), network and task, and its figures, the keys of `bench --json` (`run`).

Timing
------
`train_seconds` covers samples and optimizer steps after the network is built, the first access to the memory of the
histories included; with several ranks it is taken from barrier to barrier. Drawing the network and the inputs, counting
events, and the digest are not included. `joules` is the energy of the machines in this time, if they measure it.
`other_cores` is the number of cores of a machine that other programs kept busy. Each phase other than `build` is the
maximum over ranks. Their sum is `train_seconds` minus interpreter overhead and, with several ranks, waiting time.
"""

from __future__ import annotations

import math
import socket
import time
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from .. import elementary, machine, rng
from ..algorithms.base import OntoNeurons
from ..algorithms.choice import ALGORITHMS, Algorithms
from ..engines.sample import Sample
from ..errors import InputError, quote
from ..machine import peak_rss_bytes, require_bytes
from ..network.model import Model
from ..network.optimizers import OPTIMIZERS, Adam, OptimizerName
from ..network.parameters import Frozen, Normal, Uniform
from ..network.rewire import Rewire
from ..network.rule_options import ShortTerm
from ..network.synapse_table import SynapseTable
from ..network.variants import DEFAULT, VARIANTS, VariantName, find_variant
from ..neurons import library
from ..neurons.model import NeuronModel
from ..parallel import collectives
from ..parallel.drawn_spikes import DrivenExchange
from ..parallel.exchange import Exchange
from ..parallel.mpi import Comm
from ..parallel.spike_log import SpikeLog
from ..simulation.loop import Simulation
from ..values import Values
from .counters import Counters

LARGEST = 2**31  # larger sizes are refused
PHASES = ("build", "wait", "communicate", "pack", "look_up", "deliver", "update", "sweep", "credit", "optimize")
INPUT_PROBABILITY = 0.05
KAPPA = 0.97  # filter of eligibility traces in the spike variant; about the decay per step of a readout with 30 ms
CUTOFF = 100  # steps, of eligibility traces in the spike variant
ADAPTATION = {"adapt_tau": 200.0, "adapt_beta": 0.0025}  # four spikes raise the threshold by a third
DRAWN_TAU = Uniform(low=25.0, high=35.0)  # ms
THRESHOLD = 0.03  # mV
SURROGATE = {"surrogate_gradient_height": 10.0, "surrogate_gradient_width": 0.03}
SHRINKING = 0.01  # rewired weights shrink in each step of the optimizer by this part of a usual weight
ONTO_NEURONS = [name for name, item in ALGORITHMS.items() if isinstance(item, OntoNeurons)]
Size = Annotated[int, Field(ge=1, le=LARGEST)]


class Bench(Frozen):
    """Settings of `pareprop bench`: the network, its input, and the samples that are timed."""

    bounds: ClassVar[tuple[str, ...]] = ("indegree < neurons", "populations <= neurons", "longest_delay >= delay")

    variant: VariantName = Field(DEFAULT, description=f"Variant of e-prop: {', '.join(VARIANTS)}.")
    precision: Literal["double", "single"] = Field("double", description="Precision of weights, state and histories.")
    neurons: Size = Field(2000, description="Recurrent neurons.")
    indegree: int = Field(100, ge=0, le=LARGEST, description="Recurrent synapses per neuron.")
    inputs: Size = Field(100, description="Input sources; each feeds every neuron.")
    steps: Size = Field(1000, description="Steps of an interval.")
    intervals: Size = Field(3, description="Timed intervals.")
    warmup: int = Field(0, ge=0, le=LARGEST, description="Untimed intervals at the start [0].")
    rate: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="Random spikes of this rate in Hz drive the synapses, instead of the neurons' spikes.",
    )
    delay: Size = Field(1, description="Recurrent delay in steps.")
    neuron: str = Field("iaf", description="Neuron model, also one given by equations, with its own defaults.")
    drawn_tau: bool = Field(False, description="Draw a tau_m for each neuron.")
    kappa_reg: float | None = Field(
        None, ge=0, lt=1, description="Filter of the regularization in the spike variant [as of the traces]."
    )
    optimizer: OptimizerName = Field("gradient_descent", description="Optimizer.")
    each_step: bool = Field(False, description="Let it step in each time step, not at each arrival (spike variant).")
    algorithm: str | None = Field(
        None,
        description=f"Algorithm onto neurons: {', '.join(ONTO_NEURONS)} (spike variant) [the first that fits].",
    )
    longest_delay: int | None = Field(
        None, le=LARGEST, description="Draw recurrent delays from --delay up to this one."
    )
    readouts: Size = Field(1, description="Readouts.")
    rewire: bool = Field(False, description="Let recurrent synapses move.")
    learn_delay: bool = Field(False, description="Let recurrent delays learn up to --longest-delay (interval variant).")
    learn: str = Field("", description="Parameter of the neurons that learns, such as tau_m.")
    rule: str = Field("eprop", description="Learning rule of synapses onto neurons.")
    short_term: bool = Field(False, description="Let recurrent spikes have short-term plasticity.")
    populations: Size = Field(1, description="Populations of neurons.")
    seed: int = Field(1, ge=0, description="Seed of network and inputs.")
    no_learning: bool = Field(False, description="Simulate without learning.")

    @model_validator(mode="after")
    def _check_delays(self) -> Self:
        if self.learn_delay and not self.longest_delay:
            raise ValueError("learn_delay needs longest_delay, the bound of the delays")
        return self

    def make_task(self) -> BenchTask:
        """Return the task."""
        return BenchTask(self.inputs, self.steps, self.seed, self.readouts)

    def build_model(self) -> Model:
        """Return the network: N(0, 1/fan-in) weights, `indegree` recurrent synapses per neuron, about 30 spikes/s.

        The spike variant uses the parameters of sine waves for e-prop+. It does not scale arriving spikes by 1 - kappa,
        so its weights are smaller by this factor.
        """
        eprop = find_variant(self.variant)
        scale = eprop.compute_scale(KAPPA)
        rule = OPTIMIZERS[self.optimizer]
        eta = 1e-4 * (scale * scale) if rule.follows_gradient else 1e-3 * scale
        cell: Values = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 30.0}
        kappas = {"kappa": KAPPA, "kappa_reg": KAPPA if self.kappa_reg is None else self.kappa_reg}
        traces = {"regular_spike_arrival": False, "eprop_isi_trace_cutoff": CUTOFF} | kappas
        own: Values = {"tau_m": DRAWN_TAU} if self.drawn_tau else {}
        own |= ADAPTATION if "adapt" in self.neuron else {}
        kind: str | NeuronModel = self.neuron
        strength, chosen = scale, cell | own | {"V_th": THRESHOLD, "t_ref": 0.0} | SURROGATE
        if self.neuron in eprop.neurons:
            chosen |= eprop.select_parameters(self.neuron, traces)
        else:
            kind = library.get_definition(self.neuron)
            strength *= abs(kind.defaults.get("V_th", 1.0) - kind.defaults.get("E_L", 0.0)) / THRESHOLD
            chosen = own | ({"eprop_isi_trace_cutoff": CUTOFF} | kappas if eprop.is_online else {})
        if self.learn:
            chosen |= {"learn": {self.learn: bound_optimizer(self.learn, kind, chosen)}}
        bound = 100.0 * (strength / scale)
        steps = {"optimize_each_step": self.each_step} if eprop.is_online else {}
        optimizer = rule(eta=eta, Wmin=-bound, Wmax=bound, **steps)
        network = Model(self.variant, self.seed, optimizer=optimizer, precision=self.precision)
        inputs = network.inputs("in", self.inputs)
        groups = [
            network.neurons(
                f"rec{k}" if self.populations > 1 else "rec",
                size,
                kind,
                **chosen,
                c_reg=(0.3 if eprop.is_online else 300.0) * 100.0 / self.neurons,
                f_target=10.0,
            )
            for k, size in enumerate(divide_evenly(self.neurons, self.populations))
        ]
        out = network.readouts("out", self.readouts, **cell, **eprop.select_parameters("readout", traces))

        def draw_weight(fan_in: int, scale: float = scale) -> Normal:
            return Normal(std=scale / math.sqrt(max(fan_in, 1)))

        moving: Values = {}
        if self.rewire:
            moving["rewire"] = Rewire(l1=SHRINKING * scale / math.sqrt(max(self.indegree, 1)) / eta)
        if self.learn_delay:
            moving["learn_delay"] = Adam(eta=0.1, low=self.delay, high=self.longest_delay)
        # in the spike variant the shortest of all delays sets how often ranks exchange
        loop = self.delay if eprop.is_online else 1
        for group in groups:
            network.connect(inputs, group, weight=draw_weight(self.inputs, strength), learning_rule=self.rule)
        for group in groups:
            for source, degree in zip(groups, divide_evenly(self.indegree, len(groups)), strict=True):
                network.connect(
                    source,
                    group,
                    "fixed_indegree",
                    indegree=degree,
                    allow_autapses=False,
                    allow_multapses=False,
                    delay=(self.delay, self.longest_delay) if self.longest_delay else self.delay,
                    weight=draw_weight(self.indegree, strength),
                    learning_rule=self.rule,
                    transmission=ShortTerm(U=0.5, tau_rec=100.0, tau_fac=50.0) if self.short_term else None,
                    **moving,
                )
        for group in groups:
            network.connect(group, out, weight=draw_weight(self.neurons), delay=loop)
        for group in groups:
            network.connect(out, group, weight=draw_weight(self.neurons), delay=loop)
        return network


class BenchTask:
    """Frozen input noise of 5 % and a slow sine as target.

    The first two steps are silent: the interval variant loses spikes that arrive in the first step, and NEST 3.10 drops
    part of the gradient of a source that spikes in the second. Each of `n_readouts` readouts learns a separate sine;
    `seed` is the seed of the noise.
    """

    def __init__(self, n_inputs: int, n_steps: int, seed: int, n_readouts: int = 1) -> None:
        n_bytes = n_steps * (16 + int(4 * INPUT_PROBABILITY * n_inputs))
        require_bytes(n_bytes, f"noise of {n_inputs} inputs in {n_steps} steps")
        self.n_steps = self.learning_window = n_steps
        probability = np.full(n_inputs, INPUT_PROBABILITY)
        ids, ptr = rng.draw_bernoulli(rng.make_key(seed, "bench/inputs"), probability, n_steps)
        silent = ptr[min(2, n_steps)]
        inputs = SpikeLog.from_arrays(ids[silent:], np.maximum(ptr - silent, 0))
        phase = 2.0 * np.pi * np.arange(n_steps) / n_steps
        target = elementary.sin(phase[:, None] * np.arange(1, n_readouts + 1))
        self._sample = Sample(inputs, target, modulator=elementary.sin(phase))

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the sample, which is the same for every index."""
        return self._sample


def bound_optimizer(name: str, kind: str | NeuronModel, values: Values) -> Adam:
    """Return the optimizer of a parameter that learns, with bounds around its value."""
    value = cast(object, values.get(name, getattr(kind, "defaults", {}).get(name)))
    if isinstance(value, Uniform):
        return Adam(eta=0.01, low=0.5 * value.low, high=2.0 * value.high)
    if not isinstance(value, int | float) or value <= 0.0:
        raise InputError(f"learn = {quote(name)} must be a parameter of the neurons that is above 0 by default")
    return Adam(eta=0.001 * value, low=0.5 * value, high=2.0 * value)


def divide_evenly(total: int, count: int) -> list[int]:
    """Return `count` nearly equal whole numbers that add up to `total`."""
    return [total // count + (k < total % count) for k in range(count)]


def count_events(table: SynapseTable, inputs: SpikeLog, spikes: SpikeLog, n_steps: int, endless: bool) -> int:
    """Return the number of synaptic events of a sample: spikes times synapses of `table`.

    Spikes that would arrive in step 0 or after the end are lost, unless samples form one `endless` run.
    """
    total = 0
    for span in table.spans:
        raster = span.projection.pre.role == "input"
        if span.first == span.last:
            continue
        log = inputs if raster else spikes
        for k, delay in enumerate(span.delays):
            lost = delay - raster  # steps at the end
            first, last = (0, n_steps) if endless else np.clip([1 - lost, n_steps - lost], 0, n_steps)
            sent = np.bincount(log.ids[log.ptr[first] : log.ptr[last]], minlength=span.n_sources)
            numbers, lengths = table.count_by_source(span, k)
            total += int(lengths @ sent[numbers])
    return total


def run(bench: Bench, exchange: Exchange) -> Values:
    """Collective: train the benchmark; return the figures by name, valid on rank 0.

    With a rate, drawn spikes drive the synapses, see `drawn_spikes.DrivenExchange`.
    """
    network, task, learn = bench.build_model(), bench.make_task(), not bench.no_learning
    simulation = build_simulation(network, task, exchange, bench.rate, bench.algorithm)
    engine, table, comm = simulation.engine, simulation.network.incoming, exchange.comm
    wall, events, spikes, counters = 0.0, 0, 0, Counters(comm)
    for index in range(bench.warmup):
        engine.run(task.sample(index), learn)
        if learn:
            engine.step_optimizers()
        simulation.digest.add_spikes(engine.log, task.n_steps)
    for name in PHASES[1:]:
        simulation.timers.seconds.pop(name, None)
    for index in range(bench.warmup, bench.warmup + bench.intervals):
        sample = task.sample(index)
        counters.start_counting()
        wall -= read_synchronized_clock(comm)
        engine.run(sample, learn)
        if learn:
            engine.step_optimizers()
        wall += read_synchronized_clock(comm)
        counters.stop_counting()
        received = engine.get_received_spikes()
        events += count_events(table, sample.inputs, received, task.n_steps, network.eprop.is_online)
        spikes += engine.n_spikes
        simulation.digest.add_spikes(engine.log, task.n_steps)
    n_synapses = collectives.sum_over_ranks(
        comm, sum(len(table.weight) for table in simulation.network.list_tables().values())
    )
    bytes_of_synapses = collectives.sum_over_ranks(comm, simulation.bytes_of_synapses())
    shares = collectives.gather_values(comm, RankFigures.read_simulation(simulation))
    phases = {name: max(share.phases[name] for share in shares) for name in PHASES}
    events = collectives.sum_over_ranks(comm, events)
    neuron_seconds = simulation.network.n_recurrent * bench.intervals * task.n_steps * network.dt_ms / 1000.0
    return {
        "ranks": exchange.size,
        "build_seconds": phases["build"],
        "train_seconds": wall,
        "phases": phases,
        "firing_rate_hz": spikes / neuron_seconds,
        "synapses": n_synapses,
        "events": events,
        "events_per_second": events / wall,
        "bytes_per_synapse": bytes_of_synapses / n_synapses,
        "peak_rss_bytes": max(share.peak_rss_bytes for share in shares),
        "digest": simulation.hexdigest(),
        "shares": [asdict(share) for share in shares],
        "sending": exchange.sending,
        "algorithms": simulation.algorithms,
        "simulated_seconds": bench.intervals * task.n_steps * network.dt_ms / 1000.0,
        "core_hours": exchange.size * wall / 3600.0,
    } | counters.collect_figures(wall)


def build_simulation(
    network: Model, task: BenchTask, exchange: Exchange, rate_hz: float = 0.0, algorithms: Algorithms | None = None
) -> Simulation:
    """Collective: build the simulation of a benchmark; with `rate_hz` > 0, one rank runs in rounds, too."""
    if not rate_hz:
        return Simulation(network, task, exchange, algorithms=algorithms)
    rounds = network.eprop.make_settings(
        task.learning_window, round_steps=task.n_steps
    )  # engines cut it to the min-delay
    driven = DrivenExchange(exchange, rate_hz * network.dt_ms / 1000.0, network.size("recurrent"), network.seed)
    return Simulation(network, task, cast(Exchange, driven), settings=rounds, algorithms=algorithms)  # a stand-in


@dataclass(frozen=True)
class RankFigures:
    """Seconds and bytes of one rank, its entry of `shares`.

    Attributes
    ----------
    host : str
        Name of the host.
    cores : int
        Number of cores of the host.
    phases : dict of str to float
        Seconds by phase.
    memory : dict of str to int
        Bytes by kind.
    peak_rss_bytes : int
        Peak memory of the process.
    listens_to : int
        Number of neurons whose spikes reach this rank.
    round_bytes : int
        Bytes received from other ranks in a round.
    """

    host: str
    cores: int
    phases: dict[str, float]
    memory: dict[str, int]
    peak_rss_bytes: int
    listens_to: int = 0
    round_bytes: int = 0

    @classmethod
    def read_simulation(cls, simulation: Simulation) -> RankFigures:
        """Return the figures of this rank after a simulation has run."""
        phases = {name: simulation.timers.seconds.get(name, 0.0) for name in PHASES}
        memory = simulation.nbytes() | {"buffers": simulation.exchange.nbytes}
        sources = simulation.network.sources
        n_sources = sources.n_neurons if sources.ids is None else len(sources.ids)
        received = simulation.exchange.received_bytes
        return cls(socket.gethostname(), machine.count_cores(), phases, memory, peak_rss_bytes(), n_sources, received)


def read_synchronized_clock(comm: Comm) -> float:
    """Collective: return the time after all ranks have come here."""
    if comm is not None:
        comm.Barrier()
    return time.perf_counter()
