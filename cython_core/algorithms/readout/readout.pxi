# Algorithm `readout`: weights onto readouts, whose gradients come from the readouts' errors.


cdef void work_readout(Engine engine, const Window* window, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """g += E zbar, or with rewards as in online_td.pxi; as in `work_chunk`."""
    cdef double error
    cdef int64_t i, k, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], faded = last_credited(rows, b, row)
    cdef int64_t seen = window.first % engine.histories.error_ring.shape[0]
    cdef Optimized of
    engine.work += window.n * (stop - start)
    find_optimized(rows, b, row, &of)
    for i in range(window.n):
        for k in range(start, stop):
            error = engine.histories.error_ring[seen, rows.target[k]] if window.first + i < faded else 0.0
            if engine.online.in_use:
                rows.traces.C[k] -= engine.online.delta[seen] * rows.traces.h[k]
                rows.traces.h[k] = engine.online.discount[seen] * rows.traces.h[k] + error * window.traces[i]
            else:
                rows.traces.C[k] -= error * window.traces[i]
        if window.fused:
            step_fused(rows, &of, start, stop - start, window.moving + MOST_MOVING * i)
        seen = seen + 1 if seen + 1 < engine.histories.error_ring.shape[0] else 0


cdef void sum_readout(
    Engine engine, int64_t first, int64_t end, Rows rows, int64_t b, int64_t row
) noexcept nogil:
    """The same for steps in which no spike enters, where zbar decays: by sums of errors, in O(1)."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef int64_t k, column, last, place, u = first, length = engine.error_sums.sums.shape[0], high, low
    cdef double zbar, before
    engine.work += stop - start
    while u < end:
        place = u % engine.error_sums.block
        last = min(end, u - place + engine.error_sums.block)
        zbar = rows.settings[b].alpha * rows.Z[row]
        high, low = (last - 1) % length, (u + length - 1) % length
        for k in range(start, stop):
            column = rows.target[k]
            before = engine.error_sums.sums[low, column] if place > 0 else 0.0
            rows.traces.C[k] -= zbar / engine.error_sums.powers[place, column] * (
                engine.error_sums.sums[high, column] - before
            )
        if start < stop:  # all targets of a block are of one population
            rows.Z[row] = zbar * engine.error_sums.powers[last - 1 - u, rows.target[start]]
        u = last


fill_stepwise(&algorithms[READOUT])
algorithms[READOUT].work, algorithms[READOUT].sum_up = work_readout, sum_readout
