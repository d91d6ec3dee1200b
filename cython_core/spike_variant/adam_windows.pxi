# Rows of an engine (engine.pxi) work off windows with a step of Adam in each time step, see adam_windows.h.

cdef extern from "spike_variant/adam_windows.h" nogil:
    ctypedef struct AdamWindow:
        int64_t place, length, n_targets, n
        const real* psi
        const real* L
        const double* traces
        const real* rates
        real kappa, keep_1, add_1, keep_2, add_2, small, low, high
        const uint32_t* target
        real* Y
        real* C
        real* moment
        real* variance
        real* weight

    void adam_window(const AdamWindow* of, int64_t start, int64_t stop)


cdef inline bint is_adam_alone(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Whether synapses have nothing but what `AdamWindow` knows; rows that are dense have neighbours for targets."""
    return rows.rules[b, ADAM] and not rows.blocks[b, DENSE] and rows.models[b] == 0 and \
        not rows.rules[b, OWN_ZBAR] and not rows.rules[b, ADAPTIVE] and engine.sums.sets != 2 and \
        not engine.online.in_use


cdef void work_adam(
    Engine engine, int64_t first, int64_t n, const double* traces, const real* rates, Rows rows, int64_t b, int64_t row,
    int64_t start, int64_t stop
) noexcept nogil:
    """As `work_chunk` with steps of the optimizer."""
    cdef Adam adam = adam_of(rows, b)
    cdef AdamWindow of
    of.length, of.n_targets = engine.histories.psi.shape[0], engine.histories.psi.shape[1]
    of.place, of.n, of.traces, of.rates = first % of.length, n, traces, rates
    of.psi, of.L = &engine.histories.psi[0, 0], &engine.histories.L[0, 0]
    of.kappa, of.small = rows.constants[b, KAPPA], adam.epsilon
    of.keep_1, of.add_1, of.keep_2, of.add_2 = adam.beta_1, 1.0 - adam.beta_1, adam.beta_2, 1.0 - adam.beta_2
    of.low, of.high = low_of(rows, b, row), high_of(rows, b, row)
    of.target, of.weight, of.Y, of.C = &rows.target[0], &rows.weight[0], &rows.Y[0], &rows.C[0]
    of.moment, of.variance = &rows.moment[0], &rows.variance[0]
    adam_window(&of, start, stop)
