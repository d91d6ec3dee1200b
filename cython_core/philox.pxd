# Keyed random numbers: number `index` of stream `id` under a 128-bit key, shared by the kernels that draw.
#
# Philox4x64-10 (Salmon et al., SC11, 2011), the same bits as numpy.random.Philox(key=key, counter=[0, id, 0, 0]):
# block b holds numbers 4b .. 4b + 3 and has the counter (b + 1, id, second, third), (b + 1, id, 0, 0) unless said.

from libc.math cimport fabs, floor, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.elementary cimport log

cdef extern from *:
    """
    #define TWO_M53 0x1p-53
    #define TWO_52 ((int64_t)1 << 52)

    static inline uint64_t multiply_high(uint64_t a, uint64_t b)
    {
        return (uint64_t)(((unsigned __int128)a * b) >> 64);
    }
    """
    const double TWO_M53
    const int64_t TWO_52
    uint64_t multiply_high(uint64_t a, uint64_t b) noexcept nogil

cdef enum:
    DRAWS = 256  # numbers drawn at a time into buffers on the stack; a multiple of 4


cdef struct Stream:
    uint64_t key0
    uint64_t key1
    uint64_t id
    uint64_t second
    uint64_t third


cdef inline Stream stream(const uint64_t[::1] key, uint64_t id) noexcept nogil:
    cdef Stream s
    s.key0 = key[0]
    s.key1 = key[1]
    s.id = id
    s.second = s.third = 0
    return s


cdef inline void philox_block(Stream s, uint64_t block, uint64_t* out) noexcept nogil:
    """Numbers 4 block .. 4 block + 3 of a stream."""
    cdef uint64_t c0 = block + 1, c1 = s.id, c2 = s.second, c3 = s.third, low0, low1, high0, high1
    cdef int _
    for _ in range(10):
        high0 = multiply_high(0xD2E7470EE14C6C93ULL, c0)
        low0 = 0xD2E7470EE14C6C93ULL * c0
        high1 = multiply_high(0xCA5A826395121157ULL, c2)
        low1 = 0xCA5A826395121157ULL * c2
        c0 = high1 ^ c1 ^ s.key0
        c1 = low1
        c2 = high0 ^ c3 ^ s.key1
        c3 = low0
        s.key0 += 0x9E3779B97F4A7C15ULL
        s.key1 += 0xBB67AE8584CAA73BULL
    out[0] = c0
    out[1] = c1
    out[2] = c2
    out[3] = c3


cdef inline void draw_raw(Stream s, int64_t first, int64_t n, uint64_t* out) noexcept nogil:
    """Numbers first .. first + n - 1; first is a multiple of 4 and out has room for n rounded up to a multiple of 4."""
    cdef int64_t i
    for i in range(0, n, 4):
        philox_block(s, <uint64_t>((first + i) >> 2), out + i)


cdef inline double unit(uint64_t u) noexcept nogil:
    """Uniform in [0, 1)."""
    return <double>(<int64_t>(u >> 11)) * TWO_M53


cdef inline double skips(uint64_t u, double log_miss) noexcept nogil:
    """Misses before the next hit of a Bernoulli process, log_miss = log1p(-probability) < 0; may be infinite."""
    return floor(log(<double>(<int64_t>(u >> 11) + 1) * TWO_M53) / log_miss)


cdef inline uint64_t below(uint64_t u, uint64_t n) noexcept nogil:
    """Uniform integer in [0, n): Lemire's multiply-shift without rejection, bias below n / 2**64."""
    return multiply_high(u, n)


cdef inline double centred(uint64_t u) noexcept nogil:
    """p - 1/2 for p = ((u >> 11) + 1/2) / 2**53: exact, while p itself would round, even to 1."""
    return (<double>(<int64_t>(u >> 11) - TWO_52) + 0.5) * TWO_M53


cdef inline double normal_centre(double q) noexcept nogil:
    """AS241 PPND16 for abs(q) <= 0.425, where q = p - 1/2."""
    cdef double r = 0.180625 - q * q
    return q * (((((((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r
                    + 4.5921953931549871457e4) * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3) * r
                 + 1.3314166789178437745e2) * r + 3.3871328727963666080e0) \
        / (((((((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r
               + 2.1213794301586595867e4) * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2) * r
            + 4.2313330701600911252e1) * r + 1.0)


cdef inline double normal_tail(double q) noexcept nogil:
    """AS241 PPND16 for abs(q) > 0.425."""
    cdef double r = sqrt(-log(0.5 - fabs(q))), x
    if r <= 5.0:
        r -= 1.6
        x = (((((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r
                + 1.27045825245236838258e0) * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0) * r
              + 4.63033784615654529590e0) * r + 1.42343711074968357734e0) \
            / (((((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r
                   + 1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0) * r
                + 2.05319162663775882187e0) * r + 1.0)
    else:
        r -= 5.0
        x = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r
                + 2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0) * r
              + 5.46378491116411436990e0) * r + 6.65790464350110377720e0) \
            / (((((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r
                   + 7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1) * r
                + 5.99832206555887937690e-1) * r + 1.0)
    return -x if q < 0.0 else x


cdef inline void units(const uint64_t* raw, int64_t n, double* out) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        out[i] = unit(raw[i])


cdef inline void normals(const uint64_t* raw, int64_t n, double* out) noexcept nogil:
    """Standard normals by the inverse distribution function, Wichura, Appl. Statist. 37 (1988) 477, AS241 PPND16."""
    cdef int64_t i
    cdef double q
    for i in range(n):  # without a branch, so that the compiler vectorizes; 15 % of the values are mended below
        out[i] = normal_centre(centred(raw[i]))
    for i in range(n):
        q = centred(raw[i])
        if fabs(q) > 0.425:
            out[i] = normal_tail(q)
