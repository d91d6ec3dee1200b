"""A learning rule given by equations: synapses follow the numbers of each step, which are found once for a target."""

from __future__ import annotations

from ..kernels import layout
from .request import Reason, Request
from .way import Cost, OntoNeurons

FOLLOWED = 0.5  # cost of a step in which a synapse is followed


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
        return Cost(step=FOLLOWED)

    def why_slow(self, request: Request, neurons: float) -> Reason | None:
        """Return why an arrival takes over five times the usual, see `Way.why_slow`."""
        assert request.equations
        return f"synapses follow each step of rule '{request.equations.name}'", "the interval variant, or e-prop"
