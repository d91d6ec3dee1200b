"""When `lines` fits, what it costs, what its synapses keep."""

from __future__ import annotations

from ...kernels import layout
from ..base import Cost
from ..request import Request
from ..steps.algorithm import Steps

BY_LINE = 0.25  # cost of following a synapse through a step, in plain arrivals


class Lines(Steps):
    """Follows synapses step by step, with the same bits as `Steps`."""

    name, mode = "lines", layout.LINES

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""
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

    def cost(self, request: Request) -> Cost:
        """Return the cost, see `Way.cost`."""
        return Cost(step=BY_LINE)
