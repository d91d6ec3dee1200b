"""Checked and bounded reading of the results of a run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from .. import files
from ..errors import InputError, escape_unprintable
from ..hdf5 import find_child, find_dataset, read_pair, read_text, read_values, require_dataset
from ..later import h5py

SAMPLE_LIMIT = 1_000_000  # a figure reads at most this many entries of a dataset
BLOCK = 1_000  # neighbours that are read together
R = TypeVar("R")
K = TypeVar("K")
POPULATIONS = "microcircuit"  # attribute `figure` of results with rates of populations


def format_label(value: object) -> str:
    """Return a text for a figure: without control characters, and with $ escaped, so that it starts no formula."""
    raw = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return escape_unprintable(raw).replace("$", r"\$")


def read_unit(node: h5py.HLObject | None) -> str:
    """Return the unit of a dataset or group, "" if it has none."""
    found = "" if node is None else read_text(node, "unit")
    return "" if found == "1" else format_label(found)


def with_unit(name: str, node: h5py.HLObject | None) -> str:
    """Return the label of an axis: a name, and the unit of its quantity if there is one."""
    return f"{name} ({found})" if (found := read_unit(node)) else name


def read_curve(file: h5py.File, name: str) -> np.ndarray | None:
    """Return a value of each iteration by its name in figures: also "accuracy", which results keep as "error"."""
    found = read_values(file, "error" if name == "accuracy" else name)
    return 1.0 - found if name == "accuracy" and found is not None else found


def read_validations(file: h5py.File, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return iterations and values of validations: "loss", "accuracy" or "mean_return"; None without such values."""
    group = find_child(file, "validation")
    if group is None:
        return None
    value_is = "mean_return" if "mean_return" in file else "accuracy" if "error" in file else "loss"
    if name != value_is:
        return read_pair(group, "iteration", "loss") if name == "loss" else None
    found = read_pair(group, "iteration", "value")
    return (found[0], 1.0 - found[1]) if found is not None and name == "accuracy" else found


def sample(data: h5py.Dataset, limit: int = SAMPLE_LIMIT) -> np.ndarray:
    """Read at most `limit` entries of a one-dimensional dataset, all of them when there are no more.

    Reads evenly spaced blocks of 1 000 neighbours, not evenly spaced single entries: HDF5 is quick at it, and a stride
    would always hit the same sources if all targets have one indegree.
    """
    if len(data) <= limit:
        return data[...]
    block = min(BLOCK, limit)
    starts = np.linspace(0, len(data) - block, limit // block).astype(np.int64)
    return np.concatenate([data[start : start + block] for start in starts])


def step_ms(file: h5py.File) -> float:
    """Return the duration of a step in ms; InputError when the attribute is missing or not positive."""
    try:
        dt = float(file.attrs["dt_ms"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file.filename}: attribute dt_ms is missing or no number") from error
    if not (np.isfinite(dt) and dt > 0):
        raise InputError(f"{file.filename}: attribute dt_ms is {dt}, must be positive")
    return dt


def read_table(path: Path, origin: str) -> list[dict[str, str]]:
    """Return the columns of a CSV file by name; the message on a damaged file states `origin`, which writes it."""
    try:
        with open(files.require_own_file(path), newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{path}: {getattr(problem, 'strerror', None) or problem}; {origin}") from None


def group_rows(rows: Iterable[R], key: Callable[[R], K]) -> dict[K, list[R]]:
    """Return the rows of a table in groups of one key, in the order in which keys come first."""
    groups: dict[K, list[R]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def read_learned(file: h5py.File) -> list[tuple[str, h5py.Group, np.ndarray, np.ndarray]]:
    """Return each parameter that learned: name, group, values before and after, one for each neuron or one for all."""
    found = []
    for name, summary in (find_child(file, "learned") or {}).items():
        population = find_child(file, f"populations/{read_text(summary, 'population')}")
        ends = []
        for suffix in ("_initial", ""):
            if population is None:
                break
            key = read_text(summary, "parameter") + suffix
            data = find_dataset(population, key)
            if data is not None or key in population.attrs:
                ends.append(np.array([float(population.attrs[key])]) if data is None else sample(data))
        if len(ends) == 2 and all(len(values) for values in ends):
            found.append((name, summary, ends[0], ends[1]))
    return found


def tell_learned(file: h5py.File) -> dict[str, str]:
    """Return a line on initial and final values of each learned parameter, and of learned delays, by "learned NAME"."""
    lines = {}
    for name, summary, before, after in read_learned(file):
        unit, at_bound = read_text(summary, "unit"), require_dataset(summary, "at_bound")
        line = f"mean {np.mean(before):.4g} → {np.mean(after):.4g}" + f" {unit}" * (unit not in ("", "1"))
        line += f" (std {np.std(before):.3g} → {np.std(after):.3g})" if len(after) > 1 else ""
        lines[f"learned {name}"] = line + (f", {int(at_bound[-1])} at a bound" if np.any(at_bound[-1:]) else "")
    for name, _, (low, high), (before, after) in read_learned_delays(file):
        dt, n = step_ms(file), int(np.count_nonzero((after <= low) | (after >= high)))
        line = f"mean {np.mean(before) * dt:.4g} → {np.mean(after) * dt:.4g} ms"
        line += f" (std {np.std(before) * dt:.3g} → {np.std(after) * dt:.3g})" + (f", {n} at a bound" if n else "")
        changed = int(np.count_nonzero(np.rint(after) != before))
        lines[f"learned {name}.delay"] = f"{line}, {changed:,} of {len(after):,} by whole steps"
    return lines


def read_learned_delays(
    file: h5py.File,
) -> Iterator[tuple[str, h5py.Group, tuple[float, float], tuple[np.ndarray, ...]]]:
    """Yield projections whose delays learned: name, group, bounds in steps, delays in steps before and after."""
    for name, group in (find_child(file, "projections") or {}).items():
        ends = read_pair(group, "delay_initial", "delay_real") if isinstance(group, h5py.Group) else None
        if ends is None or not len(ends[0]):
            continue
        try:
            rule = json.loads(read_text(group, "learn_delay"))
            yield name, group, (float(rule["low"]), float(rule["high"])), ends
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InputError(f"{file.filename}: {group.name}: attribute learn_delay is not what a run writes") from None
