"""Schedules: observers that change learning rates and the entropy bonus while a network learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .. import elementary
from ..errors import InputError, quote
from .observer import Observer, Watched


class LearningRate(Observer):
    """Sets the learning rate before each iteration. It needs no state: a resumed run continues with the same rates.

    Parameters
    ----------
    eta : callable
        Function of the number of an iteration, from 0, that returns its learning rate.
    projection : str or None
        Name of a projection; None: all that learn.

    Raises
    ------
    InputError
        If `eta` is not a function, or `projection` no text.

    Examples
    --------
    >>> LearningRate(lambda iteration: 5e-3 * 0.5 ** (iteration // 100), "rec->out")
    """

    movable = True

    def __init__(self, eta: Callable[[int], float], projection: str | None = None) -> None:
        if not callable(eta):
            raise InputError(f"LearningRate: eta = {quote(eta)} must be a function of the iteration, from 0")
        if projection is not None and not isinstance(projection, str):
            raise InputError(f"LearningRate: projection = {quote(projection)} must be the name of a projection")
        self.eta, self.projection = eta, projection

    def start(self, simulation: Watched) -> None:
        """Set the rate of the first iteration."""
        simulation.set_eta(self.eta(simulation.iteration), self.projection)

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Set the rate of the next iteration."""
        simulation.set_eta(self.eta(iteration + 1), self.projection)


class Annealing(Observer):
    """Moves settings from a first to a last value: sets them before each iteration. Keeps no state, as `LearningRate`.

    Parameters
    ----------
    kind : str
        "constant", "linear", "exponential" or "cosine".
    n_iterations : int
        Iterations from the first to the last value, which then stays.
    ends : Mapping
        "eta" or "c_H" to its first and last value. Learning rates of projections keep their ratios; the bonus is that
        of the loss `Reward`.
    """

    movable = True

    def __init__(self, kind: str, n_iterations: int, ends: Mapping[str, tuple[float, float]]) -> None:
        self.kind, self.n_iterations = kind, n_iterations
        self.ends = {} if kind == "constant" else dict(ends)

    def compute_rates(self, iteration: int) -> dict[str, float]:
        """Return the values in iteration `iteration`, from 0, by name; {} if all are constant."""
        done = min(iteration / max(self.n_iterations, 1), 1.0)
        return {name: self._interpolate_rate(first, last, done) for name, (first, last) in self.ends.items()}

    def _interpolate_rate(self, first: float, last: float, done: float) -> float:
        if self.kind == "exponential":
            return first * elementary.exp(done * elementary.log(last / first))
        share = 0.5 - 0.5 * elementary.cos(math.pi * done) if self.kind == "cosine" else done
        return (1.0 - share) * first + share * last

    def start(self, simulation: Watched) -> None:
        """Set the values of the first iteration."""
        self._set_rates(simulation, simulation.iteration)

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Set the values of the next iteration."""
        self._set_rates(simulation, iteration + 1)

    def _set_rates(self, simulation: Watched, iteration: int) -> None:
        values = self.compute_rates(iteration)
        for item in simulation.engine.plastic if "eta" in values else ():
            simulation.set_eta(item.optimizer.eta * (values["eta"] / self.ends["eta"][0]), item.name)
        if "c_H" in values:
            simulation.set_c_H(values["c_H"])
