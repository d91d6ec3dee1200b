# What surrounds the step of a neuron model, whose equations are in `pareprop/neurons/models/`: its current, input that
# waits; readouts (NEST's eprop_readout); filtered firing rates.


cdef inline void set_current(
    Neurons cells, Sample sample, int64_t s, int64_t first, int64_t last, bint constant
) noexcept nogil:
    """The current of the step before s, which changes the voltages of neurons [first, last) in this one.

    I_e is a part of it only if `constant`.
    """
    cdef int64_t j
    cdef bint injects = sample.injected.shape[0] > 0
    for j in range(first, last):
        cells.current[j] = cells.I_e[j] if constant else 0.0
        if injects:
            cells.current[j] = cells.current[j] + sample.injected[s, j]


cdef inline void keep_input(Neurons cells, int64_t first, int64_t last) noexcept nogil:
    """Input that arrives while a neuron is refractory waits, and decays as the voltage would."""
    cdef int64_t j
    for j in range(first, last):
        if cells.refractory_input[j] != 0.0:
            if cells.refractory[j] > 0.0:
                cells.kept[j] = cells.alpha[j] * (cells.kept[j] + cells.arriving[0, j])
            else:
                cells.arriving[0, j] = cells.arriving[0, j] + cells.kept[j]
                cells.kept[j] = 0.0


cdef inline void advance_readouts(Readouts readouts, Channel channel, Sample sample, int64_t t) noexcept nogil:
    """y = drive + zeta arriving + alpha y, clamped; there is no drive where the run starts."""
    cdef int64_t k, s = t - sample.origin
    cdef bint drives = s > 0 or not sample.starts
    cdef double x
    for k in range(readouts.y.shape[0]):
        x = (readouts.drive[k] if drives else 0.0) + readouts.zeta[k] * readouts.arriving[k]
        x = x + readouts.alpha[k] * readouts.y[k]
        readouts.y[k] = x if x > readouts.V_min[k] else readouts.V_min[k]
        channel.signal[s, k] = readouts.y[k]
