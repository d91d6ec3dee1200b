# Spike variant, rewards: TD errors act while an episode runs, O(1) per arrival (Bellec et al. 2020, equations 36, 37).
#
# In each step u, with delta_u the TD error that is known then (else 0), q_u = gamma lambda in decision steps (else 1)
# and L_u the learning signal of the action's score and the value (0 except in decisions), a synapse does
#     g += delta_u h ;  h = q_u h + L_u ebar_u ;  g += (1 - kappa) F_u ebar_u
# Within a block of steps (see prefix/sums.pxi) G_u is the product of q from its first step to u, and
#     A_u = sum kappa^(u-o) L_u / G_u,             D_u = sum kappa^(u-o) L_u R_u / G_u,
#     S_u = sum delta_u G_(u-1) A_(u-1) + kappa^(u-o) (1 - kappa) F_u,       U_u likewise of D, and with F_u R_u,
#     Q_u = sum delta_u G_(u-1)                    one for the network,
# give h_u = G_u (Y A_u + Z D_u + P) and g_u = Y S_u + Z U_u + P Q_u - C. A synapse stores Y, C and P. A spike that
# enters adds d to Z, -d R to Y, -d (D - R A) to P and d (U - R S - (D - R A) Q) to C: neither h nor g jumps. At the end
# of a block P becomes h. Episodes begin with a block: P is 0 then.

cdef enum:        # rows of an entry of Online.ends
    OF_R = 0
    OF_A = 1
    OF_D = 2
    OF_S = 3
    OF_U = 4


cdef void clear_online(Online online, int64_t t) noexcept nogil:
    """Nothing is known of step t yet."""
    cdef int64_t row = t % online.delta.shape[0]
    online.delta[row], online.discount[row] = 0.0, 1.0


cdef void extend_online(
    Online online, Sums sums, Histories histories, const int64_t[:, ::1] pieces, int64_t u, int64_t place
) noexcept nogil:
    """All sums with step u, whose R is in row `place`."""
    cdef int64_t p, j, k = u % sums.block, seen = (u + online.d_out) % online.delta.shape[0]
    cdef int64_t L = u % histories.L.shape[0], F = u % histories.F.shape[0]
    cdef double known = online.delta[seen] * online.running[1], power, share, x
    online.running[0] += known
    if online.discount[seen] > 0.0:                # 0: nothing is there before the first decision of an episode
        online.running[1] *= online.discount[seen]
    for p in range(pieces.shape[0]):
        share = sums.powers[p, 1, k] * (1.0 - sums.powers[p, 3, 1])
        power = sums.powers[p, 1, k] / online.running[1]
        for j in range(pieces[p, FIRST], pieces[p, LAST]):
            x = share * histories.F[F, j]
            online.S[j] += known * sums.A[j] + x
            online.U[j] += known * sums.D[j] + x * sums.R[place, j]
            x = power * histories.L[L, j]
            sums.A[j] += x
            sums.D[j] += x * sums.R[place, j]
    if k == sums.block - 1:
        close_online(online, sums, u // sums.block % online.ends.shape[0], place)


cdef void close_online(Online online, Sums sums, int64_t end, int64_t place) noexcept nogil:
    """Store the sums at the end of a block, and set them to 0."""
    online.ends[end, OF_R, :] = sums.R[place]
    online.ends[end, OF_A, :] = sums.A
    online.ends[end, OF_D, :] = sums.D
    online.ends[end, OF_S, :] = online.S
    online.ends[end, OF_U, :] = online.U
    online.end_factors[end, 0] = online.running[0]
    online.end_factors[end, 1] = 0.0 if online.last[end] else online.running[1]
    online.last[end] = 0
    online.running[0], online.running[1] = 0.0, 1.0
    sums.A[:] = 0.0
    sums.D[:] = 0.0
    online.S[:] = 0.0
    online.U[:] = 0.0


cdef inline double gradient_online(double y, double Z, double P, double Q, double S, double U) noexcept nogil:
    """The gradient since C was set."""
    return y * S + Z * U + P * Q


cdef void cross_online(
    Rows rows, int64_t row, double alpha_power, double kappa_power, const double[:, ::1] end, double Q, double keep
) noexcept nogil:
    """Bring a row into its next block; `keep`: factor of h."""
    cdef int64_t k, j
    cdef double Z = rows.Z[row]
    for k in range(rows.row_ptr[row], rows.row_ptr[row + 1]):
        j = rows.target[k]
        rows.traces.C[k] -= gradient_online(rows.traces.Y[k], Z, rows.traces.h[k], Q, end[OF_S, j], end[OF_U, j])
        rows.traces.h[k] = keep * (rows.traces.Y[k] * end[OF_A, j] + Z * end[OF_D, j] + rows.traces.h[k])
        rows.traces.Y[k] = kappa_power * (rows.traces.Y[k] + Z * end[OF_R, j])
    rows.Z[row] = Z * alpha_power
    rows.books[row, CURSOR] += 1


cdef void add_gradient_online(
    Engine engine, Rows rows, int64_t row, int64_t start, int64_t stop, int64_t sign
) noexcept nogil:
    """Convert C to minus the gradient since C was set (sign -1), or back (1)."""
    cdef int64_t k, j
    cdef double Z = rows.Z[row], Q = engine.online.running[0]
    for k in range(start, stop):
        j = rows.target[k]
        rows.traces.C[k] += sign * gradient_online(
            rows.traces.Y[k], Z, rows.traces.h[k], Q, engine.online.S[j], engine.online.U[j]
        )


cdef void enter_online(Engine engine, Rows rows, int64_t row, int64_t before, double d) noexcept nogil:
    """A spike enters that adds d to Z; R of the step before is in row `before`."""
    cdef int64_t k, j
    cdef double R, x
    for k in range(rows.row_ptr[row], rows.row_ptr[row + 1]):
        j = rows.target[k]
        R = engine.sums.R[before, j]
        x = engine.sums.D[j] - R * engine.sums.A[j]
        rows.traces.Y[k] -= d * R
        rows.traces.h[k] -= d * x
        rows.traces.C[k] += d * (engine.online.U[j] - R * engine.online.S[j] - x * engine.online.running[0])
