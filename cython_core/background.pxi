# Poisson background: in each step a neuron gets `count` spikes of one weight, drawn by its number and the step alone.
#
# Stream `step` of the key of a background holds the numbers of that step, 32 bits for each neuron of the population:
# the low half of number i belongs to neuron 2i, the high half to neuron 2i + 1. A count is how many thresholds are
# below that number: threshold k is 2**32 times the probability of at most k spikes, rounded up, less one.

from pareprop.core.layout cimport (
    BACKGROUND_FIRST, BACKGROUND_LAST, BACKGROUND_NUMBER, BACKGROUND_PORT, BACKGROUND_WEIGHT, LEVEL, LEVELS,
    LEVELS_EACH,
)
from pareprop.core.random cimport count_levels


cdef inline void add_background(Neurons cells, int64_t step) noexcept nogil:
    """Add what background brings in a step; `step` is the number of its draws."""
    cdef uint64_t raw[DRAWS]
    cdef uint32_t numbers[2 * DRAWS]
    cdef uint32_t counts[2 * DRAWS]
    cdef int64_t b, low, high, at, first, stop, place, k
    cdef int n, i, own
    cdef Stream own_stream
    for b in range(cells.backgrounds.shape[0]):
        low = cells.backgrounds[b, BACKGROUND_NUMBER]
        high = low + cells.backgrounds[b, BACKGROUND_LAST] - cells.backgrounds[b, BACKGROUND_FIRST]
        own_stream = stream(cells.background_keys[b], <uint64_t> step)
        at = low - low % (2 * DRAWS)      # a block of numbers serves twice as many neurons
        while at < high:
            first, stop = max(at, low), min(at + 2 * DRAWS, high)
            n, own = <int> (stop - first), <int> (first - at)
            draw_raw(own_stream, at >> 1, (stop - at + 1) >> 1, raw)
            for i in range(<int> ((stop - at + 1) >> 1)):
                numbers[2 * i] = <uint32_t> raw[i]
                numbers[2 * i + 1] = <uint32_t> (raw[i] >> 32)
            k = cells.backgrounds[b, LEVELS]
            if cells.backgrounds[b, LEVELS_EACH]:
                count_levels(k, &cells.background_levels[cells.backgrounds[b, LEVEL] + first - low], high - low, True,
                             &numbers[own], n, counts)
            else:
                count_levels(k, &cells.background_levels[cells.backgrounds[b, LEVEL]], 1, False, &numbers[own], n,
                             counts)
            place = cells.backgrounds[b, BACKGROUND_FIRST] + first - low
            add_counts(n, counts, &cells.background_weight[cells.backgrounds[b, BACKGROUND_WEIGHT] + first - low],
                       &cells.arriving[cells.backgrounds[b, BACKGROUND_PORT], place])
            at += 2 * DRAWS


cdef inline void add_counts(int n, const uint32_t* counts, const real* weight, real* arriving) noexcept nogil:
    cdef int j
    for j in range(n):
        arriving[j] += weight[j] * <real> <int> counts[j]
