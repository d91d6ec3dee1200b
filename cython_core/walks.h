/* Synapses of a source whose delays differ, a stride at a time (see delivery.pxd). Functions of their own: as a part of a
   longer one they would keep their counters in memory. */

#ifndef WALKS_H
#define WALKS_H
#include <stdint.h>

#define APART static __attribute__((noinline))

/* the strides [k, stop) of synapses: BODY for each of them, after what comes soon is fetched */
#define STRIDES(k, stop, ahead, target, values, BODY)                                                                  \
    for (; k < (stop);) {                                                                                              \
        __builtin_prefetch((values) + k + (ahead));                                                                    \
        __builtin_prefetch((values) + k + (ahead) + STRIDE / 2);                                                       \
        __builtin_prefetch((target) + k + (ahead));                                                                    \
        if (k + STRIDE <= (stop)) {                                                                                    \
            for (int i = 0; i < STRIDE; i++)                                                                           \
                BODY(k + i)                                                                                            \
            k += STRIDE;                                                                                               \
        } else                                                                                                         \
            for (; k < (stop); k++)                                                                                    \
                BODY(k)                                                                                                \
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
    }

#define SPREAD_EACH(k) total[target[k] + offset[k]] += weight[k];
#define SPREAD(k) total[target[k]] += weight[k];
#define CREDIT_EACH(k) gradient[k] += scale * coefficient[target[k] + offset[k]];
#define CREDIT(k) gradient[k] += scale * coefficient[target[k]];

WALKS(float)
WALKS(double)
#endif
