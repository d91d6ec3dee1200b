"""Readouts of single neurons: each filters its neuron's spikes and teaches that neuron alone; nothing travels."""

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.precision cimport real
from pareprop.core.search cimport prefetch

cdef enum:
    STEPS_AHEAD = 4  # to the row whose part is fetched: rows of all neurons are far apart


def advance(
    double alpha,                     # exp(-dt / tau_m) of the readouts
    double jump,                      # of a spike
    int64_t first_id,                 # id of the neuron of column 0
    const uint32_t[::1] ids,          # IN, spikes of this rank's neurons by step, ascending within a step
    const int64_t[::1] ptr,           # IN (T + 1)
    int64_t[::1] place,               # UPDATED (T), first spike of each step that no column before took
    real[:, ::1] y,                   # OUT (T, m)
):
    """y[t] = alpha y[t - 1] + jump z[t], from 0, of m neurons; neurons of lower ids come in earlier calls."""
    cdef int64_t t, j, k, n = y.shape[1]
    cdef real keep = alpha, add = jump
    with nogil:
        for t in range(y.shape[0]):
            for j in range(n):
                y[t, j] = keep * y[t - 1, j] if t > 0 else 0
            k = place[t]
            while k < ptr[t + 1] and <int64_t>ids[k] < first_id + n:
                if <int64_t>ids[k] >= first_id:
                    y[t, <int64_t>ids[k] - first_id] += add
                k += 1
            place[t] = k


def compare(
    double kappa,                     # filter of learning signals
    double feedback,                  # weight from a readout to its neuron
    int64_t start,                    # first step of the learning window
    int64_t first,                    # column of `target` of the first neuron
    int64_t column,                   # and of `filtered`
    const real[:, ::1] y,             # IN (T, m) signals
    const real[:, ::1] target,        # IN (T, ..)
    real[::1] latest,                 # scratch (m)
    double[::1] loss,                 # UPDATED (m)
    real[:, ::1] filtered,            # OUT (T, ..) learning signals
):
    """E = y - target, loss += E^2 / 2, f[t] = E[t] + kappa f[t + 1], filtered[t] = feedback f[t]."""
    cdef int64_t t, j, n = y.shape[1]
    cdef real e, keep = kappa, weight = feedback
    with nogil:
        latest[:] = 0
        for t in range(y.shape[0] - 1, -1, -1):
            for j in range(0, n if t >= STEPS_AHEAD else 0, 8):  # doubles of a cache line
                prefetch(&target[t - STEPS_AHEAD, first + j])
                prefetch(&filtered[t - STEPS_AHEAD, column + j])
            for j in range(n):
                e = y[t, j] - target[t, first + j] if t >= start else 0
                loss[j] += 0.5 * <double>e * <double>e
                latest[j] = e + keep * latest[j]
                filtered[t, column + j] = weight * latest[j]
