"""Derivatives of a model for eligibility traces and the backward pass, and the values that steps store for them.

With states s, J = d step / d s, U_p = d step / d port p, v = d step / d z, and, at new states, h = d spike / d s; for
followed states k of the reset R_k = d reset_k / d s and the gap reset_k - s_k. The trace of a synapse onto port p:

    eps~ = J eps + v e_before + U_p z_source ;  e = psi h . eps~
    eps  = eps~, but followed states: eps_k = (R_k . eps~ if the neuron spiked, else eps~_k) + gap_k e

Rules: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y (one state and an adaptation), for any states as in the page
"Write your own neuron".

A learned parameter has a trace in each neuron. It enters in each step: with q = d step / d parameter at old states,
x = d spike / d parameter and r_k = d reset_k / d parameter at new states,

    eps~ = J eps + v e_before + q ;  e = psi (h . eps~ + x)
    eps  = eps~, but followed states: eps_k = (R_k . eps~ + r_k if the neuron spiked, else eps~_k) + gap_k e

The trace starts from d initial / d parameter. All these derivatives go through constants, such as exponentials of
matrices, and through I.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from functools import lru_cache, reduce
from typing import NamedTuple

from .language import Repeat, Tree, names_of, replace_names
from .model import NeuronModel
from .slopes import ZERO, differentiate_tree, multiply_trees
from .stored_terms import OLD, choose_stored_terms
from .terms import Terms

NEVER_LEARNED = (  # parameters without a gradient: they change nothing, or define the gradient itself
    "t_ref",
    "c_reg",
    "f_target",
    "kappa",
    "kappa_reg",
    "eprop_isi_trace_cutoff",
    "surrogate_gradient_height",
    "surrogate_gradient_width",
    "regular_spike_arrival",
)


class Learns(NamedTuple):
    """Learned parameters of neurons, in addition to the weights of synapses.

    Attributes
    ----------
    names : tuple of str
        Parameters of the model, ascending.
    online : bool
        Whether synapses read past steps with the parameter values of those steps, as values may change (spike variant).
    """

    names: tuple[str, ...] = ()
    online: bool = False


NO_LEARNS = Learns()


@dataclass(frozen=True)
class Learned:
    """Nonzero derivatives by learned parameters, by index in `Learns.names`.

    Attributes
    ----------
    q, initial : dict of (int, int) to tuple
        By state and parameter: derivative of the state's step, except through `I`, and of its initial value.
    current : dict of (int, int) to tuple
        Derivative of a step through `I`, for the parameter `I_e` alone; steps without this current have none.
    x : dict of int to tuple
        By parameter.
    r : dict of (int, int) to tuple
        By followed state and parameter.
    """

    q: dict[tuple[int, int], Tree] = field(default_factory=dict)
    current: dict[tuple[int, int], Tree] = field(default_factory=dict)
    x: dict[int, Tree] = field(default_factory=dict)
    r: dict[tuple[int, int], Tree] = field(default_factory=dict)
    initial: dict[tuple[int, int], Tree] = field(default_factory=dict)

    def list_paths(self, model: NeuronModel, k: int) -> list[str]:
        """Return the equations through which a parameter reaches spikes."""
        states = list(model.states)
        paths = [f"step of {states[i]}" for i in dict.fromkeys(i for i, j in (*self.q, *self.current) if j == k)]
        paths += ["spike"] if k in self.x else []
        paths += [f"reset of {states[i]}" for i, j in self.r if j == k]
        return [*paths, *(f"initial {states[i]}" for i, j in self.initial if j == k)]


@dataclass(frozen=True)
class Derivatives:
    """Trees of nonzero derivatives. Names with `OLD` are states before a step, other names are new states.

    Attributes
    ----------
    J : dict of (int, int) to tuple
        By states i, j: derivative of the step of state i by state j.
    U : dict of (int, int) to tuple
        By state and port.
    v, h : dict of int to tuple
        By state.
    R : dict of (int, int) to tuple
        By followed state and state.
    gap : dict of int to tuple
        By followed state.
    keeps : tuple of tuple
        Values that each neuron stores in each step: names of states (before the reset), ports, `I`, then terms.
    spiked, refractory : bool
        Whether a step stores if the neuron spiked, and if it was refractory at the start of the step.
    constants, terms : dict of str to tuple
        Trees of additional names, each after the names that it reads: constant trees, and trees that vary with time.
    moving : frozenset of str
        All names that vary with time.
    learns : Learns
        Learned parameters of neurons.
    learned : Learned
        Derivatives by learned parameters.
    held : frozenset of str
        Parameters and constants whose values each step stores for synapses.
    """

    J: dict[tuple[int, int], Tree]
    U: dict[tuple[int, int], Tree]
    v: dict[int, Tree]
    h: dict[int, Tree]
    R: dict[tuple[int, int], Tree]
    gap: dict[int, Tree]
    keeps: tuple[Tree, ...]
    spiked: bool
    refractory: bool
    constants: dict[str, Tree]
    terms: dict[str, Tree]
    moving: frozenset[str]
    learns: Learns = NO_LEARNS
    learned: Learned = Learned()
    held: frozenset[str] = frozenset()

    @property
    def n_kept(self) -> int:
        """Count of numbers that each neuron stores in each step, without the surrogate gradient."""
        return len(self.keeps) + (self.spiked or self.refractory)


@lru_cache(maxsize=64)
def derive_model(model: NeuronModel, learns: Learns = NO_LEARNS) -> Derivatives:
    """Return all nonzero derivatives of a model; raise `InputError` if a derivative is too long."""
    if model.through != "all":
        return _part_of(derive_model(model.learning_through("all")), model.through)
    return _Deriving(model, learns).derive_all()


class _Deriving:
    """Takes derivatives of a model through terms and, by learned parameters, through constants."""

    def __init__(self, model: NeuronModel, learns: Learns) -> None:
        self.model, self.learns, self.equations = model, learns, model.equations
        self.olds = {name: OLD + name for name in model.states}
        names = model.names | self.equations.constants.keys()
        self.made = Terms(names, [*model.moving_names, *self.olds.values()])
        # names that stand for trees in expressions, and the nonzero derivatives of these trees by names
        self.named = [*self.equations.terms, *(self.equations.constants if learns.names else ())]
        self.inner: dict[tuple[str, str], Tree] = {}
        # derivatives of each variable of the loop after the last substep
        self.after_loop: list[dict[int, Tree]] = []

    def derive_all(self) -> Derivatives:
        """Return all derivatives."""
        model, equations, made, learns = self.model, self.equations, self.made, self.learns
        states, ports, names = list(model.states), list(model.ports), list(learns.names)
        for name, tree in equations.constants.items() if names else ():
            self._keep_slopes(name, self._slopes_of_constant(name, tree), names)
        before = [*states, *ports, "z", *(["I"] if "I_e" in names else []), *names]
        for term, tree in equations.terms.items():
            if tree[0] == "repeat":
                self._keep_loop(term, Repeat.from_tree(tree), before)
            elif tree[0] == "entry":
                made.add_term(term, tree)
                self._keep_slopes(term, self.after_loop[int(tree[2][1])], before)
            else:
                self._keep_term(term, tree, before)
        taught = {name: ("traces", tree) for name, tree in equations.traces.items()}
        taught = {name: taught.get(name, ("step", tree)) for name, tree in equations.step.items()}
        steps = {i: (f"{taught[name][0]}: {name}", taught[name][1]) for i, name in enumerate(states)}
        spike = {0: ("spike", equations.spike)}
        J, U = self._derive_entries(steps, states, True), self._derive_entries(steps, ports, True)
        v = {i: tree for (i, _), tree in self._derive_entries(steps, ["z"], True).items()}
        h = {j: tree for (_, j), tree in self._derive_entries(spike, states, False).items()}
        followed = {states.index(name): (f"reset: {name}", equations.reset[name]) for name in model.follow}
        R, gap = self._derive_entries(followed, states, False), self._derive_gap(followed, states)
        learned = self._derive_learned(steps, spike, followed)
        tables = J, U, v, h, R, gap
        trees = [tree for entries in tables for tree in entries.values()]
        held = self._list_held_names(trees) if learns.online else frozenset()
        trees += [*learned.q.values(), *learned.current.values(), *learned.x.values(), *learned.r.values()]
        # old states are stored: a reset that is recomputed later may read parameters that changed since
        kept = choose_stored_terms(model, trees, made.terms, {*held, *(self.olds.values() if names else ())})
        return Derivatives(
            *tables,
            kept.trees,
            kept.spiked,
            kept.refractory,
            made.constants,
            made.terms,
            made.moving,
            learns,
            learned,
            held,
        )

    def _derive_learned(
        self,
        steps: dict[int, tuple[str, Tree]],
        spike: dict[int, tuple[str, Tree]],
        followed: dict[int, tuple[str, Tree]],
    ) -> Learned:
        """Return the derivatives by learned parameters."""
        names = list(self.learns.names)
        if not names:
            return Learned()
        initial = {i: (f"states: {name}", tree) for i, (name, tree) in enumerate(self.equations.initial.items())}
        current = self._derive_entries(steps, ["I"], True) if "I_e" in names else {}
        return Learned(
            self._derive_entries(steps, names, True),
            {(i, names.index("I_e")): tree for (i, _), tree in current.items()},
            {k: tree for (_, k), tree in self._derive_entries(spike, names, False).items()},
            self._derive_entries(followed, names, False),
            self._derive_entries(initial, names, False),
        )

    def _derive_entries(
        self, rows: Mapping[int, tuple[str, Tree]], names: list[str], old: bool
    ) -> dict[tuple[int, int], Tree]:
        """Return derivatives of trees (row to key and tree) by names; with `old` they read the states before a step."""
        import sympy

        from .symbols import from_sympy, to_sympy

        here = self.model.here
        entries: dict[tuple[int, int], Tree] = {}
        for i, (key, tree) in rows.items():
            if self.made.check_derivatives(f"{here}: {key}", tree, [*names, *self.named]):
                slopes = {(i, j): differentiate_tree(tree, name, self.inner) for j, name in enumerate(names)}
                entries |= {at: self._of_old(slope) if old else slope for at, slope in slopes.items() if slope != ZERO}
                continue
            expression = to_sympy(tree, f"{here}: {key}")
            named = [name for name in self.named if sympy.Symbol(name) in expression.free_symbols]
            for j, name in enumerate(names):
                entry = sympy.diff(expression, sympy.Symbol(name))
                for other in named:
                    if (other, name) in self.inner:
                        inner = to_sympy(self.inner[other, name], here)
                        entry += sympy.diff(expression, sympy.Symbol(other)) * inner
                if entry == 0:
                    continue
                if old:
                    entry = entry.xreplace({sympy.Symbol(name): sympy.Symbol(then) for name, then in self.olds.items()})
                entries[i, j] = from_sympy(entry, self.made.moving, f"{here}: {key}: its derivative by {name}")
        return entries

    def _keep_term(self, name: str, tree: Tree, by: list[str]) -> None:
        """Store a tree that other trees name, at the states before a step, and its derivatives."""
        self.made.add_term(name, self._of_old(tree))
        slopes = self._derive_entries({0: (f"dynamics: {name}", tree)}, by, True)
        self._keep_slopes(name, {j: entry for (_, j), entry in slopes.items()}, by)

    def _of_old(self, tree: Tree) -> Tree:
        return replace_names(tree, {name: ("name", then) for name, then in self.olds.items()})

    def _keep_loop(self, name: str, loop: Repeat, before: list[str]) -> None:
        """Store the loop of substeps with additional variables: its derivatives by names before the step.

        With D the derivatives of a substep by variables, and q by names that are constant in the loop, T' = D T + q.
        """
        made, variables, first = self.made, list(loop.start), len(self.made.terms)
        for variable in variables:
            made.add_variable(variable)
        by = [*variables, *before]
        self.named += loop.terms
        for term, tree in loop.terms.items():
            self._keep_term(term, tree, by)
        rows = {i: (f"dynamics: {variable}", loop.update[variable]) for i, variable in enumerate(variables)}
        found = self._derive_entries(rows, by, True)
        n = len(variables)
        q = {(i, j - n): tree for (i, j), tree in found.items() if j >= n}
        D = {(i, j): made.add_term(f"d_{variables[i]}_d_{by[j]}", tree) for (i, j), tree in found.items() if j < n}
        starts = self._derive_entries(
            {i: ("dynamics", loop.start[name]) for i, name in enumerate(variables)}, before, True
        )
        reached = {*starts, *q}
        while more := {(i, s) for i, j in D for k, s in reached if j == k} - reached:
            reached |= more
        T = {(i, s): made.add_variable(f"d_{variables[i]}_d_{before[s]}") for i, s in sorted(reached)}
        start, update = (
            {variable: self._of_old(tree) for variable, tree in trees.items()} for trees in (loop.start, loop.update)
        )
        self.after_loop = [{} for _ in variables]
        for place, ((i, s), variable) in enumerate(T.items(), n):
            start[variable] = starts.get((i, s), ZERO)
            terms = [multiply_trees(D[i, k], ("name", T[k, s])) for k in range(n) if (i, k) in D and (k, s) in T]
            terms += [q[i, s]] if (i, s) in q else []
            update[variable] = reduce(lambda a, b: ("+", a, b), terms) if terms else ZERO
            self.after_loop[i][s] = ("entry", ("name", name), ("number", float(place)))
            if [k for j, k in D if j == i] == [i] and (i, s) not in q and made.moving.isdisjoint(names_of(D[i, i])):
                self.after_loop[i][s] = multiply_trees(_write_power(D[i, i], loop.times), starts[i, s])
        made.add_term(name, Repeat(loop.times, start, update, made.take_from(first)).to_tree())

    def _keep_slopes(self, name: str, slopes: Mapping[int, Tree], by: list[str]) -> None:
        """Store the derivatives of a named tree under new names."""
        for j, tree in slopes.items():
            self.inner[name, by[j]] = self.made.add_term(f"d_{name}_d_{by[j]}", tree)

    def _slopes_of_constant(self, name: str, tree: Tree) -> dict[int, Tree]:
        """Return derivatives of a constant by learned parameters, by index of the parameter.

        The derivative of the exponential of a matrix A is a part of the exponential of [[A, dA], [0, A]].
        """
        key, names = f"constants: {name}", list(self.learns.names)
        if tree[0] != "expm":
            return {k: slope for (_, k), slope in self._derive_entries({0: (key, tree)}, names, False).items()}
        _, row, column, *entries = tree
        n = math.isqrt(len(entries))
        found = self._derive_entries({place: (key, entry) for place, entry in enumerate(entries)}, names, False)
        slopes = {}
        for k in {k for _, k in found}:
            lines = [[entries[n * i + j] for j in range(n)] for i in range(n)]
            sides = [[found.get((n * i + j, k), ZERO) for j in range(n)] for i in range(n)]
            above = [entry for line, side in zip(lines, sides, strict=True) for entry in (*line, *side)]
            below = [entry for line in lines for entry in (*[ZERO] * n, *line)]
            slopes[k] = ("expm", row, ("number", n + column[1]), *above, *below)
        return slopes

    def _derive_gap(self, followed: Mapping[int, tuple[str, Tree]], states: list[str]) -> dict[int, Tree]:
        import sympy

        from .symbols import Detach, from_sympy, to_sympy

        found = {}
        for k, (key, tree) in followed.items():
            value = to_sympy(tree, f"{self.model.here}: {key}").replace(Detach, lambda x: x)
            if (difference := value - sympy.Symbol(states[k])) != 0:
                found[k] = from_sympy(difference, self.made.moving, f"{self.model.here}: {key}")
        return found

    def _list_held_names(self, trees: list[Tree]) -> frozenset[str]:
        """Return the learned parameters, and the constants computed from them, that trees and their terms read."""
        follows = set(self.learns.names)
        for name, tree in (self.equations.constants | self.made.constants).items():
            if not follows.isdisjoint(names_of(tree)):
                follows.add(name)
        return frozenset(follows & set().union(*(names_of(tree, self.made.terms) for tree in trees)))


def _write_power(base: Tree, n: int) -> Tree:
    """Return a power with a whole exponent by multiplications, which are up to 64."""
    whole, rest = divmod(n, 64)
    power: Tree = ("**", base, ("number", float(rest)))
    return multiply_trees(("**", ("**", base, ("number", 64.0)), ("number", float(whole))), power) if whole else power


def _part_of(by: Derivatives, through: str) -> Derivatives:
    """Return the derivatives for "no own spike" or "leak"; steps store the same numbers as for all derivatives."""
    if through == "no own spike":
        return replace_fields(by, v={}, gap={})
    own = {key: tree for key, tree in by.J.items() if key[0] == key[1] and by.moving.isdisjoint(names_of(tree))}
    return replace_fields(by, J=own, v={}, R={}, gap={})
