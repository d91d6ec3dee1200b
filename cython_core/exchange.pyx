"""What travels between ranks in one round: spike ids per step and readout signals, in one message of 32-bit words.

Message of a rank: [words needed, ids, signals as doubles: rows of `slot` values, spikes per step, ids].
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    HEADER = 2


cdef class Mailbox:
    """Packs this rank's share of a round and merges all shares into the log, in ascending id."""

    cdef public int64_t slot                  # readout signals per step in a message, the most that a rank owns
    cdef public int64_t[::1] first_signal     # (n_ranks + 1), readouts of rank r: [r]..[r+1]
    cdef public uint32_t[::1] own_ids, log_ids, outgoing, incoming
    cdef public int64_t[::1] own_ptr, log_ptr
    cdef public double[:, ::1] own_signal, signal

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def pack(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last):
        """Write spikes of steps [first, last) and signals of [signal_first, signal_last); return the words needed.

        What does not fit into `outgoing` is not written; the header still tells how much is needed.
        """
        cdef int64_t t, place = HEADER, n = self.own_ptr[last] - self.own_ptr[first]
        cdef int64_t need = HEADER + 2 * self.slot * (signal_last - signal_first) + (last - first) + n
        cdef int64_t width = self.own_signal.shape[1]
        with nogil:
            self.outgoing[0] = <uint32_t> need
            self.outgoing[1] = <uint32_t> n
            if need <= self.outgoing.shape[0]:
                for t in range(signal_first, signal_last):
                    if width:
                        memcpy(&self.outgoing[place], &self.own_signal[t, 0], 8 * width)
                    place += 2 * self.slot
                for t in range(first, last):
                    self.outgoing[place] = <uint32_t> (self.own_ptr[t + 1] - self.own_ptr[t])
                    place += 1
                if n:
                    memcpy(&self.outgoing[place], &self.own_ids[self.own_ptr[first]], 4 * n)
        return need

    def needs(self, int64_t n_ranks):
        """Return the largest message in words and the sum of ids of all ranks, from the headers received."""
        cdef int64_t r, most = 0, total = 0, stride = self.incoming.shape[0] // n_ranks
        for r in range(n_ranks):
            most = max(most, <int64_t> self.incoming[r * stride])
            total += self.incoming[r * stride + 1]
        return most, total

    def merge(self, int64_t n_ranks, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last,
              int64_t[::1] cursor):
        """Append the round's spikes to the log, rank after rank in each step, and fill the signals.

        Parameters
        ----------
        cursor : scratch (n_ranks,)
        """
        cdef int64_t r, t, n, width, counts, place = self.log_ptr[first], stride = self.incoming.shape[0] // n_ranks
        cdef int64_t signals = 2 * self.slot * (signal_last - signal_first)
        with nogil:
            for r in range(n_ranks):
                width = self.first_signal[r + 1] - self.first_signal[r]
                if width:
                    for t in range(signal_first, signal_last):
                        memcpy(&self.signal[t, self.first_signal[r]],
                               &self.incoming[r * stride + HEADER + 2 * self.slot * (t - signal_first)], 8 * width)
                cursor[r] = r * stride + HEADER + signals + (last - first)
            for t in range(first, last):
                for r in range(n_ranks):
                    counts = r * stride + HEADER + signals
                    n = self.incoming[counts + t - first]
                    if n:
                        memcpy(&self.log_ids[place], &self.incoming[cursor[r]], 4 * n)
                    cursor[r] += n
                    place += n
                self.log_ptr[t + 1] = place
