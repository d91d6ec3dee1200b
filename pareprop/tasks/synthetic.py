"""Synthetic recordings: scikit-learn's handwritten digits, moved by three saccades before a simulated event sensor.

They replace N-MNIST where its files are missing; figures and output call them synthetic.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .. import elementary, rng
from ..errors import InputError
from ..exchange_formats.n_mnist_reader import SIDE, make_events

SCALE = 3.0  # sensor pixels per pixel of a digit (8 x 8)
CORNERS = np.array([(1.0, 2.0), (4.5, 8.0), (8.0, 2.0), (1.0, 2.0)])  # offsets x, y of the digit: a triangle
STEPS_PER_SACCADE = 100
STEP_US = 336040 / 300  # recordings are as long as the longest one of N-MNIST
THRESHOLD = 0.35  # change of log intensity that causes an event
NOISE = 5e-5  # probability of a noise event per pixel and step


class SyntheticDigits:
    """A split ("train" or "test") of the digits: every fifth digit tests, the others train; `labels` is int64 (n,).

    `seed` is the seed of the sensor's noise.
    """

    def __init__(self, split: str, seed: int) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise InputError("data=synthetic needs scikit-learn: pip install 'pareprop[synthetic]'") from None
        digits = load_digits()
        chosen = (np.arange(len(digits.target)) % 5 == 0) == (split == "test")
        self._images, self.labels = digits.images[chosen] / 16.0, digits.target[chosen].astype(np.int64)
        self._key = rng.make_key(seed, f"sensor/{split}")

    def __len__(self) -> int:
        return len(self.labels)

    def read_events(self, index: int) -> np.ndarray:
        """Return the events of the sensor for one digit."""
        log_intensity = elementary.log(0.1 + self._render_image(self._images[index]))
        reference, crossed = log_intensity[0].copy(), np.empty_like(log_intensity)
        for seen, of_step in zip(log_intensity, crossed, strict=True):
            np.trunc((seen - reference) / THRESHOLD, out=of_step)
            reference += THRESHOLD * of_step
        step, row, column = np.nonzero(crossed)
        events = np.column_stack([SIDE * row + column, crossed[step, row, column] > 0, step])
        place, on, step = self._add_noise(events, index).T
        return make_events((step + 0.25) * STEP_US, place % SIDE, place // SIDE, on)

    @cached_property
    def _interpolation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return matrices (n_steps, SIDE, 8) that map rows, and columns, of the digit to the sensor in every step."""
        steps = np.arange(3 * STEPS_PER_SACCADE) / STEPS_PER_SACCADE
        matrices = []
        for axis in (1, 0):
            offset = elementary.interpolate(steps, np.arange(4), CORNERS[:, axis])
            place = (np.arange(SIDE) - offset[:, None]) / SCALE - 0.5
            matrices.append(np.maximum(0.0, 1.0 - np.abs(place[:, :, None] - np.arange(8))))
        return matrices[0], matrices[1]

    def _render_image(self, image: np.ndarray) -> np.ndarray:
        rows, columns = self._interpolation
        half, seen = np.zeros((len(rows), SIDE, len(image))), np.zeros((len(rows), SIDE, SIDE))
        # without BLAS, whose order of sums depends on the processor
        for k, reached in enumerate(map(_find_reach, np.moveaxis(rows, 2, 0))):
            half[:, reached] += rows[:, reached, k, None] * image[k]
        for k, reached in enumerate(map(_find_reach, np.moveaxis(columns, 2, 0))):
            seen[:, :, reached] += half[:, :, k, None] * columns[:, None, reached, k]
        return seen

    def _add_noise(self, events: np.ndarray, index: int) -> np.ndarray:
        """Add noise events: pixel, polarity and step drawn uniformly."""
        n = round(NOISE * SIDE * SIDE * 3 * STEPS_PER_SACCADE)
        draws = rng.draw_uniform(self._key, [index], 3 * n)[0].reshape(n, 3)
        noise = (draws * (SIDE * SIDE, 2, 3 * STEPS_PER_SACCADE)).astype(np.int64)
        together = np.concatenate([events, noise])
        return together[np.argsort(together[:, 2], kind="stable")]


def _find_reach(shares: np.ndarray) -> slice:
    """Return the range of sensor positions that a row, or a column, of the digit ever reaches."""
    places = np.flatnonzero(shares.any(axis=0))
    return slice(places[0], places[-1] + 1)
