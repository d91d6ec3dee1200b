"""Time derivatives become a step: linear systems exactly, by the exponential of their matrix, others by an integrator.

The exponential is computed in numbers, for each neuron, not in symbols: ODE-toolbox 3.0 leaves coupled systems with
input to a numeric solver, and its formulas divide by differences of time constants, which may be equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InputError
from .language import Tree, names_of, replace
from .terms import Terms

DT: Tree = ("name", "dt")
ZERO: Tree = ("number", 0.0)


def integrate(
    here: str, dynamics: Mapping[str, Tree], jumps: Mapping[str, Tree], integrator: str | None, terms: Terms
) -> dict[str, Tree]:
    """Return the step of each state.

    Parameters
    ----------
    here : str
        Model, for messages.
    dynamics : Mapping of str to tuple
        Time derivative of each state, per ms.
    jumps : Mapping of str to tuple
        What is added to a state at the end of a step.
    integrator : str or None
        How a system that is not linear is integrated.
    terms : Terms
        Takes what steps name beside the model's own.

    Returns
    -------
    dict of str to tuple
        New values.

    Raises
    ------
    InputError
        If the system is not linear and no integrator is named, or is too long to be derived.
    """
    # what stands still while refractory is another system then: each is integrated by itself
    cases = [0.0, 1.0] if any("refractory" in names_of(tree) for tree in dynamics.values()) else [0.0]
    steps = []
    for refractory in cases:
        system = {name: replace(tree, {"refractory": ("number", refractory)}) for name, tree in dynamics.items()}
        exact = _linear(here, system, "rest_" if refractory else "", terms)
        if exact is not None:
            steps.append(exact)
        elif integrator is not None:
            steps.append(_BY[integrator](here, system, terms))
        else:
            raise InputError(
                f"{here}: dynamics is not linear: name an integrator, one of exponential_euler, euler, rk4"
            )
    step = {}
    for name in dynamics:
        tree = steps[0][name]
        if len(steps) == 2 and steps[1][name] != tree:
            tree = ("where", ("name", "refractory"), steps[1][name], tree)
        step[name] = ("+", tree, jumps[name]) if name in jumps else tree
    return step


def _linear(here: str, system: Mapping[str, Tree], prefix: str, terms: Terms) -> dict[str, Tree] | None:
    """Return the exact step of a linear system, with propagators as constants; None if it is not linear.

    s(t + dt) = P s(t) + Q b for s' = A s + b: P and Q are parts of the exponential of dt [[A, 1], [0, 0]], with a
    column for each b that is not 0.
    """
    import sympy

    from .symbols import Condition, Detach, from_sympy, to_sympy

    names = list(system)
    for name, tree in system.items():
        terms.expect(f"{here}: dynamics: {name}", tree, names)
    states = {sympy.Symbol(name) for name in names}
    varies = {*states, sympy.Symbol("I"), sympy.Symbol("z")}
    trees = [to_sympy(tree) for tree in system.values()]
    if any(node.free_symbols & states for tree in trees for node in tree.atoms(Condition, Detach)):
        return None  # their derivative is 0, whatever they do
    A = []
    for tree in trees:
        row = [sympy.diff(tree, sympy.Symbol(name)) for name in names]
        for entry in row:
            if any(node.free_symbols & varies for node in entry.atoms(Condition, Detach)):
                return None
            if any(sympy.diff(entry, name) != 0 for name in sorted(entry.free_symbols & varies, key=str)):
                return None
        A.append([entry.xreplace(dict.fromkeys(varies, sympy.Integer(0))) for entry in row])
    moving = terms.moving
    keys = [f"{here}: dynamics: {name}" for name in names]
    at_zero = dict.fromkeys(states, sympy.Integer(0))
    rest = [from_sympy(tree.xreplace(at_zero), moving, key) for tree, key in zip(trees, keys, strict=True)]
    driven = [k for k, tree in enumerate(rest) if tree != ZERO]
    n = len(names) + len(driven)
    matrix = [[ZERO] * n for _ in range(n)]
    for i, row in enumerate(A):
        for j, entry in enumerate(row):
            matrix[i][j] = ("*", DT, from_sympy(entry, moving, keys[i])) if entry != 0 else ZERO
    for column, k in enumerate(driven):
        matrix[k][len(names) + column] = DT
    entries = tuple(entry for row in matrix for entry in row)
    reached = _reached(matrix)
    sources: list[tuple[str, Tree]] = [(f"P_{{}}_{name}", ("name", name)) for name in names]
    sources += [(f"Q_{{}}_{names[k]}", rest[k]) for k in driven]
    step: dict[str, Tree] = {}
    for i, name in enumerate(names):
        products: list[Tree] = []
        for j, (key, source) in enumerate(sources):
            if reached[i][j]:
                entry = ("expm", ("number", float(i)), ("number", float(j)), *entries)
                products.append(("*", terms.add(prefix + key.format(name), entry), source))
        total = products[0]
        for product in products[1:]:
            total = ("+", total, product)
        step[name] = total
    return step


def _reached(matrix: list[list[Tree]]) -> list[list[bool]]:
    """Return which entries of the exponential of a matrix are not 0."""
    n = len(matrix)
    reached = [[i == j or matrix[i][j] != ZERO for j in range(n)] for i in range(n)]
    for k in range(n):
        for i in range(n):
            for j in range(n):
                reached[i][j] |= reached[i][k] and reached[k][j]
    return reached


def _euler(here: str, system: Mapping[str, Tree], terms: Terms) -> dict[str, Tree]:
    return {name: ("+", ("name", name), ("*", DT, tree)) for name, tree in system.items()}


def _exponential_euler(here: str, system: Mapping[str, Tree], terms: Terms) -> dict[str, Tree]:
    """S + f(s) (exp(a dt) - 1) / a with a = df/ds of the state itself: exact where f is linear in it."""
    import sympy

    from .symbols import from_sympy, to_sympy

    step = {}
    for name, tree in system.items():
        key = f"{here}: dynamics: {name}: its derivative by {name}"
        rate = from_sympy(sympy.diff(to_sympy(tree), sympy.Symbol(name)), terms.moving, key)
        slope, a = terms.add(f"slope_{name}", tree), terms.add(f"rate_{name}", rate)
        x = ("*", a, DT)
        series = ("*", DT, ("+", ("number", 1.0), ("*", x, ("+", ("number", 0.5), ("/", x, ("number", 6.0))))))
        exact = ("/", ("-", ("exp", x), ("number", 1.0)), a)
        small = ("<", ("abs", x), ("number", 1e-4))
        factor = DT if a == ZERO else ("where", small, series, exact)
        step[name] = ("+", ("name", name), ("*", slope, factor))
    return step


def _rk4(here: str, system: Mapping[str, Tree], terms: Terms) -> dict[str, Tree]:
    """The classical method of Runge and Kutta; each stage reads names of the one before, not its expressions."""

    def slopes(stage: int, at: Mapping[str, Tree]) -> dict[str, Tree]:
        return {name: terms.add(f"slope_{stage}_{name}", replace(tree, at)) for name, tree in system.items()}

    def ahead(stage: int, by: Mapping[str, Tree], share: float) -> dict[str, Tree]:
        dt = DT if share == 1.0 else ("*", ("number", share), DT)
        points = {name: ("+", ("name", name), ("*", dt, by[name])) for name in system}
        return {name: terms.add(f"{name}_{stage}", point) for name, point in points.items()}

    first = slopes(1, {})
    second = slopes(2, ahead(2, first, 0.5))
    third = slopes(3, ahead(3, second, 0.5))
    fourth = slopes(4, ahead(4, third, 1.0))
    step = {}
    for name in system:
        twice = ("*", ("number", 2.0), ("+", second[name], third[name]))
        total = ("+", ("+", first[name], twice), fourth[name])
        step[name] = ("+", ("name", name), ("*", ("/", DT, ("number", 6.0)), total))
    return step


_BY = {"euler": _euler, "exponential_euler": _exponential_euler, "rk4": _rk4}
