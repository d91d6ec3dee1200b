# Rows of an engine (engine.pxi) work off windows with a step of Adam in each time step, see adam_windows.h. Their
# histories are lines of some steps of a target, where those of other rows are lines of some targets in a step.

cdef extern from "spike_variant/adam_windows.h" nogil:
    ctypedef struct AdamWindow:
        int64_t first, n, n_blocks, n_targets
        const real* lines
        const double* traces
        const real* rates
        real kappa, keep_1, add_1, keep_2, add_2, small, low, high, least
        const real* alpha
        const real* rho
        const real* beta
        const uint32_t* target
        real* Y
        real* C
        real* moment
        real* variance
        real* weight
        real* zbar
        real* eps

    double least_of(double add_2, double epsilon)
    void adam_window(const AdamWindow* of, int64_t start, int64_t stop)
    void keep_lines(int64_t u, int64_t n_blocks, int64_t n, const real* psi, const real* L, real* lines)


cdef inline void keep_step(Histories histories, int64_t u) noexcept nogil:
    """Write step u into the lines, if there are some."""
    cdef int64_t n = histories.lines.shape[1]
    if histories.lines.shape[0] > 0 and n > 0:
        keep_lines(u, histories.lines.shape[0], n, &histories.psi[u % histories.psi.shape[0], 0],
                   &histories.L[u % histories.L.shape[0], 0], &histories.lines[0, 0, 0])


cdef void work_lines(
    Engine engine, int64_t first, int64_t n, const double* traces, bint fused, const real* rates, Rows rows, int64_t b,
    int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """As `work_chunk`, of a whole row."""
    cdef Adam adam = adam_of(rows, b)
    cdef AdamWindow of
    of.first, of.n, of.traces, of.rates = first, n, traces, rates if fused else NULL
    of.n_blocks, of.n_targets = engine.histories.lines.shape[0], engine.histories.lines.shape[1]
    of.lines = &engine.histories.lines[0, 0, 0]
    of.kappa, of.small = rows.constants[b, KAPPA], adam.epsilon
    of.keep_1, of.add_1, of.keep_2, of.add_2 = adam.beta_1, 1.0 - adam.beta_1, adam.beta_2, 1.0 - adam.beta_2
    of.least = least_of(1.0 - adam.beta_2, adam.epsilon)
    of.low, of.high = low_of(rows, b, row), high_of(rows, b, row)
    of.alpha, of.rho = &engine.neurons.alpha[0], &engine.neurons.rho[0]
    of.beta = &engine.neurons.adapt_beta[0]
    of.target, of.weight, of.Y, of.C = &rows.target[0], &rows.weight[0], &rows.Y[0], &rows.C[0]
    of.moment, of.variance = &rows.moment[0], &rows.variance[0]
    of.zbar = &rows.zbar[0] if rows.rules[b, OWN_ZBAR] else NULL
    of.eps = &rows.eps[0] if rows.rules[b, ADAPTIVE] else NULL
    adam_window(&of, start, stop)
