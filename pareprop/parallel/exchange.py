"""Connect ranks so that they can exchange spikes, and sums of what arrives at the readouts, in each round.

`Exchange` is that of one process, `Ranks` that of MPI, the only difference that the loop knows. Ranks of a node write
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
from .channel import Channel, ChannelSizes, Choice, choose_listed, choose_within, open_alone
from .collectives import any_bits, raise_together, total
from .hearing import Hearing
from .messages import AllgatherSender, NeighbourSender, Post, Sources, count_parts, message_words, share, split
from .mpi import Comm
from .node import Nodes, find_nodes, is_crowded, make_rank_lost
from .replicas import Replicas
from .shared_memory import Layout, SharedMemory, Words, require_shared
from .spike_log import SegmentedLog, SpikeLog

T = TypeVar("T")

WORTHWHILE = 0.75  # targeted sending pays if nodes listen to a smaller share of the neurons
SENDINGS = ("counted", "everything", "targeted")


class Exchange:
    """Interface of the simulation to the other ranks; this base is that of one process, which has no others.

    Parameters
    ----------
    replicas : Replicas or None
        Groups of ranks of which these ranks are one; None: there is one group.

    Attributes
    ----------
    rank, size : int
        This rank, and the number of ranks.
    comm : communicator or None
        Communicator of the ranks, None for one process.
    sending : str
        How spikes travel, in a word.
    leads : bool
        Whether this rank is the first one of its node.
    node_starts : np.ndarray or None
        First rank of each node, and the number of ranks: int64 (n_nodes + 1,); None where nodes do not matter.
    """

    rank, size = 0, 1
    comm: Comm = None
    sending, leads = "", True
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

    def share(self, value: T | None) -> T:
        """Collective: return the value of the first rank of the node, on all of its ranks."""
        return cast(T, value)

    def require_memory(self, terms: ChannelSizes) -> None:
        """Collective: raise `InputError` if there is too little shared memory for a network."""

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate logs and signals, and connect the ranks.

        `sources` are the neurons that this rank listens to, None for all. `InputError` on all ranks if there is too
        little shared memory.
        """
        return open_alone(terms, terms.n_neurons)

    def listen(self, heard: Callable[[], np.ndarray], changed: bool) -> None:
        """Collective: tell other nodes anew to which neurons this rank listens, if synapses moved on any rank.

        `heard` returns int64 (n_heard,) ascending, the neurons with targets on this rank, and its own; `changed` tells
        whether synapses of this rank moved.
        """

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: return the log of `n_steps` steps that `Channel.all_spikes_on_root` returned on rank 0."""
        return log


Alone = Exchange  # where one process is meant


def add_times(meeting: kernel.Meeting, timers: Timers) -> None:
    """Add the seconds of a meeting to the timers, and reset them.

    `wait` until the others arrived, `communicate` for messages between nodes, `pack` to pack and unpack these,
    `look_up` to choose the spikes that this rank listens to.
    """
    timers.add("wait", meeting.waited)
    timers.add("communicate", meeting.transferred)
    timers.add("pack", meeting.packed)
    timers.add("look_up", meeting.looked_up)
    meeting.waited = meeting.transferred = meeting.packed = meeting.looked_up = 0.0


class Ranks(Exchange):
    """The ranks of an MPI communicator.

    Parameters
    ----------
    comm : communicator
        Communicator of mpi4py, with ranks numbered node by node.
    ways : str
        Between nodes "everything" to all, "targeted" to those that listen, or "counted": targeted where nodes listen
        to a part of the neurons only.
    replicas : Replicas or None
        Groups of ranks of which the communicator is one; None: there is one group.

    Attributes
    ----------
    nodes : Nodes
        Nodes of the communicator.
    sender : AllgatherSender, NeighbourSender or None
        Sends this rank's share of the messages of its node; the leader sends all if there is one message for all. None
        for ranks without a share, and where there is one node.

    Raises
    ------
    InputError
        If the ranks of a node are not numbered one after the other.
    """

    def __init__(self, comm: Comm, ways: str = "counted", replicas: Replicas | None = None) -> None:
        super().__init__(replicas)
        self.comm, self.ways = comm, ways
        self.rank, self.size = comm.rank, comm.size
        self.nodes: Nodes = find_nodes(comm)
        self.leads = bool(self.nodes.local.rank == 0)
        self.node_starts = self.nodes.starts if self.nodes.count > 1 else None
        self.sender: AllgatherSender | NeighbourSender | None = None
        self.sending = "shared"
        self._edges: tuple[list[int], list[int]] | None = None

    def _layout(self, terms: ChannelSizes, starts: list[np.ndarray], hearing: Hearing | None = None) -> Layout:
        """Return the layout with one log for each rank of this node and each part of others, in ascending ids.

        `starts` has the first neuron of each part of the messages of each node, and the end. With `hearing`, logs of
        others have room for the spikes of those neurons alone that are heard here.
        """
        first, nodes = terms.firsts(self.size), self.nodes
        low, high = nodes.starts[nodes.index : nodes.index + 2]
        neurons = [np.diff(part) for part in starts]
        if hearing is not None:
            parts = [[(r, *pair) for pair in itertools.pairwise(part.tolist())] for r, part in enumerate(starts)]
            neurons = [np.array([hearing.count_of(*pair) for pair in part], np.int64) for part in parts]
        neurons[nodes.index] = np.diff(first[low : high + 1])
        words = Words(), Words()
        if nodes.count > 1:
            sizes = np.diff(first[nodes.starts]), max(map(len, starts)), terms.summed_steps, terms.n_readouts
            usual, most = (message_words(*sizes, spikes) for spikes in (terms.expected, float(terms.summed_steps)))
            words = Words(usual[0], most[0]), Words(usual[1], most[1])
        shape = terms.length, terms.summed_steps, terms.n_readouts
        return Layout(nodes.local.size, np.concatenate(neurons), *shape, *words)

    def _starts(self, terms: ChannelSizes, targets: float) -> list[np.ndarray]:
        """Return the first neuron of each part of the messages of each node, and the end; see `count_parts`."""
        first, bounds = terms.firsts(self.size), self.nodes.starts
        parts = count_parts(self.nodes, targets)
        return [first[low + split(high - low, n)] for low, high, n in zip(bounds[:-1], bounds[1:], parts, strict=True)]

    def require_memory(self, terms: ChannelSizes) -> None:
        """Collective: raise `InputError` if there is too little shared memory for a network."""
        problem = None
        try:
            if self.nodes.local.rank == 0:
                require_shared(self._layout(terms, self._starts(terms, self.nodes.count - 1)).initial_bytes())
        except InputError as error:
            problem = error
        raise_together(self.comm, problem)

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate shared memory, and connect the ranks."""
        nodes, local, hearing = self.nodes, self.nodes.local, None
        first, moves = terms.firsts(self.size), sources is not None and sources.present is not None
        comes = leaves = [r for r in range(nodes.count) if r != nodes.index]
        apart, targets = False, 0.0
        if nodes.count > 1:
            own = None if sources is None else sources.sent
            if self.ways != "everything":
                hearing = Hearing(self.comm, nodes, first[nodes.starts], own)
                if self.ways == "counted" and hearing.share_heard() > WORTHWHILE:
                    hearing = None
            self.sending = "everything" if hearing is None else "targeted"
            if hearing is not None:
                hearing.tell()
                senders, hearers = hearing.neighbours()
                spared = 0.0 if moves else self._mean(len(comes) - len(senders))
                n_sums = terms.summed_steps * terms.n_readouts
                apart, targets = tree.pays(nodes.count, n_sums, spared), float(len(comes))
                if not moves and (apart or not n_sums):  # else any other node may have something to say
                    comes, leaves, targets = senders, hearers, max(targets - spared, 1.0)
        starts = self._starts(terms, targets)
        starts = [part if r in {*comes, nodes.index} else part[:1] for r, part in enumerate(starts)]
        fixed = None if moves else hearing  # who is heard stays the same
        memory = SharedMemory(self.comm, nodes, self._layout(terms, starts, fixed))
        n_logs = [local.size if r == nodes.index else len(part) - 1 for r, part in enumerate(starts)]
        ends = np.cumsum([0, *n_logs])
        place = int(ends[nodes.index]) + local.rank  # of this rank's log
        foreign = [k for r in range(nodes.count) if r != nodes.index for k in range(ends[r], ends[r + 1])]
        together = hearing is not None
        writes = [place, *foreign[share(len(foreign), local.size, local.rank, together)]]
        logs, problem = [], None
        try:
            logs = [memory.log(k, writes=k in writes) for k in range(int(ends[-1]))]
        except InputError as error:
            problem = error
        raise_together(self.comm, problem)
        written: list[tuple[SpikeLog, Choice]] = [(logs[place], choose_within(*first[self.rank : self.rank + 2]))]
        holder: list[kernel.NodeMeeting] = []
        n_sharing = min(terms.n_sharing or self.size, local.size)  # read where there is one node
        meeting = kernel.NodeMeeting(
            local.rank,
            memory.lines(),
            memory.fd,
            lambda rank: make_rank_lost(int(nodes.starts[nodes.index]), holder, local.rank, rank),
            is_crowded(local),
            n_sharing,
        )
        holder.append(meeting)
        every = SegmentedLog(logs)
        heard, signal = every, np.zeros((terms.n_steps, terms.n_readouts))
        sums = memory.sums(local.rank, n_sharing, joined=nodes.count > 1)
        if nodes.count > 1:
            by_node = [SegmentedLog(logs[ends[r] : ends[r + 1]]) for r in range(nodes.count)]
            post = Post(nodes, memory.messages(local.rank == 0), sums, by_node, starts, terms.summed_steps, together,
                        comes, leaves, apart)  # fmt: skip
            self._within = terms.within or terms.summed_steps
            self._connect(meeting, post, hearing)
            self._parts = meeting, post, hearing if moves else None
            choices = [choose_within(*pair) for pair in post.bounds()]
            if fixed is not None and isinstance(self.sender, NeighbourSender):
                choices = [choose_listed(ids) for ids in self.sender.heard()]
            written += zip(post.received(), choices, strict=True)
        if sources is not None and sources.ids is not None:
            numbered = SpikeLog(terms.length)
            heard = SegmentedLog([numbered])
            meeting.number(every, numbered, sources.index)
            written.append((numbered, sources.number_spikes))
        whole = every if hearing is None else None
        return Channel(logs[place], heard, sums, signal, meeting, written, whole, self.comm, [memory])

    # Any: a `kernel.NodeMeeting`, whose declaration in Cython cannot say that messages may be None
    def _connect(self, meeting: Any, post: Post, hearing: Hearing | None) -> None:
        """Collective: connect this rank with its node's messages, and the leaders of nodes with one another."""
        leads = self.nodes.local.rank == 0
        self.sender = None
        if hearing is not None:
            self.sender = NeighbourSender(post, hearing, self._graph(post) if leads else None)
        elif leads:
            self.sender = AllgatherSender(post)
        box, across = (
            None if self.sender is None else self.sender.box,
            partial(any_bits, self.nodes.leaders) if leads else None,
        )
        meeting.connect(box, post.together, self._within, across)
        meeting.barrier()  # memory of messages is there

    def listen(self, heard: Callable[[], np.ndarray], changed: bool) -> None:
        """Collective: tell other nodes anew to which neurons this one listens, if synapses moved on any rank.

        Spikes of a neuron that lost its targets still come until another neuron is new: more spikes change nothing.
        """
        if self.sending != "targeted" or not total(self.comm, changed):
            return
        meeting, post, before = self._parts
        if before is None:  # all neurons are heard anyway
            return
        hearing = Hearing(self.comm, self.nodes, before.first, heard())
        if hearing.has_news(before):
            hearing.tell()
            self._connect(meeting, post, hearing)
            self._parts = meeting, post, hearing

    def _graph(self, post: Post) -> Comm:
        """Collective among leaders: return a communicator of them that knows who sends to whom.

        It is used again while that stays the same: there may be few of them.
        """
        leaders, edges = self.nodes.leaders, (post.sources, post.targets)
        if total(leaders, self._edges != edges):
            self._edges, self._of_edges = edges, leaders.Create_dist_graph_adjacent(*edges)
        return self._of_edges

    def _mean(self, value: int) -> float:
        """Collective: return the mean over nodes of what their leaders say."""
        return total(self.comm, value * self.leads) / self.nodes.count

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: broadcast the log that `Channel.all_spikes_on_root` returned on rank 0."""
        arrays = (log.ids[: log.ptr[n_steps]], log.ptr[: n_steps + 1]) if self.rank == 0 else None
        return SpikeLog.from_arrays(*self.comm.bcast(arrays))

    def share(self, value: T | None) -> T:
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
