"""Arrays of `readout`: errors of the latest steps, and their prefix sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import elementary
from ...arrays import Array
from ...network.local import LocalNetwork
from ...values import Values
from ..base import Struct
from ..plan import NetworkPlan, TablePlan


def count_errors(network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan]) -> int:
    """Return the steps of which errors are kept: synapses learn of m steps after a sample."""
    reading = tables if network.model.is_rewarded else tables[1:]
    return max(table.longest_cutoff() for table in reading) + 2 * plan.m + 4


class ErrorSums(Struct):
    """Prefix sums of the errors of all readouts."""

    name, kind = "error_sums", "ErrorSums"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        self._network, self._block = network, plan.readout_block
        self._sums = np.zeros((count_errors(network, plan, tables), network.n_readouts))
        self.arrays = [Array("error_sums", self._sums, "rank", ring="steps")]

    def kernel(self) -> Values:
        """Return the sums, and powers of the decay of readouts in a step."""
        powers = elementary.power(
            self._network.compute_readout_constants()["alpha"], np.arange(self._block + 1)[:, None]
        )
        return {"sums": self._sums, "block": self._block, "powers": powers}
