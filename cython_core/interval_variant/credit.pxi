# Interval variant: credit the synapses with the coefficients of the sweep, arrival by arrival.

cdef enum:
    TILE_BYTES = 196608   # coefficients of a tile of steps, a part of the second-level cache
    FEWEST_STEPS = 64     # of a tile that pays
    LEAST_WIDTH = 16      # of rows that it pays for
    MANY = 2              # reads of each cache line of a step's coefficients, so that all are fetched
    NONE = -1


cdef inline int64_t tile_steps(const real[:, ::1] coefficient) noexcept nogil:
    return TILE_BYTES // (max(coefficient.shape[1], 1) * <int64_t> sizeof(real))


def scratch_size(
    bint same_step,
    const int64_t[:, ::1] blocks,
    SpikeLog inputs,
    SegmentedLog heard,
    int64_t n_ports,
    const real[:, ::1] coefficient,
):
    """Numbers that `credit` writes down for the order of spikes by source; arguments as there."""
    cdef int64_t b, n, most = 0, steps = tile_steps(coefficient), n_steps = coefficient.shape[0] // n_ports
    cdef Spikes* input_log = &inputs.at
    cdef Spikes** logs
    for b in range(blocks.shape[0]):
        if is_tiled(blocks, b, steps):
            logs = heard.at if blocks[b, LOG] else &input_log
            n = heard.n if blocks[b, LOG] else 1
            most = max(most, room_for_links(same_step, blocks, b, steps, n_steps, logs, n))
    return most


def credit(
    bint same_step,
    const int64_t[:, ::1] blocks,     # IN
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    SpikeLog inputs,                  # IN
    SegmentedLog heard,               # IN
    int64_t n_ports,
    const real[:, ::1] coefficient,   # IN (T n_ports, n), from the sweep: ports of step 0, of step 1, ...
    const double[::1] scale,          # IN (n_blocks): 1, or minus learning rate to update weights at once
    real[::1] gradient,               # UPDATED, or the weights
    int64_t[::1] scratch,             # at least `scratch_size` numbers
    const int64_t[::1] shift,         # IN (n_blocks), number of a synapse less its place in `by_delay`, or NONE
    real[::1] by_delay,               # UPDATED, of synapses whose delay learns
    int64_t origin=0,                 # step of the run with which the log begins
):
    """Add scale * coefficient[t n_ports + port, target] to the gradient of a plastic synapse for each of its arrivals.

    If its delay learns, add to `by_delay` the coefficient of the step after the arrival less that of the step before,
    which is twice the derivative by the delay per unit of weight. So coefficients of step 0 are 0 then, and zeros
    for step T follow in memory.

    Parameters
    ----------
    same_step : whether a spike arrives in the step it is emitted (readouts), instead of after the delay
    """
    cdef int64_t t, b, k, n, emitted, steps = tile_steps(coefficient)
    cdef int64_t* links = &scratch[0] if scratch.shape[0] > 0 else NULL
    cdef Spikes* input_log = &inputs.at
    cdef Spikes** logs
    cdef real* delays
    cdef Coming coming
    cdef Rows rows
    with nogil:
        for b in range(blocks.shape[0]):
            if is_tiled(blocks, b, steps):
                logs = heard.at if blocks[b, LOG] else &input_log
                n = heard.n if blocks[b, LOG] else 1
                credit_tiles(same_step, blocks, b, steps, row_ptr, logs, n, n_ports, coefficient, scale[b], gradient,
                             links)
        for t in range(coefficient.shape[0] // n_ports):
            for b in range(blocks.shape[0]):
                emitted = t - lag_of(same_step, blocks, b)
                if emitted < blocks[b, SINCE] or not blocks[b, PLASTIC] or is_tiled(blocks, b, steps):
                    continue
                delays = NULL
                if by_delay.shape[0] > 0 and shift[b] != NONE:
                    delays = &by_delay[0] - shift[b]
                if not same_step and is_spread(blocks, b):
                    if blocks[b, NUMBER] == 0:
                        credit_spread(t, blocks, b, row_ptr, target, &inputs.at, heard, n_ports, coefficient, scale[b],
                                      gradient, delays)
                    continue
                if t == 0 and not same_step:
                    continue
                logs = heard.at if blocks[b, LOG] else &input_log
                n = heard.n if blocks[b, LOG] else 1
                if not blocks[b, DENSE]:
                    coming = find_coming(t, blocks, b, 1, mean_row(blocks, b, row_ptr), emitted, logs, n, n_ports,
                                         coefficient)
                    if delays == NULL and has_short_rows(blocks, b, row_ptr, target):
                        for k in range(n):
                            rows = rows_of(blocks, b, row_ptr, logs[k].ids, logs[k].ptr[emitted],
                                           logs[k].ptr[emitted + 1])
                            coming.next = credit_rows(
                                rows, &target[0], &coefficient[t * n_ports + blocks[b, PORT], 0], <real> scale[b],
                                &gradient[0], coming.next, coming.end, coming.each)
                        continue
                    fetch(coming)
                if blocks[b, WIDTH] < LEAST_WIDTH and is_full(blocks, b):
                    for k in range(n):
                        credit_full(blocks, b, row_ptr, logs[k].ids, logs[k].ptr[emitted], logs[k].ptr[emitted + 1],
                                    &coefficient[t * n_ports + blocks[b, PORT], 0], scale[b], &gradient[0])
                    continue
                for k in range(n):
                    credit_block(blocks, b, row_ptr, target, logs[k].ids, logs[k].ptr[emitted],
                                 logs[k].ptr[emitted + 1], coefficient[t * n_ports + blocks[b, PORT]], scale[b],
                                 origin + t, gradient, n_ports * coefficient.shape[1], delays)


cdef struct Coming:       # coefficients of a step that comes, which spikes will read here and there
    const char* next      # cache line that is fetched next
    const char* end
    int64_t each          # lines for each spike of the present step


cdef inline Coming find_coming(
    int64_t t, const int64_t[:, ::1] blocks, int64_t b, int64_t later, int64_t synapses, int64_t emitted,
    Spikes** logs, int64_t n_logs, int64_t n_ports, const real[:, ::1] coefficient
) noexcept nogil:
    """Find the coefficients `later` steps after step t, if many spikes arrive; else nothing.

    A spike of this step reaches so many synapses; those of that step are as many, about.
    """
    cdef int64_t k, place = (t + later) * n_ports + blocks[b, PORT], spikes = 0
    cdef int64_t n_bytes = coefficient.shape[1] * <int64_t> sizeof(real)
    cdef Coming coming
    coming.next = coming.end = NULL
    for k in range(n_logs):
        spikes += logs[k].ptr[emitted + 1] - logs[k].ptr[emitted]
    coming.each = (n_bytes // LINE) // max(spikes, 1) + 1
    if place < coefficient.shape[0] and spikes * synapses * LINE >= MANY * n_bytes:
        coming.next = <const char*> &coefficient[place, 0]
        coming.end = coming.next + n_bytes
    return coming


cdef inline void fetch(Coming coming) noexcept nogil:
    while coming.next < coming.end:
        prefetch(coming.next)
        coming.next += LINE


cdef inline int64_t lag_of(bint same_step, const int64_t[:, ::1] blocks, int64_t b) noexcept nogil:
    """Steps from the row of the log to the arrival."""
    return 0 if same_step else blocks[b, DELAY] - (1 if blocks[b, LOG] == 0 else 0)


cdef inline int64_t first_of(bint same_step, const int64_t[:, ::1] blocks, int64_t b) noexcept nogil:
    """First step with an arrival that is credited; what arrives in step 0 is lost."""
    return max(lag_of(same_step, blocks, b) + blocks[b, SINCE], 0 if same_step else 1)


cdef inline bint is_tiled(const int64_t[:, ::1] blocks, int64_t b, int64_t steps) noexcept nogil:
    """Whether it pays to credit a block source by source: small networks, not readouts."""
    return blocks[b, DENSE] and blocks[b, PLASTIC] and blocks[b, FACTORS] == 0 and steps >= FEWEST_STEPS and \
        blocks[b, WIDTH] >= LEAST_WIDTH


cdef inline bint is_repeated(const uint32_t* ids, int64_t first, int64_t i) noexcept nogil:
    """Whether the source spiked before in the step, whose spikes start at `first`: it counts once, as in NEST."""
    return i > first and ids[i] == ids[i - 1]


cdef int64_t room_for_links(
    bint same_step, const int64_t[:, ::1] blocks, int64_t b, int64_t steps, int64_t n_steps, Spikes** logs, int64_t n
) noexcept nogil:
    """Numbers that `credit_tiles` writes down: one per source, two per spike of a tile."""
    cdef int64_t lag = lag_of(same_step, blocks, b), first = first_of(same_step, blocks, b), last, k, count, most = 0
    while first < n_steps:
        last = min(first + steps, n_steps)
        count = 0
        for k in range(n):
            count += logs[k].ptr[last - lag] - logs[k].ptr[first - lag]
        most = max(most, count)
        first = last
    return blocks[b, SOURCES] - blocks[b, SOURCE] + 2 * most


cdef void credit_tiles(
    bint same_step,
    const int64_t[:, ::1] blocks,
    int64_t b,
    int64_t steps,                    # of a tile
    const int64_t[::1] row_ptr,
    Spikes** logs,
    int64_t n_logs,
    int64_t n_ports,
    const real[:, ::1] coefficient,
    real scale,
    real[::1] gradient,
    int64_t* scratch,
) noexcept nogil:
    """As `credit_block` in all steps, source by source through tiles of steps: a row is read and written once there.

    The spikes of a source are linked, in ascending steps.
    """
    cdef int64_t lag = lag_of(same_step, blocks, b), n_steps = coefficient.shape[0] // n_ports
    cdef int64_t source = blocks[b, SOURCE]
    cdef int64_t n = blocks[b, SOURCES] - source, first = first_of(same_step, blocks, b), last, s
    cdef int64_t* head = scratch
    cdef int64_t* spikes = scratch + n
    while first < n_steps:
        last = min(first + steps, n_steps)
        for s in range(n):
            head[s] = NONE
        link(first, last, lag, source, n, logs, n_logs, head, spikes)
        for s in range(n):
            if head[s] != NONE:
                credit_source(blocks, b, row_ptr, s, head[s], spikes, n_ports, coefficient, scale, gradient)
        first = last


cdef void link(
    int64_t first,
    int64_t last,
    int64_t lag,
    int64_t source,
    int64_t n,
    Spikes** logs,
    int64_t n_logs,
    int64_t* head,                    # UPDATED (n): place of the first spike of each source from `source` on
    int64_t* spikes,                  # OUT, two numbers per spike: the place of the source's next one, its arrival
) noexcept nogil:
    cdef int64_t t, i, k, place = 0, s
    for t in range(last - 1, first - 1, -1):
        for k in range(n_logs):
            for i in range(logs[k].ptr[t - lag], logs[k].ptr[t - lag + 1]):
                s = <int64_t> logs[k].ids[i] - source
                if 0 <= s < n and not is_repeated(logs[k].ids, logs[k].ptr[t - lag], i):
                    spikes[place] = head[s]
                    spikes[place + 1] = t
                    head[s] = place
                    place += 2


cdef void credit_source(
    const int64_t[:, ::1] blocks,
    int64_t b,
    const int64_t[::1] row_ptr,
    int64_t s,
    int64_t i,                        # place of its first spike
    const int64_t* spikes,
    int64_t n_ports,
    const real[:, ::1] coefficient,
    real scale,
    real[::1] gradient,
) noexcept nogil:
    cdef int64_t start = row_ptr[blocks[b, ROW] + s], length = row_ptr[blocks[b, ROW] + s + 1] - start, n
    cdef int64_t hole = hole_of(blocks, b, blocks[b, SOURCE] + s, length), column = blocks[b, TARGET]
    cdef int64_t[GROUP] row
    while length > 0 and i != NONE:
        n = 0
        while i != NONE and n < GROUP:
            row[n] = spikes[i + 1] * n_ports + blocks[b, PORT]
            i = spikes[i]
            n += 1
        credit_piece(hole, n, row, column, scale, coefficient, &gradient[start])
        if hole < length:
            credit_piece(length - hole, n, row, column + hole + 1, scale, coefficient, &gradient[start + hole])


cdef inline void credit_piece(
    int64_t width, int64_t n, const int64_t* row, int64_t column, real scale, const real[:, ::1] coefficient,
    real* gradient
) noexcept nogil:
    """Neighbouring synapses of one source: their coefficients of n steps, one after the other."""
    cdef int64_t k
    cdef const real* first = &coefficient[row[0], column]
    cdef const real* second = &coefficient[row[min(1, n - 1)], column]
    cdef const real* third = &coefficient[row[min(2, n - 1)], column]
    if n == 1:
        for k in range(width):
            gradient[k] += scale * first[k]
    elif n == 2:
        for k in range(width):
            gradient[k] = (gradient[k] + scale * first[k]) + scale * second[k]
    elif n == 3:
        for k in range(width):
            gradient[k] = ((gradient[k] + scale * first[k]) + scale * second[k]) + scale * third[k]
    else:
        add_four(width, scale, first, second, third, &coefficient[row[3], column], gradient)


cdef void credit_spread(
    int64_t t,
    const int64_t[:, ::1] blocks,
    int64_t b,                        # first block of the projection
    const int64_t[::1] row_ptr,
    const uint32_t[::1] target,
    Spikes* inputs,
    SegmentedLog heard,
    int64_t n_ports,
    const real[:, ::1] coefficient,
    real scale,
    real[::1] gradient,
    real* by_delay,                   # by number of a synapse, or NULL
) noexcept nogil:
    """All rows of the sources whose spikes arrive in step t at the shortest delay; what arrives in step 0 is lost."""
    cdef uint32_t[WIDEST] at
    cdef int64_t emitted = t - lag_of(False, blocks, b), last = 0, later, k
    cdef Spikes** logs
    while last < blocks[b, DELAYS]:
        later = blocks[b + last, DELAY] - blocks[b, DELAY]
        if t + later >= coefficient.shape[0] // n_ports:
            break
        at[last] = <uint32_t> (later * n_ports * coefficient.shape[1])
        last += 1
    if target.shape[0] == 0:
        return
    logs = heard.at if blocks[b, LOG] else &inputs
    fetch(find_coming(t, blocks, b, blocks[b + blocks[b, DELAYS] - 1, DELAY] - blocks[b, DELAY] + 1,
                      mean_row(blocks, b, row_ptr, blocks[b, DELAYS]), emitted, logs,
                      heard.n if blocks[b, LOG] else 1, n_ports, coefficient))
    for k in range(heard.n if blocks[b, LOG] else 1):
        credit_walks(t == 0, last, blocks, b, row_ptr, &target[0], at, logs[k].ids, logs[k].ptr[emitted],
                     logs[k].ptr[emitted + 1], &coefficient[t * n_ports + blocks[b, PORT], 0], scale, &gradient[0],
                     n_ports * coefficient.shape[1], by_delay)


cdef inline void credit_walks(
    int64_t first,                    # places of the delays that count: [first, last)
    int64_t last,
    const int64_t[:, ::1] blocks,
    int64_t b,
    const int64_t[::1] row_ptr,
    const uint32_t* target,
    const uint32_t* at,               # by delay, where the coefficients of its step start
    const uint32_t* ids,
    int64_t start,
    int64_t stop,
    const real* coefficient,
    real scale,
    real* gradient,
    int64_t step,                     # numbers from a coefficient to that of the step after
    real* by_delay,                   # by number of a synapse, or NULL
) noexcept nogil:
    cdef uint32_t[OFFSETS + AT_ONCE] offset
    cdef int64_t i = first_at_least(ids, start, stop, blocks[b, SOURCE]), begun, end, ahead, delay
    cdef int64_t later = rows_ahead(mean_row(blocks, b, row_ptr, blocks[b, DELAYS]))
    cdef bint is_long = mean_row(blocks, b, row_ptr) >= LONG
    cdef Walk walk
    while i < stop and ids[i] < blocks[b, SOURCES]:
        i += 1
        if is_repeated(ids, start, i - 1):
            continue
        walk = walk_of(blocks, b, row_ptr, ids[i - 1], first, last)
        ahead = walk_ahead(blocks, b, row_ptr, ids, i - 1, stop, later)
        begun = walk.k
        if is_long:
            while next_row(&walk, blocks, b, row_ptr, &delay, &end):
                if by_delay == NULL:
                    credit_row(begun, end, ahead, target, NULL, coefficient + at[delay], scale, gradient)
                else:
                    credit_delays(begun, end, ahead, target, NULL, coefficient + at[delay], scale, gradient, step,
                                  by_delay)
                begun = end
            continue
        end = write_offsets(&walk, blocks, b, row_ptr, at, offset)
        while begun < end:
            if by_delay == NULL:
                credit_row(begun, end, ahead, target, offset, coefficient, scale, gradient)
            else:
                credit_delays(begun, end, ahead, target, offset, coefficient, scale, gradient, step, by_delay)
            begun = end
            end = write_offsets(&walk, blocks, b, row_ptr, at, offset)


cdef void credit_full(
    const int64_t[:, ::1] blocks,
    int64_t b,
    const int64_t[::1] row_ptr,
    const uint32_t* ids,
    int64_t first,
    int64_t last,
    const real* coefficient,
    real scale,
    real* gradient,
) noexcept nogil:
    """As `credit_block`, where `is_full` and rows are short, such as those onto readouts."""
    cdef int64_t i = first_at_least(ids, first, last, blocks[b, SOURCE]), k, width = blocks[b, WIDTH]
    gradient += row_ptr[blocks[b, ROW]] - blocks[b, SOURCE] * width
    coefficient += blocks[b, TARGET]
    while i < last and ids[i] < blocks[b, SOURCES]:
        prefetch(gradient + ids[min(i + FULL_AHEAD, last - 1)] * width)
        if not is_repeated(ids, first, i):
            for k in range(width):
                gradient[ids[i] * width + k] += scale * coefficient[k]
        i += 1


cdef void credit_block(
    const int64_t[:, ::1] blocks,
    int64_t b,
    const int64_t[::1] row_ptr,
    const uint32_t[::1] target,
    const uint32_t* ids,
    int64_t first,
    int64_t last,
    const real[::1] coefficient,
    real each,                        # factor of coefficients
    int64_t t,                        # step of the run
    real[::1] gradient,
    int64_t step,                     # numbers from a coefficient to that of the step after
    real* by_delay,                   # by number of a synapse, or NULL
) noexcept nogil:
    cdef int64_t i = first_at_least(ids, first, last, blocks[b, SOURCE]), j, k, row, before, start, stop, hole, base
    cdef int64_t ahead
    cdef real scale = each
    cdef Found found
    row = NONE
    while i < last and ids[i] < blocks[b, SOURCES]:
        find_rows(&found, blocks, b, row_ptr, ids, &i, last)
        for j in range(found.n):
            before, row = row, found.row[j]
            start, stop = row_ptr[row], row_ptr[row + 1]
            ahead = fetch_ahead(&found, j, row_ptr, target, gradient)
            if blocks[b, FACTORS]:
                scale = <real> (each * factor_of(blocks, b, row, t))
            if row == before:  # the source spiked twice in the step: it counts once, as in NEST
                continue
            if blocks[b, DENSE]:
                hole = start + hole_of(blocks, b, blocks[b, SOURCE] + row - blocks[b, ROW], stop - start)
                base = blocks[b, TARGET] - start
                for k in range(start, hole):
                    gradient[k] += scale * coefficient[base + k]
                for k in range(hole, stop):
                    gradient[k] += scale * coefficient[base + 1 + k]
            elif by_delay == NULL:
                gather(start, stop, ahead, target, coefficient, scale, gradient)
            elif stop > start:
                credit_delays(start, stop, ahead, &target[0], NULL, &coefficient[0], scale, &gradient[0], step,
                              by_delay)


cdef inline void gather(
    int64_t start,
    int64_t stop,
    int64_t ahead,
    const uint32_t[::1] target,
    const real[::1] coefficient,
    real scale,
    real[::1] gradient,
) noexcept nogil:
    cdef int64_t k = start, end
    if ahead == 0:
        for k in range(start, stop):
            gradient[k] += scale * coefficient[target[k]]
        return
    while k < stop:
        prefetch_stride(k + ahead, &target[0], &gradient[0])
        end = k + STRIDE if k + STRIDE < stop else stop
        for k in range(k, end):
            gradient[k] += scale * coefficient[target[k]]
        k = end
