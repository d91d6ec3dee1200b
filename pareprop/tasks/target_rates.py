"""Target firing rates of neurons over time: sines, or rates of a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from .. import elementary, files, rng
from ..errors import InputError, quote
from ..exchange_formats.nwb_reader import Recording, is_nwb
from ..later import h5py
from ..network.local_readouts import LocalReadouts, accumulate_steps
from .datafile import HIGHEST_RATE

T = TypeVar("T")

MEDIAN_HZ, SIGMA = 8.0, 0.4  # of the neurons' mean rates
AMPLITUDES = 0.45 * np.array([1.0, 0.8, 0.5])  # standard deviations of the amplitudes of sines of 1, 2 and 3 Hz


class TargetRates:
    """Target rates of all neurons in a trial, each a log-normal mean times the exponential of a sum of three sines, or
    read from a file.

    Parameters
    ----------
    seed : int
        Seed of the sines.
    n_step, trials : int
        Steps of a trial, and trials of a sample.
    n_neurons : int
        Number of neurons.
    file : Path or None
        HDF5 file of rates, or NWB file; None: sines.
    series : str
        Of an NWB file: units, or the name of a fluorescence.
    readouts : LocalReadouts
        Readouts that filter the spikes of an NWB file.
    """

    def __init__(
        self,
        seed: int,
        n_step: int,
        trials: int,
        n_neurons: int,
        file: Path | None,
        series: str,
        readouts: LocalReadouts,
    ) -> None:
        self.seed, self.n_step, self.trials, self.n_neurons = seed, n_step, trials, n_neurons
        self.file, self.series, self.readouts = file, series, readouts
        self._kept: dict[tuple[int, int], np.ndarray] = {}

    def check(self) -> None:
        """Raise `InputError` if a file does not have one rate, or one cell, for each neuron."""
        if self.recording is not None:
            n, name = self.recording.n_cells, "units" if self.recording.has_spikes else "regions of interest"
            if n != self.n_neurons:
                raise InputError(f"{self.file}: has {n} {name}, the network has {self.n_neurons} neurons (n_rec)")
        elif self.file is not None:
            self._use_rates(lambda rates: None)

    @cached_property
    def recording(self) -> Recording | None:
        """The recording of an NWB file, None without one."""
        if self.file is not None and is_nwb(self.file):
            return Recording(self.file, self.series, self.n_step, 1.0)
        if self.series:
            raise InputError(f"series = {quote(self.series)} needs an NWB file, activity = {self.file}")
        return None

    def read(self, first: int, last: int) -> np.ndarray:
        """Return target rates of neurons [first, last) in Hz, float32 (n_steps, n); keep them for later iterations."""
        if (first, last) not in self._kept:
            rates = self._draw_sines(first, last) if self.file is None else self._read_file(first, last)
            self._kept[first, last] = np.tile(rates.astype(np.float32), (self.trials, 1))
        return self._kept[first, last]

    def _draw_sines(self, first: int, last: int) -> np.ndarray:
        ids = np.arange(first, last)
        mean = MEDIAN_HZ * elementary.exp(
            SIGMA * rng.draw_normal(rng.make_key(self.seed, "activity/rate"), ids, 1)[:, 0]
        )
        amplitude = AMPLITUDES * rng.draw_normal(rng.make_key(self.seed, "activity/amplitude"), ids, len(AMPLITUDES))
        phase = 2 * np.pi * rng.draw_uniform(rng.make_key(self.seed, "activity/phase"), ids, len(AMPLITUDES))
        seconds = np.arange(self.n_step)[:, None] / 1000.0
        x = np.zeros((self.n_step, len(ids)))
        for k in range(len(AMPLITUDES)):
            x += amplitude[:, k] * elementary.sin(2 * np.pi * (k + 1) * seconds + phase[:, k])
        half_variance = elementary.total_rows(np.square(amplitude)) / 4  # of x over time
        return mean * elementary.exp(x - half_variance)

    def _filter_spikes(self, spikes: np.ndarray) -> np.ndarray:
        """Return the readout signal of numbers of spikes (n_step, n)."""
        keep, jump = self.readouts.compute_constants(1.0)
        return self.readouts.filter_low_pass(accumulate_steps(jump * spikes, keep), 1.0)

    def _read_file(self, first: int, last: int) -> np.ndarray:
        if self.recording is not None:
            return self.recording.compute_mean(first, last, self._filter_spikes)
        rates = self._use_rates(lambda rates: rates[:, first:last])
        wrong = np.argwhere(~((rates >= 0) & (rates <= HIGHEST_RATE)))
        if len(wrong):
            step, neuron = wrong[0]
            value = rates[step, neuron]
            raise InputError(
                f"{self.file}: rates[{step}, {first + neuron}] = {value} must lie in 0 to {HIGHEST_RATE:g} Hz"
            )
        return rates

    def _use_rates(self, use: Callable[[h5py.Dataset], T]) -> T:
        assert self.file is not None  # `_use_rates` is called for a file of rates
        with files.input_errors(self.file), files.open_hdf5(self.file) as file:
            rates = file.get("rates")
            shape_wanted = self.n_step, self.n_neurons
            if not isinstance(rates, h5py.Dataset) or rates.shape != shape_wanted:
                shape = getattr(rates, "shape", "no dataset")
                raise InputError(f"{self.file}: 'rates' has {shape}, must be {shape_wanted}")
            if rates.dtype.kind not in "iuf":
                raise InputError(f"{self.file}: 'rates' holds {rates.dtype}, must hold numbers")
            return use(rates)
