"""The command `bench`: its options and lines; `--json` writes the options and what `benchmark.run` returns."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from .. import energy, terminal
from ..errors import InputError
from ..network.optimizers import OPTIMIZERS
from ..network.variants import DEFAULT, VARIANTS
from ..parallel.exchange import Exchange
from ..plans.plan import WAYS
from ..plans.way import OntoNeurons
from ..storage.disk import output_errors
from ..values import AnyValue, Given
from . import benchmark
from .options import FiniteFloat, GivenPath
from .provenance import tell_environment


@click.command()
@click.option(
    "--variant",
    type=click.Choice(list(VARIANTS)),
    default=DEFAULT,
    show_default=True,
    help="Variant of e-prop.",
)
@click.option(
    "--precision",
    type=click.Choice(["double", "single"]),
    default="double",
    show_default=True,
    help="Precision of weights, state and histories.",
)
@click.option("--neurons", type=int, default=2000, show_default=True, help="Recurrent neurons.")
@click.option("--indegree", type=int, default=100, show_default=True, help="Recurrent synapses per neuron.")
@click.option("--inputs", type=int, default=100, show_default=True, help="Input sources; each feeds every neuron.")
@click.option("--steps", type=int, default=1000, show_default=True, help="Steps of an interval.")
@click.option("--intervals", type=int, default=3, show_default=True, help="Timed intervals.")
@click.option("--warmup", type=click.IntRange(0, 2**31), default=0, help="Untimed intervals at the start [0].")
@click.option(
    "--rate",
    type=FiniteFloat(0, 1000),
    default=0.0,
    help="Random spikes of this rate in Hz drive the synapses, not the neurons' own.",
)
@click.option("--delay", type=int, default=1, show_default=True, help="Recurrent delay in steps.")
@click.option("--neuron", default="iaf", show_default=True, help="Neuron model, also one given by equations.")
@click.option("--drawn-tau", is_flag=True, help="Draw a tau_m for each neuron.")
@click.option("--kappa-reg", type=float, help="Filter of the regularization in the spike variant [that of the traces].")
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    default="gradient_descent",
    show_default=True,
    help="Optimizer.",
)
@click.option("--each-step", is_flag=True, help="Let it step in each time step, not at each arrival (spike variant).")
@click.option(
    "--way",
    type=click.Choice([name for name, way in WAYS.items() if isinstance(way, OntoNeurons)]),
    help="Way of learning onto neurons (spike variant) [the best that fits].",
)
@click.option("--longest-delay", type=int, default=0, help="Draw recurrent delays from --delay up to this one.")
@click.option("--readouts", type=int, default=1, show_default=True, help="Readouts.")
@click.option("--rewire", is_flag=True, help="Let recurrent synapses move.")
@click.option(
    "--learn-delay", is_flag=True, help="Let recurrent delays learn up to --longest-delay (interval variant)."
)
@click.option("--learn", metavar="NAME", default="", help="Parameter of the neurons that learns, such as tau_m.")
@click.option("--rule", default="eprop", show_default=True, help="Learning rule of synapses onto neurons.")
@click.option("--short-term", is_flag=True, help="Let recurrent spikes have short-term plasticity.")
@click.option("--populations", type=int, default=1, show_default=True, help="Populations of neurons.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of network and inputs.")
@click.option("--no-learning", is_flag=True, help="Simulate without learning.")
@click.option("--json", "json_file", type=GivenPath(dir_okay=False), help="Write the results to this file.")
@click.pass_obj
def bench(
    exchange: Exchange,
    json_file: str | None,
    no_learning: bool,
    variant: str,
    precision: Literal["double", "single"],
    warmup: int,
    rate: float,
    way: str | None,
    **sizes: AnyValue,
) -> None:
    """Train a benchmark network and report seconds.

    A sparse network with random input learns a slow sine; seconds are given by phase.
    """
    seed = sizes.pop("seed")
    axes = benchmark.Axes(**{name: sizes.pop(name) for name in asdict(benchmark.PLAIN)})
    benchmark.check(**sizes)
    if json_file and not Path(json_file).absolute().parent.is_dir():  # not after minutes of work
        raise InputError(f"--json {json_file}: its directory does not exist")
    size, indegree, inputs, delay = (sizes[name] for name in ("neurons", "indegree", "inputs", "delay"))
    network = benchmark.model(size, indegree, inputs, seed, delay, variant, precision, axes)
    task = benchmark.BenchTask(sizes["inputs"], sizes["steps"], seed, axes.readouts)
    figures = benchmark.run(network, task, sizes["intervals"], not no_learning, exchange, warmup, rate, way)
    figures["environment"] = tell_environment(exchange.comm)
    if exchange.rank:
        return
    environment = figures["environment"]
    terminal.echo(f"{environment['processor']}, kernels of level {environment['level']}")
    for name, seconds in figures["phases"].items():
        terminal.echo(f"{name:12s} {seconds:9.3f} s")
    fired = figures["firing_rate_hz"]
    terminal.echo(f"train        {figures['train_seconds']:9.3f} s, {fired:.2f} spikes/s per neuron")
    terminal.echo(f"{figures['synapses']} synapses, {figures['bytes_per_synapse']:.1f} bytes each")
    terminal.echo(f"{figures['events']} synaptic events, {figures['events_per_second']:.3g} per second")
    terminal.echo(f"{figures['core_hours']:.3g} core hours{_tell_counters(figures)}")
    terminal.echo(f"peak memory per rank {figures['peak_rss_bytes'] / 2**20:.0f} MiB")
    if json_file:
        options = {"variant": variant, "precision": precision, "seed": seed, "warmup": warmup, "rate": rate}
        everything = figures | options | sizes | asdict(axes)
        with output_errors(Path(json_file), "--json "):
            Path(json_file).write_text(json.dumps(everything, indent=1) + "\n")
    terminal.echo(f"digest: {figures['digest']}")


def _tell_counters(figures: Given) -> str:
    """Return what the counters of the machines say, and of joules why they say nothing."""
    others = f"; other programs kept {figures['other_cores']:.1f} cores busy" if "other_cores" in figures else ""
    if "joules" not in figures:
        return f"{others}; {energy.tell()}"
    each = f", {1e6 * figures['joules'] / figures['events']:.3g} µJ per synaptic event" if figures["events"] else ""
    return f"{others}; {figures['joules']:.4g} joules{each}"
