"""Check a learning rule for its user: compiled code against its equations, names that are never read, and costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..neurons import compile as compiler
from ..neurons import library as models
from ..neurons.kept import FLAGS
from ..neurons.language import Tree, evaluate, names_of
from ..neurons.model import NeuronModel
from ..neurons.units import NONE, Reader, unit_of
from ..values import Values
from .bound import Bound
from .definition import LearningRule
from .literal import Literal
from .program import RuleProgram, compile_rule

STEPS, RATE = 300, 0.05  # steps of the trial, and the chance of a spike in a step
SPREADS = np.array([2.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0])  # deviation of each target's states around rest
ENDS = 512  # room for more ends of blocks than there are
TOLERANCE = 1e-9  # largest deviation, as a share of the largest value
SHIFTS = np.arange(-60, 61)  # steps from the spike of the source to that of the target


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
    warnings : list of str
        Lines.
    window : ndarray
        Change of a weight by one spike of the source and one of the target, for `SHIFTS`.
    """

    rule: LearningRule
    model: str
    sizes: dict[str, int]
    errors: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    window: np.ndarray = field(default_factory=lambda: np.zeros(len(SHIFTS)))

    @property
    def passed(self) -> bool:
        """Whether all ways agree."""
        return all(error <= TOLERANCE for error in self.errors.values())

    def text(self) -> str:
        """Return the results as lines of text."""
        sizes, composes = self.sizes, bool(self.sizes["n_map"])
        late = "when its learning signals are known" if self.rule.is_late else "at once"
        way = (
            "a read or two of its target, however long the time between arrivals"
            if composes
            else "a loop over the steps between arrivals"
        )
        lines = [
            f"rule {self.rule.name} at neurons {self.model}: {'passed' if self.passed else 'FAILED'}",
            *(
                f"  {way} against the strings: {error:.1e} (at most {TOLERANCE:.0e})"
                for way, error in self.errors.items()
            ),
            f"  kept: {sizes['n_synapse']} numbers per synapse, {sizes['n_states']} per neuron; "
            f"{sizes['n_numbers']} vary with each step",
            f"  an arrival takes {way} (spike variant), one read (interval variant); a step counts {late}",
            f"  reads {', '.join(sorted(self.rule.signals - {'dt'})) or 'no signal'}"
            f"{' and ' + ', '.join(self.rule.reads) if self.rule.reads else ''}",
        ]
        return "\n".join([*lines, *(f"  warning: {line}" for line in self.warnings)])


def check_rule(rule: LearningRule, model: NeuronModel | None = None, dt_ms: float = 1.0) -> RuleCheck:
    """Compare the compiled ways to evaluate a rule with its equations as written, and look for names never read.

    Parameters
    ----------
    rule : LearningRule
        The rule.
    model : NeuronModel or None
        Neurons to try it at; None: the first of the package that has what it reads.
    dt_ms : float
        Time step.

    Raises
    ------
    InputError
        If no neurons of the package have what the rule reads.
    """
    model = model or _find(rule)
    bound = Bound(rule, model.keeping(Bound(rule, model).kept_names))
    program = compile_rule(bound)
    trial = _Trial(bound, program, dt_ms)
    sizes = {name: getattr(program, name) for name in ("n_states", "n_synapse", "n_numbers", "n_map")}
    found = RuleCheck(rule, model.name, sizes, trial.compare(), [*_unread(rule), *_units(rule, model)])
    growing = [name for name, tree in bound.steps.M.items() if name[0] == name[1] and trial.largest(tree) > 1.0]
    found.warnings += [f"{a} grows by itself: its factor in a step is above 1 in size" for a, _ in growing]
    if not trial.literally().any():
        found.warnings.append("nothing is added to the gradient of any synapse: the ways were not compared")
    found.window = trial.window()
    return found


def _find(rule: LearningRule) -> NeuronModel:
    wrong: InputError | None = None
    for name in ("iaf", *models.names()):  # the cheapest one first
        model = models.get(name)
        if {*rule.reads} <= {*model.states, *model.defaults, *model.constants}:
            try:
                Bound(rule, model)
            except InputError as problem:
                wrong = wrong or problem
                continue
            return model
    if wrong:
        raise wrong
    raise InputError(f"{rule.here}: no neurons of the package have {', '.join(rule.reads)}: name some with --neuron")


def _unread(rule: LearningRule) -> Iterable[str]:
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


def _units(rule: LearningRule, model: NeuronModel) -> list[str]:
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
            unit = Reader(f"{key}: {name}", units, lines).of(tree)
            if key == "constants":
                units[name] = unit
            elif name in rule.states and None not in (unit, units[name]) and unit != units[name]:
                lines.append(f"{key}: {name}: its unit is not the one of its state")
    return list(dict.fromkeys(lines))


class _Trial:
    """Random numbers for all that a rule reads, and the ways to evaluate it."""

    def __init__(self, bound: Bound, program: RuleProgram, dt_ms: float) -> None:
        self.bound, self.program, self.n = bound, program, len(SPREADS)
        rng, shape = np.random.default_rng(1), (STEPS, self.n)
        of_model = compiler.compile(bound.model, parts=()).values({}, dt_ms)
        self.values = bound.values({}, of_model, dt_ms, 0.95)
        self.rest = bound.model.initial(of_model)
        noise, flags = rng.normal(size=(STEPS + 1, self.n)), rng.random((2, STEPS + 1, self.n)) < RATE
        self.rows = self._rows(SPREADS * noise, flags)
        self.psi, self.L = np.abs(rng.normal(size=shape)), rng.normal(size=shape)
        self.F, self.M = rng.normal(size=self.n), rng.normal(size=STEPS)
        self.arrivals = (rng.random(shape) < RATE) * rng.uniform(0.3, 1.0, shape)

    def _rows(self, noise: np.ndarray, flags: np.ndarray) -> np.ndarray:
        """Return what neurons keep of each step, (1 + STEPS, n_kept, n): near rest, with spikes, refractory steps."""
        kept = Literal(self.bound, self.values, 1).kept
        rows = np.zeros((STEPS + 1, len(kept), self.n))
        for k, tree in enumerate(kept):
            rest = np.asarray(self.rest.get(tree[1], 0.0)) if len(tree) == 2 else 0.0
            rows[:, k] = flags[0] + 2.0 * flags[1] if tree == FLAGS else rest + noise
        return rows

    def _signals(self, t: int) -> Values:
        return {"psi": self.psi[t], "L": self.L[t], "F": self.F, "M": self.M[t]}

    def literally(self) -> np.ndarray:
        """Return the gradient of a synapse onto each target, from the equations as written."""
        strings, total = Literal(self.bound, self.values, self.n), np.zeros(self.n)
        for t in range(STEPS):
            total = total + strings.step(self.rows[t + 1], self.rows[t], self._signals(t), self.arrivals[t])
        return total

    def compare(self) -> dict[str, float]:
        """Return the deviation of each compiled way from the equations as written."""
        wanted = self.literally()
        scale = float(np.abs(wanted).max()) or 1.0
        ways = {"traces": self._forward(False), "sweep back": self._back()}
        ways |= {"maps of steps": self._forward(True)} if self.program.n_map else {}
        return {name: float(np.abs(total - wanted).max()) / scale for name, total in ways.items()}

    def _arrays(self, n_states: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the constants, and the states at the start."""
        program, n = self.program, self.n
        state = np.zeros((n_states, n))
        for row, value in zip(state, self.bound.initial(self.values).values(), strict=False):
            row[:] = value
        return program.constants(self.values, n), state

    def _back(self) -> np.ndarray:
        program, n = self.program, self.n
        constant, state = self._arrays(program.n_states)
        number, lam = program.scratch(STEPS, n, np.float64)
        B, row = np.zeros((STEPS, n)), self.rows.shape[1] * n
        program.call(
            "interval", STEPS, n, n, constant, self.rows[0], self.rows[1:], row, self.psi, n, self.L, self.F, self.M,
            state, number, number[0].size, lam, program.n_synapse, B,
        )  # fmt: skip
        return np.sum(B * self.arrivals, axis=0)

    def _forward(self, by_maps: bool) -> np.ndarray:
        """Return the gradients of a synapse onto each target, step by step, or by maps from event to event."""
        program, n = self.program, self.n
        constant, state = self._arrays(program.n_states + program.n_map)
        own, places = program.own(constant), program.places(self.values, n, np.float64)
        number, x, C = np.zeros((program.n_numbers, n)), np.zeros((program.n_synapse, n)), np.zeros(n)
        entry, end = np.zeros((STEPS, program.n_entries, n)), np.zeros((ENDS, program.n_map, n))
        for t in range(STEPS):
            signals = self.psi[t], self.L[t], self.F, float(self.M[t])
            rings = number, entry[t] if by_maps else None, end
            program.step(n, t, places, constant, self.rows[t], self.rows[t + 1], *signals, state, *rings)
            for k in range(0 if by_maps else n):
                program.follow(k, own, number, float(self.arrivals[t, k]), x, C)
        for k in range(n if by_maps else 0):
            events, arrivals = [], self.arrivals[:, k]
            for t in range(STEPS):
                events += [(t, False, 0.0)] if t % (1 << int(places.shift[k])) == 0 else []
                events += [(t, True, float(arrivals[t]))] if arrivals[t] else []
            program.go_through(k, events, places, state, entry, end, x, C)
        return -C

    def largest(self, tree: Tree) -> float:
        """Return the largest size of a coefficient within the trial."""
        strings, sizes = Literal(self.bound, self.values, self.n), [0.0]
        for t in range(STEPS):
            given = self.rows[t + 1], self.rows[t], self._signals(t)
            sizes.append(float(np.abs(evaluate(tree, strings.known(*given))).max()))
            strings.step(*given, self.arrivals[t])
        return max(sizes)

    def window(self) -> np.ndarray:
        """Return the change by a spike of the source and one of the target, for each of `SHIFTS`; all else at rest."""
        self.n, middle = len(SHIFTS), STEPS // 3
        shape = STEPS, self.n
        flags = np.zeros((2, STEPS + 1, self.n))
        flags[0, middle + 1 + SHIFTS, np.arange(self.n)] = 1.0
        self.rows = self._rows(np.zeros((STEPS + 1, self.n)), flags)
        self.psi, self.L, self.F, self.M = np.ones(shape), np.ones(shape), np.zeros(self.n), np.ones(STEPS)
        self.arrivals = np.zeros(shape)
        self.arrivals[middle] = 1.0
        return -self.literally()
