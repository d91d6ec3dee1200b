"""Way `scan`: composed maps of steps. Several steps change a synapse's traces linearly, by numbers of its target."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernels import layout
from ..network.connectivity import RULES, Population, Projection
from ..neurons.language import Repeat, Tree, names_of, walk
from ..neurons.model import MOST_COMPOSED
from .request import Reason, Request
from .way import Cost, OntoNeurons

# Costs in plain arrivals, measured with two arrivals per neuron and step.
ARRIVAL = 2.2  # an arrival at NEST's own neurons, adapting, without moments
LEAN, WITH_MOMENTS = 0.85, 1.3  # factors of it: no neuron adapts; the optimizer keeps moments (Adam)
OF_EQUATIONS, OF_PAIR = 1.25, 0.08  # factor of it for neurons given by equations, and what each pair of traces adds
OF_EXPONENTIAL = 0.6  # an exponential in a step of the neurons, per arrival
ONE_BY_ONE = 0.2  # an optimizer step without a gradient, where these are not taken at once
ACROSS_DELAYS, OF_ROW = 1.6, 12.0  # factor of an arrival if delays differ; cost of a row, which its synapses share
FEWEST = 8.0  # a source with fewer synapses on a rank has short rows with one delay, too: delays get no warning
SLOW = 5.0  # cost of an arrival above which a run warns
MANY_NEURONS, OF_MANY = 7_500, 1.25  # more neurons by equations on a rank outgrow its caches; factor of an arrival then
EXPONENTIALS = {"exp": 1, "log": 1, "tanh": 3}  # cost of functions in exponentials


class Scan(OntoNeurons):
    """Two maps in a row compose to one: O(1) per arrival for neurons that adapt, differ, or are given by equations."""

    name, mode = "scan", layout.SCAN

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""
        if reason := super().why_not(request) or request.why_not_whole or request.why_not_at_once:
            return reason
        if (definition := request.definition) is None:
            return None
        place = request.projection.port_index
        if not definition.traces_port(place):
            return f"a spike at port {definition.ports[place]} changes no trace of its neurons"
        return None if definition.composes else f"its neurons have more than {MOST_COMPOSED} states"

    def cost(self, request: Request) -> Cost:
        """Return the cost where delays do not differ, see `Way.cost`."""
        traces, optimizer = n_traces(request.projection), request.optimizer
        moments, lean = 1.0 if optimizer.accumulates else WITH_MOMENTS, 1.0 if request.adapts else LEAN
        step = 0.0 if optimizer.accumulates or optimizer.idle else ONE_BY_ONE
        return Cost(arrival=ARRIVAL * moments * (_factor_of(traces) if traces else lean), step=step)

    def why_slow(self, request: Request, neurons: float) -> Reason | None:
        """Return why arrivals cost over five times the usual, see `Way.why_slow`.

        Maps have many numbers, or many neurons have maps, or rows are short. Rates are not known beforehand: 40 Hz are
        assumed, where equations cost most over the usual.
        """
        traces, exponentials = n_traces(request.projection), n_exponentials(request.post)
        if self.cost(request).step:
            out = "an optimizer that takes them at once, such as adam or sgd_momentum"
            return f"{request.optimizer.type} takes its steps between two arrivals one by one", out
        if traces:
            arrival = ARRIVAL * _factor_of(traces)
            both = arrival + OF_EXPONENTIAL * exponentials
            if arrival > SLOW:
                out = "neurons with fewer states, or the interval variant"
                return f"its synapses have {traces} traces, each pair of which counts in a step of their targets", out
            if both > SLOW:
                out = "equations with fewer of them (a tanh counts as three), or more synapses per neuron"
                return f"a step of its neurons takes {exponentials} exponentials", out
            if neurons > MANY_NEURONS and OF_MANY * both > SLOW:
                reason = f"{neurons:.0f} neurons of a rank, given by equations, outgrow its caches"
                return f"{reason} (at 40 Hz; less at lower rates)", "more ranks, or the interval variant"
        projection, (low, high) = request.projection, request.projection.delay_range
        if low == high:
            return None
        targets = projection.post.size * neurons / request.model.size("recurrent")
        synapses = RULES[projection.rule].indegree(projection) * targets / max(projection.pre.size, 1)
        row = synapses / (high - low + 1)
        arrival = self.cost(request).arrival * (ACROSS_DELAYS + OF_ROW / max(row, 1.0))
        if synapses >= FEWEST and arrival > SLOW:
            out = "fewer different delays, more synapses per neuron, or the interval variant"
            return f"delays of {low} to {high} steps leave rows of about {row:.0f} synapses", out
        return None


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


def n_exponentials(population: Population) -> int:
    """Return the cost, in exponentials, of the functions in a step of neurons given by equations."""
    definition = getattr(population.params, "definition", None)
    if definition is None:
        return 0
    equations = definition.equations
    moving = {*definition.moving_names, *equations.terms, "x"}
    loops = [Repeat.of(tree) for tree in equations.terms.values() if tree[0] == "repeat"]
    terms = [tree for tree in equations.terms.values() if tree[0] != "repeat"]
    states = (*terms, *equations.step.values(), *equations.reset.values())
    within = sum(
        loop.times
        * _exponentials_of((*loop.terms.values(), *loop.update.values()), {*moving, *loop.start, *loop.terms})
        for loop in loops
    )
    return within + _exponentials_of((*states, equations.spike, equations.surrogate), moving)


def _exponentials_of(trees: Iterable[Tree], moving: set[str]) -> int:
    """Return the cost of functions of what varies, each counted once."""
    nodes = {node for tree in trees for node in walk(tree) if names_of(node) & moving}
    return sum(EXPONENTIALS.get(node[0], 0) for node in nodes)
