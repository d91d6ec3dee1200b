/* What rows of the spike variant do with prefix sums (the equations stand in prefix_sums.pxi). Each formula stands once,
   as a macro over the type T it is computed with: `one` is what the model keeps (REAL), `four` are four doubles.
   It reads and writes w, y, c of synapses in scope and reads R, A, D of their targets. Products of REAL and sums are
   double; what is kept is rounded at once, so that any division of a row into ones and fours gives the same bits.
   One file, because the macros build on each other. */

#include <stddef.h>
#include <stdint.h>

#define STRIDE 16        /* synapses between prefetches: two cache lines of weights, one of targets */
#define FURTHER (8 * STRIDE)    /* synapses to what is fetched where the next row isn't known */
#define TARGETS_AHEAD (4 * STRIDE)    /* synapses to the one whose target is fetched, if the cache doesn't hold all targets */

typedef REAL one;
typedef double four __attribute__((vector_size(32), aligned(8)));    /* anywhere in memory */
typedef int64_t mask __attribute__((vector_size(32)));

typedef struct {    /* sums of a neuron at one time, half a cache line */
    double R, A, D;
    REAL arriving;    /* while spikes arrive, instead of Neurons.arriving */
} Cell;

/* ---- formulas ------------------------------------------------------------------------------------------------------- */

/* the gradient since C was made */
#define OWE(T, Z) c = (T)(c - (y * A + (Z)*D));
#define CHARGE(T, Z) c = (T)(c + (y * A + (Z)*D));
/* between Y and ebar = kappa^(u-o) (Y + Z R) */
#define TO_TRACE(T, Z, power, R) y = (T)((power) * (y + (Z) * (R)));
#define FROM_TRACE(T, Z, power, R) y = (T)((power)*y - (Z) * (R));
/* a spike that arrived before enters */
#define ENTER(T, d) y = (T)(y - (d)*R), c = (T)(c + (d) * (D - R * A));
/* one arrival: update the weight, let the spike enter; Z + d = grown */
#define DESCEND(T, Z, d, grown)                                                                                        \
    w = bounded_##T((T)(w - eta * (y * A + (Z)*D - c)), low, high);                                                    \
    y = (T)(y - (d)*R), c = (T)(y * A + (grown)*D);
/* the end of a block */
#define CROSS(T, Z, shrink) OWE(T, Z) TO_TRACE(T, Z, shrink, R)
/* the cutoff is reached: Y becomes ebar, C minus the gradient so far */
#define CLOSE(T, Z, Z_before, power, R_before) OWE(T, Z) TO_TRACE(T, Z_before, power, R_before)
/* one arrival after that */
#define REOPEN(T, Z, Z_before, power, R_before, d)                                                                     \
    w = bounded_##T((T)(w + eta * c), low, high);                                                                      \
    FROM_TRACE(T, Z_before, power, R_before) c = (T)(y * A + (Z)*D);                                                   \
    if (enters) {                                                                                                      \
        ENTER(T, d)                                                                                                    \
    }

static inline one bounded_one(one w, REAL low, REAL high)
{
    w = w > low ? w : low;
    return w < high ? w : high;
}

static inline four bounded_four(four w, double low, double high)
{
    for (int i = 0; i < 4; i++)
        w[i] = w[i] > low ? w[i] : low;
    for (int i = 0; i < 4; i++)
        w[i] = w[i] < high ? w[i] : high;
    return w;
}

/* ---- where the values lie ------------------------------------------------------------------------------------------- */

/* a compiler finds no vectors where the sums of a target lie side by side; here four cells are read and turned */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#endif
#endif
#ifndef MIX
#define MIX(x, y, ...) __builtin_shuffle(x, y, (mask){__VA_ARGS__})
#endif

#define AT_one(pointer) (*(pointer))
#define AT_four(pointer) (*(four *)(pointer))
#define FROM_CELLS_one(cells) const double R = (cells)[target[k]].R, A = (cells)[target[k]].A, D = (cells)[target[k]].D;
#define FROM_CELLS_four(cells)                                                                                         \
    const four cell_0 = AT_four(&(cells)[target[k]]), cell_1 = AT_four(&(cells)[target[k + 1]]);                       \
    const four cell_2 = AT_four(&(cells)[target[k + 2]]), cell_3 = AT_four(&(cells)[target[k + 3]]);                   \
    const four RD_01 = MIX(cell_0, cell_1, 0, 4, 2, 6), RD_23 = MIX(cell_2, cell_3, 0, 4, 2, 6);                       \
    const four A_01 = MIX(cell_0, cell_1, 1, 5, 3, 7), A_23 = MIX(cell_2, cell_3, 1, 5, 3, 7);                         \
    const four R = MIX(RD_01, RD_23, 0, 1, 4, 5), D = MIX(RD_01, RD_23, 2, 3, 6, 7), A = MIX(A_01, A_23, 0, 1, 4, 5);
#define FOUND_one(values) (values)[target[k]]
#define FOUND_four(values)                                                                                             \
    ((four){(values)[target[k]], (values)[target[k + 1]], (values)[target[k + 2]], (values)[target[k + 3]]})
#define ARRIVE_one(cells) (cells)[target[k]].arriving += w;
#define ARRIVE_four(cells)                                                                                             \
    for (int i = 0; i < 4; i++)                                                                                        \
        (cells)[target[k + i]].arriving += w[i];
#define TRACES(T) T y = AT_##T(Y + k), c = AT_##T(C + k);
#define WEIGHT(T) T w = AT_##T(weight + k);
#define KEEP(T) AT_##T(Y + k) = y, AT_##T(C + k) = c;
#define KEEP_WEIGHT(T) AT_##T(weight + k) = w;

/* synapses k..last: fours in double precision, then ones */
#ifdef FOUR_AT_A_TIME
#define SYNAPSES(last, BODY)                                                                                           \
    for (; k + 4 <= (last); k += 4) {                                                                                  \
        BODY(four)                                                                                                     \
    }                                                                                                                  \
    for (; k < (last); k++) {                                                                                          \
        BODY(one)                                                                                                      \
    }
#else
#define SYNAPSES(last, BODY)                                                                                           \
    for (; k < (last); k++) {                                                                                          \
        BODY(one)                                                                                                      \
    }
#endif

static inline void prefetch_line(int64_t k, const uint32_t *target, const REAL *first, const REAL *second,
                                 const REAL *third)
{
    __builtin_prefetch(target + k);
    for (int64_t i = k; i < k + STRIDE; i += 64 / (int64_t)sizeof(REAL)) {
        __builtin_prefetch(first + i);
        __builtin_prefetch(second + i);
        if (third != first)
            __builtin_prefetch(third + i);
    }
}

/* sums of the targets of a stride that comes `far` synapses after k, and at the start of the row of all before it */
static inline void prefetch_cells(int64_t k, int64_t start, int64_t stop, int64_t far, const uint32_t *target,
                                  const Cell *cell)
{
    const int64_t last = k + far + STRIDE < stop ? k + far + STRIDE : stop;
    for (int64_t i = k == start ? k : k + far; i < last; i++)
        __builtin_prefetch(cell + target[i]);
}

/* ---- rows of a sparse block, [start, stop) -------------------------------------------------------------------------- */

/* `ahead`: how much further on a row starts that comes soon; `far`: TARGETS_AHEAD, or 0 where the cache holds all cells */

typedef struct {    /* of the end of a block */
    const Cell *end;    /* sums there; NULL: nothing is crossed */
    double Z;           /* before it */
    double shrink;      /* kappa^B */
} Crossing;

#define CROSSING(T) FROM_CELLS_##T(crossing.end) TRACES(T) CROSS(T, crossing.Z, crossing.shrink) KEEP(T)

static inline void cross(int64_t k, int64_t end, const uint32_t *target, const Crossing crossing, REAL *Y, REAL *C)
{
    if (crossing.end) {
        SYNAPSES(end, CROSSING)
    }
}

static void cross_row(int64_t start, int64_t stop, int64_t far, const uint32_t *target, const Crossing crossing,
                      REAL *Y, REAL *C)
{
    for (int64_t k = start, end; k < stop; k = end) {
        end = k + STRIDE < stop ? k + STRIDE : stop;
        prefetch_line(k + FURTHER, target, Y, C, Y);
        if (far && crossing.end)
            prefetch_cells(k, start, stop, far, target, crossing.end);
        cross(k, end, target, crossing, Y, C);
    }
}

#define ENTERING(T) FROM_CELLS_##T(cell) TRACES(T) ENTER(T, d) KEEP(T)

static void enter_row(int64_t start, int64_t stop, int64_t ahead, int64_t far, const uint32_t *target, double d,
                      const Cell *cell, REAL *Y, REAL *C)
{
    for (int64_t k = start; k < stop;) {
        const int64_t end = k + STRIDE < stop ? k + STRIDE : stop;
        prefetch_line(k + ahead, target, Y, C, Y);
        if (far)
            prefetch_cells(k, start, stop, far, target, cell);
        SYNAPSES(end, ENTERING)
    }
}

#define DESCENDING(T)                                                                                                  \
    FROM_CELLS_##T(cell) TRACES(T) WEIGHT(T) DESCEND(T, Z, d, grown) KEEP_WEIGHT(T) KEEP(T) ARRIVE_##T(cell)

static inline __attribute__((always_inline)) void descend(int64_t start, int64_t stop, int64_t ahead, int64_t far,
                                                          const uint32_t *target, double Z, double d,
                                                          const Crossing crossing, double eta, REAL low, REAL high,
                                                          REAL *weight, REAL *Y, REAL *C, Cell *cell)
{
    const double grown = Z + d;
    for (int64_t k = start; k < stop;) {
        const int64_t end = k + STRIDE < stop ? k + STRIDE : stop;
        prefetch_line(k + ahead, target, weight, Y, C);
        if (far) {
            prefetch_cells(k, start, stop, far, target, cell);
            if (crossing.end)
                prefetch_cells(k, start, stop, far, target, crossing.end);
        }
        cross(k, end, target, crossing, Y, C);
#ifdef FOUR_AT_A_TIME
        SYNAPSES(end, DESCENDING)
#else    /* what is indexed apart from the rest, which then is vectorised: pays here alone */
        double R_of[STRIDE], A_of[STRIDE], D_of[STRIDE];
        const int64_t first = k;
        for (int64_t i = 0; i < end - first; i++) {
            const Cell *at = &cell[target[first + i]];
            R_of[i] = at->R, A_of[i] = at->A, D_of[i] = at->D;
        }
        _Pragma("GCC ivdep") for (k = first; k < end; k++)
        {
            const double R = R_of[k - first], A = A_of[k - first], D = D_of[k - first];
            TRACES(one) WEIGHT(one) DESCEND(one, Z, d, grown) KEEP_WEIGHT(one) KEEP(one)
        }
        for (k = first; k < end; k++)
            cell[target[k]].arriving += weight[k];
#endif
    }
}

/* compiled once for each distance: asked for in each stride, it cost small networks 1 to 5 % */
static void descend_row(int64_t start, int64_t stop, int64_t ahead, int64_t far, const uint32_t *target, double Z,
                        double d, const Crossing crossing, double eta, REAL low, REAL high, REAL *weight, REAL *Y,
                        REAL *C, Cell *cell)
{
    if (far)
        descend(start, stop, ahead, TARGETS_AHEAD, target, Z, d, crossing, eta, low, high, weight, Y, C, cell);
    else
        descend(start, stop, ahead, 0, target, Z, d, crossing, eta, low, high, weight, Y, C, cell);
}

#define CLOSING(T) FROM_CELLS_##T(cell)(void) R; TRACES(T) CLOSE(T, Z, Z_before, power, FOUND_##T(R_of)) KEEP(T)

static void close_row(int64_t start, int64_t stop, int64_t far, const uint32_t *target, double Z, double Z_before,
                      double power, const Crossing crossing, const double *R_of, const Cell *cell, REAL *Y, REAL *C)
{
    for (int64_t k = start; k < stop;) {
        const int64_t end = k + STRIDE < stop ? k + STRIDE : stop;
        prefetch_line(k + FURTHER, target, Y, C, Y);
        if (far) {
            prefetch_cells(k, start, stop, far, target, cell);
            if (crossing.end)
                prefetch_cells(k, start, stop, far, target, crossing.end);
        }
        cross(k, end, target, crossing, Y, C);
        SYNAPSES(end, CLOSING)
    }
}

#define REOPENING(T)                                                                                                   \
    FROM_CELLS_##T(cell) TRACES(T) WEIGHT(T) REOPEN(T, Z, Z_before, power, FOUND_##T(R_of), d) KEEP_WEIGHT(T) KEEP(T)  \
        ARRIVE_##T(cell)

static void reopen_row(int64_t start, int64_t stop, int64_t ahead, int64_t far, const uint32_t *target, double Z,
                       double Z_before, double power, int enters, double d, REAL eta, REAL low, REAL high,
                       const double *R_of, REAL *weight, REAL *Y, REAL *C, Cell *cell)
{
    for (int64_t k = start; k < stop;) {
        const int64_t end = k + STRIDE < stop ? k + STRIDE : stop;
        prefetch_line(k + ahead, target, weight, Y, C);
        if (far)
            prefetch_cells(k, start, stop, far, target, cell);
        SYNAPSES(end, REOPENING)
    }
}

/* ---- the same where sums lie apart: two sets of them, or dense blocks ----------------------------------------------- */

#define EACH_SYNAPSE(...)                                                                                              \
    for (int64_t k = start; k < stop; k++) {                                                                           \
        __VA_ARGS__                                                                                                    \
    }

static inline void enter_apart(int64_t start, int64_t stop, const uint32_t *target, double d, const double *R_of,
                               const double *A_of, const double *D_of, REAL *Y, REAL *C)
{
    EACH_SYNAPSE(const double R = FOUND_one(R_of), A = FOUND_one(A_of), D = FOUND_one(D_of); TRACES(one) ENTER(one, d)
                     KEEP(one))
}

static inline void owe(int64_t start, int64_t stop, const uint32_t *target, double Z, const double *A_of,
                       const double *D_of, const REAL *Y, REAL *C)
{
    EACH_SYNAPSE(const double A = FOUND_one(A_of), D = FOUND_one(D_of); const one y = Y[k]; one c = C[k]; OWE(one, Z)
                     C[k] = c;)
}

static inline void charge(int64_t start, int64_t stop, const uint32_t *target, double Z, const double *A_of,
                          const double *D_of, const REAL *Y, REAL *C)
{
    EACH_SYNAPSE(const double A = FOUND_one(A_of), D = FOUND_one(D_of); const one y = Y[k]; one c = C[k];
                 CHARGE(one, Z) C[k] = c;)
}

static inline void to_trace(int64_t start, int64_t stop, const uint32_t *target, double Z, double power,
                            const double *R_of, REAL *Y)
{
    EACH_SYNAPSE(one y = Y[k]; TO_TRACE(one, Z, power, FOUND_one(R_of)) Y[k] = y;)
}

static inline void from_trace(int64_t start, int64_t stop, const uint32_t *target, double Z, double power,
                              const double *R_of, REAL *Y)
{
    EACH_SYNAPSE(one y = Y[k]; FROM_TRACE(one, Z, power, FOUND_one(R_of)) Y[k] = y;)
}

/* ---- rows of a dense block: targets are neighbours, nothing is indexed, compilers find vectors ---------------------- */

/* rows never overlap, nor do the arrays of targets */
#define EACH_TARGET(...)                                                                                               \
    _Pragma("GCC ivdep") for (int64_t k = 0; k < n; k++)                                                               \
    {                                                                                                                  \
        const double R = R_of[k], A = A_of[k], D = D_of[k];                                                            \
        (void)R;                                                                                                       \
        __VA_ARGS__                                                                                                    \
    }

static inline void close_dense(int64_t n, double Z, double Z_before, double power, const double *R_of,
                               const double *A_of, const double *D_of, REAL *Y, REAL *C)
{
    EACH_TARGET(TRACES(one) CLOSE(one, Z, Z_before, power, R) KEEP(one))
}

static inline void reopen_dense(int64_t n, double Z, double Z_before, double power, int enters, double d, REAL eta,
                                REAL low, REAL high, const double *R_before, const double *R_of, const double *A_of,
                                const double *D_of, REAL *weight, REAL *Y, REAL *C, REAL *arriving)
{
    EACH_TARGET(TRACES(one) WEIGHT(one) REOPEN(one, Z, Z_before, power, R_before[k], d) KEEP_WEIGHT(one) KEEP(one)
                    arriving[k] += w;)
}

/* One, two or four rows with the same targets in one pass, so that what belongs to a target is read and written once. A
   target receives its weights in the order of the rows, whatever their number. */

typedef struct {
    REAL *weight, *Y, *C;
    double Z, d, grown;    /* Z + d */
} Row;

#define ROW(r)                                                                                                         \
    {                                                                                                                  \
        one y = r.Y[k], c = r.C[k], w = r.weight[k];                                                                   \
        DESCEND(one, r.Z, r.d, r.grown)                                                                                \
        r.weight[k] = w, r.Y[k] = y, r.C[k] = c;                                                                       \
        total += w;                                                                                                    \
    }
#define EACH_TOTAL(ROWS)                                                                                               \
    EACH_TARGET(one total = arriving[k]; ROWS arriving[k] = total;)
#define OF_TARGETS                                                                                                     \
    int64_t n, double eta, REAL low, REAL high, const double *R_of, const double *A_of, const double *D_of,            \
        REAL *arriving

static void descend_one(OF_TARGETS, const Row first)
{
    EACH_TOTAL(ROW(first))
}

static void descend_two(OF_TARGETS, const Row first, const Row second)
{
    EACH_TOTAL(ROW(first) ROW(second))
}

static void descend_four(OF_TARGETS, const Row first, const Row second, const Row third, const Row fourth)
{
    EACH_TOTAL(ROW(first) ROW(second) ROW(third) ROW(fourth))
}

/* ---- sums ----------------------------------------------------------------------------------------------------------- */

static void fill_cells(int64_t n, const double *R, const double *A, const double *D, const REAL *arriving, Cell *cell)
{
    int64_t j = 0;
#ifdef FOUR_AT_A_TIME
    for (; j + 4 <= n; j += 4) {
        const four r = *(const four *)(R + j), a = *(const four *)(A + j), d = *(const four *)(D + j);
        const four x = *(const four *)(arriving + j);
        const four ra_02 = MIX(r, a, 0, 4, 2, 6), ra_13 = MIX(r, a, 1, 5, 3, 7);
        const four dx_02 = MIX(d, x, 0, 4, 2, 6), dx_13 = MIX(d, x, 1, 5, 3, 7);
        AT_four(cell + j) = MIX(ra_02, dx_02, 0, 1, 4, 5);
        AT_four(cell + j + 1) = MIX(ra_13, dx_13, 0, 1, 4, 5);
        AT_four(cell + j + 2) = MIX(ra_02, dx_02, 2, 3, 6, 7);
        AT_four(cell + j + 3) = MIX(ra_13, dx_13, 2, 3, 6, 7);
    }
#endif
    for (; j < n; j++)
        cell[j] = (Cell){R[j], A[j], D[j], arriving[j]};
}
