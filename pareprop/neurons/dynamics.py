"""Time derivatives become a step: linear systems exactly, by the exponential of their matrix, others by an integrator.

The exponential is computed in numbers, for each neuron, not in symbols: ODE-toolbox 3.0 leaves coupled systems with
input to a numeric solver, and its formulas divide by differences of time constants, which may be equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InputError, quote
from .language import Tree, names_of, replace, walk

SIZE = 20_000  # nodes of the tree of a step
DT: Tree = ("name", "dt")
ZERO: Tree = ("number", 0.0)


def integrate(
    here: str, dynamics: Mapping[str, Tree], jumps: Mapping[str, Tree], integrator: str | None, taken: set[str]
) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Return more constants and the step of each state.

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
    taken : set of str
        Names of the model.

    Returns
    -------
    constants : dict of str to tuple
        Propagators.
    step : dict of str to tuple
        New values.

    Raises
    ------
    InputError
        If the system is not linear and no integrator is named.
    """
    constants: dict[str, Tree] = {}
    # what stands still while refractory is another system then: each is integrated by itself
    cases = [0.0, 1.0] if any("refractory" in names_of(tree) for tree in dynamics.values()) else [0.0]
    steps = []
    for refractory in cases:
        system = {name: replace(tree, {"refractory": ("number", refractory)}) for name, tree in dynamics.items()}
        exact = _linear(system, "rest_" if refractory else "", taken | constants.keys())
        if exact is not None:
            constants |= exact[0]
            steps.append(exact[1])
        elif integrator is not None:
            steps.append(_BY[integrator](system))
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
        if sum(1 for _ in walk(step[name])) > SIZE:
            raise InputError(f"{here}: dynamics: {name}: the step by {quote(integrator)} is too long to be compiled")
    return constants, step


def _linear(system: Mapping[str, Tree], prefix: str, taken: set[str]) -> tuple[dict[str, Tree], dict[str, Tree]] | None:
    """Return propagators as constants and the exact step of a linear system; None if it is not linear.

    s(t + dt) = P s(t) + Q b for s' = A s + b: P and Q are parts of the exponential of dt [[A, 1], [0, 0]], with a
    column for each b that is not 0.
    """
    import sympy

    from .symbols import from_sympy, to_sympy

    names = list(system)
    states = [sympy.Symbol(name) for name in names]
    trees = [to_sympy(tree) for tree in system.values()]
    A = [[sympy.simplify(sympy.diff(tree, state)) for state in states] for tree in trees]
    varies = {*states, sympy.Symbol("I"), sympy.Symbol("z")}
    if any(entry.free_symbols & varies for row in A for entry in row):
        return None
    moving = frozenset([*names, "I", "z"])
    rest = [from_sympy(tree.xreplace(dict.fromkeys(states, sympy.Integer(0))), moving) for tree in trees]
    driven = [k for k, tree in enumerate(rest) if tree != ZERO]
    n = len(names) + len(driven)
    matrix = [[ZERO] * n for _ in range(n)]
    for i, row in enumerate(A):
        for j, entry in enumerate(row):
            matrix[i][j] = ("*", DT, from_sympy(entry, moving)) if entry != 0 else ZERO
    for column, k in enumerate(driven):
        matrix[k][len(names) + column] = DT
    entries = tuple(entry for row in matrix for entry in row)
    reached = _reached(matrix)
    constants: dict[str, Tree] = {}
    step: dict[str, Tree] = {}
    for i, name in enumerate(names):
        terms = []
        for j in range(n):
            if not reached[i][j]:
                continue
            key = (
                f"{prefix}P_{name}_{names[j]}"
                if j < len(names)
                else f"{prefix}Q_{name}_{names[driven[j - len(names)]]}"
            )
            while key in taken or key in constants:
                key += "_"
            constants[key] = ("expm", ("number", float(i)), ("number", float(j)), *entries)
            terms.append(("*", ("name", key), ("name", names[j]) if j < len(names) else rest[driven[j - len(names)]]))
        total: Tree = terms[0]
        for term in terms[1:]:
            total = ("+", total, term)
        step[name] = total
    return constants, step


def _reached(matrix: list[list[Tree]]) -> list[list[bool]]:
    """Return which entries of the exponential of a matrix are not 0."""
    n = len(matrix)
    reached = [[i == j or matrix[i][j] != ZERO for j in range(n)] for i in range(n)]
    for k in range(n):
        for i in range(n):
            for j in range(n):
                reached[i][j] |= reached[i][k] and reached[k][j]
    return reached


def _euler(system: Mapping[str, Tree]) -> dict[str, Tree]:
    return {name: ("+", ("name", name), ("*", DT, tree)) for name, tree in system.items()}


def _exponential_euler(system: Mapping[str, Tree]) -> dict[str, Tree]:
    """S + f(s) (exp(a dt) - 1) / a with a = df/ds of the state itself: exact where f is linear in it."""
    import sympy

    from .symbols import from_sympy, to_sympy

    moving, step = frozenset([*system, "I", "z"]), {}
    for name, tree in system.items():
        a = from_sympy(sympy.diff(to_sympy(tree), sympy.Symbol(name)), moving)
        x = ("*", a, DT)
        series = ("*", DT, ("+", ("number", 1.0), ("*", x, ("+", ("number", 0.5), ("/", x, ("number", 6.0))))))
        exact = ("/", ("-", ("exp", x), ("number", 1.0)), a)
        small = ("<", ("abs", x), ("number", 1e-4))
        factor = DT if a == ("number", 0.0) else ("where", small, series, exact)
        step[name] = ("+", ("name", name), ("*", tree, factor))
    return step


def _rk4(system: Mapping[str, Tree]) -> dict[str, Tree]:
    """The classical method of Runge and Kutta."""

    def slopes(at: Mapping[str, Tree]) -> dict[str, Tree]:
        return {name: replace(tree, at) for name, tree in system.items()}

    def ahead(by: Mapping[str, Tree], share: float) -> dict[str, Tree]:
        dt = DT if share == 1.0 else ("*", ("number", share), DT)
        return {name: ("+", ("name", name), ("*", dt, by[name])) for name in system}

    first = dict(system)
    second = slopes(ahead(first, 0.5))
    third = slopes(ahead(second, 0.5))
    fourth = slopes(ahead(third, 1.0))
    step = {}
    for name in system:
        twice = ("*", ("number", 2.0), ("+", second[name], third[name]))
        total = ("+", ("+", first[name], twice), fourth[name])
        step[name] = ("+", ("name", name), ("*", ("/", DT, ("number", 6.0)), total))
    return step


_BY = {"euler": _euler, "exponential_euler": _exponential_euler, "rk4": _rk4}
