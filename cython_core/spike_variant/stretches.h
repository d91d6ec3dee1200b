/* What neurons and rows of the spike variant do with stretches of steps (the equations stand in stretches.pxi).

   name         of               is
   number[8]    a target         a stretch: what it makes of the traces of a synapse, one cache line
   other[4]     a target         the same of one more trace, where kappa_reg differs or with rewards; as wide
   z, e, b, x   a synapse        zbar of the step that comes, eps, ebar, and the trace beside ebar: ereg or h
   g            a synapse        minus the gradient since its weight changed

   Eight targets at a time. What is kept is REAL, what is computed is double, lane by lane: any division of a row gives the
   same bits. Whether a table has this or that trace is asked for each eight, not compiled apart. */

#include "../lanes.h"

enum {    /* numbers of a stretch: E_Z is what zbar before it adds to eps after it, Q_Z what it adds to the gradient */
    E_Z, E_E, B_Z, B_E, Q_Z, Q_E, Q_B, Z_Z, NUMBERS
};
enum { X_Z, X_E, X_B, Q_X, OTHERS };
enum { NODES_AHEAD = 32 };                   /* synapses to the one whose stretches are fetched */
enum { NEAR = 3000 };                        /* neurons of which a cache holds the stretches */

typedef struct {    /* what single steps read */
    int64_t n, length, F_length, n_errors, d_out, other;
    const REAL *psi, *L, *F;          /* rings of rows of n */
    const REAL *alpha, *rho, *beta;
    const double *delta, *discount;   /* rings of n_errors */
    double kappa, keep_other;         /* of the targets: kappa, kappa_reg */
    double rate_share;                /* 1 - kappa_reg */
    double row_alpha;                 /* of rows with a zbar for all */
} Steps;

typedef struct {    /* a stretch, by target */
    const double *number, *other;     /* NULL: none; of a generated model: what stands apart, see neuron_model.h */
    double alpha, kappa, keep_other;  /* powers over its steps */
    int64_t width;                    /* of a generated model: its numbers */
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
} Synapses;

typedef struct {
    lanes z, e, b, x, g;
} Traces;

/* those of one more trace, as wide */
static ALWAYS_INLINE void read_others(const double *other, Targets8 target, lanes *found)
{
    lanes line[NUMBERS];
    read_targets(other, NUMBERS, target, line);
    for (int f = 0; f < OTHERS; f++)
        found[f] = line[f];
}

static ALWAYS_INLINE void read_other_neighbours(const double *other, int64_t count, lanes *found)
{
    lanes line[NUMBERS];
    read_neighbours(other, NUMBERS, count, line);
    for (int f = 0; f < OTHERS; f++)
        found[f] = line[f];
}

static ALWAYS_INLINE void write_other_neighbours(double *other, int64_t count, const lanes *found)
{
    lanes line[NUMBERS];
    for (int f = 0; f < NUMBERS; f++)
        line[f] = f < OTHERS ? found[f] : all_lanes(0.0);
    write_neighbours(other, NUMBERS, count, line);
}

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

static ALWAYS_INLINE Signals signals_of(const Steps *steps, int64_t u)
{
    const int64_t seen = (u - 1 + steps->d_out + steps->n_errors) % steps->n_errors;
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

static ALWAYS_INLINE Step neighbours_of(const Steps *steps, Signals at, int64_t j, int64_t count)
{
    return step_of(steps, at, load_lanes(at.psi + j, count), load_lanes(at.L + j, count),
                   steps->other ? load_lanes(at.F + j, count) : all_lanes(0.0), load_lanes(steps->alpha + j, count),
                   load_lanes(steps->rho + j, count), load_lanes(steps->beta + j, count));
}

/* stretches of no step */
static void begin_stretches(int64_t n, double *number, double *other)
{
    for (int64_t j = 0; j < n; j++)
        for (int f = 0; f < NUMBERS; f++)
            number[NUMBERS * j + f] = f == E_E || f == Z_Z ? 1.0 : 0.0;
    for (int64_t i = 0; other && i < NUMBERS * n; i++)
        other[i] = 0.0;
}

/* step u after a stretch; kappa, keep_other: powers over the stretch */
static void append_step(int64_t j, int64_t last, const Steps *steps, int64_t u, double kappa, double keep_other,
                        double *number, double *other)
{
    const Signals at = signals_of(steps, u);
    for (int64_t count; j < last; j += count) {
        lanes n[NUMBERS], m[OTHERS];
        count = last - j < LANES ? last - j : LANES;
        const Step s = neighbours_of(steps, at, j, count);
        read_neighbours(number + NUMBERS * j, NUMBERS, count, n);
        n[Q_Z] += s.a * n[B_Z], n[Q_E] += s.a * n[B_E], n[Q_B] += s.a * kappa;
        const lanes by_z = s.psi * (n[Z_Z] - s.beta * n[E_Z]), by_e = -(s.psi * (s.beta * n[E_E]));
        if (other) {
            read_other_neighbours(other + NUMBERS * j, count, m);
            n[Q_Z] += s.c * m[X_Z], n[Q_E] += s.c * m[X_E], n[Q_B] += s.c * m[X_B], m[Q_X] += s.c * keep_other;
            m[X_Z] = s.keep * m[X_Z] + s.d * n[B_Z] + s.f * by_z, m[X_E] = s.keep * m[X_E] + s.d * n[B_E] + s.f * by_e;
            m[X_B] = s.keep * m[X_B] + s.d * kappa;
            write_other_neighbours(other + NUMBERS * j, count, m);
        }
        n[E_Z] = s.rho * n[E_Z] + by_z, n[E_E] = s.rho * n[E_E] + by_e;
        n[B_Z] = steps->kappa * n[B_Z] + by_z, n[B_E] = steps->kappa * n[B_E] + by_e;
        n[Z_Z] *= s.alpha;
        write_neighbours(number + NUMBERS * j, NUMBERS, count, n);
    }
}

/* step u before a stretch */
static void prepend_step(int64_t j, int64_t last, const Steps *steps, int64_t u, double kappa, double keep_other,
                         double *number, double *other)
{
    const Signals at = signals_of(steps, u);
    for (int64_t count; j < last; j += count) {
        lanes n[NUMBERS], m[OTHERS];
        count = last - j < LANES ? last - j : LANES;
        const Step s = neighbours_of(steps, at, j, count);
        read_neighbours(number + NUMBERS * j, NUMBERS, count, n);
        lanes q = n[Q_E] + n[Q_B], q_b = steps->kappa * n[Q_B] + s.a;
        if (other) {
            read_other_neighbours(other + NUMBERS * j, count, m);
            q += s.f * m[Q_X], q_b += s.d * m[Q_X];
            const lanes by_s = s.psi * (m[X_E] + m[X_B] + all_lanes(s.f * keep_other));
            m[X_Z] = s.alpha * m[X_Z] + by_s, m[X_E] = s.rho * m[X_E] - s.beta * by_s;
            m[X_B] = steps->kappa * m[X_B] + s.d * keep_other, m[Q_X] = s.c + s.keep * m[Q_X];
            write_other_neighbours(other + NUMBERS * j, count, m);
        }
        const lanes to_q = s.psi * q, to_e = s.psi * n[E_E], to_b = s.psi * (n[B_E] + all_lanes(kappa));
        n[Q_Z] = s.alpha * n[Q_Z] + to_q, n[Q_E] = s.rho * n[Q_E] - s.beta * to_q, n[Q_B] = q_b;
        n[E_Z] = s.alpha * n[E_Z] + to_e, n[E_E] = s.rho * n[E_E] - s.beta * to_e;
        n[B_Z] = s.alpha * n[B_Z] + to_b, n[B_E] = s.rho * n[B_E] - s.beta * to_b;
        n[Z_Z] *= s.alpha;
        write_neighbours(number + NUMBERS * j, NUMBERS, count, n);
    }
}

/* `number` becomes: the same, then `next`; kappa.. of the first, next_kappa.. of `next` */
static void compose(int64_t j, int64_t last, double kappa, double next_kappa, double keep_other, double next_keep,
                    const double *next, const double *next_other, double *number, double *other)
{
    for (int64_t count; j < last; j += count) {
        lanes p[NUMBERS], s[NUMBERS], m[OTHERS], r[OTHERS];
        count = last - j < LANES ? last - j : LANES;
        read_neighbours(number + NUMBERS * j, NUMBERS, count, p);
        read_neighbours(next + NUMBERS * j, NUMBERS, count, s);
        p[Q_Z] += s[Q_Z] * p[Z_Z] + s[Q_E] * p[E_Z] + s[Q_B] * p[B_Z];
        p[Q_E] += s[Q_E] * p[E_E] + s[Q_B] * p[B_E];
        p[Q_B] += s[Q_B] * kappa;
        if (other) {
            read_other_neighbours(other + NUMBERS * j, count, m);
            read_other_neighbours(next_other + NUMBERS * j, count, r);
            p[Q_Z] += r[Q_X] * m[X_Z], p[Q_E] += r[Q_X] * m[X_E], p[Q_B] += r[Q_X] * m[X_B];
            m[Q_X] += r[Q_X] * keep_other;
            m[X_Z] = r[X_Z] * p[Z_Z] + r[X_E] * p[E_Z] + r[X_B] * p[B_Z] + next_keep * m[X_Z];
            m[X_E] = r[X_E] * p[E_E] + r[X_B] * p[B_E] + next_keep * m[X_E];
            m[X_B] = r[X_B] * kappa + next_keep * m[X_B];
            write_other_neighbours(other + NUMBERS * j, count, m);
        }
        p[B_Z] = s[B_Z] * p[Z_Z] + s[B_E] * p[E_Z] + next_kappa * p[B_Z], p[B_E] = s[B_E] * p[E_E] + next_kappa * p[B_E];
        p[E_Z] = s[E_Z] * p[Z_Z] + s[E_E] * p[E_Z], p[E_E] = s[E_E] * p[E_E];
        p[Z_Z] *= s[Z_Z];
        write_neighbours(number + NUMBERS * j, NUMBERS, count, p);
    }
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

static ALWAYS_INLINE void go_through(const Stretch *stretch, int own, Targets8 target, Traces *at)
{
    lanes n[NUMBERS], m[OTHERS];
    read_targets(stretch->number, NUMBERS, target, n);
    at->g -= n[Q_Z] * at->z + n[Q_E] * at->e + n[Q_B] * at->b;
    if (stretch->other) {
        read_others(stretch->other, target, m);
        at->g -= m[Q_X] * at->x;
        at->x = m[X_Z] * at->z + m[X_E] * at->e + m[X_B] * at->b + stretch->keep_other * at->x;
    }
    at->b = n[B_Z] * at->z + n[B_E] * at->e + stretch->kappa * at->b;
    at->e = n[E_Z] * at->z + n[E_E] * at->e;
    at->z *= own ? n[Z_Z] : all_lanes(stretch->alpha);
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

static ALWAYS_INLINE Step targets_of(const Steps *steps, Signals at, Targets8 target, lanes alpha, lanes rho,
                                     lanes beta)
{
    return step_of(steps, at, gather_lanes(at.psi, target), gather_lanes(at.L, target),
                   steps->other ? gather_lanes(at.F, target) : all_lanes(0.0), alpha, rho, beta);
}

enum { MOST_SIGNALS = 18 };    /* those of a block, of the step before, and of the one at the cutoff */

/* what is worked off step by step; `signals`: of each step, after that of a closed row */
static ALWAYS_INLINE void go_step_by_step(const Steps *steps, const Work *work, const Synapses *of,
                                          const Signals *signals, Targets8 target, Traces *at)
{
    const int own = of->zbar != NULL;
    const lanes alpha = own ? gather_lanes(steps->alpha, target) : all_lanes(steps->row_alpha);
    const lanes rho = of->eps ? gather_lanes(steps->rho, target) : all_lanes(0.0);
    const lanes beta = of->eps ? gather_lanes(steps->beta, target) : all_lanes(0.0);
    if (work->n_decay >= 0) {
        Step s = targets_of(steps, signals[0], target, alpha, rho, beta);
        at->z *= own ? power_lanes(alpha, work->n_decay) : all_lanes(work->alpha_decay);
        at->b *= work->kappa_decay, at->x *= work->other_decay;
        if (of->eps)
            at->e *= power_lanes(rho, work->n_decay);
        follow_traces(&s, steps->kappa, at);
    }
    for (int64_t i = 0; i < work->n; i++) {
        const Step s = targets_of(steps, signals[1 + i], target, alpha, rho, beta);
        if (work->entering)
            at->z += work->entering[i];
        credit_signal(&s, at);
        follow_traces(&s, steps->kappa, at);
    }
    if (work->entering)
        at->z += work->entering[work->n];
}

static ALWAYS_INLINE void work_lanes(const int single, const Steps *steps, const Work *work, const Synapses *of,
                                     const Signals *signals, double Z, int64_t k, Targets8 target, int64_t count)
{
    const int own = of->zbar != NULL;
    Traces at = {own ? load_lanes(of->zbar + k, count) : all_lanes(Z),
                 of->eps ? load_lanes(of->eps + k, count) : all_lanes(0.0), load_lanes(of->Y + k, count),
                 of->other ? load_lanes(of->other + k, count) : all_lanes(0.0),
                 work->owes ? load_lanes(of->C + k, count) : all_lanes(0.0)};
    if (work->before.number)
        go_through(&work->before, own, target, &at);
    if (single)
        go_step_by_step(steps, work, of, signals, target, &at);
    if (work->after.number)
        go_through(&work->after, own, target, &at);
    if (single && work->last_credit >= 0) {
        const lanes zero = all_lanes(0.0);
        const Step s = targets_of(steps, signals[MOST_SIGNALS - 1], target, zero, zero, zero);
        credit_signal(&s, &at);
    }
    if (work->updates) {
        const lanes low = all_lanes(work->low), high = all_lanes(work->high);
        /* 0 - g, so that a gradient of 0 keeps the sign of a weight of -0 */
        lanes w = load_lanes(of->weight + k, count) - work->eta * (all_lanes(0.0) - at.g);
        w = where(w > low, w, low);
        store_lanes(of->weight + k, where(w < high, w, high), count);
    } else
        store_lanes(of->C + k, at.g, count);
    if (own)
        store_lanes(of->zbar + k, at.z + work->arrived, count);
    if (of->eps)
        store_lanes(of->eps + k, at.e, count);
    if (of->other)
        store_lanes(of->other + k, at.x, count);
    store_lanes(of->Y + k, at.b, count);
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

static ALWAYS_INLINE void fetch_synapses(const Work *work, const Synapses *of, int64_t k)
{
    __builtin_prefetch(of->target + k);
    __builtin_prefetch(of->Y + k);
    if (of->eps)
        __builtin_prefetch(of->eps + k);
    if (of->zbar)
        __builtin_prefetch(of->zbar + k);
    if (of->other)
        __builtin_prefetch(of->other + k);
    if (work->owes || !work->updates)
        __builtin_prefetch(of->C + k);
    if (work->updates || of->moment)
        __builtin_prefetch(of->weight + k);
    if (of->moment) {
        __builtin_prefetch(of->moment + k);
        __builtin_prefetch(of->variance + k);
    }
}

static ALWAYS_INLINE void fetch_stretches(const double *number, const uint32_t *target)
{
    for (int64_t i = 0; number && i < LANES; i++)
        __builtin_prefetch(number + NUMBERS * (int64_t)target[i]);
}

static ALWAYS_INLINE void work_chunks(const int single, const Steps *steps, const Work *work, const Synapses *of,
                                      const Signals *signals, double Z, int64_t start, int64_t stop, int64_t ahead,
                                      REAL *arriving)
{
    const int fetches = steps->n > NEAR;
    int64_t k = start;
    for (int64_t i = start; fetches && i + LANES <= stop && i < start + NODES_AHEAD; i += LANES) {
        fetch_stretches(work->before.number, of->target + i);
        fetch_stretches(work->after.number, of->target + i);
    }
    for (; k + LANES <= stop; k += LANES) {
        const uint32_t *target = of->target + k;
        const Targets8 eight = {target, of->dense && target[LANES - 1] - target[0] == LANES - 1};
        if (ahead)
            fetch_synapses(work, of, k + ahead);
        if (fetches && k + NODES_AHEAD + LANES <= stop) {
            fetch_stretches(work->before.number, target + NODES_AHEAD);
            fetch_stretches(work->after.number, target + NODES_AHEAD);
        }
        work_lanes(single, steps, work, of, signals, Z, k, eight, LANES);
        if (work->updates && eight.beside) {
            *(kept_lanes *)(arriving + target[0]) += *(const kept_lanes *)(of->weight + k);
        } else if (work->updates) {
            const REAL *weight = of->weight + k;
            arriving[target[0]] += weight[0], arriving[target[1]] += weight[1], arriving[target[2]] += weight[2];
            arriving[target[3]] += weight[3], arriving[target[4]] += weight[4], arriving[target[5]] += weight[5];
            arriving[target[6]] += weight[6], arriving[target[7]] += weight[7];
        }
    }
    if (k < stop) {
        uint32_t some[LANES];
        for (int64_t i = 0; i < LANES; i++)
            some[i] = of->target[k + i < stop ? k + i : stop - 1];
        work_lanes(single, steps, work, of, signals, Z, k, (Targets8){some, 0}, stop - k);
        for (; work->updates && k < stop; k++)
            arriving[of->target[k]] += of->weight[k];
    }
}

/* the synapses [start, stop); `ahead`: how much further on a row starts that comes soon */
static void work_row(const Steps *steps_, const Work *work_, const Synapses *of_, double Z, int64_t start, int64_t stop,
                     int64_t ahead, REAL *arriving)
{
    const Steps steps = *steps_;    /* nothing that is written can be in these copies */
    const Work work = *work_;
    const Synapses of = *of_;
    Signals signals[MOST_SIGNALS];
    if (work.n_decay < 0 && work.n == 0 && !work.entering && work.last_credit < 0) {
        work_chunks(0, &steps, &work, &of, signals, Z, start, stop, ahead, arriving);
        return;
    }
    if (work.n_decay >= 0)
        signals[0] = signals_of(&steps, work.first - 1);
    for (int64_t i = 0; i < work.n; i++)
        signals[1 + i] = signals_of(&steps, work.first + i);
    if (work.last_credit >= 0)
        signals[MOST_SIGNALS - 1] = signals_of(&steps, work.last_credit);
    work_chunks(1, &steps, &work, &of, signals, Z, start, stop, ahead, arriving);
}
