# What both variants do alike: rounds of steps, after which ranks meet; readouts, when sums are complete.

from pareprop.core.rounds cimport Meeting
from pareprop.core.stopwatch cimport FEW, Stopwatch, begin, lap, now, share, started


cdef class Variant:
    """Runs this rank's neurons, and all readouts; a variant has its own steps."""

    cdef public Neurons neurons
    cdef public Readouts readouts
    cdef public Channel channel
    cdef public Sample sample
    cdef public Recorder recorder
    cdef public double deliver_seconds, update_seconds, sweep_seconds
    cdef Stopwatch watch

    def __init__(self, parts):
        later = dict.fromkeys(("channel", "sample", "recorder"))
        bind(self, later | dict.fromkeys(("deliver_seconds", "update_seconds", "sweep_seconds"), 0.0) | parts)

    def run(self, Meeting meeting not None, int64_t first, int64_t end, int64_t round_steps, bint led):
        """Collective: advance steps [first, end) in rounds.

        Parameters
        ----------
        meeting : how ranks meet after each round
        led : whether one rank has all neurons: it reads out each step at once, and the others follow it
        """
        cdef int64_t last, part, stop, complete, known, base, n = self.neurons.v.shape[0]
        cdef double start = started(&self.watch, n), apart = meeting.seconds()
        self.require_bound()
        self.prepare(first)
        with nogil:
            if first == 0:
                start_models(self.neurons, 0)
            base = self.channel.base
            first, end = first - base, end - base  # in steps of the log
            known = first
            while first < end:
                last = min(first + min(round_steps, self.channel.sums.n_steps), end)
                self.channel.sums.open(first)
                part = first
                while part < last:
                    stop = meeting.end_of_part(part, first, last)
                    if n > 0 or not led:
                        self.advance_all(base + part, base + stop, led)
                    complete = meeting.meet_part(part, stop, first, last)
                    if n == 0 and led:
                        self.advance_all(base + part, base + stop, led)
                    if not led:
                        self.read_out(base + known, base + complete)
                    known, part = complete, stop
                first = last
        start = max(now() - start - (meeting.seconds() - apart), 0.0)  # a first exchange counts a wait of before
        self.sweep_seconds += start * share(&self.watch, SWEEP)
        self.deliver_seconds += start * share(&self.watch, DELIVER)
        self.update_seconds += start * share(&self.watch, UPDATE)

    cdef int require_bound(self) except -1:
        if self.channel is None or self.sample is None or self.recorder is None:
            raise TypeError(f"{type(self).__name__}: channel, sample and recorder must be bound before it runs")
        return 0

    cdef int prepare(self, int64_t first) except -1:
        """Prepare for steps from `first` on."""
        return 0

    cdef int advance_all(self, int64_t first, int64_t last, bint led) except -1 nogil:
        """Advance steps [first, last) of a round."""
        return 0

    cdef void learn_from_readouts(self, int64_t t) noexcept nogil:
        """Learn from the readouts of step t."""

    cdef void read_out(self, int64_t first, int64_t last) noexcept nogil:
        """Advance the readouts in the steps [first, last), whose sums are complete."""
        cdef int64_t t, n = self.neurons.v.shape[0]
        for t in range(first, last):
            if n < FEW or t == first:
                begin(&self.watch, t, n)
            self.channel.sums.total(t - self.channel.base, self.readouts.arriving)
            self.step_readouts(t)
            if n < FEW or t == last - 1:
                lap(&self.watch, UPDATE)

    cdef void step_readouts(self, int64_t t) noexcept nogil:
        advance_readouts(self.readouts, self.channel, self.sample, t)
        self.learn_from_readouts(t)


cdef void add_spikes(
    Synapses of, int64_t b, const Spikes* log, int64_t place, int64_t step, ExactSum* sums
) noexcept nogil:
    """Add the weights of the spikes in row `place` of a log to what arrives at the readouts in `step` of the run."""
    cdef int64_t i, k, start, width = of.blocks[b, WIDTH] if is_full(of, b) else 0, last = log.ptr[place + 1], row
    cdef const uint32_t* ids = log.ids
    cdef const real* weight
    i = first_at_least(ids, log.ptr[place], last, of.blocks[b, SOURCE])
    start = of.row_ptr[of.blocks[b, ROW]] - of.blocks[b, SOURCE] * width
    while i < last and ids[i] < of.blocks[b, SOURCES]:
        if width > 0:
            weight = &of.weight[0] + start
            prefetch(weight + ids[min(i + FULL_AHEAD, last - 1)] * width)
            for k in range(width):
                add_value(weight[ids[i] * width + k], &sums[of.blocks[b, TARGET] + k])
        else:
            row = row_of(of, b, ids[i])
            if row >= 0:
                add_row_exactly(of, row, factor_of(of, b, row, step), sums)
        i += 1
