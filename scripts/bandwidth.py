#!/usr/bin/env python3
"""How close the kernels come to the limits of this machine.

First the limits: loops like those of STREAM (stream.c, compiled here), for one process and for two at once: copy,
triad, scale (in place), and three that go through rows of synapses with ascending targets, in random order: scatter
(delivery), gather (credit) and update (per-spike learning), over some numbers of targets. Then all kernels on networks
of `pareprop bench`, large and small.

Three times bound a kernel from below: its bytes at the speed of scale (bandwidth), the loop with the same accesses to
rows of the same length and as many targets (gathers), and its own time on a network that stays in the nearest caches
(arithmetic). The largest is the limit that it hits, and its share in the kernel's time tells how close it comes. More
than 1: it found data in a cache. What is missing below 1 is mostly neurons' state that comes from the second cache.

At the end: how much faster several processes that only move memory go through a network than one, and how efficient
they are on a network that grows with them: what the memory they share leaves for a scaling study.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click
import traffic
from stream import STREAMS, THROUGH_ROWS, Streams
from tqdm import tqdm

Rows = list[dict[str, Any]]
TARGETS = (2_500, 20_000, 200_000, 2_000_000)
ROW = 1000  # synapses of a row in the loops


def measure_loops(streams: Streams, processes: tuple[int, ...]) -> Rows:
    """All loops, for some numbers of targets and of processes."""
    cases = [(loop, 0, 1) for loop in STREAMS] + [(loop, n, ROW) for loop in THROUGH_ROWS for n in TARGETS]
    return [streams.measure(*case, n) for n in processes for case in cases]


def measure_sharing(streams: Streams, neurons: int, indegree: int, processes: int) -> Rows:
    """Loops through the rows of a network that several processes share, who know nothing of each other.

    Each has its share of the targets and of every row. "strong" is the speed-up over one process that has the whole
    network, "weak" the efficiency against one that has as many targets as each of them, with whole rows.
    """
    found = []
    for loop in THROUGH_ROWS:
        whole, part = streams.measure(loop, neurons, indegree), neurons // processes
        shared = streams.measure(loop, part, indegree // processes, processes)
        alone = streams.measure(loop, part, indegree)
        gains = {"strong": processes * whole["ns"] / shared["ns"], "weak": alone["ns"] / shared["ns"]}
        found.append({"loop": loop, "neurons": neurons, "indegree": indegree, "processes": processes} | gains)
    return found


def show_sharing(sharing: Rows) -> None:
    """Print what is left for several ranks."""
    click.echo("\nloop      neurons indegree processes  strong  weak")
    for row in sharing:
        click.echo(
            f"{row['loop']:8s} {row['neurons']:8d} {row['indegree']:8d} {row['processes']:9d} "
            f"{row['strong']:7.2f} {row['weak']:5.2f}"
        )


def judge(loops: Rows, kernels: Rows) -> Rows:
    """Add to each kernel the three bounds in ns, the limit, its share and the speed in units of that of scale.

    Loops are those of `measure_loops`, and for each kernel one with its rows and targets.
    """
    alone = {(row["loop"], row["targets"], row["row"]): row for row in loops if row["processes"] == 1}
    fastest, judged = alone["scale", 0, 1]["gb_per_s"], []
    for row in kernels:
        gathers = alone[row["loop"], row["targets"], row["row"]]["ns"] if row["loop"] else 0.0
        bounds = {"bandwidth": row["bytes"] / fastest, "gathers": gathers, "arithmetic": row["ns_in_cache"]}
        limit = max(bounds, key=bounds.get)
        verdict = {"limit": limit, "share": bounds[limit] / row["ns"], "of_scale": row["gb_per_s"] / fastest}
        judged.append(row | {"bounds": bounds} | verdict)
    return judged


def show_loops(loops: Rows) -> None:
    """Print the limits."""
    click.echo("loop      targets    row  processes   ns/event   GB/s each")
    for row in loops:
        sizes = (row["targets"], row["row"]) if row["targets"] else ("", "")
        click.echo(
            f"{row['loop']:8s} {sizes[0]:>8} {sizes[1]:>6} {row['processes']:10d} {row['ns']:10.2f} "
            f"{row['gb_per_s']:11.1f}"
        )


def show_kernels(kernels: Rows) -> None:
    """Print the kernels."""
    titles = "kernel                       per           bytes     ns   GB/s of scale"
    click.echo(f"\n{titles}  | bandwidth gathers arithmetic | limit       share")
    for row in kernels:
        bounds = row["bounds"]
        click.echo(
            f"{row['variant']:8s} {row['kernel']:19s} {row['per']:12s} {row['bytes']:6d} {row['ns']:6.2f} "
            f"{row['gb_per_s']:6.1f} {row['of_scale']:8.0%}  | {bounds['bandwidth']:9.2f} {bounds['gathers']:7.2f} "
            f"{bounds['arithmetic']:10.2f} | {row['limit']:10s} {row['share']:6.0%}"
        )


@click.command(help=__doc__)
@click.option("--neurons", default=20_000, show_default=True, help="Of the large network.")
@click.option("--indegree", default=1000, show_default=True)
@click.option("--inputs", default=100, show_default=True)
@click.option("--steps", default=50, show_default=True, help="Of a sample of it.")
@click.option("--samples", default=3, show_default=True, help="Samples, of which the median counts.")
@click.option("--events", default=2**25, show_default=True, help="Of a loop, so that its arrays leave the caches.")
@click.option("--precision", type=click.Choice(["double", "single"]), default="double", show_default=True)
@click.option("--processes", multiple=True, type=click.IntRange(1), default=(1, 2), help="Loops at once.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
def main(
    neurons: int,
    indegree: int,
    inputs: int,
    steps: int,
    samples: int,
    events: int,
    precision: str,
    processes: tuple[int, ...],
    json_file: Path | None,
) -> None:
    """Measure, judge, print."""
    with tempfile.TemporaryDirectory() as folder:
        streams = Streams(Path(folder), {"double": "double", "single": "float"}[precision], events)
        loops = measure_loops(streams, tuple(sorted({1, *processes})))
        sharing = [row for n in sorted({*processes} - {1}) for row in measure_sharing(streams, neurons, indegree, n)]
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with tqdm(total=2 * len(traffic.SETUPS), disable=None, leave=False) as bar:
            large = traffic.Size(neurons, indegree, inputs, steps)
            kernels = traffic.measure(large, precision, samples, lambda _: bar.update())
        wanted, known = ({(row["loop"], row["targets"], row["row"]) for row in rows} for rows in (kernels, loops))
        loops += [streams.measure(*case) for case in sorted(wanted - known) if case[0]]
    show_loops(loops)
    kernels = judge(loops, kernels)
    show_kernels(kernels)
    show_sharing(sharing)
    found = {"precision": precision, "loops": loops, "kernels": kernels, "sharing": sharing}
    if json_file:
        json_file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
