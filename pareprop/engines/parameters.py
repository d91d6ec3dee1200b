"""Parameters of neurons that learn: their values on this rank, the gradients that reach them, and their optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .. import elementary
from ..arrays import allocate_aligned
from ..network.connectivity import Population
from ..network.local import LocalNetwork, LocalPopulation
from ..network.optimizers import Optimizer
from ..parallel import collectives
from ..parallel.exact_sums import sum_exactly
from ..parallel.mpi import Comm
from .cells import Cells
from .optimized import Optimized
from .state import State

SUMMARY = ("mean", "std", "min", "max", "at_bound")  # statistics of values; at_bound: how many are at a bound


class Parameter(Optimized):
    """A parameter of a population that learns, on this rank, which has `n` neurons, `mine` of the population.

    `start` are the values of these neurons at the start, float64, or one shared value.

    Attributes
    ----------
    value : np.ndarray
        float64, as `moments` (n_neurons,) of this rank with 0 for others, (1,) if shared.
    initial : np.ndarray
        Values at the start of the run, as `values`.
    """

    def __init__(self, population: Population, parameter: str, mine: slice, n: int, start: np.ndarray) -> None:
        size = 1 if population.learn[parameter].shared else n
        super().__init__(population.learn[parameter], size)
        self.population, self.parameter, self.mine = population, parameter, mine
        self.name, self.value, self._n = f"{population.name}.{parameter}", allocate_aligned(size), n
        self.arrays["value"] = self.value
        self.values[:] = start
        self.initial = self.values.copy()
        is_log, low, high = self.optimizer.scale == "log", self.optimizer.low, self.optimizer.high
        bounds = {"Wmin": -math.inf, "Wmax": math.inf} if is_log else {"Wmin": low, "Wmax": high}
        self._rule: Optimizer = self.optimizer.model_copy(update=bounds)

    @property
    def values(self) -> np.ndarray:
        """Present values: of the population's neurons on this rank, or (1,) if shared."""
        return self._select_own(self.value)

    def by_neuron(self) -> np.ndarray:
        """Return the values of this rank's neurons, (n,); 0 for neurons of other populations."""
        if not self.optimizer.shared:
            return self.value
        whole = np.zeros(self._n)
        whole[self.mine] = self.values
        return whole

    def _select_own(self, array: np.ndarray) -> np.ndarray:
        return array if self.optimizer.shared else array[self.mine]

    def step(self, gradient: np.ndarray, divisor: float) -> None:
        """Take one step of the optimizer with `gradient` / `divisor`, as `values`, which is overwritten."""
        self.n_steps += 1
        is_bad = ~np.isfinite(gradient)
        self._change_values(gradient, divisor)
        self.values[is_bad] = np.nan  # bounds would hide it; the next sample ends the run

    def _change_values(self, gradient: np.ndarray, divisor: float) -> None:
        moments = {name: self._select_own(array) for name, array in self.moments.items()}
        if self.optimizer.scale != "log":
            self._rule.step(self.eta, divisor, self.n_steps, gradient, self.values, **moments)
            return
        gradient *= self.values
        change = np.zeros_like(gradient)
        self._rule.step(self.eta, divisor, self.n_steps, gradient, change, **moments)
        self.values[:] = np.clip(self.values * elementary.exp(change), self.optimizer.low, self.optimizer.high)


class Parameters:
    """All parameters that learn, in the order of populations and names; the same ones on all ranks.

    Attributes
    ----------
    items : list of Parameter
        The parameters.
    gradients : list of np.ndarray
        Zeros for each of them, float64 (n,) of the population's neurons on this rank.
    kept : list of np.ndarray or None
        A list to which the gradients of each step are appended, as optimizers take them; None at first.
    """

    def __init__(self, network: LocalNetwork, cells: Cells) -> None:
        self._network, self._cells = network, cells
        self.items: list[Parameter] = []
        self._pieces = {name: piece for name, piece in network.piece_of.items() if piece.population.learn}
        self._slopes: dict[str, np.ndarray] = {}
        self.kept: list[list[np.ndarray]] | None = None
        n = network.neurons[1] - network.neurons[0]
        for population in network.model.of_role("recurrent"):
            piece = self._pieces.get(population.name)
            mine = slice(piece.first, piece.last) if piece else slice(0, 0)
            for name, optimizer in population.learn.items():
                start = piece.values[name] if piece and piece.values else np.zeros(0)
                if optimizer.shared:
                    value = getattr(population.params, name)
                    start = np.ravel(getattr(value, "center", value))[:1]
                self.items.append(Parameter(population, name, mine, n, start))
        self.gradients = [np.zeros(item.mine.stop - item.mine.start) for item in self.items]
        self._update_constants()

    def _update_constants(self) -> None:
        """Recompute the constants of this rank's neurons from the present values."""
        for name, piece in self._pieces.items():
            values = {item.parameter: item.values for item in self.items if item.population.name == name}
            self._slopes[name] = self._network.update_learned(piece, values)
        self._cells.copy_constants(self._pieces.values())

    def get_slopes(self, population: Population) -> np.ndarray:
        """Return derivatives of initial states of a population's neurons here, see `LocalNetwork.update_learned`."""
        return self._slopes[population.name]

    @property
    def pieces(self) -> Iterator[tuple[LocalPopulation, list[int]]]:
        """Pieces whose neurons learn, each with the indices of its parameters in `items`, sorted by name."""
        for name, piece in self._pieces.items():
            yield piece, [place for place, item in enumerate(self.items) if item.population.name == name]

    def collect_gradients(self, adjoint: np.ndarray, into: list[np.ndarray], starts: bool, is_reset: bool) -> None:
        """Add the gradients of an interval, from the last columns of the backward pass (see `neurons.generate`).

        `adjoint` has the shape (n_adjoint, n_neurons), `into` is a list like `gradients`. `starts` says that the run
        starts with the interval, so that neurons may have no current `I_e` in its first step; `is_reset` that neurons
        started from their initial values.
        """
        for piece, places in self.pieces:
            program = piece.program
            own = adjoint[:, self.items[places[0]].mine]
            n_states, has_current = program.n_states, "I_e" in program.learns.names
            first = program.n_adjoint - len(places) - has_current
            for k, place in enumerate(places):
                gradient = own[first + k].astype(float)
                if starts and self.items[place].parameter == "I_e" and program.definition.current_from:
                    gradient -= own[first + len(places)]
                for i in range(n_states if is_reset else 0):
                    gradient += own[i] * self.get_slopes(self.items[place].population)[k, i]
                into[place] += gradient

    def step(self, gradients: list[np.ndarray], divisor: float, comm: Comm) -> None:
        """Collective: step all optimizers with gradients, which are cleared, and set the new values in the neurons."""
        if not self.items:
            return
        sums = [
            sum_exactly(comm, gradient[None]) if item.optimizer.shared else gradient
            for item, gradient in zip(self.items, gradients, strict=True)
        ]
        if self.kept is not None:
            self.kept.append([gradient / divisor for gradient in sums])
        for item, gradient, total in zip(self.items, gradients, sums, strict=True):
            item.step(total, divisor)
            gradient.fill(0.0)
        self._update_constants()

    def add_to(self, state: State) -> None:
        """Add values, moments and counters to a state."""
        for item in self.items:
            kind = state.shared if item.optimizer.shared else state.neurons
            kind.update({f"learned/{item.name}/{name}": array for name, array in item.arrays.items()})
            item.add_counters(state, "parameters")

    def refresh_derived(self) -> None:
        """Set the values that were filled in from a state in the neurons."""
        if self.items:
            self._update_constants()

    @staticmethod
    def summarize_values(comm: Comm, item: Parameter) -> dict[str, float]:
        """Collective: return the statistics `SUMMARY` of the present values, with the same bits on any ranks."""
        values, low, high = item.values, item.optimizer.low, item.optimizer.high
        if item.optimizer.shared:
            comm = None
        at_bound = int(np.count_nonzero((values == low) | (values == high)))
        ends = np.min(values, initial=np.inf), np.max(values, initial=-np.inf), len(values), at_bound
        lows, highs, counts, at_bounds = zip(*collectives.gather_values(comm, ends), strict=True)
        least, most, n = float(min(lows)), float(max(highs)), sum(map(int, counts))
        apart = values - (middle := 0.5 * least + 0.5 * most)
        first, second = sum_exactly(comm, np.stack([apart, apart * apart])) / n
        std = math.sqrt(max(second - first * first, 0.0)) if least < most else 0.0
        return {"mean": middle + first, "std": std, "min": least, "max": most, "at_bound": sum(map(int, at_bounds))}

    def by_neuron(self) -> dict[str, np.ndarray]:
        """Return the values of this rank's neurons, by name of the parameter; 0 for neurons of other populations."""
        return {item.name: item.by_neuron() for item in self.items}

    @staticmethod
    def gather_values(comm: Comm, values: np.ndarray, item: Parameter) -> np.ndarray:
        """Collective: return on rank 0 a copy of the values of all neurons of the population, or of the shared one."""
        if item.optimizer.shared:
            return values.copy()
        return np.concatenate([np.zeros(0), *collectives.send_items_to_root(comm, [values])])

    @property
    def nbytes(self) -> int:
        """Bytes of values and optimizers."""
        return sum(item.nbytes for item in self.items)
