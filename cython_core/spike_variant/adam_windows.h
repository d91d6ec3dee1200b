/* Adam with a step in each time step: eight synapses go through all steps of a window, so that what they keep stays in
   registers. The formulas are those of window_steps.pxd and optimizers.pxd, lanes those of
   lanes.h, `ROOT` that of idle_adam.h; bits are the same. */

typedef struct {
    int64_t place, length, n_targets, n;    /* of the first step in the rings, of those, steps */
    const REAL *psi, *L;                    /* rings of rows of n_targets */
    const double *traces;                   /* (n,) zbar of the source */
    const REAL *rates;                      /* (n,) */
    REAL kappa, keep_1, add_1, keep_2, add_2, small, low, high;
    const uint32_t *target;
    REAL *Y, *C, *moment, *variance, *weight;
} AdamWindow;

static ALWAYS_INLINE kept_lanes load_kept(const REAL *from, int64_t count)
{
    if (count == LANES)
        return *(const kept_lanes *)from;
    kept_lanes x = {0};
    for (int64_t i = 0; i < count; i++)
        x[i] = from[i];
    return x;
}

static ALWAYS_INLINE void store_kept(REAL *to, kept_lanes x, int64_t count)
{
    if (count == LANES)
        *(kept_lanes *)to = x;
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = x[i];
}

static ALWAYS_INLINE kept_lanes gather_kept(const REAL *from, const uint32_t *target)
{
    return (kept_lanes){from[target[0]], from[target[1]], from[target[2]], from[target[3]],
                        from[target[4]], from[target[5]], from[target[6]], from[target[7]]};
}

static ALWAYS_INLINE kept_lanes root_kept(kept_lanes x)
{
    REAL root[LANES];
    for (int i = 0; i < LANES; i++)
        root[i] = x[i];
    for (int i = 0; i < LANES; i++)
        root[i] = ROOT(root[i]);
    return *(const kept_lanes *)root;
}

enum { EIGHTS = 4 };    /* that go side by side */

static ALWAYS_INLINE void adam_eights(const int eights, const AdamWindow *of, int64_t k, const uint32_t *target,
                                      int64_t count)
{
    kept_lanes y[EIGHTS], c[EIGHTS], m[EIGHTS], v[EIGHTS], w[EIGHTS];
    const kept_lanes zero = {0}, low = zero + of->low, high = zero + of->high;
    int64_t place = of->place;
#pragma GCC unroll 4
    for (int h = 0; h < eights; h++) {
        const int64_t at = k + LANES * h;
        y[h] = load_kept(of->Y + at, count), c[h] = load_kept(of->C + at, count), w[h] = load_kept(of->weight + at, count);
        m[h] = load_kept(of->moment + at, count), v[h] = load_kept(of->variance + at, count);
    }
    for (int64_t i = 0; i < of->n; i++) {
        const REAL *psi = of->psi + place * of->n_targets, *L = of->L + place * of->n_targets;
#pragma GCC unroll 4
        for (int h = 0; h < eights; h++) {
            const kept_lanes e = gather_kept(psi, target + LANES * h) * (REAL)of->traces[i];
            y[h] = of->kappa * y[h] + e;
            const kept_lanes g = -(c[h] - gather_kept(L, target + LANES * h) * y[h]);
            c[h] = zero;
            m[h] = of->keep_1 * m[h] + of->add_1 * g;
            v[h] = of->keep_2 * v[h] + of->add_2 * g * g;
            kept_lanes x = w[h] - of->rates[i] * m[h] / (root_kept(v[h]) + of->small);
            x = (kept_lanes)(((x > low) & (__typeof__(x > low))x) | (~(x > low) & (__typeof__(x > low))low));
            w[h] = (kept_lanes)(((x < high) & (__typeof__(x > low))x) | (~(x < high) & (__typeof__(x > low))high));
        }
        place = place + 1 < of->length ? place + 1 : 0;
    }
#pragma GCC unroll 4
    for (int h = 0; h < eights; h++) {
        const int64_t at = k + LANES * h;
        store_kept(of->Y + at, y[h], count), store_kept(of->C + at, c[h], count);
        store_kept(of->moment + at, m[h], count), store_kept(of->variance + at, v[h], count);
        store_kept(of->weight + at, w[h], count);
    }
}

static void adam_window(const AdamWindow *of_, int64_t start, int64_t stop)
{
    const AdamWindow of = *of_;    /* nothing that is written can be in this copy */
    int64_t k = start;
    for (; k + EIGHTS * LANES <= stop; k += EIGHTS * LANES)
        adam_eights(EIGHTS, &of, k, of.target + k, LANES);
    for (; k + LANES <= stop; k += LANES)
        adam_eights(1, &of, k, of.target + k, LANES);
    if (k < stop) {
        uint32_t some[LANES];
        for (int64_t i = 0; i < LANES; i++)
            some[i] = of.target[k + i < stop ? k + i : stop - 1];
        adam_eights(1, &of, k, some, stop - k);
    }
}
