"""What learned beside weights, read from the results of a run and told in words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import h5py
import numpy as np

from ..errors import InputError
from . import reader


def find_delays(file: h5py.File) -> Iterator[tuple[str, h5py.Group, tuple[float, float]]]:
    """Yield name, group and bounds in steps of the projections whose delays learned, and that have synapses."""
    projections = reader.child(file, "projections")
    for name, group in (projections or {}).items():
        real = reader.dataset(group, "delay_real") if isinstance(group, h5py.Group) else None
        if real is not None and len(real):
            rule = json.loads(reader.text(group, "learn_delay") or "{}")
            yield name, group, (float(rule.get("low", 1.0)), float(rule.get("high", 1.0)))


def describe(file: h5py.File) -> dict[str, str]:
    """Return a line for each projection whose delays learned, by what it is about."""
    lines, dt = {}, float(file.attrs.get("dt_ms", 1.0))
    for name, group, bounds in find_delays(file):
        before, after = (reader.demand(group, key) for key in ("delay_initial", "delay_real"))
        if len(before) != len(after):
            raise InputError(f"{file.filename}: {group.name}: delay_initial and delay_real differ in length")
        at_bound = int(np.count_nonzero((after <= bounds[0]) | (after >= bounds[1])))
        changed = int(np.count_nonzero(np.rint(after) != before))
        means, ends = before.mean() * dt, (after.min() * dt, after.max() * dt)
        lines[f"delays of {name}, first → last"] = (
            f"mean {means:.4g} → {after.mean() * dt:.4g} ms, from {ends[0]:.4g} to {ends[1]:.4g} ms; "
            f"{changed:,} of {len(after):,} synapses have another one, {at_bound:,} stand at a bound"
        )
    return lines
