/* An optimizer that steps in each time step: the synapses of a vector take all steps of a window, so that their state
   stays in registers. Formulas and bits as in window_steps.pxd and optimizer_steps.h. Root and division limit a step of
   Adam if its inputs from targets are close in memory: the history of a target is stored in cache lines, each with
   psi of some steps, then L of the same steps. Vectors are from packs.h, which formulas.h includes. */

enum { OF_LINE = 64 / sizeof(REAL), LINE_STEPS = OF_LINE / 2 };    /* numbers of a line; its steps */
enum { VECTORS = sizeof(REAL) == 8 ? 2 : 1 };                      /* processed together */

static ALWAYS_INLINE side_lanes load_side(const REAL *from, int64_t count)
{
    if (count == SIDE)
        return *(const side_lanes *)from;
    side_lanes x = {0};
    for (int64_t i = 0; i < count; i++)
        x[i] = from[i];
    return x;
}

static ALWAYS_INLINE void store_side(REAL *to, side_lanes x, int64_t count)
{
    if (count == SIDE)
        *(side_lanes *)to = x;
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = x[i];
}

static ALWAYS_INLINE side_lanes gather_side(const REAL *from, const uint32_t *target)
{
    REAL found[SIDE];
    for (int i = 0; i < SIDE; i++)
        found[i] = from[target[i]];
    return *(const side_lanes *)found;
}

/* Loops over arrays that are not unrolled, else some compilers split vectors. */
static ALWAYS_INLINE side_lanes root_side(side_lanes x)
{
    REAL of[SIDE], root[SIDE];
    *(side_lanes *)of = x;
#pragma GCC unroll 1
    for (int i = 0; i < SIDE; i++)
        root[i] = sizeof(REAL) == 8 ? (REAL)__builtin_sqrt(of[i]) : (REAL)__builtin_sqrtf((float)of[i]);
    return *(const side_lanes *)root;
}

static ALWAYS_INLINE side_lanes bounded_side(side_lanes x, side_lanes lowest, side_lanes highest)
{
    REAL of[SIDE], low[SIDE], high[SIDE], bounded[SIDE];
    *(side_lanes *)of = x, *(side_lanes *)low = lowest, *(side_lanes *)high = highest;
#pragma GCC unroll 1
    for (int i = 0; i < SIDE; i++) {
        const REAL raised = of[i] > low[i] ? of[i] : low[i];
        bounded[i] = raised < high[i] ? raised : high[i];
    }
    return *(const side_lanes *)bounded;
}

/* Processors take a hundred times as long for subnormal numbers, such as squares of decayed traces in single precision;
   gradients below `least` are dropped here (`Optimizer.negligible`). */
static ALWAYS_INLINE side_lanes above(side_lanes g, REAL least)
{
    if (sizeof(REAL) == 8)
        return g;
    const side_lanes zero = {0};
    return (side_lanes)((__typeof__(g > zero))g & ((g > least) | (g < -least)));
}

#define SIDES
#include "optimizer_steps.h"

typedef struct {
    int64_t first, n, n_blocks, n_targets;  /* steps; of the ring of lines: its length and width */
    const REAL *lines;
    const double *traces;                   /* (n,) zbar of the source; or entering spikes if synapses have zbar */
    const REAL *moving;                     /* (n, MOST_MOVING), NULL: no optimizer step, the gradient waits */
    Optimized of;
    REAL kappa;
    const REAL *alpha, *rho, *beta;         /* of the targets */
    const uint32_t *target;
    REAL *Y, *zbar, *eps;                   /* NULL: one zbar for all, no adaptation */
} LineWindow;

static ALWAYS_INLINE void fetch_lines(const REAL *lines, const uint32_t *target)
{
    for (int i = 0; i < SIDE; i++)
        __builtin_prefetch(lines + OF_LINE * (int64_t)target[i]);
}

/* prefetch for vectors from synapse k on */
static ALWAYS_INLINE void fetch_first(const int kind, const int own, const int adaptive, const LineWindow *of, int64_t k)
{
    const REAL *lines = of->lines + OF_LINE * of->n_targets * (of->first / LINE_STEPS % of->n_blocks);
    for (int h = 0; h < VECTORS; h++) {
        const int64_t at = k + SIDE * h;
        fetch_lines(lines, of->target + at);
        __builtin_prefetch(of->Y + at);
        __builtin_prefetch(of->of.gradient + at), __builtin_prefetch(of->of.weight + at);
        for (int j = 0; j < KEPT_OF(kind); j++)
            __builtin_prefetch(of->of.kept[j] + at);
        if (own)
            __builtin_prefetch(of->zbar + at);
        if (adaptive)
            __builtin_prefetch(of->eps + at);
    }
}

static ALWAYS_INLINE void line_vectors(const int kind, const int vectors, const int own, const int adaptive,
                                       const LineWindow *of, int64_t k, const uint32_t *target, int64_t count)
{
    side_lanes y[VECTORS], c[VECTORS], x[VECTORS][MOST_KEPT], w[VECTORS], z[VECTORS], a[VECTORS];
    side_lanes alpha[VECTORS], rho[VECTORS], beta[VECTORS];
    const side_lanes zero = {0}, low = zero + of->of.low, high = zero + of->of.high;
    const int64_t width = OF_LINE * of->n_targets;
    int64_t place = of->first / LINE_STEPS % of->n_blocks, from = of->first % LINE_STEPS;
#pragma GCC unroll 2
    for (int h = 0; h < vectors; h++) {
        const int64_t at = k + SIDE * h;
        y[h] = load_side(of->Y + at, count), c[h] = load_side(of->of.gradient + at, count);
        w[h] = load_side(of->of.weight + at, count);
        for (int j = 0; j < KEPT_OF(kind); j++)
            x[h][j] = load_side(of->of.kept[j] + at, count);
        if (own)
            z[h] = load_side(of->zbar + at, count), alpha[h] = gather_side(of->alpha, target + SIDE * h);
        if (adaptive) {
            a[h] = load_side(of->eps + at, count);
            rho[h] = gather_side(of->rho, target + SIDE * h), beta[h] = gather_side(of->beta, target + SIDE * h);
        }
    }
    for (int64_t i = 0, to; i < of->n; i = to) {
        side_lanes line[VECTORS][OF_LINE];
        const int64_t following = place + 1 < of->n_blocks ? place + 1 : 0;
        to = i + LINE_STEPS - from < of->n ? i + LINE_STEPS - from : of->n;
#pragma GCC unroll 2
        for (int h = 0; h < vectors; h++) {
            if (to < of->n)
                fetch_lines(of->lines + width * following, target + SIDE * h);
            read_sides(of->lines + width * place, target + SIDE * h, line[h]);
        }
        for (int64_t j = i; j < to; j++) {
            const int64_t s = from + j - i;
#pragma GCC unroll 2
            for (int h = 0; h < vectors; h++) {
                side_lanes e;
                if (own)
                    e = z[h] = alpha[h] * z[h] + (REAL)of->traces[j];
                else
                    e = zero + (REAL)of->traces[j];
                if (adaptive) {
                    e = line[h][s] * (e - beta[h] * a[h]);
                    a[h] = rho[h] * a[h] + e;
                } else
                    e = line[h][s] * e;
                y[h] = of->kappa * y[h] + e;
                c[h] = c[h] - line[h][LINE_STEPS + s] * y[h];
                if (!of->moving)
                    continue;
                step_side(kind, of->of.fixed, of->moving + MOST_MOVING * j, zero - c[h], x[h], &w[h]);
                w[h] = bounded_side(w[h], low, high);
                c[h] = zero;
            }
        }
        place = following, from = 0;
    }
#pragma GCC unroll 2
    for (int h = 0; h < vectors; h++) {
        const int64_t at = k + SIDE * h;
        store_side(of->Y + at, y[h], count), store_side(of->of.gradient + at, c[h], count);
        store_side(of->of.weight + at, w[h], count);
        for (int j = 0; j < KEPT_OF(kind); j++)
            store_side(of->of.kept[j] + at, x[h][j], count);
        if (own)
            store_side(of->zbar + at, z[h], count);
        if (adaptive)
            store_side(of->eps + at, a[h], count);
    }
}

static ALWAYS_INLINE void line_row(const int kind, const int own, const int adaptive, const LineWindow *of_, int64_t start,
                                   int64_t stop)
{
    const LineWindow of = *of_;    /* nothing that is written can be in this copy */
    int64_t k = start;
    for (; k + VECTORS * SIDE <= stop; k += VECTORS * SIDE) {
        if (k + 2 * VECTORS * SIDE <= stop)
            fetch_first(kind, own, adaptive, &of, k + VECTORS * SIDE);
        line_vectors(kind, VECTORS, own, adaptive, &of, k, of.target + k, SIDE);
    }
    for (; VECTORS > 1 && k + SIDE <= stop; k += SIDE)
        line_vectors(kind, 1, own, adaptive, &of, k, of.target + k, SIDE);
    if (k < stop) {
        uint32_t some[SIDE];
        for (int64_t i = 0; i < SIDE; i++)
            some[i] = of.target[k + i < stop ? k + i : stop - 1];
        line_vectors(kind, 1, own, adaptive, &of, k, some, stop - k);
    }
}

static ALWAYS_INLINE void line_row_of(const int kind, const LineWindow *of, int64_t start, int64_t stop)
{
    if (of->zbar && of->eps)
        line_row(kind, 1, 1, of, start, stop);
    else if (of->zbar)
        line_row(kind, 1, 0, of, start, stop);
    else if (of->eps)
        line_row(kind, 0, 1, of, start, stop);
    else
        line_row(kind, 0, 0, of, start, stop);
}

static void line_window(const LineWindow *of, int64_t start, int64_t stop)
{
#define CASE(kind)                                                                                                     \
    case kind:                                                                                                         \
        line_row_of(kind, of, start, stop);                                                                            \
        break;
    switch (of->of.kind) {
        EACH_KEEPING(CASE)
    }
#undef CASE
}

/* psi and L of step u */
static void keep_lines(int64_t u, int64_t n_blocks, int64_t n, const REAL *psi, const REAL *L, REAL *lines)
{
    REAL *at = lines + u / LINE_STEPS % n_blocks * n * OF_LINE + u % LINE_STEPS;
    for (int64_t j = 0; j < n; j++)
        at[OF_LINE * j] = psi[j], at[OF_LINE * j + LINE_STEPS] = L[j];
}

/* Add rate_i times each column of powers, over n steps. Otherwise compilers transpose the table and add one by one. */
static void add_idle(int64_t n, const double *rate, const double *powers, double *sums)
{
    lanes sum[SERIES_COLUMNS / LANES];
    for (int k = 0; k < SERIES_COLUMNS / LANES; k++)
        sum[k] = load_doubles(sums + LANES * k, LANES);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < SERIES_COLUMNS / LANES; k++)
            sum[k] += rate[i] * load_doubles(powers + SERIES_COLUMNS * i + LANES * k, LANES);
    for (int k = 0; k < SERIES_COLUMNS / LANES; k++)
        store_doubles(sums + LANES * k, sum[k], LANES);
}
