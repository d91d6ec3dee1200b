"""What the spike engine keeps: books of rows and traces of synapses, histories of neurons, powers of decay factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import aligned
from ..network.model import Model
from ..kernels import layout
from ..network.synapse_table import SynapseTable
from . import spike_rules
from .spike_rules import ERRORS, LOOP, PREFIX, Rules

RINGS = ("psi", "L", "F")  # in the precision of the model; sums are double
SUMS = ("A", "D", "A2", "D2")
BIASES = 2 * spike_rules.FOLD_STEPS  # latest Adam steps of which the corrections of the bias are kept


class Arrays:
    """The part of `Spike` that takes memory, as much as rules and delays ask for."""

    def _longest_kept(self, model: Model) -> int:
        """Steps of the logs that later samples still read."""
        delays = [item.delay_range[1] for item in model.projections]
        finite = [int(c) for rules in self.rules for c in rules.rules[:, layout.CUTOFF] if c >= 0]
        return max(delays, default=1) + max(finite, default=0) + self.lags.m + 2

    # ---- building ----------------------------------------------------------------------------------------------------

    def _has(self, wanted: int) -> bool:
        return any(wanted in rules.modes for rules in self.rules)

    def _rows(self, table: SynapseTable, rules: Rules) -> Any:
        n, n_rows = len(table.weight), len(table.row_ptr) - 1
        adam, learns = bool(rules.rules[:, layout.ADAM].any()), bool(rules.modes - {spike_rules.STATIC})
        neurons, loops = bool(rules.modes & {PREFIX, LOOP}), rules.rules[:, layout.MODE] == LOOP
        wanted = {
            "Y": neurons, "C": learns, "Y2": neurons and self._sets == 2, "moment": adam, "variance": adam,
            "zbar": bool(np.any(loops & (rules.rules[:, layout.OWN_ZBAR] == 1))),
            "eps": bool(np.any(loops & (rules.rules[:, layout.ADAPTIVE] == 1))),
        }  # fmt: skip
        self.names.append({name for name, needed in wanted.items() if needed})
        arrays = {name: aligned(n * needed, self.real) for name, needed in wanted.items()}
        for array in arrays.values():
            array.fill(0.0)  # no page is first touched while the network runs
        books = np.zeros((n_rows, layout.BOOK_COLUMNS), np.int64)
        books[:, layout.LATEST] = layout.NEVER
        return self.kernels.spike.Rows(
            arrays
            | {"blocks": table.blocks, "row_ptr": table.row_ptr, "target": table.target, "weight": table.weight,
               "rules": rules.rules, "constants": rules.constants, "books": books, "Z": np.zeros(n_rows),
               "counters": np.zeros(n_rows if adam else 0, np.int64),
               "bias_step": np.zeros((len(table.blocks) if adam else 0, BIASES), np.int64),
               "bias": np.zeros((len(table.blocks) if adam else 0, BIASES, 2))}
        )  # fmt: skip

    def _histories(self, n: int) -> dict[str, np.ndarray]:
        """Rings (steps, n) of the latest steps, no longer than the longest cutoff (or than folding) asks for."""
        m, prefix = self.lags.m, self._has(PREFIX)
        longest = self.rules[0].longest_cutoff()
        steps = (longest if self._has(LOOP) else 1) + m + 2
        B, second = max(self.block, 1), self._sets == 2
        ends = (longest + m) // B + 3 if prefix else 0
        rows = {"psi": steps, "L": steps, "F": steps if second else m + 2}
        rows |= {"R": (m + 1) * prefix, "R2": (m + 1) * (prefix and second)}
        rings = {name: aligned((length, n), self.real if name in RINGS else float) for name, length in rows.items()}
        sparse = (self.rules[0].rules[:, layout.MODE] == PREFIX) & (self.network.incoming.blocks[:, layout.DENSE] == 0)
        self.lines = {"cells": aligned((n if np.any(sparse) and not second else 0, 4))}
        for suffix, wanted in (("", True), ("2", second)):
            lines = self.lines["ends" + suffix] = aligned((ends * wanted, n, 4))
            rings |= {f"end_{name}{suffix}": lines[:, :, column] for column, name in enumerate("RAD")}
        errors = max(rules.longest_cutoff() for rules in self.rules[1:]) + 2 * m + 4  # a flush goes on for m steps
        sums = {name: aligned(n if prefix else 0) for name in SUMS}
        return rings | sums | {name: np.zeros((errors, self.network.n_readouts)) for name in ERRORS}

    def _bound(self) -> dict[str, np.ndarray]:
        """Histories as the kernel takes them: sums that are read together lie together."""
        apart = {name: array for name, array in self.history.items() if not name.startswith("end_")}
        return apart | self.lines

    def _feedback(self) -> dict[str, np.ndarray]:
        table = self.network.feedback
        return {
            "fb_blocks": table.blocks, "fb_row_ptr": table.row_ptr, "fb_target": table.target, "fb_weight": table.weight
        }  # fmt: skip

    def _powers(self, model: Model) -> dict[str, np.ndarray]:
        B = max(self.block, 1)
        k = np.arange(B + 1)
        powers = np.zeros((len(self.network.pieces), 4, B + 1))
        for row, population in zip(powers, self.network.piece_populations, strict=True):
            values = population.params
            alpha = spike_rules.uniform_alpha(population, model.dt_ms)
            row[1], row[3] = values.kappa**k, values.kappa_reg**k
            if alpha is not None and min(values.kappa, values.kappa_reg) > 0 and "adapt" not in population.model:
                row[0], row[2] = (alpha / values.kappa) ** k, (alpha / values.kappa_reg) ** k
            if B == 1:  # no sums; the kernel reads kappa_reg at power 1
                row[1, 1], row[3, 1] = values.kappa, values.kappa_reg
        alphas = np.array([line[layout.ALPHA] if rule[layout.MODE] == PREFIX else 1.0 for rule, line in
                           zip(self.rules[0].rules, self.rules[0].constants, strict=True)])  # fmt: skip
        return {
            "powers": powers, "alpha_powers": np.ascontiguousarray(alphas[:, None] ** (np.arange(B + 2) - 1)),
            "out_powers": self.constants["alpha"] ** np.arange(self.readout_block + 1),
        }  # fmt: skip
