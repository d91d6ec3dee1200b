"""Weights of every projection before and after training: matrices, change, histograms."""

from __future__ import annotations

import h5py
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from ..errors import InputError
from . import matrices, reader, style

MAX_BINS = 60


def image(ax: Axes, matrix: np.ndarray, bound: float, title: str) -> AxesImage:
    """Draw a matrix with diverging colours centred at zero; absent synapses are grey."""
    extent = (-0.5, matrix.shape[1] - 0.5, matrix.shape[0] - 0.5, -0.5)
    matrix, (rows, columns) = matrices.average_tiles(matrix)
    if rows * columns > 1:
        title += f", means of {columns} × {rows}"
    colours = colormaps[style.DIVERGING].with_extremes(bad=style.WINDOW)
    drawn = ax.imshow(
        matrix, cmap=colours, vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest", extent=extent
    )
    ax.set_title(title)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    ax.spines[:].set_visible(True)
    return drawn


def triple(axes: list[Axes], before: np.ndarray, after: np.ndarray) -> None:
    """Draw initial and final matrix with common limits, and the change with its own."""
    difference = after - before
    shared = matrices.limit(matrices.average_tiles(before)[0], matrices.average_tiles(after)[0])
    image(axes[0], before, shared, "initial")
    weights = image(axes[1], after, shared, "final")
    change = image(axes[2], difference, matrices.limit(matrices.average_tiles(difference)[0]), "change")
    for drawn, around in ((weights, axes[1]), (change, axes[2])):
        around.figure.colorbar(drawn, ax=around, extend="both", shrink=0.9, pad=0.02)


def single(axes: list[Axes], weight: np.ndarray) -> None:
    """Draw the matrix of weights that did not change, in the first place of three."""
    drawn = image(axes[0], weight, matrices.limit(matrices.average_tiles(weight)[0]), "weight")
    axes[0].figure.colorbar(drawn, ax=axes[0], extend="both", shrink=0.9, pad=0.02)
    for ax in axes[1:]:
        ax.set_visible(False)


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of 8 to 60 equal bins, wide enough also where all values are (nearly) the same."""
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    margin = 1e-6 * max(abs(low), abs(high), 1e-6)
    return np.linspace(low - margin, high + margin, int(np.clip(np.sqrt(2 * values.size), 8, MAX_BINS)) + 1)


def histogram(ax: Axes, series: list[tuple[str, np.ndarray, str]]) -> None:
    """Draw histograms on common bins: the first filled, the others as outlines."""
    finite = [values[np.abs(values) < 1e300] for _, values, _ in series]  # without NaN and what has no width
    edges = bin_edges(np.concatenate(finite))
    for k, ((label, _, color), values) in enumerate(zip(series, finite, strict=True)):
        look = {"fill": True, "alpha": 0.5} if k == 0 else {}
        ax.stairs(np.histogram(values, edges)[0], edges, color=color, label=label, **look)
    ax.set_ylabel("synapses")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, borderpad=0, columnspacing=1.0)


def row(area: SubFigure, projection: h5py.Group) -> None:
    """Draw one projection into its strip: matrices when small enough, histograms always."""
    data = [projection["weight_initial"], projection["weight"]]
    before, after = (reader.sample(d) for d in data)
    heading = f"{projection.name.rpartition('/')[2]}: {len(data[1]):,} synapses"
    if len(after) < len(data[1]):
        heading += f", {len(after):,} of them shown"
    moved = "source_initial" in projection
    unchanged = not moved and np.array_equal(before, after)
    if unchanged:
        heading += ", unchanged"
    area.suptitle(heading.replace("->", "→"), x=0.01, ha="left", fontsize=8, fontweight="bold")
    both = [("initial", before, style.GREY), ("final", after, style.BLUE)]
    shape = matrices.shape(projection)
    if shape is None:
        last, other = area.subplots(1, 2)
        if moved:  # a synapse has no partner before
            other.set_visible(False)
        else:
            histogram(other, [("change", after - before, style.VERMILLION)])
            other.set_xlabel("change of weight")
    else:
        *images, last = area.subplots(1, 4)
        ids = "source_initial" if moved else "source", "source"
        dense = [matrices.dense(projection, *shape, *pair) for pair in zip((before, after), ids, strict=True)]
        if unchanged:
            single(images, dense[1])
        else:
            triple(images, *dense)
        images[0].set_ylabel(f"to {reader.text(projection, 'post')}")
        for ax in images:
            ax.set_xlabel(f"from {reader.text(projection, 'pre')}")
    histogram(last, both[1:] if unchanged else both)
    last.set_xlabel("weight")


@style.styled
def figure(file: h5py.File) -> Figure | None:
    """Draw every projection that has weights before and after; None without any."""
    group = reader.child(file, "projections")
    found = []
    for projection in group.values() if group is not None else ():
        data = [reader.dataset(projection, name) for name in ("weight_initial", "weight")]
        if None in data or not len(data[0]):
            continue
        if len(data[0]) != len(data[1]):
            raise InputError(f"{file.filename}: {projection.name}: weight_initial and weight differ in length")
        found.append(projection)
    if not found:
        return None
    result = style.new_figure(file, 0.4 + 1.9 * len(found), width=8.0)
    for area, projection in zip(result.subfigures(len(found), 1, squeeze=False)[:, 0], found, strict=True):
        row(area, projection)
    return result
