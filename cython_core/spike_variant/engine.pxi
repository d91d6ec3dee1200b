# Spike variant (e-prop+): neurons, readouts and synapses that learn whenever a spike arrives at them.
#
# Equations: Korcsak-Gorzo et al. 2025, arXiv:2511.21674; step order of NEST 3.10. Time is absolute: step 0 is the first
# of the run. n = neurons of this rank, m = d_out + d_fb - 1 = steps by which learning signals lag behind.

from libc.math cimport exp, sqrt
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t

from pareprop.core.delivery cimport add_row, first_at_least, hole_of, list_spikes, next_row, prefetch
from pareprop.core.layout cimport (
    ADAM, ADAPTIVE, ADAPTS, ALPHA, BETA_1, BETA_2, CLOSED, CURSOR, CUTOFF, DELAY, DENSE, EACH_STEP, EPSILON, ETA,
    FIRST, KAPPA, KAPPA_REG, LAST, LATEST, LOG, LOOP, MODE, MODEL, NEVER, OLDER, OWN_ZBAR, PREFIX, PSC_DELTA, READOUT,
    ROW, SOURCE, SOURCES, STATIC, SURROGATE, TARGET, W_MAX, W_MIN, WAITING, WIDTH,
)
from pareprop.core.neurons cimport (
    add_rates, advance_readouts, filter_rates, fire, integrate_iaf, integrate_psc_delta, reset, set_drive,
)
from pareprop.core.optimizers cimport Adam, adam_step, bias_1, bias_2, descent_step
from pareprop.core.precision cimport total_of
from pareprop.core.spike_variant.window_steps cimport (
    CHUNK, WINDOW, collect, credit, credit_both, decay, eligibility, eligibility_adaptive, filter_own, repeat,
)
from pareprop.core.rounds cimport Meeting
from pareprop.core.spike_log cimport SegmentedLog, SpikeLog, Spikes
from pareprop.core.stopwatch cimport Stopwatch, begin, lap, now, share, started
from pareprop.core.surrogates cimport surrogate

include "prefix_sums.pxi"

cdef enum:        # phases of a step
    DELIVER = 0
    UPDATE = 1
    SWEEP = 2


cdef class Rows:
    """The synapses onto one kind of target with what they need to learn."""

    cdef public int64_t[:, ::1] blocks, rules, books
    cdef public double[:, ::1] constants
    cdef public int64_t[::1] row_ptr, counters     # counters: optimizer steps made
    cdef public uint32_t[::1] target
    cdef public int8_t[::1] signs                  # of the row's source, +1, -1 or 0; empty: no source has one
    cdef public double[::1] Z                      # zbar of each row, see the modes
    cdef public int64_t[:, ::1] bias_step          # (n_blocks, k), the Adam step that a place of `bias` is for
    cdef public double[:, :, ::1] bias             # (n_blocks, k, 2), sqrt(1 - beta_2^n) and 1 - beta_1^n
    cdef public int64_t first_error                # READOUT: column of the errors that target 0 makes
    # learning rates that act with the update after the next one, as in NEST; `first` is empty where they act at once
    cdef public int64_t[::1] first                 # (n_rows), step of a row's first arrival
    cdef public int64_t[::1] rate_since            # (k), step from which on updates note a rate
    cdef public double[:, ::1] rates               # (k, n_blocks), row 0: those of synapses that were not updated yet
    # synapses whose weights are kept when spikes arrive: (k, 3) block, row, synapse
    cdef public int64_t[:, ::1] watch
    cdef public double[:, ::1] watched             # (n_steps, k), OUT, NaN where none arrives
    cdef public real[::1] weight, Y, C, Y2, zbar, eps, moment, variance

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)


cdef class Engine:
    """This rank's neurons and readouts with their incoming synapses, bound to the arrays they work on."""

    # neurons: parameters and state
    cdef public int64_t first_id
    cdef public int64_t[:, ::1] pieces             # (n_pieces, 4): first, last neuron, surrogate, model
    cdef public real[::1] alpha, zeta, p_current, V_th, V_min, V_reset, t_ref, rho, adapt_beta
    cdef public real[::1] height, inverse_width, I_e
    cdef public real[::1] refractory_input, c_reg, f_target
    cdef public real[::1] v, a, z, refractory, arriving, excess, drive, kept, f_av
    # readouts
    cdef public double[::1] y, arriving_out
    cdef public double y_alpha, y_drive, y_min, E_L
    cdef public bint cross_entropy
    # synapses
    cdef public Rows incoming, outgoing, mirror    # mirror: readout synapses that the feedback follows
    cdef public int64_t[::1] mirror_index          # their places in fb_weight, -1 for none
    cdef public double[::1] nowhere                # (n_readouts), what mirrored synapses deliver is dropped
    cdef public int64_t[:, ::1] fb_blocks
    cdef public int64_t[::1] fb_row_ptr
    cdef public uint32_t[::1] fb_target
    cdef public real[::1] fb_weight
    # logs: entry [t - base] of a ptr array is step t
    cdef public int64_t base
    cdef public SpikeLog inputs, own
    cdef public SegmentedLog heard
    # the present sample, from step `origin`
    cdef public int64_t origin
    cdef public real[:, ::1] injected
    cdef public double[:, ::1] target_signal, signal, error
    cdef public double[:, :] own_signal            # columns of `signal`
    cdef public uint8_t[::1] window
    # histories: ring of rows, step u in row u % length
    cdef public real[:, ::1] psi, L, F
    cdef public double[:, ::1] error_ring, error_sums
    # prefix sums of errors in blocks of `out_block` steps from o on: sum alpha_out^(u-o) E_u; 0: there are none
    cdef public int64_t out_block
    cdef public double[::1] out_powers             # alpha_out^k
    # prefix sums; block length B
    cdef public int64_t block, m, sets
    cdef public double dt
    cdef public double[:, :, ::1] powers           # (n_pieces, 4, B + 1): (alpha/kappa)^k, kappa^k, those of kappa_reg
    cdef public double[:, ::1] alpha_powers        # (n_blocks of incoming, B + 2): alpha^(k - 1)
    cdef public double[:, ::1] R, R2               # (m + 1, n)
    cdef public double[::1] A, D, A2, D2
    cdef public double[:, ::1] cells               # (n, 4), memory of `Cell`s
    cdef public double[:, :, ::1] ends, ends2      # (n_ends, n, 4), `Cell`s at ends of blocks
    cdef public int64_t fold_steps
    cdef public int64_t lead                       # steps of Adam's counter before step 0
    cdef public bint learns, alone, has_prefix
    # arrivals at the present dense block that wait
    cdef Descent[TOGETHER] queue
    cdef int64_t queued
    # recording
    cdef public int64_t[::1] record
    cdef public double[:, ::1] recorded_V, recorded_a, recorded_psi
    cdef public double deliver_seconds, update_seconds, sweep_seconds
    cdef Stopwatch watch

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def run(self, Meeting meeting, int64_t first, int64_t end, int64_t round_steps):
        """Collective: advance steps [first, end) in rounds, after each of which ranks meet."""
        cdef int64_t t, last, n = self.v.shape[0]
        cdef double start = started(&self.watch, n), apart = meeting.waited + meeting.transferred
        with nogil:
            while first < end:
                last = min(first + round_steps, end)
                for t in range(first, last):
                    self.own.make_room(self.own.at.ptr[t - self.base] + n)
                    self.advance_step(t, n)
                if not self.alone:
                    meeting.meet(first - self.base, last - self.base, first - self.origin, last - self.origin)
                    begin(&self.watch, first, n)
                    for t in range(first, last):
                        find_errors(self, t)
                    lap(&self.watch, UPDATE)
                first = last
        start = now() - start - (meeting.waited + meeting.transferred - apart)
        self.sweep_seconds += start * share(&self.watch, SWEEP)
        self.deliver_seconds += start * share(&self.watch, DELIVER)
        self.update_seconds += start * share(&self.watch, UPDATE)

    cdef void advance_step(self, int64_t t, int64_t n) noexcept nogil:
        begin(&self.watch, t, n)
        if self.learns:
            learn_step(self, t - self.m - 1)
        lap(&self.watch, SWEEP)
        deliver_incoming(self, t)
        lap(&self.watch, DELIVER)
        advance(self, t)
        deliver_all(self, t, self.outgoing, self.arriving_out)
        advance_readouts(self.y_alpha, 1.0, self.y_drive if t > 0 else 0.0, self.y_min, self.y, self.arriving_out,
                         self.own_signal, t - self.origin)
        follow(self, t)
        if self.alone:
            find_errors(self, t)
        lap(&self.watch, UPDATE)

    def flush(self, int64_t n_steps):
        """Let spikes in flight arrive, then one more arrival at every synapse in step `n_steps` + m."""
        cdef int64_t t
        with nogil:
            for t in range(n_steps, n_steps + self.m + 1):
                self.error_ring[t % self.error_ring.shape[0]][:] = 0.0
                sum_errors(self, t)
            for t in range(n_steps, n_steps + self.m + 1):
                learn_step(self, t - self.m - 1)
                if t < n_steps + self.m:
                    deliver_incoming(self, t)
                    deliver_all(self, t, self.outgoing, self.arriving_out)
                    follow(self, t)
            if self.cells.shape[0] > 0:
                fill_cells_before(self, n_steps + self.m)
            arrive_everywhere(self, n_steps + self.m, self.incoming)
            arrive_everywhere(self, n_steps + self.m, self.outgoing)
            arrive_everywhere(self, n_steps + self.m, self.mirror)
            copy_mirror(self)


include "steps.pxi"
include "arrivals.pxi"
include "windows.pxi"
include "prefix_rows.pxi"
