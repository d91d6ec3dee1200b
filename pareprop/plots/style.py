"""One look for all figures: colours, sizes, heading, saving.

The colours of Okabe and Ito (https://jfly.uni-koeln.de/color/) can be distinguished by colour-blind readers and
differ in lightness, for a grey print; more than six lines use the ten "muted" colours of Paul Tol
(https://sronpersonalpages.nl/~pault/), made for the same readers. Figures are made without pyplot: no global state, no
window, the Agg and PDF writers only. The figures of every run have margins in inches (`arrange_axes`): a layout engine
takes as long as the drawing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from .. import hdf5
from ..errors import InputError
from ..later import h5py
from . import reader

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
GREY = "#8C8C8C"
WINDOW = "#ECECEC"  # shade of the learning window; also the colour of absent synapses
MUTED = "#CC6677 #332288 #DDCC77 #117733 #88CCEE #882255 #44AA99 #999933 #AA4499 #777777".split()
LARGEST = 1e300  # larger numbers are drawn as this one
WIDTH = 7.0  # inches: two columns of a journal
DIVERGING = "RdBu_r"
RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # shipped with matplotlib: the same picture everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
    "axes.titley": 1.0,  # else matplotlib measures all ticks to look for a free place
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "axes.formatter.useoffset": False,
    "pdf.fonttype": 42,  # embedded TrueType: text stays text
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "image.cmap": "viridis",
}
GOLDEN, FIRST = 0.618034, 0.45  # golden section; the first hue, with which the first ten differ most
# Decorator of everything that makes or saves a figure. Any: its keys are of a type that lists them all.
styled = mpl.rc_context(cast(Any, RC))


def choose_colors(n: int) -> list[str]:
    """Return `n` different colours: Okabe-Ito up to six, Tol's muted ones up to ten, else hues that differ.

    Hues are a golden section of all of them apart, so that any few in a row lie far from each other.
    """
    if n <= 6:
        return [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY][:n]
    if n <= len(MUTED):
        return MUTED[:n]
    return [to_hex(colormaps["turbo"](0.03 + 0.94 * ((FIRST + k * GOLDEN) % 1))) for k in range(n)]


def darken_color(color: str) -> str:
    """Return the same hue at 45 % of the brightness, for a target drawn over its readout."""
    red, green, blue = to_rgb(color)
    return to_hex((0.45 * red, 0.45 * green, 0.45 * blue))


def round_values(low: float, high: float, logarithmic: bool = False) -> list[float]:
    """Return the round numbers between two bounds that label an axis."""
    if logarithmic:
        subs = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
        with np.errstate(over="ignore"):  # of values above the bounds
            values = LogLocator(subs=subs, numticks=6).tick_values(low, high)
    else:
        values = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=low == 0).tick_values(low, high)
    return [float(value) for value in values if low <= value <= high]


def new_figure(
    file: h5py.File,
    height: float,
    *,
    width: float = WIDTH,
    detail: str = "",
    layout: Literal["constrained", "none"] = "constrained",
) -> Figure:
    """Make an empty figure with a heading: task, variant and seed of the run, `detail`, and the run's attribute `note`.

    Height and width are in inches; `layout` is "constrained", or "none" before `arrange_axes`.
    """
    figure = Figure(figsize=(width, height), layout=cast(Any, layout))  # Any: its types lack "none"
    variant, seed = hdf5.read_text(file, "variant"), hdf5.read_text(file, "seed")
    parts = [
        hdf5.read_text(file, "task"),
        hdf5.read_text(file, "note"),
        variant and f"{variant} variant",
        seed and f"seed {seed}",
        detail,
    ]
    place = {"y": 1 - 0.06 / height, "va": "top"} if layout == "none" else {}
    figure.suptitle(" · ".join(reader.format_label(part) for part in parts if part), x=0.01, ha="left", **place)
    return figure


def arrange_axes(
    figure: Figure,
    axes: np.ndarray,
    *,
    left: float = 0.62,
    right: float = 0.1,
    top: float = 0.45,
    bottom: float = 0.42,
    across: float = 0.3,
    down: float = 0.2,
) -> None:
    """Place a grid of axes (rows, columns) and their labels: margins and the gaps across and down in inches."""
    width, height = figure.get_size_inches()
    rows, columns = axes.shape
    wide = (width - left - right - (columns - 1) * across) / columns
    tall = (height - top - bottom - (rows - 1) * down) / rows
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=across / wide,
        hspace=down / tall,
    )
    for ax in axes.flat:
        place = ax.get_position()
        to_edge = left if ax in axes[:, 0] else across
        lines = ax.get_ylabel().count("\n") + 1
        ax.yaxis.set_label_coords((0.05 + 0.15 * lines - to_edge) / (place.width * width), 0.5)
        ax.xaxis.set_label_coords(0.5, -0.24 / (place.height * height))


def legend_right(ax: Axes, **options) -> None:
    """Put the legend of `ax` outside on its right, where it hides no data; two columns when it is long."""
    n = len(ax.get_legend_handles_labels()[0])
    if n:
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "ncols": 1 + n // 7, "columnspacing": 0.8}
        ax.legend(**place | options)


def legend_width(ax: Axes) -> float:
    """Return roughly the width in inches that `legend_right` needs."""
    labels = ax.get_legend_handles_labels()[1]
    columns = np.array_split([len(label) for label in labels], 1 + len(labels) // 7) if labels else []
    return sum(0.38 + 0.056 * float(column.max()) for column in columns) + 0.1 * bool(labels)


def _clip_lines(ax: Axes) -> None:
    """Clip lines to `LARGEST`: the margins of an axis with larger numbers would be infinite."""
    lines = [line for line in ax.get_lines() if np.any(np.abs(np.asarray(line.get_ydata(), float)) > LARGEST)]
    for line in lines:
        line.set_ydata(np.clip(np.asarray(line.get_ydata(), float), -LARGEST, LARGEST))
    if lines:
        ax.relim()
        ax.autoscale_view()


@styled
@np.errstate(all="ignore")  # of numbers near the largest one, the ends of axes overflow
def save(figure: Figure, directory: Path, stem: str, pdf: bool = True) -> list[Path]:
    """Write `stem`.png, and `stem`.pdf with `pdf`, into `directory` and return their paths."""
    for ax in figure.axes:
        _clip_lines(ax)
    paths = [directory / f"{stem}.png", directory / f"{stem}.pdf"][: 1 + pdf]
    for path in paths:
        path.unlink(missing_ok=True)  # so as not to write through a link
    canvas, packing = FigureCanvasAgg(figure), {"compress_level": 3}  # half the time of 6, files 7 % larger
    canvas.print_png(paths[0], metadata={"Software": None}, pil_kwargs=packing)  # savefig would draw twice
    figure.set_layout_engine("none")  # keep the layout just found instead of finding it again
    for path in paths[1:]:
        figure.savefig(path, metadata={"CreationDate": None})  # equal data give equal files
    return paths


def require_format(option: str, path: Path) -> None:
    """Raise `InputError` if no figure can be written under a name, before it is drawn."""
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise InputError(f"{option} {path}: must end with one of {', '.join(f'.{name}' for name in known)}")
