/* Eight neurons or synapses at a time: vectors of the compiler, the same bits as one after the other.

   Kept numbers are REAL, computed ones double. The text stands in every generated neuron model, too, once for each precision;
   what does not depend on it only once. */

#ifndef LANES
#include <stdint.h>
#ifndef ALWAYS_INLINE
#define ALWAYS_INLINE inline __attribute__((always_inline))
#endif
#define LANES 8
typedef double lanes __attribute__((vector_size(64), aligned(8)));
typedef int64_t lane_order __attribute__((vector_size(64)));
typedef double two_lanes __attribute__((vector_size(16), aligned(8)));
typedef double four_lanes __attribute__((vector_size(32), aligned(8)));

/* elements of two vectors; `order` is a vector of as many integers */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLED(order, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#define WIDENS    /* as a longer vector, too */
#endif
#endif
#ifndef SHUFFLED
#define SHUFFLED(order, x, y, ...) __builtin_shuffle(x, y, (order){__VA_ARGS__})
#endif
#define ORDER(x, y, ...) SHUFFLED(lane_order, x, y, __VA_ARGS__)

typedef struct {    /* of eight synapses */
    const uint32_t *target;
    int beside;                       /* the targets are neighbours */
} Targets8;

/* GCC 12 would convert two floats at a time. Kernels alone include the header: each generated model would take a tenth of a
   second longer to compile. */
#if defined(__AVX512F__) && defined(Py_PYTHON_H)
#define WIDENS_FLOATS
#include <immintrin.h>
static ALWAYS_INLINE lanes widen_floats(const void *from) { return (lanes)_mm512_cvtps_pd(_mm256_loadu_ps(from)); }
#endif

static ALWAYS_INLINE lanes all_lanes(double x) { return (lanes){x, x, x, x, x, x, x, x}; }

static ALWAYS_INLINE lanes where(lane_order mask, lanes x, lanes y)
{
    return (lanes)((mask & (lane_order)x) | (~mask & (lane_order)y));
}

static ALWAYS_INLINE lanes power_lanes(lanes x, int64_t n)
{
    lanes power = all_lanes(1.0);
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1)
            power *= x;
    return power;
}

/* eight cache lines of eight numbers, turned: afterwards line[f] has number f of all */
static ALWAYS_INLINE void turn(lanes *line)
{
    lanes half[8], quarter[8];
    for (int i = 0; i < 8; i += 2) {
        half[i] = ORDER(line[i], line[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        half[i + 1] = ORDER(line[i], line[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int odd = 0; odd < 2; odd++) {
            quarter[i + odd] = ORDER(half[i + odd], half[i + odd + 2], 0, 1, 4, 5, 8, 9, 12, 13);
            quarter[i + odd + 2] = ORDER(half[i + odd], half[i + odd + 2], 2, 3, 6, 7, 10, 11, 14, 15);
        }
    for (int odd = 0; odd < 2; odd++) {
        line[odd] = ORDER(quarter[odd], quarter[odd + 4], 0, 1, 4, 5, 8, 9, 12, 13);
        line[odd + 4] = ORDER(quarter[odd], quarter[odd + 4], 2, 3, 6, 7, 10, 11, 14, 15);
        line[odd + 2] = ORDER(quarter[odd + 2], quarter[odd + 6], 0, 1, 4, 5, 8, 9, 12, 13);
        line[odd + 6] = ORDER(quarter[odd + 2], quarter[odd + 6], 2, 3, 6, 7, 10, 11, 14, 15);
    }
}

/* eight numbers of each of eight neurons, of which each has `width` */
static ALWAYS_INLINE void read_targets(const double *number, int64_t width, Targets8 of, lanes *line)
{
    if (of.beside)
        for (int64_t i = 0; i < LANES; i++)
            line[i] = *(const lanes *)(number + width * (of.target[0] + i));
    else
        for (int i = 0; i < LANES; i++)
            line[i] = *(const lanes *)(number + width * (int64_t)of.target[i]);
    turn(line);
}

static ALWAYS_INLINE four_lanes join_twos(two_lanes x, two_lanes y)
{
#ifdef WIDENS
    return __builtin_shufflevector(x, y, 0, 1, 2, 3);
#else
    return (four_lanes){x[0], x[1], y[0], y[1]};
#endif
}

static ALWAYS_INLINE lanes join_fours(four_lanes x, four_lanes y)
{
#ifdef WIDENS
    return __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return (lanes){x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]};
#endif
}

static ALWAYS_INLINE four_lanes half_of(lanes x, int upper)
{
#ifdef WIDENS
    return upper ? __builtin_shufflevector(x, x, 4, 5, 6, 7) : __builtin_shufflevector(x, x, 0, 1, 2, 3);
#else
    return upper ? (four_lanes){x[4], x[5], x[6], x[7]} : (four_lanes){x[0], x[1], x[2], x[3]};
#endif
}

/* two numbers of each of eight, turned */
static ALWAYS_INLINE void turn_twos(const two_lanes *of, lanes *line)
{
    const lanes even = join_fours(join_twos(of[0], of[2]), join_twos(of[4], of[6]));
    const lanes odd = join_fours(join_twos(of[1], of[3]), join_twos(of[5], of[7]));
    line[0] = ORDER(even, odd, 0, 8, 2, 10, 4, 12, 6, 14);
    line[1] = ORDER(even, odd, 1, 9, 3, 11, 5, 13, 7, 15);
}

/* four of each */
static ALWAYS_INLINE void turn_fours(const four_lanes *of, lanes *line)
{
    const lanes x = join_fours(of[0], of[2]), y = join_fours(of[4], of[6]);
    const lanes u = join_fours(of[1], of[3]), v = join_fours(of[5], of[7]);
    for (int i = 0; i < 4; i += 2) {
        const lanes even = i ? ORDER(x, y, 2, 3, 6, 7, 10, 11, 14, 15) : ORDER(x, y, 0, 1, 4, 5, 8, 9, 12, 13);
        const lanes odd = i ? ORDER(u, v, 2, 3, 6, 7, 10, 11, 14, 15) : ORDER(u, v, 0, 1, 4, 5, 8, 9, 12, 13);
        line[i] = ORDER(even, odd, 0, 8, 2, 10, 4, 12, 6, 14);
        line[i + 1] = ORDER(even, odd, 1, 9, 3, 11, 5, 13, 7, 15);
    }
}

/* the other way: line[0] has those of the first two of eight, .. */
static ALWAYS_INLINE void turn_back_fours(lanes *line)
{
    const lanes x = ORDER(line[0], line[1], 0, 8, 1, 9, 2, 10, 3, 11);
    const lanes y = ORDER(line[0], line[1], 4, 12, 5, 13, 6, 14, 7, 15);
    const lanes u = ORDER(line[2], line[3], 0, 8, 1, 9, 2, 10, 3, 11);
    const lanes v = ORDER(line[2], line[3], 4, 12, 5, 13, 6, 14, 7, 15);
    line[0] = ORDER(x, u, 0, 1, 8, 9, 2, 3, 10, 11), line[1] = ORDER(x, u, 4, 5, 12, 13, 6, 7, 14, 15);
    line[2] = ORDER(y, v, 0, 1, 8, 9, 2, 3, 10, 11), line[3] = ORDER(y, v, 4, 5, 12, 13, 6, 7, 14, 15);
}

static ALWAYS_INLINE void read_first_fours(const double *number, int64_t width, Targets8 of, lanes *line)
{
    four_lanes four[LANES];
    for (int i = 0; i < LANES; i++)
        four[i] = *(const four_lanes *)(number + width * (int64_t)of.target[i]);
    turn_fours(four, line);
}

static ALWAYS_INLINE void read_target_fours(const double *number, Targets8 of, lanes *line)
{
    read_first_fours(number, 4, of, line);
}

static ALWAYS_INLINE void read_neighbour_fours(const double *number, int64_t count, lanes *line)
{
    four_lanes four[LANES];
    for (int i = 0; i < LANES; i++)
        four[i] = *(const four_lanes *)(number + 4 * (i < count ? i : count - 1));
    turn_fours(four, line);
}

/* one of them */
static ALWAYS_INLINE lanes read_one(const double *number, int64_t width, Targets8 of)
{
    lanes found;
    for (int i = 0; i < LANES; i++)
        found[i] = number[width * (int64_t)of.target[i]];
    return found;
}

static ALWAYS_INLINE lanes gather_doubles(const double *from, Targets8 of)
{
    const uint32_t *target = of.target;
    return (lanes){from[target[0]], from[target[1]], from[target[2]], from[target[3]],
                   from[target[4]], from[target[5]], from[target[6]], from[target[7]]};
}

static ALWAYS_INLINE lanes load_doubles(const double *from, int64_t count)
{
    if (count == LANES)
        return *(const lanes *)from;
    lanes x = all_lanes(0.0);
    for (int64_t i = 0; i < count; i++)
        x[i] = from[i];
    return x;
}

static ALWAYS_INLINE void store_doubles(double *to, lanes x, int64_t count)
{
    if (count == LANES)
        *(lanes *)to = x;
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = x[i];
}

static ALWAYS_INLINE void write_neighbour_fours(double *number, int64_t count, lanes *line)
{
    if (count == LANES) {
        turn_back_fours(line);
        for (int i = 0; i < 4; i++)
            *(lanes *)(number + LANES * i) = line[i];
    } else
        for (int64_t i = 0; i < 4 * count; i++)
            number[i] = line[i % 4][i / 4];
}

static ALWAYS_INLINE void read_neighbours(const double *number, int64_t width, int64_t count, lanes *line)
{
    if (count == LANES)
        for (int i = 0; i < LANES; i++)
            line[i] = *(const lanes *)(number + width * i);
    else
        for (int i = 0; i < LANES; i++)
            line[i] = *(const lanes *)(number + width * (i < count ? i : count - 1));
    turn(line);
}

static ALWAYS_INLINE void write_neighbours(double *number, int64_t width, int64_t count, lanes *line)
{
    turn(line);
    if (count == LANES)
        for (int i = 0; i < LANES; i++)
            *(lanes *)(number + width * i) = line[i];
    else
        for (int64_t i = 0; i < count; i++)
            *(lanes *)(number + width * i) = line[i];
}

static ALWAYS_INLINE void write_first_fours(double *number, int64_t width, int64_t count, lanes *line)
{
    turn_back_fours(line);
    for (int64_t i = 0; i < LANES; i++)
        if (i < count)
            *(four_lanes *)(number + width * i) = half_of(line[i / 2], i % 2);
}

/* the first n of them, each neuron's over what was written behind those of the one before */
static ALWAYS_INLINE void write_beside(double *number, int64_t width, int64_t n, int64_t count, lanes *line)
{
    turn(line);
    for (int64_t i = 0; i < LANES; i++)
        if (count == LANES && i < LANES - 1)
            *(lanes *)(number + width * i) = line[i];
        else if (i < count)
            __builtin_memcpy(number + width * i, &line[i], 8 * n);
}
#endif

typedef REAL kept_lanes __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

static ALWAYS_INLINE lanes widen_lanes(kept_lanes x)
{
#ifdef WIDENS_FLOATS
    if (sizeof(REAL) == sizeof(float))
        return widen_floats(&x);
#endif
    return __builtin_convertvector(x, lanes);
}

static ALWAYS_INLINE lanes load_lanes(const REAL *from, int64_t count)
{
    if (count == LANES)
        return widen_lanes(*(const kept_lanes *)from);
    lanes x = all_lanes(0.0);
    for (int64_t i = 0; i < count; i++)
        x[i] = from[i];
    return x;
}

static ALWAYS_INLINE void store_lanes(REAL *to, lanes x, int64_t count)
{
    if (count == LANES)
        *(kept_lanes *)to = __builtin_convertvector(x, kept_lanes);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = (REAL)x[i];
}

static ALWAYS_INLINE lanes gather_lanes(const REAL *from, Targets8 of)
{
    const uint32_t *target = of.target;
    if (of.beside)
        return load_lanes(from + target[0], LANES);
    return (lanes){from[target[0]], from[target[1]], from[target[2]], from[target[3]],
                   from[target[4]], from[target[5]], from[target[6]], from[target[7]]};
}
