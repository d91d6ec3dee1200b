# Neurons and readouts of both variants: parameters, state, logs, and one step.
#
# Included by each engine in each precision. n = neurons of this rank; step s of a sample is step origin + s of the run.

from libc.stdint cimport uint8_t

from pareprop.core.layout cimport BY_EQUATIONS, EARLY_CURRENT, FIRST, KEEPS_INPUT, LAST, MODEL
from pareprop.core.readout_sums cimport ReadoutSums
from pareprop.core.spike_log cimport SpikeLog

include "delivery.pxi"

cdef extern from *:    # the interface of generated models in this precision
    """
    #define NEURON_MODEL NeuronModel
    #define NEURON_SIGNALS NeuronSignals
    #define NEURON_ROW NeuronRow
    #define NEURON_STEP NeuronStep
    #define NEURON_STEPS NeuronSteps
    #define NEURON_MAPS NeuronMaps
    """

cdef extern from "neuron_model.h" nogil:
    enum:
        NO_OTHER
        REGULARIZED
        REWARDED

    ctypedef struct NEURON_MAP:
        double* number
        double* apart
        int64_t width
        double kappa, keep, common

    ctypedef struct NeuronSignals:
        const real* L
        const real* F
        int64_t other
        double kappa, keep, share, delta

    ctypedef struct NeuronRow:
        int64_t n, readable
        const uint32_t* target
        real** trace
        double common
        real* Y
        real* X
        real* C
        real* weight
        const real* moment
        const real* variance
        double arrived
        int64_t owes, updates
        double eta, low, high
        real* arriving
        int64_t dense, nodes_ahead, row_ahead

    ctypedef struct NeuronStep:
        const real* psi
        const real* before
        const real* kept
        const real* derived
        const real* L
        const real* F
        double delta, keep, entering

    ctypedef struct NeuronSteps:
        int64_t other
        double kappa, share
        const real* constant
        int64_t shared, n_neurons, n_decay
        double kappa_decay, keep_decay, common_decay, common
        int64_t n, n_last
        const NeuronStep* step
        const double* record
        int64_t record_width, record_stride

    ctypedef struct NeuronModel:
        int64_t n_constants, n_kept, n_traces, n_traced
        void (*start)(
            int64_t n, int64_t stride, double dt, const real* constant, const real* state, const real* z,
            const real* refractory, real* kept
        ) noexcept nogil
        void (*step)(
            int64_t n, int64_t stride, double dt, const real* constant, int64_t shared, const real* t_ref,
            const real* current, real* port, real* state, real* z, real* refractory, real* before, real* kept,
            real* psi, const real* forced_z
        ) noexcept nogil
        void (*sweep)(
            int64_t n, int64_t stride, double dt, const real* constant, int64_t shared, const real* before,
            const real* kept, real share, const real* signal, const real* rate, real* adjoint, real* credit,
            int64_t port_stride
        ) noexcept nogil
        void (*trace)(
            int64_t n, int64_t stride, double dt, int64_t port, const real* constant, const real* before,
            const real* kept, const real* psi, real arrived, real* trace, int64_t trace_stride, real* e
        ) noexcept nogil
        void (*decay)(
            int64_t n, int64_t stride, double dt, int64_t n_steps, const real* constant, real* trace,
            int64_t trace_stride
        ) noexcept nogil

    ctypedef struct NeuronMaps:
        int64_t ahead
        void (*append)(
            int64_t n, int64_t stride, const real* constant, int64_t shared, const real* before, const real* kept,
            const real* psi, const NeuronSignals* signals, real* derived, int64_t none, const NEURON_MAP* map,
            const NEURON_MAP* to, double* record, int64_t width
        ) noexcept nogil
        void (*prepend)(
            int64_t n, int64_t stride, const real* constant, int64_t shared, const real* before, const real* kept,
            const real* psi, const NeuronSignals* signals, real* derived, int64_t none, const NEURON_MAP* map
        ) noexcept nogil
        void (*compose)(
            int64_t n, int64_t other, int64_t count, const NEURON_MAP* map, const NEURON_MAP* next
        ) noexcept nogil
        void (*go_through)(
            int64_t port, const NeuronRow* row, const NEURON_MAP* before, const NeuronSteps* steps,
            const NEURON_MAP* after, double entering
        ) noexcept nogil

cdef enum:        # phases of a step
    DELIVER = 0
    UPDATE = 1
    SWEEP = 2


cdef class Neurons(Bound):
    """This rank's neurons: parameters and state, (n,) each; voltages counted from E_L, times in steps."""

    cdef public int64_t first_id                   # id of the first one
    cdef public int64_t[:, ::1] pieces             # (n_pieces, PIECE_COLUMNS)
    cdef public real[::1] t_ref, I_e
    cdef public real[::1] alpha, rho, adapt_beta   # of NEST's own neurons, whose synapses learn by formulas
    cdef public real[::1] refractory_input         # whether input that arrives while refractory is stored
    cdef public real[::1] z, refractory, current
    cdef public real[::1] v, a                     # of NEST's own neurons, two rows of one array
    cdef public real[:, ::1] state                 # (n_states, n), of custom models
    cdef public real[:, ::1] arriving              # (n_ports, n), summed input of a step
    cdef public real[::1] kept                     # input stored while refractory
    cdef public real[::1] forced_z                 # scratch: whether forced neurons spike, -1 for others
    # Poisson background, see background.pxi
    cdef public int64_t[:, ::1] backgrounds        # (n_backgrounds, BACKGROUND_COLUMNS)
    cdef public uint64_t[:, ::1] background_keys   # (n_backgrounds, 2)
    cdef public uint32_t[::1] background_levels
    cdef public real[::1] background_weight
    cdef public double dt                          # ms
    cdef public int64_t[::1] models                # (n_pieces,), addresses of compiled models, see neuron_model.h
    cdef public real[:, ::1] constants             # (n_constants, n), columns of the models
    cdef public int64_t[::1] shared                # (n_pieces,), 1: constants and t_ref are equal in the piece
    # (n_rows, n_kept, n), for later derivatives; step t is in row (t + 1) % n_rows, before step 0 in row 0
    cdef public real[:, :, ::1] history


cdef class Readouts(Bound):
    """All readouts, which every rank advances; y = V - E_L."""

    cdef public double[::1] y, arriving            # (n_readouts,)
    cdef public double[::1] alpha, zeta, drive, V_min


cdef class Channel(Bound):
    """Logs and sums, which rounds (communication intervals) complete. Entry t - base of a log is step t."""

    cdef public int64_t base
    cdef public SpikeLog inputs
    cdef public SpikeLog own                       # spikes of this rank's neurons, OUT
    cdef public SegmentedLog received                 # spikes of this rank's sources
    cdef public ReadoutSums sums                   # input of readouts in a round
    cdef public double[:, ::1] signal              # (n_steps, n_readouts), OUT: y


cdef class Perturbed(Bound):
    """Perturbations of this rank's neurons in the present sample, see perturbed.pxi; rows have PERTURBED_COLUMNS."""

    cdef public int64_t[:, ::1] silences           # neurons that are held as if refractory
    cdef public real[::1] refractory               # (n,), scratch: `Neurons.refractory` before the step
    cdef public int64_t[:, ::1] noises             # random currents
    cdef public uint64_t[:, ::1] noise_keys        # (n_noises, 2)
    # for each neuron of each noise, pA: mean, standard deviation, and the latest draw, UPDATED
    cdef public double[::1] noise_mean, noise_std
    cdef public real[::1] noise
    cdef public int64_t[:, ::1] dropouts           # neurons whose spikes may be lost
    cdef public uint64_t[:, ::1] dropout_keys      # (n_dropouts, 2)
    cdef public double[::1] dropout_p              # (n_dropouts,)
    cdef public int64_t[::1] lost                  # (n,), UPDATED: lost spikes of each neuron


cdef class Sample(Bound):
    """The present sample."""

    cdef public int64_t origin                     # its first step
    cdef public int64_t before                     # steps of the run before step 0
    cdef public bint starts                        # whether the run starts: its first step has no constant current
    cdef public int64_t draws                      # index of the first step's draws, in the streams of its phase
    cdef public real[:, ::1] injected              # (n_steps, n) or (0, n), pA; row s: injected one step before
    cdef public int64_t[::1] forced                # ascending, neurons that spike if and only if `forced_z` is set
    cdef public uint8_t[:, ::1] forced_z           # (n_steps, n_forced)
    cdef public Perturbed perturbed


cdef class Recorder(Bound):
    """Recordings of some neurons in the present sample."""

    cdef public int64_t[::1] local                 # the neurons
    cdef public double[:, ::1] V_m, adaptation, psi    # (n_steps, n_recorded), OUT
    cdef public double[:, :, ::1] state            # (n_states, n_steps, n_recorded), OUT
    # (1 + n_steps, n_kept, n_recorded), OUT: for derivatives, starting with the step before the sample; or no columns
    cdef public double[:, :, ::1] kept


include "background.pxi"
include "neurons.pxi"
include "perturbed.pxi"


cdef void advance_neurons(
    Neurons cells, Channel channel, Sample sample, Recorder recorder, int64_t t, real[::1] psi
) noexcept nogil:
    """Advance the neurons by step t, with background and perturbations; write spikes that are not lost to the log.

    Surrogate gradients are written to psi.
    """
    cdef int64_t place = t - channel.base, count = channel.own.at.ptr[place], n = cells.v.shape[0]
    cdef int64_t s = t - sample.origin, step = sample.draws + s
    add_background(cells, step)
    draw_noise(sample.perturbed, s, step)
    hold(sample.perturbed, cells, s)
    advance_pieces(cells, sample, t, psi)
    release(sample.perturbed, cells, s)
    record(cells, recorder, t, s, psi)
    if n > 0:
        n = list_spikes(n, cells.first_id, &cells.z[0], &channel.own.at.ids[count])
        count += drop_spikes(sample.perturbed, s, step, cells.first_id, n, &channel.own.at.ids[count])
    channel.own.at.ptr[place + 1] = count


cdef inline void advance_pieces(Neurons cells, Sample sample, int64_t t, real[::1] psi) noexcept nogil:
    """Advance each piece by a step: current, states, psi, spikes, reset."""
    cdef int64_t p, first, last, model, k, s = t - sample.origin
    cdef const real* forced_z = &cells.forced_z[0] if sample.forced.shape[0] > 0 else NULL
    for k in range(sample.forced.shape[0]):
        cells.forced_z[sample.forced[k]] = sample.forced_z[s, k]
    for p in range(cells.pieces.shape[0]):
        first, last, model = cells.pieces[p, FIRST], cells.pieces[p, LAST], cells.pieces[p, MODEL]
        if s <= 1 or sample.injected.shape[0] > 0 or sample.perturbed.noises.shape[0] > 0:
            set_current(cells, sample, s, first, last, s > 0 or not sample.starts or (model & EARLY_CURRENT) != 0)
            add_noise(sample.perturbed, cells, s, first, last)
        if model & KEEPS_INPUT:
            keep_input(cells, first, last)
        advance_piece(cells, p, t, forced_z, psi)
    for k in range(sample.forced.shape[0]):
        cells.forced_z[sample.forced[k]] = -1


cdef inline real* column(real[:, ::1] values, int64_t first) noexcept nogil:
    """From neuron `first` on; NULL if there are no columns."""
    return &values[0, first] if values.shape[0] > 0 else NULL


cdef inline real* history_of(Neurons cells, int64_t t, int64_t first) noexcept nogil:
    """History of step t from neuron `first` on; NULL if there is none."""
    return &cells.history[(t + 1) % cells.history.shape[0], 0, first] if cells.history.shape[1] > 0 else NULL


cdef inline real* state_of(Neurons cells, int64_t p) noexcept nogil:
    """States of a piece: voltage and adaptation, or states of a custom model."""
    cdef int64_t first = cells.pieces[p, FIRST]
    return &cells.state[0, first] if cells.pieces[p, MODEL] & BY_EQUATIONS else &cells.v[first]


cdef inline void advance_piece(Neurons cells, int64_t p, int64_t t, const real* forced_z, real[::1] psi) noexcept nogil:
    cdef const NeuronModel* model = <const NeuronModel*> cells.models[p]
    cdef int64_t first = cells.pieces[p, FIRST], n = cells.pieces[p, LAST] - first
    model.step(n, cells.v.shape[0], cells.dt, column(cells.constants, first), cells.shared[p], &cells.t_ref[first],
               &cells.current[first], &cells.arriving[0, first], state_of(cells, p), &cells.z[first],
               &cells.refractory[first], history_of(cells, t - 1, first), history_of(cells, t, first), &psi[first],
               forced_z + first if forced_z != NULL else NULL)


cdef void start_models(Neurons cells, int64_t t) noexcept nogil:
    """Write the state before step t to the history, as if a step had ended with it."""
    cdef int64_t p, first
    cdef const NeuronModel* model
    for p in range(cells.pieces.shape[0]):
        model, first = <const NeuronModel*> cells.models[p], cells.pieces[p, FIRST]
        if model.n_kept > 0:
            model.start(cells.pieces[p, LAST] - first, cells.v.shape[0], cells.dt, column(cells.constants, first),
                        state_of(cells, p), &cells.z[first], &cells.refractory[first],
                        history_of(cells, t - 1, first))


cdef inline void record(
    Neurons cells, Recorder recorder, int64_t t, int64_t s, const real[::1] psi
) noexcept nogil:
    """Record after the reset, as NEST does."""
    cdef int64_t i, j, k, length = cells.history.shape[0]
    for k in range(recorder.local.shape[0]):
        j = recorder.local[k]
        recorder.V_m[s, k] = cells.v[j]
        recorder.adaptation[s, k] = cells.a[j]
        for i in range(cells.state.shape[0]):
            recorder.state[i, s, k] = cells.state[i, j]
        recorder.psi[s, k] = psi[j]
        for i in range(recorder.kept.shape[1]):
            if s == 0:
                recorder.kept[0, i, k] = cells.history[t % length, i, j]
            recorder.kept[s + 1, i, k] = cells.history[(t + 1) % length, i, j]


def inject(
    Synapses currents not None,       # rows are graded sources
    const double[:, ::1] amplitude,   # IN (T, n_sources), pA
    real[:, ::1] injected,            # UPDATED (T + longest delay - 1, n), pA
):
    """Add weight * amplitude of every graded source to the current of its targets in step t + delay - 1."""
    cdef int64_t t, b, step
    with nogil:
        for t in range(injected.shape[0]):
            for b in range(currents.blocks.shape[0]):
                step = t - currents.blocks[b, DELAY] + 1
                if 0 <= step < amplitude.shape[0]:
                    add_sources(currents, b, amplitude[step], injected[t])


include "variant.pxi"
