"""Delays that learn in case files: what the format "pareprop-case-4" adds for them."""

from __future__ import annotations

import h5py
import numpy as np

from ..errors import InputError
from ..network.optimizers import Optimizer, optimizer
from ..simulation import digest
from ..simulation.observer import Watched
from ..values import Values
from . import case_fields as fields

TOLERANCE = 1e-9  # of delays in steps, and of gradients, of their largest entry
KINDS = ("delay", "d", "gradient_delay")
MATRICES = {"w_in": "in", "w_rec": "rec"}


def read_rules(file: h5py.File, n_groups: int) -> dict[tuple[str, int], Optimizer]:
    """Return the optimizers of delays by matrix and group of targets."""
    rules: dict[tuple[str, int], Optimizer] = {}
    node = fields.group(file, "learn_delay") if "learn_delay" in file else {}
    for key in sorted(node, key=int):
        here, values = f"learn_delay/{key}", fields.attributes(fields.group(node, key))
        matrix, group = str(values.pop("matrix", "")), fields.whole(values, "group") if "group" in values else None
        values.pop("group", None)
        if values.get("type") != "adam":
            values.pop("epsilon", None)  # of all, though Adam's alone
        if matrix not in MATRICES:
            raise InputError(f"{here}: matrix = '{matrix}' must be one of {', '.join(MATRICES)}")
        if group is not None and not 0 <= group < n_groups:
            raise InputError(f"{here}: group = {group} must lie in 0 to {n_groups - 1}")
        rule = optimizer(values, here)
        for number in range(n_groups) if group is None else [group]:
            if (matrix, number) in rules:
                raise InputError(f"{here}: delays of {matrix} onto group {number} are named twice")
            rules[matrix, number] = rule
    return rules


def expected_shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a case expects of its delays, by name."""
    names = {str(node.attrs.get("matrix")) for node in file.get("learn_delay", {}).values()}
    return {f"{kind}_{MATRICES[name]}": file[name].shape for name in names if name in MATRICES for kind in KINDS}


def keep(simulation: Watched) -> None:
    """Keep the gradients of the first step."""
    for item in simulation.engine.plastic:
        if item.delays is not None:
            item.delays.keep()


def compare(expected: dict[str, np.ndarray], simulation: Watched) -> tuple[str, bool] | None:
    """Collective: compare delays and their first gradients; return what to say and whether they hold, on rank 0.

    None if no delay learns.
    """
    matrices = [matrix for matrix in MATRICES.values() if f"delay_{matrix}" in expected]
    wanted = {f"{kind}_{matrix}": expected[f"{kind}_{matrix}"].copy() for matrix in matrices for kind in KINDS}
    if not wanted:
        return None
    found = {key: np.full(array.shape, 0.0 if key.startswith("d_") else np.nan) for key, array in wanted.items()}
    model, comm = simulation.model, simulation.exchange.comm
    learned = {item.name: item.delays for item in simulation.engine.plastic if item.delays is not None}
    for table, span in digest.tables(simulation.network):
        projection, values = span.projection, {}
        matrix = {"input": "in", "recurrent": "rec"}.get(projection.pre.role)
        if projection.post.role != "recurrent" or matrix not in matrices:
            continue
        if (delays := learned.get(projection.name)) is not None:
            values = {"delay": delays.delay, "gradient_delay": delays.first_gradient}
        for kind, array in ({"d": None} | values).items():
            first = 0 if array is None else span.first
            for records in digest.synapses(comm, table, span, array, first):
                rows = records["target"] + model.offset(projection.post)
                columns = records["source"] + model.offset(projection.pre)
                found[f"{kind}_{matrix}"][rows, columns] = records["delay" if kind == "d" else "weight"]
                if not values:
                    found[f"delay_{matrix}"][rows, columns] = records["delay"]
                    wanted[f"gradient_delay_{matrix}"][rows, columns] = np.nan  # it is known, but nobody needs it
    if simulation.exchange.rank:
        return None
    worst: Values = {"d": 0, "delay": 0.0, "gradient_delay": 0.0}
    for key, array in wanted.items():
        kind, scale = key.rpartition("_")[0], 1.0
        if kind == "d":
            worst[kind] += int(np.sum(found[key] != array))
            continue
        if kind == "gradient_delay":
            scale = float(np.nanmax(np.abs(array), initial=0.0)) or 1.0
        same = array.shape == found[key].shape and np.array_equal(np.isnan(array), np.isnan(found[key]))
        difference = float(np.nanmax(np.abs(array - found[key]), initial=0.0)) / scale if same else float("inf")
        worst[kind] = max(worst[kind], difference)
    text = (
        f"{worst['d']} whole delays differ, delays {worst['delay']:.1e}, their gradients {worst['gradient_delay']:.1e} "
        f"(at most {TOLERANCE:.0e})"
    )
    return text, worst["d"] == 0 and max(worst["delay"], worst["gradient_delay"]) <= TOLERANCE
