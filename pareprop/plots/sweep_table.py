"""The table of a sweep, and its runs in groups that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from ..errors import InputError
from . import reader

TABLE = "sweep.csv"
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
        raise InputError(f"{path} is not a table of a sweep")
    return rows


def group(rows: Sequence[Row]) -> list[Group]:
    """Return the runs by their settings but the seed, the best mean first; those without an outcome last."""
    groups: dict[tuple[str, ...], Group] = {}
    for row in rows:
        settings = {key: value for key, value in row.items() if key not in FIXED and key.split(".")[-1] != SEED}
        one = groups.setdefault(tuple(settings.values()), Group(settings, "", [], False))
        if np.isfinite(value := number(row["value"])):
            one.values.append(value)
            one.name, one.highest_is_best = row["outcome"], row["best"] == "highest"
    done = [one for one in groups.values() if one.values]
    name = done[0].name if done else "outcome"
    for one in groups.values():
        one.name = name
    done.sort(key=lambda one: -one.mean if one.highest_is_best else one.mean)
    return [*done, *(one for one in groups.values() if not one.values)]


def number(text: str) -> float:
    """Return the number that a text is, NaN for other texts."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
