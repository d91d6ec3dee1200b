# Spike variant, neurons without adaptation and with one tau_m per population: O(1) per synaptic event, no history.
#
# In a block of B steps that starts at step o, with prefix sums per neuron over the steps u of the block,
#     R_u = sum (alpha/kappa)^(u-o) psi_u,  A_u = sum kappa^(u-o) S_u,  D_u = sum kappa^(u-o) S_u R_u,
# and S = L + (1 - kappa) F, a synapse has zbar_u = Z alpha^(u-o) and ebar_u = kappa^(u-o) (Y + Z R_u), so that its
# gradient up to step u is Y A_u + Z D_u - C. It keeps Y and C; Z belongs to its source. A spike that enters at step p
# adds d = alpha^-(p-o) to Z, -d R to Y and d (D - R A) to C, with R, A, D of step p - 1. For m = 1 it enters when it
# arrives: A and D are of step p - 2 then, but step p - 1 adds 0. Else it enters m steps later, when they are those of
# step p - 1: no history is ever looked up. At the end of a block Y becomes kappa^B (Y + Z R), Z becomes alpha^B Z, and
# C what is still owed. Only sums of the present step and of the ends of the latest blocks are ever read. Where
# kappa_reg differs from kappa, a second set of sums and Y serves F.
#
# What an arrival takes of a target, and what it leaves there, lies in one `Cell`: memory is accessed once, not four
# times. B is so small that the powers cost at most three digits. Sums are double in either precision; Y, C and weights
# are `real`, and C is made of the Y that is kept, so that the rounding of Y cancels.


cdef enum:
    FURTHER = 8 * STRIDE  # synapses to what is fetched where the next row isn't known


cdef struct Cell:     # sums of a neuron at one time, half a cache line
    double R
    double A
    double D
    real arriving     # while spikes arrive, instead of Engine.arriving


cdef extern from "spike_variant/prefix_vectors.h" nogil:
    int64_t descend_fours(
        int64_t n, const uint32_t* target, double Z, double d, double eta, double low, double high, double* weight,
        double* Y, double* C, double* cells
    )
    int64_t close_fours(
        int64_t n, const uint32_t* target, double Z, double Z_before, double power, const double* R_before,
        const double* cells, double* Y, double* C
    )
    int64_t reopen_fours(
        int64_t n, const uint32_t* target, double Z, double Z_before, double power, bint enters, double d, double eta,
        double low, double high, const double* R_before, double* weight, double* Y, double* C, double* cells
    )
    int64_t enter_fours(int64_t n, const uint32_t* target, double d, double* Y, double* C, const double* cells)
    int64_t cross_fours(
        int64_t n, const uint32_t* target, double Z, double shrink, const double* ends, double* Y, double* C
    )
    int64_t fill_fours(
        int64_t n, const double* R, const double* A, const double* D, const double* arriving, double* cells
    )


cdef void fill_cells(
    const double[::1] R, const double[::1] A, const double[::1] D, const real[::1] arriving, Cell* cell
) noexcept nogil:
    cdef int64_t j, first = 0
    if sizeof(real) == sizeof(double) and R.shape[0] > 0:
        first = fill_fours(R.shape[0], &R[0], &A[0], &D[0], <const double*> &arriving[0], <double*> cell)
    for j in range(first, R.shape[0]):
        cell[j].R = R[j]
        cell[j].A = A[j]
        cell[j].D = D[j]
        cell[j].arriving = arriving[j]


cdef void take_arriving(real[::1] arriving, const Cell* cell) noexcept nogil:
    """Out of the cells."""
    cdef int64_t j
    for j in range(arriving.shape[0]):
        arriving[j] = cell[j].arriving


cdef struct Crossing:  # of the end of a block
    const Cell* end   # sums there; NULL: nothing is crossed
    double Z          # before it
    double shrink     # kappa^B


cdef inline void cross_block(
    int64_t start,
    int64_t stop,
    const uint32_t* target,           # IN
    Crossing crossing,
    real* Y,                          # UPDATED
    real* C,                          # UPDATED
) noexcept nogil:
    cdef int64_t k, first = start
    cdef const Cell* at
    if crossing.end == NULL:
        return
    if sizeof(real) == sizeof(double):
        first += cross_fours(stop - start, target + start, crossing.Z, crossing.shrink, <const double*> crossing.end,
                             <double*> Y + start, <double*> C + start)
    for k in range(first, stop):
        at = &crossing.end[target[k]]
        C[k] = C[k] - (Y[k] * at.A + crossing.Z * at.D)
        Y[k] = crossing.shrink * (Y[k] + crossing.Z * at.R)


cdef inline void enter_row(
    int64_t start,
    int64_t stop,
    int64_t ahead,                    # how much further on the next row starts
    const uint32_t* target,           # IN
    double d,
    const Cell* cell,                 # IN
    real* Y,                          # UPDATED
    real* C,                          # UPDATED
) noexcept nogil:
    """A spike that arrived before enters."""
    cdef int64_t k = start, end
    cdef const Cell* at
    while k < stop:
        prefetch_line(k + ahead, target, Y, C, Y)
        end = min(k + STRIDE, stop)
        if sizeof(real) == sizeof(double):
            k += enter_fours(end - k, target + k, d, <double*> Y + k, <double*> C + k, <const double*> cell)
        for k in range(k, end):
            at = &cell[target[k]]
            Y[k] -= d * at.R
            C[k] += d * (at.D - at.R * at.A)
        k = end


cdef inline void enter_apart(
    int64_t start,
    int64_t stop,
    const uint32_t[::1] target,       # IN
    double d,
    const double[::1] R,              # IN
    const double[::1] A,              # IN
    const double[::1] D,              # IN
    real[::1] Y,                      # UPDATED
    real[::1] C,                      # UPDATED
) noexcept nogil:
    """As `enter_row` where sums lie apart."""
    cdef int64_t k, j
    for k in range(start, stop):
        j = target[k]
        Y[k] -= d * R[j]
        C[k] += d * (D[j] - R[j] * A[j])


cdef inline void prefetch_line(
    int64_t i, const uint32_t* target, const real* first, const real* second, const real* third
) noexcept nogil:
    """STRIDE synapses from i on."""
    cdef int64_t end = i + STRIDE
    prefetch(&target[i])
    while i < end:
        prefetch(&first[i])
        prefetch(&second[i])
        if third != first:
            prefetch(&third[i])
        i += 64 // <int64_t> sizeof(real)


cdef inline void descend(
    int64_t start,
    int64_t stop,
    int64_t ahead,                    # how much further on the next row starts
    const uint32_t* target,           # IN
    double Z,
    double d,                         # of a spike that enters now, 0 if none
    Crossing crossing,                # the end of a block just before
    double eta,
    real Wmin,
    real Wmax,
    real* weight,                     # UPDATED
    real* Y,                          # UPDATED
    real* C,                          # UPDATED
    Cell* cell,                       # UPDATED: the new weights arrive
) noexcept nogil:
    """One arrival with gradient descent, the two sums in one: update the weight, deliver, let the spike enter."""
    cdef int64_t k = start, end, i
    cdef double grown = Z + d
    cdef Cell* at
    cdef real w, y
    cdef double[STRIDE] R, A, D
    while k < stop:
        prefetch_line(k + ahead, target, weight, Y, C)
        end = min(k + STRIDE, stop)
        cross_block(k, end, target, crossing, Y, C)
        if sizeof(real) == sizeof(double):
            k += descend_fours(end - k, target + k, Z, d, eta, Wmin, Wmax, <double*> weight + k, <double*> Y + k,
                               <double*> C + k, <double*> cell)
            for k in range(k, end):
                at = &cell[target[k]]
                w = weight[k] - eta * (Y[k] * at.A + Z * at.D - C[k])
                w = w if w > Wmin else Wmin
                w = w if w < Wmax else Wmax
                weight[k] = w
                at.arriving += w
                y = Y[k] - d * at.R
                Y[k] = y
                C[k] = y * at.A + grown * at.D
        else:                         # what is indexed apart from the rest, which then is vectorised: pays here alone
            for i in range(end - k):
                R[i] = cell[target[k + i]].R
                A[i] = cell[target[k + i]].A
                D[i] = cell[target[k + i]].D
            descend_chunk(end - k, Z, d, eta, Wmin, Wmax, R, A, D, &weight[k], &Y[k], &C[k])
            for i in range(k, end):
                cell[target[i]].arriving += weight[i]
        k = end


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


cdef inline void close_row(
    int64_t start,
    int64_t stop,
    const uint32_t* target,           # IN
    double Z,
    double Z_before,                  # Z where R is of the present block, else 0
    double power,                     # kappa^(u-o), u the last step of the window
    const double* R,                  # IN, of step u
    const Cell* cell,                 # IN
    real* Y,                          # UPDATED: becomes ebar_u
    real* C,                          # UPDATED: becomes minus the gradient so far
) noexcept nogil:
    """`owe` and `to_trace` in one."""
    cdef int64_t k = start, end, j
    while k < stop:
        prefetch_line(k + FURTHER, target, Y, C, Y)
        end = min(k + STRIDE, stop)
        if sizeof(real) == sizeof(double):
            k += close_fours(end - k, target + k, Z, Z_before, power, R, <const double*> cell, <double*> Y + k,
                             <double*> C + k)
        for k in range(k, end):
            j = target[k]
            C[k] -= Y[k] * cell[j].A + Z * cell[j].D
            Y[k] = power * (Y[k] + Z_before * R[j])
        k = end


cdef inline void reopen_row(
    int64_t start,
    int64_t stop,
    int64_t ahead,                    # how much further on the next row starts
    const uint32_t* target,           # IN
    double Z,
    double Z_before,                  # as for `from_trace`
    double power,
    bint enters,
    double d,                         # of a spike that enters now
    real eta,
    real Wmin,
    real Wmax,
    const double* R,                  # IN, of the step before the present one
    real* weight,                     # UPDATED
    real* Y,                          # UPDATED
    real* C,                          # UPDATED
    Cell* cell,                       # UPDATED: the new weights arrive
) noexcept nogil:
    """`descent_step`, `from_trace`, `charge`, the spike's entry and its delivery in one."""
    cdef int64_t k = start, end
    cdef Cell* at
    cdef real w, y, c
    while k < stop:
        prefetch_line(k + ahead, target, weight, Y, C)
        end = min(k + STRIDE, stop)
        if sizeof(real) == sizeof(double):
            k += reopen_fours(end - k, target + k, Z, Z_before, power, enters, d, eta, Wmin, Wmax, R,
                              <double*> weight + k, <double*> Y + k, <double*> C + k, <double*> cell)
        for k in range(k, end):
            at = &cell[target[k]]
            w = weight[k] + eta * C[k]
            w = w if w > Wmin else Wmin
            w = w if w < Wmax else Wmax
            weight[k] = w
            at.arriving += w
            y = power * Y[k] - Z_before * R[target[k]]
            c = y * at.A + Z * at.D
            if enters:
                y -= d * at.R
                c += d * (at.D - at.R * at.A)
            Y[k] = y
            C[k] = c
        k = end


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


cdef void close_sums(
    const double[::1] R, double[::1] A, double[::1] D, const real[::1] arriving, Cell* end
) noexcept nogil:
    """Keep the sums at the end of a block and start anew."""
    cdef int64_t j
    fill_cells(R, A, D, arriving, end)
    for j in range(R.shape[0]):
        A[j] = 0.0
        D[j] = 0.0
