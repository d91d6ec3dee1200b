"""Time in the interval variant: update intervals, of which the present one is run as far as its inputs are known.

Interval k starts with NEST's step 2 + k T, when the first inputs can arrive; readouts are one step later, and their
errors one more. See `catalogue` for the steps of recorded values.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..engines.interval import Interval, IntervalSettings
from ..engines.sample import Sample
from ..network.losses import LOSSES
from ..parallel.collectives import max_over_ranks
from ..parallel.spike_log import SpikeLog, gather_log
from ..simulation.observer import Outcome, Watched
from ..values import Later
from .clock import Clock
from .errors import EARLIER, make_refusal, warn_once
from .growth import Growth
from .lost_signals import EARLY, subtract_lost_signals
from .network import Wiring
from .settings import check_intervals
from .taps import Taps
from .transfer import move_values

BEFORE = 2  # NEST's steps before the first interval of the neurons; of the readouts one more


class IntervalClock(Clock):
    """The clock of `*_bsshslm_2020` models; parameters are as in `Clock`."""

    engine: Interval

    def __init__(self, session: Later, wiring: Wiring, taps: Taps) -> None:
        kernel = session.params
        check_intervals(kernel)
        n_steps, window = (
            round(kernel[f"eprop_{name}"] / kernel["resolution"]) for name in ("update_interval", "learning_window")
        )
        self._settings = IntervalSettings(
            min(window, n_steps),  # a longer one only divides: as in NEST, where the default may be longer
            average_gradient=wiring.average_gradient,
            averaged_steps=window,
            reset=bool(kernel["eprop_reset_neurons_on_update"]),
            keeps_fixed=wiring.fixed,
        )
        super().__init__(session, wiring, taps, self._settings, n_steps)
        self._errors, self._started = 0, False
        self._rates: dict[str, float] = {}
        self._spiked = {role: np.zeros(self.model.size(role), bool) for role in ("input", "recurrent")}  # in this batch
        self._pending_spikes = np.zeros(0, np.int64)  # neurons whose spikes arrive in the next stretch
        models = set(wiring.models.values())
        # rate in force when the first spike of a batch arrived at a source's synapses, which were updated then: of the
        # present batch, and of the latest one, NaN before
        self._next, self._latest = (
            {(model, role): np.full(len(spiked), np.nan) for model in models for role, spiked in self._spiked.items()}
            for _ in range(2)
        )
        self._weights = self.read_watched_weights()
        self._loss = self.engine.loss
        self._window = np.arange(self.n_steps) >= self.n_steps - self._settings.learning_window
        self._learns = wiring.plastic and self._settings.learning_window > 0
        self._last = np.zeros(0, np.int64)  # neurons that spiked in the last step of the interval before
        self._loses = bool(kernel["eprop_nest_losses"])
        if self._loses:
            self.engine.keep_gradients()  # in arrays of which `subtract_lost_signals` may take

    @property
    def _count(self) -> int:
        """Intervals that are learned from."""
        return self.simulation.place[0]

    @property
    def _done(self) -> int:
        """Steps of the present interval that are over."""
        return self.simulation.place[1]

    @property
    def _first(self) -> int:
        """NEST's step that is step 0 of the present interval."""
        return BEFORE + self._count * self.n_steps

    def _run(self, end: int) -> None:
        if not self._started and end >= BEFORE:
            self._run_before_intervals()
        while self._started and (n := end - self._first - self._done) > 0:
            self._check_rates()
            first = self._done % self.n_steps
            self.simulation.advance(min(n, self.n_steps - first), learn=self._learns)
            self._record_steps(first, self._done)
            self._record_signals(self._done - 1)

    def transfer_state(self, growth: Growth) -> None:
        """Collective: see `Clock.transfer_state`; the present interval continues after the steps that are done."""
        old, engine, done = growth.old, self.engine, growth.old._done
        if 0 < old.step < BEFORE:
            raise make_refusal("nodes and connections made after the first step, before the second", EARLIER)
        if len(growth.new_readouts) and self._loss is not LOSSES["mean_squared_error"]:
            raise make_refusal("readouts with a softmax after the first step", EARLIER)
        if old._started and growth.connects_old_errors(self._window[:done]):
            raise make_refusal(
                "learning signals from readouts to neurons that were there, after the first step", EARLIER
            )
        if old._started and growth.connects_old_currents():
            raise make_refusal(
                "connections of a generator of currents that was there, after the first step", "create another one"
            )
        growth.transfer_clock()
        past = None
        if done:
            past = self._make_sample(old._first, 0, growth.transfer_log(old.engine.inputs, done, "input"))
        self.simulation.resume_from(old.simulation, past)
        self._errors, self._started, self._rates = old._errors, old._started, dict(old._rates)
        for role, spiked in self._spiked.items():
            move_values(old._spiked[role], growth.places[role], spiked)
        for mine, before in ((self._next, old._next), (self._latest, old._latest)):
            for key in mine.keys() & before.keys():
                move_values(before[key], growth.places[key[1]], mine[key])
        recurrent = growth.places["recurrent"]
        self._pending_spikes, self._last = (
            recurrent[index.astype(np.int64)] for index in (old._pending_spikes, old._last)
        )
        growth.transfer_interval_engine(done, self.simulation.iteration)
        if self._started:
            growth.resume_interval(past)
        self._weights = self.read_watched_weights()
        self._record_pending(growth.old.taps, growth.widen_rows)
        if self._started and len(growth.new_readouts):
            for field in ("V_m", "readout_signal_unnorm"):
                self.taps.write_readouts(field, self._first + done, engine.y[None] + engine.constants["E_L"])
        self.set_counted_since(self._first)

    def _run_before_intervals(self) -> None:
        """The steps before the first interval, in which nothing but currents can arrive."""
        if np.any(self.forced.take_spikes(0, BEFORE)):
            raise make_refusal(
                "ignore_and_spike in the first two steps", "set ignore_and_spike_offset to at least 3 steps"
            )
        self.engine.run_before(
            Sample(self.pending_inputs.take_log(0, BEFORE), currents=self.currents.get_steps(0, BEFORE)), BEFORE + 1
        )
        if max_over_ranks(self.comm, int(self.engine.get_own_spikes().ptr[BEFORE]) > 0):
            raise make_refusal("spikes in the first two steps", "start with V_m below V_th")
        self.record_dynamics(0, 0, BEFORE)
        self._record_readouts(0, 0, BEFORE + 1)
        self._started = True

    def _save_last_spikes(self, last: int) -> None:
        """Collective: note the spikes of the interval's last step, if there are synapses that keep them."""
        if any(item.pre.role == item.post.role == "recurrent" and not item.plastic for item in self.model.projections):
            self._last = gather_log(self.comm, self.engine.get_own_spikes().slice_steps(last - 1, last), 1).list_spikes(
                1
            )[1]

    def _check_rates(self) -> None:
        """Refuse rates that differ within an interval.

        The learning rate of an interval is the rate at its first spikes; scripts change it when NEST's intervals end,
        two steps before the neurons' intervals.
        """
        if 1 < self._done < self.n_steps - BEFORE and self._rates != self.etas:
            raise make_refusal(
                "another learning rate within an update interval",
                f"change eta when the time is a multiple of {self.n_steps * self.dt:g} ms",
            )

    def piece(self, first: int, last: int) -> Sample:
        """Return the sample of steps [first, last), counted from the first interval, see `OpenTask`."""
        place = first % self.n_steps
        first, last = BEFORE + first, BEFORE + last
        if not place:
            self.set_counted_since(first)
            if len(self._last):
                self._carry_last_spikes()
        if place <= 1:
            self._rates = dict(self.etas)
        index = self.forced.index
        forced = np.zeros((self.n_steps, len(index)), bool)
        forced[place : place + last - first] = self.forced.take_spikes(first, last)
        self.engine.force_spikes(index, forced)
        return self._make_sample(first, place, self.pending_inputs.take_log(first, last))

    def _make_sample(self, first: int, place: int, inputs: SpikeLog) -> Sample:
        n = len(inputs.ptr) - 1
        return Sample(
            inputs, currents=self.currents.get_steps(first, first + n), window=self._window[place : place + n]
        )

    def _carry_last_spikes(self) -> None:
        """Deliver spikes of an interval's last step in step 0 of the next one.

        As in NEST they pass synapses between neurons that do not learn. Those that learn lose them.
        """
        source, target, port, place = self._fixed
        mine = np.isin(source, self._last)
        weights = self.network.incoming.weight[place[mine]]
        self.engine.first_arrivals = (port[mine], target[mine]), weights

    @cached_property
    def _fixed(self) -> np.ndarray:
        """Synapses between neurons that do not learn, by source: sources, targets here, ports, places in the table."""
        found, table = [np.zeros((4, 0), np.int64)], self.network.incoming
        for span in table.spans:
            item = span.projection
            if not item.plastic and (item.pre.role, item.post.role) == ("recurrent", "recurrent"):
                offset, port = self.model.offset(item.pre), item.port_index
                source, target, _, index = table.list_columns(span)
                here = target - span.targets[0] + span.base
                found.append(np.stack([offset + source, here, np.full_like(index, port), index]))
        fixed = np.concatenate(found, axis=1)
        return fixed[:, np.argsort(fixed[0], kind="stable")]

    def late_target(self) -> np.ndarray:
        """Targets of the present interval, the last one of which is known a step after it, see `LateTask`."""
        if self._loses:
            self._surrogate = self.engine.psi[:, 0].astype(float)  # learning will overwrite it
        targets = self.targets.get_steps(self._first + 2, self._first + self.n_steps + 2)
        return np.where(self._window[:, None], targets, 0.0)  # scripts may have none elsewhere, but NaN

    def _record_steps(self, first: int, last: int) -> None:
        """Record values of steps [first, last) of the interval."""
        start, inputs = self._first, self.engine.inputs.slice_steps(first, last)
        if last == self.n_steps:
            self._save_last_spikes(last)
        self.record_dynamics(start + first, first, last)
        self._record_readouts(start + 1, first, last)
        self._record_spikes(start, first, last, inputs)

    def _record_readouts(self, start: int, first: int, last: int) -> None:
        """Record voltages of the readouts, and the exponentials of a softmax."""
        shown = self.engine.show_signal()[first:last]
        self.taps.write_readouts("V_m", start + first, shown)
        plain = self._loss is LOSSES["mean_squared_error"]
        self.taps.write_readouts("readout_signal_unnorm", start + first, shown if plain else np.exp(shown))

    def _record_spikes(self, start: int, first: int, last: int, inputs: SpikeLog) -> None:
        log = gather_log(self.comm, self.engine.get_own_spikes().slice_steps(first, last), last - first)
        steps, index = log.list_spikes(last - first)
        self.n_spikes += len(steps)
        at, source = inputs.list_spikes(last - first)
        self._note_first_arrivals("recurrent", self._pending_spikes)
        self._note_first_arrivals("recurrent", index[steps < last - first - 1])
        self._note_first_arrivals("input", source[first + at > 0])
        self._pending_spikes = index[(steps == last - first - 1) & (first + steps < self.n_steps - 1)]
        if not self.taps.records_spikes:
            return
        ids = self.wiring.recurrent[index]
        self.taps.note_spikes(start + first + steps + 1, ids)
        n_parrots = len(self.wiring.parrots)
        mine = (source < n_parrots) & (first + at > 0)
        arriving, parrots = start + first + at[mine], self.wiring.parrots[source[mine]]
        stamps = np.concatenate([start + first + steps + 1, arriving])
        senders = np.concatenate([ids, parrots])
        order = np.lexsort((senders, stamps))
        for tap, weight in zip(self.taps.weights, self._weights, strict=True):
            late = stamps[order] == start + self.n_steps  # too late for neurons, not for readouts
            late &= ~np.isin(senders[order], self.wiring.parrots)
            lost = late[:, None] & ~np.isin(tap.target, self.wiring.readouts)
            tap.write_arrivals(stamps[order], senders[order], weight, lost)

    def _note_first_arrivals(self, role: str, sources: np.ndarray) -> None:
        """Note the learning rates in force when the first spikes of a batch arrive at synapses."""
        new = sources[~self._spiked[role][sources]]
        self._spiked[role][new] = True
        for (model, other), rates in self._next.items():
            if other == role:
                rates[new] = self.etas[model]

    def _record_signals(self, last: int) -> None:
        """Record signals, targets and errors of readouts in steps up to `last`, and the learning signals."""
        first, start = self._errors, self._first
        if last <= first:
            return
        target = self.targets.get_steps(start + first + 2, start + last + 2)
        signal, inside = self.engine.show_signal()[first:last], self._window[first:last]
        error = self._loss.evaluate(signal, target, inside).error
        made = self._loss.output(signal) if len(self.wiring.readouts) else signal
        for field, values in (("readout_signal", made), ("target_signal", target), ("error_signal", error)):
            self.taps.write_readouts(field, start + first + 2, values * inside[:, None])
        self.record_learning_signals(start + first + 3, error)
        self._errors = last

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Record the rest of an interval before the optimizer steps."""
        self._record_signals(self.n_steps)
        self._errors = 0
        if self._loses and self._learns:
            self._drop_lost_signals(outcome.error[-1])
        following = self._first + self.n_steps
        self.targets.drop_before(following + 2)
        self.currents.drop_before(following)

    def _drop_lost_signals(self, error: np.ndarray) -> None:
        """Subtract the learning signals that NEST loses, see `lost_signals`."""
        stamps, engine = self.pending_inputs.stamps, self.engine
        early = np.unique(self.pending_inputs.sources[stamps == self._first + self.n_steps + EARLY])
        if len(early) and engine.n_neurons:
            subtract_lost_signals(self.network, engine.gradient, early, engine.inputs, error, self._surrogate)
        if self._count and engine.log.ptr[1] > 0:
            warn_once(
                "neurons spiked in the first step of an update interval; what NEST loses there is kept",
                self.exchange.rank,
            )

    def after_batch(self, simulation: Watched, first: int, n: int, phase: str) -> None:
        """Set the learning rate of each source to the rate at its previous update, as in NEST."""
        earliest = first == 0
        for key, latest in () if earliest else self._latest.items():
            spiked = self._spiked[key[1]]
            latest[spiked] = self._next[key][spiked]
        for spiked in self._spiked.values():
            spiked[:] = False
        for item in self.engine.plastic:
            model, pre = self.wiring.models[item.name], item.span.projection.pre
            source = self.model.offset(pre) + item.span.find_sources(np.arange(item.span.n_rows))
            latest = self._latest[model, pre.role][source]
            rows = np.where(np.isnan(latest), self.first_etas[model], latest)
            item.eta = self.first_etas[model] if earliest else self._rates[model]
            item.row_etas = None if np.all(rows == item.eta) else rows

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Weights have changed."""
        self._weights = self.read_watched_weights()
