# Perturbations of neurons in steps [START, STOP) of a sample: silenced neurons, noise currents, dropout of spikes.
#
# A silenced neuron is held as if it were refractory: it does not spike, and psi is 0. Draws depend on key, step of the
# run, and number of the neuron in its population alone.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.layout cimport (
    NOISE_PLACE, NOISE_STEPS, PERTURBED_FIRST, PERTURBED_LAST, PERTURBED_NUMBER, PERTURBED_START, PERTURBED_STOP,
)
from pareprop.core.philox cimport DRAWS, Stream, draw_raw, normals, philox_block, stream, unit
from pareprop.core.precision cimport real


cdef inline bint acts(int64_t s, const int64_t[:, ::1] rows, int64_t k) noexcept nogil:
    """Whether row k acts in step s of the sample."""
    return rows[k, PERTURBED_START] <= s < rows[k, PERTURBED_STOP]


cdef inline void hold(
    int64_t s,
    const int64_t[:, ::1] silences,   # IN
    real[::1] refractory,             # UPDATED, steps left
    real[::1] before,                 # OUT, of silenced neurons
) noexcept nogil:
    """Make silenced neurons refractory for the step that follows, whatever a model counts down in it."""
    cdef int64_t k, j
    for k in range(silences.shape[0]):
        if acts(s, silences, k):
            for j in range(silences[k, PERTURBED_FIRST], silences[k, PERTURBED_LAST]):
                before[j] = refractory[j]
    for k in range(silences.shape[0]):     # a loop of its own, as a neuron may be silenced twice
        if acts(s, silences, k):
            for j in range(silences[k, PERTURBED_FIRST], silences[k, PERTURBED_LAST]):
                refractory[j] = refractory[j] if refractory[j] > 2 else 2


cdef inline void release(
    int64_t s,
    const int64_t[:, ::1] silences,   # IN
    const real[::1] before,           # IN
    real[::1] refractory,             # UPDATED
) noexcept nogil:
    """Let the refractory time of silenced neurons go on as if they had not been held."""
    cdef int64_t k, j
    for k in range(silences.shape[0]):
        if acts(s, silences, k):
            for j in range(silences[k, PERTURBED_FIRST], silences[k, PERTURBED_LAST]):
                refractory[j] = before[j] - 1 if before[j] > 1 else 0


cdef inline void draw_noise(
    int64_t step,                     # number of its draws
    int64_t s,                        # of the sample
    const int64_t[:, ::1] noises,     # IN
    const uint64_t[:, ::1] keys,      # IN (n_noises, 2)
    const double[::1] mean,           # IN, for each neuron of each noise, pA
    const double[::1] std,            # IN
    real[::1] noise,                  # UPDATED, pA
) noexcept nogil:
    """Draw the currents that change with this step; all of them where they begin, as at the start of a sample.

    Number i of stream step // NOISE_STEPS is that of neuron i.
    """
    cdef uint64_t raw[DRAWS]
    cdef double values[DRAWS]
    cdef int64_t k, at, first, stop, low, high, place
    cdef int i
    cdef Stream own
    for k in range(noises.shape[0]):
        if not acts(s, noises, k):
            continue
        if s > 0 and s > noises[k, PERTURBED_START] and step % noises[k, NOISE_STEPS] != 0:
            continue
        low = noises[k, PERTURBED_NUMBER]
        high = low + noises[k, PERTURBED_LAST] - noises[k, PERTURBED_FIRST]
        own = stream(keys[k], <uint64_t> (step // noises[k, NOISE_STEPS]))
        at = low - low % 4
        while at < high:
            first, stop = max(at, low), min(at + DRAWS, high)
            draw_raw(own, at, stop - at, raw)
            normals(raw, stop - at, values)
            place = noises[k, NOISE_PLACE] + first - low
            for i in range(<int> (stop - first)):
                noise[place + i] = <real> (mean[place + i] + std[place + i] * values[first - at + i])
            at += DRAWS


cdef inline void add_noise(
    int64_t s,
    int64_t first,                    # neurons [first, last)
    int64_t last,
    const int64_t[:, ::1] noises,     # IN
    const real[::1] noise,            # IN, pA
    real[::1] current,                # UPDATED
) noexcept nogil:
    cdef int64_t k, j, place
    for k in range(noises.shape[0]):
        if acts(s, noises, k):
            place = noises[k, NOISE_PLACE] - noises[k, PERTURBED_FIRST]
            for j in range(max(first, noises[k, PERTURBED_FIRST]), min(last, noises[k, PERTURBED_LAST])):
                current[j] = current[j] + noise[place + j]


cdef inline int64_t drop_spikes(
    int64_t step,                     # number of its draws
    int64_t s,                        # of the sample
    const int64_t[:, ::1] dropouts,   # IN
    const uint64_t[:, ::1] keys,      # IN (n_dropouts, 2)
    const double[::1] p,              # IN (n_dropouts,)
    int64_t first_id,
    int64_t n,
    uint32_t* ids,                    # UPDATED, n spikes of the step
    int64_t[::1] lost,                # UPDATED
) noexcept nogil:
    """Take out the spikes that are lost; return how many are left. Number i of stream `step` is that of neuron i."""
    cdef uint64_t raw[4]
    cdef int64_t k, i, j, number, left
    for k in range(dropouts.shape[0]):
        if not acts(s, dropouts, k):
            continue
        left = 0
        for i in range(n):
            j = <int64_t> ids[i] - first_id
            ids[left] = ids[i]
            left += 1
            if dropouts[k, PERTURBED_FIRST] <= j < dropouts[k, PERTURBED_LAST]:
                number = dropouts[k, PERTURBED_NUMBER] + j - dropouts[k, PERTURBED_FIRST]
                philox_block(stream(keys[k], <uint64_t> step), <uint64_t> (number >> 2), raw)
                if unit(raw[number & 3]) < p[k]:
                    lost[j] += 1
                    left -= 1
        n = left
    return n
