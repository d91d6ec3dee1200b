"""Walk CSR rows in canonical order, a range of targets at a time."""

from libc.stdint cimport int64_t, uint32_t


def advance(
    const int64_t[::1] cursor,        # IN (n_rows,), next synapse of each row
    const int64_t[::1] ends,          # IN (n_rows,), one past the last of each row
    const uint32_t[::1] target,       # IN, ascending in a row
    int64_t bound,
    int64_t[::1] counts,              # OUT (n_rows,), synapses from `cursor` on with targets below `bound`
):
    """Count each row's synapses from its cursor on whose target lies below `bound`."""
    cdef int64_t row, k
    with nogil:
        for row in range(cursor.shape[0]):
            k = cursor[row]
            while k < ends[row] and target[k] < bound:
                k += 1
            counts[row] = k - cursor[row]
