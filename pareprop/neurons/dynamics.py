"""Time derivatives become a step: linear systems exactly, by propagators of ODE-toolbox, others by an integrator.

ODE-toolbox: doi 10.5281/zenodo.4245012. It and SymPy are loaded when a model with `dynamics` is first compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError, quote
from .language import Tree, names_of, parse, replace, walk

SIZE = 20_000  # nodes of the tree of a step
DT: Tree = ("name", "dt")


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
        Names of constants that are there.

    Returns
    -------
    constants, step : dict of str to tuple
        Propagators, and new values.

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
        if exact is None and integrator is None:
            raise InputError(
                f"{here}: dynamics is not linear: name an integrator, one of exponential_euler, euler, rk4"
            )
        if exact is None:
            steps.append(_BY[integrator](system))
        else:
            constants |= exact[0]
            steps.append(exact[1])
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
    """Return propagators as constants and the exact step of a linear system; None if it is not linear."""
    import sympy

    from .symbols import from_sympy, to_sympy

    names = list(system)
    states = [sympy.Symbol(name) for name in names]
    trees = [to_sympy(tree) for tree in system.values()]
    A = [[sympy.simplify(sympy.diff(tree, state)) for state in states] for tree in trees]
    varies = {*states, sympy.Symbol("I"), sympy.Symbol("z")}
    if any(entry.free_symbols & varies for row in A for entry in row):
        return None
    rest = [tree.xreplace(dict.fromkeys(states, sympy.Integer(0))) for tree in trees]
    moving = frozenset([*names, "I", "z"])
    symbols: dict[str, Tree] = {}  # a letter for each coefficient: ODE-toolbox need not know what it means
    equations = []
    for i, row in enumerate(A):
        terms = []
        for j, entry in enumerate(row):
            if entry != 0:
                symbols[f"a_{i}_{j}"] = from_sympy(entry, moving)
                terms.append(f"a_{i}_{j}*s_{j}")
        if rest[i] != 0:
            symbols[f"b_{i}"] = from_sympy(rest[i], moving)
            terms.append(f"b_{i}")
        equations.append({"expression": f"s_{i}' = {' + '.join(terms) or '0'}", "initial_value": "0"})
    return _named(_propagators(equations, symbols), symbols, names, prefix, taken)


def _propagators(equations: list[dict[str, str]], symbols: Mapping[str, Tree]) -> dict[str, Any]:
    """Return propagators and updates by condition, as ODE-toolbox finds them."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from odetoolbox import analysis

        given = {"dynamics": equations, "parameters": dict.fromkeys(symbols, "1")}
        found = analysis(given, disable_stiffness_check=True, log_level="CRITICAL")
    return found[0]["conditions"]


def _named(
    conditions: Mapping[str, Any], symbols: Mapping[str, Tree], names: list[str], prefix: str, taken: set[str]
) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Turn what ODE-toolbox found into constants and steps in the model's own names."""
    letters = {f"s_{i}": ("name", name) for i, name in enumerate(names)} | dict(symbols) | {"h": DT}
    keys = sorted({key for case in conditions.values() for key in case["propagators"]})
    constants: dict[str, Tree] = {}
    for key in keys:  # __P__s_0__s_1
        i, j = (int(part.removeprefix("s_")) for part in key.removeprefix("__P__").split("__"))
        name = f"{prefix}P_{names[i]}_{names[j]}"
        while name in taken:
            name += "_"
        letters[key.strip("_")] = ("name", name)
        constants[name] = _choose(conditions, lambda case, key=key: case["propagators"].get(key, "0"), letters)
    step = {
        name: _choose(conditions, lambda case, i=i: case["update_expressions"][f"s_{i}"], letters)
        for i, name in enumerate(names)
    }
    return constants, step


def _choose(conditions: Mapping[str, Any], text_of: Any, letters: Mapping[str, Tree]) -> Tree:
    """Return the expression of the default, or where a condition holds that of the condition."""

    def read(text: str) -> Tree:
        text = text.replace("__h", "h").replace("__P__", "P__").replace("&", " and ").replace("|", " or ")
        return replace(parse(text, letters, "dynamics: ODE-toolbox"), letters)

    result = read(text_of(conditions["default"]))
    for condition, case in conditions.items():
        if condition != "default" and (other := read(text_of(case))) != result:
            result = ("where", read(condition), other, result)
    return result


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
