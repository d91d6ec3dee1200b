"""The exchange of one round between ranks: spikes, and sums of what they bring to the readouts.

`Alone` (one process) and `Ranks` (MPI) are two implementations of one small interface, the only difference that the
loop knows; they stand in one file to be compared. Ranks of a node write their spikes into one shared log; the leaders
of several nodes send messages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..kernels import readout_sums
from ..kernels import rounds as kernel
from ..timers import Timers
from .channel import Channel, ChannelSizes, Choice, choose_within, open_alone
from .collectives import any_bits, raise_together
from .messages import AllgatherSender, AlltoallvSender, Sources
from .mpi import Comm
from .node import Nodes, find_nodes, is_crowded, make_rank_lost
from .replicas import Replicas
from .shared_memory import Layout, SharedMemory, require_shared
from .spike_log import SegmentedLog, SpikeLog

WORTHWHILE = 0.75  # targeted sending pays if nodes listen to a smaller share of the neurons
SENDINGS = ("counted", "everything", "targeted", "measured")  # the last one is an old name of the first


class Exchange(Protocol):
    """Interface of the simulation to the other ranks.

    Attributes
    ----------
    rank, size : int
        This rank, and the number of ranks.
    comm : communicator or None
        Communicator of the ranks, None for one process.
    sending : str
        How spikes travel, in a word.
    replicas : Replicas
        Groups of ranks of which these ranks are one.
    """

    rank: int
    size: int
    comm: Comm
    sending: str
    replicas: Replicas

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""

    @property
    def received_bytes(self) -> int:
        """Bytes that this rank receives from other nodes in a round."""

    def require_memory(self, terms: ChannelSizes) -> None:
        """Collective: raise `InputError` if there is too little shared memory for a network."""

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate logs and signals, and connect the ranks.

        Parameters
        ----------
        terms : ChannelSizes
            Sizes that the engine asks for.
        sources : Sources or None
            Neurons that this rank listens to; None: all.

        Returns
        -------
        Channel
            Logs and signals of this rank.

        Raises
        ------
        InputError
            On all ranks, if there is too little shared memory.
        """

    def listen(self, heard: Callable[[], np.ndarray], changed: bool) -> None:
        """Collective: tell other nodes anew to which neurons this rank listens, if synapses moved.

        Parameters
        ----------
        heard : callable
            Returns int64 (n_heard,) ascending, the neurons with targets on this rank, and its own.
        changed : bool
            Whether synapses of this rank moved.
        """

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: broadcast the log that `Channel.all_spikes_on_root` returned on rank 0.

        Parameters
        ----------
        log : SpikeLog
            That log; ignored on other ranks.
        n_steps : int
            Steps of it.

        Returns
        -------
        SpikeLog
            The log of rank 0, on all ranks.
        """


def add_times(meeting: kernel.Meeting, timers: Timers) -> None:
    """Move seconds from a meeting to the timers.

    `wait` until the others arrived, `look_up` to choose the spikes that this rank listens to, `communicate` for the
    rest.
    """
    timers.add("wait", meeting.waited)
    timers.add("communicate", meeting.transferred)
    timers.add("look_up", meeting.looked_up)
    meeting.waited = meeting.transferred = meeting.looked_up = 0.0


class Alone:
    """One process: its log is the log of all neurons, and there is no rank to wait for."""

    rank = 0
    size = 1
    comm: Comm = None
    sending = ""
    nbytes = received_bytes = 0

    def __init__(self, replicas: Replicas | None = None) -> None:
        self.replicas = replicas or Replicas()

    def require_memory(self, terms: ChannelSizes) -> None:
        """Do nothing: one process needs no shared memory."""

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Allocate logs and signals."""
        return open_alone(terms, terms.n_neurons)

    def listen(self, heard: Callable[[], np.ndarray], changed: bool) -> None:
        """Do nothing: one process has all spikes."""

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Return `log`."""
        return log


class Ranks:
    """The ranks of an MPI communicator.

    Parameters
    ----------
    comm : communicator
        Of mpi4py, its ranks numbered node by node.
    ways : str
        Between nodes "everything" to all, "targeted" to those that listen, or "counted": targeted where nodes listen
        to a part of the neurons only.
    replicas : Replicas or None
        Groups of ranks of which the communicator is one; None: there is one group.

    Attributes
    ----------
    nodes : Nodes
        Nodes of the communicator.
    sender : AllgatherSender, AlltoallvSender or None
        Sends messages to other nodes, on the leaders of nodes; None elsewhere and where there is one node.

    Raises
    ------
    InputError
        If the ranks of a node are not numbered one after the other.
    """

    def __init__(self, comm: Comm, ways: str = "counted", replicas: Replicas | None = None) -> None:
        self.comm, self.ways, self.replicas = comm, ways, replicas or Replicas()
        self.rank, self.size = comm.rank, comm.size
        self.nodes: Nodes = find_nodes(comm)
        self.sender: AllgatherSender | AlltoallvSender | None = None
        self.sending = "shared"

    def _layout(self, terms: ChannelSizes) -> Layout:
        """Return the layout with one log for each rank of this node and for each other node, in ascending ids."""
        first, nodes = terms.firsts(self.size), self.nodes
        low, high = nodes.starts[nodes.index : nodes.index + 2]
        bounds = np.unique([*nodes.starts, *range(low, high)])  # first rank of each log, and the end
        return Layout(nodes.local.size, np.diff(first[bounds]), terms.length, terms.summed_steps, terms.n_readouts)

    def require_memory(self, terms: ChannelSizes) -> None:
        """Collective: raise `InputError` if there is too little shared memory for a network."""
        problem = None
        try:
            if self.nodes.local.rank == 0:
                require_shared(self._layout(terms).initial_bytes())
        except InputError as error:
            problem = error
        raise_together(self.comm, problem)

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate shared memory, and connect the ranks."""
        nodes, local, layout = self.nodes, self.nodes.local, self._layout(terms)
        memory = SharedMemory(self.comm, nodes, layout)
        place = nodes.index + local.rank  # of this rank's log
        logs, problem = [], None
        try:
            for k in range(len(layout.neurons)):
                foreign = not nodes.index <= k < nodes.index + local.size
                logs.append(memory.log(k, writes=k == place or (foreign and local.rank == 0)))
        except InputError as error:
            problem = error
        raise_together(self.comm, problem)
        first = terms.firsts(self.size)
        written: list[tuple[Any, Choice]] = [(logs[place], choose_within(*first[self.rank : self.rank + 2]))]
        holder: list[Any] = []
        n_sharing = min(terms.n_sharing or self.size, local.size)  # counts where there is one node
        meeting = kernel.NodeMeeting(
            local.rank, memory.lines(), memory.fd,
            lambda rank: make_rank_lost(int(nodes.starts[nodes.index]), holder, local.rank, rank), is_crowded(local),
            n_sharing,
        )  # fmt: skip
        holder.append(meeting)
        every = SegmentedLog(logs)
        heard, signal = every, np.zeros((terms.n_steps, terms.n_readouts))
        sums = memory.sums(local.rank, n_sharing, joined=nodes.count > 1)
        if nodes.count > 1:
            written += self._connect(meeting, terms, sources, logs, sums)
        if any(self.comm.allgather(sources is not None and sources.ids is not None)):
            if sources is not None and sources.ids is not None:
                numbered = SpikeLog(terms.length)
                heard = SegmentedLog([numbered])
                meeting.number(every, numbered, *sources.index())
                written.append((numbered, sources.number_spikes))
        whole = every if self.sending != "targeted" else None
        return Channel(logs[place], heard, sums, signal, meeting, written, whole, self.comm, [memory])

    def _connect(
        self, meeting: Any, terms: ChannelSizes, sources: Sources | None, logs: list[Any],
        sums: readout_sums.ReadoutSums,
    ) -> list[tuple[Any, Choice]]:  # fmt: skip
        """Collective: connect the leaders of nodes; return the logs of other nodes, which this rank writes to."""
        nodes, local = self.nodes, self.nodes.local
        ids = self._of_node(None if sources is None else sources.sent)
        listened = Sources(terms.n_neurons, ids)
        first = terms.firsts(self.size)[nodes.starts]
        here = range(nodes.index, nodes.index + local.size)
        others = [log for k, log in enumerate(logs) if k not in here]
        self.sending = self._way(terms.n_neurons if ids is None else len(ids), terms.n_neurons)
        if local.rank:
            meeting.connect(None)
            return []
        received = [*others[: nodes.index], SpikeLog(0, 0), *others[nodes.index :]]
        arrays: dict[str, Any] = {
            "index": nodes.index, "sums": sums,
            "own": SegmentedLog([logs[k] for k in here]), "received": SegmentedLog(received),
        }  # fmt: skip
        self._parts = meeting, arrays, first, listened
        self.sender = (
            self._make_targeted(arrays, listened, first)
            if self.sending == "targeted"
            else AllgatherSender(nodes.leaders, arrays)
        )
        meeting.connect(self.sender.box, partial(any_bits, nodes.leaders))
        bounds = [first[r : r + 2] for r in range(nodes.count) if r != nodes.index]
        return [(log, choose_within(*pair)) for log, pair in zip(others, bounds, strict=True)]

    def _of_node(self, own: np.ndarray | None) -> np.ndarray | None:
        """Collective in the node: return the neurons that its ranks listen to, None for all."""
        parts = self.nodes.local.allgather(own)
        return None if any(part is None for part in parts) else np.unique(np.concatenate(parts))

    def listen(self, heard: Callable[[], np.ndarray], changed: bool) -> None:
        """Collective: tell other nodes anew to which neurons this one listens, if synapses moved on any rank.

        A neuron that lost its targets is still heard until another one is new: to hear too much changes nothing.
        """
        if self.sending != "targeted" or not any(self.comm.allgather(changed)):
            return
        ids = self._of_node(heard())
        if self.nodes.local.rank:
            return
        meeting, arrays, first, before = self._parts
        assert self.sender is not None  # of the leader of a node
        news = before.ids is not None and (ids is None or not np.isin(ids, before.ids).all())
        if not any(self.nodes.leaders.allgather(news)):
            return
        listened, quota = Sources(before.n, ids), self.sender.box.capacity
        self._parts = meeting, arrays, first, listened
        self.sender = self._make_targeted(arrays, listened, first, quota)
        meeting.connect(self.sender.box, partial(any_bits, self.nodes.leaders))

    def _way(self, n_heard: int, n_neurons: int) -> str:
        """Collective: choose the way to send by counts, the same on all ranks."""
        if self.ways in ("everything", "targeted"):
            return self.ways
        heard = self.comm.allgather(n_heard)
        return "targeted" if sum(heard) <= WORTHWHILE * n_neurons * self.size else "everything"

    def _make_targeted(
        self, arrays: dict[str, Any], sources: Sources, first: np.ndarray, quota: int = 0
    ) -> AlltoallvSender:
        """Collective among leaders: exchange the lists of neurons to listen to, and make the sender."""
        index, leaders = self.nodes.index, self.nodes.leaders
        wanted = sources.lists(first)
        wanted[index] = wanted[index][:0]  # this node has its own spikes
        heard = np.array([len(part) for part in wanted], np.int64)
        numbers = np.concatenate([part + start for part, start in zip(wanted, first[:-1], strict=True)])
        more = {
            "first_id": int(first[index]), "numbers": numbers.astype(np.uint32),
            "first_number": np.concatenate(([0], np.cumsum(heard))),
        }  # fmt: skip
        lists = leaders.alltoall(wanted)
        return AlltoallvSender(leaders, arrays | more, lists, heard, int(first[index + 1] - first[index]), quota)

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: broadcast the log that `Channel.all_spikes_on_root` returned on rank 0."""
        arrays = (log.ids[: log.ptr[n_steps]], log.ptr[: n_steps + 1]) if self.rank == 0 else None
        return SpikeLog.from_arrays(*self.comm.bcast(arrays))

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return self.sender.nbytes if self.sender else 0

    @property
    def received_bytes(self) -> int:
        """Bytes that this rank receives from other nodes in a round; 0 unless it is the leader of its node."""
        return self.sender.received if self.sender else 0
