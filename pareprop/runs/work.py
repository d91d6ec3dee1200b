"""Expected numbers of operations, neurons and synapses of one rank, counted from the description of a network.

The unit costs of `units` multiply these counts.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .. import elementary
from ..engines import rules
from ..kernels import layout
from ..machine import CACHE
from ..network import learning
from ..network.connectivity import RULES, Population, Projection
from ..network.cuts import cut, round_steps
from ..network.drawing import list_delays_elsewhere
from ..network.local import ALMOST_ALL, cost_of, program_of
from ..network.model import Model
from ..network.sharing import count_sharing
from ..network.synapse_table import count_bytes, pays_index, spread_steps
from ..neurons.cost import Cost
from ..parallel.exchange import WORTHWHILE
from ..parallel.messages import count_words
from ..parallel.partition import overlap
from ..parallel.tree import WORDS_OF_SUM
from ..plans.plan import FOLD_STEPS, NetworkPlan, TablePlan

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
    map_bytes : float
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
    map_bytes: float = 0.0
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
    """Return the expected counts of a rank, see `Counting`."""
    return Counting(model, n_steps, firing, ranks, nodes, cuts).of_rank(rank)


class Counting:
    """Counts the work of each of some ranks on some nodes for samples of `n_steps` steps.

    `cuts` may give what `cut` returns for these ranks and nodes. Projections of which a rank has no synapse cost it no
    time here: a network may have thousands of them.
    """

    def __init__(
        self,
        model: Model,
        n_steps: int,
        firing: Firing,
        ranks: int,
        nodes: int = 1,
        cuts: np.ndarray | None = None,
    ) -> None:
        self.model, self.n_steps, self.firing, self.ranks, self.nodes = model, n_steps, firing, ranks, nodes
        self.starts = first_ranks(ranks, nodes)
        self.cuts = cut(model, ranks, self.starts) if cuts is None else cuts
        self.plan = NetworkPlan(model) if model.eprop.is_online else None
        self._projections = Projections(model)
        self._of_rules = _of_rules(model, self.plan, n_steps)
        self._of_node = functools.cache(self._listen)
        within = between = n_steps
        if count_sharing(model, ranks) == ranks:
            within, between = round_steps(model, n_steps, self.starts, self.cuts)
        self._exchanges, self._rounds = math.ceil(n_steps / between), math.ceil(n_steps / within)

    def _listen(self, node: int) -> tuple[float, float]:
        """Return the share of the neurons that a node listens to, and of how many other nodes it hears neurons."""
        first = self.cuts[self.starts]
        heard = self._projections.sources(int(first[node]), int(first[node + 1]))
        neighbours = count_neighbours(self.model, heard, first, node) if self.nodes > 1 else 0.0
        return sum(heard.values()) / self.model.size("recurrent"), neighbours

    def of_rank(self, rank: int) -> Work:
        """Return the expected counts of a rank."""
        model, n_steps, firing, plan = self.model, self.n_steps, self.firing, self.plan
        own = int(self.cuts[rank]), int(self.cuts[rank + 1])
        share, neighbours = self._of_node(rank * self.nodes // self.ranks)
        targeted = self.nodes > 1 and share <= WORTHWHILE
        heard = self._projections.sources(*own)
        n_heard, n = sum(heard.values()), model.size("recurrent")
        parts, added = self._projections.elsewhere(own), 0.0
        for kind, item in self._projections.onto(own):
            counts = _counts(model, item, firing, own, heard)
            parts[kind] += counts
            if plan and item.post.role == "recurrent" and item.pre.role != "readout":
                added += counts.synapses * plan.plans[item.name].added_arrivals(firing.of(item.pre), n_steps)
            elif item.post.role == "recurrent" and spread_steps(model, item):
                added += SPREAD_EVENT * counts.events
        if n_heard < n:
            parts["incoming"] += TableCounts(words=count_words(n, n_heard), ids=n_heard)
        n_readouts, neurons = model.size("readout"), own[1] - own[0]
        lag = plan.m - 1 if plan else 0
        incoming = parts["incoming"]
        events, visits = incoming.events, incoming.visits
        real_bytes = float(np.dtype(model.kernels.real).itemsize)
        words = n_steps * (1 + WORDS_OF_SUM * n_readouts) + neurons * self.ranks / self.nodes * firing.neurons
        return Work(
            ranks=self.ranks,
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
            rounds=self._rounds,
            exchanges=self._exchanges,
            words=layout.HEADER + words / self._exchanges,
            lag_rows=neurons * lag,
            lagged_events=events * (lag > 0),
            lagged_visits=visits * (lag > 0),
            heard=n_heard,
            nodes=self.nodes,
            targeted=targeted,
            neighbours=neighbours,
            numbered=n_heard < n,
            node_spikes=n * firing.neurons * (share if targeted else 1.0),
            heard_spikes=n_heard * firing.neurons,
            searches=incoming.searches,
            table_bytes={name: part.nbytes(model.kernels.real) for name, part in parts.items()},
            ring_bytes=neurons * self._projections.ring_numbers * real_bytes,
            real_bytes=real_bytes,
            **self._learning(neurons, parts),
            added_events=added,
            touched_bytes=incoming.synapses * model.eprop.event_bytes,
            history_bytes=0.0 if plan else neurons * n_steps * real_bytes,
            **self._given(own),
            rule_bytes=self._of_rules[0] + neurons * self._of_rules[1],
        ).with_cache(CACHE)

    @functools.cached_property
    def _models(self) -> list[tuple[Population, Cost | None, int]]:
        """Populations, what their neurons cost if equations give their model, and the numbers that these keep."""
        found, kept_by = [], learning.list_kept(self.model)
        for population in self.model.of_role("recurrent"):
            cost, kept = cost_of(self.model, population), 0
            if cost is not None:
                beside = 0 if self.plan else len(population.ports) - 1  # surrogate gradients of further ports
                kept = program_of(population, kept_by[population.name]).n_kept + beside
            elif of_rules := kept_by[population.name]:
                kept = program_of(population, of_rules).n_kept
            found.append((population, cost, kept))
        return found

    def _given(self, own: tuple[int, int]) -> dict[str, float]:
        """Return the counts of neurons whose model is given by equations; one process compiles and measures these."""
        added = dict.fromkeys(("given_steps", "given_update", "given_sweep", "given_bytes"), 0.0)
        for population, cost, _ in self._models:
            low, high = _local(self.model, population, own)
            if cost is not None and low < high:
                steps = (high - low) * self.n_steps
                added["given_steps"] += steps
                added["given_update"] += steps * cost.step
                added["given_sweep"] += steps * cost.sweep * (self.plan is None)
        kept = max([0, *(kept for *_, kept in self._models)])  # all neurons of a rank have as many columns
        rows = self._plans["incoming"].kept_steps() + self.plan.m + 3 if self.plan else self.n_steps
        added["given_bytes"] = float(kept * (own[1] - own[0]) * rows * np.dtype(self.model.kernels.real).itemsize)
        return added

    @functools.cached_property
    def _plans(self) -> dict[str, TablePlan]:
        """Plans of the tables of the spike variant."""
        assert self.plan is not None  # the interval variant has none
        spiking = [item for item in self.model.projections if item.pre.role in SPIKING]
        roles = ("incoming", "recurrent"), ("outgoing", "readout")
        return {
            kind: self.plan.of_projections([item for item in spiking if item.post.role == role]) for kind, role in roles
        }

    @functools.cached_property
    def _is_direct(self) -> bool:
        """Whether gradients change weights of the interval variant at once, so that no sums of them are kept."""
        items = self.model.projections
        optimizers = [self.model.optimizer, *(item.optimizer for item in items if item.optimizer)]
        stay = all(item.learn_delay is None for item in items) and self.model.optimizer.max_norm is None
        return stay and all(item.accumulates and item.batch_size == 1 for item in optimizers)

    def _learning(self, neurons: int, parts: Mapping[str, TableCounts]) -> dict[str, float]:
        """Return the bytes that learning takes beside weights and histories of plain neurons, see `engines`."""
        model, plan, real = self.model, self.plan, np.dtype(self.model.kernels.real).itemsize
        if not plan:
            sums = not self._is_direct
            numbers = sum(part.synapses * sums + 2.0 * part.adaptive + part.of_delays for part in parts.values())
            return {"learning_bytes": real * numbers + _parameters(model, neurons)}
        learning, books, composed = 0.0, 0.0, 0.0
        batched = model.optimizer.batch_size > 1  # then sums of gradients, and moments, lie apart from engines' arrays
        for kind, found in self._plans.items():
            part = parts[kind]
            learning += part.synapses * len(found.numbers) + batched * (part.synapses + 2.0 * part.adaptive)
            maps, counted = found.uses("scan"), batched or part.adaptive > 0
            of_factors = (plan.m + 2) * (part.weighed > 0)  # of the spikes that learning has not taken up
            books += (layout.BOOK_COLUMNS + 1 + maps + counted + of_factors) * part.rows * found.learns
            books += part.senders + counted * part.blocks * 4 * 2 * FOLD_STEPS  # numbers of steps of the optimizer
            if kind == "incoming":
                beside, steps = model.is_rewarded or plan.sets == 2, found.kept_steps()
                composed = (2 * (steps - 1) + steps * beside) * real / 8 - PREFIX_NUMBERS
                if found.uses("prefix"):  # as many ends of blocks more as a longer cutoff asks for
                    ends = (found.longest_cutoff() + plan.m) // plan.block
                    composed += PREFIX_NUMBERS + 4 * ends * plan.sets * (not model.is_rewarded)
                if maps:
                    composed += layout.MAPS * found.map_numbers(beside)
        return {"learning_bytes": learning * real, "book_bytes": 8.0 * books, "map_bytes": 8.0 * composed * neurons}


class Projections:
    """The projections of a model by what a rank or node has of them.

    Attributes
    ----------
    ring_numbers : int
        Numbers per neuron in the ring buffer of later arrivals.
    """

    def __init__(self, model: Model) -> None:
        self._model, self._groups = model, model.of_role("recurrent")
        self._ends = np.cumsum([0, *(group.size for group in self._groups)])
        self._onto: list[list[tuple[str, Projection]]] = [[] for _ in self._groups]
        self._onto_readouts: list[tuple[str, Projection]] = []
        self._counts = {kind: np.zeros((len(self._groups), 2), int) for kind in ("incoming", "outgoing", "feedback")}
        places = {group.name: k for k, group in enumerate(self._groups)}
        for item in model.projections:
            if item.post.role == "readout" and item.pre.role != "current":
                self._onto_readouts.append(("outgoing", item))
            elif item.pre.role != "current":
                kind = "feedback" if item.pre.role == "readout" else "incoming"
                self._onto[places[item.post.name]].append((kind, item))
                counts = len(list_delays_elsewhere(item)), item.transmission is not None
                self._counts[kind][places[item.post.name]] += counts
        steps = max((spread_steps(model, item) for item in model.projections), default=0)
        self.ring_numbers = steps * max((len(group.ports) for group in self._groups), default=0)

    def _here(self, first: int, last: int) -> range:
        """Return the populations that have some of the neurons [first, last)."""
        low, high = np.searchsorted(self._ends, [first, last - 1], side="right").tolist()
        return range(low - 1, high if first < last else low - 1)

    def onto(self, own: tuple[int, int]) -> list[tuple[str, Projection]]:
        """Return kind and projection of those that bring synapses to a rank with neurons `own`."""
        return [*(pair for k in self._here(*own) for pair in self._onto[k]), *self._onto_readouts]

    def elsewhere(self, own: tuple[int, int]) -> dict[str, TableCounts]:
        """Return the counts, by kind, of projections without a target among neurons `own`: blocks without a row."""
        here, found = self._here(*own), {}
        for kind, counts in self._counts.items():
            blocks, weighed = (counts.sum(axis=0) - counts[here.start : here.stop].sum(axis=0)).tolist()
            found[kind] = TableCounts(blocks=blocks, weighed=weighed)
        return found

    def sources(self, first: int, last: int) -> dict[str, float]:
        """Return how many neurons of each population a rank or node with neurons [first, last) listens to, as expected.

        See `LocalNetwork.sources`.
        """
        silent = {group.name: 1.0 for group in self._groups}
        for k in self._here(first, last):
            for _, item in self._onto[k]:
                if item.pre.role == "recurrent":
                    silent[item.pre.name] *= _without_targets(self._model, item, (first, last))
        expected = {}
        for group, offset in zip(self._groups, self._ends.tolist(), strict=False):
            low, high = overlap(first, last, offset, offset + group.size)
            own = high - low
            expected[group.name] = own + (group.size - own) * (1.0 - silent[group.name])
        if sum(expected.values()) > ALMOST_ALL * self._model.size("recurrent"):
            return {group.name: float(group.size) for group in self._groups}
        return expected


def first_ranks(ranks: int, nodes: int) -> np.ndarray:
    """Return the first rank of each of some nodes, and the number of ranks: int64 (n_nodes + 1,)."""
    return -(-np.arange(nodes + 1) * ranks // nodes)


def _of_rules(model: Model, plan: NetworkPlan | None, n_steps: int) -> tuple[float, float]:
    """Return the bytes that learning rules, and e-prop with options, keep on a rank, and for each neuron more.

    One process compiles the rules.
    """
    coefficients = 0
    if plan is None and (kinds := len(learning.list_eprop(model))):
        ports = max(len(group.ports) for group in model.of_role("recurrent"))
        coefficients = kinds * ports * n_steps * np.dtype(model.kernels.real).itemsize
    none, one = (rules.count_bytes(model, plan, n_steps, n) for n in (0, 1))
    return none, coefficients + one - none


def sources(model: Model, first: int, last: int) -> dict[str, float]:
    """Return how many neurons of each population a rank or node listens to, see `Projections.sources`."""
    return Projections(model).sources(first, last)


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
        return TableCounts(*map(operator.add, vars(self).values(), vars(other).values()))

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
