# Spike variant, rules given by equations (pareprop/rules): any that is linear in what a synapse keeps.
#
# What a step gives is found once for each target, when its signals are known, and kept in a ring of as many steps as a
# window may have: new states of the rule's own, then the numbers of the step that move. A synapse that works off a
# window goes through these numbers step by step, or, where steps compose, by the maps that stand behind them, from the
# start of a block to each step. All numbers of a target and step lie side by side, and so do those of a target that do
# not move. All functions are generated for a rule and the model of its targets.

ctypedef void (*RuleStep)(
    int64_t n, int64_t stride, int64_t width, int64_t u, const real* constant, const real* before, const real* kept,
    const real* psi, const real* L, const real* F, real M, real* state, real* number
) noexcept nogil
ctypedef void (*RuleTrace)(
    int64_t n, int64_t width, const uint32_t* target, const real* own, const real* number, real arrived, real* x,
    int64_t x_stride, real* C
) noexcept nogil
ctypedef void (*RuleWindow)(
    int64_t n, int64_t width, const uint32_t* target, const real* own, const real* ring, int64_t row, int64_t rows,
    int64_t u, int64_t end, real arrived, real* x, int64_t x_stride, real* C
) noexcept nogil


cdef inline real* numbers_of(Engine engine, int64_t k, int64_t u) noexcept nogil:
    """What learner k keeps of step u."""
    cdef int64_t width = engine.learners.table[k, LEARNER_WIDTH] * engine.neurons.v.shape[0]
    return <real*> <intptr_t> engine.learners.table[k, LEARNER_NUMBER] + u % engine.learners.steps * width


cdef void advance_learners(Engine engine, int64_t t, int64_t end) noexcept nogil:
    """Before step t: of each rule, the step whose signals are known by now, if it is before `end`."""
    cdef int64_t k, u, first, last, n = engine.neurons.v.shape[0]
    cdef const int64_t[:, ::1] table = engine.learners.table
    cdef RuleStep advance_rule
    for k in range(table.shape[0]):
        u, first, last = t - table[k, LEARNER_LAG] - 1, table[k, LEARNER_FIRST], table[k, LEARNER_LAST]
        if u < 0 or u >= end or first == last:
            continue
        advance_rule = <RuleStep> <intptr_t> table[k, LEARNER_STEP]
        advance_rule(
            last - first, n, table[k, LEARNER_WIDTH], u, <const real*> <intptr_t> table[k, LEARNER_CONSTANT] + first,
            history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
            &engine.histories.psi[u % engine.histories.psi.shape[0], first],
            &engine.histories.L[u % engine.histories.L.shape[0], first],
            &engine.histories.F[u % engine.histories.F.shape[0], first],
            <real> engine.learners.modulator[u % engine.learners.modulator.shape[0]],
            <real*> <intptr_t> table[k, LEARNER_STATE] + first,
            numbers_of(engine, k, u) + first * table[k, LEARNER_WIDTH]
        )


cdef inline void follow_rule(
    Engine engine, int64_t u, int64_t width, real arrived, Rows rows, int64_t b, int64_t start
) noexcept nogil:
    """One step of synapses from `start` on."""
    cdef int64_t k = rows.rules[b, LEARNER]
    cdef RuleTrace trace = <RuleTrace> <intptr_t> engine.learners.table[k, LEARNER_TRACE]
    trace(width, engine.learners.table[k, LEARNER_WIDTH], &rows.target[start],
          <const real*> <intptr_t> engine.learners.table[k, LEARNER_OWN], numbers_of(engine, k, u), arrived,
          &rows.traces[0, start], rows.traces.shape[1], &rows.C[start])


cdef void follow_rule_at_once(
    Engine engine, int64_t first, int64_t n, const double* entering, int64_t width, Rows rows, int64_t b, int64_t start
) noexcept nogil:
    """n steps of synapses from `start` on: all at once, but for those in which spikes enter."""
    cdef int64_t k = rows.rules[b, LEARNER], i = 0, stop
    cdef int64_t row = engine.learners.table[k, LEARNER_WIDTH] * engine.neurons.v.shape[0]
    cdef RuleWindow window = <RuleWindow> <intptr_t> engine.learners.table[k, LEARNER_WINDOW]
    while i < n:
        stop = i + 1
        while stop < n and entering[stop] == 0.0:
            stop += 1
        window(width, engine.learners.table[k, LEARNER_WIDTH], &rows.target[start],
               <const real*> <intptr_t> engine.learners.table[k, LEARNER_OWN],
               <const real*> <intptr_t> engine.learners.table[k, LEARNER_NUMBER], row, engine.learners.steps,
               first + i, first + stop, entering[i], &rows.traces[0, start], rows.traces.shape[1], &rows.C[start])
        i = stop
