"""The table of a sweep: read it, group runs that differ in their seed alone, and rank the groups."""

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
FIXED = (  # columns in addition to the settings
    "run",
    "outcome",
    "value",
    "best",
    "validation",
    "test",
    "state",
    "iterations",
    "seconds",
    "digest",
)
Row = dict[str, str]


@dataclass
class Group:
    """Runs that differ in their seed alone.

    `settings` are the swept settings except the seed. `values` has the number `name` of each run that has one, such as
    "validation accuracy", by which settings are compared; `tests` has the test results of tested runs, if `values` are
    no tests.
    """

    settings: dict[str, str]
    name: str
    values: list[float]
    highest_is_best: bool
    tests: list[float]

    @property
    def mean(self) -> float:
        """Mean over the seeds, NaN without a run."""
        return fmean(self.values) if self.values else float("nan")

    @property
    def test(self) -> float:
        """Mean of the tests, NaN without one."""
        return fmean(self.tests) if self.tests else float("nan")

    @property
    def test_name(self) -> str:
        """Name of the test's result, such as "test accuracy" if "validation accuracy" is compared."""
        return f"test {self.name.split()[-1]}"

    @property
    def line(self) -> str:
        """Settings, mean of `values` and result of the test, as text."""
        settings = ", ".join(f"{key} = {value}" for key, value in self.settings.items())
        tested = f", {self.test_name} {self.test:.4g}" if self.tests else ""
        return f"{settings or 'one setting'}: {self.name} {self.mean:.4g}{tested}"


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table of a sweep; raise `InputError` for another file."""
    rows = reader.read_table(path, "`pareprop sweep` writes it")
    if not rows or any(set(FIXED) - set(row) or None in row or None in row.values() for row in rows):
        raise InputError(f"{path} is not a table of a sweep")
    return rows


def is_seed(key: str) -> bool:
    """Return whether a swept setting is the seed, with or without its section."""
    return key.rpartition(".")[2] == SEED


def settings_of(row: Row) -> dict[str, str]:
    """Return the swept settings of a row but the seed."""
    return {key: value for key, value in row.items() if key not in FIXED and not is_seed(key)}


def format_table(groups: Sequence[Group]) -> list[list[str]]:
    """Return a table of settings and results: the headings, then the cells of each row."""
    tested = any(one.tests for one in groups)
    rows = [[*groups[0].settings, groups[0].name, "lowest", "highest", "runs", *[groups[0].test_name] * tested]]
    for one in groups:
        numbers = (one.mean, min(one.values), max(one.values)) if one.values else ()
        cells = [*one.settings.values(), *(f"{value:.4g}" for value in numbers)] + ["–"] * (3 - len(numbers))
        rows.append([*cells, str(len(one.values)), *[f"{one.test:.4g}" if one.tests else "–"] * tested])
    return rows


def describe_choice(groups: Sequence[Group]) -> str:
    """Return a sentence on how the best setting was chosen; "" if there was no choice."""
    kind = groups[0].name.split()[0]
    if len(groups) < 2 or not groups[0].values:
        return ""
    if kind == "validation":
        alone = bool(groups[0].tests) and not any(one.tests for one in groups[1:])
        return f"The best setting was chosen by validation{'; it alone was tested' if alone else ''}."
    if kind == "test":
        return "The best setting was chosen by the test itself, as no samples validate: its result is too good."
    return f"The best setting was chosen by the {kind} of the last training iteration, as no samples validate."


def group_runs(rows: Sequence[Row]) -> list[Group]:
    """Return the runs in groups with equal settings except the seed: the best mean first, without a result last."""
    first = next((row for row in rows if np.isfinite(parse_number(row["value"]))), {"outcome": "outcome", "best": ""})
    name, best = first["outcome"], first["best"]
    groups = []
    for some in reader.group_rows(rows, lambda row: tuple(settings_of(row).values())).values():
        done = [row for row in some if np.isfinite(parse_number(row["value"]))]
        values, tests = ([parse_number(row[key]) for row in done] for key in ("value", "test"))
        tests = [] if name.startswith("test") else [value for value in tests if np.isfinite(value)]
        groups.append(Group(settings_of(some[0]), name, values, best == "highest", tests))
    return sorted(groups, key=lambda one: (not one.values, -one.mean if one.highest_is_best else one.mean))


def parse_number(text: str) -> float:
    """Return a text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
