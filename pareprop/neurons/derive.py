"""Derivatives of a model: what eligibility traces and the sweep back need, and what must be kept for them.

With states s, J = d step / d s, U_p = d step / d port p, v = d step / d z, and, at new states, h = d spike / d s; for
followed states k of the reset R_k = d reset_k / d s and the gap reset_k - s_k. The trace of a synapse onto port p:

    eps~ = J eps + v e_before + U_p z_source ;  e = psi h . eps~
    eps  = eps~, but followed states: eps_k = (R_k . eps~ if the neuron spiked, else eps~_k) + gap_k e

Rules: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y (one state and an adaptation), for any states as in the page
"Write your own neuron".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from functools import lru_cache

from ..values import Foreign
from .kept import OLD, choose
from .language import Tree, names_of, replace
from .model import NeuronModel
from .terms import Terms


@dataclass(frozen=True)
class Derivatives:
    """Trees of derivatives; zeros are not there. Names with `OLD` are states before a step, others new ones.

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
        What must be kept for each neuron and step: names of states (before the reset), ports, `I`, then terms.
    spiked, refractory : bool
        Whether it must be kept if the neuron spiked, and if it was refractory at the start of the step.
    constants, terms : dict of str to tuple
        What the names in these trees stand for that are none of the model's, each after those that it names: what does
        not vary with time, and what does.
    moving : frozenset of str
        All names that vary with time.
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

    @property
    def n_kept(self) -> int:
        """Numbers kept for each neuron and step, beside the surrogate gradient."""
        return len(self.keeps) + (self.spiked or self.refractory)


@lru_cache(maxsize=64)
def derive(model: NeuronModel) -> Derivatives:
    """Return the derivatives of a model.

    Parameters
    ----------
    model : NeuronModel
        The model.

    Returns
    -------
    Derivatives
        All that are not 0.
    """
    if model.through != "all":
        return _part_of(derive(model.learning_through("all")), model.through)
    import sympy

    from .symbols import from_sympy, to_sympy

    equations, states, ports = model.equations, list(model.states), list(model.ports)
    olds = {name: OLD + name for name in states}
    made = Terms(model.names | equations.constants.keys(), [*model.moving_names, *olds.values()])
    inner: dict[tuple[str, str], Foreign] = {}  # derivatives of terms by names, those that are not 0

    def table(rows: Mapping[int, tuple[str, Tree]], names: list[str], old: bool) -> dict[tuple[int, int], Tree]:
        """Return derivatives of trees, which stand under a key, by names; old ones read the states before a step."""
        entries = {}
        for i, (key, tree) in rows.items():
            made.expect(f"{model.here}: {key}", tree, [*names, *equations.terms])
            expression = to_sympy(tree, f"{model.here}: {key}")
            terms = [name for name in equations.terms if sympy.Symbol(name) in expression.free_symbols]
            for j, name in enumerate(names):
                entry = sympy.diff(expression, sympy.Symbol(name))
                for term in terms:
                    if (term, name) in inner:
                        entry += sympy.diff(expression, sympy.Symbol(term)) * inner[term, name]
                if entry == 0:
                    continue
                if old:
                    entry = entry.xreplace({sympy.Symbol(name): sympy.Symbol(then) for name, then in olds.items()})
                here = f"{model.here}: {key}: its derivative by {name}"
                entries[i, j] = from_sympy(entry, made.moving, here)
        return entries

    before = [*states, *ports, "z"]
    for term, tree in equations.terms.items():
        made.add(term, replace(tree, {name: ("name", then) for name, then in olds.items()}))
        for (_, j), entry in table({0: (f"dynamics: {term}", tree)}, before, True).items():
            inner[term, before[j]] = to_sympy(made.add(f"d_{term}_d_{before[j]}", entry), model.here)
    learned = {name: ("traces", tree) for name, tree in equations.traces.items()}
    learned = {name: learned.get(name, ("step", tree)) for name, tree in equations.step.items()}
    steps = {i: (f"{learned[name][0]}: {name}", learned[name][1]) for i, name in enumerate(states)}
    J, U = table(steps, states, True), table(steps, ports, True)
    v = {i: tree for (i, _), tree in table(steps, ["z"], True).items()}
    h = {j: tree for (_, j), tree in table({0: ("spike", equations.spike)}, states, False).items()}
    followed = {states.index(name): (f"reset: {name}", equations.reset[name]) for name in model.follow}
    R = table(followed, states, False)
    gap = {
        k: from_sympy(difference, made.moving, f"{model.here}: {key}")
        for k, (key, tree) in followed.items()
        if (difference := to_sympy(tree, f"{model.here}: {key}") - sympy.Symbol(states[k])) != 0
    }
    tables = J, U, v, h, R, gap
    kept = choose(model, [tree for entries in tables for tree in entries.values()], made.terms)
    return Derivatives(*tables, kept.trees, kept.spiked, kept.refractory, made.constants, made.terms, made.moving)


def _part_of(by: Derivatives, through: str) -> Derivatives:
    """Return the derivatives that "no own spike" or "leak" leave; what is kept stays, as neurons keep it for all."""
    if through == "no own spike":
        return replace_fields(by, v={}, gap={})
    own = {key: tree for key, tree in by.J.items() if key[0] == key[1] and by.moving.isdisjoint(names_of(tree))}
    return replace_fields(by, J=own, v={}, R={}, gap={})
