"""A network that grows in a run: nodes and connections that are made after the first step.

The network is built again, with the new nodes last among their kind and the new connections in separate projections.
It takes over the state of the old one: voltages, traces, histories, spikes in transit, the state of optimizers. New
nodes and connections start as at step 0, with sources that were silent so far. As in NEST, a new connection carries
spikes that were sent since the last exchange of spikes, and none before.
"""

from __future__ import annotations

import numpy as np

from ..arrays import find_places
from ..engines.sample import Sample
from ..engines.spike_memory import ERRORS
from ..kernels import layout
from ..network.connectivity import Population
from ..network.drawing import list_delays
from ..network.synapse_table import SynapseTable
from ..parallel.spike_log import SpikeLog
from ..values import Later
from .transfer import Transfer, move_values, take_latest_steps

Rates = dict[str, tuple[list[str], float]]  # plastic projection to others that have learned at its rate, and its rate


class Growth(Transfer):
    """Transfers the state of a network to one that was built again; bundles from `first_bundle` on are new."""

    def __init__(self, old: Later, new: Later, first_bundle: int) -> None:
        self.old, self.new, self.first_bundle, self.step = old, new, first_bundle, old.step
        names = ("recurrent", "readouts", "currents")
        recurrent, readouts, currents = (
            find_places(getattr(old.wiring, name), getattr(new.wiring, name)) for name in names
        )
        places = {"input": self._map_inputs(), "recurrent": recurrent, "readout": readouts, "current": currents}
        super().__init__(old.network, new.network, places, new.comm)

    def _map_inputs(self) -> np.ndarray:
        """Source of each input of the old network in the new one."""
        parts = [np.zeros(0, np.int64)]
        before = {item.name: item for item in self.new.model.of_role("input")}
        for population in self.old.model.of_role("input"):
            other = before[population.name]
            places = find_places(list_sources(self.old, population), list_sources(self.new, other))
            parts.append(self.new.model.offset(other) + places)
        return np.concatenate(parts)

    # ---- all clocks --------------------------------------------------------------------------------------------------

    def transfer_clock(self) -> None:
        """Collective: take over the state that clocks of both variants have, except the engine's."""
        old, new = self.old, self.new
        new.step, new.n_spikes = old.step, old.n_spikes
        for train, other in ((new.pending_inputs, old.pending_inputs), (new._parrots, old._parrots)):
            train.add_spikes(other.stamps, self.places["input"][other.sources])
        at_rest = new.engine.constants["E_L"]  # targets of readouts before these are there leave no errors
        new.targets.transfer_state(old.targets, self.places["readout"], at_rest)
        new.window.transfer_state(old.window, self.places["readout"])
        new.currents.transfer_state(old.currents, self.places["current"])
        new.forced.transfer_state(old.forced, self.step)
        for step, error in old._late_signals:
            new._late_signals.append((step, self.widen_rows(error)))
        self._relay_to_new_parrots()
        self._relay_to_late_inputs()
        late = new.pending_inputs.stamps > self.step
        new.spike_trains.set_late_spikes((new.pending_inputs.stamps[late], new.pending_inputs.sources[late]))
        self._silence_new_synapses()
        self._delay_current_start()

    def _delay_current_start(self) -> None:
        """Start the current of new neurons after their first step, as at the start of a run, or with it."""
        (first, last), cells, pieces = self.new.network.neurons, self.new.engine.cells, self.new.network.piece_table
        fresh = np.setdiff1d(np.arange(first, last), self.places["recurrent"]) - first
        constant, current = cells.parameters["I_e"], cells.state["current"]
        current[fresh] = constant[fresh]
        piece = np.searchsorted(pieces[:, layout.FIRST], fresh, side="right") - 1
        late = fresh[pieces[piece, layout.MODEL] & layout.EARLY_CURRENT == 0]
        for array in (constant, current):
            self.new.silence_until(self.step + 1, array, late)

    def _relay_to_new_parrots(self) -> None:
        """Send spikes of the latest step to parrots that are newly connected to other parrots."""
        w, stamps, sources = self.new.wiring, self.new.pending_inputs.stamps, self.new.pending_inputs.sources
        kinds = w.parrots
        for bundle in self.new.bundles[self.first_bundle :]:
            mine = np.flatnonzero(np.isin(bundle.source, kinds) & np.isin(bundle.target, kinds))
            if bundle.records or not len(mine) or bundle.receptor:
                continue
            delay = np.broadcast_to(bundle.delay, len(bundle))[mine]
            source, target = (np.searchsorted(kinds, ids[mine]) for ids in (bundle.source, bundle.target))
            for spike in sources[stamps == self.step].tolist():
                through = source == spike
                self.new.pending_inputs.add_spikes(self.step + delay[through], target[through])
                self.new._parrots.add_spikes(self.step + delay[through], target[through])

    def _relay_to_late_inputs(self) -> None:
        """The same for inputs that spike as many steps after parrots, and are new."""
        model, train = self.new.model, self.new.pending_inputs
        spiking = train.sources[train.stamps == self.step]
        spiking = spiking[spiking < len(self.new.wiring.parrots)]
        for population in model.of_role("input"):
            late = self.new.wiring.extra_delays.get(population.name, 0)
            if late and population.name not in self.old.wiring.extra_delays and population.name.startswith("parrots"):
                train.add_spikes(np.full(len(spiking), self.step + late), model.offset(population) + spiking)

    def _silence_new_synapses(self) -> None:
        """Make new connections drop spikes that were sent before the last exchange of spikes.

        New connections of currents have weights of 0 until later currents can arrive.
        """
        new, least = self.new, (self.new.bundles.delays or (1, 1))[0]
        exchanged = (self.step - 1) // least * least
        new.counted_since |= self.old.counted_since
        for name, (_, span) in new._synapses.items():
            pre = span.projection.pre
            if pre.role != "readout" and self.is_new(name):
                at_once = pre.role == "current" or pre.name.startswith("generators")  # without an exchange
                since = self.step if at_once else exchanged
                late = new.wiring.extra_delays.get(pre.name, 0)
                new.counted_since[name] = since + late + (pre.role == "input")  # as long after their stamps
        for name, since in new.counted_since.items():
            table, span = new._synapses[name]
            for _, _, delay, index in table.yield_chunks(span) if span.projection.pre.role == "current" else ():
                opens = since + delay
                for when in np.unique(opens[opens > self.step]).tolist():
                    new.silence_until(when, table.weight, index[opens == when])

    def connects_old_currents(self) -> bool:
        """Whether generators of currents that were there have new connections."""
        there = self.old.wiring.currents
        return any(
            not bundle.records and np.isin(bundle.source, there).any()
            for bundle in self.new.bundles[self.first_bundle :]
        )

    def connects_old_errors(self, window: np.ndarray) -> bool:
        """Whether neurons that were there get learning signals through new connections, of errors before these."""
        if not np.any(window):
            return False
        for bundle in self.new.bundles[self.first_bundle :]:
            if bundle.model.base.startswith("eprop_learning_signal"):
                ends = (bundle.source, self.old.wiring.readouts), (bundle.target, self.old.wiring.recurrent)
                if np.any(np.isin(*ends[0]) & np.isin(*ends[1])):
                    return True
        return False

    # ---- engines of the interval variant -----------------------------------------------------------------------------

    def transfer_interval_engine(self, done: int, n_updates: int) -> None:
        """Collective: take over the state of an engine that has run `done` steps of its interval.

        Optimizers have made `n_updates` steps where nothing has learned. `resume_interval` comes next.
        """
        old, new = self.old.engine, self.new.engine
        kept, fresh = old.state_within(), new.state_within()
        n_updates = max((item.n_steps for item in old.plastic), default=n_updates)
        plastic = {item.name: {"eta": item.eta, "n_steps": n_updates} for item in new.plastic}
        plastic |= kept.numbers.get("plastic", {})
        move_values(kept.shared["y"], self.places["readout"], new.y)
        new.load_state({"goes_on": False} | kept.numbers | {"plastic": plastic}, {"y": new.y})
        new.gradient.n_collected = old.gradient.n_collected

        def find_kept(name: str, n: int, other: int) -> tuple[np.ndarray, np.ndarray]:
            kept = np.arange(min(n, other)) + (done if name == "ring" else 0)  # which has the coming steps
            return (kept % n, kept % other) if name == "ring" else (kept, kept)

        self.transfer_synapses(kept, fresh)
        self.transfer_neurons(kept.neurons, fresh.neurons, find_kept)
        new.refresh_derived()

    def resume_interval(self, past: Sample | None) -> None:
        """Collective: continue within an interval, after the readouts' step ahead of `Interval.run_before`.

        `past` holds the inputs of the steps that are over, None without any.
        """
        old, new, readouts = self.old.engine, self.new.engine, self.new_readouts
        done, spiking = 0, np.zeros(0, np.int64)
        if past is not None:
            done = len(past.inputs.ptr) - 1
            spikes = self.transfer_log(old.get_own_spikes(), done, "recurrent")
            new.begin_interval(SpikeLog(new.n_steps), None, reset=False)
            new.feed_steps(0, past)
            new.channel.load(spikes, done)
            new.signal[:done] = self.widen_rows(old.signal[:done])
            spiking = spikes.slice_steps(done - 1, done).ids
        new.y[readouts] = new.constants["alpha"][readouts] * new.y[readouts]  # no current in their first step
        new.y += new.constants["zeta"] * self.sum_latest_onto_readouts(spiking)
        if done:
            new.signal[done - 1] = new.y

    # ---- engines of the spike variant --------------------------------------------------------------------------------

    def can_transfer_sums(self) -> bool:
        """Whether sums of learning can continue in the new engine as the old one has made them."""
        old, new = self.old.engine, self.new.engine
        lost = [b for a, b in zip(old.memory.blocks, new.memory.blocks, strict=False) if a not in (0, b)]
        same = (old.plan.sets, old.plan.m) == (new.plan.sets, new.plan.m)
        return not lost and (same or not old.plastic)

    def transfer_spike_engine(self, rates: Rates) -> None:
        """Collective: take over the state of an engine between samples, if `can_transfer_sums`."""
        old, new = self.old.engine, self.new.engine
        kept, time, memory = old.state(), old.time, new.memory
        steps, shared = time - memory.first_step(time), {"y": new.y}
        move_values(kept.shared["y"], self.places["readout"], new.y)
        for name in ERRORS:
            shared[name], entries = np.zeros_like(memory.history[name]), self.widen_rows(kept.shared[name])
            before, after = memory.find_kept(name, len(entries), len(shared[name]), time)
            shared[name][after] = entries[before]
        inputs = SpikeLog.from_arrays(kept.shared["inputs_ids"], kept.shared["inputs_ptr"])
        for name, log, role in (("inputs", inputs, "input"), ("spikes", kept.spikes["spikes"](), "recurrent")):
            whole = take_latest_steps(self.transfer_log(log, len(log.ptr) - 1, role), steps)
            shared |= {f"{name}_ids": whole.ids, f"{name}_ptr": whole.ptr}
        numbers, own = dict(kept.numbers), new.state().numbers
        numbers |= {key: own[key] for key in ("blocks", "algorithms")}
        numbers["plastic"] = own.get("plastic", {}) | kept.numbers.get("plastic", {})
        new.load_state(numbers, shared)
        fresh = new.state()
        self.transfer_neurons(
            kept.neurons, fresh.neurons, lambda name, n, other: memory.find_kept(name, n, other, time)
        )
        self.transfer_synapses(kept, fresh)
        self.transfer_rows((kept.rows[name], fresh.rows[name]) for name in sorted(kept.rows.keys() & fresh.rows.keys()))
        self._transfer_rates(rates)
        new.refresh_derived()

    def _transfer_rates(self, rates: Rates) -> None:
        """Collective: take over which rates of learning were there when."""
        old, new = self.old.engine.memory, self.new.engine.memory
        for before, after in zip(old.tables[:2], new.tables[:2], strict=True):
            table, into, rates_before, rates_after = before.table, after.table, before.rows.rates, after.rows.rates
            if not len(rates_before.since):
                continue
            rates_after.first = np.full(len(into.row_ptr) - 1, layout.NEVER)
            self.transfer_rows([((table, np.asarray(rates_before.first)), (into, np.asarray(rates_after.first)))])
            names = [name for name, _ in list_blocks(table)]
            of_projection = dict(zip(names, np.asarray(rates_before.values).T, strict=True))
            known = {span.projection.name: set(list_delays(span.projection)) for span in table.spans}
            past = np.zeros((len(rates_before.since), len(into.blocks)))
            for place, (name, delay) in enumerate(list_blocks(into)):
                others, rate = rates.get(name, ([], 0.0))
                like = [of_projection[other] for other in others if other in of_projection]
                own = delay in known.get(name, ())
                past[:, place] = of_projection[name] if own else like[-1] if like else rate
            rates_after.since, rates_after.values = np.array(rates_before.since), past


def list_blocks(table: SynapseTable) -> list[tuple[str, int]]:
    """Return projection and delay of each block of a table."""
    return [(span.projection.name, int(delay)) for span in table.spans for delay in span.delays]


def list_sources(clock: Later, population: Population) -> np.ndarray:
    """Return identifiers of the sources of a population: ids of nodes, or numbers of Poisson trains; ascending."""
    if population.name.startswith("parrots"):  # or those that are as many steps late
        return clock.wiring.parrots
    if population.name.startswith("generators"):
        return clock.wiring.direct
    return np.arange(population.size)
