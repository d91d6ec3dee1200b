"""Firing rates of the populations over the training, for tasks with reference rates; populations without spikes."""

from __future__ import annotations

import numpy as np

from ..engines.firing import find_rates, find_spiked
from ..later import h5py
from ..simulation.observer import Observer, Outcome, Watched
from ..storage.self_description import name_axes
from ..values import Values

NAME = "population_rate"  # dataset of the results
SHOWN = 20  # names of populations in a line


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
        self._samples.append(find_rates(simulation.engine))

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


class SilentPopulations(Observer):
    """Keeps which populations of neurons have spiked in the training, in any group of ranks.

    Attributes
    ----------
    silent : list of str
        Populations that have not spiked in the iterations so far; the same on all ranks.
    """

    checkpoint_name = "Spiked"
    movable = True

    def __init__(self) -> None:
        self.silent: list[str] = []
        self._found: np.ndarray | None = None  # bool (n_populations,); None before the first `start`

    def start(self, simulation: Watched) -> None:
        """Begin; after a restart without a state of this observer all populations count as spiked."""
        if self._found is None:
            self._found = np.full(len(simulation.model.of_role("recurrent")), simulation.iteration > 0)

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Look for spikes of populations that had none; the first rank of each group has all spikes."""
        assert self._found is not None
        if outcome.phase == "train" and not simulation.exchange.rank and not self._found.all():
            self._found |= find_spiked(simulation.engine)

    def list_requests(self, simulation: Watched) -> list[bool]:
        """Return which populations have spiked, for the other ranks."""
        return [] if self._found is None else self._found.tolist()

    def handle_requests(self, simulation: Watched, asked: list[bool]) -> None:
        """Add the populations that spiked on any rank."""
        self._found = np.array(asked, bool)
        groups = simulation.model.of_role("recurrent")
        self.silent = [group.name for group, spiked in zip(groups, asked, strict=True) if not spiked]

    def format_lines(self) -> list[str]:
        """Return a line on the populations that never spiked, if there are any."""
        more = [f"{len(self.silent) - SHOWN} more"] if len(self.silent) > SHOWN else []
        return [f"never spiked: {', '.join(self.silent[:SHOWN] + more)}"] if self.silent else []

    def state(self, simulation: Watched) -> Values:
        """Return which populations have spiked."""
        return {"spiked": self.list_requests(simulation)}

    def load_state(self, state: Values) -> None:
        """Restore which populations have spiked."""
        self._found = np.array(state["spiked"], bool)
