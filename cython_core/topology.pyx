"""Incoming synapses of a range of targets, in passes that draw the same: mark rows, count their synapses, write these.

Target j draws from streams j alone, number k for its k-th synapse, so that any division of the targets draws the same
synapses. A row holds the synapses of one delay and one source, targets ascending because they are processed so.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from pareprop.core.bind cimport bind
from pareprop.core.elementary cimport log1p
from pareprop.core.philox cimport (
    DRAWS, Stream, below, draw_raw, philox_block, skips, stream as stream_of,
)
from pareprop.core.precision cimport real    # of weights, which are drawn in double
from pareprop.core.random cimport count_levels, draw_values
from pareprop.core.row_map cimport RowMap

cpdef enum:
    ALL_TO_ALL = 0
    FIXED_INDEGREE = 1
    FIXED_PROBABILITY = 2
    ONE_TO_ONE = 3

cdef enum:
    MANY = 65536            # sources whose numbers take more of the cache than a table of those that move

cdef uint32_t NOWHERE = 0xFFFFFFFF    # of an entry that is free


cdef struct Draw:
    int rule
    bint multapses
    int64_t n_sources
    int64_t indegree
    const int64_t* indegrees    # of each target from `first_target` on; NULL: `indegree` for all
    int64_t first_target
    int64_t self_offset
    double log_miss         # log1p(-probability)
    uint32_t* moved         # hash table of the sources that a shuffle moved, place and source; NULL: `permutation`
    uint32_t mask           # its entries less one
    # of the present target
    Stream stream
    int64_t n_choices       # sources that it may have
    int64_t self_source     # the source that it may not have, n_sources if there is none
    int64_t n_most          # synapses that it has at most
    int64_t latest          # fixed_probability: the choice that was hit last


cdef inline void start_target(Draw* draw, Stream stream, double probability) noexcept nogil:
    cdef int64_t self_source = <int64_t>stream.id + draw.self_offset
    cdef bint excluded = 0 <= self_source < draw.n_sources
    draw.stream = stream
    draw.self_source = self_source if excluded else draw.n_sources
    draw.n_choices = draw.n_sources - excluded
    draw.n_most = draw.indegree if draw.rule == FIXED_INDEGREE else draw.n_choices
    if draw.indegrees != NULL:
        draw.n_most = draw.indegrees[<int64_t>stream.id - draw.first_target]
    if draw.rule == FIXED_PROBABILITY and not probability > 0.0:
        draw.n_most = 0
    if draw.rule == ONE_TO_ONE:
        draw.n_most = <int64_t>stream.id < draw.n_sources and <int64_t>stream.id != self_source
    draw.latest = -1


cdef inline uint32_t* entry(const Draw* draw, uint32_t place) noexcept nogil:
    """The entry of a place in the table of moved sources, or the free entry for it."""
    cdef uint32_t at = (place * <uint32_t> 2654435769) >> 7 & draw.mask
    while draw.moved[2 * at] != place and draw.moved[2 * at] != NOWHERE:
        at = (at + 1) & draw.mask
    return &draw.moved[2 * at]


cdef inline uint32_t swap(const Draw* draw, uint32_t pick, uint32_t place) noexcept nogil:
    """A step of Fisher-Yates: return who stands at `pick`, and put there who stands at `place`, never read again."""
    cdef uint32_t* from_place = entry(draw, place)
    cdef uint32_t moved = from_place[1] if from_place[0] == place else place
    cdef uint32_t* at = entry(draw, pick)
    cdef uint32_t source = at[1] if at[0] == pick else pick
    at[0] = pick
    at[1] = moved
    return source


cdef inline void choose_indegree(
    const Draw* draw, int64_t first, int n, uint32_t* permutation, uint32_t* sources
) noexcept nogil:
    cdef uint64_t numbers[DRAWS]
    cdef int64_t pick
    cdef int k
    draw_raw(draw.stream, first, n, numbers)
    if draw.multapses:
        for k in range(n):
            sources[k] = <uint32_t>below(numbers[k], <uint64_t>draw.n_choices)
        return
    if draw.moved != NULL:
        for k in range(n):
            pick = first + k + <int64_t>below(numbers[k], <uint64_t>(draw.n_choices - first - k))
            sources[k] = swap(draw, <uint32_t>pick, <uint32_t>(first + k))
        return
    for k in range(n):  # Fisher-Yates as far as needed
        pick = first + k + <int64_t>below(numbers[k], <uint64_t>(draw.n_choices - first - k))
        sources[k] = permutation[pick]
        permutation[pick] = permutation[first + k]
        permutation[first + k] = sources[k]


cdef inline int choose_probability(Draw* draw, int64_t first, uint32_t* sources) noexcept nogil:
    cdef uint64_t numbers[4]
    cdef double skipped
    cdef int k
    for k in range(DRAWS):
        if k & 3 == 0:
            philox_block(draw.stream, <uint64_t>((first + k) >> 2), numbers)
        skipped = skips(numbers[k & 3], draw.log_miss)
        if skipped >= <double>(draw.n_choices - 1 - draw.latest):  # as doubles: it may exceed any integer
            draw.n_most = first + k
            return k
        draw.latest += 1 + <int64_t>skipped
        sources[k] = <uint32_t>draw.latest
    return DRAWS


cdef inline int choose(Draw* draw, int64_t first, uint32_t* permutation, uint32_t* sources) noexcept nogil:
    """Sources of the synapses first .. first + DRAWS - 1 of the present target; returns how many of them there are."""
    cdef int n = <int>min(<int64_t>DRAWS, draw.n_most - first), k
    if draw.rule == ALL_TO_ALL:
        for k in range(n):
            sources[k] = <uint32_t>(first + k)
    elif draw.rule == FIXED_INDEGREE:
        choose_indegree(draw, first, n, permutation, sources)
    elif draw.rule == ONE_TO_ONE:
        sources[0] = <uint32_t>draw.stream.id - (<int64_t>draw.stream.id > draw.self_source)
    else:
        n = choose_probability(draw, first, sources)
    for k in range(n):  # choices number the sources without the excluded one
        sources[k] += <uint32_t>(sources[k] >= <uint32_t>draw.self_source)
    return n


cdef inline void finish_target(const Draw* draw, uint32_t* permutation) noexcept nogil:
    """Undo the shuffle: apart from the first places, only drawn places differ."""
    cdef int64_t k
    if draw.rule != FIXED_INDEGREE or draw.multapses:
        return
    if draw.moved != NULL:
        memset(draw.moved, 0xFF, 8 * (<int64_t> draw.mask + 1))
        return
    for k in range(draw.indegree):
        if permutation[k] >= <uint32_t>draw.indegree:
            permutation[permutation[k]] = permutation[k]
    for k in range(draw.indegree):
        permutation[k] = <uint32_t>k


cdef inline int64_t skip_to(Draw* draw, RowMap rows) noexcept nogil:
    """First synapse of the present target to draw, where sources from some on have no rows."""
    if draw.rule != ALL_TO_ALL or rows.is_listed:
        return 0
    # in the order of sources, of which one may be left out
    draw.n_most = min(draw.n_most, rows.first_source + rows.n_sources)
    return max(rows.first_source - 1, 0) // DRAWS * DRAWS


cdef inline void draw_delays(
    Stream stream, int64_t first, int n, int64_t n_delays, const uint32_t[::1] levels, uint32_t* delays
) noexcept nogil:
    """Delays less the least one: by thresholds of the high half of each number, else uniform."""
    cdef uint64_t numbers[DRAWS]
    cdef uint32_t high[DRAWS]
    cdef int k
    if levels.shape[0] > 0:
        draw_raw(stream, first, n, numbers)
        for k in range(n):
            high[k] = <uint32_t> (numbers[k] >> 32)
        count_levels(levels.shape[0], &levels[0], 1, False, high, n, delays)
    elif n_delays > 1:
        draw_raw(stream, first, n, numbers)
        for k in range(n):
            delays[k] = <uint32_t>below(numbers[k], <uint64_t>n_delays)
    else:
        for k in range(n):
            delays[k] = 0


def shuffles(int rule, bint allow_multapses):
    """Whether the draw of a rule shuffles the `numbers` of the sources, or a table of those that move."""
    return rule == FIXED_INDEGREE and not allow_multapses


def count_entries(int64_t n_sources, int64_t indegree):
    """Entries of the table of moved sources, a power of two; 0 if an array of all sources is no larger."""
    return 1 << int(4 * indegree + 1).bit_length() if n_sources > max(MANY, 16 * indegree) else 0


cdef class Drawing:
    """The synapses of one projection, drawn target by target: `count` the synapses of each row, then `fill` the arrays.

    Rules as in NEST's connectivity concepts: `ALL_TO_ALL`; `ONE_TO_ONE`, target j and source j;
    `FIXED_INDEGREE`, drawn with replacement or else by a partial Fisher-Yates shuffle; `FIXED_PROBABILITY` for each
    pair, by geometric skips.

    Attributes
    ----------
    rule : one of the four
    n_sources : size of the source population, below 2**32
    indegree : synapses of a target under `FIXED_INDEGREE`; without multapses at most the number of eligible sources
    indegrees : synapses of each target from `first_target` on, with multapses; empty: `indegree` for all
    first_target : first target to draw
    probability : of a synapse under `FIXED_PROBABILITY`, in [0, 1]
    allow_multapses : whether `FIXED_INDEGREE` may draw a source twice for a target
    self_offset : target j is source j + self_offset, which is not drawn; None if targets are no sources
    delays : (low, high) in steps, uniform integers in the closed range unless there are levels
    levels : (high - low,), number k is 2**32 times the probability of a delay of at most low + k, rounded up, less one;
        empty: uniform
    weight : (kind, a, b), a distribution of `random.pxd` and its two numbers
    keys : three arrays (2,), keys of the streams of sources, delays and weights; target j uses stream j
    numbers : (n_sources,), 0 to n_sources - 1, if the rule `shuffles` and there is no table, else empty
    moved : (`count_entries`, 2), 2**32 - 1 everywhere: the table if the rule `shuffles`, else empty
    """

    cdef public int rule
    cdef public int64_t n_sources, indegree, first_target
    cdef public const int64_t[::1] indegrees
    cdef public double probability
    cdef public bint allow_multapses
    cdef public object self_offset, delays, weight, keys
    cdef public const uint32_t[::1] levels
    cdef public uint32_t[::1] numbers
    cdef public uint32_t[:, ::1] moved
    cdef Draw draw
    cdef int64_t delay_low, n_delays
    cdef int weight_kind
    cdef double weight_a, weight_b
    cdef const uint64_t[::1] key_source, key_delay, key_weight

    def __init__(self, values):
        bind(self, values)
        self.draw.rule, self.draw.multapses = self.rule, self.allow_multapses
        self.draw.n_sources, self.draw.indegree = self.n_sources, self.indegree
        self.draw.indegrees = &self.indegrees[0] if self.indegrees.shape[0] else NULL
        self.draw.first_target = self.first_target
        # None: out of range
        self.draw.self_offset = -self.n_sources - 2**40 if self.self_offset is None else self.self_offset
        self.draw.log_miss = log1p(-self.probability)
        self.delay_low, self.n_delays = self.delays[0], self.delays[1] - self.delays[0] + 1
        self.weight_kind, self.weight_a, self.weight_b = self.weight
        self.key_source, self.key_delay, self.key_weight = self.keys
        self.draw.moved = &self.moved[0, 0] if self.moved.shape[0] else NULL
        self.draw.mask = <uint32_t> max(self.moved.shape[0] - 1, 0)

    def mark_sources(
        self,
        int64_t first_target,           # half-open range of targets in their population
        int64_t last_target,
        uint64_t[::1] bits,             # UPDATED, set of cells of the sources' role, see members.pxd
        int64_t offset,                 # of the sources' population, from the first cell for which there are bits
    ):
        """Make the sources of some targets members of a set, those for which it has bits."""
        cdef uint32_t[DRAWS] sources
        cdef uint32_t* permutation = &self.numbers[0] if self.numbers.shape[0] > 0 else NULL
        cdef Draw draw = self.draw
        cdef int64_t j, first, source, n_bits = 64 * bits.shape[0]
        cdef int k, n
        with nogil:
            for j in range(first_target, last_target):
                start_target(&draw, stream_of(self.key_source, <uint64_t>j), self.probability)
                first = 0
                while first < draw.n_most:
                    n = choose(&draw, first, permutation, sources)
                    for k in range(n):
                        source = offset + sources[k]
                        if 0 <= source < n_bits:
                            bits[source >> 6] |= <uint64_t>1 << (source & 63)
                    first += n
                finish_target(&draw, permutation)

    def mark_rows(self, int64_t first_target, int64_t last_target, RowMap rows):
        """Mark the rows of the synapses of some targets."""
        self.walk(first_target, last_target, rows, None)

    def count(
        self,
        int64_t first_target,
        int64_t last_target,
        RowMap rows,
        int64_t[::1] counts,            # UPDATED (n_rows), lengths of rows
    ):
        """Add the synapses of some targets to the lengths of their rows; synapses of other sources are left out."""
        self.walk(first_target, last_target, rows, counts)

    cdef walk(self, int64_t first_target, int64_t last_target, RowMap rows, int64_t[::1] counts):
        """Count the synapses of each row, or mark the row if there are no counts."""
        cdef uint32_t[DRAWS] sources
        cdef uint32_t[DRAWS] delays
        cdef uint32_t* permutation = &self.numbers[0] if self.numbers.shape[0] > 0 else NULL
        cdef Draw draw = self.draw
        cdef int64_t j, first, number
        cdef int k, n
        cdef bint counted = counts is not None
        with nogil:
            for j in range(first_target, last_target):
                start_target(&draw, stream_of(self.key_source, <uint64_t>j), self.probability)
                first = skip_to(&draw, rows)
                while first < draw.n_most:
                    n = choose(&draw, first, permutation, sources)
                    draw_delays(stream_of(self.key_delay, <uint64_t>j), first, n, self.n_delays, self.levels,
                                delays)
                    for k in range(n):
                        number = rows.number(sources[k])
                        if number >= 0 and counted:
                            counts[rows.row(delays[k], number)] += 1
                        elif number >= 0:
                            rows.mark(delays[k], number)
                    first += n
                finish_target(&draw, permutation)

    def fill(
        self,
        int64_t first_target,
        int64_t last_target,
        int64_t target_base,            # what first_target is called in `target`
        RowMap rows,
        int64_t[::1] cursor,            # UPDATED (n_rows), place of the next synapse of each row
        uint32_t[::1] target,           # OUT (n), where the cursors pass
        real[::1] weight,               # OUT (n), likewise
    ):
        """Write the synapses that `count` counted."""
        cdef uint32_t[DRAWS] sources
        cdef uint32_t[DRAWS] delays
        cdef double[DRAWS] weights
        cdef uint32_t* permutation = &self.numbers[0] if self.numbers.shape[0] > 0 else NULL
        cdef Draw draw = self.draw
        cdef int64_t j, first, place, number, row
        cdef int k, n
        with nogil:
            for j in range(first_target, last_target):
                start_target(&draw, stream_of(self.key_source, <uint64_t>j), self.probability)
                first = skip_to(&draw, rows)
                while first < draw.n_most:
                    n = choose(&draw, first, permutation, sources)
                    draw_delays(stream_of(self.key_delay, <uint64_t>j), first, n, self.n_delays, self.levels,
                                delays)
                    draw_values(self.weight_kind, self.weight_a, self.weight_b,
                                stream_of(self.key_weight, <uint64_t>j), first, n, weights)
                    for k in range(n):
                        number = rows.number(sources[k])
                        if number >= 0:
                            row = rows.row(delays[k], number)
                            place = cursor[row]
                            cursor[row] = place + 1
                            target[place] = <uint32_t>(j - first_target + target_base)
                            weight[place] = <real>weights[k]
                    first += n
                finish_target(&draw, permutation)
