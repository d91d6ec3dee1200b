# How a rank's synapses lie in memory, and how spikes go through them.
#
# Synapses: flat CSR arrays. Rows of a projection: by source, then delay. A block (see `blocks` in layout.pxd) is all
# rows of one delay. The row of source s (index in its log) in block b is blocks[b, ROW] + k, with
# k = (s - blocks[b, SOURCE]) * blocks[b, DELAYS] + blocks[b, NUMBER]. Where only those rows exist that have synapses,
# it is the place of k among theirs, instead of k.

from libc.stdint cimport int64_t, intptr_t, uint32_t, uint64_t

from pareprop.core.layout cimport (
    BEFORE, BITS, DELAY, DELAYS, DENSE, FACILITATION, FACTORS, FACTOR_COLUMNS, FACTOR_U, HOLE, LATEST_SPIKE, LOG,
    NO_HOLE, NUMBER, PLASTIC, PORT, RECOVERY, RESOURCES, ROW, ROWS, SINCE, SOURCE, SOURCES, TARGET, UTILISATION, WIDEST,
    WIDTH,
)
from pareprop.core.elementary cimport exp
from pareprop.core.members cimport has, place_of
from pareprop.core.precision cimport real
from pareprop.core.search cimport first_at_least, prefetch
from pareprop.core.spike_log cimport Spikes

cdef extern from *:
    """
    #define STRIDE 16   /* synapses between prefetches: two cache lines of weights, one of targets */
    """
    enum:
        STRIDE

cdef extern from "walks.h" nogil:
    void spread_each_float(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset, const float* weight,
        float* total
    )
    void spread_each_double(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
        const double* weight, double* total
    )
    void spread_row_float(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const float* weight, float* total
    )
    void spread_row_double(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const double* weight, double* total
    )
    void credit_each_float(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
        const float* coefficient, float scale, float* gradient
    )
    void credit_each_double(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
        const double* coefficient, double scale, double* gradient
    )
    void credit_delays_each_float(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
        const float* coefficient, float scale, float* gradient, int64_t step, float* by_delay
    )
    void credit_delays_each_double(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
        const double* coefficient, double scale, double* gradient, int64_t step, double* by_delay
    )
    void credit_delays_row_float(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const float* coefficient, float scale,
        float* gradient, int64_t step, float* by_delay
    )
    void credit_delays_row_double(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const double* coefficient, double scale,
        double* gradient, int64_t step, double* by_delay
    )
    void credit_row_float(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const float* coefficient, float scale,
        float* gradient
    )
    void credit_row_double(
        int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const double* coefficient, double scale,
        double* gradient
    )
    void spread_rows_float(
        int64_t n, int64_t fetched, const uint32_t* ids, int64_t apart, const int64_t* row_ptr, const uint32_t* target,
        const float* weight, float* total
    )
    void spread_rows_double(
        int64_t n, int64_t fetched, const uint32_t* ids, int64_t apart, const int64_t* row_ptr, const uint32_t* target,
        const double* weight, double* total
    )
    const char* credit_rows_float(
        int64_t n, int64_t fetched, const uint32_t* ids, int64_t apart, const int64_t* row_ptr, const uint32_t* target,
        const float* coefficient, float scale, float* gradient, const char* next, const char* end, int64_t each
    )
    const char* credit_rows_double(
        int64_t n, int64_t fetched, const uint32_t* ids, int64_t apart, const int64_t* row_ptr, const uint32_t* target,
        const double* coefficient, double scale, double* gradient, const char* next, const char* end, int64_t each
    )
    int64_t list_spikes_float(int64_t n, uint32_t first_id, const float* z, uint32_t* ids)
    int64_t list_spikes_double(int64_t n, uint32_t first_id, const double* z, uint32_t* ids)

cdef enum:
    LINE = 64     # bytes of a cache line
    GROUP = 4     # rows in one pass
    CACHED = 50000  # synapses of a small table, which stays in the cache: nothing is fetched ahead
    ROWS_AHEAD = 2    # spikes to the one whose row is fetched, where rows are long
    FULL_AHEAD = 16   # where rows need not be looked up
    FETCHED = 64      # synapses, about, from a short row to the one that is fetched
    FOUND = 128       # rows that are found before the first of them is walked
    AT_ONCE = 16      # offsets that are written together, of a vector
    OFFSETS = 512     # written before they are used
    LONG = 32         # synapses of rows, on average, of which each is walked by itself


cdef inline int64_t list_spikes(int64_t n, int64_t first_id, const real* z, uint32_t* ids) noexcept nogil:
    """Write the ids of neurons with z = 1, ascending; return how many. `ids` has room for n."""
    if real is float:
        return list_spikes_float(n, <uint32_t> first_id, z, ids)
    else:
        return list_spikes_double(n, <uint32_t> first_id, z, ids)


cdef inline int64_t hole_of(const int64_t[:, ::1] blocks, int64_t b, int64_t source, int64_t length) noexcept nogil:
    """Place in a dense row from which targets are shifted by one, because the source itself is left out."""
    cdef int64_t place = source - blocks[b, HOLE]
    if blocks[b, HOLE] == NO_HOLE or place < 0 or place >= blocks[b, WIDTH]:
        return length
    return place


cdef inline bint is_full(const int64_t[:, ::1] blocks, int64_t b) noexcept nogil:
    """Whether row_ptr need not be read: rows are dense, of one length, all there, and all spikes count alike."""
    return blocks[b, DENSE] and blocks[b, HOLE] == NO_HOLE and blocks[b, WIDTH] > 0 and not blocks[b, BITS] and \
        not blocks[b, FACTORS]


cdef inline int64_t row_of(const int64_t[:, ::1] blocks, int64_t b, int64_t source) noexcept nogil:
    """The row of a source of a block, below 0 if it has none."""
    cdef int64_t number = (source - blocks[b, SOURCE]) * blocks[b, DELAYS] + blocks[b, NUMBER]
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> blocks[b, BITS]
    if bits != NULL:
        if not has(bits, number):
            return -1
        number = place_of(bits, <const uint32_t*> <intptr_t> blocks[b, BEFORE], number)
    return blocks[b, ROW] + number


cdef inline void add_row(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    int64_t source,
    int64_t start,                    # the row's synapses: [start, stop)
    int64_t stop,
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    real amplitude,
    real[::1] total,                  # UPDATED: total[target] += amplitude * weight
) noexcept nogil:
    cdef int64_t k, base, hole
    if blocks[b, DENSE]:
        hole = start + hole_of(blocks, b, source, stop - start)
        base = blocks[b, TARGET] - start
        for k in range(start, hole):
            total[base + k] += amplitude * weight[k]
        for k in range(hole, stop):
            total[base + 1 + k] += amplitude * weight[k]
    else:
        for k in range(start, stop):
            total[target[k]] += amplitude * weight[k]


cdef inline double factor_of(const int64_t[:, ::1] blocks, int64_t b, int64_t row, int64_t step) noexcept nogil:
    """Factor of a spike that arrives at a row in `step`, which follows all before; 1 without short-term plasticity.

    Each row keeps x and u of its source as of its own arrivals, which all come later than the spikes by its delay.
    """
    cdef double* at = <double*> <intptr_t> blocks[b, FACTORS]
    cdef double x, u, n
    if at == NULL:
        return 1.0
    at += (row - blocks[b, ROW]) * FACTOR_COLUMNS
    u, x = at[UTILISATION], at[RESOURCES]
    if at[LATEST_SPIKE] >= 0.0:
        n = <double> step - at[LATEST_SPIKE]
        x = 1.0 + (x - x * u - 1.0) * exp(n * at[RECOVERY])
        u = at[FACTOR_U] + (u * (1.0 - at[FACTOR_U]) * exp(n * at[FACILITATION]) if at[FACILITATION] != 0.0 else 0.0)
        at[UTILISATION], at[RESOURCES] = u, x
    at[LATEST_SPIKE] = <double> step
    return x * u


cdef inline int64_t row_ahead(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* ids,              # IN
    int64_t i,
    int64_t last,
    int64_t row,
) noexcept nogil:
    """Where a row starts to be fetched: of spike i + ROWS_AHEAD, or of the block's last; `row`, of spike i, if none."""
    cdef int64_t next_one = min(i + ROWS_AHEAD, last - 1)
    if row_ptr[row_ptr.shape[0] - 1] <= CACHED or blocks[b, BITS]:
        return row_ptr[row]
    while ids[next_one] >= blocks[b, SOURCES]:
        next_one -= 1
    return row_ptr[row + (<int64_t> ids[next_one] - ids[i]) * blocks[b, DELAYS]]


cdef inline int64_t mean_row(
    const int64_t[:, ::1] blocks, int64_t b, const int64_t[::1] row_ptr, int64_t n=1
) noexcept nogil:
    """Synapses of n rows of the projection, on average."""
    cdef int64_t first = blocks[b, ROW]
    return n * (row_ptr[first + blocks[b, ROWS]] - row_ptr[first]) // max(blocks[b, ROWS], 1)


cdef inline int64_t rows_ahead(int64_t mean) noexcept nogil:
    """Rows from one to that which is fetched, if they have so many synapses on average."""
    return min(max(FETCHED // max(mean, 1), ROWS_AHEAD), FOUND // 8)


cdef struct Rows:          # of some spikes of a block, few synapses each, see `walks.h`
    int64_t n
    int64_t fetched          # spikes whose rows are fetched ahead
    const uint32_t* ids
    int64_t apart
    const int64_t* row_ptr


cdef inline bint has_short_rows(
    const int64_t[:, ::1] blocks, int64_t b, const int64_t[::1] row_ptr, const uint32_t[::1] target
) noexcept nogil:
    """Whether spikes walk through rows of few synapses, all of which are there and count alike."""
    return not blocks[b, DENSE] and not blocks[b, BITS] and not blocks[b, FACTORS] and target.shape[0] > 0 and \
        mean_row(blocks, b, row_ptr) < LONG


cdef inline Rows rows_of(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* ids,              # IN, a segment of the log
    int64_t first,                    # spikes ids[first:last] were emitted in one step
    int64_t last,
) noexcept nogil:
    cdef Rows rows
    cdef int64_t start = first_at_least(ids, first, last, blocks[b, SOURCE])
    rows.ids, rows.n = ids + start, first_at_least(ids, start, last, blocks[b, SOURCES]) - start
    rows.fetched = rows.n if row_ptr[row_ptr.shape[0] - 1] > CACHED else 0
    rows.apart = blocks[b, DELAYS]
    rows.row_ptr = &row_ptr[0] + (blocks[b, ROW] + blocks[b, NUMBER] - blocks[b, SOURCE] * rows.apart)
    return rows


cdef inline void spread_rows(Rows of, const uint32_t* target, const real* weight, real* total) noexcept nogil:
    """As `scatter`, each row."""
    if real is float:
        spread_rows_float(of.n, of.fetched, of.ids, of.apart, of.row_ptr, target, weight, total)
    else:
        spread_rows_double(of.n, of.fetched, of.ids, of.apart, of.row_ptr, target, weight, total)


cdef inline const char* credit_rows(
    Rows of, const uint32_t* target, const real* coefficient, real scale, real* gradient, const char* next,
    const char* end, int64_t each
) noexcept nogil:
    """As `credit_row`, each source once; with each row fetch `each` lines of [next, end); return what is next."""
    if real is float:
        return credit_rows_float(of.n, of.fetched, of.ids, of.apart, of.row_ptr, target, coefficient, scale, gradient,
                                 next, end, each)
    else:
        return credit_rows_double(of.n, of.fetched, of.ids, of.apart, of.row_ptr, target, coefficient, scale, gradient,
                                  next, end, each)


cdef struct Found:         # rows of some spikes of a block
    int64_t n
    int64_t ahead            # rows from one to that which is fetched; 0: the table stays in the cache
    bint is_long             # rows are, on average: each is fetched stride by stride
    int64_t[FOUND] row


cdef inline void find_rows(
    Found* found,                     # OUT
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* ids,              # IN
    int64_t* i,                       # UPDATED, the first spike; then the one after those whose rows were found
    int64_t last,
) noexcept nogil:
    """Find the rows of the block's next spikes, and fetch where these begin."""
    cdef int64_t mean = mean_row(blocks, b, row_ptr), end = blocks[b, SOURCES], n = 0, row, k = i[0]
    found.is_long = mean >= LONG
    found.ahead = rows_ahead(mean) if row_ptr[row_ptr.shape[0] - 1] > CACHED else 0
    while n < FOUND and k < last and ids[k] < end:
        row = row_of(blocks, b, ids[k])
        if row >= 0:
            prefetch(&row_ptr[row])
            found.row[n] = row
            n += 1
        k += 1
    found.n, i[0] = n, k


cdef inline int64_t fetch_ahead(
    const Found* found, int64_t j, const int64_t[::1] row_ptr, const uint32_t[::1] target, const real[::1] values
) noexcept nogil:
    """Fetch a row that comes some rows after row j; if rows are long, return how much further on it starts, else 0."""
    cdef int64_t later = j + found.ahead, start, stop
    if found.ahead == 0 or target.shape[0] == 0:
        return 0
    if found.is_long:
        return row_ptr[found.row[min(later, found.n - 1)]] - row_ptr[found.row[j]]
    if later < found.n:
        start, stop = row_ptr[found.row[later]], row_ptr[found.row[later] + 1] - 1
        prefetch(&target[0] + start)
        prefetch(&target[0] + stop)
        prefetch(&values[0] + start)
        prefetch(&values[0] + stop)
    return 0


cdef inline void deliver_block(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const uint32_t* ids,              # IN, a segment of the log
    int64_t first,                    # spikes ids[first:last] were emitted in one step
    int64_t last,
    int64_t step,                     # of the run, in which they arrive
    real[::1] arriving,               # UPDATED
) noexcept nogil:
    cdef int64_t i, j, ahead, row
    cdef Found found
    cdef double factor
    if has_short_rows(blocks, b, row_ptr, target):
        spread_rows(rows_of(blocks, b, row_ptr, ids, first, last), &target[0], &weight[0], &arriving[0])
        return
    i = first_at_least(ids, first, last, blocks[b, SOURCE])
    if blocks[b, DENSE]:
        deliver_dense(blocks, b, row_ptr, target, weight, ids, i, last, step, arriving)
        return
    while i < last and ids[i] < blocks[b, SOURCES]:
        find_rows(&found, blocks, b, row_ptr, ids, &i, last)
        for j in range(found.n):
            row = found.row[j]
            ahead = fetch_ahead(&found, j, row_ptr, target, weight)
            factor = factor_of(blocks, b, row, step)
            scatter(row_ptr[row], row_ptr[row + 1], ahead, target, weight, <real> factor, arriving)


cdef inline void count_late(
    int64_t end,                      # steps of the log, entry 0 is step 0
    int64_t origin,                   # step of the run with which it began
    const int64_t[:, ::1] blocks,     # IN
    Spikes* inputs,                   # IN
    Spikes** heard,                   # IN (n_heard,)
    int64_t n_heard,
) noexcept nogil:
    """Let spikes that are lost, as they would arrive after the end, count for short-term plasticity."""
    cdef int64_t b, k, i, t, row, lag
    cdef Spikes** logs
    for b in range(blocks.shape[0]):
        lag = blocks[b, DELAY] - (1 if blocks[b, LOG] == 0 else 0)
        logs = heard if blocks[b, LOG] else &inputs
        for t in range(max(end - lag, 0), end if blocks[b, FACTORS] else 0):
            for k in range(n_heard if blocks[b, LOG] else 1):
                i = first_at_least(logs[k].ids, logs[k].ptr[t], logs[k].ptr[t + 1], blocks[b, SOURCE])
                while i < logs[k].ptr[t + 1] and logs[k].ids[i] < blocks[b, SOURCES]:
                    row = row_of(blocks, b, logs[k].ids[i])
                    if row >= 0:
                        factor_of(blocks, b, row, origin + t + lag)
                    i += 1


cdef inline void deliver_dense(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const uint32_t* ids,              # IN
    int64_t i,                        # first spike of the block
    int64_t last,
    int64_t step,                     # of the run
    real[::1] arriving,             # UPDATED
) noexcept nogil:
    """Rows of neighbours, four at a time where all have the same targets: `arriving` is read and written once then."""
    cdef int64_t row, first = blocks[b, ROW] - blocks[b, SOURCE], width = blocks[b, WIDTH]
    cdef bint in_fours = blocks[b, HOLE] == NO_HOLE and width > 0 and not blocks[b, FACTORS]
    while i < last and ids[i] < blocks[b, SOURCES]:
        row = first + ids[i]
        if in_fours and i + 3 < last and ids[i + 3] < blocks[b, SOURCES]:
            add_four(width, <real> 1.0, &weight[row_ptr[row]], &weight[row_ptr[first + ids[i + 1]]],
                     &weight[row_ptr[first + ids[i + 2]]], &weight[row_ptr[first + ids[i + 3]]],
                     &arriving[blocks[b, TARGET]])
            i += 4
        else:
            add_row(blocks, b, ids[i], row_ptr[row], row_ptr[row + 1], target, weight,
                    <real> factor_of(blocks, b, row, step), arriving)
            i += 1


cdef inline void add_four(
    int64_t n, real factor, const real* first, const real* second, const real* third, const real* fourth,
    real* total
) noexcept nogil:
    """Four rows of neighbours in one pass, the same bits as one after the other."""
    cdef int64_t k
    for k in range(n):
        total[k] = (((total[k] + factor * first[k]) + factor * second[k]) + factor * third[k]) + factor * fourth[k]


cdef inline void prefetch_stride(int64_t k, const uint32_t* target, const real* values) noexcept nogil:
    """The STRIDE synapses from k on."""
    prefetch(values + k)
    prefetch(values + k + STRIDE // 2)
    prefetch(target + k)


cdef inline void scatter(
    int64_t start,
    int64_t stop,
    int64_t ahead,                    # how much further on a row starts that comes soon, 0: none
    const uint32_t[::1] target,
    const real[::1] weight,
    real amplitude,
    real[::1] total,
) noexcept nogil:
    cdef int64_t k = start, end
    if ahead == 0:
        for k in range(start, stop):
            total[target[k]] += amplitude * weight[k]
        return
    while k < stop:
        prefetch_stride(k + ahead, &target[0], &weight[0])
        end = k + STRIDE if k + STRIDE < stop else stop
        for k in range(k, end):
            total[target[k]] += amplitude * weight[k]
        k = end


# Spikes are spread where delays of a projection differ, but not by much: all rows of a source, which lie side by side,
# are walked once, when its spike arrives at the shortest delay. A synapse adds to the slot of its own step in a ring of
# sums. Each slot starts from 0 and takes weights by step of the walk, then projection, then source, on any rank.

cdef struct Walk:     # through the rows of a source
    int64_t number    # of its first row, see `row_of`
    int64_t delay     # place of the present row's delay
    int64_t last      # one past that of the last row
    int64_t row       # the present one
    int64_t k         # the next synapse


cdef inline bint is_spread(const int64_t[:, ::1] blocks, int64_t b) noexcept nogil:
    """Whether the projection of the block has few delays; the same on all ranks."""
    cdef int64_t first = b - blocks[b, NUMBER]
    return blocks[b, DELAYS] > 1 and blocks[b, FACTORS] == 0 and \
        blocks[first + blocks[b, DELAYS] - 1, DELAY] - blocks[first, DELAY] < WIDEST


cdef inline Walk walk_of(
    const int64_t[:, ::1] blocks, int64_t b, const int64_t[::1] row_ptr, int64_t source, int64_t first, int64_t last
) noexcept nogil:
    """Through the rows of a source with the delays [first, last) of those of the projection whose first block is b."""
    cdef Walk walk
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> blocks[b, BITS]
    cdef int64_t place
    walk.number = (source - blocks[b, SOURCE]) * blocks[b, DELAYS]
    place = walk.number + first
    if bits != NULL:
        place = place_of(bits, <const uint32_t*> <intptr_t> blocks[b, BEFORE], place)
    walk.delay, walk.last, walk.row = first, last, blocks[b, ROW] + place
    walk.k = row_ptr[walk.row]
    return walk


cdef inline int64_t write_offsets(
    Walk* walk,                       # UPDATED
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* at,               # IN, by delay
    uint32_t* offset,                 # OUT, room for OFFSETS + AT_ONCE: what `at` has for the delay of each synapse
) noexcept nogil:
    """Go on with a walk; return one past the last synapse that was reached. Whole vectors: the next row writes over."""
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> blocks[b, BITS]
    cdef int64_t begun = walk.k, delay = walk.delay, row = walk.row, k = walk.k, stop, end, i
    cdef uint32_t value
    while delay < walk.last:
        if bits == NULL or has(bits, walk.number + delay):
            value, stop = at[delay], row_ptr[row + 1]
            end = min(stop, begun + OFFSETS)
            for i in range(AT_ONCE):
                offset[k - begun + i] = value
            k += AT_ONCE
            while k < end:
                for i in range(AT_ONCE):
                    offset[k - begun + i] = value
                k += AT_ONCE
            k = end
            if end < stop:
                break
            row += 1
        delay += 1
    walk.delay, walk.row, walk.k = delay, row, k
    return k


cdef inline int64_t walk_ahead(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* ids,              # IN
    int64_t i,
    int64_t last,
    int64_t n,                        # spikes to the later one
) noexcept nogil:
    """How much further on the rows of a later spike start than those of spike i, 0 if that is not looked up."""
    cdef int64_t later = i + n, row = blocks[b, ROW] - blocks[b, SOURCE] * blocks[b, DELAYS]
    if row_ptr[row_ptr.shape[0] - 1] <= CACHED or blocks[b, BITS] or later >= last or \
            ids[later] >= blocks[b, SOURCES]:
        return 0
    if i + 2 * n < last and ids[i + 2 * n] < blocks[b, SOURCES]:
        prefetch(&row_ptr[row + ids[i + 2 * n] * blocks[b, DELAYS]])
        prefetch(&row_ptr[row + (ids[i + 2 * n] + 1) * blocks[b, DELAYS]])
    return row_ptr[row + ids[later] * blocks[b, DELAYS]] - row_ptr[row + ids[i] * blocks[b, DELAYS]]


cdef inline bint next_row(
    Walk* walk,                       # UPDATED
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    int64_t* delay,                   # OUT, its place
    int64_t* stop,                    # OUT, of its synapses, which start at walk.k before
) noexcept nogil:
    """Go to the end of the next row of a walk, if there is one."""
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> blocks[b, BITS]
    while walk.delay < walk.last:
        delay[0] = walk.delay
        walk.delay += 1
        if bits == NULL or has(bits, walk.number + delay[0]):
            walk.row += 1
            stop[0] = row_ptr[walk.row]
            return True
    return False


cdef inline void spread_row(
    int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset, const real* weight,
    real* total
) noexcept nogil:
    """As `scatter`; `offset` of each synapse from `start` on, or NULL."""
    if real is float:
        if offset == NULL:
            spread_row_float(start, stop, ahead, target, weight, total)
        else:
            spread_each_float(start, stop, ahead, target, offset, weight, total)
    else:
        if offset == NULL:
            spread_row_double(start, stop, ahead, target, weight, total)
        else:
            spread_each_double(start, stop, ahead, target, offset, weight, total)


cdef inline void credit_row(
    int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
    const real* coefficient, real scale, real* gradient
) noexcept nogil:
    """gradient[k] += scale coefficient[target[k]]; `offset` as for `spread_row`."""
    if real is float:
        if offset == NULL:
            credit_row_float(start, stop, ahead, target, coefficient, scale, gradient)
        else:
            credit_each_float(start, stop, ahead, target, offset, coefficient, scale, gradient)
    else:
        if offset == NULL:
            credit_row_double(start, stop, ahead, target, coefficient, scale, gradient)
        else:
            credit_each_double(start, stop, ahead, target, offset, coefficient, scale, gradient)


cdef inline void credit_delays(
    int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, const uint32_t* offset,
    const real* coefficient, real scale, real* gradient, int64_t step, real* by_delay
) noexcept nogil:
    """As `credit_row`; and by_delay[k] += the coefficient a step later, `step` numbers on, less that a step earlier."""
    if real is float:
        if offset == NULL:
            credit_delays_row_float(start, stop, ahead, target, coefficient, scale, gradient, step, by_delay)
        else:
            credit_delays_each_float(start, stop, ahead, target, offset, coefficient, scale, gradient, step, by_delay)
    else:
        if offset == NULL:
            credit_delays_row_double(start, stop, ahead, target, coefficient, scale, gradient, step, by_delay)
        else:
            credit_delays_each_double(start, stop, ahead, target, offset, coefficient, scale, gradient, step, by_delay)


cdef inline void spread_block(
    int64_t first,                    # place of the first delay that counts
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,                        # first block of the projection
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* target,           # IN
    const real* weight,               # IN
    const uint32_t* at,               # IN, where the slot of each delay starts in the ring
    const uint32_t* ids,              # IN, a segment of the log
    int64_t start,                    # spikes ids[start:stop] were emitted in one step
    int64_t stop,
    real* ring,                       # UPDATED
) noexcept nogil:
    cdef uint32_t[OFFSETS + AT_ONCE] offset
    cdef int64_t i = first_at_least(ids, start, stop, blocks[b, SOURCE]), begun, end, ahead, delay
    cdef int64_t later = rows_ahead(mean_row(blocks, b, row_ptr, blocks[b, DELAYS]))
    cdef bint is_long = mean_row(blocks, b, row_ptr) >= LONG
    cdef Walk walk
    while i < stop and ids[i] < blocks[b, SOURCES]:
        walk = walk_of(blocks, b, row_ptr, ids[i], first, blocks[b, DELAYS])
        ahead = walk_ahead(blocks, b, row_ptr, ids, i, stop, later)
        i += 1
        begun = walk.k
        if is_long:
            while next_row(&walk, blocks, b, row_ptr, &delay, &end):
                spread_row(begun, end, ahead, target, NULL, weight, ring + at[delay])
                begun = end
            continue
        end = write_offsets(&walk, blocks, b, row_ptr, at, offset)
        while begun < end:
            spread_row(begun, end, ahead, target, offset, weight, ring)
            begun = end
            end = write_offsets(&walk, blocks, b, row_ptr, at, offset)


cdef inline void spread(
    int64_t step,
    int64_t base,                     # step of entry 0 of the logs
    int64_t since,                    # what arrives before is left out
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,                        # first block of the projection
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    Spikes* inputs,                   # IN
    Spikes** heard,                   # IN (n_heard,)
    int64_t n_heard,
    real[:, :, ::1] ring,             # UPDATED (slots, ports, n)
) noexcept nogil:
    """Add the weights of the spikes that arrive in `step` at the shortest delay, for the steps of all delays."""
    cdef int64_t emitted = step - blocks[b, DELAY] + (1 if blocks[b, LOG] == 0 else 0) - base, k, later, slot
    cdef int64_t first = 0, now = step % ring.shape[0]
    cdef uint32_t[WIDEST] at
    if emitted < max(blocks[b, SINCE] - base, 0) or target.shape[0] == 0:
        return
    for k in range(blocks[b, DELAYS]):
        later = blocks[b + k, DELAY] - blocks[b, DELAY]
        first += step + later < since
        slot = now + later
        slot -= ring.shape[0] if slot >= ring.shape[0] else 0
        at[k] = <uint32_t> ((slot * ring.shape[1] + blocks[b, PORT]) * ring.shape[2])
    if blocks[b, LOG] == 0:
        spread_block(first, blocks, b, row_ptr, &target[0], &weight[0], at, inputs.ids, inputs.ptr[emitted],
                     inputs.ptr[emitted + 1], &ring[0, 0, 0])
        return
    for k in range(n_heard):
        spread_block(first, blocks, b, row_ptr, &target[0], &weight[0], at, heard[k].ids, heard[k].ptr[emitted],
                     heard[k].ptr[emitted + 1], &ring[0, 0, 0])


cdef inline void take_slot(real[:, ::1] slot, real[:, ::1] arriving) noexcept nogil:
    """Add what was spread to a step, and empty its slot."""
    cdef int64_t p, j
    for p in range(arriving.shape[0]):
        for j in range(arriving.shape[1]):
            arriving[p, j] += slot[p, j]
            slot[p, j] = 0.0


cdef inline void deliver(
    int64_t step,
    const int64_t[:, ::1] blocks,     # IN
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    Spikes* inputs,                   # IN
    Spikes** heard,                   # IN (n_heard,), segments of the log of recurrent spikes
    int64_t n_heard,
    bint plastic_loses,               # whether what arrives is lost, at blocks that learn
    bint fixed_loses,                 # and at others
    int64_t origin,                   # step of the run with which the log begins
    real[:, :, ::1] ring,             # UPDATED (slots, ports, n); no slots where nothing is spread
    real[:, ::1] arriving,            # UPDATED, by port
) noexcept nogil:
    """Add the weights of all spikes that arrive in `step`: what is spread, then by block, in ascending source id."""
    cdef int64_t b, k, emitted
    cdef bint loses
    cdef Spikes** logs
    if ring.shape[0] > 0:
        for b in range(blocks.shape[0]):
            if blocks[b, NUMBER] == 0 and is_spread(blocks, b):
                loses = plastic_loses if blocks[b, PLASTIC] else fixed_loses
                spread(step, 0, step + loses, blocks, b, row_ptr, target, weight, inputs, heard, n_heard, ring)
        take_slot(ring[step % ring.shape[0]], arriving)
    for b in range(blocks.shape[0]):
        loses = plastic_loses if blocks[b, PLASTIC] else fixed_loses
        if loses or is_spread(blocks, b):
            continue
        # row s of the raster drives step s when the delay is one
        emitted = step - blocks[b, DELAY] + (1 if blocks[b, LOG] == 0 else 0)
        if emitted < blocks[b, SINCE]:
            continue
        logs = heard if blocks[b, LOG] else &inputs
        for k in range(n_heard if blocks[b, LOG] else 1):
            deliver_block(blocks, b, row_ptr, target, weight, logs[k].ids, logs[k].ptr[emitted],
                          logs[k].ptr[emitted + 1], origin + step, arriving[blocks[b, PORT]])
