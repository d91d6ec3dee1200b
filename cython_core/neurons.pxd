# What surrounds the step of a neuron model, whose equations are in `pareprop/neurons/models/`: its current, input that
# waits; readouts (NEST's eprop_readout); filtered firing rates.

from libc.stdint cimport int64_t

from pareprop.core.precision cimport real


cdef inline void set_current(
    int64_t first,
    int64_t last,
    bint constant,                    # whether I_e is there
    const real[::1] I_e,              # IN
    const real[:, ::1] injected,      # IN (steps, n), pA; no steps: nothing is injected
    int64_t step,
    real[::1] current,                # OUT
) noexcept nogil:
    """The current of the previous step, which changes the voltage in this one."""
    cdef int64_t j
    cdef bint injects = injected.shape[0] > 0
    for j in range(first, last):
        current[j] = I_e[j] if constant else 0.0
        if injects:
            current[j] = current[j] + injected[step, j]


cdef inline void keep_input(
    int64_t first,
    int64_t last,
    const real[::1] alpha,            # IN
    const real[::1] keeps,            # IN, refractory_input
    const real[::1] refractory,       # IN, steps left
    real[::1] kept,                   # UPDATED
    real[::1] arriving,               # UPDATED
) noexcept nogil:
    """Input that arrives while a neuron is refractory waits, and decays as the voltage would."""
    cdef int64_t j
    for j in range(first, last):
        if keeps[j] != 0.0:
            if refractory[j] > 0.0:
                kept[j] = alpha[j] * (kept[j] + arriving[j])
            else:
                arriving[j] = arriving[j] + kept[j]
                kept[j] = 0.0


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
