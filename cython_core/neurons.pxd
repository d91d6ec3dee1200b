# One step of neurons and readouts: NEST's eprop_iaf(_adapt), eprop_iaf_psc_delta(_adapt) and eprop_readout, with their
# forms for update intervals (*_bsshslm_2020).

from libc.stdint cimport int64_t

from pareprop.core.elementary cimport power_of
from pareprop.core.precision cimport real


cdef inline void set_drive(
    int64_t first,
    int64_t last,
    bint constant,                    # whether I_e is there
    const real[::1] p_current,        # IN
    const real[::1] I_e,              # IN
    const real[:, ::1] injected,      # IN (steps, n), pA; no steps: nothing is injected
    int64_t step,
    real[::1] drive,                  # OUT
) noexcept nogil:
    """Voltage change by the current of the previous step."""
    cdef int64_t j
    cdef bint injects = injected.shape[0] > 0
    cdef real current
    for j in range(first, last):
        current = I_e[j] if constant else 0.0
        if injects:
            current = current + injected[step, j]
        drive[j] = p_current[j] * current


cdef inline void integrate_iaf(
    int64_t first,
    int64_t last,
    bint adaptive,
    bint subtracts,                   # V_th is subtracted here, in the step after the spike, not when it is emitted
    const real[::1] alpha,            # IN
    const real[::1] zeta,             # IN
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
    """v = drive + zeta arriving + alpha v (- V_th z), clamped; a = rho a + z; threshold V_th + adapt_beta a."""
    cdef int64_t j
    cdef real x
    for j in range(first, last):
        x = drive[j] + zeta[j] * arriving[j] + alpha[j] * v[j]
        if subtracts:
            x = x - V_th[j] * z[j]
        x = x if x > V_min[j] else V_min[j]
        v[j] = x
        excess[j] = x - V_th[j]
        arriving[j] = 0.0
        refractory[j] = refractory[j] - 1 if refractory[j] > 1 else 0
    if adaptive:
        for j in range(first, last):
            a[j] = rho[j] * a[j] + z[j]
            excess[j] = v[j] - (V_th[j] + adapt_beta[j] * a[j])


cdef inline void integrate_psc_delta(
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
                kept[j] += arriving[j] * <real>power_of(alpha[j], <int64_t>refractory[j])
            refractory[j] -= 1.0
        else:
            x = drive[j] + arriving[j] + kept[j] + alpha[j] * v[j]
            kept[j] = 0.0
            v[j] = x if x > V_min[j] else V_min[j]
            if adaptive:
                a[j] = rho[j] * a[j] + z[j]
        arriving[j] = 0.0
        excess[j] = v[j] - (V_th[j] + adapt_beta[j] * a[j] if adaptive else V_th[j])


cdef inline void fire(
    int64_t first,
    int64_t last,
    const real[::1] t_ref,            # IN, steps
    const real[::1] excess,           # IN
    real[::1] z,                      # OUT
    real[::1] refractory,             # UPDATED
) noexcept nogil:
    """z = 1 where the voltage has reached the threshold and the neuron is not refractory."""
    cdef int64_t j
    cdef real fired
    for j in range(first, last):
        fired = <real> 1.0 if (excess[j] >= 0) & (refractory[j] == 0) else <real> 0.0
        z[j] = fired
        refractory[j] = t_ref[j] if fired != 0 else refractory[j]


cdef inline void reset(
    int64_t first,
    int64_t last,
    bint psc_delta,
    const real[::1] z,                # IN
    const real[::1] V_th,             # IN
    const real[::1] V_reset,          # IN
    real[::1] v,                      # UPDATED
) noexcept nogil:
    """The voltage after a spike, in the same step: V_reset, or V_th is subtracted."""
    cdef int64_t j
    for j in range(first, last):
        if psc_delta:
            v[j] = V_reset[j] if z[j] != 0 else v[j]
        else:
            v[j] = v[j] - V_th[j] if z[j] != 0 else v[j]


cdef inline void integrate_readouts(
    const double[::1] alpha,          # IN
    const double[::1] zeta,           # IN
    const double[::1] drive,          # IN
    bint constant,                    # whether the drive is there
    const double[::1] V_min,          # IN
    const double[::1] arriving,       # IN
    double[::1] y,                    # UPDATED
    double[:, ::1] signal,            # OUT, y in row `step`
    int64_t step,
) noexcept nogil:
    """y = drive + zeta arriving + alpha y, clamped."""
    cdef int64_t k
    cdef double x
    for k in range(y.shape[0]):
        x = (drive[k] if constant else 0.0) + zeta[k] * arriving[k] + alpha[k] * y[k]
        y[k] = x if x > V_min[k] else V_min[k]
        signal[step, k] = y[k]


cdef inline void filter_rates(
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


cdef inline void add_rates(int64_t first, int64_t last, real share, const real[::1] F, real[::1] L) noexcept nogil:
    cdef int64_t j
    for j in range(first, last):
        L[j] = L[j] + share * F[j]
