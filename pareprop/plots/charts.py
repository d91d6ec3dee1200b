"""Charts of the report as inline SVG: curves of several runs, and stacked bars. Figures of one run: `figures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup

from .style import round_values

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777", "#882255", "#999933")
WIDTH, LEFT, RIGHT = 760, 64, 26
POINTS = 600  # long curves are reduced to the minimum and maximum in this many parts
FEW = 30  # curves of at most this many points get marks
Series = tuple[str, np.ndarray, np.ndarray]
DECADE = 10.0  # an axis is logarithmic if its values span more than this ratio
LARGEST = 1e250  # larger values are not drawn


def curves(title: str, series: Sequence[Series | None], height: int = 230, n_colours: int = 0) -> Markup:
    """Return curves over iterations as SVG.

    Parameters
    ----------
    title : str
        Name of the quantity, with its unit.
    series : sequence of tuple or None
        Name, iterations and values of each curve; None leaves out a colour.
    height : int
        Height of the chart in pixels.
    n_colours : int
        Number of colours: curves after so many repeat them, dashed; 0: as many as there are curves.
    """
    n_colours = n_colours or len(series)
    present = [(k, *one) for k, one in enumerate(series) if one is not None]
    known = [values[_can_be_drawn(values)] for *_, values in present]
    everything = np.concatenate(known) if known else np.zeros(0)
    if not everything.size:
        return Markup("")
    logarithmic = everything.min() > 0 and everything.max() > DECADE * everything.min()
    scale: Callable[[Any], Any] = np.log10 if logarithmic else np.asarray  # Any: of a number or an array
    low, high = float(scale(everything.min())), float(scale(everything.max()))
    margin = 0.04 * (high - low) or max(0.04 * abs(high), 0.5)
    low, high = low - margin, high + margin
    last = max(float(steps[-1]) for _, _, steps, _ in present if len(steps))
    top, bottom = 34 + 13 * max(len(present) - 2, 0), height + 13 * max(len(present) - 2, 0) - 38
    height = bottom + 38
    parts = [_text(LEFT, 16, title, bold=True), _line(LEFT, bottom, WIDTH - RIGHT, bottom)]
    bounds = (max(10**low, 1 / LARGEST), 10**high) if logarithmic else (low, high)
    for value in round_values(*bounds, logarithmic):
        y = bottom - (scale(value) - low) / (high - low) * (bottom - top)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 6, y + 4, f"{value:g}", "end")]
    for value in round_values(0.0, last):
        x = LEFT + value / max(last, 1.0) * (WIDTH - LEFT - RIGHT)
        parts.append(_text(x, bottom + 16, f"{value:.0f}", "middle"))
    for place, (k, name, steps, values) in enumerate(present):
        colour = COLOURS[k % n_colours % len(COLOURS)]
        dashes = ' stroke-dasharray="5 3"' if k >= n_colours else ""
        at, curve = thin(np.asarray(steps, float), np.asarray(values, float))
        kept = _can_be_drawn(curve) & (curve > 0 if logarithmic else True)
        across = LEFT + at[kept] / max(last, 1.0) * (WIDTH - LEFT - RIGHT)
        down = bottom - (scale(curve[kept]) - low) / (high - low) * (bottom - top)
        pairs = list(zip(across, down, strict=True))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"{dashes}/>')
        if len(pairs) <= FEW:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in pairs]
        if len(series) > 1:
            parts.append(_text(WIDTH - RIGHT, 14 + 13 * place, name, "end", colour=colour))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 4, "training iteration", "middle"))
    return _svg(height, parts, title)


def _can_be_drawn(values: np.ndarray) -> np.ndarray:
    """Return which values are small enough for an axis, whose margins would overflow for larger ones."""
    return np.abs(values) < LARGEST


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve of at most 2 `POINTS` points: the smallest and the largest value in each of `POINTS` parts."""
    if len(values) <= 2 * POINTS:
        return steps, values
    chosen = []
    for part in np.array_split(np.arange(len(values)), POINTS):
        if np.isfinite(values[part]).any():
            chosen += sorted({part[np.nanargmin(values[part])], part[np.nanargmax(values[part])]})
    return steps[chosen], values[chosen]


def bars(title: str, rows: Sequence[tuple[str, dict[str, float]]], unit: str) -> Markup:
    """Return horizontal stacked bars as SVG: each row has a label and its parts by name, such as seconds by phase."""
    names = list(dict.fromkeys(name for _, parts in rows for name, value in parts.items() if value > 0))
    total = max((sum(parts.values()) for _, parts in rows), default=0.0)
    if not names or total <= 0:
        return Markup("")
    left, elements = 120, [_text(0, 16, title, bold=True)]
    place = 0.0
    lines = 1
    for k, name in enumerate(names):
        wide = 24 + 7.2 * len(name)
        if place + wide > WIDTH:
            place, lines = 0.0, lines + 1
        y = 14 + 18 * lines
        elements.append(f'<rect x="{place:.0f}" y="{y}" width="10" height="10" fill="{COLOURS[k % len(COLOURS)]}"/>')
        elements.append(_text(place + 14, y + 10, name))
        place += wide
    start = 34 + 18 * lines
    for number, (label, parts) in enumerate(rows):
        y, x = start + 22 * number, float(left)
        elements.append(_text(left - 6, y + 13, label, "end"))
        for k, name in enumerate(names):
            wide = parts.get(name, 0.0) / total * (WIDTH - left - 90)
            if wide > 0:
                hint = escape(f"{label}, {name}: {three_digits(parts[name])} {unit}")
                elements.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="17" '
                    f'fill="{COLOURS[k % len(COLOURS)]}"><title>{hint}</title></rect>'
                )
            x += wide
        elements.append(_text(x + 5, y + 13, f"{three_digits(sum(parts.values()))} {unit}"))
    return _svg(start + 22 * len(rows) + 6, elements, title)


def three_digits(value: float) -> str:
    """Return a number with three significant digits, or all digits before the point, such as 0.0123 and 1304."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _svg(height: float, parts: list[str], title: str) -> Markup:
    inside = "".join(parts)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui, sans-serif" font-size="12">{inside}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False, colour: str = "#222") -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#ddd"/>'
