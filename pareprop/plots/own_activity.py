"""Own activity: spikes before and after learning, targets, correlations of all neurons, weights by sign."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from .. import hdf5
from ..later import h5py
from . import panels, reader, style, weights

YARDSTICKS = {"Poisson": 0.25, "regular": 0.40, "best found": 0.77}  # correlations of such spikes, tau_out = 100 ms
MAX_SPIKES = 60_000  # a raster shows at most about this many


def draw_raster(ax: Axes, sample: h5py.Group, height: np.ndarray, dt: float) -> None:
    """Draw spikes, neuron k at height `height[k]`; every n-th neuron alone if there are more than `MAX_SPIKES`."""
    steps, ids = (hdf5.require_dataset(sample, name) for name in ("spike_steps", "spike_ids"))
    every = max(1, -(-len(ids) // MAX_SPIKES))
    chosen = height[ids] % every == 0
    size = np.clip(2000 / max(int(np.count_nonzero(chosen)), 1), 0.05, 1.0)
    ax.scatter(steps[chosen] * dt, height[ids][chosen], s=size, color=style.BLUE, linewidths=0, rasterized=True)
    ax.set(xlabel="time (ms)", xlim=(0, panels.count_steps(sample) * dt), ylim=(0, len(height)))


def draw_targets(ax: Axes, sample: h5py.Group, dt: float) -> None:
    """Draw the target rates of some neurons, sorted by their peaks."""
    rates = hdf5.require_dataset(sample, "local_target", 2)
    rates = rates[:, np.argsort(np.argmax(rates, axis=0), kind="stable")]
    shown = rates / np.maximum(rates.max(axis=0), 1e-30)
    ax.imshow(
        shown.T,
        aspect="auto",
        origin="lower",
        cmap="Blues",
        extent=(0, len(rates) * dt, 0, rates.shape[1]),
        rasterized=True,
    )
    ax.set(title="target rate / its peak", xlabel="time (ms)", ylabel="some neurons, by peak")


def draw_correlations(ax: Axes, first: np.ndarray, last: np.ndarray) -> None:
    """Draw histograms of the correlations before and after learning, with other spikes' correlations as lines."""
    edges = np.linspace(-1, 1, 81)
    for values, label, color in ((first, "before", style.GREY), (last, "after", style.BLUE)):
        ax.stairs(np.histogram(values, edges)[0], edges, color=color, label=label, fill=label == "before", alpha=0.8)
    top = ax.get_ylim()[1]
    for name, value in YARDSTICKS.items():
        ax.axvline(value, ymax=0.8, color=style.VERMILLION, lw=0.8, ls="--")
        ax.text(value, 1.23 * top, name, rotation=90, va="top", ha="center", fontsize=6, color=style.VERMILLION)
    ax.set(xlabel="correlation with the target", ylabel="neurons", xlim=(-1, 1), ylim=(0, 1.25 * top))
    ax.locator_params(axis="y", integer=True)
    ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    means = " → ".join(f"{values.mean():z.2f} ({np.median(values):z.2f})" for values in (first, last))
    ax.set_title(f"mean (median): {means}")
    ax.legend(loc="upper left", fontsize=7)


def draw_examples(ax: Axes, sample: h5py.Group, dt: float) -> None:
    """Draw signal and target of three neurons."""
    signal, target = (hdf5.require_dataset(sample, f"local_{name}", 2) for name in ("signal", "target"))
    for k, column in enumerate(np.linspace(0, signal.shape[1] - 1, 5).astype(int)[1:4]):
        color = style.choose_colors(3)[k]
        ax.plot(np.arange(len(signal)) * dt, signal[:, column], color=color, lw=0.9)
        ax.plot(np.arange(len(target)) * dt, target[:, column], color=color, lw=0.9, ls="--")
    ax.set(title="three neurons (dashed: targets)", xlabel="time (ms)", ylabel="rate (Hz)")


def by_sign(ax: Axes, file: h5py.File) -> None:
    """Draw the weights between neurons before and after; the title reports how many are 0."""
    groups = [group for group in file.get("projections", {}).values() if "weight" in group]
    if not groups:
        ax.set_axis_off()
        return
    projection = max(groups, key=lambda group: len(group["weight"]))
    before, after = (reader.sample(projection[name]) for name in ("weight_initial", "weight"))
    edges = weights.bin_edges(np.concatenate([before, after]))
    edges = edges - edges[np.argmin(np.abs(edges))]  # 0 lies between two bins
    for values, label, alpha in ((before, "before", 0.5), (after, "after", None)):
        for sign, color in ((1, style.VERMILLION), (-1, style.BLUE)):
            some = values[np.sign(values) == sign]
            name = {1: "excitatory", -1: "inhibitory"}[sign]
            ax.stairs(
                np.histogram(some, edges)[0],
                edges,
                color=color,
                label=f"{name}, {label}",
                fill=alpha is not None,
                alpha=alpha,
            )
    name = reader.format_label(projection.name.rpartition("/")[2]).replace("->", "→")
    ax.set(xlabel=reader.with_unit(f"weight, {name}", projection["weight"]), ylabel="synapses", yscale="log")
    ax.set_title(f"at 0 after learning: {np.mean(after == 0):.1%}")
    ax.locator_params(axis="x", nbins=4)
    ax.set_ylim(top=300 * ax.get_ylim()[1])  # room for the legend
    ax.legend(fontsize=6, loc="upper left", ncols=2)


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw the first and the last sample; None unless correlations with targets were recorded."""
    recorded = [panels.recorded_sample(file, name) for name in ("first", "last")]
    samples = [item for item in recorded if item is not None and hdf5.find_dataset(item, "correlation") is not None]
    if len(samples) < len(recorded):
        return None
    dt, last = reader.step_ms(file), samples[1]
    peak = hdf5.require_dataset(last, "target_peak")
    place = np.empty(len(peak), np.int64)
    place[np.argsort(peak, kind="stable")] = np.arange(len(peak))
    result = style.new_figure(file, 6.0, width=9.0)
    grid = GridSpec(2, 3, figure=result)
    axes = [result.add_subplot(grid[k // 3, k % 3]) for k in range(6)]
    for ax, sample, name in zip(axes, samples, ("before", "after"), strict=False):
        draw_raster(ax, sample, place, dt)
        ax.set_title(f"spikes {name} learning")
    axes[0].set_ylabel("neuron, by peak of the target")
    draw_targets(axes[2], last, dt)
    draw_correlations(axes[3], *(hdf5.require_dataset(sample, "correlation") for sample in samples))
    draw_examples(axes[4], last, dt)
    by_sign(axes[5], file)
    return result
