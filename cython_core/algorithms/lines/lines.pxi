# Algorithm `lines`: windows with an optimizer step in each time step, see lines.h. A cache line of the history holds
# some steps of one target; for other algorithms, one step of some targets.

cdef extern from "algorithms/lines/lines.h" nogil:
    ctypedef struct LineWindow:
        int64_t first, n, n_blocks, n_targets
        const real* lines
        const double* traces
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


cdef inline void keep_step(Lines lines, Histories histories, int64_t u) noexcept nogil:
    """Write step u into the lines, if there are some."""
    cdef int64_t n = lines.line.shape[1]
    if lines.line.shape[0] > 0 and n > 0:
        keep_lines(u, lines.line.shape[0], n, &histories.psi[u % histories.psi.shape[0], 0],
                   &histories.L[u % histories.L.shape[0], 0], &lines.line[0, 0, 0])


cdef void work_lines(Engine engine, const Window* given, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """As `work_neurons`."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef LineWindow window
    engine.work += given.n * (stop - start)
    if start == stop:
        return
    window.first, window.n, window.traces = given.first, given.n, given.traces
    window.moving = given.moving if given.fused else NULL
    window.n_blocks, window.n_targets = engine.lines.line.shape[0], engine.lines.line.shape[1]
    window.lines = &engine.lines.line[0, 0, 0]
    find_optimized(rows, b, row, &window.of)
    window.kappa = rows.settings[b].kappa
    window.alpha, window.rho = &engine.neurons.alpha[0], &engine.neurons.rho[0]
    window.beta = &engine.neurons.adapt_beta[0]
    window.target, window.Y = &rows.target[0], &rows.traces.Y[0]
    window.zbar = &rows.traces.zbar[0] if rows.settings[b].own_zbar else NULL
    window.eps = &rows.traces.eps[0] if rows.settings[b].adaptive else NULL
    line_window(&window, start, stop)


fill_stepwise(&algorithms[LINES])
algorithms[LINES].work, algorithms[LINES].decay = work_lines, decay_neurons
