"""What each hot kernel moves per event, by the layout of the data, and its time on the network of `pareprop bench`.

An event is an arrival at a synapse (deliver, credit, per-spike update), a neuron in a step (advance, sweep, sums) or a
synapse in a step of the optimizer. Counted is what streams by once per event. Tables of targets that arrivals go to are
not: they are gathers. A neuron's state and parameters count where those of all neurons exceed the second cache: every
array once for each loop that reads it and once for each that writes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareprop.kernels import layout
from pareprop.network.optimizers import Adam
from pareprop.network.variants import VARIANTS
from pareprop.parallel.exchange import Alone
from pareprop.runs import benchmark
from pareprop.simulation.loop import Simulation

TARGET = 4  # bytes of a synapse's target
CACHE = os.sysconf("SC_LEVEL2_CACHE_SIZE") if "SC_LEVEL2_CACHE_SIZE" in os.sysconf_names else 2**20


@dataclass(frozen=True)
class Kernel:
    """A kernel and how to measure it.

    Attributes
    ----------
    name : of the kernel
    variant : it belongs to
    phase : of `pareprop bench` that times it
    per : "arrival", "neuron-step" or "synapse"
    items : numbers per event that are read or written, in the precision of the model
    loop : of stream.c that does the same accesses to synapses and targets, "" where there are none
    state : arrays of neurons' state and parameters, and how often one of them is read or written per event
    setup : of the run: "" as in bench, "static" without learning, "batch" with gradients apart, "adam"
    """

    name: str
    variant: str
    phase: str
    per: str
    items: int
    loop: str = ""
    state: tuple[int, int] = (0, 0)
    setup: str = ""

    def nbytes(self, item: int, neurons: int) -> int:
        """Bytes per event."""
        arrays, accesses = self.state
        outside = arrays * item * neurons > CACHE
        return (self.items + accesses * outside) * item + TARGET * bool(self.loop)


KERNELS = (
    # weight read, added to the target's input
    Kernel("deliver", "interval", "deliver", "arrival", 1, "scatter"),
    # surrogate gradient written; integrate: 9 read, 4 written; surrogate: 4 read; fire: 4 read, 3 written; ids: 1 read
    Kernel("advance", "interval", "update", "neuron-step", 1, state=(15, 25)),
    # surrogate gradient read, coefficient of arrivals written over it; signal: cleared, feedback read and added (4);
    # filter: 5 read, 1 written
    Kernel("sweep", "interval", "sweep", "neuron-step", 2, state=(6, 10)),
    # weight (or gradient, in batches) read and written, coefficient gathered
    Kernel("credit", "interval", "credit", "arrival", 2, "gather"),
    # weight read, clipped, written
    Kernel("optimizer: clip", "interval", "optimize", "synapse", 2),
    # gradient and weight read and written
    Kernel("optimizer: descent", "interval", "optimize", "synapse", 4, setup="batch"),
    # those and two moments
    Kernel("optimizer: Adam", "interval", "optimize", "synapse", 8, setup="adam"),
    Kernel("deliver, static", "spike", "deliver", "arrival", 1, "scatter", setup="static"),
    # weight, Y and C read and written; of the target R, A and D gathered and the input added to, side by side
    Kernel("per-spike update", "spike", "deliver", "arrival", 6, "update"),
    # integrate: 7 read, 4 written; surrogate: 4 read, 1 written; fire: 5 read, 3 written; ids: 1 read; filter of rates:
    # 4 read, 2 written; sums of psi: 2 read, 1 written
    Kernel("advance", "spike", "update", "neuron-step", 0, state=(20, 34)),
    # signal: cleared, feedback read and added (4), rates added (3); A and D: 4 read, 2 written
    Kernel("sums", "spike", "sweep", "neuron-step", 0, state=(6, 13)),
)
SETUPS = sorted({(kernel.variant, kernel.setup) for kernel in KERNELS})


@dataclass(frozen=True)
class Size:
    """A network of `pareprop bench` and how long it runs."""

    neurons: int
    indegree: int
    inputs: int
    steps: int


SMALL = Size(400, 100, 100, 1000)  # synapses, histories and state in the second cache


def build(variant: str, setup: str, size: Size, precision: str) -> Simulation:
    """The simulation of a setup."""
    extra = {"precision": precision} if precision != "double" else {}
    model = benchmark.model(size.neurons, size.indegree, size.inputs, variant=variant, **extra)
    if setup == "adam":
        model.optimizer = Adam(eta=1e-6)
    simulation = Simulation(model, benchmark.BenchTask(size.inputs, size.steps, 1), Alone())
    if setup == "batch":
        simulation.engine.gradient.keep()
    return simulation


def run(variant: str, setup: str, size: Size, precision: str, samples: int) -> dict[str, Any]:
    """Nanoseconds per event and phase, the median over samples after a first one.

    Returns
    -------
    dict
        "ns": phase to unit to nanoseconds; "targets": that recurrent synapses reach; "row":
        synapses of a source there; "item": bytes of a number
    """
    simulation = build(variant, setup, size, precision)
    engine, table, task, learn = simulation.engine, simulation.network.incoming, simulation.task, setup != "static"
    seconds, laps = simulation.timers.seconds, []
    for index in range(samples + 1):
        before = dict(seconds)
        sample = task.sample(index)
        engine.run(sample, learn)
        if learn:
            engine.optimize()
        laps.append({name: seconds[name] - before.get(name, 0.0) for name in benchmark.PHASES[2:]})
        online = VARIANTS[variant].is_online
        laps[-1]["events"] = benchmark.count_events(table, sample.inputs, engine.log, size.steps, online)
    per = {"neuron-step": size.neurons * size.steps, "synapse": sum(len(item.weight) for item in _plastic(simulation))}
    medians = {
        phase: {
            unit: float(np.median([lap[phase] / per.get(unit, lap["events"]) for lap in laps[1:]])) * 1e9
            for unit in ("arrival", *per)
        }
        for phase in benchmark.PHASES[2:]
    }
    span = table.spans[-1]  # of the recurrent synapses
    rows = np.diff(table.row_ptr[span.rows : span.rows + len(span.delays) * size.neurons + 1])
    targets = int(table.blocks[-1, layout.WIDTH])
    return {
        "ns": medians,
        "targets": targets,
        "row": round(float(rows[rows > 0].mean())),
        "item": table.weight.itemsize,
    }


def _plastic(simulation: Simulation) -> tuple[Any, Any]:
    return simulation.network.incoming, simulation.network.outgoing


def measure(large: Size, precision: str, samples: int, told: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every kernel on a small and on a large network: nanoseconds per event in the cache and out of it."""
    found = {}
    for variant, setup in SETUPS:
        for size in (SMALL, large):
            start = time.perf_counter()
            found[variant, setup, size] = run(variant, setup, size, precision, samples)
            took = time.perf_counter() - start
            told(f"{variant} {setup or 'as in bench'}, {size.neurons} x {size.indegree}: {took:.1f} s")
    rows = []
    for kernel in KERNELS:
        small, big = (found[kernel.variant, kernel.setup, size] for size in (SMALL, large))
        nbytes, ns = kernel.nbytes(big["item"], large.neurons), big["ns"][kernel.phase][kernel.per]
        rows.append(
            {
                "kernel": kernel.name,
                "variant": kernel.variant,
                "per": kernel.per,
                "bytes": nbytes,
                "ns": ns,
                "gb_per_s": nbytes / ns,
                "ns_in_cache": small["ns"][kernel.phase][kernel.per],
                "loop": kernel.loop,
                "targets": big["targets"],
                "row": big["row"],
            }
        )
    return rows
