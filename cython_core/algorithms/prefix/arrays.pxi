# Arrays of algorithm `prefix`, filled by `PrefixSums` and `TDErrors` of pareprop/algorithms/prefix/arrays.py.

cdef class Sums(Bound):
    """Prefix sums of this rank's neurons, see prefix/sums.pxi."""

    cdef public bint in_use                        # this rank has neurons, and synapses of some rank learn by sums
    cdef public int64_t block                      # steps B of a block
    cdef public int64_t sets                       # 2: a second set serves F, as kappa_reg differs from kappa
    cdef public double[:, :, ::1] powers           # (n_pieces, 4, B + 1): (alpha/kappa)^k, kappa^k; with kappa_reg
    cdef public double[:, ::1] alpha_powers        # (n_blocks of incoming, B + 2): alpha^(k - 1)
    cdef public double[:, ::1] R, R2               # (m + 1, n)
    cdef public double[::1] A, D, A2, D2           # (n,)
    cdef public double[:, :, ::1] cells            # (n, 1 or 2, 4), memory of `Cell`s, with 2 an `End` after each one
    cdef public double[:, :, ::1] ends, ends2      # (n_ends, n, 4), memory of `End`s


cdef class Online(Bound):
    """TD errors of the latest steps, and the sums that they need, see online_td.pxi."""

    cdef public bint in_use
    cdef public int64_t d_out                      # steps from neurons to readouts
    cdef public double[::1] delta, discount        # (steps,), rings by step of the readouts: delta_u, q_u
    cdef public double[::1] S, U                   # (n,)
    cdef public double[::1] running                # (2,), Q and G of the present block
    cdef public double[:, :, ::1] ends             # (n_ends, 5, n), sums at ends of blocks
    cdef public double[:, ::1] end_factors         # (n_ends, 2), Q there, and what h is multiplied with
    cdef public uint8_t[::1] last                  # (n_ends,), 1: an episode ends with this block
