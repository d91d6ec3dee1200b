# Spike variant, any neuron: the window of a synapse is worked off step by step, many targets of a source at a time.
# Needed for adaptive thresholds, for tau_m that differs within a population, for Adam and steps that meet bounds.
#
# A chunk of a row passes through all steps of a window before the next chunk does: what it keeps stays in the cache.
# What belongs to the targets is collected first, so that every other loop runs over neighbours in memory.

cdef enum:
    CHUNK = 128   # synapses
    WINDOW = 128  # steps


cdef inline void collect(
    int64_t n, int64_t dense, const uint32_t* target, const double* values, double* found
) noexcept nogil:
    """Values of the n targets, which are neighbours from `dense` on unless that is -1."""
    cdef int64_t i
    if dense >= 0:
        for i in range(n):
            found[i] = values[dense + i]
    else:
        for i in range(n):
            found[i] = values[target[i]]


cdef inline void repeat(int64_t n, double value, double* values) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        values[i] = value


cdef inline void filter_own(int64_t n, double z, const double* alpha, double* zbar, double* e) noexcept nogil:
    """zbar = alpha zbar + z, copied to e."""
    cdef int64_t i
    for i in range(n):
        zbar[i] = alpha[i] * zbar[i] + z
        e[i] = zbar[i]


cdef inline void eligibility(int64_t n, const double* psi, double* e) noexcept nogil:
    """e = psi zbar, in place of zbar."""
    cdef int64_t i
    for i in range(n):
        e[i] = psi[i] * e[i]


cdef inline void eligibility_adaptive(
    int64_t n, const double* psi, const double* beta, const double* rho, double* eps, double* e
) noexcept nogil:
    """e = psi (zbar - adapt_beta eps), in place of zbar; eps = rho eps + e."""
    cdef int64_t i
    for i in range(n):
        e[i] = psi[i] * (e[i] - beta[i] * eps[i])
        eps[i] = rho[i] * eps[i] + e[i]


cdef inline void credit(
    int64_t n, double kappa, const double* e, const double* signal, double* ebar, double* owed
) noexcept nogil:
    """ebar = kappa ebar + e; g += (L + (1 - kappa) F) ebar. `owed` is minus the gradient."""
    cdef int64_t i
    for i in range(n):
        ebar[i] = kappa * ebar[i] + e[i]
        owed[i] = owed[i] - signal[i] * ebar[i]


cdef inline void credit_both(
    int64_t n, double kappa, double kappa_reg, const double* e, const double* L, const double* F, double* ebar,
    double* ereg, double* owed
) noexcept nogil:
    """As `credit` where kappa_reg differs: ereg = kappa_reg ereg + (1 - kappa_reg) e; g += L ebar + F ereg."""
    cdef int64_t i
    for i in range(n):
        ebar[i] = kappa * ebar[i] + e[i]
        ereg[i] = kappa_reg * ereg[i] + (1.0 - kappa_reg) * e[i]
        owed[i] = owed[i] - (L[i] * ebar[i] + F[i] * ereg[i])


cdef inline void decay(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,       # IN
    bint own_zbar,
    bint adaptive,
    bint second,
    int64_t n,                        # steps without a learning signal
    double kappa,
    double kappa_reg,
    const double[::1] alpha,          # IN (n)
    const double[::1] rho,            # IN (n)
    double[::1] zbar,                 # UPDATED
    double[::1] eps,                  # UPDATED
    double[::1] ebar,                 # UPDATED
    double[::1] ereg,                 # UPDATED
) noexcept nogil:
    cdef int64_t k
    cdef double shrink = kappa ** n, shrink_reg = kappa_reg ** n
    for k in range(start, stop):
        ebar[k] *= shrink
        if second:
            ereg[k] *= shrink_reg
        if own_zbar:
            zbar[k] *= alpha[target[k]] ** n
        if adaptive:
            eps[k] *= rho[target[k]] ** n


cdef inline void apply_descent(
    int64_t start, int64_t stop, double eta, double Wmin, double Wmax, double[::1] owed, double[::1] weight
) noexcept nogil:
    """w -= eta g, clipped; `owed` holds minus g and is cleared."""
    cdef int64_t k
    cdef double w
    for k in range(start, stop):
        w = weight[k] + eta * owed[k]
        w = w if w > Wmin else Wmin
        weight[k] = w if w < Wmax else Wmax
        owed[k] = 0.0


cdef inline void apply_adam(
    int64_t start,
    int64_t stop,
    int64_t made,                     # Adam steps made before
    int64_t due,                      # Adam steps made after; the first one takes the gradient, the others none
    double eta,
    double Wmin,
    double Wmax,
    double beta_1,
    double beta_2,
    double epsilon,
    double[::1] owed,                 # IN, minus the gradient; cleared
    double[::1] moment,               # UPDATED
    double[::1] variance,             # UPDATED
    double[::1] weight,               # UPDATED
) noexcept nogil:
    cdef int64_t k, n
    cdef double w, g, rate
    for n in range(made + 1, due + 1):
        rate = eta * sqrt(1.0 - beta_2 ** n) / (1.0 - beta_1 ** n)
        for k in range(start, stop):
            g = -owed[k]
            owed[k] = 0.0
            moment[k] = beta_1 * moment[k] + (1.0 - beta_1) * g
            variance[k] = beta_2 * variance[k] + (1.0 - beta_2) * g * g
            weight[k] -= rate * moment[k] / (sqrt(variance[k]) + epsilon)
    for k in range(start, stop):
        w = weight[k]
        w = w if w > Wmin else Wmin
        weight[k] = w if w < Wmax else Wmax
        owed[k] = 0.0
