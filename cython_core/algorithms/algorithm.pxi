# The algorithms by which synapses learn, as the engine sees them: what each does whenever the engine asks a row.
#
# An algorithm is a folder next to this file, which fills a row of the table; Python chooses one for each projection.

cdef struct Arrival:       # a spike that arrives at a row
    int64_t t, row, source
    int64_t ahead          # synapses to a row that comes soon, or 0
    double factor          # of short-term plasticity
    real* arriving         # what weights are added to, by target

cdef struct Window:        # steps of the history that a row goes through one by one
    int64_t first, n
    double[WINDOW] traces  # in each: zbar of the source, or what enters where synapses have their own
    bint fused             # a step of the optimizer follows each, with numbers of its own
    real[WINDOW * MOST_MOVING] moving

ctypedef bint (*Arrive)(Engine engine, Rows rows, int64_t b, const Arrival* spike) noexcept nogil
ctypedef void (*EndWindows)(
    Engine engine, int64_t t, Rows rows, int64_t b, int64_t emitted, const Spikes* log
) noexcept nogil
ctypedef void (*Fold)(Engine engine, int64_t t, Rows rows, int64_t b) noexcept nogil
ctypedef void (*AtRow)(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row) noexcept nogil
ctypedef void (*Close)(Engine engine, int64_t t, Rows rows, int64_t b, int64_t row, int64_t following) noexcept nogil
ctypedef void (*WorkWindow)(Engine engine, const Window* window, Rows rows, int64_t b, int64_t row) noexcept nogil
ctypedef void (*SumUp)(Engine engine, int64_t first, int64_t end, Rows rows, int64_t b, int64_t row) noexcept nogil

cdef struct Algorithm:     # functions; NULL: there is nothing to do
    Arrive arrive          # work off the window since the latest spike, update the weights; return whether it delivered
    EndWindows end_windows    # after the arrivals of a step: what was emitted earlier enters, or reaches the cutoff
    Fold fold              # then work off what would leave the histories, in all rows of a projection
    AtRow catch_up         # the same in a row, of those that `fold` of arrivals.pxi asks
    Close close            # the cutoff is reached: the window ends here; `following` may be closed next
    AtRow bring_forward    # work off what is known before step t, of a row whose synapses move
    # of those that take windows step by step, see steps/windows.pxi
    WorkWindow work            # go through the steps of a window
    SumUp sum_up           # go through steps in which no spike enters, by sums
    AtRow decay            # let what synapses keep decay by `t` steps

cdef Algorithm[ALGORITHMS] algorithms
memset(algorithms, 0, sizeof(algorithms))


cdef inline const Algorithm* algorithm_of(Rows rows, int64_t b) noexcept nogil:
    return &algorithms[rows.settings[b].algorithm]


cdef inline bint learns_ever(Rows rows, int64_t b) noexcept nogil:
    return algorithm_of(rows, b).arrive != NULL
