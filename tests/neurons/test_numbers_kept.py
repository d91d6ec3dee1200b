"""What a step keeps: the fewest numbers from which derivatives follow, found by trying all sets in small models."""

from __future__ import annotations

from itertools import combinations

import pytest

from pareprop.neurons.derive import Derivatives, derive_model
from pareprop.neurons.language import CONDITIONS, Tree, names_of, walk_tree
from pareprop.neurons.model import NeuronModel
from pareprop.neurons.stored_terms import OLD

STEPS = {
    "total": "V*exp(-(g_L + g + x_in))",
    "product": "V*exp(-g*x_in)*I",
    "chosen": "where(g > V, where(x_in < I, V*g, I*I), V*V*x_in)",
    "refractory": "where(refractory, V, V*V*exp(-g*x_in))",
    "spiked": "V*g*z + I*I",
}


def model(step: str, follow: list[str]) -> NeuronModel:
    """Return a model of two states, of which a spike resets the first."""
    return NeuronModel.from_dict(
        "small",
        {
            "parameters": {"g_L": [1.0, "nS"], "V_th": [1.0, "mV"], "V_reset": [0.0, "mV"], "t_ref": [0.0, "ms"]},
            "ports": ["x_in"],
            "states": {"V": [0.0, "mV"], "g": [0.0, "nS"]},
            "step": {"V": step, "g": "0.5*g"},
            "spike": "V - V_th",
            "reset": {"V": "V_reset"},
            "surrogate": "piecewise_linear",
            "follow": follow,
        },
    )


def suffices(by: Derivatives, kept: set[Tree], resets: set[str], moving: set[str]) -> bool:
    """Return whether all derivatives follow from what is kept, "flags" among it, by a search from their side."""

    def follows(tree: Tree) -> bool:
        kind, *items = tree
        if tree in kept or not names_of(tree) & moving:
            return True
        if kind != "name":
            return all(follows(item) for item in items if isinstance(item, tuple))
        if items[0] in ("z", "refractory"):
            return ("flags",) in kept
        if items[0].startswith(OLD):
            name = items[0].removeprefix(OLD)
            return ("name", name) in kept and (name not in resets or ("flags",) in kept)
        return False

    return all(map(follows, trees_of(by)))


def trees_of(by: Derivatives) -> list[Tree]:
    """Return all derivatives."""
    return [tree for entries in (by.J, by.U, by.v, by.h, by.R, by.gap) for tree in entries.values()]


@pytest.mark.parametrize("follow", [[], ["V"]], ids=["free", "followed"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_no_fewer_numbers_would_do(step: str, follow: list[str]) -> None:
    """What is kept suffices, and no smaller set does."""
    by = derive_model(model(step, follow))
    moving = {"V", "g", OLD + "V", OLD + "g", "x_in", "I", "z", "refractory"}
    kept = {*by.keeps, *([("flags",)] if by.spiked or by.refractory else [])}
    assert len(kept) == by.n_kept and suffices(by, kept, {"V"}, moving)
    every = {node for tree in trees_of(by) for node in walk_tree(tree) if names_of(node) & moving}
    every = {node for node in every if node[0] not in CONDITIONS and node[1] not in ("z", "refractory")}
    every |= {("name", "V"), ("name", "g"), ("flags",)}
    always = {("flags",)} if follow else set()  # whether it spiked is read by itself
    for few in combinations(sorted(every, key=str), by.n_kept - 1):
        assert not (always <= set(few) and suffices(by, set(few), {"V"}, moving)), few
