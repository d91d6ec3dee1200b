"""Evaluate a rule's equations as they are written, step by step, for few synapses: for checks and recordings."""

from __future__ import annotations

import numpy as np

from ..neurons.derive import derive
from ..neurons.kept import FLAGS
from ..neurons.language import evaluate, names_of, with_terms
from ..values import Given, Numbers, Values
from .bound import NOW, OLD, WAS, Bound
from .linear import BEFORE, NEW


class Literal:
    """States of synapses that learn by a rule, and of their targets.

    Parameters
    ----------
    bound : Bound
        The rule at neurons of a model.
    values : Mapping
        Constants that `Bound.values` returned, one value or one for each synapse.
    n : int
        Synapses.

    Attributes
    ----------
    kept : list of tuple
        Quantities that the neurons keep of each step.
    neuron, synapse : dict
        Name to (n,): states of the targets, and of the synapses.
    """

    def __init__(self, bound: Bound, values: Given, n: int) -> None:
        self._bound, self._values, self._n = bound, dict(values), n
        derived = derive(bound.model)
        self.kept = [*derived.keeps, *([FLAGS] if derived.spiked or derived.refractory else [])]
        self.start()

    def start(self) -> None:
        """Set all states to their initial values."""
        initial = self._bound.initial(self._values) if self._n else {}
        self.neuron = {name: np.full(self._n, initial.get(name, 0.0)) for name in self._bound.states}
        self.start_synapses()

    def start_synapses(self) -> None:
        """Set the states of synapses to 0."""
        self.synapse: dict[str, np.ndarray] = {name: np.zeros(self._n) for name in self._bound.rule.synapse}

    def known(self, now: np.ndarray, was: np.ndarray, signals: Given) -> Values:
        """Return all values of the targets in a step, by name.

        Parameters
        ----------
        now, was : ndarray
            (n_kept, n), what the neurons kept of the step and of the one before.
        signals : Mapping
            `psi`, `L`, `F` and `M`.
        """
        known = {**self._values, **signals} | {f"{OLD} {name}": value for name, value in self.neuron.items()}
        for word, row in ((NOW, now), (WAS, was)):
            known |= {f"{word} {tree[1]}": value for tree, value in zip(self.kept, row, strict=True) if len(tree) == 2}
        if FLAGS in self.kept:
            place = self.kept.index(FLAGS)
            known |= {"z": now[place] % 2.0, f"{WAS} z": was[place] % 2.0, "refractory": (now[place] >= 2.0) * 1.0}
        terms = self._bound.terms
        there = known.keys() | terms.keys()
        return with_terms(known, {name: tree for name, tree in terms.items() if names_of(tree) <= there})

    def step(self, now: np.ndarray, was: np.ndarray, signals: Given, pre: Numbers) -> Numbers:
        """Go through a step with arrivals `pre`, (n,); return what it adds to the gradient; others as of `known`."""
        known, old = self.known(now, was, signals) | {"pre": pre}, self.synapse
        for name, tree in self._bound.written.items():
            known[f"{NEW} {name}"] = evaluate(tree, known | old)
        self.neuron = {name: known[f"{NEW} {name}"] for name in self.neuron}
        self.synapse = {name: np.broadcast_to(known[f"{NEW} {name}"], self._n) for name in old}
        before = {f"{BEFORE} {name}": value for name, value in old.items()}
        return evaluate(self._bound.added, known | self.synapse | before)
