"""Optimizer steps over a range of synapses; the gradient is consumed and set back to 0."""

from libc.math cimport sqrt
from libc.stdint cimport int64_t


def gradient_descent(
    double eta,
    double divisor,
    double Wmin,
    double Wmax,
    double[::1] gradient,             # IN, cleared
    double[::1] weight,               # UPDATED
):
    """w -= eta g / divisor, clipped to [Wmin, Wmax]."""
    cdef int64_t k
    cdef double w
    with nogil:
        for k in range(weight.shape[0]):
            w = weight[k] - eta * (gradient[k] / divisor)
            w = w if w > Wmin else Wmin
            weight[k] = w if w < Wmax else Wmax
            gradient[k] = 0.0


def clip(double Wmin, double Wmax, double[::1] weight):
    """Clip weights to [Wmin, Wmax]."""
    cdef int64_t k
    cdef double w
    with nogil:
        for k in range(weight.shape[0]):
            w = weight[k] if weight[k] > Wmin else Wmin
            weight[k] = w if w < Wmax else Wmax


def adam(
    double eta,
    double divisor,
    double Wmin,
    double Wmax,
    double beta_1,
    double beta_2,
    double epsilon,
    int64_t n_step,
    double[::1] gradient,             # IN, cleared
    double[::1] moment,               # UPDATED
    double[::1] variance,             # UPDATED
    double[::1] weight,               # UPDATED
):
    """Step `n_step` >= 1 of Adam (Kingma and Ba 2015), with NEST's placement of epsilon."""
    cdef int64_t k
    cdef double w, g
    cdef double rate = eta * sqrt(1.0 - beta_2 ** n_step) / (1.0 - beta_1 ** n_step)
    with nogil:
        for k in range(weight.shape[0]):
            g = gradient[k] / divisor
            moment[k] = beta_1 * moment[k] + (1.0 - beta_1) * g
            variance[k] = beta_2 * variance[k] + (1.0 - beta_2) * g * g
            w = weight[k] - rate * moment[k] / (sqrt(variance[k]) + epsilon)
            w = w if w > Wmin else Wmin
            weight[k] = w if w < Wmax else Wmax
            gradient[k] = 0.0
