"""Learning rules given by equations on one rank: their parameters, states and constants, in both variants."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ...arrays import allocate_aligned
from ...network import learning
from ...network.connectivity import Projection
from ...network.learning import RuleAt
from ...network.local import LocalNetwork, draw_cell_values
from ...network.rule_options import definition_of
from ...rules.program import BlockTable, RuleProgram, compile_rule


class Learner:
    """A learning rule with its parameters at one population, on this rank.

    Attributes
    ----------
    at : RuleAt
        The rule, its parameters and targets.
    program : RuleProgram
        Its kernels.
    first, last : int
        Half-open range of its targets among this rank's neurons.
    state, constant : ndarray
        (n_states + n_map, n), (n_constants, n) of the model's precision: states of `neuron`, then a composed map of
        steps; constants. n: all neurons of this rank, as rules at other populations share the arrays.
    places : BlockTable
        Numbers of targets that depend on the place of a step in its block.
    initial : ndarray
        (n_states, last - first), values of the states at the start.
    """

    def __init__(self, network: LocalNetwork, at: RuleAt, kappa: float) -> None:
        model, self.at = network.model, at
        definition = definition_of(at.post).with_saved(network.kept[at.post.name])
        self.program: RuleProgram = compile_rule(learning.bind_rule(at, definition))
        piece = network.piece_of.get(at.post.name)
        self.first, self.last = (piece.first, piece.last) if piece else (0, 0)
        n, bound = self.last - self.first, self.program.bound
        self.initial = np.zeros((self.program.n_states, n))
        self._constants = np.zeros((self.program.n_constants, n))
        self.places = BlockTable(np.zeros(0), np.zeros((1, 0, 0)), False)
        if piece is None:
            return
        low = network.neurons[0] + self.first - model.offset(at.post)
        given = network.get_parameters(piece, np.arange(self.first, self.last))
        of_model = network.program_of(at.post).compute_values(given, model.dt_ms)
        parameters = {
            name: draw_cell_values(model, at.post, f"{at.rule.name}/{name}", value, low, low + n)
            for name, value in at.parameters.items()
        }
        kappa_of: object = of_model["kappa"] if model.eprop.is_online else kappa
        values = bound.compute_values(parameters, of_model, model.dt_ms, kappa_of)
        self._constants[...] = self.program.compute_constants(values, n)
        self.places = self.program.build_block_table(values, n, model.kernels.real)
        for row, value in zip(self.initial, bound.compute_initial(values).values(), strict=True):
            row[:] = value

    def take(self, state: np.ndarray, constant: np.ndarray) -> None:
        """Use arrays that rules at other populations share, and set this population's part of them."""
        self.state, self.constant = state, constant
        constant[: len(self._constants), self.first : self.last] = self._constants
        self.start()

    def start(self) -> None:
        """Set the states of `neuron` to their initial values."""
        self.state[: len(self.initial), self.first : self.last] = self.initial


class Rules(ABC):
    """The learning rules of a network on one rank.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    kappa : float
        Decay of the filter of learning signals in the interval variant.

    Attributes
    ----------
    learners : list of Learner
        In order of `learning.list_rules`, the same on all ranks.
    states : dict
        Name to (n_states, n), states of `neuron`, in the spike variant with maps of steps; the names are the same on
        all ranks.
    """

    def __init__(self, network: LocalNetwork, kappa: float) -> None:
        self.network, self._real = network, network.model.kernels.real
        self.n, self._online = network.neurons[1] - network.neurons[0], network.model.eprop.is_online
        self.learners = [Learner(network, at, kappa) for at in learning.list_rules(network.model)]
        self._indices = learning.index_rules(network.model)
        self.states: dict[str, np.ndarray] = {}
        self._sharing: dict[str, list[Learner]] = {}
        for item in self.learners:
            self._sharing.setdefault(item.at.name, []).append(item)
        for name, items in self._sharing.items():
            sizes = [item.program.n_states + self._online * item.program.n_map for item in items]
            state = allocate_aligned((max(sizes), self.n), self._real)
            constant = allocate_aligned((max(item.program.n_constants for item in items), self.n), self._real)
            for item in items:
                item.take(state, constant)
            self.states[f"rule_{name}"] = state

    def find(self, projection: Projection) -> int | None:
        """Return the index of a projection's learner, None if it does not learn by a rule given by equations."""
        return self._indices.get(projection.name)

    def start(self) -> None:
        """Set the states of `neuron` to their initial values."""
        for item in self.learners:
            item.start()

    def list_arrays_to_check(self) -> dict[str, np.ndarray]:
        """Return the values that rules compute in a sample, by name, see `Engine.list_arrays_to_check`."""
        return {
            f"numbers of rule {item.at.rule.name}": rows
            for item, rows in zip(self.learners, self._computed, strict=True)
        }

    @property
    @abstractmethod
    def _computed(self) -> list[np.ndarray]:
        """Values that each learning rule computes in a sample, last axis: this rank's neurons."""
