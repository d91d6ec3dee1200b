# Spike variant, neurons without adaptation and with one tau_m per population: O(1) per synaptic event, no history.
#
# In a block of B steps that starts at step o, with prefix sums per neuron over the steps u of the block,
#     R_u = sum (alpha/kappa)^(u-o) psi_u,  A_u = sum kappa^(u-o) S_u,  D_u = sum kappa^(u-o) S_u R_u,
# and S = L + (1 - kappa) F, a synapse has zbar_u = Z alpha^(u-o) and ebar_u = kappa^(u-o) (Y + Z R_u), so that its
# gradient up to step u is Y A_u + Z D_u - C. It keeps Y and C; Z belongs to its source. A spike that enters at step p
# adds d = alpha^-(p-o) to Z, -d R to Y and d (D - R A) to C, with R, A, D of step p - 1. At the end of a block
# Y becomes kappa^B (Y + Z R), Z becomes alpha^B Z, and C what is still owed. Only sums of the present step and of the
# ends of the latest blocks are ever read. Where kappa_reg differs from kappa, a second set of sums and Y serves F.
# B is so small that the powers cost at most three digits. Sums are double in either precision; Y, C and weights are
# `real`, and C is made of the Y that is kept, so that the rounding of Y cancels.


cdef inline void cross_block(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,       # IN
    double Z,
    double shrink,                    # kappa^B
    bint second,                      # whether C was already turned into what is owed by the first set
    const double[::1] R,              # IN, sums at the end of the block
    const double[::1] A,              # IN
    const double[::1] D,              # IN
    real[::1] Y,                      # UPDATED
    real[::1] C,                      # UPDATED
) noexcept nogil:
    cdef int64_t k, j
    for k in range(start, stop):
        j = target[k]
        C[k] = C[k] - (Y[k] * A[j] + Z * D[j])
        Y[k] = shrink * (Y[k] + Z * R[j])


cdef inline void enter_spike(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,       # IN
    double d,
    const double[::1] R,              # IN, sums of the step before the spike enters
    const double[::1] Q,              # IN, D - R A
    real[::1] Y,                      # UPDATED
    real[::1] C,                      # UPDATED
) noexcept nogil:
    cdef int64_t k, j
    for k in range(start, stop):
        j = target[k]
        Y[k] -= d * R[j]
        C[k] += d * Q[j]


cdef inline void descend(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,       # IN
    double Z,
    double d,                         # of a spike that enters now, 0 if none
    double eta,
    real Wmin,
    real Wmax,
    const double[::1] R,              # IN
    const double[::1] A,              # IN
    const double[::1] D,              # IN
    real[::1] weight,                 # UPDATED
    real[::1] Y,                      # UPDATED
    real[::1] C,                      # UPDATED
    total_of[::1] arriving,           # UPDATED: += the new weight
) noexcept nogil:
    """One arrival with gradient descent, the two sums in one: update the weight, deliver, let the spike enter."""
    cdef int64_t k, j
    if sizeof(real) == sizeof(float):
        descend_apart(start, stop, target, Z, d, eta, Wmin, Wmax, R, A, D, weight, Y, C, arriving)
        return
    cdef double grown = Z + d
    cdef real w, y
    for k in range(start, stop):
        j = target[k]
        w = weight[k] - eta * (Y[k] * A[j] + Z * D[j] - C[k])
        w = w if w > Wmin else Wmin
        w = w if w < Wmax else Wmax
        weight[k] = w
        arriving[j] += w
        y = Y[k] - d * R[j]
        Y[k] = y
        C[k] = y * A[j] + grown * D[j]


cdef inline void descend_apart(
    int64_t start, int64_t stop, const uint32_t[::1] target, double Z, double d, double eta, real Wmin, real Wmax,
    const double[::1] R, const double[::1] A, const double[::1] D, real[::1] weight, real[::1] Y, real[::1] C,
    total_of[::1] arriving
) noexcept nogil:
    """`descend` with all that is indexed apart from the rest, which then is vectorised: this pays in single alone."""
    cdef int64_t k = start, i, n
    cdef double[CHUNK] r, a, s
    while k < stop:
        n = min(stop - k, CHUNK)
        collect(n, -1, &target[k], &R[0], r)
        collect(n, -1, &target[k], &A[0], a)
        collect(n, -1, &target[k], &D[0], s)
        descend_chunk(n, Z, d, eta, Wmin, Wmax, r, a, s, &weight[k], &Y[k], &C[k])
        for i in range(k, k + n):
            arriving[target[i]] += weight[i]
        k += n


cdef inline void descend_chunk(
    int64_t n, double Z, double d, double eta, real Wmin, real Wmax, const double* R, const double* A, const double* D,
    real* weight, real* Y, real* C
) noexcept nogil:
    cdef int64_t k
    cdef double grown = Z + d
    cdef real w, y
    for k in range(n):
        w = weight[k] - eta * (Y[k] * A[k] + Z * D[k] - C[k])
        w = w if w > Wmin else Wmin
        weight[k] = w if w < Wmax else Wmax
        y = Y[k] - d * R[k]
        Y[k] = y
        C[k] = y * A[k] + grown * D[k]


cdef inline void descend_dense(
    int64_t start,
    int64_t stop,
    int64_t base,                     # target of synapse k is base + k
    double Z,
    double d,
    double eta,
    real Wmin,
    real Wmax,
    const double[::1] R,
    const double[::1] A,
    const double[::1] D,
    real[::1] weight,
    real[::1] Y,
    real[::1] C,
    total_of[::1] arriving,
) noexcept nogil:
    """As `descend` where targets are neighbours."""
    cdef int64_t k
    cdef double grown = Z + d
    cdef real w, y
    for k in range(start, stop):
        w = weight[k] - eta * (Y[k] * A[base + k] + Z * D[base + k] - C[k])
        w = w if w > Wmin else Wmin
        w = w if w < Wmax else Wmax
        weight[k] = w
        arriving[base + k] += w
        y = Y[k] - d * R[base + k]
        Y[k] = y
        C[k] = y * A[base + k] + grown * D[base + k]


cdef inline void owe(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,
    double Z,
    const double[::1] A,
    const double[::1] D,
    const real[::1] Y,
    real[::1] C,
) noexcept nogil:
    """C becomes minus the gradient so far; `charge` is the inverse."""
    cdef int64_t k, j
    for k in range(start, stop):
        j = target[k]
        C[k] -= Y[k] * A[j] + Z * D[j]


cdef inline void charge(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,
    double Z,
    const double[::1] A,
    const double[::1] D,
    const real[::1] Y,
    real[::1] C,
) noexcept nogil:
    cdef int64_t k, j
    for k in range(start, stop):
        j = target[k]
        C[k] += Y[k] * A[j] + Z * D[j]


cdef inline void to_trace(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,
    double Z,
    double power,                     # kappa^(u-o)
    const double[::1] R,              # IN, of step u
    real[::1] Y,                      # UPDATED: becomes ebar_u
) noexcept nogil:
    cdef int64_t k
    for k in range(start, stop):
        Y[k] = power * (Y[k] + Z * R[target[k]])


cdef inline void from_trace(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,
    double Z,
    double power,                     # kappa^n / kappa^(u-o), n steps of decay
    const double[::1] R,
    real[::1] Y,                      # UPDATED: was ebar
) noexcept nogil:
    cdef int64_t k
    for k in range(start, stop):
        Y[k] = power * Y[k] - Z * R[target[k]]


cdef void add_psi(
    int64_t first, int64_t last, bint starts, double power, const real[::1] psi, const double[::1] before,
    double[::1] R
) noexcept nogil:
    """R_u = R_(u-1) + (alpha/kappa)^(u-o) psi_u, from 0 at the start of a block."""
    cdef int64_t j
    for j in range(first, last):
        R[j] = (0.0 if starts else before[j]) + power * psi[j]


cdef void add_signal(
    int64_t first, int64_t last, double power, const real[::1] S, const double[::1] R, double[::1] A, double[::1] D
) noexcept nogil:
    cdef int64_t j
    cdef double x
    for j in range(first, last):
        x = power * S[j]
        A[j] += x
        D[j] += x * R[j]


cdef void keep_past(
    const double[::1] R, const double[::1] A, const double[::1] D, double[::1] past_R, double[::1] past_Q
) noexcept nogil:
    cdef int64_t j
    for j in range(R.shape[0]):
        past_R[j] = R[j]
        past_Q[j] = D[j] - R[j] * A[j]


cdef void close_sums(
    const double[::1] R, double[::1] A, double[::1] D, double[::1] end_R, double[::1] end_A, double[::1] end_D
) noexcept nogil:
    """Keep the sums at the end of a block and start anew."""
    cdef int64_t j
    for j in range(R.shape[0]):
        end_R[j] = R[j]
        end_A[j] = A[j]
        end_D[j] = D[j]
        A[j] = 0.0
        D[j] = 0.0
