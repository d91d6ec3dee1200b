/* What a spike that learns has to read and write, and what steps of neurons do, without the mathematics: see paths.py. */

#include <stdint.h>

#ifndef REAL
#define REAL double
#endif

#ifndef HALVES
#define HALVES 2    /* of a cache line, at a place of a target */
#endif

typedef double half __attribute__((vector_size(32), aligned(8)));    /* a cache line */

/* Rows of `width` synapses in the given order, one more than there are: k arrays of n synapses are read and written, and
   of each target `places` are read, and a number is changed where `delivers`. */
void pass(int64_t n_rows, int64_t width, const int64_t *order, const uint32_t *target, int64_t n, int64_t k, REAL *values,
          int64_t n_targets, int64_t places, const half *of_targets, int64_t delivers, REAL *arriving)
{
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t start = order[r] * width, ahead = order[r + 1] * width - start;
        for (int64_t i = start; i < start + width; i += 8) {
            const int64_t count = start + width - i < 8 ? start + width - i : 8;
            half sum = {0};
            __builtin_prefetch(target + i + ahead);
            for (int64_t a = 0; a < k; a++)
                __builtin_prefetch(values + a * n + i + ahead);
            for (int64_t l = 0; l < places; l++)
                for (int64_t j = 0; j < count; j++)
                    for (int64_t h = 0; h < HALVES; h++)
                        sum += of_targets[HALVES * (l * n_targets + target[i + j]) + h];
            for (int64_t a = 0; a < k; a++)
                for (int64_t j = 0; j < count; j++)
                    values[a * n + i + j] += (REAL)sum[0];
            for (int64_t j = 0; delivers && j < count; j++)
                arriving[target[i + j]] += values[i + j];
        }
    }
}

/* Steps of n neurons, eight at a time: in each `streams` arrays of numbers and `places` of each neuron are read and written,
   and with the last one `late` places more. */
void keep(int64_t n, int64_t steps, int64_t streams, REAL *values, int64_t places, int64_t late, half *of_neurons)
{
    for (int64_t t = 0; t < steps; t++)
        for (int64_t j = 0; j + 8 <= n; j += 8) {
            REAL sum[8] = {0};
            for (int64_t a = 0; a < streams; a++)
                for (int64_t i = 0; i < 8; i++)
                    sum[i] = values[a * n + j + i] += sum[i];
            for (int64_t l = 0; l < places + (t == steps - 1 ? late : 0); l++)
                for (int64_t i = 0; i < 8; i++)
                    for (int64_t h = 0; h < HALVES; h++)
                        of_neurons[HALVES * (l * n + j + i) + h] += (double)sum[i];
        }
}
