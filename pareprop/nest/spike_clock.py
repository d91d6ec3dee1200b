"""The spike variant: one endless run, whose step 0 is NEST's, in samples as long as each stretch."""

from __future__ import annotations

import numpy as np

from ..engines.sample import Sample
from ..engines.spike import Spike, SpikeSettings
from ..kernels import layout
from ..network import transmission
from ..parallel.spike_log import SpikeLog, gather_log
from ..simulation.observer import Outcome, Watched
from ..values import Later
from .clock import Clock
from .connections import STATES
from .errors import EARLIER, make_refusal
from .growth import Growth
from .network import Wiring
from .taps import Taps, WeightTap

LONGEST = 1000  # steps of an engine's sample


class SpikeClock(Clock):
    """The clock of e-prop+ models; parameters as for `IntervalClock`."""

    engine: Spike

    def __init__(self, session: Later, wiring: Wiring, taps: Taps) -> None:
        super().__init__(session, wiring, taps, SpikeSettings(0, lead=0), LONGEST)
        self.engine.keep_arrived()
        self._error = np.zeros((1, len(self.wiring.readouts)))  # of the step before
        self._arrivals = [
            self._watch_arrivals(tap, synapses) for tap, synapses in zip(self.taps.weights, self._watched, strict=True)
        ]

    def _watch_arrivals(self, tap: WeightTap, synapses: list) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return arrays of weights of watched connections on this rank, and the places of these in the tap."""
        tables = {id(table): table for table, _, _ in synapses}
        result = []
        for table in tables.values():
            local, number = (
                np.concatenate(column)
                for column in zip(*((a, b) for other, a, b in synapses if other is table), strict=True)
            )
            result.append((self.engine.watch_weights(table, local), number))
        return result

    def _run(self, end: int) -> None:
        for first in range(self.step, end, LONGEST):  # an interrupt waits for one of them
            self.simulation.advance(min(LONGEST, end - first), whole=True)

    def piece(self, first: int, last: int) -> Sample:
        """Return the sample of NEST's steps [first, last), see `OpenTask`."""
        self.engine.force_spikes(self.forced.index, self.forced.take_spikes(first, last))
        window = self.window.get_steps(first, last)
        plain = np.all((window == 0.0) | (window == 1.0)) and np.all(window == window[:, :1])
        return Sample(
            self.pending_inputs.take_log(first, last),
            np.where(
                window != 0.0, self.targets.get_steps(first, last), 0.0
            ),  # scripts may have none elsewhere, but NaN
            self.currents.get_steps(first, last) if self.model.size("current") else None,
            np.any(window != 0.0, axis=1),
            factors=None if plain else window,
        )

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Record the last stretch."""
        last = simulation.engine.origin
        first = last - len(outcome.error)
        self.n_spikes += simulation.engine.n_spikes
        self._record_sample(first, last, outcome)
        self._record_spikes(first, last, outcome.sample.inputs)
        for frozen in (self.targets, self.window, self.currents):
            frozen.drop_before(last)

    def set_learning_rates(self, rates: dict[str, tuple[float, float]]) -> None:
        """Set learning rates; a model's rates hold from a synapse's second next update on."""
        super().set_learning_rates(rates)
        for item in self.engine.plastic:
            model = self.wiring.models[item.name]
            item.eta = self.etas[model]
            if item.optimizer.optimize_each_step and item.eta != self.first_etas[model]:
                raise make_refusal(
                    f"another learning rate of {model} with optimize_each_step",
                    "set optimize_each_step to False, or eta once",
                )
        self.engine.delay_rates({name: self.first_etas[model] for name, model in self.wiring.models.items()})

    def read_states(self, shown: int) -> None:
        """Collective: see `Clock.read_states`; the engine's state does not include spikes in transit."""
        spans = [item for item in self._synapses.items() if item[1][1].projection.transmission]
        sent = self._list_sent(shown) if spans else {}
        for name, (table, span) in spans:
            rows = table.factors[transmission.LIVE, span.own_rows].copy()
            rows[rows[:, layout.LATEST_SPIKE] < 0, layout.LATEST_SPIKE] = -np.inf
            places = np.arange(span.n_rows)
            source, late = span.find_sources(places), span.delays[span.find_blocks(places)] - 1
            stamps, senders = sent[span.projection.pre.role]
            senders = senders - self.model.offset(span.projection.pre)
            since = self.counted_since.get(name, 0) + (span.projection.pre.role != "input")
            for k in np.flatnonzero(np.isin(source, senders)):
                arrivals = stamps[(senders == source[k]) & (stamps >= since)] + late[k]
                transmission.advance_row(rows[k], arrivals[arrivals >= self.step])
            for (index, place), local in self._find_local_places(table, span, self.wiring.origin[name]):
                row = np.searchsorted(table.row_ptr, local, side="right") - 1 - span.rows
                mine = place, rows[row][:, [layout.UTILISATION, layout.RESOURCES]].T
                bundle = self.bundles[index]
                for key in STATES:
                    bundle.per_synapse[key] = np.broadcast_to(bundle.per_synapse[key], len(bundle)).copy()
                for there, values in [mine] if self.comm is None else self.comm.allgather(mine):
                    for key, column in zip(STATES, values, strict=True):
                        bundle.per_synapse[key][there] = column

    def _list_sent(self, shown: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Collective: stamps below `shown`, and sources, of spikes that may be on their way; by role of the source."""
        first, inputs, own = self.engine.get_spikes_under_way()
        spikes, sent = gather_log(self.comm, own, self.step - first), {}
        for role, log, later in (("input", inputs, 0), ("recurrent", spikes, 1)):
            steps, source = log.list_spikes(self.step - first)
            stamps = first + later + steps
            sent[role] = stamps[stamps < shown], source[stamps < shown].astype(np.int64)
        return sent

    def transfer_state(self, growth: Growth) -> None:
        """Collective: continue from the network before it grew, see `Clock.transfer_state`."""
        old, models = growth.old, self.wiring.models
        if not growth.can_transfer_sums():
            raise make_refusal(
                "neurons with other kappa, kappa_reg, tau_m or delays of learning after the first step", EARLIER
            )
        growth.transfer_clock()
        self.simulation.resume_from(old.simulation)
        self.set_counted_since(0)
        self.silence_until(
            self.step + 1, self.engine.constants["drive"], growth.new_readouts
        )  # as in each run's first step
        self._error = growth.widen_rows(old._error)
        before = old.wiring.models
        alike = {name: [other for other in before if before[other] == model] for name, model in models.items()}
        growth.transfer_spike_engine({name: (alike[name], self.etas[models[name]]) for name in models})
        self._record_pending(old.taps, growth.widen_rows)

    def _record_sample(self, first: int, last: int, outcome: Outcome) -> None:
        self.record_dynamics(first, 0, last - first)
        window, target, signal = self.window.get_steps(first, last), self.targets.get_steps(first, last), outcome.signal
        columns = {
            "V_m": signal,
            "readout_signal": signal * window,
            "target_signal": target * window,
            "error_signal": outcome.error,
        }
        for field, values in columns.items():
            self.taps.write_readouts(field, first, values)
        errors = np.concatenate([self._error, outcome.error])
        self.record_learning_signals(first, errors[:-1])
        self._error = errors[-1:].copy()

    def _record_spikes(self, first: int, last: int, inputs: SpikeLog) -> None:
        if not self.taps.records_spikes:
            return
        log = gather_log(self.comm, self.engine.get_own_spikes(), last - first)
        steps, index = log.list_spikes(last - first)
        self.taps.note_spikes(first + steps + 1, self.wiring.recurrent[index])
        for tap, synapses in zip(self.taps.weights, self._arrivals, strict=True):
            self._record_weights(tap, synapses, first, last, inputs)

    def _record_weights(self, tap: WeightTap, synapses: list, first: int, last: int, inputs: SpikeLog) -> None:
        """Weights at arrivals in steps [first, last), whose spikes have the stamps of these steps, see `stimuli`."""
        weight = np.full((last - first, len(tap.source)), np.nan)
        for watched, number in synapses:
            weight[:, number] = watched[: last - first]
        if self.comm is not None:
            weight = np.fmax.reduce(self.comm.allgather(weight))
        step, which = np.nonzero(~np.isnan(weight))
        times = self._count_source_spikes(inputs, step, tap.source[which])
        step, which = np.repeat(step, times), np.repeat(which, times)
        tap.write_weights(first + step, which, weight[step, which])

    def _count_source_spikes(self, inputs: SpikeLog, step: np.ndarray, source: np.ndarray) -> np.ndarray:
        """How often each source spiked in its step: parrots may do so several times."""
        place = np.searchsorted(self.wiring.parrots, source)
        place = np.minimum(place, max(len(self.wiring.parrots) - 1, 0))
        parrot = self.wiring.parrots[place] == source if len(self.wiring.parrots) else np.zeros(len(source), bool)
        at, ids = inputs.list_spikes(len(inputs.ptr) - 1)
        key = at * self.model.size("input") + ids.astype(np.int64)
        keys = step * self.model.size("input") + place
        n = np.searchsorted(key, keys, side="right") - np.searchsorted(key, keys)
        return np.where(parrot, n, 1)
