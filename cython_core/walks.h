/* Loops over synapses (see delivery.pxi): of a source with several delays, a stride at a time; of many sources with
   short rows; and the list of neurons that spike. Separate functions: inlined, they would keep counters in memory. */

#include <stdint.h>

#ifdef IN_DOUBLE
typedef uint64_t Fired;    /* a bit per neuron, for as many neurons as a REAL has bits */
#else
typedef uint32_t Fired;
#endif

#define APART static __attribute__((noinline, unused))

enum { STRIDE = 16, AT_ONCE = 16, OFFSETS = 512 };

typedef struct {
    int64_t start, stop, ahead;
    const uint32_t *target, *offset;
} Stretch;

typedef struct {
    int64_t first, last;
    const uint32_t *at;
    int is_long;
    int64_t later, number, delay, row;
    Stretch part;
    int64_t shift;
    _Alignas(64) uint32_t offset[OFFSETS + AT_ONCE];    /* whole lines of the cache */
} Walk;

typedef struct {
    int64_t n, fetched;
    const uint32_t *ids;
    int64_t apart;
    const int64_t *row_ptr;
    const uint32_t *target;
} ShortRows;

/* increments of an arrival: to gradients of weights, by target; to gradients of delays the coefficient one step later,
   `step` numbers ahead, minus the coefficient one step earlier */
typedef struct {
    const REAL *coefficient;
    REAL scale;
    int64_t step;
    REAL *by_delay;    /* by synapse index, or NULL */
} Credits;

#define FETCH(values, place)                                                                                           \
    __builtin_prefetch((values) + (place));                                                                            \
    __builtin_prefetch((values) + (place) + STRIDE / 2);

/* BODY for each synapse of a stretch, with prefetches */
#define STRIDES(values, BODY) STRIDES_OF(FETCH(values, k + ahead), BODY)
#define STRIDES_OF(FETCHES, BODY)                                                                                      \
    const uint32_t *const target = of->target;                                                                         \
    const int64_t stop = of->stop, ahead = of->ahead;                                                                  \
    for (int64_t k = of->start; k < stop;) {                                                                           \
        FETCHES                                                                                                        \
        __builtin_prefetch(target + k + ahead);                                                                        \
        if (k + STRIDE <= stop) {                                                                                      \
            for (int i = 0; i < STRIDE; i++) {                                                                         \
                BODY(k + i)                                                                                            \
            }                                                                                                          \
            k += STRIDE;                                                                                               \
        } else                                                                                                         \
            for (; k < stop; k++) {                                                                                    \
                BODY(k)                                                                                                \
            }                                                                                                          \
    }

#define SPREAD(k) total[target[k]] += weight[k];
#define SPREAD_EACH(k) total[target[k] + offset[k]] += weight[k];
#define CREDIT(k) gradient[k] += scale * coefficient[target[k]];
#define CREDIT_EACH(k) gradient[k] += scale * coefficient[target[k] + offset[k]];
#define CREDIT_DELAYS(k)                                                                                               \
    CREDIT(k)                                                                                                          \
    by_delay[k] += after[target[k]] - before[target[k]];
#define CREDIT_DELAYS_EACH(k)                                                                                          \
    CREDIT_EACH(k)                                                                                                     \
    by_delay[k] += after[target[k] + offset[k]] - before[target[k] + offset[k]];

APART void spread_row(const Stretch *of, const REAL *restrict weight, REAL *restrict total)
{
    STRIDES(weight, SPREAD)
}

APART void spread_each(const Stretch *of, const REAL *restrict weight, REAL *restrict total)
{
    const uint32_t *const offset = of->offset - of->start;
    STRIDES(weight, SPREAD_EACH)
}

static inline void spread_stretch(const Stretch *of, const REAL *weight, REAL *total)
{
    if (of->offset)
        spread_each(of, weight, total);
    else
        spread_row(of, weight, total);
}

/* gradients; `shift` applies to all targets */
#define CREDITS                                                                                                        \
    const REAL *restrict coefficient = by->coefficient + shift;                                                        \
    const REAL scale = by->scale;
#define BY_DELAYS                                                                                                      \
    const REAL *before = coefficient - by->step, *after = coefficient + by->step;                                      \
    REAL *restrict by_delay = by->by_delay;
#define FETCH_BOTH FETCH(gradient, k + ahead) FETCH(by_delay, k + ahead)

APART void credit_row(const Stretch *of, const Credits *by, int64_t shift, REAL *restrict gradient)
{
    CREDITS
    STRIDES(gradient, CREDIT)
}

APART void credit_each(const Stretch *of, const Credits *by, int64_t shift, REAL *restrict gradient)
{
    const uint32_t *const offset = of->offset - of->start;
    CREDITS
    STRIDES(gradient, CREDIT_EACH)
}

APART void credit_delays_row(const Stretch *of, const Credits *by, int64_t shift, REAL *restrict gradient)
{
    CREDITS
    BY_DELAYS
    STRIDES_OF(FETCH_BOTH, CREDIT_DELAYS)
}

APART void credit_delays_each(const Stretch *of, const Credits *by, int64_t shift, REAL *restrict gradient)
{
    const uint32_t *const offset = of->offset - of->start;
    CREDITS
    BY_DELAYS
    STRIDES_OF(FETCH_BOTH, CREDIT_DELAYS_EACH)
}

static inline void credit_stretch(const Stretch *of, const Credits *by, int64_t shift, REAL *gradient)
{
    if (by->by_delay && of->offset)
        credit_delays_each(of, by, shift, gradient);
    else if (by->by_delay)
        credit_delays_row(of, by, shift, gradient);
    else if (of->offset)
        credit_each(of, by, shift, gradient);
    else
        credit_row(of, by, shift, gradient);
}

/* Short rows, one for each of n ids, `apart` rows from one id to the next; `row_ptr` begins with the row of id 0.
   The first `fetched` rows are prefetched: their starts, then their first and last synapses. */
enum { ROWS_AWAY = 16, LINE_BYTES = 64 };
#define ROWS(values, FETCHES, FIRST, BODY)                                                                             \
    const int64_t n = of->n, fetched = of->fetched, apart = of->apart;                                                 \
    const uint32_t *const ids = of->ids, *const target = of->target;                                                   \
    const int64_t *const row_ptr = of->row_ptr;                                                                        \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        const int64_t *row = row_ptr + ids[i] * apart, stop = row[1];                                                  \
        if (i + ROWS_AWAY < fetched) {                                                                                 \
            const int64_t *later = row_ptr + ids[i + ROWS_AWAY] * apart;                                               \
            __builtin_prefetch(target + later[0]);                                                                     \
            __builtin_prefetch(target + later[1] - 1);                                                                 \
            __builtin_prefetch((values) + later[0]);                                                                   \
            __builtin_prefetch((values) + later[1] - 1);                                                               \
        }                                                                                                              \
        if (i + 2 * ROWS_AWAY < fetched)                                                                               \
            __builtin_prefetch(row_ptr + ids[i + 2 * ROWS_AWAY] * apart);                                              \
        FETCHES                                                                                                        \
        for (int64_t k = FIRST; k < stop; k++)                                                                         \
            BODY(k)                                                                                                    \
    }

APART void spread_rows(const ShortRows *of, const REAL *restrict weight, REAL *restrict total)
{
    ROWS(weight, , row[0], SPREAD)
}

/* coefficients of a later step, which its spikes read at scattered places */
typedef struct {
    const char *next, *end;
    int64_t each;
} Coming;

/* a source counts once; each row prefetches some cache lines of `coming` */
APART void credit_rows(const ShortRows *of, const Credits *by, Coming *coming, REAL *gradient)
{
    const int64_t each = coming->each, shift = 0;
    const char *next = coming->next, *const end = coming->end;
    CREDITS
    ROWS(gradient, for (int64_t j = 0; j < each && next < end; j++, next += LINE_BYTES) __builtin_prefetch(next);,
         i && ids[i] == ids[i - 1] ? stop : row[0], CREDIT)
    coming->next = next;
}

/* Write the ids of all nonzero z, ascending, counted from `first`; return how many. As many at once as a REAL has bits,
   by vectors of any width. */
APART int64_t list_spikes(int64_t n, uint32_t first, const REAL *z, uint32_t *ids)
{
    enum { ALL = 8 * sizeof(REAL) };
    int64_t j = 0, count = 0;
    Fired bit[ALL];
    for (int i = 0; i < ALL; i++)
        bit[i] = (Fired)1 << i;
    for (; j + ALL <= n; j += ALL) {
        Fired fired = 0;
        for (int i = 0; i < ALL; i++)
            fired |= z[j + i] != 0 ? bit[i] : 0;
        for (; fired; fired &= fired - 1)
            ids[count++] = first + (uint32_t)j + (uint32_t)__builtin_ctzll(fired);
    }
    for (; j < n; j++) {
        ids[count] = first + (uint32_t)j;
        count += z[j] != 0;
    }
    return count;
}
