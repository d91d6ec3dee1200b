"""Describe local readouts: one readout for each neuron, on the neuron's rank."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from .. import elementary
from ..errors import quote
from .parameters import Frozen
from .trajectory_losses import TRAJECTORY_LOSSES, TrajectoryLoss


class LocalReadouts(Frozen):
    """One readout per neuron, with an error signal back to that neuron alone.

    Its signal is `weight` times the neuron's spikes, filtered by `tau_m`; with a weight of 1 000 and irregular arrival
    it is the neuron's firing rate in Hz. With `tau_rise` it rises and decays like calcium fluorescence. Weights are
    fixed.

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
    tau_rise : float
        Time constant in ms of a second low-pass filter, 0 for none.
    loss : str
        Loss of a neuron: mean_squared_error, or correlation, which is 1 - r.
    trials : int
        Trials in the steps with a learning signal; the loss is computed from the mean over trials.
    """

    name: str
    of: tuple[str, ...]
    tau_m: float = Field(100.0, gt=0)
    weight: float = 1000.0
    feedback: float = 1e-3
    regular_spike_arrival: bool = False
    tau_rise: float = Field(0.0, ge=0)
    loss: Literal["mean_squared_error", "correlation"] = "mean_squared_error"
    trials: int = Field(1, ge=1)

    def compute_constants(self, dt_ms: float) -> tuple[float, float]:
        """Return the decay per step, and the jump of the signal at a spike."""
        alpha = elementary.exp(-dt_ms / self.tau_m)
        return alpha, self.weight * (1.0 if self.regular_spike_arrival else 1.0 - alpha)

    def make_trajectory_loss(self) -> TrajectoryLoss | None:
        """Return the loss of a whole trajectory; None if the loss is a sum over steps, which a kernel computes."""
        if self.loss == "mean_squared_error" and self.trials == 1 and not self.tau_rise:
            return None
        return TRAJECTORY_LOSSES[self.loss](self.trials)

    def filter_low_pass(self, values: np.ndarray, dt_ms: float, backward: bool = False) -> np.ndarray:
        """Return values (n_steps, n) filtered by `tau_rise`; with `backward` by the transpose, for errors."""
        if not self.tau_rise:
            return values
        keep = elementary.exp(-dt_ms / self.tau_rise)
        return accumulate_steps((1.0 - keep) * values, keep, backward)


def accumulate_steps(values: np.ndarray, keep: float, backward: bool = False) -> np.ndarray:
    """Add to each step of `values` (n_steps, n) `keep` times the result of the previous step (`backward`: the next)."""
    steps = values[::-1] if backward else values
    for t in range(1, len(steps)):
        steps[t] += keep * steps[t - 1]
    return values


def list_names(of: object) -> tuple[str, ...]:
    """Return the names of one population or of several, given as objects or by name."""
    populations = of if isinstance(of, list | tuple) else [of]
    return tuple(item if isinstance(item, str) else getattr(item, "name", quote(item)) for item in populations)
