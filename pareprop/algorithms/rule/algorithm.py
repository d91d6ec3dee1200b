"""`rule`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ...kernels import layout
from ...network.rule_options import definition_of
from ...rules.bound import BoundRule
from ..base import Cost, OntoNeurons
from ..request import Request
from .arrays import SpikeRules

FOLLOWED = 0.5  # cost of following a synapse through a step, in plain arrivals
ARRIVAL = 1.5  # cost of an arrival, in plain arrivals, where steps compose


class Rule(OntoNeurons):
    """Follows a rule step by step, or by composed maps of steps."""

    name = "rule"
    structs = (SpikeRules,)

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        if not request.projection.plastic:
            return "its weights are fixed"
        if request.post.role == "readout":
            return "its targets are readouts"
        return None if request.equations else "it learns by e-prop"

    def numbers(self, request: Request) -> set[str]:
        """Return the names of the numbers of a synapse, see `Algorithm.numbers`."""
        return {"C"}

    def cost(self, request: Request) -> Cost:
        """Return the cost, see `Algorithm.cost`."""
        return Cost(arrival=ARRIVAL) if self.composes(request) else Cost(step=FOLLOWED)

    def code_of(self, request: Request) -> int:
        """Return the number of the algorithm in kernels."""
        return layout.RULE if self.composes(request) else layout.RULE_STEPS

    def takes_each_step(self, request: Request) -> bool:
        """Return whether synapses go through the time steps between two arrivals one by one."""
        return not self.composes(request)

    def takes_each_optimizer_step(self, request: Request) -> bool:
        """Return whether the optimizer steps in each time step, see `Algorithm.takes_each_optimizer_step`."""
        return not request.optimizer.accumulates or request.is_bounded

    @staticmethod
    def composes(request: Request) -> bool:
        """Return whether synapses take all steps between two arrivals at once."""
        assert request.equations
        singly = request.is_bounded or (request.optimizer.optimize_each_step and not request.optimizer.accumulates)
        return not singly and BoundRule(request.equations, definition_of(request.post)).can_compose
