# Steps of the optimizers over neighbouring synapses; the gradient is consumed and set back to 0.

from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int64_t

from pareprop.core.elementary cimport power_of
from pareprop.core.precision cimport real


cdef struct Adam:      # of Kingma and Ba 2015
    double beta_1
    double beta_2
    double epsilon


cdef inline real root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


cdef inline real clipped(real w, real Wmin, real Wmax) noexcept nogil:
    w = w if w > Wmin else Wmin
    return w if w < Wmax else Wmax


cdef inline void descent_step(
    int64_t n,
    real eta,
    real divisor,                     # the mean of so many gradients; -1 where minus the gradient is kept
    real Wmin,
    real Wmax,
    real* gradient,                   # IN, cleared
    real* weight,                     # UPDATED
) noexcept nogil:
    """w -= eta g / divisor, clipped to [Wmin, Wmax]."""
    cdef int64_t k
    for k in range(n):
        weight[k] = clipped(weight[k] - eta * (gradient[k] / divisor), Wmin, Wmax)
        gradient[k] = 0.0


cdef inline double bias_1(Adam adam, int64_t n_step) noexcept nogil:
    return 1.0 - power_of(adam.beta_1, n_step)


cdef inline double bias_2(Adam adam, int64_t n_step) noexcept nogil:
    return sqrt(1.0 - power_of(adam.beta_2, n_step))


cdef inline void adam_step(
    int64_t n,
    real rate,                        # eta bias_2 / bias_1
    real divisor,                     # as for `descent_step`
    Adam adam,
    real Wmin,
    real Wmax,
    real* gradient,                   # IN, cleared
    real* moment,                     # UPDATED
    real* variance,                   # UPDATED
    real* weight,                     # UPDATED
) noexcept nogil:
    """A step of Adam with NEST's placement of epsilon."""
    cdef int64_t k
    cdef real g, small = adam.epsilon
    cdef real keep_1 = adam.beta_1, add_1 = 1.0 - adam.beta_1, keep_2 = adam.beta_2, add_2 = 1.0 - adam.beta_2
    for k in range(n):
        g = gradient[k] / divisor
        gradient[k] = 0.0
        moment[k] = keep_1 * moment[k] + add_1 * g
        variance[k] = keep_2 * variance[k] + add_2 * g * g
        weight[k] = clipped(weight[k] - rate * moment[k] / (root(variance[k]) + small), Wmin, Wmax)
