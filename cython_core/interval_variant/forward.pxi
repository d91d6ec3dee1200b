# Interval variant (`*_bsshslm_2020`): advance the neurons, sweep backward, credit the synapses.
#
# Equations: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y; step order and conventions of NEST 3.10.
# Arrays are of type `real` unless said; n = neurons of this rank, T = steps of the interval.

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.bind cimport bind
from pareprop.core.delivery cimport (
    GROUP, add_four, add_row, deliver, first_at_least, hole_of, list_spikes, row_ahead, prefetch_stride,
    STRIDE,
)
from pareprop.core.layout cimport (
    ADAPTS, DELAY, DENSE, FIRST, LAST, LOG, MODEL, PLASTIC, ROW, SOURCE, SOURCES, SURROGATE, TARGET, WIDTH,
)
from pareprop.core.neurons cimport advance_readouts, fire, integrate_iaf, set_drive
from pareprop.core.readout_sums cimport ExactSum, ReadoutSums, add_row_exactly
from pareprop.core.rounds cimport Meeting
from pareprop.core.spike_log cimport SegmentedLog, SpikeLog, Spikes
from pareprop.core.stopwatch cimport FEW, Stopwatch, begin, lap, now, share, started
from pareprop.core.surrogates cimport surrogate

include "sweep.pxi"
include "credit.pxi"

cdef enum:        # phases of a step
    DELIVER = 0
    UPDATE = 1


cdef class Neurons:
    """This rank's neurons: parameters and state, (n,) each; voltages counted from E_L, times in steps."""

    cdef public int64_t first_id               # id of the first one
    cdef public int64_t[:, ::1] pieces         # (n_pieces, PIECE_COLUMNS)
    cdef public real[::1] alpha, zeta, p_current, V_th, V_min, t_ref, rho, adapt_beta, I_e
    cdef public real[::1] height, inverse_width    # of the surrogate gradient
    cdef public real[::1] v, a, z, refractory, arriving, excess, drive, n_spikes

    def __init__(self, values):
        bind(self, values)


cdef class Synapses:
    """The synapses onto one kind of target, see delivery.pxd."""

    cdef public int64_t[:, ::1] blocks
    cdef public int64_t[::1] row_ptr
    cdef public uint32_t[::1] target
    cdef public real[::1] weight

    def __init__(self, values):
        bind(self, values)


cdef class Readouts:
    """All readouts, which every rank advances; y = V - E_L."""

    cdef public double[::1] y                  # (n_readouts,)
    cdef public double[::1] arriving           # (n_readouts,)
    cdef public double alpha, zeta, drive, V_min

    def __init__(self, values):
        bind(self, values)


cdef class Channel:
    """Logs and sums, which rounds complete."""

    cdef public SpikeLog own                   # spikes of this rank's neurons, OUT
    cdef public SegmentedLog heard             # of the neurons that this rank listens to
    cdef public ReadoutSums sums               # of what arrives at readouts in a round
    cdef public double[:, ::1] signal          # (T, n_readouts), OUT: y

    def __init__(self, values):
        bind(self, values)


cdef class Sample:
    """The present sample."""

    cdef public SpikeLog inputs
    cdef public real[:, ::1] injected          # (T, n) or (0, n), pA; row t: what was injected one step before t

    def __init__(self, values):
        bind(self, values)


cdef class Recorder:
    """What is kept of some neurons in the present sample."""

    cdef public int64_t[::1] local             # the neurons
    cdef public double[:, ::1] V_m, adaptation    # (T, n_recorded), OUT

    def __init__(self, values):
        bind(self, values)


cdef class Forward:
    """Runs this rank's recurrent neurons, and all readouts with the synapses from its neurons."""

    cdef readonly Neurons neurons
    cdef readonly Readouts readouts
    cdef readonly Synapses incoming, outgoing  # outgoing: from this rank's neurons onto the readouts
    cdef public Channel channel
    cdef public Sample sample
    cdef public Recorder recorder
    cdef real[:, ::1] psi                      # (T, n), OUT: surrogate gradients
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
        real[:, ::1] psi not None,
        bint keeps_fixed,
    ):
        self.neurons, self.readouts, self.incoming, self.outgoing = neurons, readouts, incoming, outgoing
        self.psi, self.keeps_fixed = psi, keeps_fixed

    def run(self, Meeting meeting not None, int64_t first, int64_t end, int64_t round_steps, bint no_current):
        """Collective: advance steps [first, end) in rounds.

        Spikes that arrive in step 0 are lost, as in NEST, at synapses that do not learn only unless `keeps_fixed`.

        Parameters
        ----------
        meeting : how ranks meet after each round
        no_current : whether the input current of step 0 is 0, as in the first step of a run
        """
        cdef int64_t last, steps = min(round_steps, self.channel.sums.n_steps)
        cdef double start = started(&self.watch, self.neurons.v.shape[0]), apart = meeting.waited + meeting.transferred
        self.require_bound()
        with nogil:
            while first < end:
                last = min(first + steps, end)
                self.channel.sums.open()
                self.advance_all(first, last, no_current)
                meeting.meet(first, last)
                self.read_out(first, last, no_current)
                first = last
        start = now() - start - (meeting.waited + meeting.transferred - apart)
        self.deliver_seconds += start * share(&self.watch, DELIVER)
        self.update_seconds += start * share(&self.watch, UPDATE)

    def read(self, int64_t first, int64_t last):
        """Advance the readouts alone in steps [first, last), in which no spike arrives."""
        cdef int64_t t
        self.require_bound()
        self.readouts.arriving[:] = 0.0
        for t in range(first, last):
            self.step_readouts(t, False)

    cdef int require_bound(self) except -1:
        if self.channel is None or self.sample is None or self.recorder is None:
            raise TypeError("Forward: channel, sample and recorder must be bound before it runs")
        return 0

    cdef int advance_all(self, int64_t first, int64_t last, bint no_current) except -1 nogil:
        """Advance the steps [first, last) of a round."""
        cdef int64_t t, n = self.neurons.v.shape[0]
        for t in range(first, last):
            if n == 0:
                self.channel.own.at.ptr[t + 1] = self.channel.own.at.ptr[t]
                continue
            self.channel.own.make_room(self.channel.own.at.ptr[t] + n)
            begin(&self.watch, t, n)
            if t > 0 or self.keeps_fixed:
                deliver(t, self.incoming.blocks, self.incoming.row_ptr, self.incoming.target, self.incoming.weight,
                        &self.sample.inputs.at, self.channel.heard.at, self.channel.heard.n, t == 0,
                        self.neurons.arriving)
            lap(&self.watch, DELIVER)
            self.advance(t, no_current)
            self.add_spikes(t, self.channel.sums.of_step(t - first))
            lap(&self.watch, UPDATE)
        return 0

    cdef void add_spikes(self, int64_t t, ExactSum* sums) noexcept nogil:
        """Add the weights of this rank's spikes of step t to what arrives at the readouts.

        Readouts run on their own clock: their step t takes the spikes of step t, whatever the delay.
        """
        cdef int64_t b, i, row, last = self.channel.own.at.ptr[t + 1]
        cdef const uint32_t* ids = self.channel.own.at.ids
        cdef const int64_t[:, ::1] blocks = self.outgoing.blocks
        for b in range(blocks.shape[0]):
            i = first_at_least(ids, self.channel.own.at.ptr[t], last, blocks[b, SOURCE])
            while i < last and ids[i] < blocks[b, SOURCES]:
                row = blocks[b, ROW] + ids[i] - blocks[b, SOURCE]
                add_row_exactly(self.outgoing.row_ptr[row], self.outgoing.row_ptr[row + 1], self.outgoing.target,
                                self.outgoing.weight, sums)
                i += 1

    cdef void read_out(self, int64_t first, int64_t last, bint no_current) noexcept nogil:
        """Leaky readouts in the steps [first, last) of a round."""
        cdef int64_t t, n = self.neurons.v.shape[0]
        for t in range(first, last):
            if n < FEW or t == first:
                begin(&self.watch, t, n)
            self.channel.sums.total(t - first, self.readouts.arriving)
            self.step_readouts(t, no_current)
            if n < FEW or t == last - 1:
                lap(&self.watch, UPDATE)

    cdef void step_readouts(self, int64_t t, bint no_current) noexcept nogil:
        advance_readouts(self.readouts.alpha, self.readouts.zeta,
                         0.0 if t == 0 and no_current else self.readouts.drive, self.readouts.V_min,
                         self.readouts.arriving, self.readouts.y, self.channel.signal, t)

    cdef void advance(self, int64_t t, bint no_current) noexcept nogil:
        cdef int64_t count = self.channel.own.at.ptr[t], n = self.neurons.v.shape[0]
        if t <= 1 or self.sample.injected.shape[0] > 0:
            set_drive(0, n, t > 0 or not no_current, self.neurons.p_current, self.neurons.I_e, self.sample.injected, t,
                      self.neurons.drive)
        advance_pieces(self.neurons, self.psi[t])
        record(self.neurons, self.recorder, t)
        if n > 0:
            count += list_spikes(n, self.neurons.first_id, &self.neurons.z[0], &self.channel.own.at.ids[count])
        self.channel.own.at.ptr[t + 1] = count


cdef void advance_pieces(Neurons cells, real[::1] psi) noexcept nogil:
    cdef int64_t p, j, first, last, n = cells.v.shape[0]
    for p in range(cells.pieces.shape[0]):
        first, last = cells.pieces[p, FIRST], cells.pieces[p, LAST]
        integrate_iaf(first, last, cells.pieces[p, MODEL] & ADAPTS, True, cells.alpha, cells.zeta, cells.drive,
                      cells.V_th, cells.V_min, cells.rho, cells.adapt_beta, cells.z, cells.arriving, cells.v, cells.a,
                      cells.refractory, cells.excess)
        surrogate(cells.pieces[p, SURROGATE], first, last, cells.height, cells.inverse_width, cells.excess,
                  cells.refractory, psi)
    fire(0, n, cells.t_ref, cells.excess, cells.z, cells.refractory)
    for j in range(n):
        cells.n_spikes[j] += cells.z[j]


cdef void record(Neurons cells, Recorder kept, int64_t t) noexcept nogil:
    cdef int64_t k
    for k in range(kept.local.shape[0]):
        kept.V_m[t, k] = cells.v[kept.local[k]]
        kept.adaptation[t, k] = cells.a[kept.local[k]]


def inject(
    const int64_t[:, ::1] blocks,     # IN, rows are graded sources
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const double[:, ::1] amplitude,   # IN (T, n_sources), pA
    real[:, ::1] injected,            # UPDATED (T + longest delay - 1, n), pA
):
    """Add weight * amplitude of every graded source to the current that its targets take in step t + delay - 1."""
    cdef int64_t t, b, k, row, step
    with nogil:
        for t in range(injected.shape[0]):
            for b in range(blocks.shape[0]):
                step = t - blocks[b, DELAY] + 1
                if step < 0 or step >= amplitude.shape[0]:
                    continue
                for k in range(blocks[b, SOURCE], blocks[b, SOURCES]):
                    if amplitude[step, k] != 0.0:
                        row = blocks[b, ROW] + k - blocks[b, SOURCE]
                        add_row(blocks, b, k, row_ptr[row], row_ptr[row + 1], target, weight, amplitude[step, k],
                                injected[t])
