"""How much populations fired in the last sample; on rank 0 alone, because other ranks do not have all spikes."""

from __future__ import annotations

import numpy as np

from .base import Engine


def _spikes_of(engine: Engine) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the ids of the neurons that spiked, the sizes of the populations, and the steps that were run."""
    sizes = np.array([group.size for group in engine.network.model.of_role("recurrent")])
    n_steps = min(engine.n, len(engine.log.ptr) - 1)  # an episode that failed has fewer
    return engine.log.ids[: engine.log.ptr[n_steps]], sizes, n_steps


def find_rates(engine: Engine) -> np.ndarray:
    """Return the firing rates of the populations, float64 (n_populations,) in Hz."""
    ids, sizes, n_steps = _spikes_of(engine)
    counts = np.histogram(ids, np.cumsum([0, *sizes]))[0]
    return counts / (sizes * max(n_steps, 1) * engine.network.model.dt_ms / 1000.0)


def find_spiked(engine: Engine) -> np.ndarray:
    """Return which populations spiked, bool (n_populations,)."""
    ids, sizes, _ = _spikes_of(engine)
    spiked, found = np.zeros(engine.network.n_recurrent, bool), np.zeros(len(sizes), bool)
    spiked[ids] = True
    found[np.searchsorted(np.cumsum(sizes), np.flatnonzero(spiked), "right")] = True
    return found
