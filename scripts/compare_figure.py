"""Figure of `compare_nest.py`: time, memory and ratios against the number of synapses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import suffix, workers_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from pareprop.plots import style

Result = dict[str, Any]
Find = Callable[[Result], list[float]]
LOOKS = {  # colour, line style, marker, name
    "nest": (style.VERMILLION, "-", "o", "NEST e-prop"),
    "nest_static": (style.ORANGE, "--", "s", "NEST static synapses"),
    "pareprop": (style.BLUE, "-", "o", "pareprop, learning"),
    "pareprop_static": (style.SKY, "--", "s", "pareprop, no learning"),
}
RATIOS = {
    "learning": (style.BLACK, "-", "o", "both learn"),
    "learning_to_nest_static": (style.PURPLE, "--", "s", "pareprop learns, NEST static"),
    "cost_of_learning": (style.GREEN, "-", "^", "cost of learning, pareprop"),
}


def draw(ax: Axes, results: list[Result], find: Find, look: tuple[str, str, str, str], workers: int) -> None:
    """Medians with their range; a line through the sparse networks, sine waves apart; several workers are open."""
    color, line, marker, name = look
    face = color if workers == 1 else "white"
    points = []
    for result in sorted(results, key=lambda result: result["synapses"]):
        values = find(result)
        if not values:
            continue
        middle, x = np.median(values), result["synapses"]
        spread = [[middle - min(values)], [max(values) - middle]]
        ax.errorbar(x, middle, spread, color=color, marker=marker, mfc=face, ms=3.5, lw=0.8, ls="")
        if result["name"].startswith("bench"):
            points.append((x, middle))
    line, width, label = (line, 1.0, name) if workers == 1 else (":", 0.8, None)
    ax.plot(*zip(*points or [(np.nan, np.nan)], strict=True), color=color, ls=line, lw=width)
    ax.plot([], [], color=color, ls=line, marker=marker, ms=3.5, label=label)


def seconds(key: str, result: Result) -> list[float]:
    """Per second of biological time."""
    return [value / result["simulated_seconds"] for value in result["runs"].get(key, {"seconds": []})["seconds"]]


def memory(key: str, result: Result) -> list[float]:
    """MiB that building and running took."""
    return [value / 2**20 for value in result["runs"].get(key, {"bytes": []})["bytes"] if value > 0]


def ratio(key: str, result: Result) -> list[float]:
    """Paired ratios."""
    return result["ratios"].get(key, [])


def row(axes: list[Axes], results: list[Result], workers: list[int]) -> None:
    """Time, memory and ratios of one variant."""
    columns = ((seconds, LOOKS, "s per s of biological time"), (memory, LOOKS, "memory of build and run (MiB)"),
               (ratio, RATIOS, "ratio of times"))  # fmt: skip
    for ax, (find, looks, label) in zip(axes, columns, strict=True):
        for n in workers:
            for key, look in looks.items():
                draw(ax, results, partial(find, key + suffix(n)), look, n)
        ax.set(xscale="log", yscale="log", ylabel=label)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.grid(True, lw=0.3, color=style.WINDOW)


@style.styled
def figure(results: list[Result]) -> Figure:
    """A row for each variant."""
    variants = [name for name in ("interval", "spike") if any(result["variant"] == name for result in results)]
    workers = workers_of(key for result in results for key in result["runs"])
    whole = Figure(figsize=(style.WIDTH, 0.9 + 2.0 * len(variants)), layout="constrained")
    axes = whole.subplots(len(variants), 3, squeeze=False, sharex=True)
    for line, variant in zip(axes, variants, strict=True):
        row(list(line), [result for result in results if result["variant"] == variant], workers)
        line[0].set_title(f"{variant} variant")
    for ax in axes[-1]:
        ax.set_xlabel("synapses")
    more = " and ".join(str(n) for n in workers if n > 1)
    several = f"; open, dotted: {more} threads or ranks" if more else ""
    whole.suptitle(f"Medians and ranges, 1 thread or rank{several}; unconnected: sine waves", x=0.01, ha="left")
    handles = [item for ax in (axes[0, 0], axes[0, 2]) for item in zip(*ax.get_legend_handles_labels(), strict=True)]
    whole.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=4)
    return whole


def save(results: list[Result], path: Path) -> list[Path]:
    """Write `path` as PNG and PDF."""
    return style.save(figure(results), path.parent, path.stem)
