# One step of the spike variant's neurons: NEST's eprop_iaf(_adapt) and eprop_iaf_psc_delta(_adapt).


cdef void integrate_iaf(
    int64_t first,
    int64_t last,
    bint adaptive,
    const real[::1] alpha,            # IN
    const real[::1] drive,            # IN
    const real[::1] V_th,             # IN
    const real[::1] V_min,            # IN
    const real[::1] rho,              # IN
    const real[::1] adapt_beta,       # IN
    const real[::1] z,                # IN, spikes of the previous step
    real[::1] arriving,               # IN, cleared
    real[::1] v,                      # UPDATED
    real[::1] a,                      # UPDATED
    real[::1] refractory,             # UPDATED, steps left
    real[::1] excess,                 # OUT, voltage above threshold
) noexcept nogil:
    """v = drive + arriving + alpha v, clamped; a = rho a + z; threshold V_th + adapt_beta a."""
    cdef int64_t j
    cdef real x
    for j in range(first, last):
        x = drive[j] + arriving[j] + alpha[j] * v[j]
        x = x if x > V_min[j] else V_min[j]
        v[j] = x
        excess[j] = x - V_th[j]
        arriving[j] = 0.0
        refractory[j] = refractory[j] - 1 if refractory[j] > 1 else 0
    if adaptive:
        for j in range(first, last):
            a[j] = rho[j] * a[j] + z[j]
            excess[j] = v[j] - (V_th[j] + adapt_beta[j] * a[j])


cdef void integrate_psc_delta(
    int64_t first,
    int64_t last,
    bint adaptive,
    const real[::1] alpha,            # IN
    const real[::1] drive,            # IN
    const real[::1] V_th,             # IN
    const real[::1] V_min,            # IN
    const real[::1] rho,              # IN
    const real[::1] adapt_beta,       # IN
    const real[::1] z,                # IN
    const real[::1] keeps,            # IN, refractory_input
    real[::1] kept,                   # UPDATED, input kept while refractory
    real[::1] arriving,               # IN, cleared
    real[::1] v,                      # UPDATED
    real[::1] a,                      # UPDATED
    real[::1] refractory,             # UPDATED
    real[::1] excess,                 # OUT
) noexcept nogil:
    """As `integrate_iaf`, but voltage and adaptation stand still while refractory; input is lost, or kept, decaying."""
    cdef int64_t j
    cdef real x
    for j in range(first, last):
        if refractory[j] > 0.0:
            if keeps[j] != 0.0 and arriving[j] != 0.0:
                kept[j] += arriving[j] * alpha[j] ** refractory[j]
            refractory[j] -= 1.0
        else:
            x = drive[j] + arriving[j] + kept[j] + alpha[j] * v[j]
            kept[j] = 0.0
            v[j] = x if x > V_min[j] else V_min[j]
            if adaptive:
                a[j] = rho[j] * a[j] + z[j]
        arriving[j] = 0.0
        excess[j] = v[j] - (V_th[j] + adapt_beta[j] * a[j] if adaptive else V_th[j])


cdef void fire(
    int64_t first,
    int64_t last,
    bint psc_delta,
    const real[::1] t_ref,            # IN, steps
    const real[::1] excess,           # IN
    const real[::1] V_th,             # IN
    const real[::1] V_reset,          # IN
    real[::1] z,                      # OUT
    real[::1] v,                      # UPDATED, reset in the same step
    real[::1] refractory,             # UPDATED
) noexcept nogil:
    cdef int64_t j
    cdef real fired
    for j in range(first, last):
        fired = <real> 1.0 if (excess[j] >= 0) & (refractory[j] == 0) else <real> 0.0
        z[j] = fired
        refractory[j] = t_ref[j] if fired != 0 else refractory[j]
        if psc_delta:
            v[j] = V_reset[j] if fired != 0 else v[j]
        else:
            v[j] = v[j] - V_th[j] if fired != 0 else v[j]


cdef void filter_rates(
    int64_t first, int64_t last, double kappa_reg, real dt, const real[::1] z, const real[::1] c_reg,
    const real[::1] f_target, real[::1] f_av, real[::1] F
) noexcept nogil:
    """f_av = kappa_reg f_av + (1 - kappa_reg) z / dt; F = c_reg (f_av - f_target)."""
    cdef int64_t j
    cdef real keep = kappa_reg, share = 1.0 - kappa_reg
    share = share / dt                # z is 0 or 1: divided once, with the same bits
    for j in range(first, last):
        f_av[j] = keep * f_av[j] + share * z[j]
        F[j] = c_reg[j] * (f_av[j] - f_target[j])


cdef void add_rates(int64_t first, int64_t last, real share, const real[::1] F, real[::1] L) noexcept nogil:
    cdef int64_t j
    for j in range(first, last):
        L[j] = L[j] + share * F[j]
