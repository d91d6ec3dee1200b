# Elementary functions from additions, multiplications, divisions and roots alone, so that any processor, C library and
# compiler gives the same bits. C libraries do not agree: glibc has other code for processors with FMA, and NumPy for
# processors with AVX-512. Algorithms and constants of fdlibm (Sun Microsystems 1993), errors below 1 ulp; functions of
# arrays are in elementary_arrays.pyx, the C code in elementary.h.

from libc.stdint cimport int64_t

cdef extern from "elementary.h":
    double exp "elementary_exp"(double x) noexcept nogil
    double log "elementary_log"(double x) noexcept nogil
    double log1p "elementary_log1p"(double x) noexcept nogil
    double expm1 "elementary_expm1"(double x) noexcept nogil
    double tanh "elementary_tanh"(double x) noexcept nogil
    double sin "elementary_sin"(double x) noexcept nogil          # NaN from 10^6 on
    double cos "elementary_cos"(double x) noexcept nogil          # NaN from 10^6 on
    double power_of "elementary_power"(double x, int64_t n) noexcept nogil
