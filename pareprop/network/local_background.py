"""The Poisson background of one rank's neurons, in the kernel's form."""

from __future__ import annotations

import numpy as np

from .. import rng
from ..arrays import copy_aligned
from ..kernels import layout
from . import background
from .drawing import find_local_range
from .local import LocalNetwork, draw_cell_values
from .parameters import is_number


class LocalBackground:
    """The arrays from which the kernel draws the Poisson background of a rank's neurons.

    Raises `InputError` for a drawn rate out of bounds.

    Attributes
    ----------
    arrays : dict
        Of all backgrounds: `backgrounds`, int64 (n, BACKGROUND_COLUMNS), see layout.pxd; `background_keys`, uint64
        (n, 2); `background_levels`, uint32; `background_weight`, in the model's precision.
    """

    def __init__(self, network: LocalNetwork) -> None:
        model, self._seed = network.model, network.model.seed
        rows, levels, weights = [], [np.zeros(0, np.uint32)], [np.zeros(0)]
        self._names: list[str] = []  # backgrounds that send spikes to this rank
        for item in model.backgrounds:
            ids = find_local_range(model, item.post, *network.neurons)
            if ids[0] == ids[1]:
                continue
            first = model.offset(item.post) - network.neurons[0]
            rates, weight = (
                draw_cell_values(model, item.post, f"{item.name}/{name}", getattr(item, name), *ids)
                for name in ("rate_hz", "weight")
            )
            if item.post.requires_positive(item.port):
                weight = np.abs(weight)
            background.check_rates(f"background '{item.name}'", rates, model.dt_ms, ids[0])
            shared = is_number(item.rate_hz)
            table = background.list_levels((rates[:1] if shared else rates) * model.dt_ms / 1000.0)
            if not len(table):  # no spike ever comes
                continue
            row = np.zeros(layout.BACKGROUND_COLUMNS, np.int64)
            row[layout.BACKGROUND_FIRST], row[layout.BACKGROUND_LAST] = first + ids[0], first + ids[1]
            row[layout.BACKGROUND_NUMBER], row[layout.BACKGROUND_PORT] = ids[0], item.port_index
            row[layout.BACKGROUND_WEIGHT], row[layout.LEVEL] = sum(map(len, weights)), sum(map(len, levels))
            row[layout.LEVELS], row[layout.LEVELS_EACH] = len(table), not shared
            rows.append(row)
            self._names.append(item.name)
            levels.append(table.reshape(-1))
            weights.append(weight)
        self.arrays = {
            "backgrounds": np.array(rows, np.int64).reshape(-1, layout.BACKGROUND_COLUMNS),
            "background_keys": self.make_keys(),
            "background_levels": np.concatenate(levels),
            "background_weight": copy_aligned(np.concatenate(weights), model.kernels.real),
        }

    def make_keys(self, stream: str = "") -> np.ndarray:
        """Return the keys of the draws, which end with `stream`, uint64 (n, 2)."""
        keys = [rng.make_key(self._seed, f"{name}/spikes{stream}") for name in self._names]
        return np.array(keys, np.uint64).reshape(-1, 2)
