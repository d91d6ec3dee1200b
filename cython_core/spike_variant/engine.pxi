# Spike variant (e-prop+): neurons, readouts and synapses that learn whenever a spike arrives at them.
#
# Equations: Korcsak-Gorzo et al. 2025, arXiv:2511.21674; step order of NEST 3.10. Time is absolute: step 0 is the first
# of the run. n = neurons of this rank, m = d_out + d_fb - 1 = steps by which learning signals lag behind.
#
# One file, because the engine's classes list all arrays that the included files work on.

from libc.math cimport INFINITY, NAN, isnan
from libc.stdint cimport INT64_MAX, int8_t, int64_t, intptr_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pareprop.core.bind cimport bind
from pareprop.core.delivery cimport (
    add_row, factor_of, hole_of, is_spread, row_ahead, row_of, spread, take_slot,
)
from pareprop.core.elementary cimport power_of
from pareprop.core.layout cimport (
    ALGORITHMS, BITS, BY_EQUATIONS, BlockSettings, CHUNK, CLOSED, CURSOR, DELAY, DELAYS, DENSE, FACTORS, GAPS, LATEST,
    LINES, LOG, MAP_STEPS, MODEL, NEVER, NUMBER, NUMBERS, OLDER, PORT, PREFIX, READOUT, ROW, ROWS, RULE, RULE_ENDS,
    RULE_STEPS, RUNNING, RuleTargets, SCAN, SINCE, SOURCE, SOURCES, STATIC, STEPS, SUFFIX, TARGET, WAITING, WIDTH,
)
from pareprop.core.algorithms.steps.window_steps cimport (
    WINDOW, collect, credit, credit_both, credit_online, credit_online_both, decay, eligibility, eligibility_adaptive,
    filter_own, repeat,
)
from pareprop.core.readout_sums cimport ExactSum, add_row_exactly
from pareprop.core.rounds cimport Meeting
from pareprop.core.search cimport first_at_least, prefetch
from pareprop.core.softmax cimport softmax
from pareprop.core.spike_log cimport Spikes
from pareprop.core.stopwatch cimport Stopwatch, begin, lap, now, share, started

include "../algorithms/prefix/sums.pxi"
include "optimizers.pxi"

cdef class Rates:
    """Filtered firing rates of this rank's neurons, for the regularization."""

    cdef public double dt                          # ms
    cdef public real[::1] c_reg, f_target          # (n,)
    cdef public real[::1] f_av                     # (n,), UPDATED

    def __init__(self, values):
        bind(self, values)


cdef class Errors:
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

    def __init__(self, values):
        bind(self, values)


cdef class Rows:
    """The synapses onto one kind of target with what they need to learn; columns of the tables stand in layout.pxd."""

    cdef public int64_t[:, ::1] blocks, books
    cdef public BlockSettings[::1] settings        # (n_blocks,)
    cdef public int64_t[::1] row_ptr               # (n_rows + 1,)
    cdef public int64_t[::1] counters              # (n_rows,), optimizer steps made
    cdef public uint32_t[::1] target
    cdef public int8_t[::1] signs                  # of the row's source, +1, -1 or 0; empty: no source has one
    cdef public double[::1] Z                      # (n_rows,), zbar of each row, see the modes
    # of short-term plasticity, empty without: factors of spikes that wait, by step, and of those that are OLDER
    cdef public double[:, ::1] factors             # (n_rows, m + 1)
    cdef public double[::1] older                  # (n_rows,)
    cdef public int64_t[:, ::1] step_known         # (n_blocks, k), the optimizer's step that a place is for
    cdef public double[:, :, ::1] step_numbers     # (n_blocks, k, MOST_OF_STEP + 1), its numbers, see optimizing.pxi
    # of steps without a gradient, see algorithms/idle.py: powers, steps of a part and until none
    cdef public double[:, :, ::1] idle_powers      # (k, steps, SERIES_COLUMNS)
    cdef public int64_t[:, ::1] idle_steps         # (k, 2)
    cdef IdleSums[IDLE_FIRSTS] idle                # by first step
    cdef public bint from_own                      # sources are this rank's neurons, else those that it listens to
    cdef ExactSum* sums                            # of readouts in the present step; NULL: weights go to `arriving`
    # learning rates that act with the update after the next one, as in NEST; `first` is empty where they act at once
    cdef public int64_t[::1] first                 # (n_rows), step of a row's first arrival
    cdef public int64_t[::1] rate_since            # (k), step from which on updates note a rate
    cdef public double[:, ::1] rates               # (k, n_blocks), row 0: those of synapses that were not updated yet
    # synapses whose weights are kept when spikes arrive: (k, 3) block, row, synapse
    cdef public int64_t[:, ::1] watch
    cdef public double[:, ::1] watched             # (n_steps, k), OUT, NaN where none arrives
    # weights at the latest arrivals, where steps of the optimizer were made since; NaN elsewhere, empty: not kept
    cdef public real[::1] arrived
    # the latest spike of each source that arrived at the shortest delay in this `Engine.run`, NEVER: not known
    cdef public int64_t[::1] emitted
    cdef public real[::1] weight
    cdef public real[::1] Y, C, Y2                 # of the prefix sums; ebar, minus the gradient, ereg
    cdef public real[::1] h                        # with rewards: traces that TD errors meet, see online_td.pxi
    cdef public real[::1] zbar, eps                # own filtered spikes, adaptation's part of the eligibility
    cdef public real[:, ::1] traces                # (n_traces, n_synapses), of generated models
    cdef public real[:, ::1] kept                  # (n_kept, n_synapses), of the optimizer
    cdef public double[::1] total                  # gradients that optimizers took so far; empty: not kept
    # of composed maps, empty without: what ends of blocks ask of each row, and lists of rows by step of the block
    cdef public int64_t[::1] mark, following       # (n_rows,)
    cdef public int64_t[:, ::1] head               # (n_blocks, MAP_STEPS + 1)
    cdef public double[:, :, ::1] powers           # (n_blocks, k, steps), of constants, NaN: not known yet

    def __init__(self, values):
        bind(self, values)


cdef class Feedback:
    """Synapses from all readouts to this rank's neurons."""

    cdef public int64_t[:, ::1] blocks
    cdef public int64_t[::1] row_ptr
    cdef public uint32_t[::1] target
    cdef public real[::1] weight
    # places in `weight` that follow the synapses of Engine.outgoing and Engine.adaptive, -1 for none
    cdef public int64_t[::1] symmetric, adaptive
    cdef public real[::1] dropped                  # (n_readouts,), what adaptive synapses deliver, which nobody reads

    def __init__(self, values):
        bind(self, values)


cdef class Histories:
    """The latest steps of what synapses read later: rings, step u in row u % length."""

    cdef public real[:, ::1] psi, L, F             # (steps, n): surrogate gradients, learning signals, rate errors
    # the same of psi and L by target, see lines.h: a ring of blocks of LINE_STEPS steps, or none
    cdef public real[:, :, ::1] lines              # (n_blocks, n, 2 LINE_STEPS)
    cdef public double[:, ::1] error_ring          # (steps, n_readouts)
    # prefix sums of errors in blocks of `out_block` steps from o on: sum alpha_out^(u-o) E_u; 0: there are none
    cdef public double[:, ::1] error_sums          # (steps, n_readouts)
    cdef public int64_t out_block
    cdef public double[:, ::1] out_powers          # (out_block + 1, n_readouts), alpha_out^k
    cdef public real[:, ::1] found                 # scratch (n, CHUNK), of targets of generated models

    def __init__(self, values):
        bind(self, values)


cdef class Sums:
    """Prefix sums of this rank's neurons, see prefix/sums.pxi."""

    cdef public bint in_use                        # this rank has neurons, and synapses of some rank learn by sums
    cdef public int64_t block                      # steps B of a block
    cdef public int64_t sets                       # 2: a second set serves F, as kappa_reg differs from kappa
    cdef public double[:, :, ::1] powers           # (n_pieces, 4, B + 1): (alpha/kappa)^k, kappa^k, those of kappa_reg
    cdef public double[:, ::1] alpha_powers        # (n_blocks of incoming, B + 2): alpha^(k - 1)
    cdef public double[:, ::1] R, R2               # (m + 1, n)
    cdef public double[::1] A, D, A2, D2           # (n,)
    cdef public double[:, :, ::1] cells            # (n, 1 or 2, 4), memory of `Cell`s, with 2 an `End` after each one
    cdef public double[:, :, ::1] ends, ends2      # (n_ends, n, 4), memory of `End`s

    def __init__(self, values):
        bind(self, values)


cdef class Online:
    """TD errors of the latest steps, and the sums that they need, see online_td.pxi."""

    cdef public bint in_use
    cdef public int64_t d_out                      # steps from neurons to readouts
    cdef public double[::1] delta, discount        # (steps,), rings by step of the readouts: delta_u, q_u
    cdef public double[::1] S, U                   # (n,)
    cdef public double[::1] running                # (2,), Q and G of the present block
    cdef public double[:, :, ::1] ends             # (n_ends, 5, n), sums at ends of blocks
    cdef public double[:, ::1] end_factors         # (n_ends, 2), Q there, and what h is multiplied with
    cdef public uint8_t[::1] last                  # (n_ends,), 1: an episode ends with this block

    def __init__(self, values):
        bind(self, values)


cdef class ComposedMaps:
    """What composed maps of steps make of traces, by target, see scan/maps.pxi."""

    cdef public bint in_use
    cdef public int64_t kind                       # NO_OTHER, REGULARIZED or REWARDED
    cdef public double[:, :, ::1] number           # (MAPS, n, width), of NEST's own neurons
    # the same of neurons given by equations: (SUFFIX, n, width), and that of SUFFIX with what enters, (n, suffix width)
    cdef public double[:, :, ::1] of_models
    cdef public double[:, ::1] suffix_of_models
    cdef public double[:, ::1] apart               # (MAPS, n), of these neurons, see neuron_model.h
    cdef public real[:, :, ::1] derived            # (MAP_STEPS, n_derived, n), of their latest steps, a ring
    cdef public double[:, :, ::1] records          # (MAP_STEPS, more than n, width), what single steps read
    cdef public int64_t recorded                   # step to which those of the present block reach; NEVER: none
    cdef int64_t followed                          # synapses times single steps in the present block
    cdef public int64_t[::1] addresses             # (n_pieces,), of these models' NeuronMaps, or 0
    cdef public double[::1] products               # (MAPS,), with rewards: of the discounts
    cdef int64_t begun, reached                    # first step of the present block, first that is not known yet

    def __init__(self, values):
        bind(self, values)


cdef class Learned:
    """Parameters of neurons that learn, see parameters.pxi; a population's parameters have one slot each."""

    cdef public int64_t[:, ::1] items              # (n_items, 3): piece, slot, place among the ports of `trace`
    cdef public double[:, ::1] kappas              # (n_items, 2): kappa, kappa_reg
    cdef public int64_t d_out                      # steps from neurons to readouts
    cdef public real[:, :, ::1] trace              # (n_slots, n_traces, n)
    cdef public real[:, :, ::1] ebar, ereg         # (steps, n_slots, n), rings
    cdef public real[::1] e, signal                # scratch (n,)
    cdef public double[:, ::1] gradient            # (n_slots, n), UPDATED: of the present sample

    def __init__(self, values):
        bind(self, values)


cdef class Learners:
    """Rules given by equations, see rule/rule.pxi."""

    cdef public RuleTargets[::1] table             # (n_rules,)
    cdef public int64_t steps                      # of the rings of what enters in a step
    cdef public int64_t fold_steps                 # how often rows are worked off that go through each step
    cdef public double[::1] modulator              # (steps,), a ring: what rules read as M

    def __init__(self, values):
        bind(self, values)


cdef struct Present:  # what follows from a step t, see prefix/rows.pxi
    int64_t t, size   # B, for which the rest was found
    int64_t block     # of the sums, that step t - m lies in
    int64_t first     # step of it
    int64_t place     # of t - m in it
    int64_t end       # row of `ends` of the block before
    int64_t before_entry, before_close


cdef class Engine:
    """Runs this rank's neurons with their incoming synapses, and all readouts with the synapses from these neurons."""

    cdef readonly Neurons neurons
    cdef readonly Rates rates
    cdef readonly Readouts readouts
    cdef readonly Errors errors
    cdef readonly Rows incoming, outgoing
    cdef readonly Rows adaptive                    # feedback that learns as the readout synapses of its neurons do
    cdef readonly Feedback feedback
    cdef readonly Histories histories
    cdef readonly Sums sums
    cdef readonly Online online
    cdef readonly ComposedMaps maps
    cdef readonly Learned learned
    cdef readonly Learners learners
    cdef public Channel channel
    cdef public Sample sample
    cdef public Recorder recorder
    cdef real[:, :, ::1] ring                      # (slots, n_ports, n), what arrives later at static synapses
    cdef public int64_t spread_until               # the ring has all spikes of steps before; NEVER: it is not known
    cdef public int64_t m                          # steps by which learning signals lag behind
    cdef public int64_t fold_steps                 # how often rows without a cutoff are worked off
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
    cdef public double deliver_seconds, update_seconds, sweep_seconds
    cdef public int64_t work                       # reached synapses, steps of them and of their optimizer
    cdef Stopwatch watch

    def __init__(
        self,
        *,
        Neurons neurons not None,
        Rates rates not None,
        Readouts readouts not None,
        Errors errors not None,
        Rows incoming not None,
        Rows outgoing not None,
        Rows adaptive not None,
        Feedback feedback not None,
        Histories histories not None,
        Sums sums not None,
        Online online not None,
        ComposedMaps maps not None,
        Learned learned not None,
        Learners learners not None,
        real[:, :, ::1] ring not None,
        int64_t m,
        int64_t fold_steps,
        int64_t lead,
    ):
        self.neurons, self.rates, self.readouts, self.errors = neurons, rates, readouts, errors
        self.incoming, self.outgoing, self.adaptive = incoming, outgoing, adaptive
        self.feedback, self.histories, self.sums, self.online = feedback, histories, sums, online
        self.maps, self.learned, self.learners, self.ring = maps, learned, learners, ring
        self.m, self.fold_steps, self.lead, self.flushed, self.spread_until = m, fold_steps, lead, NEVER, NEVER
        self.of_block = self.of_place = Power(0.0, 0, 1.0)

    def run(self, Meeting meeting not None, int64_t first, int64_t end, int64_t round_steps, bint led):
        """Collective: advance steps [first, end) in rounds, after each of which ranks meet.

        Parameters
        ----------
        meeting : how ranks meet after each round
        led : whether one rank has all neurons: it reads out each step at once, and the others follow it
        """
        cdef int64_t last, part, stop, complete, known, base, n = self.neurons.v.shape[0]
        cdef double start = started(&self.watch, n), apart = meeting.seconds()
        if self.channel is None or self.sample is None or self.recorder is None:
            raise TypeError("Engine.run: channel, sample and recorder must be bound before it")
        self.forget()
        with nogil:
            if first == 0:
                start_models(self.neurons, 0)
            base = self.channel.base
            first, end = first - base, end - base  # in steps of the log
            known = first
            while first < end:
                last = min(first + min(round_steps, self.channel.sums.n_steps), end)
                self.channel.sums.open(first)
                part = first
                while part < last:
                    stop = meeting.end_of_part(part, first, last)
                    if n > 0 or not led:
                        self.advance_all(base + part, base + stop, led)
                    complete = meeting.meet_part(part, stop, first, last)
                    if n == 0 and led:
                        self.advance_all(base + part, base + stop, led)
                    if not led and known < complete:
                        self.read_out(base + known, base + complete)
                    known, part = complete, stop
                first = last
        start = max(now() - start - (meeting.seconds() - apart), 0.0)  # a first exchange counts a wait of before
        self.sweep_seconds += start * share(&self.watch, SWEEP)
        self.deliver_seconds += start * share(&self.watch, DELIVER)
        self.update_seconds += start * share(&self.watch, UPDATE)

    def teach_rest(self, int64_t end):
        """Let errors teach parameters whose learning signal would arrive after the sample, which ends before `end`."""
        cdef int64_t u
        for u in range(max(end - self.m - 1, 0), end - self.learned.d_out if self.learns else 0):
            teach_parameters(self.learned, self.neurons, self.feedback, self.histories, self.sample.origin, u)

    cdef int forget(self) except -1:
        """Forget what need not be true any more if another state was restored."""
        self.block_beside, self.maps.recorded = -1, NEVER
        self.incoming.emitted[:] = NEVER
        self.outgoing.emitted[:] = NEVER
        self.adaptive.emitted[:] = NEVER
        return 0

    cdef int advance_all(self, int64_t first, int64_t last, bint led) except -1 nogil:
        """Advance steps [first, last) of a round."""
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

    cdef void read_out(self, int64_t first, int64_t last) noexcept nogil:
        """Readouts in the steps [first, last), whose sums are complete."""
        cdef int64_t t
        begin(&self.watch, first, self.neurons.v.shape[0])
        for t in range(first, last):
            self.channel.sums.total(t - self.channel.base, self.readouts.arriving)
            self.step_readouts(t)
        lap(&self.watch, UPDATE)

    cdef void step_readouts(self, int64_t t) noexcept nogil:
        advance_readouts(self.readouts, self.channel, t - self.sample.origin, t == 0)
        find_errors(self, t)

    cdef void learn_before(self, int64_t t) noexcept nogil:
        """What is known before spikes arrive in step t."""
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

    def tell(self, int64_t t, const double[::1] error, double delta, double discount):
        """Errors of the readouts in step t, the latest one or the next, and the TD error that is known then."""
        cdef int64_t row = t % self.online.delta.shape[0]
        self.histories.error_ring[row, :] = error
        self.online.delta[row], self.online.discount[row] = delta, discount

    def bring_forward(self, int64_t t):
        """Before step t, when synapses move: work off all rows of theirs."""
        cdef int64_t b, source
        with nogil:
            if self.learns and t > self.m:
                find_signal(self, t - self.m - 1)
            for b in range(self.incoming.blocks.shape[0] if self.learns else 0):
                if self.incoming.settings[b].moves and learns_ever(self.incoming, b):
                    for source in range(self.incoming.blocks[b, SOURCE], self.incoming.blocks[b, SOURCES]):
                        bring_forward(self, t, self.incoming, b, row_of(self.incoming.blocks, b, source))

    def flush(self, int64_t n_steps):
        """Let spikes in flight arrive, then one more arrival at every synapse in step `n_steps` + m."""
        cdef int64_t t
        self.outgoing.sums = NULL
        self.forget()
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
