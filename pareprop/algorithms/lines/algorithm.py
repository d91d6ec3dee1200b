"""`lines`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ..base import Cost
from ..request import Request
from ..steps.algorithm import Steps
from .arrays import WindowLines

BY_LINE = 0.25  # cost of following a synapse through a step, in plain arrivals


class Lines(Steps):
    """Follows synapses step by step, with the same bits as `Steps`."""

    name = "lines"
    structs = (WindowLines,)

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        if reason := super().why_not(request):
            return reason
        if request.optimizer.accumulates or not request.optimizer.optimize_each_step:
            return "its optimizer keeps no moments, or does not step in each time step"
        if reason := request.why_not_whole:
            return reason
        if request.definition:
            return "its targets are given by equations"
        if request.model.is_rewarded:
            return "it learns from rewards"
        return "populations filter by a kappa_reg of their own" if request.filters_apart else None

    def kept_steps(self, cutoff: int) -> int:
        """Return the steps of history that targets keep in addition to lines."""
        return 1

    def cost(self, request: Request) -> Cost:
        """Return the cost, see `Algorithm.cost`."""
        return Cost(step=BY_LINE)
