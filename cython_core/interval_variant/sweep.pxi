# Interval variant: backward pass through the surrogate gradients of an interval.

cdef inline void project(Synapses feedback, const double[::1] error, real[::1] signal) noexcept nogil:
    """Add the readouts' errors to the neurons' learning signals: L += B E."""
    cdef int64_t b
    for b in range(feedback.blocks.shape[0]):
        add_sources(feedback, b, error, signal)


def project_errors(Synapses feedback not None, const double[:, ::1] error, real[:, ::1] signal):
    """Write the learning signals (T, n) of errors (T, n_out)."""
    cdef int64_t t
    with nogil:
        signal[:, :] = 0.0
        for t in range(error.shape[0]):
            project(feedback, error[t], signal[t])


cdef class Sweep(Bound):
    """Backward pass of neurons whose synapses learn by one kind of e-prop."""

    cdef public Neurons neurons
    cdef public Synapses feedback              # rows are readouts
    cdef public double kappa                   # of the fastest readout, or of local ones
    cdef public double[::1] kappas, shares     # (n_out), the latter (1 - kappas) / (1 - kappa)
    cdef public double[::1] filtered           # scratch (n_out)
    cdef public real[::1] signal               # scratch (n)
    cdef public real[:, ::1] adjoint           # (n_adjoint, n), after a pass: of the first step

    def run(
        self,
        const double[:, ::1] error,   # IN (T, n_out), 0 outside the learning window; None: `own` has all signals
        const real[:, ::1] own,       # IN (T, n), filtered local signals, added to projected errors; (0, 0): none
        const real[::1] rate,         # IN, gradient of the firing-rate regularisation per unit of eligibility
        real[:, :, ::1] psi,          # (T, n_ports, n), IN port 0: surrogate gradients, OUT coefficients B of arrivals
    ):
        """Exact gradient coefficients at O(1) per neuron and step.

        lam = L[t] + kappa lam ; c = (1-kappa) lam + rate. Further steps are generated from a model's equations; for
        leaky neurons with adaptation: q = c + p ; p = rho p - adapt_beta psi[t] q ; b = psi[t] q + alpha b ;
        B[t] = zeta b, written over psi[t].
        """
        cdef bint projects = error is not None
        cdef int64_t t, k
        with nogil:
            self.filtered[:] = 0.0
            self.adjoint[:, :] = 0.0
            for t in range(psi.shape[0] - 1, -1, -1):
                if own.shape[0] > 0:
                    for k in range(own.shape[1]):
                        self.signal[k] = own[t, k]
                else:
                    self.signal[:] = 0.0
                if projects:
                    for k in range(self.filtered.shape[0]):
                        self.filtered[k] = self.shares[k] * error[t, k] + self.kappas[k] * self.filtered[k]
                    project(self.feedback, self.filtered, self.signal)
                self.step(t, rate, psi[t])

    cdef void step(self, int64_t t, const real[::1] rate, real[:, ::1] psi) noexcept nogil:
        """Step all neurons back through step t."""
        cdef int64_t p, first, last, n = self.adjoint.shape[1]
        cdef const NeuronModel* model
        for p in range(self.neurons.pieces.shape[0]):
            first, last = self.neurons.pieces[p, FIRST], self.neurons.pieces[p, LAST]
            model = <const NeuronModel*> self.neurons.models[p]
            model.sweep(last - first, n, self.neurons.dt, column(self.neurons.constants, first),
                        self.neurons.shared[p], history_of(self.neurons, t - 1, first),
                        history_of(self.neurons, t, first), 1.0 - self.kappa, &self.signal[first], &rate[first],
                        &self.adjoint[0, first], &psi[0, first], n)


def sweep_readouts(const double[::1] kappa, const double[::1] zeta, double[:, ::1] error):
    """Replace this rank's errors (T, n) by the gradient that a spike in step t adds: b = E[t] + kappa b."""
    cdef int64_t t, k
    cdef double b
    with nogil:
        for k in range(error.shape[1]):
            b = 0.0
            for t in range(error.shape[0] - 1, -1, -1):
                b = error[t, k] + kappa[k] * b
                error[t, k] = zeta[k] * b
