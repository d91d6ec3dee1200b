/* Steps of Adam without a gradient, many at once (the equations stand in idle_adam.pxi). */

#define IDLE_TERMS (sizeof(REAL) == 8 ? 13 : 6)
#define ROOT(x) (sizeof(REAL) == 8 ? (REAL)__builtin_sqrt(x) : (REAL)__builtin_sqrtf((float)(x)))

enum { IDLE_COLUMNS = 16 };

typedef struct {    /* what steps without a gradient need that does not depend on the synapse */
    int64_t first, count;                 /* of these steps */
    double beta_1, beta_2;
    double keep_moment, keep_variance;    /* powers of the betas */
    double sums[IDLE_COLUMNS];            /* without eta */
} IdleSums;

/* Add rate_i of so many steps times each column of powers. A compiler left alone turns the table and adds one by one. */
static void add_idle(int64_t n, const double *rate, const double *powers, double *sums)
{
    lanes sum[IDLE_COLUMNS / LANES];
    for (int k = 0; k < IDLE_COLUMNS / LANES; k++)
        sum[k] = load_doubles(sums + LANES * k, LANES);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < IDLE_COLUMNS / LANES; k++)
            sum[k] += rate[i] * load_doubles(powers + IDLE_COLUMNS * i + LANES * k, LANES);
    for (int k = 0; k < IDLE_COLUMNS / LANES; k++)
        store_doubles(sums + LANES * k, sum[k], LANES);
}

/* A step with the gradient -C, if there is one, and all that follow without: they point the same way, so that bounds may
   wait until the last one. */
static ALWAYS_INLINE void take_steps(int64_t n, const int first, const double *sums, REAL keep_1, REAL keep_2, REAL small,
                                     REAL keep_moment, REAL keep_variance, REAL low, REAL high, REAL *C, REAL *moment,
                                     REAL *variance, REAL *weight)
{
    REAL s[IDLE_COLUMNS];
    const REAL add_1 = (REAL)1.0 - keep_1, add_2 = (REAL)1.0 - keep_2;
    for (int k = 0; k < IDLE_COLUMNS; k++)
        s[k] = k < IDLE_TERMS ? (REAL)sums[k] : (REAL)0.0;
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)
    {
        REAL m = moment[i], v = variance[i];
        if (first) {
            const REAL g = (REAL)0.0 - C[i];
            m = keep_1 * m + add_1 * g;
            v = keep_2 * v + add_2 * g * g;
            C[i] = (REAL)0.0;
        }
        const REAL share = (REAL)1.0 / (ROOT(v) + small), x = -small * share;
        REAL sum = s[5];
        if (IDLE_TERMS > 6)
            sum += x * (s[6] + x * (s[7] + x * (s[8] + x * (s[9] + x * (s[10] + x * (s[11] + x * s[12]))))));
        sum = s[0] + x * (s[1] + x * (s[2] + x * (s[3] + x * (s[4] + x * sum))));
        REAL w = weight[i] - m * share * sum;
        w = w > low ? w : low;
        weight[i] = w < high ? w : high;
        moment[i] = m * keep_moment;
        variance[i] = v * keep_variance;
    }
}

static void take_first_steps(int64_t n, const double *sums, REAL keep_1, REAL keep_2, REAL small, REAL keep_moment,
                             REAL keep_variance, REAL low, REAL high, REAL *C, REAL *moment, REAL *variance, REAL *weight)
{
    take_steps(n, 1, sums, keep_1, keep_2, small, keep_moment, keep_variance, low, high, C, moment, variance, weight);
}

static void take_idle_steps(int64_t n, const double *sums, REAL small, REAL keep_moment, REAL keep_variance, REAL low,
                            REAL high, REAL *moment, REAL *variance, REAL *weight)
{
    take_steps(n, 0, sums, (REAL)1.0, (REAL)1.0, small, keep_moment, keep_variance, low, high, NULL, moment, variance,
               weight);
}
