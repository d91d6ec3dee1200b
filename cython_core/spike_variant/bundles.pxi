# Short rows of an engine (engine.pxi) that have the same to do in a step: what their synapses keep is copied side by
# side, so that functions on rows meet one long row, and copied back. Only synapses wait for that; books are those of a
# row that was worked off. What arrives in a step at all delays of a projection is listed and put in order for it.

cdef extern from "spike_variant/bundles.h" nogil:
    enum:
        SPAN

    ctypedef struct Span:
        int64_t start, n

    void take_spans(int64_t count, const Span* span, const real* given, real* to)
    void take_targets(int64_t count, const Span* span, const uint32_t* given, uint32_t* to)
    void repeat_spans(int64_t count, const Span* span, const double* of_row, double* to)
    void return_spans(int64_t count, const Span* span, const real* given, real* to)

cdef enum:
    BUNDLED = 256           # synapses that lie side by side
    BUNDLED_ROWS = 64
    BUNDLED_SPAN = 64       # of a row among them, at most
    BESIDE = BUNDLED + 16   # with SPAN after them, which are read, too
    MOST_TRACES = 11        # of a synapse, as in `MOST_COMPOSED` of neurons/model.py, and one more
    MOST_BESIDE = MOST_TRACES + 4 + 4    # arrays; with those that optimizers keep
    MOST_LISTED = 1024      # rows
    AGES = 256              # steps since the latest arrival that are told apart

cdef struct Work:            # what a row works off, in this order; a stretch without numbers is none
    int64_t n_decay          # steps past the cutoff, then the traces alone of step `first` - 1; -1: not closed
    double alpha_decay, kappa_decay, other_decay
    NEURON_STRETCH before
    int64_t first, n         # single steps
    const double* entering   # (n + 1,) spikes that enter in each of them and after the last; NULL: none
    NEURON_STRETCH after
    int64_t last_credit      # at the cutoff: the signal of the step before this one counts, too; else -1
    double arrived           # spikes that enter in the step that comes
    bint owes, updates       # whether C holds a gradient; whether the weight changes now, and is delivered
    double eta, low, high
    bint optimizes           # whether the optimizer steps then, up to step `due`
    int64_t due

cdef struct Waits:          # a row between two arrivals, and what its weights change by
    int64_t latest, cursor, waiting, older, closed
    double eta, low, high

cdef struct Bundle:
    int64_t n_rows, n       # and synapses
    int64_t[BUNDLED_ROWS] row
    Span[BUNDLED_ROWS] span
    double[BUNDLED_ROWS] Z  # as the work finds it
    double[WINDOW] entering    # spikes in each single step
    Work work               # of stretches, which may refer to them
    Waits before            # as the work finds rows
    int64_t waiting, older  # and leaves them, of windows
    int64_t n_steps

cdef struct Beside:         # what synapses of a bundle keep
    int64_t n               # arrays
    real* array[MOST_BESIDE]
    uint32_t[BESIDE] target
    real[MOST_BESIDE * BESIDE] value


cdef inline Bundle* begin_bundle(Rows rows, int64_t b, Bundle* bundle) noexcept nogil:
    """An empty bundle, NULL where each row is worked off by itself: rows are long, or gradients are kept."""
    bundle.n_rows = bundle.n = 0
    return bundle if has_short_rows(rows, b) and rows.total.shape[0] == 0 else NULL


cdef inline bint can_join(Rows rows, int64_t row) noexcept nogil:
    """Whether a row may be one of a bundle: it is neither long nor among the last ones of a table."""
    cdef int64_t start = rows.row_ptr[row], n = rows.row_ptr[row + 1] - start
    return n <= BUNDLED_SPAN and start + BUNDLED_SPAN + SPAN <= rows.target.shape[0]


cdef inline bint has_room(const Bundle* of, int64_t n) noexcept nogil:
    return of.n_rows < BUNDLED_ROWS and of.n + n <= BUNDLED


cdef inline void join(Bundle* of, Rows rows, int64_t row, double Z) noexcept nogil:
    cdef int64_t start = rows.row_ptr[row]
    of.row[of.n_rows], of.Z[of.n_rows] = row, Z
    of.span[of.n_rows] = Span(start, rows.row_ptr[row + 1] - start)
    of.n += rows.row_ptr[row + 1] - start
    of.n_rows += 1


cdef inline Waits waits_of(Rows rows, int64_t b, int64_t row) noexcept nogil:
    cdef const int64_t* books = &rows.books[row, 0]
    return Waits(books[LATEST], books[CURSOR], books[WAITING], books[OLDER], books[CLOSED], rows.constants[b, ETA],
                 low_of(rows, b, row), high_of(rows, b, row))


cdef inline bint same_waits(const Waits* one, const Waits* other) noexcept nogil:
    return one.latest == other.latest and one.cursor == other.cursor and one.waiting == other.waiting and \
        one.older == other.older and one.closed == other.closed and one.eta == other.eta and one.low == other.low and \
        one.high == other.high


cdef inline void begin_beside(Rows rows, const Bundle* of, Beside* beside) noexcept nogil:
    beside.n = 0
    take_targets(of.n_rows, of.span, &rows.target[0], beside.target)
    memset(&beside.target[of.n], 0, SPAN * sizeof(uint32_t))


cdef inline real* take_beside(const Bundle* of, real* array, Beside* beside) noexcept nogil:
    """What the synapses of a bundle keep in an array, side by side; 0 after them."""
    cdef real* to = &beside.value[beside.n * BESIDE]
    take_spans(of.n_rows, of.span, array, to)
    memset(to + of.n, 0, SPAN * sizeof(real))
    beside.array[beside.n] = array
    beside.n += 1
    return to


cdef inline void return_beside(Bundle* of, const Beside* beside) noexcept nogil:
    """The way back of all arrays; the bundle is empty then."""
    cdef int64_t k
    for k in range(beside.n):
        return_spans(of.n_rows, of.span, &beside.value[k * BESIDE], beside.array[k])
    of.n_rows = of.n = 0


cdef void optimize_beside(
    Engine engine, int64_t due, double eta, Rows rows, int64_t b, const Bundle* of, real* C, real* weight,
    Beside* beside
) noexcept nogil:
    """`optimize` of the rows of a bundle: those of which the optimizer made the same steps, at once."""
    cdef int64_t j, k, start, i = 0, stop = 0
    cdef Optimized optimized
    rows.constants[b, ETA] = eta             # another row may have one of its own by now, see `take_rate`
    find_optimized(rows, b, of.row[0], &optimized)
    optimized.gradient, optimized.weight = C, weight
    for j in range(MOST_KEPT):
        if optimized.kept[j] != NULL:
            optimized.kept[j] = take_beside(of, optimized.kept[j], beside)
    while i < of.n_rows:
        k, start = i, stop
        while i < of.n_rows and rows.counters[of.row[i]] == rows.counters[of.row[k]]:
            stop += of.span[i].n
            i += 1
        optimize_rows(engine, &optimized, due, rows, b, &of.row[k], i - k, start, stop)


cdef inline void work_together(Engine engine, Rows rows, int64_t b, Bundle* together) noexcept nogil:
    """Work off the rows of a bundle of the block, if there is one; it is empty then."""
    if together == NULL or together.n_rows == 0:
        return
    if rows.rules[b, MODE] == STRETCH:
        work_bundle(engine, rows, b, together)
    else:
        work_windows(engine, rows, b, together)


cdef inline bint is_bundled(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Whether rows are so short that those that have the same to do learn together."""
    return engine.learns and (rows.rules[b, MODE] == STRETCH or rows.rules[b, LINED] == 1) and \
        not rows.blocks[b, FACTORS] and not rows.rules[b, MOVES] and rows.total.shape[0] == 0 and \
        rows.traces.shape[0] <= MOST_TRACES and has_short_rows(rows, b)


cdef void deliver_listed(
    Engine engine, int64_t t, Rows rows, int64_t b, Spikes** logs, int64_t n, bint drawn, total_of[::1] arriving
) noexcept nogil:
    """What arrives at all delays of the projection whose first block is b; `drawn`: as in drawn_delays.pxi."""
    cdef int64_t[MOST_LISTED] found
    cdef int64_t d, k, i, stop, emitted, count = 0
    cdef int64_t first = rows.blocks[b, SOURCE], last = rows.blocks[b, SOURCES]
    cdef int64_t* latest = &rows.emitted[0] + rows.emitted_of[b]
    cdef const uint32_t* ids
    cdef Drawn of
    if drawn:
        of = drawn_of(engine, t, rows, b)
    for d in range(rows.blocks[b, DELAYS]):
        emitted = t - rows.blocks[b + d, DELAY] + (rows.blocks[b, LOG] == 0)
        if emitted < rows.blocks[b + d, SINCE]:
            continue
        for k in range(n):
            ids, stop = logs[k].ids, logs[k].ptr[emitted - engine.channel.base + 1]
            i = first_at_least(ids, logs[k].ptr[emitted - engine.channel.base], stop, first)
            while i < stop and ids[i] < last:
                if d == 0:
                    latest[ids[i] - first] = emitted
                found[count] = row_of(rows.blocks, b + d, ids[i])
                count += found[count] >= 0
                i += 1
                if count == MOST_LISTED:
                    if drawn:
                        arrive_by_lanes(engine, t, rows, b, &of, found, count, arriving)
                    else:
                        arrive_listed(engine, t, rows, b, found, count, arriving)
                    count = 0
    if drawn:
        arrive_by_lanes(engine, t, rows, b, &of, found, count, arriving)
        engine.work += of.work
    else:
        arrive_listed(engine, t, rows, b, found, count, arriving)


cdef void arrive_listed(
    Engine engine, int64_t t, Rows rows, int64_t b, const int64_t* found, int64_t count, total_of[::1] arriving
) noexcept nogil:
    """Rows learn in the order of their latest arrivals, by which most of those that have the same to do meet.

    They deliver in the order of the list, so that a target adds its weights as without one.
    """
    cdef int64_t[AGES] head
    cdef int64_t[MOST_LISTED] following, order
    cdef int64_t i, k, age, row, n = 0
    cdef Bundle bundle
    cdef Bundle* together = begin_bundle(rows, b, &bundle)
    for age in range(AGES):
        head[age] = NOBODY
    for i in range(count):
        prefetch_books(rows, found[i])
    for i in range(count - 1, -1, -1):
        if rows.row_ptr[found[i]] < rows.row_ptr[found[i] + 1]:
            age = min(t - rows.books[found[i], LATEST], <int64_t> AGES - 1)
            following[i], head[age] = head[age], i
    for age in range(AGES):
        i = head[age]
        while i != NOBODY:
            order[n] = found[i]
            i = following[i]
            n += 1
    for i in range(min(n, <int64_t> AHEAD)):
        fetch_synapses(rows, order[i], True, True)
    for i in range(n):
        row = order[i]
        if i + AHEAD < n:
            fetch_synapses(rows, order[i + AHEAD], True, True)
        if rows.books[row, LATEST] == t:
            learn_again(rows, row)
        else:
            arrive(engine, t, rows, b, row, NOBODY, 0, 1.0, arriving, together)
    work_together(engine, rows, b, together)
    for i in range(count):
        for k in range(rows.row_ptr[found[i]], rows.row_ptr[found[i] + 1]):
            arriving[rows.target[k]] += rows.weight[k]
