"""The memory that the ranks of a node share: its layout, and the logs, sums and messages in it."""

from __future__ import annotations

import mmap
import os
import secrets
import socket
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError, RankLost
from ..kernels import readout_sums
from ..kernels import rounds as kernel
from .collectives import raise_together
from .mpi import Comm
from .node import Nodes
from .spike_log import SharedSpikeLog

SHARED = Path("/dev/shm")  # POSIX shared memory
PAGE = 4096
HUGE = 2 * 2**20  # bytes of a huge page
SPIKES_PER_NEURON = 4  # a log has room at first for so many spikes per neuron
SPARE_SPIKES = 1024  # and for so many more
SECRET_BYTES = 16  # bytes of the secret that ranks of a node show each other
SECRET_TIMEOUT = 10.0  # seconds that somebody may take to show the secret


_open_memories: weakref.WeakSet[NodeMemory] = weakref.WeakSet()  # all shared memory of this process


def release_locks() -> None:
    """Release the locks that show other ranks that this rank is alive: it will run no further round."""
    for memory in _open_memories:
        kernel.unlock(memory.fd)


class Words(NamedTuple):
    """Words (4 bytes) of messages: how many are expected in a run, and the most that there can be."""

    expected: int = 0
    most: int = 0


NO_WORDS = Words()


@dataclass(frozen=True)
class Layout:
    """Layout of the shared memory of a node: data of its ranks, ends of steps, sums for readouts, ids, messages.

    `neurons` is the number of neurons of each log, int64 (n_segments,); logs have `length` steps. Sums have the shape
    (`summed_steps`, `n_readouts`). `outgoing` and `incoming` are the words of all messages to and from other nodes.
    """

    n_ranks: int
    neurons: np.ndarray
    length: int
    summed_steps: int
    n_readouts: int
    outgoing: Words = NO_WORDS
    incoming: Words = NO_WORDS

    @property
    def ptr_byte(self) -> int:
        """Offset in bytes of the ends of steps, after the sums."""
        return self.sums_byte + 8 * self.n_sums

    @property
    def sums_byte(self) -> int:
        """Offset in bytes of the sums, after the lines of the ranks."""
        return 8 * kernel.NodeMeeting.columns() * (self.n_ranks + 1)

    @property
    def n_sums(self) -> int:
        """Numbers of the sums: a part for each rank, and one for all nodes."""
        return (self.n_ranks + 1) * readout_sums.ReadoutSums.room(self.summed_steps, self.n_readouts)

    @property
    def ids_bytes(self) -> np.ndarray:
        """Offsets in bytes of the ids of each log, and the end: far enough apart for all neurons in each step."""
        first = _round_to_pages(self.ptr_byte + 8 * len(self.neurons) * (self.length + 1))
        sizes = [_round_to_pages(4 * int(n) * self.length) for n in self.neurons]
        return first + np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))

    @property
    def message_bytes(self) -> tuple[int, int, int]:
        """Offsets in bytes of messages that leave, of those that come, and the end."""
        first = int(self.ids_bytes[-1])
        second = first + _round_to_pages(4 * self.outgoing.most)
        return first, second, second + _round_to_pages(4 * self.incoming.most)

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole, of which memory is taken as it is needed."""
        return self.message_bytes[-1]

    @property
    def first_bytes(self) -> int:
        """Bytes that are taken at once."""
        return int(self.ids_bytes[0])

    def initial_bytes(self) -> int:
        """Return the bytes that are allocated at first, and for messages."""
        logs = sum(_round_to_pages(4 * count_initial_spikes(int(n), self.length)) for n in self.neurons)
        return int(self.ids_bytes[0] + logs + 4 * (self.outgoing.expected + self.incoming.expected))


@dataclass(frozen=True)
class FlatLayout:
    """Layout of memory that is all taken at once."""

    n_bytes: int

    @property
    def first_bytes(self) -> int:
        """Bytes that are taken at once."""
        return self.n_bytes

    def initial_bytes(self) -> int:
        """Return the bytes that are needed."""
        return self.n_bytes


def _round_to_pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE) * PAGE


def count_initial_spikes(n_neurons: int, length: int) -> int:
    """Return the number of spikes that the log of `n_neurons` neurons over `length` steps has room for at first."""
    return min(SPIKES_PER_NEURON * n_neurons + SPARE_SPIKES, n_neurons * length)


def require_shared(need: int) -> None:
    """Raise `InputError` unless a node has `need` bytes of shared memory left."""
    status = os.statvfs(SHARED)
    free = status.f_bavail * status.f_frsize
    if free < need:
        raise InputError(
            f"{SHARED} has {free} bytes left, this node needs {need} of shared memory at least: enlarge it "
            "(in a container by --shm-size), or start fewer ranks per node"
        )


class NodeMemory:
    """Memory that the ranks of a node share; it is freed when they end, also when they are killed.

    The constructor is collective over `comm`, and raises `InputError` on all ranks if there is too little shared
    memory.
    """

    def __init__(self, comm: Comm, nodes: Nodes, layout: Layout | FlatLayout) -> None:
        local = nodes.local
        made, problem = -1, None
        if local.rank == 0:
            made, problem = _create_file(layout)
        raise_together(comm, local.bcast(problem))
        try:
            got = _distribute_descriptor(comm, local, made)
            self.fd = os.open(f"/proc/self/fd/{got}", os.O_RDWR)  # opened on each rank: locks belong to the file
            os.close(got)
            weakref.finalize(self, os.close, self.fd).atexit = False  # until the process ends, see `release_locks`
        except OSError as error:
            problem = InputError(f"the shared memory of this node cannot be opened: {error.strerror or error}")
        raise_together(comm, problem)
        self._map = mmap.mmap(self.fd, max(layout.n_bytes, 1))
        if layout.initial_bytes() >= HUGE * local.size and hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)  # small logs would grow by a page each, and gain nothing
        _open_memories.add(self)

    def view_array(self, kind: DTypeLike, count: int, first_byte: int) -> np.ndarray:
        """Return an array of the memory, which lives as long as its arrays do."""
        return np.frombuffer(self._map, kind, count, int(first_byte)) if count else np.zeros(0, kind)


class SharedMemory(NodeMemory):
    """The logs, sums and messages in the memory of a node.

    The constructor takes the parameters of `NodeMemory`.
    """

    def __init__(self, comm: Comm, nodes: Nodes, layout: Layout) -> None:
        super().__init__(comm, nodes, layout)
        self.layout = layout

    def view_cache_lines(self) -> np.ndarray:
        """Return the lines of the ranks, int64 (n_ranks + 1, n_columns)."""
        columns = kernel.NodeMeeting.columns()
        return self.view_array(np.int64, (self.layout.n_ranks + 1) * columns, 0).reshape(-1, columns)

    def view_sums(self, rank: int, sharing: int, joined: bool) -> readout_sums.ReadoutSums:
        """Return the sums for the readouts; ranks 0 to `sharing` - 1 of a single node have parts of the sums.

        With `joined` there are several nodes: the leader adds up the sums that all ranks read.
        """
        layout, n = self.layout, self.layout.n_ranks
        numbers = self.view_array(np.int64, layout.n_sums, layout.sums_byte) if layout.n_sums else np.zeros(0, np.int64)
        return readout_sums.ReadoutSums(
            numbers, layout.summed_steps, layout.n_readouts, rank, (n, n + 1) if joined else (0, sharing)
        )

    def view_messages(self, writes: bool) -> MessageMemory:
        """Return the memory of messages; the rank that `writes`, the leader, allocates it as they grow."""
        leaves, comes, _ = self.layout.message_bytes
        words = self.layout.outgoing.most, self.layout.incoming.most
        arrays = self.view_array(np.uint32, words[0], leaves), self.view_array(np.uint32, words[1], comes)
        return MessageMemory(*arrays, self.fd if writes else -1, (leaves, comes))

    def view_log(self, segment: int, writes: bool) -> SharedSpikeLog:
        """Return the log of a segment (see `Layout.neurons`), in shared memory; `writes`: this rank writes to it."""
        layout, first = self.layout, int(self.layout.ids_bytes[segment])
        length = layout.length + 1
        ptr = self.view_array(np.int64, length, layout.ptr_byte + 8 * segment * length)
        n = int(layout.neurons[segment]) * layout.length
        ids = self.view_array(np.uint32, n, first)
        capacity = count_initial_spikes(int(layout.neurons[segment]), layout.length)
        log = SharedSpikeLog(
            self.fd if writes else -1, first, ids, ptr, capacity, lambda p: InputError(_describe_shortage(p))
        )
        log.full = lambda problem: RankLost(_describe_shortage(problem), speaks=True)  # in the middle of a round
        return log


class MessageMemory:
    """Memory of the messages that leave a node and that arrive, shared by its ranks.

    `outgoing` and `incoming` are uint32, as long as messages can become; only the first `words`, equal on all ranks of
    the node, are allocated.
    """

    def __init__(self, outgoing: np.ndarray, incoming: np.ndarray, fd: int, starts: tuple[int, int]) -> None:
        self.outgoing, self.incoming, self._fd, self._starts = outgoing, incoming, fd, starts
        self.words = 0, 0

    def allocate_words(self, outgoing: int, incoming: int) -> bool:
        """Allocate memory for so many words; return False if it was allocated before.

        All ranks of a node call it with the same numbers, and wait for the leader if it returns True. The leader raises
        `RankLost` if there is no more memory.
        """
        wanted = max(outgoing, self.words[0]), max(incoming, self.words[1])
        if wanted == self.words:
            return False
        self.words = wanted
        if self._fd >= 0:
            for start, words in zip(self._starts, wanted, strict=True):
                try:
                    os.posix_fallocate(self._fd, start, max(4 * words, 1))  # a node may receive from no other one
                except OSError as problem:
                    raise RankLost(_describe_shortage(problem), speaks=True) from None  # in the middle of a round
        return True

    @property
    def nbytes(self) -> int:
        """Bytes that this rank allocated for all."""
        return 4 * sum(self.words) if self._fd >= 0 else 0


def _describe_shortage(problem: OSError) -> str:
    return f"{SHARED} has no room for more spikes of the ranks of this node: {problem.strerror}"


def _distribute_descriptor(comm: Comm, local: Comm, made: int) -> int:
    """Collective: return on each rank of a node a descriptor of the file that its leader has `made`.

    A socket without a name in the file system transfers it, so that nothing remains when a rank is killed. The open
    files of a process cannot be opened through /proc from another user namespace, such as a container.
    """
    with socket.socket(socket.AF_UNIX) as own:
        problem: Exception | None = None
        try:
            if local.rank == 0:
                own.bind(b"")  # the system finds a name, which all users may know
                own.listen(local.size)
        except OSError as error:
            problem = error
        place, secret, problem = local.bcast((own.getsockname(), secrets.token_bytes(SECRET_BYTES), problem))
        try:
            if local.rank > 0 and problem is None:
                own.connect(place)
                own.sendall(secret)
        except OSError as error:
            problem = error
        reason = f"ranks of this node cannot reach each other by a socket: {problem}"
        raise_together(comm, None if problem is None else InputError(reason))  # all wait for each other, or nobody
        if local.rank > 0:
            _, descriptors, _, _ = socket.recv_fds(own, 1, 1)
            if not descriptors:
                raise OSError("its leader has ended")
            return descriptors[0]
        waiting = local.size - 1
        while waiting:
            other, _ = own.accept()
            with other, suppress(OSError):  # of somebody else, who does not know the secret
                other.settimeout(SECRET_TIMEOUT)
                if secrets.compare_digest(other.recv(SECRET_BYTES, socket.MSG_WAITALL), secret):
                    socket.send_fds(other, [b"."], [made])
                    waiting -= 1
    return made


def _create_file(layout: Layout | FlatLayout) -> tuple[int, InputError | None]:
    """Return a file that never has a name, so that nothing is left of it whenever this process is killed."""
    fd, problem = -1, None
    try:
        require_shared(layout.initial_bytes())
        fd = os.open(SHARED, os.O_RDWR | os.O_TMPFILE, 0o600)
        os.ftruncate(fd, max(layout.n_bytes, 1))
        os.posix_fallocate(fd, 0, max(layout.first_bytes, 1))
    except InputError as error:
        problem = error
    except OSError as error:
        problem = InputError(f"{SHARED} has no room for {layout.initial_bytes()} bytes: {error.strerror}")
    if problem is not None and fd >= 0:
        os.close(fd)
    return fd, problem
