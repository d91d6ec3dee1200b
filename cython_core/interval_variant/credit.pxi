# Interval variant: accumulate gradients from the coefficients of the backward pass, arrival by arrival.

cdef enum:
    TILE_BYTES = 196608   # size of the coefficients of a tile of steps: a part of the second-level cache
    FEWEST_STEPS = 64     # per tile, for tiles to pay off
    LEAST_WIDTH = 16      # of rows, for tiles to pay off
    MANY = 2              # reads per cache line of a step's coefficients from which on all lines are prefetched
    NONE = -1


cdef extern from "walks.h" nogil:
    ctypedef struct Credits:       # increments of an arrival: to weights by target, to delays by synapse index
        const real* coefficient
        real scale
        int64_t step               # stride from one step's coefficients to the next
        real* by_delay             # or NULL

    ctypedef struct Coming:        # coefficients of a later step, which its spikes read at scattered places
        const char* next           # cache line to prefetch next
        const char* end
        int64_t each               # lines per spike of the present step

    void credit_stretch(const Stretch* of, const Credits* by, int64_t shift, real* gradient)
    void credit_rows(const ShortRows* of, const Credits* by, Coming* coming, real* gradient)

cdef struct Tile:          # steps [first, last) in which the spikes of each source are linked
    int64_t first, last
    int64_t* head          # (n_sources), index of the first spike of each
    int64_t* spikes        # two numbers per spike, in ascending steps: index of the source's next spike, arrival step


cdef class Credit(Synapses):
    """Gradients of an interval: each arrival adds scale * coefficient[t n_ports + port, target] to `weight`.

    For trained delays, `by_delay` accumulates the coefficient one step after the arrival minus the coefficient one
    step before: twice the derivative by the delay, per unit of weight. Then coefficients of step 0 are 0, and zeros
    for step T follow in memory.
    """

    cdef public bint same_step                 # spikes arrive in the step of emission (readouts), not after the delay
    cdef public SpikeLog inputs
    cdef public SegmentedLog received
    cdef public int64_t n_ports
    cdef public real[:, ::1] coefficient       # (T n_ports, n), of the backward pass: ports of step 0, of step 1, ...
    cdef public double[::1] scale              # (n_blocks): 1, or minus the learning rate to update weights at once
    cdef public int64_t[::1] shift             # (n_blocks), synapse index minus index in `by_delay`, or NONE
    cdef public real[::1] by_delay             # UPDATED, of synapses with trained delays
    cdef public int64_t origin                 # step of the run at which the log begins
    cdef Spikes* input_log
    cdef int64_t n_steps, tile_steps

    def __init__(self, values):
        super().__init__(values)
        self.input_log = &self.inputs.at
        self.n_steps = self.coefficient.shape[0] // self.n_ports
        self.tile_steps = TILE_BYTES // (max(self.coefficient.shape[1], 1) * <int64_t> sizeof(real))

    def count_links(self):
        """Return how many numbers `run` needs to link spikes by source."""
        cdef int64_t b, most = 0
        for b in range(self.blocks.shape[0]):
            if is_tiled(self, b):
                most = max(most, room_for_links(self, b))
        return most

    def run(self, int64_t[::1] links):
        """Accumulate over all arrivals; `links` has room for `count_links` numbers."""
        cdef int64_t t, b
        cdef int64_t* written = &links[0] if links.shape[0] > 0 else NULL
        with nogil:
            for b in range(self.blocks.shape[0]):
                if is_tiled(self, b):
                    credit_tiles(self, b, written)
            for t in range(self.n_steps):
                for b in range(self.blocks.shape[0]):
                    if self.blocks[b, PLASTIC] and t >= lag(self, b) + self.blocks[b, SINCE] and \
                            not is_tiled(self, b):
                        credit_step(self, t, b)


cdef void credit_step(Credit of, int64_t t, int64_t b) noexcept nogil:
    """Accumulate over the arrivals of step t at a block."""
    cdef int64_t k, emitted = t - lag(of, b)
    cdef Segments logs = segments_of(of, b, &of.input_log, of.received)
    cdef Credits by = credits_of(of, t, b)
    cdef Coming coming
    cdef ShortRows rows
    cdef bint is_spreading = not of.same_step and is_spread(of, b), is_each_full
    if (t == 0 and not of.same_step and not is_spreading) or (is_spreading and of.blocks[b, NUMBER] != 0):
        return
    if is_spreading:
        credit_spread(of, t, b, &by)
        return
    if not of.blocks[b, DENSE]:
        coming = find_coming(of, t, b, 1, mean_row(of, b))
        if by.by_delay == NULL and has_short_rows(of, b):
            for k in range(logs.n):
                rows = rows_of(of, b, logs.at[k], emitted)
                credit_rows(&rows, &by, &coming, &of.weight[0])
            return
        fetch(coming)
    is_each_full = of.blocks[b, WIDTH] < LEAST_WIDTH and is_full(of, b)
    for k in range(logs.n):
        if is_each_full:
            credit_full(of, b, &by, logs.at[k], emitted)
        else:
            credit_block(of, t, b, &by, logs.at[k])


cdef inline Credits credits_of(Credit of, int64_t t, int64_t b) noexcept nogil:
    """Return the increments of an arrival in step t."""
    cdef Credits by
    by.coefficient = &of.coefficient[t * of.n_ports + of.blocks[b, PORT], 0]
    by.scale, by.step, by.by_delay = <real> of.scale[b], of.n_ports * of.coefficient.shape[1], NULL
    if of.by_delay.shape[0] > 0 and of.shift[b] != NONE:
        by.by_delay = &of.by_delay[0] - of.shift[b]
    return by


cdef inline Coming find_coming(Credit of, int64_t t, int64_t b, int64_t later, int64_t synapses) noexcept nogil:
    """Return the coefficients `later` steps after step t to prefetch if many spikes arrive; else an empty range.

    A spike reaches `synapses` synapses; the later step is assumed to have as many spikes as step t.
    """
    cdef int64_t k, place = (t + later) * of.n_ports + of.blocks[b, PORT], spikes = 0, emitted = t - lag(of, b)
    cdef int64_t n_bytes = of.coefficient.shape[1] * <int64_t> sizeof(real)
    cdef Segments logs = segments_of(of, b, &of.input_log, of.received)
    cdef Coming coming
    coming.next = coming.end = NULL
    for k in range(logs.n):
        spikes += logs.at[k].ptr[emitted + 1] - logs.at[k].ptr[emitted]
    coming.each = (n_bytes // LINE) // max(spikes, 1) + 1
    if place < of.coefficient.shape[0] and spikes * synapses * LINE >= MANY * n_bytes:
        coming.next = <const char*> &of.coefficient[place, 0]
        coming.end = coming.next + n_bytes
    return coming


cdef inline void fetch(Coming coming) noexcept nogil:
    while coming.next < coming.end:
        prefetch(coming.next)
        coming.next += LINE


cdef inline int64_t lag(Credit of, int64_t b) noexcept nogil:
    """Steps from a spike's log entry to its arrival."""
    return 0 if of.same_step else lag_of(of, b)


cdef inline int64_t first_of(Credit of, int64_t b) noexcept nogil:
    """First step whose arrivals count; after a delay, arrivals in step 0 are lost."""
    return max(lag(of, b) + of.blocks[b, SINCE], 0 if of.same_step else 1)


cdef inline bint is_tiled(Credit of, int64_t b) noexcept nogil:
    """Whether a block is faster source by source: in small networks, not for readouts."""
    return of.blocks[b, DENSE] and of.blocks[b, PLASTIC] and of.blocks[b, FACTORS] == 0 and \
        of.tile_steps >= FEWEST_STEPS and of.blocks[b, WIDTH] >= LEAST_WIDTH


cdef inline bint is_repeated(const uint32_t* ids, int64_t first, int64_t i) noexcept nogil:
    """Whether spike i repeats a source in a step whose spikes start at `first`: a source counts once, as in NEST."""
    return i > first and ids[i] == ids[i - 1]


cdef int64_t room_for_links(Credit of, int64_t b) noexcept nogil:
    """Return how many numbers `credit_tiles` writes: one per source, two per spike of a tile."""
    cdef int64_t delay = lag(of, b), first = first_of(of, b), last, k, count, most = 0
    cdef Segments logs = segments_of(of, b, &of.input_log, of.received)
    while first < of.n_steps:
        last = min(first + of.tile_steps, of.n_steps)
        count = 0
        for k in range(logs.n):
            count += logs.at[k].ptr[last - delay] - logs.at[k].ptr[first - delay]
        most = max(most, count)
        first = last
    return of.blocks[b, SOURCES] - of.blocks[b, SOURCE] + 2 * most


cdef void credit_tiles(Credit of, int64_t b, int64_t* links) noexcept nogil:
    """As `credit_block` in all steps, by tiles of steps and by source: a row is read and written once per tile."""
    cdef int64_t n = of.blocks[b, SOURCES] - of.blocks[b, SOURCE], s
    cdef Tile tile
    tile.last, tile.head, tile.spikes = first_of(of, b), links, links + n
    while tile.last < of.n_steps:
        tile.first, tile.last = tile.last, min(tile.last + of.tile_steps, of.n_steps)
        for s in range(n):
            tile.head[s] = NONE
        link(of, b, &tile)
        for s in range(n):
            if tile.head[s] != NONE:
                credit_source(of, b, s, &tile)


cdef void link(Credit of, int64_t b, const Tile* tile) noexcept nogil:
    cdef int64_t t, i, k, place = 0, s, delay = lag(of, b), source = of.blocks[b, SOURCE]
    cdef int64_t n = of.blocks[b, SOURCES] - source, start
    cdef Segments logs = segments_of(of, b, &of.input_log, of.received)
    cdef const Spikes* log
    for t in range(tile.last - 1, tile.first - 1, -1):
        for k in range(logs.n):
            log = logs.at[k]
            start = log.ptr[t - delay]
            for i in range(start, log.ptr[t - delay + 1]):
                s = <int64_t> log.ids[i] - source
                if 0 <= s < n and not is_repeated(log.ids, start, i):
                    tile.spikes[place] = tile.head[s]
                    tile.spikes[place + 1] = t
                    tile.head[s] = place
                    place += 2


cdef void credit_source(Credit of, int64_t b, int64_t s, const Tile* tile) noexcept nogil:
    cdef int64_t start = of.row_ptr[of.blocks[b, ROW] + s], length = of.row_ptr[of.blocks[b, ROW] + s + 1] - start, n
    cdef int64_t hole = hole_of(of, b, of.blocks[b, SOURCE] + s, length), i = tile.head[s]
    cdef const real* row[GROUP]
    cdef real scale = of.scale[b]
    while length > 0 and i != NONE:
        n = 0
        while i != NONE and n < GROUP:
            row[n] = &of.coefficient[tile.spikes[i + 1] * of.n_ports + of.blocks[b, PORT], of.blocks[b, TARGET]]
            i = tile.spikes[i]
            n += 1
        credit_piece(hole, n, row, 0, scale, &of.weight[start])
        if hole < length:
            credit_piece(length - hole, n, row, hole + 1, scale, &of.weight[start + hole])


cdef inline void credit_piece(
    int64_t width, int64_t n, const real** row, int64_t place, real scale, real* total
) noexcept nogil:
    """Add the coefficients of n steps, in order of time, to neighbouring synapses of one source."""
    cdef int64_t k
    cdef const real* first = row[0] + place
    cdef const real* second = row[min(1, n - 1)] + place
    cdef const real* third = row[min(2, n - 1)] + place
    if n == 1:
        for k in range(width):
            total[k] += scale * first[k]
    elif n == 2:
        for k in range(width):
            total[k] = (total[k] + scale * first[k]) + scale * second[k]
    elif n == 3:
        for k in range(width):
            total[k] = ((total[k] + scale * first[k]) + scale * second[k]) + scale * third[k]
    else:
        add_four(width, scale, first, second, third, row[3] + place, total)


cdef void credit_spread(Credit of, int64_t t, int64_t b, const Credits* by) noexcept nogil:
    """Accumulate in all rows of the sources whose spikes arrive in step t at the shortest delay, which block b has.

    Arrivals in step 0 are lost.
    """
    cdef uint32_t[WIDEST] at
    cdef int64_t last = 0, later, k
    cdef Segments logs = segments_of(of, b, &of.input_log, of.received)
    cdef Walk walk
    while last < of.blocks[b, DELAYS]:
        later = of.blocks[b + last, DELAY] - of.blocks[b, DELAY]
        if t + later >= of.n_steps:
            break
        at[last] = <uint32_t> (later * by.step)
        last += 1
    if of.target.shape[0] == 0:
        return
    fetch(find_coming(of, t, b, of.blocks[b + of.blocks[b, DELAYS] - 1, DELAY] - of.blocks[b, DELAY] + 1,
                      mean_row(of, b, of.blocks[b, DELAYS])))
    prepare_walks(&walk, of, b, t == 0, last, at)
    for k in range(logs.n):
        credit_walks(of, b, by, logs.at[k], t - lag(of, b), &walk)


cdef inline void credit_walks(
    Credit of, int64_t b, const Credits* by, const Spikes* log, int64_t emitted, Walk* walk
) noexcept nogil:
    cdef const uint32_t* ids = log.ids
    cdef int64_t start = log.ptr[emitted], stop = log.ptr[emitted + 1]
    cdef int64_t i = first_at_least(ids, start, stop, of.blocks[b, SOURCE])
    while i < stop and ids[i] < of.blocks[b, SOURCES]:
        if not is_repeated(ids, start, i):
            begin_walk(walk, of, b, ids, i, stop)
            while go_on(walk, of, b):
                credit_stretch(&walk.part, by, walk.shift, &of.weight[0])
        i += 1


cdef void credit_full(Credit of, int64_t b, const Credits* by, const Spikes* log, int64_t emitted) noexcept nogil:
    """As `credit_block` if `is_full` and rows are short, such as rows onto readouts."""
    cdef const uint32_t* ids = log.ids
    cdef int64_t start = log.ptr[emitted], stop = log.ptr[emitted + 1], end = of.blocks[b, SOURCES]
    cdef int64_t i = first_at_least(ids, start, stop, of.blocks[b, SOURCE]), k, width = of.blocks[b, WIDTH]
    cdef const real* coefficient = by.coefficient + of.blocks[b, TARGET]
    cdef real* total = &of.weight[0] + of.row_ptr[of.blocks[b, ROW]] - of.blocks[b, SOURCE] * width
    cdef real scale = by.scale
    while i < stop and ids[i] < end:
        prefetch(total + ids[min(i + FULL_AHEAD, stop - 1)] * width)
        if not is_repeated(ids, start, i):
            for k in range(width):
                total[ids[i] * width + k] += scale * coefficient[k]
        i += 1


cdef void credit_block(Credit of, int64_t t, int64_t b, const Credits* by, const Spikes* log) noexcept nogil:
    cdef const uint32_t* ids = log.ids
    cdef int64_t last = log.ptr[t - lag(of, b) + 1]
    cdef int64_t i = first_at_least(ids, log.ptr[t - lag(of, b)], last, of.blocks[b, SOURCE])
    cdef int64_t j, k, row = NONE, before, hole
    cdef const real* coefficient
    cdef real* total
    cdef Credits own = by[0]
    cdef Stretch part
    cdef Found found
    part.offset = NULL
    while i < last and ids[i] < of.blocks[b, SOURCES]:
        find_rows(&found, of, b, ids, &i, last)
        for j in range(found.n):
            before, row = row, found.row[j]
            part.start, part.stop = of.row_ptr[row], of.row_ptr[row + 1]
            part.ahead = fetch_ahead(&found, j, of)
            if of.blocks[b, FACTORS]:
                own.scale = <real> (by.scale * factor_of(of, b, row, of.origin + t))
            if row == before or part.start == part.stop:  # a source counts once per step, as in NEST
                continue
            total = &of.weight[0]
            if of.blocks[b, DENSE]:
                hole = part.start + hole_of(of, b, of.blocks[b, SOURCE] + row - of.blocks[b, ROW],
                                            part.stop - part.start)
                coefficient = by.coefficient + of.blocks[b, TARGET] - part.start
                for k in range(part.start, hole):
                    total[k] += own.scale * coefficient[k]
                for k in range(hole, part.stop):
                    total[k] += own.scale * coefficient[k + 1]
                continue
            part.target = &of.target[0]
            if by.by_delay == NULL:
                gather(&part, &own, total)
            else:
                credit_stretch(&part, &own, 0, total)


cdef inline void gather(const Stretch* part, const Credits* by, real* total) noexcept nogil:
    """As `credit_stretch` for one row, without offsets and delays."""
    cdef int64_t k = part.start, stop = part.stop, end
    cdef const uint32_t* target = part.target
    cdef const real* coefficient = by.coefficient
    cdef real scale = by.scale
    if part.ahead == 0:
        for k in range(k, stop):
            total[k] += scale * coefficient[target[k]]
        return
    while k < stop:
        prefetch_stride(k + part.ahead, target, total)
        end = k + STRIDE if k + STRIDE < stop else stop
        for k in range(k, end):
            total[k] += scale * coefficient[target[k]]
        k = end
