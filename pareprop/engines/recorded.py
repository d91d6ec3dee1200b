"""Dynamics of recorded neurons: the neurons, the values that are recorded in a sample, and their names."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..network.local import LocalNetwork, is_custom_model
from ..network.model import Model, equations_of
from ..neurons.language import evaluate_tree
from ..values import Values

# quantities of neurons that can be recorded, the attributes of `Recorded`, and their units
RECORDED_UNITS = {"V_m": "mV", "adaptation": "1", "surrogate_gradient": "1/mV", "learning_signal": "1"}


@dataclass
class Recorded:
    """Dynamics of this rank's recorded neurons in one sample.

    Attributes
    ----------
    record : np.ndarray
        int64 (n,), ids of the neurons.
    V_m : np.ndarray
        (n_steps, n), membrane voltage in mV.
    adaptation : np.ndarray
        (n_steps, n), adaptation variable.
    surrogate_gradient : np.ndarray
        (n_steps, n), in 1/mV.
    learning_signal : np.ndarray
        (n_steps, n), learning signals, summed over the readouts of all ranks.
    states : dict
        Name to (n_steps, n), states and `records` of models given by equations; NaN where a neuron has none of that
        name. All names of the network, on any rank.
    kept : np.ndarray
        (1 + n_steps, n_kept, n), values of each step that derivatives of such models need, from the step before the
        sample on; no columns unless `Dynamics.keeps_derivatives`.
    """

    record: np.ndarray
    V_m: np.ndarray
    adaptation: np.ndarray
    surrogate_gradient: np.ndarray
    learning_signal: np.ndarray
    states: dict[str, np.ndarray] = field(default_factory=dict)
    kept: np.ndarray = field(default_factory=lambda: np.zeros((1, 0, 0)))


def recorded_states(model: Model) -> dict[str, str]:
    """Return names and units of all states and `records` of a network's models given by equations."""
    units_of_states: dict[str, str] = {}
    for definition in equations_of(model).values():
        units = {name: definition.units[name] for name in definition.states} | dict.fromkeys(definition.records, "")
        units_of_states = units | units_of_states
    return units_of_states


class Dynamics:
    """Arrays in which kernels record neurons of this rank during a sample of `n_steps` steps.

    Attributes
    ----------
    ids : np.ndarray
        int64 (n,), ids of the neurons.
    keeps_derivatives : bool
        Whether `Recorded.kept` is recorded, too; set before `choose_neurons`.
    """

    def __init__(self, network: LocalNetwork, n_steps: int) -> None:
        self._network, self._n_steps, self.keeps_derivatives = network, n_steps, False
        self.choose_neurons(np.zeros(0, np.int64))

    @property
    def local(self) -> np.ndarray:
        """The neurons, counted from the first one of this rank."""
        return self.ids - self._network.neurons[0]

    def choose_neurons(self, ids: np.ndarray) -> None:
        """Record this rank's neurons among `ids`, int64 (n,), in the samples that follow."""
        (first, last), widths = self._network.neurons, self._network.widths
        self.ids = ids[(ids >= first) & (ids < last)]
        n = len(self.ids)
        self._tracks = [np.zeros((self._n_steps, n)) for _ in range(3)]
        self._states = np.zeros((widths["states"], self._n_steps, n))
        self._kept = np.zeros((1 + self._n_steps, widths["kept"] if self.keeps_derivatives else 0, n))

    def for_kernel(self) -> Values:
        """Return the arrays that kernels fill."""
        tracks = dict(zip(("V_m", "adaptation", "psi"), self._tracks, strict=True))
        return {"local": self.local, "state": self._states, "kept": self._kept} | tracks

    def get_tracks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return voltage from E_L, adaptation and surrogate gradient of the last or present sample, (n_steps, n)."""
        V_m, adaptation, psi = self._tracks
        return self._with_equations(V_m, self._name_states(self._n_steps)), adaptation, psi

    def take_sample(self, signal: np.ndarray) -> Recorded:
        """Return the record of the last sample, with the learning signals (n_steps, n)."""
        n_steps = len(signal)
        V_m, adaptation, psi = (track[:n_steps].copy() for track in self._tracks)
        V_m += self._network.cells["E_L"][self.local]
        states = self._name_states(n_steps)
        kept = self._kept[: 1 + n_steps].copy()
        return Recorded(self.ids, self._with_equations(V_m, states), adaptation, psi, signal, states, kept)

    def _with_equations(self, V_m: np.ndarray, states: dict[str, np.ndarray]) -> np.ndarray:
        """Return voltages, with the `V_m` of custom models, which kernels do not shift by E_L."""
        return np.where(np.isnan(states["V_m"]), V_m, states["V_m"]) if "V_m" in states else V_m

    def _name_states(self, n_steps: int) -> dict[str, np.ndarray]:
        """Return the states of neurons whose model is given by equations, by name, and their `records`."""
        names, local = recorded_states(self._network.model), self.local
        states = {name: np.full((n_steps, len(local)), np.nan) for name in names}
        for piece in self._network.pieces:
            chosen, program = np.flatnonzero((local >= piece.first) & (local < piece.last)), piece.program
            if not len(chosen) or not is_custom_model(piece.population):
                continue
            tracks = {name: self._states[k, :n_steps, chosen].T for k, name in enumerate(program.definition.states)}
            if program.definition.records:
                values = self._network.get_parameters(piece, local[chosen])
                constants = program.compute_values(values, self._network.model.dt_ms) | tracks
                trees = program.definition.records
                tracks |= {name: evaluate_tree(tree, constants) for name, tree in trees.items()}
            for name, track in tracks.items():
                states[name][:, chosen] = track
        return states
