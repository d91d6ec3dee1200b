"""Delays that learn: before and after, over their bounds, and how many synapses moved in each iteration."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .. import hdf5
from ..later import h5py
from . import reader, style, weights


def _draw_histogram(ax: Axes, ends: tuple[np.ndarray, ...], bounds: tuple[float, float], dt: float) -> None:
    """Draw histograms of the delays, in bins of a step, before and after."""
    edges = np.arange(round(bounds[0]), round(bounds[1]) + 2) - 0.5
    for values, label, color in zip(ends, ("initial", "final"), (style.GREY, style.BLUE), strict=True):
        first = label == "initial"
        counts = np.histogram(values, edges)[0]
        ax.stairs(counts, edges * dt, color=color, label=label, fill=first, alpha=0.5 if first else None)
    for bound, label in zip(bounds, ("bounds", ""), strict=True):
        ax.axvline(bound * dt, color=style.VERMILLION, lw=0.8, ls="--", label=label)
    ax.set(xlabel="delay (ms)", ylabel="synapses")
    ax.yaxis.set_major_locator(MaxNLocator(4))
    style.legend_right(ax)


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw all projections whose delays learned; None without any."""
    drawn = list(reader.read_learned_delays(file))
    if not drawn:
        return None
    dt = reader.step_ms(file)
    result = style.new_figure(file, 0.4 + 1.9 * len(drawn))
    axes = result.subplots(len(drawn), 2, squeeze=False)
    for (left, right), (_, group, bounds, ends) in zip(axes, drawn, strict=True):
        _draw_histogram(left, ends, bounds, dt)
        left.set_title(weights.format_heading(group, len(ends[0]), False))
        moved = hdf5.read_values(group, "moved")
        if moved is None or not len(moved):
            right.set_visible(False)
            continue
        right.plot(np.arange(1, len(moved) + 1), moved, color=style.BLUE)
        right.set(xlabel="iteration", ylabel="synapses", title="synapses that came to another whole step")
        right.set_ylim(bottom=0)
    return result
