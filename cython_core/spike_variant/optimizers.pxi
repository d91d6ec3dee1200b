# Optimizer steps from `optimizer_steps.h`, which is generated from the optimizers' equations.

cdef extern from *:
    """
    #define NAMED(name) name
    """

cdef extern from "algorithms/lines/lines.h" nogil:
    enum:
        MOST_KEPT
        MOST_FIXED
        MOST_MOVING
        MOST_OF_STEP
        MOST_IDLE_NUMBERS
        SERIES_COLUMNS

    ctypedef struct Optimized:
        int64_t kind
        real low, high
        real* fixed
        real* gradient
        real* weight
        real** kept

    void number_step(int64_t kind, const double* constant, int64_t n, double* of_step)
    void number_fixed(int64_t kind, const double* constant, double eta, real* fixed)
    void number_moving(int64_t kind, const double* constant, double eta, const double* of_step, real* moving)
    void number_idle(int64_t kind, const double* constant, int64_t n, double* idle)
    void rate_of_series(int64_t kind, const double* constant, double eta, const double* of_step, double* rate)
    void step_owed(const Optimized* of, int64_t start, int64_t n, const real* moving)
    void step_idly(
        const Optimized* of, int64_t start, int64_t n, int first, const real* moving, const double* sums,
        const double* numbers
    )
    void add_idle(int64_t n, const double* rate, const double* powers, double* sums)

cdef enum:
    MOST_IDLE = 128    # steps of a part, see algorithms/idle.py
    IDLE_FIRSTS = 512  # first steps whose sums are cached
    FEWEST_IDLE = 2    # fewer steps are taken one by one

cdef struct IdleSums:  # inputs of gradient-free steps that all synapses share
    int64_t first, count
    const double* powers                     # table of the optimizer
    double[MOST_IDLE_NUMBERS] numbers
    double[SERIES_COLUMNS] sums              # with eta = 1


cdef class Optimizing(Bound):
    """State of optimizers, by synapse and by row."""

    cdef public real[:, ::1] moments               # (n_moments, n_synapses)
    cdef public double[::1] total                  # (n_synapses,), sums of applied gradients; empty: not recorded
    cdef public int64_t[::1] counters              # (n_rows,), optimizer steps made
    cdef public int64_t[:, ::1] step_known         # (n_blocks, k), step of each cached entry
    cdef public double[:, :, ::1] step_numbers     # (n_blocks, k, MOST_OF_STEP + 1), its numbers, see optimizing.pxi
    # of steps without a gradient, see algorithms/idle.py: powers, steps of a part and until none is needed
    cdef public double[:, :, ::1] idle_powers      # (k, steps, SERIES_COLUMNS)
    cdef public int64_t[:, ::1] idle_steps         # (k, 2)
    cdef IdleSums[IDLE_FIRSTS] idle                # by first step
