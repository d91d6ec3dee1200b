"""Firing rates of the populations over the training, for tasks that have reference rates."""

from __future__ import annotations

import numpy as np

from ..later import h5py
from ..simulation.observer import Observer, Outcome, Watched
from ..storage.self_description import name_axes
from ..values import Values

NAME = "population_rate"  # dataset of the results


class PopulationRates(Observer):
    """Keeps the mean rate of each population of neurons in each training iteration; with replicas, of the first group.

    Attributes
    ----------
    rates : list of np.ndarray
        float64 (n_populations,) in Hz, of each iteration; on rank 0 alone.
    """

    everywhere = False  # the first sample of a batch runs in the first group
    movable = True

    def __init__(self) -> None:
        self.rates: list[np.ndarray] = []
        self._samples: list[np.ndarray] = []

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Count the spikes of a training sample."""
        if outcome.phase != "train" or simulation.exchange.rank:  # others do not have all spikes
            return
        self._samples.append(simulation.engine.population_rates())

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Keep the mean of the batch."""
        if self._samples:
            self.rates.append(np.mean(self._samples, axis=0))
        self._samples = []

    def state(self, simulation: Watched) -> Values:
        """Return the rates so far."""
        return {"rates": np.array(self.rates, float)}

    def load_state(self, state: Values) -> None:
        """Restore the rates."""
        self.rates = list(np.asarray(state["rates"], float))

    def write(self, file: h5py.File) -> None:
        """Add the rates to the results, float64 (n_iterations, n_populations)."""
        if self.rates:
            file[NAME] = np.array(self.rates)
            name_axes(file, NAME, ("iteration", "population"), "Hz")
