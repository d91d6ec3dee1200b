# What the numbers mean that Python and the kernels exchange: columns of tables, codes, parts of a message.
# Each stands here once; layout.pyx makes them a module, which Python reads through `pareprop.kernels`.

from libc.stdint cimport int64_t

cpdef enum:         # columns of `blocks`, int64 (n_blocks, BLOCK_COLUMNS): synapses of one projection and one delay
    ROW = 0         # first row of the projection
    SOURCE = 1      # first source of its projection, an id of the log
    SOURCES = 2     # one past its last source
    DELAY = 3       # in steps
    LOG = 4         # 0: input log, 1: log of recurrent spikes
    DENSE = 5       # 1: each source reaches every target of the block, ascending
    TARGET = 6      # dense: first target
    HOLE = 7        # dense, autapses forbidden: source HOLE + k lacks the k-th target, itself; else NO_HOLE
    WIDTH = 8       # dense: targets of the block
    PLASTIC = 9     # 1: its weights learn
    PORT = 10       # synaptic input of the targets that its weights are added to
    BITS = 11       # address of the set of its rows that there are, see members.pxd; 0: all
    BEFORE = 12     # address of its numbers of members
    ROWS = 13       # rows of the projection
    DELAYS = 14     # blocks of the projection: rows of each of its sources, side by side
    NUMBER = 15     # which of them this block is, from 0 on
    SINCE = 16      # first step of the log whose spikes count: 0, except for synapses that were made in a run
    FACTORS = 17    # address of short-term plasticity of its rows, (ROWS, FACTOR_COLUMNS); 0: all spikes count alike
    BLOCK_COLUMNS = 18

cpdef enum:         # columns of short-term plasticity, float64 (n_rows, FACTOR_COLUMNS), see delivery.pxi
    FACTOR_U = 0
    RECOVERY = 1            # -dt / tau_rec
    FACILITATION = 2        # -dt / tau_fac, 0: there is none
    UTILISATION = 3         # u and x at the latest spike
    RESOURCES = 4
    LATEST_SPIKE = 5        # step in which it arrived, NEVER: there was none
    FIRST_UTILISATION = 6   # u and x at the first spike
    FIRST_RESOURCES = 7
    FACTOR_COLUMNS = 8

cpdef enum:
    NO_HOLE = -1    # each source of a block reaches every target
    WIDEST = 256    # steps from the shortest to the longest delay of a projection whose spikes are spread, at most

cpdef enum:         # columns of `pieces`, int64 (n_pieces, PIECE_COLUMNS): neighbouring neurons of one population
    FIRST = 0
    LAST = 1        # one past the last
    MODEL = 2       # bits of the neuron model
    PIECE_COLUMNS = 3

cpdef enum:         # columns of `backgrounds`, int64 (n_backgrounds, BACKGROUND_COLUMNS), see background.pxi
    BACKGROUND_FIRST = 0    # first neuron of this rank that gets it, and one past the last
    BACKGROUND_LAST = 1
    BACKGROUND_NUMBER = 2   # what the first one is called in its population
    BACKGROUND_PORT = 3     # synaptic input
    BACKGROUND_WEIGHT = 4   # place of its first weight
    LEVEL = 5               # place of its first threshold
    LEVELS = 6              # how many thresholds a neuron has
    LEVELS_EACH = 7         # 1: each neuron has its own
    BACKGROUND_COLUMNS = 8

cpdef enum:         # columns of `silences`, `noises` and `dropouts`, int64 (n, PERTURBED_COLUMNS), see perturbed.pxi
    PERTURBED_FIRST = 0     # this rank's neurons [first, last)
    PERTURBED_LAST = 1
    PERTURBED_NUMBER = 2    # what the first one is called in its population
    PERTURBED_START = 3     # first step of the sample, and one past the last
    PERTURBED_STOP = 4
    NOISE_PLACE = 5         # noises: place of the first neuron's values
    NOISE_STEPS = 6         # noises: steps between draws
    PERTURBED_COLUMNS = 7

cpdef enum:         # bits of a neuron model
    BY_EQUATIONS = 1    # given by equations of a user or a table: its states are columns of `state`
    KEEPS_INPUT = 2     # what arrives while it is refractory is kept
    EARLY_CURRENT = 4   # I_e is there from the first step of a run on, not from the second

cpdef enum:         # algorithms by which blocks of the spike variant learn, a folder each
    STATIC = 0
    READOUT = 1
    PREFIX = 2
    SCAN = 3
    LINES = 4
    STEPS = 5
    RULE = 6
    RULE_STEPS = 7  # a rule whose steps do not compose
    ALGORITHMS = 8

cdef struct BlockSettings:  # how the synapses of a block learn; Python fills fields by name
    int64_t algorithm           # STATIC to RULE_STEPS
    int64_t cutoff              # steps, NO_CUTOFF for none
    int64_t own_zbar            # 1: each synapse keeps its own filtered spikes
    int64_t adaptive            # 1: thresholds of the targets adapt
    int64_t optimizer           # number of its equations, see generate_optimizers.py
    int64_t counted             # 1: its steps without a gradient change something, and are counted
    int64_t each_step           # 1: it steps with each time step
    int64_t moves               # 1: synapses move, so that rows without any keep their books, too
    int64_t lag                 # steps that its windows end before an arrival
    int64_t rule                # place in the table of rules; NO_LEARNER: by e-prop
    int64_t horizon             # with rewards: steps after an arrival whose errors reach it; NO_CUTOFF: all
    int64_t[4] kept             # places in Optimizing.moments of what the optimizer keeps, -1 for none
    int64_t model               # address of the targets' generated model, or 0
    int64_t maps                # address of their NeuronMaps, or 0
    int64_t shared              # 1: all targets have the constants of the first one
    int64_t idle                # place in the tables of steps without a gradient, see algorithms/idle.py
    int64_t emitted             # place in Rows.emitted of the block's first source
    double alpha, kappa, kappa_reg
    double eta, Wmin, Wmax
    double[8] constants         # those that the equations of the optimizer name

cpdef enum:
    NO_LEARNER = -1

cdef struct RuleTargets:    # a rule given by equations and its targets, see algorithms/rule/rule.pxi
    int64_t first, last         # targets, among the neurons of this rank
    int64_t lag
    int64_t step                # addresses of its functions
    int64_t trace               # through a step
    int64_t row                 # through all steps between two arrivals; 0: it has none
    # addresses of its arrays: (n_constants, n), (n_states + n_map, n), (kept steps, n_numbers, n)
    int64_t constant, state, number
    int64_t n_numbers, n_kept   # numbers of a step, and for how many steps they are kept
    int64_t own                 # what synapses read of its constants, (n, n_own)
    int64_t present             # the present map, as synapses read it
    int64_t entry, end, table   # its rings and its table of functions, see rule_row.h
    int64_t n_entries, n_ends, n_columns    # columns of each
    int64_t n_places            # rows of the table
    int64_t shared, shift
    int64_t block               # steps of the shortest block

cpdef enum:
    RULE_ENDS = 32  # latest ends of blocks of a target that learners keep, as in rule_row.h

cpdef enum:
    NO_CUTOFF = -1
    CHUNK = 128     # synapses that apply a window together

cpdef enum:         # columns of `books`, int64 (n_rows, BOOK_COLUMNS): the bookkeeping of a source and delay
    LATEST = 0      # previous arrival, NEVER if none
    CURSOR = 1      # first history step not applied (step by step), block of the sums (PREFIX)
    WAITING = 2     # bit i: the arrival at LATEST - i has not entered zbar yet
    OLDER = 3       # arrivals before the one that waits which have not entered the trace yet
    CLOSED = 4      # 1: the cutoff is reached, traces are of step LATEST - m + cutoff - 1
    BOOK_COLUMNS = 5

cpdef enum:
    NEVER = -1

cpdef enum:
    MAP_STEPS = 16          # of a block of composed maps
    GAPS = 8                # latest blocks of which a map reaches to the present one
    RUNNING = 8             # places of maps after those: of the present block so far
    SUFFIX = 9              # scratch: from a step to the end of the block
    MAPS = 10               # places of composed maps of a target
    NUMBERS = 8             # of a map of NEST's own neurons, see algorithms/scan/maps.pxi
    FEW_NUMBERS = 4         # of a map where none adapts

cpdef enum:         # a message between ranks
    HEADER = 3      # words before the signals
    QUOTA = 65536   # units of a quota: gaps per source of a list and round
