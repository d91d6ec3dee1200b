"""The exchange of one round between ranks: spikes and readout signals in one message.

`Alone` (one process) and `Ranks` (MPI) are two implementations of one small interface, the only difference that the
loop knows.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .kernels import exchange as kernel
from .partition import block
from .replicas import Replicas
from .spikelog import Log

GROWTH = 1.25  # room beyond the largest message seen, so that a second message is rare
HEADER = 2  # words before the signals in a message


def grown(need: int) -> int:
    """Words to make room for when a message needs `need`."""
    return int(need * GROWTH)


def buffer_bytes(words: int, size: int) -> int:
    """Bytes of a rank's own message and those of all `size` ranks."""
    return 4 * words * (1 + size)


class Exchange(Protocol):
    """What the simulation needs to know of the other ranks."""

    rank: int
    size: int
    comm: Any
    replicas: Replicas

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""

    def bind(self, own: Log, merged: Log, own_signal: np.ndarray, signal: np.ndarray) -> None:
        """Name the arrays to exchange: this rank's log and signals (T, own readouts), the merged ones."""

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: exchange spikes of steps [first, last) and signals of steps [signal_first, signal_last)."""


class Alone:
    """One process: the own log is the log, nobody to wait for."""

    rank = 0
    size = 1
    comm: Any = None
    nbytes = 0

    def __init__(self, replicas: Replicas | None = None) -> None:
        self.replicas = replicas or Replicas()

    def bind(self, own: Log, merged: Log, own_signal: np.ndarray, signal: np.ndarray) -> None:
        """Keep the signals; logs are the same."""
        self._signals = (own_signal, signal)

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Copy the signals if they are kept apart."""
        own, merged = self._signals
        if own is not merged:
            merged[signal_first:signal_last] = own[signal_first:signal_last]


class Ranks:
    """The ranks of an MPI communicator, one Allgather of a fixed size per round (a second one when it did not fit).

    Parameters
    ----------
    comm : mpi4py communicator
    replicas : groups of which the communicator is one
    """

    def __init__(self, comm, replicas: Replicas | None = None) -> None:
        self.comm, self.replicas = comm, replicas or Replicas()
        self.rank, self.size = comm.rank, comm.size
        self._cursor = np.zeros(self.size, np.int64)
        self.words = 256

    def bind(self, own: Log, merged: Log, own_signal: np.ndarray, signal: np.ndarray) -> None:
        """Name the arrays to exchange."""
        n = signal.shape[1]
        firsts = np.array([block(n, self.size, rank)[0] for rank in range(self.size)] + [n], np.int64)
        self._own, self._merged = own, merged
        self._box = kernel.Mailbox(
            {
                "slot": int(np.diff(firsts).max()), "first_signal": firsts,
                "own_signal": own_signal, "signal": signal,
            }
        )  # fmt: skip
        self._resize(self.words)

    def _resize(self, words: int) -> None:
        self.words = words
        self._outgoing = np.zeros(words, np.uint32)
        self._incoming = np.zeros(words * self.size, np.uint32)
        self._box.outgoing, self._box.incoming = self._outgoing, self._incoming

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: exchange spikes of steps [first, last) and signals of steps [signal_first, signal_last)."""
        box = self._box
        box.own_ids, box.own_ptr = self._own.ids, self._own.ptr
        while True:
            box.pack(first, last, signal_first, signal_last)
            self.comm.Allgather(self._outgoing, self._incoming)
            need, total = box.needs(self.size)
            if need <= self.words:
                break
            self._resize(grown(need))  # every rank sees the same need and repeats
        self._merged.reserve(int(self._merged.ptr[first]) + total)
        box.log_ids, box.log_ptr = self._merged.ids, self._merged.ptr
        box.merge(self.size, first, last, signal_first, signal_last, self._cursor)

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return buffer_bytes(self.words, self.size)
