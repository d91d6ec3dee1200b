# Surrogate gradients psi(x) of height h and width w at x = voltage - threshold; 0 while refractory.


cdef inline real positive(real x) noexcept nogil:
    return x if x > 0 else 0


cdef void surrogate(
    int64_t kind,                     # index in params.SURROGATES
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
    if kind == 0:     # piecewise_linear: h max(0, 1 - |x|/w)
        for j in range(first, last):
            psi[j] = height[j] * positive(1 - abs_of(excess[j]) * inverse_width[j]) if refractory[j] == 0 else 0
    elif kind == 1:   # exponential: h exp(-|x|/w)
        for j in range(first, last):
            psi[j] = height[j] * exp_of(-abs_of(excess[j]) * inverse_width[j]) if refractory[j] == 0 else 0
    elif kind == 2:   # fast_sigmoid_derivative: h (1 + |x|/w)^-2
        for j in range(first, last):
            x = 1 + abs_of(excess[j]) * inverse_width[j]
            psi[j] = height[j] / (x * x) if refractory[j] == 0 else 0
    else:             # arctan_derivative: h / (1 + (x/w)^2)
        for j in range(first, last):
            x = excess[j] * inverse_width[j]
            psi[j] = height[j] / (1 + x * x) if refractory[j] == 0 else 0
