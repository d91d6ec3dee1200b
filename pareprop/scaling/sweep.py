"""A sweep, one training for each combination of settings: its runs, its folder, its results and table."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import files, hdf5
from ..errors import InputError, quote
from ..plots import sweep_table
from ..plots.sweep_table import FIXED, TABLE
from ..runs import provenance
from ..runs.config import SECTIONS, Config
from ..runs.directory import RESULTS
from ..runs.outcome import read_test_result, read_training_result, read_validation_result, settings_of
from ..storage.checkpoint_read import describe_few, list_differences
from ..storage.disk import output_errors, replace_file
from ..values import Given, Values
from .collect import write_csv

MAX_RUNS = 100_000  # larger sweeps are refused
DESCRIPTION = "sweep.json"  # in the folder of a sweep: its settings, by which it is recognised
CHANGEABLE = ("figures", "log")  # keys of section [run] that may change while a sweep lasts
RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


@dataclass(frozen=True)
class Run:
    """One training of a sweep: its number, from 1, and the swept keys with their values as they were written."""

    number: int
    settings: dict[str, str]

    @property
    def name(self) -> str:
        """Name of the run's directory: "eta=0.001,seed=2"."""
        text = ",".join(f"{key}={value}" for key, value in self.settings.items()) or "run"
        safe = re.sub(r"[^\w.,=+-]", "_", text)
        return safe if safe == text and len(safe) < 200 else f"{safe[:180]},{self.number}"

    def list_assignments(self) -> list[str]:
        """Return the settings as arguments of `pareprop run --set`."""
        return [f"{key}={value}" for key, value in self.settings.items()]

    @property
    def label(self) -> str:
        """Settings as text."""
        return ", ".join(f"{key} = {value}" for key, value in self.settings.items())


def split_values(text: str) -> list[str]:
    """Return the values that a setting lists, by commas ("1e-4,1e-3") or as a range of whole numbers ("1..5").

    Commas within brackets, braces and quotes belong to a value. Raise `InputError` if a range descends.
    """
    values = []
    for part in _split_at_commas(text):
        if (ends := RANGE.fullmatch(part)) is None:
            values.append(part)
            continue
        low, high = int(ends[1]), int(ends[2])
        if not 0 <= high - low < MAX_RUNS:
            raise InputError(f"--set: range {part} must go up, by less than {MAX_RUNS}")
        values += map(str, range(low, high + 1))
    return values


def _split_at_commas(text: str) -> list[str]:
    """Return the parts of a text between commas outside of brackets, braces and quotes."""
    parts, depth, quoted, start = [], 0, "", 0
    for k, letter in enumerate(text):
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "\"'":
            quoted = letter
        else:
            depth += (letter in "[{(") - (letter in "]})")
            if letter == "," and depth == 0:
                parts.append(text[start:k].strip())
                start = k + 1
    return [*parts, text[start:].strip()]


def list_runs(settings: Sequence[str]) -> tuple[list[str], list[Run]]:
    """Return the settings that all runs share, and the runs: all combinations of the other settings.

    Settings are "key=value", or "key=value,value" and "key=low..high".
    """
    shared, swept = [], {}
    for setting in settings:
        key, equal, text = (part.strip() for part in setting.partition("="))
        if not equal or not key:
            raise InputError(f"--set {quote(setting)}: must be key=value")
        values = split_values(text)
        if key in swept:
            raise InputError(f"--set {key}: is given twice")
        if len(set(values)) < len(values):
            raise InputError(f"--set {quote(setting)}: lists a value twice")
        if len(values) == 1:
            shared.append(f"{key}={text}" if text != values[0] else setting)
        else:
            if key in FIXED:
                raise InputError(f"--set {key}: the table of a sweep has a column of that name; write section.{key}")
            swept[key] = values
    count = 1
    for values in swept.values():
        count *= len(values)
        if count > MAX_RUNS:
            raise InputError(f"--set: more than {MAX_RUNS} combinations")
    combinations = itertools.product(*swept.values())
    return shared, [Run(k, dict(zip(swept, values, strict=True))) for k, values in enumerate(combinations, 1)]


def claim_folder(folder: Path, description: Given) -> None:
    """Make the folder of a sweep, or reuse a folder in which the same sweep was begun; refuse other folders."""
    with output_errors(folder, "--out "):
        folder.mkdir(parents=True, exist_ok=True)
        known = folder / DESCRIPTION
        try:
            before = json.loads(files.read(files.require_own_file(known)))
        except FileNotFoundError:
            before = None
            ours = (DESCRIPTION, f".{DESCRIPTION}.")  # also its unfinished copies, of killed jobs or of the same array
            if any(not path.name.startswith(ours) for path in folder.iterdir()):
                raise InputError(f"--out {folder}: exists and is neither empty nor the folder of a sweep") from None
        except ValueError:
            raise InputError(f"{known}: is not JSON; remove it to begin the sweep anew") from None
        if before is None:
            with replace_file(known) as part:
                part.write_text(json.dumps(description, indent=1) + "\n")
        elif not isinstance(before, dict):
            raise InputError(f"{known}: is not of a sweep; remove it to begin the sweep anew")
        elif names := [name for name in description if name in before and before[name] != description[name]]:
            raise InputError(f"--out {folder}: is another sweep: {', '.join(names)} differ; choose another folder")


def fingerprint_files(configs: Sequence[Config]) -> Values:
    """Return the fingerprints of the data files of a sweep, each once."""
    tasks = {tuple(str(getattr(one.task, key)) for key in one.task.by_content): one.task for one in configs}
    prints = {text for task in tasks.values() for text in map(json.dumps, task.list_fingerprints().items())}
    return {"contents of files": sorted(prints)} if prints else {}


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep in their folder, with a directory for each run.

    With `by_validation` runs are compared by validation, and only the best is tested; else by test, or training.
    """

    runs: Sequence[Run]
    folder: Path
    by_validation: bool

    def read_row(self, run: Run) -> dict[str, str]:
        """Return the row of a run in the table; "value", by which runs are compared, is empty without a result.

        A killed run may lack any file; a resumed run itself reports damaged files.
        """
        columns = dict.fromkeys(FIXED[1:], "")
        row = {"run": run.name, **run.settings, **columns, "state": "to do"}
        try:
            return row | self._read_result(self.folder / run.name)
        except InputError:
            return row | {"state": "unreadable"}

    def _read_result(self, directory: Path) -> dict[str, str]:
        """Return the columns of a run's row that its files provide."""
        row: dict[str, str] = {}
        if not (directory / provenance.NAME).exists():
            return row
        parts = provenance.read(directory)["parts"]
        row["state"] = str(parts[-1].get("state", "")) if parts else "to do"
        row["seconds"] = f"{sum(part.get('wall_seconds', 0.0) for part in parts):.1f}"
        if not (directory / RESULTS).is_file():
            return row
        with files.open_results(directory / RESULTS) as file:
            losses, digest, validation = (
                hdf5.read_values(file, "loss"),
                hdf5.read_text(file, "digest"),
                read_validation_result(file),
            )
            # without test_samples, a run that stopped early has a test of one sample, for the figures
            test = read_test_result(file) if settings_of(file).get("test_samples") else None
            result = validation if self.by_validation else test or read_training_result(file)
        row["iterations"] = str(0 if losses is None else len(losses))
        if digest and result is not None:
            row |= {
                "outcome": result.name,
                "value": repr(result.value),
                "best": "highest" if result.highest_is_best else "lowest",
                "validation": repr(validation.value) if validation else "",
                "test": repr(test.value) if test else "",
                "digest": digest,
            }
        return row

    def require_same(self, run: Run, config: Config) -> None:
        """Raise `InputError` if the results of a run come from another configuration."""
        try:
            with files.open_results(self.folder / run.name / RESULTS) as file:
                before = hdf5.list_sections(file)
                if hdf5.read_text(file, "config_digest") == config.compute_digest():
                    return
        except InputError:  # no results yet, or the run itself reports damaged results
            return
        now = config.to_sections()
        for section in SECTIONS:  # only keys of both: others were added by a later version, with their defaults
            old, new = before.get(section, {}), now[section]
            free = new if section in ("record", "checkpoint") else CHANGEABLE if section == "run" else ()
            common = [key for key in old if key in new and key not in free]
            before[section], now[section] = ({key: part[key] for key in common} for part in (old, new))
        if changes := list_differences(before, now):
            raise InputError(
                f"--out {self.folder}: {run.name} was trained with another configuration: {describe_few(changes)}; "
                "choose another folder"
            )

    def is_done(self, run: Run) -> bool:
        """Return whether a run has trained to its end."""
        row = self.read_row(run)
        if row["state"] != "ended" or not row["digest"]:
            return False
        with files.open_results(self.folder / run.name / RESULTS) as file:
            return row["iterations"] == str(settings_of(file).get("iterations")) or bool(
                hdf5.read_text(file, "stopped_by")
            )

    def list_untested(self) -> list[Run]:
        """Return the runs of the setting that is best in validation, one for each seed, that were not tested yet."""
        rows = [self.read_row(run) for run in self.runs]
        best = sweep_table.group_runs(rows)[0].settings.items()
        return [
            run
            for run, row in zip(self.runs, rows, strict=True)
            if best <= run.settings.items() and row["value"] and not row["test"]
        ]

    def write_table(self) -> Path:
        """Write `sweep.csv`, a row for each run with settings, result and state; return its path."""
        rows, path = [self.read_row(run) for run in self.runs], self.folder / TABLE
        with output_errors(path, "table "), replace_file(path) as part:
            write_csv(part, rows)
        return path


def select_runs(runs: Sequence[Run], only: int | None) -> Iterator[Run]:
    """Yield all runs, or the run with number `only`, as a job of an array does."""
    if only is not None and not 1 <= only <= len(runs):
        raise InputError(f"--only {only}: the sweep has runs 1 to {len(runs)}")
    yield from runs if only is None else [runs[only - 1]]
