"""What travels between nodes in one round: spike ids per step and sums for readouts, in messages of 32-bit words.

All messages of a node lie in its shared memory. The leader, rank 0 of the node, alone calls MPI. It also packs and
unpacks where one message goes to all, which means to copy spikes; where messages differ, each rank of the node packs a
share of what leaves and unpacks a share of what comes.

A message is [what is needed, ids, lag, sums of the node by step and readout, spikes per step, ids]. The first word
tells all others how much room the sender's message needs, in words. Where messages differ, it is 0 if this part of the
message fits, else the quota that it needs: then the two nodes alone make room, and send the part once more. The third
one is how long the sender's last exchange took: the node that came last to it waited for none, so the shortest of these
is what the transfer took. Where messages differ, one may have several parts, each with spikes of some ranks of its
sender; all but the first are [what is needed, ids, 0, spikes per step, ids]. Their ids are coded by the gaps between
them. Sums may travel apart from them, in a tree.
"""

from libc.stdint cimport int64_t, intptr_t, uint16_t, uint32_t
from libc.string cimport memcpy

from pareprop.core.layout cimport HEADER, QUOTA
from pareprop.core.readout_sums cimport ExactSum, ReadoutSums, add_sum
from pareprop.core.rounds cimport Messages
from pareprop.core.spike_log cimport SegmentedLog
from pareprop.core.stopwatch cimport now

# MPI's calls, found at run time: handles are pointers, or 32-bit numbers in the low half of one.
ctypedef int (*allgather_call)(const void*, int, intptr_t, void*, int, intptr_t, intptr_t) noexcept nogil
ctypedef int (*alltoallv_call)(
    const void*, const int*, const int*, intptr_t, void*, const int*, const int*, intptr_t, intptr_t
) noexcept nogil

cdef double LAG = 1e-7                        # seconds, unit of lags in messages
cdef enum:
    FAR = 65535                               # of a gap: so far, and farther


cdef class Mailbox(Messages):
    """A rank's share of the messages of its node, or all of them.

    Attributes
    ----------
    sender : object
        Has `transfer()` for communicators that are not MPI's, `resize(need)` and `lay_out(n_steps)`; where messages
        differ, `send_again()`, and `add_up()` where sums travel apart.
    """

    cdef public int64_t rank, size            # of those that share the messages: this rank, and how many
    cdef public ReadoutSums sums              # of the ranks of this node, and of all nodes
    cdef public SegmentedLog own              # of the ranks of this node
    cdef public uint32_t[::1] outgoing, incoming   # shared by the ranks of the node
    cdef public int64_t[::1] messages_out     # where in `outgoing` each message starts
    cdef public int64_t[::1] messages_in      # where in `incoming` that of each other node starts
    cdef public int64_t capacity              # words of a message; 0 if `targeted`: any part that is short is too much
    cdef public int64_t steps                 # of a round for which messages are laid out
    cdef public object sender
    # parts that this rank unpacks:
    cdef public SegmentedLog received         # their logs, to which this rank alone writes
    cdef public int64_t[::1] arrives          # where they start,
    cdef public int64_t[::1] arrives_counts   # and their spikes per step
    # where messages differ:
    cdef public bint targeted
    cdef public bint apart                    # whether sums travel apart from the messages
    cdef public bint again                    # of the leader: whether to send only what found too little room
    cdef public int64_t[::1] heads            # of the leader: where in `incoming` each part starts
    cdef public uint32_t[::1] numbers         # neurons that this node listens to, those of part p:
    cdef public int64_t[::1] first_number     # numbers[first_number[p]..[p+1]]
    # parts that this rank packs: neuron first_id + k goes to parts route_part[route_ptr[k]..[k+1]] as route_index
    cdef public int64_t first_id
    cdef public int64_t first_segment, last_segment   # of `own`, which hold the neurons of these parts
    cdef public int64_t[::1] route_ptr
    cdef public uint32_t[::1] route_part, route_index
    cdef public int64_t[::1] leaves, leaves_counts
    cdef public int64_t[::1] cursor, after    # scratch, one per part: gaps, and the index after the spike before
    cdef public int64_t[::1] room             # words of indices that fit into each
    cdef public int64_t[::1] listed           # neurons that each can name
    cdef public int64_t slack                 # words of them that fit whatever the quota
    cdef public int[::1] leaving, leaving_at, arriving, arriving_at   # of the leader: sizes and starts for MPI
    cdef int64_t first                        # step with which the round begins whose messages were packed
    cdef intptr_t call, comm, datatype
    cdef uint32_t lag

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def connect(self, intptr_t call, intptr_t comm, intptr_t datatype):
        """Use MPI's call at this address, with these handles: Allgather, or Neighbor_alltoallv if `targeted`."""
        self.call, self.comm, self.datatype = call, comm, datatype

    cdef bint lay_out(self, int64_t n_steps) except -1 nogil:
        if n_steps == self.steps:
            return False
        with gil:
            return self.sender.lay_out(n_steps)

    cdef bint make_room(self, int64_t need) except -1 nogil:
        if need <= self.capacity:
            return False
        with gil:
            self.sender.resize(need)
        return True

    cdef int64_t pack(self, int64_t first, int64_t last) except -1 nogil:
        self.first = first
        self.put_sums(last - first)
        return self.pack_parts(first, last) if self.targeted else self.pack_all(first, last)

    cdef int64_t share(self, int64_t rank, int64_t n) noexcept nogil:
        """First of the `n` things of which `rank` has a share; those of the next one end it."""
        return n * rank // self.size

    cdef int64_t pack_all(self, int64_t first, int64_t last) noexcept nogil:
        """Write the one message for all. If the spikes do not fit, only tell how much is needed."""
        cdef int64_t t, k, n, count = 0, counts = HEADER + self.words_of_sums(last - first)
        cdef int64_t place = counts + last - first
        for k in range(self.own.n):
            count += self.own.at[k].ptr[last] - self.own.at[k].ptr[first]
        if place + count > self.capacity:
            return place + count
        self.outgoing[1] = <uint32_t> count
        for t in range(first, last):
            count = place
            for k in range(self.own.n):
                n = self.own.at[k].ptr[t + 1] - self.own.at[k].ptr[t]
                if n > 0:
                    memcpy(&self.outgoing[place], self.own.at[k].ids + self.own.at[k].ptr[t], 4 * n)
                    place += n
            self.outgoing[counts + t - first] = <uint32_t> (place - count)
        return place

    cdef int64_t pack_parts(self, int64_t first, int64_t last) noexcept nogil:
        """Write this rank's parts, with those spikes only that a node listens to, by their index in its list.

        Of each index stands how far it is, in 16 bits, from the one after that of the spike before in its step; `FAR`
        where it is as far or farther, then the rest. So a step takes no more of these than the list has neurons. What
        does not fit is not written: then the part tells first which quota it needs, and 1 is returned.
        """
        cdef int64_t p, t, s, k, i, n, short = 0, n_parts = self.leaves.shape[0]
        cdef uint32_t gap
        cdef uint16_t* gaps
        for p in range(n_parts):
            self.outgoing[self.leaves[p]] = self.outgoing[self.leaves[p] + 1] = 0
            self.cursor[p] = 0
        for t in range(first, last):
            for p in range(n_parts):
                self.outgoing[self.leaves_counts[p] + t - first] = self.after[p] = 0
            for s in range(self.first_segment, self.last_segment):
                for k in range(self.own.at[s].ptr[t], self.own.at[s].ptr[t + 1]):
                    n = self.own.at[s].ids[k] - self.first_id
                    for i in range(self.route_ptr[n], self.route_ptr[n + 1]):
                        p = self.route_part[i]
                        self.outgoing[self.leaves_counts[p] + t - first] += 1
                        gap = self.route_index[i] - self.after[p]
                        self.after[p] = self.route_index[i] + 1
                        gaps = <uint16_t*> (&self.outgoing[0] + self.leaves_counts[p] + last - first)
                        n = self.cursor[p]
                        while gap >= FAR:
                            if n < 2 * self.room[p]:
                                gaps[n] = FAR
                            gap -= FAR
                            n += 1
                        if n < 2 * self.room[p]:
                            gaps[n] = <uint16_t> gap
                        self.cursor[p] = n + 1
        for p in range(n_parts):
            if self.cursor[p] > 2 * self.room[p]:
                n = self.cursor[p] - 2 * self.slack
                self.outgoing[self.leaves[p]] = <uint32_t> ((n * QUOTA + self.listed[p] - 1) // self.listed[p])
                short = 1
            for t in range(last - first):
                self.outgoing[self.leaves[p] + 1] += self.outgoing[self.leaves_counts[p] + t]
        return short

    cdef int64_t transfer(self, int64_t need) except -1 nogil:
        cdef int64_t m
        cdef double start
        if self.again:
            self.again = False
            with gil:
                self.sender.send_again()
        else:
            need = self.transfer_all(need)
        for m in range(self.heads.shape[0]):
            need = max(need, <int64_t> (self.incoming[self.heads[m]] > 0))
        if self.apart and need <= self.capacity:  # else some are sent once more
            start = now()
            with gil:
                self.sender.add_up()
            self.transferred += now() - start
        return need

    cdef void put_heads(self, int64_t need) noexcept nogil:
        cdef int64_t m
        for m in range(self.messages_out.shape[0]):
            if not self.targeted:
                self.outgoing[self.messages_out[m]] = <uint32_t> need
            self.outgoing[self.messages_out[m] + 2] = self.lag

    cdef int64_t transfer_all(self, int64_t need) except -1 nogil:
        cdef int64_t m
        cdef uint32_t least = self.lag
        cdef double start
        self.put_heads(need)
        start = now()
        self.call_mpi()
        start = now() - start
        for m in range(self.messages_in.shape[0]):
            if not self.targeted:
                need = max(need, <int64_t> self.incoming[self.messages_in[m]])
            least = min(least, self.incoming[self.messages_in[m] + 2])
        self.transferred += LAG * least           # tells waiting from transfer in the exchange before this one
        self.waited += LAG * (self.lag - least)
        self.lag = <uint32_t> min(start / LAG, 4e9)
        return need

    cdef int call_mpi(self) except -1 nogil:
        cdef int failed = 0, n = <int> self.capacity
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
        return self.require(failed)

    cdef int require(self, int failed) except -1 nogil:
        if failed:
            with gil:
                raise OSError(f"MPI refused to exchange spikes: error {failed}")
        return 0

    cdef int unpack(self, int64_t first, int64_t last) except -1 nogil:
        cdef int64_t p, t, n, ids, place
        self.take_sums(last - first)
        for p in range(self.arrives.shape[0]):
            place = self.received.at[p].ptr[first]
            n = self.incoming[self.arrives[p] + 1]
            ids = self.arrives_counts[p] + last - first
            if place + n > self.received.at[p].capacity:
                with gil:
                    self.received.segments[p].reserve(place + n)
            if self.targeted:
                self.take_indices(p, first, last, place)
            elif n > 0:
                memcpy(self.received.at[p].ids + place, &self.incoming[ids], 4 * n)
            for t in range(first, last):
                place += self.incoming[self.arrives_counts[p] + t - first]
                self.received.at[p].ptr[t + 1] = place
        return 0

    cdef void take_indices(self, int64_t p, int64_t first, int64_t last, int64_t place) noexcept nogil:
        """Write the spikes of part `p` from `place` on; their indices, see `pack_parts`, are of a list of this node."""
        cdef int64_t t, _k, index, start = self.first_number[p]
        cdef uint32_t* ids = self.received.at[p].ids
        cdef uint32_t[::1] numbers = self.numbers
        cdef const uint16_t* gaps = <const uint16_t*> (&self.incoming[0] + self.arrives_counts[p] + last - first)
        for t in range(last - first):
            index = start
            for _k in range(<int64_t> self.incoming[self.arrives_counts[p] + t]):
                while gaps[0] == FAR:
                    index += FAR
                    gaps += 1
                index += gaps[0]
                ids[place] = numbers[index]
                gaps += 1
                place += 1
                index += 1

    cdef void hold_back(self, int64_t first, int64_t last) noexcept nogil:
        cdef int64_t p, t
        for p in range(self.arrives.shape[0]):
            for t in range(first, last):
                self.received.at[p].ptr[t + 1] = self.received.at[p].ptr[first]

    cdef int64_t words_of_sums(self, int64_t n_steps) noexcept nogil:
        return n_steps * self.sums.n_readouts * sizeof(ExactSum) // 4

    cdef void put_sums(self, int64_t n_steps) noexcept nogil:
        """Add up this rank's share of the sums over the ranks of the node, and write it to all messages."""
        cdef int64_t m, n = n_steps * self.sums.n_readouts
        cdef int64_t low = self.share(self.rank, n), high = self.share(self.rank + 1, n)
        if low == high:
            return
        self.sums.join(self.first, low, high)
        for m in range(0 if self.apart else self.messages_out.shape[0]):
            memcpy(&self.outgoing[self.messages_out[m] + HEADER + low * sizeof(ExactSum) // 4],
                   &self.sums.joined(self.first)[low], (high - low) * sizeof(ExactSum))

    cdef void take_sums(self, int64_t n_steps) noexcept nogil:
        """Add this rank's share of the sums of other nodes."""
        cdef int64_t m, k, n = n_steps * self.sums.n_readouts
        cdef ExactSum sum
        for m in range(0 if self.apart else self.messages_in.shape[0]):
            for k in range(self.share(self.rank, n), self.share(self.rank + 1, n)):
                memcpy(&sum, &self.incoming[self.messages_in[m] + HEADER + k * sizeof(ExactSum) // 4], sizeof(ExactSum))
                add_sum(sum, &self.sums.joined(self.first)[k])

    def joined(self):
        """Sums of the round: int64, two numbers each; of the ranks of this node, when these have packed."""
        return <int64_t[:2 * self.steps * self.sums.n_readouts]> <int64_t*> self.sums.joined(self.first)


def add_sums(const int64_t[::1] others, int64_t[::1] into):
    """Add exact sums, two numbers each, to as many."""
    cdef int64_t k
    if others.shape[0] != into.shape[0] or into.shape[0] % 2:
        raise ValueError(f"add_sums: {others.shape[0]} and {into.shape[0]} numbers")
    for k in range(0, into.shape[0], 2):
        add_sum((<const ExactSum*> &others[k])[0], <ExactSum*> &into[k])


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
