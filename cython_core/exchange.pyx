"""What travels between ranks in one round: spike ids per step and readout signals, in one message of 32-bit words.

Message of a rank: [what is needed, ids, signals as doubles: rows of `slot` values, spikes per step, ids]. The first
word tells all others how much room the sender's largest message needs: words, or a quota where messages differ.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from pareprop.core.layout cimport HEADER, QUOTA
from pareprop.core.spike_log cimport SpikeLog


cdef class Mailbox:
    """Packs this rank's share of a round and merges all shares into the log, in ascending id."""

    cdef public int64_t slot                  # readout signals per step in a message, the most that a rank owns
    cdef public int64_t[::1] first_signal     # (n_ranks + 1), readouts of rank r: [r]..[r+1]
    cdef public SpikeLog own                  # of this rank's neurons
    cdef public SpikeLog merged               # of all neurons, or of those that this rank listens to
    cdef public uint32_t[::1] outgoing, incoming
    cdef public double[:, ::1] own_signal, signal
    cdef public int64_t[::1] arrives          # (n_ranks,), where in `incoming` the message of each rank starts
    cdef public int64_t[::1] cursor           # scratch (n_ranks,)
    # the neurons that have a number in this rank's log, if not all have: rank r's are numbers[first_number[r]..[r+1]]
    cdef public uint32_t[::1] numbers
    cdef public int64_t[::1] first_number
    cdef public bint numbered                 # ids in messages are to be looked up in `numbers`
    # where messages differ: the k-th own neuron goes to ranks route_rank[route_ptr[k]..[k+1]] as route_index
    cdef public int64_t first_id
    cdef public int64_t[::1] route_ptr
    cdef public uint32_t[::1] route_rank, route_index
    cdef public int64_t[::1] leaves           # (n_ranks,), where in `outgoing` the message to each rank starts
    cdef public int64_t[::1] room             # (n_ranks,), ids that fit into it
    cdef public int64_t[::1] listed           # (n_ranks,), own neurons that this rank's messages to it can name
    cdef public int64_t slack                 # ids that fit whatever the quota

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def pack(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last):
        """Write spikes of steps [first, last) and signals of [signal_first, signal_last) for all; return words needed.

        What does not fit into `outgoing` is not written; the header still tells how much is needed.
        """
        cdef int64_t place, n = self.own.at.ptr[last] - self.own.at.ptr[first]
        cdef int64_t need = HEADER + 2 * self.slot * (signal_last - signal_first) + (last - first) + n
        with nogil:
            self.outgoing[0] = <uint32_t> need
            self.outgoing[1] = <uint32_t> n
            if need <= self.outgoing.shape[0]:
                place = self.put_signals(HEADER, signal_first, signal_last)
                self.put_counts(place, first, last)
                if n:
                    memcpy(&self.outgoing[place + last - first], &self.own.at.ids[self.own.at.ptr[first]], 4 * n)
        return need

    def address(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last):
        """Write a message to each rank, with those spikes only that it listens to, by their index in its list.

        What does not fit is not written; all headers tell the quota that is needed.
        """
        cdef int64_t r, t, k, i, n, place, need = 0, n_ranks = self.leaves.shape[0]
        cdef int64_t fixed = HEADER + 2 * self.slot * (signal_last - signal_first)
        with nogil:
            for r in range(n_ranks):
                place = self.put_signals(self.leaves[r] + HEADER, signal_first, signal_last)
                for t in range(last - first):
                    self.outgoing[place + t] = 0
                self.cursor[r] = 0
            for t in range(first, last):
                for k in range(self.own.at.ptr[t], self.own.at.ptr[t + 1]):
                    n = self.own.at.ids[k] - self.first_id
                    for i in range(self.route_ptr[n], self.route_ptr[n + 1]):
                        r = self.route_rank[i]
                        place = self.leaves[r] + fixed
                        self.outgoing[place + t - first] += 1
                        if self.cursor[r] < self.room[r]:
                            self.outgoing[place + last - first + self.cursor[r]] = self.route_index[i]
                        self.cursor[r] += 1
            for r in range(n_ranks):
                n = self.cursor[r] - self.slack
                if self.cursor[r] > self.room[r]:
                    need = max(need, (n * QUOTA + self.listed[r] - 1) // self.listed[r])
            for r in range(n_ranks):
                self.outgoing[self.leaves[r]] = <uint32_t> need
                self.outgoing[self.leaves[r] + 1] = <uint32_t> self.cursor[r]

    cdef int64_t put_signals(self, int64_t place, int64_t first, int64_t last) noexcept nogil:
        cdef int64_t t, width = self.own_signal.shape[1]
        for t in range(first, last):
            if width:
                memcpy(&self.outgoing[place], &self.own_signal[t, 0], 8 * width)
            place += 2 * self.slot
        return place

    cdef void put_counts(self, int64_t place, int64_t first, int64_t last) noexcept nogil:
        cdef int64_t t
        for t in range(first, last):
            self.outgoing[place + t - first] = <uint32_t> (self.own.at.ptr[t + 1] - self.own.at.ptr[t])

    def take(self, int64_t capacity, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last):
        """Merge what arrived: append the spikes to the log, rank after rank in each step, and fill the signals.

        Returns
        -------
        int
            0 if all is done; else nothing is: the largest need that a header tells, above `capacity`.
        """
        cdef int64_t r, most = 0, total = self.merged.at.ptr[first], n_ranks = self.arrives.shape[0]
        for r in range(n_ranks):
            most = max(most, <int64_t> self.incoming[self.arrives[r]])
            total += self.incoming[self.arrives[r] + 1]
        if most > capacity:
            return most
        self.merged.make_room(total)
        with nogil:
            self.merge(first, last, signal_first, signal_last)
        return 0

    cdef void merge(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last) noexcept nogil:
        cdef int64_t r, t, n, width, counts, place = self.merged.at.ptr[first], n_ranks = self.arrives.shape[0]
        cdef int64_t signals = 2 * self.slot * (signal_last - signal_first)
        for r in range(n_ranks):
            width = self.first_signal[r + 1] - self.first_signal[r]
            if width:
                for t in range(signal_first, signal_last):
                    memcpy(&self.signal[t, self.first_signal[r]],
                           &self.incoming[self.arrives[r] + HEADER + 2 * self.slot * (t - signal_first)], 8 * width)
            self.cursor[r] = self.arrives[r] + HEADER + signals + (last - first)
        for t in range(first, last):
            for r in range(n_ranks):
                counts = self.arrives[r] + HEADER + signals
                n = self.incoming[counts + t - first]
                if n:
                    place += self.put_ids(r, self.cursor[r], n, place)
                self.cursor[r] += n
            self.merged.at.ptr[t + 1] = place

    cdef int64_t put_ids(self, int64_t r, int64_t start, int64_t n, int64_t place) noexcept nogil:
        """Write `n` ids of rank r to the log at `place`; return how many of them have a number here."""
        cdef int64_t k, low, high, middle, stride, end, found = 0
        cdef uint32_t source
        if self.route_ptr.shape[0]:  # indices in a list of this rank's own
            for k in range(n):
                self.merged.at.ids[place + k] = <uint32_t> (self.first_number[r] + self.incoming[start + k])
            return n
        if not self.numbered:
            memcpy(&self.merged.at.ids[place], &self.incoming[start], 4 * n)
            return n
        low, end = self.first_number[r], self.first_number[r + 1]
        for k in range(n):
            source = self.incoming[start + k]
            high, stride = low, 1  # not far from the one before, in strides that double
            while high < end and self.numbers[high] < source:
                low = high + 1
                high += stride
                stride *= 2
            high = min(high, end)
            while low < high:
                middle = (low + high) >> 1
                if self.numbers[middle] < source:
                    low = middle + 1
                else:
                    high = middle
            if low < end and self.numbers[low] == source:
                self.merged.at.ids[place + found] = <uint32_t> low
                found += 1
        return found
