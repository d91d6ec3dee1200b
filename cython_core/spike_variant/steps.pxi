# What an engine (engine.pxi) does in a step: neurons and readouts advance, errors become learning signals.


cdef void advance(Engine engine, int64_t t) noexcept nogil:
    cdef int64_t p, j, k, first, last, place = t - engine.base, count = engine.own.at.ptr[place], n = engine.v.shape[0]
    cdef int64_t row = t % engine.psi.shape[0], s = t - engine.origin
    cdef bint psc_delta, adaptive
    for p in range(engine.pieces.shape[0]):
        first, last = engine.pieces[p, FIRST], engine.pieces[p, LAST]
        adaptive, psc_delta = engine.pieces[p, MODEL] & ADAPTS, engine.pieces[p, MODEL] & PSC_DELTA
        if engine.injected.shape[0] > 0 or t <= 1 or s == 0:
            # I_e is there from step 1 on (psc_delta: from step 0)
            set_drive(first, last, t > 0 or psc_delta, engine.p_current, engine.I_e, engine.injected, s, engine.drive)
        if psc_delta:
            integrate_psc_delta(first, last, adaptive, engine.alpha, engine.drive, engine.V_th, engine.V_min,
                                engine.rho, engine.adapt_beta, engine.z, engine.refractory_input, engine.kept,
                                engine.arriving, engine.v, engine.a, engine.refractory, engine.excess)
        else:
            integrate_iaf(first, last, adaptive, False, engine.alpha, engine.zeta, engine.drive, engine.V_th,
                          engine.V_min, engine.rho, engine.adapt_beta, engine.z, engine.arriving, engine.v, engine.a,
                          engine.refractory, engine.excess)
        surrogate(engine.pieces[p, SURROGATE], first, last, engine.height, engine.inverse_width, engine.excess,
                  engine.refractory, engine.psi[row])
        for k in range(engine.record.shape[0]):
            j = engine.record[k]
            if first <= j < last:
                engine.recorded_a[s, k] = engine.a[j]
                engine.recorded_psi[s, k] = engine.psi[row, j]
        fire(first, last, engine.t_ref, engine.excess, engine.z, engine.refractory)
        reset(first, last, psc_delta, engine.z, engine.V_th, engine.V_reset, engine.v)
    for k in range(engine.record.shape[0]):      # recorded after the reset, as NEST does
        engine.recorded_V[s, k] = engine.v[engine.record[k]]
    if n > 0:
        count += list_spikes(n, engine.first_id, &engine.z[0], &engine.own.at.ids[count])
    engine.own.at.ptr[place + 1] = count
    if engine.learns:
        follow_rates(engine, t, t % engine.F.shape[0])
        if engine.has_prefix:
            sum_psi(engine, t, row)


cdef void follow_rates(Engine engine, int64_t t, int64_t row) noexcept nogil:
    """f_av = kappa_reg f_av + (1 - kappa_reg) z / dt; F = c_reg (f_av - f_target)."""
    cdef int64_t p
    for p in range(engine.pieces.shape[0]):
        filter_rates(engine.pieces[p, FIRST], engine.pieces[p, LAST], engine.powers[p, 3, 1], engine.dt, engine.z,
                     engine.c_reg, engine.f_target, engine.f_av, engine.F[row])


cdef void sum_psi(Engine engine, int64_t t, int64_t row) noexcept nogil:
    cdef int64_t p, k = t % engine.block, now_ = t % (engine.m + 1), before = (t + engine.m) % (engine.m + 1)
    for p in range(engine.pieces.shape[0]):
        add_psi(engine.pieces[p, FIRST], engine.pieces[p, LAST], k == 0, engine.powers[p, 0, k], engine.psi[row],
                engine.R[before], engine.R[now_])
        if engine.sets == 2:
            add_psi(engine.pieces[p, FIRST], engine.pieces[p, LAST], k == 0, engine.powers[p, 2, k], engine.psi[row],
                    engine.R2[before], engine.R2[now_])


cdef void follow(Engine engine, int64_t t) noexcept nogil:
    """Repeat the learning of readout synapses from this rank's neurons and copy their weights into the feedback."""
    if engine.learns and engine.mirror_index.shape[0] > 0:
        deliver_all(engine, t, engine.mirror, engine.nowhere)
        copy_mirror(engine)


cdef void copy_mirror(Engine engine) noexcept nogil:
    cdef int64_t k
    for k in range(engine.mirror_index.shape[0]):
        if engine.mirror_index[k] >= 0:
            engine.fb_weight[engine.mirror_index[k]] = engine.mirror.weight[k]


cdef void find_errors(Engine engine, int64_t t) noexcept nogil:
    """E = (y + E_L - target) in the window, with softmax over the readouts for cross-entropy."""
    cdef int64_t k, s = t - engine.origin, row = t % engine.error_ring.shape[0], n = engine.signal.shape[1]
    cdef double most, total
    if not engine.window[s]:
        for k in range(n):
            engine.error[s, k] = 0.0
            engine.error_ring[row, k] = 0.0
        sum_errors(engine, t)
        return
    most = -1e300
    total = 0.0
    for k in range(n):
        engine.error[s, k] = engine.signal[s, k] + engine.E_L
        most = max(most, engine.error[s, k])
    if engine.cross_entropy:
        for k in range(n):
            engine.error[s, k] = exp(engine.error[s, k] - most)
            total += engine.error[s, k]
        for k in range(n):
            engine.error[s, k] /= total
    for k in range(n):
        engine.error[s, k] -= engine.target_signal[s, k]
        engine.error_ring[row, k] = engine.error[s, k]
    sum_errors(engine, t)


cdef void sum_errors(Engine engine, int64_t t) noexcept nogil:
    cdef int64_t k, length = engine.error_ring.shape[0], row = t % length, before = (t + length - 1) % length
    cdef int64_t place = t % engine.out_block if engine.out_block > 0 else 0
    if engine.out_block == 0:
        return
    for k in range(engine.error_ring.shape[1]):
        engine.error_sums[row, k] = (engine.error_sums[before, k] if place > 0 else 0.0) + (
            engine.out_powers[place] * engine.error_ring[row, k]
        )


cdef void learn_step(Engine engine, int64_t u) noexcept nogil:
    """Learning signal of history step u from the errors of step u + d_out, and the sums that need it."""
    cdef int64_t p, b, k, row, seen, place, k_block
    if u < 0:
        return
    place = u % engine.L.shape[0]
    engine.L[place][:] = 0.0
    for b in range(engine.fb_blocks.shape[0]):
        seen = (u + fb_delay_of_out(engine, b)) % engine.error_ring.shape[0]
        for k in range(engine.fb_blocks[b, SOURCE], engine.fb_blocks[b, SOURCES]):
            if engine.error_ring[seen, k] != 0.0:
                row = engine.fb_blocks[b, ROW] + k - engine.fb_blocks[b, SOURCE]
                add_row(engine.fb_blocks, b, k, engine.fb_row_ptr[row], engine.fb_row_ptr[row + 1], engine.fb_target,
                        engine.fb_weight, engine.error_ring[seen, k], engine.L[place])
    if engine.sets == 1:                         # L + (1 - kappa_reg) F is all that synapses need
        for p in range(engine.pieces.shape[0]):
            add_rates(engine.pieces[p, FIRST], engine.pieces[p, LAST], 1.0 - engine.powers[p, 3, 1],
                      engine.F[u % engine.F.shape[0]], engine.L[place])
    if not engine.has_prefix:
        return
    k_block = u % engine.block
    for p in range(engine.pieces.shape[0]):
        add_signal(engine.pieces[p, FIRST], engine.pieces[p, LAST], engine.powers[p, 1, k_block],
                   engine.L[place], engine.R[u % (engine.m + 1)], engine.A, engine.D)
        if engine.sets == 2:
            add_signal(engine.pieces[p, FIRST], engine.pieces[p, LAST],
                       engine.powers[p, 3, k_block] * (1.0 - engine.powers[p, 3, 1]), engine.F[u % engine.F.shape[0]],
                       engine.R2[u % (engine.m + 1)], engine.A2, engine.D2)
    if k_block == engine.block - 1:
        close_sums(engine.R[u % (engine.m + 1)], engine.A, engine.D, engine.arriving,
                   end_of(engine.ends, u // engine.block))
        if engine.sets == 2:
            close_sums(engine.R2[u % (engine.m + 1)], engine.A2, engine.D2, engine.arriving,
                       end_of(engine.ends2, u // engine.block))


cdef inline int64_t fb_delay_of_out(Engine engine, int64_t b) noexcept nogil:
    """d_out = m + 1 - d_fb."""
    return engine.m + 1 - engine.fb_blocks[b, DELAY]
