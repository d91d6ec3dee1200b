/* What short rows keep, side by side: synapses of many rows are copied beside each other and back, so that functions on rows
   meet one long row. No branch asks how long a row is, unless it is longer than most: as many are copied as most have. */

enum { SPAN = 16 };    /* synapses that are copied at once; so many more have to be there after those of a row */

typedef struct {    /* a row */
    int64_t start, n;
} Span;

static ALWAYS_INLINE void take_spans(int64_t count, const Span *span, const REAL *from, REAL *to)
{
    for (int64_t i = 0; i < count; to += span[i++].n)
        for (int64_t k = 0; k < span[i].n; k += SPAN)
            memcpy(to + k, from + span[i].start + k, SPAN * sizeof(REAL));
}

static ALWAYS_INLINE void take_targets(int64_t count, const Span *span, const uint32_t *from, uint32_t *to)
{
    for (int64_t i = 0; i < count; to += span[i++].n)
        for (int64_t k = 0; k < span[i].n; k += SPAN)
            memcpy(to + k, from + span[i].start + k, SPAN * sizeof(uint32_t));
}

/* what is the same in all synapses of a row */
static ALWAYS_INLINE void repeat_spans(int64_t count, const Span *span, const double *of_row, double *to)
{
    for (int64_t i = 0; i < count; to += span[i++].n)
        for (int64_t k = 0; k < span[i].n; k += SPAN)
            for (int64_t j = 0; j < SPAN; j++)
                to[k + j] = of_row[i];
}

/* what follows a row is written as it was */
static ALWAYS_INLINE void return_spans(int64_t count, const Span *span, const REAL *from, REAL *to)
{
    for (int64_t i = 0; i < count; from += span[i++].n)
        for (int64_t k = 0; k < span[i].n; k += SPAN)
            for (int64_t j = k; j < k + SPAN; j += LANES) {
                REAL *at = to + span[i].start + j;
                const int64_t left = span[i].n - j < LANES ? span[i].n - j : LANES;
                write_some(at, widened_at(from + j), widened_at(at), some_lanes(left > 0 ? left : 0));
            }
}
