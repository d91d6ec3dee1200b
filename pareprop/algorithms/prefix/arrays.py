"""Arrays of `prefix`: prefix sums of neurons, and the TD errors that act while an episode runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import elementary
from ...arrays import Array, allocate_aligned
from ...kernels import layout
from ...network.local import LocalNetwork
from ...values import Values
from ..base import Struct
from ..plan import NetworkPlan, TablePlan
from ..readout.arrays import count_errors
from ..request import uniform_alpha

SUMS = ("A", "D", "A2", "D2")
FEW_CELLS = 16384  # 512 kB, which fits into a second cache with the rows; more cells are stored next to their `End`
ENDS = "RADSU"  # sums that are kept at ends of blocks, with rewards


def count_ends(plan: NetworkPlan, table: TablePlan) -> int:
    """Return the ends of blocks that are kept of a neuron."""
    return (table.longest_cutoff() + plan.m) // max(plan.block, 1) + 3 if plan.uses("prefix") else 0


class PrefixSums(Struct):
    """Prefix sums of this rank's neurons."""

    name, kind = "sums", "Sums"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        self._network, self._plan, self._table = network, plan, tables[0]
        n = self._n = network.neurons[1] - network.neurons[0]
        used, second, online = plan.uses("prefix"), plan.sets == 2, network.model.is_rewarded
        ends, rows = count_ends(plan, tables[0]), {"R": used, "R2": used and second}
        self._sums = {name: allocate_aligned(((plan.m + 1) * wanted, n)) for name, wanted in rows.items()}
        self._sums |= {name: allocate_aligned(n * used) for name in SUMS}
        sparse = tables[0].chosen("prefix") & (network.incoming.blocks[:, layout.DENSE] == 0)
        by_cells = bool(np.any(sparse)) and not second and not online
        self._lines = {
            "cells": allocate_aligned((n * by_cells, 1 if n <= FEW_CELLS else 2, 4)),
            "ends": allocate_aligned((ends * (not online), n, 4)),
            "ends2": allocate_aligned((ends * second, n, 4)),
        }
        self.arrays = [Array(name, values) for name, values in self._sums.items()]
        self.arrays += [Array("cells", self._lines["cells"], saved=False)]
        self.arrays += [
            Array(f"end_{name}{suffix}", whole[:, :, column], ring="blocks", whole=whole)
            for suffix in ("", "2")
            for whole in (self._lines[f"ends{suffix}"],)
            for column, name in enumerate("RAD")
        ]

    def kernel(self) -> Values:
        """Return the sums as the kernel takes them: those that are read together lie together."""
        plan = self._plan
        settings = {"in_use": self._n > 0 and plan.uses("prefix"), "block": max(plan.block, 1), "sets": plan.sets}
        return self._sums | self._lines | self._powers() | settings

    def _powers(self) -> dict[str, np.ndarray]:
        """Return powers of decay factors within a block."""
        B, model = max(self._plan.block, 1), self._network.model
        k = np.arange(B + 1)
        powers = np.zeros((len(self._network.pieces), 4, B + 1))
        for row, piece in zip(powers, self._network.pieces, strict=True):
            population, values = piece.population, piece.population.params
            alpha = uniform_alpha(population, model.dt_ms)
            row[1], row[3] = elementary.power(values.kappa, k), elementary.power(values.kappa_reg, k)
            if alpha is not None and min(values.kappa, values.kappa_reg) > 0 and not values.adaptive:
                row[0] = elementary.power(alpha / values.kappa, k)
                row[2] = elementary.power(alpha / values.kappa_reg, k)
            if B == 1:  # no sums; the kernel reads kappa_reg at power 1
                row[1, 1], row[3, 1] = values.kappa, values.kappa_reg
        alphas = np.where(self._table.chosen("prefix"), self._table.settings["alpha"], 1.0)
        return {"powers": powers, "alpha_powers": elementary.power(alphas[:, None], np.arange(B + 2) - 1)}


class TDErrors(Struct):
    """TD errors of the latest steps, and the sums that they need; empty without rewards."""

    name, kind = "online", "Online"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        self._plan, self._used = plan, network.model.is_rewarded
        n, ends = network.neurons[1] - network.neurons[0], count_ends(plan, tables[0]) * self._used
        n_errors = count_errors(network, plan, tables) if self._used else 1
        self._known = {
            "delta": np.zeros(n_errors),
            "discount": np.ones(n_errors),
            "running": np.array([0.0, 1.0]),
            "end_factors": np.zeros((ends, 2)),
            "last": np.zeros(ends, np.uint8),
        }
        self._ends = np.zeros((ends, len(ENDS), n))
        self._sums = {name: allocate_aligned(n * (ends > 0)) for name in "SU"}
        columns = {f"end_{name}": self._ends[:, k] for k, name in enumerate(ENDS if ends else "")}
        self.arrays = [Array(name, values, "rank") for name, values in self._known.items()]
        self.arrays += [Array(name, values) for name, values in self._sums.items()]
        self.arrays += [Array(*item, ring="blocks", whole=self._ends) for item in columns.items()]
        self.arrays *= self._used

    def kernel(self) -> Values:
        """Return TD errors and sums as the kernel takes them."""
        more = {"in_use": self._used, "d_out": self._plan.d_out if self._used else 1, "ends": self._ends}
        return self._known | self._sums | more

    def begin_episode(self, time: int) -> None:
        """Let no trace that TD errors meet reach over step `time`, the first of a block."""
        last = self._known["last"]
        if len(last) and time:
            last[(time // self._plan.block - 1) % len(last)] = 1
