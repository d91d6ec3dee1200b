"""Way `steps`: a synapse is followed through each step between two arrivals; fits all synapses onto neurons."""

from __future__ import annotations

from ..kernels import layout
from ..neurons.model import MOST_COMPOSED
from .request import Reason, Request
from .way import Cost, OntoNeurons

FOLLOWED = 0.75  # cost of following a synapse through a step, in plain arrivals
SHORT = 10  # a cutoff of no more steps costs at most five times an arrival: no warning


class Steps(OntoNeurons):
    """Follows e-prop literally; the optimizer may step in each time step."""

    name, mode = "steps", layout.LOOP

    def cost(self, request: Request) -> Cost:
        """Return the cost, see `Way.cost`."""
        return Cost(step=FOLLOWED)

    def why_slow(self, request: Request, neurons: float) -> Reason | None:
        """Return why arrivals cost over five times the usual, see `Way.why_slow`."""
        if 0 <= request.cutoff <= max(request.m, SHORT):
            return None
        if reason := request.needs_steps or request.is_rewarded_apart:
            return reason
        shorter = f"an eprop_isi_trace_cutoff of few ms (now {request.post.params.eprop_isi_trace_cutoff:g})"
        if request.definition is None or request.definition.composes:
            chosen = "ways that the package chooses"
            return f"'{self.name}' was asked for", chosen if request.model.is_rewarded else f"{chosen}, or {shorter}"
        fewer = "neurons with fewer states"
        return f"its neurons have more than {MOST_COMPOSED} states", fewer if request.model.is_rewarded else shorter
