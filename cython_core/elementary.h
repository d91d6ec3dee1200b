/* Elementary functions of our own, see elementary.pxd; generated kernels of neuron models contain this text, too. */
#ifndef PAREPROP_ELEMENTARY
#define PAREPROP_ELEMENTARY
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t elementary_bits(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
static inline double elementary_number(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
static const double LN2_HI = 6.93147180369123816490e-01, LN2_LO = 1.90821492927058770002e-10;

/* x = k ln 2 + r; exp(r) = 1 + 2 r / (R(r) - r); without a branch, so that compilers vectorize: where there is no such k,
   the result is chosen last, since a bound on x at the start would be carried through all of it */
static inline double elementary_exp(double x)
{
    double shifted = x * 1.44269504088896338700 + 0x1.8p52, k = shifted - 0x1.8p52;
    uint64_t n = elementary_bits(shifted) - 0x4338000000000000u, half = ((n + 2048u) >> 1) - 1024u;
    double hi = x - k * LN2_HI, lo = k * LN2_LO, r = hi - lo, t = r * r;
    double c = r - t * (1.66666666666666019037e-01 + t * (-2.77777777770155933842e-03
        + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
    double v = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    v = v * elementary_number((half + 1023u) << 52) * elementary_number((n - half + 1023u) << 52);
    v = x < -746.0 ? 0.0 : v;
    return x > 710.0 ? INFINITY : v;
}

/* log(1 + f) of 1 + f in [sqrt(1/2), sqrt(2)), and k ln 2, and a correction */
static inline double elementary_log_of(double f, double k, double c)
{
    double hfsq = 0.5 * f * f, s = f / (2.0 + f), z = s * s, w = z * z;
    double t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double t2 = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01
        + w * 1.479819860511658591e-01)));
    return s * (hfsq + (t1 + t2)) + (k * LN2_LO + c) - hfsq + f + k * LN2_HI;
}

/* f and k of x = 2^k (1 + f), for normal x > 0 */
static inline double elementary_split(double x, double* k)
{
    uint64_t u = elementary_bits(x) + (0x3ff0000000000000u - 0x3fe6a09e00000000u);
    *k = (double)((int64_t)(u >> 52) - 0x3ff);
    return elementary_number((u & 0x000fffffffffffffu) + 0x3fe6a09e00000000u) - 1.0;
}

/* without a branch */
static inline double elementary_log(double x)
{
    double tiny = x < 2.2250738585072014e-308 ? 1.0 : 0.0, k;
    double f = elementary_split(tiny != 0.0 ? x * 0x1p54 : x, &k);
    double y = elementary_log_of(f, k - 54.0 * tiny, 0.0);
    y = x <= 1.7976931348623157e308 ? y : x;
    return x > 0.0 ? y : x == 0.0 ? -INFINITY : NAN;
}

static inline double elementary_log1p(double x)
{
    double k, u, c, f;
    if (!(x > -1.0) || x > 1.7976931348623157e308)
        return x == -1.0 ? -INFINITY : x > 0.0 ? x : NAN;
    if (x > -0.2928932188134524 && x < 0.41421356237309503)
        return fabs(x) < 0x1p-54 ? x : elementary_log_of(x, 0.0, 0.0);
    u = 1.0 + x;
    f = elementary_split(u, &k);
    c = (k >= 2.0 ? 1.0 - (u - x) : x - (u - 1.0)) / u;
    return elementary_log_of(f, k, k < 54.0 ? c : 0.0);
}

/* Kahan: the error of u = exp(x) cancels in (u - 1) x / log(u); without a branch */
static inline double elementary_expm1(double x)
{
    double u = elementary_exp(x), y = (u - 1.0) * x / elementary_log(u);
    y = u < 1e16 ? y : u - 1.0;
    y = u - 1.0 != -1.0 ? y : u - 1.0;
    return u == 1.0 ? x : y;
}

static inline double elementary_tanh(double x)
{
    double t = elementary_expm1(-2.0 * fabs(x)), y = t / (t + 2.0);
    return x < 0.0 ? y : -y;
}

/* quadrant q and remainder r + tail of x, abs(x) below 10^6 */
static inline double elementary_remainder(double x, int64_t* q, double* tail)
{
    double n = floor(x * 6.36619772367581382433e-01 + 0.5);
    double r = x - n * 1.57079632673412561417e+00, w = n * 6.07710050630396597660e-11;
    double t = r;
    r = t - w;
    w = n * 2.02226624879595063154e-21 - ((t - r) - w);
    *q = (int64_t)n & 3;
    t = r - w;
    *tail = (r - t) - w;
    return t;
}

static inline double elementary_sine_of(double x, double y)
{
    double z = x * x, v = z * x;
    double r = 8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 + z * (2.75573137070700676789e-06
        + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)));
    return x - ((z * (0.5 * y - v * r) - y) - v * -1.66666666666666324348e-01);
}

static inline double elementary_cosine_of(double x, double y)
{
    double z = x * x, h = 0.5 * z, w = 1.0 - h;
    double r = z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05
        + z * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
    return w + (((1.0 - w) - h) + (z * r - x * y));
}

static inline double elementary_sine_after(int64_t quadrants, double x)
{
    int64_t q;
    double y, r;
    if (!(fabs(x) < 1e6))
        return NAN;
    r = elementary_remainder(x, &q, &y);
    q += quadrants;
    r = q & 1 ? elementary_cosine_of(r, y) : elementary_sine_of(r, y);
    return q & 2 ? -r : r;
}

static inline double elementary_sin(double x)
{
    return elementary_sine_after(0, x);
}

static inline double elementary_cos(double x)
{
    return elementary_sine_after(1, x);
}

static inline double elementary_power(double x, int64_t n)
{
    double power = 1.0;
    uint64_t k = n < 0 ? -(uint64_t)n : (uint64_t)n;
    for (; k; k >>= 1, x *= x)
        if (k & 1)
            power *= x;
    return n < 0 ? 1.0 / power : power;
}
#endif
