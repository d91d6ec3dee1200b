# Arrays of algorithm `readout`, filled by `ErrorSums` of pareprop/algorithms/readout/arrays.py.

cdef class ErrorSums(Bound):
    """Prefix sums of errors in blocks of `block` steps from o on: sum alpha_out^(u-o) E_u; 0: there are none."""

    cdef public double[:, ::1] sums                # (steps, n_readouts)
    cdef public int64_t block
    cdef public double[:, ::1] powers              # (block + 1, n_readouts), alpha_out^k
