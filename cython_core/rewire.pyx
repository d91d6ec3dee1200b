"""Rewiring (DEEP R, Bellec et al. 2018, arXiv:1711.05136) of the synapses onto a range of targets, in place.

theta = s w is the parameter of a synapse of sign s, which its weight's sign bit keeps: -0.0 is an inhibitory synapse of
weight 0. What falls below 0 is dormant; a dormant synapse moves to another source of the same target.
"""

from libc.math cimport rint, signbit, sqrt
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from pareprop.core.elementary cimport exp
from pareprop.core.philox cimport Stream, below, normals, philox_block, stream, unit
from pareprop.core.precision cimport real
from pareprop.core.search cimport first_at_least

cdef enum:
    TRIES = 100  # candidates per synapse, after which the sources that are left are weighed one by one


def sign_bits(
    const real[::1] weight,           # IN (n)
    uint8_t[::1] negative,            # OUT ((n + 7) / 8)
):
    """Bit k % 8 of byte k / 8 becomes the sign bit of weight k."""
    cdef int64_t k
    with nogil:
        negative[:] = 0
        for k in range(weight.shape[0]):
            if signbit(<double>weight[k]) != 0:
                negative[k >> 3] |= <uint8_t>(1 << (k & 7))


def source_bits(
    const int64_t[::1] row_ptr,       # IN (n_rows + 1), from the first synapse on
    const int8_t[::1] signs,          # IN (n_sources); as many rows of each follow each other
    uint8_t[::1] negative,            # UPDATED (n bits)
):
    """Bits of synapses whose source has a sign become that sign, whatever the sign of a weight of 0."""
    cdef int64_t row, k, first = row_ptr[0], n_delays = (row_ptr.shape[0] - 1) // signs.shape[0]
    cdef uint8_t bit
    cdef int8_t sign
    with nogil:
        for row in range(row_ptr.shape[0] - 1):
            sign = signs[row // n_delays]
            if sign == 0:
                continue
            for k in range(row_ptr[row] - first, row_ptr[row + 1] - first):
                bit = <uint8_t>(1 << (k & 7))
                negative[k >> 3] = negative[k >> 3] | bit if sign < 0 else negative[k >> 3] & ~bit


def shrink(
    bint at_zero,                     # whether a synapse is dormant with theta = 0, too
    double loss,                      # eta l1
    double noise,                     # sqrt(2 eta T)
    double Wmin,
    double Wmax,
    int64_t n_step,
    const uint64_t[::1] key,          # IN (2), of the noise
    const int64_t[::1] row_ptr,       # IN (n_rows + 1), from the first synapse on
    int64_t n_delays,                 # rows of each source
    int64_t first_target,             # id of the target that is called 0
    const uint32_t[::1] target,       # IN (n)
    uint8_t[::1] negative,            # IN (n bits), signs before the optimizer's step; OUT: dormant synapses
    real[::1] weight,                 # UPDATED (n)
):
    """theta = s w - eta l1 + sqrt(2 eta T) nu, w = s max(theta, 0) in [Wmin, Wmax]; return how many are dormant.

    nu is number 0 of stream (target, source, step).
    """
    cdef int64_t row, k, count = 0, first = row_ptr[0]
    cdef uint64_t[4] numbers
    cdef double[1] nu
    cdef double theta, s
    cdef Stream draws
    cdef uint8_t bit
    with nogil:
        for row in range(row_ptr.shape[0] - 1):
            for k in range(row_ptr[row] - first, row_ptr[row + 1] - first):
                bit = <uint8_t>(1 << (k & 7))
                s = -1.0 if negative[k >> 3] & bit else 1.0
                theta = s * weight[k] - loss
                if noise > 0.0:
                    draws = stream(key, <uint64_t>(first_target + target[k]))
                    draws.second, draws.third = <uint64_t>(row // n_delays), <uint64_t>n_step
                    philox_block(draws, 0, numbers)
                    normals(numbers, 1, nu)
                    theta += noise * nu[0]
                if theta < 0.0 or (at_zero and theta == 0.0):
                    count += 1
                    negative[k >> 3] |= bit
                else:
                    negative[k >> 3] &= ~bit
                theta = s * max(theta, 0.0)
                theta = theta if theta > Wmin else Wmin
                weight[k] = <real>(theta if theta < Wmax else Wmax)
    return count


def set_bits(
    const uint8_t[::1] bits,          # IN
    int64_t[::1] places,              # OUT (as many as are set), ascending
):
    """Places of the bits that are set."""
    cdef int64_t byte, found = 0
    cdef int k
    with nogil:
        for byte in range(bits.shape[0]):
            if bits[byte] != 0:
                for k in range(8):
                    if bits[byte] >> k & 1:
                        places[found] = 8 * byte + k
                        found += 1


def choose(
    int64_t n_step,
    const uint64_t[::1] key,          # IN (2), of candidates
    const uint64_t[::1] key_sign,     # IN (2)
    const int8_t[::1] signs,          # IN (n_sources), or (0) if no source is bound
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    int64_t n_sources,
    bint excludes_self,               # target j is source j, which it may not have
    int64_t first_target,             # id of the target that is called 0
    int64_t n_delays,                 # rows of each source
    int64_t first_row,                # of these
    const uint32_t[::1] gone,         # IN (n), its target; those of a target are neighbours
    int64_t[::1] source,              # OUT (n), that comes instead
    uint8_t[::1] negative,            # OUT (n), its sign bit
):
    """Draw new sources: uniformly, until each target has as many that it had not, as it loses."""
    cdef int64_t first = 0, last, accepted, t, i, j, n_choices = n_sources - excludes_self
    cdef uint64_t[4] numbers
    cdef Stream draws
    with nogil:
        while first < gone.shape[0]:
            last = first + 1
            while last < gone.shape[0] and gone[last] == gone[first]:
                last += 1
            j = first_target + gone[first]
            draws = stream(key, <uint64_t>j)
            draws.third = <uint64_t>n_step
            accepted, t = first, 0
            while accepted < last:
                if t & 3 == 0:
                    philox_block(draws, <uint64_t>(t >> 2), numbers)
                i = <int64_t>below(numbers[t & 3], <uint64_t>n_choices)
                i += excludes_self and i >= j
                t += 1
                if not is_chosen(source, first, accepted, i) and \
                        not has(row_ptr, target, first_row, n_delays, i, gone[first]):
                    source[accepted] = i
                    accepted += 1
            draw_signs(n_step, key_sign, signs, j, first, last, source, negative)
            first = last


def choose_near(
    int64_t n_step,
    const uint64_t[::1] key,          # IN (2), of candidates
    const uint64_t[::1] key_sign,     # IN (2)
    const int8_t[::1] signs,          # IN (n_sources), or (0) if no source is bound
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    bint excludes_self,               # target j is source j, which it may not have
    int64_t first_target,             # id of the target that is called 0
    int64_t n_delays,                 # rows of each source
    int64_t first_row,                # of these
    const uint32_t[::1] gone,         # IN (n), its target; those of a target are neighbours
    const int64_t[::1] left,          # IN (n), its source
    const int64_t[:, :, ::1] parts,   # IN (n_targets, n_parts, 2), parts of `order` near the targets in `gone`
    const uint32_t[::1] order,        # IN (n_sources)
    const double[:, ::1] sources,     # IN (n_sources, 2 or 3), positions
    const double[:, ::1] targets,     # IN (n_targets, 2 or 3), of the targets in `gone`
    const double[::1] extent,         # IN (2 or 3)
    bint periodic,
    bint gaussian,                    # profile exp(-d^2 / (2 length^2)), else exp(-d / length)
    double length,
    double cutoff,
    double probability,               # of a synapse at distance 0
    double[::1] chance,               # scratch (as many sources as a target has near, at most)
    int64_t[::1] source,              # OUT (n), that comes instead; -1: none is left
    uint8_t[::1] negative,            # OUT (n), its sign bit
):
    """Draw new sources: by the distance, until each target has as many that it keeps not, as it loses.

    They come in proportion to their odds p / (1 - p), p the probability of a synapse at their distance, and those that
    went may come back: where synapses go at random, pairs are then connected with probability p, as they were.
    Candidates are drawn evenly from the sources near, and taken with their odds over those at distance 0; where many in
    a row are not, one is drawn from those that are left by their odds, which is the same distribution.
    """
    cdef int64_t first = 0, last, accepted, t, i, j, k, a, g = 0, p, n_near
    cdef uint64_t[4] numbers
    cdef Stream draws
    cdef double total, most = odds(probability)
    with nogil:
        while first < gone.shape[0]:
            last = first + 1
            while last < gone.shape[0] and gone[last] == gone[first]:
                last += 1
            j = first_target + gone[first]
            draws = stream(key, <uint64_t>j)
            draws.third = <uint64_t>n_step
            accepted, t, n_near = first, 0, 0
            for p in range(parts.shape[1]):
                n_near += parts[g, p, 1] - parts[g, p, 0]
            while accepted < last and n_near > 0:
                if t & 3 == 0:
                    philox_block(draws, <uint64_t>(t >> 2), numbers)
                t += 1
                if t <= TRIES * (last - first):
                    k, p = <int64_t>below(numbers[t - 1 & 3], <uint64_t>n_near), 0
                    while k >= parts[g, p, 1] - parts[g, p, 0]:
                        k -= parts[g, p, 1] - parts[g, p, 0]
                        p += 1
                    i = order[parts[g, p, 0] + k]
                    # what `below` left of the number
                    if unit(numbers[t - 1 & 3] * <uint64_t>n_near) * most >= odds(probability * profile(
                            sources, i, targets, g, extent, periodic, gaussian, length, cutoff)) or \
                            (excludes_self and i == j) or is_chosen(source, first, accepted, i) or \
                            (has(row_ptr, target, first_row, n_delays, i, gone[first])
                             and not is_chosen(left, first, last, i)):
                        continue
                else:
                    total, k = 0.0, 0
                    for p in range(parts.shape[1]):
                        for a in range(parts[g, p, 0], parts[g, p, 1]):
                            i = order[a]
                            if not ((excludes_self and i == j) or is_chosen(source, first, accepted, i)
                                    or (has(row_ptr, target, first_row, n_delays, i, gone[first])
                                        and not is_chosen(left, first, last, i))):
                                total += odds(probability * profile(
                                    sources, i, targets, g, extent, periodic, gaussian, length, cutoff))
                            chance[k] = total
                            k += 1
                    if total <= 0.0:
                        break
                    total *= unit(numbers[t - 1 & 3])
                    k = 0
                    while chance[k] <= total:  # the last one is above: numbers are below 1
                        k += 1
                    p = 0
                    while k >= parts[g, p, 1] - parts[g, p, 0]:
                        k -= parts[g, p, 1] - parts[g, p, 0]
                        p += 1
                    i = order[parts[g, p, 0] + k]
                source[accepted] = i
                accepted += 1
            draw_signs(n_step, key_sign, signs, j, first, accepted, source, negative)
            for a in range(accepted, last):
                source[a], negative[a] = -1, 0
            first, g = last, g + 1


cdef inline double odds(double probability) noexcept nogil:
    """How much more likely something is than its opposite, at most a million times."""
    return probability / (1.0 - probability) if probability < 0.999999 else 1e6


cdef inline double profile(
    const double[:, ::1] sources, int64_t i, const double[:, ::1] targets, int64_t g, const double[::1] extent,
    bint periodic, bint gaussian, double length, double cutoff
) noexcept nogil:
    """The probability of a synapse at the distance of a pair, relative to that at distance 0."""
    cdef double square = 0.0, offset
    cdef int64_t axis
    for axis in range(extent.shape[0]):
        offset = sources[i, axis] - targets[g, axis]
        if periodic:
            offset -= rint(offset / extent[axis]) * extent[axis]
        square += offset * offset
    if square > cutoff * cutoff:
        return 0.0
    return exp(-square / (2.0 * length * length) if gaussian else -sqrt(square) / length)


cdef inline bint is_chosen(const int64_t[::1] source, int64_t first, int64_t last, int64_t i) noexcept nogil:
    """Whether a source is among some."""
    cdef int64_t a
    for a in range(first, last):
        if source[a] == i:
            return True
    return False


cdef inline void draw_signs(
    int64_t n_step, const uint64_t[::1] key, const int8_t[::1] signs, int64_t j, int64_t first, int64_t last,
    const int64_t[::1] source, uint8_t[::1] negative
) noexcept nogil:
    """Sign bits of the new synapses of a target: those of their sources, or drawn."""
    cdef uint64_t[4] numbers
    cdef Stream draws
    cdef int64_t a
    for a in range(first, last):
        if signs.shape[0] > 0 and signs[source[a]] != 0:
            negative[a] = signs[source[a]] < 0
            continue
        draws = stream(key, <uint64_t>j)
        draws.second, draws.third = <uint64_t>source[a], <uint64_t>n_step
        philox_block(draws, 0, numbers)
        negative[a] = <uint8_t>(numbers[0] >> 63)


cdef inline bint has(
    const int64_t[::1] row_ptr, const uint32_t[::1] target, int64_t row, int64_t n_delays, int64_t i,
    uint32_t wanted
) noexcept nogil:
    """Whether the target has a synapse from source i with any delay."""
    cdef int64_t place
    row += i * n_delays
    for _ in range(n_delays):
        place = first_at_least(&target[0], row_ptr[row], row_ptr[row + 1], wanted)
        if place < row_ptr[row + 1] and target[place] == wanted:
            return True
        row += 1
    return False


def insertions(
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const int64_t[::1] row,           # IN (n)
    const uint32_t[::1] come,         # IN (n), targets
    int64_t[::1] before,              # OUT (n), the place before which each one belongs
):
    """Where new synapses belong in rows that are sorted by target."""
    cdef int64_t a
    with nogil:
        for a in range(row.shape[0]):
            before[a] = first_at_least(&target[0], row_ptr[row[a]], row_ptr[row[a] + 1], come[a])


def segments(
    const int64_t[::1] gone,          # IN (n), places, ascending
    const int64_t[::1] before,        # IN (n), places before which new ones come, ascending
    int64_t[:, ::1] moved,            # OUT (2 n, 3): first and last place of what moves, and how far
    int64_t[::1] places,              # OUT (n), of the new ones
):
    """What lies between two events moves by what came less what went before it."""
    cdef int64_t g = 0, c = 0, k, position = 0, n = gone.shape[0]
    with nogil:
        for k in range(2 * n):
            moved[k, 0], moved[k, 2] = position, c - g
            if c < n and (g == n or before[c] <= gone[g]):
                moved[k, 1] = position = before[c]
                places[c] = before[c] + c - g
                c += 1
            else:
                moved[k, 1] = gone[g]
                position = gone[g] + 1
                g += 1


def move(
    const int64_t[:, ::1] moved,      # IN, from `segments`
    int64_t size,                     # bytes of an item
    uint8_t[::1] items,               # UPDATED
):
    """Move the segments: those that go right from the last one on, those that go left from the first one on."""
    cdef int64_t k, first = 0, last, n = moved.shape[0]
    with nogil:
        while first < n:
            last = first + 1
            while last < n and (moved[last, 2] > 0) == (moved[first, 2] > 0) and \
                    (moved[last, 2] < 0) == (moved[first, 2] < 0):
                last += 1
            if moved[first, 2] > 0:
                for k in range(last - 1, first - 1, -1):
                    move_one(moved[k, 0], moved[k, 1], moved[k, 2], size, items)
            elif moved[first, 2] < 0:
                for k in range(first, last):
                    move_one(moved[k, 0], moved[k, 1], moved[k, 2], size, items)
            first = last


cdef inline void move_one(int64_t start, int64_t stop, int64_t by, int64_t size, uint8_t[::1] items) noexcept nogil:
    if stop > start:
        memmove(&items[(start + by) * size], &items[start * size], <size_t>((stop - start) * size))


def sort_by_delay(
    int64_t low,                      # the shortest delay that has rows
    int64_t n_delays,                 # rows of each source
    int64_t[::1] row_ptr,             # UPDATED (n_rows + 1), of some sources
    const uint32_t[::1] target,       # IN (n), of their synapses
    const real[::1] delay,            # IN (n), of any fraction
    int64_t[::1] order,               # OUT (n), which of them comes to each place
    int64_t[::1] scratch,             # (n)
):
    """Sort the synapses of each source into the rows of the whole delays nearest to theirs; return how many move.

    Rows stay sorted by target; equal ones keep their order.
    """
    cdef int64_t source, row, k, d, here, moved = 0, first = row_ptr[0]
    with nogil:
        for source in range((row_ptr.shape[0] - 1) // n_delays):
            row, here = source * n_delays, 0
            for d in range(n_delays):
                for k in range(row_ptr[row + d] - first, row_ptr[row + d + 1] - first):
                    scratch[k] = number_of(<double> delay[k], low, n_delays, d)
                    here += scratch[k] != d
                    order[k] = k
            if here > 0:
                sort_source(n_delays, first, &row_ptr[row], &target[0], &order[0], &scratch[0])
            moved += here
    return moved


cdef inline int64_t number_of(double delay, int64_t low, int64_t n_delays, int64_t present) noexcept nogil:
    """Row of the whole delay nearest to a delay, ties to even, from that of `low` on; what is no number stays."""
    delay = rint(delay) - low
    if delay != delay:
        return present
    return <int64_t> max(0.0, min(delay, <double> (n_delays - 1)))


cdef void sort_source(
    int64_t n_delays,
    int64_t first,                    # place of the synapse that is called 0
    int64_t* row_ptr,                 # UPDATED (n_delays + 1)
    const uint32_t* target,           # IN
    int64_t* order,                   # OUT, synapses of the source
    int64_t* number,                  # IN, the new row of each; then scratch
) noexcept nogil:
    """Sort by counting, which leaves runs that ascend in each row, one from each old row; then merge these."""
    cdef int64_t start = row_ptr[0], stop = row_ptr[n_delays], d, k
    for d in range(1, n_delays):
        row_ptr[d] = 0
    for k in range(start - first, stop - first):
        if number[k] + 1 < n_delays:
            row_ptr[number[k] + 1] += 1
    for d in range(1, n_delays):
        row_ptr[d] += row_ptr[d - 1]
    for k in range(start - first, stop - first):
        d = number[k]
        order[row_ptr[d] - first] = k
        row_ptr[d] += 1
    for d in range(n_delays - 1, 0, -1):
        row_ptr[d] = row_ptr[d - 1]
    row_ptr[0] = start
    for d in range(n_delays):
        k = row_ptr[d] - first
        merge_runs(row_ptr[d + 1] - row_ptr[d], target, order + k, number + k)


cdef void merge_runs(int64_t n, const uint32_t* target, int64_t* order, int64_t* scratch) noexcept nogil:
    """Merge neighbouring runs of ascending targets until there is one."""
    cdef int64_t a, b, c, i, j, k
    while end_of_run(n, target, order, 0) < n:
        a = 0
        while a < n:
            b = end_of_run(n, target, order, a)
            c = end_of_run(n, target, order, b)
            i, j = a, b
            for k in range(a, c):
                if i < b and (j == c or target[order[i]] <= target[order[j]]):
                    scratch[k] = order[i]
                    i += 1
                else:
                    scratch[k] = order[j]
                    j += 1
            a = c
        memcpy(order, scratch, <size_t> n * sizeof(int64_t))


cdef inline int64_t end_of_run(int64_t n, const uint32_t* target, const int64_t* order, int64_t k) noexcept nogil:
    """One past the last of the ascending targets from `k` on."""
    if k < n:
        k += 1
    while k < n and target[order[k]] >= target[order[k - 1]]:
        k += 1
    return k
