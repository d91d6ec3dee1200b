# Surrogate gradients psi(x) of height h and width w at x = voltage - threshold; 0 while refractory.

from libc.math cimport expf, fabs, fabsf
from libc.stdint cimport int64_t

from pareprop.core.elementary cimport exp
from pareprop.core.layout cimport EXPONENTIAL, FAST_SIGMOID_DERIVATIVE, PIECEWISE_LINEAR, SIGMOID_DERIVATIVE
from pareprop.core.precision cimport real


cdef inline real abs_of(real x) noexcept nogil:
    return fabsf(x) if real is float else fabs(x)


cdef inline real exp_of(real x) noexcept nogil:
    return expf(x) if real is float else exp(x)


cdef inline real positive(real x) noexcept nogil:
    return x if x > 0 else 0


cdef inline void surrogate(
    int64_t kind,                     # one of the enum in layout.pxd
    int64_t first,
    int64_t last,
    const real[::1] height,           # IN
    const real[::1] inverse_width,    # IN
    const real[::1] excess,           # IN
    const real[::1] refractory,       # IN, steps left
    real[::1] psi,                    # OUT
) noexcept nogil:
    cdef int64_t j
    cdef real x
    if kind == PIECEWISE_LINEAR:            # h max(0, 1 - |x|/w)
        for j in range(first, last):
            psi[j] = height[j] * positive(1 - abs_of(excess[j]) * inverse_width[j]) if refractory[j] == 0 else 0
    elif kind == EXPONENTIAL:               # h exp(-|x|/w)
        for j in range(first, last):
            psi[j] = height[j] * exp_of(-abs_of(excess[j]) * inverse_width[j]) if refractory[j] == 0 else 0
    elif kind == FAST_SIGMOID_DERIVATIVE:   # h (1 + |x|/w)^-2
        for j in range(first, last):
            x = 1 + abs_of(excess[j]) * inverse_width[j]
            psi[j] = height[j] / (x * x) if refractory[j] == 0 else 0
    elif kind == SIGMOID_DERIVATIVE:        # 4 h s(x/w) s(-x/w), s the logistic function
        for j in range(first, last):
            x = exp_of(-abs_of(excess[j]) * inverse_width[j])
            psi[j] = 4 * height[j] * x / ((1 + x) * (1 + x)) if refractory[j] == 0 else 0
    else:                                   # ARCTAN_DERIVATIVE: h / (1 + (x/w)^2)
        for j in range(first, last):
            x = excess[j] * inverse_width[j]
            psi[j] = height[j] / (1 + x * x) if refractory[j] == 0 else 0
