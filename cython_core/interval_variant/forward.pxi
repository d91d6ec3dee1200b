# Interval variant (`*_bsshslm_2020`): advance the neurons, sweep backward, credit the synapses.
#
# Equations: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y; step order and conventions of NEST 3.10.
# Arrays are of type `real` unless said; n = neurons of this rank, T = steps of the interval.

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.bind cimport bind
from pareprop.core.delivery cimport (
    AT_ONCE, FULL_AHEAD, Found, GROUP, LINE, LONG, OFFSETS, Rows, STRIDE, Walk, add_four, add_row, count_late,
    credit_delays, credit_row, credit_rows, deliver, factor_of, fetch_ahead, find_rows, has_short_rows, hole_of,
    is_full, is_spread, mean_row, next_row, prefetch_stride, row_of, rows_ahead, rows_of, walk_ahead, walk_of,
    write_offsets,
)
from pareprop.core.layout cimport (
    DELAY, DELAYS, DENSE, FACTORS, LOG, NUMBER, PLASTIC, PORT, ROW, SINCE, SOURCE, SOURCES, TARGET, WIDEST, WIDTH,
)
from pareprop.core.readout_sums cimport ExactSum, add_row_exactly, add_value
from pareprop.core.rounds cimport Meeting
from pareprop.core.search cimport first_at_least, prefetch
from pareprop.core.spike_log cimport Spikes
from pareprop.core.stopwatch cimport FEW, Stopwatch, begin, lap, now, share, started

cdef class Synapses:
    """The synapses onto one kind of target, see delivery.pxd."""

    cdef public int64_t[:, ::1] blocks
    cdef public int64_t[::1] row_ptr
    cdef public uint32_t[::1] target
    cdef public real[::1] weight

    def __init__(self, values):
        bind(self, values)


include "sweep.pxi"
include "credit.pxi"

cdef class Forward:
    """Runs this rank's recurrent neurons, and all readouts with the synapses from its neurons."""

    cdef readonly Neurons neurons
    cdef readonly Readouts readouts
    cdef readonly Synapses incoming, outgoing  # outgoing: from this rank's neurons onto the readouts
    cdef public Channel channel
    cdef public Sample sample
    cdef public Recorder recorder
    cdef real[:, :, ::1] psi                   # (T, n_ports, n), OUT in port 0: surrogate gradients
    cdef real[:, :, ::1] ring                  # (slots, n_ports, n), what arrives later, see delivery.pxd
    cdef bint keeps_fixed                      # spikes at synapses that do not learn are not lost in step 0
    cdef public double deliver_seconds, update_seconds
    cdef Stopwatch watch

    def __init__(
        self,
        *,
        Neurons neurons not None,
        Readouts readouts not None,
        Synapses incoming not None,
        Synapses outgoing not None,
        real[:, :, ::1] psi not None,
        real[:, :, ::1] ring not None,
        bint keeps_fixed,
    ):
        self.neurons, self.readouts, self.incoming, self.outgoing = neurons, readouts, incoming, outgoing
        self.psi, self.ring, self.keeps_fixed = psi, ring, keeps_fixed

    def run(self, Meeting meeting not None, int64_t first, int64_t end, int64_t round_steps, bint no_current):
        """Collective: advance steps [first, end) in rounds.

        Spikes that arrive in step 0 are lost, as in NEST, at synapses that do not learn only unless `keeps_fixed`.

        Parameters
        ----------
        meeting : how ranks meet after each round
        no_current : whether the input current of step 0 is 0, as in the first step of a run
        """
        cdef int64_t last, part, stop, complete, known = first, steps = min(round_steps, self.channel.sums.n_steps)
        cdef double start = started(&self.watch, self.neurons.v.shape[0]), apart = meeting.seconds()
        self.require_bound()
        with nogil:
            if first == 0:
                self.ring[:] = 0.0
                start_models(self.neurons, 0)
            while first < end:
                last = min(first + steps, end)
                self.channel.sums.open(first)
                part = first
                while part < last:
                    stop = meeting.end_of_part(part, first, last)
                    self.advance_all(part, stop, no_current)
                    complete = meeting.meet_part(part, stop, first, last)
                    self.read_out(known, complete, no_current)
                    known, part = complete, stop
                first = last
        start = max(now() - start - (meeting.seconds() - apart), 0.0)  # a first exchange counts a wait of before
        self.deliver_seconds += start * share(&self.watch, DELIVER)
        self.update_seconds += start * share(&self.watch, UPDATE)

    def read(self, int64_t first, int64_t last):
        """Advance the readouts alone in steps [first, last), in which no spike arrives."""
        cdef int64_t t
        self.require_bound()
        self.readouts.arriving[:] = 0.0
        for t in range(first, last):
            advance_readouts(self.readouts, self.channel, t, False)

    def count_late(self, int64_t end):
        """Let spikes that would arrive after the interval, which has `end` steps, count for short-term plasticity."""
        self.require_bound()
        count_late(end, self.sample.before, self.incoming.blocks, &self.channel.inputs.at, self.channel.heard.at,
                   self.channel.heard.n)

    cdef int require_bound(self) except -1:
        if self.channel is None or self.sample is None or self.recorder is None:
            raise TypeError("Forward: channel, sample and recorder must be bound before it runs")
        return 0

    cdef int advance_all(self, int64_t first, int64_t last, bint no_current) except -1 nogil:
        """Advance steps [first, last) of a round."""
        cdef int64_t t, n = self.neurons.v.shape[0]
        for t in range(first, last):
            if n == 0:
                self.channel.own.at.ptr[t + 1] = self.channel.own.at.ptr[t]
                continue
            self.channel.own.make_room(self.channel.own.at.ptr[t] + n)
            begin(&self.watch, t, n)
            deliver(t, self.incoming.blocks, self.incoming.row_ptr, self.incoming.target, self.incoming.weight,
                    &self.channel.inputs.at, self.channel.heard.at, self.channel.heard.n, t == 0,
                    t == 0 and not self.keeps_fixed, self.sample.before, self.ring, self.neurons.arriving)
            lap(&self.watch, DELIVER)
            advance_neurons(self.neurons, self.channel, self.sample, self.recorder, t, t == 0 and no_current,
                            self.psi[t, 0])
            self.add_spikes(t, self.channel.sums.of_step(t))
            lap(&self.watch, UPDATE)
        return 0

    cdef void add_spikes(self, int64_t t, ExactSum* sums) noexcept nogil:
        """Add the weights of this rank's spikes of step t to what arrives at the readouts.

        Readouts run on their own clock: their step t takes the spikes of step t, whatever the delay.
        """
        cdef int64_t b, i, k, row, start, width, last = self.channel.own.at.ptr[t + 1]
        cdef const uint32_t* ids = self.channel.own.at.ids
        cdef const int64_t[:, ::1] blocks = self.outgoing.blocks
        cdef const real* weight
        for b in range(blocks.shape[0]):
            i = first_at_least(ids, self.channel.own.at.ptr[t], last, blocks[b, SOURCE])
            width = blocks[b, WIDTH] if is_full(blocks, b) else 0
            start = self.outgoing.row_ptr[blocks[b, ROW]] - blocks[b, SOURCE] * width
            while i < last and ids[i] < blocks[b, SOURCES]:
                if width > 0:
                    weight = &self.outgoing.weight[0] + start
                    prefetch(weight + ids[min(i + FULL_AHEAD, last - 1)] * width)
                    for k in range(width):
                        add_value(weight[ids[i] * width + k], &sums[blocks[b, TARGET] + k])
                else:
                    row = row_of(blocks, b, ids[i])
                    add_row_exactly(self.outgoing.row_ptr[row], self.outgoing.row_ptr[row + 1], self.outgoing.target,
                                    self.outgoing.weight, factor_of(blocks, b, row, self.sample.before + t), sums)
                i += 1

    cdef void read_out(self, int64_t first, int64_t last, bint no_current) noexcept nogil:
        """Leaky readouts in the steps [first, last), whose sums are complete."""
        cdef int64_t t, n = self.neurons.v.shape[0]
        for t in range(first, last):
            if n < FEW or t == first:
                begin(&self.watch, t, n)
            self.channel.sums.total(t, self.readouts.arriving)
            advance_readouts(self.readouts, self.channel, t, t == 0 and no_current)
            if n < FEW or t == last - 1:
                lap(&self.watch, UPDATE)
