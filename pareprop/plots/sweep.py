"""Draw the results of the runs of a sweep against the swept settings, from the table of the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from . import reader, style
from .sweep_table import Row, group_runs, parse_number, read_rows

FIGURE = "sweep.png"


def draw_figure(table: Path) -> list[Path]:
    """Draw the figure of a sweep into the folder of its table; return its paths."""
    return style.save(sweep_figure(read_rows(table)), table.parent, Path(FIGURE).stem)


@style.styled
def sweep_figure(rows: Sequence[Row]) -> Figure:
    """Draw a panel for each swept setting: every run, the mean over the runs of each value, and the best setting."""
    groups = [one for one in group_runs(rows) if one.values]
    keys = [key for key in groups[0].settings if len({one.settings[key] for one in groups}) > 1] if groups else []
    figure = Figure(figsize=(max(3.2, 2.6 * len(keys)), 2.6), layout="constrained")
    axes = figure.subplots(1, max(1, len(keys)), sharey=True, squeeze=False)[0]
    for ax, key in zip(axes, keys, strict=False):
        names = list(dict.fromkeys(row[key] for row in rows if any(one.settings[key] == row[key] for one in groups)))
        numbers = [parse_number(name) for name in names]
        numeric = bool(np.all(np.isfinite(numbers)))
        places = dict(zip(names, numbers if numeric else range(len(names)), strict=True))
        points = [(places[one.settings[key]], value) for one in groups for value in one.values]
        ax.plot(*zip(*points, strict=True), ".", color=style.BLUE, alpha=0.5, ms=4, label="run", mew=0)
        means = sorted({place: [v for p, v in points if p == place] for place, _ in points}.items())
        mark = {} if numeric else {"ls": "", "marker": "_", "ms": 16}  # no line between names
        ax.plot([place for place, _ in means], [fmean(v) for _, v in means], color=style.BLUE, label="mean", **mark)
        best = groups[0]
        ax.plot(places[best.settings[key]], best.mean, "o", mfc="none", color=style.VERMILLION, ms=7, label="best")
        if best.tests:
            ax.plot(places[best.settings[key]], best.test, "x", color=style.VERMILLION, ms=6, label=best.test_name)
        if numeric and min(numbers) > 0 and max(numbers) > 10 * min(numbers):
            ax.set_xscale("log")
        elif not numeric:
            ax.set_xticks(range(len(names)), [reader.format_label(name)[:20] for name in names])
            ax.set_xlim(-0.5, len(names) - 0.5)
        ax.set_xlabel(reader.format_label(key))
    if groups:
        axes[0].set_ylabel(reader.format_label(groups[0].name))
    if keys:
        axes[-1].legend(loc="best")
    else:
        values = [value for one in groups for value in one.values]
        axes[0].plot(range(1, 1 + len(values)), values, ".")
        axes[0].set_xlabel("run")
    return figure
