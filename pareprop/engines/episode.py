"""Episodes, as the engine reads them: input spikes at the start, and a reply to every action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..parallel.spike_log import SpikeLog


@dataclass(frozen=True, eq=False)
class Reply:
    """Reply of an environment to an action, in spikes.

    Attributes
    ----------
    spikes : SpikeLog
        Input spikes of the next `period` steps.
    reward : float
        Reward until the next decision.
    terminated : bool
        Whether the episode ended.
    truncated : bool
        Whether a limit of time ended it.
    info : dict of str to float
        Further numbers of the environment, by name.
    observation : np.ndarray
        float64 (n,), the observation that the spikes encode.
    """

    spikes: SpikeLog
    reward: float
    terminated: bool = False
    truncated: bool = False
    info: dict[str, float] = field(default_factory=dict)
    observation: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def from_raster(cls, raster: np.ndarray, reward: float = 0.0, **others) -> Reply:
        """Make a reply of a raster (n_steps, n_inputs), non-zero where an input spikes; `others` are attributes."""
        return cls(SpikeLog.from_raster(raster), reward, **others)


class Episode(Protocol):
    """One episode of a task in closed loop; a function of (seed, phase, index) and the actions."""

    def reset(self) -> Reply:
        """Begin; return the spikes of steps 0 to `first` + `sensor_delay` - 1."""

    def step(self, action: int) -> Reply:
        """Take an action, from 0 on."""
