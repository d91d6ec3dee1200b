/* What an engine and a generated neuron model know of each other. The text stands in every generated source, once for each
   precision, with REAL, NEURON_MODEL, NEURON_SIGNALS and so on defined.

   Columns hold one number for each neuron (`trace`, `decay`: for each synapse); column k of an array is array + k * stride. */

#ifndef NEURON_MODEL_VERSION
#define NEURON_MODEL_VERSION 7
#include <stdint.h>
typedef struct {           /* a composed map of steps */
    double *number;        /* `width` doubles for each neuron */
    double *apart;         /* one more of each: what ebar before it adds to the gradient, where that saves a line */
    int64_t width;
    double kappa, keep;    /* what it makes of ebar and of the trace beside it */
    double common;         /* and of the trace that the synapses of a row have in common, see NEURON_ROW */
} NEURON_MAP;
enum { NO_OTHER, REGULARIZED, REWARDED };    /* which trace x there is beside ebar: none, ereg, that of TD errors */
#endif

/* How a step enters the gradient, g += a ebar + c x, and the trace beside ebar, x = keep x + d ebar + f e. */
typedef struct {
    const REAL *L, *F;     /* of the step before, by neuron: NO_OTHER: a = L; REGULARIZED: a = L, c = F, f = share; */
    int64_t other;         /* REWARDED: a = share F, c = delta, d = L */
    double kappa, keep, share, delta;
} NEURON_SIGNALS;

typedef struct {           /* n synapses of a row */
    int64_t n;
    int64_t readable;      /* at least n: so many are there from the first one on, of other rows, too */
    const uint32_t *target;
    REAL *const *trace;    /* each; NULL for one that all synapses of the row have in common: then it is `common` */
    double common;
    REAL *Y, *X, *C, *weight;    /* ebar, x or NULL, minus the gradient */
    const REAL *moment, *variance;    /* what the optimizer reads after this, or NULL */
    double arrived;        /* spikes that enter in the step that comes, where traces are of that step */
    int64_t owes;          /* whether C holds a gradient */
    int64_t updates;       /* whether the weight changes, w -= eta g, and C is not written */
    double eta, low, high;
    REAL *arriving;        /* by neuron, to which the new weights are added; NULL: they are not */
    int64_t dense;         /* whether no target occurs twice, and they ascend */
    int64_t nodes_ahead;   /* synapses to the one whose numbers are fetched, or 0 */
    int64_t row_ahead;     /* to a row that comes soon, or 0 */
} NEURON_ROW;

typedef struct {           /* a single step, as in NEURON_SIGNALS */
    const REAL *psi;       /* NULL: the signals of the step before alone count */
    const REAL *before, *kept, *derived;
    const REAL *L, *F;     /* of the step before; NULL: the traces alone count */
    double delta, keep, entering;
} NEURON_STEP;

typedef struct {           /* what synapses do step by step */
    int64_t other;
    double kappa, share;
    const REAL *constant;  /* columns by neuron, n_neurons long as those of a step */
    int64_t shared;        /* whether those of one target hold for all of the row */
    int64_t n_neurons;
    int64_t n_decay;       /* steps past the cutoff, before all others */
    double kappa_decay, keep_decay, common_decay;
    double common;         /* what a step makes of a trace that the synapses have in common */
    int64_t n, n_last;     /* steps before the second map, and after it */
    const NEURON_STEP *step;
    const double *record;  /* of the first step, what all steps read, `record_width` doubles for each neuron; or NULL */
    int64_t record_width, record_stride;
} NEURON_STEPS;

/* Its functions are compiled in parts, see `generate.PARTS`: one that a run does not call may be NULL. */
typedef struct {
    int64_t version;       /* NEURON_MODEL_VERSION */
    int64_t real_bytes;    /* sizeof(REAL) */
    int64_t n_constants;   /* columns that do not change: what parameters, constants and dt alone give */
    int64_t n_states;
    int64_t n_ports;
    int64_t n_kept;        /* columns per neuron and step that derivatives need later, beside psi */
    int64_t n_adjoint;     /* columns of the backward pass, 0 at the end of an interval */
    int64_t n_traces;      /* columns per synapse: eps, and e of the step before where it is read */
    int64_t n_traced;      /* first constants, which `trace` and `decay` read */

    /* the row of `kept` before the first step */
    void (*start)(int64_t n, int64_t stride, double dt, const REAL *constant, const REAL *state, const REAL *z,
                  const REAL *refractory, REAL *kept);

    /* one step: ports are set to 0; shared: the first neuron's constants and t_ref hold for all;
       due: NULL, or for each neuron whether it spikes: 1, 0, or -1 where its voltage decides */
    void (*step)(int64_t n, int64_t stride, double dt, const REAL *constant, int64_t shared, const REAL *t_ref,
                 const REAL *current, REAL *port, REAL *state, REAL *z, REAL *refractory, REAL *before, REAL *kept,
                 REAL *psi, const REAL *due);

    /* one step back; c = share * signal + rate; credit: IN psi, OUT what an arrival at each port adds to the gradient */
    void (*sweep)(int64_t n, int64_t stride, double dt, const REAL *constant, int64_t shared, const REAL *before,
                  const REAL *kept, REAL share, const REAL *signal, const REAL *rate, REAL *adjoint, REAL *credit,
                  int64_t port_stride);

    /* one step of the traces of n synapses onto one port; e: OUT */
    void (*trace)(int64_t n, int64_t stride, double dt, int64_t port, const REAL *constant, const REAL *before,
                  const REAL *kept, const REAL *psi, REAL arrived, REAL *trace, int64_t trace_stride, REAL *e);

    /* n_steps > 0 steps past the cutoff */
    void (*decay)(int64_t n, int64_t stride, double dt, int64_t n_steps, const REAL *constant, REAL *trace,
                  int64_t trace_stride);
} NEURON_MODEL;

/* Of the spike variant, compiled apart: composed maps of steps, see algorithms/scan/maps.pxi, `width` doubles per neuron. */
typedef struct {
    int64_t version;
    int64_t real_bytes;
    int64_t n_numbers;     /* of a map */
    int64_t n_others;      /* more with a trace beside ebar */
    int64_t n_entries;     /* of spikes that enter in its first step, in lines after both; `prepend` writes them */
    int64_t n_derived;     /* columns of each step with derivatives that take long, which `append` writes */
    int64_t n_recorded;    /* what a step reads of a neuron, without F, for which there is room; 0: no record is made */
    int64_t ahead;         /* whether traces are those of the step that comes, so that a spike enters as it arrives */

    /* one more step at the end, `to` becomes that, or at the start; `none`: the map has no step yet;
       `count` maps and then `next` */
    void (*append)(int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before,
                   const REAL *kept, const REAL *psi, const NEURON_SIGNALS *signals, REAL *derived, int64_t none,
                   const NEURON_MAP *map, const NEURON_MAP *to, double *record, int64_t width);
    void (*prepend)(int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before,
                    const REAL *kept, const REAL *psi, const NEURON_SIGNALS *signals, REAL *derived, int64_t none,
                    const NEURON_MAP *map);
    void (*compose)(int64_t n, int64_t other, int64_t count, const NEURON_MAP *map, const NEURON_MAP *next);

    /* synapses onto a port go through one or two maps of their targets, or NULL, and through single steps, or NULL;
       `entering` spikes enter in the first step of `after` */
    void (*go_through)(int64_t port, const NEURON_ROW *row, const NEURON_MAP *before, const NEURON_STEPS *steps,
                       const NEURON_MAP *after, double entering);
} NEURON_MAPS;
