"""Weights of every projection after training: matrices of weights and of their change, histograms.

Each projection has a tile of three panels; tiles stand in one column, or in two where there are more than three, so
that ten projections still fit on a page. Colours are symmetric about zero, and the title of a matrix says what the full
colours are, which takes less room and time than colour bars.
"""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .. import hdf5
from ..errors import InputError
from ..later import h5py
from . import matrices, panels, reader, style

MAX_BINS = 60
IN_ONE_COLUMN = 3  # tiles
PANELS = 3  # of a tile: weight, change, histogram


def draw_matrix(ax: Axes, matrix: np.ndarray, title: str, unit: str) -> None:
    """Draw a matrix with diverging colours centred at zero; absent synapses are grey."""
    extent = (-0.5, matrix.shape[1] - 0.5, matrix.shape[0] - 0.5, -0.5)
    matrix, (rows, columns) = matrices.average_tiles(matrix)
    bound = matrices.compute_colour_limit(matrix)
    colours = colormaps[style.DIVERGING].with_extremes(bad=style.WINDOW)
    ax.imshow(matrix, cmap=colours, vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest", extent=extent)
    means = f" (means of {columns} × {rows})" if rows * columns > 1 else ""
    shown = f"{bound:.0f}" if bound >= 100 else f"{bound:.2g}"
    ax.set_title(f"{title} ±{shown}{f' {unit}' * bool(unit)}{means}")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    ax.spines[:].set_visible(True)


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of 8 to 60 equal bins, wide enough for short tick labels if all values are (nearly) equal."""
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    largest = max(abs(low), abs(high), 1e-6)
    margin = (1e-6 if high - low > 1e-3 * largest else 0.1) * largest
    return np.linspace(low - margin, high + margin, int(np.clip(np.sqrt(2 * values.size), 8, MAX_BINS)) + 1)


def draw_histogram(ax: Axes, series: list[tuple[str, np.ndarray, str]]) -> None:
    """Draw histograms on common bins: the first filled, the others as outlines."""
    finite = [values[np.abs(values) < 1e300] for _, values, _ in series]  # without NaN; bins of more would overflow
    edges = bin_edges(np.concatenate(finite))
    for k, ((label, _, color), values) in enumerate(zip(series, finite, strict=True)):
        ax.stairs(
            np.histogram(values, edges)[0], edges, color=color, label=label, fill=k == 0, alpha=0.5 if k == 0 else None
        )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4))


def format_heading(projection: h5py.Group, n_shown: int, unchanged: bool) -> str:
    """Return the title of a tile: name and number of synapses of a projection."""
    n = len(projection["weight"])
    text = f"{reader.format_label(projection.name.rpartition('/')[2])}: {n:,} synapses".replace("->", " → ")
    return text + (f", {n_shown:,} of them shown" if n_shown < n else "") + (", unchanged" if unchanged else "")


def draw_tile(axes: np.ndarray, projection: h5py.Group) -> None:
    """Draw one projection: matrices when small enough, histograms always."""
    before, after = (reader.sample(projection[name]) for name in ("weight_initial", "weight"))
    moved = "source_initial" in projection
    unchanged = not moved and len(after) == len(projection["weight"]) and np.array_equal(before, after)
    axes[0].text(
        -0.04, 1.24, format_heading(projection, len(after), unchanged), transform=axes[0].transAxes, fontweight="bold"
    )
    shape, unit = matrices.find_shape(projection), reader.read_unit(projection["weight"])
    if shape is None:
        axes[0].text(0.5, 0.5, "too large for a matrix", transform=axes[0].transAxes, ha="center", color=style.GREY)
        axes[0].set_axis_off()
        if moved or unchanged:  # a synapse that moved has no initial weight to compare with
            axes[1].set_visible(False)
        else:
            draw_histogram(axes[1], [("change", after - before, style.VERMILLION)])
            axes[1].set_title("change of weight")
            axes[1].set_xlabel(unit)
    else:
        final = matrices.build_dense_matrix(projection, *shape, after)
        draw_matrix(axes[0], final, "weight", unit)
        axes[0].set_ylabel(f"to {panels.shorten_name(reader.format_label(hdf5.read_text(projection, 'post')))}")
        axes[0].set_xlabel(f"from {panels.shorten_name(reader.format_label(hdf5.read_text(projection, 'pre')))}")
        if unchanged:
            axes[1].set_visible(False)
        else:
            initial = matrices.build_dense_matrix(projection, *shape, before, "source_initial" if moved else "source")
            draw_matrix(axes[1], final - initial, "change", unit)
            axes[1].set_xlabel(f"from {panels.shorten_name(reader.format_label(hdf5.read_text(projection, 'pre')))}")
            axes[1].tick_params(labelleft=False)
    both = [("initial", before, style.GREY), ("final", after, style.BLUE)]
    draw_histogram(axes[2], both[1:] if unchanged else both)
    axes[2].set_title("synapses by weight")
    axes[2].set_xlabel(unit)


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw every projection that has weights before and after; None without any."""
    drawn = []
    for projection in panels.list_projections(file):
        before, after = (hdf5.find_dataset(projection, name) for name in ("weight_initial", "weight"))
        if before is None or after is None or not len(before):
            continue
        if len(before) != len(after):
            raise InputError(f"{file.filename}: {projection.name}: weight_initial and weight differ in length")
        drawn.append(projection)
    if not drawn:
        return None
    columns = 1 if len(drawn) <= IN_ONE_COLUMN else 2
    rows = -(-len(drawn) // columns)
    result = style.new_figure(file, 0.5 + 1.95 * rows, width=6.2 * columns, layout="none")
    axes = result.subplots(rows, PANELS * columns, squeeze=False)
    for number, projection in enumerate(drawn):
        first = PANELS * (number // rows)
        draw_tile(axes[number % rows, first : first + PANELS], projection)
    for ax in axes[len(drawn) - rows * (columns - 1) :, PANELS * (columns - 1) :].flat:
        ax.set_visible(False)
    style.arrange_axes(result, axes, top=0.8, across=0.62, down=0.85)
    described = max(
        (ax.get_legend_handles_labels() for ax in axes[:, PANELS - 1 :: PANELS].flat), key=lambda d: len(d[1])
    )
    result.legend(*described, loc="upper right", ncols=2)
    return result
