"""Values that learn, with an optimizer, its learning rate, steps and moments."""

from __future__ import annotations

from numpy.typing import DTypeLike

from ..arrays import allocate_aligned
from ..network.optimizers import Optimizer
from .state import State


class Optimized:
    """Values that an optimizer changes: the weights or delays of a projection, a parameter of a population.

    Attributes
    ----------
    name : str
        Name by which learning rates are set.
    optimizer : Optimizer
        Settings of the optimizer.
    eta : float
        Learning rate, which may be changed between samples; the optimizer's at first.
    n_steps : int
        Steps of the optimizer so far.
    moments : dict
        Name to (size,), see `Optimizer.moments`.
    arrays : dict
        Arrays that a checkpoint saves only for learning: moments and the arrays of a subclass, by name.
    """

    name: str

    def __init__(self, optimizer: Optimizer, size: int, dtype: DTypeLike = float) -> None:
        self.optimizer, self.eta, self.n_steps = optimizer, optimizer.eta, 0
        self.moments = {name: allocate_aligned(size, dtype) for name in optimizer.moments}
        self.arrays = dict(self.moments)

    def add_counters(self, state: State, kind: str) -> None:
        """Add learning rate and steps to a state."""
        state.add_numbers(self, "eta", "n_steps", path=(kind, self.name))

    @property
    def nbytes(self) -> int:
        """Bytes of `arrays`."""
        return sum(array.nbytes for array in self.arrays.values())
