# Neurons and readouts of both variants: their parameters and state, the logs that they write, and one step of them.
#
# Included by each engine in each precision. n = neurons of this rank; step s of a sample is step origin + s of the run.

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.bind cimport bind
from pareprop.core.delivery cimport add_row, list_spikes
from pareprop.core.layout cimport (
    ADAPTS, DELAY, FIRST, LAST, MODEL, PSC_DELTA, RESETS_LATER, ROW, SOURCE, SOURCES, SURROGATE,
)
from pareprop.core.neurons cimport fire, integrate_iaf, integrate_psc_delta, integrate_readouts, reset, set_drive
from pareprop.core.readout_sums cimport ReadoutSums
from pareprop.core.spike_log cimport SegmentedLog, SpikeLog
from pareprop.core.surrogates cimport surrogate

cdef enum:        # phases of a step
    DELIVER = 0
    UPDATE = 1
    SWEEP = 2


cdef class Neurons:
    """This rank's neurons: parameters and state, (n,) each; voltages counted from E_L, times in steps."""

    cdef public int64_t first_id                   # id of the first one
    cdef public int64_t[:, ::1] pieces             # (n_pieces, PIECE_COLUMNS)
    cdef public real[::1] alpha, zeta, p_current, V_th, V_min, V_reset, t_ref, rho, adapt_beta, I_e
    cdef public real[::1] height, inverse_width    # of the surrogate gradient
    cdef public real[::1] refractory_input         # whether input that arrives while refractory is kept
    cdef public real[::1] v, a, z, refractory, arriving, excess, drive
    cdef public real[::1] kept                     # input kept while refractory

    def __init__(self, values):
        bind(self, values)


cdef class Readouts:
    """All readouts, which every rank advances; y = V - E_L."""

    cdef public double[::1] y, arriving            # (n_readouts,)
    cdef public double alpha, zeta, drive, V_min

    def __init__(self, values):
        bind(self, values)


cdef class Channel:
    """Logs and sums, which rounds complete. Entry t - base of a log is step t."""

    cdef public int64_t base
    cdef public SpikeLog inputs
    cdef public SpikeLog own                       # spikes of this rank's neurons, OUT
    cdef public SegmentedLog heard                 # of the neurons that this rank listens to
    cdef public ReadoutSums sums                   # of what arrives at readouts in a round
    cdef public double[:, ::1] signal              # (n_steps, n_readouts), OUT: y

    def __init__(self, values):
        bind(self, values)


cdef class Sample:
    """The present sample."""

    cdef public int64_t origin                     # its first step
    cdef public real[:, ::1] injected              # (n_steps, n) or (0, n), pA; row s: what was injected one step before

    def __init__(self, values):
        bind(self, values)


cdef class Recorder:
    """What is kept of some neurons in the present sample."""

    cdef public int64_t[::1] local                 # the neurons
    cdef public double[:, ::1] V_m, adaptation, psi    # (n_steps, n_recorded), OUT

    def __init__(self, values):
        bind(self, values)


cdef void advance_neurons(
    Neurons cells, Channel channel, Sample sample, Recorder recorder, int64_t t, bint starts, real[::1] psi
) noexcept nogil:
    """One step of the neurons; their spikes go to the log.

    Parameters
    ----------
    t : the step of the run, or of the interval
    starts : whether the run starts with this step
    psi : OUT surrogate gradients
    """
    cdef int64_t place = t - channel.base, count = channel.own.at.ptr[place], n = cells.v.shape[0]
    advance_pieces(cells, sample, t - sample.origin, starts, psi)
    record(cells, recorder, t - sample.origin, psi)
    if n > 0:
        count += list_spikes(n, cells.first_id, &cells.z[0], &channel.own.at.ids[count])
    channel.own.at.ptr[place + 1] = count


cdef inline void advance_pieces(Neurons cells, Sample sample, int64_t s, bint starts, real[::1] psi) noexcept nogil:
    """Each piece: integrate, psi, spikes, then the reset, unless that comes with the next step."""
    cdef int64_t p, first, last, model
    cdef bint adapts, psc_delta, resets_later
    for p in range(cells.pieces.shape[0]):
        first, last, model = cells.pieces[p, FIRST], cells.pieces[p, LAST], cells.pieces[p, MODEL]
        adapts, psc_delta, resets_later = model & ADAPTS, model & PSC_DELTA, model & RESETS_LATER
        if s <= 1 or sample.injected.shape[0] > 0:
            # I_e is there from the second step of the run on; with psc_delta from the first one
            set_drive(first, last, not starts or psc_delta, cells.p_current, cells.I_e, sample.injected, s, cells.drive)
        if psc_delta:
            integrate_psc_delta(first, last, adapts, cells.alpha, cells.drive, cells.V_th, cells.V_min, cells.rho,
                                cells.adapt_beta, cells.z, cells.refractory_input, cells.kept, cells.arriving, cells.v,
                                cells.a, cells.refractory, cells.excess)
        else:
            integrate_iaf(first, last, adapts, resets_later, cells.alpha, cells.zeta, cells.drive, cells.V_th,
                          cells.V_min, cells.rho, cells.adapt_beta, cells.z, cells.arriving, cells.v, cells.a,
                          cells.refractory, cells.excess)
        surrogate(cells.pieces[p, SURROGATE], first, last, cells.height, cells.inverse_width, cells.excess,
                  cells.refractory, psi)
        fire(first, last, cells.t_ref, cells.excess, cells.z, cells.refractory)
        if not resets_later:
            reset(first, last, psc_delta, cells.z, cells.V_th, cells.V_reset, cells.v)


cdef inline void record(Neurons cells, Recorder recorder, int64_t s, const real[::1] psi) noexcept nogil:
    """After the reset, as NEST does."""
    cdef int64_t j, k
    for k in range(recorder.local.shape[0]):
        j = recorder.local[k]
        recorder.V_m[s, k] = cells.v[j]
        recorder.adaptation[s, k] = cells.a[j]
        recorder.psi[s, k] = psi[j]


cdef inline void advance_readouts(Readouts readouts, Channel channel, int64_t s, bint starts) noexcept nogil:
    """One step of the readouts, step s of the sample; `starts` as for neurons."""
    integrate_readouts(readouts.alpha, readouts.zeta, 0.0 if starts else readouts.drive, readouts.V_min,
                       readouts.arriving, readouts.y, channel.signal, s)


def inject(
    const int64_t[:, ::1] blocks,     # IN, rows are graded sources
    const int64_t[::1] row_ptr,       # IN
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    const double[:, ::1] amplitude,   # IN (T, n_sources), pA
    real[:, ::1] injected,            # UPDATED (T + longest delay - 1, n), pA
):
    """Add weight * amplitude of every graded source to the current that its targets take in step t + delay - 1."""
    cdef int64_t t, b, k, row, step
    with nogil:
        for t in range(injected.shape[0]):
            for b in range(blocks.shape[0]):
                step = t - blocks[b, DELAY] + 1
                if step < 0 or step >= amplitude.shape[0]:
                    continue
                for k in range(blocks[b, SOURCE], blocks[b, SOURCES]):
                    if amplitude[step, k] != 0.0:
                        row = blocks[b, ROW] + k - blocks[b, SOURCE]
                        add_row(blocks, b, k, row_ptr[row], row_ptr[row + 1], target, weight, amplitude[step, k],
                                injected[t])
