# Interval variant: sweep backward through the surrogate gradients of an interval.


def sweep(
    double kappa,                     # of the fastest readout, or of local ones
    const double[::1] kappas,         # IN (n_out)
    const double[::1] shares,         # IN (n_out), (1 - kappas) / (1 - kappa)
    Neurons neurons not None,
    const double[:, ::1] error,       # IN (T, n_out), 0 outside the learning window
    const real[:, ::1] local,         # IN (T, n), filtered signals of the neurons' own readouts; (0, 0) without
    const int64_t[:, ::1] blocks,     # IN, feedback: rows are readouts
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const real[::1] rate,             # IN, gradient of the firing-rate regularisation per unit of eligibility
    double[::1] filtered,             # scratch (n_out)
    real[::1] signal,                 # scratch (n)
    real[:, ::1] adjoint,             # scratch (n_adjoint, n)
    real[:, :, ::1] psi,              # (T, n_ports, n), IN port 0: surrogate gradients, OUT what an arrival in t adds
):
    """Backward sweep: exact gradient coefficients at O(1) per neuron and step.

    lam = L[t] + kappa lam ; c = (1-kappa) lam + rate. The rest is generated from the equations of a model; for leaky
    neurons with adaptation: q = c + p ; p = rho p - adapt_beta psi[t] q ; b = psi[t] q + alpha b ; B[t] = zeta b,
    written over psi[t].
    """
    cdef int64_t t, j, k, m, p, first, last, n = adjoint.shape[1]
    cdef const NeuronModel* model
    with nogil:
        filtered[:] = 0.0
        adjoint[:, :] = 0.0
        for t in range(psi.shape[0] - 1, -1, -1):
            if local.shape[0] > 0:
                for j in range(n):
                    signal[j] = local[t, j]
            else:
                signal[:] = 0.0
            for k in range(filtered.shape[0]):
                filtered[k] = shares[k] * error[t, k] + kappas[k] * filtered[k]
            for m in range(blocks.shape[0]):
                for k in range(blocks[m, SOURCE], blocks[m, SOURCES]):
                    j = row_of(blocks, m, k)
                    if j >= 0:
                        add_row(blocks, m, k, row_ptr[j], row_ptr[j + 1], target, weight, filtered[k], signal)
            for p in range(neurons.pieces.shape[0]):
                first, last = neurons.pieces[p, FIRST], neurons.pieces[p, LAST]
                model = <const NeuronModel*> neurons.models[p]
                model.sweep(last - first, n, neurons.dt, column(neurons.constants, first), neurons.shared[p],
                            history_of(neurons, t - 1, first), history_of(neurons, t, first), 1.0 - kappa,
                            &signal[first], &rate[first], &adjoint[0, first], &psi[t, 0, first], n)


def sweep_readouts(const double[::1] kappa, const double[::1] zeta, double[:, ::1] error):
    """Turn this rank's errors (T, n) in place into what a spike in step t adds to the gradient: b = E[t] + kappa b."""
    cdef int64_t t, k
    cdef double b
    with nogil:
        for k in range(error.shape[1]):
            b = 0.0
            for t in range(error.shape[0] - 1, -1, -1):
                b = error[t, k] + kappa[k] * b
                error[t, k] = zeta[k] * b
