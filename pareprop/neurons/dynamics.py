"""Turn time derivatives into a step: exactly for linear systems, by the exponential of a matrix, else by an integrator.

The exponential is computed numerically for each neuron, not symbolically: ODE-toolbox 3.0 leaves coupled systems with
input to a numeric solver, and its formulas divide by differences of time constants, which may be equal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from ..errors import InputError
from .language import Repeat, Tree, names_of, replace_names
from .slopes import ZERO, differentiate_tree
from .terms import LONG, Terms, count_parts

DT: Tree = ("name", "dt")


def integrate_dynamics(
    here: str,
    dynamics: Mapping[str, Tree],
    jumps: Mapping[str, Tree],
    integrator: str | None,
    substeps: int,
    terms: Terms,
) -> tuple[str, dict[str, Tree]]:
    """Return how the system is integrated, "exact" or the integrator, and the new value of each state.

    `dynamics` are time derivatives per ms, `jumps` trees that are added to states at the end of a step. `integrator`
    and its number of `substeps` per step are for systems that are not linear. `terms` collects additional names that
    steps use, `here` names the model in messages. Raises `InputError` if the system is not linear and has no
    integrator, or is too long to be derived; or if it is linear and has substeps.
    """
    how, step = "exact", _find_exact_step(here, dynamics, terms)
    if step is None:
        if integrator is None:
            raise InputError(
                f"{here}: dynamics is not linear: name an integrator, one of exponential_euler, euler, rk4"
            )
        if substeps == 1:
            how, step = integrator, _INTEGRATORS[integrator](here, dynamics, terms, DT)
        else:
            how, step = (
                f"{integrator}, {substeps} substeps",
                _repeat_substeps(here, dynamics, integrator, substeps, terms),
            )
    elif substeps > 1:
        raise InputError(
            f"{here}: substeps = {substeps} would change nothing: dynamics is linear, and integrated exactly"
        )
    return how, {name: ("+", tree, jumps[name]) if name in jumps else tree for name, tree in step.items()}


def _find_exact_step(here: str, dynamics: Mapping[str, Tree], terms: Terms) -> dict[str, Tree] | None:
    """Return the exact step of a linear system, refractory or not; None if the system is not linear.

    While refractory the system is another one; states that do not depend on `refractory` have one step for both.
    """
    reached = {"refractory"}
    while more := {name for name, tree in dynamics.items() if not reached.isdisjoint(names_of(tree))} - reached:
        reached |= more
    systems = []
    for refractory in (0.0, 1.0) if len(reached) > 1 else (0.0,):
        now = {name: replace_names(tree, {"refractory": ("number", refractory)}) for name, tree in dynamics.items()}
        systems.append(_find_linear_system(here, now, terms))
    first, *rest = systems
    if first is None or None in rest:
        return None
    states = list(dynamics)
    step = first.step("", states, states, terms)
    for system in filter(None, rest):
        resting = system.step("rest_", [name for name in states if name in reached], states, terms)
        step |= {name: ("where", ("name", "refractory"), tree, step[name]) for name, tree in resting.items()}
    return step


@dataclass(frozen=True)
class _Linear:
    """A linear system s' = A s + b.

    Attributes
    ----------
    A : dict of (str, str) to tuple
        Nonzero entries, by states.
    b : dict of str to tuple
        Nonzero entries, by state.
    """

    A: dict[tuple[str, str], Tree]
    b: dict[str, Tree]

    def step(self, prefix: str, wanted: Sequence[str], states: Sequence[str], terms: Terms) -> dict[str, Tree]:
        """Return the exact step of some states; names of propagators begin with `prefix`.

        s(t + dt) = P s(t) + Q b: P and Q are parts of the exponential of dt [[A, 1], [0, 0]], with a column for each
        nonzero b.
        """
        sources: list[tuple[str, Tree]] = [(f"P_{{}}_{name}", ("name", name)) for name in states]
        sources += [(f"Q_{{}}_{name}", tree) for name, tree in self.b.items()]
        n = len(sources)
        matrix: list[list[Tree]] = [[ZERO] * n for _ in range(n)]
        for (row, column), entry in self.A.items():
            matrix[states.index(row)][states.index(column)] = ("*", DT, entry)
        for place, name in enumerate(self.b, len(states)):
            matrix[states.index(name)][place] = DT
        entries = tuple(entry for row in matrix for entry in row)
        reached = _find_nonzero_entries(matrix)
        step: dict[str, Tree] = {}
        for name in wanted:
            i = states.index(name)
            products: list[Tree] = []
            for j, (key, source) in enumerate(sources):
                if reached[i][j]:
                    propagator = ("expm", ("number", float(i)), ("number", float(j)), *entries)
                    products.append(("*", terms.add_term(prefix + key.format(name), propagator), source))
            step[name] = reduce(lambda total, product: ("+", total, product), products)
        return step


def _find_linear_system(here: str, system: Mapping[str, Tree], terms: Terms) -> _Linear | None:
    """Return a system as a linear one; None if it is not linear."""
    import sympy

    from .symbols import Condition, Detach, from_sympy, to_sympy

    states = {sympy.Symbol(name) for name in system}
    varies = {*states, *map(sympy.Symbol, terms.moving)}
    A, b = {}, {}
    for name, tree in system.items():
        key = f"{here}: dynamics: {name}"
        is_long = terms.check_derivatives(key, tree, system)
        if is_long and not _is_seen_linear(tree, system.keys(), system.keys() | terms.moving):
            return None
        whole = to_sympy(tree, key)
        if any(node.free_symbols & states for node in whole.atoms(Condition, Detach)):
            return None  # their derivative is always 0
        for other in system:
            entry = sympy.diff(whole, sympy.Symbol(other))
            if any(node.free_symbols & varies for node in entry.atoms(Condition, Detach)):
                return None
            if not is_long and any(
                sympy.diff(entry, moves) != 0 for moves in sorted(entry.free_symbols & varies, key=str)
            ):
                return None
            if entry != 0:  # what varies in it has no effect
                A[name, other] = from_sympy(entry.xreplace(dict.fromkeys(varies, sympy.Integer(0))), terms.moving, key)
        rest = whole.xreplace(dict.fromkeys(states, sympy.Integer(0)))
        if rest != 0:
            b[name] = from_sympy(rest, terms.moving, key)
    return _Linear(A, b)


def _is_seen_linear(tree: Tree, states: Collection[str], varies: Collection[str]) -> bool:
    """Return whether a tree is, as written, linear in states with coefficients that do not vary."""
    kind, *items = tree
    if names_of(tree).isdisjoint(states):
        return True
    fixed = [item for item in items if names_of(item).isdisjoint(varies)] if kind != "name" else []
    if kind == "*":
        items = [item for item in items if item not in fixed] if fixed else []
    elif kind == "/":
        items = items[:1] if items[1] in fixed else []
    elif kind == "where":
        items = items[1:] if items[0] in fixed else []
    elif kind not in ("+", "-", "neg", "name"):
        items = []
    return kind == "name" or (bool(items) and all(_is_seen_linear(item, states, varies) for item in items))


def _find_nonzero_entries(matrix: list[list[Tree]]) -> list[list[bool]]:
    """Return which entries of the exponential of a matrix are not 0."""
    n = len(matrix)
    reached = [[i == j or matrix[i][j] != ZERO for j in range(n)] for i in range(n)]
    for k in range(n):
        for i in range(n):
            for j in range(n):
                reached[i][j] |= reached[i][k] and reached[k][j]
    return reached


def _repeat_substeps(
    here: str, dynamics: Mapping[str, Tree], integrator: str, substeps: int, terms: Terms
) -> dict[str, Tree]:
    """Return the step that takes substeps of length dt/substeps; everything except the states is constant meanwhile."""
    first = len(terms.terms)
    within = {name: terms.add_variable(f"{name}_within") for name in dynamics}
    names: dict[str, Tree] = {name: ("name", variable) for name, variable in within.items()}
    system = {within[name]: replace_names(tree, names) for name, tree in dynamics.items()}
    update = _INTEGRATORS[integrator](here, system, terms, ("/", DT, ("number", float(substeps))))
    start: dict[str, Tree] = {variable: ("name", name) for name, variable in within.items()}
    loop = terms.add_term("substeps", Repeat(substeps, start, update, terms.take_from(first)).to_tree())
    return {
        name: terms.add_term(f"{name}_end", ("entry", loop, ("number", float(k)))) for k, name in enumerate(dynamics)
    }


def _step_euler(here: str, system: Mapping[str, Tree], terms: Terms, dt: Tree) -> dict[str, Tree]:
    return {name: ("+", ("name", name), ("*", dt, tree)) for name, tree in system.items()}


def _step_exponential_euler(here: str, system: Mapping[str, Tree], terms: Terms, dt: Tree) -> dict[str, Tree]:
    """Return s + f(s) (exp(a dt) - 1) / a with a = df/ds of the state itself: exact if f is linear in it."""
    import sympy

    from .symbols import from_sympy, to_sympy

    step = {}
    for name, tree in system.items():
        key = f"{here}: dynamics: {name}"
        if count_parts(tree, [name]) > LONG:
            rate = differentiate_tree(tree, name, {})
        else:
            rate = from_sympy(sympy.diff(to_sympy(tree, key), sympy.Symbol(name)), terms.moving, key)
        slope, a = terms.add_term(f"slope_{name}", tree), terms.add_term(f"rate_{name}", rate)
        x = ("*", a, dt)
        series = ("*", dt, ("+", ("number", 1.0), ("*", x, ("+", ("number", 0.5), ("/", x, ("number", 6.0))))))
        exact = ("/", ("-", ("exp", x), ("number", 1.0)), a)
        small = ("<", ("abs", x), ("number", 1e-4))
        factor = dt if a == ZERO else ("where", small, series, exact)
        step[name] = ("+", ("name", name), ("*", slope, factor))
    return step


def _step_rk4(here: str, system: Mapping[str, Tree], terms: Terms, dt: Tree) -> dict[str, Tree]:
    """Return the classical Runge-Kutta step; each stage reads names of the previous stage, not its expressions."""

    def add_slopes(stage: int, at: Mapping[str, Tree]) -> dict[str, Tree]:
        return {name: terms.add_term(f"slope_{stage}_{name}", replace_names(tree, at)) for name, tree in system.items()}

    def advance_states(stage: int, by: Mapping[str, Tree], share: float) -> dict[str, Tree]:
        length = dt if share == 1.0 else ("*", ("number", share), dt)
        points = {name: ("+", ("name", name), ("*", length, by[name])) for name in system}
        return {name: terms.add_term(f"{name}_{stage}", point) for name, point in points.items()}

    first = add_slopes(1, {})
    second = add_slopes(2, advance_states(2, first, 0.5))
    third = add_slopes(3, advance_states(3, second, 0.5))
    fourth = add_slopes(4, advance_states(4, third, 1.0))
    step = {}
    for name in system:
        twice = ("*", ("number", 2.0), ("+", second[name], third[name]))
        total = ("+", ("+", first[name], twice), fourth[name])
        step[name] = ("+", ("name", name), ("*", ("/", dt, ("number", 6.0)), total))
    return step


_INTEGRATORS = {"euler": _step_euler, "exponential_euler": _step_exponential_euler, "rk4": _step_rk4}
