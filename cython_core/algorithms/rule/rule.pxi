# Algorithm `rule`: learning rules as equations, any that is linear in what a synapse keeps.
#
# What a step gives is found once for each target, when its signals are known. Where steps compose, a row goes through
# those since its previous arrival by one call: what it needs of them are the spikes that enter, each with what its step
# left of it, the ends of blocks, and the present map of its targets (pareprop/rules/generate.py). Else synapses go
# through the numbers of each step. All functions are generated for a rule and the model of its targets.

cdef extern from "rule_row.h" nogil:
    enum:
        RULE_FOLLOWS
        RULE_LEARNS
        RULE_OWES
        RULE_REOPENS

    ctypedef struct RULE_EVENT:
        int64_t step, enters
        double arrived
        const void* at
        const void* table

    ctypedef struct RULE_ROW:
        int64_t n, x_stride
        const uint32_t* target
        real* x
        real* C
        real* weight
        int64_t n_events
        const RULE_EVENT* event
        int64_t stride
        const real* present
        const real* end
        int64_t ends, end_columns, shared
        const real* shift
        int64_t what
        double eta, low, high, factor
        real* arriving
        int64_t ahead

ctypedef void (*RuleStep)(
    int64_t n, int64_t stride, int64_t u, const real* constant, const real* before, const real* kept, const real* psi,
    const real* L, const real* F, real M, real* state, real* number, real* entry, real* end, int64_t ends,
    const real* table, int64_t places, int64_t shared, const real* shift
) noexcept nogil
ctypedef void (*RuleTrace)(
    int64_t n, int64_t stride, const uint32_t* target, const real* own, const real* number, real arrived, real* x,
    int64_t x_stride, real* C
) noexcept nogil
ctypedef void (*RuleRow)(const RULE_ROW* row) noexcept nogil

cdef enum:
    LOOKED_AFTER = 64    # steps after which rows are worked off whose oldest step would leave the rings
    MOST_EVENTS = 128    # more than there are ends of blocks, and spikes that wait


cdef inline real* numbers_of(Engine engine, int64_t k, int64_t u) noexcept nogil:
    """What learner k keeps of step u."""
    cdef const RuleTargets* targets = &engine.learners.table[k]
    cdef int64_t row = targets.n_numbers * engine.neurons.v.shape[0]
    return <real*> <intptr_t> targets.number + u % targets.n_kept * row


cdef void advance_learners(Engine engine, int64_t t, int64_t end) noexcept nogil:
    """Before step t: of each rule, the step whose signals are known by now, if it is before `end`."""
    cdef int64_t k, u, first, last, row, shared, n = engine.neurons.v.shape[0]
    cdef const RuleTargets* targets
    cdef RuleStep advance_rule
    cdef real* entry
    for k in range(engine.learners.table.shape[0]):
        targets = &engine.learners.table[k]
        u, first, last = t - targets.lag - 1, targets.first, targets.last
        if u < 0 or u >= end or first == last:
            continue
        advance_rule = <RuleStep> <intptr_t> targets.step
        row, shared = targets.n_entries * n, targets.shared
        entry = <real*> <intptr_t> targets.entry
        advance_rule(
            last - first, n, u, <const real*> <intptr_t> targets.constant + first,
            history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
            &engine.histories.psi[u % engine.histories.psi.shape[0], first],
            &engine.histories.L[u % engine.histories.L.shape[0], first],
            &engine.histories.F[u % engine.histories.F.shape[0], first],
            <real> engine.learners.modulator[u % engine.learners.modulator.shape[0]],
            <real*> <intptr_t> targets.state + first, numbers_of(engine, k, u) + first,
            NULL if row == 0 else entry + u % engine.learners.steps * row + first,
            <real*> <intptr_t> targets.end + first, RULE_ENDS,
            <const real*> <intptr_t> targets.table + (0 if shared else first), targets.n_places,
            shared, <const real*> <intptr_t> targets.shift + first
        )


cdef void work_rule(Engine engine, const Window* window, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Chunks of the row through all steps of a window, one by one."""
    cdef const RuleTargets* targets = &engine.learners.table[rows.settings[b].rule]
    cdef int64_t i, width, k = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef Optimized of
    engine.work += window.n * (stop - k)
    find_optimized(rows, b, row, &of)
    while k < stop:
        width = min(stop - k, <int64_t> CHUNK)
        for i in range(window.n):
            (<RuleTrace> <intptr_t> targets.trace)(
                width, engine.neurons.v.shape[0], &rows.target[k], <const real*> <intptr_t> targets.own,
                numbers_of(engine, rows.settings[b].rule, window.first + i), <real> window.traces[i],
                &rows.traces.of_model[0, k], rows.traces.of_model.shape[1], &rows.traces.C[k]
            )
            if window.fused:
                step_fused(rows, &of, k, width, window.moving + MOST_MOVING * i)
        k += width


# ---- where steps compose ---------------------------------------------------------------------------------------------

cdef inline RULE_EVENT event_of(
    Engine engine, int64_t k, int64_t step, bint enters, double arrived
) noexcept nogil:
    """What a row meets in a step: a spike that enters, with its factor, or the end of a block."""
    cdef const RuleTargets* targets = &engine.learners.table[k]
    cdef int64_t n = engine.neurons.v.shape[0], place = step & (targets.n_places - 1)
    return RULE_EVENT(
        step, enters, arrived,
        <const real*> <intptr_t> targets.entry + step % engine.learners.steps * targets.n_entries * n,
        <const real*> <intptr_t> targets.table + place * targets.n_columns * (1 if targets.shared else n)
    )


cdef int64_t list_events(
    Engine engine, int64_t end, Rows rows, int64_t b, int64_t row, RULE_EVENT* events
) noexcept nogil:
    """What the row meets in the steps from its cursor to `end`, to which it is brought; return how many events."""
    cdef int64_t i, step, count = 0, latest = rows.books[row, LATEST], cursor = rows.books[row, CURSOR]
    cdef int64_t k = rows.settings[b].rule, block = engine.learners.table[k].block
    cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
    cursor = (cursor + block - 1) & ~(block - 1)
    for i in range(engine.m if bits > 1 else 0, -1, -1):
        step = latest - i
        if not (bits >> i) & 1:
            continue
        if step >= end:
            break
        while cursor <= step:
            events[count] = event_of(engine, k, cursor, False, 0.0)
            cursor += block
            count += 1
        events[count] = event_of(
            engine, k, step, True, rows.factors[row, step % rows.factors.shape[1]] if rows.older.shape[0] > 0 else 1.0
        )
        bits &= ~(<uint64_t> 1 << i)
        count += 1
    while cursor < end:
        events[count] = event_of(engine, k, cursor, False, 0.0)
        cursor += block
        count += 1
    rows.books[row, WAITING], rows.books[row, CURSOR] = <int64_t> bits, max(end, rows.books[row, CURSOR])
    return count


cdef inline void find_row(Engine engine, Rows rows, int64_t b, int64_t row, RULE_ROW* of) noexcept nogil:
    """The row's synapses and what they read of their targets."""
    cdef int64_t k = rows.settings[b].rule, start = rows.row_ptr[row]
    cdef const RuleTargets* targets = &engine.learners.table[k]
    of.n, of.stride = rows.row_ptr[row + 1] - start, engine.neurons.v.shape[0]
    of.x, of.x_stride = &rows.traces.of_model[0, start], rows.traces.of_model.shape[1]
    of.target, of.C, of.weight = &rows.target[start], &rows.traces.C[start], &rows.weight[start]
    of.present = <const real*> <intptr_t> targets.present
    of.end, of.end_columns = <const real*> <intptr_t> targets.end, targets.n_ends
    of.shared = targets.shared
    of.shift = <const real*> <intptr_t> targets.shift
    of.ends, of.ahead = RULE_ENDS, 0


cdef inline void go_through(Engine engine, Rows rows, int64_t b, RULE_ROW* of, int64_t what) noexcept nogil:
    of.what = what
    (<RuleRow> <intptr_t> engine.learners.table[rows.settings[b].rule].row)(of)


cdef bint arrive_rule(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """A spike arrives. Return whether it was delivered, too."""
    cdef int64_t t = spike.t, row = spike.row, n = rows.row_ptr[row + 1] - rows.row_ptr[row]
    cdef int64_t end = max(t - rows.settings[b].lag, 0)
    cdef bint descends = not rows.settings[b].counted and rows.optimizing.total.shape[0] == 0
    cdef RULE_EVENT[MOST_EVENTS] events
    cdef RULE_ROW of
    if rows.books[row, LATEST] == NEVER:
        begin_row(rows, row, t, end)
        wait(engine, t, rows, row)
        return False
    engine.work += n
    of.n_events, of.event = list_events(engine, end, rows, b, row, events), events
    find_row(engine, rows, b, row, &of)
    if descends and n > 0:
        of.eta, of.low, of.high = rows.settings[b].eta, low_of(rows, b, row), high_of(rows, b, row)
        of.low, of.high = <real> of.low, <real> of.high
        of.factor, of.arriving, of.ahead = spike.factor, spike.arriving, spike.ahead
        go_through(engine, rows, b, &of, RULE_LEARNS)
    elif n > 0:
        go_through(engine, rows, b, &of, RULE_OWES)
        optimize(engine, t + engine.lead - 1, rows, b, row)
        of.n_events = 0
        go_through(engine, rows, b, &of, RULE_REOPENS)
    elif not descends:                           # synapses that move may come
        optimize(engine, t + engine.lead - 1, rows, b, row)
    wait(engine, t, rows, row)
    return descends


cdef void advance_rule_to(Engine engine, int64_t end, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Bring the row to step `end`, which changes no bit of what comes."""
    cdef RULE_EVENT[MOST_EVENTS] events
    cdef RULE_ROW of
    of.n_events, of.event = list_events(engine, end, rows, b, row, events), events
    find_row(engine, rows, b, row, &of)
    if of.n_events > 0 and of.n > 0:
        engine.work += of.n
        go_through(engine, rows, b, &of, RULE_FOLLOWS)


cdef void fold_rule(Engine engine, int64_t t, Rows rows, int64_t b) noexcept nogil:
    """Bring rows of the projection forward before what they need leaves the rings."""
    cdef int64_t row, first = rows.blocks[b, ROW], end = t - rows.settings[b].lag
    cdef int64_t block = engine.learners.table[rows.settings[b].rule].block
    cdef int64_t after = min(<int64_t> LOOKED_AFTER, RULE_ENDS // 2 * block)
    cdef bint waits
    if t % after != 0:
        return
    for row in range(first, first + rows.blocks[b, ROWS]):
        if rows.books[row, LATEST] == NEVER or not has_books(rows, b, row):
            continue
        waits = rows.books[row, WAITING] != 0 and t - rows.books[row, LATEST] > engine.learners.fold_steps - after
        if waits or end - rows.books[row, CURSOR] > (RULE_ENDS - 2) * block - after:
            advance_rule_to(engine, end, rows, b, row)


cdef void bring_rule(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """What rules take of a step is found in step t, not before it."""
    advance_rule_to(engine, t - rows.settings[b].lag - 1, rows, b, row)


cdef void bring_rule_steps(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    work_off(engine, t - 1, rows, b, row)


fill_stepwise(&algorithms[RULE_STEPS])
algorithms[RULE_STEPS].work, algorithms[RULE_STEPS].bring_forward = work_rule, bring_rule_steps
algorithms[RULE].arrive, algorithms[RULE].fold, algorithms[RULE].bring_forward = arrive_rule, fold_rule, bring_rule
