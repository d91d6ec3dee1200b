"""Messages between nodes in one round: spike ids per step and sums for readouts, in 32-bit words.

All messages of a node lie in its shared memory. Only the leader, rank 0 of the node, calls MPI. If one message goes to
all nodes, the leader also packs and unpacks, by copying spikes; if messages differ, each rank of the node packs a part
of outgoing messages and unpacks a part of incoming ones.

A message is [need, number of ids, lag, sums of the node by step and readout, spikes per step, ids]. `need` is the room
in words that the sender's message needs. If messages differ, `need` is 0 if this part of the message fits, else the
quota that it needs: then only the two nodes make room, and send the part once more. `lag` is the duration of the
sender's last exchange: the last node to arrive there did not wait, so the shortest lag is the transfer time. If
messages differ, a message may have several parts, each with spikes of some ranks of its sender; all but the first are
[need, number of ids, 0, spikes per step, ids], with ids coded by the gaps between them. Sums may travel separately, in
a reduction tree.
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
    FAR = 65535                               # a gap of at least so many


cdef class Mailbox(Messages):
    """A rank's part of the messages of its node, or all of them.

    Attributes
    ----------
    sender : object
        Has `transfer()` for communicators that are not MPI's, `resize(need)` and `lay_out(n_steps)`; if messages
        differ, `send_again()`, and `add_up()` if sums travel separately.
    """

    cdef public int64_t rank, size            # among ranks that share the messages: this rank, and how many
    cdef public ReadoutSums sums              # of the ranks of this node, and of all nodes
    cdef public SegmentedLog own              # of the ranks of this node
    cdef public uint32_t[::1] outgoing, incoming   # shared by the ranks of the node
    cdef public int64_t[::1] messages_out     # start of each message in `outgoing`
    cdef public int64_t[::1] messages_in      # start of each other node's message in `incoming`
    cdef public int64_t capacity              # words of a message; 0 if `targeted`: no part may lack room
    cdef public int64_t steps                 # steps of a round for which messages are laid out
    cdef public object sender
    # parts that this rank unpacks:
    cdef public SegmentedLog received         # logs of these parts, written by this rank alone
    cdef public int64_t[::1] arrives          # start of each part,
    cdef public int64_t[::1] arrives_counts   # and of its spikes per step
    # if messages differ:
    cdef public bint targeted
    cdef public bint apart                    # whether sums travel separately
    cdef public bint again                    # leader: whether to send only parts that lacked room
    cdef public int64_t[::1] heads            # leader: start of each part in `incoming`
    cdef public uint32_t[::1] numbers         # sources of this node; part p has
    cdef public int64_t[::1] first_number     # numbers[first_number[p]..[p+1]]
    # parts that this rank packs: neuron first_id + k goes to parts route_part[route_ptr[k]..[k+1]] as route_index
    cdef public int64_t first_id
    cdef public int64_t first_segment, last_segment   # range of `own` with the neurons of these parts
    cdef public int64_t[::1] route_ptr
    cdef public uint32_t[::1] route_part, route_index
    cdef public int64_t[::1] leaves, leaves_counts
    cdef public int64_t[::1] cursor, after    # scratch, one per part: gaps, and the index after the spike before
    cdef public int64_t[::1] room             # words of indices that fit into each part
    cdef public int64_t[::1] listed           # neurons in the list of each part
    cdef public int64_t slack                 # words of indices that fit whatever the quota
    cdef public int[::1] leaving, leaving_at, arriving, arriving_at   # leader: sizes and starts for MPI
    cdef int64_t first                        # first step of the packed round
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
        """Return the first of `n` items in the part of `rank`; the part ends at the next rank's first item."""
        return n * rank // self.size

    cdef int64_t pack_all(self, int64_t first, int64_t last) noexcept nogil:
        """Write one message for all nodes. If the spikes do not fit, only return the room needed."""
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
        """Write this rank's parts, with the spikes of the receiver's sources only, as indices in its list.

        An index is written as the gap, in 16 bits, to one after the previous spike's index in the same step; a gap of
        `FAR` or more as `FAR`, then the remaining gap. So a step has at most as many gaps as the list has neurons.
        Spikes that do not fit are not written: then the part's `need` is the quota, and 1 is returned.
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
        if self.apart and need <= self.capacity:  # else some parts are sent once more
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
        self.transferred += LAG * least           # separates waiting from transfer in the previous exchange
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
        """Write the spikes of part `p` from `place` on, from indices in a list of this node, see `pack_parts`."""
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
        """Add up this rank's part of the sums over the ranks of the node, and write it to all messages."""
        cdef int64_t m, n = n_steps * self.sums.n_readouts
        cdef int64_t low = self.share(self.rank, n), high = self.share(self.rank + 1, n)
        if low == high:
            return
        self.sums.join(self.first, low, high)
        for m in range(0 if self.apart else self.messages_out.shape[0]):
            memcpy(&self.outgoing[self.messages_out[m] + HEADER + low * sizeof(ExactSum) // 4],
                   &self.sums.joined(self.first)[low], (high - low) * sizeof(ExactSum))

    cdef void take_sums(self, int64_t n_steps) noexcept nogil:
        """Add other nodes' sums to this rank's part of the sums."""
        cdef int64_t m, k, n = n_steps * self.sums.n_readouts
        cdef ExactSum sum
        for m in range(0 if self.apart else self.messages_in.shape[0]):
            for k in range(self.share(self.rank, n), self.share(self.rank + 1, n)):
                memcpy(&sum, &self.incoming[self.messages_in[m] + HEADER + k * sizeof(ExactSum) // 4], sizeof(ExactSum))
                add_sum(sum, &self.sums.joined(self.first)[k])

    def joined(self):
        """Return sums of the round, int64, two numbers each: of the ranks of this node, after these have packed."""
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
    """Collective: call MPI alone, for comparison with rounds."""
    cdef int64_t _k
    cdef int failed = 0, n = <int> outgoing.shape[0]
    with nogil:
        for _k in range(repeats):
            failed |= (<allgather_call> call)(&outgoing[0], n, datatype, &incoming[0], n, datatype, comm)
    if failed:
        raise OSError(f"MPI refused: error {failed}")
