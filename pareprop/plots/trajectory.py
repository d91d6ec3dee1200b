"""Two readouts against their targets in the plane, over the iterations."""

from __future__ import annotations

import h5py
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from . import panels, reader, style

TASKS = ("lemniscate", "handwriting")


def samples(file: h5py.File) -> list[h5py.Group]:
    """Give the recorded samples that have two readouts, by iteration."""
    group = reader.child(file, "dynamics")
    found = []
    for name in group if group is not None else ():
        sample = panels.recorded(file, name)
        readout = None if sample is None else reader.dataset(sample, "readout_signal", 2)
        if readout is not None and readout.shape[1] == 2:
            found.append(sample)
    return sorted(found, key=lambda sample: int(sample.attrs.get("iteration", 0)))


def tint(color: str, strength: float) -> str:
    """Mix a colour with white: 0 is white, 1 the colour itself."""
    return to_hex([1 - strength * (1 - c) for c in to_rgb(color)])


def view(ax: Axes, paths: list[np.ndarray]) -> None:
    """Cut the view at twice the extent of `paths`, so that a wild first iteration cannot make them tiny."""
    points = np.concatenate(paths)
    points = points[np.isfinite(points).all(axis=1)]
    if not points.size:
        return
    low, high = points.min(axis=0), points.max(axis=0)
    half, middle = max(high - low), (low + high) / 2
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ax.set_xlim(max(left, middle[0] - half), min(right, middle[0] + half))
    ax.set_ylim(max(bottom, middle[1] - half), min(top, middle[1] + half))


@style.styled
def figure(file: h5py.File) -> Figure | None:
    """Draw readouts from faint (first) to strong (last) and the target dashed.

    None unless the task draws a path in the plane (lemniscate, handwriting, or the attribute `figure` is
    "trajectory") and two readouts were recorded.
    """
    found = samples(file)
    if not found or (reader.text(file, "task") not in TASKS and reader.text(file, "figure") != "trajectory"):
        return None
    result = style.new_figure(file, 4.0, width=5.6)
    result.set_layout_engine("compressed")  # no gaps around axes of equal scale
    ax = result.add_subplot()
    for k, sample in enumerate(found):
        strength = 1.0 if k == len(found) - 1 else 0.35 + 0.5 * k / len(found)
        first, last = panels.window(sample)
        path = sample["readout_signal"][first:last]
        label = f"iteration {reader.text(sample, 'iteration')}".rstrip()
        ax.plot(*path.T, color=tint(style.BLUE, strength), lw=0.7 + 0.9 * strength, label=label)
    shown, target = [path], reader.values(found[-1], "target_signal", 2)
    if target is not None:
        shown.append(target[first:last])
        ax.plot(*shown[1].T, color=style.BLACK, lw=1.0, ls=(0, (4, 2)), label="target")
    view(ax, shown)
    ax.set(xlabel="output 0", ylabel="output 1", aspect="equal")
    style.legend_right(ax)
    return result
