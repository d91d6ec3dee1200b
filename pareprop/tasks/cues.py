"""Trials with cues on two sides (Bellec et al. 2020, figure 3): draw cues, and the spike probabilities of inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import rng

GROUPS = ("left", "right", "recall", "noise")


class CueTrials:
    """Cues, pause and recall, times in steps.

    A subclass sets `seed`, `n_cues`, `spacing`, `cue`, `pause`, `recall` and `spike_probability`.
    """

    if TYPE_CHECKING:  # without a value here: each subclass declares them as settings
        seed: int
        n_cues: int
        spacing: int
        cue: int
        pause: int
        recall: int
        spike_probability: float

    @property
    def n_steps(self) -> int:
        """Steps of one trial."""
        return self.n_cues * (self.spacing + self.cue) + self.pause + self.recall

    def draw_cues(self, index: int, phase: str, on_side: float) -> tuple[np.ndarray, int]:
        """Draw a side, and cues that are on it with probability `on_side`; left is 0, right 1.

        Returns the side of each cue, int64 (n_cues,), and the side with more cues.
        """
        draws = rng.draw_uniform(rng.make_key(self.seed, f"{phase}/cues"), [index], 1 + self.n_cues)[0]
        side = int(draws[0] >= 0.5)
        cues = np.where(draws[1:] < on_side, side, 1 - side)
        return cues, int(2 * np.count_nonzero(cues) > self.n_cues)

    def compute_spike_probabilities(self, cues: np.ndarray) -> np.ndarray:
        """Return the probability of a spike per step, float64 (n_steps, n_groups); noise has a quarter of the cues'."""
        active = np.zeros((self.n_steps, len(GROUPS)))
        for number, cue in enumerate(cues):
            first = number * (self.spacing + self.cue) + self.spacing
            active[first : first + self.cue, cue] = self.spike_probability
        active[-self.recall :, 2] = self.spike_probability
        active[:, 3] = self.spike_probability / 4.0
        return active
