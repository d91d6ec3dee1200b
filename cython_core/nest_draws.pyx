"""Connections and random parameters as NEST draws them, one after the other from the same generators.

Rows of `generators`: one that all ranks share, one that is equal in all virtual processes, and one per virtual
process. A node uses the generator of process (id modulo number of processes).
"""

from libc.math cimport NAN, cos, exp, pow, sin
from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.mersenne cimport (
    GENERATOR, Binomial, exponential, hits, normal, seed as seed_one, set_binomial, unit, whole,
)

cpdef enum:
    SHARED = 0
    SYNCED = 1
    OWN = 2             # of virtual process 0
    N_WORDS = GENERATOR

cpdef enum Operation:   # on a stack of numbers
    CONSTANT            # a
    UNIFORM             # a + b u
    UNIFORM_INT         # below `bound`
    EXPONENTIAL         # mean a
    NORMAL              # mean a, standard deviation b
    LOGNORMAL           # exponential of NORMAL
    ADD
    SUBTRACT
    MULTIPLY
    DIVIDE
    POWER
    EXP
    SIN
    COS
    MINIMUM
    MAXIMUM
    LESS                # 1 or 0, as the others below
    LESS_EQUAL
    EQUAL
    UNEQUAL
    GREATER_EQUAL
    GREATER
    UNLESS              # remove a number; jump to operation `bound` if it is 0
    GO                  # jump to operation `bound`
    REDRAW              # from operation `bound` on until the number lies in [a, b]

cdef enum:
    MOST_REDRAWS = 1000
    MOST_TRIES = 1000000


def seed(uint32_t seed, uint64_t[:, ::1] generators):
    """Start all generators, overwritten (2 + number of virtual processes, `N_WORDS`)."""
    cdef int64_t row
    cdef uint32_t entropy[3]
    entropy[0] = seed
    with nogil:
        for row in range(generators.shape[0]):
            entropy[1] = 0xC229212D if row == SHARED else 0x37722D5E if row == SYNCED else 0xB84C9BAE
            entropy[2] = <uint32_t>(row - OWN)
            seed_one(entropy, 3 if row >= OWN else 2, &generators[row, 0])


cdef class Program:
    """Parameters of a connection or node, drawn in this order.

    Attributes
    ----------
    operations : int64 (n, 3), an `Operation` each, the row of `waiting`, and `bound`
    numbers : float64 (n, 2), a and b
    ends : int64 (n_parameters + 1), the operations of each parameter
    waiting : float64 (n_normal, number of virtual processes), normal numbers that wait for the next draw; updated
    stack : float64, scratch
    """

    cdef const int64_t[:, ::1] operations
    cdef const double[:, ::1] numbers
    cdef const int64_t[::1] ends
    cdef double[:, ::1] waiting
    cdef double[::1] stack
    cdef int64_t n_parameters
    cdef bint failed

    def __init__(self, operations, numbers, ends, waiting, stack):
        self.operations, self.numbers, self.ends = operations, numbers, ends
        self.waiting, self.stack = waiting, stack
        self.n_parameters = self.ends.shape[0] - 1
        self.failed = False

    cdef inline int check(self) except -1:
        if self.failed:
            raise ValueError(f"no number within the bounds of a redraw in {MOST_REDRAWS} draws")
        return 0


cdef double evaluate(Program p, int64_t first, int64_t last, uint64_t* s, int64_t vp) noexcept nogil:
    """Draw one parameter."""
    cdef int64_t k = first, top = -1, operation, tries = 0
    cdef double a, b, x
    while k < last:
        operation, a, b = p.operations[k, 0], p.numbers[k, 0], p.numbers[k, 1]
        if operation <= LOGNORMAL:
            top += 1
            if operation == CONSTANT:
                x = a
            elif operation == UNIFORM:
                x = a + unit(s) * b
            elif operation == UNIFORM_INT:
                x = <double>whole(s, <uint64_t>p.operations[k, 2])
            elif operation == EXPONENTIAL:
                x = a * exponential(s)
            else:
                x = normal(s, &p.waiting[p.operations[k, 1], vp]) * b + a
                if operation == LOGNORMAL:
                    x = exp(x)
        elif operation == REDRAW:
            x = p.stack[top]
            if not a <= x <= b:
                tries += 1
                if tries < MOST_REDRAWS:
                    k, top = p.operations[k, 2] + first, top - 1
                    continue
                p.failed = True
            tries = 0
        elif operation == GO or operation == UNLESS:
            if operation == UNLESS:
                top -= 1
            k = p.operations[k, 2] + first if operation == GO or p.stack[top + 1] == 0.0 else k + 1
            continue
        elif operation in (EXP, SIN, COS):
            x = p.stack[top]
            x = exp(x) if operation == EXP else sin(x) if operation == SIN else cos(x)
        else:
            top -= 1
            a, b = p.stack[top], p.stack[top + 1]
            if operation == ADD:
                x = a + b
            elif operation == SUBTRACT:
                x = a - b
            elif operation == MULTIPLY:
                x = a * b
            elif operation == DIVIDE:
                x = a / b
            elif operation == POWER:
                x = pow(a, b)
            elif operation == MINIMUM:
                x = b if b < a else a
            elif operation == MAXIMUM:
                x = b if a < b else a
            elif operation == LESS:
                x = a < b
            elif operation == LESS_EQUAL:
                x = a <= b
            elif operation == EQUAL:
                x = a == b
            elif operation == UNEQUAL:
                x = a != b
            elif operation == GREATER_EQUAL:
                x = a >= b
            else:
                x = a > b
        p.stack[top] = x
        k += 1
    return p.stack[0]


cdef inline void draw_all(
    Program p, uint64_t[:, ::1] generators, int64_t row, int64_t place, double[:, ::1] drawn
) noexcept nogil:
    """Draw all parameters of connection `place` from a generator."""
    cdef int64_t k
    for k in range(p.n_parameters):
        drawn[k, place] = evaluate(p, p.ends[k], p.ends[k + 1], &generators[row, 0], max(row - OWN, 0))


def draw(
    uint64_t[:, ::1] generators,      # UPDATED
    const int64_t[::1] nodes,         # IN (n), ids, or [-1] for the generator that all share
    Program program,
    double[:, ::1] drawn,             # OUT (n_parameters, n)
):
    """Draw the parameters of nodes, or of connections onto nodes, in this order."""
    cdef int64_t i, n_processes = generators.shape[0] - OWN
    with nogil:
        for i in range(nodes.shape[0]):
            draw_all(program, generators, OWN + nodes[i] % n_processes if nodes[i] >= 0 else SHARED, i, drawn)
    program.check()


def choose_degree(
    uint64_t[:, ::1] generators,      # UPDATED
    const int64_t[::1] nodes,         # IN, ids
    const int64_t[::1] others,        # IN, ids among which each node chooses
    int64_t degree,                   # how many
    bint shared,                      # use the generator that all ranks share, not the node's
    bint autapses,
    bint multapses,
    int64_t[::1] taken,               # UPDATED (n others) without multapses: -1 before
    Program program,
    int64_t[::1] chosen,              # OUT (n nodes x degree), places among `others`
    double[:, ::1] drawn,             # OUT (n_parameters, n nodes x degree)
):
    """Choose a number of others for each node; there are enough that may be chosen."""
    cdef int64_t i, k, row, place, n_processes = generators.shape[0] - OWN
    cdef uint64_t n_others = <uint64_t>others.shape[0]
    with nogil:
        for i in range(nodes.shape[0]):
            row = SHARED if shared else OWN + nodes[i] % n_processes
            for k in range(i * degree, (i + 1) * degree):
                while True:
                    place = <int64_t>whole(&generators[row, 0], n_others)
                    if (autapses or others[place] != nodes[i]) and (multapses or taken[place] != i):
                        break
                if not multapses:
                    taken[place] = i
                chosen[k] = place
                draw_all(program, generators, row, k, drawn)
    program.check()


def choose_each(
    uint64_t[:, ::1] generators,      # UPDATED
    const int64_t[::1] source,        # IN, ids
    const int64_t[::1] target,        # IN, ids
    double probability,
    bint autapses,
    Program program,
    int64_t first,                    # target to begin with
    int64_t[::1] chosen,              # OUT (room), places among `source`, by target
    int64_t[::1] counts,              # OUT (n_targets), of the targets from `first` to the end
    double[:, ::1] drawn,             # OUT (n_parameters, room)
):
    """Connect each pair with a probability, as long as there is room.

    Returns
    -------
    int
        The next target.
    """
    cdef int64_t i, k, n = 0, before, row, n_processes = generators.shape[0] - OWN, room = chosen.shape[0]
    with nogil:
        for k in range(first, target.shape[0]):
            if room - n < source.shape[0]:
                break
            row, before = OWN + target[k] % n_processes, n
            for i in range(source.shape[0]):
                if not autapses and source[i] == target[k]:
                    continue
                if unit(&generators[row, 0]) < probability:
                    chosen[n] = i
                    draw_all(program, generators, row, n, drawn)
                    n += 1
            counts[k] = n - before
        else:
            k = target.shape[0]
    program.check()
    return k


def binomial(uint64_t[:, ::1] generators, const int64_t[::1] weights, int64_t n, int64_t[::1] shares):
    """Split `n` by integer `weights`: a multinomial number from the generator that all share, (k) to (k)."""
    cdef int64_t k, rest = n
    cdef double used = 0.0, total = 0.0
    cdef Binomial draws
    draws.waiting = NAN
    with nogil:
        for k in range(weights.shape[0]):
            total += <double>weights[k]
        for k in range(weights.shape[0]):
            shares[k] = 0
            if rest > 0 and weights[k] > 0:
                set_binomial(&draws, <uint64_t>rest, <double>weights[k] / (total - used))
                shares[k] = <int64_t>hits(&generators[SHARED, 0], &draws)
            used += <double>weights[k]
            rest -= shares[k]


def choose_pairs(
    uint64_t[:, ::1] generators,      # UPDATED
    int64_t process,                  # virtual process of the targets
    const int64_t[::1] source,        # IN, ids
    const int64_t[::1] target,        # IN, ids
    bint autapses,
    Program program,
    int64_t[::1] sources,             # OUT (n), places among `source`
    int64_t[::1] targets,             # OUT (n), places among `target`
    double[:, ::1] drawn,             # OUT (n_parameters, room for n)
    int64_t start,                    # place of the first connection in `drawn`
):
    """Choose pairs; there is one that may be chosen."""
    cdef int64_t row = OWN + process, k = 0
    cdef uint64_t* generator = &generators[row, 0]
    with nogil:
        while k < sources.shape[0]:
            sources[k] = <int64_t>whole(generator, <uint64_t>source.shape[0])
            targets[k] = <int64_t>whole(generator, <uint64_t>target.shape[0])
            if autapses or source[sources[k]] != target[targets[k]]:
                draw_all(program, generators, row, start + k, drawn)
                k += 1
    program.check()


def choose_both_ways(
    uint64_t[:, ::1] generators,      # UPDATED
    const int64_t[::1] source,        # IN, ids
    const int64_t[::1] target,        # IN, ids
    double probability,               # below 1
    int64_t[::1] taken,               # UPDATED (n_sources): -1 before
    double waiting,                   # normal number of an earlier call, or NaN
    int64_t first,                    # target to begin with
    int64_t[::1] sources,             # OUT (room), places
    int64_t[::1] targets,             # OUT (room), places
):
    """Choose a binomial number of sources for each target, other than itself, from the generator all have alike.

    Returns
    -------
    tuple
        The next target, the number of pairs, the next `waiting`.
    """
    cdef int64_t k, n = 0, place, wanted, room = sources.shape[0]
    cdef uint64_t* generator = &generators[SYNCED, 0]
    cdef Binomial draws
    cdef int64_t tries = 0
    draws.waiting = waiting
    with nogil:
        set_binomial(&draws, <uint64_t>source.shape[0], probability)
        for k in range(first, target.shape[0]):
            if room - n < source.shape[0]:
                break
            wanted = source.shape[0]
            while wanted >= source.shape[0] and tries < MOST_TRIES:
                wanted = <int64_t>hits(generator, &draws)
                tries += 1
            if tries == MOST_TRIES:
                break
            tries = 0
            while wanted > 0:
                wanted -= 1
                while True:
                    place = <int64_t>whole(generator, <uint64_t>source.shape[0])
                    if source[place] != target[k] and taken[place] != k:
                        break
                taken[place] = k
                sources[n], targets[n] = place, k
                n += 1
        else:
            k = target.shape[0]
    if tries == MOST_TRIES:
        raise ValueError(f"p = {probability} is too close to 1")
    return k, n, draws.waiting
