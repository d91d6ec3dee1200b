# Optimizer steps of the rows of an engine (engine.pxi), see optimizers.pxi.


cdef void optimize(Engine engine, int64_t last, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Apply the pending gradient, then gradient-free optimizer steps up to step `last`."""
    cdef int64_t n = 0, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef Optimized of
    cdef real[MOST_MOVING] moving
    engine.work += stop - start
    if rows.settings[b].counted:
        n = rows.optimizing.counters[row] + 1
        if n > last:
            return
        rows.optimizing.counters[row] = last
    if start == stop:                                    # synapses may move into the row later
        return
    if rows.optimizing.total.shape[0] > 0:
        add_total(rows, start, stop)
    find_optimized(rows, b, row, &of)
    if not rows.settings[b].counted:
        step_owed(&of, start, stop - start, NULL)
        return
    if rows.optimizing.idle_steps[rows.settings[b].idle, 0] >= FEWEST_IDLE:
        step_and_idle(engine, &of, rows, b, start, stop, n, last)
        return
    engine.work += (last - n) * (stop - start)
    of.low, of.high = -INFINITY, INFINITY                # bounds hold after the last step
    for n in range(n, last + 1):
        if n == last:
            of.low, of.high = low_of(rows, b, row), high_of(rows, b, row)
        number_moving(of.kind, constants_of(rows, b), rows.settings[b].eta, numbers_of_step(rows, b, n), moving)
        step_owed(&of, start, stop - start, moving)


cdef inline void find_optimized(Rows rows, int64_t b, int64_t row, Optimized* of) noexcept nogil:
    """Find arrays of all synapses, and the inputs of an optimizer step that a row's synapses share."""
    cdef int64_t j
    of.kind, of.low, of.high = rows.settings[b].optimizer, low_of(rows, b, row), high_of(rows, b, row)
    of.gradient, of.weight = &rows.traces.C[0], &rows.weight[0]
    for j in range(MOST_KEPT):
        of.kept[j] = &rows.optimizing.moments[rows.settings[b].kept[j], 0] if rows.settings[b].kept[j] >= 0 else NULL
    number_fixed(of.kind, constants_of(rows, b), rows.settings[b].eta, of.fixed)


cdef void step_and_idle(
    Engine engine, const Optimized* of, Rows rows, int64_t b, int64_t start, int64_t stop, int64_t first, int64_t last
) noexcept nogil:
    """Apply the pending gradient in step `first`, then gradient-free optimizer steps up to step `last`."""
    cdef int64_t i, n = first + 1, count, place = rows.settings[b].idle
    cdef double rate, eta = rows.settings[b].eta
    cdef double[SERIES_COLUMNS] sums
    cdef real[MOST_MOVING] moving
    cdef const IdleSums* found
    cdef IdleSums rest
    while n <= last or n == first + 1:
        if n - first <= rows.optimizing.idle_steps[place, 1]:
            count = min(last - n + 1, rows.optimizing.idle_steps[place, 0])
            found = idle_sums(rows, b, n, count)
        else:                                            # remaining steps, which change no weight
            count = last - n + 1
            memset(&rest, 0, sizeof(IdleSums))
            number_idle(of.kind, constants_of(rows, b), count, rest.numbers)
            found = &rest
        for i in range(SERIES_COLUMNS):
            sums[i] = found.sums[i] * eta
        if n == first + 1:
            number_moving(of.kind, constants_of(rows, b), eta, numbers_of_step(rows, b, first), moving)
            rate_of_series(of.kind, constants_of(rows, b), eta, numbers_of_step(rows, b, first), &rate)
            sums[0] += rate
        else:
            engine.work += stop - start
        step_idly(of, start, stop - start, n == first + 1, moving, sums, found.numbers)
        n += max(count, 1)


cdef void add_total(Rows rows, int64_t start, int64_t stop) noexcept nogil:
    """Add the gradients that the optimizer uses now to the recorded totals."""
    cdef int64_t k
    for k in range(start, stop):
        rows.optimizing.total[k] -= rows.traces.C[k]


cdef const IdleSums* idle_sums(Rows rows, int64_t b, int64_t n, int64_t count) noexcept nogil:
    """Return the sums of gradient-free steps n to n + count - 1.

    The sums are cached per first step, because many rows wait since the same step; a row with a later spike extends
    them.
    """
    cdef IdleSums* found = &rows.optimizing.idle[n % IDLE_FIRSTS]
    cdef const double* powers = &rows.optimizing.idle_powers[rows.settings[b].idle, 0, 0]
    cdef int64_t i
    cdef double[MOST_IDLE] rates
    if found.first != n or found.count > count or found.powers != powers:
        memset(found, 0, sizeof(IdleSums))
        found.first, found.powers = n, powers
        number_idle(rows.settings[b].optimizer, constants_of(rows, b), 0, found.numbers)
    if found.count < count:
        for i in range(found.count, count):
            rates[i] = numbers_of_step(rows, b, n + i)[MOST_OF_STEP]
        add_idle(count - found.count, &rates[found.count], powers + SERIES_COLUMNS * found.count, found.sums)
        found.count = count
        number_idle(rows.settings[b].optimizer, constants_of(rows, b), count, found.numbers)
    return found


cdef inline const double* constants_of(Rows rows, int64_t b) noexcept nogil:
    """Constants of the optimizer's equations."""
    return &rows.settings[b].constants[0]


cdef inline const double* numbers_of_step(Rows rows, int64_t b, int64_t n) noexcept nogil:
    """Numbers of step n, and the rate of its series with eta = 1; cached for the latest steps."""
    cdef int64_t place = n % rows.optimizing.step_known.shape[1]
    cdef double* found = &rows.optimizing.step_numbers[b, place, 0]
    if rows.optimizing.step_known[b, place] != n:
        rows.optimizing.step_known[b, place] = n
        number_step(rows.settings[b].optimizer, constants_of(rows, b), n, found)
        rate_of_series(rows.settings[b].optimizer, constants_of(rows, b), 1.0, found, found + MOST_OF_STEP)
    return found


cdef inline double low_of(Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Lower bound of the row's weights: Wmin, or 0 if Wmin is less and the source excites."""
    cdef bint bound = rows.signs.shape[0] > 0 and rows.signs[row] > 0
    return max(rows.settings[b].Wmin, 0.0) if bound else rows.settings[b].Wmin


cdef inline double high_of(Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Upper bound of the row's weights: Wmax, or 0 if Wmax is more and the source inhibits."""
    cdef bint bound = rows.signs.shape[0] > 0 and rows.signs[row] < 0
    return min(rows.settings[b].Wmax, 0.0) if bound else rows.settings[b].Wmax


cdef inline void step_fused(
    Rows rows, const Optimized* of, int64_t start, int64_t n, const real* moving
) noexcept nogil:
    """Take an optimizer step after a step of a window."""
    if rows.optimizing.total.shape[0] > 0:
        add_total(rows, start, start + n)
    step_owed(of, start, n, moving)
