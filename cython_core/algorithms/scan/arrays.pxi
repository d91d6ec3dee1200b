# Arrays of algorithm `scan`, filled by `ComposedMaps` and `ScanRows` of pareprop/algorithms/scan/arrays.py.

cdef class ComposedMaps(Bound):
    """What composed maps of steps make of traces, by target, see scan/maps.pxi."""

    cdef public bint in_use
    cdef public int64_t kind                       # NO_OTHER, REGULARIZED or REWARDED
    cdef public double[:, :, ::1] number           # (MAPS, n, width), of NEST's own neurons
    # the same of neurons given by equations: (SUFFIX, n, width), and that of SUFFIX with what enters, (n, suffix width)
    cdef public double[:, :, ::1] of_models
    cdef public double[:, ::1] suffix_of_models
    cdef public double[:, ::1] apart               # (MAPS, n), of these neurons, see neuron_model.h
    cdef public real[:, :, ::1] derived            # (MAP_STEPS, n_derived, n), of their latest steps, a ring
    cdef public double[:, :, ::1] records          # (MAP_STEPS, more than n, width), what single steps read
    cdef public int64_t recorded                   # step to which those of the present block reach; NEVER: none
    cdef int64_t followed                          # synapses times single steps in the present block
    cdef public int64_t[::1] addresses             # (n_pieces,), of these models' NeuronMaps, or 0
    cdef public double[::1] products               # (MAPS,), with rewards: of the discounts
    cdef int64_t begun, reached                    # first step of the present block, first that is not known yet


cdef class ScanRows(Bound):
    """What ends of blocks ask of each row, and lists of rows by step of the block; empty without composed maps."""

    cdef public int64_t[::1] mark, following       # (n_rows,)
    cdef public int64_t[:, ::1] head               # (n_blocks, MAP_STEPS + 1)
    cdef public double[:, :, ::1] powers           # (n_blocks, k, steps), of constants, NaN: not known yet
