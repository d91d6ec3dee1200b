# Rows of an engine (engine.pxi) take the steps of their optimizer.
#
# Adam with one step per arrival makes up for the time steps since the latest one: the first takes the gradient, the
# others none. With moment m and variance v after the first, s = sqrt(v), b1 and b2 the betas, step i of the others is
#     w -= rate_i b1^i m / (b2^(i/2) s + epsilon) = rate_i r^i m / (s + epsilon y_i),  y_i = b2^(-i/2), r = b1 y_1
# With x = -epsilon / (s + epsilon), of which only x differs between synapses,
#     1 / (s + epsilon y_i) = sum_k (x (y_i - 1))^k / (s + epsilon)
# so that all steps together are m / (s + epsilon) sum_k x^k sum_i rate_i r^i (y_i - 1)^k: a root and a division for any
# number of steps. They are taken in parts in which y_i - 1 stays below 1/16, so that 13 terms suffice (6 in single
# precision); a part that r has made less than 1e-20 changes no weight.

cdef extern from "spike_variant/idle_adam.h" nogil:
    enum:
        IDLE_COLUMNS

    void sum_idle(int64_t n, const double* rate, const double* powers, double* sums)
    void take_first_steps(
        int64_t n, const double* sums, real keep_1, real keep_2, real small, real keep_moment, real keep_variance,
        real low, real high, real* C, real* moment, real* variance, real* weight
    )
    void take_idle_steps(
        int64_t n, const double* sums, real small, real keep_moment, real keep_variance, real low, real high,
        real* moment, real* variance, real* weight
    )

cdef enum:
    MOST_IDLE = 128    # steps of a part
    FEWEST_IDLE = 2    # else they are taken one by one


cdef void optimize(
    Engine engine, int64_t due, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """Apply what is owed, with the Adam steps that are due."""
    cdef int64_t n
    cdef Adam adam = adam_of(rows, b)
    engine.work += stop - start
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
    cdef int64_t i, n = first + 1, kept, count, place = rows.idle_of[b]
    cdef double[MOST_IDLE] rates
    cdef double[IDLE_COLUMNS] sums
    cdef double rate = adam_rate(rows, b, first), eta = rows.constants[b, ETA], powers_1, powers_2
    while n <= due or n == first + 1:
        count = 0                                        # of a rest that changes no weight
        if n - first <= rows.idle_steps[place, 1]:
            count = min(due - n + 1, rows.idle_steps[place, 0])
        kept = n % rows.bias_step.shape[1]
        for i in range(count):
            if rows.bias_step[b, kept] != n + i:
                adam_rate(rows, b, n + i)
            rates[i] = rows.bias[b, kept, 2]
            kept = kept + 1 if kept + 1 < rows.bias_step.shape[1] else 0
        sum_idle(count, rates, &rows.idle_powers[place, 0, 0], sums)
        for i in range(IDLE_COLUMNS):
            sums[i] *= eta
        if n - first > rows.idle_steps[place, 1]:
            count = due - n + 1
        powers_1, powers_2 = power_of(rows.constants[b, BETA_1], count), power_of(rows.constants[b, BETA_2], count)
        if n == first + 1:
            sums[0] += rate
            take_first_steps(stop - start, sums, rows.constants[b, BETA_1], rows.constants[b, BETA_2],
                             rows.constants[b, EPSILON], powers_1, powers_2, low_of(rows, b, row),
                             high_of(rows, b, row),
                             &rows.C[start], &rows.moment[start], &rows.variance[start], &rows.weight[start])
        else:
            engine.work += stop - start
            take_idle_steps(stop - start, sums, rows.constants[b, EPSILON], powers_1, powers_2, low_of(rows, b, row),
                            high_of(rows, b, row), &rows.moment[start], &rows.variance[start], &rows.weight[start])
        n += max(count, 1)


cdef double adam_rate(Rows rows, int64_t b, int64_t n) noexcept nogil:
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


cdef inline void descend(int64_t n, real rate, real low, real high, real* C, real* weight) noexcept nogil:
    """A gradient of 0 keeps the sign of a weight of -0.0, such as of a synapse that has just come."""
    cdef int64_t k
    for k in range(n):
        weight[k] = clipped(weight[k] - rate * (<real> 0.0 - C[k]), low, high)
        C[k] = 0.0


cdef inline Adam adam_of(Rows rows, int64_t b) noexcept nogil:
    return Adam(rows.constants[b, BETA_1], rows.constants[b, BETA_2], rows.constants[b, EPSILON])
