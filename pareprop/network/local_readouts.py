"""Describe local readouts: each neuron has one of its own, on the neuron's rank."""

from __future__ import annotations

from pydantic import Field

from .. import elementary
from ..errors import quote
from .parameters import Frozen


class LocalReadouts(Frozen):
    """One readout per neuron, with an error signal back to that neuron alone.

    Its signal is `weight` times the neuron's spikes, filtered by `tau_m`; with 1 000 and irregular arrival that is the
    neuron's firing rate in Hz. Weights are fixed.

    Attributes
    ----------
    name : str
        Name of the group of readouts.
    of : tuple of str
        Names of populations of neurons.
    tau_m : float
        Time constant in ms.
    weight : float
        Weight from a neuron to its readout.
    feedback : float
        Weight from a readout to its neuron.
    regular_spike_arrival : bool
        Whether a spike adds `weight`, not `weight` (1 - exp(-dt / tau_m)).
    """

    name: str
    of: tuple[str, ...]
    tau_m: float = Field(100.0, gt=0)
    weight: float = 1000.0
    feedback: float = 1e-3
    regular_spike_arrival: bool = False

    def constants(self, dt_ms: float) -> tuple[float, float]:
        """Return the decay per step, and the jump of the signal at a spike."""
        alpha = elementary.exp(-dt_ms / self.tau_m)
        return alpha, self.weight * (1.0 if self.regular_spike_arrival else 1.0 - alpha)


def names(of: object) -> tuple[str, ...]:
    """Return the names of one population or of several, given by themselves or by name."""
    populations = of if isinstance(of, list | tuple) else [of]
    return tuple(item if isinstance(item, str) else getattr(item, "name", quote(item)) for item in populations)
