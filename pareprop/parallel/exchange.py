"""Connect ranks so that they can exchange spikes, and sums of arrivals at the readouts, in each round.

`Exchange` serves one process, `Ranks` an MPI communicator; the loop sees no other difference. Ranks of a node write
their spikes into one shared log; the leaders of several nodes send `messages`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import InputError
from ..kernels import rounds as kernel
from ..timers import Timers
from . import tree
from .channel import Channel, ChannelSizes, SpikeChoice, choose_listed, choose_within, open_single_process
from .collectives import any_bits, raise_together, sum_over_ranks
from .messages import (
    AllgatherSender,
    NeighbourSender,
    NodeBuffers,
    Sources,
    count_parts,
    divide_evenly,
    estimate_message_words,
    find_share,
)
from .mpi import Comm
from .node import Nodes, find_nodes, is_crowded, make_rank_lost
from .replicas import Replicas
from .shared_memory import Layout, SharedMemory, Words, require_shared
from .spike_log import SegmentedLog, SpikeLog
from .subscriptions import Subscriptions

T = TypeVar("T")

MAX_TARGETED_FRACTION = 0.75  # targeted sending pays if nodes need the spikes of a smaller fraction of the neurons
SENDING_MODES = ("counted", "everything", "targeted")


class Exchange:
    """Interface of the simulation to other ranks; this base class serves one process.

    `replicas` are the groups of ranks that include these ranks, None for one group. `comm` is None for one process.
    `sending` is one word for the mode of sending spikes. `node_starts` is the first rank of each node, and the number
    of ranks, int64 (n_nodes + 1,); None if nodes do not matter.
    """

    rank, size = 0, 1
    comm: Comm = None
    sending, is_node_leader = "", True
    node_starts: np.ndarray | None = None

    def __init__(self, replicas: Replicas | None = None) -> None:
        self.replicas = replicas or Replicas()

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return 0

    @property
    def received_bytes(self) -> int:
        """Bytes that this rank receives from other nodes in a round."""
        return 0

    def broadcast_in_node(self, value: T | None) -> T:
        """Collective: return the value of the first rank of the node, on all of its ranks."""
        return cast(T, value)

    def require_memory(self, terms: ChannelSizes) -> None:
        """Collective: raise `InputError` if there is too little shared memory for a network."""

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate logs and signals, and connect the ranks.

        `sources` are the neurons whose spikes this rank needs, None for all. `InputError` on all ranks if there is too
        little shared memory.
        """
        return open_single_process(terms, terms.n_neurons)

    def update_subscriptions(self, list_sources: Callable[[], np.ndarray], changed: bool) -> None:
        """Collective: send other nodes the sources of this rank again, if synapses moved on any rank.

        `list_sources` returns int64 (n_sources,) ascending, the neurons with targets on this rank, and its own;
        `changed` says whether synapses of this rank moved.
        """

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: return the log of `n_steps` steps that `Channel.all_spikes_on_root` returned on rank 0."""
        return log


Alone = Exchange  # where one process is meant


def add_times(meeting: kernel.Meeting, timers: Timers) -> None:
    """Add the seconds of a meeting to the timers, and reset them.

    `wait` until the others arrived, `communicate` for messages between nodes, `pack` to pack and unpack these,
    `look_up` to choose the spikes that this rank needs.
    """
    timers.add_seconds("wait", meeting.waited)
    timers.add_seconds("communicate", meeting.transferred)
    timers.add_seconds("pack", meeting.packed)
    timers.add_seconds("look_up", meeting.looked_up)
    meeting.waited = meeting.transferred = meeting.packed = meeting.looked_up = 0.0


class Ranks(Exchange):
    """The ranks of an MPI communicator, which are numbered node by node.

    `sending_mode` between nodes is "everything" to all, "targeted" to nodes with targets, or "counted": targeted if
    nodes receive a part of the neurons only. `sender` sends this rank's part of the messages of its node; if all nodes
    get one message, the leader sends it. It is None for ranks without a part, and with one node.
    """

    def __init__(self, comm: Comm, sending_mode: str = "counted", replicas: Replicas | None = None) -> None:
        super().__init__(replicas)
        self.comm, self.sending_mode = comm, sending_mode
        self.rank, self.size = comm.rank, comm.size
        self.nodes: Nodes = find_nodes(comm)
        self.leads = bool(self.nodes.local.rank == 0)
        self.node_starts = self.nodes.starts if self.nodes.count > 1 else None
        self.sender: AllgatherSender | NeighbourSender | None = None
        self.sending = "shared"
        self._edges: tuple[list[int], list[int]] | None = None

    def _make_layout(
        self, terms: ChannelSizes, starts: list[np.ndarray], subscriptions: Subscriptions | None = None
    ) -> Layout:
        """Return the layout with one log for each rank of this node and each part of others, in ascending ids.

        `starts` has the first neuron of each part of the messages of each node, and the end. With `subscriptions`,
        logs of other nodes have room for the spikes of subscribed neurons alone.
        """
        first, nodes = terms.list_first_neurons(self.size), self.nodes
        low, high = nodes.starts[nodes.index : nodes.index + 2]
        neurons = [np.diff(part) for part in starts]
        if subscriptions is not None:
            parts = [[(r, *pair) for pair in itertools.pairwise(part.tolist())] for r, part in enumerate(starts)]
            neurons = [np.array([subscriptions.count_incoming(*pair) for pair in part], np.int64) for part in parts]
        neurons[nodes.index] = np.diff(first[low : high + 1])
        words = Words(), Words()
        if nodes.count > 1:
            sizes = np.diff(first[nodes.starts]), max(map(len, starts)), terms.summed_steps, terms.n_readouts
            usual, most = (
                estimate_message_words(*sizes, spikes) for spikes in (terms.expected, float(terms.summed_steps))
            )
            words = Words(usual[0], most[0]), Words(usual[1], most[1])
        shape = terms.length, terms.summed_steps, terms.n_readouts
        return Layout(nodes.local.size, np.concatenate(neurons), *shape, *words)

    def _list_part_starts(self, terms: ChannelSizes, targets: float) -> list[np.ndarray]:
        """Return the first neuron of each part of the messages of each node, and the end; see `count_parts`."""
        first, bounds = terms.list_first_neurons(self.size), self.nodes.starts
        parts = count_parts(self.nodes, targets)
        return [
            first[low + divide_evenly(high - low, n)]
            for low, high, n in zip(bounds[:-1], bounds[1:], parts, strict=True)
        ]

    def require_memory(self, terms: ChannelSizes) -> None:
        """Collective: raise `InputError` if there is too little shared memory for a network."""
        problem = None
        try:
            if self.nodes.local.rank == 0:
                require_shared(
                    self._make_layout(terms, self._list_part_starts(terms, self.nodes.count - 1)).initial_bytes()
                )
        except InputError as error:
            problem = error
        raise_together(self.comm, problem)

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate shared memory, and connect the ranks."""
        nodes, local, subscriptions = self.nodes, self.nodes.local, None
        first, moves = terms.list_first_neurons(self.size), sources is not None and sources.present is not None
        comes = leaves = [r for r in range(nodes.count) if r != nodes.index]
        apart, targets = False, 0.0
        if nodes.count > 1:
            own = None if sources is None else sources.sent
            if self.sending_mode != "everything":
                subscriptions = Subscriptions(self.comm, nodes, first[nodes.starts], own)
                if (
                    self.sending_mode == "counted"
                    and subscriptions.compute_subscribed_fraction() > MAX_TARGETED_FRACTION
                ):
                    subscriptions = None
            self.sending = "everything" if subscriptions is None else "targeted"
            if subscriptions is not None:
                subscriptions.exchange_between_nodes()
                senders, receivers = subscriptions.list_neighbour_nodes()
                spared = 0.0 if moves else self._average_over_nodes(len(comes) - len(senders))
                n_sums = terms.summed_steps * terms.n_readouts
                apart, targets = tree.is_tree_faster(nodes.count, n_sums, spared), float(len(comes))
                if not moves and (apart or not n_sums):  # else any other node may have something to say
                    comes, leaves, targets = senders, receivers, max(targets - spared, 1.0)
        starts = self._list_part_starts(terms, targets)
        starts = [part if r in {*comes, nodes.index} else part[:1] for r, part in enumerate(starts)]
        fixed = None if moves else subscriptions  # subscriptions stay the same
        memory = SharedMemory(self.comm, nodes, self._make_layout(terms, starts, fixed))
        n_logs = [local.size if r == nodes.index else len(part) - 1 for r, part in enumerate(starts)]
        ends = np.cumsum([0, *n_logs])
        place = int(ends[nodes.index]) + local.rank  # of this rank's log
        foreign = [k for r in range(nodes.count) if r != nodes.index for k in range(ends[r], ends[r + 1])]
        together = subscriptions is not None
        writes = [place, *foreign[find_share(len(foreign), local.size, local.rank, together)]]
        logs, problem = [], None
        try:
            logs = [memory.view_log(k, writes=k in writes) for k in range(int(ends[-1]))]
        except InputError as error:
            problem = error
        raise_together(self.comm, problem)
        written: list[tuple[SpikeLog, SpikeChoice]] = [(logs[place], choose_within(*first[self.rank : self.rank + 2]))]
        holder: list[kernel.NodeMeeting] = []
        n_sharing = min(terms.n_sharing or self.size, local.size)  # read where there is one node
        meeting = kernel.NodeMeeting(
            local.rank,
            memory.view_cache_lines(),
            memory.fd,
            lambda rank: make_rank_lost(int(nodes.starts[nodes.index]), holder, local.rank, rank),
            is_crowded(local),
            n_sharing,
        )
        holder.append(meeting)
        every = SegmentedLog(logs)
        received, signal = every, np.zeros((terms.n_steps, terms.n_readouts))
        sums = memory.view_sums(local.rank, n_sharing, joined=nodes.count > 1)
        if nodes.count > 1:
            by_node = [SegmentedLog(logs[ends[r] : ends[r + 1]]) for r in range(nodes.count)]
            buffers = NodeBuffers(
                *(nodes, memory.view_messages(local.rank == 0), sums, by_node, starts),
                *(terms.summed_steps, together, comes, leaves, apart),
            )
            self._within = terms.within or terms.summed_steps
            self._connect_ranks(meeting, buffers, subscriptions)
            self._parts = meeting, buffers, subscriptions if moves else None
            choices = [choose_within(*pair) for pair in buffers.list_incoming_ranges()]
            if fixed is not None and isinstance(self.sender, NeighbourSender):
                choices = [choose_listed(ids) for ids in self.sender.list_source_neurons()]
            written += zip(buffers.list_incoming_logs(), choices, strict=True)
        if sources is not None and sources.ids is not None:
            numbered = SpikeLog(terms.length)
            received = SegmentedLog([numbered])
            meeting.number(every, numbered, sources.index)
            written.append((numbered, sources.number_spikes))
        whole = every if subscriptions is None else None
        return Channel(logs[place], received, sums, signal, meeting, written, whole, self.comm, [memory])

    # Any: a `kernel.NodeMeeting`, whose declaration in Cython cannot say that messages may be None
    def _connect_ranks(self, meeting: Any, buffers: NodeBuffers, subscriptions: Subscriptions | None) -> None:
        """Collective: connect this rank with its node's messages, and the leaders of nodes with one another."""
        leads = self.nodes.local.rank == 0
        self.sender = None
        if subscriptions is not None:
            self.sender = NeighbourSender(buffers, subscriptions, self._connect_leaders(buffers) if leads else None)
        elif leads:
            self.sender = AllgatherSender(buffers)
        box, across = (
            None if self.sender is None else self.sender.box,
            partial(any_bits, self.nodes.leaders) if leads else None,
        )
        meeting.connect(box, buffers.together, self._within, across)
        meeting.barrier()  # memory of messages is there

    def update_subscriptions(self, list_sources: Callable[[], np.ndarray], changed: bool) -> None:
        """Collective: send other nodes the sources of this node again, if synapses moved on any rank.

        Spikes of a neuron that lost its targets still come until another neuron is new: more spikes change nothing.
        """
        if self.sending != "targeted" or not sum_over_ranks(self.comm, changed):
            return
        meeting, buffers, before = self._parts
        if before is None:  # this node receives the spikes of all neurons
            return
        subscriptions = Subscriptions(self.comm, self.nodes, before.first, list_sources())
        if subscriptions.has_new_subscriptions(before):
            subscriptions.exchange_between_nodes()
            self._connect_ranks(meeting, buffers, subscriptions)
            self._parts = meeting, buffers, subscriptions

    def _connect_leaders(self, buffers: NodeBuffers) -> Comm:
        """Collective among leaders: return their communicator with the graph of senders and receivers.

        It is reused while the graph stays the same, because MPI may allow only few communicators.
        """
        leaders, edges = self.nodes.leaders, (buffers.sources, buffers.targets)
        if sum_over_ranks(leaders, self._edges != edges):
            self._edges, self._of_edges = edges, leaders.Create_dist_graph_adjacent(*edges)
        return self._of_edges

    def _average_over_nodes(self, value: int) -> float:
        """Collective: return the mean over nodes of the values of their leaders."""
        return sum_over_ranks(self.comm, value * self.leads) / self.nodes.count

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: broadcast the log that `Channel.all_spikes_on_root` returned on rank 0."""
        arrays = (log.ids[: log.ptr[n_steps]], log.ptr[: n_steps + 1]) if self.rank == 0 else None
        return SpikeLog.from_arrays(*self.comm.bcast(arrays))

    def broadcast_in_node(self, value: T | None) -> T:
        """Collective: return the value of the first rank of the node, on all of its ranks."""
        return cast(T, self.nodes.local.bcast(value))

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return self.sender.nbytes if self.sender else 0

    @property
    def received_bytes(self) -> int:
        """Bytes that this rank receives from other nodes in a round; 0 unless it is the leader of its node."""
        return self.sender.received if self.sender and self.nodes.local.rank == 0 else 0
