# Perturbations of neurons in steps [START, STOP) of a sample: silenced neurons, noise currents, dropout of spikes.
#
# A silenced neuron is held as if it were refractory: it does not spike, and psi is 0. Draws depend on key, step of the
# run, and number of the neuron in its population alone.

from pareprop.core.layout cimport (
    NOISE_PLACE, NOISE_STEPS, PERTURBED_FIRST, PERTURBED_LAST, PERTURBED_NUMBER, PERTURBED_START, PERTURBED_STOP,
)
from pareprop.core.philox cimport DRAWS, Stream, draw_raw, normals, philox_block, stream, unit


cdef inline bint acts(int64_t s, const int64_t[:, ::1] rows, int64_t k) noexcept nogil:
    """Whether row k acts in step s of the sample."""
    return rows[k, PERTURBED_START] <= s < rows[k, PERTURBED_STOP]


cdef inline void hold(Perturbed of, Neurons cells, int64_t s) noexcept nogil:
    """Make silenced neurons refractory for the step that follows, whatever a model counts down in it."""
    cdef int64_t k, j
    for k in range(of.silences.shape[0]):
        if acts(s, of.silences, k):
            for j in range(of.silences[k, PERTURBED_FIRST], of.silences[k, PERTURBED_LAST]):
                of.refractory[j] = cells.refractory[j]
    for k in range(of.silences.shape[0]):     # a separate loop, because a neuron may be silenced twice
        if acts(s, of.silences, k):
            for j in range(of.silences[k, PERTURBED_FIRST], of.silences[k, PERTURBED_LAST]):
                cells.refractory[j] = cells.refractory[j] if cells.refractory[j] > 2 else 2


cdef inline void release(Perturbed of, Neurons cells, int64_t s) noexcept nogil:
    """Count down the refractory time of silenced neurons as if they had not been held."""
    cdef int64_t k, j
    for k in range(of.silences.shape[0]):
        if acts(s, of.silences, k):
            for j in range(of.silences[k, PERTURBED_FIRST], of.silences[k, PERTURBED_LAST]):
                cells.refractory[j] = of.refractory[j] - 1 if of.refractory[j] > 1 else 0


cdef inline void draw_noise(Perturbed of, int64_t s, int64_t step) noexcept nogil:
    """Draw the currents that change in step s of the sample; all currents when they begin, and in step 0.

    `step` is the index of the step's draws. Number i of stream step // NOISE_STEPS belongs to neuron i.
    """
    cdef uint64_t raw[DRAWS]
    cdef double values[DRAWS]
    cdef int64_t k, at, first, stop, low, high, place
    cdef int i
    cdef Stream own
    for k in range(of.noises.shape[0]):
        if not acts(s, of.noises, k):
            continue
        if s > 0 and s > of.noises[k, PERTURBED_START] and step % of.noises[k, NOISE_STEPS] != 0:
            continue
        low = of.noises[k, PERTURBED_NUMBER]
        high = low + of.noises[k, PERTURBED_LAST] - of.noises[k, PERTURBED_FIRST]
        own = stream(of.noise_keys[k], <uint64_t> (step // of.noises[k, NOISE_STEPS]))
        at = low - low % 4
        while at < high:
            first, stop = max(at, low), min(at + DRAWS, high)
            draw_raw(own, at, stop - at, raw)
            normals(raw, stop - at, values)
            place = of.noises[k, NOISE_PLACE] + first - low
            for i in range(<int> (stop - first)):
                of.noise[place + i] = <real> (
                    of.noise_mean[place + i] + of.noise_std[place + i] * values[first - at + i]
                )
            at += DRAWS


cdef inline void add_noise(Perturbed of, Neurons cells, int64_t s, int64_t first, int64_t last) noexcept nogil:
    """Add the currents of neurons [first, last)."""
    cdef int64_t k, j, place
    for k in range(of.noises.shape[0]):
        if acts(s, of.noises, k):
            place = of.noises[k, NOISE_PLACE] - of.noises[k, PERTURBED_FIRST]
            for j in range(max(first, of.noises[k, PERTURBED_FIRST]), min(last, of.noises[k, PERTURBED_LAST])):
                cells.current[j] = cells.current[j] + of.noise[place + j]


cdef inline int64_t drop_spikes(
    Perturbed of, int64_t s, int64_t step, int64_t first_id, int64_t n, uint32_t* ids
) noexcept nogil:
    """Remove lost spikes from the n spikes of a step; return how many are left.

    Number i of stream `step` belongs to neuron i.
    """
    cdef uint64_t raw[4]
    cdef int64_t k, i, j, number, left
    for k in range(of.dropouts.shape[0]):
        if not acts(s, of.dropouts, k):
            continue
        left = 0
        for i in range(n):
            j = <int64_t> ids[i] - first_id
            ids[left] = ids[i]
            left += 1
            if of.dropouts[k, PERTURBED_FIRST] <= j < of.dropouts[k, PERTURBED_LAST]:
                number = of.dropouts[k, PERTURBED_NUMBER] + j - of.dropouts[k, PERTURBED_FIRST]
                philox_block(stream(of.dropout_keys[k], <uint64_t> step), <uint64_t> (number >> 2), raw)
                if unit(raw[number & 3]) < of.dropout_p[k]:
                    of.lost[j] += 1
                    left -= 1
        n = left
    return n
