"""Draw the outcomes of a sweep against what was swept, from its table alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from ..errors import InputError
from . import reader, style

TABLE, FIGURE = "sweep.csv", "sweep.png"
SEED = "seed"
FIXED = ("run", "outcome", "value", "best", "state", "iterations", "seconds", "digest")  # columns beside the settings
Row = dict[str, str]


@dataclass
class Group:
    """Runs that differ in their seed alone.

    Attributes
    ----------
    settings : dict of str to str
        Swept settings but the seed.
    name : str
        What is compared, such as "test accuracy".
    values : list of float
        Outcome of each run that has one.
    highest_is_best : bool
        Whether more is better.
    """

    settings: dict[str, str]
    name: str
    values: list[float]
    highest_is_best: bool

    @property
    def mean(self) -> float:
        """Mean over the seeds, NaN without a run."""
        return fmean(self.values) if self.values else float("nan")

    def texts(self) -> list[str]:
        """Return mean, lowest, highest and number of runs as a table shows them."""
        if not self.values:
            return ["–", "–", "–", "0"]
        return [*(f"{value:.4g}" for value in (self.mean, min(self.values), max(self.values))), str(len(self.values))]


def read(path: Path) -> list[Row]:
    """Return the rows of a table of a sweep.

    Raises
    ------
    InputError
        If it can't be read or is none.
    """
    rows = reader.table(path, "`pareprop sweep` writes it")
    if not rows or any(set(FIXED) - set(row) or None in row or None in row.values() for row in rows):
        raise InputError(f"{path} is no table of a sweep")
    return rows


def group(rows: Sequence[Row]) -> list[Group]:
    """Return the runs by their settings but the seed, the best mean first; those without an outcome last."""
    groups: dict[tuple[str, ...], Group] = {}
    for row in rows:
        settings = {key: value for key, value in row.items() if key not in FIXED and key.split(".")[-1] != SEED}
        one = groups.setdefault(tuple(settings.values()), Group(settings, "", [], False))
        if np.isfinite(value := _number(row["value"])):
            one.values.append(value)
            one.name, one.highest_is_best = row["outcome"], row["best"] == "highest"
    done = [one for one in groups.values() if one.values]
    name = done[0].name if done else "outcome"
    for one in groups.values():
        one.name = name
    done.sort(key=lambda one: -one.mean if one.highest_is_best else one.mean)
    return [*done, *(one for one in groups.values() if not one.values)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def draw(table: Path) -> list[Path]:
    """Draw the figure of a sweep beside its table; return its paths."""
    return style.save(sweep_figure(read(table)), table.parent, Path(FIGURE).stem)


@style.styled
def sweep_figure(rows: Sequence[Row]) -> Figure:
    """Draw, for each swept setting, every run, and the mean over the runs of each value; the best setting is marked."""
    groups = [one for one in group(rows) if one.values]
    keys = [key for key in groups[0].settings if len({one.settings[key] for one in groups}) > 1] if groups else []
    figure = Figure(figsize=(max(3.2, 2.6 * len(keys)), 2.6), layout="constrained")
    axes = figure.subplots(1, max(1, len(keys)), sharey=True, squeeze=False)[0]
    for ax, key in zip(axes, keys, strict=False):
        names = list(dict.fromkeys(row[key] for row in rows if any(one.settings[key] == row[key] for one in groups)))
        numbers = [_number(name) for name in names]
        numeric = bool(np.all(np.isfinite(numbers)))
        places = dict(zip(names, numbers if numeric else range(len(names)), strict=True))
        points = [(places[one.settings[key]], value) for one in groups for value in one.values]
        ax.plot(*zip(*points, strict=True), ".", color=style.BLUE, alpha=0.5, ms=4, label="run", mew=0)
        means = sorted({place: [v for p, v in points if p == place] for place, _ in points}.items())
        mark = {} if numeric else {"ls": "", "marker": "_", "ms": 16}  # no line between names
        ax.plot([place for place, _ in means], [fmean(v) for _, v in means], color=style.BLUE, label="mean", **mark)
        best = groups[0]
        ax.plot(places[best.settings[key]], best.mean, "o", mfc="none", color=style.VERMILLION, ms=7, label="best")
        if numeric and min(numbers) > 0 and max(numbers) > 10 * min(numbers):
            ax.set_xscale("log")
        elif not numeric:
            ax.set_xticks(range(len(names)), [reader.label(name)[:20] for name in names])
            ax.set_xlim(-0.5, len(names) - 0.5)
        ax.set_xlabel(reader.label(key))
    if groups:
        axes[0].set_ylabel(reader.label(groups[0].name))
    if keys:
        axes[-1].legend(loc="best")
    else:
        values = [value for one in groups for value in one.values]
        axes[0].plot(range(1, 1 + len(values)), values, ".")
        axes[0].set_xlabel("run")
    return figure
