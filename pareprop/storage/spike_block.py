"""Buffer of recorded spikes, which all ranks hold, and write in equal parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..parallel.partition import find_block, find_overlap
from ..parallel.spike_log import SpikeLog


class SpikeBlock:
    """Spikes of consecutive samples. Every rank holds all of them, and writes an equal part.

    The spikes of a flush are thus sorted by sample, step and id over all ranks, for any number of ranks. Samples have
    `n_steps` steps; `kinds` are the NumPy types of iterations, steps and ids.

    Attributes
    ----------
    count : int
        Number of spikes.
    nbytes : int
        Bytes held.
    """

    def __init__(self, n_steps: int, kinds: Sequence[str]) -> None:
        self.n_steps, self.kinds = n_steps, kinds
        self.drop_spikes()

    def drop_spikes(self) -> None:
        """Drop all spikes."""
        self._samples: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.count = self.nbytes = 0

    def add_spikes(self, iteration: int, log: SpikeLog) -> None:
        """Copy the spikes of a sample."""
        ptr = log.ptr[: self.n_steps + 1].copy()
        ids = log.ids[: ptr[-1]].astype(self.kinds[2])
        self._samples.append((iteration, ptr, ids))
        self.count += len(ids)
        self.nbytes += ids.nbytes + ptr.nbytes

    def part_of(self, rank: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield iterations, steps and ids of the spikes that `rank` writes, sample by sample."""
        steps = np.arange(self.n_steps, dtype=self.kinds[1])
        low, high = find_block(self.count, size, rank)
        place = 0
        for iteration, ptr, ids in self._samples:
            first, last = (k - place for k in find_overlap(place, place + len(ids), low, high))
            place += len(ids)
            if first < last:
                counts = np.diff(np.clip(ptr, first, last))
                yield np.full(last - first, iteration, self.kinds[0]), np.repeat(steps, counts), ids[first:last]
