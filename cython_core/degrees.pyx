"""Sources of targets whose numbers of synapses differ, chosen by weights of the sources; no source twice for a target.

Number t of stream j is candidate t of target j, so that any division of the targets draws the same synapses.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.philox cimport Stream, below, philox_block, stream, unit

cdef enum:
    TRIES = 100  # candidates per synapse, after which the next source that is free is taken


def alias(
    const double[::1] weight,         # IN (n), mean 1
    uint32_t[::1] stack,              # scratch (n): places below 1 from the left, others from the right
    double[::1] chance,               # OUT (n)
    uint32_t[::1] other,              # OUT (n)
):
    """Table of Walker's alias method (Vose 1991, doi 10.1109/32.92917): place k is k with `chance`, else `other`."""
    cdef int64_t n = weight.shape[0], k, few, many, n_small = 0, large = n
    with nogil:
        for k in range(n):
            chance[k], other[k] = weight[k], <uint32_t>k
            if weight[k] < 1.0:
                stack[n_small] = <uint32_t>k
                n_small += 1
            else:
                large -= 1
                stack[large] = <uint32_t>k
        while n_small > 0 and large < n:
            n_small -= 1
            few, many = stack[n_small], stack[large]
            other[few] = <uint32_t>many
            chance[many] -= 1.0 - chance[few]
            if chance[many] < 1.0:
                stack[n_small] = <uint32_t>many
                n_small += 1
                large += 1
        for k in range(n_small):          # what rounding left
            chance[stack[k]] = 1.0


def choose(
    const uint64_t[::1] key,          # IN (2)
    int64_t first_target,
    const int64_t[::1] ptr,           # IN (n_targets + 1), places of the sources of each target
    const double[::1] chance,         # IN (n_sources), from `alias`
    const uint32_t[::1] other,        # IN (n_sources)
    bint leaves_out_self,             # target j is source j, which it may not have
    uint32_t[::1] taken,              # UPDATED (n_sources), all below `mark` before
    uint32_t mark,                    # of the first target
    int64_t[::1] source,              # OUT
):
    """Draw the sources of some targets, in the order in which they are accepted."""
    cdef int64_t j, k, t, i, itself, n_sources = chance.shape[0]
    cdef uint64_t[4] numbers
    cdef Stream draws
    with nogil:
        for j in range(ptr.shape[0] - 1):
            draws = stream(key, <uint64_t>(first_target + j))
            itself = first_target + j if leaves_out_self else -1
            t, k = 0, ptr[j]
            while k < ptr[j + 1]:
                if t & 3 == 0:
                    philox_block(draws, <uint64_t>(t >> 2), numbers)
                i = <int64_t>below(numbers[t & 3], <uint64_t>n_sources)
                if unit(numbers[t & 3] * <uint64_t>n_sources) >= chance[i]:      # what `below` left of the number
                    i = other[i]
                t += 1
                while t > TRIES * (ptr[j + 1] - ptr[j]) and (taken[i] == mark or i == itself):
                    i = i + 1 if i + 1 < n_sources else 0
                if taken[i] != mark and i != itself:
                    taken[i] = mark
                    source[k] = i
                    k += 1
            mark += 1
