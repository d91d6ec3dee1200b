# What synapses keep to learn, and the arrays of each algorithm, which its folder declares.

cdef class Traces(Bound):
    """Traces of synapses, each empty where no algorithm of the table needs it."""

    cdef public real[::1] C                        # minus the gradient that the optimizer has not taken yet
    cdef public real[::1] Y, Y2                    # ebar, ereg, or what prefix sums make of them
    cdef public real[::1] h                        # with rewards: traces that TD errors meet, see prefix/online_td.pxi
    cdef public real[::1] zbar, eps                # own filtered spikes, adaptation's part of the eligibility
    cdef public real[:, ::1] of_model              # (n_traces, n_synapses), of generated models and rules


include "readout/arrays.pxi"
include "prefix/arrays.pxi"
include "scan/arrays.pxi"
include "lines/arrays.pxi"
include "rule/arrays.pxi"
