/* What neurons and rows of the spike variant do with stretches of steps (the equations stand in stretches.pxi).

   name         of               is
   number[8]    a target         a stretch: what it makes of the traces of a synapse, one cache line; where no neuron
                                 adapts, and none has one more trace, the four that are not about eps: B_Z, Q_Z, Q_B, Z_Z
   other[4]     a target         the same of one more trace, where kappa_reg differs or with rewards
   met[2 or 4]  a target         psi, L, and with one more trace F, 0, which it meets in a step of the block
   z, e, b, x   a synapse        zbar of the step that comes, eps, ebar, and the trace beside ebar: ereg or h
   g            a synapse        minus the gradient since its weight changed

   As many targets at a time as there are lanes. What is kept is REAL, what is computed is double, lane by lane: any division of a row gives the
   same bits. Lanes are those of lanes.h, which formulas.h includes. */

enum {    /* numbers of a stretch: E_Z is what zbar before it adds to eps after it, Q_Z what it adds to the gradient */
    E_Z, E_E, B_Z, B_E, Q_Z, Q_E, Q_B, Z_Z, NUMBERS
};
enum { X_Z, X_E, X_B, Q_X, OTHERS };
enum { FEW_NUMBERS = 4 };                    /* as in layout.pxd */
enum { BLOCK_STEPS = 16 };                   /* STRETCH_STEPS of layout.pxd */
enum { NODES_AHEAD = 32 };                   /* synapses to the one whose stretches are fetched */
enum { NEAR = 1000 };                        /* neurons of which a cache holds the stretches */

typedef struct {    /* what single steps read */
    int64_t n, length, F_length, n_errors, d_out, other;
    const REAL *psi, *L, *F;          /* rings of rows of n */
    REAL *met;                        /* ring of blocks of steps, of all targets side by side */
    const REAL *alpha, *rho, *beta;
    const double *delta, *discount;   /* rings of n_errors */
    double kappa, keep_other;         /* of the targets: kappa, kappa_reg */
    double rate_share;                /* 1 - kappa_reg */
    double row_alpha;                 /* of rows with a zbar for all */
} Steps;

typedef struct {    /* a stretch, by target */
    const double *number, *other;     /* NULL: none; of a generated model: what stands apart, see neuron_model.h */
    double alpha, kappa, keep_other;  /* powers over its steps */
    int64_t width;                    /* how many numbers */
} Stretch;

typedef struct {    /* what a row works off, in this order */
    int64_t n_decay;                  /* steps past the cutoff, then the traces alone of step `first` - 1; -1: not closed */
    double alpha_decay, kappa_decay, other_decay;
    Stretch before;
    int64_t first, n;                 /* single steps */
    const double *entering;           /* (n + 1,) spikes that enter in each of them and after the last; NULL: none */
    Stretch after;
    int64_t last_credit;              /* at the cutoff: the signal of the step before this one counts, too; else -1 */
    double arrived;                   /* spikes that enter in the step that comes */
    int64_t owes, updates;            /* whether C holds a gradient; whether the weight changes now, and is delivered */
    double eta, low, high;
} Work;

typedef struct {    /* what synapses keep; NULL where a table has none of it */
    const uint32_t *target;
    REAL *weight, *Y, *C, *other, *zbar, *eps;
    const REAL *moment, *variance;    /* of Adam, if it steps after this */
    int64_t dense;                    /* no target occurs twice in a row */
    int64_t readable;                 /* synapses of all rows */
} Synapses;

typedef struct {
    lanes z, e, b, x, g;
} Traces;

/* ---- neurons [j, last) -------------------------------------------------------------------------------------------------- */

/* One step: g += a b + c x;  s = psi (z - beta e);  x = keep x + d b + f s;  e = rho e + s;  b = kappa b + s;
   z = alpha z. The signals a, c, d are those of the step before. */
typedef struct {
    lanes psi, alpha, rho, beta, a, c, d;
    double keep, f;
} Step;

typedef struct {    /* rows of the rings that a step reads */
    const REAL *psi, *L, *F;
    double delta, discount;
} Signals;

static ALWAYS_INLINE const REAL *ring_row(const REAL *ring, int64_t u, int64_t length, int64_t n)
{
    return ring + (u + length) % length * n;
}

static ALWAYS_INLINE int64_t error_seen(const Steps *steps, int64_t u)
{
    return (u - 1 + steps->d_out + steps->n_errors) % steps->n_errors;
}

static ALWAYS_INLINE Signals signals_of(const Steps *steps, int64_t u)
{
    const int64_t seen = error_seen(steps, u);
    return (Signals){ring_row(steps->psi, u, steps->length, steps->n), ring_row(steps->L, u - 1, steps->length, steps->n),
                     ring_row(steps->F, u - 1, steps->F_length, steps->n), steps->delta[seen], steps->discount[seen]};
}

static ALWAYS_INLINE Step step_of(const Steps *steps, Signals at, lanes psi, lanes L, lanes F, lanes alpha, lanes rho,
                                  lanes beta)
{
    Step step = {psi, alpha, rho, beta, L, all_lanes(0.0), all_lanes(0.0), 0.0, 0.0};
    if (steps->other == REGULARIZED)
        step.c = F, step.keep = steps->keep_other, step.f = steps->rate_share;
    else if (steps->other == REWARDED)
        step.a = steps->rate_share * F, step.c = all_lanes(at.delta), step.d = L, step.keep = at.discount;
    return step;
}

/* What synapses that go step by step read of step u: side by side, since targets of a row share few lines of the rings. */
static ALWAYS_INLINE REAL *row_met(const Steps *steps, int64_t u)
{
    return steps->met + u % BLOCK_STEPS * steps->n * (steps->other ? 4 : 2);
}

static ALWAYS_INLINE void store_step_lanes(const Steps *steps, REAL *row, int64_t j, int64_t count, lanes psi, lanes L, lanes F)
{
    if (steps->other) {
        lanes line[4] = {psi, L, F, all_lanes(0.0)};
        store_fours(row + 4 * j, line, count);
    } else
        store_twos(row + 2 * j, psi, L, count);
}

static ALWAYS_INLINE Step neighbours_of(const Steps *steps, Signals at, int64_t j, int64_t count, REAL *met)
{
    const lanes psi = load_lanes(at.psi + j, count), L = load_lanes(at.L + j, count);
    const lanes F = steps->other ? load_lanes(at.F + j, count) : all_lanes(0.0);
    if (met)
        store_step_lanes(steps, met, j, count, psi, L, F);
    return step_of(steps, at, psi, L, F, load_lanes(steps->alpha + j, count), load_lanes(steps->rho + j, count),
                   load_lanes(steps->beta + j, count));
}

/* the numbers of a stretch that there are where no neuron adapts */
static ALWAYS_INLINE void place_few(const lanes *few, lanes *n)
{
    n[B_Z] = few[0], n[Q_Z] = few[1], n[Q_B] = few[2], n[Z_Z] = few[3];
}

/* of neighbours */
static ALWAYS_INLINE void read_stretch(const int few, const double *number, int64_t j, int64_t count, lanes *n)
{
    lanes four[FEW_NUMBERS];
    if (few) {
        read_neighbour_fours(number + FEW_NUMBERS * j, count, four);
        place_few(four, n);
    } else
        read_neighbours(number + NUMBERS * j, NUMBERS, count, n);
}

static ALWAYS_INLINE void write_stretch(const int few, double *number, int64_t j, int64_t count, lanes *n)
{
    lanes four[FEW_NUMBERS] = {n[B_Z], n[Q_Z], n[Q_B], n[Z_Z]};
    if (few)
        write_neighbour_fours(number + FEW_NUMBERS * j, count, four);
    else
        write_neighbours(number + NUMBERS * j, NUMBERS, count, n);
}

/* of any targets */
static ALWAYS_INLINE void gather_stretches(const int few, const double *number, LaneTargets target, lanes *n)
{
    lanes four[FEW_NUMBERS];
    if (few) {
        read_target_fours(number, target, four);
        place_few(four, n);
    } else
        read_targets(number, NUMBERS, target, n);
}

/* of no step */
static ALWAYS_INLINE void begin_stretch(lanes *n)
{
    for (int f = 0; f < NUMBERS; f++)
        n[f] = all_lanes(f == E_E || f == Z_Z ? 1.0 : 0.0);
}

/* of a step that is known from before another state was loaded */
static void lay_met(int64_t j, int64_t last, const Steps *steps, int64_t u)
{
    const Signals at = signals_of(steps, u);
    for (int64_t count; j < last; j += count) {
        count = last - j < LANES ? last - j : LANES;
        store_step_lanes(steps, row_met(steps, u), j, count, load_lanes(at.psi + j, count), load_lanes(at.L + j, count),
                  steps->other ? load_lanes(at.F + j, count) : all_lanes(0.0));
    }
}

/* Step u after a stretch, or after no step; powers are those over the stretch. What becomes of it: `to`. Lays what is met
   in this step. */
static ALWAYS_INLINE void append_to(const int few, int64_t j, int64_t last, const Steps *steps, int64_t u, int64_t none,
                                    const Stretch *stretch, const Stretch *to)
{
    const Signals at = signals_of(steps, u);
    const double kappa = stretch->kappa, keep_other = stretch->keep_other, *other = stretch->other;
    REAL *const met = row_met(steps, u);
    for (int64_t count; j < last; j += count) {
        lanes n[NUMBERS], m[OTHERS];
        count = last - j < LANES ? last - j : LANES;
        const Step s = neighbours_of(steps, at, j, count, met);
        if (none)
            begin_stretch(n);
        else
            read_stretch(few, stretch->number, j, count, n);
        n[Q_Z] += s.a * n[B_Z], n[Q_B] += s.a * kappa;
        if (few) {
            n[B_Z] = steps->kappa * n[B_Z] + s.psi * n[Z_Z];
        } else {
            const lanes by_z = s.psi * (n[Z_Z] - s.beta * n[E_Z]), by_e = -(s.psi * (s.beta * n[E_E]));
            n[Q_E] += s.a * n[B_E];
            if (other) {
                if (none)
                    m[X_Z] = m[X_E] = m[X_B] = m[Q_X] = all_lanes(0.0);
                else
                    read_neighbour_fours(other + OTHERS * j, count, m);
                n[Q_Z] += s.c * m[X_Z], n[Q_E] += s.c * m[X_E], n[Q_B] += s.c * m[X_B], m[Q_X] += s.c * keep_other;
                m[X_Z] = s.keep * m[X_Z] + s.d * n[B_Z] + s.f * by_z, m[X_E] = s.keep * m[X_E] + s.d * n[B_E] + s.f * by_e;
                m[X_B] = s.keep * m[X_B] + s.d * kappa;
                write_neighbour_fours((double *)to->other + OTHERS * j, count, m);
            }
            n[E_Z] = s.rho * n[E_Z] + by_z, n[E_E] = s.rho * n[E_E] + by_e;
            n[B_Z] = steps->kappa * n[B_Z] + by_z, n[B_E] = steps->kappa * n[B_E] + by_e;
        }
        n[Z_Z] *= s.alpha;
        write_stretch(few, (double *)to->number, j, count, n);
    }
}

static void append_step(int64_t j, int64_t last, const Steps *steps, int64_t u, int64_t none, const Stretch *stretch,
                        const Stretch *to)
{
    if (stretch->width == FEW_NUMBERS)
        append_to(1, j, last, steps, u, none, stretch, to);
    else
        append_to(0, j, last, steps, u, none, stretch, to);
}

/* step u before a stretch, or before no step */
static ALWAYS_INLINE void prepend_to(const int few, int64_t j, int64_t last, const Steps *steps, int64_t u, int64_t none,
                                     const Stretch *stretch)
{
    const Signals at = signals_of(steps, u);
    const double kappa = stretch->kappa, keep_other = stretch->keep_other;
    double *const number = (double *)stretch->number, *const other = (double *)stretch->other;
    for (int64_t count; j < last; j += count) {
        lanes n[NUMBERS], m[OTHERS];
        count = last - j < LANES ? last - j : LANES;
        const Step s = neighbours_of(steps, at, j, count, NULL);
        if (none)
            begin_stretch(n);
        else
            read_stretch(few, number, j, count, n);
        if (few) {
            n[Q_Z] = s.alpha * n[Q_Z] + s.psi * n[Q_B], n[Q_B] = steps->kappa * n[Q_B] + s.a;
            n[B_Z] = s.alpha * n[B_Z] + s.psi * kappa;
        } else {
            lanes q = n[Q_E] + n[Q_B], q_b = steps->kappa * n[Q_B] + s.a;
            if (other) {
                if (none)
                    m[X_Z] = m[X_E] = m[X_B] = m[Q_X] = all_lanes(0.0);
                else
                    read_neighbour_fours(other + OTHERS * j, count, m);
                q += s.f * m[Q_X], q_b += s.d * m[Q_X];
                const lanes by_s = s.psi * (m[X_E] + m[X_B] + all_lanes(s.f * keep_other));
                m[X_Z] = s.alpha * m[X_Z] + by_s, m[X_E] = s.rho * m[X_E] - s.beta * by_s;
                m[X_B] = steps->kappa * m[X_B] + s.d * keep_other, m[Q_X] = s.c + s.keep * m[Q_X];
                write_neighbour_fours(other + OTHERS * j, count, m);
            }
            const lanes to_q = s.psi * q, to_e = s.psi * n[E_E], to_b = s.psi * (n[B_E] + all_lanes(kappa));
            n[Q_Z] = s.alpha * n[Q_Z] + to_q, n[Q_E] = s.rho * n[Q_E] - s.beta * to_q, n[Q_B] = q_b;
            n[E_Z] = s.alpha * n[E_Z] + to_e, n[E_E] = s.rho * n[E_E] - s.beta * to_e;
            n[B_Z] = s.alpha * n[B_Z] + to_b, n[B_E] = s.rho * n[B_E] - s.beta * to_b;
        }
        n[Z_Z] *= s.alpha;
        write_stretch(few, number, j, count, n);
    }
}

static void prepend_step(int64_t j, int64_t last, const Steps *steps, int64_t u, int64_t none, const Stretch *stretch)
{
    if (stretch->width == FEW_NUMBERS)
        prepend_to(1, j, last, steps, u, none, stretch);
    else
        prepend_to(0, j, last, steps, u, none, stretch);
}

/* each of `count` stretches becomes: the same, then `next` */
static ALWAYS_INLINE void compose_with(const int few, int64_t j, int64_t last, int64_t count, const Stretch *stretch,
                                       const Stretch *next)
{
    for (int64_t some; j < last; j += some) {
        lanes s[NUMBERS], r[OTHERS];
        some = last - j < LANES ? last - j : LANES;
        read_stretch(few, next->number, j, some, s);
        if (!few && next->other)
            read_neighbour_fours(next->other + OTHERS * j, some, r);
        for (int64_t i = 0; i < count; i++) {
            lanes p[NUMBERS], m[OTHERS];
            const double kappa = stretch[i].kappa;
            read_stretch(few, stretch[i].number, j, some, p);
            if (few) {
                p[Q_Z] += s[Q_Z] * p[Z_Z] + s[Q_B] * p[B_Z], p[Q_B] += s[Q_B] * kappa;
                p[B_Z] = s[B_Z] * p[Z_Z] + next->kappa * p[B_Z];
            } else {
                p[Q_Z] += s[Q_Z] * p[Z_Z] + s[Q_E] * p[E_Z] + s[Q_B] * p[B_Z];
                p[Q_E] += s[Q_E] * p[E_E] + s[Q_B] * p[B_E];
                p[Q_B] += s[Q_B] * kappa;
                if (next->other) {
                    double *const other = (double *)stretch[i].other + OTHERS * j;
                    read_neighbour_fours(other, some, m);
                    p[Q_Z] += r[Q_X] * m[X_Z], p[Q_E] += r[Q_X] * m[X_E], p[Q_B] += r[Q_X] * m[X_B];
                    m[Q_X] += r[Q_X] * stretch[i].keep_other;
                    m[X_Z] = r[X_Z] * p[Z_Z] + r[X_E] * p[E_Z] + r[X_B] * p[B_Z] + next->keep_other * m[X_Z];
                    m[X_E] = r[X_E] * p[E_E] + r[X_B] * p[B_E] + next->keep_other * m[X_E];
                    m[X_B] = r[X_B] * kappa + next->keep_other * m[X_B];
                    write_neighbour_fours(other, some, m);
                }
                p[B_Z] = s[B_Z] * p[Z_Z] + s[B_E] * p[E_Z] + next->kappa * p[B_Z];
                p[B_E] = s[B_E] * p[E_E] + next->kappa * p[B_E];
                p[E_Z] = s[E_Z] * p[Z_Z] + s[E_E] * p[E_Z], p[E_E] = s[E_E] * p[E_E];
            }
            p[Z_Z] *= s[Z_Z];
            write_stretch(few, (double *)stretch[i].number, j, some, p);
        }
    }
}

static void compose(int64_t j, int64_t last, int64_t count, const Stretch *stretch, const Stretch *next)
{
    if (next->width == FEW_NUMBERS)
        compose_with(1, j, last, count, stretch, next);
    else
        compose_with(0, j, last, count, stretch, next);
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

enum {    /* what a row has, and what it works off; walks are compiled apart for what is frequent */
    HAS_EPS = 1, HAS_ZBAR = 2, HAS_OTHER = 4,
    BEFORE = 8, AFTER = 16, UPDATES = 32, PAST_CUTOFF = 64, STEPWISE = 128, CREDITS = 256, FEW = 512
};

static int kind_of(const Work *work, const Synapses *of)
{
    return (of->eps ? HAS_EPS : 0) | (of->zbar ? HAS_ZBAR : 0) | (of->other ? HAS_OTHER : 0) |
           (work->before.number ? BEFORE : 0) | (work->after.number ? AFTER : 0) | (work->updates ? UPDATES : 0) |
           (work->n_decay >= 0 ? PAST_CUTOFF : 0) | (work->n > 0 || work->entering ? STEPWISE : 0) |
           (work->last_credit >= 0 ? CREDITS : 0) |
           ((work->before.number && work->before.width == FEW_NUMBERS) ||
            (work->after.number && work->after.width == FEW_NUMBERS) ? FEW : 0);
}

static ALWAYS_INLINE void go_through(const int kind, const Stretch *stretch, LaneTargets target, Traces *at)
{
    lanes n[NUMBERS], m[OTHERS];
    gather_stretches(kind & FEW, stretch->number, target, n);
    if (kind & HAS_EPS)
        at->g -= n[Q_Z] * at->z + n[Q_E] * at->e + n[Q_B] * at->b;
    else    /* the numbers of eps, which is 0, need not be turned */
        at->g -= n[Q_Z] * at->z + n[Q_B] * at->b;
    if (kind & HAS_OTHER) {
        read_target_fours(stretch->other, target, m);
        at->g -= m[Q_X] * at->x;
        at->x = m[X_Z] * at->z + m[X_E] * at->e + m[X_B] * at->b + stretch->keep_other * at->x;
    }
    if (kind & HAS_EPS) {
        at->b = n[B_Z] * at->z + n[B_E] * at->e + stretch->kappa * at->b;
        at->e = n[E_Z] * at->z + n[E_E] * at->e;
    } else
        at->b = n[B_Z] * at->z + stretch->kappa * at->b;
    at->z *= kind & HAS_ZBAR ? n[Z_Z] : all_lanes(stretch->alpha);
}

static ALWAYS_INLINE void credit_signal(const Step *s, Traces *at)
{
    at->g -= s->a * at->b + s->c * at->x;
}

static ALWAYS_INLINE void follow_traces(const Step *s, double kappa, Traces *at)
{
    const lanes made = s->psi * (at->z - s->beta * at->e);
    at->x = s->keep * at->x + s->d * at->b + s->f * made;
    at->e = s->rho * at->e + made;
    at->b = kappa * at->b + made;
    at->z *= s->alpha;
}

typedef struct {    /* of a step of the block, as in `Signals` */
    const REAL *met;
    double delta, discount;
} Met;

enum { MOST_SIGNALS = BLOCK_STEPS + 2 };    /* those of a block, of the step before, and of the one at the cutoff */

static Met met_in(const Steps *steps, int64_t u)
{
    const int64_t seen = steps->other == REWARDED ? error_seen(steps, u) : 0;
    return (Met){row_met(steps, u), steps->delta[seen], steps->discount[seen]};
}

static ALWAYS_INLINE Step met_by(const int kind, const Steps *steps, const Met *met, LaneTargets target, lanes alpha, lanes rho,
                                 lanes beta)
{
    lanes line[4];
    if (kind & HAS_OTHER)
        gather_fours(met->met, target, line);
    else
        gather_twos(met->met, target, line);
    return step_of(steps, (Signals){NULL, NULL, NULL, met->delta, met->discount}, line[0], line[1],
                   kind & HAS_OTHER ? line[2] : all_lanes(0.0), alpha, rho, beta);
}

/* what is worked off step by step; `met`: of each step, after that of a closed row, whose signal does not count */
static ALWAYS_INLINE void go_step_by_step(const int kind, const Steps *steps, const Work *work, const Met *met,
                                          LaneTargets target, Traces *at)
{
    const lanes alpha = kind & HAS_ZBAR ? gather_lanes(steps->alpha, target) : all_lanes(steps->row_alpha);
    const lanes rho = kind & HAS_EPS ? gather_lanes(steps->rho, target) : all_lanes(0.0);
    const lanes beta = kind & HAS_EPS ? gather_lanes(steps->beta, target) : all_lanes(0.0);
    if (kind & PAST_CUTOFF) {
        const Step s = met_by(kind, steps, met, target, alpha, rho, beta);
        at->z *= kind & HAS_ZBAR ? power_lanes(alpha, work->n_decay) : all_lanes(work->alpha_decay);
        at->b *= work->kappa_decay, at->x *= work->other_decay;
        if (kind & HAS_EPS)
            at->e *= power_lanes(rho, work->n_decay);
        follow_traces(&s, steps->kappa, at);
    }
    if (!(kind & STEPWISE))
        return;
    for (int64_t i = 0; i < work->n; i++) {
        const Step s = met_by(kind, steps, met + 1 + i, target, alpha, rho, beta);
        if (work->entering)
            at->z += work->entering[i];
        credit_signal(&s, at);
        follow_traces(&s, steps->kappa, at);
    }
    if (work->entering)
        at->z += work->entering[work->n];
}

/* the signal of the step before alone */
static ALWAYS_INLINE void credit_last(const int kind, const Steps *steps, Signals at, LaneTargets target, Traces *to)
{
    const lanes zero = all_lanes(0.0), F = kind & HAS_OTHER ? gather_lanes(at.F, target) : zero;
    const Step s = step_of(steps, at, zero, gather_lanes(at.L, target), F, zero, zero, zero);
    credit_signal(&s, to);
}

static ALWAYS_INLINE void work_lanes(const int kind, const Steps *steps, const Work *work, const Synapses *of,
                                     const Met *met, Signals last, double Z, int64_t k, LaneTargets target)
{
    const lanes zero = all_lanes(0.0);
    Traces at = {kind & HAS_ZBAR ? load_lanes(of->zbar + k, LANES) : all_lanes(Z),
                 kind & HAS_EPS ? load_lanes(of->eps + k, LANES) : zero, load_lanes(of->Y + k, LANES),
                 kind & HAS_OTHER ? load_lanes(of->other + k, LANES) : zero,
                 work->owes ? load_lanes(of->C + k, LANES) : zero};
    if (kind & BEFORE)
        go_through(kind, &work->before, target, &at);
    if (kind & (PAST_CUTOFF | STEPWISE))
        go_step_by_step(kind, steps, work, met, target, &at);
    if (kind & AFTER)
        go_through(kind, &work->after, target, &at);
    if (kind & CREDITS)
        credit_last(kind, steps, last, target, &at);
    if (kind & UPDATES) {
        const lanes low = all_lanes(work->low), high = all_lanes(work->high);
        /* 0 - g, so that a gradient of 0 keeps the sign of a weight of -0 */
        lanes w = load_lanes(of->weight + k, LANES) - work->eta * (zero - at.g);
        w = where(w > low, w, low);
        store_lanes(of->weight + k, where(w < high, w, high), LANES);
    } else
        store_lanes(of->C + k, at.g, LANES);
    if (kind & HAS_ZBAR)
        store_lanes(of->zbar + k, at.z + work->arrived, LANES);
    if (kind & HAS_EPS)
        store_lanes(of->eps + k, at.e, LANES);
    if (kind & HAS_OTHER)
        store_lanes(of->other + k, at.x, LANES);
    store_lanes(of->Y + k, at.b, LANES);
}

/* what zbar of a row becomes, as in `work_lanes` */
static double work_zbar(const Steps *steps, const Work *work, double Z)
{
    if (work->before.number)
        Z *= work->before.alpha;
    if (work->n_decay >= 0)
        Z = Z * work->alpha_decay * steps->row_alpha;
    for (int64_t i = 0; i < work->n; i++)
        Z = (Z + (work->entering ? work->entering[i] : 0.0)) * steps->row_alpha;
    if (work->entering)
        Z += work->entering[work->n];
    return (work->after.number ? Z * work->after.alpha : Z) + work->arrived;
}

static ALWAYS_INLINE void fetch_synapses(const int kind, const Work *work, const Synapses *of, int64_t k)
{
    __builtin_prefetch(of->target + k);
    __builtin_prefetch(of->Y + k);
    if (kind & HAS_EPS)
        __builtin_prefetch(of->eps + k);
    if (kind & HAS_ZBAR)
        __builtin_prefetch(of->zbar + k);
    if (kind & HAS_OTHER)
        __builtin_prefetch(of->other + k);
    if (work->owes || !(kind & UPDATES))
        __builtin_prefetch(of->C + k);
    if (kind & UPDATES || of->moment)
        __builtin_prefetch(of->weight + k);
    if (of->moment) {
        __builtin_prefetch(of->moment + k);
        __builtin_prefetch(of->variance + k);
    }
}

static ALWAYS_INLINE void fetch_stretch(const int kind, const Stretch *stretch, const uint32_t *target)
{
    for (int64_t i = 0; i < LANES; i++)
        __builtin_prefetch(stretch->number + (kind & FEW ? FEW_NUMBERS : NUMBERS) * (int64_t)target[i]);
    for (int64_t i = 0; kind & HAS_OTHER && i < LANES; i++)
        __builtin_prefetch(stretch->other + OTHERS * (int64_t)target[i]);
}

static ALWAYS_INLINE void fetch_targets(const int kind, const Work *work, const uint32_t *target)
{
    if (kind & BEFORE)
        fetch_stretch(kind, &work->before, target);
    if (kind & AFTER)
        fetch_stretch(kind, &work->after, target);
}

enum { WRITTEN = 5, KEPT = 6 };    /* arrays that a walk writes; that there are */

static ALWAYS_INLINE void list_written(const int kind, const Synapses *of, REAL **array)
{
    array[0] = of->Y, array[1] = kind & UPDATES ? of->weight : of->C;
    array[2] = kind & HAS_EPS ? of->eps : NULL, array[3] = kind & HAS_ZBAR ? of->zbar : NULL;
    array[4] = kind & HAS_OTHER ? of->other : NULL;
}

/* The last synapses of a row are worked off with those that follow: of all lanes the first `count` stay, the others
   become again what they were. */
static ALWAYS_INLINE void give_back(REAL *array, lanes before, int64_t count)
{
    store_lanes(array, where(first_lanes(count), load_lanes(array, LANES), before), LANES);
}

/* the last synapses of all rows: nothing may be read after them */
static __attribute__((noinline)) void work_last(int kind, const Steps *steps, const Work *work, const Synapses *of,
                                                const Met *met, Signals last, double Z, int64_t k, int64_t count)
{
    Synapses few = *of;
    REAL *const array[KEPT] = {of->weight, of->Y, of->C, of->other, of->zbar, of->eps};
    REAL **const copied[KEPT] = {&few.weight, &few.Y, &few.C, &few.other, &few.zbar, &few.eps};
    REAL copy[KEPT][LANES] = {{0}};
    uint32_t target[LANES];
    for (int64_t i = 0; i < LANES; i++)
        target[i] = of->target[i < count ? k + i : k + count - 1];
    for (int a = 0; a < KEPT; a++) {
        *copied[a] = copy[a];
        for (int64_t i = 0; array[a] && i < count; i++)
            copy[a][i] = array[a][k + i];
    }
    work_lanes(kind, steps, work, &few, met, last, Z, 0, (LaneTargets){target, 0});
    for (int a = 0; a < KEPT; a++)
        for (int64_t i = 0; array[a] && i < count; i++)
            array[a][k + i] = copy[a][i];
}

static ALWAYS_INLINE void deliver_weights(const Synapses *of, int64_t k, int64_t stop, REAL *arriving)
{
    const uint32_t *target = of->target;
    const REAL *weight = of->weight;
    for (; k + LANES <= stop; k += LANES) {
        if (of->dense && target[k + LANES - 1] - target[k] == LANES - 1)
            *(kept_lanes *)(arriving + target[k]) += *(const kept_lanes *)(weight + k);
        else
            for (int i = 0; i < LANES; i++)
                arriving[target[k + i]] += weight[k + i];
    }
    for (; k < stop; k++)
        arriving[target[k]] += weight[k];
}

static ALWAYS_INLINE void work_chunks(const int kind, const Steps *steps_, const Work *work_, const Synapses *of_,
                                      const Met *met, Signals last, double Z, int64_t start, int64_t stop, int64_t ahead,
                                      REAL *arriving)
{
    const Steps steps = *steps_;    /* nothing that is written can be in these copies */
    const Work work = *work_;
    const Synapses of = *of_;
    const int fetches = steps.n > NEAR && !of.dense;    /* processors foresee lines that follow each other */
    for (int64_t k = start; fetches && k + LANES <= stop && k < start + NODES_AHEAD; k += LANES)
        fetch_targets(kind, &work, of.target + k);
    for (int64_t k = start; k < stop; k += LANES) {
        const uint32_t *target = of.target + k;
        const int64_t count = stop - k < LANES ? stop - k : LANES;
        const int beside = count == LANES && of.dense && target[LANES - 1] - target[0] == LANES - 1;
        REAL *array[WRITTEN];
        lanes before[WRITTEN];
        if (ahead)
            fetch_synapses(kind, &work, &of, k + ahead);
        if (fetches && k + NODES_AHEAD + LANES <= stop)
            fetch_targets(kind, &work, target + NODES_AHEAD);
        list_written(kind, &of, array);
        if (count < LANES && of.readable - k < LANES) {
            work_last(kind, steps_, work_, of_, met, last, Z, k, count);
            break;
        }
        for (int a = 0; count < LANES && a < WRITTEN; a++)
            if (array[a])
                before[a] = load_lanes(array[a] + k, LANES);
        work_lanes(kind, &steps, &work, &of, met, last, Z, k, (LaneTargets){target, beside});
        for (int a = 0; count < LANES && a < WRITTEN; a++)
            if (array[a])
                give_back(array[a] + k, before[a], count);
    }
    if ((kind & UPDATES) && arriving)    /* not chunk by chunk: what writes these would wait for all that was computed */
        deliver_weights(&of, start, stop, arriving);
}

#define WALK(kind)                                                                                                     \
    case kind:                                                                                                         \
        work_chunks(kind, steps, work, of, met, last, Z, start, stop, ahead, arriving);                                \
        break;
#define WALKS_BY_STRETCHES(has)                                                                                        \
    WALK((has) | AFTER)                                                                                                \
    WALK((has) | AFTER | UPDATES)                                                                                      \
    WALK((has) | BEFORE | AFTER)                                                                                       \
    WALK((has) | BEFORE | AFTER | UPDATES)                                                                             \
    WALK((has) | BEFORE | AFTER | CREDITS)
#define WALKS_WITH(has)                                                                                                \
    WALKS_BY_STRETCHES(has)                                                                                            \
    WALK((has) | PAST_CUTOFF | UPDATES)                                                                                \
    WALK((has) | STEPWISE | UPDATES)

/* the synapses [start, stop); `ahead`: how much further on a row starts that comes soon */
static void work_row(const Steps *steps, const Work *work, const Synapses *of, double Z, int64_t start, int64_t stop,
                     int64_t ahead, REAL *arriving)
{
    const int kind = kind_of(work, of);
    Met met[MOST_SIGNALS];
    Signals last = {NULL, NULL, NULL, 0.0, 0.0};
    for (int64_t i = kind & PAST_CUTOFF ? -1 : 0; i < work->n; i++)
        met[1 + i] = met_in(steps, work->first + i);
    if (kind & CREDITS)
        last = signals_of(steps, work->last_credit);
    switch (kind) {
    WALKS_WITH(0)
    WALKS_WITH(HAS_EPS)
    WALKS_WITH(HAS_ZBAR)
    WALKS_WITH(HAS_EPS | HAS_ZBAR)
    WALKS_WITH(HAS_EPS | HAS_OTHER)
    WALKS_BY_STRETCHES(FEW)
    WALKS_BY_STRETCHES(FEW | HAS_ZBAR)
    default:
        work_chunks(kind, steps, work, of, met, last, Z, start, stop, ahead, arriving);
    }
}
