# Rows of an engine (spike.pxi) work off the window between two arrivals at once, see spike_prefix.pxi.


cdef bint arrive_prefix(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t source, int64_t ahead, total_of[::1] arriving
) noexcept nogil:
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], e = t - engine.m, hole
    cdef int64_t n_decay = t - rows.books[row, LATEST] - rows.rules[b, CUTOFF]
    cdef bint entered = engine.m == 1, fused = engine.sets == 1
    cdef double d = 0.0, Z
    if rows.books[row, CLOSED]:
        return arrive_closed(engine, t, e, n_decay, rows, b, row, source, arriving)
    advance_prefix(engine, e, rows, b, row)
    Z = rows.Z[row]
    if fused:
        if entered:
            d = unit(engine, t, e, b)
        if rows.blocks[b, DENSE]:
            hole = start + hole_of(rows.blocks, b, source, stop - start)
            descend_dense(start, hole, rows.blocks[b, TARGET] - start, Z, d, rows.constants[b, ETA],
                          rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[row_before_entry(engine, t)],
                          engine.A, engine.D, rows.weight, rows.Y, rows.C, arriving)
            descend_dense(hole, stop, rows.blocks[b, TARGET] + 1 - start, Z, d, rows.constants[b, ETA],
                          rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[row_before_entry(engine, t)],
                          engine.A, engine.D, rows.weight, rows.Y, rows.C, arriving)
        else:
            descend(start, stop, ahead, &rows.target[0], Z, d, rows.constants[b, ETA], rows.constants[b, W_MIN],
                    rows.constants[b, W_MAX], &rows.weight[0], &rows.Y[0], &rows.C[0], cells_of(engine))
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
        enter(engine, t, rows, b, row, 0)
    return False


cdef inline Cell* cells_of(Engine engine) noexcept nogil:
    return <Cell*> &engine.cells[0, 0]


cdef inline Cell* end_of(double[:, :, ::1] ends, int64_t block) noexcept nogil:
    """Sums at the end of a block."""
    return <Cell*> &ends[block % ends.shape[0], 0, 0]


cdef inline bint uses_cells(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Whether spikes arrive in the cells of the targets; in a dense block the targets are neighbours anyway."""
    return engine.sets == 1 and rows.rules[b, MODE] == PREFIX and not rows.blocks[b, DENSE]


cdef inline double unit(Engine engine, int64_t p, int64_t u, int64_t b) noexcept nogil:
    """What a spike that enters in step p adds to Z in the block of step u: alpha^-(p - o)."""
    return 1.0 / engine.alpha_powers[b, p - u // engine.block * engine.block + 1]


cdef inline int64_t entry_lag(Engine engine) noexcept nogil:
    """Steps from the arrival of a spike to its entry."""
    return 0 if engine.m == 1 else engine.m


cdef inline int64_t row_before_entry(Engine engine, int64_t t) noexcept nogil:
    """Row of R of the step before the arrival of what enters in step t."""
    return (t - entry_lag(engine) + engine.m) % (engine.m + 1)


cdef void enter(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t ahead) noexcept nogil:
    """The spike of the row that arrived `entry_lag` steps before step t enters."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], p = t - entry_lag(engine), e = t - engine.m
    cdef int64_t before = row_before_entry(engine, t)
    cdef double d = unit(engine, p, max(e, 0), b)
    rows.books[row, WAITING] &= ~(<int64_t> 1 << (rows.books[row, LATEST] - p))
    advance_prefix(engine, e, rows, b, row)
    rows.Z[row] += d
    if p == max(e, 0) // engine.block * engine.block:          # at its start all sums of a block are 0
        return
    if uses_cells(engine, rows, b):
        enter_row(start, stop, ahead, &rows.target[0], d, cells_of(engine), &rows.Y[0], &rows.C[0])
        return
    enter_apart(start, stop, rows.target, d, engine.R[before], engine.A, engine.D, rows.Y, rows.C)
    if engine.sets == 2:
        enter_apart(start, stop, rows.target, d, engine.R2[before], engine.A2, engine.D2, rows.Y2, rows.C)


cdef void owe_all(Engine engine, Rows rows, int64_t row, int64_t start, int64_t stop) noexcept nogil:
    owe(start, stop, rows.target, rows.Z[row], engine.A, engine.D, rows.Y, rows.C)
    if engine.sets == 2:
        owe(start, stop, rows.target, rows.Z[row], engine.A2, engine.D2, rows.Y2, rows.C)


cdef void charge_all(Engine engine, Rows rows, int64_t row, int64_t start, int64_t stop) noexcept nogil:
    charge(start, stop, rows.target, rows.Z[row], engine.A, engine.D, rows.Y, rows.C)
    if engine.sets == 2:
        charge(start, stop, rows.target, rows.Z[row], engine.A2, engine.D2, rows.Y2, rows.C)


cdef void advance_prefix(Engine engine, int64_t e, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Bring the row into the block of step e."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], f = rows.books[row, CURSOR]
    cdef int64_t wanted = max(e, 0) // engine.block
    while f < wanted:
        cross_block(start, stop, rows.target, rows.Z[row], shrink(engine, b, 1), end_of(engine.ends, f), rows.Y, rows.C)
        if engine.sets == 2:
            cross_block(start, stop, rows.target, rows.Z[row], shrink(engine, b, 3), end_of(engine.ends2, f), rows.Y2,
                        rows.C)
        rows.Z[row] *= engine.alpha_powers[b, engine.block + 1]
        f += 1
    rows.books[row, CURSOR] = f


cdef inline double shrink(Engine engine, int64_t b, int64_t which) noexcept nogil:
    return kappa_power(engine, b, which, engine.block)


cdef inline double kappa_power(Engine engine, int64_t b, int64_t which, int64_t k) noexcept nogil:
    """kappa^k (which = 1) or kappa_reg^k (which = 3) of the block's targets."""
    return (engine.incoming.constants[b, KAPPA] if which == 1 else engine.incoming.constants[b, KAPPA_REG]) ** k


cdef void close_prefix(
    Engine engine, int64_t e, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """Turn Y and Z into the traces of step e - 1 and C into what is owed."""
    cdef int64_t k, hole, before = (e + engine.m) % (engine.m + 1)         # row of step e - 1
    cdef double Z, Z_before, power
    advance_prefix(engine, e, rows, b, row)
    k = max(e, 0) % engine.block
    # at the start of a block R is 0 whatever the ring holds, and the traces are of the step before it
    Z = rows.Z[row]
    Z_before = Z if k > 0 else 0.0
    power = kappa_power(engine, b, 1, k - 1)
    if uses_cells(engine, rows, b):
        close_row(start, stop, rows.target, Z, Z_before, power, engine.R[before], cells_of(engine), rows.Y, rows.C)
    elif engine.sets == 1 and rows.blocks[b, DENSE]:
        hole = start + hole_of(rows.blocks, b, rows.blocks[b, SOURCE] + row - rows.blocks[b, ROW], stop - start)
        close_dense(start, hole, rows.blocks[b, TARGET] - start, Z, Z_before, power, engine.R[before], engine.A,
                    engine.D, rows.Y, rows.C)
        close_dense(hole, stop, rows.blocks[b, TARGET] + 1 - start, Z, Z_before, power, engine.R[before], engine.A,
                    engine.D, rows.Y, rows.C)
    else:
        owe_all(engine, rows, row, start, stop)
        rescale(engine, e, k, 1, True, rows, b, row, start, stop)
    rows.Z[row] *= engine.alpha_powers[b, k]


cdef bint arrive_closed(
    Engine engine, int64_t t, int64_t e, int64_t n_decay, Rows rows, int64_t b, int64_t row, int64_t source,
    total_of[::1] arriving
) noexcept nogil:
    """A spike arrives after the cutoff. Return whether it was delivered, too."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], k = max(e, 0) % engine.block, hole
    cdef int64_t before = (e + engine.m) % (engine.m + 1), enters_after = row_before_entry(engine, t)
    cdef bint enters = engine.m == 1
    cdef double d = unit(engine, t, max(t - 1, 0), b) if enters else 0.0, Z, Z_before, power
    if engine.sets == 2:
        optimize(engine, t + 1, rows, b, row, start, stop)
        reopen(engine, e, n_decay, rows, b, row, start, stop)
        wait(engine, t, rows, row)
        if enters:
            enter(engine, t, rows, b, row, 0)
        return False
    Z = rows.Z[row] * (rows.constants[b, ALPHA] ** n_decay / engine.alpha_powers[b, k])
    Z_before = Z if k > 0 else 0.0
    power = kappa_power(engine, b, 1, n_decay) / kappa_power(engine, b, 1, k - 1)
    if rows.blocks[b, DENSE]:
        hole = start + hole_of(rows.blocks, b, source, stop - start)
        reopen_dense(start, hole, rows.blocks[b, TARGET] - start, Z, Z_before, power, enters, d, rows.constants[b, ETA],
                     rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[before], engine.R[enters_after],
                     engine.A, engine.D, rows.weight, rows.Y, rows.C, arriving)
        reopen_dense(hole, stop, rows.blocks[b, TARGET] + 1 - start, Z, Z_before, power, enters, d,
                     rows.constants[b, ETA], rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[before],
                     engine.R[enters_after], engine.A, engine.D, rows.weight, rows.Y, rows.C, arriving)
    else:
        reopen_row(start, stop, rows.target, Z, Z_before, power, enters, d, rows.constants[b, ETA],
                   rows.constants[b, W_MIN], rows.constants[b, W_MAX], engine.R[before], rows.weight, rows.Y, rows.C,
                   cells_of(engine))
    rows.Z[row] = Z + d
    rows.books[row, CURSOR] = max(e, 0) // engine.block
    rows.books[row, CLOSED] = 0
    wait(engine, t, rows, row)
    if enters:
        rows.books[row, WAITING] = 0
    return True


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
