# Rows of an engine (engine.pxi) work off windows with a step of the optimizer in each time step, see lines.h. Their
# histories are lines of some steps of a target, where those of other rows are lines of some targets in a step.

cdef extern from "spike_variant/lines.h" nogil:
    enum:
        SIDE

    ctypedef struct LineWindow:
        int64_t first, n, n_blocks, n_targets
        const real* lines
        const double* traces
        double* Z
        double alpha_row
        const real* moving
        Optimized of
        real kappa
        const real* alpha
        const real* rho
        const real* beta
        const uint32_t* target
        real* Y
        real* zbar
        real* eps

    void line_window(const LineWindow* of, int64_t start, int64_t stop)
    void keep_lines(int64_t u, int64_t n_blocks, int64_t n, const real* psi, const real* L, real* lines)


cdef inline void keep_step(Histories histories, int64_t u) noexcept nogil:
    """Write step u into the lines, if there are some."""
    cdef int64_t n = histories.lines.shape[1]
    if histories.lines.shape[0] > 0 and n > 0:
        keep_lines(u, histories.lines.shape[0], n, &histories.psi[u % histories.psi.shape[0], 0],
                   &histories.L[u % histories.L.shape[0], 0], &histories.lines[0, 0, 0])


cdef inline LineWindow window_of(
    Engine engine, int64_t first, int64_t n, const double* traces, const real* moving, Rows rows, int64_t b, int64_t row
) noexcept nogil:
    """A window of the synapses of the table."""
    cdef LineWindow window
    window.first, window.n, window.traces, window.moving, window.Z = first, n, traces, moving, NULL
    window.n_blocks, window.n_targets = engine.histories.lines.shape[0], engine.histories.lines.shape[1]
    window.lines = &engine.histories.lines[0, 0, 0]
    find_optimized(rows, b, row, &window.of)
    window.kappa, window.alpha_row = rows.constants[b, KAPPA], rows.constants[b, ALPHA]
    window.alpha, window.rho = &engine.neurons.alpha[0], &engine.neurons.rho[0]
    window.beta = &engine.neurons.adapt_beta[0]
    window.target, window.Y = &rows.target[0], &rows.Y[0]
    window.zbar = &rows.zbar[0] if rows.rules[b, OWN_ZBAR] else NULL
    window.eps = &rows.eps[0] if rows.rules[b, ADAPTIVE] else NULL
    return window


cdef void work_lines(
    Engine engine, int64_t first, int64_t n, const double* traces, bint fused, const real* moving, Rows rows, int64_t b,
    int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """As `work_chunk`, of a whole row."""
    cdef LineWindow window = window_of(engine, first, n, traces, moving if fused else NULL, rows, b, row)
    line_window(&window, start, stop)


cdef bint join_lines(Engine engine, int64_t end, Rows rows, int64_t b, int64_t row, Bundle* together) noexcept nogil:
    """Let a row be one of a bundle that works off a window with a step of the optimizer in each step, if it may.

    Rows whose latest spikes arrived in the same step have the same window; only Z is of each row.
    """
    cdef int64_t* books = &rows.books[row, 0]
    cdef int64_t i, first = books[CURSOR], n = end - first
    cdef Waits found = waits_of(rows, b, row)
    if not rows.rules[b, LINED] or n > WINDOW or rows.older.shape[0] > 0 or not can_join(rows, row) or \
            (rows.rules[b, COUNTED] and rows.counters[row] != first + engine.lead):
        return False
    if not has_room(together, rows.row_ptr[row + 1] - rows.row_ptr[row]) or together.n_steps != n or \
            not same_waits(&found, &together.before):
        work_windows(engine, rows, b, together)
    if together.n_rows == 0:
        together.before, together.n_steps = found, n
        for i in range(n):
            together.entering[i] = 0.0
            if books[WAITING] != 0 or books[OLDER] != 0:
                together.entering[i] = entering(engine, first + i, rows, row)
        together.waiting, together.older = books[WAITING], books[OLDER]
    books[WAITING], books[OLDER], books[CURSOR] = together.waiting, together.older, end
    if rows.rules[b, COUNTED]:
        rows.counters[row] = end + engine.lead
    engine.work += n * (rows.row_ptr[row + 1] - rows.row_ptr[row])
    join(together, rows, row, rows.Z[row])
    return True


cdef void work_windows(Engine engine, Rows rows, int64_t b, Bundle* together) noexcept nogil:
    """Rows of a bundle work off their window; it is empty then."""
    cdef int64_t k, place = 0, first = together.before.cursor
    cdef Beside beside
    cdef double[BESIDE] Z
    cdef real[WINDOW * MOST_MOVING] moving
    cdef LineWindow window
    if together.n_rows == 0:
        return
    begin_beside(rows, together, &beside)
    rows.constants[b, ETA] = together.before.eta
    fill_moving(first + engine.lead + 1, together.n_steps, moving, rows, b)
    window = window_of(engine, first, together.n_steps, together.entering, moving, rows, b, together.row[0])
    window.target, window.Y = beside.target, take_beside(together, window.Y, &beside)
    window.of.gradient = take_beside(together, window.of.gradient, &beside)
    window.of.weight = take_beside(together, window.of.weight, &beside)
    for k in range(MOST_KEPT):
        if window.of.kept[k] != NULL:
            window.of.kept[k] = take_beside(together, window.of.kept[k], &beside)
    if window.eps != NULL:
        window.eps = take_beside(together, window.eps, &beside)
    if window.zbar != NULL:
        window.zbar = take_beside(together, window.zbar, &beside)
    else:
        repeat_spans(together.n_rows, together.span, together.Z, Z)
        window.Z = Z
    line_window(&window, 0, (together.n + SIDE - 1) // SIDE * SIDE)
    for k in range(together.n_rows if window.Z != NULL else 0):
        rows.Z[together.row[k]] = Z[place]
        place += together.span[k].n
    return_beside(together, &beside)
