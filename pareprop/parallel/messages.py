"""Messages of a round between nodes: all spikes to all nodes (MPI_Allgather), or to those that hear some.

A node or rank listens to the neurons whose spikes it needs. A rank that listens to some neurons only numbers them in
ascending order of their ids; its log then holds numbers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..kernels import exchange as kernel
from ..kernels import heard, layout, members, readout_sums
from ..values import Values
from . import mpi, tree
from .hearing import Hearing
from .mpi import Comm
from .node import Nodes
from .shared_memory import MessageMemory
from .spike_log import SegmentedLog, SpikeLog

GROWTH = 1.25  # room beyond the largest message seen, so that a second message is rare
WORDS = 256  # words of a message to all nodes, at first
WORD, FEW = 6, 4  # neurons in a word: 2**WORD; a rank hears few if these are fewer than a FEWth of all words
AGAIN = 3  # tag of parts that are sent once more
SLACK = 8  # words of gaps that always fit into a part of a message to one node


def grow(need: int) -> int:
    """Return the words to make room for when a message needs `need` words."""
    return int(need * GROWTH)


@dataclass(frozen=True)
class Sources:
    """The neurons that a rank or a node listens to.

    Attributes
    ----------
    n : int
        Neurons of the whole network.
    ids : np.ndarray or None
        uint32 (n_heard,) ascending, neurons with targets there, and its own; None for all.
    present : np.ndarray or None
        Where synapses move, so that all neurons may come to have targets there: uint32 ascending, neurons that have
        some now, and its own. Messages bring no others; None: they bring those of `ids`.
    """

    n: int
    ids: np.ndarray | None = None
    present: np.ndarray | None = None

    @property
    def sent(self) -> np.ndarray | None:
        """Neurons whose spikes messages must bring, ascending; None for all."""
        return self.ids if self.present is None else self.present

    @cached_property
    def index(self) -> heard.Heard:
        """The set of `ids`, which takes 12 bytes for each word of 64 neurons, or for each word with some of `ids`."""
        assert self.ids is not None
        n_words, ids = self.n // 64 + 1, self.ids
        words, first = np.zeros(1, np.uint64), np.zeros(0, np.int64)
        shift = WORD * (FEW * len(ids) < n_words)
        if shift:
            first = np.flatnonzero(np.diff(ids >> WORD, prepend=-1))
            bits = np.left_shift(np.uint64(1), np.asarray(ids, np.uint64) & np.uint64(63))
            words = np.append(np.bitwise_or.reduceat(bits, first) if len(ids) else bits, np.uint64(0))
        top = np.zeros(((self.n >> shift) // 64) + 1, np.uint64)
        before = np.zeros(len(top), np.uint32)
        members.add(top, np.asarray(ids[first] >> shift if shift else ids, np.int64))
        members.count(top, before)
        return heard.Heard(shift, top, before, words, np.append(first, len(ids)).astype(np.uint32))

    @property
    def nbytes(self) -> int:
        """Bytes of the ids and of their index."""
        return 0 if self.ids is None else self.ids.nbytes + self.index.nbytes

    def number_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Return the spikes of a log by id that are listened to, by number."""
        if self.ids is None:
            return log
        steps, ids = log.spikes(n_steps)
        known = np.isin(ids, self.ids)
        return SpikeLog.of(steps[known], np.searchsorted(self.ids, ids[known]), n_steps)


@dataclass(frozen=True)
class Post:
    """What the ranks of a node share in order to send messages.

    Attributes
    ----------
    nodes : Nodes
        Nodes of the communicator.
    memory : MessageMemory
        Memory of messages, shared by the ranks of the node.
    sums : ReadoutSums
        Sums of this rank's node, and of all nodes.
    logs : list of SegmentedLog
        For each node the logs of the parts of its messages, for this node the logs of its ranks.
    starts : list of np.ndarray
        For each node int64 (n_parts + 1,), first neuron of each part of its messages, and the end.
    steps : int
        Steps of the longest round.
    together : bool
        Whether all ranks of the node pack and unpack, or the leader alone.
    sources, targets : list of int
        Nodes whose messages come here, and nodes to which messages leave.
    apart : bool
        Whether sums for the readouts travel apart from the messages, in a tree.
    """

    nodes: Nodes
    memory: MessageMemory
    sums: readout_sums.ReadoutSums
    logs: list[SegmentedLog]
    starts: list[np.ndarray]
    steps: int
    together: bool
    sources: list[int]
    targets: list[int]
    apart: bool = False

    def unpacked(self, rank: int) -> slice:
        """Return the slice of the parts that come to this node which one of its ranks unpacks."""
        return share(sum(len(self.starts[r]) - 1 for r in self.sources), self.nodes.local.size, rank, self.together)

    def packed(self, rank: int) -> slice:
        """Return the slice of the parts that leave this node which one of its ranks packs; by part, then node."""
        return share((len(self.starts[self.nodes.index]) - 1) * len(self.targets), self.nodes.local.size, rank)

    def received(self) -> list[SpikeLog]:
        """Return the logs that this rank writes to."""
        return [log for r in self.sources for log in self.logs[r].segments][self.unpacked(self.nodes.local.rank)]

    def bounds(self) -> np.ndarray:
        """Return first neuron, and one past the last, of each log of `received`: int64 (n, 2)."""
        pairs = [np.stack([self.starts[r][:-1], self.starts[r][1:]], 1) for r in self.sources]
        return np.concatenate([np.zeros((0, 2), np.int64), *pairs])[self.unpacked(self.nodes.local.rank)]

    def fixed(self, n_steps: int) -> int:
        """Return the words of a message of one part beside its ids."""
        return fixed_words(n_steps, self.sums.n_readouts)

    def mailbox(self, arrays: Values) -> kernel.Mailbox:
        """Make the mailbox of this rank; arrays that are not given are empty."""
        local, none, small = self.nodes.local, np.zeros(0, np.int64), np.zeros(0, np.uint32)
        ours: Values = dict.fromkeys(("route_ptr", "first_number", "listed", "cursor", "after", "heads"), none)
        ours |= dict.fromkeys(("numbers", "route_part", "route_index"), small)
        ours |= {
            "rank": local.rank if self.together else 0,
            "size": local.size if self.together else 1,
            "sums": self.sums,
            "own": self.logs[self.nodes.index],
            "received": SegmentedLog(self.received()),
            "steps": -1,
            "outgoing": self.memory.outgoing,
            "incoming": self.memory.incoming,
        }
        return kernel.Mailbox(ours | arrays)


def split(n: int, n_parts: int) -> np.ndarray:
    """Return the first of `n` things in each part, nearly as many in each, and the end: int64 (n_parts + 1,)."""
    return n * np.arange(n_parts + 1) // n_parts


def share(n: int, size: int, rank: int, together: bool = True) -> slice:
    """Return which of `n` things one of `size` ranks has; rank 0 has all unless they work together."""
    if not together:
        return slice(0, 0 if rank else n)
    return slice(*split(n, size)[rank : rank + 2].tolist())


def fixed_words(n_steps: int, n_readouts: int) -> int:
    """Return the words of a message beside its ids: header, sums of 16 bytes, and counts."""
    return layout.HEADER + n_steps * (tree.WORDS_OF_SUM * n_readouts + 1)


def count_parts(nodes: Nodes, targets: float) -> list[int]:
    """Return how many parts the messages of each node have.

    Where messages differ, to `targets` nodes on average, about as many that each rank of a node has one to pack; one
    where there is one message for all, `targets` being 0.
    """
    sizes = np.diff(nodes.starts)
    wanted = math.ceil(int(sizes.max()) / max(1.0, targets)) if targets else 1
    return [min(int(size), wanted) for size in sizes]


def message_words(neurons: np.ndarray, n_parts: int, n_steps: int, n_readouts: int, spikes: float) -> tuple[int, int]:
    """Return the most words of all messages that leave a node and come to it, however they are sent.

    Parameters
    ----------
    neurons : np.ndarray
        int64 (n_nodes,), neurons of each node.
    n_parts : int
        Parts of a message, at most.
    n_steps, n_readouts : int
        Steps of the longest round, readouts of the whole network.
    spikes : float
        Spikes of a neuron in a round.
    """
    n = len(neurons)
    parts = n_parts * (layout.HEADER + n_steps + SLACK)
    words = fixed_words(n_steps, n_readouts) + parts + max(math.ceil(spikes * int(neurons.max())), WORDS)
    return (n - 1) * words, n * words


class AllgatherSender:
    """Sends by one Allgather of a fixed size per round, and a second one when a message did not fit; on the leader.

    Parameters
    ----------
    post : Post
        What the ranks of the node have in common.
    words : int
        Words (4 bytes) of a message, at first.

    Attributes
    ----------
    box : kernel.Mailbox
        Packs and unpacks all messages of the node.
    """

    name = "everything"

    def __init__(self, post: Post, words: int = WORDS) -> None:
        self.post = post
        self.box = post.mailbox({"sender": self, "targeted": False, "capacity": words})
        self.box.messages_out = np.zeros(1, np.int64)
        _connect(self.box, post.nodes.leaders, "MPI_Allgather")
        self.lay_out(post.steps)

    def resize(self, need: int) -> None:
        """Make room for messages of `need` words, and some more."""
        self.box.capacity = grow(need)
        self.lay_out(self.box.steps)

    def lay_out(self, n_steps: int) -> bool:
        """Place messages of rounds of `n_steps` steps; return whether memory was taken."""
        box, post = self.box, self.post
        fixed, most = post.fixed(n_steps), len(post.memory.incoming) // post.nodes.count
        box.steps, box.capacity = n_steps, min(max(box.capacity, fixed), most)
        box.messages_in = np.array(post.sources) * box.capacity
        box.arrives = box.messages_in
        box.arrives_counts = np.asarray(box.arrives) + fixed - n_steps
        return post.memory.take(box.capacity, box.capacity * post.nodes.count)

    def transfer(self) -> None:
        """Collective: call MPI, and nothing else."""
        n, memory = self.box.capacity, self.post.memory
        self.post.nodes.leaders.Allgather(memory.outgoing[:n], memory.incoming[: n * self.post.nodes.count])

    @property
    def received(self) -> int:
        """Bytes that this node receives from others in a round."""
        return 4 * self.box.capacity * (self.post.nodes.count - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the messages."""
        return self.post.memory.nbytes


class NeighbourSender:
    """Sends to the nodes that hear neurons of this one, by one Neighbor_alltoallv per round.

    Both ends derive the size of a part of a message from its quota, gaps per listed source. A part for which that is
    too little tells so; then both ends make room for it, and it alone is sent once more: others need not know.

    Parameters
    ----------
    post : Post
        What the ranks of the node have in common.
    hearing : Hearing
        Who hears whom, which nodes have told each other.
    graph : communicator
        On the leader: communicator of the leaders, with the nodes whose messages come and to which messages leave.

    Attributes
    ----------
    box : kernel.Mailbox
        Packs and unpacks this rank's share.
    """

    name = "targeted"

    def __init__(self, post: Post, hearing: Hearing, graph: Comm) -> None:
        self.post, self.graph, local, index = post, graph, post.nodes.local, post.nodes.index
        starts, own = post.starts[index], post.logs[index]
        comes = [(r, *pair) for r in post.sources for pair in itertools.pairwise(post.starts[r].tolist())]
        leaves = [(r, *pair) for pair in itertools.pairwise(starts.tolist()) for r in post.targets]
        self._from, self._to = ([part[0] for part in parts] for parts in (comes, leaves))
        self._heard = np.array([hearing.count_of(*part) for part in comes], np.int64)
        self._listed = np.array([hearing.count_by(*part) for part in leaves], np.int64)
        self._quotas = np.zeros_like(self._listed), np.zeros_like(self._heard)  # in units of 1 / `QUOTA`
        numbers = [np.uint32(part[1]) + hearing.of(*part) for part in comes[post.unpacked(local.rank)]]
        lists = [hearing.by(*part) for part in leaves[post.packed(local.rank)]]
        mine = post.packed(local.rank)
        groups = np.arange(len(leaves))[mine] // max(len(post.targets), 1)  # parts of this node whose spikes they have
        low, high = (int(groups[0]), int(groups[-1]) + 1) if len(groups) else (0, 0)
        parts = split(own.n_segments, len(starts) - 1).tolist()
        self._routes = _route(lists, starts[groups] - starts[low], int(starts[high] - starts[low])) | {
            "first_id": int(starts[low]),
            "numbers": np.concatenate([*numbers, np.zeros(0, np.uint32)]),
            "first_number": np.concatenate(([0], np.cumsum([len(part) for part in numbers], dtype=np.int64))),
            "first_segment": parts[low],
            "last_segment": parts[high],
        }
        self.box = post.mailbox(
            self._routes
            | {
                "listed": self._listed[mine],
                "cursor": np.zeros(len(lists), np.int64),
                "after": np.zeros(len(lists), np.int64),
                "slack": SLACK,
                "sender": self,
                "targeted": True,
                "apart": post.apart,
                "capacity": 0,
            }
        )
        if local.rank == 0:
            _connect(self.box, graph, "MPI_Neighbor_alltoallv")
        self.lay_out(post.steps)

    def resize(self, need: int) -> None:
        """Make room for the parts that have too little, and some more; one gap per step and source always suffices."""
        memory, most, short = self.post.memory, layout.QUOTA * self.post.steps, []
        heads = memory.outgoing[self._leaves[0]], memory.incoming[self._arrives[0]]
        for quota, needed in zip(self._quotas, heads, strict=True):
            short.append(np.flatnonzero(needed))
            quota[short[-1]] = np.minimum((GROWTH * needed[short[-1]]).astype(np.int64), most)
        self._short, self._before = short, self._arrives
        self.lay_out(self.box.steps)
        self.box.again = self.post.nodes.local.rank == 0

    def send_again(self) -> None:
        """Exchange the parts that had too little room with the nodes concerned; put the others where they lie now."""
        leaders, memory, pending = self.post.nodes.leaders, self.post.memory, []
        for old, size, new in reversed([*zip(*map(np.ndarray.tolist, (*self._before, self._arrives[0])), strict=True)]):
            if new != old:
                memory.incoming[new : new + size] = memory.incoming[old : old + size].copy()
        leaving, coming = self._short
        for call, parts, short, array, nodes in (
            (leaders.Irecv, self._arrives, coming, memory.incoming, self._from),
            (leaders.Isend, self._leaves, leaving, memory.outgoing, self._to),
        ):
            for k in short.tolist():
                start, size = (int(values[k]) for values in parts)
                pending.append(call(array[start : start + size], nodes[k], AGAIN))
        for message in pending:
            message.Wait()

    def transfer(self) -> None:
        """Collective: call MPI, and nothing else."""
        memory = self.post.memory
        self.graph.Neighbor_alltoallv((memory.outgoing, self._leaving), (memory.incoming, self._arriving))

    def add_up(self) -> None:
        """Collective: add the sums for readouts over all nodes, where they travel apart."""
        tree.add_up(self.post.nodes.leaders, np.asarray(self.box.joined()), kernel.add_sums)

    def lay_out(self, n_steps: int) -> bool:
        """Place messages of rounds of `n_steps` steps, one after the other; return whether memory was taken."""
        box, post, rank = self.box, self.post, self.post.nodes.local.rank
        first = fixed_words(n_steps, 0 if box.apart else post.sums.n_readouts) - n_steps  # in a first part
        mine, n_targets = post.packed(rank), len(post.targets)
        room, counts = self._room(self._listed, self._quotas[0]), np.full(len(self._listed), layout.HEADER)
        counts[:n_targets] = first  # places of the counts in a part
        sizes = (counts + n_steps + room).reshape(len(post.starts[post.nodes.index]) - 1, n_targets)
        starts = (np.cumsum(sizes.T).reshape(sizes.T.shape) - sizes.T).T  # of parts, node by node
        self._leaves, self._leaving = (starts.ravel(), sizes.ravel()), (sizes.sum(axis=0), starts[0])
        box.steps, box.room, box.messages_out = n_steps, room[mine], starts[0].copy()
        box.leaves = self._leaves[0][mine].copy()
        box.leaves_counts = box.leaves + counts[mine]
        mine, firsts = post.unpacked(rank), np.cumsum([0, *(len(post.starts[r]) - 1 for r in post.sources)])
        counts = np.full(len(self._heard), layout.HEADER)
        counts[firsts[:-1]] = first
        sizes = counts + n_steps + self._room(self._heard, self._quotas[1])
        ends = np.concatenate(([0], np.cumsum(sizes)))
        self._arrives, self._arriving = (ends[:-1], sizes), (np.diff(ends[firsts]), ends[firsts[:-1]])
        box.messages_in = ends[firsts[:-1]]
        box.arrives = ends[:-1][mine].copy()
        box.arrives_counts = box.arrives + counts[mine]
        if rank == 0:
            box.heads = ends[:-1].copy()
        (box.leaving, box.leaving_at), (box.arriving, box.arriving_at) = (
            [np.append(values, 0).astype(np.intc) for values in pair] for pair in (self._leaving, self._arriving)
        )
        return post.memory.take(int(self._leaving[0].sum()), int(ends[-1]))

    @staticmethod
    def _room(listed: np.ndarray, quotas: np.ndarray) -> np.ndarray:
        """Return the words for the gaps of lists of some lengths."""
        return np.where(listed > 0, SLACK - (-listed * quotas // (2 * layout.QUOTA)), 0)

    def heard(self) -> list[np.ndarray]:
        """Return the neurons that each log of `Post.received` may name, uint32 ascending."""
        return np.split(self._routes["numbers"], self._routes["first_number"][1:-1])[: len(self.box.arrives)]

    @property
    def received(self) -> int:
        """Bytes that this node receives from others in a round."""
        box, nodes = self.box, self.post.nodes
        sums = tree.WORDS_OF_SUM * box.steps * self.post.sums.n_readouts * tree.received(nodes.count, nodes.index)
        return 4 * (int(self._arriving[0].sum()) + box.apart * sums)

    @property
    def nbytes(self) -> int:
        """Bytes of the messages and of the lists of listening nodes."""
        return self.post.memory.nbytes + sum(getattr(part, "nbytes", 0) for part in self._routes.values())


def _route(lists: list[np.ndarray], first: np.ndarray, n_neurons: int) -> Values:
    """Return, by neuron, the parts that list it and its index in each, as CSR arrays.

    Parameters
    ----------
    lists : list of np.ndarray
        For each part uint32 ascending, neurons counted from the first of the part.
    first : np.ndarray
        int64 (n_parts,), first neuron of each part.
    n_neurons : int
        Neurons of all parts.
    """
    none, lengths = np.zeros(0, np.uint32), [len(part) for part in lists]
    neuron = np.concatenate([none, *(part + np.uint32(start) for part, start in zip(lists, first, strict=True))])
    order = np.argsort(neuron, kind="stable")
    parts = np.repeat(np.arange(len(lists), dtype=np.uint32), lengths)
    index = np.concatenate([none, *(np.arange(n, dtype=np.uint32) for n in lengths)])
    route_ptr = np.concatenate(([0], np.cumsum(np.bincount(neuron, minlength=n_neurons))))
    return {"route_ptr": route_ptr, "route_part": parts[order], "route_index": index[order]}


def _connect(box: kernel.Mailbox, comm: Comm, call: str) -> None:
    """Let compiled code call MPI, unless `comm` is a stand-in written in Python."""
    found = mpi.address(comm, call)
    if found:
        function, *handles = found
        box.connect(function or 0, *handles)
