/* What rows of the spike variant do in double precision, four synapses at a time: the same operations in the same order
   as in prefix_sums.pxi, which takes the rest of a row. A compiler finds no vectors there, as the sums of a target lie
   side by side; here four targets are read as four vectors and turned. Each function returns how many it did. */

#include <stddef.h>
#include <stdint.h>

typedef double four __attribute__((vector_size(32), aligned(8)));    /* anywhere in memory */
typedef int64_t mask __attribute__((vector_size(32)));

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#endif
#endif
#ifndef MIX
#define MIX(x, y, ...) __builtin_shuffle(x, y, (mask){__VA_ARGS__})
#endif

#define AT(pointer) (*(four *)(pointer))
#define AT_CONST(pointer) (*(const four *)(pointer))

/* a cell is R, A, D and what arrives */
#define CELL(cells, target) AT_CONST((cells) + 4 * (size_t)(target))
#define SUMS(cells, target)                                                                                            \
    const four cell_0 = CELL(cells, (target)[0]), cell_1 = CELL(cells, (target)[1]);                                   \
    const four cell_2 = CELL(cells, (target)[2]), cell_3 = CELL(cells, (target)[3]);                                   \
    const four RD_01 = MIX(cell_0, cell_1, 0, 4, 2, 6), RD_23 = MIX(cell_2, cell_3, 0, 4, 2, 6);                       \
    const four A_01 = MIX(cell_0, cell_1, 1, 5, 3, 7), A_23 = MIX(cell_2, cell_3, 1, 5, 3, 7);                         \
    const four R = MIX(RD_01, RD_23, 0, 1, 4, 5), D = MIX(RD_01, RD_23, 2, 3, 6, 7), A = MIX(A_01, A_23, 0, 1, 4, 5);

#define FOUND(array, target)                                                                                           \
    (four){(array)[(target)[0]], (array)[(target)[1]], (array)[(target)[2]], (array)[(target)[3]]}

static inline four bounded(four w, double low, double high)
{
    for (int i = 0; i < 4; i++)
        w[i] = w[i] > low ? w[i] : low;
    for (int i = 0; i < 4; i++)
        w[i] = w[i] < high ? w[i] : high;
    return w;
}

static inline void arrive_four(const uint32_t *target, four weight, double *cells)
{
    for (int i = 0; i < 4; i++)
        cells[4 * (size_t)target[i] + 3] += weight[i];
}

static inline int64_t descend_fours(int64_t n, const uint32_t *target, double Z, double d, double eta, double low,
                                    double high, double *weight, double *Y, double *C, double *cells)
{
    int64_t k = 0;
    for (; k + 4 <= n; k += 4) {
        SUMS(cells, target + k)
        four y = AT(Y + k), w = bounded(AT(weight + k) - eta * (y * A + Z * D - AT(C + k)), low, high);
        y = y - d * R;
        AT(weight + k) = w;
        AT(Y + k) = y;
        AT(C + k) = y * A + (Z + d) * D;
        arrive_four(target + k, w, cells);
    }
    return k;
}

static inline int64_t close_fours(int64_t n, const uint32_t *target, double Z, double Z_before, double power,
                                  const double *R_before, const double *cells, double *Y, double *C)
{
    int64_t k = 0;
    for (; k + 4 <= n; k += 4) {
        SUMS(cells, target + k)
        (void)R;
        AT(C + k) -= AT(Y + k) * A + Z * D;
        AT(Y + k) = power * (AT(Y + k) + Z_before * FOUND(R_before, target + k));
    }
    return k;
}

static inline int64_t reopen_fours(int64_t n, const uint32_t *target, double Z, double Z_before, double power,
                                   int enters, double d, double eta, double low, double high, const double *R_before,
                                   double *weight, double *Y, double *C, double *cells)
{
    int64_t k = 0;
    for (; k + 4 <= n; k += 4) {
        SUMS(cells, target + k)
        const four w = bounded(AT(weight + k) + eta * AT(C + k), low, high);
        four y = power * AT(Y + k) - Z_before * FOUND(R_before, target + k), c = y * A + Z * D;
        if (enters) {
            y -= d * R;
            c += d * (D - R * A);
        }
        AT(weight + k) = w;
        AT(Y + k) = y;
        AT(C + k) = c;
        arrive_four(target + k, w, cells);
    }
    return k;
}

static inline int64_t enter_fours(int64_t n, const uint32_t *target, double d, double *Y, double *C,
                                  const double *cells)
{
    int64_t k = 0;
    for (; k + 4 <= n; k += 4) {
        SUMS(cells, target + k)
        AT(Y + k) -= d * R;
        AT(C + k) += d * (D - R * A);
    }
    return k;
}

static inline int64_t cross_fours(int64_t n, const uint32_t *target, double Z, double shrink, const double *ends,
                                  double *Y, double *C)
{
    int64_t k = 0;
    for (; k + 4 <= n; k += 4) {
        SUMS(ends, target + k)
        AT(C + k) = AT(C + k) - (AT(Y + k) * A + Z * D);
        AT(Y + k) = shrink * (AT(Y + k) + Z * R);
    }
    return k;
}

static inline int64_t fill_fours(int64_t n, const double *R, const double *A, const double *D, const double *arriving,
                                 double *cells)
{
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const four r = AT_CONST(R + j), a = AT_CONST(A + j), d = AT_CONST(D + j), x = AT_CONST(arriving + j);
        const four ra_02 = MIX(r, a, 0, 4, 2, 6), ra_13 = MIX(r, a, 1, 5, 3, 7);
        const four dx_02 = MIX(d, x, 0, 4, 2, 6), dx_13 = MIX(d, x, 1, 5, 3, 7);
        AT(cells + 4 * j) = MIX(ra_02, dx_02, 0, 1, 4, 5);
        AT(cells + 4 * j + 4) = MIX(ra_13, dx_13, 0, 1, 4, 5);
        AT(cells + 4 * j + 8) = MIX(ra_02, dx_02, 2, 3, 6, 7);
        AT(cells + 4 * j + 12) = MIX(ra_13, dx_13, 2, 3, 6, 7);
    }
    return j;
}
