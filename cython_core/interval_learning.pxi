# Interval variant: sweep backward through the surrogate gradients of an interval, credit the synapses.


def sweep(
    double kappa,
    bint adaptive,
    const double[:, ::1] error,       # IN (T, n_out), 0 outside the learning window
    const int64_t[:, ::1] blocks,     # IN, feedback: rows are readouts
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const real[::1] alpha,            # IN
    const real[::1] zeta,             # IN
    const real[::1] rho,              # IN
    const real[::1] adapt_beta,       # IN
    const real[::1] rate,             # IN, gradient of the firing-rate regularisation per unit of eligibility
    double[::1] filtered,             # scratch (n_out)
    real[::1] signal,                 # scratch (n)
    real[::1] p,                      # scratch (n)
    real[::1] b,                      # scratch (n)
    real[:, ::1] psi,                 # IN surrogate gradients, OUT what an arrival in step t adds to the gradient
):
    """Backward sweep: exact gradient coefficients at O(1) per neuron and step.

    lam = L[t] + kappa lam ; c = (1-kappa) lam + rate ; q = c + p ; p = rho p - adapt_beta psi[t] q ;
    b = psi[t] q + alpha b ; B[t] = zeta b, written over psi[t].
    """
    cdef int64_t t, j, k, m, n = p.shape[0]
    with nogil:
        filtered[:] = 0.0
        p[:] = 0.0
        b[:] = 0.0
        for t in range(psi.shape[0] - 1, -1, -1):
            signal[:] = 0.0
            for k in range(filtered.shape[0]):
                filtered[k] = error[t, k] + kappa * filtered[k]
            for m in range(blocks.shape[0]):
                for k in range(blocks[m, SOURCE], blocks[m, SOURCES]):
                    j = blocks[m, ROW] + k - blocks[m, SOURCE]
                    add_row(blocks, m, k, row_ptr[j], row_ptr[j + 1], target, weight, filtered[k], signal)
            if adaptive:
                sweep_adaptive(n, kappa, alpha, zeta, rho, adapt_beta, rate, signal, p, b, psi[t])
            else:
                sweep_plain(n, kappa, alpha, zeta, rate, signal, b, psi[t])


cdef void sweep_plain(
    int64_t n,
    double kappa,
    const real[::1] alpha,
    const real[::1] zeta,
    const real[::1] rate,
    const real[::1] signal,
    real[::1] b,
    real[::1] psi,
) noexcept nogil:
    cdef int64_t j
    cdef real share = 1.0 - kappa
    for j in range(n):
        b[j] = psi[j] * (share * signal[j] + rate[j]) + alpha[j] * b[j]
        psi[j] = zeta[j] * b[j]


cdef void sweep_adaptive(
    int64_t n,
    double kappa,
    const real[::1] alpha,
    const real[::1] zeta,
    const real[::1] rho,
    const real[::1] adapt_beta,
    const real[::1] rate,
    const real[::1] signal,
    real[::1] p,
    real[::1] b,
    real[::1] psi,
) noexcept nogil:
    cdef int64_t j
    cdef real q, share = 1.0 - kappa
    for j in range(n):
        q = psi[j] * (share * signal[j] + rate[j] + p[j])
        p[j] = rho[j] * p[j] - adapt_beta[j] * q
        b[j] = q + alpha[j] * b[j]
        psi[j] = zeta[j] * b[j]


def sweep_readouts(double kappa, double zeta, double[:, ::1] error):
    """Turn this rank's errors (T, n) in place into what a spike in step t adds to the gradient: b = E[t] + kappa b."""
    cdef int64_t t, k
    cdef double b
    with nogil:
        for k in range(error.shape[1]):
            b = 0.0
            for t in range(error.shape[0] - 1, -1, -1):
                b = error[t, k] + kappa * b
                error[t, k] = zeta * b


def credit(
    bint same_step,
    const int64_t[:, ::1] blocks,     # IN
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const uint32_t[::1] input_ids,    # IN
    const int64_t[::1] input_ptr,     # IN
    const uint32_t[::1] log_ids,      # IN
    const int64_t[::1] log_ptr,       # IN
    const real[:, ::1] coefficient,   # IN (T, n), from the sweep
    const double[::1] scale,          # IN (n_blocks): 1, or minus learning rate to update weights at once
    real[::1] gradient,               # UPDATED, or the weights
):
    """Add scale * coefficient[t, target] to the gradient of each plastic synapse for each of its arrivals.

    Parameters
    ----------
    same_step : whether a spike arrives in the step it is emitted (readouts), instead of after the delay
    """
    cdef int64_t t, b, emitted
    with nogil:
        for t in range(0 if same_step else 1, coefficient.shape[0]):
            for b in range(blocks.shape[0]):
                emitted = t if same_step else t - blocks[b, DELAY] + (1 if blocks[b, LOG] == 0 else 0)
                if emitted < 0 or not blocks[b, PLASTIC]:
                    continue
                if blocks[b, LOG] == 0:
                    credit_block(blocks, b, row_ptr, target, input_ids, input_ptr[emitted], input_ptr[emitted + 1],
                                 coefficient[t], scale[b], gradient)
                else:
                    credit_block(blocks, b, row_ptr, target, log_ids, log_ptr[emitted], log_ptr[emitted + 1],
                                 coefficient[t], scale[b], gradient)


cdef void credit_block(
    const int64_t[:, ::1] blocks,
    int64_t b,
    const int64_t[::1] row_ptr,
    const uint32_t[::1] target,
    const uint32_t[::1] ids,
    int64_t first,
    int64_t last,
    const real[::1] coefficient,
    real scale,
    real[::1] gradient,
) noexcept nogil:
    cdef int64_t i = first_at_least(ids, first, last, blocks[b, SOURCE]), row, k, start, stop, hole, base, ahead
    while i < last and ids[i] < blocks[b, SOURCES]:
        row = blocks[b, ROW] + ids[i] - blocks[b, SOURCE]
        start = row_ptr[row]
        stop = row_ptr[row + 1]
        if blocks[b, DENSE]:
            hole = start + hole_of(blocks, b, ids[i], stop - start)
            base = blocks[b, TARGET] - start
            for k in range(start, hole):
                gradient[k] += scale * coefficient[base + k]
            for k in range(hole, stop):
                gradient[k] += scale * coefficient[base + 1 + k]
        else:
            ahead = next_row(blocks, b, row_ptr, ids, i, last, row) - start
            gather(start, stop, ahead, target, coefficient, scale, gradient)
        i += 1


cdef inline void gather(
    int64_t start,
    int64_t stop,
    int64_t ahead,
    const uint32_t[::1] target,
    const real[::1] coefficient,
    real scale,
    real[::1] gradient,
) noexcept nogil:
    cdef int64_t k = start, end
    while k < stop:
        prefetch(&gradient[0] + k + ahead)
        prefetch(&gradient[0] + k + ahead + STRIDE // 2)
        prefetch(&target[0] + k + ahead)
        end = k + STRIDE if k + STRIDE < stop else stop
        for k in range(k, end):
            gradient[k] += scale * coefficient[target[k]]
        k = end
