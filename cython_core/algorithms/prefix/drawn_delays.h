/* Rows of the spike variant that learn by prefix sums, if a source has a row for each delay: rows are short, so each
   operation takes as many synapses as there are lanes, and values of a block are computed once per step. Formulas,
   `Cell` and `End` as in formulas.h, lanes as in lanes.h; bits are the same. */

/* Used only if a register holds eight doubles. Elsewhere rows take a third less time by packs of formulas.h, like rows
   of one delay. */
#ifndef DRAWN_LANES
#define DRAWN_LANES (LANES == 8)
#endif
enum { BY_LANES = DRAWN_LANES };

enum {
    ROWS_BEFORE = 8,    /* rows to the one whose state is prefetched */
    SOON = 4,           /* rows to the one whose synapses are prefetched */
    NEXT_LONG = 2       /* the same if rows are long */
};

typedef struct {    /* columns of `books`, see layout.pxd */
    int64_t latest, cursor, waiting, older, closed;
} Book;

typedef struct {    /* a projection in a step: all of its blocks learn alike */
    int64_t t, cutoff;
    int64_t block, starts;       /* block of the sums, and whether it begins with this step */
    const int64_t *row_ptr;
    int64_t n_synapses;
    Book *books;
    double *Z;
    const int8_t *signs;         /* of rows, or NULL */
    const uint32_t *target;
    REAL *weight, *Y, *C;
    Targets at;
    double shrink, alpha_block;  /* kappa and alpha to the steps of a block */
    double alpha_place, kappa_place;
    double d, alpha, kappa, eta, low, high;
    const int64_t *first, *rate_since;    /* rates that act one update later, see `take_rate`; or NULL */
    const double *rates;                  /* (n_rates, n_blocks), from a block of the projection on */
    int64_t n_rates, n_blocks;
    Power *decays;               /* (2, DECAYS), of alpha and kappa */
    int64_t is_short;            /* whether rows are prefetched one by one, not stride by stride */
    int64_t work;                /* UPDATED */
} Drawn;

typedef struct {
    lanes R, A, D, R_end, A_end, D_end, R_before;
} LaneSums;

/* R, A and D of as many targets as lanes; `sums`: Cell or End */
static ALWAYS_INLINE void read_sums(const double *sums, const uint32_t *of, lanes *R, lanes *A, lanes *D)
{
    lanes line[4];
    read_target_fours(sums, (LaneTargets){of, 0}, line);
    *R = line[0], *A = line[1], *D = line[2];
}

enum { ARRIVES, REOPENS, CLOSES };

/* Synapses k to k + count - 1, count at most LANES. Later synapses of the lanes are read and written unchanged. */
static ALWAYS_INLINE void work_lanes_of(const int what, const Drawn *of, double Z, double Z_before, double power,
                                     double crossed_Z, const int crosses, double eta, double low, double high,
                                     int64_t k, int64_t count)
{
    const some there = some_lanes(count);
    uint32_t target[LANES]; /* of later synapses, too: no wait for the last one */
    lanes R, A, D, R_before = all_lanes(0.0);
    memcpy(target, of->target + k, sizeof target);
    const lanes old_y = load_lanes(of->Y + k, LANES), old_c = load_lanes(of->C + k, LANES);
    lanes y = old_y, c = old_c;
    if (crosses) {
        read_sums(&of->at.end->R, target, &R, &A, &D);
        c = rounded_lanes(c - (y * A + crossed_Z * D));
        y = rounded_lanes(of->shrink * (y + crossed_Z * R));
    }
    read_sums(&of->at.cell->R, target, &R, &A, &D);
    if (what != ARRIVES)
        for (int i = 0; i < LANES; i++)
            R_before[i] = of->at.R_before[target[i]];
    if (what == CLOSES) {
        c = rounded_lanes(c - (y * A + Z * D));
        y = rounded_lanes(power * (y + Z_before * R_before));
    } else {
        const kept_lanes old_w = *(const kept_lanes *)(of->weight + k);
        lanes w;
        if (what == ARRIVES) {
            const double grown = Z + of->d;
            w = rounded_lanes(widen_lanes(old_w) - eta * ((y * A + Z * D) - c));
            y = rounded_lanes(y - of->d * R);
            c = rounded_lanes(y * A + grown * D);
        } else {
            w = widen_lanes(old_w + (REAL)eta * narrow_lanes(c));
            y = rounded_lanes(power * y - Z_before * R_before);
            c = rounded_lanes(y * A + Z * D);
            y = rounded_lanes(y - of->d * R);
            c = rounded_lanes(c + of->d * (D - R * A));
        }
        w = bounded_lanes(w, low, high);
        /* lanes without a synapse add -0, which changes nothing */
        const kept_lanes added = narrow_lanes(choose(there, w, all_lanes(-0.0)));
        write_some(of->weight + k, w, widen_lanes(old_w), there);
        for (int i = 0; i < LANES; i++)
            of->at.cell[target[i]].arriving += added[i];
    }
    write_some(of->Y + k, y, old_y, there);
    write_some(of->C + k, c, old_c, there);
}

static ALWAYS_INLINE void work_row_lanes(const int what, const Drawn *of, double Z, double Z_before,
                                         double power, double crossed_Z, const int crosses, double eta, double low,
                                         double high, int64_t start, int64_t stop, int64_t ahead)
{
    for (int64_t k = start; k < stop; k += LANES) {
        if (ahead) {
            __builtin_prefetch(of->target + k + ahead);
            __builtin_prefetch(of->Y + k + ahead);
            __builtin_prefetch(of->C + k + ahead);
            if (what != CLOSES)
                __builtin_prefetch(of->weight + k + ahead);
        }
        work_lanes_of(what, of, Z, Z_before, power, crossed_Z, crosses, eta, low, high, k,
                   stop - k < LANES ? stop - k : LANES);
    }
}

static ALWAYS_INLINE void fetch_books(const Drawn *of, int64_t row)
{
    __builtin_prefetch(of->row_ptr + row);
    __builtin_prefetch(of->books + row);
    __builtin_prefetch(&of->books[row].closed);
    __builtin_prefetch(of->Z + row);
}

static ALWAYS_INLINE void fetch_at(const int what, const Drawn *of, int64_t k)
{
    __builtin_prefetch(of->target + k);
    __builtin_prefetch(of->Y + k);
    __builtin_prefetch(of->C + k);
    if (what != CLOSES)
        __builtin_prefetch(of->weight + k);
}

/* Most rows take one or two vectors of lanes: without a branch, which would be mispredicted. */
static ALWAYS_INLINE void fetch_short_row(const int what, const Drawn *of, int64_t row)
{
    const int64_t start = of->row_ptr[row], last = of->row_ptr[row + 1] - 1;
    if (last < start)
        return;
    fetch_at(what, of, start);
    fetch_at(what, of, start + LANES < last ? start + LANES : last);
    fetch_at(what, of, last);
    for (int64_t k = start + 2 * LANES; k < last; k += LANES)
        fetch_at(what, of, k);
}

/* Whether the row is an ordinary case; rare cases are handled elsewhere. */
static ALWAYS_INLINE int is_usual(const Drawn *of, int64_t row)
{
    const Book *book = of->books + row;
    return book->latest >= 0 && (book->waiting | book->older) == 0 && of->row_ptr[row + 1] + LANES <= of->n_synapses &&
           (book->closed || book->cursor >= of->block - 1);
}

static ALWAYS_INLINE double cross_block(const Drawn *of, int64_t row, int *crosses)
{
    const double Z = of->Z[row];
    *crosses = of->books[row].cursor < of->block;
    of->Z[row] = *crosses ? Z * of->alpha_block : Z;
    of->books[row].cursor = of->block;
    return Z;
}

/* present learning rate of a row, as in `take_rate` */
static ALWAYS_INLINE double rate_at(const Drawn *of, int64_t row)
{
    if (!of->first)
        return of->eta;
    const int64_t latest = of->books[row].latest;
    int64_t k = latest == of->first[row] ? 0 : of->n_rates - 1;
    while (k > 0 && of->rate_since[k] > latest)
        k--;
    return of->rates[k * of->n_blocks];
}

static ALWAYS_INLINE void arrive_at_row(Drawn *of, int64_t row, int64_t start, int64_t stop, int64_t ahead)
{
    Book *book = of->books + row;
    const int sign = of->signs ? of->signs[row] : 0;
    const double low = (REAL)(sign > 0 && of->low < 0.0 ? 0.0 : of->low);
    const double high = (REAL)(sign < 0 && of->high > 0.0 ? 0.0 : of->high), eta = rate_at(of, row);
    if (book->closed) {
        const int64_t n = of->t - book->latest - of->cutoff;
        const double Z = of->Z[row] * (kept_power(of->decays + n % DECAYS, of->alpha, n) / of->alpha_place);
        const double power = kept_power(of->decays + DECAYS + n % DECAYS, of->kappa, n) / of->kappa_place;
        work_row_lanes(REOPENS, of, Z, of->starts ? 0.0 : Z, power, 0.0, 0, eta, low, high, start, stop,
                       ahead);
        of->Z[row] = Z + of->d;
        book->cursor = of->block;
        book->closed = 0;
    } else {
        int crosses;
        const double before = cross_block(of, row, &crosses), Z = of->Z[row];
        if (crosses)
            work_row_lanes(ARRIVES, of, Z, 0.0, 0.0, before, 1, eta, low, high, start, stop, ahead);
        else
            work_row_lanes(ARRIVES, of, Z, 0.0, 0.0, 0.0, 0, eta, low, high, start, stop, ahead);
        of->Z[row] = Z + of->d;
    }
    book->latest = of->t;
}

/* prefetch for later rows of a list */
static ALWAYS_INLINE int64_t fetch_next_rows(const int what, const Drawn *of, const int64_t *rows, int64_t i, int64_t count)
{
    if (i + ROWS_BEFORE < count)
        fetch_books(of, rows[i + ROWS_BEFORE]);
    if (of->is_short && i + SOON < count)
        fetch_short_row(what, of, rows[i + SOON]);
    return of->is_short || i + NEXT_LONG >= count ? 0 : of->row_ptr[rows[i + NEXT_LONG]] - of->row_ptr[rows[i]];
}

static ALWAYS_INLINE void fetch_first_rows(const int what, const Drawn *of, const int64_t *rows, int64_t count)
{
    for (int64_t k = 0; k < ROWS_BEFORE && k < count; k++)
        fetch_books(of, rows[k]);
    for (int64_t k = 0; k < SOON && k < count; k++)
        fetch_short_row(what, of, rows[k]);
}

/* Spikes arrive at the rows of a list from index i on, up to a row with a rare case: return its index. */
static int64_t arrive_drawn(Drawn *of, const int64_t *rows, int64_t i, int64_t count)
{
    if (i == 0)
        fetch_first_rows(ARRIVES, of, rows, count);
    for (; i < count; i++) {
        const int64_t row = rows[i], start = of->row_ptr[row], stop = of->row_ptr[row + 1];
        const int64_t ahead = fetch_next_rows(ARRIVES, of, rows, i, count);
        if (start == stop)
            continue;
        if (of->books[row].latest == of->t || !is_usual(of, row))
            return i;
        arrive_at_row(of, row, start, stop, ahead);
        of->work += stop - start;
    }
    return i;
}

/* In the same way, close rows whose latest spike reaches the cutoff. */
static int64_t close_drawn(Drawn *of, const int64_t *rows, int64_t i, int64_t count)
{
    if (i == 0)
        fetch_first_rows(CLOSES, of, rows, count);
    for (; i < count; i++) {
        const int64_t row = rows[i], start = of->row_ptr[row], stop = of->row_ptr[row + 1];
        Book *book = of->books + row;
        const int64_t ahead = fetch_next_rows(CLOSES, of, rows, i, count);
        int crosses;
        if (start == stop || book->latest != of->t - of->cutoff || book->closed)
            continue;
        if (!is_usual(of, row))
            return i;
        const double before = cross_block(of, row, &crosses), Z = of->Z[row], Z_before = of->starts ? 0.0 : Z;
        if (crosses)
            work_row_lanes(CLOSES, of, Z, Z_before, of->kappa_place, before, 1, 0.0, 0.0, 0.0, start, stop,
                           ahead);
        else
            work_row_lanes(CLOSES, of, Z, Z_before, of->kappa_place, 0.0, 0, 0.0, 0.0, 0.0, start, stop, ahead);
        of->Z[row] = Z * of->alpha_place;
        of->work += stop - start;
        book->closed = 1;
    }
    return i;
}
