# A time step of the network (not the algorithm `steps`): neurons and readouts advance, errors become learning signals.


cdef void advance(Engine engine, int64_t t) noexcept nogil:
    """One step of the neurons, and of the histories for learning."""
    cdef int64_t row = t % engine.histories.psi.shape[0]
    advance_neurons(engine.neurons, engine.channel, engine.sample, engine.recorder, t, engine.histories.psi[row])
    if engine.learns:
        follow_rates(engine, t)
        follow_parameters(engine.learned, engine.neurons, engine.histories.psi, t)
        if engine.sums.in_use:
            sum_psi(engine, t, row)


cdef void follow_rates(Engine engine, int64_t t) noexcept nogil:
    cdef int64_t p, row = t % engine.histories.F.shape[0]
    for p in range(engine.neurons.pieces.shape[0]):
        filter_rates(engine.rates, engine.neurons, p, engine.sums.powers[p, 3, 1], engine.histories.F[row])
    if engine.errors.regularizes:
        with gil:
            engine.errors.regularize(t)


cdef inline void filter_rates(
    Rates rates, Neurons neurons, int64_t p, double kappa_reg, real[::1] F
) noexcept nogil:
    """f_av = kappa_reg f_av + (1 - kappa_reg) z / dt; F = c_reg (f_av - f_target)."""
    cdef int64_t j
    cdef real keep = kappa_reg, share = 1.0 - kappa_reg
    share = share / <real> rates.dt   # z is 0 or 1: divided once, with the same bits
    for j in range(neurons.pieces[p, FIRST], neurons.pieces[p, LAST]):
        rates.f_av[j] = keep * rates.f_av[j] + share * neurons.z[j]
        F[j] = rates.c_reg[j] * (rates.f_av[j] - rates.f_target[j])


cdef void sum_psi(Engine engine, int64_t t, int64_t row) noexcept nogil:
    cdef int64_t p, first, last, k = t % engine.sums.block
    cdef int64_t now_ = t % (engine.m + 1), before = (t + engine.m) % (engine.m + 1)
    for p in range(engine.neurons.pieces.shape[0]):
        first, last = engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST]
        add_psi(first, last, k == 0, engine.sums.powers[p, 0, k], engine.histories.psi[row], engine.sums.R[before],
                engine.sums.R[now_])
        if engine.sums.sets == 2:
            add_psi(first, last, k == 0, engine.sums.powers[p, 2, k], engine.histories.psi[row],
                    engine.sums.R2[before], engine.sums.R2[now_])


cdef void follow(Engine engine, int64_t t) noexcept nogil:
    """Update adaptive feedback; copy its weights and the readout weights into the feedback."""
    if engine.learns:
        deliver_all(engine, t, engine.adaptive, engine.feedback.dropped)
        copy_weights(engine)


cdef void copy_weights(Engine engine) noexcept nogil:
    copy_followed(engine.outgoing.weight, engine.feedback.symmetric, engine.feedback.weight)
    copy_followed(engine.adaptive.weight, engine.feedback.adaptive, engine.feedback.weight)


cdef void copy_followed(const real[::1] weight, const int64_t[::1] place, real[::1] feedback) noexcept nogil:
    cdef int64_t k
    for k in range(place.shape[0]):
        if place[k] >= 0:
            feedback[place[k]] = weight[k]


cdef void find_errors(Engine engine, int64_t t) noexcept nogil:
    """Errors of step t, and the sums that need them."""
    cdef int64_t k, s = t - engine.sample.origin, row = t % engine.histories.error_ring.shape[0]
    if engine.online.in_use:                     # errors are known after the action is drawn
        engine.histories.error_ring[row, :] = 0.0
        clear_online(engine.online, t + 1)
        return
    take_errors(engine.errors, engine.channel.signal, s)
    for k in range(engine.errors.error.shape[1]):
        engine.histories.error_ring[row, k] = engine.errors.error[s, k]
    sum_errors(engine, t)


cdef void take_errors(Errors errors, const double[:, ::1] signal, int64_t s) noexcept nogil:
    """E = (y + E_L - target) in the window, with softmax over the readouts for cross-entropy; times its factor.

    A loss in Python makes other errors of y + E_L and target.
    """
    cdef int64_t k, n = signal.shape[1]
    for k in range(n):
        errors.error[s, k] = signal[s, k] + errors.E_L[k] if errors.window[s] else 0.0
    if not errors.window[s]:
        return
    if errors.cross_entropy and n > 0:
        softmax(&errors.error[s, 0], n)
    if errors.calls:
        with gil:
            errors.own(s)
    for k in range(n):
        if not errors.calls:
            errors.error[s, k] -= errors.target[s, k]
        if errors.factors.shape[0] > 0:
            errors.error[s, k] *= errors.factors[s, k]


cdef void sum_errors(Engine engine, int64_t t) noexcept nogil:
    cdef int64_t k, length = engine.histories.error_ring.shape[0], row = t % length, before = (t + length - 1) % length
    cdef int64_t place = t % engine.error_sums.block if engine.error_sums.block > 0 else 0
    if engine.error_sums.block == 0:
        return
    for k in range(engine.histories.error_ring.shape[1]):
        engine.error_sums.sums[row, k] = (engine.error_sums.sums[before, k] if place > 0 else 0.0) + (
            engine.error_sums.powers[place, k] * engine.histories.error_ring[row, k]
        )


cdef void learn_step(Engine engine, int64_t u) noexcept nogil:
    """Learning signal of history step u from the errors of step u + d_out, and the sums that need it."""
    if u < 0:
        return
    find_signal(engine, u)
    if engine.online.ends.shape[0] > 0:
        extend_online(engine.online, engine.sums, engine.histories, engine.neurons.pieces, u, u % (engine.m + 1))
    elif engine.sums.in_use:
        extend_sums(engine.sums, engine.neurons, engine.histories, u, u % (engine.m + 1))


cdef void find_signal(Engine engine, int64_t u) noexcept nogil:
    cdef int64_t p, j
    cdef real share
    cdef const real* F = &engine.histories.F[u % engine.histories.F.shape[0], 0]
    cdef real* L = &engine.histories.L[u % engine.histories.L.shape[0], 0]
    project_errors(engine.feedback, engine.histories, u, engine.m)
    if engine.errors.shapes:
        with gil:
            engine.errors.shape(u)
    if engine.sums.sets == 1 and not engine.online.in_use:     # L + (1 - kappa_reg) F is all that synapses need
        for p in range(engine.neurons.pieces.shape[0]):
            share = 1.0 - engine.sums.powers[p, 3, 1]
            for j in range(engine.neurons.pieces[p, FIRST], engine.neurons.pieces[p, LAST]):
                L[j] = L[j] + share * F[j]
    keep_step(engine.lines, engine.histories, u)


cdef void project_errors(Feedback feedback, Histories histories, int64_t u, int64_t m) noexcept nogil:
    """L of step u: the errors of step u + d_out, d_out = m + 1 - d_fb, through the feedback."""
    cdef int64_t b, place = u % histories.L.shape[0]
    histories.L[place][:] = 0.0
    for b in range(feedback.blocks.shape[0]):
        add_sources(feedback, b, histories.error_ring[(u + m + 1 - feedback.blocks[b, DELAY])
                                                      % histories.error_ring.shape[0]], histories.L[place])


cdef void extend_sums(Sums sums, Neurons neurons, Histories histories, int64_t u, int64_t place) noexcept nogil:
    """Add the signal of step u, whose R is in row `place`, to A and D; set them to 0 after the end of a block."""
    cdef int64_t p, first, last, k = u % sums.block, F = u % histories.F.shape[0], L = u % histories.L.shape[0]
    for p in range(neurons.pieces.shape[0]):
        first, last = neurons.pieces[p, FIRST], neurons.pieces[p, LAST]
        add_signal(first, last, sums.powers[p, 1, k], histories.L[L], sums.R[place], sums.A, sums.D)
        if sums.sets == 2:
            add_signal(first, last, sums.powers[p, 3, k] * (1.0 - sums.powers[p, 3, 1]), histories.F[F],
                       sums.R2[place], sums.A2, sums.D2)
    if k == sums.block - 1:
        close_sums(sums.R[place], sums.A, sums.D, end_of(sums.ends, u // sums.block))
        if sums.sets == 2:
            close_sums(sums.R2[place], sums.A2, sums.D2, end_of(sums.ends2, u // sums.block))
