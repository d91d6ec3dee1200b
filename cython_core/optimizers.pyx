"""Optimizer steps in either precision over a range of synapses; the gradient is consumed and set back to 0."""

from libc.math cimport fabs, fabsf
from libc.stdint cimport int64_t

from pareprop.core.precision cimport real


def gradient_descent(
    double eta,
    double divisor,
    double Wmin,
    double Wmax,
    real[::1] gradient,               # IN, cleared
    real[::1] weight,                 # UPDATED
):
    """w -= eta g / divisor, clipped to [Wmin, Wmax]."""
    if weight.shape[0] > 0:
        with nogil:
            descent_step(weight.shape[0], <real> eta, <real> divisor, <real> Wmin, <real> Wmax, &gradient[0],
                         &weight[0])


def sgd_momentum(
    double eta,
    double divisor,
    double Wmin,
    double Wmax,
    double momentum,
    real[::1] gradient,               # IN, cleared
    real[::1] velocity,               # UPDATED
    real[::1] weight,                 # UPDATED
):
    """v = momentum v + g / divisor; w -= eta v, clipped to [Wmin, Wmax]."""
    cdef int64_t k
    cdef real rate = eta, n = divisor, keep = momentum
    with nogil:
        for k in range(weight.shape[0]):
            velocity[k] = keep * velocity[k] + gradient[k] / n
            weight[k] = clipped(weight[k] - rate * velocity[k], <real> Wmin, <real> Wmax)
            gradient[k] = 0.0


def adam(
    double eta,
    double divisor,
    double Wmin,
    double Wmax,
    double beta_1,
    double beta_2,
    double epsilon,
    int64_t n_step,
    real[::1] gradient,               # IN, cleared
    real[::1] moment,                 # UPDATED
    real[::1] variance,               # UPDATED
    real[::1] weight,                 # UPDATED
):
    """Step `n_step` >= 1 of Adam (Kingma and Ba 2015), with NEST's placement of epsilon."""
    cdef Adam constants = Adam(beta_1, beta_2, epsilon)
    if weight.shape[0] > 0:
        with nogil:
            adam_step(weight.shape[0], <real> (eta * bias_2(constants, n_step) / bias_1(constants, n_step)),
                      <real> divisor, constants, <real> Wmin, <real> Wmax, &gradient[0], &moment[0], &variance[0],
                      &weight[0])


def sound_double(double limit, const double[::1] values):
    """Whether all are finite and smaller than `limit` in size."""
    cdef int64_t k
    cdef bint bad = False
    with nogil:
        for k in range(values.shape[0]):
            bad |= not fabs(values[k]) < limit
    return not bad


def sound_single(double limit, const float[::1] values):
    """As `sound_double`; not a fused type, whose choice at every call costs more than the work on small arrays."""
    cdef int64_t k
    cdef bint bad = False
    cdef float low = limit
    with nogil:
        for k in range(values.shape[0]):
            bad |= not fabsf(values[k]) < low
    return not bad
