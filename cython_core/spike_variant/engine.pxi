# Spike variant (e-prop+): neurons, readouts and synapses that learn whenever a spike arrives at them.
#
# Equations: Korcsak-Gorzo et al. 2025, arXiv:2511.21674; step order of NEST 3.10. Time is absolute: step 0 is the first
# of the run. n = neurons of this rank, m = d_out + d_fb - 1 = steps by which learning signals lag behind.
#
# One file, because the engine's classes list all arrays that the included files work on.

from libc.math cimport INFINITY, NAN, isnan
from libc.stdint cimport INT64_MAX, int8_t
from libc.string cimport memcpy, memset

from pareprop.core.elementary cimport power_of
from pareprop.core.layout cimport (
    ALGORITHMS, BlockSettings, CHUNK, CLOSED, CURSOR, GAPS, LATEST, LINES, MAP_STEPS, NEVER, NUMBERS, OLDER, PREFIX,
    READOUT, RULE, RULE_ENDS, RULE_STEPS, RUNNING, RuleTargets, SCAN, STATIC, STEPS, SUFFIX, WAITING,
)
from pareprop.core.algorithms.steps.window_steps cimport (
    WINDOW, collect, credit, credit_both, credit_online, credit_online_both, eligibility, eligibility_adaptive,
    filter_own, repeat,
)
from pareprop.core.softmax cimport softmax

include "../algorithms/prefix/sums.pxi"
include "optimizers.pxi"
include "../algorithms/arrays.pxi"

cdef class Rates(Bound):
    """Filtered firing rates of this rank's neurons, for the regularization."""

    cdef public double dt                          # ms
    cdef public real[::1] c_reg, f_target          # (n,)
    cdef public real[::1] f_av                     # (n,), UPDATED


cdef class Errors(Bound):
    """What the readouts are compared with in the present sample."""

    cdef public bint cross_entropy                 # the loss: softmax and cross-entropy, else squares
    cdef public bint calls                         # neither: it is in Python
    cdef public object own                         # which replaces the outputs in a row of `error` by the errors
    # hooks in Python: of the learning signals of a step, of the rate errors of a step
    cdef public bint shapes, regularizes
    cdef public object shape, regularize
    cdef public double[::1] E_L                    # (n_readouts,)
    cdef public double[:, ::1] target              # (n_steps, n_readouts)
    cdef public uint8_t[::1] window                # (n_steps,), 1: there is a learning signal
    cdef public double[:, ::1] factors             # (n_steps, n_readouts), of the errors; (0, 0): 1
    cdef public double[:, ::1] error               # (n_steps, n_readouts), OUT


cdef class DelayedRates(Bound):
    """Learning rates that act with the update after the next one, as in NEST; empty if they act at once."""

    cdef public int64_t[::1] first                 # (n_rows), step of a row's first arrival
    cdef public int64_t[::1] since                 # (k), step from which on updates note a rate
    cdef public double[:, ::1] values              # (k, n_blocks), row 0: of synapses without an update yet


cdef class Watched(Bound):
    """Synapses whose weights are kept when spikes arrive."""

    cdef public int64_t[:, ::1] synapses           # (k, 3): block, row, synapse
    cdef public double[:, ::1] weights             # (n_steps, k), OUT, NaN where none arrives


cdef class Rows(Synapses):
    """The synapses onto one kind of target, with the state that they learn with; columns of tables: layout.pxd."""

    cdef public int64_t[:, ::1] books
    cdef public BlockSettings[::1] settings        # (n_blocks,)
    cdef public int8_t[::1] signs                  # of the row's source, +1, -1 or 0; empty: no source has one
    cdef public double[::1] Z                      # (n_rows,), zbar of each row, see the algorithms
    # of short-term plasticity, empty without: factors of spikes that wait, by step, and of those that are OLDER
    cdef public double[:, ::1] factors             # (n_rows, m + 1)
    cdef public double[::1] older                  # (n_rows,)
    cdef public bint from_own                      # sources are this rank's neurons, else those that it listens to
    cdef ExactSum* sums                            # of readouts in the present step; NULL: weights go to `arriving`
    # weights at the latest arrivals, where steps of the optimizer were made since; NaN elsewhere, empty: not kept
    cdef public real[::1] arrived
    # the latest spike of each source that arrived at the shortest delay in this `Engine.run`, NEVER: not known
    cdef public int64_t[::1] emitted
    cdef public Traces traces
    cdef public Optimizing optimizing
    cdef public ScanRows scan
    cdef public DelayedRates rates
    cdef public Watched watched


cdef class Feedback(Synapses):
    """Synapses from all readouts to this rank's neurons."""

    # places in `weight` that follow the synapses of Engine.outgoing and Engine.adaptive, -1 for none
    cdef public int64_t[::1] symmetric, adaptive
    cdef public real[::1] dropped                  # (n_readouts,), what adaptive synapses deliver, which nobody reads


cdef class Histories(Bound):
    """The latest steps of what synapses read later: rings, step u in row u % length."""

    cdef public real[:, ::1] psi, L, F             # (steps, n): surrogate gradients, learning signals, rate errors
    cdef public double[:, ::1] error_ring          # (steps, n_readouts)
    cdef public real[:, ::1] found                 # scratch (n, CHUNK), of targets of generated models


cdef class Learned(Bound):
    """Parameters of neurons that learn, see parameters.pxi; a population's parameters have one slot each."""

    cdef public int64_t[:, ::1] items              # (n_items, 3): piece, slot, place among the ports of `trace`
    cdef public double[:, ::1] kappas              # (n_items, 2): kappa, kappa_reg
    cdef public int64_t d_out                      # steps from neurons to readouts
    cdef public real[:, :, ::1] trace              # (n_slots, n_traces, n)
    cdef public real[:, :, ::1] ebar, ereg         # (steps, n_slots, n), rings
    cdef public real[::1] e, signal                # scratch (n,)
    cdef public double[:, ::1] gradient            # (n_slots, n), UPDATED: of the present sample


cdef struct Present:  # what follows from a step t, see prefix/rows.pxi
    int64_t t, size   # B, for which the rest was found
    int64_t block     # of the sums, that step t - m lies in
    int64_t first     # step of it
    int64_t place     # of t - m in it
    int64_t end       # row of `ends` of the block before
    int64_t before_entry, before_close


cdef class Engine(Variant):
    """Runs this rank's neurons with their incoming synapses, and all readouts with the synapses from these neurons."""

    cdef public Rates rates
    cdef public Errors errors
    cdef public Rows incoming, outgoing
    cdef public Rows adaptive                      # feedback that learns as the readout synapses of its neurons do
    cdef public Feedback feedback
    cdef public Histories histories
    # of algorithms
    cdef public ErrorSums error_sums
    cdef public Sums sums
    cdef public Online online
    cdef public ComposedMaps maps
    cdef public Lines lines
    cdef public Learners learners
    cdef public Learned learned
    cdef public real[:, :, ::1] ring               # (slots, n_ports, n), what arrives later at static synapses
    cdef public int64_t spread_until               # the ring has all spikes of steps before; NEVER: it is not known
    cdef public int64_t m                          # steps by which learning signals lag behind
    cdef public int64_t fold_steps                 # how often rows without a cutoff apply their windows
    cdef public int64_t lead                       # steps of the optimizer's counter before step 0
    cdef public bint learns
    cdef int64_t flushed                           # first step that is not run, in a flush; NEVER: there is none
    cdef Present present
    cdef Power of_block, of_place                  # kappa^B, and kappa to the place in the present block
    cdef Power[2 * DECAYS] decays                  # see drawn_delays.h
    cdef int64_t block_beside                      # the cells have the end of the block before it; -1: not known
    # arrivals at the present dense block that wait
    cdef Descent[TOGETHER] queue
    cdef int64_t queued
    cdef public int64_t work                       # reached synapses, steps of them and of their optimizer

    def __init__(self, parts):
        Variant.__init__(self, {"spread_until": NEVER, "learns": False, "work": 0} | parts)
        self.flushed = NEVER
        self.of_block = self.of_place = Power(0.0, 0, 1.0)

    def teach_rest(self, int64_t end):
        """Let errors teach parameters whose learning signal would arrive after the sample, which ends before `end`."""
        cdef int64_t u
        for u in range(max(end - self.m - 1, 0), end - self.learned.d_out if self.learns else 0):
            teach_parameters(self.learned, self.neurons, self.feedback, self.histories, self.sample.origin, u)

    cdef int prepare(self, int64_t first) except -1:
        """Invalidate caches after a state was restored."""
        self.block_beside, self.maps.recorded = -1, NEVER
        self.incoming.emitted[:] = NEVER
        self.outgoing.emitted[:] = NEVER
        self.adaptive.emitted[:] = NEVER
        return 0

    cdef int advance_all(self, int64_t first, int64_t last, bint led) except -1 nogil:
        cdef int64_t t, n = self.neurons.v.shape[0]
        for t in range(first, last):
            self.channel.own.make_room(self.channel.own.at.ptr[t - self.channel.base] + n)
            self.outgoing.sums = self.channel.sums.of_step(t - self.channel.base)
            self.advance_step(t, n)
            if not led:
                continue
            if n > 0:
                self.channel.sums.total_alone(t - self.channel.base, self.readouts.arriving)
            else:
                self.channel.sums.total(t - self.channel.base, self.readouts.arriving)
            self.step_readouts(t)
        return 0

    cdef void learn_from_readouts(self, int64_t t) noexcept nogil:
        find_errors(self, t)

    cdef void learn_before(self, int64_t t) noexcept nogil:
        """Compute signals, and maps, before spikes arrive in step t."""
        learn_step(self, t - self.m - 1)
        if self.maps.in_use:
            advance_maps(self, self.maps, t)

    cdef void advance_step(self, int64_t t, int64_t n) noexcept nogil:
        begin(&self.watch, t, n)
        if self.learns:
            self.learn_before(t)
            teach_parameters(self.learned, self.neurons, self.feedback, self.histories, self.sample.origin,
                             t - self.m - 1)
        advance_learners(self, t, t)
        lap(&self.watch, SWEEP)
        spread_static(self, t, self.incoming)
        deliver_incoming(self, t)
        lap(&self.watch, DELIVER)
        advance(self, t)
        deliver_all(self, t, self.outgoing, self.feedback.dropped)
        follow(self, t)
        lap(&self.watch, UPDATE)

    def set_errors(self, int64_t t, const double[::1] error, double delta, double discount):
        """Errors of the readouts in step t, the latest one or the next, and the TD error that is known then."""
        cdef int64_t row = t % self.online.delta.shape[0]
        self.histories.error_ring[row, :] = error
        self.online.delta[row], self.online.discount[row] = delta, discount

    def bring_forward(self, int64_t t):
        """Before step t, when synapses move: apply the windows of all their rows."""
        cdef int64_t b, source
        with nogil:
            if self.learns and t > self.m:
                find_signal(self, t - self.m - 1)
            for b in range(self.incoming.blocks.shape[0] if self.learns else 0):
                if self.incoming.settings[b].moves and learns_ever(self.incoming, b):
                    for source in range(self.incoming.blocks[b, SOURCE], self.incoming.blocks[b, SOURCES]):
                        bring_forward(self, t, self.incoming, b, row_of(self.incoming, b, source))

    def flush(self, int64_t n_steps):
        """Let spikes in flight arrive, then one more arrival at every synapse in step `n_steps` + m."""
        cdef int64_t t
        self.outgoing.sums = NULL
        self.prepare(n_steps)
        self.flushed = n_steps
        with nogil:
            for t in range(n_steps, n_steps + self.m + 1):
                self.histories.error_ring[t % self.histories.error_ring.shape[0]][:] = 0.0
                sum_errors(self, t)
                if self.online.in_use:
                    clear_online(self.online, t)
            for t in range(n_steps, n_steps + self.m + 1):
                self.learn_before(t)
                advance_learners(self, t, n_steps)
                arrive_everywhere(self, t, self.incoming, t - n_steps, True)
                if t < n_steps + self.m:
                    deliver_incoming(self, t)
                    deliver_all(self, t, self.outgoing, self.feedback.dropped)
                    follow(self, t)
            if self.sums.cells.shape[0] > 0:
                fill_cells_before(self, n_steps + self.m)
            arrive_everywhere(self, n_steps + self.m, self.incoming, self.m, False)
            arrive_everywhere(self, n_steps + self.m, self.outgoing, self.m, False)
            arrive_everywhere(self, n_steps + self.m, self.adaptive, self.m, False)
            copy_weights(self)
        self.flushed = NEVER


include "../algorithms/algorithm.pxi"
include "steps.pxi"
include "arrivals.pxi"
include "optimizing.pxi"
include "parameters.pxi"
include "../algorithms/static/static.pxi"
include "../algorithms/steps/windows.pxi"
include "../algorithms/readout/readout.pxi"
include "../algorithms/lines/lines.pxi"
include "../algorithms/prefix/rows.pxi"
include "../algorithms/prefix/drawn_delays.pxi"
include "../algorithms/prefix/online_td.pxi"
include "../algorithms/scan/maps.pxi"
include "../algorithms/rule/rule.pxi"
