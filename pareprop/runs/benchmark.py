"""The benchmark network, its options (`Axes`), and its figures, which are the keys of `bench --json` (`run`).

Timing
------
`train_seconds` covers samples and optimizer steps after the network is built, the first access to the memory of the
histories included; with several ranks it is taken from barrier to barrier. Drawing the network and the inputs, counting
events, and the digest are not included. `joules` are those of the machines in this time, where they tell them, and
`other_cores` the cores of a machine that other programs kept busy. Each phase other than `build` is the maximum over
ranks. Their sum is `train_seconds` minus interpreter overhead and, with several ranks, waiting time.
"""

from __future__ import annotations

import math
import socket
import time
from dataclasses import asdict, dataclass
from typing import Literal, cast

import numpy as np

from .. import elementary, machine, rng
from ..engines.sample import Sample
from ..errors import InputError, quote
from ..machine import peak_rss_bytes, require_bytes
from ..network.model import Model
from ..network.optimizers import OPTIMIZERS, Adam, OptimizerName
from ..network.parameters import Normal, Uniform
from ..network.rewire import Rewire
from ..network.rule_options import ShortTerm, find_rule
from ..network.synapse_table import SynapseTable
from ..network.variants import DEFAULT, find_variant
from ..neurons import library
from ..neurons.model import NeuronModel
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..parallel.mpi import Comm
from ..parallel.spike_log import SpikeLog
from ..parallel.stand_ins import DrivenExchange
from ..plans.plan import Ways
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


@dataclass(frozen=True)
class Axes:
    """Options of the benchmark network beside its sizes.

    Attributes
    ----------
    neuron : str
        Neuron model: one of the variant, or one given by equations with its own defaults; weights then scale with the
        distance of its threshold from E_L.
    optimizer : str
        Name of the optimizer, a key of `OPTIMIZERS`.
    each_step : bool
        Whether the optimizer of the spike variant steps in each time step, not at each arrival.
    drawn_tau : bool
        Whether each neuron has a `tau_m` of its own.
    kappa_reg : float or None
        Filter of the regularization in the spike variant; None: that of `kappa`.
    longest_delay : int
        Longest of the recurrent delays, which are drawn; 0: all are equal.
    readouts : int
        Number of readouts.
    rewire : bool
        Whether recurrent synapses move.
    populations : int
        Number of populations that the neurons are divided into.
    learn_delay : bool
        Whether recurrent delays learn, between the shortest and the longest.
    learn : str
        Parameter of the neurons that learns, each neuron its own, from half to twice its value; "": none.
    rule : str
        Learning rule of synapses onto neurons, "eprop" or one of the package that is given by equations.
    short_term : bool
        Whether recurrent spikes have short-term plasticity.
    """

    neuron: str = "iaf"
    optimizer: OptimizerName = "gradient_descent"
    each_step: bool = False
    drawn_tau: bool = False
    kappa_reg: float | None = None
    longest_delay: int = 0
    readouts: int = 1
    rewire: bool = False
    populations: int = 1
    learn_delay: bool = False
    learn: str = ""
    rule: str = "eprop"
    short_term: bool = False

    def check(self, n_neurons: int, delay: int) -> None:
        """Raise `InputError` for a value out of its range."""
        if self.longest_delay and self.longest_delay < delay:
            raise InputError(f"--longest-delay = {self.longest_delay} must be at least --delay = {delay}")
        if self.learn_delay and not self.longest_delay:
            raise InputError("--learn-delay needs --longest-delay, the bound of the delays")
        for name in ("readouts", "populations"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} = {getattr(self, name)} must be at least 1")
        if self.populations > n_neurons:
            raise InputError(f"--populations = {self.populations} must be at most --neurons = {n_neurons}")
        if self.kappa_reg is not None and not 0.0 <= self.kappa_reg < 1.0:
            raise InputError(f"--kappa-reg = {self.kappa_reg:g} must be at least 0 and below 1")
        find_rule(self.rule, {})


PLAIN = Axes()


class BenchTask:
    """Frozen input noise of 5 % and a slow sine as target.

    The first two steps are silent: the interval variant loses spikes that arrive in the first step, and NEST 3.10 drops
    part of the gradient of a source that spikes in the second.

    Parameters
    ----------
    n_inputs : int
        Number of inputs.
    n_steps : int
        Steps of a sample.
    seed : int
        Seed of the noise.
    n_readouts : int
        Number of readouts, each of which learns a sine of its own.
    """

    def __init__(self, n_inputs: int, n_steps: int, seed: int, n_readouts: int = 1) -> None:
        self.n_steps = self.learning_window = n_steps
        probability = np.full(n_inputs, INPUT_PROBABILITY)
        ids, ptr = rng.bernoulli(rng.key(seed, "bench/inputs"), probability, n_steps)
        silent = ptr[min(2, n_steps)]
        inputs = SpikeLog.from_arrays(ids[silent:], np.maximum(ptr - silent, 0))
        phase = 2.0 * np.pi * np.arange(n_steps) / n_steps
        target = elementary.sin(phase[:, None] * np.arange(1, n_readouts + 1))
        self._sample = Sample(inputs, target, modulator=elementary.sin(phase))

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the sample, which is the same for every index."""
        return self._sample


def model(
    n_neurons: int,
    indegree: int,
    n_inputs: int,
    seed: int = 1,
    delay: int = 1,
    variant: str = DEFAULT,
    precision: Literal["double", "single"] = "double",
    axes: Axes = PLAIN,
) -> Model:
    """Return the network: N(0, 1/fan-in) weights, `indegree` recurrent synapses per neuron, about 30 spikes/s.

    The spike variant uses the parameters of sine waves for e-prop+. It does not scale arriving spikes by 1 - kappa, so
    its weights are smaller by this factor.
    """
    eprop = find_variant(variant)
    axes.check(n_neurons, delay)
    scale = eprop.scale(KAPPA)
    rule = OPTIMIZERS[axes.optimizer]
    eta = 1e-4 * (scale * scale) if rule.follows_gradient else 1e-3 * scale
    cell: Values = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 30.0}
    kappas = {"kappa": KAPPA, "kappa_reg": KAPPA if axes.kappa_reg is None else axes.kappa_reg}
    traces = {"regular_spike_arrival": False, "eprop_isi_trace_cutoff": CUTOFF} | kappas
    own: Values = {"tau_m": DRAWN_TAU} if axes.drawn_tau else {}
    own |= ADAPTATION if "adapt" in axes.neuron else {}
    kind: str | NeuronModel = axes.neuron
    strength, chosen = scale, cell | own | {"V_th": THRESHOLD, "t_ref": 0.0} | SURROGATE
    if axes.neuron in eprop.neurons:
        chosen |= eprop.pick(axes.neuron, traces)
    else:
        kind = library.get(axes.neuron)
        strength *= abs(kind.defaults.get("V_th", 1.0) - kind.defaults.get("E_L", 0.0)) / THRESHOLD
        chosen = own | ({"eprop_isi_trace_cutoff": CUTOFF} | kappas if eprop.is_online else {})
    if axes.learn:
        chosen |= {"learn": {axes.learn: _bounds(axes.learn, kind, chosen)}}
    bound = 100.0 * (strength / scale)
    steps = {"optimize_each_step": axes.each_step} if eprop.is_online else {}
    optimizer = rule(eta=eta, Wmin=-bound, Wmax=bound, **steps)
    network = Model(variant, seed, optimizer=optimizer, precision=precision)
    inputs = network.inputs("in", n_inputs)
    groups = [
        network.neurons(
            f"rec{k}" if axes.populations > 1 else "rec",
            size,
            kind,
            **chosen,
            c_reg=(0.3 if eprop.is_online else 300.0) * 100.0 / n_neurons,
            f_target=10.0,
        )
        for k, size in enumerate(_divide(n_neurons, axes.populations))
    ]
    out = network.readouts("out", axes.readouts, **cell, **eprop.pick("readout", traces))

    def weight(fan_in: int, scale: float = scale) -> Normal:
        return Normal(std=scale / math.sqrt(max(fan_in, 1)))

    moving: Values = {}
    if axes.rewire:
        moving["rewire"] = Rewire(l1=SHRINKING * scale / math.sqrt(max(indegree, 1)) / eta)
    if axes.learn_delay:
        moving["learn_delay"] = Adam(eta=0.1, low=delay, high=axes.longest_delay)
    loop = (
        delay if eprop.is_online else 1
    )  # in the spike variant the shortest of all delays sets how often ranks exchange
    for group in groups:
        network.connect(inputs, group, weight=weight(n_inputs, strength), learning_rule=axes.rule)
    for group in groups:
        for source, degree in zip(groups, _divide(indegree, len(groups)), strict=True):
            network.connect(
                source,
                group,
                "fixed_indegree",
                indegree=degree,
                allow_autapses=False,
                allow_multapses=False,
                delay=(delay, axes.longest_delay) if axes.longest_delay else delay,
                weight=weight(indegree, strength),
                learning_rule=axes.rule,
                transmission=ShortTerm(U=0.5, tau_rec=100.0, tau_fac=50.0) if axes.short_term else None,
                **moving,
            )
    for group in groups:
        network.connect(group, out, weight=weight(n_neurons), delay=loop)
    for group in groups:
        network.connect(out, group, weight=weight(n_neurons), delay=loop)
    return network


def _bounds(name: str, kind: str | NeuronModel, values: Values) -> Adam:
    """Return the optimizer of a parameter that learns, with bounds around its value."""
    value = cast(object, values.get(name, getattr(kind, "defaults", {}).get(name)))
    if isinstance(value, Uniform):
        return Adam(eta=0.01, low=0.5 * value.low, high=2.0 * value.high)
    if not isinstance(value, int | float) or value <= 0.0:
        raise InputError(f"--learn = {quote(name)} must be a parameter of the neurons that is above 0 by default")
    return Adam(eta=0.001 * value, low=0.5 * value, high=2.0 * value)


def _divide(total: int, count: int) -> list[int]:
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


def run(
    network: Model,
    task: BenchTask,
    n_intervals: int,
    learn: bool,
    exchange: Exchange,
    warmup: int = 0,
    rate_hz: float = 0.0,
    ways: Ways | None = None,
) -> Values:
    """Collective: train `n_intervals` samples after `warmup` untimed ones; return the figures by name, valid on rank 0.

    With `rate_hz` synapses are driven by drawn spikes at this rate, see `stand_ins.DrivenExchange`.
    """
    simulation = build(network, task, exchange, rate_hz, ways)
    engine, table, comm = simulation.engine, simulation.network.incoming, exchange.comm
    wall, events, spikes, counters = 0.0, 0, 0, Counters(comm)
    for index in range(warmup):
        engine.run(task.sample(index), learn)
        if learn:
            engine.optimize()
        simulation.digest.add_spikes(engine.log, task.n_steps)
    for name in PHASES[1:]:
        simulation.timers.seconds.pop(name, None)
    for index in range(warmup, warmup + n_intervals):
        sample = task.sample(index)
        counters.start()
        wall -= _now(comm)
        engine.run(sample, learn)
        if learn:
            engine.optimize()
        wall += _now(comm)
        counters.stop()
        heard = engine.get_heard_spikes()
        events += count_events(table, sample.inputs, heard, task.n_steps, network.eprop.is_online)
        spikes += engine.n_spikes
        simulation.digest.add_spikes(engine.log, task.n_steps)
    n_synapses = collectives.total(comm, sum(len(table.weight) for table in simulation.network.tables().values()))
    bytes_of_synapses = collectives.total(comm, simulation.bytes_of_synapses())
    shares = collectives.gather(comm, Share.of(simulation))
    phases = {name: max(share.phases[name] for share in shares) for name in PHASES}
    events = collectives.total(comm, events)
    neuron_seconds = simulation.network.n_recurrent * n_intervals * task.n_steps * network.dt_ms / 1000.0
    return {
        "ranks": exchange.size, "build_seconds": phases["build"], "train_seconds": wall, "phases": phases,
        "firing_rate_hz": spikes / neuron_seconds, "synapses": n_synapses, "events": events,
        "events_per_second": events / wall, "bytes_per_synapse": bytes_of_synapses / n_synapses,
        "peak_rss_bytes": max(share.peak_rss_bytes for share in shares), "digest": simulation.hexdigest(),
        "shares": [asdict(share) for share in shares],
        "sending": exchange.sending, "ways": simulation.ways,
        "simulated_seconds": n_intervals * task.n_steps * network.dt_ms / 1000.0,
        "core_hours": exchange.size * wall / 3600.0,
    } | counters.figures(wall)  # fmt: skip


def build(
    network: Model, task: BenchTask, exchange: Exchange, rate_hz: float = 0.0, ways: Ways | None = None
) -> Simulation:
    """Collective: build the simulation of a benchmark; with `rate_hz` > 0, one rank runs in rounds, too."""
    if not rate_hz:
        return Simulation(network, task, exchange, ways=ways)
    rounds = network.eprop.settings(task.learning_window, round_steps=task.n_steps)  # engines cut it to the min-delay
    driven = DrivenExchange(exchange, rate_hz * network.dt_ms / 1000.0, network.size("recurrent"), network.seed)
    return Simulation(network, task, cast(Exchange, driven), settings=rounds, ways=ways)  # a stand-in


@dataclass(frozen=True)
class Share:
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
    def of(cls, simulation: Simulation) -> Share:
        """Return those of this rank after a simulation has run."""
        phases = {name: simulation.timers.seconds.get(name, 0.0) for name in PHASES}
        memory = simulation.nbytes() | {"buffers": simulation.exchange.nbytes}
        sources = simulation.network.sources
        heard = sources.n if sources.ids is None else len(sources.ids)
        received = simulation.exchange.received_bytes
        return cls(socket.gethostname(), machine.cores(), phases, memory, peak_rss_bytes(), heard, received)


def _now(comm: Comm) -> float:
    """Collective: return the time after all ranks have come here."""
    if comm is not None:
        comm.Barrier()
    return time.perf_counter()


def check(**sizes: int) -> None:
    """Raise `InputError` for a size below its bound (0 for indegree, else 1), or more than memory takes."""
    for name, value in sizes.items():
        bound = 0 if name == "indegree" else 1
        if value < bound:
            raise InputError(f"--{name} = {value} must be at least {bound}")
        if value > LARGEST:
            raise InputError(f"--{name} = {quote(value)} must be at most {LARGEST}")
    steps, inputs = sizes["steps"], sizes["inputs"]
    require_bytes(steps * (16 + int(4 * INPUT_PROBABILITY * inputs)), f"noise of {inputs} inputs in {steps} steps")
