# Arrays of algorithm `scan`, filled by `ComposedMaps` and `ScanRows` of pareprop/algorithms/scan/arrays.py.

cdef class ComposedMaps(Bound):
    """Composed maps of steps, by target, see scan/maps.pxi."""

    cdef public bint in_use
    cdef public int64_t kind                       # NO_OTHER, REGULARIZED or REWARDED
    cdef public double[:, :, ::1] number           # (MAPS, n, width), of NEST's own neurons
    # of custom models: (SUFFIX, n, width), and SUFFIX with entering spikes, (n, suffix width)
    cdef public double[:, :, ::1] of_models
    cdef public double[:, ::1] suffix_of_models
    cdef public double[:, ::1] apart               # (MAPS, n), of custom models, see neuron_model.h
    cdef public real[:, :, ::1] derived            # (MAP_STEPS, n_derived, n), ring by step, of custom models
    cdef public double[:, :, ::1] records          # (MAP_STEPS, more than n, width), what single steps read
    cdef public int64_t recorded                   # step to which records of the present block reach; NEVER: none
    cdef int64_t followed                          # synapses times single steps in the present block
    cdef public int64_t[::1] addresses             # (n_pieces,), of the models' NeuronMaps, or 0
    cdef public double[::1] products               # (MAPS,), with rewards: of discounts
    cdef int64_t begun, reached                    # first step of the present block, first step not known yet


cdef class ScanRows(Bound):
    """State of each row for ends of blocks, and lists of rows by step of the block; empty without composed maps."""

    cdef public int64_t[::1] mark, following       # (n_rows,)
    cdef public int64_t[:, ::1] head               # (n_blocks, MAP_STEPS + 1)
    cdef public double[:, :, ::1] powers           # (n_blocks, k, steps), of constants; NaN: not computed yet
