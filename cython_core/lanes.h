/* Several neurons or synapses at a time: vectors of the compiler, as wide as a register, the same bits at any width.

   LANES is their number: 8, 4 or 2, as the compiler allows. Targets store lines of eight numbers at any width, so that
   nothing in memory depends on it. Only this file uses instructions of processors.

   Stored numbers are REAL, computed ones double. Generated neuron models contain this text, too: once per precision,
   with parts that do not depend on precision once. */

#ifndef LANES
#include <stdint.h>
#ifndef ALWAYS_INLINE
#define ALWAYS_INLINE inline __attribute__((always_inline))
#endif
#if defined(__AVX512F__) && defined(__AVX512VL__)
#define LANES 8
#elif defined(__AVX__)
#define LANES 4
#else
#define LANES 2
#endif
enum { LINE = 8 };    /* doubles of a cache line */
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8)));
typedef int64_t lane_order __attribute__((vector_size(8 * LANES)));

/* elements of two vectors; `order` is a vector of as many integers */
#if defined(__has_builtin) && !defined(NO_SHUFFLEVECTOR)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLED(order, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#define WIDENS    /* as a longer vector, too */
#endif
#endif
#ifndef SHUFFLED
#define SHUFFLED(order, x, y, ...) __builtin_shuffle(x, y, (order){__VA_ARGS__})
#endif
#define ORDER(x, y, ...) SHUFFLED(lane_order, x, y, __VA_ARGS__)

/* OF(i) of all lanes */
#if LANES == 8
#define EACH(OF) OF(0), OF(1), OF(2), OF(3), OF(4), OF(5), OF(6), OF(7)
#elif LANES == 4
#define EACH(OF) OF(0), OF(1), OF(2), OF(3)
#else
#define EACH(OF) OF(0), OF(1)
#endif

typedef struct {    /* of as many synapses as there are lanes */
    const uint32_t *target;
    int beside;                       /* the targets are neighbours */
} LaneTargets;

static ALWAYS_INLINE lanes all_lanes(double x)
{
#define SAME(i) x
    return (lanes){EACH(SAME)};
#undef SAME
}

static ALWAYS_INLINE lanes where(lane_order mask, lanes x, lanes y)
{
    return (lanes)((mask & (lane_order)x) | (~mask & (lane_order)y));
}

/* the mask of the first `count` */
static ALWAYS_INLINE lane_order first_lanes(int64_t count)
{
#define PLACE(i) i
    return (lane_order){EACH(PLACE)} < count;
#undef PLACE
}

static ALWAYS_INLINE lanes power_lanes(lanes x, int64_t n)
{
    lanes power = all_lanes(1.0);
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1)
            power *= x;
    return power;
}

/* as many vectors as lanes, turned: afterwards x[f] has number f of all */
static ALWAYS_INLINE void turn(lanes *x)
{
#if LANES == 8
    lanes half[8], quarter[8];
    for (int i = 0; i < 8; i += 2) {
        half[i] = ORDER(x[i], x[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        half[i + 1] = ORDER(x[i], x[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int odd = 0; odd < 2; odd++) {
            quarter[i + odd] = ORDER(half[i + odd], half[i + odd + 2], 0, 1, 4, 5, 8, 9, 12, 13);
            quarter[i + odd + 2] = ORDER(half[i + odd], half[i + odd + 2], 2, 3, 6, 7, 10, 11, 14, 15);
        }
    for (int odd = 0; odd < 2; odd++) {
        x[odd] = ORDER(quarter[odd], quarter[odd + 4], 0, 1, 4, 5, 8, 9, 12, 13);
        x[odd + 4] = ORDER(quarter[odd], quarter[odd + 4], 2, 3, 6, 7, 10, 11, 14, 15);
        x[odd + 2] = ORDER(quarter[odd + 2], quarter[odd + 6], 0, 1, 4, 5, 8, 9, 12, 13);
        x[odd + 6] = ORDER(quarter[odd + 2], quarter[odd + 6], 2, 3, 6, 7, 10, 11, 14, 15);
    }
#elif LANES == 4
    const lanes even_01 = ORDER(x[0], x[1], 0, 4, 2, 6), even_23 = ORDER(x[2], x[3], 0, 4, 2, 6);
    const lanes odd_01 = ORDER(x[0], x[1], 1, 5, 3, 7), odd_23 = ORDER(x[2], x[3], 1, 5, 3, 7);
    x[0] = ORDER(even_01, even_23, 0, 1, 4, 5), x[1] = ORDER(odd_01, odd_23, 0, 1, 4, 5);
    x[2] = ORDER(even_01, even_23, 2, 3, 6, 7), x[3] = ORDER(odd_01, odd_23, 2, 3, 6, 7);
#else
    const lanes first = ORDER(x[0], x[1], 0, 2);
    x[1] = ORDER(x[0], x[1], 1, 3), x[0] = first;
#endif
}

#if LANES == 8
typedef double four_lanes __attribute__((vector_size(32), aligned(8)));

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

/* four numbers of each of eight, turned */
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
#endif

/* four numbers of each, from one address each, turned */
static ALWAYS_INLINE void read_fours(const double **from, lanes *line)
{
#if LANES == 8
    four_lanes four[LANES];
    for (int i = 0; i < LANES; i++)
        four[i] = *(const four_lanes *)from[i];
    turn_fours(four, line);
#else
    for (int h = 0; h < 4; h += LANES) {
        for (int i = 0; i < LANES; i++)
            line[h + i] = *(const lanes *)(from[i] + h);
        turn(line + h);
    }
#endif
}

/* The other way: four vectors become the four numbers of the first, of the second, ... */
static ALWAYS_INLINE void turn_back_fours(lanes *line)
{
#if LANES == 8
    const lanes x = ORDER(line[0], line[1], 0, 8, 1, 9, 2, 10, 3, 11);
    const lanes y = ORDER(line[0], line[1], 4, 12, 5, 13, 6, 14, 7, 15);
    const lanes u = ORDER(line[2], line[3], 0, 8, 1, 9, 2, 10, 3, 11);
    const lanes v = ORDER(line[2], line[3], 4, 12, 5, 13, 6, 14, 7, 15);
    line[0] = ORDER(x, u, 0, 1, 8, 9, 2, 3, 10, 11), line[1] = ORDER(x, u, 4, 5, 12, 13, 6, 7, 14, 15);
    line[2] = ORDER(y, v, 0, 1, 8, 9, 2, 3, 10, 11), line[3] = ORDER(y, v, 4, 5, 12, 13, 6, 7, 14, 15);
#elif LANES == 4
    turn(line);
#else
    turn(line), turn(line + 2);
    const lanes upper = line[1];
    line[1] = line[2], line[2] = upper;
#endif
}

/* a line of each, from one address each, turned */
static ALWAYS_INLINE void read_lines_at(const double **from, lanes *line)
{
    for (int h = 0; h < LINE; h += LANES) {
        for (int i = 0; i < LANES; i++)
            line[h + i] = *(const lanes *)(from[i] + h);
        turn(line + h);
    }
}

/* a line of each target, of which each has `width` numbers */
static ALWAYS_INLINE void read_targets(const double *number, int64_t width, LaneTargets of, lanes *line)
{
    const double *from[LANES];
    for (int i = 0; i < LANES; i++)
        from[i] = number + width * (of.beside ? (int64_t)of.target[0] + i : (int64_t)of.target[i]);
    read_lines_at(from, line);
}

static ALWAYS_INLINE void read_first_fours(const double *number, int64_t width, LaneTargets of, lanes *line)
{
    const double *from[LANES];
    for (int i = 0; i < LANES; i++)
        from[i] = number + width * (int64_t)of.target[i];
    read_fours(from, line);
}

static ALWAYS_INLINE void read_target_fours(const double *number, LaneTargets of, lanes *line)
{
    read_first_fours(number, 4, of, line);
}

static ALWAYS_INLINE void read_neighbour_fours(const double *number, int64_t width, int64_t count, lanes *line)
{
    const double *from[LANES];
    for (int i = 0; i < LANES; i++)
        from[i] = number + width * (i < count ? i : count - 1);
    read_fours(from, line);
}

/* one number of each */
static ALWAYS_INLINE lanes read_one(const double *number, int64_t width, LaneTargets of)
{
    lanes found;
    for (int i = 0; i < LANES; i++)
        found[i] = number[width * (int64_t)of.target[i]];
    return found;
}

static ALWAYS_INLINE lanes gather_doubles(const double *from, LaneTargets of)
{
    const uint32_t *target = of.target;
#define FOUND(i) from[target[i]]
    return (lanes){EACH(FOUND)};
#undef FOUND
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

static ALWAYS_INLINE void read_neighbours(const double *number, int64_t width, int64_t count, lanes *line)
{
    const double *from[LANES];
    for (int i = 0; i < LANES; i++)
        from[i] = number + width * (count == LANES || i < count ? i : count - 1);
    read_lines_at(from, line);
}

static ALWAYS_INLINE void write_neighbours(double *number, int64_t width, int64_t count, lanes *line)
{
    for (int h = 0; h < LINE; h += LANES) {
        turn(line + h);
        if (count == LANES)
            for (int i = 0; i < LANES; i++)
                *(lanes *)(number + width * i + h) = line[h + i];
        else
            for (int64_t i = 0; i < count; i++)
                *(lanes *)(number + width * i + h) = line[h + i];
    }
}

static ALWAYS_INLINE void write_first_fours(double *number, int64_t width, int64_t count, lanes *line)
{
    turn_back_fours(line);
    if (width == 4 && count == LANES) {
        for (int i = 0; i < 4; i++)
            *(lanes *)(number + LANES * i) = line[i];
        return;
    }
    for (int64_t i = 0; i < LANES; i++)
        if (i < count)
#if LANES == 8
            *(four_lanes *)(number + width * i) = half_of(line[i / 2], i % 2);
#else
            for (int h = 0; h < 4; h += LANES)
                *(lanes *)(number + width * i + h) = line[(4 * i + h) / LANES];
#endif
}

/* write the first n numbers of each neuron's line; each overwrites the excess behind the previous neuron's */
static ALWAYS_INLINE void write_beside(double *number, int64_t width, int64_t n, int64_t count, lanes *line)
{
    for (int h = 0; h < LINE; h += LANES)
        turn(line + h);
    for (int64_t i = 0; i < LANES; i++)
        if (count == LANES && i < LANES - 1)
            for (int h = 0; h < LINE; h += LANES)
                *(lanes *)(number + width * i + h) = line[h + i];
        else
            for (int h = 0; i < count && h < n; h += LANES)
                __builtin_memcpy(number + width * i + h, &line[h + i], 8 * (n - h < LANES ? n - h : LANES));
}

/* ---- conversions: GCC 12 to 14 convert two floats at a time, or fail, without an explicit instruction ------------ */

typedef float float_lanes __attribute__((vector_size(4 * LANES), aligned(4)));
#if defined(__GNUC__) && !defined(__clang__) && LANES == 8
#define WIDENED_FLOATS(x) ((lanes)__builtin_ia32_cvtps2pd512_mask(x, all_lanes(0.0), -1, 4))
#define NARROWED_DOUBLES(x) ((float_lanes)__builtin_ia32_cvtpd2ps512_mask(x, (float_lanes){0}, -1, 4))
#elif defined(__GNUC__) && !defined(__clang__) && LANES == 4
#define WIDENED_FLOATS(x) ((lanes)__builtin_ia32_cvtps2pd256(x))
#define NARROWED_DOUBLES(x) ((float_lanes)__builtin_ia32_cvtpd2ps256(x))
#else
#define WIDENED_FLOATS(x) __builtin_convertvector(x, lanes)
#define NARROWED_DOUBLES(x) __builtin_convertvector(x, float_lanes)
#endif
#endif

/* ---- by precision ---------------------------------------------------------------------------------------------------------- */

typedef REAL kept_lanes __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

static ALWAYS_INLINE lanes widened_at(const REAL *from)
{
    if (sizeof(REAL) == sizeof(float))
        return WIDENED_FLOATS(*(const float_lanes *)from);
    return *(const lanes *)from;
}

static ALWAYS_INLINE void narrow_to(REAL *to, lanes x)
{
    if (sizeof(REAL) == sizeof(float))
        *(float_lanes *)to = NARROWED_DOUBLES(x);
    else
        *(lanes *)to = x;
}

static ALWAYS_INLINE lanes load_lanes(const REAL *from, int64_t count)
{
    if (count == LANES)
        return widened_at(from);
    lanes x = all_lanes(0.0);
    for (int64_t i = 0; i < count; i++)
        x[i] = from[i];
    return x;
}

static ALWAYS_INLINE void store_lanes(REAL *to, lanes x, int64_t count)
{
    if (count == LANES)
        narrow_to(to, x);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = (REAL)x[i];
}

static ALWAYS_INLINE lanes gather_lanes(const REAL *from, LaneTargets of)
{
    const uint32_t *target = of.target;
    if (of.beside)
        return load_lanes(from + target[0], LANES);
#define FOUND(i) from[target[i]]
    return (lanes){EACH(FOUND)};
#undef FOUND
}
