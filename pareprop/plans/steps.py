"""Way `steps`: a synapse is followed through each step between two arrivals; fits all synapses onto neurons."""

from __future__ import annotations

from ..kernels import layout
from .request import Request
from .way import Cost, OntoNeurons

FOLLOWED = 0.75  # cost of following a synapse through a step, in plain arrivals


class Steps(OntoNeurons):
    """Follows e-prop literally; the optimizer may step in each time step."""

    name, mode = "steps", layout.STEPS

    def takes_each_step(self, request: Request) -> bool:
        """Return whether synapses go through the time steps between two arrivals one by one."""
        return True

    def cost(self, request: Request) -> Cost:
        """Return the cost, see `Way.cost`."""
        return Cost(step=FOLLOWED)
