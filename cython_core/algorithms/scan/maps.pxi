# Algorithm `scan`: O(1) per synaptic event for any neuron, by composed maps of steps.
#
# Until a spike enters, the traces of a synapse change linearly, by numbers of the target and the step alone. So several
# steps compose to a linear map of the traces and of the gradient: some numbers per target, and powers of kappa per
# population. No division occurs. Code for steps and for rows is generated from the equations
# (pareprop/neurons/composed_maps.py, composed_map_rows.py), for NEST's own neurons when the package is built. For
# these, ebar of step u - 1 is multiplied by L of step u - 1 in step u:
#     g += L_(u-1) ebar;  e = psi_u (zbar - beta eps);  eps = rho eps + e;  ebar = kappa ebar + e;  zbar = alpha zbar
# Traces are stored ahead: zbar of step u includes all spikes that enter in step u. So with m = 1 a spike enters as + 1
# when it arrives. In other neurons a spike enters by an expression of the step: maps from a step to the end of the
# block, by which rows are closed, include it; elsewhere that step is a single one. If kappa_reg differs, and with
# rewards, there is a second trace, with some more numbers.
#
# Blocks have MAP_STEPS steps. A target keeps a map from the start of the present block to now, extended by each step,
# and maps from the starts of the latest GAPS blocks to the start of the present one, extended by each block. A row is
# *closed* at the end of the block in which its spike entered, by a map from that step to the end; these maps are
# composed backward through the block. An arrival in a later block takes two maps: up to the start of the present
# block, and from there to now. Arrivals in one block go step by step. A row that waits longer is folded.
# With m > 1 spikes wait m - 1 more steps, which closing takes as single steps. The same holds if synapses move: new
# synapses have traces of 0, which change only when later spikes enter.
#
# Each target's numbers are computed in the order of time, so no bit depends on ranks.

cdef enum:
    NODES_AHEAD = 32         # synapses to the one whose maps are prefetched
    NEAR = 1000              # neurons whose maps fit into a cache
    NEAR_BY_EQUATIONS = 3000    # the same for custom models
    NOT_OPEN = -(1 << 30)    # in ScanRows.mark; a multiple of two blocks
    NOBODY = -1              # end of a list of rows
    RECORDS_PAY = 2          # single steps of synapses per neuron and step, from which on records are made
    ALPHA = 0                # indices of powers in ScanRows.powers
    KAPPA = 1
    KAPPA_REG = 2
    MOST_TRACES = 11         # of a synapse, as in `MOST_COMPOSED` of neurons/model.py, and one more
    MOST_SIGNALS = MAP_STEPS + 2    # single steps: of a block, the step before, and the one at the cutoff

cdef struct Work:            # pending steps of a row, in this order; a map without numbers is none
    int64_t n_decay          # steps past the cutoff, then the traces alone of step `first` - 1; -1: not closed
    double alpha_decay, kappa_decay, other_decay
    NEURON_MAP before
    int64_t first, n         # single steps
    const double* entering   # (n + 1,) spikes that enter in each of them and after the last; NULL: none
    NEURON_MAP after
    int64_t last_credit      # at the cutoff: the signal of the step before this one counts, too; else -1
    double arrived           # spikes that enter in the next step
    bint has_gradient, updates    # whether C holds a gradient; whether the weight changes now, and is delivered
    double eta, low, high


# ---- neurons ---------------------------------------------------------------------------------------------------------

cdef void advance_maps(Engine engine, ComposedMaps at, int64_t t) noexcept nogil:
    """Before spikes arrive in step t: append the step that is known now; if its block ends, close the block."""
    cdef int64_t p, u = t - engine.m, k = u % MAP_STEPS
    cdef int64_t into = RUNNING if k < MAP_STEPS - 1 else gap_before(u + 1, 0)
    if u < 0:
        at.reached, at.begun = 0, 0    # another sample may have run before
        return
    at.reached, at.begun = u, u - k
    close_at_cutoff(engine, t, engine.incoming)
    if k == 0:
        at.products[RUNNING] = 1.0
        begin_records(at, u)
    for p in range(engine.neurons.pieces.shape[0]):
        append(engine, at, p, u, k, into)
    if engine.online.in_use:
        at.products[RUNNING] *= discount_of(engine, u)
    at.reached = u + 1
    if at.recorded == u:
        at.recorded = u + 1
    if k == MAP_STEPS - 1:
        end_block(engine, engine.incoming)
        at.begun = at.reached


cdef inline double discount_of(Engine engine, int64_t u) noexcept nogil:
    """Factor of the trace of TD errors in step u."""
    return engine.online.discount[error_seen(engine, u)]


cdef inline int64_t error_seen(Engine engine, int64_t u) noexcept nogil:
    """Index of the TD error that acts in step u."""
    cdef int64_t n = engine.online.delta.shape[0]
    return (u - 1 + engine.online.d_out + n) % n


cdef inline double keep_of(ComposedMaps at, int64_t place, double kappa_reg, int64_t n) noexcept nogil:
    """Factor of the second trace over the n steps of a map."""
    return at.products[place] if at.kind == REWARDED else power_of(kappa_reg, n)


cdef inline NEURON_MAP map_of(
    ComposedMaps at, bint by_equations, int64_t place, int64_t j, double kappa, double keep, double common
) noexcept nogil:
    """A map of the neurons from j on, with factors of ebar, the second trace and the shared trace."""
    if not by_equations:
        return NEURON_MAP(&at.number[place, j, 0], NULL, at.number.shape[2], kappa, keep, common)
    if place == SUFFIX:
        return NEURON_MAP(&at.suffix_of_models[j, 0], &at.apart[place, j], at.suffix_of_models.shape[1], kappa,
                          keep, common)
    return NEURON_MAP(&at.of_models[place, j, 0], &at.apart[place, j], at.of_models.shape[2], kappa, keep, common)


cdef inline NEURON_MAP map_in(
    Engine engine, ComposedMaps at, int64_t p, int64_t place, int64_t n
) noexcept nogil:
    """A map of n steps of a piece of the neurons; a running map has the same `keep` as the gap that it becomes."""
    return map_of(at, engine.neurons.pieces[p, MODEL] & BY_EQUATIONS, place, engine.neurons.pieces[p, FIRST],
                  power_of(engine.sums.powers[p, 1, 1], n), keep_of(at, place, engine.sums.powers[p, 3, 1], n), 1.0)


cdef inline const real* ring_row(real[:, ::1] ring, int64_t u, int64_t first) noexcept nogil:
    return &ring[(u + ring.shape[0]) % ring.shape[0], first]


cdef inline real* derived_of(ComposedMaps at, int64_t u, int64_t first) noexcept nogil:
    """Stored derivatives of step u, from neuron `first` on; NULL if there are none."""
    return &at.derived[u % MAP_STEPS, 0, first] if at.derived.shape[1] > 0 else NULL


cdef inline NeuronSignals signals_of(
    Engine engine, ComposedMaps at, int64_t p, int64_t u, int64_t first
) noexcept nogil:
    cdef double kappa_reg = engine.sums.powers[p, 3, 1]
    return NeuronSignals(ring_row(engine.histories.L, u - 1, first), ring_row(engine.histories.F, u - 1, first),
                         at.kind, engine.sums.powers[p, 1, 1],
                         discount_of(engine, u) if at.kind == REWARDED else kappa_reg, 1.0 - kappa_reg,
                         engine.online.delta[error_seen(engine, u)])


cdef void begin_records(ComposedMaps at, int64_t u) noexcept nogil:
    """Start a block with step u; decide whether to write the inputs of single steps into packed records."""
    cdef bint pays = at.followed > RECORDS_PAY * at.records.shape[0] * at.records.shape[1]
    at.recorded = u if pays and at.records.shape[0] > 0 else NEVER
    at.followed = 0


cdef inline double* record_of(ComposedMaps at, int64_t u, int64_t first) noexcept nogil:
    return &at.records[u % MAP_STEPS, first, 0]


cdef void append(Engine engine, ComposedMaps at, int64_t p, int64_t u, int64_t k, int64_t into) noexcept nogil:
    """Append step u to the k steps of the present block."""
    cdef int64_t first = engine.neurons.pieces[p, FIRST], last = engine.neurons.pieces[p, LAST]
    cdef NeuronSignals signals
    cdef NEURON_MAP running, becomes
    if at.addresses[p] == 0 or first == last:
        return
    signals = signals_of(engine, at, p, u, first)
    running, becomes = map_in(engine, at, p, RUNNING, k), map_in(engine, at, p, into, 0)
    (<const NeuronMaps*> at.addresses[p]).append(
        last - first, engine.neurons.v.shape[0], column(engine.neurons.constants, first), engine.neurons.shared[p],
        history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
        ring_row(engine.histories.psi, u, first), &signals, derived_of(at, u, first), k == 0, &running, &becomes,
        record_of(at, u, first) if at.recorded == u else NULL, at.records.shape[2]
    )


cdef void prepend(Engine engine, ComposedMaps at, int64_t u, int64_t k) noexcept nogil:
    """Put step u before the k steps of the suffix."""
    cdef int64_t p, first, last
    cdef NeuronSignals signals
    cdef NEURON_MAP suffix
    for p in range(engine.neurons.pieces.shape[0]):
        first, last = engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST]
        if at.addresses[p] == 0 or first == last:
            continue
        signals, suffix = signals_of(engine, at, p, u, first), map_in(engine, at, p, SUFFIX, k)
        (<const NeuronMaps*> at.addresses[p]).prepend(
            last - first, engine.neurons.v.shape[0], column(engine.neurons.constants, first), engine.neurons.shared[p],
            history_of(engine.neurons, u - 1, first), history_of(engine.neurons, u, first),
            ring_row(engine.histories.psi, u, first), &signals, derived_of(at, u, first), k == 0, &suffix
        )
    if engine.online.in_use:
        at.products[SUFFIX] *= discount_of(engine, u)


cdef void end_block(Engine engine, Rows rows) noexcept nogil:
    """Close the rows whose spikes entered in the block that ends, extend maps of several blocks, fold old rows."""
    cdef int64_t b, u, end = engine.maps.reached, waiting = list_rows(engine, rows)
    engine.maps.products[SUFFIX] = 1.0
    u = end
    while waiting > 0:
        u -= 1
        prepend(engine, engine.maps, u, end - 1 - u)
        for b in range(rows.blocks.shape[0]):
            waiting -= close_listed(engine, u, rows, b)
    extend_gaps(engine, engine.maps, end)
    engine.maps.products[gap_before(end, 0)] = engine.maps.products[RUNNING]
    for b in range(rows.blocks.shape[0]):
        fold_listed(engine, rows, b)


cdef inline int64_t gaps_before(int64_t end) noexcept nogil:
    """Number of gaps at the end of a block, plus one."""
    return min(<int64_t> GAPS, end // MAP_STEPS)


cdef inline int64_t gap_before(int64_t end, int64_t k) noexcept nogil:
    """Index of the gap of k blocks."""
    return (end // MAP_STEPS - k - 1) % GAPS


cdef void extend_gaps(Engine engine, ComposedMaps at, int64_t end) noexcept nogil:
    """Extend gaps to the end of the block, which is itself the gap of 0 blocks."""
    cdef int64_t p, k, first, last
    cdef NEURON_MAP[GAPS] gaps
    cdef NEURON_MAP block
    for p in range(engine.neurons.pieces.shape[0]):
        first, last = engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST]
        if at.addresses[p] == 0 or first == last:
            continue
        for k in range(1, gaps_before(end)):
            gaps[k] = map_in(engine, at, p, gap_before(end, k), k * MAP_STEPS)
        block = map_in(engine, at, p, gap_before(end, 0), MAP_STEPS)
        block.keep = keep_of(at, RUNNING, engine.sums.powers[p, 3, 1], MAP_STEPS)
        (<const NeuronMaps*> at.addresses[p]).compose(last - first, at.kind, gaps_before(end) - 1, &gaps[1],
                                                      &block)
    for k in range(1, gaps_before(end)):
        at.products[gap_before(end, k)] *= at.products[RUNNING]


# ---- lists of rows ---------------------------------------------------------------------------------------------------

cdef inline void mark_row(Rows rows, int64_t row) noexcept nogil:
    """State of a row for the end of the block: 2 cursor, + 1 if a spike waits."""
    rows.scan.mark[row] = 2 * rows.books[row, CURSOR] + (rows.books[row, WAITING] != 0)


cdef int64_t list_rows(Engine engine, Rows rows) noexcept nogil:
    """List rows to close, by step, and rows to fold; return how many to close."""
    cdef int64_t b, row, key, first, last, waiting = 0, end = engine.maps.reached
    cdef int64_t old = 2 * (end - GAPS * MAP_STEPS)
    for b in range(rows.blocks.shape[0]):
        rows.scan.head[b, :] = NOBODY
        if rows.settings[b].algorithm != SCAN or not is_last(rows, b):    # it holds all rows of the projection
            continue
        first = rows.blocks[b, ROW]
        last = first + rows.blocks[b, ROWS]
        for row in range(first, last):
            if rows.scan.mark[row] % (2 * MAP_STEPS) == 0 and rows.scan.mark[row] != old:
                continue
            key = MAP_STEPS if rows.scan.mark[row] == old else key_of(end, rows, row) - (end - MAP_STEPS)
            if key >= 0 and (rows.row_ptr[row] < rows.row_ptr[row + 1] or rows.settings[b].moves):
                rows.scan.following[row], rows.scan.head[b, key] = rows.scan.head[b, key], row
                waiting += key < MAP_STEPS
    return waiting


cdef inline int64_t key_of(int64_t end, Rows rows, int64_t row) noexcept nogil:
    """Step from which a map takes the row to the end of the block; a step before the block: nothing to do."""
    cdef int64_t cursor = rows.books[row, CURSOR], latest = rows.books[row, LATEST], i = max(latest - end + 1, 0)
    cdef uint64_t bits = <uint64_t> rows.books[row, WAITING] >> i
    if bits != 0:
        while bits & 1 == 0:
            bits >>= 1
            i += 1
        return max(cursor, latest - i)
    return cursor if cursor % MAP_STEPS != 0 else -end


cdef int64_t close_listed(Engine engine, int64_t u, Rows rows, int64_t b) noexcept nogil:
    """Close the rows listed for step u; return how many."""
    cdef int64_t end = engine.maps.reached, count = 0, row, following
    cdef double[MAP_STEPS + 1] entering_
    cdef Work work
    row = rows.scan.head[b, u - (end - MAP_STEPS)]
    while row != NOBODY:
        following = rows.scan.following[row]
        if following != NOBODY:
            prefetch_books(rows, following)
        plan(engine, u, rows, b, row, entering_, &work)
        if rows.books[row, WAITING] != 0:
            if work.entering == NULL:
                work.entering = entering_
                memset(entering_, 0, work.n * sizeof(double))
            entering_[work.n] = entering(engine, u, rows, row)
        find_map(engine, SUFFIX, end - u, rows, b, &work.after)
        work_off_maps(engine, &work, end, rows, b, row, following)
        row = following
        count += 1
    return count


cdef void fold_listed(Engine engine, Rows rows, int64_t b) noexcept nogil:
    """Bring rows forward before their gap is overwritten."""
    cdef int64_t end = engine.maps.reached, row = rows.scan.head[b, MAP_STEPS], following
    cdef Work work
    while row != NOBODY:
        following = rows.scan.following[row]
        if following != NOBODY:
            prefetch_books(rows, following)
        begin_work(engine, end, rows, row, &work)
        find_map(engine, end // MAP_STEPS % GAPS, GAPS * MAP_STEPS, rows, b, &work.before)
        work_off_maps(engine, &work, end, rows, b, row, following)
        row = following


# ---- rows ------------------------------------------------------------------------------------------------------------

# Work is filled in place: a copy would stall on store forwarding.

cdef inline void begin_work(Engine engine, int64_t first, Rows rows, int64_t row, Work* work) noexcept nogil:
    """No work yet; a row that was brought forward since its latest arrival has a gradient."""
    work.before.number = work.after.number = NULL
    work.entering = NULL
    work.n_decay = work.last_credit = -1
    work.first, work.n, work.arrived, work.updates = first, 0, 0.0, False
    work.has_gradient = rows.books[row, CLOSED] or \
        rows.books[row, CURSOR] != max(rows.books[row, LATEST] - engine.m + 1, 0)


cdef inline void find_map(
    Engine engine, int64_t place, int64_t n, Rows rows, int64_t b, NEURON_MAP* found
) noexcept nogil:
    """Find a map of n steps."""
    cdef bint rewarded = engine.maps.kind == REWARDED
    found[0] = map_of(
        engine.maps, rows.settings[b].model != 0, place, 0, power_in(rows, b, KAPPA, n),
        engine.maps.products[place] if rewarded else power_in(rows, b, KAPPA_REG, n), power_in(rows, b, ALPHA, n)
    )


cdef inline double power_in(Rows rows, int64_t b, int64_t place, int64_t n) noexcept nogil:
    """A decay of a block to the power of n; powers for maps are computed once."""
    cdef const BlockSettings* of = &rows.settings[b]
    cdef double decay = of.alpha if place == ALPHA else of.kappa if place == KAPPA else of.kappa_reg
    cdef double* known
    if n >= rows.scan.powers.shape[2]:
        return power_of(decay, n)
    known = &rows.scan.powers[b, place, n]
    if isnan(known[0]):
        known[0] = power_of(decay, n)
    return known[0]


cdef inline void plan(
    Engine engine, int64_t end, Rows rows, int64_t b, int64_t row, double* entering_, Work* work
) noexcept nogil:
    """Collect the work from the cursor of the row to step `end` of the present block."""
    cdef int64_t u, cursor = rows.books[row, CURSOR], begun = engine.maps.begun
    cdef int64_t shift = max(rows.books[row, LATEST] - end + 1, 0)
    cdef bint waits = (<uint64_t> rows.books[row, WAITING] >> shift) != 0
    begin_work(engine, max(cursor, begun), rows, row, work)
    if cursor < begun:
        find_map(engine, cursor // MAP_STEPS % GAPS, begun - cursor, rows, b, &work.before)
    if cursor > begun or waits or end < engine.maps.reached:
        work.n = max(end - work.first, 0)
        if waits:
            work.entering = entering_
            for u in range(work.n):
                entering_[u] = entering(engine, work.first + u, rows, row)
            entering_[work.n] = 0.0
    elif end > begun:
        find_map(engine, RUNNING, end - begun, rows, b, &work.after)


cdef inline void take_row(
    Engine engine, const Work* work, Rows rows, int64_t b, int64_t row, int64_t ahead, real* arriving, real** traces,
    NeuronRow* of
) noexcept nogil:
    """Describe the synapses of a row; `arriving` is NULL if no spike arrives; traces: OUT, which the row refers to."""
    cdef const BlockSettings* given = &rows.settings[b]
    cdef int64_t k, start = rows.row_ptr[row], near = NEAR_BY_EQUATIONS if given.model != 0 else NEAR
    of.X = NULL
    of.moment = of.variance = NULL
    of.n, of.target, of.owes = rows.row_ptr[row + 1] - start, &rows.target[start], work.has_gradient
    of.readable = rows.target.shape[0] - start
    of.Y, of.C = &rows.traces.Y[start], &rows.traces.C[start]
    of.weight, of.dense = &rows.weight[start], rows.blocks[b, DENSE]
    if given.model != 0:
        for k in range(rows.traces.of_model.shape[0]):
            traces[k] = &rows.traces.of_model[k, start]
    else:
        traces[0] = &rows.traces.zbar[start] if given.own_zbar else NULL
        traces[1] = &rows.traces.eps[start] if given.adaptive else NULL
    of.trace, of.common, of.arrived = traces, rows.Z[row], work.arrived
    if engine.online.in_use:
        of.X = &rows.traces.h[start]
    elif rows.traces.Y2.shape[0] > 0:
        of.X = &rows.traces.Y2[start]
    if arriving != NULL and given.counted:
        of.moment = &rows.optimizing.moments[given.kept[0], start]
        of.variance = &rows.optimizing.moments[rows.optimizing.moments.shape[0] - 1, start]
    of.nodes_ahead = NODES_AHEAD if engine.neurons.v.shape[0] > near and not of.dense else 0
    of.row_ahead = ahead
    of.updates, of.eta, of.low, of.high = work.updates, work.eta, work.low, work.high
    of.arriving = arriving if work.updates else NULL


cdef inline void take_step(
    Engine engine, double kappa_reg, int64_t u, bint accumulates, bint moves, double entering, NeuronStep* step
) noexcept nogil:
    """Describe step u: the signals of the step before, the traces."""
    step.psi = step.L = NULL
    if moves:
        step.psi = ring_row(engine.histories.psi, u, 0)
    step.before, step.kept = history_of(engine.neurons, u - 1, 0), history_of(engine.neurons, u, 0)
    step.derived = derived_of(engine.maps, u, 0)
    if accumulates:
        step.L = ring_row(engine.histories.L, u - 1, 0)
    step.F, step.entering = ring_row(engine.histories.F, u - 1, 0), entering
    step.delta = engine.online.delta[error_seen(engine, u)]
    step.keep = discount_of(engine, u) if engine.maps.kind == REWARDED else kappa_reg


cdef inline double common_after(const Work* work, double alpha, double Z) noexcept nogil:
    """The trace that all synapses of a row share, after the work, computed as in lanes."""
    cdef int64_t i
    if work.before.number != NULL:
        Z *= work.before.common
    if work.n_decay >= 0:
        Z = Z * work.alpha_decay * alpha
    for i in range(work.n):
        Z = (Z + (work.entering[i] if work.entering != NULL else 0.0)) * alpha
    if work.entering != NULL:
        Z += work.entering[work.n]
    return (Z * work.after.common if work.after.number != NULL else Z) + work.arrived


cdef inline void work_synapses(
    Engine engine, const Work* work, int64_t end, Rows rows, int64_t b, int64_t row, int64_t ahead, real* arriving
) noexcept nogil:
    cdef NeuronRow of
    cdef real* traces[MOST_TRACES]
    cdef NeuronStep[MOST_SIGNALS] found
    cdef NeuronSteps single
    cdef bint singly = work.n_decay >= 0 or work.n > 0 or work.last_credit >= 0
    take_row(engine, work, rows, b, row, ahead, arriving, traces, &of)
    engine.work += of.n * (1 + work.n)
    rows.books[row, CURSOR] = end
    rows.Z[row] = common_after(work, rows.settings[b].alpha, of.common)
    if singly:
        engine.maps.followed += of.n * work.n
        take_steps(engine, work, rows, b, found, &single)
    (<const NeuronMaps*> rows.settings[b].maps).go_through(
        rows.blocks[b, PORT], &of, &work.before if work.before.number != NULL else NULL, &single if singly else NULL,
        &work.after if work.after.number != NULL else NULL, work.entering[work.n] if work.entering != NULL else 0.0
    )


cdef void take_steps(
    Engine engine, const Work* work, Rows rows, int64_t b, NeuronStep* found, NeuronSteps* single
) noexcept nogil:
    """Describe single steps; found: OUT, which `single` refers to."""
    cdef int64_t i, n = 0
    cdef double kappa_reg = rows.settings[b].kappa_reg
    if work.n_decay >= 0:
        take_step(engine, kappa_reg, work.first - 1, False, True, 0.0, &found[0])
        n = 1
    for i in range(work.n):
        take_step(engine, kappa_reg, work.first + i, True, True, work.entering[i] if work.entering != NULL else 0.0,
                  &found[n])
        n += 1
    if work.last_credit >= 0:
        take_step(engine, kappa_reg, work.last_credit, True, False, 0.0, &found[n])
    single.other, single.kappa, single.share = engine.maps.kind, rows.settings[b].kappa, 1.0 - kappa_reg
    single.constant, single.shared = column(engine.neurons.constants, 0), rows.settings[b].shared
    single.n_neurons, single.n_decay = engine.neurons.v.shape[0], max(work.n_decay, 0)
    single.kappa_decay, single.keep_decay = work.kappa_decay, work.other_decay
    single.common, single.common_decay = rows.settings[b].alpha, work.alpha_decay
    single.n, single.n_last, single.step, single.record = n, work.last_credit >= 0, found, NULL
    if engine.maps.records.shape[0] > 0 and work.n_decay < 0 and \
            (work.n == 0 or engine.maps.recorded == engine.maps.reached):
        single.record = record_of(engine.maps, work.first, 0)
        single.record_width = engine.maps.records.shape[2]
        single.record_stride = engine.maps.records.shape[1] * single.record_width


cdef void work_off_maps(
    Engine engine, const Work* work, int64_t end, Rows rows, int64_t b, int64_t row, int64_t following
) noexcept nogil:
    """Apply pending steps without an arrival; `following` is the next row."""
    cdef int64_t ahead = rows.row_ptr[following] - rows.row_ptr[row] if following != NOBODY else 0
    work_synapses(engine, work, end, rows, b, row, ahead, NULL)
    mark_row(rows, row)


cdef bint arrive_scan(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil:
    """A spike arrives. Return whether it was delivered, too; a spike with a factor is not, and enters later."""
    cdef int64_t t = spike.t, row = spike.row, end = max(t - engine.m + 1, 0), n
    cdef bint weighs = rows.blocks[b, FACTORS] != 0
    cdef bint at_once = engine.m == 1 and not rows.settings[b].moves and not weighs and \
        (<const NeuronMaps*> rows.settings[b].maps).ahead
    cdef bint descends = not rows.settings[b].counted, delivered = False
    cdef double[MAP_STEPS + 1] entering_
    cdef Work work
    if rows.books[row, LATEST] == NEVER:
        begin_row(rows, row, t, end)
        if at_once:
            begin_work(engine, end, rows, row, &work)
            work.arrived, work.has_gradient = 1.0, False
            work_synapses(engine, &work, end, rows, b, row, spike.ahead, NULL)
    else:
        if rows.books[row, CLOSED]:
            n = t - rows.books[row, LATEST] - rows.settings[b].cutoff
            begin_work(engine, end, rows, row, &work)
            work.n_decay, work.alpha_decay = n, power_in(rows, b, ALPHA, n)
            work.kappa_decay, work.other_decay = power_in(rows, b, KAPPA, n), power_in(rows, b, KAPPA_REG, n)
            rows.books[row, CLOSED] = 0
        else:
            plan(engine, end, rows, b, row, entering_, &work)
        work.arrived, work.updates = at_once, descends
        work.eta, work.low, work.high = rows.settings[b].eta, low_of(rows, b, row), high_of(rows, b, row)
        work_synapses(engine, &work, end, rows, b, row, spike.ahead, NULL if weighs else spike.arriving)
        if not descends:
            optimize(engine, t + engine.lead - 1, rows, b, row)
        delivered = descends and not weighs
    wait(engine, t, rows, row)
    if at_once:
        rows.books[row, WAITING] = 0
    mark_row(rows, row)
    return delivered


cdef void close_at_cutoff(Engine engine, int64_t t, Rows rows) noexcept nogil:
    """Close the rows whose window ends now, by the cutoff, before spikes arrive."""
    cdef int64_t b, k, n, emitted
    cdef bint from_inputs
    cdef Spikes* one
    cdef Spikes** logs
    for b in range(rows.blocks.shape[0]):
        emitted = t - rows.blocks[b, DELAY] + (rows.blocks[b, LOG] == 0)
        if rows.settings[b].algorithm != SCAN or not 0 <= rows.settings[b].cutoff <= emitted:
            continue
        from_inputs = rows.blocks[b, LOG] == 0
        one = &engine.channel.inputs.at if from_inputs else &engine.channel.own.at
        logs = &one if from_inputs or rows.from_own else engine.channel.received.at
        n = 1 if from_inputs or rows.from_own else engine.channel.received.n
        for k in range(n):
            close_rows(engine, t, emitted - rows.settings[b].cutoff, rows, b, logs[k].ids, logs[k].ptr)


cdef void close_scan(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t following
) noexcept nogil:
    """Apply pending steps up to t - m; keep the traces of that step, and count the signal of the step before it."""
    cdef int64_t end = t - engine.m
    cdef double[MAP_STEPS + 1] entering_
    cdef Work work
    plan(engine, end, rows, b, row, entering_, &work)
    work.last_credit = end
    work_synapses(engine, &work, end, rows, b, row, rows.row_ptr[following] - rows.row_ptr[row], NULL)
    rows.scan.mark[row] = NOT_OPEN


cdef void bring_scan(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil:
    cdef double[MAP_STEPS + 1] entering_
    cdef Work work
    if rows.books[row, CURSOR] < engine.maps.reached:
        plan(engine, engine.maps.reached, rows, b, row, entering_, &work)
        work_off_maps(engine, &work, engine.maps.reached, rows, b, row, NOBODY)


algorithms[SCAN].arrive, algorithms[SCAN].close, algorithms[SCAN].bring_forward = arrive_scan, close_scan, bring_scan
