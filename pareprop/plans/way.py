"""A way of learning: an order in which gradients of synapses are evaluated, by kernels of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .request import Reason, Request, filters_apart


@dataclass(frozen=True)
class Cost:
    """What learning takes, in arrivals of spikes at synapses that learn by `prefix`.

    Attributes
    ----------
    arrival : float
        An arrival.
    step : float
        Each time step in which a synapse is followed.
    """

    arrival: float = 1.0
    step: float = 0.0


class Way(ABC):
    """A way of learning.

    Attributes
    ----------
    name : str
        What arguments and messages call it.
    mode : int
        What kernels call it, see `layout.pxd`.
    """

    name: ClassVar[str]
    mode: ClassVar[int]

    @abstractmethod
    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""

    def numbers(self, request: Request) -> set[str]:
        """Return the names of what a synapse keeps beside its weight, its optimizer and traces of equations."""
        return set()

    def mode_of(self, request: Request) -> int:
        """Return what kernels call the way of a projection."""
        return self.mode

    def cost(self, request: Request) -> Cost:
        """Return what it takes."""
        return Cost()

    def why_slow(self, request: Request, neurons: float) -> Reason | None:
        """Return why an arrival takes over five times the usual, and the way out, on a rank with so many neurons.

        None if arrivals are as fast as elsewhere.
        """
        return None


class OntoNeurons(Way):
    """A way of projections onto neurons that learn.

    Attributes
    ----------
    keeps_traces : bool
        Whether synapses keep traces as they are, not sums of them.
    """

    keeps_traces: ClassVar[bool] = True

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""
        if not request.projection.plastic:
            return "its weights are fixed"
        if request.equations:
            return f"it learns by rule '{request.equations.name}'"
        return "its targets are readouts" if request.post.role == "readout" else None

    def numbers(self, request: Request) -> set[str]:
        """Return the names of what a synapse keeps, see `Way.numbers`."""
        kept = {"C": True, "Y": True, "Y2": filters_apart(request.model), "h": request.model.is_rewarded}
        kept["zbar"] = self.keeps_traces and request.own_zbar and request.definition is None
        kept["eps"] = self.keeps_traces and request.adapts
        return {name for name, needed in kept.items() if needed}
