# Interval variant (`*_bsshslm_2020`): advance the neurons, sweep backward, credit the synapses.
#
# Equations: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y; step order and conventions of NEST 3.10.
# Arrays are of type `real` unless said; n = neurons of this rank, T = steps of the interval.

from libc.stdint cimport int64_t, uint32_t

from pareprop.core cimport neurons
from pareprop.core.delivery cimport (
    GROUP, add_four, add_row, deliver, deliver_block, first_at_least, hole_of, list_spikes, next_row, prefetch_stride,
    STRIDE,
)
from pareprop.core.layout cimport (
    ADAPTS, DELAY, DENSE, FIRST, LAST, LOG, MODEL, PLASTIC, ROW, SOURCE, SOURCES, SURROGATE, TARGET, WIDTH,
)
from pareprop.core.neurons cimport fire, integrate_iaf, set_drive
from pareprop.core.rounds cimport Meeting
from pareprop.core.spike_log cimport SegmentedLog, SpikeLog, Spikes
from pareprop.core.stopwatch cimport Stopwatch, begin, lap, now, share, started
from pareprop.core.surrogates cimport surrogate

include "sweep_and_credit.pxi"

cdef enum:        # phases of a step
    DELIVER = 0
    UPDATE = 1


cdef class Forward:
    """This rank's recurrent neurons with their incoming synapses, bound once to the arrays they work on."""

    cdef public int64_t first_id               # id of the rank's first neuron
    cdef public int64_t[:, ::1] pieces         # (n_pieces, PIECE_COLUMNS)
    cdef public real[::1] alpha, zeta, p_current, V_th, V_min, t_ref, rho, adapt_beta, height, inverse_width, I_e
    cdef public real[::1] v, a, z, refractory, arriving, excess, drive, n_spikes
    cdef public int64_t[:, ::1] blocks
    cdef public int64_t[::1] row_ptr
    cdef public uint32_t[::1] target
    cdef public real[::1] weight
    cdef public SpikeLog inputs, own
    cdef public SegmentedLog heard             # spikes of the neurons that this rank listens to
    cdef public real[:, ::1] injected        # (T, n) or (0, n), pA; row t: what was injected one step before t
    cdef public real[:, ::1] psi             # (T, n), OUT: surrogate gradients
    cdef public int64_t[::1] record            # local neurons whose voltage and adaptation are kept
    cdef public double[:, ::1] recorded_V, recorded_a    # (T, n_record), OUT
    cdef public bint keeps_fixed               # spikes at synapses that do not learn are not lost in step 0
    # readouts of this rank with the synapses onto them
    cdef public double y_alpha, y_zeta, y_drive, y_min
    cdef public int64_t[:, ::1] out_blocks
    cdef public int64_t[::1] out_row_ptr
    cdef public uint32_t[::1] out_target
    cdef public real[::1] out_weight
    cdef public double[::1] y, arriving_out
    cdef public double[:, :] own_signal        # (T, n_own), OUT: y without E_L
    cdef public double deliver_seconds, update_seconds
    cdef Stopwatch watch

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def run(self, Meeting meeting, int64_t first, int64_t end, int64_t round_steps, bint no_current):
        """Collective: advance steps [first, end) in rounds.

        Spikes that arrive in step 0 are lost, as in NEST, at synapses that do not learn only unless `keeps_fixed`.

        Parameters
        ----------
        meeting : how ranks meet after each round, with the signals of the round before
        no_current : whether the input current of step 0 is 0, as in the first step of a run
        """
        cdef int64_t before = first, last, n = self.v.shape[0]
        cdef double start = started(&self.watch, n), apart = meeting.waited + meeting.transferred
        with nogil:
            while first < end:
                last = min(first + round_steps, end)
                self.advance_all(first, last, no_current)
                meeting.meet(first, last, before, first)
                begin(&self.watch, first, n)
                self.read_out(first, last, no_current)
                lap(&self.watch, UPDATE)
                before = first
                first = last
            meeting.meet(end, end, before, end)
        start = now() - start - (meeting.waited + meeting.transferred - apart)
        self.deliver_seconds += start * share(&self.watch, DELIVER)
        self.update_seconds += start * share(&self.watch, UPDATE)

    def read(self, Meeting meeting, int64_t first, int64_t last):
        """Collective: advance the readouts alone in steps [first, last)."""
        with nogil:
            self.read_out(first, last, False)
            meeting.meet(last, last, first, last)

    cdef int advance_all(self, int64_t first, int64_t last, bint no_current) except -1 nogil:
        cdef int64_t t, n = self.v.shape[0]
        for t in range(first, last):
            self.own.make_room(self.own.at.ptr[t] + n)
            begin(&self.watch, t, n)
            if t > 0 or self.keeps_fixed:
                deliver(t, self.blocks, self.row_ptr, self.target, self.weight, &self.inputs.at, self.heard.at,
                        self.heard.n, t == 0, self.arriving)
            lap(&self.watch, DELIVER)
            self.advance(t, no_current)
            lap(&self.watch, UPDATE)
        return 0

    cdef void read_out(self, int64_t first, int64_t last, bint no_current) noexcept nogil:
        """Leaky readouts in steps [first, last).

        They run on their own clock: readout step t takes the recurrent spikes of step t, whatever the delay.
        """
        cdef int64_t t, b, k
        cdef const Spikes* log
        for t in range(first, last):
            for b in range(self.out_blocks.shape[0]):
                for k in range(self.heard.n):
                    log = self.heard.at[k]
                    deliver_block(self.out_blocks, b, self.out_row_ptr, self.out_target, self.out_weight, log.ids,
                                  log.ptr[t], log.ptr[t + 1], self.arriving_out)
            neurons.advance_readouts(self.y_alpha, self.y_zeta, 0.0 if t == 0 and no_current else self.y_drive,
                                     self.y_min, self.y, self.arriving_out, self.own_signal, t)

    cdef void advance(self, int64_t t, bint no_current) noexcept nogil:
        cdef int64_t p, j, count = self.own.at.ptr[t], n = self.v.shape[0]
        if t <= 1 or self.injected.shape[0] > 0:
            set_drive(0, n, t > 0 or not no_current, self.p_current, self.I_e, self.injected, t, self.drive)
        for p in range(self.pieces.shape[0]):
            integrate_iaf(self.pieces[p, FIRST], self.pieces[p, LAST], self.pieces[p, MODEL] & ADAPTS, True,
                          self.alpha, self.zeta, self.drive, self.V_th, self.V_min, self.rho, self.adapt_beta, self.z,
                          self.arriving, self.v, self.a, self.refractory, self.excess)
            surrogate(self.pieces[p, SURROGATE], self.pieces[p, FIRST], self.pieces[p, LAST], self.height,
                      self.inverse_width, self.excess, self.refractory, self.psi[t])
        fire(0, n, self.t_ref, self.excess, self.z, self.refractory)
        for j in range(n):
            self.n_spikes[j] += self.z[j]
        for j in range(self.record.shape[0]):
            self.recorded_V[t, j] = self.v[self.record[j]]
            self.recorded_a[t, j] = self.a[self.record[j]]
        if n > 0:
            count += list_spikes(n, self.first_id, &self.z[0], &self.own.at.ids[count])
        self.own.at.ptr[t + 1] = count


def inject(
    const int64_t[:, ::1] blocks,     # IN, rows are graded sources
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const double[:, ::1] amplitude,   # IN (T, n_sources), pA
    real[:, ::1] injected,            # UPDATED (T, n), pA
):
    """Add weight * amplitude of every graded source to the current that its targets take in step t + delay - 1."""
    cdef int64_t t, b, k, row, step
    with nogil:
        for t in range(injected.shape[0]):
            for b in range(blocks.shape[0]):
                step = t - blocks[b, DELAY] + 1
                if step < 0:
                    continue
                for k in range(blocks[b, SOURCE], blocks[b, SOURCES]):
                    if amplitude[step, k] != 0.0:
                        row = blocks[b, ROW] + k - blocks[b, SOURCE]
                        add_row(blocks, b, k, row_ptr[row], row_ptr[row + 1], target, weight, amplitude[step, k],
                                injected[t])
