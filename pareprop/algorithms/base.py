"""Base class of algorithms: each evaluates gradients in its own order, with its own kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from ..arrays import Array
from ..kernels import layout
from ..values import Values
from .request import Request


@dataclass(frozen=True)
class Cost:
    """Cost of learning, in plain arrivals: arrivals of spikes at synapses that learn by `prefix`.

    Attributes
    ----------
    arrival : float
        Cost of an arrival.
    step : float
        Cost of each time step in which a synapse is followed.
    """

    arrival: float = 1.0
    step: float = 0.0


class Struct(ABC):
    """Arrays of an algorithm on a rank: a struct of the kernels, which the algorithm's folder declares.

    Attributes
    ----------
    name, kind : str
        Attribute of the kernel that holds the struct, and the kernel's class of it.
    arrays : list of Array
        All that it keeps.
    n_steps : int
        Steps of histories of neurons in other forms than rings; 0 if none.
    block_steps : int
        Steps of its blocks, if checkpoints depend on them; else 0.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    arrays: list[Array]
    n_steps = 0
    block_steps = 0

    @abstractmethod
    def kernel(self) -> Values:
        """Return the values of the struct by name."""


Structs = tuple[type[Any], ...]  # classes of `Struct`; Any: of neurons and of tables are built from other arguments


class Algorithm(ABC):
    """An algorithm: an order in which gradients of synapses are evaluated.

    Attributes
    ----------
    name : str
        Name in arguments and messages, and of its folders.
    learns : bool
        Whether weights learn.
    reads_maps : bool
        Whether synapses read composed maps of steps of their targets.
    follows_neurons : bool
        Whether synapses follow derivatives of their targets step by step.
    structs, table_structs : tuple of type
        Classes of `Struct`: arrays of neurons and readouts, and of synapses and rows of a table.
    """

    name: ClassVar[str]
    learns: ClassVar[bool] = True
    reads_maps: ClassVar[bool] = False
    follows_neurons: ClassVar[bool] = False
    structs: ClassVar[Structs] = ()
    table_structs: ClassVar[Structs] = ()

    @abstractmethod
    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""

    def numbers(self, request: Request) -> set[str]:
        """Return the names of the numbers of a synapse, without weight, moments and traces of custom models."""
        return set()

    def code_of(self, request: Request) -> int:
        """Return the number of the algorithm in kernels, for a projection; see `layout.pxd`."""
        return int(getattr(layout, self.name.upper()))

    def takes_each_step(self, request: Request) -> bool:
        """Return whether synapses go through the time steps between two arrivals one by one."""
        return False

    def takes_each_optimizer_step(self, request: Request) -> bool:
        """Return whether the optimizer steps in each time step, if it is asked to; else at arrivals."""
        return False

    def kept_steps(self, cutoff: int) -> int:
        """Return the steps of history that targets keep, if arrivals teach for up to `cutoff` steps."""
        return 1

    def cost(self, request: Request) -> Cost:
        """Return the cost of learning of the projection's synapses."""
        return Cost()


class OntoNeurons(Algorithm):
    """An algorithm of projections onto neurons that learn.

    Attributes
    ----------
    keeps_traces : bool
        Whether synapses keep traces themselves, not sums of them.
    """

    keeps_traces: ClassVar[bool] = True

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        if not request.projection.plastic:
            return "its weights are fixed"
        if request.equations:
            return f"it learns by rule '{request.equations.name}'"
        return "its targets are readouts" if request.post.role == "readout" else None

    def numbers(self, request: Request) -> set[str]:
        """Return the names of the numbers of a synapse, see `Algorithm.numbers`."""
        kept = {"C": True, "Y": True, "Y2": request.filters_apart, "h": request.model.is_rewarded}
        kept["zbar"] = self.keeps_traces and request.own_zbar and request.definition is None
        kept["eps"] = self.keeps_traces and request.adapts
        return {name for name, needed in kept.items() if needed}
