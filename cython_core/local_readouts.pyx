"""Readouts of single neurons: each filters its neuron's spikes and teaches that neuron alone; nothing travels."""

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.precision cimport real


def advance(
    double alpha,                     # exp(-dt / tau_m) of the readouts
    double jump,                      # of a spike
    int64_t first_id,                 # id of the neuron of column 0
    const uint32_t[::1] ids,          # IN, spikes of these neurons by step
    const int64_t[::1] ptr,           # IN (T + 1)
    real[:, ::1] y,                   # OUT (T, n)
):
    """y[t] = alpha y[t - 1] + jump z[t], from 0."""
    cdef int64_t t, j, k, n = y.shape[1]
    cdef real keep = alpha, add = jump
    with nogil:
        for t in range(y.shape[0]):
            for j in range(n):
                y[t, j] = keep * y[t - 1, j] if t > 0 else 0
            for k in range(ptr[t], ptr[t + 1]):
                y[t, <int64_t>ids[k] - first_id] += add


def compare(
    double kappa,                     # filter of learning signals
    double feedback,                  # weight from a readout to its neuron
    int64_t start,                    # first step of the learning window
    int64_t first,                    # column of y of the first target
    const real[:, ::1] target,        # IN (T, m)
    real[::1] filtered,               # scratch (m)
    double[::1] loss,                 # UPDATED (m)
    real[:, ::1] y,                   # IN signals, OUT filtered learning signals
):
    """E = y - target, loss += E^2 / 2, f[t] = E[t] + kappa f[t + 1], y[t] becomes feedback f[t]."""
    cdef int64_t t, j, n = target.shape[1]
    cdef real e, keep = kappa, weight = feedback
    with nogil:
        filtered[:] = 0
        for t in range(y.shape[0] - 1, -1, -1):
            for j in range(n):
                e = y[t, first + j] - target[t, j] if t >= start else 0
                loss[j] += 0.5 * <double>e * <double>e
                filtered[j] = e + keep * filtered[j]
                y[t, first + j] = weight * filtered[j]
