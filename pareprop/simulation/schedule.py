"""Learning rates that change while a network learns."""

from __future__ import annotations

from collections.abc import Callable

from .loop import Simulation
from .observer import Observer


class LearningRate(Observer):
    """Sets the learning rate before each iteration. It needs no state: a resumed run goes on where it was.

    Parameters
    ----------
    eta : callable
        Number of an iteration, from 0, to the learning rate in it.
    projection : str or None
        Name of a projection; None: all that learn.

    Examples
    --------
    >>> LearningRate(lambda iteration: 5e-3 * 0.5 ** (iteration // 100), "rec->out")
    """

    def __init__(self, eta: Callable[[int], float], projection: str | None = None) -> None:
        self.eta, self.projection = eta, projection

    def start(self, simulation: Simulation) -> None:
        """Set the rate of the first iteration."""
        simulation.set_eta(self.eta(simulation.iteration), self.projection)

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        """Set the rate of the next iteration."""
        simulation.set_eta(self.eta(iteration + 1), self.projection)
