"""`readout`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ... import elementary
from ...network.model import Model
from ..base import Algorithm
from ..prefix.algorithm import LARGEST_BLOCK, LOSS, SMALLEST_BLOCK
from ..request import Request
from .arrays import ErrorSums


class Readout(Algorithm):
    """Multiplies the filtered spikes of a source by the errors of a readout."""

    name = "readout"
    structs = (ErrorSums,)

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        if not request.projection.plastic:
            return "its weights are fixed"
        return None if request.post.role == "readout" else "its targets are neurons"

    def numbers(self, request: Request) -> set[str]:
        """Return the names of the numbers of a synapse, see `Algorithm.numbers`."""
        return {"C", "h"} if request.model.is_rewarded else {"C"}

    def takes_each_optimizer_step(self, request: Request) -> bool:
        """Return whether the optimizer steps in each time step, see `Algorithm.takes_each_optimizer_step`."""
        return not request.optimizer.accumulates or request.is_bounded


def readout_block_length(model: Model) -> int:
    """Return the steps of a block of prefix sums of errors; 0 if a readout forgets too fast for such sums."""
    groups = model.of_role("readout") if not model.is_rewarded else []  # with rewards: step by step
    tau_m = min((group.params.tau_m for group in groups), default=0.0)
    length = int(min(LARGEST_BLOCK, elementary.log(LOSS["double"]) * tau_m / model.dt_ms))
    return length if length >= SMALLEST_BLOCK else 0
