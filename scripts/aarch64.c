/* Elementary functions, and all functions of a neuron model that is generated from equations, with a line for each: the
   hash of what it makes, the same on any processor. aarch64.py puts headers of the package and numbers of the model
   before it, and the text stands there once for each precision, as in a generated model. */

#ifndef NEURONS
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define NEURONS 21     /* whole vectors of any width, and a rest */
#define STEPS 40       /* of which the last BLOCK are composed */
#define BLOCK 16       /* of them SINGLE are left to single steps */
#define SINGLE 3
#define SYNAPSES 29    /* onto all neurons in turn, backwards, then onto neighbours */
#define LINE(n) (((n) + 7) / 8 * 8)

static uint64_t state_of_draw;

static double draw(double low, double high)
{
    state_of_draw = state_of_draw * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * ((double)(state_of_draw >> 11) * 0x1p-53);
}

/* FNV-1a */
static void tell(const char *what, const void *from, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)from)[i]) * 1099511628211u;
    printf("%s %016" PRIx64 "\n", what, hash);
}

static void *make(size_t count, size_t size)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 64, LINE(count + 8) * size))
        exit(1);
    return memset(memory, 0, LINE(count + 8) * size);
}

static void tell_elementary(void)
{
    enum { COUNT = 20000 };
    double *out = make(COUNT, 8);
#define FOR_EACH(name, low, high) \
    state_of_draw = 1; \
    for (int i = 0; i < COUNT; i++) \
        out[i] = elementary_##name(draw(low, high)); \
    tell(#name, out, COUNT * sizeof(double));
    FOR_EACH(exp, -750.0, 700.0) FOR_EACH(log, 1e-310, 50.0) FOR_EACH(log1p, -0.99, 9.0) FOR_EACH(expm1, -40.0, 40.0)
    FOR_EACH(tanh, -9.0, 9.0) FOR_EACH(sin, -1e5, 1e5) FOR_EACH(cos, -1e5, 1e5)
    for (int i = 0; i < COUNT; i++) {
        double x = draw(-2.0, 2.0);
        out[i] = elementary_power(x, (int64_t)draw(-30.0, 30.0));
    }
    tell("power", out, COUNT * sizeof(double));
    free(out);
}

static const double CONSTANT[] = {CONSTANT_NUMBERS}, STATE[] = {STATE_NUMBERS};    /* of one neuron */
#endif

const NEURON_MODEL *NAME(neuron_model)(void);
const NEURON_MAPS *NAME(neuron_maps)(void);

static void NAME(tell_all)(const char *precision)
{
    const NEURON_MODEL *model = NAME(neuron_model)();
    const NEURON_MAPS *at = NAME(neuron_maps)();
    const int64_t n = NEURONS, n_kept = model->n_kept, n_ports = model->n_ports;
    char what[40];
#define TELL(name, from, count) (snprintf(what, sizeof what, "%s %s", precision, name), tell(what, from, (count) * sizeof *(from)))
    REAL *constant = make(n * model->n_constants, sizeof(REAL)), *state = make(n * model->n_states, sizeof(REAL));
    REAL *z = make(n, sizeof(REAL)), *refractory = make(n, sizeof(REAL)), *t_ref = make(n, sizeof(REAL));
    REAL *current = make(n, sizeof(REAL)), *port = make(n * n_ports, sizeof(REAL));
    REAL *kept = make(n * n_kept * (STEPS + 1), sizeof(REAL)), *psi = make(n * (STEPS + 1), sizeof(REAL));
    REAL *L = make(n * (STEPS + 1), sizeof(REAL)), *F = make(n * (STEPS + 1), sizeof(REAL));
    state_of_draw = 1;
    for (int64_t j = 0; j < n; j++) {
        for (int64_t k = 0; k < model->n_constants; k++)
            constant[k * n + j] = (REAL)CONSTANT[k];
        for (int64_t k = 0; k < model->n_states; k++)
            state[k * n + j] = (REAL)STATE[k];
        t_ref[j] = (REAL)(1 + j % 3);
    }
    for (int64_t i = 0; i < n * (STEPS + 1); i++)
        L[i] = (REAL)draw(-1.0, 1.0), F[i] = (REAL)draw(-1.0, 1.0);
    model->start(n, n, 1.0, constant, state, z, refractory, kept);
#define KEPT(u) (kept + (u) * n_kept * n)
#define OF(of, u) (of + (u) * n)
    for (int64_t u = 1; u <= STEPS; u++) {
        for (int64_t j = 0; j < n; j++)
            current[j] = (REAL)draw(300.0, 1500.0);
        for (int64_t j = 0; j < n * n_ports; j++)
            port[j] = (REAL)draw(0.0, 100.0);
        model->step(n, n, 1.0, constant, 0, t_ref, current, port, state, z, refractory, KEPT(u - 1), KEPT(u), OF(psi, u),
                    NULL);
    }
    TELL("states", state, n * model->n_states);
    TELL("kept", kept, n * n_kept * (STEPS + 1));
    TELL("surrogate gradients", psi, n * (STEPS + 1));

    REAL *adjoint = make(n * model->n_adjoint, sizeof(REAL)), *credit = make(n * n_ports * STEPS, sizeof(REAL));
    for (int64_t u = STEPS; u > 0; u--) {
        REAL *of = credit + (u - 1) * n * n_ports;
        memcpy(of, OF(psi, u), n * sizeof(REAL));
        model->sweep(n, n, 1.0, constant, 0, KEPT(u - 1), KEPT(u), (REAL)0.1, OF(L, u), OF(F, u), adjoint, of, n);
    }
    TELL("adjoints", adjoint, n * model->n_adjoint);
    TELL("credit", credit, n * n_ports * STEPS);

    REAL *trace = make(n * model->n_traces, sizeof(REAL)), *e = make(n * STEPS, sizeof(REAL));
    for (int64_t u = 1; u <= STEPS; u++)
        model->trace(n, n, 1.0, u % n_ports, constant, KEPT(u - 1), KEPT(u), OF(psi, u), (REAL)(draw(0.0, 1.0) < 0.2),
                     trace, n, OF(e, u - 1));
    model->decay(n, n, 1.0, 7, constant, trace, n);
    TELL("traces", trace, n * model->n_traces);
    TELL("eligibility", e, n * STEPS);

    /* composed maps: of a block but its first steps, of two of these, and of one that spikes enter */
    const int64_t width = LINE(at->n_numbers + at->n_others) + LINE(at->n_entries), first = STEPS - BLOCK + 1;
    const double kappa = 0.95, keep = 0.9;
    REAL *derived = make(n * at->n_derived * BLOCK, sizeof(REAL));
#define DERIVED(u) (at->n_derived ? derived + (u - first) * at->n_derived * n : NULL)
    NEURON_MAP running[2], suffix = {make(n * width, 8), make(n, 8), width, 1.0, 1.0};
    for (int k = 0; k < 2; k++) {
        running[k] = (NEURON_MAP){make(n * width, 8), make(n, 8), width, 1.0, 1.0};
        at->begin(n, &running[k]);
    }
    at->begin(n, &suffix);
    for (int64_t u = first; u <= STEPS; u++) {
        NEURON_SIGNALS signals = {OF(L, u - 1), OF(F, u - 1), REGULARIZED, kappa, keep, 0.1, 0.0};
        NEURON_MAP *of = &running[u >= first + SINGLE];
        at->append(n, n, constant, 0, KEPT(u - 1), KEPT(u), OF(psi, u), &signals, DERIVED(u), of, NULL, 0);
        of->kappa *= kappa;
        of->keep *= keep;
    }
    for (int64_t u = STEPS; u >= first + SINGLE; u--) {
        NEURON_SIGNALS signals = {OF(L, u - 1), OF(F, u - 1), REGULARIZED, kappa, keep, 0.1, 0.0};
        at->prepend(n, n, constant, 0, KEPT(u - 1), KEPT(u), OF(psi, u), &signals, DERIVED(u), &suffix);
        suffix.kappa *= kappa;
        suffix.keep *= keep;
    }
    /* behind the numbers of a line stands what happens to stand there */
#define TELL_MAP(name, map) \
    for (int64_t j = 0, k = 0; j < n; j++) { \
        const double *of = (map).number + j * width, *entries = of + LINE(at->n_numbers + at->n_others); \
        for (int64_t i = 0; i < at->n_numbers + at->n_others; i++) \
            numbers[k++] = of[i]; \
        for (int64_t i = 0; i < at->n_entries; i++) \
            numbers[k++] = entries[i]; \
    } \
    TELL(name, numbers, n * (at->n_numbers + at->n_others + at->n_entries)); \
    TELL(name " apart", (map).apart, n)
    double *numbers = make(n * width, 8);
    TELL_MAP("running", running[1]);
    TELL_MAP("suffix", suffix);
    at->compose(n, REGULARIZED, 1, &running[0], &running[1]);
    TELL_MAP("composed", running[0]);

    /* synapses: a map, single steps and a map; those of the last row have neighbours as targets */
    uint32_t *target = make(SYNAPSES, 4);
    REAL *weight = make(SYNAPSES, sizeof(REAL)), *Y = make(SYNAPSES, sizeof(REAL)), *X = make(SYNAPSES, sizeof(REAL));
    REAL *C = make(SYNAPSES, sizeof(REAL)), *traces = make(SYNAPSES * model->n_traces, sizeof(REAL));
    REAL *arriving = make(n, sizeof(REAL));
    for (int64_t i = 0; i < SYNAPSES; i++) {
        target[i] = (uint32_t)(i < NEURONS ? NEURONS - 1 - i : i - NEURONS + 5);
        weight[i] = (REAL)draw(-1.0, 1.0);
    }
    NEURON_STEP step[SINGLE];
    for (int k = 0; k < SINGLE; k++) {
        int64_t u = first + k;
        step[k] = (NEURON_STEP){OF(psi, u), KEPT(u - 1), KEPT(u), DERIVED(u), OF(L, u - 1), OF(F, u - 1), 0.0, keep,
                                k == 1};
    }
    NEURON_STEPS steps = {.other = REGULARIZED, .kappa = kappa, .share = 0.1, .constant = constant, .n_neurons = n,
                          .kappa_decay = 1.0, .keep_decay = 1.0, .n = SINGLE, .step = step};
    for (int round = 0; round < 3; round++)
        for (int64_t p = 0; p < n_ports; p++)
            for (int row = 0; row < 2; row++) {
                const int64_t start = row ? NEURONS : 0, stop = row ? SYNAPSES : NEURONS;
                NEURON_ROW of = {.n = stop - start, .readable = SYNAPSES - start, .target = target + start,
                                 .trace = traces + start, .Y = Y + start, .X = X + start, .C = C + start,
                                 .weight = weight + start, .stride = SYNAPSES, .owes = round > 0, .updates = round == 2,
                                 .eta = 1e-3, .low = -0.9, .high = 0.9, .arriving = round == 2 ? arriving : NULL};
                at->go_through(p, &of, round ? &running[0] : NULL, &steps, round == 1 ? &suffix : &running[1],
                               round == 1);
            }
    TELL("traces of rows", traces, SYNAPSES * model->n_traces);
    TELL("filtered traces", Y, SYNAPSES);
    TELL("the other trace", X, SYNAPSES);
    TELL("gradients", C, SYNAPSES);
    TELL("weights", weight, SYNAPSES);
    TELL("arriving", arriving, n);
#undef TELL
#undef TELL_MAP
#undef KEPT
#undef OF
#undef DERIVED
}
