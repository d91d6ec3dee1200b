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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from stream import STREAMS, THROUGH_ROWS, Streams
from tqdm import tqdm

from pareprop.plots import style

Rows = list[dict[str, Any]]
LIMITS = {"bandwidth": style.BLUE, "gathers": style.ORANGE, "arithmetic": style.GREEN}
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
        click.echo(f"{row['loop']:8s} {row['neurons']:8d} {row['indegree']:8d} {row['processes']:9d} "
                   f"{row['strong']:7.2f} {row['weak']:5.2f}")  # fmt: skip


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
        click.echo(f"{row['loop']:8s} {sizes[0]:>8} {sizes[1]:>6} {row['processes']:10d} {row['ns']:10.2f} "
                   f"{row['gb_per_s']:11.1f}")  # fmt: skip


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


@style.styled
def draw(loops: Rows, kernels: Rows) -> Figure:
    """The loops over the number of targets; the kernels with their three bounds."""
    figure = Figure(figsize=(style.WIDTH, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _draw_loops(left, loops)
    for place, row in enumerate(kernels):
        for shift, (name, color) in zip((-0.25, 0.0, 0.25), LIMITS.items(), strict=True):
            right.barh(place + shift, row["bounds"][name], 0.25, color=color, label=None if place else name)
        label = None if place else "the kernel"
        right.vlines(row["ns"], place - 0.42, place + 0.42, color=style.BLACK, lw=1.6, label=label)
        right.text(max(row["ns"], *row["bounds"].values()), place, f"  {row['ns']:.2g}", va="center", fontsize=6)
    right.set_yticks(range(len(kernels)), [f"{row['kernel']} ({row['variant']})" for row in kernels])
    right.invert_yaxis()
    right.tick_params(left=False)
    right.margins(x=0.12)
    right.set(xlabel="ns per event", title="Kernels and what bounds them")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=4)
    return figure


def _draw_loops(ax: Axes, loops: Rows) -> None:
    for color, loop in zip(style.colors(3), THROUGH_ROWS, strict=True):
        for processes in sorted({row["processes"] for row in loops}):
            rows = [row for row in loops if (row["loop"], row["processes"], row["row"]) == (loop, processes, ROW)]
            look = ("-", color) if processes == 1 else (":", "white")
            ax.plot([row["targets"] for row in rows], [row["ns"] for row in rows], color=color, marker="o", ms=3.5,
                    ls=look[0], mfc=look[1], label=loop if processes == 1 else None)  # fmt: skip
    speeds = ", each of two ".join(f"{row['gb_per_s']:.0f}" for row in loops if row["loop"] == "scale")
    ax.set(xscale="log", yscale="log", xlabel="targets", ylabel="ns per event", title=f"scale: {speeds} GB/s")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.plot([], [], color=style.BLACK, ls=":", marker="o", ms=3.5, mfc="white", label="two at once")
    ax.legend()


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
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help="Draw NAME.png and NAME.pdf.")
def main(
    neurons: int, indegree: int, inputs: int, steps: int, samples: int, events: int, precision: str,
    processes: tuple[int, ...], json_file: Path | None, figure: Path | None,
) -> None:  # fmt: skip
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
    if figure:
        click.echo("\n".join(map(str, style.save(draw(loops, kernels), figure.parent, figure.stem))))


if __name__ == "__main__":
    main()
