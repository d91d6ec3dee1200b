/* What an engine and a generated learning rule know of each other, see algorithms/rule/rule.pxi. The text stands in every
   generated source, once for each precision, with REAL and RULE_ROW defined. */

#ifndef RULE_ROW_TYPES
#define RULE_ROW_TYPES
#include <stdint.h>
enum { RULE_FOLLOWS, RULE_LEARNS, RULE_OWES, RULE_REOPENS };    /* see RULE_ROW */
typedef struct {         /* of a step that a row goes through: the end of a block, or a spike that enters */
    int64_t step, enters;
    double arrived;      /* the spike, with its factor */
    const void *at;      /* REAL, what the step left of spikes that enter, (entry_columns, stride) */
    const void *table;   /* REAL, the row of the table of places */
} RULE_EVENT;
#endif
#ifndef RULE_ROW
#define RULE_ROW RuleRow
#endif

typedef struct {
    int64_t n;           /* synapses, and numbers from a state of theirs to the next */
    int64_t x_stride;
    const uint32_t *target;
    REAL *x, *C, *weight;
    int64_t n_events;
    const RULE_EVENT *event;
    int64_t stride;      /* targets of a column */
    const REAL *present; /* of the map up to the latest step, what adds to the gradient */
    const REAL *end;     /* (ends, end_columns, stride), a ring: maps of whole blocks */
    int64_t ends, end_columns;    /* the former a power of 2 */
    int64_t shared;      /* whether columns of the table hold for all targets, and their blocks end together */
    const REAL *shift;   /* steps of a block of each target, as a power of 2 */
    int64_t what;        /* RULE_FOLLOWS: the events alone; RULE_LEARNS: then the weight changes, and is delivered;
                            RULE_OWES: then C becomes minus the gradient; RULE_REOPENS: the way back */
    double eta, low, high, factor;
    REAL *arriving;
    int64_t ahead;       /* synapses to a row that comes soon, or 0 */
} RULE_ROW;
