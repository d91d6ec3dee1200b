# Spike variant: trained parameters of neurons. Each has a trace per neuron, which advances with the neurons.


cdef void follow_parameters(
    Learned learned, Neurons neurons, const real[:, ::1] psi, int64_t t
) noexcept nogil:
    """Advance traces by step t, after it; filter them as traces of synapses."""
    cdef int64_t i, j, p, slot, first, n, length = learned.ebar.shape[0], row = t % length
    cdef int64_t before = (t + length - 1) % length, u = t % psi.shape[0]
    cdef const NeuronModel* model
    cdef real kappa, keep, share
    for i in range(learned.items.shape[0]):
        p, slot = learned.items[i, 0], learned.items[i, 1]
        model, first = <const NeuronModel*> neurons.models[p], neurons.pieces[p, FIRST]
        n = neurons.pieces[p, LAST] - first
        kappa, keep = learned.kappas[i, 0], learned.kappas[i, 1]
        share = 1.0 - learned.kappas[i, 1]
        model.trace(n, neurons.v.shape[0], neurons.dt, learned.items[i, 2], column(neurons.constants, first),
                    history_of(neurons, t - 1, first), history_of(neurons, t, first),
                    &psi[u, first], t > 0 or (neurons.pieces[p, MODEL] & EARLY_CURRENT) != 0,
                    &learned.trace[slot, 0, first], neurons.v.shape[0], &learned.e[first])
        for j in range(first, first + n):
            learned.ebar[row, slot, j] = kappa * learned.ebar[before, slot, j] + learned.e[j]
            learned.ereg[row, slot, j] = keep * learned.ereg[before, slot, j] + share * learned.e[j]


cdef void teach_parameters(
    Learned learned, Neurons neurons, Feedback feedback, Histories histories, int64_t origin, int64_t u
) noexcept nogil:
    """Add the gradient of step u by the error of step u + d_out, through the present feedback.

    Synapses receive the learning signal in the same step, so adaptive feedback is the same on any ranks. Errors older
    than `origin`, the first step of the sample, were already applied at the end of the previous sample.
    """
    cdef int64_t i, j, b, row, p, slot, s = u + learned.d_out, seen = s % histories.error_ring.shape[0], F
    if u < 0 or s < origin or learned.items.shape[0] == 0:
        return
    F = u % histories.F.shape[0]
    learned.signal[:] = 0.0
    for b in range(feedback.blocks.shape[0]):
        add_sources(feedback, b, histories.error_ring[seen], learned.signal)
    for i in range(learned.items.shape[0]):
        p, slot = learned.items[i, 0], learned.items[i, 1]
        row = u % learned.ebar.shape[0]
        for j in range(neurons.pieces[p, FIRST], neurons.pieces[p, LAST]):
            learned.gradient[slot, j] += (
                learned.signal[j] * learned.ebar[row, slot, j] + histories.F[F, j] * learned.ereg[row, slot, j]
            )
