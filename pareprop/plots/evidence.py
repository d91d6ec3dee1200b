"""Evidence accumulation: cues, readouts and error in the recall, and the decision."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from .. import hdf5
from ..later import h5py
from . import panels, reader, style

MOST_NAMED = 12  # with more bars of a decision about seven are named


def find_decision(sample: h5py.Group) -> tuple[np.ndarray, int | None]:
    """Return the mean of each readout over the learning window, and the output with the largest mean target.

    The decision is the output with the largest mean; the second result is None without targets.
    """
    first, last = panels.find_learning_window(sample)
    means = sample["readout_signal"][first:last].mean(axis=0)
    target = hdf5.find_dataset(sample, "target_signal", 2)
    return means, None if target is None else int(np.argmax(target[first:last].mean(axis=0)))


def cues_panel(ax: Axes, sample: h5py.Group, dt: float) -> None:
    """Draw the input spikes by group over the whole trial."""
    steps, ids = (hdf5.require_dataset(sample, f"input_{name}") for name in ("steps", "ids"))
    panels.draw_raster(ax, steps, ids, dt, panels.input_groups(sample))
    panels.shade_window(ax, sample, dt)
    ax.set(
        title="input spikes (shaded: learning window)", xlabel="time (ms)", xlim=(0, panels.count_steps(sample) * dt)
    )


def window_panels(axes: list[Axes], sample: h5py.Group, dt: float, names: list[str]) -> None:
    """Draw readouts with targets, and errors, in the learning window."""
    first, last = panels.find_learning_window(sample)
    panels.draw_signals(axes[0], sample["readout_signal"], dt, names)
    target, error = (hdf5.find_dataset(sample, f"{name}_signal", 2) for name in ("target", "error"))
    if target is not None:
        panels.draw_targets(axes[0], target, dt)
    if error is not None:
        panels.draw_signals(axes[1], error, dt)
    axes[0].set(title="readout", ylabel=reader.with_unit("y, y*", sample["readout_signal"]))
    axes[1].set(title="error signal", ylabel=reader.with_unit("y − y*", error))
    for ax in axes:
        ax.set(xlabel="learning window (ms)", xlim=(first * dt, (last - 1) * dt))
        ax.xaxis.set_major_locator(MaxNLocator(4))


def decision_panel(ax: Axes, sample: h5py.Group, names: list[str]) -> None:
    """Draw the mean readouts as bars; the title names the decision and the right answer."""
    means, target = find_decision(sample)
    ax.bar(range(len(means)), means, width=0.6, color=style.choose_colors(len(means)))
    every = 1 if len(means) <= MOST_NAMED else -(-len(means) // 7)
    ax.set_xticks(range(0, len(means), every), names[::every])
    chosen = int(np.argmax(means))
    verdict = "" if target is None else " (correct)" if chosen == target else f" (target {names[target]})"
    ax.set(
        title=f"decision: {names[chosen]}{verdict}", ylabel=reader.with_unit("mean readout", sample["readout_signal"])
    )


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw the last recorded trial; None unless the attribute `figure` asks for it and the readouts were recorded."""
    sample = panels.recorded_sample(file, "last")
    if hdf5.read_text(file, "figure") != "evidence" or sample is None:
        return None
    readout = hdf5.find_dataset(sample, "readout_signal", 2)
    if readout is None:
        return None
    dt, names = reader.step_ms(file), panels.output_names(file, readout.shape[1])
    cues = hdf5.read_pair(sample, "input_steps", "input_ids") is not None
    result = style.new_figure(file, 4.4 if cues else 2.6, detail=panels.describe_moment(file, sample))
    grid = GridSpec(2, 3, figure=result, width_ratios=[1.2, 1.2, 1]) if cues else GridSpec(1, 3, figure=result)
    if cues:
        cues_panel(result.add_subplot(grid[0, :]), sample, dt)
    lower = [result.add_subplot(grid[-1, k]) for k in range(3)]
    window_panels(lower[:2], sample, dt, names)
    decision_panel(lower[2], sample, names)
    lower[0].legend(loc="best")
    return result
