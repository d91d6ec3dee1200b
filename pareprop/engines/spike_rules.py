"""Rules by which blocks of synapses learn in the spike variant: kernel, constants, and histories.

Bytes per synapse, target (4) and weight (8) included; a table is as wide as the widest of its projections:

======= ============================================================= =====================================
mode    for                                                           bytes
======= ============================================================= =====================================
STATIC  fixed weights                                                 12
PREFIX  plain neurons of one tau_m, gradient descent                  28, +8 if kappa_reg differs
STRETCH adaptive, tau_m that differs, Adam that steps at arrivals,    28, +8 if kappa_reg differs,
        kappa = 0, short time constants, synapses that move, neurons  +8 adaptive, +8 tau_m that differs,
        given by equations                                            or rewired, +16 Adam, or 8 for each
                                                                      trace of the equations
LOOP    with a step of the optimizer in each time step Adam, tight    as STRETCH
        bounds and signs; cutoff within the lag; neurons with more
        than 10 states
READOUT weights of readouts                                           20, +16 Adam
======= ============================================================= =====================================

For each source and delay, on every rank: 56 bytes, +8 with Adam, +16 with STRETCH.
For each neuron, with LOOP: psi and L of as many steps as the longest cutoff, at most 1 024. With STRETCH: 896 bytes,
576 if no neuron adapts, 1 472 if kappa_reg differs, and 17 + m steps of its history; given by equations, 72 for each
number of a stretch, 8 for each of what enters, both in lines of eight, 80, and 128 for each derivative that takes long
to compute: `iaf_psc_exp` 848, 1 552 if synapses learn at both ports, `adex` 976.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import elementary
from ..errors import InputError
from ..kernels import layout
from ..network.connectivity import RULES, Population, Projection
from ..network.model import Model
from ..network.neurons import CUTOFF_LIMIT, whole_steps
from ..network.optimizers import Adam, Optimizer
from ..network.parameters import Distribution
from ..network.reward import Reward
from ..network.synapse_table import SynapseTable
from ..neurons.language import names_of, walk
from ..neurons.model import MOST_COMPOSED

STATIC, PREFIX, LOOP, READOUT, STRETCH = layout.STATIC, layout.PREFIX, layout.LOOP, layout.READOUT, layout.STRETCH
ERRORS = ("error_ring", "error_sums")  # histories of all readouts, the same on every rank
FOLD_STEPS = 1024  # rows without a cutoff (or with a longer one) are updated at least this often
LARGEST_BLOCK, SMALLEST_BLOCK = 256, 8
ONLINE_BLOCK = 32  # with rewards: episodes begin with a block, and the powers of gamma lambda count, too
# The powers within a block of prefix sums span at most this factor: of 16 digits three may be lost, of 7 not that many.
LOSS = {"double": 1e3, "single": 30.0}
MOST_IDLE, IDLE_COLUMNS, IDLE_GROWTH, IDLE_REST = 128, 16, 1.0 / 16.0, 1e-20  # see idle_adam.pxi
# Plain arrivals that one is worth where steps compose, with two arrivals per neuron and step; by equations times so
# much, and for each pair of traces; and for an exponential in a step of its neurons
STRETCHED, OF_EQUATIONS, OF_PAIR, OF_EXPONENTIAL = 2.2, 1.25, 0.08, 0.6
LEAN, WITH_ADAM = 0.85, 1.3  # times as long takes an arrival there at neurons that do not adapt; with Adam
FOLLOWED, BY_LINE = 0.75, 0.25  # plain arrivals that a step takes in which a synapse is followed; the same from lines
# Times as long takes an arrival there if delays differ; and what a row takes, which its synapses share
ACROSS_DELAYS, OF_ROW = 1.6, 12.0
FEWEST = 8.0  # synapses of a source on a rank below which rows are short with one delay, too
SLOW = 5.0  # plain arrivals above which a run says so
MANY_NEURONS, OF_MANY = 7_500, 1.25  # on a rank, by equations: what steps keep of them leaves the caches; times as long
EXPONENTIALS = {"exp": 1, "log": 1, "tanh": 3}  # divisions and all
SHORT = 10  # steps that take no more than five times as long as an arrival
DEFAULT_BOUND = 100.0  # NEST's Wmin and Wmax


@dataclass(frozen=True)
class Lags:
    """Delays of the learning loop.

    Attributes
    ----------
    d_out, d_fb : int
        Delays in steps from neurons to readouts and back.
    """

    d_out: int = 1
    d_fb: int = 1

    @property
    def m(self) -> int:
        """Steps by which learning signals lag behind: d_out + d_fb - 1."""
        return self.d_out + self.d_fb - 1


def lags(model: Model) -> Lags:
    """Return the delays of the learning loop, which must be one value each.

    Raises
    ------
    InputError
        If delays to or from the readouts differ, or the loop is longer than 63 steps.
    """
    lags = {}
    for key, pre, post in (("d_out", "recurrent", "readout"), ("d_fb", "readout", "recurrent")):
        items = [item for item in model.projections if item.pre.role == pre and item.post.role == post]
        items = [item for item in items if not item.is_empty]
        delays = {delay for item in items for delay in item.delay_range}
        if len(delays) > 1:
            raise InputError(
                f"projections {[item.name for item in items]} have delays from {min(delays)} to {max(delays)} steps; "
                "in the spike variant all delays to readouts, and all from them, must be one value"
            )
        lags[key] = delays.pop() if delays else 1
    result = Lags(**lags)
    if result.m > 62:
        raise InputError(f"delays to readouts and back are {result.d_out} + {result.d_fb} steps, at most 63 together")
    return result


def require_known(model: Model) -> None:
    """Raise `InputError` if the spike variant does not know a loss or an optimizer of the model."""
    if model.is_rewarded:
        _require_online(model)
    for readouts in model.of_role("readout") if not model.is_rewarded else ():
        model.eprop.require(f"population '{readouts.name}': loss", readouts.params.loss, model.eprop.losses)
    owners = {f"projection '{item.name}': ": item.optimizer for item in model.projections if item.optimizer}
    for owner, optimizer in ({"": model.optimizer} | owners).items():
        model.eprop.require(f"{owner}optimizer", optimizer.type, model.eprop.optimizers)


def _require_online(model: Model) -> None:
    """Raise `InputError` unless the spike variant can learn from TD errors while an episode runs."""
    for population in (*model.of_role("recurrent"), *model.of_role("readout")):
        values, name = population.params, f"loss 'reward' in the spike variant: population '{population.name}'"
        if np.isfinite(values.eprop_isi_trace_cutoff):
            raise InputError(f"{name}: eprop_isi_trace_cutoff = {values.eprop_isi_trace_cutoff:g} must be inf")
        if population.role == "recurrent" and values.kappa != values.kappa_reg:
            raise InputError(f"{name}: kappa_reg = {values.kappa_reg:g} must be kappa = {values.kappa:g}")
    for item in model.projections:
        if item.rewire:
            raise InputError(f"loss 'reward' in the spike variant: projection '{item.name}' must not be rewired")


def uniform_alpha(population: Population, dt_ms: float) -> float | None:
    """Return exp(-dt/tau_m) if all neurons of the population share it, else None."""
    tau_m = getattr(population.params, "tau_m", None)
    if tau_m is None or hasattr(population.params, "definition"):
        return None
    if isinstance(tau_m, Distribution) or (np.ndim(tau_m) and np.ptp(tau_m) > 0):
        return None
    return elementary.exp(-dt_ms / float(np.ravel(tau_m)[0]))


def fastest_rate(population: Population, dt_ms: float) -> float | None:
    """Return the largest absolute log growth rate per step of the prefix-sum terms of a population.

    None if there can be no such sums: adaptive thresholds, tau_m that differs, filters without memory.
    """
    alpha, kappas = uniform_alpha(population, dt_ms), (population.params.kappa, population.params.kappa_reg)
    if alpha is None or population.params.adaptive or min(kappas) <= 0:
        return None
    logs = [elementary.log(kappa) for kappa in kappas]
    return max(map(abs, [elementary.log(alpha), *logs, *(elementary.log(alpha) - log for log in logs)]))


def block_length(model: Model) -> int:
    """Return the steps of a block of prefix sums, for all populations that can use them; 0 if none can."""
    rates = [fastest_rate(population, model.dt_ms) for population in model.of_role("recurrent")]
    span = elementary.log(LOSS[model.precision])
    if isinstance(model.loss, Reward):
        discounts = model.loss.gamma * model.loss.lambda_
        rates = [rate for rate in rates if rate is not None and rate * ONLINE_BLOCK <= span]
        return ONLINE_BLOCK if rates and discounts**ONLINE_BLOCK * LOSS[model.precision] >= 1.0 else 0
    lengths = [int(min(LARGEST_BLOCK, span / rate)) for rate in rates if rate is not None]
    return min((length for length in lengths if length >= SMALLEST_BLOCK), default=0)


def readout_block_length(model: Model) -> int:
    """Return the steps of a block of prefix sums of errors; 0 if a readout forgets too fast for such sums."""
    groups = model.of_role("readout") if not model.is_rewarded else []  # with rewards windows are worked off
    tau_m = min((group.params.tau_m for group in groups), default=0.0)
    length = int(min(LARGEST_BLOCK, elementary.log(LOSS["double"]) * tau_m / model.dt_ms))
    return length if length >= SMALLEST_BLOCK else 0


def is_bounded(projection: Projection, optimizer: Optimizer) -> bool:
    """Return whether clipping after every step can differ from clipping once after the summed step."""
    bounded = optimizer.Wmin > -DEFAULT_BOUND or optimizer.Wmax < DEFAULT_BOUND or projection.keeps_signs
    return optimizer.optimize_each_step and bounded


def filters_apart(model: Model) -> bool:
    """Return whether a population filters traces for its regularization apart."""
    return any(item.params.kappa != item.params.kappa_reg for item in model.of_role("recurrent"))


def is_lined(model: Model, projection: Projection, optimizer: Optimizer, kind: int) -> bool:
    """Return whether windows of a projection that learns by `kind` are read from lines of its targets.

    So are those with a step of Adam in each time step, onto neurons of the package with one filter.
    """
    plain = not filters_apart(model) and not model.is_rewarded and not hasattr(projection.post.params, "definition")
    return kind == LOOP and optimizer.optimize_each_step and isinstance(optimizer, Adam) and plain


def has_stretches(population: Population) -> bool:
    """Return whether the steps of a population's neurons are composed: not those of models with many states."""
    definition = getattr(population.params, "definition", None)
    return definition is None or definition.composes


def mode(model: Model, projection: Projection, optimizer: Optimizer, length: int, m: int) -> int:
    """Return the kernel of a projection, the same on all ranks.

    Parameters
    ----------
    model : Model
        The whole network.
    projection : Projection
        The projection.
    optimizer : Optimizer
        Its optimizer.
    length : int
        Steps of a block of prefix sums, 0 without such sums.
    m : int
        Steps by which learning signals lag behind.

    Returns
    -------
    int
        STATIC, PREFIX, LOOP or READOUT.
    """
    if not projection.plastic:
        return STATIC
    if projection.post.role == "readout":
        return READOUT
    # with plain gradient descent one summed step is the same as many, unless a bound is met on the way;
    # Adam makes a gradient of 0 that was rounded to 1e-14 as large as any other, and takes O(window) anyway
    # a synapse that moves starts with a trace of its own
    summed = optimizer.accumulates or not optimizer.optimize_each_step
    if is_bounded(projection, optimizer) or not summed or 0 <= cutoff_steps(projection.post, model.dt_ms) <= m:
        return LOOP
    rate = fastest_rate(projection.post, model.dt_ms)
    if optimizer.accumulates and length and not projection.rewire and rate is not None:
        if rate * length <= elementary.log(LOSS[model.precision]):
            return PREFIX
    return STRETCH if has_stretches(projection.post) else LOOP


def why_slow(model: Model, projection: Projection, optimizer: Optimizer, neurons: float) -> tuple[str, str] | None:
    """Return why an arrival takes over five times the usual.

    Synapses are followed step by step for so long, or stretches of steps have so many numbers, or those of so many
    neurons. Rates are not known beforehand: 40 Hz are assumed, where equations cost most over the plain path.

    Parameters
    ----------
    model : Model
        The whole network.
    projection, optimizer : Projection, Optimizer
        A projection with its optimizer.
    neurons : float
        Neurons of a rank.

    Returns
    -------
    tuple of str or None
        The reason, and the way out; None if arrivals are as fast as elsewhere.
    """
    m = lags(model).m
    cutoff = cutoff_steps(projection.post, model.dt_ms) if projection.post.role == "recurrent" else 0
    kind = mode(model, projection, optimizer, block_length(model), m)
    traces, exponentials = n_traces(projection), n_exponentials(projection.post)
    if kind == STRETCH and traces:
        arrival = STRETCHED * times_of_traces(traces)
        both = arrival + OF_EXPONENTIAL * exponentials
        if arrival > SLOW:
            way = "neurons with fewer states, or the interval variant"
            return f"its synapses have {traces} traces, each pair of which counts in a step of their targets", way
        if both > SLOW:
            way = "equations with fewer of them (a tanh counts as three), or more synapses per neuron"
            return f"a step of its neurons takes {exponentials} exponentials", way
        if neurons > MANY_NEURONS and OF_MANY * both > SLOW:
            reason = f"{neurons:.0f} neurons of a rank, given by equations, outgrow its caches"
            return f"{reason} (at 40 Hz; less at lower rates)", "more ranks, or the interval variant"
    if kind == STRETCH:
        low, high = projection.delay_range
        targets = projection.post.size * neurons / model.size("recurrent")
        synapses = RULES[projection.rule].indegree(projection) * targets / max(projection.pre.size, 1)
        row = synapses / (high - low + 1)
        arrival = times_of_stretches(projection, optimizer) * (ACROSS_DELAYS + OF_ROW / max(row, 1.0))
        if low < high and synapses >= FEWEST and arrival > SLOW:
            way = "fewer different delays, more synapses per neuron, or the interval variant"
            return f"delays of {low} to {high} steps leave rows of about {row:.0f} synapses", way
    if 0 <= cutoff <= max(m, SHORT) or kind != LOOP:
        return None
    shorter = f"an eprop_isi_trace_cutoff of few ms (now {projection.post.params.eprop_isi_trace_cutoff:g})"
    if is_bounded(projection, optimizer):
        what = "signs" if projection.keeps_signs else f"bounds {optimizer.Wmin:g} and {optimizer.Wmax:g}"
        return f"{what} hold in each time step", "optimize_each_step = False, with which they hold at each arrival"
    if optimizer.optimize_each_step and not optimizer.accumulates:
        reason = f"{optimizer.type} steps in each time step"
        return reason, "optimize_each_step = False, with which it steps at arrivals"
    return f"its neurons have more than {MOST_COMPOSED} states", shorter


def added_arrivals(model: Model, projection: Projection, n_spikes: float, n_steps: int) -> float:
    """Return the plain arrivals that learning of a synapse onto neurons is worth beyond those of its spikes.

    Parameters
    ----------
    model : Model
        The whole network.
    projection : Projection
        A projection onto neurons.
    n_spikes : float
        Spikes of a source in a sample.
    n_steps : int
        Steps of the sample.
    """
    optimizer = projection.optimizer or model.optimizer
    kind = mode(model, projection, optimizer, block_length(model), lags(model).m)
    if kind == STRETCH:
        return n_spikes * (times_of_stretches(projection, optimizer) - 1.0)
    if kind != LOOP or not n_spikes:
        return 0.0
    cutoff = cutoff_steps(projection.post, model.dt_ms)
    followed = BY_LINE if is_lined(model, projection, optimizer, kind) else FOLLOWED
    return followed * (min(n_steps, n_spikes * cutoff) if cutoff >= 0 else n_steps)


def times_of_stretches(projection: Projection, optimizer: Optimizer) -> float:
    """Return how many plain arrivals one is worth where stretches of steps compose, and delays do not differ."""
    traces, adam = n_traces(projection), 1.0 if optimizer.accumulates else WITH_ADAM
    lean = 1.0 if getattr(projection.post.params, "adaptive", False) else LEAN
    return STRETCHED * adam * (times_of_traces(traces) if traces else lean)


def n_traces(projection: Projection) -> int:
    """Return the traces that an arrival at neurons given by equations reaches, with e where steps read z; else 0."""
    definition = getattr(projection.post.params, "definition", None)
    if definition is None:
        return 0
    equations = definition.equations
    read = {state: names_of(tree, equations.terms) for state, tree in equations.step.items()}
    reached, seen = {projection.port or definition.ports[0], "z", *definition.follow}, set[str]()
    while reached > seen:
        seen = set(reached)
        reached |= {state for state, names in read.items() if names & reached}
    return len(seen & read.keys()) + any("z" in names for names in read.values())


def times_of_traces(traces: int) -> float:
    """Return how many times as long an arrival takes with so many traces of equations as with one of NEST's neurons."""
    return OF_EQUATIONS + OF_PAIR * traces**2


def n_exponentials(population: Population) -> int:
    """Return the exponentials, or what takes as long, in a step of neurons given by equations."""
    definition = getattr(population.params, "definition", None)
    if definition is None:
        return 0
    equations = definition.equations
    moving = {*definition.moving_names, *equations.terms, "x"}
    trees = (*equations.terms.values(), *equations.step.values(), *equations.reset.values(), equations.spike,
             equations.surrogate)  # fmt: skip
    nodes = {node for tree in trees for node in walk(tree) if names_of(node) & moving}
    return sum(EXPONENTIALS.get(node[0], 0) for node in nodes)


def cutoff_steps(population: Population, dt_ms: float) -> int:
    """Return `eprop_isi_trace_cutoff`, which is given in ms, in steps; `NO_CUTOFF` if it is infinite.

    Raises
    ------
    InputError
        If they are too many for their spikes to be kept.
    """
    cutoff = population.params.eprop_isi_trace_cutoff
    if np.isinf(cutoff):
        return layout.NO_CUTOFF
    given = hasattr(population.params, "definition")
    steps = int(np.rint(cutoff / dt_ms) if given else whole_steps(cutoff, dt_ms))
    if steps > CUTOFF_LIMIT:
        raise InputError(
            f"population '{population.name}': eprop_isi_trace_cutoff = {cutoff:g} ms is {steps} steps of {dt_ms:g} ms, "
            f"must be at most {CUTOFF_LIMIT:g}, or inf for none"
        )
    return steps


@dataclass
class Rules:
    """Rules of the blocks of one table.

    Attributes
    ----------
    rules : np.ndarray
        int64 (n_blocks, 8): mode, cutoff, own zbar, adaptive, Adam, optimizer step per time step, moves, lined.
    constants : np.ndarray
        float64 (n_blocks, 9): alpha, kappa, kappa_reg, eta, Wmin, Wmax, beta_1, beta_2, epsilon.
    """

    rules: np.ndarray
    constants: np.ndarray

    @property
    def modes(self) -> set[int]:
        """Modes in use."""
        return set(self.rules[:, layout.MODE].tolist())

    def stretch_numbers(self, beside: bool) -> int:
        """Return how many numbers a stretch of steps has; those of eps are left out where no neuron adapts.

        Parameters
        ----------
        beside : bool
            Whether synapses have one more trace, because of `kappa_reg` or rewards.

        Returns
        -------
        int
            Numbers of a target, of neurons that are not given by equations.
        """
        adapts = np.any(self.rules[self.rules[:, layout.MODE] == STRETCH, layout.ADAPTIVE])
        return layout.NUMBERS if adapts or beside else layout.FEW_NUMBERS

    @property
    def learns(self) -> bool:
        """Whether any block learns."""
        return bool(self.modes - {STATIC})

    def longest_cutoff(self, chosen: slice | np.ndarray = slice(None)) -> int:
        """Return the longest cutoff in steps; `FOLD_STEPS` if it is longer or infinite, 1 if nothing learns.

        Parameters
        ----------
        chosen : slice or np.ndarray
            Which of the blocks count.
        """
        blocks = self.rules[chosen]
        cutoffs = blocks[blocks[:, layout.MODE] != STATIC, layout.CUTOFF]
        if not len(cutoffs):
            return 1
        return FOLD_STEPS if cutoffs.min() < 0 else int(min(cutoffs.max(), FOLD_STEPS))


def idle_steps(rules_of_table: Rules) -> dict[str, np.ndarray]:
    """Return what the kernel needs to take steps of Adam without a gradient at once, see `idle_adam.pxi`.

    Parameters
    ----------
    rules_of_table : Rules
        Of a table.

    Returns
    -------
    dict
        "idle_of", int64 (n_blocks,): place of a block's constants; "idle_powers", float64 (n_places, 128, 16): r^i
        (y_i - 1)^k from i = 1 on; "idle_steps", int64 (n_places, 2): steps of a part, 0 if beta_2 forgets too fast, and
        steps after which nothing moves.
    """
    adam = rules_of_table.rules[:, layout.ADAM] == 1
    betas = [tuple(line) for line in rules_of_table.constants[:, [layout.BETA_1, layout.BETA_2]].tolist()]
    places = list(dict.fromkeys(pair for pair, used in zip(betas, adam, strict=True) if used))
    powers, steps = np.zeros((len(places), MOST_IDLE, IDLE_COLUMNS)), np.zeros((len(places), 2), np.int64)
    i = np.arange(1, MOST_IDLE + 1)
    for k, (beta_1, beta_2) in enumerate(places):
        if min(beta_1, beta_2) <= 0.0 or max(beta_1, beta_2) >= 1.0:
            continue
        y, r = elementary.power(1.0 / np.sqrt(beta_2), i), beta_1 / np.sqrt(beta_2)
        part = int(np.count_nonzero(y - 1.0 <= IDLE_GROWTH))
        powers[k, :part, 0] = elementary.power(r, i[:part])
        for column in range(1, IDLE_COLUMNS):
            powers[k, :part, column] = powers[k, :part, column - 1] * (y[:part] - 1.0)
        ends = int(elementary.log(IDLE_REST) / elementary.log(r)) + 1 if r < 1.0 else np.iinfo(np.int64).max
        steps[k] = part, ends
    idle_of = [places.index(pair) if used else 0 for pair, used in zip(betas, adam, strict=True)]
    return {"idle_of": np.array(idle_of, np.int64), "idle_powers": powers, "idle_steps": steps}


def rules(model: Model, table: SynapseTable, length: int, m: int) -> Rules:
    """Return the rules of all blocks of `table`; `length` and `m` as for `mode`."""
    integers, floats = [], []
    for span in table.spans:
        projection = span.projection
        optimizer = projection.optimizer or model.optimizer
        values = projection.post.params
        kind = mode(model, projection, optimizer, length, m)
        alpha = uniform_alpha(projection.post, model.dt_ms)
        needs_steps = not optimizer.accumulates or is_bounded(projection, optimizer)
        stepwise = kind == LOOP or (kind == READOUT and needs_steps)
        row = {
            layout.MODE: kind, layout.CUTOFF: cutoff_steps(projection.post, model.dt_ms),
            layout.OWN_ZBAR: int(alpha is None or bool(projection.rewire)),
            layout.ADAPTIVE: int(getattr(values, "adaptive", False)),
            layout.ADAM: int(isinstance(optimizer, Adam)),
            layout.EACH_STEP: int(optimizer.optimize_each_step and stepwise),
            layout.MOVES: int(bool(projection.rewire)),
            layout.LINED: int(is_lined(model, projection, optimizer, kind)),
        }  # fmt: skip
        line = {
            layout.ALPHA: alpha or 0.0, layout.KAPPA: getattr(values, "kappa", 0.0),
            layout.KAPPA_REG: getattr(values, "kappa_reg", 0.0), layout.ETA: optimizer.eta,
            layout.W_MIN: optimizer.Wmin, layout.W_MAX: optimizer.Wmax,
            layout.BETA_1: getattr(optimizer, "beta_1", 0.0), layout.BETA_2: getattr(optimizer, "beta_2", 0.0),
            layout.EPSILON: getattr(optimizer, "epsilon", 1.0),
        }  # fmt: skip
        integers += [[row[column] for column in range(layout.RULE_COLUMNS)]] * len(span.delays)
        floats += [[line[column] for column in range(layout.CONSTANT_COLUMNS)]] * len(span.delays)
    return Rules(
        np.array(integers, np.int64).reshape(-1, layout.RULE_COLUMNS),
        np.array(floats, float).reshape(-1, layout.CONSTANT_COLUMNS),
    )
