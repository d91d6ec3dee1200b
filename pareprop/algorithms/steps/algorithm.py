"""`steps`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ..base import Cost, OntoNeurons
from ..request import Request

FOLLOWED = 0.75  # cost of following a synapse through a step, in plain arrivals


class Steps(OntoNeurons):
    """Follows e-prop literally; the optimizer may step in each time step."""

    name = "steps"
    follows_neurons = True

    def takes_each_step(self, request: Request) -> bool:
        """Return whether synapses go through the time steps between two arrivals one by one."""
        return True

    takes_each_optimizer_step = takes_each_step

    def kept_steps(self, cutoff: int) -> int:
        """Return the steps of history that targets keep, see `Algorithm.kept_steps`."""
        return cutoff

    def cost(self, request: Request) -> Cost:
        """Return the cost, see `Algorithm.cost`."""
        return Cost(step=FOLLOWED)
