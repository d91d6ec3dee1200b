"""Arrays of `lines`: psi and learning signals of the latest steps, by target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arrays import LINE, Array, allocate_aligned
from ...network.local import LocalNetwork
from ...values import Values
from ..base import Struct
from ..plan import NetworkPlan, TablePlan


def line_steps(real: type) -> int:
    """Return the steps of a cache line with two numbers of each."""
    return LINE // (2 * np.dtype(real).itemsize)


class WindowLines(Struct):
    """Histories in cache lines, (n_blocks, n_neurons, 2 line_steps), see algorithms/lines/lines.h."""

    name, kind = "lines", "Lines"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        real, n, onto = network.model.kernels.real, network.neurons[1] - network.neurons[0], tables[0]
        steps, kept = line_steps(real), onto.longest_cutoff(onto.chosen("lines")) + plan.m + 2
        n_blocks = (-(-kept // steps) + 1) * plan.uses("lines")  # the first step of a line may be any
        self.block_steps = steps * plan.uses("lines")
        self._line, self.n_steps = allocate_aligned((n_blocks, n, 2 * steps), real), n_blocks * steps
        columns = range(2 * steps * (n_blocks > 0))
        self.arrays = [Array(f"window_{k}", self._line[:, :, k], whole=self._line) for k in columns]

    def kernel(self) -> Values:
        """Return the lines."""
        return {"line": self._line}
