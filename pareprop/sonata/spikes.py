"""Read spike files: times and ids of the spikes of a population."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from . import hdf5

SMALL = 1e-6  # steps by which a time may lie behind its step


def read(path: Path, population: str, size: int, dt_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes of a population, in the order of the file.

    Parameters
    ----------
    path : Path
        File of spikes.
    population : str
        Name of the population.
    size : int
        Number of its cells.
    dt_ms : float
        Step in ms.

    Returns
    -------
    step : np.ndarray
        int64 (n,); a spike of step t is at (t + 1) dt, as in NEST; those in between are of the step that they end in.
    id : np.ndarray
        int64 (n,), ids of the cells.
    """
    with hdf5.open_file(path) as file:
        group = hdf5.group(file, "spikes")
        if population in group:
            group = hdf5.group(group, population)
        elif "timestamps" not in group:  # older files have no populations
            raise InputError(f"no spikes of population '{population}' (there: {', '.join(group)})")
        times = hdf5.dataset(group, "timestamps", "iuf")
        ids = hdf5.integers(hdf5.read_whole(hdf5.dataset(group, "node_ids")))
        unit = hdf5.text(times.attrs.get("units", "ms"))
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
    return np.maximum(np.ceil(exact - SMALL) - 1, 0).astype(np.int64), ids
