"""Messages of a round between nodes: all spikes to all nodes (MPI_Allgather), or to the nodes that need them.

A node or rank receives spikes only of the neurons that it needs. A rank that does not need all neurons numbers them in
ascending order of their ids; its log then holds these numbers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..kernels import exchange as kernel
from ..kernels import layout, members, readout_sums, source_set
from ..values import Values
from . import mpi, tree
from .mpi import Comm
from .node import Nodes
from .shared_memory import MessageMemory
from .spike_log import SegmentedLog, SpikeLog
from .subscriptions import Subscriptions

GROWTH = 1.25  # room beyond the largest message seen, so that a second message is rare
INITIAL_WORDS = 256  # words of a message to all nodes, at first
WORD, FEW = 6, 4  # neurons in a word: 2**WORD; a rank has few sources if they are fewer than a FEWth of all words
RESENT_TAG = 3  # tag of parts that are sent once more
SLACK = 8  # words of gaps that always fit into a part of a message to one node


def add_headroom(need: int) -> int:
    """Return the words to make room for when a message needs `need` words."""
    return int(need * GROWTH)


@dataclass(frozen=True)
class Sources:
    """The neurons whose spikes a rank or a node receives.

    `ids` are uint32, ascending: neurons with targets there, and its own neurons; None for all. If synapses move, so
    that all neurons may get targets there, `present` has the neurons with targets now, and its own: messages contain
    only these. If it is None, messages contain `ids`.
    """

    n_neurons: int
    ids: np.ndarray | None = None
    present: np.ndarray | None = None

    @property
    def sent(self) -> np.ndarray | None:
        """Neurons whose spikes messages must bring, ascending; None for all."""
        return self.ids if self.present is None else self.present

    @cached_property
    def index(self) -> source_set.SourceSet:
        """The set of `ids`, which takes 12 bytes for each word of 64 neurons, or for each word with some of `ids`."""
        assert self.ids is not None
        n_words, ids = self.n_neurons // 64 + 1, self.ids
        words, first = np.zeros(1, np.uint64), np.zeros(0, np.int64)
        shift = WORD * (FEW * len(ids) < n_words)
        if shift:
            first = np.flatnonzero(np.diff(ids >> WORD, prepend=-1))
            bits = np.left_shift(np.uint64(1), np.asarray(ids, np.uint64) & np.uint64(63))
            words = np.append(np.bitwise_or.reduceat(bits, first) if len(ids) else bits, np.uint64(0))
        top = np.zeros(((self.n_neurons >> shift) // 64) + 1, np.uint64)
        before = np.zeros(len(top), np.uint32)
        members.add(top, np.asarray(ids[first] >> shift if shift else ids, np.int64))
        members.count(top, before)
        return source_set.SourceSet(shift, top, before, words, np.append(first, len(ids)).astype(np.uint32))

    @property
    def nbytes(self) -> int:
        """Bytes of the ids and of their index."""
        return 0 if self.ids is None else self.ids.nbytes + self.index.nbytes

    def number_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Return the spikes of a log by id that are listened to, by number."""
        if self.ids is None:
            return log
        steps, ids = log.list_spikes(n_steps)
        known = np.isin(ids, self.ids)
        return SpikeLog.from_spikes(steps[known], np.searchsorted(self.ids, ids[known]), n_steps)


@dataclass(frozen=True)
class NodeBuffers:
    """Buffers that the ranks of a node share for messages.

    `sums` are the sums of this rank's node, and of all nodes. For each node `logs` has the logs of the parts of its
    messages, for this node the logs of its ranks; `starts` has the first neuron of each part and the end, int64
    (n_parts + 1,). `max_steps` are the steps of the longest communication interval. With `together` all ranks of the
    node pack and unpack, else the leader alone. Messages come from nodes `sources` and leave to nodes `targets`. With
    `separate_sums`, sums for the readouts are sent separately from the messages, in a reduction tree.
    """

    nodes: Nodes
    memory: MessageMemory
    sums: readout_sums.ReadoutSums
    logs: list[SegmentedLog]
    starts: list[np.ndarray]
    max_steps: int
    together: bool
    sources: list[int]
    targets: list[int]
    separate_sums: bool = False

    def find_incoming_parts(self, rank: int) -> slice:
        """Return the slice of the parts that come to this node which one of its ranks unpacks."""
        return find_share(
            sum(len(self.starts[r]) - 1 for r in self.sources), self.nodes.local.size, rank, self.together
        )

    def find_outgoing_parts(self, rank: int) -> slice:
        """Return the slice of the parts that leave this node which one of its ranks packs; by part, then node."""
        return find_share((len(self.starts[self.nodes.index]) - 1) * len(self.targets), self.nodes.local.size, rank)

    def list_incoming_logs(self) -> list[SpikeLog]:
        """Return the logs that this rank writes to."""
        return [log for r in self.sources for log in self.logs[r].segments][
            self.find_incoming_parts(self.nodes.local.rank)
        ]

    def list_incoming_ranges(self) -> np.ndarray:
        """Return first neuron, and one past the last, of each log of `list_incoming_logs`: int64 (n, 2)."""
        pairs = [np.stack([self.starts[r][:-1], self.starts[r][1:]], 1) for r in self.sources]
        return np.concatenate([np.zeros((0, 2), np.int64), *pairs])[self.find_incoming_parts(self.nodes.local.rank)]

    def count_fixed_words(self, n_steps: int) -> int:
        """Return the words of a message of one part without its ids."""
        return fixed_words(n_steps, self.sums.n_readouts)

    def make_mailbox(self, arrays: Values) -> kernel.Mailbox:
        """Make the mailbox of this rank; arrays that are not given are empty."""
        local, none, small = self.nodes.local, np.zeros(0, np.int64), np.zeros(0, np.uint32)
        ours: Values = dict.fromkeys(("route_ptr", "first_number", "listed", "cursor", "after", "heads"), none)
        ours |= dict.fromkeys(("numbers", "route_part", "route_index"), small)
        ours |= {
            "rank": local.rank if self.together else 0,
            "size": local.size if self.together else 1,
            "sums": self.sums,
            "own": self.logs[self.nodes.index],
            "received": SegmentedLog(self.list_incoming_logs()),
            "steps": -1,
            "outgoing": self.memory.outgoing,
            "incoming": self.memory.incoming,
        }
        return kernel.Mailbox(ours | arrays)


def divide_evenly(n: int, n_parts: int) -> np.ndarray:
    """Return the first of `n` things in each part, nearly as many in each, and the end: int64 (n_parts + 1,)."""
    return n * np.arange(n_parts + 1) // n_parts


def find_share(n: int, size: int, rank: int, together: bool = True) -> slice:
    """Return which of `n` things one of `size` ranks has; rank 0 has all unless they work together."""
    if not together:
        return slice(0, 0 if rank else n)
    return slice(*divide_evenly(n, size)[rank : rank + 2].tolist())


def fixed_words(n_steps: int, n_readouts: int) -> int:
    """Return the words of a message without its ids: header, sums of 16 bytes, and counts."""
    return layout.HEADER + n_steps * (tree.WORDS_OF_SUM * n_readouts + 1)


def count_parts(nodes: Nodes, targets: float) -> list[int]:
    """Return how many parts the messages of each node have.

    Where messages differ, to `targets` nodes on average, about as many that each rank of a node has one to pack; one
    where there is one message for all, `targets` being 0.
    """
    sizes = np.diff(nodes.starts)
    wanted = math.ceil(int(sizes.max()) / max(1.0, targets)) if targets else 1
    return [min(int(size), wanted) for size in sizes]


def estimate_message_words(
    neurons: np.ndarray, n_parts: int, n_steps: int, n_readouts: int, spikes: float
) -> tuple[int, int]:
    """Return an upper estimate of the words of all messages that leave a node and of all that arrive, in any mode.

    `neurons` is the number of neurons of each node, int64 (n_nodes,); a message has at most `n_parts` parts, the
    longest communication interval has `n_steps`, and a neuron has `spikes` spikes in it.
    """
    n = len(neurons)
    parts = n_parts * (layout.HEADER + n_steps + SLACK)
    words = fixed_words(n_steps, n_readouts) + parts + max(math.ceil(spikes * int(neurons.max())), INITIAL_WORDS)
    return (n - 1) * words, n * words


class AllgatherSender:
    """Sends by one Allgather of a fixed size per communication interval, and a second one if a message did not fit.

    It exists on the leader. `words` (4 bytes each) is the first size of a message; `box` packs and unpacks all messages
    of the node.
    """

    name = "everything"

    def __init__(self, buffers: NodeBuffers, words: int = INITIAL_WORDS) -> None:
        self.buffers = buffers
        self.box = buffers.make_mailbox({"sender": self, "targeted": False, "capacity": words})
        self.box.messages_out = np.zeros(1, np.int64)
        _connect_kernel(self.box, buffers.nodes.leaders, "MPI_Allgather")
        self.lay_out(buffers.max_steps)

    def resize(self, need: int) -> None:
        """Make room for messages of `need` words, and some more."""
        self.box.capacity = add_headroom(need)
        self.lay_out(self.box.steps)

    def lay_out(self, n_steps: int) -> bool:
        """Place messages of rounds of `n_steps` steps; return whether memory was taken."""
        box, post = self.box, self.buffers
        fixed, most = post.count_fixed_words(n_steps), len(post.memory.incoming) // post.nodes.count
        box.steps, box.capacity = n_steps, min(max(box.capacity, fixed), most)
        box.messages_in = np.array(post.sources) * box.capacity
        box.arrives = box.messages_in
        box.arrives_counts = np.asarray(box.arrives) + fixed - n_steps
        return post.memory.allocate_words(box.capacity, box.capacity * post.nodes.count)

    def transfer(self) -> None:
        """Collective: call MPI, and nothing else."""
        n, memory = self.box.capacity, self.buffers.memory
        self.buffers.nodes.leaders.Allgather(memory.outgoing[:n], memory.incoming[: n * self.buffers.nodes.count])

    @property
    def received(self) -> int:
        """Bytes that this node receives from others in a round."""
        return 4 * self.box.capacity * (self.buffers.nodes.count - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the messages."""
        return self.buffers.memory.nbytes


class NeighbourSender:
    """Sends to the nodes that need spikes of this node, by one Neighbor_alltoallv per communication interval.

    Sender and receiver derive the size of a part of a message from its quota, gaps per listed source. A part that needs
    more space contains a mark; then both enlarge its buffer, and only this part is sent again. Nodes have exchanged
    `subscriptions`, the neurons whose spikes each node receives. On the leader `graph` is a communicator of the leaders
    of the neighbouring nodes. `box` packs and unpacks this rank's part.
    """

    name = "targeted"

    def __init__(self, buffers: NodeBuffers, subscriptions: Subscriptions, graph: Comm) -> None:
        self.buffers, self.graph, local, index = buffers, graph, buffers.nodes.local, buffers.nodes.index
        starts, own = buffers.starts[index], buffers.logs[index]
        comes = [(r, *pair) for r in buffers.sources for pair in itertools.pairwise(buffers.starts[r].tolist())]
        leaves = [(r, *pair) for pair in itertools.pairwise(starts.tolist()) for r in buffers.targets]
        self._from, self._to = ([part[0] for part in parts] for parts in (comes, leaves))
        self._n_incoming = np.array([subscriptions.count_incoming(*part) for part in comes], np.int64)
        self._n_outgoing = np.array([subscriptions.count_outgoing(*part) for part in leaves], np.int64)
        self._quotas = np.zeros_like(self._n_outgoing), np.zeros_like(self._n_incoming)  # in units of 1 / `QUOTA`
        numbers = [
            np.uint32(part[1]) + subscriptions.list_incoming(*part)
            for part in comes[buffers.find_incoming_parts(local.rank)]
        ]
        lists = [subscriptions.list_outgoing(*part) for part in leaves[buffers.find_outgoing_parts(local.rank)]]
        mine = buffers.find_outgoing_parts(local.rank)
        groups = np.arange(len(leaves))[mine] // max(
            len(buffers.targets), 1
        )  # parts of this node whose spikes they have
        low, high = (int(groups[0]), int(groups[-1]) + 1) if len(groups) else (0, 0)
        parts = divide_evenly(own.n_segments, len(starts) - 1).tolist()
        self._routes = _make_routes(lists, starts[groups] - starts[low], int(starts[high] - starts[low])) | {
            "first_id": int(starts[low]),
            "numbers": np.concatenate([*numbers, np.zeros(0, np.uint32)]),
            "first_number": np.concatenate(([0], np.cumsum([len(part) for part in numbers], dtype=np.int64))),
            "first_segment": parts[low],
            "last_segment": parts[high],
        }
        self.box = buffers.make_mailbox(
            self._routes
            | {
                "listed": self._n_outgoing[mine],
                "cursor": np.zeros(len(lists), np.int64),
                "after": np.zeros(len(lists), np.int64),
                "slack": SLACK,
                "sender": self,
                "targeted": True,
                "apart": buffers.separate_sums,
                "capacity": 0,
            }
        )
        if local.rank == 0:
            _connect_kernel(self.box, graph, "MPI_Neighbor_alltoallv")
        self.lay_out(buffers.max_steps)

    def resize(self, need: int) -> None:
        """Make room for the parts that have too little, and some more; one gap per step and source always suffices."""
        memory, most, short = self.buffers.memory, layout.QUOTA * self.buffers.max_steps, []
        heads = memory.outgoing[self._leaves[0]], memory.incoming[self._arrives[0]]
        for quota, needed in zip(self._quotas, heads, strict=True):
            short.append(np.flatnonzero(needed))
            quota[short[-1]] = np.minimum((GROWTH * needed[short[-1]]).astype(np.int64), most)
        self._short, self._before = short, self._arrives
        self.lay_out(self.box.steps)
        self.box.again = self.buffers.nodes.local.rank == 0

    def send_again(self) -> None:
        """Exchange the parts that had too little room with the nodes concerned; put the others where they lie now."""
        leaders, memory, pending = self.buffers.nodes.leaders, self.buffers.memory, []
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
                pending.append(call(array[start : start + size], nodes[k], RESENT_TAG))
        for message in pending:
            message.Wait()

    def transfer(self) -> None:
        """Collective: call MPI, and nothing else."""
        memory = self.buffers.memory
        self.graph.Neighbor_alltoallv((memory.outgoing, self._leaving), (memory.incoming, self._arriving))

    def add_up(self) -> None:
        """Collective: add the sums for readouts over all nodes, where they travel apart."""
        tree.add_over_nodes(self.buffers.nodes.leaders, np.asarray(self.box.joined()), kernel.add_sums)

    def lay_out(self, n_steps: int) -> bool:
        """Place messages of rounds of `n_steps` steps, one after the other; return whether memory was taken."""
        box, post, rank = self.box, self.buffers, self.buffers.nodes.local.rank
        first = fixed_words(n_steps, 0 if box.apart else post.sums.n_readouts) - n_steps  # in a first part
        mine, n_targets = post.find_outgoing_parts(rank), len(post.targets)
        room, counts = (
            self._count_gap_words(self._n_outgoing, self._quotas[0]),
            np.full(len(self._n_outgoing), layout.HEADER),
        )
        counts[:n_targets] = first  # places of the counts in a part
        sizes = (counts + n_steps + room).reshape(len(post.starts[post.nodes.index]) - 1, n_targets)
        starts = (np.cumsum(sizes.T).reshape(sizes.T.shape) - sizes.T).T  # of parts, node by node
        self._leaves, self._leaving = (starts.ravel(), sizes.ravel()), (sizes.sum(axis=0), starts[0])
        box.steps, box.room, box.messages_out = n_steps, room[mine], starts[0].copy()
        box.leaves = self._leaves[0][mine].copy()
        box.leaves_counts = box.leaves + counts[mine]
        mine, firsts = post.find_incoming_parts(rank), np.cumsum([0, *(len(post.starts[r]) - 1 for r in post.sources)])
        counts = np.full(len(self._n_incoming), layout.HEADER)
        counts[firsts[:-1]] = first
        sizes = counts + n_steps + self._count_gap_words(self._n_incoming, self._quotas[1])
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
        return post.memory.allocate_words(int(self._leaving[0].sum()), int(ends[-1]))

    @staticmethod
    def _count_gap_words(listed: np.ndarray, quotas: np.ndarray) -> np.ndarray:
        """Return the words for the gaps of lists of some lengths."""
        return np.where(listed > 0, SLACK - (-listed * quotas // (2 * layout.QUOTA)), 0)

    def list_source_neurons(self) -> list[np.ndarray]:
        """Return the neurons that each log of `NodeBuffers.list_incoming_logs` may name, uint32 ascending."""
        return np.split(self._routes["numbers"], self._routes["first_number"][1:-1])[: len(self.box.arrives)]

    @property
    def received(self) -> int:
        """Bytes that this node receives from others in a round."""
        box, nodes = self.box, self.buffers.nodes
        sums = (
            tree.WORDS_OF_SUM
            * box.steps
            * self.buffers.sums.n_readouts
            * tree.count_received_messages(nodes.count, nodes.index)
        )
        return 4 * (int(self._arriving[0].sum()) + box.apart * sums)

    @property
    def nbytes(self) -> int:
        """Bytes of the messages and of the lists of listening nodes."""
        return self.buffers.memory.nbytes + sum(getattr(part, "nbytes", 0) for part in self._routes.values())


def _make_routes(lists: list[np.ndarray], first: np.ndarray, n_neurons: int) -> Values:
    """Return, by neuron, the parts that list it and its index in each, as CSR arrays.

    Each of `lists` has neurons, uint32, ascending, counted from the first neuron of the part, `first` (n_parts,),
    int64.
    """
    none, lengths = np.zeros(0, np.uint32), [len(part) for part in lists]
    neuron = np.concatenate([none, *(part + np.uint32(start) for part, start in zip(lists, first, strict=True))])
    order = np.argsort(neuron, kind="stable")
    parts = np.repeat(np.arange(len(lists), dtype=np.uint32), lengths)
    index = np.concatenate([none, *(np.arange(n, dtype=np.uint32) for n in lengths)])
    route_ptr = np.concatenate(([0], np.cumsum(np.bincount(neuron, minlength=n_neurons))))
    return {"route_ptr": route_ptr, "route_part": parts[order], "route_index": index[order]}


def _connect_kernel(box: kernel.Mailbox, comm: Comm, call: str) -> None:
    """Make compiled code call MPI, unless `comm` is a stub written in Python."""
    found = mpi.find_address(comm, call)
    if found:
        function, *handles = found
        box.connect(function or 0, *handles)
