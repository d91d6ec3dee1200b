# How long the phases of a step take; few looks at the clock where steps are short.

from libc.stdint cimport int64_t

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int, timespec*)

cdef enum:
    LAPS = 3          # phases of a step
    FEW = 1000        # neurons: with fewer a look at the clock takes too large a part of a step
    SAMPLED = 8       # then one step in so many is timed


cdef struct Stopwatch:
    double[LAPS] laps      # seconds by phase, of timed steps
    double latest
    bint runs


cdef inline double now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec + 1e-9 * t.tv_nsec


cdef inline double started(Stopwatch* watch, int64_t n) noexcept nogil:
    """Start the stopwatch: seconds before the first of several steps of n neurons.

    With many neurons every step is timed; with fewer than FEW, shares come from all steps sampled so far.
    """
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
