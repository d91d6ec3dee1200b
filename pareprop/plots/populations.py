"""Populations: spikes, rates, irregularity and correlations of each, next to the rates of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import hdf5
from ..later import h5py
from . import panels, reader, style
from .loss import running_median

FEWEST = 3  # the irregularity of neurons with fewer spikes is left out
FEWEST_ITERATIONS = 10  # the rates over a shorter training are not drawn
PAIRED = 200  # correlations are taken between this many neurons of a population
BIN_MS = 2.0  # bin of the spike counts that are correlated
INHIBITORY = style.VERMILLION  # colour of inhibitory populations


@dataclass(frozen=True)
class Statistics:
    """Statistics of the spikes of one population.

    `rates` (n,) are spikes per second of each neuron, `cv` the coefficients of variation of the intervals of neurons
    with at least `FEWEST` spikes, `correlations` those between spike counts of pairs of neurons that spike.
    """

    name: str
    rates: np.ndarray
    cv: np.ndarray
    correlations: np.ndarray


def measure_statistics(
    name: str, steps: np.ndarray, ids: np.ndarray, size: int, n_steps: int, dt_ms: float, first: int = 0
) -> Statistics:
    """Return the statistics of a population from step and neuron (0 to size - 1) of each spike, sorted by step.

    The recording has `n_steps` steps of `dt_ms`; its `first` steps are skipped.
    """
    kept = steps >= first
    steps, ids = steps[kept] - first, ids[kept]
    seconds = (n_steps - first) * dt_ms / 1000.0
    counts = np.bincount(ids, minlength=size)
    order = np.lexsort((steps, ids))
    ends = np.cumsum(counts)
    times = steps[order] * dt_ms
    cv = []
    for neuron in np.flatnonzero(counts >= FEWEST):
        intervals = np.diff(times[ends[neuron] - counts[neuron] : ends[neuron]])
        cv.append(np.std(intervals) / np.mean(intervals))
    return Statistics(name, counts / seconds, np.array(cv), _correlate_counts(steps * dt_ms, ids, counts, seconds))


def _correlate_counts(times: np.ndarray, ids: np.ndarray, counts: np.ndarray, seconds: float) -> np.ndarray:
    """Return the correlations of binned counts of the first `PAIRED` neurons that spike."""
    chosen = np.flatnonzero(counts)[:PAIRED]
    if len(chosen) < 2:
        return np.zeros(0)
    place = np.full(len(counts), -1)
    place[chosen] = np.arange(len(chosen))
    mine = place[ids] >= 0
    bins = max(int(seconds * 1000.0 / BIN_MS), 1)
    binned = np.minimum((times[mine] / BIN_MS).astype(int), bins - 1)
    table = np.zeros((len(chosen), bins))
    np.add.at(table, (place[ids[mine]], binned), 1.0)
    table = table[table.std(axis=1) > 0]
    return np.corrcoef(table)[np.triu_indices(len(table), 1)] if len(table) > 1 else np.zeros(0)


def of_sample(file: h5py.File, sample: h5py.Group) -> list[Statistics]:
    """Return the statistics of all populations of neurons in a recorded sample."""
    steps, ids = (hdf5.require_dataset(sample, name) for name in ("spike_steps", "spike_ids"))
    dt, n_steps = reader.step_ms(file), panels.count_steps(sample)
    measured = []
    for name, first, last in panels.neuron_groups(file):
        mine = (ids >= first) & (ids < last)
        measured.append(measure_statistics(name, steps[mine], ids[mine] - first, last - first, n_steps, dt))
    return measured


def draw_boxes(
    ax: Axes, values: list[np.ndarray], colors: list[str], label: str, reference: np.ndarray | None = None
) -> None:
    """Draw the values of each population: quartiles, 5 to 95 %, their mean as a dot; the reference as a line."""
    places = np.arange(len(values))[::-1]
    for place, numbers, color in zip(places, values, colors, strict=True):
        if len(numbers):
            low, first, median, third, high = np.percentile(numbers, [5, 25, 50, 75, 95])
            ax.hlines(place, low, high, color=color, lw=1.0)
            ax.barh(place, third - first, left=first, height=0.6, color=color)
            ax.vlines(median, place - 0.3, place + 0.3, color="white", lw=1.0)
            ax.plot(np.mean(numbers), place, "o", color=style.BLACK, ms=3, zorder=5)
    if reference is not None:
        ax.vlines(reference, places - 0.4, places + 0.4, color=style.BLACK, lw=1.2, zorder=6)
    ax.set_yticks(places, [""] * len(places))
    ax.set_xlabel(label)
    ax.set_ylim(-0.6, len(values) - 0.4)


def draw_raster(ax: Axes, sample: h5py.Group, groups: list[tuple[str, int, int]], dt: float) -> None:
    """Draw the spikes of some neurons, first population on top."""
    steps, ids = (hdf5.require_dataset(sample, name) for name in ("spike_steps", "spike_ids"))
    _, steps, ids = panels.subsample_raster("", steps, ids)
    total = groups[-1][2]
    for name, first, last in groups:
        mine = (ids >= first) & (ids < last)
        color = INHIBITORY if name.endswith("I") else style.BLUE
        ax.scatter(steps[mine] * dt, total - ids[mine], s=0.6, color=color, linewidths=0, rasterized=True)
    ax.set_yticks([total - (first + last) / 2 for _, first, last in groups], [name for name, *_ in groups])
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="time (ms)", xlim=(0, panels.count_steps(sample) * dt), ylim=(0, total))


def read_reference(file: h5py.File, names: list[str]) -> np.ndarray | None:
    """Return the reference rates of populations in Hz, None unless the file has a rate for each."""
    known = [str(name) for name in file.attrs.get("reference_names", [])]
    return np.asarray(file.attrs.get("reference_hz", []), float) if known == names else None


def compute_differences(file: h5py.File) -> np.ndarray:
    """Return the root mean square of the relative differences from the reference rates, float64 (n_iterations,).

    Empty if the file has no rates of populations, or no reference.
    """
    rates = hdf5.read_values(file, "population_rate", 2)
    reference = read_reference(file, [name for name, *_ in panels.neuron_groups(file)])
    if rates is None or reference is None or rates.shape[1:] != reference.shape:
        return np.zeros(0)
    return np.sqrt(np.mean((rates / reference - 1.0) ** 2, axis=1))


@style.styled
def rates_figure(file: h5py.File) -> Figure | None:
    """Draw the rates of the populations over the training, next to the reference; None for few iterations."""
    off, groups = compute_differences(file), panels.neuron_groups(file)
    if len(off) < FEWEST_ITERATIONS:
        return None
    rates = hdf5.require_dataset(file, "population_rate", 2)
    reference = read_reference(file, [name for name, *_ in groups])
    assert reference is not None  # else there are no differences
    shown = style.new_figure(file, 4.2, width=6.0)
    top, bottom = shown.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    for (name, *_), values, target, color in zip(
        groups, rates.T, reference, style.choose_colors(len(groups)), strict=True
    ):
        centres, medians = running_median(values)
        top.plot(centres + 1, medians, color=color, label=name)
        top.axhline(target, color=color, lw=0.8, ls="--")
    top.set_ylabel("rate (Hz), running medians\ndashed: full network")
    top.set_ylim(bottom=0)
    style.legend_right(top, ncols=1)
    bottom.plot(np.arange(1, len(off) + 1), 100.0 * off, color=style.BLUE)
    bottom.set(xlabel="training iteration", ylabel="difference (%)", ylim=(0, None))
    return shown


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw the activity of the populations in the last sample; None for tasks without this figure."""
    sample = file.get("dynamics/last")
    if hdf5.read_text(file, "figure") != reader.POPULATIONS or not isinstance(sample, h5py.Group):
        return None
    measured, groups = of_sample(file, sample), panels.neuron_groups(file)
    names = [item.name for item in measured]
    reference = read_reference(file, names)
    shown = style.new_figure(file, 3.2, width=9.0, detail="last sample")
    axes = shown.subplots(1, 4, width_ratios=[2.4, 1, 1, 1])
    draw_raster(axes[0], sample, groups, reader.step_ms(file))
    for ax, values, label, line in (
        (axes[1], [item.rates for item in measured], "rate (Hz); line: full network", reference),
        (axes[2], [item.cv for item in measured], "CV of intervals", None),
        (axes[3], [item.correlations for item in measured], "correlation", None),
    ):
        draw_boxes(ax, values, [INHIBITORY if name.endswith("I") else style.BLUE for name in names], label, line)
    axes[1].set_yticklabels(names)
    return shown
