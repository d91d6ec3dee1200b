# Arrays of algorithm `rule`, filled by `SpikeRules` of pareprop/algorithms/rule/arrays.py.

cdef class Learners(Bound):
    """Rules given by equations, see rule/rule.pxi."""

    cdef public RuleTargets[::1] table             # (n_rules,)
    cdef public int64_t steps                      # of the rings of what enters in a step
    cdef public int64_t fold_steps                 # how often rows are worked off that go through each step
    cdef public double[::1] modulator              # (steps,), a ring: what rules read as M
