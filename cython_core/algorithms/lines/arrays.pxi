# Arrays of algorithm `lines`, filled by `WindowLines` of pareprop/algorithms/lines/arrays.py.

cdef class Lines(Bound):
    """psi and L by target, see lines.h: a ring of blocks of LINE_STEPS steps, or none."""

    cdef public real[:, :, ::1] line               # (n_blocks, n, 2 LINE_STEPS)
