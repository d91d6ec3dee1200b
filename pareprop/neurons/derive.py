"""Derivatives of a model: what eligibility traces and the sweep back need, and what must be kept for them.

With states s, J = d step / d s, U_p = d step / d port p, v = d step / d z, and, at new states, h = d spike / d s; for
followed states k of the reset R_k = d reset_k / d s and the gap reset_k - s_k. The trace of a synapse onto port p:

    eps~ = J eps + v e_before + U_p z_source ;  e = psi h . eps~
    eps  = eps~, but followed states: eps_k = (R_k . eps~ if the neuron spiked, else eps~_k) + gap_k e

Rules: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y (one state and an adaptation), for any states as in the page
"Write your own neuron".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..values import Foreign
from .kept import OLD, choose
from .language import Tree
from .model import NeuronModel


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
    import sympy

    from .symbols import from_sympy, to_sympy

    equations, states, ports = model.equations, list(model.states), list(model.ports)
    moving = frozenset([*states, *(OLD + name for name in states), *ports, "I", "z", "refractory"])
    olds = {sympy.Symbol(name): sympy.Symbol(OLD + name) for name in states}

    def table(expressions: list[Foreign], names: list[str], old: bool) -> dict[tuple[int, int], Tree]:
        entries = {}
        for i, expression in enumerate(expressions):
            for j, name in enumerate(names):
                entry = sympy.diff(expression, sympy.Symbol(name))
                if entry != 0:
                    entries[i, j] = from_sympy(entry.xreplace(olds) if old else entry, moving)
        return entries

    steps = [to_sympy(equations.traces.get(name, equations.step[name])) for name in states]
    J, U = table(steps, states, True), table(steps, ports, True)
    v = {i: tree for (i, _), tree in table(steps, ["z"], True).items()}
    h = {j: tree for (_, j), tree in table([to_sympy(equations.spike)], states, False).items()}
    followed = {states.index(name): to_sympy(equations.reset[name]) for name in model.follow}
    R = {(k, j): tree for k, entry in followed.items() for (_, j), tree in table([entry], states, False).items()}
    gap = {
        k: from_sympy(difference, moving)
        for k, entry in followed.items()
        if (difference := entry - sympy.Symbol(states[k])) != 0
    }
    tables = J, U, v, h, R, gap
    kept = choose(model, [tree for entries in tables for tree in entries.values()])
    return Derivatives(*tables, kept.trees, kept.spiked, kept.refractory)
