"""Optimizer steps in either precision over a range of synapses; the gradient is consumed and set back to 0."""

from libc.math cimport fabs, fabsf, sqrt, sqrtf
from libc.stdint cimport int64_t

ctypedef fused real:
    float
    double


cdef inline real root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


def gradient_descent(
    double eta,
    double divisor,
    double Wmin,
    double Wmax,
    real[::1] gradient,               # IN, cleared
    real[::1] weight,                 # UPDATED
):
    """w -= eta g / divisor, clipped to [Wmin, Wmax]."""
    cdef int64_t k
    cdef real w, rate = eta, n = divisor, low = Wmin, high = Wmax
    with nogil:
        for k in range(weight.shape[0]):
            w = weight[k] - rate * (gradient[k] / n)
            w = w if w > low else low
            weight[k] = w if w < high else high
            gradient[k] = 0.0


def clip(double Wmin, double Wmax, real[::1] weight):
    """Clip weights to [Wmin, Wmax]."""
    cdef int64_t k
    cdef real w, low = Wmin, high = Wmax
    with nogil:
        for k in range(weight.shape[0]):
            w = weight[k] if weight[k] > low else low
            weight[k] = w if w < high else high


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
    cdef real w, rate = eta, n = divisor, keep = momentum, low = Wmin, high = Wmax
    with nogil:
        for k in range(weight.shape[0]):
            velocity[k] = keep * velocity[k] + gradient[k] / n
            w = weight[k] - rate * velocity[k]
            w = w if w > low else low
            weight[k] = w if w < high else high
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
    cdef int64_t k
    cdef real w, g, n = divisor, low = Wmin, high = Wmax, small = epsilon
    cdef real keep_1 = beta_1, add_1 = 1.0 - beta_1, keep_2 = beta_2, add_2 = 1.0 - beta_2
    cdef real rate = eta * sqrt(1.0 - beta_2 ** n_step) / (1.0 - beta_1 ** n_step)
    with nogil:
        for k in range(weight.shape[0]):
            g = gradient[k] / n
            moment[k] = keep_1 * moment[k] + add_1 * g
            variance[k] = keep_2 * variance[k] + add_2 * g * g
            w = weight[k] - rate * moment[k] / (root(variance[k]) + small)
            w = w if w > low else low
            weight[k] = w if w < high else high
            gradient[k] = 0.0


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
