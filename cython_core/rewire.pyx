"""Rewiring (DEEP R, Bellec et al. 2018, arXiv:1711.05136) of the synapses onto a range of targets, in place.

theta = s w is the parameter of a synapse of sign s, which its weight's sign bit keeps: -0.0 is an inhibitory synapse of
weight 0. What falls below 0 is dormant; a dormant synapse moves to another source of the same target.
"""

from libc.math cimport rint, signbit, sqrt
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from pareprop.core.bind cimport bind
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


cdef class Shrinking:
    """How synapses shrink and walk: theta = s w - eta l1 + sqrt(2 eta T) nu, w = s max(theta, 0) in [Wmin, Wmax].

    nu is number 0 of stream (target, source, step).
    """

    cdef public bint at_zero                   # whether a synapse is dormant with theta = 0, too
    cdef public double loss                    # eta l1
    cdef public double noise                   # sqrt(2 eta T)
    cdef public double Wmin, Wmax
    cdef public const uint64_t[::1] key        # (2), of the noise
    cdef public int64_t n_delays               # rows of each source
    cdef public int64_t first_target           # id of the target that is called 0

    def __init__(self, values):
        bind(self, values)

    def run(
        self,
        int64_t n_step,
        const int64_t[::1] row_ptr,       # IN (n_rows + 1), from the first synapse on
        const uint32_t[::1] target,       # IN (n)
        uint8_t[::1] negative,            # IN (n bits), signs before the optimizer's step; OUT: dormant synapses
        real[::1] weight,                 # UPDATED (n)
    ):
        """Shrink synapses; return how many are dormant."""
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
                    theta = s * weight[k] - self.loss
                    if self.noise > 0.0:
                        draws = stream(self.key, <uint64_t>(self.first_target + target[k]))
                        draws.second, draws.third = <uint64_t>(row // self.n_delays), <uint64_t>n_step
                        philox_block(draws, 0, numbers)
                        normals(numbers, 1, nu)
                        theta += self.noise * nu[0]
                    if theta < 0.0 or (self.at_zero and theta == 0.0):
                        count += 1
                        negative[k >> 3] |= bit
                    else:
                        negative[k >> 3] &= ~bit
                    theta = s * max(theta, 0.0)
                    theta = theta if theta > self.Wmin else self.Wmin
                    weight[k] = <real>(theta if theta < self.Wmax else self.Wmax)
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


cdef class Candidates:
    """Sources that targets may have, and synapses that there are."""

    cdef public const uint64_t[::1] key            # (2), of candidates
    cdef public const uint64_t[::1] key_sign       # (2)
    cdef public const int8_t[::1] signs            # (n_sources), or (0) if no source is bound
    cdef public const int64_t[::1] row_ptr
    cdef public const uint32_t[::1] target
    cdef public int64_t n_sources
    cdef public bint excludes_self                 # target j is source j, which it may not have
    cdef public int64_t first_target               # id of the target that is called 0
    cdef public int64_t n_delays                   # rows of each source
    cdef public int64_t first_row                  # of these

    def __init__(self, values):
        bind(self, values)

    def choose(
        self,
        int64_t n_step,
        const uint32_t[::1] gone,         # IN (n), its target, grouped by target
        int64_t[::1] source,              # OUT (n), that comes instead
        uint8_t[::1] negative,            # OUT (n), its sign bit
    ):
        """Draw new sources: uniformly, until each target has as many that it had not, as it loses."""
        cdef int64_t first = 0, last, accepted, t, i, j, n_choices = self.n_sources - self.excludes_self
        cdef uint64_t[4] numbers
        cdef Stream draws
        with nogil:
            while first < gone.shape[0]:
                last = end_of_target(gone, first)
                j = self.first_target + gone[first]
                draws = stream(self.key, <uint64_t>j)
                draws.third = <uint64_t>n_step
                accepted, t = first, 0
                while accepted < last:
                    if t & 3 == 0:
                        philox_block(draws, <uint64_t>(t >> 2), numbers)
                    i = <int64_t>below(numbers[t & 3], <uint64_t>n_choices)
                    i += self.excludes_self and i >= j
                    t += 1
                    if not is_among(&source[first], accepted - first, i) and not has(self, i, gone[first]):
                        source[accepted] = i
                        accepted += 1
                draw_signs(self, n_step, j, first, last, source, negative)
                first = last


cdef class NearCandidates(Candidates):
    """Sources that targets may have by their distance.

    They come in proportion to their odds p / (1 - p), p the probability of a synapse at their distance, and those that
    went may come back: where synapses go at random, pairs are then connected with probability p, as they were.
    Candidates are drawn evenly from the sources near, and taken with their odds over those at distance 0; where many in
    a row are not, one is drawn from those that are left by their odds, which is the same distribution.
    """

    cdef public const uint32_t[::1] order          # (n_sources)
    cdef public const double[:, ::1] sources       # (n_sources, 2 or 3), positions
    cdef public const double[::1] extent           # (2 or 3)
    cdef public bint periodic
    cdef public bint gaussian                      # profile exp(-d^2 / (2 length^2)), else exp(-d / length)
    cdef public double length, cutoff
    cdef public double probability                 # of a synapse at distance 0

    def choose_near(
        self,
        int64_t n_step,
        const uint32_t[::1] gone,         # IN (n), its target, grouped by target
        const int64_t[::1] left,          # IN (n), its source
        const int64_t[:, :, ::1] parts,   # IN (n_targets, n_parts, 2), parts of `order` near the targets in `gone`
        const double[:, ::1] targets,     # IN (n_targets, 2 or 3), of the targets in `gone`
        double[::1] chance,               # scratch (as many sources as a target has near, at most)
        int64_t[::1] source,              # OUT (n), that comes instead; -1: none is left
        uint8_t[::1] negative,            # OUT (n), its sign bit
    ):
        """Draw new sources: by the distance, until each target has as many that it keeps not, as it loses."""
        cdef int64_t first = 0, last, accepted, t, i, j, k, a, g = 0, p, n_near
        cdef uint64_t[4] numbers
        cdef Stream draws
        cdef double total, most = odds(self.probability)
        with nogil:
            while first < gone.shape[0]:
                last = end_of_target(gone, first)
                j = self.first_target + gone[first]
                draws = stream(self.key, <uint64_t>j)
                draws.third = <uint64_t>n_step
                accepted, t, n_near = first, 0, 0
                for p in range(parts.shape[1]):
                    n_near += parts[g, p, 1] - parts[g, p, 0]
                while accepted < last and n_near > 0:
                    if t & 3 == 0:
                        philox_block(draws, <uint64_t>(t >> 2), numbers)
                    t += 1
                    if t <= TRIES * (last - first):
                        i = self.order[place_near(parts, g, <int64_t>below(numbers[t - 1 & 3], <uint64_t>n_near))]
                        # what `below` left of the number
                        if unit(numbers[t - 1 & 3] * <uint64_t>n_near) * most >= odds_of(self, i, targets, g) or \
                                not may_come(self, i, j, &source[first], accepted - first, &left[first], last - first):
                            continue
                    else:
                        total, k = 0.0, 0
                        for p in range(parts.shape[1]):
                            for a in range(parts[g, p, 0], parts[g, p, 1]):
                                i = self.order[a]
                                if may_come(self, i, j, &source[first], accepted - first, &left[first], last - first):
                                    total += odds_of(self, i, targets, g)
                                chance[k] = total
                                k += 1
                        if total <= 0.0:
                            break
                        total *= unit(numbers[t - 1 & 3])
                        k = 0
                        while chance[k] <= total:  # the last one is above: numbers are below 1
                            k += 1
                        i = self.order[place_near(parts, g, k)]
                    source[accepted] = i
                    accepted += 1
                draw_signs(self, n_step, j, first, accepted, source, negative)
                for a in range(accepted, last):
                    source[a], negative[a] = -1, 0
                first, g = last, g + 1


cdef inline int64_t end_of_target(const uint32_t[::1] gone, int64_t first) noexcept nogil:
    """One past the last synapse of the target that loses synapse `first`."""
    cdef int64_t last = first + 1
    while last < gone.shape[0] and gone[last] == gone[first]:
        last += 1
    return last


cdef inline int64_t place_near(const int64_t[:, :, ::1] parts, int64_t g, int64_t k) noexcept nogil:
    """Index of item k among the parts of a target."""
    cdef int64_t p = 0
    while k >= parts[g, p, 1] - parts[g, p, 0]:
        k -= parts[g, p, 1] - parts[g, p, 0]
        p += 1
    return parts[g, p, 0] + k


cdef inline double odds(double probability) noexcept nogil:
    """How much more likely something is than its opposite, at most a million times."""
    return probability / (1.0 - probability) if probability < 0.999999 else 1e6


cdef inline double odds_of(NearCandidates of, int64_t i, const double[:, ::1] targets, int64_t g) noexcept nogil:
    """Odds of a synapse at the distance of a pair."""
    cdef double square = 0.0, offset
    cdef int64_t axis
    for axis in range(of.extent.shape[0]):
        offset = of.sources[i, axis] - targets[g, axis]
        if of.periodic:
            offset -= rint(offset / of.extent[axis]) * of.extent[axis]
        square += offset * offset
    if square > of.cutoff * of.cutoff:
        return 0.0
    return odds(of.probability * exp(
        -square / (2.0 * of.length * of.length) if of.gaussian else -sqrt(square) / of.length
    ))


cdef inline bint may_come(
    NearCandidates of, int64_t i, int64_t j, const int64_t* came, int64_t n_came, const int64_t* left, int64_t n_left
) noexcept nogil:
    """Whether source i may come to target j, to which others came in place of those that left."""
    return not (of.excludes_self and i == j) and not is_among(came, n_came, i) and \
        (not has(of, i, <uint32_t>(j - of.first_target)) or is_among(left, n_left, i))


cdef inline bint is_among(const int64_t* sources, int64_t n, int64_t i) noexcept nogil:
    """Whether a source is among some."""
    cdef int64_t a
    for a in range(n):
        if sources[a] == i:
            return True
    return False


cdef inline void draw_signs(
    Candidates of, int64_t n_step, int64_t j, int64_t first, int64_t last, const int64_t[::1] source,
    uint8_t[::1] negative
) noexcept nogil:
    """Sign bits of the new synapses of a target: of their sources, or drawn."""
    cdef uint64_t[4] numbers
    cdef Stream draws
    cdef int64_t a
    for a in range(first, last):
        if of.signs.shape[0] > 0 and of.signs[source[a]] != 0:
            negative[a] = of.signs[source[a]] < 0
            continue
        draws = stream(of.key_sign, <uint64_t>j)
        draws.second, draws.third = <uint64_t>source[a], <uint64_t>n_step
        philox_block(draws, 0, numbers)
        negative[a] = <uint8_t>(numbers[0] >> 63)


cdef inline bint has(Candidates of, int64_t i, uint32_t wanted) noexcept nogil:
    """Whether the target has a synapse from source i with any delay."""
    cdef int64_t place, row = of.first_row + i * of.n_delays
    for _ in range(of.n_delays):
        place = first_at_least(&of.target[0], of.row_ptr[row], of.row_ptr[row + 1], wanted)
        if place < of.row_ptr[row + 1] and of.target[place] == wanted:
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
    """Row of the integer nearest to a delay, ties to even, counted from delay `low`; `present` if the delay is NaN."""
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
