"""A learning rule given by equations: synapses follow the numbers of each step, which are found once for a target."""

from __future__ import annotations

from ..kernels import layout
from ..network.rule_options import definition_of
from ..rules.bound import Bound
from .request import Reason, Request
from .way import Cost, OntoNeurons

FOLLOWED = 0.5  # cost of a step in which a synapse is followed
ARRIVAL = 1.5  # cost of an arrival, where steps compose


class Rule(OntoNeurons):
    """The rule as it is written."""

    name, mode = "rule", layout.LOOP

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""
        if not request.projection.plastic:
            return "its weights are fixed"
        if request.post.role == "readout":
            return "its targets are readouts"
        return None if request.equations else "it learns by e-prop"

    def numbers(self, request: Request) -> set[str]:
        """Return the names of what a synapse keeps, see `Way.numbers`."""
        return {"C"}

    def cost(self, request: Request) -> Cost:
        """Return what it takes."""
        return Cost(arrival=ARRIVAL) if self.composes(request) else Cost(step=FOLLOWED)

    def mode_of(self, request: Request) -> int:
        """Return what kernels call the way of a projection."""
        return layout.RULE if self.composes(request) else self.mode

    @staticmethod
    def composes(request: Request) -> bool:
        """Whether synapses go through all steps between two arrivals at once."""
        assert request.equations
        singly = request.is_bounded or (request.optimizer.optimize_each_step and not request.optimizer.accumulates)
        return not singly and Bound(request.equations, definition_of(request.post)).composes

    def why_slow(self, request: Request, neurons: float) -> Reason | None:
        """Return why an arrival takes over five times the usual, see `Way.why_slow`."""
        assert request.equations
        if self.composes(request):
            return None
        return f"synapses follow each step of rule '{request.equations.name}'", "the interval variant, or e-prop"
