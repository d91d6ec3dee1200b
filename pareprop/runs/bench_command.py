"""The command `bench`: its lines; `--json` writes the settings and the result of `benchmark.run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from .. import energy, terminal
from ..errors import InputError
from ..network.parameters import validate_values
from ..parallel.exchange import Exchange
from ..storage.disk import output_errors
from ..values import AnyValue, Given
from . import benchmark
from .options import GivenPath
from .provenance import describe_environment


def _make_option(name: str, field: FieldInfo) -> click.Option:
    """Return the option of a setting; it reads the value, `Bench` checks it."""
    kinds = get_args(field.annotation)
    kind = click.Choice(kinds) if get_origin(field.annotation) is Literal else kinds[0] if kinds else field.annotation
    return click.Option(
        [f"--{name.replace('_', '-')}"],
        type=kind,
        is_flag=kind is bool,
        default=field.default,
        show_default=bool(field.default),
        help=field.description,
    )


@click.command(name="bench", params=[_make_option(name, field) for name, field in benchmark.Bench.model_fields.items()])
@click.option("--json", "json_file", type=GivenPath(dir_okay=False), help="Write the results to this file.")
@click.pass_obj
def run_bench(exchange: Exchange, json_file: str | None, **settings: AnyValue) -> None:
    """Train a benchmark network and report seconds.

    A sparse network with random input learns a slow sine; seconds are given by phase.
    """
    chosen = validate_values(benchmark.Bench, settings, "bench")
    if json_file and not Path(json_file).absolute().parent.is_dir():  # not after minutes of work
        raise InputError(f"--json {json_file}: its directory does not exist")
    figures = benchmark.run(chosen, exchange)
    figures["environment"] = describe_environment(exchange.comm)
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
    terminal.echo(f"{figures['core_hours']:.3g} core hours{_describe_counters(figures)}")
    terminal.echo(f"peak memory per rank {figures['peak_rss_bytes'] / 2**20:.0f} MiB")
    if json_file:
        everything = figures | chosen.model_dump()
        with output_errors(Path(json_file), "--json "):
            Path(json_file).write_text(json.dumps(everything, indent=1) + "\n")
    terminal.echo(f"digest: {figures['digest']}")


def _describe_counters(figures: Given) -> str:
    """Return the values of the machines' counters, or the reason why there are no joules."""
    others = f"; other programs kept {figures['other_cores']:.1f} cores busy" if "other_cores" in figures else ""
    if "joules" not in figures:
        return f"{others}; {energy.describe_source()}"
    each = f", {1e6 * figures['joules'] / figures['events']:.3g} µJ per synaptic event" if figures["events"] else ""
    return f"{others}; {figures['joules']:.4g} joules{each}"
