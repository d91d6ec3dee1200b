"""Check a learning rule for its user: compiled code against its equations, names that are never read, and costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .. import elementary
from ..errors import InputError
from ..neurons import compile as compiler
from ..neurons import library as models
from ..neurons.compile import Part
from ..neurons.language import Tree, evaluate_tree, names_of, walk_tree
from ..neurons.model import NeuronModel
from ..neurons.stored_terms import FLAGS
from ..neurons.units import NONE, UnitReader, unit_of
from ..values import Given, Numbers, Values
from .bound import NOW, WAS, BoundRule
from .definition import LearningRule
from .literal import LiteralRule
from .program import RuleProgram, compile_rule

STEPS, RATE = 300, 0.05  # steps of the trial, and the chance of a spike in a step
SPREADS = np.array([2.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0])  # deviation of each target's states around rest
WIDER = (1.0, 10.0, 100.0, 1000.0)  # factors of these deviations, until states cross all thresholds of the rule
RISES = (0.0, 100.0, 1e3, 1e4)  # how far states rise in a spike of the window, until the window is not 0 everywhere
RISE_MS = 2.0  # time constant with which they fall back to rest
SPANS = (512, 2048, 8192, 32768)  # most steps between the two spikes of the window, until it ends within half of them
SHORTEST = 20  # fewest steps of a window
EDGE = 0.01  # a window ends where this share of its height is left
ENDS = 512  # room for more ends of blocks than there are
TOLERANCE = 1e-9  # largest deviation, as a share of the largest value


@dataclass
class RuleCheck:
    """Results of a check.

    Attributes
    ----------
    rule : LearningRule
        The rule.
    model : str
        Neurons that it was tried at.
    sizes : dict
        Numbers of each kind.
    errors : dict
        Way of evaluation to its largest deviation from the equations as written, over the largest value.
    problems : list of str
        Why nothing could be compared.
    warnings : list of str
        Lines.
    crossed, thresholds : int
        Of the rule's thresholds on the target's states (max, min, where), how many the trial crossed.
    times, window : ndarray
        ms from a spike of the source to one of the target, and the change of the weight by both.
    rise : float
        How far states of the target rise in its spike of the window.
    """

    rule: LearningRule
    model: str
    sizes: dict[str, int]
    errors: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    crossed: int = 0
    thresholds: int = 0
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    window: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rise: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all ways agree."""
        return not self.problems and all(error <= TOLERANCE for error in self.errors.values())

    def text(self) -> str:
        """Return the results as lines of text."""
        sizes, composes = self.sizes, bool(self.sizes["n_map"])
        late = "when its learning signals are known" if self.rule.is_late else "at once"
        way = (
            "a read or two of its target, however long the time between arrivals"
            if composes
            else "a loop over the steps between arrivals"
        )
        crossed = f"  thresholds that states of the trial cross: {self.crossed} of {self.thresholds}"
        lines = [
            f"rule {self.rule.name} at neurons {self.model}: {'passed' if self.passed else 'FAILED'}",
            *(f"  error: {line}" for line in self.problems),
            *(
                f"  {way} against the strings: {error:.1e} (at most {TOLERANCE:.0e})"
                for way, error in self.errors.items()
            ),
            *([crossed] if self.thresholds else []),
            f"  kept: {sizes['n_synapse']} numbers per synapse, {sizes['n_states']} per neuron; "
            f"{sizes['n_numbers']} vary with each step",
            f"  an arrival takes {way} (spike variant), one read (interval variant); a step counts {late}",
            f"  reads {', '.join(sorted(self.rule.signals - {'dt'})) or 'no signal'}"
            f"{' and ' + ', '.join(self.rule.reads) if self.rule.reads else ''}",
        ]
        if self.rise:
            lines.append(f"  window: in their spike, {self.rise_text}")
        return "\n".join([*lines, *(f"  warning: {line}" for line in self.warnings)])

    @property
    def rise_text(self) -> str:
        """What the target's states do in its spike of the window, in words."""
        return f"states of the target rise by {self.rise:g} and fall back with tau = {RISE_MS:g} ms"


def check_rule(
    rule: LearningRule, model: NeuronModel | None = None, dt_ms: float = 1.0, values: Given | None = None
) -> RuleCheck:
    """Compare the compiled ways to evaluate a rule with its equations as written, and look for names never read.

    Without `model`, the neurons of `find_neurons` are tried. `values` has parameters of the neurons that are not
    defaults. `InputError` if no neurons of the package have the names that the rule reads.
    """
    model = model or find_neurons(rule)
    bound = BoundRule(rule, model.with_saved(BoundRule(rule, model).kept_names))
    program = compile_rule(bound, parts=[Part("rule_interval"), Part("rule_spike")])
    sizes = {name: getattr(program, name) for name in ("n_states", "n_synapse", "n_numbers", "n_map")}
    found = RuleCheck(rule, model.name, sizes)
    with np.errstate(all="ignore"):  # numbers that are not finite are reported
        trial = _Trial(bound, program, dt_ms, values or {})
        wanted, found.crossed, wrong = trial.cross_thresholds()
        found.thresholds = len(trial.thresholds)
        growing = [
            name for name, tree in bound.steps.M.items() if name[0] == name[1] and trial.find_largest(tree) > 1.0
        ]
        found.warnings = [*_list_unread_names(rule), *_list_unit_mismatches(rule, model)]
        found.warnings += [f"{a} grows by itself: its factor in a step is above 1 in size" for a, _ in growing]
        if wrong:
            found.problems.append(f"the equations give {wrong}: try other parameters of the neurons with --set")
            return found
        if not wanted.any():
            found.problems.append("no step adds anything to the gradient of any synapse: only zeros were compared")
        found.errors = trial.compare_kernels(wanted)
        found.times, found.window, found.rise = trial.compute_window()
    if not found.window.any():
        found.warnings.append("the window is 0: a spike of the source and one of the target change nothing")
    return found


def find_neurons(rule: LearningRule) -> NeuronModel:
    """Return the first neuron model of the package that has what a rule reads, `iaf` where it has."""
    wrong: InputError | None = None
    for name in ("iaf", *models.list_names()):  # the cheapest one first
        model = models.get_definition(name)
        if {*rule.reads} <= {*model.states, *model.defaults, *model.constants}:
            try:
                BoundRule(rule, model)
            except InputError as problem:
                wrong = wrong or problem
                continue
            return model
    if wrong:
        raise wrong
    raise InputError(f"{rule.here}: no neurons of the package have {', '.join(rule.reads)}: name some with --neuron")


def _list_unread_names(rule: LearningRule) -> Iterable[str]:
    """Yield a line for each name that is never read, and for each state that no spike reaches."""
    trees = [
        *rule.constants.values(),
        *rule.initial.values(),
        *rule.neuron.values(),
        *rule.synapse.values(),
        rule.gradient,
    ]
    read = {name.split(" ")[-1] for tree in trees for name in names_of(tree)}
    for key, names in (("parameters", rule.parameters), ("constants", rule.constants), ("reads", rule.reads)):
        yield from (f"{key}: {name} is never read" for name in names if name not in read)
    own = {name: {part.split(" ")[-1] for part in names_of(tree)} for name, tree in rule.synapse.items()}
    others = {name.split(" ")[-1] for name in names_of(rule.gradient)}
    for name, tree in rule.neuron.items():
        others |= {part.split(" ")[-1] for part in names_of(tree)} - {name}
    others |= {part for name, parts in own.items() for part in parts - {name}}
    later = others | {part for parts in own.values() for part in parts if part in rule.neuron}
    yield from (f"neuron: {name} is never read" for name in rule.neuron if name not in later)
    yield from (f"synapse: {name} is never read" for name in rule.synapse if name not in others)
    reached = {name for name, parts in own.items() if "pre" in parts}
    while more := {name for name, parts in own.items() if parts & reached} - reached:
        reached |= more
    yield from (f"synapse: no pre reaches {name}, which stays 0" for name in rule.synapse if name not in reached)


def _list_unit_mismatches(rule: LearningRule, model: NeuronModel) -> list[str]:
    """Return a line for each place where units do not fit."""
    lines: list[str] = []
    texts = {name: unit for name, (_, unit) in (rule.parameters | rule.states).items()}
    units = {name: unit_of(text) for name, text in texts.items()}
    lines += [f"unit '{text}' of {name} is not known" for name, text in texts.items() if units[name] is None]
    units |= {name: unit_of(model.units[name]) if name in model.units else None for name in rule.reads}
    units |= {f"{word} {name}": units[name] for name in rule.reads for word in ("before", "unreset")}
    units |= {"dt": unit_of("ms"), "z": NONE, "before z": NONE, "refractory": NONE, "kappa": NONE, "pre": NONE}
    for key, trees in (("constants", rule.constants), ("states", rule.initial), ("neuron", rule.neuron)):
        for name, tree in trees.items():
            unit = UnitReader(f"{key}: {name}", units, lines).find_unit(tree)
            if key == "constants":
                units[name] = unit
            elif name in rule.states and None not in (unit, units[name]) and unit != units[name]:
                lines.append(f"{key}: {name}: its unit is not the one of its state")
    return list(dict.fromkeys(lines))


class _Trial:
    """Random numbers for all that a rule reads, and the ways to evaluate it."""

    def __init__(self, bound: BoundRule, program: RuleProgram, dt_ms: float, values: Given) -> None:
        self.bound, self.program, self.dt = bound, program, dt_ms
        of_model = compiler.compile_model(bound.model, parts=()).compute_values(values, dt_ms)
        self.values = bound.compute_values({}, of_model, dt_ms, 0.95)
        self.rest = bound.model.compute_initial(of_model)
        self.kept = LiteralRule(bound, self.values, 1).kept
        self.thresholds = self._list_thresholds()

    def _list_thresholds(self) -> list[Tree]:
        """Return trees that are above 0 on one side of each threshold on states of the target."""
        trees = [*self.bound.terms.values(), *self.bound.written.values(), self.bound.added]
        moving = {f"{row} {name}" for row in (NOW, WAS) for name in self.bound.model.states}
        found = dict.fromkeys(
            node[1] if node[0] == "where" else ("-", *node[1:])
            for tree in trees
            for node in walk_tree(tree)
            if node[0] in ("max", "min", "where")
        )
        return [tree for tree in found if moving & self.bound.list_reached_names([tree])]

    def _set_rows(self, steps: int, n: int, noise: Numbers, flags: Numbers) -> None:
        """Set sizes, and what neurons keep of each step, (1 + steps, n_kept, n): rest and noise, spikes and such."""
        self.steps, self.n = steps, n
        self.rows = np.zeros((steps + 1, len(self.kept), n))
        for k, tree in enumerate(self.kept):
            rest = np.asarray(self.rest.get(tree[1], 0.0)) if len(tree) == 2 else 0.0
            self.rows[:, k] = flags if tree == FLAGS else rest + noise

    def draw_inputs(self, wider: float) -> None:
        """Take random numbers for all that the rule reads; states deviate from rest by `wider` times `SPREADS`."""
        rng, n = np.random.default_rng(1), len(SPREADS)
        noise, flags = rng.normal(size=(STEPS + 1, n)), rng.random((2, STEPS + 1, n)) < RATE
        self._set_rows(STEPS, n, wider * SPREADS * noise, flags[0] + 2.0 * flags[1])
        self.psi, self.L = np.abs(rng.normal(size=(STEPS, n))), rng.normal(size=(STEPS, n))
        self.F, self.M = rng.normal(size=n), rng.normal(size=STEPS)
        self.arrivals = (rng.random((STEPS, n)) < RATE) * rng.uniform(0.3, 1.0, (STEPS, n))

    def cross_thresholds(self) -> tuple[np.ndarray, int, str]:
        """Scatter states so widely that they cross the rule's thresholds; return what `evaluate_literally` does."""
        found: list[tuple[np.ndarray, int, str]] = []
        for wider in WIDER:
            self.draw_inputs(wider)
            found.append(self.evaluate_literally())
            if found[-1][1] == len(self.thresholds):
                break
        best = max(range(len(found)), key=lambda k: (not found[k][2], found[k][1], -k))
        self.draw_inputs(WIDER[best])
        return found[best]

    def _get_signals(self, t: int) -> Values:
        return {"psi": self.psi[t], "L": self.L[t], "F": self.F, "M": self.M[t]}

    def evaluate_literally(self) -> tuple[np.ndarray, int, str]:
        """Go through the equations as written.

        Return the gradient of a synapse onto each target, the number of crossed thresholds, and the first bad number.
        """
        strings, total = LiteralRule(self.bound, self.values, self.n), np.zeros(self.n)
        sides = np.zeros((len(self.thresholds), 2), bool)
        for t in range(self.steps):
            given = self.rows[t + 1], self.rows[t], self._get_signals(t)
            total = total + strings.step(*given, self.arrivals[t])
            for side, tree in zip(sides, self.thresholds, strict=True):
                above = np.asarray(evaluate_tree(tree, strings.known)) > 0
                side |= above.any(), not above.all()
            values = {**strings.neuron, **strings.synapse, "the gradient": total}
            if wrong := [name for name, value in values.items() if not np.all(np.isfinite(value))]:
                value = values[wrong[0]]
                shown = value[~np.isfinite(value)][0]
                return total, int(sides.all(axis=1).sum()), f"{shown:g} for {wrong[0]} in step {t} of {self.steps}"
        return total, int(sides.all(axis=1).sum()), ""

    def compare_kernels(self, wanted: np.ndarray) -> dict[str, float]:
        """Return the deviation of each compiled way from the equations as written."""
        scale = float(np.abs(wanted).max()) or 1.0
        ways = {"traces": self._run_forward(False), "sweep back": np.sum(self._run_backward() * self.arrivals, axis=0)}
        ways |= {"maps of steps": self._run_forward(True)} if self.program.n_map else {}
        return {name: float(np.abs(total - wanted).max()) / scale for name, total in ways.items()}

    def _make_arrays(self, n_states: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the constants, and the states at the start."""
        program, n = self.program, self.n
        state = np.zeros((n_states, n))
        for row, value in zip(state, self.bound.compute_initial(self.values).values(), strict=False):
            row[:] = value
        return program.compute_constants(self.values, n), state

    def _run_backward(self) -> np.ndarray:
        """Return the derivative of the gradient by an arrival in each step, (steps, n)."""
        program, n, steps = self.program, self.n, self.steps
        constant, state = self._make_arrays(program.n_states)
        number, lam = program.allocate_scratch(steps, n, np.float64)
        B, row = np.zeros((steps, n)), self.rows.shape[1] * n
        program.call_function(
            "interval", steps, n, n, constant, self.rows[0], self.rows[1:], row, self.psi, n, self.L, self.F, self.M,
            state, number, number[0].size, lam, program.n_synapse, B,
        )  # fmt: skip
        return B

    def _run_forward(self, by_maps: bool) -> np.ndarray:
        """Return the gradients of a synapse onto each target, step by step, or by maps from event to event."""
        program, n = self.program, self.n
        constant, state = self._make_arrays(program.n_states + program.n_map)
        own, places = program.select_synapse_constants(constant), program.build_block_table(self.values, n, np.float64)
        number, x, C = np.zeros((program.n_numbers, n)), np.zeros((program.n_synapse, n)), np.zeros(n)
        entry, end = np.zeros((self.steps, program.n_entries, n)), np.zeros((ENDS, program.n_map, n))
        for t in range(self.steps):
            signals = self.psi[t], self.L[t], self.F, float(self.M[t])
            rings = number, entry[t] if by_maps else None, end
            program.step(n, t, places, constant, self.rows[t], self.rows[t + 1], *signals, state, *rings)
            for k in range(0 if by_maps else n):
                program.advance_trace(k, own, number, float(self.arrivals[t, k]), x, C)
        for k in range(n if by_maps else 0):
            events, arrivals = [], self.arrivals[:, k]
            for t in range(self.steps):
                events += [(t, False, 0.0)] if t % (1 << int(places.shift[k])) == 0 else []
                events += [(t, True, float(arrivals[t]))] if arrivals[t] else []
            program.apply_events(k, events, places, state, entry, end, x, C)
        return -C

    def find_largest(self, tree: Tree) -> float:
        """Return the largest size of a coefficient within the trial."""
        strings, sizes = LiteralRule(self.bound, self.values, self.n), [0.0]
        for t in range(self.steps):
            given = self.rows[t + 1], self.rows[t], self._get_signals(t)
            strings.step(*given, self.arrivals[t])
            sizes.append(float(np.abs(evaluate_tree(tree, strings.known)).max()))
        return float(np.nanmax(sizes))

    def compute_window(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return times from a spike of the source to one of the target, the change by both, and how far states rise.

        All else is at rest. States rise in the target's spike where nothing would change otherwise. The window ends
        where it comes near its ends.
        """
        change, rise = np.zeros(1), 0.0
        for rise in RISES if self.bound.rule.reads else RISES[:1]:
            for span in SPANS:
                change = self._compute_change(span, rise)
                ends = np.where(np.arange(-span, span + 1) < 0, change[0], change[-1])
                away = np.abs(change - ends)
                (far,) = np.nonzero(away > EDGE * away.max())
                reach = int(np.abs(far - span).max(initial=0))
                if 2 * reach <= span:
                    break
            if change.any():
                break
        reach = min(max(5 * reach // 4, SHORTEST), span)
        steps = np.arange(-reach, reach + 1)
        return steps * self.dt, change[span + steps], rise

    def _compute_change(self, span: int, rise: float) -> np.ndarray:
        """Return the change by spikes of source and target that are -span to span steps apart, (2 span + 1,)."""
        steps, spike = 4 * span, 1 + span
        flags, noise = np.zeros((2, steps + 1, 1))
        flags[spike] = 1.0
        noise[spike:, 0] = rise * elementary.exp(-np.arange(steps + 1 - spike) * self.dt / RISE_MS)
        self._set_rows(steps, 1, noise, flags)
        self.psi, self.L, self.F, self.M = np.ones((steps, 1)), np.ones((steps, 1)), np.zeros(1), np.ones(steps)
        return -self._run_backward()[: 2 * span + 1, 0][::-1]
