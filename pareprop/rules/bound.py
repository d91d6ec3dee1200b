"""A rule bound to a neuron model: what its names stand for there, and M, U, w, w0 and v of a step.

Names of the trees here: "now V_m" and "was V_m" are what the model kept of the step and of the step before (states
before the reset, `I`), "old y" is a state of the rule's `neuron` before the step; "model tau_m" is a number of the
model that does not move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from ..errors import InputError
from ..neurons.language import Tree, evaluate_tree, names_of, replace_names, walk_tree
from ..neurons.model import NeuronModel
from ..neurons.slopes import ZERO
from ..neurons.terms import PARTS
from ..values import Given, Values
from .definition import LearningRule
from .linear import AFTER, BEFORE, NEW, Form, add_forms, scale_form

NOW, WAS, OLD = "now", "was", "old"
MOST_COMPOSED = 4  # rules with more states of a synapse are not composed: maps of steps would take too long


@dataclass(frozen=True)
class StepCoefficients:
    """Coefficients of a step that are not 0: `M` by state and state before the step, `U`, `w` and `w0` by state.

    An arrival adds `v` to the gradient at once. Only states that a synapse stores have coefficients.
    """

    M: dict[tuple[str, str], Tree]
    U: Form
    w: Form
    w0: Form
    v: Tree


def list_read_names(rule: LearningRule, model: NeuronModel) -> tuple[str, ...]:
    """Return the names that the model must keep of each step for a rule: states (before the reset), `I`, `z` and such.

    `InputError` for a name that the model lacks, or for a moment of a name that is not a state.
    """
    return BoundRule(rule, model).kept_names


class BoundRule:
    """A rule at neurons of one model; `origin` is the parameter that is 0 mV in the model's kernels, "" for none.

    `InputError` for a name that the model lacks, or for a moment of a name that is not a state.
    """

    def __init__(self, rule: LearningRule, model: NeuronModel, origin: str = "") -> None:
        self.rule, self.model, self.origin = rule, model, origin
        self.name, self.here = f"{rule.name}_at_{model.name}", f"{rule.here} at neurons {model.name}"
        self._check_reads()
        self.terms: dict[str, Tree] = {}  # expressions that vary with time, computed once in a step
        self._at_moment = self._build_moment_trees()
        own = {name: ("name", f"{OLD} {name}") for name in rule.neuron}
        for name, tree in rule.neuron.items():
            self.terms[f"{NEW} {name}"] = self._translate_tree(tree, own)
        later: dict[str, Tree] = {name: ("name", f"{NEW} {name}") for name in rule.neuron}
        later |= {f"{BEFORE} {name}": ("name", f"{OLD} {name}") for name in rule.neuron}
        #: new values of a synapse's states as they are written, with the names of this module for all else
        self.written = {name: self._translate_tree(tree, later) for name, tree in rule.synapse.items()}
        #: what a step adds to the gradient, with the same names
        self.added = self._translate_tree(rule.gradient, later)
        self.steps = self._eliminate_states(
            {
                name: {key: self._translate_tree(part, later) for key, part in form.items()}
                for name, form in rule.forms.items()
            },
            {key: self._translate_tree(part, later) for key, part in rule.credit.items()},
        )
        trees = [*self.steps.M.values(), *self.steps.U.values(), *self.steps.w.values(), *self.steps.w0.values()]
        read = self.list_reached_names([*trees, self.steps.v])
        self.states = [name for name in rule.neuron if f"{OLD} {name}" in read]
        self._read = read | self.list_reached_names([("name", f"{NEW} {name}") for name in self.states])

    def _check_reads(self) -> None:
        rule, model = self.rule, self.model
        fixed = {*model.defaults, *model.constants}
        for name in rule.reads:
            if name not in fixed and name not in model.states:
                text = f"reads {name}; model {model.name} has no state, parameter or constant of this name"
                raise InputError(f"{rule.here} {text}")
        trees = [*rule.neuron.values(), *rule.synapse.values(), rule.gradient]
        named = set().union(*map(names_of, trees))
        for name in rule.reads:
            if name not in model.states and {f"{BEFORE} {name}", f"{AFTER} {name}"} & named:
                raise InputError(
                    f"{rule.here}: {BEFORE}({name}) or {AFTER}({name}), but {name} is not a state of model {model.name}"
                )
        for key, some in (("constants", rule.constants), ("states", rule.initial)):
            for entry, tree in some.items():
                for name in sorted(names_of(tree) & model.states.keys() & {*rule.reads}):
                    raise InputError(
                        f"{rule.here}, {key}, {entry}: {name} is a state of model {model.name}, which varies"
                    )

    def _build_moment_trees(self) -> dict[str, Tree]:
        """Return the trees for which names of the model and of the step stand."""
        rule, model = self.rule, self.model
        found: dict[str, Tree] = {"x": ("name", "x"), f"{BEFORE} z": ("name", f"{WAS} z"), "I": ("name", f"{NOW} I")}
        self.terms["x"] = self._translate_model_tree(model.equations.spike, NOW)
        for name in rule.reads:
            if name not in model.states:
                found[name] = ("name", f"model {name}")
                continue
            found[f"{AFTER} {name}"] = self._add_origin(name, ("name", f"{NOW} {name}"))
            for word, row, spiked in ((name, NOW, "z"), (f"{BEFORE} {name}", WAS, f"{WAS} z")):
                tree: Tree = ("name", f"{row} {name}")
                if name in model.equations.reset:
                    tree = (
                        "where",
                        ("name", spiked),
                        self._translate_model_tree(model.equations.reset[name], row),
                        tree,
                    )
                    self.terms[f"{row} after {name}"] = tree
                    tree = ("name", f"{row} after {name}")
                found[word] = self._add_origin(name, tree)
        return found

    def _add_origin(self, name: str, tree: Tree) -> Tree:
        """Return a state of the model in its unit: in kernels, voltages may be counted from a parameter."""
        if self.origin and self.model.states[name][1] == "mV":
            return ("+", tree, ("name", f"model {self.origin}"))
        return tree

    def _translate_model_tree(self, tree: Tree, row: str) -> Tree:
        """Return a tree of the model in which states have the names of a stored step, `NOW` or `WAS` (`row`)."""
        names = {name: ("name", f"{row if name in self.model.states else 'model'} {name}") for name in names_of(tree)}
        return replace_names(tree, {**names, "dt": ("name", "dt")})

    def _translate_tree(self, tree: Tree, own: Mapping[str, Tree]) -> Tree:
        return replace_names(tree, {**self._at_moment, **own})

    def _eliminate_states(self, forms: Mapping[str, Form], credit: Form) -> StepCoefficients:
        """Return the coefficients; a state whose old value nobody reads is substituted away."""
        read = set().union(*forms.values())
        states = [name for name in forms if name in read or f"{BEFORE} {name}" in credit]
        whole: dict[str, Form] = {}  # new value of each state by old ones and pre
        room = PARTS
        for name, form in forms.items():
            whole[name] = _substitute_new_states(form, whole)
            room -= sum(1 for part in whole[name].values() for _ in islice(walk_tree(part), room + 1))
            if room < 0:
                raise InputError(
                    f"{self.rule.here}, synapse, {name}: with the states above in place of {NEW}(...), coefficients "
                    f"have more than {PARTS} parts; a rule may have as many: read fewer of {NEW}(...)"
                )
        w = {name: part for name, part in credit.items() if name in states}
        w0 = {key.removeprefix(f"{BEFORE} "): part for key, part in credit.items() if key.startswith(f"{BEFORE} ")}
        at_once: Form = {"pre": credit["pre"]} if "pre" in credit else {}
        for name, part in credit.items():
            if name in forms and name not in states:
                at_once = add_forms(at_once, scale_form(whole[name], part))
        v = at_once.pop("pre", ZERO)
        M = {(name, old): part for name in states for old, part in whole[name].items() if old != "pre"}
        U = {name: whole[name]["pre"] for name in states if "pre" in whole[name]}
        return StepCoefficients({key: part for key, part in M.items() if part != ZERO}, U, w, add_forms(w0, at_once), v)

    def list_reached_names(self, trees: Iterable[Tree]) -> set[str]:
        """Return the names that trees read, also through terms and states of `neuron`."""
        found, waiting = set[str](), [*trees]
        while waiting:
            names = names_of(waiting.pop(), self.terms) - found
            found |= names
            waiting += [("name", f"{NEW} {name.split(' ')[1]}") for name in names if name.startswith(f"{OLD} ")]
        return found

    # ---- what follows ------------------------------------------------------------------------------------------------

    @cached_property
    def synapse_states(self) -> list[str]:
        """States that a synapse keeps."""
        kept = {*self.steps.U, *self.steps.w0, *self.steps.w, *(name for pair in self.steps.M for name in pair)}
        return [name for name in self.rule.synapse if name in kept]

    @cached_property
    def kept_names(self) -> tuple[str, ...]:
        """Names that the model must keep of each step: states before the reset, `I`, `z` and `refractory`."""
        words = [name.split(" ") for name in self._read]
        names = {pair[1] for pair in words if len(pair) == 2 and pair[0] in (NOW, WAS)}
        return tuple(sorted(names | ({"z", "refractory"} & self._read)))

    @cached_property
    def can_compose(self) -> bool:
        """Whether steps are composed: M is triangular with a constant diagonal, so that composed maps can be inverted.

        With many states, maps take more time and memory than steps in turn; without states there are none.
        """
        if not 0 < len(self.synapse_states) <= MOST_COMPOSED:
            return False
        reached = {*self.steps.M, *((name, name) for name in self.synapse_states)}
        while more := {(a, c) for a, b in reached for d, c in reached if b == d} - reached:
            reached |= more
        varies = {*self.varying_names, *self.terms}
        own = [tree for (a, b), tree in self.steps.M.items() if a == b]
        triangular = not any((b, a) in reached for a, b in reached if a != b)
        return triangular and all(varies.isdisjoint(names_of(tree)) for tree in own)

    @property
    def varying_names(self) -> set[str]:
        """Names that vary with time, without terms."""
        rows = {f"{row} {name}" for name in (*self.model.states, "I") for row in (NOW, WAS)}
        signals = {"z", f"{WAS} z", "psi", "refractory", "L", "F", "M"}
        return rows | signals | {f"{OLD} {name}" for name in self.states}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides what is generated."""
        return hashlib.sha256(f"{self.rule.digest} {self.model.digest} {self.origin}".encode()).hexdigest()

    def compute_values(self, given: Given, of_model: Given, dt_ms: float, kappa: object) -> Values:
        """Return the constants by name.

        `given` has parameters of the rule that are not defaults, one value or one for each target; `of_model` has
        parameters and constants of the targets, from `Program.compute_values`; `kappa` is the decay of the filter of
        learning signals.
        """
        values: Values = {f"model {name}": value for name, value in of_model.items()}
        values |= {**self.rule.defaults, **given, "dt": dt_ms, "kappa": kappa}
        for name, tree in self.rule.constants.items():
            values[name] = evaluate_tree(self._translate_tree(tree, {}), values)
            _require_finite(f"{self.rule.here}, constants, {name}", values[name])
        return values

    def compute_initial(self, values: Given) -> Values:
        """Return the initial values of the states of `neuron`."""
        found = {}
        for name in self.states:
            tree = self.rule.initial.get(name, ZERO)
            found[name] = evaluate_tree(self._translate_tree(tree, {}), values)
            _require_finite(f"{self.rule.here}, states, {name}", found[name])
        return found


def _substitute_new_states(form: Form, whole: Mapping[str, Form]) -> Form:
    total: Form = {}
    for key, part in form.items():
        word, _, name = key.partition(" ")
        total = add_forms(total, scale_form(whole[name], part) if word == NEW and name else {key: part})
    return total


def _require_finite(here: str, value: object) -> None:
    if not np.all(np.isfinite(np.asarray(value, float))):
        raise InputError(f"{here}: its value is not finite")
