"""Export recorded spikes in the SONATA spike format (Dai et al. 2020, doi 10.1371/journal.pcbi.1007696)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from ..storage.combined_file import open_combined
from ..storage.disk import describe_os_error, output_errors, replace_file, write_hdf5
from ..storage.opened import EVERY, RunResults

MAGIC, VERSION = 0x0A7A, (0, 1)  # of SONATA files
BLOCK = 2**20  # spikes copied at a time
ROLES = {"recurrent": ("recurrent", "spikes"), "inputs": ("input", "input_spikes")}  # name to role and recorded group
Cells = dict[str, Sequence[int]]  # first id of each population, and one past the last


def export_spikes(directory: Path, target: Path, overwrite: bool = False) -> int:
    """Write the spikes of `record.h5` of a run, its samples one after another in time; return the number of spikes.

    `/spikes/NAME/timestamps` (ms) and `node_ids`, sorted by time, of each population of neurons, and of inputs if they
    were recorded. `/spikes/recurrent` and `/spikes/inputs` hold all populations of a role, with consecutive ids.
    `target` must not be a file of the run.
    """
    source = directory / "record.h5"
    _require_free(directory, target, overwrite)
    if not source.exists() and (directory / "results.h5").exists():
        if (directory / "record").is_dir():
            raise InputError(f"{directory}: the run has not ended; resume it: at its end the recording can be read")
        how = "--set record.every=1, or record={'every': 1} of pareprop.run, records the spikes of each iteration"
        raise InputError(f"{directory}: the run has recorded nothing; {how} when it runs again")
    try:
        file = open_combined(source)
    except OSError as problem:
        raise InputError(f"{source}: no recording that can be read ({describe_os_error(problem)})") from None
    with file:
        groups = {name: file[group] for name, (_, group) in ROLES.items() if f"{group}/id" in file}
        cells = _read_cells(directory)
        if not groups:
            raise InputError(f"{source} holds no spikes; record them with [record] what = ['spikes']")
        try:
            scale = int(file.attrs["n_steps"]), float(file.attrs["dt_ms"])
            with output_errors(target), replace_file(target) as part, write_hdf5(part) as out:
                out.attrs["magic"], out.attrs["version"] = np.uint32(MAGIC), np.array(VERSION, np.uint32)
                total = sum(_write_spikes(out, name, group, *scale, cells) for name, group in groups.items())
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as problem:
            raise InputError(f"{source} is not what a run records: {problem}") from None
    return total


def _require_free(directory: Path, target: Path, overwrite: bool) -> None:
    """Raise `InputError` if writing `target` would replace a file of the run, or another file without `overwrite`."""
    try:
        folder, there = directory.resolve(), target.parent.resolve() / target.name
    except (OSError, RuntimeError, ValueError) as problem:
        raise InputError(f"{quote(str(target))}: {problem}") from None
    inside = there.relative_to(folder).parts if there.is_relative_to(folder) else ()
    if inside and (len(inside) > 1 or (there.exists() and not _is_export(there))):
        raise InputError(f"{target}: belongs to the run; choose another name")
    if os.path.lexists(target) and not overwrite:
        raise InputError(f"{target}: exists; --overwrite replaces it")
    if os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
        raise InputError(f"{target}: is a link or no regular file")


def _is_export(path: Path) -> bool:
    try:
        with files.open_hdf5(path) as file:
            return file.attrs.get("magic") == MAGIC
    except OSError:
        return False


def _read_cells(directory: Path) -> dict[str, Cells]:
    """Return the populations of neurons and of inputs; empty if the results of the run can't be read."""
    with suppress(InputError):
        opened = RunResults(directory)
        return {name: {own: ends for own, *ends in opened.cells(role)} for name, (role, _) in ROLES.items()}
    return {}


def _write_spikes(
    out: h5py.File, name: str, group: h5py.Group, n_steps: int, dt_ms: float, cells: dict[str, Cells]
) -> int:
    """Copy spikes, which `record.h5` has sorted by iteration, step and id, block by block; return their number.

    All populations of a role together have the name `name`, unless a population has it.
    """
    own_cells, is_free = cells.get(name, {}), not any(name in some for some in cells.values())
    wanted = own_cells if len(own_cells) == 1 else ({name: EVERY} if is_free else {}) | own_cells
    bounds = np.array([*wanted.values()], np.int64).reshape(-1, 2)
    found = (np.diff(np.searchsorted(np.sort(ids), bounds))[:, 0] for _, ids in _read_blocks(group))
    counts = sum(found, np.zeros(len(wanted), np.int64))
    columns = [_create_datasets(out, own, n) for own, n in zip(wanted, counts, strict=True)]
    ends, latest = np.zeros_like(counts), 0
    for part, ids in _read_blocks(group):
        step = group["iteration"][part].astype(np.int64) * n_steps + group["step"][part]
        if step[0] < latest or np.any(np.diff(step) < 0):
            raise InputError(f"{group.file.filename}: {group.name} is not sorted by iteration and step")
        latest = step[-1]
        order = np.argsort(ids)
        for k, pair in enumerate(np.searchsorted(ids, bounds, sorter=order)):
            mine = np.sort(order[slice(*pair)])
            place = slice(ends[k], ends[k] + len(mine))
            columns[k][0][place], columns[k][1][place] = (step[mine] + 1) * dt_ms, ids[mine] - bounds[k, 0]
            ends[k] = place.stop
    if is_free and name not in wanted:
        out[f"spikes/{name}"] = out[f"spikes/{next(iter(wanted))}"]
    return len(group["id"])


def _read_blocks(group: h5py.Group) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(group["id"]), BLOCK):
        part = slice(start, start + BLOCK)
        yield part, group["id"][part].astype(np.int64)


def _create_datasets(out: h5py.File, name: str, n: int) -> tuple[h5py.Dataset, h5py.Dataset]:
    """Create and return the datasets of times and ids of a population."""
    group = out.create_group(f"spikes/{name}")
    times, ids = group.create_dataset("timestamps", (n,), "f8"), group.create_dataset("node_ids", (n,), "u8")
    times.attrs["units"] = "ms"
    kinds = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
    group.attrs.create("sorting", 2, dtype=kinds)
    return times, ids
