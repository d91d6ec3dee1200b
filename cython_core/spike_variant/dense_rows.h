/* Spikes that arrive at dense rows with gradient descent, see `descend` in prefix_sums.pxi: one, two or four rows with
   the same targets in one pass, so that what belongs to a target is read and written once. A target receives its weights
   in the order of the rows, whatever their number. REAL is the precision of the model. */

#include <stdint.h>

typedef struct {
    REAL *weight, *Y, *C;
    double Z, d, grown;    /* Z + d */
} Row;

#define ROW(r)                                                                                                         \
    {                                                                                                                  \
        REAL y = r.Y[k], w = (REAL)(r.weight[k] - eta * (y * A[k] + r.Z * D[k] - r.C[k]));                             \
        w = w > low ? w : low;                                                                                         \
        w = w < high ? w : high;                                                                                       \
        r.weight[k] = w;                                                                                               \
        total += w;                                                                                                    \
        y = (REAL)(y - r.d * R[k]);                                                                                    \
        r.Y[k] = y;                                                                                                    \
        r.C[k] = (REAL)(y * A[k] + r.grown * D[k]);                                                                    \
    }

/* rows never overlap, nor do the arrays of targets */
#define EACH_TARGET(rows)                                                                                              \
    _Pragma("GCC ivdep") for (int64_t k = 0; k < n; k++)                                                               \
    {                                                                                                                  \
        REAL total = arriving[k];                                                                                      \
        rows arriving[k] = total;                                                                                      \
    }

#define OF_TARGETS                                                                                                     \
    int64_t n, double eta, REAL low, REAL high, const double *R, const double *A, const double *D, REAL *arriving

static void descend_one(OF_TARGETS, const Row a)
{
    EACH_TARGET(ROW(a))
}

static void descend_two(OF_TARGETS, const Row a, const Row b)
{
    EACH_TARGET(ROW(a) ROW(b))
}

static void descend_four(OF_TARGETS, const Row a, const Row b, const Row c, const Row d)
{
    EACH_TARGET(ROW(a) ROW(b) ROW(c) ROW(d))
}
