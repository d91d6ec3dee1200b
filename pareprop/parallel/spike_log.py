"""The spike log: for every step the ids that spiked, ascending. All that ranks share follows from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError, quote
from ..kernels import spike_log as kernel
from .mpi import Comm


class _Steps:
    """Methods of all spike logs, in private or shared memory."""

    ids: np.ndarray
    ptr: np.ndarray
    reserve: Callable[[int], None]

    def __reduce__(self) -> tuple:
        """Pickle the spikes, not the room for more."""
        return SpikeLog.from_arrays, (self.ids[: self.ptr.max()], self.ptr)

    def slice_steps(self, first: int, last: int) -> SpikeLog:
        """Return steps [first, last); the ids are not copied."""
        ptr = self.ptr[first : last + 1]
        return SpikeLog.from_arrays(self.ids[ptr[0] : ptr[-1]], ptr - ptr[0])

    def drop_steps(self, n_steps: int, filled: int) -> None:
        """Drop the first `n_steps` of `filled` steps and move the others to the front."""
        start, stop = self.ptr[n_steps], self.ptr[filled]
        self.ids[: stop - start] = self.ids[start:stop].copy()
        self.ptr[: filled - n_steps + 1] = self.ptr[n_steps : filled + 1] - start

    def append_steps(self, filled: int, other: SpikeLog, n_steps: int) -> None:
        """Write the first `n_steps` steps of `other` behind the first `filled` steps."""
        place, n = int(self.ptr[filled]), int(other.ptr[n_steps])
        self.reserve(place + n)
        self.ids[place : place + n] = other.ids[:n]
        self.ptr[filled : filled + n_steps + 1] = other.ptr[: n_steps + 1] + place

    def load(self, other: SpikeLog, n_steps: int) -> None:
        """Start with the first `n_steps` steps of `other`."""
        self.append_steps(0, other, n_steps)

    def copy(self, n_steps: int) -> SpikeLog:
        """Return a copy of the first `n_steps` steps."""
        ptr = self.ptr[: n_steps + 1].copy()
        return SpikeLog.from_arrays(self.ids[: ptr[-1]].copy(), ptr)

    def list_spikes(self, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return steps (int64) and ids (uint32) of all spikes before step `n_steps`, by step, then id."""
        steps = np.repeat(np.arange(n_steps), np.diff(self.ptr[: n_steps + 1]))
        return steps, self.ids[: self.ptr[n_steps]]


class SpikeLog(_Steps, kernel.SpikeLog):
    """Spikes of steps 0..n_steps-1: the spikes of step t are `ids[ptr[t]:ptr[t + 1]]`, ascending.

    `ids` are uint32 (capacity,), `ptr` int64 (n_steps + 1,). `non_binary_value` is a value, neither 0 nor 1, of the
    raster from which the log was made, such as a rate; 0 if there is none. Of `n_events` events of a recording,
    `n_late` came after the last step and `n_unusable` had no time; both were left out.
    """

    non_binary_value = 0.0
    n_late = 0
    n_unusable = n_events = 0

    @classmethod
    def from_raster(cls, raster: object) -> SpikeLog:
        """Make a log of a raster (n_steps, n_sources), which is not 0 at a spike."""
        if np.ma.is_masked(raster):
            raise InputError("raster holds masked values, which are neither spikes nor none")
        try:
            raster = np.asarray(raster)
        except ValueError:  # rows of different lengths
            raise InputError(f"raster {quote(raster)} must be (n_steps, n), its rows have different lengths") from None
        if raster.ndim != 2:
            raise InputError(f"raster {raster.shape} must be (n_steps, n)")
        if raster.dtype.kind not in "biuf":
            raise InputError(f"raster {quote(raster)} must hold numbers or truth values, not {raster.dtype}")
        steps, ids = np.nonzero(raster)
        log = cls.from_spikes(steps, ids, len(raster))
        if raster.dtype.kind != "b":
            values = raster[steps, ids]
            others = np.flatnonzero(values != 1)
            if len(others):
                bad = others[~np.isfinite(values[others])]
                if len(bad):
                    k = bad[0]
                    raise InputError(f"raster holds {values[k]} in step {steps[k]} of input {ids[k]}: must be finite")
                log.non_binary_value = float(values[others[0]])
        return log

    @classmethod
    def from_arrays(cls, ids: np.ndarray, ptr: np.ndarray) -> SpikeLog:
        """Wrap `ids` (uint32) and `ptr` (int64) without a copy."""
        log = cls.__new__(cls)
        log.hold(ids, ptr)
        return log

    @classmethod
    def from_spikes(cls, steps: np.ndarray, ids: np.ndarray, n_steps: int) -> SpikeLog:
        """Make a log of spikes that are in order."""
        ptr = np.concatenate(([0], np.cumsum(np.bincount(steps, minlength=n_steps))))
        return cls.from_arrays(ids.astype(np.uint32), ptr)

    def pad_steps(self, n_steps: int) -> SpikeLog:
        """Return a log of at least `n_steps` steps, without spikes in added steps."""
        missing = n_steps + 1 - len(self.ptr)
        return self if missing <= 0 else SpikeLog.from_arrays(self.ids, np.pad(self.ptr, (0, missing), "edge"))


class SharedSpikeLog(_Steps, kernel.SharedSpikeLog):
    """A log in the shared memory of a node."""


class SegmentedLog(kernel.SegmentedLog):
    """Logs of neighbours, whose ids ascend over all of them in each step."""

    def slice_steps(self, first: int, last: int) -> SpikeLog:
        """Return steps [first, last) in one log."""
        if self.n_segments == 1:
            return self.segments[0].slice_steps(first, last)
        return SpikeLog.from_arrays(*self.join(first, last))

    @property
    def n_segments(self) -> int:
        """Number of logs."""
        return len(self.segments)


def gather_log(comm: Comm, own: SpikeLog, n_steps: int) -> SpikeLog:
    """Collective: return the spikes of all ranks in some steps, on all of them."""
    if comm is None:
        return own
    parts = comm.allgather((own.ids[: own.ptr[n_steps]].copy(), own.ptr[: n_steps + 1].copy()))
    return join_logs([SpikeLog.from_arrays(*part) for part in parts], n_steps)


def join_logs(parts: list[SpikeLog], n_steps: int) -> SpikeLog:
    """Return the spikes of several logs in one, in each step part after part."""
    return SpikeLog.from_arrays(*SegmentedLog(parts).join(0, n_steps))
