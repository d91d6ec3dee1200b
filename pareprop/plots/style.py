"""One look for all figures: colours, sizes, heading, saving.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind readers can tell apart and
which differ in lightness, so that they survive a grey print; for more than six lines the ten "muted" ones of Paul Tol
(https://sronpersonalpages.nl/~pault/), made for the same readers. Figures are made without pyplot: no global state, no
window, the Agg and PDF writers only.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from . import reader

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
GREY = "#8C8C8C"
WINDOW = "#ECECEC"  # shade of the learning window; also the colour of absent synapses
MUTED = "#CC6677 #332288 #DDCC77 #117733 #88CCEE #882255 #44AA99 #999933 #AA4499 #777777".split()
WIDTH = 7.0  # inches: two columns of a journal
DIVERGING = "RdBu_r"
RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # shipped with matplotlib: the same picture everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
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
    "savefig.dpi": 200,
    "image.cmap": "viridis",
}
styled = mpl.rc_context(RC)  # decorator of everything that makes or saves a figure


def colors(n: int) -> list[str]:
    """Return `n` colours, all different up to ten: Okabe-Ito up to six, else Tol's muted ones, repeated."""
    if n <= 6:
        return [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY][:n]
    return [MUTED[k % len(MUTED)] for k in range(n)]


def darker(color: str) -> str:
    """Return the same hue at 45 % of the brightness, for a target drawn over its readout."""
    return to_hex([0.45 * c for c in to_rgb(color)])


def new_figure(file: h5py.File, height: float, *, width: float = WIDTH, detail: str = "") -> Figure:
    """Make an empty figure headed by task, variant and seed of the run and its attribute `note`, if there is one.

    Parameters
    ----------
    file : h5py.File
        The results of a run.
    height, width : float
        Size in inches.
    detail : str
        Added to the heading, for example the iteration.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    variant, seed = reader.text(file, "variant"), reader.text(file, "seed")
    parts = [
        reader.text(file, "task"),
        reader.text(file, "note"),
        variant and f"{variant} variant",
        seed and f"seed {seed}",
        detail,
    ]
    figure.suptitle(" · ".join(filter(None, parts)), x=0.01, ha="left")
    return figure


def legend_right(ax: Axes, **options) -> None:
    """Put the legend of `ax` outside on its right, where it hides no data; two columns when it is long."""
    n = len(ax.get_legend_handles_labels()[0])
    if n:
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "ncols": 1 + n // 7, "columnspacing": 0.8}
        ax.legend(**place | options)


@styled
def save(figure: Figure, directory: Path, stem: str) -> list[Path]:
    """Write `stem`.png and `stem`.pdf into `directory` and return both paths."""
    paths = [directory / f"{stem}.png", directory / f"{stem}.pdf"]
    for path in paths:
        path.unlink(missing_ok=True)  # rather than to draw through a link
    figure.savefig(paths[0], metadata={"Software": None})
    figure.set_layout_engine("none")  # keep the layout just found instead of finding it again
    figure.savefig(paths[1], metadata={"CreationDate": None})  # equal data give equal files
    return paths
