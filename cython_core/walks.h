/* Walks through synapses (see delivery.pxd): of a source whose delays differ, a stride at a time; of many sources with few
   synapses each; and the list of the neurons that spike. Functions of their own: as a part of a longer one they would keep
   their counters in memory. */

#ifndef WALKS_H
#define WALKS_H
#include <stdint.h>

#define APART static __attribute__((noinline))

#define FETCH(values, place)                                                                                           \
    __builtin_prefetch((values) + (place));                                                                            \
    __builtin_prefetch((values) + (place) + STRIDE / 2);

/* the strides [k, stop) of synapses: BODY for each of them, after what comes soon is fetched */
#define STRIDES(k, stop, ahead, target, values, BODY)                                                                  \
    STRIDES_OF(k, stop, FETCH(values, k + (ahead)) __builtin_prefetch((target) + k + (ahead));, BODY)
#define STRIDES_OF(k, stop, FETCHES, BODY)                                                                             \
    for (; k < (stop);) {                                                                                              \
        FETCHES                                                                                                        \
        if (k + STRIDE <= (stop)) {                                                                                    \
            for (int i = 0; i < STRIDE; i++) {                                                                         \
                BODY(k + i)                                                                                            \
            }                                                                                                          \
            k += STRIDE;                                                                                               \
        } else                                                                                                         \
            for (; k < (stop); k++) {                                                                                  \
                BODY(k)                                                                                                \
            }                                                                                                          \
    }

/* `offset`: of each synapse from `start` on; `at`: of all */
#define WALKS(T)                                                                                                       \
    APART void spread_each_##T(int64_t start, int64_t stop, int64_t ahead, const uint32_t *target,                     \
                               const uint32_t *offset, const T *restrict weight, T *restrict total)                    \
    {                                                                                                                  \
        int64_t k = start;                                                                                             \
        offset -= start;                                                                                               \
        STRIDES(k, stop, ahead, target, weight, SPREAD_EACH)                                                           \
    }                                                                                                                  \
    APART void spread_row_##T(int64_t start, int64_t stop, int64_t ahead, const uint32_t *target,                      \
                              const T *restrict weight, T *restrict total)                                             \
    {                                                                                                                  \
        int64_t k = start;                                                                                             \
        STRIDES(k, stop, ahead, target, weight, SPREAD)                                                                \
    }                                                                                                                  \
    APART void credit_each_##T(int64_t start, int64_t stop, int64_t ahead, const uint32_t *target,                     \
                               const uint32_t *offset, const T *restrict coefficient, T scale, T *restrict gradient)   \
    {                                                                                                                  \
        int64_t k = start;                                                                                             \
        offset -= start;                                                                                               \
        STRIDES(k, stop, ahead, target, gradient, CREDIT_EACH)                                                         \
    }                                                                                                                  \
    APART void credit_row_##T(int64_t start, int64_t stop, int64_t ahead, const uint32_t *target,                      \
                              const T *restrict coefficient, T scale, T *restrict gradient)                            \
    {                                                                                                                  \
        int64_t k = start;                                                                                             \
        STRIDES(k, stop, ahead, target, gradient, CREDIT)                                                              \
    }                                                                                                                  \
    APART void credit_delays_each_##T(int64_t start, int64_t stop, int64_t ahead, const uint32_t *target,              \
                                      const uint32_t *offset, const T *restrict coefficient, T scale,                  \
                                      T *restrict gradient, int64_t step, T *restrict by_delay)                        \
    {                                                                                                                  \
        int64_t k = start;                                                                                             \
        const T *before = coefficient - step, *after = coefficient + step;                                             \
        offset -= start;                                                                                               \
        STRIDES_OF(k, stop, FETCH_BOTH(k + ahead), CREDIT_DELAYS_EACH)                                                 \
    }                                                                                                                  \
    APART void credit_delays_row_##T(int64_t start, int64_t stop, int64_t ahead, const uint32_t *target,               \
                                     const T *restrict coefficient, T scale, T *restrict gradient, int64_t step,       \
                                     T *restrict by_delay)                                                             \
    {                                                                                                                  \
        int64_t k = start;                                                                                             \
        const T *before = coefficient - step, *after = coefficient + step;                                             \
        STRIDES_OF(k, stop, FETCH_BOTH(k + ahead), CREDIT_DELAYS)                                                      \
    }

#define SPREAD_EACH(k) total[target[k] + offset[k]] += weight[k];
#define SPREAD(k) total[target[k]] += weight[k];
#define CREDIT_EACH(k) gradient[k] += scale * coefficient[target[k] + offset[k]];
#define CREDIT(k) gradient[k] += scale * coefficient[target[k]];
/* and by_delay: what the arrival would add a step later, less a step earlier */
#define FETCH_BOTH(place) FETCH(gradient, place) FETCH(by_delay, place) __builtin_prefetch(target + (place));
#define CREDIT_DELAYS_EACH(k)                                                                                          \
    gradient[k] += scale * coefficient[target[k] + offset[k]];                                                         \
    by_delay[k] += after[target[k] + offset[k]] - before[target[k] + offset[k]];
#define CREDIT_DELAYS(k)                                                                                               \
    gradient[k] += scale * coefficient[target[k]];                                                                     \
    by_delay[k] += after[target[k]] - before[target[k]];

/* Rows of few synapses, one for each of n ids, `apart` rows from one id to the next: `row_ptr` begins with that of id 0.
   The first `fetched` of them are fetched ahead: where they begin, then their first and last synapses. */
#define ROWS(T)                                                                                                        \
    APART void spread_rows_##T(int64_t n, int64_t fetched, const uint32_t *ids, int64_t apart, const int64_t *row_ptr, \
                               const uint32_t *target, const T *restrict weight, T *restrict total)                    \
    {                                                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const int64_t *row = row_ptr + ids[i] * apart, stop = row[1];                                              \
            FETCH_ROWS(weight)                                                                                         \
            for (int64_t k = row[0]; k < stop; k++)                                                                    \
                SPREAD(k)                                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    /* a source counts once; with each row `each` cache lines of [next, end) are fetched; return where that ended */   \
    APART const char *credit_rows_##T(int64_t n, int64_t fetched, const uint32_t *ids, int64_t apart,                  \
                                      const int64_t *row_ptr, const uint32_t *target, const T *coefficient, T scale,   \
                                      T *gradient, const char *next, const char *end, int64_t each)                    \
    {                                                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const int64_t *row = row_ptr + ids[i] * apart, stop = row[1];                                              \
            FETCH_ROWS(gradient)                                                                                       \
            for (int64_t k = 0; k < each && next < end; k++, next += LINE_BYTES)                                       \
                __builtin_prefetch(next);                                                                              \
            for (int64_t k = i && ids[i] == ids[i - 1] ? stop : row[0]; k < stop; k++)                                 \
                CREDIT(k)                                                                                              \
        }                                                                                                              \
        return next;                                                                                                   \
    }

enum { ROWS_AWAY = 16, LINE_BYTES = 64 };
#define FETCH_ROWS(values)                                                                                             \
    if (i + ROWS_AWAY < fetched) {                                                                                     \
        const int64_t *later = row_ptr + ids[i + ROWS_AWAY] * apart;                                                   \
        __builtin_prefetch(target + later[0]);                                                                         \
        __builtin_prefetch(target + later[1] - 1);                                                                     \
        __builtin_prefetch((values) + later[0]);                                                                       \
        __builtin_prefetch((values) + later[1] - 1);                                                                   \
    }                                                                                                                  \
    if (i + 2 * ROWS_AWAY < fetched)                                                                                   \
        __builtin_prefetch(row_ptr + ids[i + 2 * ROWS_AWAY] * apart);

/* The ids of all z that are not 0, ascending, counted from `first`; return how many. As many at once as z has bits, by
   vectors of any width. */
#define LISTS(T, BITS)                                                                                                 \
    APART int64_t list_spikes_##T(int64_t n, uint32_t first, const T *z, uint32_t *ids)                                \
    {                                                                                                                  \
        enum { AT_ONCE = 8 * sizeof(T) };                                                                              \
        int64_t j = 0, count = 0;                                                                                      \
        BITS bit[AT_ONCE];                                                                                             \
        for (int i = 0; i < AT_ONCE; i++)                                                                              \
            bit[i] = (BITS)1 << i;                                                                                     \
        for (; j + AT_ONCE <= n; j += AT_ONCE) {                                                                       \
            BITS fired = 0;                                                                                            \
            for (int i = 0; i < AT_ONCE; i++)                                                                          \
                fired |= z[j + i] != 0 ? bit[i] : 0;                                                                   \
            for (; fired; fired &= fired - 1)                                                                          \
                ids[count++] = first + (uint32_t)j + (uint32_t)__builtin_ctzll(fired);                                 \
        }                                                                                                              \
        for (; j < n; j++) {                                                                                           \
            ids[count] = first + (uint32_t)j;                                                                          \
            count += z[j] != 0;                                                                                        \
        }                                                                                                              \
        return count;                                                                                                  \
    }

WALKS(float)
WALKS(double)
ROWS(float)
ROWS(double)
LISTS(float, uint32_t)
LISTS(double, uint64_t)
#endif
