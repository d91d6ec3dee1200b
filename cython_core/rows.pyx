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


def order(
    int64_t low,
    const int64_t[::1] cursor,        # IN (n_rows,), first synapse of each row
    const int64_t[::1] counts,        # IN (n_rows,), synapses from there on
    const uint32_t[::1] target,       # IN, ascending in a row
    int64_t[::1] place,               # scratch (n_targets + 1,), zero on entry
    int64_t[::1] index,               # OUT (counts.sum(),), synapses by target, source, delay
    int64_t[::1] row,                 # OUT, the row of each, or empty
):
    """Sort the synapses of some rows onto targets [low, low + n_targets) by counting; equal ones keep their order."""
    cdef int64_t r, k, t, p, n_rows = cursor.shape[0]
    with nogil:
        for r in range(n_rows):
            for k in range(cursor[r], cursor[r] + counts[r]):
                place[target[k] - low + 1] += 1
        for t in range(1, place.shape[0]):
            place[t] += place[t - 1]
        for r in range(n_rows):
            for k in range(cursor[r], cursor[r] + counts[r]):
                p = place[target[k] - low]
                place[target[k] - low] = p + 1
                index[p] = k
                if row.shape[0] > 0:
                    row[p] = r


def shift(int64_t[::1] ends):
    """Turn the ends of rows, and a number that is lost, into starts and the last end."""
    cdef int64_t k, end, before = 0
    with nogil:
        for k in range(ends.shape[0]):
            end = ends[k]
            ends[k] = before
            before = end
