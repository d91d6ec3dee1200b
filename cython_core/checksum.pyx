"""XXH64, a fast checksum of 64 bits (Y. Collet, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).

Ranks compare checksums of their inputs in each sample: SHA-256 would take longer than some samples.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef uint64_t P1 = 0x9E3779B185EBCA87
cdef uint64_t P2 = 0xC2B2AE3D27D4EB4F
cdef uint64_t P3 = 0x165667B19E3779F9
cdef uint64_t P4 = 0x85EBCA77C2B2AE63
cdef uint64_t P5 = 0x27D4EB2F165667C5

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline uint64_t rotated(uint64_t x, int n) { return x << n | x >> (64 - n); }

    static inline uint64_t little_64(const uint8_t* at) {  /* the same number on machines of either byte order */
        uint64_t x;
        memcpy(&x, at, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
    #endif
        return x;
    }

    static inline uint32_t little_32(const uint8_t* at) {
        uint32_t x;
        memcpy(&x, at, 4);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap32(x);
    #endif
        return x;
    }
    """
    uint64_t rotated(uint64_t, int) nogil
    uint64_t little_64(const uint8_t*) nogil
    uint32_t little_32(const uint8_t*) nogil


cdef inline uint64_t stirred(uint64_t lane, uint64_t word) noexcept nogil:
    return rotated(lane + word * P2, 31) * P1


cdef inline uint64_t merged(uint64_t total, uint64_t lane) noexcept nogil:
    return (total ^ stirred(0, lane)) * P1 + P4


def xxh64(const uint8_t[::1] data, uint64_t seed=0):
    """Return the checksum of bytes, uint8 (n,); `seed` chains it to the one before."""
    cdef uint64_t n = data.shape[0], total, a, b, c, d
    cdef const uint8_t* at = &data[0] if n else NULL
    cdef const uint8_t* end = at + n
    with nogil:
        if n >= 32:
            a, b, c, d = seed + P1 + P2, seed + P2, seed, seed - P1
            while end - at >= 32:
                a, b = stirred(a, little_64(at)), stirred(b, little_64(at + 8))
                c, d = stirred(c, little_64(at + 16)), stirred(d, little_64(at + 24))
                at += 32
            total = rotated(a, 1) + rotated(b, 7) + rotated(c, 12) + rotated(d, 18)
            total = merged(merged(merged(merged(total, a), b), c), d)
        else:
            total = seed + P5
        total += n
        while end - at >= 8:
            total = rotated(total ^ stirred(0, little_64(at)), 27) * P1 + P4
            at += 8
        if end - at >= 4:
            total = rotated(total ^ <uint64_t> little_32(at) * P1, 23) * P2 + P3
            at += 4
        while end - at > 0:
            total = rotated(total ^ at[0] * P5, 11) * P1
            at += 1
        total = (total ^ total >> 33) * P2
        total = (total ^ total >> 29) * P3
        total ^= total >> 32
    return total
