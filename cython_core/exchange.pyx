"""What travels between nodes in one round: spike ids per step and sums for readouts, in one message of 32-bit words.

Message of a node: [what is needed, ids, lag, sums of the node by step and readout, spikes per step, ids]. The first
word tells all others how much room the sender's largest message needs: words, or a quota where messages differ. The
third one is how long the sender's last exchange took: the node that came last to it waited for none, so the shortest of
these is what the transfer took.
"""

from libc.stdint cimport int64_t, intptr_t, uint32_t
from libc.string cimport memcpy

from pareprop.core.layout cimport HEADER, QUOTA
from pareprop.core.readout_sums cimport ExactSum, ReadoutSums, add_sum
from pareprop.core.rounds cimport Meeting
from pareprop.core.spike_log cimport SegmentedLog
from pareprop.core.stopwatch cimport now

# MPI's calls, found at run time: handles are pointers, or 32-bit numbers in the low half of one.
ctypedef int (*allgather_call)(const void*, int, intptr_t, void*, int, intptr_t, intptr_t) noexcept nogil
ctypedef int (*alltoallv_call)(
    const void*, const int*, const int*, intptr_t, void*, const int*, const int*, intptr_t, intptr_t
) noexcept nogil

cdef double LAG = 1e-7                        # seconds, unit of lags in messages


cdef class Mailbox(Meeting):
    """Packs this node's share of a round and writes those of the other nodes to their logs.

    Attributes
    ----------
    sender : object
        Has `transfer()` for communicators that are not MPI's, `resize(need)` and `lay_out(fixed)`.
    """

    cdef public int64_t index                 # of this node
    cdef public ReadoutSums sums              # of the ranks of this node, and of all nodes
    cdef public SegmentedLog own              # of the ranks of this node
    cdef public SegmentedLog received         # of each node; that of this node is not written to
    cdef public uint32_t[::1] outgoing, incoming
    cdef public int64_t[::1] arrives          # (n_nodes,), where in `incoming` the message of each node starts
    cdef public int64_t[::1] cursor           # scratch (n_nodes,)
    cdef public int64_t capacity              # words of a message, or the quota
    cdef public object sender
    # where messages differ: the k-th own neuron goes to nodes route_rank[route_ptr[k]..[k+1]] as route_index
    cdef public bint targeted
    cdef public int64_t fixed                 # words of a message beside its ids, for which it is laid out
    cdef public int64_t first_id
    cdef public int64_t[::1] route_ptr
    cdef public uint32_t[::1] route_rank, route_index
    cdef public uint32_t[::1] numbers         # neurons that this node listens to, those of node r:
    cdef public int64_t[::1] first_number     # numbers[first_number[r]..[r+1]]
    cdef public int64_t[::1] leaves           # (n_nodes,), where in `outgoing` the message to each node starts
    cdef public int64_t[::1] room             # (n_nodes,), ids that fit into it
    cdef public int64_t[::1] listed           # (n_nodes,), own neurons that this node's messages to it can name
    cdef public int64_t slack                 # ids that fit whatever the quota
    cdef public int[::1] leaving, leaving_at, arriving, arriving_at   # sizes and starts for MPI
    cdef intptr_t call, comm, datatype
    cdef uint32_t lag

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def connect(self, intptr_t call, intptr_t comm, intptr_t datatype):
        """Use MPI's Allgather, or Alltoallv if `targeted`, at the address `call`, with these handles."""
        self.call, self.comm, self.datatype = call, comm, datatype

    cdef int meet(self, int64_t first, int64_t last) except -1 nogil:
        cdef double spent
        cdef int64_t need
        self.sums.join(last - first)
        self.send(first, last)
        spent = self.transfer()
        while True:
            need = self.needed()
            if need <= self.capacity:
                break
            with gil:                         # every node sees the same need and repeats
                self.sender.resize(need)
            self.send(first, last)
            spent += self.transfer()
        self.take(first, last)
        self.account(spent)
        return 0

    cdef void account(self, double spent) noexcept nogil:
        """Tell waiting from transfer in the exchange before this one."""
        cdef int64_t r
        cdef uint32_t least = self.lag
        for r in range(self.arrives.shape[0]):
            least = min(least, self.incoming[self.arrives[r] + 2])
        self.transferred += LAG * least
        self.waited += LAG * (self.lag - least)
        self.lag = <uint32_t> min(spent / LAG, 4e9)

    cdef int send(self, int64_t first, int64_t last) except -1 nogil:
        cdef int64_t fixed = HEADER + self.words_of_sums(last - first) + (last - first)
        if not self.targeted:
            self.pack(first, last)
            return 0
        if fixed != self.fixed:
            with gil:
                self.sender.lay_out(fixed)
        self.address(first, last)
        return 0

    cdef double transfer(self) except -1.0 nogil:
        cdef double start = now()
        cdef int failed = 0, n = <int> self.outgoing.shape[0]
        if self.call == 0:
            with gil:
                self.sender.transfer()
        elif self.targeted:
            failed = (<alltoallv_call> self.call)(
                &self.outgoing[0], &self.leaving[0], &self.leaving_at[0], self.datatype,
                &self.incoming[0], &self.arriving[0], &self.arriving_at[0], self.datatype, self.comm)
        else:
            failed = (<allgather_call> self.call)(&self.outgoing[0], n, self.datatype, &self.incoming[0], n,
                                                  self.datatype, self.comm)
        if failed:
            with gil:
                raise OSError(f"MPI refused to exchange spikes: error {failed}")
        return now() - start

    cdef void pack(self, int64_t first, int64_t last) noexcept nogil:
        """Write a message for all. What does not fit is not written; the header still tells how much is needed."""
        cdef int64_t t, k, n, place, count = 0
        for k in range(self.own.n):
            count += self.own.at[k].ptr[last] - self.own.at[k].ptr[first]
        n = HEADER + self.words_of_sums(last - first) + (last - first) + count
        self.outgoing[0] = <uint32_t> n
        self.outgoing[1] = <uint32_t> count
        self.outgoing[2] = self.lag
        if n > self.outgoing.shape[0]:
            return
        place = self.put_sums(HEADER, last - first)
        for t in range(first, last):
            self.outgoing[place + t - first] = <uint32_t> self.spikes_of(t)
        place += last - first
        for t in range(first, last):
            for k in range(self.own.n):
                n = self.own.at[k].ptr[t + 1] - self.own.at[k].ptr[t]
                if n > 0:
                    memcpy(&self.outgoing[place], self.own.at[k].ids + self.own.at[k].ptr[t], 4 * n)
                    place += n

    cdef int64_t spikes_of(self, int64_t t) noexcept nogil:
        cdef int64_t k, n = 0
        for k in range(self.own.n):
            n += self.own.at[k].ptr[t + 1] - self.own.at[k].ptr[t]
        return n

    cdef void address(self, int64_t first, int64_t last) noexcept nogil:
        """Write a message to each node, with those spikes only that it listens to, by their index in its list.

        What does not fit is not written; all headers tell the quota that is needed.
        """
        cdef int64_t r, t, s, k, i, n, place, need = 0, n_nodes = self.leaves.shape[0]
        for r in range(n_nodes):
            place = self.put_sums(self.leaves[r] + HEADER, last - first)
            for t in range(last - first):
                self.outgoing[place + t] = 0
            self.cursor[r] = 0
        for t in range(first, last):
            for s in range(self.own.n):
                for k in range(self.own.at[s].ptr[t], self.own.at[s].ptr[t + 1]):
                    n = self.own.at[s].ids[k] - self.first_id
                    for i in range(self.route_ptr[n], self.route_ptr[n + 1]):
                        r = self.route_rank[i]
                        place = self.leaves[r] + self.fixed - (last - first)
                        self.outgoing[place + t - first] += 1
                        if self.cursor[r] < self.room[r]:
                            self.outgoing[place + last - first + self.cursor[r]] = self.route_index[i]
                        self.cursor[r] += 1
        for r in range(n_nodes):
            n = self.cursor[r] - self.slack
            if self.cursor[r] > self.room[r]:
                need = max(need, (n * QUOTA + self.listed[r] - 1) // self.listed[r])
        for r in range(n_nodes):
            self.outgoing[self.leaves[r]] = <uint32_t> need
            self.outgoing[self.leaves[r] + 1] = <uint32_t> self.cursor[r]
            self.outgoing[self.leaves[r] + 2] = self.lag

    cdef int64_t words_of_sums(self, int64_t n_steps) noexcept nogil:
        return n_steps * self.sums.n_readouts * sizeof(ExactSum) // 4

    cdef int64_t put_sums(self, int64_t place, int64_t n_steps) noexcept nogil:
        cdef int64_t words = self.words_of_sums(n_steps)
        if words > 0:
            memcpy(&self.outgoing[place], self.sums.joined(), 4 * words)
        return place + words

    cdef void take_sums(self, int64_t place, int64_t n_steps) noexcept nogil:
        """Add the sums of another node."""
        cdef int64_t k
        cdef ExactSum sum
        for k in range(n_steps * self.sums.n_readouts):
            memcpy(&sum, &self.incoming[place + k * sizeof(ExactSum) // 4], sizeof(ExactSum))
            add_sum(sum, &self.sums.joined()[k])

    cdef int64_t needed(self) noexcept nogil:
        """The largest need that a header tells."""
        cdef int64_t r, most = 0
        for r in range(self.arrives.shape[0]):
            most = max(most, <int64_t> self.incoming[self.arrives[r]])
        return most

    cdef int take(self, int64_t first, int64_t last) except -1 nogil:
        """Append the spikes of each other node to its log, and add its sums."""
        cdef int64_t r, t, k, n, counts, place
        for r in range(self.arrives.shape[0]):
            if r == self.index:
                continue
            self.take_sums(self.arrives[r] + HEADER, last - first)
            counts = self.arrives[r] + HEADER + self.words_of_sums(last - first)
            place = self.received.at[r].ptr[first]
            n = self.incoming[self.arrives[r] + 1]
            if place + n > self.received.at[r].capacity:
                with gil:
                    self.received.segments[r].reserve(place + n)
            if self.targeted:                 # indices in a list of this node's own
                for k in range(n):
                    self.received.at[r].ids[place + k] = self.numbers[
                        self.first_number[r] + self.incoming[counts + last - first + k]]
            elif n > 0:
                memcpy(self.received.at[r].ids + place, &self.incoming[counts + last - first], 4 * n)
            for t in range(first, last):
                place += self.incoming[counts + t - first]
                self.received.at[r].ptr[t + 1] = place
        return 0


def call_allgather(
    intptr_t call, intptr_t comm, intptr_t datatype, uint32_t[::1] outgoing, uint32_t[::1] incoming, int64_t repeats
):
    """Collective: the bare call of MPI, to compare rounds with."""
    cdef int64_t _k
    cdef int failed = 0, n = <int> outgoing.shape[0]
    with nogil:
        for _k in range(repeats):
            failed |= (<allgather_call> call)(&outgoing[0], n, datatype, &incoming[0], n, datatype, comm)
    if failed:
        raise OSError(f"MPI refused: error {failed}")
