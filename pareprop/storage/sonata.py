"""Export recorded spikes in the SONATA spike format (Dai et al. 2020, doi 10.1371/journal.pcbi.1007696)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from .disk import output_errors, reason, replace_file
from .joined_file import open_joined

MAGIC, VERSION = 0x0A7A, (0, 1)  # of SONATA files
BLOCK = 2**20  # spikes copied at a time


def export(directory: Path, target: Path, overwrite: bool = False) -> int:
    """Write the spikes of `record.h5` of a run, one sample after the other in time; return the number of spikes.

    `/spikes/recurrent/timestamps` (ms) and `node_ids`, sorted by time; likewise `/spikes/inputs` if they were recorded.

    Parameters
    ----------
    directory : Path
        The run directory.
    target : Path
        File to write; none of the run's own files.
    overwrite : bool
        Whether to replace a file of that name.

    Raises
    ------
    InputError
        If no spikes were recorded, or `target` exists.
    StateError
        If `target` cannot be written.
    """
    source = directory / "record.h5"
    _require_free(directory, target, overwrite)
    try:
        file = open_joined(source)
    except OSError as problem:
        raise InputError(f"{source}: no recording that can be read ({reason(problem)})") from None
    with file:
        names = {"recurrent": "spikes", "inputs": "input_spikes"}
        groups = {name: file[group] for name, group in names.items() if f"{group}/id" in file}
        if not groups:
            raise InputError(f"{source} holds no spikes; record them with [record] what = ['spikes']")
        try:
            scale = int(file.attrs["n_steps"]), float(file.attrs["dt_ms"])
            with output_errors(target), replace_file(target) as part, h5py.File(part, "w") as out:
                out.attrs["magic"], out.attrs["version"] = np.uint32(MAGIC), np.array(VERSION, np.uint32)
                total = sum(_write(out, name, group, *scale) for name, group in groups.items())
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as problem:
            raise InputError(f"{source} is not what a run records: {problem}") from None
    return total


def _require_free(directory: Path, target: Path, overwrite: bool) -> None:
    """Raise `InputError` if writing `target` would replace a file of the run, or another one without `overwrite`."""
    try:
        own, there = directory.resolve(), target.parent.resolve() / target.name
    except (OSError, RuntimeError, ValueError) as problem:
        raise InputError(f"{quote(str(target))}: {problem}") from None
    inside = there.relative_to(own).parts if there.is_relative_to(own) else ()
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


def _write(out: h5py.File, name: str, group: h5py.Group, n_steps: int, dt_ms: float) -> int:
    """Copy spikes, which `record.h5` has sorted by iteration, step and id, block by block; return their number."""
    group_out, n = out.create_group(f"spikes/{name}"), len(group["id"])
    times = group_out.create_dataset("timestamps", (n,), "f8")
    ids = group_out.create_dataset("node_ids", (n,), "u8")
    latest = 0
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        step = group["iteration"][part].astype(np.int64) * n_steps + group["step"][part]
        if step[0] < latest or np.any(np.diff(step) < 0):
            raise InputError(f"{group.file.filename}: {group.name} is not sorted by iteration and step")
        times[part], ids[part], latest = step * dt_ms, group["id"][part], step[-1]
    times.attrs["units"] = "ms"
    kinds = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1")
    group_out.attrs.create("sorting", 2, dtype=kinds)
    return n
