# NEST's default random generator and its distributions, so that a script draws the same numbers as with NEST.
#
# 64-bit Mersenne Twister (Nishimura 2000, doi 10.1145/369534.369540), seeded by the mixing of a few integers of
# `randutils` (O'Neill 2015), with the distributions of the GNU C++ library. For this reason, and only here, logarithms
# and exponentials come from the C library.
#
# A generator is 313 words: the state, and how many of its 312 words were given out.

from libc.math cimport NAN, exp, fabs, floor, fmax, lgamma, log, round, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.philox cimport multiply_high

cdef enum:
    WORDS = 312
    MIDDLE = 156        # distance of the recurrence
    GENERATOR = 313     # words of a generator

cdef extern from *:
    """
    #define MERSENNE_UNIT 0x1p-64
    #define MERSENNE_LAST 0x1.fffffffffffffp-1
    """
    const double UNIT "MERSENNE_UNIT"
    const double LAST "MERSENNE_LAST"    # the largest number below 1


cdef inline uint32_t hash_word(uint32_t value, uint32_t* state, uint32_t factor) noexcept nogil:
    value ^= state[0]
    state[0] *= factor
    value *= state[0]
    return value ^ (value >> 16)


cdef inline uint32_t mix(uint32_t x, uint32_t y) noexcept nogil:
    cdef uint32_t result = <uint32_t>0xCA01F9DD * x - <uint32_t>0x4973F715 * y
    return result ^ (result >> 16)


cdef inline void seed(const uint32_t* entropy, int n, uint64_t* generator) noexcept nogil:
    """Start a generator from `n` integers: words of 64 bits from a state of four words, each a hash of all integers."""
    cdef uint32_t words[4]
    cdef uint32_t state = 0x43B0D7E5
    cdef uint64_t low, others = 0
    cdef int i, k
    for i in range(4):
        words[i] = hash_word(entropy[i] if i < n else 0, &state, 0x931E8875)
    for i in range(4):
        for k in range(4):
            if i != k:
                words[k] = mix(words[k], hash_word(words[i], &state, 0x931E8875))
    for i in range(4, n):
        for k in range(4):
            words[k] = mix(words[k], hash_word(entropy[i], &state, 0x931E8875))
    state = 0x8B51F9DD
    for i in range(WORDS):
        low = hash_word(words[2 * i & 3], &state, 0x58F38DED)
        generator[i] = low | <uint64_t>hash_word(words[2 * i + 1 & 3], &state, 0x58F38DED) << 32
        others |= generator[i] if i > 0 else generator[i] >> 31
    if others == 0:
        generator[0] = <uint64_t>1 << 63
    generator[WORDS] = WORDS


cdef inline uint64_t twisted(uint64_t word, uint64_t following, uint64_t distant) noexcept nogil:
    cdef uint64_t mixed = (word & 0xFFFFFFFF80000000ULL) | (following & 0x7FFFFFFFULL)
    return distant ^ (mixed >> 1) ^ (0xB5026F5AA96619E9ULL & (0 - (mixed & 1)))


cdef inline void advance(uint64_t* s) noexcept nogil:
    """Make the next 312 words."""
    cdef int i
    for i in range(WORDS - MIDDLE):
        s[i] = twisted(s[i], s[i + 1], s[i + MIDDLE])
    for i in range(WORDS - MIDDLE, WORDS - 1):
        s[i] = twisted(s[i], s[i + 1], s[i + MIDDLE - WORDS])
    s[WORDS - 1] = twisted(s[WORDS - 1], s[0], s[MIDDLE - 1])
    s[WORDS] = 0


cdef inline uint64_t word(uint64_t* s) noexcept nogil:
    """The next 64 bits."""
    cdef uint64_t x
    if s[WORDS] >= WORDS:
        advance(s)
    x = s[s[WORDS]]
    s[WORDS] += 1
    x ^= (x >> 29) & 0x5555555555555555ULL
    x ^= (x << 17) & 0x71D67FFFEDA60000ULL
    x ^= (x << 37) & 0xFFF7EEE000000000ULL
    return x ^ (x >> 43)


cdef inline double unit(uint64_t* s) noexcept nogil:
    """Evenly distributed in [0, 1)."""
    cdef double x = <double>word(s) * UNIT
    return x if x < 1.0 else LAST


cdef inline uint64_t whole(uint64_t* s, uint64_t bound) noexcept nogil:
    """Whole number below `bound`: high word of a product; those that would favour some values are drawn again."""
    cdef uint64_t x = word(s), threshold
    if x * bound < bound:
        threshold = (0 - bound) % bound
        while x * bound < threshold:
            x = word(s)
    return multiply_high(x, bound)


cdef inline double exponential(uint64_t* s) noexcept nogil:
    return -log(1.0 - unit(s))


cdef inline double normal(uint64_t* s, double* waiting) noexcept nogil:
    """Marsaglia's polar method makes two numbers: the other one waits for the next call, NaN if there is none."""
    cdef double x, y, square, factor = waiting[0]
    if factor == factor:
        waiting[0] = NAN
        return factor
    while True:
        x = 2.0 * unit(s) - 1.0
        y = 2.0 * unit(s) - 1.0
        square = x * x + y * y
        if square <= 1.0 and square != 0.0:
            break
    factor = sqrt(-2.0 * log(square) / square)
    waiting[0] = x * factor
    return y * factor


cdef struct Binomial:
    # Devroye (1986), Non-uniform random variate generation, X.4: rejection from two half normals and two exponential
    # tails around the mean; the rest of the trials, and all if the mean is below 8, by waiting times.
    uint64_t n
    double p                # the smaller one of p and 1 - p
    bint swapped            # whether p is the larger one
    double log_miss         # of the waiting times
    double mean             # 0 without rejection, else whole
    double[2] width         # of the normals above and below the mean
    double[2] reach         # up to which they are used
    double[4] area          # up to the end of the upper normal, the lower one, the upper tail, the lower tail
    double shift, log_centre, log_odds
    double waiting          # of the normal numbers


cdef inline void set_binomial(Binomial* b, uint64_t n, double p) noexcept nogil:
    """Prepare draws of the number of hits among `n` trials; what waits stays."""
    cdef double above, share, miss, trials = <double>n, quarter = 0.7853981633974483, half = 1.2533141373155003
    cdef double square
    b.n, b.swapped = n, p > 0.5
    b.p = 1.0 - p if b.swapped else p
    b.mean = 0.0
    if trials * b.p < 8:
        b.log_miss = -log(1 - b.p)
        return
    b.mean = floor(trials * b.p)
    share = b.mean / trials
    miss = 1 - share
    b.reach[0] = round(fmax(1.0, sqrt(b.mean * miss * log(32 * b.mean / (81 * quarter * miss)))))
    b.reach[1] = round(fmax(1.0, sqrt(b.mean * miss * log(32 * trials * miss / (quarter * share)))))
    b.width[0] = sqrt(b.mean * miss) * (1 + b.reach[0] / (4 * b.mean))
    b.width[1] = sqrt(b.mean * miss) * (1 + b.reach[1] / (4 * (trials * miss)))
    b.shift = 2 * b.reach[0] / b.mean
    b.area[0] = exp(b.shift) * b.width[0] * half
    b.area[1] = b.area[0] + b.width[1] * half
    square = b.width[0] * b.width[0]
    above = exp(b.reach[0] / (trials * miss)) * 2 * square / b.reach[0]
    b.area[2] = b.area[1] + above * exp(-b.reach[0] * b.reach[0] / (2 * square))
    square = b.width[1] * b.width[1]
    b.area[3] = b.area[2] + 2 * square / b.reach[1] * exp(-b.reach[1] * b.reach[1] / (2 * square))
    b.log_centre = lgamma(b.mean + 1) + lgamma(trials - b.mean + 1)
    b.log_odds = log(share / miss)
    b.log_miss = -log(1 - (b.p - share) / miss)


cdef inline uint64_t wait(uint64_t* s, uint64_t n, double log_miss) noexcept nogil:
    """Hits among `n` trials by the times between them."""
    cdef uint64_t found = 0
    cdef double time = 0.0
    while found < n:
        time += exponential(s) / <double>(n - found)
        if not time <= log_miss:
            break
        found += 1
    return found


cdef inline bint propose(uint64_t* s, Binomial* b, double* distance, double* bound) noexcept nogil:
    """A distance from the mean and the logarithm under which it is accepted; False if it is out of reach."""
    cdef double u = b.area[3] * unit(s), number, far, trials = <double>b.n, square
    cdef int side
    if u <= b.area[1]:
        side = 0 if u <= b.area[0] else 1
        number = normal(s, &b.waiting)
        far = b.width[side] * fabs(number)
        if far >= b.reach[side]:
            return False
        bound[0] = -exponential(s) - number * number / 2
        if side == 0:
            bound[0] += b.shift
    else:
        side = 0 if u <= b.area[2] else 1
        square = b.width[side] * b.width[side]
        far = b.reach[side] + 2 * square * exponential(s) / b.reach[side]
        if side == 0:
            bound[0] = -exponential(s) + b.reach[0] * (1 / (trials - b.mean) - far / (2 * square))
        else:
            bound[0] = -exponential(s) - b.reach[1] * far / (2 * square)
    distance[0] = floor(far if side == 0 else -far)
    return not (distance[0] < -b.mean or distance[0] > trials - b.mean)


cdef inline uint64_t hits(uint64_t* s, Binomial* b) noexcept nogil:
    """Draw a binomial number."""
    cdef double distance = 0.0, bound = 0.0, centre, trials = <double>b.n
    cdef uint64_t found
    if b.mean == 0.0:
        found = wait(s, b.n, b.log_miss)
    else:
        while True:
            if not propose(s, b, &distance, &bound):
                continue
            centre = lgamma(b.mean + distance + 1) + lgamma(trials - (b.mean + distance) + 1)
            if not bound > b.log_centre - centre + distance * b.log_odds:
                break
        found = <uint64_t>(distance + b.mean)
        found += wait(s, b.n - found, b.log_miss)
    return b.n - found if b.swapped else found
