/* Synapses of a source whose delays differ, a stride at a time (see delivery.pxd). Functions of their own: as a part of a
   longer one they would keep their counters in memory. */

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

WALKS(float)
WALKS(double)
#endif
