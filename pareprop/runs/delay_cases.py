"""Delays that learn in case files of format "pareprop-case-4": their optimizers, and their expected results."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..engines.interval import Interval
from ..errors import InputError
from ..later import h5py
from ..network.model import Model
from ..network.optimizers import Optimizer, optimizer
from ..simulation import digest
from ..simulation.observer import Watched
from . import case_fields as fields

KINDS = ("delay", "d", "gradient_delay")  # final delays in real numbers, in whole steps, and their gradients
STARTS = tuple(f"{kind}_" for kind in KINDS)  # names of expected arrays begin so
MATRICES = {"w_in": "in", "w_rec": "rec"}


def read_optimizers(file: h5py.File, n_groups: int) -> dict[tuple[str, int], Optimizer]:
    """Return the optimizers of delays by matrix and group of targets."""
    optimizers: dict[tuple[str, int], Optimizer] = {}
    for key, values in fields.numbered(file, "learn_delay"):
        here = f"learn_delay/{key}"
        matrix, group = str(values.pop("matrix", "")), fields.whole(values, "group") if "group" in values else None
        values.pop("group", None)
        if matrix not in MATRICES:
            raise InputError(f"{here}: matrix = '{matrix}' must be one of {', '.join(MATRICES)}")
        if group is not None and not 0 <= group < n_groups:
            raise InputError(f"{here}: group = {group} must lie in 0 to {n_groups - 1}")
        chosen = optimizer(fields.optimizer_of(values), here)
        for number in range(n_groups) if group is None else [group]:
            if (matrix, number) in optimizers:
                raise InputError(f"{here}: delays of {matrix} onto group {number} are named twice")
            optimizers[matrix, number] = chosen
    return optimizers


def expected_shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the expected arrays of delays that learn, by name."""
    names = {str(node.attrs.get("matrix")) for node in file.get("learn_delay", {}).values()}
    return {f"{kind}_{MATRICES[name]}": file[name].shape for name in names if name in MATRICES for kind in KINDS}


def find_learned(model: Model) -> dict[str, np.ndarray]:
    """Return masks of the delays that learn, by name of their gradient: bool (n_rec, n_in) and (n_rec, n_rec)."""
    roles, n_rec = {"input": "in", "recurrent": "rec"}, model.size("recurrent")
    sizes = {"in": model.size("input"), "rec": n_rec}
    found = {f"gradient_delay_{name}": np.zeros((n_rec, size), np.bool_) for name, size in sizes.items()}
    for item in model.projections:
        if item.learn_delay is not None:
            post, pre = (slice(model.offset(end), model.offset(end) + end.size) for end in (item.post, item.pre))
            found[f"gradient_delay_{roles[item.pre.role]}"][post, pre] = True
    return found


def collect(simulation: Watched, names: Iterable[str], sums: list[np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Collective: return the arrays `names` of a run on rank 0, float64; without a synapse NaN, or 0 in those of steps.

    Gradients are taken from `sums` of a batch; fixed delays have none.
    """
    engine, model, comm = simulation.engine, simulation.model, simulation.exchange.comm
    sizes = {"in": model.size("input"), "rec": model.size("recurrent")}
    found = {
        name: np.full((sizes["rec"], sizes[name.rpartition("_")[2]]), 0.0 if name.startswith("d_") else np.nan)
        for name in names
    }
    shown = {"d": {}, "delay": engine.show_delays(), "gradient_delay": {}}
    if sums is not None and isinstance(engine, Interval):
        divisor = 2.0 * engine.gradient.n_collected * engine.gradient.averaged_steps
        items = zip(engine.gradient.delays, engine.gradient.split_delays(sums), strict=True)
        shown["gradient_delay"] = {item.span.projection.name: item.weight * part / divisor for item, part in items}
    for table, span in digest.tables(simulation.network):
        projection = span.projection
        matrix = {"input": "in", "recurrent": "rec"}.get(projection.pre.role)
        for kind in KINDS if projection.post.role == "recurrent" else ():
            values = shown[kind].get(projection.name)
            if f"{kind}_{matrix}" not in found or (values is None and kind == "gradient_delay"):
                continue
            for records in digest.synapses(comm, table, span, values, 0 if values is None else span.first):
                rows = records["target"] + model.offset(projection.post)
                columns = records["source"] + model.offset(projection.pre)
                column = records["delay" if values is None else "weight"]
                found[f"{kind}_{matrix}"][rows, columns] = column
    return found
