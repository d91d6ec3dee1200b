"""Find the first difference between two runs: in configuration, loss, spikes and weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from .. import files, hdf5
from ..errors import InputError, describe
from ..later import h5py
from ..storage import combined_file
from ..storage.checkpoint_read import list_differences

BLOCK = 2**20  # entries compared at a time
SPIKE = ("iteration", "step", "id")  # arrays of /spikes in `record.h5`, sorted in this order
SYNAPSE = ("source", "target", "delay", "source_initial", "delay_initial", "delay_real", "weight_initial", "weight")


def compare_directories(first: Path, second: Path) -> list[str]:
    """Return the first difference of each kind between two run directories, one line each; [] if there is none.

    `InputError` if one is not a run directory, or its results are malformed.
    """
    with ExitStack() as stack:
        a, b = (stack.enter_context(files.open_results(path / "results.h5")) for path in (first, second))
        try:
            changes = list_differences(hdf5.list_sections(a), hdf5.list_sections(b))
            lines = [f"configuration: {line.replace(', now ', ' in the first, ')} in the second" for line in changes]
            lines += (
                _take_first(_compare_losses(a, b))
                + _take_first(_compare_spikes(a, b))
                + _take_first(_compare_weights(a, b))
            )
            lines += _take_first(_compare_learned(a, b))
            digests = [str(file.attrs.get("digest", "")) for file in (a, b)]
        except OSError as problem:
            raise InputError(f"{first} or {second}: {problem.strerror or problem}") from None
        except files.MALFORMED as problem:
            raise InputError(f"{first} or {second} is not what a run writes: {describe(problem)}") from None
        if digests[0] != digests[1] and not lines:
            lines.append(f"digest: {digests[0]} and {digests[1]}: spikes differ in samples that were not recorded")
        return lines


def _take_first(lines: Iterator[str]) -> list[str]:
    """Return the first line in a list; [] if there is none."""
    return list(itertools.islice(lines, 1))


def _find_first_difference(a: h5py.Dataset, b: h5py.Dataset) -> int | None:
    """Return the first index at which two datasets differ (NaN equals NaN); None if they are equal."""
    n = min(len(a), len(b))
    for start in range(0, n, BLOCK):
        x, y = a[start : min(start + BLOCK, n)], b[start : min(start + BLOCK, n)]
        same = (x == y) | ((x != x) & (y != y))
        if not same.all():
            return start + int(np.argmin(same))
    return None if len(a) == len(b) else n


def _compare_losses(a: h5py.File, b: h5py.File) -> Iterator[str]:
    if "loss" in a and "loss" in b and (k := _find_first_difference(a["loss"], b["loss"])) is not None:
        values = [f"{file['loss'][k].item()!r}" if k < len(file["loss"]) else "none" for file in (a, b)]
        yield f"loss: iteration {k}: {values[0]} and {values[1]}"


def _compare_spikes(a: h5py.File, b: h5py.File) -> Iterator[str]:
    paths = [Path(file.filename).with_name("record.h5") for file in (a, b)]
    if all(path.is_file() for path in paths):
        with ExitStack() as stack:
            recordings = [stack.enter_context(combined_file.open_combined(path)) for path in paths]
            if all("spikes" in file for file in recordings):
                first, second = ([file[f"spikes/{key}"] for key in SPIKE] for file in recordings)
                yield from _find_spike_difference(first, second)
    for name in ("first", "last"):
        groups = [file.get(f"dynamics/{name}") for file in (a, b)]
        if all(group is not None for group in groups):
            first, second = ([group["spike_steps"], group["spike_ids"]] for group in groups)
            yield from _find_spike_difference(first, second, groups)


def _find_spike_difference(
    first: list[h5py.Dataset], second: list[h5py.Dataset], groups: list[h5py.Group] | None = None
) -> Iterator[str]:
    """Yield the first spike that differs between two sorted recordings.

    Each recording is a list of columns: iteration, step, id, or step, id of one iteration, an attribute of its group.
    """
    places = [place for place in map(_find_first_difference, first, second) if place is not None]
    if not places and groups and groups[0].attrs["iteration"] != groups[1].attrs["iteration"]:
        places = [0]
    if places:
        lines = []
        for k, columns in enumerate((first, second)):
            before = [groups[k].attrs["iteration"]] if groups else []
            spike = [*before, *(column[min(places)] for column in columns)] if min(places) < len(columns[0]) else []
            lines.append("iteration {}, step {}, neuron {}".format(*spike) if spike else "none")
        yield f"spike: {lines[0]} in the first, {lines[1]} in the second"


def _compare_learned(a: h5py.File, b: h5py.File) -> Iterator[str]:
    """Yield each learned parameter that differs, at its first neuron."""
    for name, group in a.get("learned", {}).items():
        key = "populations/{population}/{parameter}".format(**group.attrs)
        place, _, parameter = key.rpartition("/")
        if place not in b or f"learned/{name}" not in b:
            continue
        values = [np.ravel(file[key] if key in file else file[place].attrs[parameter]) for file in (a, b)]
        if values[0].shape == values[1].shape and np.any(values[0] != values[1]):
            k = int(np.argmax(values[0] != values[1]))
            yield f"parameter: {name}, neuron {k}: {values[0][k]!r} in the first, {values[1][k]!r} in the second"


def _compare_weights(a: h5py.File, b: h5py.File) -> Iterator[str]:
    kept = [file.get("projections", {}) for file in (a, b)]  # empty without weights in the results
    for name in dict.fromkeys([*kept[0], *kept[1]]):
        groups = [projections.get(name) for projections in kept]
        if any(group is None for group in groups):
            yield f"weight: projection '{name}' is only in the {'second' if groups[0] is None else 'first'}"
            continue
        for key in SYNAPSE:
            if key not in groups[0] and key not in groups[1]:  # some are written for rewired or learned delays alone
                continue
            if key not in groups[0] or key not in groups[1]:
                yield f"{key}: projection '{name}' has it only in the {'second' if key in groups[1] else 'first'}"
                continue
            k = _find_first_difference(groups[0][key], groups[1][key])
            if k is not None:
                lines = [f"{group[key][k].item()!r}" if k < len(group[key]) else "none" for group in groups]
                where = [int(groups[0][end][k]) if k < len(groups[0][end]) else "?" for end in ("source", "target")]
                yield f"{key}: projection '{name}', synapse {k} ({where[0]} to {where[1]}): {lines[0]} and {lines[1]}"
