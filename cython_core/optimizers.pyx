"""Steps of any optimizer over a range of synapses (equations: network/optimizers.py); the gradient is set to 0."""

from libc.math cimport fabs, fabsf
from libc.stdint cimport int64_t

from pareprop.core.precision cimport real

cdef extern from *:
    """
    #define REAL float
    #define NAMED(name) name##_single
    #include "optimizer_steps.h"
    #undef REAL
    #undef NAMED
    #define REAL double
    #define NAMED(name) name##_double
    #include "optimizer_steps.h"
    """
    enum:
        MOST_CONSTANTS
        MOST_KEPT
        MOST_OF_STEP

    const char* OPTIMIZERS

    void terms_of_series(int64_t kind, const double* constant, double* term) nogil
    void step_mean_double(
        int64_t kind, const double* constant, double eta, int64_t n_step, double divisor, double low, double high,
        int64_t n, double* gradient, double* weight, double** kept
    ) nogil
    void step_mean_single(
        int64_t kind, const double* constant, double eta, int64_t n_step, float divisor, float low, float high,
        int64_t n, float* gradient, float* weight, float** kept
    ) nogil


STEP_NUMBERS = MOST_OF_STEP + 1    # that the spike variant keeps of a step, see optimizing.pxi


def kinds():
    """The equations of all optimizers, and the names that these have of settings, by their number, as JSON."""
    return OPTIMIZERS.decode()


cdef inline void take_constants(const double[::1] constants, double* constant) noexcept:
    cdef int64_t k
    for k in range(constants.shape[0]):
        constant[k] = constants[k]


def terms(int64_t kind, const double[::1] constants):
    """Factor and growth of the series of steps without a gradient, see `Optimizer.series`; 0 if there is none."""
    cdef double[MOST_CONSTANTS] constant
    cdef double[2] term
    take_constants(constants, constant)
    term[0] = term[1] = 0.0
    terms_of_series(kind, constant, term)
    return term[0], term[1]


def step(
    int64_t kind,
    const double[::1] constants,      # IN, those that the equations name
    double eta,
    double divisor,                   # of the gradient
    int64_t n_step,                   # from 1
    double Wmin,
    double Wmax,
    real[::1] gradient,               # IN, cleared
    real[::1] weight,                 # UPDATED
    list kept,                        # UPDATED, arrays as `weight`
):
    """A step of an optimizer, by its number."""
    cdef double[MOST_CONSTANTS] constant
    cdef real* pointers[MOST_KEPT]
    cdef real[::1] array
    cdef int64_t k
    if weight.shape[0] == 0:
        return
    take_constants(constants, constant)
    for k in range(MOST_KEPT):
        pointers[k] = NULL
    for k in range(len(kept)):
        array = kept[k]
        pointers[k] = &array[0]
    with nogil:
        if real is double:
            step_mean_double(kind, constant, eta, n_step, divisor, Wmin, Wmax, weight.shape[0], &gradient[0],
                             &weight[0], pointers)
        else:
            step_mean_single(kind, constant, eta, n_step, <float> divisor, <float> Wmin, <float> Wmax, weight.shape[0],
                             &gradient[0], &weight[0], pointers)


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
