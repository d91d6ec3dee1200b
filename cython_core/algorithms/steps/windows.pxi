# Algorithm `steps`: rows take the window between two arrivals step by step, see window_steps.pxd.


cdef bint arrive_stepwise(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """A spike arrives, and is not delivered."""
    cdef int64_t t = spike.t, row = spike.row, latest = rows.books[row, LATEST], cutoff = rows.settings[b].cutoff
    if latest == NEVER:
        begin_row(rows, row, t, max(t - rows.settings[b].lag, 0))
    else:
        work_off(engine, t, rows, b, row)
        if rows.arrived.shape[0] > 0:
            rows.arrived[rows.row_ptr[row]:rows.row_ptr[row + 1]] = NAN
        if 0 <= cutoff < t - latest:
            rows.Z[row] *= power_of(rows.settings[b].alpha, t - latest - cutoff)
            if algorithm_of(rows, b).decay != NULL:
                algorithm_of(rows, b).decay(engine, t - latest - cutoff, rows, b, row)
        if not rows.settings[b].each_step:
            optimize(engine, t + engine.lead - 1, rows, b, row)
        rows.books[row, CURSOR] = max(t - rows.settings[b].lag, 0)
    wait(engine, t, rows, row)
    return False


cdef void work_off_early(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Apply pending updates before a spike arrives; store the weights, which NEST changes at the arrival."""
    cdef int64_t k
    if rows.settings[b].each_step and rows.arrived.shape[0] > 0:
        for k in range(rows.row_ptr[row], rows.row_ptr[row + 1]):
            if isnan(rows.arrived[k]):
                rows.arrived[k] = rows.weight[k]
    work_off(engine, t, rows, b, row)


cdef void close_stepwise(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t following
) noexcept nogil:
    work_off_early(engine, t, rows, b, row)


cdef void work_off(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Apply pending updates of the history up to step t - m, or to the cutoff."""
    cdef const BlockSettings* given = &rows.settings[b]
    cdef int64_t u, latest = rows.books[row, LATEST], lag = given.lag, end = t - lag
    cdef bint each_step = given.each_step, counted = given.counted
    cdef const Algorithm* of = algorithm_of(rows, b)
    cdef bint summed = of.sum_up != NULL and not each_step and engine.error_sums.block > 0
    cdef Window window
    if rows.books[row, CLOSED]:
        rows.books[row, CLOSED] = 0 if t > latest + given.cutoff else 1
        return
    if given.cutoff >= 0:
        end = min(end, latest - lag + given.cutoff)
    if each_step and counted and latest < lag and end > latest - lag:
        # empty history before the start of the task counts as steps of the optimizer
        optimize(engine, min(end, 0) + engine.lead, rows, b, row)
    u = rows.books[row, CURSOR]
    while u < end:
        # one optimizer step follows each step of the history, except for overdue ones
        window.fused = each_step and (not counted or rows.optimizing.counters[row] == u + engine.lead)
        if summed and rows.books[row, WAITING] == 0 and rows.books[row, OLDER] == 0:
            of.sum_up(engine, u, end, rows, b, row)
            break
        window.first = u
        window.n = 1 if (each_step and not window.fused) or summed else min(end - u, WINDOW)
        fill_traces(engine, &window, rows, b, row)
        if window.fused:
            fill_moving(u + engine.lead + 1, &window, rows, b)
        of.work(engine, &window, rows, b, row)
        u += window.n
        if window.fused and counted:
            rows.optimizing.counters[row] = u + engine.lead
        elif each_step and not window.fused:
            optimize(engine, u + engine.lead, rows, b, row)
    rows.books[row, CURSOR] = max(rows.books[row, CURSOR], end)


cdef void fill_traces(Engine engine, Window* window, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Write zbar of the source in each step; or, if synapses have zbar, how many spikes enter, with factors."""
    cdef int64_t i
    cdef double z
    cdef double Z = rows.Z[row], alpha = rows.settings[b].alpha
    for i in range(window.n):
        z = 0.0
        if rows.books[row, WAITING] != 0 or rows.books[row, OLDER] != 0:
            z = entering(engine, window.first + i, rows, row)
        if rows.settings[b].own_zbar:
            window.traces[i] = z
        else:
            Z = alpha * Z + z
            window.traces[i] = Z
    rows.Z[row] = Z


cdef void fill_moving(int64_t first, Window* window, Rows rows, int64_t b) noexcept nogil:
    """Numbers of the optimizer's steps first, first + 1, ..."""
    cdef int64_t i
    for i in range(window.n if rows.settings[b].counted else 0):
        number_moving(rows.settings[b].optimizer, constants_of(rows, b), rows.settings[b].eta,
                      numbers_of_step(rows, b, first + i), window.moving + MOST_MOVING * i)


cdef double entering(Engine engine, int64_t u, Rows rows, int64_t row) noexcept nogil:
    """Sum of factors of the waiting spikes that enter in step u: all that arrived by then."""
    cdef int64_t i, latest = rows.books[row, LATEST], first = latest - u, width = rows.factors.shape[1]
    cdef double z = rows.books[row, OLDER]
    cdef bint weighs = rows.older.shape[0] > 0
    cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
    rows.books[row, OLDER] = 0
    if weighs:
        z = rows.older[row]
        rows.older[row] = 0.0
    if bits != 0:
        for i in range(max(first, <int64_t> 0), engine.m + 1):
            if (bits >> i) & 1:
                z += rows.factors[row, (latest - i) % width] if weighs else 1.0
        if first <= 0:
            bits = 0
        elif first <= engine.m:
            bits &= (<uint64_t> 1 << first) - 1
        rows.books[row, WAITING] = <int64_t> bits
    return z


cdef void work_neurons(Engine engine, const Window* window, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Take all steps by chunks of the row, whose traces stay in the cache; dense rows need no index."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], k = start, last, hole = stop, dense = -1
    engine.work += window.n * (stop - start)
    if rows.blocks[b, DENSE]:
        hole = start + hole_of(rows, b, rows.blocks[b, SOURCE] + row - rows.blocks[b, ROW], stop - start)
    while k < stop:
        last = min(k + CHUNK, hole if k < hole else stop)
        if rows.blocks[b, DENSE]:
            dense = rows.blocks[b, TARGET] + k - start + (k >= hole)
        work_chunk(engine, window, rows, b, row, k, last, dense)
        k = last


cdef struct Columns:  # inputs from targets of a generated model
    int64_t stride
    const real* constant
    const real* before
    const real* kept


cdef inline Columns collect_constants(
    Engine engine, const NeuronModel* model, int64_t width, int64_t dense, const uint32_t* target
) noexcept nogil:
    """Constants of the targets: in place if targets are neighbours, else copied to the first columns of the scratch."""
    cdef int64_t k
    if dense >= 0:
        return Columns(engine.neurons.v.shape[0], column(engine.neurons.constants, dense), NULL, NULL)
    for k in range(model.n_traced):
        collect(width, dense, target, &engine.neurons.constants[k, 0], &engine.histories.found[k, 0])
    return Columns(CHUNK, &engine.histories.found[0, 0], NULL, NULL)


cdef inline void collect_history(
    Engine engine, const NeuronModel* model, int64_t u, int64_t width, int64_t dense, const uint32_t* target,
    bint first, Columns* columns
) noexcept nogil:
    """History of steps u - 1 and u; in the scratch, columns of two steps follow the constants, in turn."""
    cdef int64_t k, length = engine.neurons.history.shape[0], place
    if model.n_kept == 0:
        return
    if dense >= 0:
        columns.before = history_of(engine.neurons, u - 1, dense)
        columns.kept = history_of(engine.neurons, u, dense)
        return
    if first:
        place = model.n_constants + (u + 1) % 2 * model.n_kept
        for k in range(model.n_kept):
            collect(width, dense, target, &engine.neurons.history[u % length, k, 0],
                    &engine.histories.found[place + k, 0])
    place = model.n_constants + u % 2 * model.n_kept
    for k in range(model.n_kept):
        collect(width, dense, target, &engine.neurons.history[(u + 1) % length, k, 0],
                &engine.histories.found[place + k, 0])
    columns.kept = &engine.histories.found[place, 0]
    columns.before = &engine.histories.found[model.n_constants + (u + 1) % 2 * model.n_kept, 0]


cdef void decay_model(
    Engine engine, const NeuronModel* model, Rows rows, int64_t start, int64_t stop, int64_t n_steps
) noexcept nogil:
    """Let traces of a generated model decay, `n_steps` past the cutoff."""
    cdef int64_t k = start, last
    cdef Columns columns
    while k < stop:
        last = min(k + CHUNK, stop)
        columns = collect_constants(engine, model, last - k, -1, &rows.target[k])
        model.decay(last - k, columns.stride, engine.neurons.dt, n_steps, columns.constant, &rows.traces.of_model[0, k],
                    rows.traces.of_model.shape[1])
        k = last


cdef void work_chunk(
    Engine engine, const Window* window, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop, int64_t dense
) noexcept nogil:
    """Step synapses [start, stop), at most CHUNK; `dense`: first target, -1 if targets are not neighbours."""
    cdef int64_t i, place, seen, width = stop - start, first = window.first
    cdef double delta, discount
    cdef bint online = engine.online.in_use, apart = engine.sums.sets == 2
    cdef int64_t faded = last_credited(rows, b, row)
    cdef real kappa = rows.settings[b].kappa, kappa_reg = rows.settings[b].kappa_reg
    cdef const uint32_t* target = &rows.target[start]
    cdef real[CHUNK] alpha, rho, beta, psi_found, L_found, F_found, e, nothing
    cdef const real* psi = psi_found
    cdef const real* L = L_found
    cdef const real* F = F_found
    cdef Optimized of
    cdef const NeuronModel* model = <const NeuronModel*> rows.settings[b].model
    cdef Columns columns
    if model != NULL:
        columns = collect_constants(engine, model, width, dense, target)
    elif rows.settings[b].own_zbar:
        collect(width, dense, target, &engine.neurons.alpha[0], alpha)
    if rows.settings[b].adaptive:
        collect(width, dense, target, &engine.neurons.rho[0], rho)
        collect(width, dense, target, &engine.neurons.adapt_beta[0], beta)
    find_optimized(rows, b, row, &of)
    if faded < first + window.n:
        repeat(width, 0.0, nothing)
    place = first % engine.histories.psi.shape[0]
    for i in range(window.n):
        if dense >= 0:
            psi, L = &engine.histories.psi[place, dense], &engine.histories.L[place, dense]
        else:
            collect(width, dense, target, &engine.histories.psi[place, 0], psi_found)
            collect(width, dense, target, &engine.histories.L[place, 0], L_found)
            psi, L = psi_found, L_found
        if first + i >= faded:
            psi, L = nothing, nothing
        if model != NULL:
            collect_history(engine, model, first + i, width, dense, target, i == 0, &columns)
            model.trace(width, columns.stride, engine.neurons.dt, rows.blocks[b, PORT], columns.constant,
                        columns.before, columns.kept, psi, window.traces[i], &rows.traces.of_model[0, start],
                        rows.traces.of_model.shape[1], e)
        else:
            if rows.settings[b].own_zbar:
                filter_own(width, window.traces[i], alpha, &rows.traces.zbar[start], e)
            else:
                repeat(width, window.traces[i], e)
            if rows.settings[b].adaptive:
                eligibility_adaptive(width, psi, beta, rho, &rows.traces.eps[start], e)
            else:
                eligibility(width, psi, e)
        if apart or online:
            if first + i >= faded:
                F = nothing
            elif dense >= 0:
                F = &engine.histories.F[place, dense]
            else:
                collect(width, dense, target, &engine.histories.F[place, 0], F_found)
                F = F_found
            if online:
                seen = (first + i + engine.online.d_out) % engine.online.delta.shape[0]
                delta, discount = engine.online.delta[seen], engine.online.discount[seen]
                if apart:
                    credit_online_both(width, kappa, kappa_reg, delta, discount, e, L, F, &rows.traces.Y[start],
                                       &rows.traces.Y2[start], &rows.traces.h[start], &rows.traces.C[start])
                else:
                    credit_online(width, kappa, 1.0 - kappa_reg, delta, discount, e, L, F, &rows.traces.Y[start],
                                  &rows.traces.h[start], &rows.traces.C[start])
            else:
                credit_both(width, kappa, kappa_reg, e, L, F, &rows.traces.Y[start], &rows.traces.Y2[start],
                            &rows.traces.C[start])
        else:
            credit(width, kappa, e, L, &rows.traces.Y[start], &rows.traces.C[start])
        if window.fused:
            step_fused(rows, &of, start, width, window.moving + MOST_MOVING * i)
        place = place + 1 if place + 1 < engine.histories.psi.shape[0] else 0


cdef inline int64_t last_credited(Rows rows, int64_t b, int64_t row) noexcept nogil:
    """First step after the trace horizon, whose signals a row no longer receives until the next arrival."""
    cdef int64_t fades = rows.settings[b].horizon
    return INT64_MAX if fades < 0 else rows.books[row, LATEST] - rows.settings[b].lag + fades


cdef void decay_neurons(Engine engine, int64_t n, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Let traces of synapses decay by n steps."""
    cdef int64_t k, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef const BlockSettings* of = &rows.settings[b]
    cdef real shrink = power_of(of.kappa, n), shrink_reg = power_of(of.kappa_reg, n)
    if of.model != 0:
        decay_model(engine, <const NeuronModel*> of.model, rows, start, stop, n)
    for k in range(start, stop):
        rows.traces.Y[k] *= shrink
        if engine.sums.sets == 2:
            rows.traces.Y2[k] *= shrink_reg
        if of.own_zbar and of.model == 0:
            rows.traces.zbar[k] *= <real> power_of(engine.neurons.alpha[rows.target[k]], n)
        if of.adaptive:
            rows.traces.eps[k] *= <real> power_of(engine.neurons.rho[rows.target[k]], n)


cdef void bring_steps(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    work_off(engine, t, rows, b, row)


cdef inline void fill_stepwise(Algorithm* of) noexcept nogil:
    """Fill in what algorithms that take windows step by step have in common."""
    of.arrive, of.end_windows, of.close = arrive_stepwise, end_at_cutoff, close_stepwise
    of.fold, of.catch_up, of.bring_forward = fold, work_off_early, bring_steps


fill_stepwise(&algorithms[STEPS])
algorithms[STEPS].work, algorithms[STEPS].decay = work_neurons, decay_neurons
