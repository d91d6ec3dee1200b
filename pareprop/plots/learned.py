"""Parameters of neurons that learned: histograms before and after between the bounds, their course over iterations."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .. import hdf5
from ..later import h5py
from . import reader, style

BINS = 30


def _draw_histogram(ax: Axes, summary: h5py.Group, before: np.ndarray, after: np.ndarray) -> None:
    low, high = float(summary.attrs["low"]), float(summary.attrs["high"])
    is_log = hdf5.read_text(summary, "scale") == "log"
    edges = np.geomspace(low, high, BINS + 1) if is_log else np.linspace(low, high, BINS + 1)
    if is_log:
        ax.set_xscale("log")
        ax.set_xticks(ticks := style.round_values(low, high, True), [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
    if len(after) > 1:
        for values, color, label, fill in ((before, style.GREY, "initial", True), (after, style.BLUE, "final", False)):
            ax.stairs(np.histogram(values, edges)[0], edges, color=color, label=label, fill=fill)
        ax.set_ylabel("neurons")
        ax.locator_params(axis="y", integer=True)
    else:
        for values, color, label in ((before, style.GREY, "initial"), (after, style.BLUE, "final")):
            ax.axvline(values[0], color=color, label=label)
        ax.set_yticks([])
    for bound in (low, high):
        ax.axvline(bound, color=style.BLACK, lw=0.6, ls=":")
    ax.legend()


def _draw_time_course(ax: Axes, summary: h5py.Group, name: str) -> None:
    mean, low, high = (hdf5.require_dataset(summary, key) for key in ("mean", "min", "max"))
    iterations = np.arange(1, len(mean) + 1)
    ax.fill_between(iterations, low, high, color=style.BLUE, alpha=0.2, lw=0)
    ax.plot(iterations, mean, color=style.BLUE)
    ax.set_xlabel("iteration")
    ax.set_ylabel(name)


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw every parameter that learned; None without any."""
    drawn = [item for item in reader.read_learned(file) if len(hdf5.require_dataset(item[1], "mean"))]
    if not drawn:
        return None
    result = style.new_figure(file, 0.5 + 1.7 * len(drawn))
    axes = result.subplots(len(drawn), 2, squeeze=False)
    for (left, right), (name, summary, before, after) in zip(axes, drawn, strict=True):
        shown = reader.with_unit(reader.format_label(name), summary)
        _draw_histogram(left, summary, before, after)
        left.set_xlabel(shown)
        _draw_time_course(right, summary, shown)
    return result
