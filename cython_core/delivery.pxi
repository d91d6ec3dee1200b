# Shared by the kernels of both precisions: how a rank's synapses lie in memory, and how spikes go through them.
#
# Synapses: flat CSR arrays, cut into blocks (one projection, one delay). blocks[b, :] holds the columns below.
# The row of source s (index in its log) in block b is blocks[b, ROW] + s - blocks[b, SOURCE].

from libc.stdint cimport int8_t, int64_t, uint32_t, uint64_t, uint8_t

from pareprop.core.spike_log cimport SegmentedLog, SpikeLog, Spikes

ctypedef fused total_of:    # sums onto neurons are as precise as their state, those onto readouts always double
    float
    double

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int, timespec*)

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void*) nogil

cdef enum:
    LINE = 64     # bytes of a cache line
    STRIDE = 16   # synapses between prefetches: two cache lines of weights, one of targets

cdef int64_t NO_HOLE = -(<int64_t> 1 << 40)

cdef enum:
    ROW = 0       # first row of the block
    SOURCE = 1    # first source of its projection, an id of the log
    SOURCES = 2   # one past its last source
    DELAY = 3     # in steps
    LOG = 4       # 0: input log, 1: log of recurrent spikes
    DENSE = 5     # 1: each source reaches every target of the block, ascending
    TARGET = 6    # dense: first target
    HOLE = 7      # dense, autapses forbidden: source HOLE + k lacks the k-th target, itself; else < NO_HOLE
    WIDTH = 8     # dense: targets of the block
    PLASTIC = 9   # 1: its weights learn


cdef inline double now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec + 1e-9 * t.tv_nsec


cdef enum:
    LAPS = 3          # phases of a step
    FEW = 1000        # neurons: with fewer a look at the clock takes too large a part of a step
    SAMPLED = 8       # then one step in so many is timed


cdef struct Stopwatch:
    double[LAPS] laps      # seconds by phase, of timed steps
    double latest
    bint runs


cdef inline double started(Stopwatch* watch, int64_t n) noexcept nogil:
    """Time before the first of several steps of n neurons; few of them are rated by all steps that were ever timed."""
    cdef int64_t k
    if n >= FEW:
        for k in range(LAPS):
            watch.laps[k] = 0.0
    return now()


cdef inline void begin(Stopwatch* watch, int64_t step, int64_t n) noexcept nogil:
    """A step begins."""
    watch.runs = n >= FEW or step % SAMPLED == 0
    if watch.runs:
        watch.latest = now()


cdef inline void lap(Stopwatch* watch, int64_t phase) noexcept nogil:
    """A phase of the step ends."""
    cdef double time
    if watch.runs:
        time = now()
        watch.laps[phase] += time - watch.latest
        watch.latest = time


cdef inline double share(const Stopwatch* watch, int64_t phase) noexcept nogil:
    """Part of the time that a phase took."""
    cdef double total = watch.laps[0] + watch.laps[1] + watch.laps[2]
    return watch.laps[phase] / total if total > 0.0 else 0.0


cdef inline int64_t list_spikes(int64_t n, int64_t first_id, const real* z, uint32_t* ids) noexcept nogil:
    """Write the ids of neurons with z = 1, ascending; return how many. `ids` has room for n."""
    cdef int64_t j = 0, stop, i, count = 0
    cdef const uint64_t* line
    while j < n:
        stop = min(j + LINE // <int64_t> sizeof(real), n)
        line = <const uint64_t*> (z + j)
        if j + LINE // <int64_t> sizeof(real) > n or (
            line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7]
        ):
            for i in range(j, stop):  # branch-free
                ids[count] = <uint32_t> (first_id + i)
                count += z[i] != 0
        j = stop
    return count


cdef inline int64_t first_at_least(const uint32_t* ids, int64_t low, int64_t high, int64_t bound) noexcept nogil:
    """Index of the first of the ascending ids[low:high] that is at least `bound`."""
    cdef int64_t middle
    while low < high:
        middle = (low + high) >> 1
        if ids[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline int64_t hole_of(const int64_t[:, ::1] blocks, int64_t b, int64_t source, int64_t length) noexcept nogil:
    """Place in a dense row from which targets are shifted by one, because the source itself is left out."""
    cdef int64_t place = source - blocks[b, HOLE]
    if place < 0 or place >= blocks[b, WIDTH]:
        return length
    return place


cdef inline void add_row(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    int64_t source,
    int64_t start,                    # the row's synapses: [start, stop)
    int64_t stop,
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    real amplitude,
    total_of[::1] total,                # UPDATED: total[target] += amplitude * weight
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


cdef inline int64_t next_row(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t* ids,              # IN
    int64_t i,
    int64_t last,
    int64_t row,
) noexcept nogil:
    """Where the row of spike i + 1 starts, or that of spike i, which lies in `row`, if it is the last."""
    if i + 1 < last and ids[i + 1] < blocks[b, SOURCES]:
        return row_ptr[row + ids[i + 1] - ids[i]]
    return row_ptr[row]


cdef inline void deliver_block(
    const int64_t[:, ::1] blocks,     # IN
    int64_t b,
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const uint32_t* ids,              # IN, a segment of the log
    int64_t first,                    # spikes ids[first:last] were emitted in one step
    int64_t last,
    total_of[::1] arriving,         # UPDATED
) noexcept nogil:
    cdef int64_t i = first_at_least(ids, first, last, blocks[b, SOURCE]), row = 0, start, ahead
    if blocks[b, DENSE]:
        deliver_dense(blocks, b, row_ptr, target, weight, ids, i, last, arriving)
        return
    while i < last and ids[i] < blocks[b, SOURCES]:
        row = blocks[b, ROW] + ids[i] - blocks[b, SOURCE]
        start = row_ptr[row]
        # where the next row lies, so that it is on its way while this one is added
        ahead = next_row(blocks, b, row_ptr, ids, i, last, row) - start
        scatter(start, row_ptr[row + 1], ahead, target, weight, arriving)
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
    total_of[::1] arriving,         # UPDATED
) noexcept nogil:
    """Rows of neighbours, four at a time where all have the same targets: `arriving` is read and written once then."""
    cdef int64_t row, first = blocks[b, ROW] - blocks[b, SOURCE], width = blocks[b, WIDTH]
    while i < last and ids[i] < blocks[b, SOURCES]:
        row = first + ids[i]
        if blocks[b, HOLE] < NO_HOLE and width > 0 and i + 3 < last and ids[i + 3] < blocks[b, SOURCES]:
            add_four(width, &weight[row_ptr[row]], &weight[row_ptr[first + ids[i + 1]]],
                     &weight[row_ptr[first + ids[i + 2]]], &weight[row_ptr[first + ids[i + 3]]],
                     &arriving[blocks[b, TARGET]])
            i += 4
        else:
            add_row(blocks, b, ids[i], row_ptr[row], row_ptr[row + 1], target, weight, 1.0, arriving)
            i += 1


cdef void add_four(
    int64_t n, const real* first, const real* second, const real* third, const real* fourth, total_of* total
) noexcept nogil:
    cdef int64_t k
    for k in range(n):
        total[k] = (((total[k] + first[k]) + second[k]) + third[k]) + fourth[k]


cdef inline void scatter(
    int64_t start,
    int64_t stop,
    int64_t ahead,
    const uint32_t[::1] target,
    const real[::1] weight,
    total_of[::1] total,
) noexcept nogil:
    cdef int64_t k = start, end
    while k < stop:
        prefetch(&weight[0] + k + ahead)
        prefetch(&weight[0] + k + ahead + STRIDE // 2)
        prefetch(&target[0] + k + ahead)
        end = k + STRIDE if k + STRIDE < stop else stop
        for k in range(k, end):
            total[target[k]] += weight[k]
        k = end


cdef inline void deliver(
    int64_t step,
    const int64_t[:, ::1] blocks,     # IN
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const Spikes* inputs,             # IN
    Spikes** heard,                   # IN (n_heard,), segments of the log of recurrent spikes
    int64_t n_heard,
    real[::1] arriving,               # UPDATED
) noexcept nogil:
    """Add the weights of all spikes that arrive in `step`, block by block, in ascending source id."""
    cdef int64_t b, k, emitted
    for b in range(blocks.shape[0]):
        # row s of the raster drives step s when the delay is one
        emitted = step - blocks[b, DELAY] + (1 if blocks[b, LOG] == 0 else 0)
        if emitted < 0:
            continue
        if blocks[b, LOG] == 0:
            deliver_block(blocks, b, row_ptr, target, weight, inputs.ids, inputs.ptr[emitted], inputs.ptr[emitted + 1],
                          arriving)
        else:
            for k in range(n_heard):
                deliver_block(blocks, b, row_ptr, target, weight, heard[k].ids, heard[k].ptr[emitted],
                              heard[k].ptr[emitted + 1], arriving)
