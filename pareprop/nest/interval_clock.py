"""Time in the interval variant: update intervals, of which the present one is run as far as its inputs are known.

Interval k starts with NEST's step 2 + k T, when the first inputs can arrive; readouts are one step later, and what they
compare with the target one more. See `catalogue` for what is recorded when.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..engines.interval import Interval, IntervalSettings
from ..engines.sample import Sample
from ..network.losses import LOSSES
from ..parallel.collectives import maximum
from ..parallel.spike_log import SpikeLog, gather_log
from ..simulation.observer import Outcome, Watched
from ..values import Later
from .clock import Clock
from .errors import EARLIER, notice, refuse
from .growth import Growth
from .lost_signals import EARLY, take_back
from .network import Wiring
from .settings import check_intervals
from .taps import Taps
from .transfer import move

BEFORE = 2  # NEST's steps before the first interval of the neurons; of the readouts one more


class IntervalClock(Clock):
    """The clock of `*_bsshslm_2020` models.

    Parameters
    ----------
    session, wiring, taps : object
        As for `Clock`.
    """

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
        self._waiting = np.zeros(0, np.int64)  # neurons whose spikes arrive when time goes on
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
            self.engine.keep_gradients()  # in arrays of which `take_back` may take

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
            self._before()
        while self._started and (n := end - self._first - self._done) > 0:
            self._check_rates()
            first = self._done % self.n_steps
            self.simulation.advance(min(n, self.n_steps - first), learn=self._learns)
            self._show(first, self._done)
            self._signals(self._done - 1)

    def take_over(self, growth: Growth) -> None:
        """Collective: see `Clock.take_over`; the present interval goes on after the steps that are done."""
        old, engine, done = growth.old, self.engine, growth.old._done
        if 0 < old.step < BEFORE:
            raise refuse("nodes and connections made after the first step, before the second", EARLIER)
        if len(growth.new_readouts) and self._loss is not LOSSES["mean_squared_error"]:
            raise refuse("readouts with a softmax after the first step", EARLIER)
        if old._started and growth.hears_old_errors(self._window[:done]):
            raise refuse("learning signals from readouts to neurons that were there, after the first step", EARLIER)
        if old._started and growth.feels_old_currents():
            raise refuse(
                "connections of a generator of currents that was there, after the first step", "create another one"
            )
        growth.carry_clock()
        past = None
        if done:
            past = self._piece(old._first, 0, growth.carry_log(old.engine.inputs, done, "input"))
        self.simulation.follow(old.simulation, past)
        self._errors, self._started, self._rates = old._errors, old._started, dict(old._rates)
        for role, spiked in self._spiked.items():
            move(old._spiked[role], growth.places[role], spiked)
        for mine, before in ((self._next, old._next), (self._latest, old._latest)):
            for key in mine.keys() & before.keys():
                move(before[key], growth.places[key[1]], mine[key])
        recurrent = growth.places["recurrent"]
        self._waiting, self._last = (recurrent[index.astype(np.int64)] for index in (old._waiting, old._last))
        growth.carry_interval(done, self.simulation.iteration)
        if self._started:
            growth.resume_interval(past)
        self._weights = self.read_watched_weights()
        self._show_known(growth.old.taps, growth.widen)
        if self._started and len(growth.new_readouts):
            for field in ("V_m", "readout_signal_unnorm"):
                self.taps.put_readouts(field, self._first + done, engine.y[None] + engine.constants["E_L"])
        self.count_since(self._first)

    def _before(self) -> None:
        """The steps before the first interval, in which nothing but currents can arrive."""
        if np.any(self.forced.take(0, BEFORE)):
            raise refuse("ignore_and_spike in the first two steps", "set ignore_and_spike_offset to at least 3 steps")
        self.engine.run_before(Sample(self.train.take(0, BEFORE), currents=self.currents.of(0, BEFORE)), BEFORE + 1)
        if maximum(self.comm, int(self.engine.get_own_spikes().ptr[BEFORE]) > 0):
            raise refuse("spikes in the first two steps", "start with V_m below V_th")
        self.put_dynamics(0, 0, BEFORE)
        self._show_readouts(0, 0, BEFORE + 1)
        self._started = True

    def _keep(self, last: int) -> None:
        """Collective: note the spikes of the interval's last step, if there are synapses that keep them."""
        if any(item.pre.role == item.post.role == "recurrent" and not item.plastic for item in self.model.projections):
            self._last = gather_log(self.comm, self.engine.get_own_spikes().part(last - 1, last), 1).spikes(1)[1]

    def _check_rates(self) -> None:
        """The rate of an interval is that of its first spikes; scripts change it when NEST's intervals end, two steps
        before the neurons' do.
        """
        if 1 < self._done < self.n_steps - BEFORE and self._rates != self.etas:
            raise refuse(
                "another learning rate within an update interval",
                f"change eta when the time is a multiple of {self.n_steps * self.dt:g} ms",
            )

    def piece(self, first: int, last: int) -> Sample:
        """What happens in steps [first, last) since the first interval began, see `OpenTask`."""
        place = first % self.n_steps
        first, last = BEFORE + first, BEFORE + last
        if not place:
            self.count_since(first)
            if len(self._last):
                self._pass_on()
        if place <= 1:
            self._rates = dict(self.etas)
        index = self.forced.index
        due = np.zeros((self.n_steps, len(index)), bool)
        due[place : place + last - first] = self.forced.take(first, last)
        self.engine.force(index, due)
        return self._piece(first, place, self.train.take(first, last))

    def _piece(self, first: int, place: int, inputs: SpikeLog) -> Sample:
        n = len(inputs.ptr) - 1
        return Sample(inputs, currents=self.currents.of(first, first + n), window=self._window[place : place + n])

    def _pass_on(self) -> None:
        """Let spikes of an interval's last step arrive in step 0 of the next one.

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
                source, target, _, index = table.columns(span)
                here = target - span.targets[0] + span.base
                found.append(np.stack([offset + source, here, np.full_like(index, port), index]))
        fixed = np.concatenate(found, axis=1)
        return fixed[:, np.argsort(fixed[0], kind="stable")]

    def late_target(self) -> np.ndarray:
        """Targets of the present interval, the last one of which is known a step after it, see `LateTask`."""
        if self._loses:
            self._surrogate = self.engine.psi[:, 0].astype(float)  # learning will overwrite it
        targets = self.targets.of(self._first + 2, self._first + self.n_steps + 2)
        return np.where(self._window[:, None], targets, 0.0)  # scripts may have none elsewhere, but NaN

    def _show(self, first: int, last: int) -> None:
        """Record what was in steps [first, last) of the interval."""
        start, inputs = self._first, self.engine.inputs.part(first, last)
        if last == self.n_steps:
            self._keep(last)
        self.put_dynamics(start + first, first, last)
        self._show_readouts(start + 1, first, last)
        self._show_spikes(start, first, last, inputs)

    def _show_readouts(self, start: int, first: int, last: int) -> None:
        """Show voltages of the readouts, and what a softmax is made of."""
        shown = self.engine.show_signal()[first:last]
        self.taps.put_readouts("V_m", start + first, shown)
        plain = self._loss is LOSSES["mean_squared_error"]
        self.taps.put_readouts("readout_signal_unnorm", start + first, shown if plain else np.exp(shown))

    def _show_spikes(self, start: int, first: int, last: int, inputs: SpikeLog) -> None:
        log = gather_log(self.comm, self.engine.get_own_spikes().part(first, last), last - first)
        steps, index = log.spikes(last - first)
        self.n_spikes += len(steps)
        at, source = inputs.spikes(last - first)
        self._arrive("recurrent", self._waiting)
        self._arrive("recurrent", index[steps < last - first - 1])
        self._arrive("input", source[first + at > 0])
        self._waiting = index[(steps == last - first - 1) & (first + steps < self.n_steps - 1)]
        if not self.taps.wants_spikes:
            return
        ids = self.wiring.recurrent[index]
        self.taps.put_spikes(start + first + steps + 1, ids)
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
            tap.spikes(stamps[order], senders[order], weight, lost)

    def _arrive(self, role: str, sources: np.ndarray) -> None:
        """Note the rates with which the first spikes of a batch meet the synapses of their sources."""
        new = sources[~self._spiked[role][sources]]
        self._spiked[role][new] = True
        for (model, other), rates in self._next.items():
            if other == role:
                rates[new] = self.etas[model]

    def _signals(self, last: int) -> None:
        """Show what readouts compare with their targets in steps up to `last`, and the learning signals."""
        first, start = self._errors, self._first
        if last <= first:
            return
        target = self.targets.of(start + first + 2, start + last + 2)
        signal, inside = self.engine.show_signal()[first:last], self._window[first:last]
        error = self._loss.evaluate(signal, target, inside).error
        made = self._loss.output(signal) if len(self.wiring.readouts) else signal
        for field, values in (("readout_signal", made), ("target_signal", target), ("error_signal", error)):
            self.taps.put_readouts(field, start + first + 2, values * inside[:, None])
        self.put_signals(start + first + 3, error)
        self._errors = last

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """All is known of an interval, which is about to be learned from."""
        self._signals(self.n_steps)
        self._errors = 0
        if self._loses and self._learns:
            self._lose(outcome.error[-1])
        following = self._first + self.n_steps
        self.targets.forget(following + 2)
        self.currents.forget(following)

    def _lose(self, error: np.ndarray) -> None:
        """Lose what NEST does, see `lost_signals`."""
        stamps, engine = self.train.stamps, self.engine
        early = np.unique(self.train.sources[stamps == self._first + self.n_steps + EARLY])
        if len(early) and engine.n_neurons:
            take_back(self.network, engine.gradient, early, engine.inputs, error, self._surrogate)
        if self._count and engine.log.ptr[1] > 0:
            notice(
                "neurons spiked in the first step of an update interval; what NEST loses there is kept",
                self.exchange.rank,
            )

    def after_batch(self, simulation: Watched, first: int, n: int, phase: str) -> None:
        """Give each source the rate in force at the update before, as in NEST, for the optimizer's step."""
        earliest = first == 0
        for key, latest in () if earliest else self._latest.items():
            spiked = self._spiked[key[1]]
            latest[spiked] = self._next[key][spiked]
        for spiked in self._spiked.values():
            spiked[:] = False
        for item in self.engine.plastic:
            model, pre = self.wiring.models[item.name], item.span.projection.pre
            source = self.model.offset(pre) + item.span.source(np.arange(item.span.n_rows))
            latest = self._latest[model, pre.role][source]
            rows = np.where(np.isnan(latest), self.first_etas[model], latest)
            item.eta = self.first_etas[model] if earliest else self._rates[model]
            item.row_etas = None if np.all(rows == item.eta) else rows

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Weights have changed."""
        self._weights = self.read_watched_weights()
