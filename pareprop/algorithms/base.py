"""Base class of the ways of learning: orders of evaluation of gradients, each with kernels of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .request import Request


@dataclass(frozen=True)
class Cost:
    """Cost of learning, in plain arrivals: those of spikes at synapses that learn by `prefix`.

    Attributes
    ----------
    arrival : float
        Cost of an arrival.
    step : float
        Cost of each time step in which a synapse is followed.
    """

    arrival: float = 1.0
    step: float = 0.0


class Way(ABC):
    """A way of learning: an order in which gradients of synapses are evaluated.

    Attributes
    ----------
    name : str
        Name in arguments and messages.
    mode : int
        Number in kernels, see `layout.pxd`.
    """

    name: ClassVar[str]
    mode: ClassVar[int]

    @abstractmethod
    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""

    def numbers(self, request: Request) -> set[str]:
        """Return the names of the numbers that a synapse keeps beside weight, optimizer and traces of equations."""
        return set()

    def mode_of(self, request: Request) -> int:
        """Return the number of the way in kernels, for a projection."""
        return self.mode

    def takes_each_step(self, request: Request) -> bool:
        """Return whether synapses go through the time steps between two arrivals one by one."""
        return False

    def cost(self, request: Request) -> Cost:
        """Return the cost of learning of the projection's synapses."""
        return Cost()


class OntoNeurons(Way):
    """A way of projections onto neurons that learn.

    Attributes
    ----------
    keeps_traces : bool
        Whether synapses keep traces themselves, not sums of them.
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
        kept = {"C": True, "Y": True, "Y2": request.filters_apart, "h": request.model.is_rewarded}
        kept["zbar"] = self.keeps_traces and request.own_zbar and request.definition is None
        kept["eps"] = self.keeps_traces and request.adapts
        return {name for name, needed in kept.items() if needed}
