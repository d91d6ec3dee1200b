"""Recordings of an event camera as spikes of its pixels, and the order in which phases take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..exchange_formats.n_mnist_reader import SIDE, Recordings
from ..parallel.spike_log import SpikeLog
from .draws import draw_permutation
from .synthetic import SyntheticDigits

LONGEST_US = 336040  # longest recording of N-MNIST
KEPT = 2000  # spikes of at most this many recordings stay in memory, about 20 kB each
N_PIXELS = 2 * SIDE * SIDE


class SampleOrders:
    """Orders of the recordings of each phase: a new one for each epoch of training, with `seed`.

    `n_train` and `n_test` are numbers of recordings; `hold_out` training recordings validate.

    Attributes
    ----------
    sizes : dict of str to int
        Number of recordings of each phase.
    """

    def __init__(self, seed: int, n_train: int, n_test: int, hold_out: int) -> None:
        self.seed, self._latest = seed, (-1, np.zeros(0, np.int64))
        self._held_out, self._others = np.split(draw_permutation(seed, "order/hold-out", 0, n_train), [hold_out])
        self._test = draw_permutation(seed, "order/test", 0, n_test)
        self.sizes = {"train": len(self._others), "validate": len(self._held_out), "test": n_test}

    def find_order(self, phase: str, epoch: int) -> np.ndarray:
        """Return the recordings of a phase, in the order of an epoch if it trains."""
        if phase != "train":
            return self._test if phase == "test" else self._held_out
        if self._latest[0] != epoch:
            self._latest = epoch, self._others[draw_permutation(self.seed, "order/train", epoch, len(self._others))]
        return self._latest[1]


class PixelSpikes:
    """Spikes of recordings, one input neuron for each used pixel.

    `splits` are the recordings that train, and the ones that test; `pixels` are the used pixels, sorted, see
    `index_pixels`. A recording has `n_step` steps.
    """

    def __init__(self, splits: Sequence[Recordings | SyntheticDigits], pixels: np.ndarray, n_step: int) -> None:
        self.splits, self.pixels, self.n_step = splits, pixels, n_step
        self._kept: dict[tuple[int, int], SpikeLog | None] = {}

    def locate_pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, column and polarity of each used pixel."""
        on, place = np.divmod(self.pixels, SIDE * SIDE)
        return place // SIDE, place % SIDE, on

    def read_spikes(self, split: int, chosen: int) -> SpikeLog | None:
        """Return the spikes of a recording, None if it is damaged; the first `KEPT` recordings stay in memory."""
        if (split, chosen) in self._kept:
            return self._kept[split, chosen]
        events = self.splits[split].read_events(chosen)
        spikes = None if events is None else self._convert_events(events)
        if len(self._kept) < KEPT:
            self._kept[split, chosen] = spikes
        return spikes

    def _convert_events(self, events: np.ndarray) -> SpikeLog:
        """Return one spike for each pixel and step with events; the first step stays silent, as in all tasks."""
        step = np.rint(events["t"] * (self.n_step / LONGEST_US)).astype(np.int64)
        source, is_used = self._locate_sources(index_pixels(events))
        kept = is_used & (step > 0) & (step < self.n_step)
        codes = np.unique(step[kept] * len(self.pixels) + source[kept])
        return SpikeLog.from_spikes(*np.divmod(codes, len(self.pixels)), self.n_step)

    def _locate_sources(self, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the input neuron of each pixel, and whether it has one."""
        source = np.minimum(np.searchsorted(self.pixels, pixel), len(self.pixels) - 1)
        return source, self.pixels[source] == pixel

    def shift_spikes(self, spikes: SpikeLog, down: int, right: int) -> SpikeLog:
        """Return spikes moved along rows and columns; those outside the used pixels are dropped."""
        row, column, on = self.locate_pixels()
        row, column = row + down, column + right
        source, is_used = self._locate_sources((on * SIDE + row) * SIDE + column)
        inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE) & is_used
        steps, ids = spikes.list_spikes(self.n_step)
        kept = inside[ids]
        return SpikeLog.from_spikes(steps[kept], source[ids[kept]], self.n_step)


def index_pixels(events: np.ndarray) -> np.ndarray:
    """Return the pixel of each event: (polarity * SIDE + row) * SIDE + column."""
    return (events["p"] * SIDE + events["y"]) * SIDE + events["x"]
