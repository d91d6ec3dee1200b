# Spike variant, neurons given by equations: stretches of steps (stretches.pxi) that compose for any traces.
#
# What a step does to the traces is generated (pareprop/neurons/stretches.py, for rows stretch_rows.py). A spike enters
# by an expression of the step: from a step to the end of the block, by which rows are closed, it is followed, too;
# elsewhere that step is a single one.


cdef enum:
    RECORDS_PAY = 2    # single steps of synapses per neuron and step, from where on records are made


# ---- neurons ---------------------------------------------------------------------------------------------------------

cdef inline NEURON_STRETCH of_models(
    Stretches at, int64_t place, int64_t j, double kappa, double keep
) noexcept nogil:
    """A stretch of the neurons from j on, which makes so much of ebar and of the trace beside it."""
    cdef double* apart = &at.apart[place, j]
    if place == SUFFIX:
        return NEURON_STRETCH(&at.suffix_of_models[j, 0], apart, at.suffix_of_models.shape[1], kappa, keep)
    return NEURON_STRETCH(&at.of_models[place, j, 0], apart, at.of_models.shape[2], kappa, keep)


cdef inline real* derived_of(Stretches at, int64_t u, int64_t first) noexcept nogil:
    """Derivatives of step u that are kept, from neuron `first` on; NULL if none are."""
    return &at.derived[u % STRETCH_STEPS, 0, first] if at.derived.shape[1] > 0 else NULL


cdef void begin_of_models(Engine engine, Stretches at, int64_t place) noexcept nogil:
    cdef int64_t p, first
    cdef NEURON_STRETCH stretch
    for p in range(engine.neurons.pieces.shape[0] if at.of_models.shape[0] > 0 else 0):
        first = engine.neurons.pieces[p, FIRST]
        if at.addresses[p] != 0 and first < engine.neurons.pieces[p, LAST]:
            stretch = of_models(at, place, first, 1.0, 1.0)
            (<const NeuronStretches*> at.addresses[p]).begin(engine.neurons.pieces[p, LAST] - first, &stretch)


cdef inline NeuronSignals signals_of_model(Stretches at, const Steps* steps, int64_t u, int64_t first) noexcept nogil:
    cdef Signals found = signals_of(steps, u)
    cdef double keep = found.discount if at.kind == REWARDED else steps.keep_other
    return NeuronSignals(found.L + first, found.F + first, at.kind, steps.kappa, keep, steps.rate_share, found.delta)


cdef void begin_records(Stretches at, int64_t u) noexcept nogil:
    """A block starts with step u: is it worth it to write beside each other what single steps read?"""
    cdef bint pays = at.followed > RECORDS_PAY * at.records.shape[0] * at.records.shape[1]
    at.recorded = u if pays and at.records.shape[0] > 0 else NEVER
    at.followed = 0


cdef void append_of_model(
    Engine engine, Stretches at, int64_t p, const Steps* steps, int64_t u, int64_t k
) noexcept nogil:
    """Step u after the k steps of the present block."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST]
    cdef const NeuronStretches* model = <const NeuronStretches*> at.addresses[p]
    cdef NeuronSignals signals
    cdef NEURON_STRETCH stretch
    if at.addresses[p] == 0 or first == last:
        return
    signals = signals_of_model(at, steps, u, first)
    stretch = of_models(at, RUNNING, first, power_of(steps.kappa, k), keep_of(at, RUNNING, steps.keep_other, k))
    model.append(last - first, engine.neurons.v.shape[0], column(engine.neurons.constants, first),
                 engine.neurons.shared[p], history_of(engine.neurons, u - 1, first),
                 history_of(engine.neurons, u, first), signals_of(steps, u).psi + first, &signals,
                 derived_of(at, u, first), &stretch, record_of(at, u, first) if at.recorded == u else NULL,
                 at.records.shape[2])


cdef inline double* record_of(Stretches at, int64_t u, int64_t first) noexcept nogil:
    return &at.records[u % STRETCH_STEPS, first, 0]


cdef void prepend_of_model(
    Engine engine, Stretches at, int64_t p, const Steps* steps, int64_t u, int64_t k
) noexcept nogil:
    """Step u before the k steps of the suffix."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST]
    cdef NeuronSignals signals
    cdef NEURON_STRETCH stretch
    if at.addresses[p] == 0 or first == last:
        return
    signals = signals_of_model(at, steps, u, first)
    stretch = of_models(at, SUFFIX, first, power_of(steps.kappa, k), keep_of(at, SUFFIX, steps.keep_other, k))
    (<const NeuronStretches*> at.addresses[p]).prepend(
        last - first, engine.neurons.v.shape[0], column(engine.neurons.constants, first),
        engine.neurons.shared[p], history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
        signals_of(steps, u).psi + first, &signals, derived_of(at, u, first), &stretch
    )


cdef void compose_of_model(
    Engine engine, Stretches at, int64_t p, int64_t end, double kappa, double kappa_reg
) noexcept nogil:
    """All gaps up to the present block, and then this."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST], k, n, place, count = 0
    cdef NEURON_STRETCH[GAPS] gaps
    cdef NEURON_STRETCH block
    if at.addresses[p] == 0 or first == last:
        return
    for k in range(1, gaps_before(end)):
        place, n = gap_before(end, k), k * STRETCH_STEPS
        gaps[count] = of_models(at, place, first, power_of(kappa, n), keep_of(at, place, kappa_reg, n))
        count += 1
    block = of_models(at, RUNNING, first, power_of(kappa, STRETCH_STEPS),
                      keep_of(at, RUNNING, kappa_reg, STRETCH_STEPS))
    (<const NeuronStretches*> at.addresses[p]).compose(last - first, at.kind, count, gaps, &block)


# ---- rows ------------------------------------------------------------------------------------------------------------

cdef inline void take_row(
    Engine engine, const Work* work, Rows rows, int64_t start, int64_t stop, int64_t ahead, NeuronRow* of
) noexcept nogil:
    """The synapses [start, stop), whose weights do not change."""
    memset(of, 0, sizeof(NeuronRow))
    of.n, of.target, of.stride, of.owes = stop - start, &rows.target[start], rows.traces.shape[1], work.owes
    of.readable = rows.target.shape[0] - start
    of.trace, of.Y, of.C = &rows.traces[0, start], &rows.Y[start], &rows.C[start]
    of.weight = &rows.weight[start]
    if engine.online.in_use:
        of.X = &rows.h[start]
    elif rows.Y2.shape[0] > 0:
        of.X = &rows.Y2[start]
    of.nodes_ahead, of.row_ahead = NODES_AHEAD if engine.neurons.v.shape[0] > NEAR_OF_MODELS else 0, ahead


cdef inline void take_step(
    Engine engine, const Steps* steps, int64_t u, bint credits, bint moves, double entering, NeuronStep* step
) noexcept nogil:
    """Step u: the signals of the step before, the traces."""
    cdef Signals found = signals_of(steps, u)
    step.psi = step.L = NULL
    if moves:
        step.psi = found.psi
    step.before, step.kept = history_of(engine.neurons, u - 1, 0), history_of(engine.neurons, u, 0)
    step.derived = derived_of(engine.stretches, u, 0)
    if credits:
        step.L = found.L
    step.F, step.delta, step.entering = found.F, found.delta, entering
    step.keep = found.discount if engine.stretches.kind == REWARDED else steps.keep_other


cdef void work_row_of_model(
    Engine engine, const Work* work, const Steps* steps, Rows rows, int64_t b, int64_t row, int64_t ahead,
    real* arriving
) noexcept nogil:
    """As `work_row`."""
    cdef int64_t i, u, n = 0, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef NeuronRow of
    cdef NeuronStep[MOST_SIGNALS] found
    cdef NeuronSteps single
    cdef NEURON_STRETCH before, after
    take_row(engine, work, rows, start, stop, ahead, &of)
    if work.n_decay >= 0:
        take_step(engine, steps, work.first - 1, False, True, 0.0, &found[0])
        n = 1
    for i in range(work.n):
        u = work.first + i
        take_step(engine, steps, u, True, True, work.entering[i] if work.entering != NULL else 0.0, &found[n])
        n += 1
    if work.last_credit >= 0:
        take_step(engine, steps, work.last_credit, True, False, 0.0, &found[n])
    single.other, single.kappa, single.share = engine.stretches.kind, steps.kappa, steps.rate_share
    single.constant, single.shared = column(engine.neurons.constants, 0), rows.shared[b]
    single.n_neurons, single.n_decay = engine.neurons.v.shape[0], max(work.n_decay, 0)
    single.kappa_decay, single.keep_decay = work.kappa_decay, work.other_decay
    single.n, single.n_last, single.step, single.record = n, work.last_credit >= 0, &found[0], NULL
    if engine.stretches.records.shape[0] > 0 and work.n_decay < 0 and \
            (work.n == 0 or engine.stretches.recorded == engine.stretches.reached):
        single.record = record_of(engine.stretches, work.first, 0)
        single.record_width = engine.stretches.records.shape[2]
        single.record_stride = engine.stretches.records.shape[1] * single.record_width
    engine.stretches.followed += work.n * of.n
    take_whole(&work.before, &before)
    take_whole(&work.after, &after)
    of.updates, of.eta, of.low, of.high = work.updates, work.eta, work.low, work.high
    of.arriving = arriving if work.updates else NULL
    (<const NeuronStretches*> rows.stretches[b]).go_through(
        rows.blocks[b, PORT], &of, &before if before.number != NULL else NULL,
        &single if n > 0 or work.last_credit >= 0 else NULL, &after if after.number != NULL else NULL,
        work.entering[work.n] if work.entering != NULL else 0.0
    )


cdef inline void take_whole(const Stretch* stretch, NEURON_STRETCH* of) noexcept nogil:
    of.number, of.apart, of.width = <double*> stretch.number, <double*> stretch.other, stretch.width
    of.kappa, of.keep = stretch.kappa, stretch.keep_other
