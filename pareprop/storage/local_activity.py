"""Collect readouts of single neurons for the results: correlations of all, signals and targets of some."""

from __future__ import annotations

import numpy as np

from ..parallel import collectives
from ..simulation.observer import Outcome, Watched
from ..values import Values

SHOWN = 200  # signals of at most this many neurons are kept


def prepare_engine(simulation: Watched, measured_from: int | None) -> None:
    """Make the engine keep signals of the next sample, and correlations from step `measured_from` on; None: none."""
    local = getattr(simulation.engine, "local", None)
    if local is None or not local.rule:
        return
    local.measured_from = measured_from
    first, last = simulation.network.neurons
    ids = np.unique(np.linspace(0, simulation.network.n_recurrent - 1, SHOWN).astype(np.int64))
    local.kept = ids[(ids >= first) & (ids < last)] - first if measured_from is not None else ids[:0]


def collect_activity(simulation: Watched, outcome: Outcome) -> Values:
    """Collective: return arrays of the last sample on rank 0; {} elsewhere and without readouts of single neurons."""
    local = getattr(simulation.engine, "local", None)
    if local is None or not local.rule:
        return {}
    first, targets = simulation.network.neurons[0], outcome.sample.local_targets
    peaks, shown = [np.zeros(0, np.int64)], []
    for columns, target in local.iterate_blocks(targets):
        peaks.append(np.argmax(target, axis=0))
        mine = (local.kept >= columns.start) & (local.kept < columns.stop)
        shown.append(target[:, local.kept[mine] - columns.start])
    target = np.concatenate(shown, axis=1) if shown else np.zeros_like(local.shown)
    own = {
        "correlation": local.correlation,
        "target_peak": np.concatenate(peaks),
        "local_ids": local.kept + first,
        "local_signal": local.shown,
        "local_target": target,
    }
    parts = list(collectives.send_items_to_root(simulation.exchange.comm, [own]))
    return {key: np.concatenate([part[key] for part in parts], axis=-1) for key in own} if parts else {}
