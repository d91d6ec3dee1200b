# Algorithm `prefix` where delays differ: a row for each source and delay, so many short ones, see drawn_delays.h.
#
# What arrives in a step at all delays of a projection is listed first, so that what the next rows need is on its way.
# Rows at which something seldom happens (a first spike, one that waits, a second one in a step, old blocks) are left to
# arrivals.pxi.

cdef extern from "algorithms/prefix/drawn_delays.h" nogil:
    ctypedef struct Book:
        int64_t latest

    ctypedef struct Drawn:
        int64_t t, cutoff, block, starts
        const int64_t* row_ptr
        int64_t n_synapses
        Book* books
        double* Z
        const int8_t* signs
        const uint32_t* target
        real* weight
        real* Y
        real* C
        Targets at
        double shrink, alpha_block, alpha_place, kappa_place, d, alpha, kappa, eta, low, high
        const int64_t* first
        const int64_t* rate_since
        const double* rates
        int64_t n_rates, n_blocks
        Power* decays
        int64_t is_short, work

    enum:
        BY_LANES

    int64_t arrive_drawn(Drawn* of, const int64_t* rows, int64_t i, int64_t count)
    int64_t close_drawn(Drawn* of, const int64_t* rows, int64_t i, int64_t count)

cdef enum:
    MOST_LISTED = 1024    # rows
    MOST_NEAR = 4096      # targets of short rows; of more, memory decides, and rows as elsewhere are as fast or faster


cdef inline bint is_drawn(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Whether the projection of the block has several delays, and nothing that has to be asked for at each row."""
    return BY_LANES and engine.m == 1 and rows.blocks[b, DELAYS] > 1 and not rows.blocks[b, BITS] and \
        not rows.blocks[b, FACTORS] and not rows.settings[b].moves and \
        rows.target.shape[0] > 0 and engine.learns and wide(engine) == 1 and uses_cells(engine, rows, b) and \
        (engine.sums.A.shape[0] <= MOST_NEAR or not is_short(rows, b))


cdef inline Drawn drawn_of(Engine engine, int64_t t, Rows rows, int64_t b) noexcept nogil:
    """What a step knows of a projection; b: any of its blocks."""
    cdef const BlockSettings* given = &rows.settings[b]
    cdef Drawn of
    cdef Present* now = present_of(engine, t)
    cdef const End* end = NULL if now.block == 0 else end_of(engine.sums.ends, now.block - 1)
    memset(&of, 0, sizeof(Drawn))
    of.t, of.cutoff, of.block, of.starts = t, given.cutoff, now.block, now.place == 0
    of.row_ptr, of.n_synapses = &rows.row_ptr[0], rows.target.shape[0]
    of.books, of.Z, of.target = <Book*> &rows.books[0, 0], &rows.Z[0], &rows.target[0]
    of.signs = &rows.signs[0] if rows.signs.shape[0] > 0 else NULL
    of.weight, of.Y, of.C = &rows.weight[0], &rows.traces.Y[0], &rows.traces.C[0]
    of.at = targets_at(engine, t, end)
    of.shrink, of.alpha_block = shrink(engine, b, 1), engine.sums.alpha_powers[b, engine.sums.block + 1]
    of.alpha_place = engine.sums.alpha_powers[b, now.place]
    of.kappa_place = kept_power(&engine.of_place, given.kappa, now.place - 1)
    of.d, of.alpha, of.kappa = unit_of(engine, t, t, b), given.alpha, given.kappa
    of.eta, of.low, of.high = given.eta, given.Wmin, given.Wmax
    of.decays, of.is_short = engine.decays, is_short(rows, b)
    if rows.rates.first.shape[0] > 0:
        of.first, of.rate_since, of.n_rates = &rows.rates.first[0], &rows.rates.since[0], rows.rates.since.shape[0]
        of.rates, of.n_blocks = &rows.rates.values[0, b], rows.rates.values.shape[1]
    return of


cdef void deliver_drawn(
    Engine engine, int64_t t, Rows rows, int64_t b, Spikes** logs, int64_t n, real[::1] arriving
) noexcept nogil:
    """What arrives at all delays of the projection whose first block is b."""
    cdef int64_t[MOST_LISTED] found
    cdef int64_t d, k, i, stop, emitted, count = 0, delays = rows.blocks[b, DELAYS], row = rows.blocks[b, ROW]
    cdef int64_t first = rows.blocks[b, SOURCE], last = rows.blocks[b, SOURCES]
    cdef int64_t* latest = &rows.emitted[0] + rows.settings[b].emitted
    cdef const uint32_t* ids
    cdef Drawn of = drawn_of(engine, t, rows, b)
    for d in range(delays):
        emitted = t - rows.blocks[b + d, DELAY] + (rows.blocks[b, LOG] == 0)
        if emitted < rows.blocks[b + d, SINCE]:
            continue
        for k in range(n):
            ids, stop = logs[k].ids, logs[k].ptr[emitted - engine.channel.base + 1]
            i = first_at_least(ids, logs[k].ptr[emitted - engine.channel.base], stop, first)
            while i < stop and ids[i] < last:
                if d == 0:
                    latest[ids[i] - first] = emitted
                found[count] = row + (ids[i] - first) * delays + d
                count += 1
                i += 1
                if count == MOST_LISTED:
                    arrive_listed(engine, rows, b, &of, found, count, arriving)
                    count = 0
    arrive_listed(engine, rows, b, &of, found, count, arriving)
    engine.work += of.work


cdef void arrive_listed(
    Engine engine, Rows rows, int64_t b, Drawn* of, const int64_t* found, int64_t count, real[::1] arriving
) noexcept nogil:
    cdef int64_t number, source, i = arrive_drawn(of, found, 0, count)
    cdef Arrival spike
    while i < count:
        number = found[i] - rows.blocks[b, ROW]
        source = rows.blocks[b, SOURCE] + number // rows.blocks[b, DELAYS]
        spike = Arrival(of.t, found[i], source, 0, 1.0, <real*> &arriving[0])    # without short-term plasticity
        deliver_spike(engine, rows, b + number % rows.blocks[b, DELAYS], &spike, True, arriving)
        i = arrive_drawn(of, found, i + 1, count)


cdef void end_drawn(Engine engine, int64_t t, Rows rows, int64_t b, Spikes** logs, int64_t n) noexcept nogil:
    """Close the rows of the projection that reach the cutoff, see `close_rows`; b is its first block."""
    cdef int64_t[MOST_LISTED] found
    cdef int64_t d, k, i, stop, emitted, later, count = 0, delays = rows.blocks[b, DELAYS]
    cdef int64_t first = rows.blocks[b, SOURCE], last = rows.blocks[b, SOURCES], row = rows.blocks[b, ROW]
    cdef int64_t cutoff = rows.settings[b].cutoff
    cdef const int64_t* latest = &rows.emitted[0] + rows.settings[b].emitted
    cdef const uint32_t* ids
    cdef Drawn of = drawn_of(engine, t, rows, b)
    for d in range(delays):
        emitted = t - rows.blocks[b + d, DELAY] + (rows.blocks[b, LOG] == 0) - cutoff
        if emitted < 0:
            continue
        for k in range(n):
            ids, stop = logs[k].ids, logs[k].ptr[emitted - engine.channel.base + 1]
            i = first_at_least(ids, logs[k].ptr[emitted - engine.channel.base], stop, first)
            while i < stop and ids[i] < last:
                later = latest[ids[i] - first]
                found[count] = row + (ids[i] - first) * delays + d
                count += not emitted < later < emitted + cutoff
                i += 1
                if count == MOST_LISTED:
                    close_listed_drawn(engine, t, rows, b, &of, found, count)
                    count = 0
    close_listed_drawn(engine, t, rows, b, &of, found, count)
    engine.work += of.work


cdef void close_listed_drawn(
    Engine engine, int64_t t, Rows rows, int64_t b, Drawn* of, const int64_t* found, int64_t count
) noexcept nogil:
    cdef int64_t i = close_drawn(of, found, 0, count)
    while i < count:
        close_prefix(engine, t, rows, b + (found[i] - rows.blocks[b, ROW]) % rows.blocks[b, DELAYS], found[i], found[i])
        rows.books[found[i], CLOSED] = 1
        i = close_drawn(of, found, i + 1, count)
