"""Time in the spike variant: one endless run, whose step 0 is NEST's, in samples as long as what is simulated."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engines.spike import Spike, SpikeSettings
from ..parallel.spike_log import SpikeLog
from ..values import Values
from .clock import Clock
from .errors import refuse
from .taps import WeightTap

LONGEST = 1000  # steps of an engine's sample


class SpikeClock(Clock):
    """The clock of e-prop+ models; parameters as for `IntervalClock`."""

    n_steps = LONGEST

    def __init__(self, kernel: Values, *args: Any) -> None:
        super().__init__(*args)
        self._error = np.zeros((1, len(self.wiring.readouts)))  # of the step before
        self._arrivals = [
            self._watch_arrivals(tap, synapses) for tap, synapses in zip(self.taps.weights, self._watched, strict=True)
        ]

    def _engine(self) -> Spike:
        return Spike(self.network, self.exchange, SpikeSettings(0, lead=0), self.n_steps, self.timers)

    def _watch_arrivals(self, tap: WeightTap, synapses: list) -> list[tuple[np.ndarray, np.ndarray]]:
        """What the engine keeps of the watched connections that this rank has, and their places in the tap."""
        tables = {id(table): table for table, _, _ in synapses}
        result = []
        for table in tables.values():
            local, number = (
                np.concatenate(column)
                for column in zip(*((a, b) for other, a, b in synapses if other is table), strict=True)
            )
            result.append((self.engine.watch(table, local), number))
        return result

    def _run(self, end: int) -> None:
        for first in range(self.step, end, LONGEST):
            self._sample(first, min(first + LONGEST, end))

    def take_rates(self, rates: dict[str, tuple[float, float]]) -> None:
        """Take learning rates; those of the model hold from a synapse's update after the next one on."""
        super().take_rates(rates)
        for item in self.engine.plastic:
            model = self.wiring.models[item.name]
            item.eta = self.etas[model]
            if item.optimizer.optimize_each_step and item.eta != self.first_etas[model]:
                raise refuse(
                    f"another learning rate of {model} with optimize_each_step",
                    "set optimize_each_step to False, or eta once",
                )
        self.engine.delay_rates({name: self.first_etas[model] for name, model in self.wiring.models.items()})

    def _sample(self, first: int, last: int) -> None:
        inputs = self.train.take(first, last)
        window = self.window.of(first, last)
        plain = np.all((window == 0.0) | (window == 1.0)) and np.all(window == window[:, :1])
        self.engine.factors = None if plain else np.ascontiguousarray(window)
        currents = self.currents.of(first, last) if self.model.size("current") else None
        target = self.targets.of(first, last)
        sample = self.sample(inputs, target, np.any(window != 0.0, axis=1), currents)
        self.engine.force(self.forced.index, self.forced.take(first, last))
        error, loss = self.engine.run(sample, learn=True)
        self.n_spikes += self.engine.n_spikes
        self.digest.add_spikes(self.engine.log, last - first)
        self.check_finite(loss)
        self._show(first, last, error, target, window)
        self._show_spikes(first, last, inputs)
        for frozen in (self.targets, self.window, self.currents):
            frozen.forget(last)

    def _show(self, first: int, last: int, error: np.ndarray, target: np.ndarray, window: np.ndarray) -> None:
        n, engine = last - first, self.engine
        if len(self.taps.recorded):
            self.put_dynamics(first, *(track[:n] for track in engine.dynamics()))
        signal = engine.show_signal()
        columns = {"V_m": signal, "readout_signal": signal * window, "target_signal": target * window,
                   "error_signal": error}  # fmt: skip
        for field, values in columns.items():
            self.taps.put_readouts(field, first, values)
        errors = np.concatenate([self._error, error])
        self.put_signals(first, errors[:-1])
        self._error = errors[-1:].copy()

    def _show_spikes(self, first: int, last: int, inputs: SpikeLog) -> None:
        if not self.taps.wants_spikes:
            return
        log = self.gather_spikes(self.engine.get_own_spikes(), last - first)
        steps, index = log.spikes(last - first)
        self.taps.put_spikes(first + steps + 1, self.wiring.recurrent[index])
        for tap, synapses in zip(self.taps.weights, self._arrivals, strict=True):
            self._show_weights(tap, synapses, first, last, inputs)

    def _show_weights(self, tap: WeightTap, synapses: list, first: int, last: int, inputs: SpikeLog) -> None:
        """Weights at arrivals in steps [first, last), whose spikes have the stamps of these steps, see `stimuli`."""
        weight = np.full((last - first, len(tap.source)), np.nan)
        for watched, number in synapses:
            weight[:, number] = watched[: last - first]
        if self.comm is not None:
            weight = np.fmax.reduce(self.comm.allgather(weight))
        step, which = np.nonzero(~np.isnan(weight))
        times = self._multiplicity(inputs, step, tap.source[which])
        step, which = np.repeat(step, times), np.repeat(which, times)
        tap.put(first + step, which, weight[step, which])

    def _multiplicity(self, inputs: SpikeLog, step: np.ndarray, source: np.ndarray) -> np.ndarray:
        """How often each source spiked in its step: parrots may do so several times."""
        place = np.searchsorted(self.wiring.parrots, source)
        place = np.minimum(place, max(len(self.wiring.parrots) - 1, 0))
        parrot = self.wiring.parrots[place] == source if len(self.wiring.parrots) else np.zeros(len(source), bool)
        at, ids = inputs.spikes(len(inputs.ptr) - 1)
        key = at * self.model.size("input") + ids.astype(np.int64)
        keys = step * self.model.size("input") + place
        n = np.searchsorted(key, keys, side="right") - np.searchsorted(key, keys)
        return np.where(parrot, n, 1)
