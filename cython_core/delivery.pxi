# Memory layout of a rank's synapses, and delivery of spikes.
#
# Synapses: flat CSR arrays. Rows of a projection: by source, then delay. A block (see `blocks` in layout.pxd) is all
# rows of one delay. The row of source s (index in its log) in block b is blocks[b, ROW] + k, with
# k = (s - blocks[b, SOURCE]) * blocks[b, DELAYS] + blocks[b, NUMBER]. If only rows with synapses exist, the index of k
# among these rows replaces k.

from libc.stdint cimport int64_t, intptr_t, uint32_t, uint64_t

from pareprop.core.bind cimport bind
from pareprop.core.layout cimport (
    BEFORE, BITS, DELAY, DELAYS, DENSE, FACILITATION, FACTORS, FACTOR_COLUMNS, FACTOR_U, HOLE, LATEST_SPIKE, LOG,
    NO_HOLE, NUMBER, PORT, RECOVERY, RESOURCES, ROW, ROWS, SINCE, SOURCE, SOURCES, TARGET, UTILISATION, WIDEST, WIDTH,
)
from pareprop.core.elementary cimport exp
from pareprop.core.members cimport has, place_of
from pareprop.core.readout_sums cimport ExactSum, add_value
from pareprop.core.search cimport first_at_least, prefetch
from pareprop.core.spike_log cimport SegmentedLog, Spikes

cdef extern from "walks.h" nogil:
    ctypedef struct Stretch:   # synapses [start, stop), which lie side by side
        int64_t start, stop
        int64_t ahead          # distance to synapses to prefetch, 0: no prefetch
        const uint32_t* target
        const uint32_t* offset     # of each target from `start` on, or NULL

    ctypedef struct ShortRows:     # rows of some spikes of a block, few synapses each
        int64_t n
        int64_t fetched        # spikes whose rows are prefetched
        const uint32_t* ids
        int64_t apart
        const int64_t* row_ptr
        const uint32_t* target

    ctypedef struct Walk:      # loop through the rows of a source, one stretch of synapses at a time
        int64_t first, last    # range of delay indices of the projection
        const uint32_t* at     # shift of targets, by delay
        bint is_long           # whether rows are long on average: each is a stretch
        int64_t later          # spikes to the one whose rows are prefetched
        int64_t number         # number k of the source's first row, see `row_of`
        int64_t delay          # delay index of the present row
        int64_t row            # present row
        Stretch part
        int64_t shift          # of all targets of `part`, in addition to `offset`
        uint32_t* offset       # memory for `part.offset`

    enum:
        STRIDE     # synapses between prefetches: two cache lines of weights, one of targets
        AT_ONCE    # offsets that are written together, of a vector
        OFFSETS    # written before they are used

    void spread_stretch(const Stretch* of, const real* weight, real* total)
    void spread_rows(const ShortRows* of, const real* weight, real* total)
    int64_t list_spikes(int64_t n, uint32_t first_id, const real* z, uint32_t* ids)

cdef enum:
    LINE = 64     # bytes of a cache line
    GROUP = 4     # rows in one pass
    CACHED = 50000  # synapses of a small table, which stays in the cache: no prefetch
    ROWS_AHEAD = 2    # spikes to the one whose row is prefetched, if rows are long
    FULL_AHEAD = 16   # the same if rows need not be looked up
    FETCHED = 64      # synapses, about, from a short row to the one that is prefetched
    FOUND = 128       # rows that are looked up together
    LONG = 32         # mean synapses per row from which on each row is a stretch


cdef class Bound:
    """A class whose attributes are bound once, from one mapping of names to values."""

    def __init__(self, values):
        bind(self, values)


cdef class Synapses(Bound):
    """The synapses onto one kind of target."""

    cdef public int64_t[:, ::1] blocks
    cdef public int64_t[::1] row_ptr
    cdef public uint32_t[::1] target
    cdef public real[::1] weight


cdef struct Segments:      # parts of the log of a block's sources
    Spikes** at
    int64_t n


cdef inline Segments segments_of(Synapses of, int64_t b, Spikes** inputs, SegmentedLog received) noexcept nogil:
    """Spikes of a block's sources: inputs, or neurons."""
    if of.blocks[b, LOG] == 0:
        return Segments(inputs, 1)
    return Segments(received.at, received.n)


cdef inline int64_t lag_of(Synapses of, int64_t b) noexcept nogil:
    """Steps from a spike's log entry to its arrival: row s of a raster drives step s if the delay is one."""
    return of.blocks[b, DELAY] - (of.blocks[b, LOG] == 0)


cdef inline int64_t hole_of(Synapses of, int64_t b, int64_t source, int64_t length) noexcept nogil:
    """Index in a dense row from which on targets are shifted by one, because the source itself is left out."""
    cdef int64_t place = source - of.blocks[b, HOLE]
    if of.blocks[b, HOLE] == NO_HOLE or place < 0 or place >= of.blocks[b, WIDTH]:
        return length
    return place


cdef inline bint is_full(Synapses of, int64_t b) noexcept nogil:
    """Whether row_ptr need not be read: all rows exist, dense and of one length, without factors of spikes."""
    return of.blocks[b, DENSE] and of.blocks[b, HOLE] == NO_HOLE and of.blocks[b, WIDTH] > 0 and \
        not of.blocks[b, BITS] and not of.blocks[b, FACTORS]


cdef inline int64_t row_of(Synapses of, int64_t b, int64_t source) noexcept nogil:
    """The row of a source of a block; negative if there is none."""
    cdef int64_t number = (source - of.blocks[b, SOURCE]) * of.blocks[b, DELAYS] + of.blocks[b, NUMBER]
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> of.blocks[b, BITS]
    if bits != NULL:
        if not has(bits, number):
            return -1
        number = place_of(bits, <const uint32_t*> <intptr_t> of.blocks[b, BEFORE], number)
    return of.blocks[b, ROW] + number


cdef inline void add_row(
    Synapses of, int64_t b, int64_t source, int64_t row, real amplitude, real[::1] total
) noexcept nogil:
    """total[target] += amplitude * weight, for the synapses of the row of a source."""
    cdef int64_t k, base, hole, start = of.row_ptr[row], stop = of.row_ptr[row + 1]
    if of.blocks[b, DENSE]:
        hole = start + hole_of(of, b, source, stop - start)
        base = of.blocks[b, TARGET] - start
        for k in range(start, hole):
            total[base + k] += amplitude * of.weight[k]
        for k in range(hole, stop):
            total[base + 1 + k] += amplitude * of.weight[k]
    else:
        for k in range(start, stop):
            total[of.target[k]] += amplitude * of.weight[k]


cdef inline void add_sources(Synapses of, int64_t b, const double[::1] amplitude, real[::1] total) noexcept nogil:
    """`add_row` for all sources of a block with nonzero amplitude."""
    cdef int64_t k, row
    for k in range(of.blocks[b, SOURCE], of.blocks[b, SOURCES]):
        if amplitude[k] != 0.0:
            row = row_of(of, b, k)
            if row >= 0:
                add_row(of, b, k, row, <real> amplitude[k], total)


cdef inline void add_row_exactly(Synapses of, int64_t row, double factor, ExactSum* sums) noexcept nogil:
    """`add_row` for a row onto readouts, whose sums do not depend on the order."""
    cdef int64_t k
    for k in range(of.row_ptr[row], of.row_ptr[row + 1]):
        add_value(factor * of.weight[k], &sums[of.target[k]])


cdef inline double factor_of(Synapses of, int64_t b, int64_t row, int64_t step) noexcept nogil:
    """Factor of a spike that arrives at a row in `step`, after all others; 1 without short-term plasticity.

    Each row stores x and u of its source at the latest arrival, one delay after the spike.
    """
    cdef double* at = <double*> <intptr_t> of.blocks[b, FACTORS]
    cdef double x, u, n
    if at == NULL:
        return 1.0
    at += (row - of.blocks[b, ROW]) * FACTOR_COLUMNS
    u, x = at[UTILISATION], at[RESOURCES]
    if at[LATEST_SPIKE] >= 0.0:
        n = <double> step - at[LATEST_SPIKE]
        x = 1.0 + (x - x * u - 1.0) * exp(n * at[RECOVERY])
        u = at[FACTOR_U] + (u * (1.0 - at[FACTOR_U]) * exp(n * at[FACILITATION]) if at[FACILITATION] != 0.0 else 0.0)
        at[UTILISATION], at[RESOURCES] = u, x
    at[LATEST_SPIKE] = <double> step
    return x * u


cdef inline bint is_small(Synapses of) noexcept nogil:
    """Whether the table stays in the cache: no prefetch."""
    return of.row_ptr[of.row_ptr.shape[0] - 1] <= CACHED


cdef inline int64_t row_ahead(
    Synapses of, int64_t b, const uint32_t* ids, int64_t i, int64_t last, int64_t row
) noexcept nogil:
    """Start of the row to prefetch: of spike i + ROWS_AHEAD, or of the block's last; of `row`, of spike i, if none."""
    cdef int64_t next_one = min(i + ROWS_AHEAD, last - 1)
    if is_small(of) or of.blocks[b, BITS]:
        return of.row_ptr[row]
    while ids[next_one] >= of.blocks[b, SOURCES]:
        next_one -= 1
    return of.row_ptr[row + (<int64_t> ids[next_one] - ids[i]) * of.blocks[b, DELAYS]]


cdef inline int64_t mean_row(Synapses of, int64_t b, int64_t n=1) noexcept nogil:
    """Synapses of n rows of the projection, on average."""
    cdef int64_t first = of.blocks[b, ROW]
    return n * (of.row_ptr[first + of.blocks[b, ROWS]] - of.row_ptr[first]) // max(of.blocks[b, ROWS], 1)


cdef inline int64_t rows_ahead(int64_t mean) noexcept nogil:
    """Rows from one to the row to prefetch, for `mean` synapses per row."""
    return min(max(FETCHED // max(mean, 1), ROWS_AHEAD), FOUND // 8)


cdef inline bint has_short_rows(Synapses of, int64_t b) noexcept nogil:
    """Whether rows have few synapses, and all rows exist, without factors of spikes."""
    return not of.blocks[b, DENSE] and not of.blocks[b, BITS] and not of.blocks[b, FACTORS] and \
        of.target.shape[0] > 0 and mean_row(of, b) < LONG


cdef inline ShortRows rows_of(Synapses of, int64_t b, const Spikes* log, int64_t emitted) noexcept nogil:
    """Rows of the spikes of one step of a log."""
    cdef ShortRows rows
    cdef int64_t start = first_at_least(log.ids, log.ptr[emitted], log.ptr[emitted + 1], of.blocks[b, SOURCE])
    rows.ids = log.ids + start
    rows.n = first_at_least(log.ids, start, log.ptr[emitted + 1], of.blocks[b, SOURCES]) - start
    rows.fetched = 0 if is_small(of) else rows.n
    rows.apart = of.blocks[b, DELAYS]
    rows.row_ptr = &of.row_ptr[0] + (of.blocks[b, ROW] + of.blocks[b, NUMBER] - of.blocks[b, SOURCE] * rows.apart)
    rows.target = &of.target[0]
    return rows


cdef struct Found:         # rows of some spikes of a block
    int64_t n
    int64_t ahead            # rows from one to the row to prefetch; 0: the table stays in the cache
    bint is_long             # whether rows are long on average: each is prefetched stride by stride
    int64_t[FOUND] row


cdef inline void find_rows(
    Found* found, Synapses of, int64_t b, const uint32_t* ids, int64_t* i, int64_t last
) noexcept nogil:
    """Look up rows of the block's spikes from i on, and prefetch their row_ptr; then i is the next spike."""
    cdef int64_t mean = mean_row(of, b), end = of.blocks[b, SOURCES], n = 0, row, k = i[0]
    found.is_long = mean >= LONG
    found.ahead = 0 if is_small(of) else rows_ahead(mean)
    while n < FOUND and k < last and ids[k] < end:
        row = row_of(of, b, ids[k])
        if row >= 0:
            prefetch(&of.row_ptr[row])
            found.row[n] = row
            n += 1
        k += 1
    found.n, i[0] = n, k


cdef inline int64_t fetch_ahead(const Found* found, int64_t j, Synapses of) noexcept nogil:
    """Prefetch a row some rows after row j; if rows are long, instead return the distance to its start, else 0."""
    cdef int64_t later = j + found.ahead, start, stop
    if found.ahead == 0 or of.target.shape[0] == 0:
        return 0
    if found.is_long:
        return of.row_ptr[found.row[min(later, found.n - 1)]] - of.row_ptr[found.row[j]]
    if later < found.n:
        start, stop = of.row_ptr[found.row[later]], of.row_ptr[found.row[later] + 1] - 1
        prefetch(&of.target[0] + start)
        prefetch(&of.target[0] + stop)
        prefetch(&of.weight[0] + start)
        prefetch(&of.weight[0] + stop)
    return 0


cdef inline void deliver_block(
    Synapses of, int64_t b, const Spikes* log, int64_t emitted, int64_t step, real[::1] arriving
) noexcept nogil:
    """Add the weights of the spikes of one step of a log, which arrive in `step` of the run, by ascending source."""
    cdef const uint32_t* ids = log.ids
    cdef int64_t i, j, ahead, row, last = log.ptr[emitted + 1]
    cdef Found found
    cdef ShortRows short_rows
    cdef double factor
    if has_short_rows(of, b):
        short_rows = rows_of(of, b, log, emitted)
        spread_rows(&short_rows, &of.weight[0], &arriving[0])
        return
    i = first_at_least(ids, log.ptr[emitted], last, of.blocks[b, SOURCE])
    if of.blocks[b, DENSE]:
        deliver_dense(of, b, ids, i, last, step, arriving)
        return
    while i < last and ids[i] < of.blocks[b, SOURCES]:
        find_rows(&found, of, b, ids, &i, last)
        for j in range(found.n):
            row = found.row[j]
            ahead = fetch_ahead(&found, j, of)
            factor = factor_of(of, b, row, step)
            scatter(of, of.row_ptr[row], of.row_ptr[row + 1], ahead, <real> factor, arriving)


cdef inline void deliver_dense(
    Synapses of, int64_t b, const uint32_t* ids, int64_t i, int64_t last, int64_t step, real[::1] arriving
) noexcept nogil:
    """Deliver to dense rows, four with the same targets at a time: `arriving` is then read and written once."""
    cdef int64_t row, first = of.blocks[b, ROW] - of.blocks[b, SOURCE], width = of.blocks[b, WIDTH]
    cdef bint in_fours = of.blocks[b, HOLE] == NO_HOLE and width > 0 and not of.blocks[b, FACTORS]
    while i < last and ids[i] < of.blocks[b, SOURCES]:
        row = first + ids[i]
        if in_fours and i + 3 < last and ids[i + 3] < of.blocks[b, SOURCES]:
            add_four(width, <real> 1.0, &of.weight[of.row_ptr[row]], &of.weight[of.row_ptr[first + ids[i + 1]]],
                     &of.weight[of.row_ptr[first + ids[i + 2]]], &of.weight[of.row_ptr[first + ids[i + 3]]],
                     &arriving[of.blocks[b, TARGET]])
            i += 4
        else:
            add_row(of, b, ids[i], row, <real> factor_of(of, b, row, step), arriving)
            i += 1


cdef inline void add_four(
    int64_t n, real factor, const real* first, const real* second, const real* third, const real* fourth,
    real* total
) noexcept nogil:
    """Add four dense rows in one pass, with the same bits as one after the other."""
    cdef int64_t k
    for k in range(n):
        total[k] = (((total[k] + factor * first[k]) + factor * second[k]) + factor * third[k]) + factor * fourth[k]


cdef inline void prefetch_stride(int64_t k, const uint32_t* target, const real* values) noexcept nogil:
    """Prefetch the STRIDE synapses from k on."""
    prefetch(values + k)
    prefetch(values + k + STRIDE // 2)
    prefetch(target + k)


cdef inline void scatter(
    Synapses of, int64_t start, int64_t stop, int64_t ahead, real amplitude, real[::1] total
) noexcept nogil:
    """As `add_row`; `ahead` as in `Stretch`."""
    cdef int64_t k = start, end
    if ahead == 0:
        for k in range(start, stop):
            total[of.target[k]] += amplitude * of.weight[k]
        return
    while k < stop:
        prefetch_stride(k + ahead, &of.target[0], &of.weight[0])
        end = k + STRIDE if k + STRIDE < stop else stop
        for k in range(k, end):
            total[of.target[k]] += amplitude * of.weight[k]
        k = end


cdef inline void count_late(
    Synapses of, Spikes* inputs, SegmentedLog received, int64_t end, int64_t origin
) noexcept nogil:
    """Count spikes for short-term plasticity that are lost, because they would arrive after step `end` of the logs.

    The logs begin with step `origin` of the run.
    """
    cdef int64_t b, k, i, t, row
    cdef Segments logs
    for b in range(of.blocks.shape[0]):
        logs = segments_of(of, b, &inputs, received)
        for t in range(max(end - lag_of(of, b), 0), end if of.blocks[b, FACTORS] else 0):
            for k in range(logs.n):
                i = first_at_least(logs.at[k].ids, logs.at[k].ptr[t], logs.at[k].ptr[t + 1], of.blocks[b, SOURCE])
                while i < logs.at[k].ptr[t + 1] and logs.at[k].ids[i] < of.blocks[b, SOURCES]:
                    row = row_of(of, b, logs.at[k].ids[i])
                    if row >= 0:
                        factor_of(of, b, row, origin + t + lag_of(of, b))
                    i += 1


# Spikes are spread if the delays of a projection differ by few steps: one loop adds the weights of all rows of a source
# when its spike arrives at the shortest delay. A synapse adds to the slot of its arrival step in a ring of sums. Each
# slot starts from 0 and receives weights by step of the loop, then projection, then source, on any rank.

cdef inline bint is_spread(Synapses of, int64_t b) noexcept nogil:
    """Whether the projection of the block has few delays; the same on all ranks."""
    cdef int64_t first = b - of.blocks[b, NUMBER]
    return of.blocks[b, DELAYS] > 1 and of.blocks[b, FACTORS] == 0 and \
        of.blocks[first + of.blocks[b, DELAYS] - 1, DELAY] - of.blocks[first, DELAY] < WIDEST


cdef inline void prepare_walks(
    Walk* walk, Synapses of, int64_t b, int64_t first, int64_t last, const uint32_t* at
) noexcept nogil:
    """Prepare loops through rows of the projection whose first block is b."""
    walk.first, walk.last, walk.at, walk.shift = first, last, at, 0
    walk.is_long = mean_row(of, b) >= LONG
    walk.later = rows_ahead(mean_row(of, b, of.blocks[b, DELAYS]))
    walk.part.target = &of.target[0]
    walk.part.offset = NULL if walk.is_long else walk.offset


cdef inline void begin_walk(
    Walk* walk, Synapses of, int64_t b, const uint32_t* ids, int64_t i, int64_t last
) noexcept nogil:
    """Begin a loop through the rows of the source of spike i, of the spikes ids[:last]."""
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> of.blocks[b, BITS]
    cdef int64_t place
    walk.number = (<int64_t> ids[i] - of.blocks[b, SOURCE]) * of.blocks[b, DELAYS]
    place = walk.number + walk.first
    if bits != NULL:
        place = place_of(bits, <const uint32_t*> <intptr_t> of.blocks[b, BEFORE], place)
    walk.delay, walk.row = walk.first, of.blocks[b, ROW] + place
    walk.part.stop = of.row_ptr[walk.row]
    walk.part.ahead = apart(of, b, ids, i, walk.later, last)


cdef inline int64_t apart(
    Synapses of, int64_t b, const uint32_t* ids, int64_t i, int64_t n, int64_t last
) noexcept nogil:
    """Distance from the start of the rows of spike i to the rows of spike i + n; 0 if it is not looked up."""
    cdef int64_t later = i + n, row = of.blocks[b, ROW] - of.blocks[b, SOURCE] * of.blocks[b, DELAYS]
    if is_small(of) or of.blocks[b, BITS] or later >= last or ids[later] >= of.blocks[b, SOURCES]:
        return 0
    if i + 2 * n < last and ids[i + 2 * n] < of.blocks[b, SOURCES]:
        prefetch(&of.row_ptr[row + ids[i + 2 * n] * of.blocks[b, DELAYS]])
        prefetch(&of.row_ptr[row + (ids[i + 2 * n] + 1) * of.blocks[b, DELAYS]])
    return of.row_ptr[row + ids[later] * of.blocks[b, DELAYS]] - of.row_ptr[row + ids[i] * of.blocks[b, DELAYS]]


cdef inline bint go_on(Walk* walk, Synapses of, int64_t b) noexcept nogil:
    """Find the next stretch of a loop; return whether there is one."""
    walk.part.start = walk.part.stop
    if walk.is_long:
        return next_row(walk, of, b)
    write_offsets(walk, of, b)
    return walk.part.start < walk.part.stop


cdef inline bint next_row(Walk* walk, Synapses of, int64_t b) noexcept nogil:
    """Go to the next row; return whether there is one."""
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> of.blocks[b, BITS]
    while walk.delay < walk.last:
        walk.delay += 1
        if bits == NULL or has(bits, walk.number + walk.delay - 1):
            walk.row += 1
            walk.part.stop, walk.shift = of.row_ptr[walk.row], walk.at[walk.delay - 1]
            return True
    return False


cdef inline void write_offsets(Walk* walk, Synapses of, int64_t b) noexcept nogil:
    """Write offsets of the next rows, or of a part of one, by whole vectors: the next row overwrites excess numbers."""
    cdef const uint64_t* bits = <const uint64_t*> <intptr_t> of.blocks[b, BITS]
    cdef int64_t begun = walk.part.start, delay = walk.delay, row = walk.row, k = begun, stop, end, i
    cdef uint32_t value
    cdef uint32_t* offset = walk.offset
    while delay < walk.last:
        if bits == NULL or has(bits, walk.number + delay):
            value, stop = walk.at[delay], of.row_ptr[row + 1]
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
    walk.delay, walk.row, walk.part.stop = delay, row, k


cdef inline void spread_step(
    Synapses of, int64_t b, const Spikes* log, int64_t emitted, Walk* walk, real* ring
) noexcept nogil:
    """Spread the spikes of one step of a log."""
    cdef const uint32_t* ids = log.ids
    cdef int64_t stop = log.ptr[emitted + 1]
    cdef int64_t i = first_at_least(ids, log.ptr[emitted], stop, of.blocks[b, SOURCE])
    while i < stop and ids[i] < of.blocks[b, SOURCES]:
        begin_walk(walk, of, b, ids, i, stop)
        while go_on(walk, of, b):
            spread_stretch(&walk.part, &of.weight[0], ring + walk.shift)
        i += 1


cdef inline void spread(
    Synapses of, int64_t b, Segments logs, int64_t base, int64_t step, int64_t since, real[:, :, ::1] ring
) noexcept nogil:
    """Add the weights of the spikes that arrive in `step` at the shortest delay, for the steps of all delays.

    Block b is the first one of a projection; entry 0 of its logs is step `base`; arrivals before step `since` are left
    out; the ring is (slots, ports, n).
    """
    cdef int64_t emitted = step - lag_of(of, b) - base, k, later, slot, first = 0, now = step % ring.shape[0]
    cdef uint32_t[WIDEST] at
    cdef Walk walk
    if emitted < max(of.blocks[b, SINCE] - base, 0) or of.target.shape[0] == 0:
        return
    for k in range(of.blocks[b, DELAYS]):
        later = of.blocks[b + k, DELAY] - of.blocks[b, DELAY]
        first += step + later < since
        slot = now + later
        slot -= ring.shape[0] if slot >= ring.shape[0] else 0
        at[k] = <uint32_t> ((slot * ring.shape[1] + of.blocks[b, PORT]) * ring.shape[2])
    prepare_walks(&walk, of, b, first, of.blocks[b, DELAYS], at)
    for k in range(logs.n):
        spread_step(of, b, logs.at[k], emitted, &walk, &ring[0, 0, 0])


cdef inline void take_slot(real[:, ::1] slot, real[:, ::1] arriving) noexcept nogil:
    """Add the slot of a step to its input, and empty the slot."""
    cdef int64_t p, j
    for p in range(arriving.shape[0]):
        for j in range(arriving.shape[1]):
            arriving[p, j] += slot[p, j]
            slot[p, j] = 0.0
