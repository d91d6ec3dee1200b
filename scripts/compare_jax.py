#!/usr/bin/env python3
"""Compare pareprop with dense peers in JAX on one core: sine waves, all-to-all, of 100 and of 1 000 neurons.

Needs jax and braintrace beside pareprop. Each run has a fresh process, pinned to a core before JAX starts; everything
is compiled and warm when the clock starts, and a repetition runs all peers one after the other. Timed are whole samples
with their updates. Before, the gradient of the yardstick is compared with pareprop's (double precision) in the first
sample: it gets pareprop's spikes, as a network's own spikes soon depend on the last bit; its own may differ from them
only where a voltage is within rounding of the threshold. If it disagrees the exit code is 1.

BrainTrace: `exact` is D-RTRL, `kappa` its e-prop with filtered traces, `approximate` ES-D-RTRL.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from pareprop.engines.interval import IntervalSettings
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.simulation.loop import Simulation
from pareprop.tasks import TASKS

PEERS = (
    "pareprop double", "pareprop single", "dense JAX", "BrainTrace exact", "BrainTrace kappa", "BrainTrace approximate"
)  # fmt: skip
BRAINTRACE = {"exact": "d_rtrl", "kappa": "eprop", "approximate": "es_d_rtrl"}
SAMPLES = {100: 20, 1000: 3}
WARM = 2
TOLERANCE = 1e-4  # of a gradient, and of voltages in units of the threshold: 1 000 steps in single precision


def sine_waves(neurons: int, precision: str = "double") -> tuple[Model, Any]:
    """Model and task."""
    task = TASKS["sine-waves"](n_rec=neurons, precision=precision)
    return task.model(), task


def time_pareprop(neurons: int, samples: int, precision: str) -> dict[str, float]:
    """Seconds per sample, and the firing rate, on which they depend."""
    simulation = Simulation(*sine_waves(neurons, precision))
    simulation.train(WARM)
    start = time.perf_counter()
    simulation.train(WARM + samples)
    seconds = (time.perf_counter() - start) / samples
    return {"seconds": seconds, "firing_rate_hz": float(np.mean(simulation.rates[WARM:]))}


def time_jax(neurons: int, samples: int, peer: str) -> dict[str, float]:
    """Seconds per sample of the yardstick or of one of BrainTrace's algorithms."""
    import jax_peers

    model, task = sine_waves(neurons)
    net = jax_peers.dense_of(LocalNetwork(model, 0, 1), task.sample(0))
    if peer == "dense JAX":
        run = jax_peers.yardstick(net)
    else:
        algorithm = BRAINTRACE[peer.split()[1]]
        run = jax_peers.braintrace(net, algorithm, **options(algorithm, net.kappa))
    run(WARM)
    start = time.perf_counter()
    run(samples)
    return {"seconds": (time.perf_counter() - start) / samples}


def options(algorithm: str, kappa: float) -> dict[str, float]:
    """What an algorithm of BrainTrace must be told."""
    return {"eprop": {"kappa_filter_decay": kappa}, "es_d_rtrl": {"decay_or_rank": kappa}}.get(algorithm, {})


def compare_gradients(neurons: int) -> dict[str, float]:
    """The yardstick against pareprop, see above.

    Returns
    -------
    dict
        by projection |difference| / |gradient|, and as "threshold" how far from it, in units of the threshold, voltages
        were whose neurons spiked differently
    """
    import jax
    import jax_peers

    from pareprop.simulation.digest import tables

    model, task = sine_waves(neurons)
    simulation = Simulation(model, task, settings=IntervalSettings(task.learning_window))
    simulation.engine.gradient.keep()
    net = jax_peers.dense_of(simulation.network, task.sample(0))
    engine = simulation.engine
    simulation.run_sample(0, "train", learn=True)
    z = np.zeros((task.n_steps, neurons), np.float32)
    z[engine.log.spikes(task.n_steps)] = 1.0
    gradients, own, excess = jax.jit(lambda forced: jax_peers.gradient(net, net.weights, forced))(z)
    distances = {}
    for (table, span), name in zip(tables(simulation.network), ("in", "rec", "out", None), strict=True):
        if name:
            wanted = np.nan_to_num(jax_peers.matrix(table, span, engine.gradient.arrays[id(table)]))
            distances[name] = float(np.linalg.norm(gradients[name] - wanted) / np.linalg.norm(wanted))
    differ = np.abs(np.asarray(excess))[np.asarray(own) != z]
    return distances | {"threshold": float(differ.max(initial=0.0) / np.asarray(net.cells["V_th"]).max())}


def run_on_core(core: int, function: str, *arguments: Any) -> Any:
    """Call a function of this module with this process on one core; JAX must not have started."""
    os.sched_setaffinity(0, {core})
    os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    return globals()[function](*arguments)


def fresh(core: int, function: str, *arguments: Any) -> Any:
    """`pinned` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run_on_core, core, function, *arguments).result()


def measure(neurons: int, peer: str, core: int) -> dict[str, float]:
    """One run of a peer."""
    if peer.startswith("pareprop"):
        return fresh(core, "time_pareprop", neurons, SAMPLES.get(neurons, 3), peer.split()[1])
    return fresh(core, "time_jax", neurons, SAMPLES.get(neurons, 3), peer)


def show(result: dict[str, Any]) -> None:
    """Print one size."""
    rate = np.median([run["firing_rate_hz"] for run in result["runs"]["pareprop double"]])
    distances = ", ".join(f"{name} {value:.1e}" for name, value in result["gradient"].items())
    click.echo(f"\n{result['neurons']} neurons all-to-all, {rate:.0f} spikes/s; seconds per sample of 1000 steps")
    click.echo(f"  yardstick's gradient against pareprop's: {distances}")
    for name, runs in result["runs"].items():
        seconds = np.array([run["seconds"] for run in runs])
        ratios = [
            f"{np.median(seconds / [run['seconds'] for run in ours]):.2f} times {mine.split()[1]}"
            for mine, ours in result["runs"].items()
            if mine.startswith("pareprop") and not name.startswith("pareprop")
        ]
        spread = f"{np.median(seconds):.5f} [{seconds.min():.5f} .. {seconds.max():.5f}]"
        click.echo(f"  {name:24s} {spread}   {', '.join(ratios)}")


@click.command(help=__doc__)
@click.option("--neurons", multiple=True, type=click.IntRange(2), default=(100, 1000), help="Sizes.")
@click.option("--repeat", "n", type=click.IntRange(1), default=3, show_default=True, help="Repetitions.")
@click.option("--core", type=click.IntRange(0), default=0, show_default=True, help="Core to run on.")
@click.option("--no-braintrace", is_flag=True, help="Leave BrainTrace out.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
def main(neurons: tuple[int, ...], n: int, core: int, no_braintrace: bool, json_file: Path | None) -> None:
    """Measure and print."""
    peers = [name for name in PEERS if not (no_braintrace and name.startswith("Brain"))]
    results = []
    with tqdm(total=len(neurons) * n * len(peers), disable=None, leave=False) as bar:
        for size in neurons:
            result = {
                "neurons": size,
                "gradient": fresh(core, "compare_gradients", size),
                "runs": {name: [] for name in peers},
            }
            for _ in range(n):
                for name in peers:
                    result["runs"][name].append(measure(size, name, core))
                    bar.update()
            results.append(result)
            with bar.external_write_mode(file=sys.stdout):
                show(result)
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    if any(value > TOLERANCE for result in results for value in result["gradient"].values()):
        sys.exit("the yardstick's gradient is not pareprop's")


if __name__ == "__main__":
    main()
