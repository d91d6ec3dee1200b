/* Steps of Adam without a gradient, many at once (the equations stand in optimizing.pxi). */

#define IDLE_TERMS (sizeof(REAL) == 8 ? 13 : 6)
#define ROOT(x) (sizeof(REAL) == 8 ? (REAL)__builtin_sqrt(x) : (REAL)__builtin_sqrtf((float)(x)))

enum { IDLE_COLUMNS = 16 };

/* sums of rate_i of so many steps with each column of powers */
static void sum_idle(int64_t n, const double *rate, const double *powers, double *sums)
{
    for (int64_t k = 0; k < IDLE_COLUMNS; k++)
        sums[k] = 0.0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < IDLE_COLUMNS; k++)
            sums[k] += rate[i] * powers[IDLE_COLUMNS * i + k];
}

/* all steps point the same way, so that bounds may wait until the last one */
static void take_idle_steps(int64_t n, const double *sums, REAL small, REAL keep_moment, REAL keep_variance, REAL low,
                            REAL high, REAL *moment, REAL *variance, REAL *weight)
{
    REAL s[IDLE_COLUMNS];
    for (int k = 0; k < IDLE_COLUMNS; k++)
        s[k] = k < IDLE_TERMS ? (REAL)sums[k] : (REAL)0.0;
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)
    {
        const REAL share = (REAL)1.0 / (ROOT(variance[i]) + small), x = -small * share;
        REAL sum = s[5];
        if (IDLE_TERMS > 6)
            sum += x * (s[6] + x * (s[7] + x * (s[8] + x * (s[9] + x * (s[10] + x * (s[11] + x * s[12]))))));
        sum = s[0] + x * (s[1] + x * (s[2] + x * (s[3] + x * (s[4] + x * sum))));
        REAL w = weight[i] - moment[i] * share * sum;
        w = w > low ? w : low;
        weight[i] = w < high ? w : high;
        moment[i] *= keep_moment;
        variance[i] *= keep_variance;
    }
}
