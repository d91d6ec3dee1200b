/* Loops that do nothing but move memory as the kernels do; REAL is double or float. See bandwidth.py. */

#include <stdint.h>

#define R REAL *restrict
#define C const REAL *restrict

void copy(int64_t n, C a, R b)
{
    for (int64_t k = 0; k < n; k++)
        b[k] = a[k];
}

void triad(int64_t n, C a, C b, R c)
{
    for (int64_t k = 0; k < n; k++)
        c[k] = a[k] + (REAL)0.5 * b[k];
}

/* in place, as credit and optimizers do */
void scale(int64_t n, R a)
{
    for (int64_t k = 0; k < n; k++)
        a[k] *= (REAL)0.999;
}

/* The rest goes through synapses, row by row in the order of the spikes, and fetches the next row meanwhile, as the
   kernels do; k: synapse, j: its target; the order ends with one more row, to be fetched in vain. */
#define STRIDE 16
#define FETCH(array)                                                                                                   \
    (__builtin_prefetch((array) + part + ahead), __builtin_prefetch((array) + part + ahead + STRIDE / 2))
#define ROWS(fetch)                                                                                                    \
    for (int64_t i = 0; i < n; i++)                                                                                    \
        for (int64_t first = order[i] * row, end = first + row, part = first, ahead = order[i + 1] * row - first;      \
             part < end && (FETCH(target), fetch, 1); part += STRIDE)                                                  \
            for (int64_t k = part, stop = part + STRIDE < end ? part + STRIDE : end, j;                                \
                 k < stop && (j = target[k], 1); k++)

/* delivery: a spike's weights go to its targets */
void scatter(int64_t n, int64_t row, const int64_t *order, const uint32_t *restrict target, C weight, R total)
{
    ROWS(FETCH(weight)) total[j] += weight[k];
}

/* credit: targets' coefficients go to the weights */
void gather(int64_t n, int64_t row, const int64_t *order, const uint32_t *restrict target, R weight, C value)
{
    ROWS(FETCH(weight)) weight[k] += (REAL)0.5 * value[j];
}

struct cell { double r, a, d; REAL total; };

/* cells of the targets that come some strides later in the row, and at its start of those before them */
static inline void fetch_cells(int64_t part, int64_t first, int64_t end, const uint32_t *target, const struct cell *cells)
{
    const int64_t far = 4 * STRIDE, last = part + far + STRIDE < end ? part + far + STRIDE : end;
    for (int64_t k = part == first ? part : part + far; k < last; k++)
        __builtin_prefetch(cells + target[k]);
}

/* per-spike update: three arrays of synapses read and written; of a target three sums read and one added to, side by side */
void update(int64_t n, int64_t row, const int64_t *order, const uint32_t *restrict target, R weight, R Y, R owed,
            struct cell *restrict cells)
{
    ROWS((FETCH(weight), FETCH(Y), FETCH(owed), fetch_cells(part, first, end, target, cells)))
    {
        struct cell *at = cells + j;
        REAL w = weight[k] - (REAL)1e-9 * (Y[k] * at->a + 0.5 * at->d - owed[k]);
        weight[k] = w;
        at->total += w;
        Y[k] -= (REAL)0.5 * at->r;
        owed[k] = Y[k] * at->a + at->d;
    }
}
