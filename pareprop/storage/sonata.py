"""Export recorded spikes in the SONATA spike format (Dai et al. 2020, doi 10.1371/journal.pcbi.1007696)."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from ..errors import InputError, StateError

MAGIC, VERSION = 0x0A7A, (0, 1)  # of SONATA files
BLOCK = 2**20  # spikes copied at a time


def export(directory: Path, target: Path) -> int:
    """Write the spikes of `record.h5` of a run, one sample after the other in time; return the number of spikes.

    `/spikes/recurrent/timestamps` (ms) and `node_ids`, sorted by time; likewise `/spikes/inputs` if they were recorded.

    Raises
    ------
    InputError
        If no spikes were recorded.
    StateError
        If `target` cannot be written.
    """
    source = directory / "record.h5"
    try:
        file = h5py.File(source)
    except OSError as problem:
        raise InputError(f"{source}: not a readable recording ({problem})") from None
    part = target.with_suffix(".part")
    with file:
        names = {"recurrent": "spikes", "inputs": "input_spikes"}
        found = {name: file[group] for name, group in names.items() if f"{group}/id" in file}
        if not found:
            raise InputError(f"{source} holds no spikes; record them with [record] what = ['spikes']")
        try:
            with h5py.File(part, "w") as out:
                out.attrs["magic"], out.attrs["version"] = np.uint32(MAGIC), np.array(VERSION, np.uint32)
                scale = int(file.attrs["n_steps"]), float(file.attrs["dt_ms"])
                total = sum(_write(out, name, group, *scale) for name, group in found.items())
            os.replace(part, target)
        except OSError as problem:
            raise StateError(f"{target}: {problem.strerror or problem}") from None
    return total


def _write(out: h5py.File, name: str, group: h5py.Group, n_steps: int, dt_ms: float) -> int:
    """Copy spikes block by block; `record.h5` has them sorted by iteration, step and id."""
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
