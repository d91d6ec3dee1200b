# Spike variant, neurons given by equations: stretches of steps (stretches.pxi) that compose for any traces.
#
# What a step does to the traces is generated (pareprop/neurons/stretches.py). A spike enters by an expression of the
# step: from a step to the end of the block, by which rows are closed, it is followed, too; elsewhere that step is a
# single one.


# ---- neurons ---------------------------------------------------------------------------------------------------------

cdef inline double* of_models(Stretches at, int64_t place, int64_t j) noexcept nogil:
    return &at.suffix_of_models[j, 0] if place == SUFFIX else &at.of_models[place, j, 0]


cdef inline int64_t width_of_models(Stretches at, int64_t place) noexcept nogil:
    return at.suffix_of_models.shape[1] if place == SUFFIX else at.of_models.shape[2]


cdef void begin_of_models(Engine engine, Stretches at, int64_t place) noexcept nogil:
    cdef int64_t p, first
    for p in range(engine.neurons.pieces.shape[0] if at.of_models.shape[0] > 0 else 0):
        first = engine.neurons.pieces[p, FIRST]
        if at.addresses[p] != 0:
            (<const NeuronStretches*> at.addresses[p]).begin(
                engine.neurons.pieces[p, LAST] - first, of_models(at, place, first), width_of_models(at, place)
            )


cdef inline NeuronSignals signals_of_model(Stretches at, const Steps* steps, int64_t u, int64_t first) noexcept nogil:
    cdef Signals found = signals_of(steps, u)
    cdef double keep = found.discount if at.kind == REWARDED else steps.keep_other
    return NeuronSignals(found.L + first, found.F + first, at.kind, steps.kappa, keep, steps.rate_share, found.delta)


cdef void append_of_model(
    Engine engine, Stretches at, int64_t p, const Steps* steps, int64_t u, int64_t k
) noexcept nogil:
    """Step u after the k steps of the present block."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST]
    cdef const NeuronStretches* model = <const NeuronStretches*> at.addresses[p]
    cdef NeuronSignals signals
    if at.addresses[p] == 0:
        return
    signals = signals_of_model(at, steps, u, first)
    model.append(last - first, engine.neurons.v.shape[0], column(engine.neurons.constants, first),
                 history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
                 signals_of(steps, u).psi + first, &signals, power_of(steps.kappa, k),
                 keep_of(at, RUNNING, steps.keep_other, k), of_models(at, RUNNING, first), at.of_models.shape[2])


cdef void prepend_of_model(
    Engine engine, Stretches at, int64_t p, const Steps* steps, int64_t u, int64_t k
) noexcept nogil:
    """Step u before the k steps of the suffix."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST]
    cdef const NeuronStretches* model = <const NeuronStretches*> at.addresses[p]
    cdef NeuronSignals signals
    if at.addresses[p] == 0:
        return
    signals = signals_of_model(at, steps, u, first)
    model.prepend(last - first, engine.neurons.v.shape[0], column(engine.neurons.constants, first),
                  history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
                  signals_of(steps, u).psi + first, &signals, power_of(steps.kappa, k),
                  keep_of(at, SUFFIX, steps.keep_other, k), of_models(at, SUFFIX, first),
                  width_of_models(at, SUFFIX))


cdef void compose_of_model(
    Engine engine, Stretches at, int64_t p, int64_t place, double kappa, double kappa_reg, int64_t n
) noexcept nogil:
    """The n steps of a gap, then the present block."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST]
    if at.addresses[p] == 0:
        return
    (<const NeuronStretches*> at.addresses[p]).compose(
        last - first, power_of(kappa, n), power_of(kappa, STRETCH_STEPS), keep_of(at, place, kappa_reg, n),
        keep_of(at, RUNNING, kappa_reg, STRETCH_STEPS), at.kind, of_models(at, RUNNING, first),
        of_models(at, place, first), at.of_models.shape[2]
    )


# ---- rows ------------------------------------------------------------------------------------------------------------

cdef void work_row_of_model(
    Engine engine, const Work* work, const Steps* steps, Rows rows, int64_t b, int64_t row, real* arriving
) noexcept nogil:
    """As `work_row`, in chunks of synapses that stay in the cache."""
    cdef int64_t k = rows.row_ptr[row], stop = rows.row_ptr[row + 1], last
    while k < stop:
        last = min(k + CHUNK, stop)
        work_chunk_of_model(engine, work, steps, rows, b, k, last)
        if work.updates:
            descend(last - k, work.eta, work.low, work.high, &rows.C[k], &rows.weight[k])
            while arriving != NULL and k < last:
                arriving[rows.target[k]] += rows.weight[k]
                k += 1
        k = last


cdef void work_chunk_of_model(
    Engine engine, const Work* work, const Steps* steps, Rows rows, int64_t b, int64_t start, int64_t stop
) noexcept nogil:
    cdef int64_t k, u, width = stop - start
    cdef bint single
    cdef const NeuronModel* model = <const NeuronModel*> rows.models[b]
    cdef const uint32_t* target = &rows.target[start]
    cdef real* other = NULL
    cdef Columns columns
    if engine.online.in_use:
        other = &rows.h[start]
    elif rows.Y2.shape[0] > 0:
        other = &rows.Y2[start]
    if not work.owes:
        memset(&rows.C[start], 0, width * sizeof(real))
    single = work.n_decay >= 0 or work.n > 0
    if single:
        go_through_stretches(engine, &work.before, NULL, 0.0, rows, b, start, width, other)
        columns = collect_constants(engine, model, width, -1, target)
    if work.n_decay > 0:
        model.decay(width, columns.stride, engine.neurons.dt, work.n_decay, columns.constant, &rows.traces[0, start],
                    rows.traces.shape[1])
        for k in range(start, stop):
            rows.Y[k] *= work.kappa_decay
        for k in range(width if other != NULL else 0):
            other[k] *= work.other_decay
    if work.n_decay >= 0:
        follow_step(engine, steps, model, work.first - 1, 0.0, rows, b, start, width, True, &columns, other)
    for u in range(work.first, work.first + work.n):
        credit_step(signals_of(steps, u), steps, target, width, rows, start, other)
        follow_step(engine, steps, model, u, work.entering[u - work.first] if work.entering != NULL else 0.0, rows, b,
                    start, width, u == work.first, &columns, other)
    go_through_stretches(engine, NULL if single else &work.before, &work.after,
                         work.entering[work.n] if work.entering != NULL else 0.0, rows, b, start, width, other)
    if work.last_credit >= 0:
        credit_step(signals_of(steps, work.last_credit), steps, target, width, rows, start, other)


cdef inline void go_through_stretches(
    Engine engine, const Stretch* before, const Stretch* after, double entering, Rows rows, int64_t b,
    int64_t start, int64_t width, real* other
) noexcept nogil:
    cdef NEURON_STRETCH first, second
    cdef bint has_first = before != NULL and before.number != NULL, has_second = after != NULL and after.number != NULL
    if has_first:
        first = NEURON_STRETCH(before.number, before.width, before.kappa, before.keep_other)
    if has_second:
        second = NEURON_STRETCH(after.number, after.width, after.kappa, after.keep_other)
    if has_first or has_second:
        (<const NeuronStretches*> rows.stretches[b]).go_through(
            width, rows.blocks[b, PORT], &rows.target[start], &first if has_first else NULL,
            &second if has_second else NULL, entering, NODES_AHEAD if engine.neurons.v.shape[0] > NEAR else 0,
            &rows.traces[0, start], rows.traces.shape[1], &rows.Y[start], other, &rows.C[start]
        )


cdef inline void credit_step(
    Signals at, const Steps* steps, const uint32_t* target, int64_t width, Rows rows, int64_t start, real* other
) noexcept nogil:
    """The signals of the step before meet what is kept."""
    cdef int64_t k
    for k in range(width):
        if steps.other == REWARDED:
            rows.C[start + k] -= steps.rate_share * at.F[target[k]] * rows.Y[start + k] + at.delta * other[k]
            other[k] = at.discount * other[k] + at.L[target[k]] * rows.Y[start + k]
        elif steps.other == REGULARIZED:
            rows.C[start + k] -= at.L[target[k]] * rows.Y[start + k] + at.F[target[k]] * other[k]
        else:
            rows.C[start + k] -= at.L[target[k]] * rows.Y[start + k]


cdef inline void follow_step(
    Engine engine, const Steps* steps, const NeuronModel* model, int64_t u, double arrived, Rows rows, int64_t b,
    int64_t start, int64_t width, bint first, Columns* columns, real* other
) noexcept nogil:
    """The traces of step u."""
    cdef int64_t k
    cdef const uint32_t* target = &rows.target[start]
    cdef real[CHUNK] psi, e
    cdef real kappa = steps.kappa, keep = steps.keep_other, share = steps.rate_share
    collect(width, -1, target, signals_of(steps, u).psi, psi)
    collect_history(engine, model, u, width, -1, target, first, columns)
    model.trace(width, columns.stride, engine.neurons.dt, rows.blocks[b, PORT], columns.constant, columns.before,
                columns.kept, psi, arrived, &rows.traces[0, start], rows.traces.shape[1], e)
    for k in range(width):
        rows.Y[start + k] = kappa * rows.Y[start + k] + e[k]
    for k in range(width if steps.other == REGULARIZED else 0):
        other[k] = keep * other[k] + share * e[k]
