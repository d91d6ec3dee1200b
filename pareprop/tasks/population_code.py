"""Population code: numbers drive groups of input cells with Gaussian tuning; draw their spikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import elementary, rng
from ..errors import InputError
from ..parallel.spike_log import SpikeLog


@dataclass(frozen=True)
class PopulationCode:
    """Each component of an observation drives `cells` (at least 2) cells with centres evenly spread over its range.

    A cell at c spikes in a step with probability peak exp(-(x - c)^2 / (2 w^2)), w = sigma times the distance of the
    centres; values beyond the range `low` to `high` drive the outermost cells, the less the further they lie.
    `InputError` names component and bound.
    """

    low: Sequence[float]
    high: Sequence[float]
    cells: int = 10
    sigma: float = 0.7
    peak: float = 0.2
    _centres: np.ndarray = field(init=False, repr=False, compare=False)
    _factor: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise InputError(f"low has {len(self.low)} values, high {len(self.high)}; they must be equal")
        for k, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise InputError(f"component {k} of the observation: low = {low:g} must be below high = {high:g}")
        if self.cells < 2 or not self.sigma > 0 or not 0 <= self.peak <= 1:
            raise InputError(
                f"cells = {self.cells} must be at least 2, sigma = {self.sigma} above 0, peak = {self.peak} in [0, 1]"
            )
        centres = np.linspace(np.array(self.low, float), np.array(self.high, float), self.cells, axis=1)
        width = self.sigma * (centres[:, 1] - centres[:, 0])
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            factor = -0.5 / np.square(width[:, None])
        if (bad := np.flatnonzero(~(np.isfinite(factor) & (factor < 0)))).size:
            raise InputError(f"component {bad[0]} of the observation: sigma = {self.sigma:g} is too small or too large")
        object.__setattr__(self, "_centres", centres)
        object.__setattr__(self, "_factor", factor)

    @property
    def n_sources(self) -> int:
        """Number of cells."""
        return self.cells * len(self.low)

    def compute_probabilities(self, observation: np.ndarray) -> np.ndarray:
        """Return the probability of a spike per step, float64 (n_sources,), for an observation (n,)."""
        distance = np.asarray(observation, float)[:, None] - self._centres
        return (self.peak * elementary.exp(self._factor * np.square(distance))).ravel()


class EpisodeSpikes:
    """Input spikes of one episode: one uniform number for each source and step, whatever the episode's length.

    `purpose` is the key of the draw, such as "train/3/spikes"; `n_steps` the steps of the longest episode.
    """

    def __init__(self, seed: int, purpose: str, n_sources: int, n_steps: int) -> None:
        self._draws = rng.draw_uniform(rng.make_key(seed, purpose), np.arange(n_sources), n_steps).T.copy()
        self._done = 0

    def draw_spikes(self, probability: np.ndarray, n_steps: int) -> SpikeLog:
        """Return spikes of the next `n_steps` steps for probabilities (n_sources,) or (n_steps, n_sources)."""
        drawn = self._draws[self._done : self._done + n_steps]
        self._done += n_steps
        raster = np.zeros((n_steps, self._draws.shape[1]), bool)
        raster[: len(drawn)] = drawn < (probability if np.ndim(probability) == 1 else probability[: len(drawn)])
        return SpikeLog.from_raster(raster)
