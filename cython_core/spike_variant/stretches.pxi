# Spike variant, any neuron of the package: O(1) per synaptic event, by stretches of steps that compose.
#
# Until a spike enters, the traces of a synapse change linearly, by numbers of the target and the step alone:
#     g += L_(u-1) ebar;  s = psi_u (zbar - beta eps);  eps = rho eps + s;  ebar = kappa ebar + s;  zbar = alpha zbar
# Here zbar is that of step u with all that enters, and the signal is that of the step before (ebar of step u - 1 meets
# L of step u - 1). So with m = 1 nothing of a window is left to wait for: a spike enters as + 1 when it arrives.
# What a stretch of steps makes of (zbar, eps, ebar) and adds to g is linear, hence seven numbers per target and a power
# of alpha (stretches.h); powers of kappa are those of the population. No division occurs, so that it does not matter
# whether psi beta passes rho. Where kappa_reg differs, and with rewards, one more trace takes four numbers more; where
# neither is so and no neuron adapts, eps is 0, and three numbers and the power are enough.
#
# With blocks of STRETCH_STEPS steps, a target keeps a stretch from the start of the present block to now, extended by
# each step, and one from the starts of the latest GAPS blocks to the start of the present one, extended by each block.
# A row is *closed* at the end of the block in which its spike entered: by a stretch from that step to the end, made on
# the way back through the block. An arrival in a later block takes two stretches: from the start of a block to that of
# the present one, and from there to now. Arrivals in one block go step by step. A row that waits for longer is folded.
# With m > 1 spikes wait m - 1 steps more, which closing takes singly. So they do where synapses move: those that come
# have traces of 0, which only what enters later changes.
#
# Each target's numbers are made in the order of time, so no bit depends on ranks.

cdef extern from "spike_variant/stretches.h" nogil:
    ctypedef struct Steps:
        int64_t n, length, F_length, n_errors, d_out, other
        const real* psi
        const real* L
        const real* F
        real* met
        const real* alpha
        const real* rho
        const real* beta
        const double* delta
        const double* discount
        double kappa, keep_other, rate_share, row_alpha

    ctypedef struct Signals:
        const real* psi
        const real* L
        const real* F
        double delta, discount

    ctypedef struct Stretch:
        const double* number
        const double* other
        double alpha, kappa, keep_other
        int64_t width

    ctypedef struct Work:
        int64_t n_decay
        double alpha_decay, kappa_decay, other_decay
        Stretch before
        int64_t first, n
        const double* entering
        Stretch after
        int64_t last_credit
        double arrived
        int64_t owes, updates
        double eta, low, high

    ctypedef struct Synapses:
        const uint32_t* target
        real* weight
        real* Y
        real* C
        real* other
        real* zbar
        real* eps
        const real* moment
        const real* variance
        int64_t dense, readable

    enum:
        MOST_SIGNALS

    Signals signals_of(const Steps* steps, int64_t u)
    void lay_met(int64_t j, int64_t last, const Steps* steps, int64_t u)
    void append_step(
        int64_t j, int64_t last, const Steps* steps, int64_t u, int64_t none, const Stretch* stretch, const Stretch* to
    )
    void prepend_step(int64_t j, int64_t last, const Steps* steps, int64_t u, int64_t none, const Stretch* stretch)
    void compose(int64_t j, int64_t last, int64_t count, const Stretch* stretch, const Stretch* next)
    void work_row(
        const Steps* steps, const Work* work, const Synapses* of, double Z, int64_t start, int64_t stop, int64_t ahead,
        real* arriving
    )
    double work_zbar(const Steps* steps, const Work* work, double Z)

cdef enum:
    NODES_AHEAD = 32         # synapses to the one whose stretches are fetched, as in stretches.h
    NEAR_OF_MODELS = 3000    # neurons by equations of which a cache holds the stretches
    NOT_OPEN = -(1 << 30)    # in Rows.mark; a multiple of two blocks
    NOBODY = -1              # end of a list of rows


# ---- neurons ---------------------------------------------------------------------------------------------------------

cdef void advance_stretches(Engine engine, Stretches at, int64_t t) noexcept nogil:
    """Before spikes arrive in step t: take the step that is known now, and end a block with it."""
    cdef int64_t p, v, u = t - engine.m, k = u % STRETCH_STEPS
    cdef int64_t into = RUNNING if k < STRETCH_STEPS - 1 else gap_before(u + 1, 0)
    cdef Steps steps
    cdef Stretch running, becomes
    if u < 0:
        return
    at.reached, at.begun = u, u - k
    close_at_cutoff(engine, t, engine.incoming)
    if k == 0:
        at.products[RUNNING] = 1.0
        begin_of_models(engine, at, RUNNING)
        begin_records(at, u)
    for p in range(engine.neurons.pieces.shape[0]):
        steps = steps_of(engine, engine.sums.powers[p, 1, 1], engine.sums.powers[p, 3, 1])
        if engine.neurons.pieces[p, MODEL] & BY_EQUATIONS:
            append_of_model(engine, at, p, &steps, u, k)
        elif at.number.shape[0] > 0:
            for v in range(u if at.laid == u else at.begun, u):
                lay_met(engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST], &steps, v)
            running = of_hand(at, RUNNING, power_of(steps.kappa, k), keep_of(at, RUNNING, steps.keep_other, k))
            becomes = of_hand(at, into, 0.0, 0.0)
            append_step(engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST], &steps, u, k == 0, &running,
                        &becomes)
    at.laid = u + 1
    if engine.online.in_use:
        at.products[RUNNING] *= discount_of(engine, u)
    at.reached = u + 1
    if at.recorded == u:
        at.recorded = u + 1
    if k == STRETCH_STEPS - 1:
        end_block(engine, engine.incoming)
        at.begun = at.reached


cdef void keep_running(Stretches at, int64_t place) noexcept nogil:
    """What spans the block that ends becomes a gap; numbers of stretches were written there by the last step."""
    at.products[place] = at.products[RUNNING]
    if at.of_models.shape[0] > 0:
        at.of_models[place] = at.of_models[RUNNING]
        at.apart[place] = at.apart[RUNNING]


cdef inline double* number_of(Stretches at, int64_t place) noexcept nogil:
    return &at.number[place, 0, 0]


cdef inline double* other_of(Stretches at, int64_t place) noexcept nogil:
    return &at.other[place, 0, 0] if at.kind != NO_OTHER else NULL


cdef inline Stretch of_hand(Stretches at, int64_t place, double kappa, double keep_other) noexcept nogil:
    """A stretch of neurons that are not given by equations."""
    return Stretch(number_of(at, place), other_of(at, place), 1.0, kappa, keep_other, at.number.shape[2])


cdef inline double discount_of(Engine engine, int64_t u) noexcept nogil:
    """What step u discounts of a reward's trace."""
    cdef int64_t n = engine.online.discount.shape[0]
    return engine.online.discount[(u - 1 + engine.online.d_out + n) % n]


cdef inline double keep_of(Stretches at, int64_t place, double kappa_reg, int64_t n) noexcept nogil:
    """What the other trace is multiplied with by the n steps of a stretch."""
    return at.products[place] if at.kind == REWARDED else power_of(kappa_reg, n)


cdef inline Steps steps_of(Engine engine, double kappa, double kappa_reg) noexcept nogil:
    cdef Steps steps
    steps.n, steps.length = engine.histories.psi.shape[1], engine.histories.psi.shape[0]
    steps.F_length, steps.n_errors = engine.histories.F.shape[0], engine.online.delta.shape[0]
    steps.d_out, steps.other = engine.online.d_out, engine.stretches.kind
    steps.psi, steps.L, steps.F = &engine.histories.psi[0, 0], &engine.histories.L[0, 0], &engine.histories.F[0, 0]
    steps.met = &engine.stretches.met[0, 0] if engine.stretches.met.shape[0] > 0 else NULL
    steps.alpha, steps.rho = &engine.neurons.alpha[0], &engine.neurons.rho[0]
    steps.beta = &engine.neurons.adapt_beta[0]
    steps.delta, steps.discount = &engine.online.delta[0], &engine.online.discount[0]
    steps.kappa, steps.keep_other, steps.rate_share, steps.row_alpha = kappa, kappa_reg, 1.0 - kappa_reg, 0.0
    return steps


cdef void end_block(Engine engine, Rows rows) noexcept nogil:
    """Close the rows whose spikes entered in the block that ends, compose what spans blocks, fold old rows."""
    cdef int64_t b, k, u, end = engine.stretches.reached, waiting = list_rows(engine, rows)
    if waiting > 0:
        engine.stretches.products[SUFFIX] = 1.0
        begin_of_models(engine, engine.stretches, SUFFIX)
    u = end
    while waiting > 0:
        u -= 1
        prepend(engine, engine.stretches, u, end - 1 - u)
        for b in range(rows.blocks.shape[0]):
            waiting -= close_listed(engine, u, rows, b)
    extend_gaps(engine, engine.stretches, end)
    keep_running(engine.stretches, gap_before(end, 0))
    for b in range(rows.blocks.shape[0]):
        fold_listed(engine, rows, b)


cdef void prepend(Engine engine, Stretches at, int64_t u, int64_t k) noexcept nogil:
    """Step u before the k steps of the suffix."""
    cdef int64_t p
    cdef Steps steps
    cdef Stretch suffix
    for p in range(engine.neurons.pieces.shape[0]):
        steps = steps_of(engine, engine.sums.powers[p, 1, 1], engine.sums.powers[p, 3, 1])
        if engine.neurons.pieces[p, MODEL] & BY_EQUATIONS:
            prepend_of_model(engine, at, p, &steps, u, k)
        elif at.number.shape[0] > 0:
            suffix = of_hand(at, SUFFIX, power_of(steps.kappa, k), keep_of(at, SUFFIX, steps.keep_other, k))
            prepend_step(engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST], &steps, u, k == 0, &suffix)
    if engine.online.in_use:
        at.products[SUFFIX] *= discount_of(engine, u)


cdef inline int64_t gaps_before(int64_t end) noexcept nogil:
    """One more than there are gaps when a block ends."""
    return min(<int64_t> GAPS, end // STRETCH_STEPS)


cdef inline int64_t gap_before(int64_t end, int64_t k) noexcept nogil:
    """The place of the gap of k blocks."""
    return (end // STRETCH_STEPS - k - 1) % GAPS


cdef void extend_gaps(Engine engine, Stretches at, int64_t end) noexcept nogil:
    """Gaps go on to the end of the block."""
    cdef int64_t p, k, n, count = gaps_before(end) - 1
    cdef double kappa, kappa_reg
    cdef Stretch[GAPS] gaps
    for p in range(engine.neurons.pieces.shape[0]):
        kappa, kappa_reg = engine.sums.powers[p, 1, 1], engine.sums.powers[p, 3, 1]
        if engine.neurons.pieces[p, MODEL] & BY_EQUATIONS:
            compose_of_model(engine, at, p, end, kappa, kappa_reg)
            continue
        for k in range(count + 1 if at.number.shape[0] > 0 else 0):
            n = max(k, <int64_t> 1) * STRETCH_STEPS
            gaps[k] = of_hand(at, gap_before(end, k), power_of(kappa, n),
                              keep_of(at, gap_before(end, k) if k > 0 else <int64_t> RUNNING, kappa_reg, n))
        if at.number.shape[0] > 0:
            compose(engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST], count, &gaps[1], &gaps[0])
    for k in range(1, gaps_before(end)):
        at.products[gap_before(end, k)] *= at.products[RUNNING]


# ---- lists of rows ---------------------------------------------------------------------------------------------------

cdef inline void mark_row(Rows rows, int64_t row) noexcept nogil:
    """What the end of a block asks of each row: 2 cursor, + 1 if a spike waits."""
    rows.mark[row] = 2 * rows.books[row, CURSOR] + (rows.books[row, WAITING] != 0)


cdef int64_t list_rows(Engine engine, Rows rows) noexcept nogil:
    """List the rows that have to be closed by step, and those to be folded; return how many are to be closed."""
    cdef int64_t b, row, key, first, last, waiting = 0, end = engine.stretches.reached
    cdef int64_t old = 2 * (end - GAPS * STRETCH_STEPS)
    for b in range(rows.blocks.shape[0]):
        rows.head[b, :] = NOBODY
        if rows.rules[b, MODE] != STRETCH or not is_last(rows, b):    # there stand all rows of the projection
            continue
        first = rows.blocks[b, ROW]
        last = first + rows.blocks[b, ROWS]
        for row in range(first, last):
            if rows.mark[row] % (2 * STRETCH_STEPS) == 0 and rows.mark[row] != old:
                continue
            key = STRETCH_STEPS if rows.mark[row] == old else key_of(end, rows, row) - (end - STRETCH_STEPS)
            if key >= 0 and (rows.row_ptr[row] < rows.row_ptr[row + 1] or rows.rules[b, MOVES]):
                rows.following[row], rows.head[b, key] = rows.head[b, key], row
                waiting += key < STRETCH_STEPS
    return waiting


cdef inline int64_t key_of(int64_t end, Rows rows, int64_t row) noexcept nogil:
    """The step of the block from which on nothing enters the row any more; before the block if nothing is to do."""
    cdef int64_t cursor = rows.books[row, CURSOR], latest = rows.books[row, LATEST], i = max(latest - end + 1, 0)
    cdef uint64_t bits = <uint64_t> rows.books[row, WAITING] >> i
    if bits != 0:
        while bits & 1 == 0:
            bits >>= 1
            i += 1
        return max(cursor, latest - i)
    return cursor if cursor % STRETCH_STEPS != 0 else -end


cdef int64_t close_listed(Engine engine, int64_t u, Rows rows, int64_t b) noexcept nogil:
    """Close the rows of step u; return how many."""
    cdef int64_t end = engine.stretches.reached, count = 0, row, following
    cdef double[STRETCH_STEPS + 1] entering_
    cdef Work work
    row = rows.head[b, u - (end - STRETCH_STEPS)]
    while row != NOBODY:
        following = rows.following[row]
        if following != NOBODY:
            prefetch_books(rows, following)
        plan(engine, u, rows, b, row, entering_, &work)
        if rows.books[row, WAITING] != 0:
            if work.entering == NULL:
                work.entering = entering_
                memset(entering_, 0, work.n * sizeof(double))
            entering_[work.n] = entering(engine, u, rows, row)
        find_stretch(engine, SUFFIX, end - u, rows, b, &work.after)
        work_off_stretch(engine, &work, end, rows, b, row, following)
        row = following
        count += 1
    return count


cdef void fold_listed(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Bring rows forward whose gap is given up."""
    cdef int64_t end = engine.stretches.reached, row = rows.head[b, STRETCH_STEPS], following
    cdef Work work
    while row != NOBODY:
        following = rows.following[row]
        if following != NOBODY:
            prefetch_books(rows, following)
        begin_work(engine, end, rows, row, &work)
        find_stretch(engine, end // STRETCH_STEPS % GAPS, GAPS * STRETCH_STEPS, rows, b, &work.before)
        work_off_stretch(engine, &work, end, rows, b, row, following)
        row = following


# ---- rows ------------------------------------------------------------------------------------------------------------

# Work is written where it is read: a copy by lines would wait for its numbers, which were written one by one.

cdef inline void begin_work(Engine engine, int64_t first, Rows rows, int64_t row, Work* work) noexcept nogil:
    """No work yet; a row that was worked off since its latest arrival owes something."""
    work.before.number = work.after.number = work.entering = NULL
    work.n_decay = work.last_credit = -1
    work.first, work.n, work.arrived, work.updates = first, 0, 0.0, False
    work.owes = rows.books[row, CLOSED] or \
        rows.books[row, CURSOR] != max(rows.books[row, LATEST] - engine.m + 1, 0)


cdef inline void find_stretch(
    Engine engine, int64_t place, int64_t n, Rows rows, int64_t b, Stretch* found
) noexcept nogil:
    """A stretch of n steps."""
    cdef NEURON_STRETCH of
    found.kappa = power_in(rows, b, KAPPA, n)
    found.keep_other = engine.stretches.products[place] if engine.stretches.kind == REWARDED else \
        power_in(rows, b, KAPPA_REG, n)
    if rows.models[b] != 0:
        of = of_models(engine.stretches, place, 0, found.kappa, found.keep_other)
        found.number, found.other, found.alpha, found.width = of.number, of.apart, 0.0, of.width
    else:
        found.number, found.other = number_of(engine.stretches, place), other_of(engine.stretches, place)
        found.alpha, found.width = power_in(rows, b, ALPHA, n), engine.stretches.number.shape[2]


cdef inline double power_in(Rows rows, int64_t b, int64_t constant, int64_t n) noexcept nogil:
    """A constant of a block to the power of n steps; those that stretches have are found once."""
    cdef double* known
    if n >= rows.powers.shape[2]:
        return power_of(rows.constants[b, constant], n)
    known = &rows.powers[b, constant, n]
    if isnan(known[0]):
        known[0] = power_of(rows.constants[b, constant], n)
    return known[0]


cdef inline void plan(
    Engine engine, int64_t end, Rows rows, int64_t b, int64_t row, double* entering_, Work* work
) noexcept nogil:
    """From the cursor of the row to step `end` of the present block."""
    cdef int64_t u, cursor = rows.books[row, CURSOR], begun = engine.stretches.begun
    cdef int64_t shift = max(rows.books[row, LATEST] - end + 1, 0)
    cdef bint waits = (<uint64_t> rows.books[row, WAITING] >> shift) != 0
    begin_work(engine, max(cursor, begun), rows, row, work)
    if cursor < begun:
        find_stretch(engine, cursor // STRETCH_STEPS % GAPS, begun - cursor, rows, b, &work.before)
    if cursor > begun or waits or end < engine.stretches.reached:
        work.n = max(end - work.first, 0)
        if waits:
            work.entering = entering_
            for u in range(work.n):
                entering_[u] = entering(engine, work.first + u, rows, row)
            entering_[work.n] = 0.0
    elif end > begun:
        find_stretch(engine, RUNNING, end - begun, rows, b, &work.after)


cdef inline Synapses synapses_of(Rows rows, int64_t b, bint online, bint steps) noexcept nogil:
    cdef Synapses of
    of.target, of.weight, of.Y, of.C = &rows.target[0], &rows.weight[0], &rows.Y[0], &rows.C[0]
    of.other = &rows.h[0] if online else &rows.Y2[0] if rows.Y2.shape[0] > 0 else NULL
    of.zbar = &rows.zbar[0] if rows.rules[b, OWN_ZBAR] else NULL
    of.eps = &rows.eps[0] if rows.rules[b, ADAPTIVE] else NULL
    of.moment = of.variance = NULL
    if steps and rows.rules[b, COUNTED]:
        of.moment = &rows.kept[rows.rules[b, KEPT], 0]
        of.variance = &rows.kept[rows.kept.shape[0] - 1, 0]
    of.dense, of.readable = rows.blocks[b, DENSE], rows.row_ptr[rows.row_ptr.shape[0] - 1]
    return of


cdef inline void work_synapses(
    Engine engine, const Work* work, int64_t end, Rows rows, int64_t b, int64_t row, int64_t ahead, real* arriving
) noexcept nogil:
    cdef Steps steps = steps_of(engine, rows.constants[b, KAPPA], rows.constants[b, KAPPA_REG])
    cdef Synapses of = synapses_of(rows, b, engine.online.in_use, arriving != NULL)
    steps.row_alpha = rows.constants[b, ALPHA]
    engine.work += (rows.row_ptr[row + 1] - rows.row_ptr[row]) * (1 + work.n)
    rows.books[row, CURSOR] = end
    if rows.models[b] != 0:
        work_row_of_model(engine, work, &steps, rows, b, row, ahead, arriving)
        return
    work_row(&steps, work, &of, rows.Z[row], rows.row_ptr[row], rows.row_ptr[row + 1], ahead, arriving)
    rows.Z[row] = work_zbar(&steps, work, rows.Z[row])


cdef void work_off_stretch(
    Engine engine, const Work* work, int64_t end, Rows rows, int64_t b, int64_t row, int64_t following
) noexcept nogil:
    """Work off without an arrival; `following` is the row that comes next."""
    cdef int64_t ahead = rows.row_ptr[following] - rows.row_ptr[row] if following != NOBODY else 0
    work_synapses(engine, work, end, rows, b, row, ahead, NULL)
    mark_row(rows, row)


cdef bint arrive_stretch(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t ahead, total_of[::1] arriving
) noexcept nogil:
    """A spike arrives. Return whether it was delivered, too; one with a factor of its own is not, and enters later."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], end = max(t - engine.m + 1, 0), k, n
    cdef bint weighs = rows.blocks[b, FACTORS] != 0
    cdef bint at_once = engine.m == 1 and not rows.rules[b, MOVES] and rows.models[b] == 0 and not weighs
    cdef bint descends = not rows.rules[b, COUNTED], delivered = False
    cdef double[STRETCH_STEPS + 1] entering_
    cdef Work work
    if rows.books[row, LATEST] == NEVER:
        if rows.first.shape[0] > 0:
            rows.first[row] = t
        rows.books[row, CURSOR] = end
        if at_once:
            rows.Z[row] += 1.0
            if rows.rules[b, OWN_ZBAR]:
                for k in range(start, stop):
                    rows.zbar[k] += 1.0
    else:
        if rows.books[row, CLOSED]:
            n = t - rows.books[row, LATEST] - rows.rules[b, CUTOFF]
            begin_work(engine, end, rows, row, &work)
            work.n_decay, work.alpha_decay = n, power_in(rows, b, ALPHA, n)
            work.kappa_decay, work.other_decay = power_in(rows, b, KAPPA, n), power_in(rows, b, KAPPA_REG, n)
            rows.books[row, CLOSED] = 0
        else:
            plan(engine, end, rows, b, row, entering_, &work)
        work.arrived, work.updates = at_once, descends
        work.eta, work.low, work.high = rows.constants[b, ETA], low_of(rows, b, row), high_of(rows, b, row)
        work_synapses(engine, &work, end, rows, b, row, ahead, NULL if weighs else <real*> &arriving[0])
        if not descends:
            optimize(engine, t + engine.lead - 1, rows, b, row, start, stop)
        delivered = descends and not weighs
    wait(engine, t, rows, row)
    if at_once:
        rows.books[row, WAITING] = 0
    mark_row(rows, row)
    return delivered


cdef void close_at_cutoff(Engine engine, int64_t t, Rows rows) noexcept nogil:
    """Close the rows whose cutoff ends their window with what is known now, before spikes arrive."""
    cdef int64_t b, k, n, emitted
    cdef bint from_inputs
    cdef Spikes* one
    cdef Spikes** logs
    for b in range(rows.blocks.shape[0]):
        emitted = t - rows.blocks[b, DELAY] + (rows.blocks[b, LOG] == 0)
        if rows.rules[b, MODE] != STRETCH or not 0 <= rows.rules[b, CUTOFF] <= emitted:
            continue
        from_inputs = rows.blocks[b, LOG] == 0
        one = &engine.channel.inputs.at if from_inputs else &engine.channel.own.at
        logs = &one if from_inputs or rows.from_own else engine.channel.heard.at
        n = 1 if from_inputs or rows.from_own else engine.channel.heard.n
        for k in range(n):
            close_rows(engine, t, emitted - rows.rules[b, CUTOFF], rows, b, logs[k].ids, logs[k].ptr)


cdef void close_stretch(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t ahead) noexcept nogil:
    """Work off up to step t - m; its traces are kept, and the signal of the step before it counts."""
    cdef int64_t end = t - engine.m
    cdef double[STRETCH_STEPS + 1] entering_
    cdef Work work
    plan(engine, end, rows, b, row, entering_, &work)
    work.last_credit = end
    work_synapses(engine, &work, end, rows, b, row, ahead, NULL)
    rows.mark[row] = NOT_OPEN


cdef void bring_forward(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Work off what is known before step t, so that what moves into the row may start with traces of 0."""
    cdef double[STRETCH_STEPS + 1] entering_
    cdef Work work
    if rows.books[row, LATEST] == NEVER or rows.books[row, CLOSED] or not has_books(rows, b, row):
        return
    if rows.rules[b, MODE] == LOOP:
        work_off(engine, t - (rows.rules[b, LEARNER] >= 0), rows, b, row, rows.row_ptr[row], rows.row_ptr[row + 1])
    elif rows.rules[b, MODE] == RULE:    # what rules take of a step is found in step t, not before it
        advance_rule_to(engine, t - rows.rules[b, LAG] - 1, rows, b, row)
    elif rows.books[row, CURSOR] < engine.stretches.reached:
        plan(engine, engine.stretches.reached, rows, b, row, entering_, &work)
        work_off_stretch(engine, &work, engine.stretches.reached, rows, b, row, NOBODY)
