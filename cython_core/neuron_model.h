/* Interface between an engine and a generated neuron model. Each generated source has this text once per precision,
   with REAL, NEURON_MODEL, NEURON_SIGNALS and so on defined.

   Columns hold one number for each neuron (`trace`, `decay`: for each synapse); column k is array + k * stride. */

#ifndef NEURON_MODEL_VERSION
#define NEURON_MODEL_VERSION 7
#include <stdint.h>
typedef struct {           /* a composed map of steps */
    double *number;        /* `width` doubles for each neuron */
    double *apart;         /* one more per neuron if that saves a line: what ebar before the map adds to the gradient */
    int64_t width;
    double kappa, keep;    /* factors of ebar and of the second trace */
    double common;         /* factor of the trace that the synapses of a row share, see NEURON_ROW */
} NEURON_MAP;
enum { NO_OTHER, REGULARIZED, REWARDED };    /* second trace x: none, ereg, trace of TD errors */
#endif

/* How a step enters the gradient, g += a ebar + c x, and the second trace, x = keep x + d ebar + f e. */
typedef struct {
    const REAL *L, *F;     /* of the step before, by neuron: NO_OTHER: a = L; REGULARIZED: a = L, c = F, f = share; */
    int64_t other;         /* REWARDED: a = share F, c = delta, d = L */
    double kappa, keep, share, delta;
} NEURON_SIGNALS;

typedef struct {           /* n synapses of a row */
    int64_t n;
    int64_t readable;      /* at least n: synapses in memory from the first one on, including other rows */
    const uint32_t *target;
    REAL *const *trace;    /* per trace; NULL: all synapses of the row share it, as `common` */
    double common;
    REAL *Y, *X, *C, *weight;    /* ebar, x or NULL, minus the gradient */
    const REAL *moment, *variance;    /* read by the optimizer afterwards, or NULL */
    double arrived;        /* spikes that enter in the next step, if traces are of that step */
    int64_t owes;          /* whether C holds a gradient */
    int64_t updates;       /* whether the weight changes, w -= eta g, and C is not written */
    double eta, low, high;
    REAL *arriving;        /* by neuron: new weights are added here; or NULL */
    int64_t dense;         /* whether targets ascend without repeats */
    int64_t nodes_ahead;   /* synapses to the one whose maps are prefetched, or 0 */
    int64_t row_ahead;     /* synapses to a later row that is prefetched, or 0 */
} NEURON_ROW;

typedef struct {           /* a single step, as in NEURON_SIGNALS */
    const REAL *psi;       /* NULL: only the signals of the step before count */
    const REAL *before, *kept, *derived;
    const REAL *L, *F;     /* of the step before; NULL: only traces change */
    double delta, keep, entering;
} NEURON_STEP;

typedef struct {           /* single steps of synapses */
    int64_t other;
    double kappa, share;
    const REAL *constant;  /* columns by neuron, n_neurons long, like columns of a step */
    int64_t shared;        /* whether one target's constants hold for the whole row */
    int64_t n_neurons;
    int64_t n_decay;       /* steps past the cutoff, before all others */
    double kappa_decay, keep_decay, common_decay;
    double common;         /* factor per step of the shared trace */
    int64_t n, n_last;     /* steps before the second map, and after it */
    const NEURON_STEP *step;
    const double *record;  /* from the first step on: inputs of steps, `record_width` doubles per neuron; or NULL */
    int64_t record_width, record_stride;
} NEURON_STEPS;

/* Functions are compiled in parts, see `generate.PARTS`; those that a run does not call may be NULL. */
typedef struct {
    int64_t version;       /* NEURON_MODEL_VERSION */
    int64_t real_bytes;    /* sizeof(REAL) */
    int64_t n_constants;   /* fixed columns, computed from parameters, constants and dt */
    int64_t n_states;
    int64_t n_ports;
    int64_t n_kept;        /* columns per neuron and step, besides psi, for later derivatives */
    int64_t n_adjoint;     /* columns of the backward pass, with values 0 at the end of an interval */
    int64_t n_traces;      /* columns per synapse: eps, and e of the step before if it is read */
    int64_t n_traced;      /* number of first constants, which `trace` and `decay` read */

    /* write the row of `kept` before the first step */
    void (*start)(int64_t n, int64_t stride, double dt, const REAL *constant, const REAL *state, const REAL *z,
                  const REAL *refractory, REAL *kept);

    /* one step: ports are set to 0; shared: the first neuron's constants and t_ref hold for all;
       forced_z: NULL, or per neuron: 1 spikes, 0 does not, -1 spikes by its voltage */
    void (*step)(int64_t n, int64_t stride, double dt, const REAL *constant, int64_t shared, const REAL *t_ref,
                 const REAL *current, REAL *port, REAL *state, REAL *z, REAL *refractory, REAL *before, REAL *kept,
                 REAL *psi, const REAL *forced_z);

    /* one step back; c = share * signal + rate; credit: IN psi, OUT gradient per arrival at each port */
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

/* Spike variant, compiled separately: composed maps of steps, see scan/maps.pxi, `width` doubles per neuron. */
typedef struct {
    int64_t version;
    int64_t real_bytes;
    int64_t n_numbers;     /* of a map */
    int64_t n_others;      /* more with a second trace */
    int64_t n_entries;     /* for spikes that enter in the first step, in lines after both; written by `prepend` */
    int64_t n_derived;     /* columns per step of costly derivatives, written by `append` */
    int64_t n_recorded;    /* doubles per neuron that a step reads, without F, which has room; 0: no record */
    int64_t ahead;         /* whether traces are of the next step, so that a spike enters at its arrival */

    /* one more step at the end, written to `to`, or at the start; `none`: the map has no step yet;
       compose `count` maps with `next` after each */
    void (*append)(int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before,
                   const REAL *kept, const REAL *psi, const NEURON_SIGNALS *signals, REAL *derived, int64_t none,
                   const NEURON_MAP *map, const NEURON_MAP *to, double *record, int64_t width);
    void (*prepend)(int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before,
                    const REAL *kept, const REAL *psi, const NEURON_SIGNALS *signals, REAL *derived, int64_t none,
                    const NEURON_MAP *map);
    void (*compose)(int64_t n, int64_t other, int64_t count, const NEURON_MAP *map, const NEURON_MAP *next);

    /* apply to synapses onto a port the map `before`, single steps, and the map `after`, each unless NULL;
       `entering` spikes enter in the first step of `after` */
    void (*go_through)(int64_t port, const NEURON_ROW *row, const NEURON_MAP *before, const NEURON_STEPS *steps,
                       const NEURON_MAP *after, double entering);
} NEURON_MAPS;
