"""Charts of the report as inline SVG: curves of several runs, and stacked bars. Figures of one run: `figures`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import loss, style

Series = tuple[str, np.ndarray, np.ndarray]
MAX_CURVE_PARTS = 600  # long curves are reduced to the minimum and maximum in this many parts
MAX_MARKED_POINTS = 30  # curves of at most this many points get marks
LARGEST_DRAWN = 1e250  # larger values are not drawn: the margins of an axis would overflow


@style.styled
def draw_curves(title: str, series: Sequence[Series | None], n_colours: int = 0) -> Markup:
    """Return curves over iterations as SVG; each of `series` has a name, iterations and values, None skips a colour.

    Curves after the first `n_colours` repeat the colours, dashed; 0: each curve has a colour.
    """
    n_colours = n_colours or len(series)
    figure = Figure(figsize=(style.WIDTH, 2.3), layout="constrained")
    ax, palette = figure.add_subplot(), style.choose_colors(n_colours)
    for k, (name, steps, values) in ((k, one) for k, one in enumerate(series) if one is not None):
        at, curve = reduce_curve(np.asarray(steps, float), np.where(np.abs(values) < LARGEST_DRAWN, values, np.nan))
        mark, dashes = "o" if len(at) <= MAX_MARKED_POINTS else "", "--" if k >= n_colours else "-"
        ax.plot(at, curve, dashes, color=palette[k % n_colours], marker=mark, ms=3, label=name)
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.get_lines()]
    if not any(np.isfinite(values).any() for values in drawn):
        return Markup("")
    loss.set_scale(ax, np.concatenate(drawn))
    ax.set_title(title)
    ax.set_xlabel("training iteration")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(drawn) > 1:
        style.legend_right(ax)
    return _to_svg(figure, title)


def reduce_curve(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of a curve in each of `MAX_CURVE_PARTS` parts."""
    if len(values) <= 2 * MAX_CURVE_PARTS:
        return steps, values
    chosen = []
    for part in np.array_split(np.arange(len(values)), MAX_CURVE_PARTS):
        if np.isfinite(values[part]).any():
            chosen += sorted({part[np.nanargmin(values[part])], part[np.nanargmax(values[part])]})
    return steps[chosen], values[chosen]


@style.styled
def draw_stacked_bars(title: str, rows: Sequence[tuple[str, dict[str, float]]], unit: str) -> Markup:
    """Return horizontal stacked bars as SVG: each row has a label and its parts by name, such as seconds by phase."""
    names = list(dict.fromkeys(name for _, parts in rows for name, value in parts.items() if value > 0))
    if not names:
        return Markup("")
    figure = Figure(figsize=(style.WIDTH, 0.9 + 0.2 * len(rows)), layout="constrained")
    ax, ends = figure.add_subplot(), np.zeros(len(rows))
    for name, colour in zip(names, style.choose_colors(len(names)), strict=True):
        lengths = np.array([parts.get(name, 0.0) for _, parts in rows])
        ax.barh(np.arange(len(rows)), lengths, left=ends, color=colour, label=name)
        ends += lengths
    for place, end in enumerate(ends):
        ax.text(end, place, f" {format_number(end)} {unit}", va="center")
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * ends.max())
    ax.set_title(title)
    style.legend_right(ax)
    return _to_svg(figure, title)


def format_number(value: float) -> str:
    """Return a number with three significant digits, or all digits before the point, such as 0.0123 and 1304."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@np.errstate(all="ignore")  # of numbers near the largest one, the ends of axes overflow
def _to_svg(figure: Figure, title: str) -> Markup:
    """Return a figure as an element of an HTML page; equal data give equal text."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}), io.StringIO() as text:
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(text, metadata=nothing)
        element = text.getvalue()
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element[element.index("<svg") :])
    return Markup(element.replace("<svg", f'<svg role="img" aria-label="{Markup.escape(title)}"', 1))
