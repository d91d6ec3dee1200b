"""A check of a learning rule for its user: compiled ways against its strings, what is never read, and costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..neurons import compile as compiler
from ..neurons import library as models
from ..neurons.derive import derive
from ..neurons.kept import FLAGS
from ..neurons.language import evaluate, names_of, with_terms
from ..neurons.model import NeuronModel
from ..neurons.units import NONE, Reader, unit_of
from ..values import Values
from .bound import NOW, OLD, WAS, Bound
from .definition import LearningRule
from .linear import NEW
from .program import RuleProgram, compile_rule

STEPS, TARGETS, RATE = 300, 8, 0.05
TOLERANCE = 1e-9  # of the largest value
SHIFTS = np.arange(-60, 61)  # steps from the spike of the source to that of the target


@dataclass
class RuleCheck:
    """What a check found.

    Attributes
    ----------
    rule : LearningRule
        The rule.
    model : str
        Neurons that it was tried at.
    sizes : dict
        Numbers of each kind.
    errors : dict
        Ways of evaluation to their largest deviation from the strings, by the largest value.
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
        """Return what was found, some lines."""
        sizes, composes = self.sizes, bool(self.sizes["n_map"])
        late = "when its learning signals are known" if self.rule.is_late else "at once"
        way = "two lookups, however long the time between arrivals" if composes else "a loop over the steps between arrivals"
        lines = [
            f"rule {self.rule.name} at neurons {self.model}: {'passed' if self.passed else 'FAILED'}",
            *(f"  {way} against the strings: {error:.1e} (at most {TOLERANCE:.0e})" for way, error in self.errors.items()),
            f"  kept: {sizes['n_synapse']} numbers per synapse, {sizes['n_states']} per neuron; "
            f"{sizes['n_numbers']} vary with each step",
            f"  an arrival takes {way} (spike variant), one read (interval variant); a step counts {late}",
            f"  reads {', '.join(sorted(self.rule.signals - {'dt'})) or 'no signal'}"
            f"{' and ' + ', '.join(self.rule.reads) if self.rule.reads else ''}",
        ]
        return "\n".join([*lines, *(f"  warning: {line}" for line in self.warnings)])


def check_rule(rule: LearningRule, model: NeuronModel | None = None, dt_ms: float = 1.0) -> RuleCheck:
    """Compare the ways to evaluate a rule with its strings, and look for what is never read.

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
    found = RuleCheck(rule, model.name, sizes, trial.compare(), [*_unread(rule, bound), *_units(rule, model)])
    growing = [name for name, tree in bound.steps.M.items() if name[0] == name[1] and trial.largest(tree) > 1.0]
    found.warnings += [f"{a} grows by itself: its factor in a step is above 1 in size" for a, _ in growing]
    found.window = trial.window()
    return found


def _find(rule: LearningRule) -> NeuronModel:
    for name in ("iaf", *models.names()):  # the cheapest one first
        model = models.get(name)
        if {*rule.reads} <= {*model.states, *model.defaults, *model.constants}:
            try:
                Bound(rule, model)
            except InputError:
                continue
            return model
    raise InputError(f"{rule.here}: no neurons of the package have {', '.join(rule.reads)}: name some with --neuron")


def _unread(rule: LearningRule, bound: Bound) -> Iterable[str]:
    """Yield what is never read, and states that no spike reaches."""
    trees = [*rule.constants.values(), *rule.initial.values(), *rule.neuron.values(), *rule.synapse.values(), rule.gradient]
    read = {name.split(" ")[-1] for tree in trees for name in names_of(tree)}
    for key, names in (("parameters", rule.parameters), ("constants", rule.constants), ("reads", rule.reads)):
        yield from (f"{key}: {name} is never read" for name in names if name not in read)
    own = {name: {part.split(" ")[-1] for part in names_of(tree)} for name, tree in rule.synapse.items()}
    others = {name.split(" ")[-1] for tree in (*rule.neuron.values(), rule.gradient) for name in names_of(tree)}
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
        self.bound, self.program, self.n = bound, program, TARGETS
        model, rng = bound.model, np.random.default_rng(1)
        derived = derive(model)
        self.kept = [*derived.keeps, *([FLAGS] if derived.spiked or derived.refractory else [])]
        of_model = compiler.compile(model).values({}, dt_ms)
        self.values = bound.values({}, of_model, dt_ms, 0.95)
        rest = model.initial(of_model)
        shape = STEPS + 1, len(self.kept), self.n
        self.rows = rng.normal(0.0, 1.0, shape)
        for k, tree in enumerate(self.kept):
            if tree == FLAGS:
                self.rows[:, k] = (rng.random((STEPS + 1, self.n)) < RATE) + 2.0 * (rng.random((STEPS + 1, self.n)) < RATE)
            elif tree[0] == "name" and tree[1] in rest:
                self.rows[:, k] = np.asarray(rest[tree[1]]) + rng.normal(0.0, 2.0, (STEPS + 1, self.n))
        self.psi, self.L, self.F = np.abs(rng.normal(size=(STEPS, self.n))), rng.normal(size=(STEPS, self.n)), rng.normal(size=self.n)
        self.M = rng.normal(size=STEPS)
        self.arrivals = (rng.random((STEPS, self.n)) < RATE) * rng.uniform(0.3, 1.0, (STEPS, self.n))

    def start(self) -> dict[str, np.ndarray]:
        """Return the initial states of `neuron`."""
        return {name: np.full(self.n, float(value)) for name, value in self.bound.initial(self.values).items()}

    def known(self, t: int, neuron: dict[str, np.ndarray]) -> Values:
        """Return all numbers of a step by name."""
        known = self.values | {"psi": self.psi[t], "L": self.L[t], "F": self.F, "M": self.M[t]}
        known |= {f"{OLD} {name}": value for name, value in neuron.items()}
        for row, values in ((NOW, self.rows[t + 1]), (WAS, self.rows[t])):
            known |= {f"{row} {tree[1]}": value for tree, value in zip(self.kept, values, strict=True) if len(tree) == 2}
        if FLAGS in self.kept:
            now, was = (self.rows[step, self.kept.index(FLAGS)] for step in (t + 1, t))
            known |= {"z": now % 2.0, f"{WAS} z": was % 2.0, "refractory": (now >= 2.0) * 1.0}
        terms = {
            name: tree for name, tree in self.bound.terms.items() if names_of(tree) <= known.keys() | self.bound.terms.keys()
        }
        return with_terms(known, terms)

    def literally(self) -> np.ndarray:
        """Return the gradient of a synapse onto each target, from the strings."""
        bound, rule, neuron = self.bound, self.bound.rule, self.start()
        synapse: Values = {name: np.zeros(self.n) for name in rule.synapse}
        total = np.zeros(self.n)
        for t in range(STEPS):
            known, old = self.known(t, neuron), dict(synapse)
            for name, tree in bound.written.items():
                known[f"{NEW} {name}"] = evaluate(tree, known | old | {"pre": self.arrivals[t]})
            synapse = {name: known[f"{NEW} {name}"] for name in rule.synapse}
            later = known | synapse | {f"before {name}": value for name, value in old.items()} | {"pre": self.arrivals[t]}
            total = total + evaluate(bound.added, later)
            neuron = {name: known[f"{NEW} {name}"] for name in neuron}
        return total

    def compare(self) -> dict[str, float]:
        """Return how far the compiled ways are from the strings."""
        wanted = self.literally()
        scale = float(np.abs(wanted).max()) or 1.0
        ways = {"traces": self._forward(False), "sweep back": self._back()}
        ways |= {"maps of steps": self._forward(True)} if self.program.n_map else {}
        return {name: float(np.abs(total - wanted).max()) / scale for name, total in ways.items()}

    def _arrays(self, n_states: int) -> tuple[np.ndarray, np.ndarray]:
        program = self.program
        constant = np.zeros((program.n_constants + 1, self.n))
        constant[:-1], constant[-1] = program.constants(self.values, self.n), program.blocks(self.values, self.n, np.float64)
        state = np.zeros((n_states, self.n))
        for row, value in zip(state, self.start().values(), strict=False):
            row[:] = value
        return constant, state

    def _back(self) -> np.ndarray:
        program, n = self.program, self.n
        constant, state = self._arrays(program.n_states)
        number, lam = np.zeros((STEPS, program.n_numbers, n)), np.zeros((program.n_synapse, n))
        B, row = np.zeros((STEPS, n)), self.rows.shape[1] * n
        program.call(
            "interval", STEPS, n, n, constant, self.rows[0], self.rows[1:], row, self.psi, n, self.L, self.F, self.M, state,
            number, program.n_numbers * n, lam, B,
        )  # fmt: skip
        return np.sum(B * self.arrivals, axis=0)

    def _forward(self, by_maps: bool) -> np.ndarray:
        program, n = self.program, self.n
        constant, state = self._arrays(program.n_states + program.n_map)
        ring, target = np.zeros((STEPS, program.n_numbers + program.n_map, n)), np.arange(n, dtype=np.uint32)
        x, C = np.zeros((program.n_synapse, n)), np.zeros(n)
        for t in range(STEPS):
            program.step(n, t, constant, self.rows[t], self.rows[t + 1], self.psi[t], self.L[t], self.F, self.M[t], state, ring[t])
        for k in range(n):  # a synapse onto each target
            own, t = (target[k : k + 1], n, x[:, k:], C[k:]), 0
            while t < STEPS:
                end = t + 1
                while by_maps and end < STEPS and not self.arrivals[end, k]:
                    end += 1
                program.follow(1, constant, ring, t, end if by_maps else None, float(self.arrivals[t, k]), *own)
                t = end
        return -C

    def largest(self, tree: tuple) -> float:
        """Return the largest size of a coefficient within the trial."""
        sizes, neuron = [0.0], self.start()
        for t in range(STEPS):
            known = self.known(t, neuron)
            sizes.append(float(np.abs(evaluate(tree, known)).max()))
            neuron = {name: known[f"{NEW} {name}"] for name in neuron}
        return max(sizes)

    def window(self) -> np.ndarray:
        """Return the change by one spike of the source and one of the target, for each of `SHIFTS`; all else at rest."""
        n, middle = len(SHIFTS), STEPS // 3
        self.n, rest = n, self.bound.model.initial({k.removeprefix("model "): v for k, v in self.values.items()})
        self.rows = np.zeros((STEPS + 1, len(self.kept), n))
        for k, tree in enumerate(self.kept):
            if tree == FLAGS:
                self.rows[middle + 1 + SHIFTS, k, np.arange(n)] = 1.0
            elif tree[0] == "name" and tree[1] in rest:
                self.rows[:, k] = np.asarray(rest[tree[1]])
        self.psi, self.L, self.F, self.M = np.ones((STEPS, n)), np.ones((STEPS, n)), np.zeros(n), np.ones(STEPS)
        self.arrivals = np.zeros((STEPS, n))
        self.arrivals[middle] = 1.0
        return -self.literally()


