# Spike variant, any neuron: the window of a synapse is worked off step by step, all targets of a source at a time.
# Needed for adaptive thresholds, for tau_m that differs within a population, and for an optimizer step per time step.


cdef inline void work_step(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,       # IN
    bint own_zbar,                    # whether every synapse has its own zbar (tau_m differs)
    bint adaptive,
    bint second,                      # whether kappa_reg differs from kappa
    int64_t z,                        # spikes that enter in this step
    double Z,                         # zbar of the source, if all targets share it
    double kappa,
    double kappa_reg,
    const double[::1] alpha,          # IN (n)
    const double[::1] rho,            # IN (n)
    const double[::1] adapt_beta,     # IN (n)
    const double[::1] psi,            # IN (n), of the step
    const double[::1] L,              # IN (n)
    const double[::1] F,              # IN (n)
    double[::1] zbar,                 # UPDATED (n_synapses), or empty
    double[::1] eps,                  # UPDATED, or empty
    double[::1] ebar,                 # UPDATED
    double[::1] ereg,                 # UPDATED, or empty
    double[::1] owed,                 # UPDATED, minus the gradient
) noexcept nogil:
    """e = psi (zbar - adapt_beta eps); eps, ebar, ereg filter it; g += L ebar + F ereg."""
    cdef int64_t k, j
    cdef double e
    if own_zbar:
        for k in range(start, stop):
            zbar[k] = alpha[target[k]] * zbar[k] + z
    for k in range(start, stop):
        j = target[k]
        e = zbar[k] if own_zbar else Z
        if adaptive:
            e = psi[j] * (e - adapt_beta[j] * eps[k])
            eps[k] = rho[j] * eps[k] + e
        else:
            e = psi[j] * e
        ebar[k] = kappa * ebar[k] + e
        if second:
            ereg[k] = kappa_reg * ereg[k] + (1.0 - kappa_reg) * e
            owed[k] -= L[j] * ebar[k] + F[j] * ereg[k]
        else:
            owed[k] -= (L[j] + (1.0 - kappa_reg) * F[j]) * ebar[k]


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
