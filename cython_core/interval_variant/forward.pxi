# Interval variant (`*_bsshslm_2020`): advance the neurons, run the backward pass, accumulate gradients.
#
# Equations: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y; step order and conventions of NEST 3.10.
# Arrays are of type `real` unless said; n = neurons of this rank, T = steps of the interval.

from pareprop.core.layout cimport PLASTIC

include "sweep.pxi"
include "credit.pxi"

cdef class Forward(Variant):
    """Runs this rank's recurrent neurons, and all readouts with the synapses from its neurons."""

    cdef public Synapses incoming, outgoing    # outgoing: from this rank's neurons onto the readouts
    cdef public real[:, :, ::1] psi            # (T, n_ports, n), OUT in port 0: surrogate gradients
    cdef public real[:, :, ::1] ring           # (slots, n_ports, n), input of later steps, see delivery.pxi
    cdef public bint keeps_fixed               # spikes at fixed synapses are not lost in step 0

    def read(self, int64_t first, int64_t last):
        """Advance the readouts alone in steps [first, last), in which no spike arrives."""
        cdef int64_t t
        self.require_bound()
        self.readouts.arriving[:] = 0.0
        for t in range(first, last):
            self.step_readouts(t)

    def count_late(self, int64_t end):
        """Let spikes that would arrive after the interval, which has `end` steps, count for short-term plasticity."""
        self.require_bound()
        count_late(self.incoming, &self.channel.inputs.at, self.channel.received, end, self.sample.before)

    cdef int prepare(self, int64_t first) except -1:
        if first == 0:
            self.ring[:] = 0.0
        return 0

    cdef int advance_all(self, int64_t first, int64_t last, bint led) except -1 nogil:
        cdef int64_t t, b, n = self.neurons.v.shape[0]
        for t in range(first, last):
            if n == 0:
                self.channel.own.at.ptr[t + 1] = self.channel.own.at.ptr[t]
                continue
            self.channel.own.make_room(self.channel.own.at.ptr[t] + n)
            begin(&self.watch, t, n)
            self.deliver(t)
            lap(&self.watch, DELIVER)
            advance_neurons(self.neurons, self.channel, self.sample, self.recorder, t, self.psi[t, 0])
            # step t of readouts receives the spikes of step t, whatever the delay
            for b in range(self.outgoing.blocks.shape[0]):
                add_spikes(self.outgoing, b, &self.channel.own.at, t, self.sample.before + t,
                           self.channel.sums.of_step(t))
            lap(&self.watch, UPDATE)
        return 0

    cdef void deliver(self, int64_t t) noexcept nogil:
        """Add the weights of all spikes that arrive in step t: of the ring, then by block, by ascending source."""
        cdef int64_t b, k, emitted
        cdef Spikes* inputs = &self.channel.inputs.at
        cdef Segments logs
        if self.ring.shape[0] > 0:
            for b in range(self.incoming.blocks.shape[0]):
                if self.incoming.blocks[b, NUMBER] == 0 and is_spread(self.incoming, b):
                    logs = segments_of(self.incoming, b, &inputs, self.channel.received)
                    spread(self.incoming, b, logs, 0, t, t + self.loses(t, b), self.ring)
            take_slot(self.ring[t % self.ring.shape[0]], self.neurons.arriving)
        for b in range(self.incoming.blocks.shape[0]):
            emitted = t - lag_of(self.incoming, b)
            if self.loses(t, b) or is_spread(self.incoming, b) or emitted < self.incoming.blocks[b, SINCE]:
                continue
            logs = segments_of(self.incoming, b, &inputs, self.channel.received)
            for k in range(logs.n):
                deliver_block(self.incoming, b, logs.at[k], emitted, self.sample.before + t,
                              self.neurons.arriving[self.incoming.blocks[b, PORT]])

    cdef bint loses(self, int64_t t, int64_t b) noexcept nogil:
        """Whether spikes that arrive at a block are lost, as in NEST in step 0."""
        return t == 0 and (self.incoming.blocks[b, PLASTIC] != 0 or not self.keeps_fixed)
