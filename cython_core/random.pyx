"""Arrays of keyed random numbers, of the distributions of `random.pxd`, and Bernoulli spike trains."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.elementary cimport log1p
from pareprop.core.philox cimport DRAWS, Stream, normals, philox_block, skips, stream


def raw(const uint64_t[::1] key, const uint64_t[::1] ids, uint64_t[:, ::1] out):
    """Numbers 0 .. n - 1 of each stream, 64 random bits each.

    Parameters
    ----------
    key : (2,), 128-bit key
    ids : (n_ids,), streams
    out : (n_ids, n), overwritten
    """
    cdef int64_t i, k, j, n = out.shape[1]
    cdef uint64_t block[4]
    with nogil:
        for i in range(ids.shape[0]):
            for k in range(0, n, 4):
                philox_block(stream(key, ids[i]), <uint64_t>(k >> 2), block)
                for j in range(k, min(k + 4, n)):
                    out[i, j] = block[j - k]


def draw(int kind, double a, double b, const uint64_t[::1] key, const uint64_t[::1] ids, double[:, ::1] out):
    """Numbers 0 .. n - 1 of each stream, of a distribution.

    Uniform numbers in [0, 1) are (u >> 11) / 2**53, u the raw number; normal ones are the quantiles of
    ((u >> 11) + 1/2) / 2**53.

    Parameters
    ----------
    kind, a, b : distribution and its two numbers, as in `random.pxd`
    key, ids, out : as for `raw`
    """
    cdef int64_t i, first, n = out.shape[1]
    with nogil:
        for i in range(ids.shape[0]):
            first = 0
            while first < n:
                draw_values(kind, a, b, stream(key, ids[i]), first, <int>min(<int64_t>DRAWS, n - first), &out[i, first])
                first += DRAWS


def normal_quantile(const uint64_t[::1] numbers, double[::1] out):
    """Standard normals of given raw numbers, (n,) to (n,): what `normal` makes of them."""
    if numbers.shape[0] > 0:
        with nogil:
            normals(&numbers[0], numbers.shape[0], &out[0])


cdef struct Train:
    Stream stream
    double log_miss
    int64_t k           # spikes drawn so far
    int64_t step        # of the latest spike
    uint64_t block[4]


cdef inline bint next_spike(Train* train, int64_t n_steps) noexcept nogil:
    """Go to the next spike; False at the end of the train."""
    cdef double skipped
    if train.k & 3 == 0:
        philox_block(train.stream, <uint64_t>(train.k >> 2), train.block)
    skipped = skips(train.block[train.k & 3], train.log_miss)
    if skipped >= <double>(n_steps - 1 - train.step):  # compared as doubles: it may exceed any integer
        return False
    train.step += 1 + <int64_t>skipped
    train.k += 1
    return True


cdef inline bint start_train(
    Train* train, const uint64_t[::1] key, const uint32_t[::1] ids, int64_t first, int64_t k,
    const double[::1] probability
) noexcept nogil:
    """Begin the train of source number k; False if it never fires."""
    cdef double chance = probability[min(k, probability.shape[0] - 1)]
    train.stream = stream(key, <uint64_t>(ids[k] if ids.shape[0] else first + k))
    train.log_miss = log1p(-chance)
    train.k = 0
    train.step = -1
    return chance > 0.0


def bernoulli_count(
    const uint64_t[::1] key, const uint32_t[::1] ids, int64_t first, int64_t n, const double[::1] probability,
    int64_t[::1] ptr
):
    """Spikes of n sources that fire independently at each step: where the spikes of every step begin.

    Source i stays silent for floor(log(v) / log(1 - probability)) steps before its k-th spike,
    v = ((u >> 11) + 1) / 2**53, u number k of stream i: the work is in proportion to the spikes.

    Parameters
    ----------
    key : (2,), 128-bit key
    ids, first : (n,) sources; or (0,): `first` and on
    probability : (n,) or, for all, (1,), of a spike in a step, in [0, 1]
    ptr : (n_steps + 1,), overwritten: spikes of step t are numbers ptr[t] .. ptr[t + 1] - 1
    """
    cdef int64_t k, t, n_steps = ptr.shape[0] - 1
    cdef Train train
    with nogil:
        ptr[:] = 0
        for k in range(n):
            if start_train(&train, key, ids, first, k, probability):
                while next_spike(&train, n_steps):
                    ptr[train.step + 1] += 1
        for t in range(n_steps):
            ptr[t + 1] += ptr[t]


def bernoulli_fill(
    const uint64_t[::1] key, const uint32_t[::1] ids, int64_t first, int64_t n, const double[::1] probability,
    int64_t[::1] ptr, int64_t number, uint32_t[::1] numbers
):
    """The sources of the spikes that `bernoulli_count` counted, ascending in each step, called `number` and on.

    Parameters
    ----------
    key, ids, first, n, probability : as for `bernoulli_count`
    ptr : (n_steps + 1,), from `bernoulli_count`; used as cursors meanwhile, unchanged in the end
    numbers : (ptr[-1],), overwritten
    """
    cdef int64_t k, t, n_steps = ptr.shape[0] - 1
    cdef Train train
    with nogil:
        for k in range(n):
            if start_train(&train, key, ids, first, k, probability):
                while next_spike(&train, n_steps):
                    numbers[ptr[train.step]] = <uint32_t>(number + k)
                    ptr[train.step] += 1
        for t in range(n_steps, 0, -1):
            ptr[t] = ptr[t - 1]
        ptr[0] = 0
