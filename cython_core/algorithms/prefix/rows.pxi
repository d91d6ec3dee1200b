# Algorithm `prefix`: rows apply the window between two arrivals in one operation, see prefix/sums.pxi.
#
# One file, because arriving, entering, closing and reopening share the small functions on crossings and factors.

cdef enum:
    FILLED = 64    # targets whose cells are filled together, 4 kB


cdef inline Present* present_of(Engine engine, int64_t t) noexcept nogil:
    """Values that depend on the step alone, cached: quotients take longer than a short row."""
    cdef Present* now = &engine.present
    cdef int64_t e = max(t - engine.m, 0)
    if now.t != t or now.size != engine.sums.block:
        now.t, now.size, now.block = t, engine.sums.block, e // engine.sums.block
        now.first, now.place = now.block * engine.sums.block, e % engine.sums.block
        now.before_entry = (t - entry_lag(engine) + engine.m) % (engine.m + 1)
        now.before_close = t % (engine.m + 1)
        now.end = 0 if engine.sums.ends.shape[0] == 0 else max(now.block - 1, 0) % engine.sums.ends.shape[0]
    return now


cdef bint arrive_prefix(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """A spike arrives. Return whether it was delivered, too."""
    cdef int64_t t = spike.t, row = spike.row
    if rows.blocks[b, FACTORS]:    # it may enter at once
        rows.factors[row, t % rows.factors.shape[1]] = spike.factor
    if rows.books[row, LATEST] != NEVER:
        return arrive_closed(engine, rows, b, spike) if rows.books[row, CLOSED] else arrive_open(engine, rows, b, spike)
    begin_row(rows, row, t, max(t - rows.settings[b].lag, 0) // engine.sums.block)
    wait(engine, t, rows, row)
    if engine.m == 1:
        enter(engine, t, rows, b, row, 0)
    return False


cdef bint arrive_open(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """A spike arrives before the cutoff. Return whether it was delivered, too."""
    cdef int64_t t = spike.t, row = spike.row, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef bint entered = engine.m == 1
    cdef double d = 0.0, Z
    cdef Crossing crossing
    engine.work += stop - start
    if engine.sums.sets == 1 and not engine.online.in_use:
        crossing = last_crossing(engine, t, rows, b, row)
        Z = rows.Z[row]
        if entered:
            d = unit_of(engine, t, t, b) * spike.factor
        if rows.blocks[b, DENSE]:
            if engine.queued == TOGETHER or (engine.queued > 0 and unlike(rows, engine.queue[0].row, row)):
                descend_queue(engine, t, rows, b, spike.arriving)
            engine.queue[engine.queued] = Descent(
                start, row, hole_of(rows, b, spike.source, stop - start), Z, d, spike.factor, crossing
            )
            engine.queued += 1
        else:
            descend_row(wide(engine), start, stop, spike.ahead, &rows.target[0], Z, d, crossing, rows.settings[b].eta,
                        low_of(rows, b, row), high_of(rows, b, row), <real> spike.factor,
                        targets_at(engine, t, crossing.end), &rows.weight[0], &rows.traces.Y[0], &rows.traces.C[0])
        rows.Z[row] = Z + d
        wait(engine, t, rows, row)
        if entered:
            rows.books[row, WAITING] = 0
        return True
    advance_prefix(engine, present_of(engine, t).block, rows, b, row)
    add_gradients(engine, rows, row, start, stop, -1)
    optimize(engine, t + engine.lead - 1, rows, b, row)
    add_gradients(engine, rows, row, start, stop, 1)
    wait(engine, t, rows, row)
    if entered:
        enter(engine, t, rows, b, row, 0)
    return False


cdef inline bint unlike(Rows rows, int64_t one, int64_t other) noexcept nogil:
    """Whether two rows have sources of different signs, so that they can't descend together."""
    return rows.signs.shape[0] > 0 and rows.signs[one] != rows.signs[other]


cdef void descend_queue(Engine engine, int64_t t, Rows rows, int64_t b, real* arriving) noexcept nogil:
    """Apply queued arrivals of step t: `descend_row` for dense rows.

    Between targets that one of the rows lacks, all rows have the same targets.
    """
    cdef int64_t i, last, first = 0, width = rows.blocks[b, WIDTH]
    while first < width:
        last = width
        for i in range(engine.queued):
            if first <= engine.queue[i].hole < last:
                last = engine.queue[i].hole
        descend_part(engine, t, rows, b, first, last, arriving)
        first = last
        if first < width:
            descend_part(engine, t, rows, b, first, first + 1, arriving)
            first += 1
    engine.queued = 0


cdef void descend_part(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t first, int64_t last, real* arriving
) noexcept nogil:
    """Update targets [first, last): each queued row has all of them, or lacks the only one."""
    cdef int64_t i, k, done = 0, count = 0, n = last - first, j = rows.blocks[b, TARGET] + first
    cdef double eta = rows.settings[b].eta
    cdef real low = low_of(rows, b, engine.queue[0].row), high = high_of(rows, b, engine.queue[0].row)
    cdef Row[TOGETHER] found
    cdef Neighbours at
    cdef Descent* row
    if n == 0:
        return
    at = Neighbours(&engine.sums.R[row_before_entry(engine, t), j], &engine.sums.A[j], &engine.sums.D[j],
                    &arriving[j])
    for i in range(engine.queued):
        row = &engine.queue[i]
        if row.hole != first:
            k = row.start + first - (first > row.hole)
            cross(k, k + n, &rows.target[0], row.crossing, &rows.traces.Y[0], &rows.traces.C[0])
            found[count] = Row(&rows.weight[k], &rows.traces.Y[k], &rows.traces.C[k], row.Z, row.d, row.Z + row.d,
                               <real> row.factor)
            count += 1
    if count == TOGETHER:
        descend_four(n, eta, low, high, at, found[0], found[1], found[2], found[3])
        return
    if count >= 2:
        descend_two(n, eta, low, high, at, found[0], found[1])
        done = 2
    if done < count:
        descend_one(n, eta, low, high, at, found[done])


cdef inline Cell* cells_of(Engine engine) noexcept nogil:
    return <Cell*> &engine.sums.cells[0, 0, 0]


cdef inline int64_t wide(Engine engine) noexcept nogil:
    """2 if an `End` follows each cell, else 1."""
    return engine.sums.cells.shape[1]


cdef inline Targets targets_at(Engine engine, int64_t t, const End* end) noexcept nogil:
    """Sums of the targets in step t; `end`: of the latest block, as in `Crossing`."""
    cdef const End* interleaved = <End*> cells_of(engine) + 1
    if wide(engine) == 2:
        return Targets(cells_of(engine), interleaved, &interleaved.R_before)
    return Targets(cells_of(engine), end, &engine.sums.R[row_before_close(engine, t), 0])


cdef inline void fill_cells_before(Engine engine, int64_t t) noexcept nogil:
    """Fill cells with sums for arrivals of step t; some targets at a time, whose cells fit into the first cache."""
    cdef int64_t n = engine.sums.A.shape[0], block = present_of(engine, t).block, j = 0, count
    cdef int64_t entry = row_before_entry(engine, t), before = row_before_close(engine, t)
    cdef const End* end = NULL
    if wide(engine) == 2 and 0 < block != engine.block_beside:
        end = end_of(engine.sums.ends, block - 1)
    while j < n:
        count = min(<int64_t> FILLED, n - j)
        fill_cells(count, wide(engine), &engine.sums.R[entry, j], &engine.sums.A[j], &engine.sums.D[j],
                   &engine.neurons.arriving[0, j], cells_of(engine) + wide(engine) * j)
        if wide(engine) == 2:
            fill_beside(count, &engine.sums.R[before, j], end, <End*> (cells_of(engine) + 2 * j + 1))
            end = NULL if end == NULL else end + count
        j += count
    engine.block_beside = block


cdef inline End* end_of(double[:, :, ::1] ends, int64_t block) noexcept nogil:
    """Sums at the end of a block."""
    return <End*> &ends[block % ends.shape[0], 0, 0]


cdef inline bint uses_cells(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Whether spikes arrive in the cells of the targets; in a dense block targets are neighbours."""
    cdef bint plain = engine.sums.sets == 1 and not engine.online.in_use
    return plain and rows.settings[b].algorithm == PREFIX and not rows.blocks[b, DENSE]


cdef inline double unit_of(Engine engine, int64_t t, int64_t p, int64_t b) noexcept nogil:
    """Increment of Z by a spike that enters in step p, in the block of step t - m: alpha^-(p - o)."""
    return 1.0 / engine.sums.alpha_powers[b, p - present_of(engine, t).first + 1]


cdef inline int64_t entry_lag(Engine engine) noexcept nogil:
    """Steps from the arrival of a spike to its entry."""
    return 0 if engine.m == 1 else engine.m


cdef inline int64_t row_before_entry(Engine engine, int64_t t) noexcept nogil:
    """Row of R of the step before the arrival of spikes that enter in step t."""
    return present_of(engine, t).before_entry


cdef inline int64_t row_before_close(Engine engine, int64_t t) noexcept nogil:
    """Row of R of the last step of the window that ends in step t."""
    return present_of(engine, t).before_close


cdef void enter(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t ahead) noexcept nogil:
    """Let the spike of the row enter that arrived `entry_lag` steps before step t."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], p = t - entry_lag(engine)
    cdef int64_t s, before = row_before_entry(engine, t)
    cdef double d = unit_of(engine, t, p, b)
    cdef Filtered of
    if rows.blocks[b, FACTORS]:
        d *= rows.factors[row, p % rows.factors.shape[1]]
    engine.work += stop - start
    rows.books[row, WAITING] &= ~(<int64_t> 1 << (rows.books[row, LATEST] - p))
    advance_prefix(engine, present_of(engine, t).block, rows, b, row)
    rows.Z[row] += d
    if p == present_of(engine, t).first:                                 # at its start all sums of a block are 0
        return
    if engine.online.in_use:
        enter_online(engine, rows, row, before, d)
        return
    if uses_cells(engine, rows, b):
        enter_row(wide(engine), start, stop, ahead, &rows.target[0], d, targets_at(engine, t, NULL), &rows.traces.Y[0],
                  &rows.traces.C[0])
        return
    for s in range(engine.sums.sets):
        of = sums_of(engine, rows, s, before)
        enter_apart(start, stop, &rows.target[0], d, of.R, of.A, of.D, of.Y, &rows.traces.C[0])


cdef struct Filtered:  # sums of one of the two filters, and Y of synapses
    double* R
    double* A
    double* D
    real* Y


cdef inline Filtered sums_of(Engine engine, Rows rows, int64_t s, int64_t row) noexcept nogil:
    """Sums of set s, with R at index `row`."""
    if s == 0:
        return Filtered(&engine.sums.R[row, 0], &engine.sums.A[0], &engine.sums.D[0], &rows.traces.Y[0])
    return Filtered(&engine.sums.R2[row, 0], &engine.sums.A2[0], &engine.sums.D2[0], &rows.traces.Y2[0])


cdef void add_gradients(
    Engine engine, Rows rows, int64_t row, int64_t start, int64_t stop, int64_t sign
) noexcept nogil:
    """Convert C to minus the gradient since C was set (sign -1), or back (1)."""
    cdef int64_t s
    cdef Filtered of
    if engine.online.in_use:
        add_gradient_online(engine, rows, row, start, stop, sign)
        return
    for s in range(engine.sums.sets):
        of = sums_of(engine, rows, s, 0)
        add_gradient(start, stop, sign, &rows.target[0], rows.Z[row], of.A, of.D, of.Y, &rows.traces.C[0])


cdef void advance_prefix(Engine engine, int64_t wanted, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Bring the row into a block of the sums."""
    cdef int64_t start = rows.row_ptr[row], stop = rows.row_ptr[row + 1], end
    cdef int64_t ahead = 0 if is_short(rows, b) else FURTHER
    cdef Crossing crossing
    while rows.books[row, CURSOR] < wanted:
        engine.work += stop - start
        if engine.online.in_use:
            end = rows.books[row, CURSOR] % engine.online.ends.shape[0]
            cross_online(rows, row, engine.sums.alpha_powers[b, engine.sums.block + 1], shrink(engine, b, 1),
                         engine.online.ends[end], engine.online.end_factors[end, 0], engine.online.end_factors[end, 1])
            continue
        crossing = next_crossing(engine, rows, b, row)
        cross_row(start, stop, ahead, wide(engine), &rows.target[0], crossing, &rows.traces.Y[0], &rows.traces.C[0])
        if engine.sums.sets == 2:
            crossing.end, crossing.shrink = end_of(engine.sums.ends2, rows.books[row, CURSOR] - 1), shrink(engine, b, 3)
            cross_row(start, stop, ahead, wide(engine), &rows.target[0], crossing, &rows.traces.Y2[0],
                      &rows.traces.C[0])


cdef inline Crossing next_crossing(Engine engine, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Advance Z and the state of the row to the next block; return the step for its synapses."""
    cdef Crossing crossing = Crossing(NULL, rows.Z[row], shrink(engine, b, 1))
    if rows.books[row, CURSOR] == engine.present.block - 1:
        crossing.end = <End*> &engine.sums.ends[engine.present.end, 0, 0]
    else:
        crossing.end = end_of(engine.sums.ends, rows.books[row, CURSOR])
    rows.Z[row] *= engine.sums.alpha_powers[b, engine.sums.block + 1]
    rows.books[row, CURSOR] += 1
    return crossing


cdef inline Crossing last_crossing(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """As `advance_prefix` in step t, except that synapses have still to cross the last end of a block."""
    cdef int64_t wanted = present_of(engine, t).block
    if rows.books[row, CURSOR] < wanted - 1:
        advance_prefix(engine, wanted - 1, rows, b, row)
    if rows.books[row, CURSOR] < wanted:
        return next_crossing(engine, rows, b, row)
    return Crossing(NULL, 0.0, 0.0)


cdef inline double shrink(Engine engine, int64_t b, int64_t which) noexcept nogil:
    if which == 1:
        return kept_power(&engine.of_block, engine.incoming.settings[b].kappa, engine.sums.block)
    return kappa_power(engine, b, which, engine.sums.block)


cdef inline double kappa_power(Engine engine, int64_t b, int64_t which, int64_t k) noexcept nogil:
    """kappa^k (which = 1) or kappa_reg^k (which = 3) of the block's targets."""
    return power_of(engine.incoming.settings[b].kappa if which == 1 else engine.incoming.settings[b].kappa_reg, k)


cdef void close_prefix(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t following
) noexcept nogil:
    """Convert Y and Z to the traces of step t - m - 1, and C to the pending gradient."""
    cdef int64_t k, hole, after, n, place, i, j, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef int64_t before = row_before_close(engine, t)
    cdef double Z, Z_before, power
    cdef Crossing crossing = Crossing(NULL, 0.0, 0.0)
    engine.work += stop - start
    if uses_cells(engine, rows, b):
        crossing = last_crossing(engine, t, rows, b, row)
    else:
        advance_prefix(engine, present_of(engine, t).block, rows, b, row)
    k = present_of(engine, t).place
    # at the start of a block R is 0 whatever the ring holds, and the traces are of the step before it
    Z = rows.Z[row]
    Z_before = Z if k > 0 else 0.0
    power = kept_power(&engine.of_place, engine.incoming.settings[b].kappa, k - 1)
    if uses_cells(engine, rows, b):
        close_row(wide(engine), start, stop, 0 if is_short(rows, b) else FURTHER, &rows.target[0], Z,
                  Z_before, power, crossing, targets_at(engine, t, crossing.end), &rows.traces.Y[0], &rows.traces.C[0])
    elif engine.sums.sets == 1 and rows.blocks[b, DENSE]:
        hole = hole_of(rows, b, rows.blocks[b, SOURCE] + row - rows.blocks[b, ROW], stop - start)
        for after in range(2):
            n = part_of(after, hole, rows.blocks[b, WIDTH], &place)
            j, i = rows.blocks[b, TARGET] + place, start + place - after
            if n > 0:
                close_dense(n, Z, Z_before, power, &engine.sums.R[before, j], &engine.sums.A[j], &engine.sums.D[j],
                            &rows.traces.Y[i], &rows.traces.C[i])
    else:
        add_gradients(engine, rows, row, start, stop, -1)
        rescale(engine, t - engine.m, k, 1, True, rows, b, row, start, stop)
    rows.Z[row] *= engine.sums.alpha_powers[b, k]


cdef bint arrive_closed(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """A spike arrives after the cutoff. Return whether it was delivered, too."""
    cdef int64_t t = spike.t, row = spike.row, start = rows.row_ptr[row], stop = rows.row_ptr[row + 1]
    cdef int64_t e = t - engine.m, hole, after, n
    cdef int64_t k = present_of(engine, t).place, n_decay = t - rows.books[row, LATEST] - rows.settings[b].cutoff
    cdef int64_t place, i, j
    cdef int64_t before = row_before_close(engine, t), enters_after = row_before_entry(engine, t)
    cdef bint enters = engine.m == 1
    cdef double d = unit_of(engine, t, t, b) * spike.factor if enters else 0.0, Z, Z_before, power
    engine.work += stop - start
    if engine.sums.sets == 2:
        optimize(engine, t + engine.lead - 1, rows, b, row)
        reopen(engine, e, n_decay, rows, b, row, start, stop)
        wait(engine, t, rows, row)
        if enters:
            enter(engine, t, rows, b, row, 0)
        return False
    Z = rows.Z[row] * (power_of(rows.settings[b].alpha, n_decay) / engine.sums.alpha_powers[b, k])
    Z_before = Z if k > 0 else 0.0
    power = kappa_power(engine, b, 1, n_decay)
    power /= kept_power(&engine.of_place, engine.incoming.settings[b].kappa, k - 1)
    if rows.blocks[b, DENSE]:
        if engine.queued:
            descend_queue(engine, t, rows, b, spike.arriving)
        hole = hole_of(rows, b, spike.source, stop - start)
        for after in range(2):
            n = part_of(after, hole, rows.blocks[b, WIDTH], &place)
            j, i = rows.blocks[b, TARGET] + place, start + place - after
            if n > 0:
                reopen_dense(n, Z, Z_before, power, enters, d, rows.settings[b].eta, low_of(rows, b, row),
                             high_of(rows, b, row), <real> spike.factor, &engine.sums.R[before, j],
                             &engine.sums.R[enters_after, j], &engine.sums.A[j], &engine.sums.D[j], &rows.weight[i],
                             &rows.traces.Y[i], &rows.traces.C[i], &spike.arriving[j])
    else:
        reopen_row(wide(engine), start, stop, spike.ahead, &rows.target[0], Z, Z_before, power, enters, d,
                   rows.settings[b].eta, low_of(rows, b, row), high_of(rows, b, row), <real> spike.factor,
                   targets_at(engine, t, NULL), &rows.weight[0], &rows.traces.Y[0], &rows.traces.C[0])
    rows.Z[row] = Z + d
    rows.books[row, CURSOR] = present_of(engine, t).block
    rows.books[row, CLOSED] = 0
    wait(engine, t, rows, row)
    if enters:
        rows.books[row, WAITING] = 0
    return True


cdef void reopen(
    Engine engine, int64_t e, int64_t n_decay, Rows rows, int64_t b, int64_t row, int64_t start, int64_t stop
) noexcept nogil:
    """Let traces decay, convert them to Y and Z in the block of step e, and C back to the form for sums."""
    cdef int64_t k = max(e, 0) % engine.sums.block
    rows.Z[row] *= power_of(rows.settings[b].alpha, n_decay) / engine.sums.alpha_powers[b, k]
    rescale(engine, e, k, n_decay, False, rows, b, row, start, stop)
    rows.books[row, CURSOR] = max(e, 0) // engine.sums.block
    rows.books[row, CLOSED] = 0
    add_gradients(engine, rows, row, start, stop, 1)


cdef void rescale(
    Engine engine, int64_t e, int64_t k, int64_t n, bint to, Rows rows, int64_t b, int64_t row, int64_t start,
    int64_t stop
) noexcept nogil:
    """Convert between Y and ebar = kappa^(e-1-o) (Y + Z R), for both sets; `k` = e - o."""
    cdef int64_t s, now_ = row_before_close(engine, e + engine.m)
    cdef Filtered of
    cdef double power, Z = rows.Z[row] if k > 0 else 0.0
    for s in range(engine.sums.sets):
        of = sums_of(engine, rows, s, now_)
        power = kappa_power(engine, b, 2 * s + 1, k - 1)
        if to:
            to_trace(start, stop, &rows.target[0], Z, power, of.R, of.Y)
        else:
            power = kappa_power(engine, b, 2 * s + 1, n) / power
            from_trace(start, stop, &rows.target[0], Z, power, of.R, of.Y)


cdef void catch_up_prefix(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    advance_prefix(engine, present_of(engine, t).block, rows, b, row)


cdef void end_prefix(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t emitted, const Spikes* log
) noexcept nogil:
    """Let spikes of an earlier step enter, and close rows at the cutoff."""
    if 0 < entry_lag(engine) <= emitted:
        enter_spikes(engine, t, emitted - entry_lag(engine), rows, b, log.ids, log.ptr)
    end_at_cutoff(engine, t, rows, b, emitted, log)


cdef void enter_spikes(
    Engine engine, int64_t t, int64_t emitted, Rows rows, int64_t b, const uint32_t* ids, const int64_t* ptr
) noexcept nogil:
    """Let spikes of step `emitted` enter, unless they arrived before learning began."""
    cdef int64_t row, ahead, p = t - entry_lag(engine), stop = ptr[emitted - engine.channel.base + 1]
    cdef int64_t i = first_at_least(ids, ptr[emitted - engine.channel.base], stop, rows.blocks[b, SOURCE])
    while i < stop and ids[i] < rows.blocks[b, SOURCES]:
        row = row_of(rows, b, ids[i])
        if row < 0:
            i += 1
            continue
        if i + 1 < stop and ids[i + 1] == ids[i]:  # a source counts once per step
            pass
        elif rows.row_ptr[row] < rows.row_ptr[row + 1] and rows.books[row, LATEST] >= p and \
                (<uint64_t> rows.books[row, WAITING] >> (rows.books[row, LATEST] - p)) & 1:
            ahead = row_ahead(rows, b, ids, i, stop, row) - rows.row_ptr[row]
            enter(engine, t, rows, b, row, ahead)
        i += 1


algorithms[PREFIX].arrive, algorithms[PREFIX].end_windows = arrive_prefix, end_prefix
algorithms[PREFIX].fold, algorithms[PREFIX].catch_up, algorithms[PREFIX].close = fold, catch_up_prefix, close_prefix
