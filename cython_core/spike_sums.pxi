# Rows of an engine (spike.pxi) work off the window between two arrivals at once, see spike_prefix.pxi.


cdef bint arrive_prefix(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t source, total_of[::1] arriving
) noexcept nogil:
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], e = t - engine.m, hole
    cdef int64_t n_decay = t - rows.books[row, LATEST] - rows.rules[b, CUTOFF]
    cdef bint entered = engine.m == 1, fused = engine.sets == 1
    cdef double d = 0.0, Z
    if rows.books[row, CLOSED]:
        optimize(engine, t + 1, rows, b, row, start, stop)
        reopen(engine, e, n_decay, rows, b, row, start, stop)
        wait(engine, t, rows, row)
        if entered:
            enter_now(engine, t, rows, b, row, start, stop)
        return False
    advance_prefix(engine, e, rows, b, row)
    Z = rows.Z[row]
    if fused:
        if entered:
            d = unit(engine, t, e, b)
        if rows.blocks[b, DENSE]:
            hole = start + hole_of(rows.blocks, b, source, stop - start)
            descend_dense(start, hole, rows.blocks[b, TARGET] - start, Z, d, rows.constants[b, ETA],
                          rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[(t - 1) % (engine.m + 1)],
                          engine.A, engine.D, rows.weight, rows.Y, rows.C, arriving)
            descend_dense(hole, stop, rows.blocks[b, TARGET] + 1 - start, Z, d, rows.constants[b, ETA],
                          rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[(t - 1) % (engine.m + 1)],
                          engine.A, engine.D, rows.weight, rows.Y, rows.C, arriving)
        else:
            descend(start, stop, rows.target, Z, d, rows.constants[b, ETA], rows.constants[b, W_MIN],
                    rows.constants[b, W_MAX], engine.R[(t - 1) % (engine.m + 1)], engine.A, engine.D, rows.weight,
                    rows.Y, rows.C, arriving)
        rows.Z[row] = Z + d
        wait(engine, t, rows, row)
        if entered:
            rows.books[row, WAITING] = 0
        return True
    owe_all(engine, rows, row, start, stop)
    optimize(engine, t + 1, rows, b, row, start, stop)
    charge_all(engine, rows, row, start, stop)
    wait(engine, t, rows, row)
    if entered:
        enter_now(engine, t, rows, b, row, start, stop)
    return False


cdef inline double unit(Engine engine, int64_t p, int64_t u, int64_t b) noexcept nogil:
    """What a spike that enters in step p adds to Z in the block of step u: alpha^-(p - o)."""
    return 1.0 / engine.alpha_powers[b, p - u // engine.block * engine.block + 1]


cdef void enter_now(
    Engine engine, int64_t p, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """m = 1: the spike that arrives in step p enters at once, though A and D know less than R (step p-1 adds 0)."""
    cdef int64_t k, j, e = max(p - 1, 0)
    cdef double d = unit(engine, p, e, b), r
    rows.books[row, WAITING] = 0
    rows.Z[row] += d
    if p == 0:
        return
    for k in range(start, stop):
        j = rows.target[k]
        r = engine.R[(p - 1) % 2, j]
        rows.Y[k] -= d * r
        rows.C[k] += d * (engine.D[j] - r * engine.A[j])
    if engine.sets == 2:
        for k in range(start, stop):
            j = rows.target[k]
            r = engine.R2[(p - 1) % 2, j]
            rows.Y2[k] -= d * r
            rows.C[k] += d * (engine.D2[j] - r * engine.A2[j])


cdef void owe_all(Engine engine, Rows rows, int64_t row, int64_t start, int64_t stop) noexcept nogil:
    owe(start, stop, rows.target, rows.Z[row], engine.A, engine.D, rows.Y, rows.C)
    if engine.sets == 2:
        owe(start, stop, rows.target, rows.Z[row], engine.A2, engine.D2, rows.Y2, rows.C)


cdef void charge_all(Engine engine, Rows rows, int64_t row, int64_t start, int64_t stop) noexcept nogil:
    charge(start, stop, rows.target, rows.Z[row], engine.A, engine.D, rows.Y, rows.C)
    if engine.sets == 2:
        charge(start, stop, rows.target, rows.Z[row], engine.A2, engine.D2, rows.Y2, rows.C)


cdef void advance_prefix(Engine engine, int64_t e, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Bring the row into the block of step e; spikes that waited and enter before e do so."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], f = rows.books[row, CURSOR], end
    cdef int64_t wanted = max(e, 0) // engine.block
    while True:
        if rows.books[row, WAITING] != 0:
            enter_waiting(engine, min(e, (f + 1) * engine.block), f, rows, b, row, start, stop)
        if f == wanted:
            break
        end = f % engine.end_R.shape[0]
        cross_block(start, stop, rows.target, rows.Z[row], shrink(engine, b, 1), False, engine.end_R[end],
                    engine.end_A[end], engine.end_D[end], rows.Y, rows.C)
        if engine.sets == 2:
            cross_block(start, stop, rows.target, rows.Z[row], shrink(engine, b, 3), True, engine.end_R2[end],
                        engine.end_A2[end], engine.end_D2[end], rows.Y2, rows.C)
        rows.Z[row] *= engine.alpha_powers[b, engine.block + 1]
        f += 1
    rows.books[row, CURSOR] = f


cdef inline double shrink(Engine engine, int64_t b, int64_t which) noexcept nogil:
    return kappa_power(engine, b, which, engine.block)


cdef inline double kappa_power(Engine engine, int64_t b, int64_t which, int64_t k) noexcept nogil:
    """kappa^k (which = 1) or kappa_reg^k (which = 3) of the block's targets."""
    return (engine.incoming.constants[b, KAPPA] if which == 1 else engine.incoming.constants[b, KAPPA_REG]) ** k


cdef void enter_waiting(
    Engine engine, int64_t bound, int64_t f, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """m > 1: let the spikes that wait for a step before `bound` enter, in the order of their steps."""
    cdef int64_t i, q, past, latest = rows.books[row, LATEST]
    cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
    cdef double d
    for i in range(engine.m, -1, -1):
        if not (bits >> i) & 1 or latest - i >= bound:
            continue
        q = latest - i
        d = unit(engine, q, f * engine.block, b)
        bits ^= <uint64_t> 1 << i
        rows.Z[row] += d
        if q > f * engine.block:
            past = (q - 1) % engine.past_R.shape[0]
            enter_spike(start, stop, rows.target, d, engine.past_R[past], engine.past_Q[past], rows.Y, rows.C)
            if engine.sets == 2:
                enter_spike(start, stop, rows.target, d, engine.past_R2[past], engine.past_Q2[past], rows.Y2, rows.C)
    rows.books[row, WAITING] = <int64_t> bits


cdef void close_prefix(
    Engine engine, int64_t e, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """Turn Y and Z into the traces of step e - 1 and C into what is owed."""
    cdef int64_t k
    advance_prefix(engine, e, rows, b, row)
    owe_all(engine, rows, row, start, stop)
    k = max(e, 0) % engine.block
    # at the start of a block R is 0 whatever the ring holds, and the traces are of the step before it
    rescale(engine, e, k, 1, True, rows, b, row, start, stop)
    rows.Z[row] *= engine.alpha_powers[b, k]


cdef void reopen(
    Engine engine, int64_t e, int64_t n_decay, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """Let the traces decay, bring them into the block of step e, and C back to what the sums will add to."""
    cdef int64_t k = max(e, 0) % engine.block
    rows.Z[row] *= rows.constants[b, ALPHA] ** n_decay / engine.alpha_powers[b, k]
    rescale(engine, e, k, n_decay, False, rows, b, row, start, stop)
    rows.books[row, CURSOR] = max(e, 0) // engine.block
    rows.books[row, CLOSED] = 0
    charge_all(engine, rows, row, start, stop)


cdef void rescale(
    Engine engine, int64_t e, int64_t k, int64_t n, bint to, Rows rows, int64_t b, int64_t row, int64_t start,
    int64_t stop
) noexcept nogil:
    """Between Y and ebar = kappa^(e-1-o) (Y + Z R), for both sets; `k` = e - o."""
    cdef int64_t s, now_ = (e + engine.m) % (engine.m + 1)         # row of step e - 1
    cdef double power, Z = rows.Z[row] if k > 0 else 0.0
    for s in range(engine.sets):
        power = kappa_power(engine, b, 2 * s + 1, k - 1)
        if to and s == 0:
            to_trace(start, stop, rows.target, Z, power, engine.R[now_], rows.Y)
        elif to:
            to_trace(start, stop, rows.target, Z, power, engine.R2[now_], rows.Y2)
        else:
            power = kappa_power(engine, b, 2 * s + 1, n) / power
            if s == 0:
                from_trace(start, stop, rows.target, Z, power, engine.R[now_], rows.Y)
            else:
                from_trace(start, stop, rows.target, Z, power, engine.R2[now_], rows.Y2)
