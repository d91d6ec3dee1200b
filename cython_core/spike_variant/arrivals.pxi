# Arrival of spikes at the rows of an engine (engine.pxi), which then learn.

cdef enum:
    AHEAD = 4     # rows to the one whose state is prefetched
    SHORT = 24    # synapses of short rows, on average
    LISTED = 64   # rows to close that are looked up together


cdef void deliver_incoming(Engine engine, int64_t t) noexcept nogil:
    """`deliver_all` for neurons, through their cells for blocks that learn by cells."""
    cdef int64_t b
    cdef bint inside = False, wanted
    for b in range(engine.incoming.blocks.shape[0]):
        if engine.ring.shape[0] > 0 and is_spread_static(engine.incoming, b):
            continue
        if engine.flushed != NEVER and t >= engine.flushed + engine.incoming.settings[b].lag:
            continue    # the last arrival was earlier
        wanted = engine.learns and engine.sums.cells.shape[0] > 0 and uses_cells(engine, engine.incoming, b)
        if wanted and not inside:
            fill_cells_before(engine, t)
        elif inside and not wanted:
            take_arriving(engine.neurons.arriving[0], cells_of(engine), wide(engine))
        inside = wanted
        deliver_block_of(engine, t, engine.incoming, b, inside,
                         engine.neurons.arriving[engine.incoming.blocks[b, PORT]])
    if inside:
        take_arriving(engine.neurons.arriving[0], cells_of(engine), wide(engine))


cdef inline void deliver_all(Engine engine, int64_t t, Rows rows, real[::1] arriving) noexcept nogil:
    """At arrivals of step t apply updates and deliver; then close rows at the cutoff, fold old rows."""
    cdef int64_t b
    for b in range(rows.blocks.shape[0]):
        deliver_block_of(engine, t, rows, b, False, arriving)


cdef inline void deliver_block_of(
    Engine engine, int64_t t, Rows rows, int64_t b, bint inside, real[::1] arriving
) noexcept nogil:
    cdef int64_t k, emitted = t - lag_of(rows, b), place = emitted - engine.channel.base
    cdef Spikes* one = &engine.channel.own.at if rows.from_own else &engine.channel.inputs.at
    cdef Segments logs = Segments(&one, 1) if rows.from_own else segments_of(rows, b, &one, engine.channel.received)
    cdef bint drawn = inside and is_drawn(engine, rows, b)
    cdef const Algorithm* of = algorithm_of(rows, b)
    if drawn:
        if rows.blocks[b, NUMBER] == 0:
            deliver_drawn(engine, t, rows, b, logs.at, logs.n, arriving)
            if rows.settings[b].cutoff >= 0:
                end_drawn(engine, t, rows, b, logs.at, logs.n)
    elif emitted >= rows.blocks[b, SINCE]:
        for k in range(logs.n):
            if engine.learns and of.arrive != NULL:
                deliver_spikes(engine, t, rows, b, logs.at[k], inside, arriving)
            elif rows.sums != NULL:
                add_spikes(rows, b, logs.at[k], place, t, rows.sums)
            else:
                deliver_block(rows, b, logs.at[k], place, t, arriving)
        if engine.queued:
            descend_queue(engine, t, rows, b, <real*> &arriving[0])
    if rows.watched.synapses.shape[0] > 0:
        note_weights(engine, t, rows, b)
    if engine.learns and of.end_windows != NULL and not drawn:
        for k in range(logs.n):
            of.end_windows(engine, t, rows, b, emitted, logs.at[k])
    if engine.learns and of.fold != NULL and is_last(rows, b):
        of.fold(engine, t, rows, b)


cdef inline void deliver_spikes(
    Engine engine, int64_t t, Rows rows, int64_t b, const Spikes* log, bint inside, real[::1] arriving
) noexcept nogil:
    """Deliver the spikes of a segment that arrive in step t at plastic rows."""
    cdef const uint32_t* ids = log.ids
    cdef int64_t emitted = t - lag_of(rows, b), row, ahead, stop = log.ptr[emitted - engine.channel.base + 1]
    cdef int64_t i = first_at_least(ids, log.ptr[emitted - engine.channel.base], stop, rows.blocks[b, SOURCE])
    cdef bint short = is_short(rows, b)
    cdef Arrival spike
    if short:
        fetch_first(rows, b, ids, i, stop)
    while i < stop and ids[i] < rows.blocks[b, SOURCES]:
        if rows.blocks[b, NUMBER] == 0:
            rows.emitted[rows.settings[b].emitted + ids[i] - rows.blocks[b, SOURCE]] = emitted
        row = row_of(rows, b, ids[i])
        if row < 0:
            i += 1
            continue
        if short:
            fetch_row(rows, b, ids, i, stop, row)
        elif i + AHEAD < stop and ids[i + AHEAD] < rows.blocks[b, SOURCES] and not rows.blocks[b, BITS]:
            prefetch_books(rows, row + (<int64_t> ids[i + AHEAD] - ids[i]) * rows.blocks[b, DELAYS])
        if has_books(rows, b, row):
            ahead = 0 if short else row_ahead(rows, b, ids, i, stop, row) - rows.row_ptr[row]
            spike = Arrival(t, row, ids[i], ahead, factor_of(rows, b, row, t), <real*> &arriving[0])
            deliver_spike(engine, rows, b, &spike, inside, arriving)
        i += 1


cdef inline void deliver_spike(
    Engine engine, Rows rows, int64_t b, const Arrival* spike, bint inside, real[::1] arriving
) noexcept nogil:
    cdef int64_t k, row = spike.row
    cdef bint delivered = False
    if rows.books[row, LATEST] == spike.t:
        learn_again(rows, row)
    else:
        delivered = arrive(engine, rows, b, spike)
        if rows.blocks[b, FACTORS]:    # overwrites a spike that has entered
            rows.factors[row, spike.t % rows.factors.shape[1]] = spike.factor
    if delivered:
        return
    if inside:
        for k in range(rows.row_ptr[row], rows.row_ptr[row + 1]):
            cells_of(engine)[wide(engine) * rows.target[k]].arriving += <real> spike.factor * rows.weight[k]
    elif rows.sums != NULL:
        add_row_exactly(rows, row, spike.factor, rows.sums)
    else:
        if engine.queued:                  # a target adds its weights in the order of the sources
            descend_queue(engine, spike.t, rows, b, <real*> &arriving[0])
        add_row(rows, b, spike.source, row, <real> spike.factor, arriving)


cdef void note_weights(Engine engine, int64_t t, Rows rows, int64_t b) noexcept nogil:
    """Record the weights of watched synapses at which a spike arrives in step t."""
    cdef int64_t k
    for k in range(rows.watched.synapses.shape[0]):
        if rows.watched.synapses[k, 0] == b and rows.books[rows.watched.synapses[k, 1], LATEST] == t:
            rows.watched.weights[t - engine.sample.origin, k] = rows.weight[rows.watched.synapses[k, 2]]


cdef inline void learn_again(Rows rows, int64_t row) noexcept nogil:
    """Take a second spike of a source in a step, as in NEST: an update without gradient, for learning no new spike."""
    if rows.rates.first.shape[0] > 0:
        rows.rates.first[row] = NEVER


cdef void end_at_cutoff(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t emitted, const Spikes* log
) noexcept nogil:
    """Close rows whose latest spike reaches the cutoff."""
    if 0 <= rows.settings[b].cutoff <= emitted:
        close_rows(engine, t, emitted - rows.settings[b].cutoff, rows, b, log.ids, log.ptr)


cdef inline bint is_last(Rows rows, int64_t b) noexcept nogil:
    """Whether the block is the last one of its projection."""
    return rows.blocks[b, NUMBER] == rows.blocks[b, DELAYS] - 1


cdef inline bint has_books(Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Whether arrivals at the row are noted: it has synapses, or may receive some."""
    return rows.row_ptr[row] < rows.row_ptr[row + 1] or rows.settings[b].moves


cdef inline void prefetch_books(Rows rows, int64_t row) noexcept nogil:
    prefetch(&rows.row_ptr[row])
    prefetch(&rows.books[row, 0])
    prefetch(&rows.books[row, 4])
    prefetch(&rows.Z[row])


cdef inline bint is_short(Rows rows, int64_t b) noexcept nogil:
    """Whether the rows of the block are so short that each is prefetched as a whole."""
    cdef int64_t first = rows.blocks[b, ROW], last = first + rows.blocks[b, ROWS]
    return rows.blocks[b, DELAYS] > 1 and not rows.blocks[b, BITS] and \
        rows.row_ptr[last] - rows.row_ptr[first] <= SHORT * rows.blocks[b, ROWS]


cdef inline int64_t later_row(
    Rows rows, int64_t b, const uint32_t* ids, int64_t i, int64_t later, int64_t stop, int64_t row
) noexcept nogil:
    """The row of a later spike of the block, `row` of spike i if there is none; all rows exist."""
    if later >= stop or ids[later] >= rows.blocks[b, SOURCES]:
        return row
    return row + (<int64_t> ids[later] - ids[i]) * rows.blocks[b, DELAYS]


cdef inline void fetch_first(Rows rows, int64_t b, const uint32_t* ids, int64_t i, int64_t stop) noexcept nogil:
    """Prefetch for the first spikes of a block of short rows."""
    cdef int64_t k
    for k in range(i, min(i + 2 * AHEAD, stop)):
        if ids[k] < rows.blocks[b, SOURCES]:
            prefetch_books(rows, row_of(rows, b, ids[k]))
    for k in range(i, min(i + AHEAD, stop)):
        if ids[k] < rows.blocks[b, SOURCES]:
            fetch_synapses(rows, row_of(rows, b, ids[k]), True)


cdef inline void fetch_row(
    Rows rows, int64_t b, const uint32_t* ids, int64_t i, int64_t stop, int64_t row
) noexcept nogil:
    """Prefetch for later spikes of a block of short rows."""
    prefetch_books(rows, later_row(rows, b, ids, i, i + 2 * AHEAD, stop, row))
    fetch_synapses(rows, later_row(rows, b, ids, i, i + AHEAD, stop, row), True)


cdef inline void fetch_synapses(Rows rows, int64_t row, bint weights) noexcept nogil:
    """Prefetch synapses of a row: of one or two cache lines, mostly, without a branch, which would be mispredicted."""
    cdef int64_t k = rows.row_ptr[row], last = rows.row_ptr[row + 1] - 1, line = 64 // <int64_t> sizeof(real)
    if last < k:
        return
    fetch_synapse(rows, k, weights)
    fetch_synapse(rows, min(k + line, last), weights)
    fetch_synapse(rows, last, weights)
    k += 2 * line
    while k < last:
        fetch_synapse(rows, k, weights)
        k += line


cdef inline void fetch_synapse(Rows rows, int64_t k, bint weights) noexcept nogil:
    cdef int64_t trace
    prefetch(&rows.target[k])
    if weights:
        prefetch(&rows.weight[k])
    prefetch(&rows.traces.Y[k])
    prefetch(&rows.traces.C[k])
    if rows.traces.eps.shape[0] > 0:
        prefetch(&rows.traces.eps[k])
    if rows.traces.zbar.shape[0] > 0:
        prefetch(&rows.traces.zbar[k])
    if rows.traces.Y2.shape[0] > 0:
        prefetch(&rows.traces.Y2[k])
    for trace in range(rows.traces.of_model.shape[0]):
        prefetch(&rows.traces.of_model[trace, k])


cdef void close_rows(
    Engine engine, int64_t t, int64_t emitted, Rows rows, int64_t b, const uint32_t* ids, const int64_t* ptr
) noexcept nogil:
    """Close the rows whose latest spike was emitted in step `emitted`: they reach the cutoff.

    Rows with a later arrival before the cutoff stay open.
    """
    cdef int64_t row, k, count, later, cutoff = rows.settings[b].cutoff, stop = ptr[emitted - engine.channel.base + 1]
    cdef int64_t first = rows.blocks[b, SOURCE], last = rows.blocks[b, SOURCES], place = rows.settings[b].emitted
    cdef int64_t i = first_at_least(ids, ptr[emitted - engine.channel.base], stop, first)
    cdef bint short = is_short(rows, b)
    cdef int64_t[LISTED] found
    while i < stop and ids[i] < last:
        count = 0
        while i < stop and ids[i] < last and count < LISTED:
            later = rows.emitted[place + ids[i] - first]
            if not emitted < later < emitted + cutoff:
                found[count] = row_of(rows, b, ids[i])
                count += found[count] >= 0
            i += 1
        for k in range(min(count, <int64_t> 2 * AHEAD)):
            prefetch_books(rows, found[k])
        for k in range(min(count, <int64_t> AHEAD) if short else 0):
            fetch_synapses(rows, found[k], False)
        for k in range(count):
            row = found[k]
            if k + 2 * AHEAD < count:
                prefetch_books(rows, found[k + 2 * AHEAD])
            if short and k + AHEAD < count and rows.books[found[k + AHEAD], LATEST] == t - cutoff:
                fetch_synapses(rows, found[k + AHEAD], False)
            if has_books(rows, b, row) and rows.books[row, LATEST] == t - cutoff and not rows.books[row, CLOSED]:
                # a source that spiked twice in a step is listed twice
                algorithm_of(rows, b).close(engine, t, rows, b, row, found[k + 1] if k + 1 < count else row)
                rows.books[row, CLOSED] = 1


cdef inline bint arrive(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """At an arrival apply the window since the latest one, update the weights, let the spike wait.

    Return whether it was delivered, too.
    """
    if rows.rates.first.shape[0] > 0 and rows.books[spike.row, LATEST] != NEVER:
        take_rate(engine, rows, b, spike)
    return algorithm_of(rows, b).arrive(engine, rows, b, spike)


cdef inline void take_rate(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """Set the learning rate as of the row's latest update; before the first update, the initial rate."""
    cdef int64_t k = rows.rates.since.shape[0] - 1, latest = rows.books[spike.row, LATEST]
    if latest == rows.rates.first[spike.row]:
        k = 0
    while k > 0 and rows.rates.since[k] > latest:
        k -= 1
    if rows.rates.values[k, b] != rows.settings[b].eta:
        if engine.queued:                      # queued rows have another rate
            descend_queue(engine, spike.t, rows, b, spike.arriving)
        rows.settings[b].eta = rows.rates.values[k, b]


cdef inline void begin_row(Rows rows, int64_t row, int64_t t, int64_t cursor) noexcept nogil:
    """The first spike starts the bookkeeping of a row and updates nothing."""
    rows.books[row, CURSOR] = cursor
    if rows.rates.first.shape[0] > 0:
        rows.rates.first[row] = t


cdef void wait(Engine engine, int64_t t, Rows rows, int64_t row) noexcept nogil:
    """Note the arrival: bits for arrivals of the latest m steps, a count of older ones."""
    cdef int64_t i, gap, latest = rows.books[row, LATEST]
    cdef uint64_t bits = <uint64_t> rows.books[row, WAITING]
    gap = t - latest
    if bits != 0 and latest != NEVER:
        for i in range(max(engine.m - gap + 1, <int64_t> 0), engine.m + 1):
            if (bits >> i) & 1:
                rows.books[row, OLDER] += 1
                if rows.older.shape[0] > 0:
                    rows.older[row] += rows.factors[row, (latest - i) % rows.factors.shape[1]]
        if gap > engine.m:
            bits = 0
        else:
            bits = (bits << gap) & ((<uint64_t> 2 << engine.m) - 1)
    rows.books[row, WAITING] = <int64_t> (bits | 1)
    rows.books[row, LATEST] = t


cdef void fold(Engine engine, int64_t t, Rows rows, int64_t b) noexcept nogil:
    """Apply steps before they leave the histories unread, in all rows of the projection."""
    cdef int64_t row, first = rows.blocks[b, ROW]
    cdef int64_t every = engine.learners.fold_steps if rows.settings[b].rule >= 0 else engine.fold_steps
    if t % every != 0 or 0 <= rows.settings[b].cutoff <= engine.fold_steps:
        return
    for row in range(first, first + rows.blocks[b, ROWS]):
        if rows.books[row, LATEST] != NEVER and not rows.books[row, CLOSED] and has_books(rows, b, row):
            algorithm_of(rows, b).catch_up(engine, t, rows, b, row)


cdef void bring_forward(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    """Apply steps that are known before step t, so that synapses which move into the row start with traces of 0."""
    if rows.books[row, LATEST] != NEVER and not rows.books[row, CLOSED] and has_books(rows, b, row):
        algorithm_of(rows, b).bring_forward(engine, t, rows, b, row)


cdef void arrive_everywhere(Engine engine, int64_t t, Rows rows, int64_t lag, bint earlier) noexcept nogil:
    """Final arrival at blocks of a lag; `earlier`: only if the lag is less than the signals' lag m."""
    cdef int64_t b, source, row
    cdef real* arriving = <real*> &engine.neurons.arriving[0, 0]
    cdef Arrival spike
    if earlier and lag == engine.m:
        return
    for b in range(rows.blocks.shape[0]):
        if learns_ever(rows, b) and rows.settings[b].lag == lag:
            for source in range(rows.blocks[b, SOURCE], rows.blocks[b, SOURCES]):
                row = row_of(rows, b, source)
                if row >= 0 and rows.books[row, LATEST] != NEVER and rows.row_ptr[row + 1] > rows.row_ptr[row]:
                    spike = Arrival(t, row, source, 0, 1.0, arriving)
                    arrive(engine, rows, b, &spike)
            if engine.queued:
                descend_queue(engine, t, rows, b, arriving)
