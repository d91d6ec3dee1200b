"""Step by step: a synapse is followed through all steps between two arrivals. All onto neurons can do so."""

from __future__ import annotations

from ..kernels import layout
from ..neurons.model import MOST_COMPOSED
from .request import Reason, Request
from .way import Cost, OntoNeurons

FOLLOWED = 0.75  # cost of a step in which a synapse is followed
SHORT = 10  # steps that take no more than five times as long as an arrival


class Steps(OntoNeurons):
    """The rule as it is written: the step of the optimizer may come in each time step."""

    name, mode = "steps", layout.LOOP

    def cost(self, request: Request) -> Cost:
        """Return what it takes."""
        return Cost(step=FOLLOWED)

    def why_slow(self, request: Request, neurons: float) -> Reason | None:
        """Return why an arrival takes over five times the usual, see `Way.why_slow`."""
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
