"""Local readouts on one rank: their signals and errors, and the learning signals of their neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..arrays import allocate_aligned
from ..errors import InputError
from ..kernels import local_readouts as kernel
from ..network import trajectory_losses
from ..network.drawing import find_local_range
from ..network.local import LocalNetwork
from ..parallel import collectives
from ..parallel.channel import Channel
from ..parallel.spike_log import SpikeLog

BLOCK = 4096  # neurons whose targets are held at a time
STRIP = 256  # neurons whose signals are held at a time: in single precision 1 MiB for 1 000 steps

Targets = Callable[[int, int], np.ndarray]


class LocalErrors:
    """Learning signals of the neurons of this rank from local readouts, in the last `window` steps of a sample.

    Attributes
    ----------
    filtered : np.ndarray
        (n_steps, n_neurons), filtered learning signals of the last sample; (0, 0) without local readouts.
    measured_from : int or None
        First step of `correlation`, None for none.
    correlation : np.ndarray
        float64 (n,), correlation of signal and target of each neuron with a readout, by id; of means over trials if
        trials fill the sample.
    kept : np.ndarray
        int64 (n_kept,), columns of the neurons whose signals are kept.
    shown : np.ndarray
        (n_steps, n_kept), their signals in the last sample.
    """

    def __init__(self, network: LocalNetwork, n_steps: int, window: int) -> None:
        self.network, self.rule = network, network.model.local
        self._start, self.measured_from = n_steps - window, None
        self.kept, self.shown, self.correlation = np.zeros(0, np.int64), np.zeros((n_steps, 0)), np.zeros(0)
        first, last = network.neurons
        self.filtered = allocate_aligned((n_steps, last - first) if self.rule else (0, 0), network.model.kernels.real)
        self._ranges: list[tuple[int, int]] = []
        if not self.rule:
            return
        self.kappa, self._jump = self.rule.compute_constants(network.model.dt_ms)
        self._n_compared = 0  # neurons of all ranks with a readout
        for population in network.model.of_role("recurrent"):
            if population.name in self.rule.of:
                self._n_compared += population.size
                low, high = find_local_range(network.model, population, first, last)
                offset = network.model.offset(population)
                self._ranges += [(offset + k, offset + min(k + BLOCK, high)) for k in range(low, high, BLOCK)]
        self._signals = allocate_aligned(n_steps * STRIP, self.filtered.dtype)

    def iterate_blocks(self, targets: Targets | None) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the columns of some neurons in `filtered` and their targets, (n_steps, n).

        `InputError` if there are no targets, or their shape is wrong.
        """
        if targets is None:
            name = self.rule.name if self.rule is not None else ""
            raise InputError(f"sample: local readouts '{name}' need local_targets")
        base = self.network.neurons[0]
        for low, high in self._ranges:
            own = np.ascontiguousarray(targets(low, high), self.filtered.dtype)
            if own.shape != (len(self.filtered), high - low):
                wanted = (len(self.filtered), high - low)
                raise InputError(
                    f"sample: local_targets of neurons [{low}, {high}) have shape {own.shape}, not {wanted}"
                )
            yield slice(low - base, high - base), own

    def compare_targets(self, own: SpikeLog, targets: Targets | None) -> np.ndarray:
        """Filter spikes and compare with targets; return the loss of each neuron with a readout, float64, by id."""
        assert self.rule is not None  # else this is not called
        losses, correlations = [np.zeros(0)], [np.zeros(0)]
        place, n_filled = own.ptr[:-1].copy(), 0
        self.shown = np.zeros((len(self.filtered), len(self.kept)), self.filtered.dtype)
        for columns, target in self.iterate_blocks(targets):
            self.filtered[:, n_filled : columns.start], n_filled = 0.0, columns.stop
            for low in range(columns.start, columns.stop, STRIP):
                high = min(low + STRIP, columns.stop)
                part = slice(low - columns.start, high - columns.start)
                signal = self._filter_spikes(own, place, low, high)
                signal = np.ascontiguousarray(self.rule.filter_low_pass(signal, self.network.model.dt_ms), signal.dtype)
                if self.measured_from is not None:
                    means = self._average_trials(signal, target[:, part])
                    correlations.append(correlate_signals(*means, self.measured_from))
                kept = (self.kept >= low) & (self.kept < high)
                self.shown[:, kept] = signal[:, self.kept[kept] - low]
                losses.append(self._write_signals(signal, target, part, low))
        self.filtered[:, n_filled:] = 0.0
        self.correlation = np.concatenate(correlations)
        return np.concatenate(losses)

    def _average_trials(self, *courses: np.ndarray) -> list[np.ndarray]:
        """Return the means over trials, if trials fill the sample."""
        course = self.rule.make_trajectory_loss() if self.rule is not None else None
        if course is None or self._start or len(self.filtered) % course.trials:
            return list(courses)
        return [course.average_trials(values) for values in courses]

    def _write_signals(self, signal: np.ndarray, target: np.ndarray, part: slice, low: int) -> np.ndarray:
        """Write the learning signals of neurons from column `low` on; return their losses."""
        assert self.rule is not None  # as in `compare_targets`
        losses, none = np.zeros(signal.shape[1]), np.zeros_like(signal[0])
        constants, course = (self.kappa, self.rule.feedback), self.rule.make_trajectory_loss()
        if course is None:
            kernel.compare(*constants, self._start, part.start, low, signal, target, none, losses, self.filtered)
            return losses
        error = np.zeros(signal.shape)
        error[self._start :], losses = course.evaluate_columns(signal[self._start :], target[self._start :, part])
        error = self.rule.filter_low_pass(error, self.network.model.dt_ms, backward=True).astype(signal.dtype)
        # filtered as the difference to no target
        kernel.compare(*constants, 0, 0, low, error, np.zeros_like(error), none, np.zeros(len(losses)), self.filtered)
        return losses

    def _filter_spikes(self, own: SpikeLog, place: np.ndarray, low: int, high: int) -> np.ndarray:
        """Return signals (n_steps, high - low) of some neurons; they are overwritten by the next call."""
        signal = self._signals[: len(self.filtered) * (high - low)].reshape(-1, high - low)
        kernel.advance(self.kappa, self._jump, self.network.neurons[0] + low, own.ids, own.ptr, place, signal)
        return signal

    def learn_from(self, channel: Channel, targets: Targets | None) -> float:
        """Collective: filter this rank's spikes and compare the signals with `Sample.local_targets`.

        Return the mean loss of all neurons with a readout, added up by id: the same on any number of ranks.
        `InputError` on all ranks, if targets are missing or have a wrong shape on any rank.
        """
        with channel.share_errors():  # each rank calls `targets` alone
            losses = self.compare_targets(channel.own_spikes, targets)
        return collectives.sum_in_order(channel.comm, losses) / max(self._n_compared, 1)

    def learning_signal(self, columns: np.ndarray) -> np.ndarray:
        """Return learning signals of some neurons, float64 (n_steps, n), from the results of `compare_targets`."""
        filtered = self.filtered[:, columns].astype(float)
        filtered[:-1] -= self.kappa * filtered[1:]
        return filtered

    @property
    def nbytes(self) -> int:
        """Bytes of the learning signals."""
        return self.filtered.nbytes


def correlate_signals(signal: np.ndarray, target: np.ndarray, first: int) -> np.ndarray:
    """Return the correlation of signal and target of each neuron from step `first` on; 0 without variance."""
    return trajectory_losses.correlate_columns(signal[first:], target[first:])[0]
