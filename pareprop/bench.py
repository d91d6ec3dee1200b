"""The benchmark network: sparse, every neuron fed by all inputs, one readout, trained on noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import collective, streams
from .errors import InputError
from .exchange import Exchange
from .model import Model
from .params import GradientDescent, Normal
from .record import peak_rss_bytes
from .sample import Sample
from .simulation import Observer, Outcome, Simulation
from .spikelog import Log

PHASES = ("build", "communicate", "deliver", "update", "sweep", "credit", "optimize")
INPUT_PROBABILITY = 0.05


class BenchTask:
    """Frozen input noise of 5 % and a slow sine as target.

    Parameters
    ----------
    n_inputs, n_steps : sizes
    seed : of the noise
    """

    def __init__(self, n_inputs: int, n_steps: int, seed: int) -> None:
        self.n_steps = self.learning_window = n_steps
        probability = np.full(n_inputs, INPUT_PROBABILITY)
        inputs = Log.from_arrays(*streams.bernoulli(streams.key(seed, "bench/inputs"), probability, n_steps))
        target = np.sin(2.0 * np.pi * np.arange(n_steps) / n_steps)[:, None]
        self._sample = Sample(inputs, target)

    def sample(self, index: int, phase: str = "train") -> Sample:
        """The same sample always."""
        return self._sample


class _Count(Observer):
    """Counts synaptic events and spikes."""

    def __init__(self) -> None:
        self.events = self.spikes = 0

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        engine, table = simulation.engine, simulation.network.incoming
        self.spikes += int(engine.log.ptr[len(outcome.error)])
        for span in table.spans:
            rows = table.row_ptr[span.rows : span.rows + len(span.delays) * span.projection.pre.size + 1]
            degree = np.diff(rows).reshape(len(span.delays), -1).sum(axis=0)
            log = outcome.sample.inputs if span.projection.pre.role == "input" else engine.log
            ids = log.spikes(len(outcome.error))[1]
            self.events += int(degree @ np.bincount(ids, minlength=len(degree)))


def model(n_neurons: int, indegree: int, n_inputs: int, seed: int = 1, eta: float = 1e-4, delay: int = 1) -> Model:
    """The network: N(0, 1/fan-in) weights, `indegree` recurrent synapses per neuron."""
    network = Model("interval", seed, optimizer=GradientDescent(eta=eta))
    inputs = network.inputs("in", n_inputs)
    neurons = network.neurons(
        "rec", n_neurons, "iaf", C_m=1.0, E_L=0.0, V_m=0.0, V_th=0.03, tau_m=30.0, t_ref=0.0, c_reg=300.0 / n_neurons,
        f_target=10.0, regular_spike_arrival=False, surrogate_gradient_height=10.0, surrogate_gradient_width=0.03,
    )  # fmt: skip
    out = network.readouts("out", 1, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=30.0, regular_spike_arrival=False)
    network.connect(inputs, neurons, weight=Normal(std=n_inputs**-0.5))
    network.connect(
        neurons, neurons, "fixed_indegree", indegree=indegree, allow_autapses=False, allow_multapses=False, delay=delay,
        weight=Normal(std=max(indegree, 1) ** -0.5),
    )  # fmt: skip
    network.connect(neurons, out, weight=Normal(std=n_neurons**-0.5))
    network.connect(out, neurons, weight=Normal(std=n_neurons**-0.5))
    return network


def run(network: Model, task: BenchTask, n_intervals: int, learn: bool, exchange: Exchange) -> dict[str, Any]:
    """Collective: train `n_intervals` samples and return the figures, valid on rank 0."""
    count = _Count()
    simulation = Simulation(network, task, exchange, [count])
    wall = -_now(exchange)
    if learn:
        simulation.train(n_intervals)
    else:
        simulation.rates = [simulation.run_sample(k, "train", learn=False)[1] for k in range(n_intervals)]
    wall += _now(exchange)
    comm, seconds = exchange.comm, simulation.timers.seconds
    n_synapses = collective.total(comm, sum(len(table.weight) for table in simulation.network.tables().values()))
    bytes_of_synapses = collective.total(comm, simulation.bytes_of_synapses())
    events = collective.total(comm, count.events)
    phases = {name: collective.maximum(comm, seconds.get(name, 0.0)) for name in PHASES}
    return {
        "ranks": exchange.size, "build_seconds": phases["build"], "train_seconds": wall, "phases": phases,
        "firing_rate_hz": float(np.mean(simulation.rates)) if simulation.rates else 0.0, "synapses": n_synapses,
        "events": events, "events_per_second": events / wall,
        "bytes_per_synapse": bytes_of_synapses / max(n_synapses, 1),
        "peak_rss_bytes": int(collective.maximum(comm, peak_rss_bytes())), "digest": simulation.hexdigest(),
    }  # fmt: skip


def _now(exchange: Exchange) -> float:
    import time

    if exchange.comm is not None:
        exchange.comm.Barrier()
    return time.perf_counter()


def check(**sizes: int) -> None:
    """Raise `InputError` for a size below its bound (0 for indegree, else 1)."""
    for name, value in sizes.items():
        bound = 0 if name == "indegree" else 1
        if value < bound:
            raise InputError(f"--{name} = {value} must be at least {bound}")
