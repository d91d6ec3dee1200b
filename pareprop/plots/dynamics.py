"""Dynamics of the network during one sample, as stacked panels on one time axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .. import hdf5
from ..later import h5py
from . import panels, reader, style

RASTERS = (("input", "input", 1.2), ("spike", "recurrent", 1.4))
NEURON_SIGNALS = (
    ("V_m", "v", "membrane voltage"),
    ("surrogate_gradient", "ψ", "surrogate gradient"),
    ("adaptation", "a", "adaptation"),
    ("learning_signal", "L", "learning signal"),
)
MAX_OVERLAID_VOLTAGES = 3  # more voltages than these are stacked
Panel = tuple[str, float, Callable[[Axes], None]]  # title, relative height, drawing


def raster_panels(sample: h5py.Group, dt: float) -> list[Panel]:
    """Return the panels of the input and the recurrent spikes that were recorded."""
    rasters: list[Panel] = []
    for prefix, name, height in RASTERS:
        spikes = hdf5.read_pair(sample, f"{prefix}_steps", f"{prefix}_ids")
        if spikes is not None and (len(spikes[0]) or not panels.lacks_role(sample.file, name)):
            groups = panels.input_groups(sample) if prefix == "input" else panels.neuron_groups(sample.file)
            label = "" if groups else panels.population_name(sample.file, name)
            title, *shown = panels.subsample_raster(f"{name} spikes", *spikes)
            draw = partial(_draw_raster, spikes=shown, dt=dt, groups=groups, label=label)
            rasters.append((title, height, draw))
    return rasters


def _draw_raster(
    ax: Axes, spikes: list[np.ndarray], dt: float, groups: list[tuple[str, int, int]] | None, label: str
) -> None:
    steps, ids = spikes
    panels.draw_raster(ax, steps, ids, dt, groups)
    ax.set_ylabel(label)


def neuron_panels(sample: h5py.Group, dt: float) -> list[Panel]:
    """Return the panels of the state of recorded neurons; the first one names the neurons."""
    listed: list[Panel] = []
    ids = hdf5.read_values(sample, "record")
    for key, label, title in NEURON_SIGNALS:
        data = hdf5.find_dataset(sample, key, 2)
        if data is None or not data.shape[1]:
            continue
        if key == "learning_signal" and panels.lacks_role(sample.file, "readout") and not np.any(data[...]):
            continue
        numbers = ids if ids is not None and len(ids) == data.shape[1] else range(data.shape[1])
        cells = panels.cell_names(sample.file, "recurrent", map(int, numbers[: panels.MAX_LINES]))
        names = None if listed else panels.shorten_legend(cells, data.shape[1])
        stacked = key == "V_m" and data.shape[1] > MAX_OVERLAID_VOLTAGES
        height = 0.25 * min(data.shape[1], panels.MAX_LINES) if stacked else 1.0
        draw = partial(_draw_signals, data=data, dt=dt, label=label, names=names, is_stacked=stacked)
        listed.append((title, height, draw))
    return listed


def _draw_signals(
    ax: Axes, data: h5py.Dataset, dt: float, label: str, names: list[str] | None, is_stacked: bool = False
) -> None:
    panels.draw_signals(ax, data, dt, names, is_stacked=is_stacked)
    ax.set_ylabel(reader.with_unit(label, data))


def output_panels(sample: h5py.Group, dt: float) -> list[Panel]:
    """Return the panels of readouts against targets and of the errors that were recorded."""
    listed: list[Panel] = []
    readout, target, error = (_read_columns(sample, f"{name}_signal") for name in ("readout", "target", "error"))
    if readout is not None or target is not None:
        title = " and ".join(n for n, d in (("readout", readout), ("target", target)) if d is not None)
        listed.append((title, 1.4, partial(_draw_readout, readout=readout, target=target, dt=dt)))
    if error is not None:
        listed.append(("error signal", 1.0, partial(_draw_signals, data=error, dt=dt, label="y − y*", names=None)))
    return listed


def _read_columns(sample: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return a signal; None if it was not recorded, or has no columns, as in a network without readouts."""
    data = hdf5.find_dataset(sample, name, 2)
    return data if data is not None and data.shape[1] else None


def _draw_readout(ax: Axes, readout: h5py.Dataset | None, target: h5py.Dataset | None, dt: float) -> None:
    if readout is not None:
        n_out = readout.shape[1]
        panels.draw_signals(ax, readout, dt, panels.shorten_legend(panels.output_names(readout.file, n_out), n_out))
    if target is not None:
        panels.draw_targets(ax, target, dt)
    ax.set_ylabel(reader.with_unit("y, y*", target if readout is None else readout))


@style.styled
def draw_figure(file: h5py.File, which: str) -> Figure | None:
    """Draw the sample recorded in /dynamics/`which`, "first" or "last"; None if nothing of it was recorded.

    A second column enlarges the learning window if it is shorter than half of the sample.
    """
    sample = panels.recorded_sample(file, which)
    if sample is None:
        return None
    dt = reader.step_ms(file)
    stack = raster_panels(sample, dt) + neuron_panels(sample, dt) + output_panels(sample, dt)
    if not stack:
        return None
    tall = 0.8 + 0.95 * sum(height for _, height, _ in stack)
    result = style.new_figure(file, tall, detail=panels.describe_moment(file, sample), layout="none")
    fill_columns(result, stack, sample, dt)
    return result


def fill_columns(figure: Figure, stack: list[Panel], sample: h5py.Group, dt: float) -> None:
    """Fill a figure with the panels over the whole sample and, when it is short, over the learning window."""
    whole, window = (0, panels.count_steps(sample)), panels.find_learning_window(sample)
    spans = [whole, window] if window[1] - window[0] < 0.5 * whole[1] else [whole]
    grid = figure.subplots(
        len(stack),
        len(spans),
        sharex="col",
        sharey="row",
        squeeze=False,
        width_ratios=[2.2, 1][: len(spans)],
        height_ratios=[height for _, height, _ in stack],
    )
    for axes, (title, _, draw) in zip(grid, stack, strict=True):
        for ax in axes:
            draw(ax)
            panels.shade_window(ax, sample, dt)
            ax.label_outer()
        axes[0].set_title(title)
        style.legend_right(axes[-1])
    for ax, (first, last) in zip(grid[-1], spans, strict=True):
        ax.set(xlim=(first * dt, last * dt), xlabel="time (ms)" if first == 0 else "learning window (ms)")
        ax.xaxis.set_major_locator(MaxNLocator(4 if first else 6, steps=[1, 2, 2.5, 5, 10]))
    named = [name for name, _, _ in panels.input_groups(sample) + panels.neuron_groups(sample.file)]
    left = max([0.62, *(0.15 + 0.056 * len(panels.shorten_name(name)) for name in named)])
    style.arrange_axes(figure, grid, left=left, right=0.1 + max(map(style.legend_width, grid[:, -1])), down=0.3)
