"""`scan`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ...kernels import layout
from ...network.connectivity import Projection
from ...neurons.language import names_of
from ...neurons.model import MOST_COMPOSED
from ..base import Cost, OntoNeurons
from ..request import Request
from .arrays import ComposedMaps, ScanRows

# Costs in plain arrivals, measured with two arrivals per neuron and step.
ARRIVAL = 2.2  # an arrival at NEST's own neurons, adapting, without moments
LEAN, WITH_MOMENTS = 0.85, 1.3  # factors of it: no neuron adapts; the optimizer keeps moments (Adam)
OF_EQUATIONS, OF_PAIR = 1.25, 0.08  # factor of it for neurons given by equations, and what each pair of traces adds
ONE_BY_ONE = 0.2  # an optimizer step without a gradient, where these are not taken at once


class Scan(OntoNeurons):
    """Two maps in a row compose to one: O(1) per arrival for neurons that adapt, differ, or are given by equations."""

    name = "scan"
    reads_maps = True
    structs = (ComposedMaps,)
    table_structs = (ScanRows,)

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        if reason := super().why_not(request) or request.why_not_whole or request.why_not_at_once:
            return reason
        if (definition := request.definition) is None:
            return None
        place = request.projection.port_index
        if not definition.traces_port(place):
            return f"a spike at port {definition.ports[place]} changes no trace of its neurons"
        return None if definition.composes else f"its neurons have more than {MOST_COMPOSED} states"

    def kept_steps(self, cutoff: int) -> int:
        """Return the steps of history that targets keep, see `Algorithm.kept_steps`."""
        return layout.MAP_STEPS

    def cost(self, request: Request) -> Cost:
        """Return the cost where delays do not differ, see `Algorithm.cost`."""
        traces, optimizer = n_traces(request.projection), request.optimizer
        moments, lean = 1.0 if optimizer.accumulates else WITH_MOMENTS, 1.0 if request.adapts else LEAN
        step = 0.0 if optimizer.accumulates or optimizer.idle else ONE_BY_ONE
        return Cost(arrival=ARRIVAL * moments * (_factor_of(traces) if traces else lean), step=step)


def n_traces(projection: Projection) -> int:
    """Return how many traces an arrival at neurons given by equations changes, e included if steps read z; else 0."""
    definition = getattr(projection.post.params, "definition", None)
    if definition is None:
        return 0
    equations = definition.equations
    read = {state: names_of(tree, equations.terms) for state, tree in equations.step.items()}
    reached, seen = {projection.port or definition.ports[0], "z", *definition.follow}, set[str]()
    while reached > seen:
        seen = set(reached)
        reached |= {state for state, names in read.items() if names & reached}
    return len(seen & read.keys()) + any("z" in names for names in read.values())


def _factor_of(traces: int) -> float:
    """Return the cost of an arrival with so many traces of equations over that at NEST's own neurons."""
    return OF_EQUATIONS + OF_PAIR * traces**2
