"""Evaluate a rule's equations as they are written, step by step, for few synapses: for checks and recordings."""

from __future__ import annotations

import numpy as np

from ..neurons.derive import derive_model
from ..neurons.language import compile_tree, names_of
from ..neurons.stored_terms import FLAGS
from ..values import Given, Numbers
from .bound import NOW, OLD, WAS, BoundRule
from .linear import BEFORE, NEW


class LiteralRule:
    """States of synapses that learn by a rule, and of their targets.

    `values` are the constants from `BoundRule.compute_values`, one value or one for each synapse; `n` is the shape of
    the synapses.

    Attributes
    ----------
    kept : list of tuple
        Quantities that the neurons keep of each step.
    neuron, synapse : dict
        Name to values of shape `n`: states of the targets, and of the synapses.
    known : dict
        All values of the latest step, by the names of `bound`.
    """

    def __init__(self, bound: BoundRule, values: Given, n: int | tuple[int, ...]) -> None:
        self._bound, self._n, self.known = bound, n, dict(values)
        derived = derive_model(bound.model)
        self.kept = [*derived.keeps, *([FLAGS] if derived.spiked or derived.refractory else [])]
        names = [(k, tree[1]) for k, tree in enumerate(self.kept) if tree != FLAGS]
        self._rows = [(k, f"{NOW} {name}", f"{WAS} {name}") for k, name in names]
        self.reset_states()
        there = {*values, *bound.terms, "psi", "L", "F", "M", *(f"{OLD} {name}" for name in self.neuron)}
        there |= {name for row in self._rows for name in row[1:]}
        there |= {"z", f"{WAS} z", "refractory"} if FLAGS in self.kept else set()
        terms = {name: tree for name, tree in bound.terms.items() if names_of(tree) <= there}
        for name, tree in bound.written.items():  # 0 alone is a number for each synapse, too
            terms[f"{NEW} {name}"] = ("*", tree, ("name", "pre")) if tree[0] == "number" else tree
        self._terms = [(name, compile_tree(tree, values)) for name, tree in terms.items()]
        self._added = compile_tree(bound.added, values)

    def reset_states(self) -> None:
        """Set all states to their initial values."""
        initial = self._bound.compute_initial(self.known) if self._n else {}
        self.neuron = {name: np.full(self._n, initial.get(name, 0.0)) for name in self._bound.states}
        self.reset_synapses()

    def reset_synapses(self) -> None:
        """Set the states of synapses to 0."""
        self.synapse = {name: np.zeros(self._n) for name in self._bound.rule.synapse}

    def step(self, now: np.ndarray, was: np.ndarray, signals: Given, pre: Numbers) -> Numbers:
        """Advance by a step; return its part of the gradient.

        `now` and `was`, (n_kept, n), hold the stored quantities of the step and of the step before; `signals` has
        `psi`, `L`, `F` and `M`; `pre`, (n,), are the arrivals.
        """
        known = self.known
        known |= {**signals, "pre": pre, **self.synapse, **{f"{OLD} {name}": self.neuron[name] for name in self.neuron}}
        known |= {f"{BEFORE} {name}": value for name, value in self.synapse.items()}
        for k, at, before in self._rows:
            known[at], known[before] = now[k], was[k]
        if FLAGS in self.kept:
            k = self.kept.index(FLAGS)
            known |= {"z": now[k] % 2.0, f"{WAS} z": was[k] % 2.0, "refractory": (now[k] >= 2.0) * 1.0}
        with np.errstate(all="ignore"):
            for name, value in self._terms:
                known[name] = value(known)
            self.neuron = {name: np.broadcast_to(known[f"{NEW} {name}"], self._n) for name in self.neuron}
            self.synapse = {name: known[f"{NEW} {name}"] for name in self.synapse}
            known |= self.synapse
            return self._added(known)
