# Spike variant, any neuron: synapses take the steps of a window one by one, many targets of a source at a time. Needed
# for adaptive thresholds, for tau_m that differs within a population, for Adam and steps that reach bounds.
#
# A chunk of a row takes all steps of a window before the next chunk does, so that its traces stay in the cache. Values
# of targets are collected first, so that every other loop runs over neighbours in memory.

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.precision cimport real

cdef enum:
    WINDOW = 128  # steps


cdef inline void collect(
    int64_t n, int64_t dense, const uint32_t* target, const real* values, real* found
) noexcept nogil:
    """Values of the n targets, which are neighbours from `dense` on unless `dense` is -1."""
    cdef int64_t i
    if dense >= 0:
        for i in range(n):
            found[i] = values[dense + i]
    else:
        for i in range(n):
            found[i] = values[target[i]]


cdef inline void repeat(int64_t n, real value, real* values) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        values[i] = value


cdef inline void filter_own(int64_t n, real z, const real* alpha, real* zbar, real* e) noexcept nogil:
    """zbar = alpha zbar + z, copied to e."""
    cdef int64_t i
    for i in range(n):
        zbar[i] = alpha[i] * zbar[i] + z
        e[i] = zbar[i]


cdef inline void eligibility(int64_t n, const real* psi, real* e) noexcept nogil:
    """e = psi zbar, in place of zbar."""
    cdef int64_t i
    for i in range(n):
        e[i] = psi[i] * e[i]


cdef inline void eligibility_adaptive(
    int64_t n, const real* psi, const real* beta, const real* rho, real* eps, real* e
) noexcept nogil:
    """e = psi (zbar - adapt_beta eps), in place of zbar; eps = rho eps + e."""
    cdef int64_t i
    for i in range(n):
        e[i] = psi[i] * (e[i] - beta[i] * eps[i])
        eps[i] = rho[i] * eps[i] + e[i]


cdef inline void credit(
    int64_t n, real kappa, const real* e, const real* signal, real* ebar, real* minus_g
) noexcept nogil:
    """ebar = kappa ebar + e; g += (L + (1 - kappa) F) ebar. `minus_g` is minus the gradient."""
    cdef int64_t i
    for i in range(n):
        ebar[i] = kappa * ebar[i] + e[i]
        minus_g[i] = minus_g[i] - signal[i] * ebar[i]


cdef inline void credit_both(
    int64_t n, real kappa, real kappa_reg, const real* e, const real* L, const real* F, real* ebar,
    real* ereg, real* minus_g
) noexcept nogil:
    """As `credit` where kappa_reg differs: ereg = kappa_reg ereg + (1 - kappa_reg) e; g += L ebar + F ereg."""
    cdef int64_t i
    cdef real share = 1.0 - kappa_reg
    for i in range(n):
        ebar[i] = kappa * ebar[i] + e[i]
        ereg[i] = kappa_reg * ereg[i] + share * e[i]
        minus_g[i] = minus_g[i] - (L[i] * ebar[i] + F[i] * ereg[i])


cdef inline void credit_online(
    int64_t n, real kappa, real share, real delta, real discount, const real* e, const real* L, const real* F,
    real* ebar, real* h, real* minus_g
) noexcept nogil:
    """As `credit` with rewards: g += delta h; h = discount h + L ebar; g += share F ebar, share = 1 - kappa_reg."""
    cdef int64_t i
    for i in range(n):
        ebar[i] = kappa * ebar[i] + e[i]
        minus_g[i] = minus_g[i] - (delta * h[i] + share * F[i] * ebar[i])
        h[i] = discount * h[i] + L[i] * ebar[i]


cdef inline void credit_online_both(
    int64_t n, real kappa, real kappa_reg, real delta, real discount, const real* e, const real* L, const real* F,
    real* ebar, real* ereg, real* h, real* minus_g
) noexcept nogil:
    """As `credit_online` where kappa_reg differs, see `credit_both`."""
    cdef int64_t i
    cdef real share = 1.0 - kappa_reg
    for i in range(n):
        ebar[i] = kappa * ebar[i] + e[i]
        ereg[i] = kappa_reg * ereg[i] + share * e[i]
        minus_g[i] = minus_g[i] - (delta * h[i] + F[i] * ereg[i])
        h[i] = discount * h[i] + L[i] * ebar[i]
