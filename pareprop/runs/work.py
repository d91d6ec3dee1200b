"""Expected numbers of operations, neurons and synapses of one rank, counted from the description of a network.

The unit costs of `units` multiply these counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..engines.spike_rules import block_length, lags
from ..machine import CACHE
from ..network.connectivity import RULES, Population, Projection
from ..network.local import ALMOST_ALL, cost_of
from ..network.model import Model
from ..network.sharing import count_sharing
from ..parallel.exchange import WORTHWHILE
from ..parallel.partition import block, overlap

NEAR = 2**20  # bytes of neurons, about, that stay in a core's second cache from step to step
BYTES_PER_NEURON = 136  # state and parameters that a step reads or writes, in double precision
WORDS_OF_SUM = 4  # of an exact sum in a message


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

    @classmethod
    def at(cls, input_probability: float, rate_hz: float, n_steps: int, dt_ms: float) -> Firing:
        """Return it for a probability per step of the inputs and a firing rate of the neurons."""
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
    cold_events : float
        Events whose synapses come from memory because the table is larger than the cache.
    synapses : float
        Synapses from inputs and neurons onto neurons.
    readout_synapses : float
        Synapses onto readouts.
    feedback_synapses : float
        Synapses from readouts onto neurons.
    rows : float
        Pairs of a source that the rank listens to and a delay, in all tables.
    events : float
        Arrivals at synapses onto neurons.
    visits : float
        Rows of such synapses that spikes open, rows without targets included.
    heard : float
        Neurons that the rank listens to.
    readout_events : float
        Arrivals at synapses onto readouts.
    steps : float
        Steps of a sample.
    neuron_steps : float
        Steps times neurons.
    cold_neuron_steps : float
        Those whose neurons do not stay in the second cache.
    lagged_neuron_steps : float
        All neuron steps if learning signals lag, for which neurons then keep more sums; else 0.
    signal_steps : float
        Steps times synapses of the feedback.
    spikes : float
        Spikes of the neurons of all ranks.
    input_spikes : float
        Spikes of the inputs.
    rounds : float
        Number of exchange rounds.
    words : float
        Mean number of 32-bit words that a node tells to the others in a round.
    nodes : int
        Number of nodes of the run.
    node_spikes : float
        Spikes in the log of this rank's node: all, or those that its ranks listen to.
    targeted : bool
        Whether nodes tell each other only the spikes that are listened to there.
    numbered : bool
        Whether the rank listens to some neurons only, whose numbers it looks up.
    given_steps : float
        Steps times neurons whose model is given by equations.
    given_update, given_sweep : float
        Seconds of these steps in a sample, forward and back, as measured on this machine.
    given_bytes : float
        Bytes of what these models keep of a sample beside the surrogate gradient.
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
    words: float
    lag_rows: float
    lagged_events: float
    lagged_visits: float
    cold_events: float
    heard: float
    nodes: int
    node_spikes: float
    targeted: bool
    numbered: bool
    given_steps: float = 0.0
    given_update: float = 0.0
    given_sweep: float = 0.0
    given_bytes: float = 0.0

    @property
    def node_ranks(self) -> float:
        """Ranks of a node."""
        return self.ranks / self.nodes


def of_rank(model: Model, n_steps: int, firing: Firing, ranks: int, rank: int, nodes: int = 1) -> Work:
    """Return the expected counts of `rank` of `ranks` on some nodes for samples of `n_steps` steps."""
    node = rank * nodes // ranks
    share = sum(sources(model, nodes, node).values()) / model.size("recurrent")  # that the node listens to
    targeted = nodes > 1 and share <= WORTHWHILE
    heard = sources(model, ranks, rank)
    nothing: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    parts = {"neurons": nothing, "readouts": nothing, "feedback": nothing}
    for item in model.projections:
        if item.pre.role != "current":
            kind = "readouts" if item.post.role == "readout" else "neurons"
            kind = "feedback" if item.pre.role == "readout" else kind
            counts = _counts(model, item, firing, ranks, rank, heard)
            a, b, c, d = map(sum, zip(parts[kind], counts, strict=True))
            parts[kind] = (a, b, c, d)
    n, n_readouts = model.size("recurrent"), model.size("readout")
    n_sharing = count_sharing(model, ranks)
    first, last = block(n, n_sharing, rank)
    own = last - first
    longest = round_steps(model, n_steps) if n_sharing == ranks else n_steps
    rounds = math.ceil(n_steps / longest)
    lag = lags(model).m - 1 if model.eprop.is_online else 0
    events, visits = parts["neurons"][2:]
    table_bytes = parts["neurons"][0] * model.eprop.event_bytes
    return Work(
        ranks=ranks, neurons=own, readouts=n_readouts, synapses=parts["neurons"][0],
        readout_synapses=parts["readouts"][0], feedback_synapses=parts["feedback"][0],
        rows=sum(part[1] for part in parts.values()), events=events, visits=visits,
        readout_events=parts["readouts"][2], steps=n_steps, neuron_steps=own * n_steps,
        cold_neuron_steps=n_steps * max(0.0, own - NEAR / BYTES_PER_NEURON),
        lagged_neuron_steps=own * n_steps * (lag > 0),
        signal_steps=parts["feedback"][0] * n_steps, spikes=n * firing.neurons,
        input_spikes=model.size("input") * firing.inputs, rounds=rounds,
        words=2 + (n_steps * (1 + WORDS_OF_SUM * n_readouts) + own * ranks / nodes * firing.neurons) / rounds,
        lag_rows=own * lag, lagged_events=events * (lag > 0), lagged_visits=visits * (lag > 0),
        cold_events=events * max(0.0, 1.0 - CACHE / max(table_bytes, 1.0)),
        heard=sum(heard.values()), nodes=nodes, targeted=targeted, numbered=sum(heard.values()) < n,
        node_spikes=n * firing.neurons * (share if targeted else 1.0), **_given(model, n_steps, ranks, rank),
    )  # fmt: skip


def _given(model: Model, n_steps: int, ranks: int, rank: int) -> dict[str, float]:
    """Return what neurons add whose model is given by equations; one process compiles and measures the models."""
    added = dict.fromkeys(("given_steps", "given_update", "given_sweep", "given_bytes"), 0.0)
    kept, online = 0, model.eprop.is_online
    for population in model.of_role("recurrent"):
        if (cost := cost_of(model, population)) is None:
            continue
        low, high = _local(model, population, ranks, rank)
        steps = (high - low) * n_steps
        added["given_steps"] += steps
        added["given_update"] += steps * cost.step
        added["given_sweep"] += steps * cost.sweep * (not online)
        kept = max(kept, cost.kept - 1)  # all neurons of a rank have as many columns
    first, last = block(model.size("recurrent"), count_sharing(model, ranks), rank)
    rows = block_length(model) + lags(model).m if online else n_steps
    added["given_bytes"] = float(kept * (last - first) * rows * np.dtype(model.kernels.real).itemsize)
    return added


def round_steps(model: Model, n_steps: int) -> int:
    """Return the steps of a round: the min-delay of the projections whose spikes or signals travel between ranks."""
    return min(model.min_delay(*model.eprop.engine.exchanging) or n_steps, n_steps)


def sources(model: Model, ranks: int, rank: int) -> dict[str, float]:
    """Return the expected number of neurons of each population that a rank listens to; see `LocalNetwork.sources`."""
    first, last = block(model.size("recurrent"), count_sharing(model, ranks), rank)
    groups = model.of_role("recurrent")
    expected = {}
    for group in groups:
        low, high = overlap(first, last, model.offset(group), model.offset(group) + group.size)
        own = high - low
        items = [item for item in model.projections if item.pre == group and item.post.role == "recurrent"]
        silent = math.prod(_without_targets(model, item, ranks, rank) for item in items)
        expected[group.name] = own + (group.size - own) * (1.0 - silent)
    if sum(expected.values()) > ALMOST_ALL * model.size("recurrent"):
        return {group.name: float(group.size) for group in groups}
    return expected


def _local(model: Model, post: Population, ranks: int, rank: int) -> tuple[int, int]:
    """Return the half-open range of targets on a rank, as ids within the population."""
    offset = model.offset(post)
    size = count_sharing(model, ranks) if post.role == "recurrent" else ranks
    low, high = overlap(*block(model.size(post.role), size, rank), offset, offset + post.size)
    return low - offset, high - offset


def _without_targets(model: Model, item: Projection, ranks: int, rank: int) -> float:
    """Return the probability that a source has no synapse of a projection on a rank."""
    low, high = _local(model, item.post, ranks, rank)
    return RULES[item.rule].silent(item, low, high)


def _counts(
    model: Model, item: Projection, firing: Firing, ranks: int, rank: int, heard: Mapping[str, float]
) -> tuple[float, ...]:
    """Return synapses, rows, arrivals and visited rows of a projection on a rank."""
    if item.post.role == "readout":  # on the ranks of its sources
        low, high = _local(model, item.pre, ranks, rank)
        return _counts_by_source(item, high - low, firing)
    low, high = _local(model, item.post, ranks, rank)
    synapses = (high - low) * RULES[item.rule].indegree(item)
    shortest, longest = item.delay_range
    senders = heard[item.pre.name] * (high > low) if item.pre.role == "recurrent" else item.pre.size
    rows = senders * (longest - shortest + 1)
    spikes = {"input": firing.inputs, "recurrent": firing.neurons}.get(item.pre.role, 0.0)
    return synapses, rows, synapses * spikes, rows * spikes


def _counts_by_source(item: Projection, n_sources: int, firing: Firing) -> tuple[float, ...]:
    """Return the same as `_counts` for the synapses of some sources onto all targets."""
    shortest, longest = item.delay_range
    synapses = item.post.size * RULES[item.rule].indegree(item) * n_sources / item.pre.size
    rows = n_sources * (longest - shortest + 1)
    return synapses, rows, synapses * firing.neurons, rows * firing.neurons
