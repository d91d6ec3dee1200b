/* More of lanes.h, for the kernels of the spike variant: packs, and sides, which hold REAL of several targets.

   A pack is four synapses, or two if a register holds no more: packs read neighbours in half a line. A side is as many
   REAL as a register holds. */

#include "../lanes.h"

enum { PACK = LANES < 4 ? LANES : 4 };
typedef double pack __attribute__((vector_size(8 * (LANES < 4 ? LANES : 4)), aligned(8)));    /* anywhere in memory */
typedef int64_t pack_order __attribute__((vector_size(8 * (LANES < 4 ? LANES : 4))));
#define MIX(x, y, ...) SHUFFLED(pack_order, x, y, __VA_ARGS__)
#define PACK_AT(pointer) (*(const pack *)(pointer))

/* the first three of four numbers of each synapse of a pack, from one address each, declared as R, A, D */
#if LANES >= 4
#define TURNED(R, A, D, from)                                                                                          \
    const pack cell_0 = PACK_AT(from[0]), cell_1 = PACK_AT(from[1]), cell_2 = PACK_AT(from[2]), cell_3 = PACK_AT(from[3]); \
    const pack RD_01 = MIX(cell_0, cell_1, 0, 4, 2, 6), RD_23 = MIX(cell_2, cell_3, 0, 4, 2, 6);                       \
    const pack A_01 = MIX(cell_0, cell_1, 1, 5, 3, 7), A_23 = MIX(cell_2, cell_3, 1, 5, 3, 7);                         \
    const pack R = MIX(RD_01, RD_23, 0, 1, 4, 5), D = MIX(RD_01, RD_23, 2, 3, 6, 7), A = MIX(A_01, A_23, 0, 1, 4, 5);
#define IN_PACK(OF) OF(0), OF(1), OF(2), OF(3)
#else
#define TURNED(R, A, D, from)                                                                                          \
    const pack cell_0 = PACK_AT(from[0]), cell_1 = PACK_AT(from[1]);                                                   \
    const pack R = MIX(cell_0, cell_1, 0, 2), A = MIX(cell_0, cell_1, 1, 3), D = {from[0][2], from[1][2]};
#define IN_PACK(OF) OF(0), OF(1)
#endif

typedef float float_pack __attribute__((vector_size(4 * (LANES < 4 ? LANES : 4)), aligned(4)));
#if defined(__GNUC__) && !defined(__clang__) && LANES >= 4
#define WIDENED_FLOAT_PACK(x) ((pack)__builtin_ia32_cvtps2pd256(x))
#define NARROWED_DOUBLE_PACK(x) ((float_pack)__builtin_ia32_cvtpd2ps256(x))
#else
#define WIDENED_FLOAT_PACK(x) __builtin_convertvector(x, pack)
#define NARROWED_DOUBLE_PACK(x) __builtin_convertvector(x, float_pack)
#endif

static ALWAYS_INLINE pack pack_at(const REAL *from)
{
    if (sizeof(REAL) == sizeof(float))
        return WIDENED_FLOAT_PACK(*(const float_pack *)from);
    return *(const pack *)from;
}

static ALWAYS_INLINE void pack_to(REAL *to, pack x)
{
    if (sizeof(REAL) == sizeof(float))
        *(float_pack *)to = NARROWED_DOUBLE_PACK(x);
    else
        *(pack *)to = x;
}

static ALWAYS_INLINE pack rounded_pack(pack x)
{
    if (sizeof(REAL) == sizeof(float))
        return WIDENED_FLOAT_PACK(NARROWED_DOUBLE_PACK(x));
    return x;
}

/* ---- lanes ------------------------------------------------------------------------------------------------------------- */

/* rounded as stored numbers */
static ALWAYS_INLINE lanes rounded_lanes(lanes x)
{
    if (sizeof(REAL) == sizeof(float))
        return WIDENED_FLOATS(NARROWED_DOUBLES(x));
    return x;
}

static ALWAYS_INLINE kept_lanes narrow_lanes(lanes x)
{
    kept_lanes kept;
    narrow_to((REAL *)&kept, x);
    return kept;
}

static ALWAYS_INLINE lanes widen_lanes(kept_lanes x) { return widened_at((const REAL *)&x); }

/* `some`: the first lanes, which have a synapse */
#if LANES == 8    /* one instruction where compilers find several: a tenth of the time */
#include <immintrin.h>
typedef __mmask8 some;

static ALWAYS_INLINE some some_lanes(int64_t count) { return (some)((1u << count) - 1); }

static ALWAYS_INLINE lanes bounded_lanes(lanes w, double low, double high)
{
    return (lanes)_mm512_min_pd(_mm512_max_pd((__m512d)w, (__m512d)all_lanes(low)), (__m512d)all_lanes(high));
}

static ALWAYS_INLINE lanes choose(some there, lanes x, lanes y)
{
    return (lanes)_mm512_mask_blend_pd(there, (__m512d)y, (__m512d)x);
}

static ALWAYS_INLINE void write_some(REAL *to, lanes x, lanes old, some there)
{
    (void)old;
    if (sizeof(REAL) == 8)
        _mm512_mask_storeu_pd(to, there, (__m512d)x);
    else
        _mm256_mask_storeu_ps(to, there, _mm512_cvtpd_ps((__m512d)x));
}
#else
typedef lane_order some;

static ALWAYS_INLINE some some_lanes(int64_t count) { return first_lanes(count); }

static ALWAYS_INLINE lanes bounded_lanes(lanes w, double low, double high)
{
    const lanes l = all_lanes(low), h = all_lanes(high);
    w = where(w > l, w, l);
    return where(w < h, w, h);
}

static ALWAYS_INLINE lanes choose(some there, lanes x, lanes y) { return where(there, x, y); }

static ALWAYS_INLINE void write_some(REAL *to, lanes x, lanes old, some there)
{
    store_lanes(to, where(there, x, old), LANES);
}
#endif

/* ---- sides: what stays in single precision ----------------------------------------------------------------------------- */

enum { SIDE = 8 * LANES / sizeof(REAL) };
typedef REAL side_lanes __attribute__((vector_size(8 * LANES), aligned(sizeof(REAL))));
typedef double side_words __attribute__((vector_size(8 * LANES), aligned(sizeof(REAL)), may_alias));

/* every second number of two sides, of single precision */
#if LANES == 8
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES == 4
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15
#else
#define EVENS 0, 2, 4, 6
#define ODDS 1, 3, 5, 7
#endif
#ifndef IN_DOUBLE
typedef int32_t side_order __attribute__((vector_size(8 * LANES)));
#endif

/* the lines of SIDE targets, each of 64 bytes, turned: afterwards number k of all of them is found[k] */
static ALWAYS_INLINE void read_sides(const REAL *number, const uint32_t *target, side_lanes *found)
{
    enum { OF_LINE = 64 / sizeof(REAL) };
    for (int h = 0; h < LINE; h += LANES) {    /* words of one number, or of two, of which sides hold twice as many */
        lanes word[SIDE];
        for (int i = 0; i < SIDE; i++)
            word[i] = (lanes)*(const side_words *)(number + OF_LINE * (int64_t)target[i] + OF_LINE / LINE * h);
        turn(word);
#ifdef IN_DOUBLE
        for (int k = 0; k < LANES; k++)
            found[h + k] = (side_lanes)word[k];
#else
        turn(word + LANES);
        for (int k = 0; k < LANES; k++) {
            const side_lanes x = (side_lanes)word[k], y = (side_lanes)word[LANES + k];
            found[2 * (h + k)] = SHUFFLED(side_order, x, y, EVENS);
            found[2 * (h + k) + 1] = SHUFFLED(side_order, x, y, ODDS);
        }
#endif
    }
}
