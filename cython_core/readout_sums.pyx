"""Input of readouts in a round, summed exactly over the ranks, see readout_sums.pxd."""

from cython cimport final
from libc.stdint cimport int64_t
from libc.string cimport memset

from pareprop.core.rounds cimport LINE

LARGEST = 2.0**31                     # weights must be smaller in size

cdef enum:
    NUMBERS = 2                       # int64 of a sum


@final
cdef class ReadoutSums:
    """Sums by step and readout, in the present round and the one before: a part of each rank of a node, then one of all
    nodes.

    Parts have two buffers: late ranks still read the sums of a round while others write sums of the next one; so do all
    ranks if the messages of a round arrive during the next one. Steps are counted as in the log.

    Parameters
    ----------
    memory : ndarray
        int64 (n_parts * room,), zeros, shared by the ranks.
    n_steps : int
        Steps of the longest round.
    n_readouts : int
        Readouts of the whole network.
    own : int
        Part of this rank.
    whole : tuple of int
        Half-open range of the parts that add up to the sums over all ranks.
    """

    def __init__(self, memory, int64_t n_steps, int64_t n_readouts, int64_t own=0, whole=(0, 1)):
        cdef int64_t[::1] numbers = memory
        self.memory, self.n_steps, self.n_readouts, self.own = memory, n_steps, n_readouts, own
        self.first, self.last = whole
        self.stride = self.room(n_steps, n_readouts) // NUMBERS
        if numbers.shape[0] < NUMBERS * self.stride * max(own + 1, self.last):
            raise ValueError("ReadoutSums: memory is too short for its parts")
        self.sums = <ExactSum*> &numbers[0] if numbers.shape[0] > 0 else NULL

    @staticmethod
    def room(int64_t n_steps, int64_t n_readouts):
        """Numbers of a part: whole lines, so that no two ranks write to the same one."""
        return (2 * n_steps * n_readouts * NUMBERS + LINE - 1) // LINE * LINE

    cdef void open(self, int64_t first) noexcept nogil:
        """Begin a round with step `first`, with sums of 0."""
        self.turn = 1 - self.turn
        self.begins[self.turn] = first
        if self.n_readouts > 0:
            memset(self.of_step(first), 0, self.n_steps * self.n_readouts * sizeof(ExactSum))

    cdef ExactSum* joined(self, int64_t first) noexcept nogil:
        """The part of all nodes, in the round that began with step `first`."""
        return self.at(self.first, first)

    cdef void join(self, int64_t first, int64_t low, int64_t high) noexcept nogil:
        """Add up sums [low, high) of that round, by step and readout, of the ranks of this node."""
        cdef int64_t k, part
        cdef ExactSum* into = self.joined(first)
        cdef ExactSum* others
        for k in range(low, high):
            into[k] = self.at(0, first)[k]
        for part in range(1, self.first):
            others = self.at(part, first)
            for k in range(low, high):
                add_sum(others[k], &into[k])

    def begin(self, int64_t first=0):
        """Begin a round with step `first`, with sums of 0."""
        self.open(first)

    def add(self, int64_t step, int64_t readout, const double[::1] weights):
        """Add weights of spikes that arrive in a step of the present round at one readout."""
        cdef int64_t k
        if not (0 <= step - self.begins[self.turn] < self.n_steps and 0 <= readout < self.n_readouts):
            raise IndexError(f"step {step}, readout {readout}")
        for k in range(weights.shape[0]):
            add_value(weights[k], &self.of_step(step)[readout])

    def put_totals(self, int64_t step, double[::1] arriving):
        """Write the sums over all ranks in a step of the last two rounds to `arriving`, float64 (n_readouts,)."""
        cdef int64_t turn = self.turn if step >= self.begins[self.turn] else 1 - self.turn
        if not 0 <= step - self.begins[turn] < self.n_steps or arriving.shape[0] != self.n_readouts:
            raise IndexError(f"step {step}, {arriving.shape[0]} readouts")
        self.total(step, arriving)
