"""Spike variant (e-prop+): neurons, readouts and synapses that learn whenever a spike arrives at them.

Equations: Korcsak-Gorzo et al. 2025, arXiv:2511.21674; step order of NEST 3.10. Time is absolute: step 0 is the first
of the run. n = neurons of this rank, m = d_out + d_fb - 1 = steps by which learning signals lag behind.
"""

from libc.math cimport sqrt
from libc.stdint cimport uint64_t

include "delivery.pxi"
include "surrogates.pxi"
include "spike_neurons.pxi"
include "spike_prefix.pxi"
include "spike_loop.pxi"

cdef enum:        # how a block learns
    STATIC = 0
    PREFIX = 1
    LOOP = 2
    READOUT = 3

cdef enum:        # columns of `rules`, int64 (n_blocks, 6)
    MODE = 0
    CUTOFF = 1    # steps; below 0: none
    OWN_ZBAR = 2
    ADAPTIVE = 3
    ADAM = 4
    EACH_STEP = 5

cdef enum:        # columns of `constants`, float64 (n_blocks, 9)
    ALPHA = 0
    KAPPA = 1
    KAPPA_REG = 2
    ETA = 3
    W_MIN = 4
    W_MAX = 5
    BETA_1 = 6
    BETA_2 = 7
    EPSILON = 8

cdef enum:        # columns of `books`, int64 (n_rows, 5): the bookkeeping of a source and delay
    LATEST = 0    # previous arrival, -1 if none
    CURSOR = 1    # first history step not worked off (LOOP, READOUT), block of the sums (PREFIX)
    WAITING = 2   # bit i: the arrival at LATEST - i has not entered zbar yet
    OLDER = 3     # arrivals before that which have not entered either
    CLOSED = 4    # 1: the cutoff is reached, traces are of step LATEST - m + cutoff - 1


cdef class Rows:
    """The synapses onto one kind of target with what they need to learn."""

    cdef public int64_t[:, ::1] blocks, rules, books
    cdef public double[:, ::1] constants
    cdef public int64_t[::1] row_ptr, counters     # counters: optimizer steps made
    cdef public uint32_t[::1] target
    cdef public double[::1] Z                      # zbar of each row, see the modes
    cdef public int64_t first_error                # READOUT: column of the errors that target 0 makes
    cdef public double[::1] weight, Y, C, Y2, zbar, eps, moment, variance

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)


cdef class Engine:
    """This rank's neurons and readouts with their incoming synapses, bound to the arrays they work on."""

    # neurons: parameters and state
    cdef public int64_t first_id
    cdef public int64_t[:, ::1] pieces             # (n_pieces, 4): first, last neuron, surrogate, model
    cdef public double[::1] alpha, p_current, V_th, V_min, V_reset, t_ref, rho, adapt_beta, height, inverse_width, I_e
    cdef public double[::1] refractory_input, c_reg, f_target
    cdef public double[::1] v, a, z, refractory, arriving, excess, drive, kept, f_av
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
    cdef public double[::1] fb_weight
    # logs: entry [t - base] of a ptr array is step t
    cdef public int64_t base
    cdef public uint32_t[::1] input_ids, log_ids, own_ids
    cdef public int64_t[::1] input_ptr, log_ptr, own_ptr
    # the present sample, from step `origin`
    cdef public int64_t origin
    cdef public double[:, ::1] injected, target_signal, signal, own_signal, error
    cdef public uint8_t[::1] window
    # histories: ring of rows, step u in row u % length
    cdef public double[:, ::1] psi, L, F, error_ring
    # prefix sums; block length B
    cdef public int64_t block, m, sets
    cdef public double dt
    cdef public double[:, :, ::1] powers           # (n_pieces, 4, B + 1): (alpha/kappa)^k, kappa^k, those of kappa_reg
    cdef public double[:, ::1] alpha_powers        # (n_blocks of incoming, B + 2): alpha^(k - 1)
    cdef public double[:, ::1] R, R2               # (m + 1, n)
    cdef public double[::1] A, D, A2, D2
    cdef public double[:, ::1] end_R, end_A, end_D, end_R2, end_A2, end_D2    # (n_ends, n), sums at ends of blocks
    cdef public double[:, ::1] past_R, past_Q, past_R2, past_Q2                 # rings, for m > 1
    cdef public int64_t fold_steps
    cdef public bint learns, alone, has_prefix
    # recording
    cdef public int64_t[::1] record
    cdef public double[:, ::1] recorded_V, recorded_a, recorded_psi
    cdef public double deliver_seconds, update_seconds, sweep_seconds

    def __init__(self, arrays):
        for name, value in arrays.items():
            setattr(self, name, value)

    def run(self, int64_t first, int64_t last):
        """Advance steps [first, last); return the step reached, less than `last` if `own_ids` is full."""
        cdef int64_t t = first, n = self.v.shape[0]
        cdef double start, middle, end
        with nogil:
            start = now()
            while t < last and self.own_ptr[t - self.base] + n <= self.own_ids.shape[0]:
                if self.learns:
                    self.learn_step(t - self.m - 1)
                middle = now()
                self.sweep_seconds += middle - start
                self.deliver_all(t, self.incoming, self.arriving)
                end = now()
                self.deliver_seconds += end - middle
                self.advance(t)
                self.advance_readouts(t)
                self.follow(t)
                if self.alone:
                    self.find_errors(t)
                start = now()
                self.update_seconds += start - end
                t += 1
        return t

    def errors(self, int64_t first, int64_t last):
        """Errors of steps [first, last) from the signals of all readouts."""
        cdef int64_t t
        with nogil:
            for t in range(first, last):
                self.find_errors(t)

    def flush(self, int64_t n_steps):
        """Let spikes in flight arrive, then one more arrival at every synapse in step `n_steps` + m."""
        cdef int64_t t
        with nogil:
            for t in range(n_steps, n_steps + self.m + 1):
                self.error_ring[t % self.error_ring.shape[0]][:] = 0.0
            for t in range(n_steps, n_steps + self.m + 1):
                self.learn_step(t - self.m - 1)
                if t < n_steps + self.m:
                    self.deliver_all(t, self.incoming, self.arriving)
                    self.deliver_all(t, self.outgoing, self.arriving_out)
                    self.follow(t)
            self.arrive_everywhere(n_steps + self.m, self.incoming)
            self.arrive_everywhere(n_steps + self.m, self.outgoing)
            self.arrive_everywhere(n_steps + self.m, self.mirror)
            self.copy_mirror()

    cdef void arrive_everywhere(self, int64_t t, Rows rows) noexcept nogil:
        cdef int64_t b, source, row
        for b in range(rows.blocks.shape[0]):
            if rows.rules[b, MODE] != STATIC:
                for source in range(rows.blocks[b, SOURCE], rows.blocks[b, SOURCES]):
                    row = rows.blocks[b, ROW] + source - rows.blocks[b, SOURCE]
                    if rows.books[row, LATEST] >= 0 and rows.row_ptr[row + 1] > rows.row_ptr[row]:
                        self.arrive(t, rows, b, row, source, self.arriving)

    # ---- neurons -----------------------------------------------------------------------------------------------------

    cdef void advance(self, int64_t t) noexcept nogil:
        cdef int64_t p, j, k, first, last, place = t - self.base, count = self.own_ptr[place], n = self.v.shape[0]
        cdef int64_t row = t % self.psi.shape[0]
        cdef bint psc_delta, adaptive
        for p in range(self.pieces.shape[0]):
            first = self.pieces[p, 0]
            last = self.pieces[p, 1]
            adaptive = self.pieces[p, 3] & 1
            psc_delta = self.pieces[p, 3] & 2
            self.set_drive(t, first, last, psc_delta)
            if psc_delta:
                integrate_psc_delta(first, last, adaptive, self.alpha, self.drive, self.V_th, self.V_min, self.rho,
                                    self.adapt_beta, self.z, self.refractory_input, self.kept, self.arriving, self.v,
                                    self.a, self.refractory, self.excess)
            else:
                integrate_iaf(first, last, adaptive, self.alpha, self.drive, self.V_th, self.V_min, self.rho,
                              self.adapt_beta, self.z, self.arriving, self.v, self.a, self.refractory, self.excess)
            surrogate(self.pieces[p, 2], first, last, self.height, self.inverse_width, self.excess, self.refractory,
                      self.psi[row])
            for k in range(self.record.shape[0]):
                j = self.record[k]
                if first <= j < last:
                    self.recorded_V[t - self.origin, k] = self.v[j]
                    self.recorded_a[t - self.origin, k] = self.a[j]
                    self.recorded_psi[t - self.origin, k] = self.psi[row, j]
            fire(first, last, psc_delta, self.t_ref, self.excess, self.V_th, self.V_reset, self.z, self.v,
                 self.refractory)
        for k in range(self.record.shape[0]):      # recorded after the reset, as NEST does
            self.recorded_V[t - self.origin, k] = self.v[self.record[k]]
        for j in range(n):                         # branch-free: own_ids has room for all n
            self.own_ids[count] = <uint32_t> (self.first_id + j)
            count += self.z[j] != 0.0
        self.own_ptr[place + 1] = count
        if self.learns:
            self.follow_rates(t, t % self.F.shape[0])
            if self.has_prefix:
                self.sum_psi(t, row)

    cdef void set_drive(self, int64_t t, int64_t first, int64_t last, bint psc_delta) noexcept nogil:
        """Voltage change by the current of the previous step; I_e is there from step 1 on (psc_delta: from step 0)."""
        cdef int64_t j, s = t - self.origin
        cdef bint injects = self.injected.shape[0] > 0, constant = t > 0 or psc_delta
        cdef double current
        if not injects and t > 1 and s > 0:
            return
        for j in range(first, last):
            current = self.I_e[j] if constant else 0.0
            if injects:
                current = current + self.injected[s, j]
            self.drive[j] = self.p_current[j] * current

    cdef void follow_rates(self, int64_t t, int64_t row) noexcept nogil:
        """f_av = kappa_reg f_av + (1 - kappa_reg) z / dt; F = c_reg (f_av - f_target)."""
        cdef int64_t p
        for p in range(self.pieces.shape[0]):
            filter_rates(self.pieces[p, 0], self.pieces[p, 1], self.powers[p, 3, 1], self.dt, self.z, self.c_reg,
                         self.f_target, self.f_av, self.F[row])

    cdef void sum_psi(self, int64_t t, int64_t row) noexcept nogil:
        cdef int64_t p, k = t % self.block, now_ = t % (self.m + 1), before = (t + self.m) % (self.m + 1)
        for p in range(self.pieces.shape[0]):
            add_psi(self.pieces[p, 0], self.pieces[p, 1], k == 0, self.powers[p, 0, k], self.psi[row], self.R[before],
                    self.R[now_])
            if self.sets == 2:
                add_psi(self.pieces[p, 0], self.pieces[p, 1], k == 0, self.powers[p, 2, k], self.psi[row],
                        self.R2[before], self.R2[now_])

    # ---- readouts ----------------------------------------------------------------------------------------------------

    cdef void advance_readouts(self, int64_t t) noexcept nogil:
        cdef int64_t k
        cdef double x
        self.deliver_all(t, self.outgoing, self.arriving_out)
        for k in range(self.y.shape[0]):
            x = (self.y_drive if t > 0 else 0.0) + self.arriving_out[k] + self.y_alpha * self.y[k]
            self.y[k] = x if x > self.y_min else self.y_min
            self.arriving_out[k] = 0.0
            self.own_signal[t - self.origin, k] = self.y[k]

    cdef void follow(self, int64_t t) noexcept nogil:
        """Repeat the learning of readout synapses from this rank's neurons and copy their weights into the feedback."""
        if self.learns and self.mirror_index.shape[0] > 0:
            self.deliver_all(t, self.mirror, self.nowhere)
            self.copy_mirror()

    cdef void copy_mirror(self) noexcept nogil:
        cdef int64_t k
        for k in range(self.mirror_index.shape[0]):
            if self.mirror_index[k] >= 0:
                self.fb_weight[self.mirror_index[k]] = self.mirror.weight[k]

    cdef void find_errors(self, int64_t t) noexcept nogil:
        """E = (y + E_L - target) in the window, with softmax over the readouts for cross-entropy."""
        cdef int64_t k, s = t - self.origin, row = t % self.error_ring.shape[0], n = self.signal.shape[1]
        cdef double most, total
        if not self.window[s]:
            for k in range(n):
                self.error[s, k] = 0.0
                self.error_ring[row, k] = 0.0
            return
        most = -1e300
        total = 0.0
        for k in range(n):
            self.error[s, k] = self.signal[s, k] + self.E_L
            most = max(most, self.error[s, k])
        if self.cross_entropy:
            for k in range(n):
                self.error[s, k] = exp(self.error[s, k] - most)
                total += self.error[s, k]
            for k in range(n):
                self.error[s, k] /= total
        for k in range(n):
            self.error[s, k] -= self.target_signal[s, k]
            self.error_ring[row, k] = self.error[s, k]

    # ---- learning signals --------------------------------------------------------------------------------------------

    cdef void learn_step(self, int64_t u) noexcept nogil:
        """Learning signal of history step u from the errors of step u + d_out, and the sums that need it."""
        cdef int64_t p, b, k, row, seen, place, k_block, end
        if u < 0:
            return
        place = u % self.L.shape[0]
        self.L[place][:] = 0.0
        for b in range(self.fb_blocks.shape[0]):
            seen = (u + self.fb_delay_of_out(b)) % self.error_ring.shape[0]
            for k in range(self.fb_blocks[b, SOURCE], self.fb_blocks[b, SOURCES]):
                if self.error_ring[seen, k] != 0.0:
                    row = self.fb_blocks[b, ROW] + k - self.fb_blocks[b, SOURCE]
                    add_row(self.fb_blocks, b, k, self.fb_row_ptr[row], self.fb_row_ptr[row + 1], self.fb_target,
                            self.fb_weight, self.error_ring[seen, k], self.L[place])
        if self.sets == 1:                         # L + (1 - kappa_reg) F is all that synapses need
            for p in range(self.pieces.shape[0]):
                add_rates(self.pieces[p, 0], self.pieces[p, 1], 1.0 - self.powers[p, 3, 1],
                          self.F[u % self.F.shape[0]], self.L[place])
        if not self.has_prefix:
            return
        k_block = u % self.block
        for p in range(self.pieces.shape[0]):
            add_signal(self.pieces[p, 0], self.pieces[p, 1], self.powers[p, 1, k_block],
                       self.L[place], self.R[u % (self.m + 1)], self.A, self.D)
            if self.sets == 2:
                add_signal(self.pieces[p, 0], self.pieces[p, 1],
                           self.powers[p, 3, k_block] * (1.0 - self.powers[p, 3, 1]), self.F[u % self.F.shape[0]],
                           self.R2[u % (self.m + 1)], self.A2, self.D2)
        if self.past_R.shape[0] > 0:
            keep_past(self.R[u % (self.m + 1)], self.A, self.D, self.past_R[u % self.past_R.shape[0]],
                      self.past_Q[u % self.past_R.shape[0]])
            if self.sets == 2:
                keep_past(self.R2[u % (self.m + 1)], self.A2, self.D2, self.past_R2[u % self.past_R.shape[0]],
                          self.past_Q2[u % self.past_R.shape[0]])
        if k_block == self.block - 1:
            end = (u // self.block) % self.end_R.shape[0]
            close_sums(self.R[u % (self.m + 1)], self.A, self.D, self.end_R[end], self.end_A[end], self.end_D[end])
            if self.sets == 2:
                close_sums(self.R2[u % (self.m + 1)], self.A2, self.D2, self.end_R2[end], self.end_A2[end],
                           self.end_D2[end])

    cdef inline int64_t fb_delay_of_out(self, int64_t b) noexcept nogil:
        """d_out = m + 1 - d_fb."""
        return self.m + 1 - self.fb_blocks[b, DELAY]

    # ---- delivery and learning ---------------------------------------------------------------------------------------

    cdef void deliver_all(self, int64_t t, Rows rows, double[::1] arriving) noexcept nogil:
        """Work off, update and deliver what arrives in step t; then close what the cutoff ends, fold what is old."""
        cdef int64_t b
        for b in range(rows.blocks.shape[0]):
            if rows.blocks[b, LOG] == 0:
                self.deliver_block_of(t, rows, b, self.input_ids, self.input_ptr, arriving)
            else:
                self.deliver_block_of(t, rows, b, self.log_ids, self.log_ptr, arriving)
            if self.learns and t % self.fold_steps == 0 and rows.rules[b, MODE] != STATIC and \
                    not 0 <= rows.rules[b, CUTOFF] <= self.fold_steps:
                self.fold(t, rows, b)

    cdef void deliver_block_of(
        self, int64_t t, Rows rows, int64_t b, const uint32_t[::1] ids, const int64_t[::1] ptr, double[::1] arriving
    ) noexcept nogil:
        cdef int64_t i, stop, row, emitted = t - rows.blocks[b, DELAY] + (1 if rows.blocks[b, LOG] == 0 else 0)
        cdef bint learns = self.learns and rows.rules[b, MODE] != STATIC
        if emitted >= 0:
            stop = ptr[emitted - self.base + 1]
            i = first_at_least(ids, ptr[emitted - self.base], stop, rows.blocks[b, SOURCE])
            while i < stop and ids[i] < rows.blocks[b, SOURCES]:
                row = rows.blocks[b, ROW] + ids[i] - rows.blocks[b, SOURCE]
                if rows.row_ptr[row] < rows.row_ptr[row + 1]:
                    if not learns or not self.arrive(t, rows, b, row, ids[i], arriving):
                        add_row(rows.blocks, b, ids[i], rows.row_ptr[row], rows.row_ptr[row + 1], rows.target,
                                rows.weight, 1.0, arriving)
                i += 1
        if not learns or rows.rules[b, CUTOFF] < 0:
            return
        emitted -= rows.rules[b, CUTOFF]
        if emitted >= 0:
            stop = ptr[emitted - self.base + 1]
            i = first_at_least(ids, ptr[emitted - self.base], stop, rows.blocks[b, SOURCE])
            while i < stop and ids[i] < rows.blocks[b, SOURCES]:
                row = rows.blocks[b, ROW] + ids[i] - rows.blocks[b, SOURCE]
                if rows.row_ptr[row] < rows.row_ptr[row + 1] and rows.books[row, LATEST] == t - rows.rules[b, CUTOFF]:
                    self.close(t, rows, b, row)
                i += 1

    cdef bint arrive(
        self, int64_t t, Rows rows, int64_t b, int64_t row, int64_t source, double[::1] arriving
    ) noexcept nogil:
        """A spike arrives: work off the window since the latest one, update the weights, let the spike wait.

        Return whether it was delivered, too.
        """
        cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], latest = rows.books[row, LATEST]
        cdef int64_t mode = rows.rules[b, MODE]
        if latest < 0:                             # the first spike starts the bookkeeping and updates nothing
            rows.books[row, CURSOR] = max(t - self.m, 0) // (self.block if mode == PREFIX else 1)
        elif mode == PREFIX:
            return self.arrive_prefix(t, rows, b, row, source, arriving)
        else:
            self.work_off(t, rows, b, row, start, stop)
            if rows.rules[b, CUTOFF] >= 0 and t - latest > rows.rules[b, CUTOFF]:
                self.decay_row(rows, b, row, start, stop, t - latest - rows.rules[b, CUTOFF])
            if not rows.rules[b, EACH_STEP]:
                self.optimize(t + 1, rows, b, row, start, stop)
            rows.books[row, CURSOR] = max(t - self.m, 0)
        self.wait(t, rows, row)
        if mode == PREFIX and self.m == 1:
            self.enter_now(t, rows, b, row, start, stop)
        return False

    cdef void wait(self, int64_t t, Rows rows, int64_t row) noexcept nogil:
        """Note the arrival; those that are older than m steps are counted, the others keep their bits."""
        cdef int64_t i, gap, latest = rows.books[row, LATEST]
        cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
        gap = t - latest
        if bits != 0 and latest >= 0:
            if gap > self.m:
                while bits != 0:
                    rows.books[row, OLDER] += bits & 1
                    bits >>= 1
            else:
                for i in range(self.m - gap + 1, self.m + 1):
                    rows.books[row, OLDER] += (bits >> i) & 1
                bits = (bits << gap) & ((<uint64_t> 2 << self.m) - 1)
        rows.books[row, WAITING] = <int64_t> (bits | 1)
        rows.books[row, LATEST] = t

    cdef void optimize(
        self, int64_t due, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
    ) noexcept nogil:
        """Apply what is owed, with the Adam steps that are due."""
        if rows.rules[b, ADAM]:
            apply_adam(start, stop, rows.counters[row], due, rows.constants[b, ETA], rows.constants[b, W_MIN],
                       rows.constants[b, W_MAX], rows.constants[b, BETA_1], rows.constants[b, BETA_2],
                       rows.constants[b, EPSILON], rows.C, rows.moment, rows.variance, rows.weight)
            rows.counters[row] = max(due, rows.counters[row])
        else:
            apply_descent(start, stop, rows.constants[b, ETA], rows.constants[b, W_MIN], rows.constants[b, W_MAX],
                          rows.C, rows.weight)

    cdef void fold(self, int64_t t, Rows rows, int64_t b) noexcept nogil:
        """Work off what would otherwise leave the histories before its synapses read it; depends on t alone."""
        cdef int64_t row, n_sources = rows.blocks[b, SOURCES] - rows.blocks[b, SOURCE], first = rows.blocks[b, ROW]
        for row in range(first, first + n_sources):
            if rows.books[row, LATEST] < 0 or rows.books[row, CLOSED] or rows.row_ptr[row] == rows.row_ptr[row + 1]:
                continue
            if rows.rules[b, MODE] == PREFIX:
                self.advance_prefix(t - self.m, rows, b, row)
            else:
                self.work_off(t, rows, b, row, rows.row_ptr[row], rows.row_ptr[row + 1])

    cdef void close(self, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
        """The cutoff is reached: the window ends here, whenever the next spike arrives."""
        cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], e = t - self.m
        if rows.rules[b, MODE] == PREFIX:
            self.close_prefix(e, rows, b, row, start, stop)
        else:
            self.work_off(t, rows, b, row, start, stop)
        rows.books[row, CLOSED] = 1

    # ---- windows step by step ----------------------------------------------------------------------------------------

    cdef void work_off(self, int64_t t, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop) noexcept nogil:
        """Work off the history up to step t - m, or to the cutoff."""
        cdef int64_t u, n, latest = rows.books[row, LATEST], end = t - self.m
        cdef bint each_step = rows.rules[b, EACH_STEP]
        cdef double[WINDOW] traces
        if rows.books[row, CLOSED]:
            rows.books[row, CLOSED] = 0 if t > latest + rows.rules[b, CUTOFF] else 1
            return
        if rows.rules[b, CUTOFF] >= 0:
            end = min(end, latest - self.m + rows.rules[b, CUTOFF])
        if each_step and rows.rules[b, ADAM] and latest < self.m and end > latest - self.m:
            # the history before the start of the task counts for the optimizer, though nothing is there
            self.optimize(min(end, 0) + 2, rows, b, row, start, stop)
        u = rows.books[row, CURSOR]
        while u < end:
            n = 1 if each_step else min(end - u, WINDOW)
            self.fill_traces(u, n, traces, rows, b, row)
            if rows.rules[b, MODE] == READOUT:
                self.work_readout(u, n, traces, rows, start, stop)
            else:
                self.work_neurons(u, n, traces, rows, b, row, start, stop)
            u += n
            if each_step:
                self.optimize(u + 2, rows, b, row, start, stop)
        rows.books[row, CURSOR] = max(rows.books[row, CURSOR], end)

    cdef void fill_traces(
        self, int64_t first, int64_t n, double* traces, Rows rows, int64_t b, int64_t row
    ) noexcept nogil:
        """Write zbar of the source in n steps; or, where synapses have their own, how many spikes enter."""
        cdef int64_t i, z
        for i in range(n):
            z = 0
            if rows.books[row, WAITING] != 0 or rows.books[row, OLDER] != 0:
                z = self.entering(first + i, rows, row)
            if rows.rules[b, OWN_ZBAR]:
                traces[i] = z
            else:
                rows.Z[row] = rows.constants[b, ALPHA] * rows.Z[row] + z
                traces[i] = rows.Z[row]

    cdef int64_t entering(self, int64_t u, Rows rows, int64_t row) noexcept nogil:
        """How many of the waiting spikes enter in step u: all that arrived by then."""
        cdef int64_t i, z = rows.books[row, OLDER], first = rows.books[row, LATEST] - u
        cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
        rows.books[row, OLDER] = 0
        if bits != 0:
            for i in range(max(first, 0), self.m + 1):
                z += (bits >> i) & 1
            if first <= 0:
                bits = 0
            elif first <= self.m:
                bits &= (<uint64_t> 1 << first) - 1
            rows.books[row, WAITING] = <int64_t> bits
        return z

    cdef void work_neurons(
        self, int64_t first, int64_t n, const double* traces, Rows rows, int64_t b, int64_t row, int64_t start,
        int64_t stop
    ) noexcept nogil:
        """Chunks of the row through all n steps, so that what they keep stays in the cache; dense ones unindexed."""
        cdef int64_t k = start, last, hole = stop, dense = -1
        if rows.blocks[b, DENSE]:
            hole = start + hole_of(rows.blocks, b, rows.blocks[b, SOURCE] + row - rows.blocks[b, ROW], stop - start)
        while k < stop:
            last = min(k + CHUNK, hole if k < hole else stop)
            if rows.blocks[b, DENSE]:
                dense = rows.blocks[b, TARGET] + k - start + (k >= hole)
            self.work_chunk(first, n, traces, rows, b, k, last, dense)
            k = last

    cdef void work_chunk(
        self, int64_t first, int64_t n, const double* traces, Rows rows, int64_t b, int64_t start, int64_t stop,
        int64_t dense
    ) noexcept nogil:
        """The synapses [start, stop), at most CHUNK; `dense` is their first target, -1 if they are not neighbours."""
        cdef int64_t i, row, width = stop - start
        cdef bint second = self.sets == 2
        cdef double kappa = rows.constants[b, KAPPA], kappa_reg = rows.constants[b, KAPPA_REG]
        cdef const uint32_t* target = &rows.target[start]
        cdef double[CHUNK] alpha, rho, beta, psi, L, F, e
        if rows.rules[b, OWN_ZBAR]:
            collect(width, dense, target, &self.alpha[0], alpha)
        if rows.rules[b, ADAPTIVE]:
            collect(width, dense, target, &self.rho[0], rho)
            collect(width, dense, target, &self.adapt_beta[0], beta)
        for i in range(n):
            row = (first + i) % self.psi.shape[0]
            collect(width, dense, target, &self.psi[row, 0], psi)
            collect(width, dense, target, &self.L[row, 0], L)
            if rows.rules[b, OWN_ZBAR]:
                filter_own(width, traces[i], alpha, &rows.zbar[start], e)
            else:
                repeat(width, traces[i], e)
            if rows.rules[b, ADAPTIVE]:
                eligibility_adaptive(width, psi, beta, rho, &rows.eps[start], e)
            else:
                eligibility(width, psi, e)
            if second:
                collect(width, dense, target, &self.F[row, 0], F)
                credit_both(width, kappa, kappa_reg, e, L, F, &rows.Y[start], &rows.Y2[start], &rows.C[start])
            else:
                credit(width, kappa, e, L, &rows.Y[start], &rows.C[start])

    cdef void work_readout(
        self, int64_t first, int64_t n, const double* traces, Rows rows, int64_t start, int64_t stop
    ) noexcept nogil:
        """g += E zbar"""
        cdef int64_t i, k, seen = first % self.error_ring.shape[0]
        for i in range(n):
            for k in range(start, stop):
                rows.C[k] -= self.error_ring[seen, rows.first_error + rows.target[k]] * traces[i]
            seen = seen + 1 if seen + 1 < self.error_ring.shape[0] else 0

    cdef void decay_row(
        self, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop, int64_t n
    ) noexcept nogil:
        rows.Z[row] *= rows.constants[b, ALPHA] ** n
        if rows.rules[b, MODE] == LOOP:
            decay(start, stop, rows.target, rows.rules[b, OWN_ZBAR], rows.rules[b, ADAPTIVE], self.sets == 2, n,
                  rows.constants[b, KAPPA], rows.constants[b, KAPPA_REG], self.alpha, self.rho, rows.zbar, rows.eps,
                  rows.Y, rows.Y2)

    # ---- windows by prefix sums --------------------------------------------------------------------------------------

    cdef bint arrive_prefix(
        self, int64_t t, Rows rows, int64_t b, int64_t row, int64_t source, double[::1] arriving
    ) noexcept nogil:
        cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], e = t - self.m, hole
        cdef int64_t n_decay = t - rows.books[row, LATEST] - rows.rules[b, CUTOFF]
        cdef bint entered = self.m == 1, fused = self.sets == 1
        cdef double d = 0.0, Z
        if rows.books[row, CLOSED]:
            self.optimize(t + 1, rows, b, row, start, stop)
            self.reopen(e, n_decay, rows, b, row, start, stop)
            self.wait(t, rows, row)
            if entered:
                self.enter_now(t, rows, b, row, start, stop)
            return False
        self.advance_prefix(e, rows, b, row)
        Z = rows.Z[row]
        if fused:
            if entered:
                d = self.unit(t, e, b)
            if rows.blocks[b, DENSE]:
                hole = start + hole_of(rows.blocks, b, source, stop - start)
                descend_dense(start, hole, rows.blocks[b, TARGET] - start, Z, d, rows.constants[b, ETA],
                              rows.constants[b, W_MIN], rows.constants[b, W_MAX], self.R[(t - 1) % (self.m + 1)],
                              self.A, self.D, rows.weight, rows.Y, rows.C, arriving)
                descend_dense(hole, stop, rows.blocks[b, TARGET] + 1 - start, Z, d, rows.constants[b, ETA],
                              rows.constants[b, W_MIN], rows.constants[b, W_MAX], self.R[(t - 1) % (self.m + 1)],
                              self.A, self.D, rows.weight, rows.Y, rows.C, arriving)
            else:
                descend(start, stop, rows.target, Z, d, rows.constants[b, ETA], rows.constants[b, W_MIN],
                        rows.constants[b, W_MAX], self.R[(t - 1) % (self.m + 1)], self.A, self.D, rows.weight, rows.Y,
                        rows.C, arriving)
            rows.Z[row] = Z + d
            self.wait(t, rows, row)
            if entered:
                rows.books[row, WAITING] = 0
            return True
        self.owe_all(rows, row, start, stop)
        self.optimize(t + 1, rows, b, row, start, stop)
        self.charge_all(rows, row, start, stop)
        self.wait(t, rows, row)
        if entered:
            self.enter_now(t, rows, b, row, start, stop)
        return False

    cdef inline double unit(self, int64_t p, int64_t u, int64_t b) noexcept nogil:
        """What a spike that enters in step p adds to Z in the block of step u: alpha^-(p - o)."""
        return 1.0 / self.alpha_powers[b, p - u // self.block * self.block + 1]

    cdef void enter_now(self, int64_t p, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop) noexcept nogil:
        """m = 1: the spike that arrives in step p enters at once, though A and D know less than R (step p-1 adds 0)."""
        cdef int64_t k, j, e = max(p - 1, 0)
        cdef double d = self.unit(p, e, b), r
        rows.books[row, WAITING] = 0
        rows.Z[row] += d
        if p == 0:
            return
        for k in range(start, stop):
            j = rows.target[k]
            r = self.R[(p - 1) % 2, j]
            rows.Y[k] -= d * r
            rows.C[k] += d * (self.D[j] - r * self.A[j])
        if self.sets == 2:
            for k in range(start, stop):
                j = rows.target[k]
                r = self.R2[(p - 1) % 2, j]
                rows.Y2[k] -= d * r
                rows.C[k] += d * (self.D2[j] - r * self.A2[j])

    cdef void owe_all(self, Rows rows, int64_t row, int64_t start, int64_t stop) noexcept nogil:
        owe(start, stop, rows.target, rows.Z[row], self.A, self.D, rows.Y, rows.C)
        if self.sets == 2:
            owe(start, stop, rows.target, rows.Z[row], self.A2, self.D2, rows.Y2, rows.C)

    cdef void charge_all(self, Rows rows, int64_t row, int64_t start, int64_t stop) noexcept nogil:
        charge(start, stop, rows.target, rows.Z[row], self.A, self.D, rows.Y, rows.C)
        if self.sets == 2:
            charge(start, stop, rows.target, rows.Z[row], self.A2, self.D2, rows.Y2, rows.C)

    cdef void advance_prefix(self, int64_t e, Rows rows, int64_t b, int64_t row) noexcept nogil:
        """Bring the row into the block of step e; spikes that waited and enter before e do so."""
        cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], f = rows.books[row, CURSOR], end
        cdef int64_t wanted = max(e, 0) // self.block
        while True:
            if rows.books[row, WAITING] != 0:
                self.enter_waiting(min(e, (f + 1) * self.block), f, rows, b, row, start, stop)
            if f == wanted:
                break
            end = f % self.end_R.shape[0]
            cross_block(start, stop, rows.target, rows.Z[row], self.shrink(b, 1), False, self.end_R[end],
                        self.end_A[end], self.end_D[end], rows.Y, rows.C)
            if self.sets == 2:
                cross_block(start, stop, rows.target, rows.Z[row], self.shrink(b, 3), True, self.end_R2[end],
                            self.end_A2[end], self.end_D2[end], rows.Y2, rows.C)
            rows.Z[row] *= self.alpha_powers[b, self.block + 1]
            f += 1
        rows.books[row, CURSOR] = f

    cdef inline double shrink(self, int64_t b, int64_t which) noexcept nogil:
        return self.kappa_power(b, which, self.block)

    cdef inline double kappa_power(self, int64_t b, int64_t which, int64_t k) noexcept nogil:
        """kappa^k (which = 1) or kappa_reg^k (which = 3) of the block's targets."""
        return (self.incoming.constants[b, KAPPA] if which == 1 else self.incoming.constants[b, KAPPA_REG]) ** k

    cdef void enter_waiting(
        self, int64_t bound, int64_t f, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
    ) noexcept nogil:
        """m > 1: let the spikes that wait for a step before `bound` enter, in the order of their steps."""
        cdef int64_t i, q, past, latest = rows.books[row, LATEST]
        cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
        cdef double d
        for i in range(self.m, -1, -1):
            if not (bits >> i) & 1 or latest - i >= bound:
                continue
            q = latest - i
            d = self.unit(q, f * self.block, b)
            bits ^= <uint64_t> 1 << i
            rows.Z[row] += d
            if q > f * self.block:
                past = (q - 1) % self.past_R.shape[0]
                enter_spike(start, stop, rows.target, d, self.past_R[past], self.past_Q[past], rows.Y, rows.C)
                if self.sets == 2:
                    enter_spike(start, stop, rows.target, d, self.past_R2[past], self.past_Q2[past], rows.Y2, rows.C)
        rows.books[row, WAITING] = <int64_t> bits

    cdef void close_prefix(
        self, int64_t e, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
    ) noexcept nogil:
        """Turn Y and Z into the traces of step e - 1 and C into what is owed."""
        cdef int64_t k
        self.advance_prefix(e, rows, b, row)
        self.owe_all(rows, row, start, stop)
        k = max(e, 0) % self.block
        # at the start of a block R is 0 whatever the ring holds, and the traces are of the step before it
        self.rescale(e, k, 1, True, rows, b, row, start, stop)
        rows.Z[row] *= self.alpha_powers[b, k]

    cdef void reopen(
        self, int64_t e, int64_t n_decay, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
    ) noexcept nogil:
        """Let the traces decay, bring them into the block of step e, and C back to what the sums will add to."""
        cdef int64_t k = max(e, 0) % self.block
        rows.Z[row] *= rows.constants[b, ALPHA] ** n_decay / self.alpha_powers[b, k]
        self.rescale(e, k, n_decay, False, rows, b, row, start, stop)
        rows.books[row, CURSOR] = max(e, 0) // self.block
        rows.books[row, CLOSED] = 0
        self.charge_all(rows, row, start, stop)

    cdef void rescale(
        self, int64_t e, int64_t k, int64_t n, bint to, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
    ) noexcept nogil:
        """Between Y and ebar = kappa^(e-1-o) (Y + Z R), for both sets; `k` = e - o."""
        cdef int64_t s, now_ = (e + self.m) % (self.m + 1)         # row of step e - 1
        cdef double power, Z = rows.Z[row] if k > 0 else 0.0
        for s in range(self.sets):
            power = self.kappa_power(b, 2 * s + 1, k - 1)
            if to and s == 0:
                to_trace(start, stop, rows.target, Z, power, self.R[now_], rows.Y)
            elif to:
                to_trace(start, stop, rows.target, Z, power, self.R2[now_], rows.Y2)
            else:
                power = self.kappa_power(b, 2 * s + 1, n) / power
                if s == 0:
                    from_trace(start, stop, rows.target, Z, power, self.R[now_], rows.Y)
                else:
                    from_trace(start, stop, rows.target, Z, power, self.R2[now_], rows.Y2)


cdef void filter_rates(
    int64_t first, int64_t last, double kappa_reg, double dt, const double[::1] z, const double[::1] c_reg,
    const double[::1] f_target, double[::1] f_av, double[::1] F
) noexcept nogil:
    cdef int64_t j
    for j in range(first, last):
        f_av[j] = kappa_reg * f_av[j] + (1.0 - kappa_reg) * z[j] / dt
        F[j] = c_reg[j] * (f_av[j] - f_target[j])


cdef void add_psi(
    int64_t first, int64_t last, bint starts, double power, const double[::1] psi, const double[::1] before,
    double[::1] R
) noexcept nogil:
    """R_u = R_(u-1) + (alpha/kappa)^(u-o) psi_u, from 0 at the start of a block."""
    cdef int64_t j
    for j in range(first, last):
        R[j] = (0.0 if starts else before[j]) + power * psi[j]


cdef void add_rates(int64_t first, int64_t last, double share, const double[::1] F, double[::1] L) noexcept nogil:
    cdef int64_t j
    for j in range(first, last):
        L[j] = L[j] + share * F[j]


cdef void add_signal(
    int64_t first, int64_t last, double power, const double[::1] S, const double[::1] R, double[::1] A, double[::1] D
) noexcept nogil:
    cdef int64_t j
    cdef double x
    for j in range(first, last):
        x = power * S[j]
        A[j] += x
        D[j] += x * R[j]


cdef void keep_past(
    const double[::1] R, const double[::1] A, const double[::1] D, double[::1] past_R, double[::1] past_Q
) noexcept nogil:
    cdef int64_t j
    for j in range(R.shape[0]):
        past_R[j] = R[j]
        past_Q[j] = D[j] - R[j] * A[j]


cdef void close_sums(
    const double[::1] R, double[::1] A, double[::1] D, double[::1] end_R, double[::1] end_A, double[::1] end_D
) noexcept nogil:
    """Keep the sums at the end of a block and start anew."""
    cdef int64_t j
    for j in range(R.shape[0]):
        end_R[j] = R[j]
        end_A[j] = A[j]
        end_D[j] = D[j]
        A[j] = 0.0
        D[j] = 0.0
