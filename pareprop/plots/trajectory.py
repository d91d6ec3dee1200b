"""Two readouts against their targets in the plane, one panel for each recorded iteration."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import hdf5
from ..later import h5py
from . import panels, reader, style

TASKS = ("lemniscate", "handwriting")
COLUMNS = 3


def find_samples(file: h5py.File) -> list[h5py.Group]:
    """Return the recorded samples that have two readouts, by iteration."""
    group = hdf5.find_child(file, "dynamics")
    groups = []
    for name in group if group is not None else ():
        sample = panels.recorded_sample(file, name)
        readout = None if sample is None else hdf5.find_dataset(sample, "readout_signal", 2)
        if readout is not None and readout.shape[1] == 2:
            groups.append(sample)
    return sorted(groups, key=lambda sample: int(sample.attrs.get("iteration", 0)))


def compute_limits(paths: list[np.ndarray]) -> np.ndarray:
    """Return the view, ((left, right), (bottom, top)): around `paths`, with a fifth of their extent on each side.

    A wild first iteration is cut rather than making all others tiny. NaN is passed over.
    """
    points = np.concatenate(paths)
    points = points[np.isfinite(points).all(axis=1)]
    if not points.size:
        return np.array([(-1.0, 1.0)] * 2)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.2 * max(*(high - low), 1e-9)
    return np.column_stack([low - margin, high + margin])


def draw_panel(ax: Axes, path: np.ndarray, target: np.ndarray | None, iteration: str) -> None:
    """Draw one path over its target."""
    ax.plot(*path.T, color=style.BLUE, lw=0.9, label="readout")
    if target is not None:
        ax.plot(*target.T, color=style.BLACK, lw=0.9, ls=(0, (4, 2)), label="target")
    ax.set_title(f"iteration {iteration}".rstrip())


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw readouts over their target, dashed, in equal views, by iteration.

    None unless the task draws a path in the plane (lemniscate, handwriting, or the attribute `figure` is
    "trajectory") and two readouts were recorded.
    """
    shown = find_samples(file)
    if not shown or (hdf5.read_text(file, "task") not in TASKS and hdf5.read_text(file, "figure") != "trajectory"):
        return None
    windows = [slice(*panels.find_learning_window(sample)) for sample in shown]
    paths = [sample["readout_signal"][window] for sample, window in zip(shown, windows, strict=True)]
    target = hdf5.read_values(shown[-1], "target_signal", 2)
    targets = [None if target is None else target[window] for window in windows]
    view = compute_limits([paths[-1], *([] if target is None else [target[windows[-1]]])])
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    height = 2.2 * rows * np.ptp(view[1]) / max(np.ptp(view[0]), 1e-9)
    result = style.new_figure(file, 0.9 + min(max(height, 1.4 * rows), 3.5 * rows))
    axes = result.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, sample, path, target_path in zip(axes.flat, shown, paths, targets, strict=False):
        draw_panel(ax, path, target_path, hdf5.read_text(sample, "iteration"))
        ax.set(xlim=view[0], ylim=view[1], aspect="equal")
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    across, up = (reader.with_unit(name, shown[-1]["readout_signal"]) for name in panels.output_names(file, 2))
    result.supxlabel(across, fontsize=8)
    result.supylabel(up, fontsize=8)
    result.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper right", ncols=2)
    return result
