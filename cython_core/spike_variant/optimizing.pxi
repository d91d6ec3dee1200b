# Rows of an engine (engine.pxi) take the steps of their optimizer.


cdef void optimize(
    Engine engine, int64_t due, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """Apply what is owed, with the Adam steps that are due."""
    cdef int64_t n
    cdef Adam adam = adam_of(rows, b)
    engine.work += stop - start
    if rows.total.shape[0] > 0 and (not rows.rules[b, ADAM] or rows.counters[row] < due):
        add_total(rows, start, stop)
    if not rows.rules[b, ADAM]:
        step(stop - start, rows.constants[b, ETA], adam, rows, b, row, start)
        return
    n = rows.counters[row] + 1
    if n > due:
        return
    rows.counters[row] = due
    if rows.idle_steps[rows.idle_of[b], 0] >= FEWEST_IDLE:
        step_and_idle(engine, rows, b, row, start, stop, n, due)
        return
    engine.work += (due - n) * (stop - start)
    for n in range(n, due + 1):
        step(stop - start, adam_rate(rows, b, n), adam, rows, b, row, start)


cdef void step_and_idle(
    Engine engine, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop, int64_t first, int64_t due
) noexcept nogil:
    """Step `first` of Adam with what is owed, and those up to step `due` without a gradient."""
    cdef int64_t i, n = first + 1, count, place = rows.idle_of[b]
    cdef double rate = adam_rate(rows, b, first), eta = rows.constants[b, ETA]
    cdef real low = low_of(rows, b, row), high = high_of(rows, b, row)
    cdef double[IDLE_COLUMNS] sums
    cdef const IdleSums* found
    cdef IdleSums rest
    while n <= due or n == first + 1:
        if n - first <= rows.idle_steps[place, 1]:
            count = min(due - n + 1, rows.idle_steps[place, 0])
            found = idle_sums(engine, rows, b, n, count)
        else:                                            # a rest that changes no weight
            count = due - n + 1
            memset(&rest, 0, sizeof(IdleSums))
            rest.keep_moment = power_of(rows.constants[b, BETA_1], count)
            rest.keep_variance = power_of(rows.constants[b, BETA_2], count)
            found = &rest
        for i in range(IDLE_COLUMNS):
            sums[i] = found.sums[i] * eta
        if n == first + 1:
            sums[0] += rate
            take_first_steps(stop - start, sums, rows.constants[b, BETA_1], rows.constants[b, BETA_2],
                             rows.constants[b, EPSILON], found.keep_moment, found.keep_variance, low, high,
                             &rows.C[start], &rows.moment[start], &rows.variance[start], &rows.weight[start])
        else:
            engine.work += stop - start
            take_idle_steps(stop - start, sums, rows.constants[b, EPSILON], found.keep_moment, found.keep_variance,
                            low, high, &rows.moment[start], &rows.variance[start], &rows.weight[start])
        n += max(count, 1)


cdef void add_total(Rows rows, int64_t start, int64_t stop) noexcept nogil:
    """Keep the gradients that the optimizer takes now."""
    cdef int64_t k
    for k in range(start, stop):
        rows.total[k] -= rows.C[k]


cdef const IdleSums* idle_sums(Engine engine, Rows rows, int64_t b, int64_t n, int64_t count) noexcept nogil:
    """Those of steps n to n + count - 1.

    They are kept, as many rows wait since the same step: one that meets a spike later adds the steps in between.
    """
    cdef IdleSums* found = &engine.idle[n % IDLE_FIRSTS]
    cdef double beta_1 = rows.constants[b, BETA_1], beta_2 = rows.constants[b, BETA_2]
    cdef int64_t i, size = rows.bias_step.shape[1], kept
    cdef double[MOST_IDLE] rates
    if found.first != n or found.count > count or found.beta_1 != beta_1 or found.beta_2 != beta_2:
        memset(found, 0, sizeof(IdleSums))
        found.first, found.beta_1, found.beta_2 = n, beta_1, beta_2
        found.keep_moment = found.keep_variance = 1.0
    if found.count < count:
        kept = (n + found.count) % size
        for i in range(found.count, count):
            if rows.bias_step[b, kept] != n + i:
                adam_rate(rows, b, n + i)
            rates[i] = rows.bias[b, kept, 2]
            kept = kept + 1 if kept + 1 < size else 0
        add_idle(count - found.count, &rates[found.count],
                 &rows.idle_powers[rows.idle_of[b], found.count, 0], found.sums)
        found.count = count
        found.keep_moment, found.keep_variance = power_of(beta_1, count), power_of(beta_2, count)
    return found


cdef inline double adam_rate(Rows rows, int64_t b, int64_t n) noexcept nogil:
    """eta sqrt(1 - beta_2^n) / (1 - beta_1^n); the powers of the latest steps are kept."""
    cdef int64_t place = n % rows.bias_step.shape[1]
    if rows.bias_step[b, place] != n:
        rows.bias_step[b, place] = n
        rows.bias[b, place, 0] = bias_2(adam_of(rows, b), n)
        rows.bias[b, place, 1] = bias_1(adam_of(rows, b), n)
        rows.bias[b, place, 2] = rows.bias[b, place, 0] / rows.bias[b, place, 1]
    return rows.constants[b, ETA] * rows.bias[b, place, 0] / rows.bias[b, place, 1]


cdef inline double low_of(Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Least weight of the row: Wmin, or 0 if that is less and the source excites."""
    cdef bint bound = rows.signs.shape[0] > 0 and rows.signs[row] > 0
    return max(rows.constants[b, W_MIN], 0.0) if bound else rows.constants[b, W_MIN]


cdef inline double high_of(Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Largest weight of the row: Wmax, or 0 if that is more and the source inhibits."""
    cdef bint bound = rows.signs.shape[0] > 0 and rows.signs[row] < 0
    return min(rows.constants[b, W_MAX], 0.0) if bound else rows.constants[b, W_MAX]


cdef inline void step(
    int64_t n, real rate, Adam adam, Rows rows, int64_t b, int64_t row, int64_t start
) noexcept nogil:
    """A step of the optimizer of n synapses of a row; C is minus the gradient."""
    cdef real low = low_of(rows, b, row), high = high_of(rows, b, row), divisor = -1.0
    if rows.rules[b, ADAM]:
        adam_step(n, rate, divisor, adam, low, high, &rows.C[start], &rows.moment[start], &rows.variance[start],
                  &rows.weight[start])
    else:
        descend(n, rate, low, high, &rows.C[start], &rows.weight[start])


cdef inline void step_fused(
    int64_t n, real rate, Adam adam, Rows rows, int64_t b, int64_t row, int64_t start
) noexcept nogil:
    """The same after a step of a window."""
    if rows.total.shape[0] > 0:
        add_total(rows, start, start + n)
    step(n, rate, adam, rows, b, row, start)


cdef inline void descend(int64_t n, real rate, real low, real high, real* C, real* weight) noexcept nogil:
    """A gradient of 0 keeps the sign of a weight of -0.0, such as of a synapse that has just come."""
    cdef int64_t k
    for k in range(n):
        weight[k] = clipped(weight[k] - rate * (<real> 0.0 - C[k]), low, high)
        C[k] = 0.0


cdef inline Adam adam_of(Rows rows, int64_t b) noexcept nogil:
    return Adam(rows.constants[b, BETA_1], rows.constants[b, BETA_2], rows.constants[b, EPSILON])
