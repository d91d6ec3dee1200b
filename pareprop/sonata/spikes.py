"""Read spike files: times and ids of the spikes of a population."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from . import hdf5

TOLERANCE = 1e-6  # steps by which a time may lie behind its step


def read(path: Path, population: str, size: int, dt_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and ids of the spikes of a population, int64 (n,) each, in the order of the file.

    A spike of step t is at (t + 1) dt, as in NEST; a spike between two such times belongs to the step that contains it.
    """
    with hdf5.open_file(path) as file:
        group = hdf5.get_group(file, "spikes")
        if population in group:
            group = hdf5.get_group(group, population)
        elif "timestamps" not in group:  # older files have no populations
            raise InputError(f"no spikes of population '{population}' (there: {', '.join(group)})")
        times = hdf5.get_dataset(group, "timestamps", "iuf")
        ids = hdf5.to_int64(hdf5.read_whole(hdf5.get_dataset(group, "node_ids")))
        unit = hdf5.to_text(times.attrs.get("units", "ms"))
        if unit != "ms":
            raise InputError(f"'{times.name}' is in '{unit}', must be in ms")
        exact = hdf5.read_whole(times).astype(float) / dt_ms
        if len(exact) != len(ids):
            raise InputError(f"'{times.name}' has {len(exact)} values, node_ids {len(ids)}")
        wrong = np.flatnonzero(~((exact >= 0) & (exact < 2**62)))
        if len(wrong):
            raise InputError(f"'{times.name}'[{wrong[0]}] = {exact[wrong[0]] * dt_ms:g} must be at least 0")
        wrong = np.flatnonzero((ids < 0) | (ids >= size))
        if len(wrong):
            raise InputError(f"node_ids[{wrong[0]}] = {ids[wrong[0]]}, population '{population}' has {size} nodes")
    return np.maximum(np.ceil(exact - TOLERANCE) - 1, 0).astype(np.int64), ids
