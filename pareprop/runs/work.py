"""Expected numbers of operations, neurons and synapses of one rank, counted from the description of a network.

The unit costs of `units` multiply these counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

import numpy as np

from .. import elementary
from ..engines import rules
from ..kernels import layout
from ..machine import CACHE
from ..network import learning
from ..network.connectivity import RULES, Population, Projection
from ..network.cuts import cut, round_steps
from ..network.local import ALMOST_ALL, cost_of, program_of
from ..network.model import Model
from ..network.sharing import count_sharing
from ..network.synapse_table import count_bytes, pays_index, spread_steps
from ..parallel.exchange import WORTHWHILE
from ..parallel.messages import count_words
from ..parallel.partition import overlap
from ..parallel.tree import WORDS_OF_SUM
from ..plans.plan import FOLD_STEPS, NetworkPlan

SPIKING = "input", "recurrent"
NEAR = 2**20  # about this many bytes of neurons stay in a core's second cache from step to step
BYTES_PER_NEURON = 136  # state and parameters that a step reads or writes, in double precision
# Costs if delays differ in the interval variant: of each row of a source beyond the first, in visits; added to each
# event, in events, as sums of several steps are kept
ROW_OF_DELAY, SPREAD_EVENT = 0.08, 0.3
PREFIX_NUMBERS = 22  # numbers per neuron for prefix sums and their blocks in the networks that unit costs are fitted to


@dataclass(frozen=True)
class Firing:
    """Spikes per cell in one sample.

    Attributes
    ----------
    inputs, neurons : float
        Mean number of spikes of an input or neuron.
    """

    inputs: float
    neurons: float

    def of(self, population: Population) -> float:
        """Return the spikes of a source of a population; readouts and currents have none."""
        return {"input": self.inputs, "recurrent": self.neurons}.get(population.role, 0.0)

    @classmethod
    def at(cls, input_probability: float, rate_hz: float, n_steps: int, dt_ms: float) -> Firing:
        """Return the spikes per sample for a probability per step of the inputs and a firing rate of the neurons."""
        return cls(input_probability * n_steps, rate_hz * n_steps * dt_ms / 1000.0)


@dataclass(frozen=True)
class Work:
    """Counts of one rank; those that grow with time are per sample.

    Attributes
    ----------
    ranks : int
        Number of ranks of the run.
    neurons, readouts : float
        Neurons of this rank, and all readouts, which every rank advances.
    lag_rows : float
        Neurons times the steps, beyond one, by which learning signals lag behind (spike variant); their histories are
        longer by as many steps.
    lagged_events, lagged_visits : float
        Events and visits if learning signals lag, for which synapses are then visited twice; else 0.
    cold_events, cold_visits : float
        Events and visits whose synapses come from memory because the table is larger than the cache, see `with_cache`.
    added_events : float
        Time that learning takes beyond the arrivals themselves, in events: to compose maps of steps or to follow
        synapses from step to step (spike variant), or as delays differ (interval variant).
    synapses : float
        Synapses from inputs and neurons onto neurons.
    readout_synapses : float
        Synapses onto readouts.
    feedback_synapses : float
        Synapses from readouts onto neurons.
    rows : float
        Rows of all tables: pairs of a source that the rank listens to and a delay; empty ones are left out if most are.
    events : float
        Arrivals at synapses onto neurons.
    visits : float
        Arrivals at rows of such synapses.
    heard : float
        Neurons that the rank listens to.
    readout_events : float
        Arrivals at synapses onto readouts.
    steps : float
        Steps of a sample.
    neuron_steps : float
        Steps times neurons.
    cold_neuron_steps : float
        Neuron steps whose neurons do not stay in the second cache.
    streamed_steps : float
        Neuron steps whose history goes to memory because that of a sample exceeds the cache (interval variant).
    lagged_neuron_steps : float
        All neuron steps if learning signals lag, for which neurons then keep more sums; else 0.
    signal_steps : float
        Steps times synapses of the feedback.
    spikes : float
        Spikes of the neurons of all ranks.
    input_spikes : float
        Spikes of the inputs.
    rounds : float
        How often the ranks of a node exchange spikes.
    exchanges : float
        How often nodes exchange messages, if there are several.
    words : float
        Mean number of 32-bit words that a node sends in an exchange.
    nodes : int
        Number of nodes of the run.
    node_spikes : float
        Spikes in the log of this rank's node: all, or those that its ranks listen to.
    targeted : bool
        Whether nodes send each other only the spikes that the receiver listens to.
    neighbours : float
        Other nodes of which this rank's node hears at least one neuron.
    numbered : bool
        Whether the rank listens to some neurons only, and looks up their numbers.
    given_steps : float
        Steps times neurons whose model is given by equations.
    given_update, given_sweep : float
        Seconds of these steps in a sample, forward and back, as measured on this machine.
    given_bytes : float
        Bytes of what models keep of a sample beside the surrogate gradient.
    rule_bytes : float
        Bytes of what learning rules, and e-prop with options, keep of targets and of their steps.
    heard_spikes : float
        Spikes of the neurons that the rank listens to.
    searches : float
        Pairs of a spike and a delay for which a row is searched.
    ring_bytes : float
        Bytes of the ring buffer of later arrivals, if delays differ.
    table_bytes : dict of str to float
        Bytes of the tables `incoming`, `outgoing`, `feedback`.
    real_bytes : float
        Bytes of a number in the precision of the model.
    learning_bytes : float
        Bytes that synapses need to learn, beside their weights.
    book_bytes : float
        Bytes that rows keep of spikes that arrived (spike variant).
    stretch_bytes : float
        Bytes by which histories of neurons are longer if some synapses do not learn by prefix sums (spike variant).
    touched_bytes, history_bytes : float
        Bytes that arrivals at all synapses touch, and that a sample writes of the history of the neurons.
    """

    ranks: int
    neurons: float
    readouts: float
    synapses: float
    readout_synapses: float
    feedback_synapses: float
    rows: float
    events: float
    visits: float
    readout_events: float
    steps: float
    neuron_steps: float
    cold_neuron_steps: float
    lagged_neuron_steps: float
    signal_steps: float
    spikes: float
    input_spikes: float
    rounds: float
    exchanges: float
    words: float
    lag_rows: float
    lagged_events: float
    lagged_visits: float
    heard: float
    nodes: int
    node_spikes: float
    targeted: bool
    numbered: bool
    heard_spikes: float
    searches: float
    table_bytes: dict[str, float]
    given_steps: float = 0.0
    given_update: float = 0.0
    given_sweep: float = 0.0
    given_bytes: float = 0.0
    rule_bytes: float = 0.0
    ring_bytes: float = 0.0
    real_bytes: float = 8.0
    learning_bytes: float = 0.0
    book_bytes: float = 0.0
    stretch_bytes: float = 0.0
    touched_bytes: float = 0.0
    history_bytes: float = 0.0
    added_events: float = 0.0
    cold_events: float = 0.0
    cold_visits: float = 0.0
    streamed_steps: float = 0.0
    neighbours: float = math.inf

    def with_cache(self, nbytes: float) -> Work:
        """Return the counts for `nbytes` of cache per core."""
        cold, streamed = (1.0 - min(nbytes / max(n, 1.0), 1.0) for n in (self.touched_bytes, self.history_bytes))
        events, visits, steps = self.events * cold, self.visits * cold, self.neuron_steps * streamed
        return replace(self, cold_events=events, cold_visits=visits, streamed_steps=steps)

    @property
    def node_ranks(self) -> float:
        """Ranks of a node."""
        return self.ranks / self.nodes


def of_rank(
    model: Model, n_steps: int, firing: Firing, ranks: int, rank: int, nodes: int = 1, cuts: np.ndarray | None = None
) -> Work:
    """Return the expected counts of `rank` of `ranks` on some nodes for samples of `n_steps` steps.

    `cuts` may give what `cut` returns for these ranks and nodes.
    """
    starts, node = first_ranks(ranks, nodes), rank * nodes // ranks
    cuts = cut(model, ranks, starts) if cuts is None else cuts
    own, of_node = (
        (int(cuts[low]), int(cuts[high])) for low, high in ((rank, rank + 1), (starts[node], starts[node + 1]))
    )
    of_groups = sources(model, *of_node)
    share = sum(of_groups.values()) / model.size("recurrent")  # that the node listens to
    targeted = nodes > 1 and share <= WORTHWHILE
    heard = sources(model, *own)
    plan = NetworkPlan(model) if model.eprop.is_online else None
    n_heard, n = sum(heard.values()), model.size("recurrent")
    parts, added = {name: TableCounts() for name in ("incoming", "outgoing", "feedback")}, 0.0
    for item in model.projections:
        if item.pre.role != "current":
            kind = "outgoing" if item.post.role == "readout" else "incoming"
            kind = "feedback" if item.pre.role == "readout" else kind
            counts = _counts(model, item, firing, own, heard)
            parts[kind] += counts
            if plan and item.post.role == "recurrent" and item.pre.role != "readout":
                added += counts.synapses * plan.plans[item.name].added_arrivals(firing.of(item.pre), n_steps)
            elif item.post.role == "recurrent" and spread_steps(model, item):
                added += SPREAD_EVENT * counts.events
    if n_heard < n:
        parts["incoming"] += TableCounts(words=count_words(n, n_heard), ids=n_heard)
    n, n_readouts = model.size("recurrent"), model.size("readout")
    n_sharing = count_sharing(model, ranks)
    neurons = own[1] - own[0]
    steps = round_steps(model, n_steps, starts, cuts) if n_sharing == ranks else (n_steps, n_steps)
    rounds, exchanges = (math.ceil(n_steps / longest) for longest in steps)
    lag = plan.m - 1 if plan else 0
    incoming = parts["incoming"]
    events, visits = incoming.events, incoming.visits
    real_bytes = float(np.dtype(model.kernels.real).itemsize)
    return Work(
        ranks=ranks,
        neurons=neurons,
        readouts=n_readouts,
        synapses=incoming.synapses,
        readout_synapses=parts["outgoing"].synapses,
        feedback_synapses=parts["feedback"].synapses,
        rows=sum(part.rows for part in parts.values()),
        events=events,
        visits=visits,
        readout_events=parts["outgoing"].events,
        steps=n_steps,
        neuron_steps=neurons * n_steps,
        cold_neuron_steps=n_steps * max(0.0, neurons - NEAR / BYTES_PER_NEURON),
        lagged_neuron_steps=neurons * n_steps * (lag > 0),
        signal_steps=parts["feedback"].synapses * n_steps,
        spikes=n * firing.neurons,
        input_spikes=model.size("input") * firing.inputs,
        rounds=rounds,
        exchanges=exchanges,
        words=layout.HEADER
        + (n_steps * (1 + WORDS_OF_SUM * n_readouts) + neurons * ranks / nodes * firing.neurons) / exchanges,
        lag_rows=neurons * lag,
        lagged_events=events * (lag > 0),
        lagged_visits=visits * (lag > 0),
        heard=n_heard,
        nodes=nodes,
        targeted=targeted,
        neighbours=count_neighbours(model, of_groups, cuts[starts], node) if nodes > 1 else 0.0,
        numbered=n_heard < n,
        node_spikes=n * firing.neurons * (share if targeted else 1.0),
        heard_spikes=n_heard * firing.neurons,
        searches=incoming.searches,
        table_bytes={name: part.nbytes(model.kernels.real) for name, part in parts.items()},
        ring_bytes=neurons * _ring_numbers(model) * real_bytes,
        real_bytes=real_bytes,
        **_learning(model, plan, neurons, parts),
        added_events=added,
        touched_bytes=incoming.synapses * model.eprop.event_bytes,
        history_bytes=0.0 if model.eprop.is_online else neurons * n_steps * real_bytes,
        **_given(model, plan, n_steps, own),
        rule_bytes=_of_rules(model, plan, n_steps, neurons),
    ).with_cache(CACHE)


def first_ranks(ranks: int, nodes: int) -> np.ndarray:
    """Return the first rank of each of some nodes, and the number of ranks: int64 (n_nodes + 1,)."""
    return -(-np.arange(nodes + 1) * ranks // nodes)


def _given(model: Model, plan: NetworkPlan | None, n_steps: int, own: tuple[int, int]) -> dict[str, float]:
    """Return the counts of neurons whose model is given by equations; one process compiles and measures the models."""
    added = dict.fromkeys(("given_steps", "given_update", "given_sweep", "given_bytes"), 0.0)
    kept = 0
    for population in model.of_role("recurrent"):
        if (cost := cost_of(model, population)) is None:
            if learning.list_kept(model, population):  # for rules
                kept = max(kept, program_of(model, population).n_kept)
            continue
        low, high = _local(model, population, own)
        steps = (high - low) * n_steps
        added["given_steps"] += steps
        added["given_update"] += steps * cost.step
        added["given_sweep"] += steps * cost.sweep * (plan is None)
        beside = 0 if plan else len(population.ports) - 1  # surrogate gradients of further ports
        kept = max(kept, cost.kept - 1 + beside)  # all neurons of a rank have as many columns
    onto = [item for item in model.projections if item.post.role == "recurrent" and item.pre.role in SPIKING]
    rows = plan.of_projections(onto).kept_steps() + plan.m + 3 if plan else n_steps
    added["given_bytes"] = float(kept * (own[1] - own[0]) * rows * np.dtype(model.kernels.real).itemsize)
    return added


def _of_rules(model: Model, plan: NetworkPlan | None, n_steps: int, neurons: int) -> float:
    """Return the bytes that learning rules, and e-prop with options, keep; one process compiles the rules."""
    if plan is None and (kinds := len(learning.list_eprop(model))):
        ports = max(len(group.ports) for group in model.of_role("recurrent"))
        coefficients = kinds * ports * n_steps * np.dtype(model.kernels.real).itemsize
    else:
        coefficients = 0
    none, one = (rules.count_bytes(model, plan, n_steps, n) for n in (0, 1))
    return none + neurons * (coefficients + one - none)


def _ring_numbers(model: Model) -> int:
    """Return the numbers per neuron in the ring buffer of later arrivals."""
    steps = max((spread_steps(model, item) for item in model.projections), default=0)
    return steps * max((len(group.ports) for group in model.of_role("recurrent")), default=0)


def sources(model: Model, first: int, last: int) -> dict[str, float]:
    """Return how many neurons of each population a rank or node with neurons [first, last) listens to, as expected.

    See `LocalNetwork.sources`.
    """
    groups = model.of_role("recurrent")
    expected = {}
    for group in groups:
        low, high = overlap(first, last, model.offset(group), model.offset(group) + group.size)
        own = high - low
        items = [item for item in model.projections if item.pre == group and item.post.role == "recurrent"]
        silent = math.prod(_without_targets(model, item, (first, last)) for item in items)
        expected[group.name] = own + (group.size - own) * (1.0 - silent)
    if sum(expected.values()) > ALMOST_ALL * model.size("recurrent"):
        return {group.name: float(group.size) for group in groups}
    return expected


def count_neighbours(model: Model, heard: Mapping[str, float], first: np.ndarray, node: int) -> float:
    """Return of how many other nodes a node hears neurons, as expected.

    Parameters
    ----------
    model : Model
        The whole network.
    heard : Mapping
        How many neurons of each population the node hears, see `sources`.
    first : np.ndarray
        int64 (n_nodes + 1,), first neuron of each node, and the number of all.
    node : int
        The node.
    """
    expected = np.zeros(len(first) - 1)
    for group in model.of_role("recurrent"):
        here = np.diff(np.clip(first - model.offset(group), 0, group.size))  # neurons of each node
        foreign = group.size - int(here[node])
        expected += here * (max(heard[group.name] - int(here[node]), 0.0) / max(foreign, 1))
    return float(np.sum(-elementary.expm1(-np.delete(expected, node))))


def _learning(
    model: Model, plan: NetworkPlan | None, neurons: int, parts: Mapping[str, TableCounts]
) -> dict[str, float]:
    """Return the bytes that learning takes beside weights and histories of plain neurons, see `engines`."""
    real = np.dtype(model.kernels.real).itemsize
    if not plan:
        optimizers = [model.optimizer, *(item.optimizer for item in model.projections if item.optimizer)]
        stay = all(item.learn_delay is None for item in model.projections)
        direct = stay and all(item.accumulates and item.batch_size == 1 for item in optimizers)
        direct = direct and model.optimizer.max_norm is None
        numbers = sum(part.synapses * (not direct) + 2.0 * part.adaptive + part.of_delays for part in parts.values())
        return {"learning_bytes": real * numbers + _parameters(model, neurons)}
    learning, books, composed = 0.0, 0.0, 0.0
    batched = model.optimizer.batch_size > 1  # then sums of gradients, and moments, lie apart from the engine's arrays
    for kind, role in (("incoming", "recurrent"), ("outgoing", "readout")):
        items = [item for item in model.projections if item.post.role == role and item.pre.role in SPIKING]
        found, part = plan.of_projections(items), parts[kind]
        learning += part.synapses * len(found.numbers) + batched * (part.synapses + 2.0 * part.adaptive)
        stretches, counted = found.uses("scan"), batched or part.adaptive > 0
        of_factors = (plan.m + 2) * (part.weighed > 0)  # of the spikes that learning has not taken up
        books += (layout.BOOK_COLUMNS + 1 + stretches + counted + of_factors) * part.rows * found.learns + part.senders
        books += counted * part.blocks * 4 * 2 * FOLD_STEPS  # numbers of steps of the optimizer
        if kind == "incoming":
            beside, steps = model.is_rewarded or plan.sets == 2, found.kept_steps()
            composed = (2 * (steps - 1) + steps * beside) * real / 8 - PREFIX_NUMBERS
            if found.uses("prefix"):  # as many ends of blocks more as a longer cutoff asks for
                ends = (found.longest_cutoff() + plan.m) // plan.block
                composed += PREFIX_NUMBERS + 4 * ends * plan.sets * (not model.is_rewarded)
        if kind == "incoming" and stretches:
            composed += layout.STRETCHES * found.map_numbers(beside)
    return {"learning_bytes": learning * real, "book_bytes": 8.0 * books, "stretch_bytes": 8.0 * composed * neurons}


def _parameters(model: Model, neurons: int) -> float:
    """Return the bytes of parameters that learn: values and moments for all neurons of a rank, gradients for those that
    learn.
    """
    found = 0.0
    for population in model.of_role("recurrent"):
        share = neurons * population.size / max(model.size("recurrent"), 1)
        for optimizer in population.learn.values():
            found += (1 if optimizer.shared else neurons) * (1 + len(optimizer.moments)) + share
    return 8.0 * found


def _local(model: Model, group: Population, own: tuple[int, int]) -> tuple[int, int]:
    """Return the range [first, last) of a population's neurons that a rank with neurons `own` has, as ids within it."""
    offset = model.offset(group)
    low, high = overlap(*own, offset, offset + group.size)
    return low - offset, high - offset


def _without_targets(model: Model, item: Projection, own: tuple[int, int]) -> float:
    """Return the probability that a source has no synapse of a projection on a rank."""
    return RULES[item.rule].silent(item, *_local(model, item.post, own))


@dataclass(frozen=True)
class TableCounts:
    """Counts of a table of synapses or of a part of it; events, visits and searches are per sample."""

    synapses: float = 0.0
    rows: float = 0.0
    events: float = 0.0
    visits: float = 0.0
    searches: float = 0.0
    blocks: int = 0
    words: float = 0.0
    ids: float = 0.0
    senders: float = 0.0
    adaptive: float = 0.0
    of_delays: float = 0.0  # numbers that learning of delays needs
    weighed: int = 0  # projections with short-term plasticity

    def __add__(self, other: TableCounts) -> TableCounts:
        return TableCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def nbytes(self, real: type) -> float:
        """Return the bytes of the table."""
        return count_bytes(real, self.synapses, self.rows, self.blocks, self.words, self.ids, self.weighed > 0)


def _counts(
    model: Model, item: Projection, firing: Firing, own: tuple[int, int], heard: Mapping[str, float]
) -> TableCounts:
    """Return the counts of a projection on a rank."""
    shortest, longest = item.delay_range
    n_delays = longest - shortest + 1
    weighed = int(item.transmission is not None)
    adapts = item.plastic and (item.optimizer or model.optimizer).accumulates is False
    if item.post.role == "readout":  # on the ranks of its sources
        low, high = _local(model, item.pre, own)
        synapses = item.post.size * RULES[item.rule].indegree(item) * (high - low) / item.pre.size
        rows = float(n_delays * (high - low))
        events = synapses * firing.neurons
        return TableCounts(
            synapses,
            rows,
            events,
            rows * firing.neurons,
            blocks=n_delays,
            senders=high - low,
            adaptive=synapses * adapts,
            weighed=weighed,
        )
    low, high = _local(model, item.post, own)
    synapses = (high - low) * RULES[item.rule].indegree(item)
    senders = (heard[item.pre.name] if item.pre.role == "recurrent" else item.pre.size) * (synapses > 0)
    spikes = firing.of(item.pre)
    rows, searches, words = senders * n_delays, 0.0, 0.0
    if pays_index(synapses, rows) and not item.moves and item.post.role == "recurrent":
        searches, words = rows * spikes, rows // 64 + 1
        rows *= 1.0 - math.exp(-synapses / rows)
    # spread: all rows of a source at once, each of which takes a part of a visit
    walks = senders + ROW_OF_DELAY * (rows - senders) if spread_steps(model, item) else rows
    listed = item.pre.role == "recurrent" and sum(heard.values()) < model.size("recurrent")
    ids = senders if listed and model.offset(item.pre) else 0.0  # a list of its own, if ids count from another number
    events, visits = synapses * spikes, walks * spikes
    of_delays = synapses * (2 + len(item.learn_delay.moments)) if item.learn_delay is not None else 0.0
    return TableCounts(
        synapses, rows, events, visits, searches, n_delays, words, ids, senders, synapses * adapts, of_delays, weighed
    )
