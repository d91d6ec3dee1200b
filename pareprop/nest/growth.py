"""A network that grows in a run: nodes and connections that are made after the first step.

The network is built anew, with the new nodes last among their kind and the new connections in projections of their own,
and takes over what the old one has: voltages, traces, histories, spikes on their way, the state of optimizers. What is
new starts as it would at step 0, with sources that were silent so far. As in NEST, a new connection carries spikes
that were sent since the last exchange of spikes, and none before.
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
from .transfer import Transfer, move, take_latest

Rates = dict[str, tuple[list[str], float]]  # plastic projection to others that have learned at its rate, and its rate


class Growth(Transfer):
    """What a network that was built anew takes over from the one before.

    Parameters
    ----------
    old, new : Clock
        The networks; `new` has not run.
    first_bundle : int
        Bundles from there on are new.
    """

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

    def carry_clock(self) -> None:
        """Collective: take over what clocks of both variants have, but for the engine."""
        old, new = self.old, self.new
        new.step, new.n_spikes = old.step, old.n_spikes
        for train, other in ((new.train, old.train), (new._parrots, old._parrots)):
            train.add(other.stamps, self.places["input"][other.sources])
        at_rest = new.engine.constants["E_L"]  # targets of readouts before these are there leave no errors
        new.targets.take_over(old.targets, self.places["readout"], at_rest)
        new.window.take_over(old.window, self.places["readout"])
        new.currents.take_over(old.currents, self.places["current"])
        new.forced.take_over(old.forced, self.step)
        for step, error in old._late_signals:
            new._late_signals.append((step, self.widen(error)))
        self._relay()
        self._relay_late()
        late = new.train.stamps > self.step
        new.trains.take_over((new.train.stamps[late], new.train.sources[late]))
        self._close()
        self._begin_currents()

    def _begin_currents(self) -> None:
        """Let the current of new neurons begin after their first step, as that of a run begins; or with it."""
        (first, last), cells, pieces = self.new.network.neurons, self.new.engine.cells, self.new.network.piece_table
        fresh = np.setdiff1d(np.arange(first, last), self.places["recurrent"]) - first
        constant, current = cells.parameters["I_e"], cells.state["current"]
        current[fresh] = constant[fresh]
        piece = np.searchsorted(pieces[:, layout.FIRST], fresh, side="right") - 1
        late = fresh[pieces[piece, layout.MODEL] & layout.EARLY_CURRENT == 0]
        for array in (constant, current):
            self.new.close(self.step + 1, array, late)

    def _relay(self) -> None:
        """Parrots that hear others from now on hear what these sent in the latest step."""
        w, stamps, sources = self.new.wiring, self.new.train.stamps, self.new.train.sources
        kinds = w.parrots
        for bundle in self.new.bundles[self.first_bundle :]:
            mine = np.flatnonzero(np.isin(bundle.source, kinds) & np.isin(bundle.target, kinds))
            if bundle.records or not len(mine) or bundle.receptor:
                continue
            delay = np.broadcast_to(bundle.delay, len(bundle))[mine]
            source, target = (np.searchsorted(kinds, ids[mine]) for ids in (bundle.source, bundle.target))
            for spike in sources[stamps == self.step].tolist():
                through = source == spike
                self.new.train.add(self.step + delay[through], target[through])
                self.new._parrots.add(self.step + delay[through], target[through])

    def _relay_late(self) -> None:
        """The same for inputs that spike as many steps after parrots, and are new."""
        model, train = self.new.model, self.new.train
        spiking = train.sources[train.stamps == self.step]
        spiking = spiking[spiking < len(self.new.wiring.parrots)]
        for population in model.of_role("input"):
            late = self.new.wiring.late.get(population.name, 0)
            if late and population.name not in self.old.wiring.late and population.name.startswith("parrots"):
                train.add(np.full(len(spiking), self.step + late), model.offset(population) + spiking)

    def _close(self) -> None:
        """Keep what was sent before the last exchange of spikes from what new connections carry.

        Those of currents have weights of 0 until later ones can arrive.
        """
        new, least = self.new, (self.new.bundles.delays or (1, 1))[0]
        exchanged = (self.step - 1) // least * least
        new.since |= self.old.since
        for name, (_, span) in new._synapses.items():
            pre = span.projection.pre
            if pre.role != "readout" and self.is_new(name):
                at_once = pre.role == "current" or pre.name.startswith("generators")  # without an exchange
                since = self.step if at_once else exchanged
                late = new.wiring.late.get(pre.name, 0)
                new.since[name] = since + late + (pre.role == "input")  # these arrive as long after their stamps
        for name, since in new.since.items():
            table, span = new._synapses[name]
            for _, _, delay, index in table.chunks(span) if span.projection.pre.role == "current" else ():
                opens = since + delay
                for when in np.unique(opens[opens > self.step]).tolist():
                    new.close(when, table.weight, index[opens == when])

    def feels_old_currents(self) -> bool:
        """Whether generators of currents that were there have new connections."""
        there = self.old.wiring.currents
        return any(
            not bundle.records and np.isin(bundle.source, there).any()
            for bundle in self.new.bundles[self.first_bundle :]
        )

    def hears_old_errors(self, window: np.ndarray) -> bool:
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

    def carry_interval(self, done: int, n_updates: int) -> None:
        """Collective: take over the state of an engine that has run `done` steps of its interval.

        Optimizers have made `n_updates` steps where nothing has learned. `resume_interval` comes next.
        """
        old, new = self.old.engine, self.new.engine
        kept, fresh = old.state_within(), new.state_within()
        n_updates = max((item.n_steps for item in old.plastic), default=n_updates)
        plastic = {item.name: {"eta": item.eta, "n_steps": n_updates} for item in new.plastic}
        plastic |= kept.numbers.get("plastic", {})
        move(kept.shared["y"], self.places["readout"], new.y)
        new.load_state({"goes_on": False} | kept.numbers | {"plastic": plastic}, {"y": new.y})
        new.gradient.n_collected = old.gradient.n_collected

        def find_kept(name: str, n: int, other: int) -> tuple[np.ndarray, np.ndarray]:
            kept = np.arange(min(n, other)) + (done if name == "ring" else 0)  # which has the coming steps
            return (kept % n, kept % other) if name == "ring" else (kept, kept)

        self.carry_synapses(kept, fresh)
        self.carry_neurons(kept.neurons, fresh.neurons, find_kept)
        new.refresh()

    def resume_interval(self, past: Sample | None) -> None:
        """Collective: continue within an interval, after the readouts' step ahead of `Interval.run_before`.

        `past` holds the inputs of the steps that are over, None without any.
        """
        old, new, readouts = self.old.engine, self.new.engine, self.new_readouts
        done, spiking = 0, np.zeros(0, np.int64)
        if past is not None:
            done = len(past.inputs.ptr) - 1
            spikes = self.carry_log(old.get_own_spikes(), done, "recurrent")
            new.begin(SpikeLog(new.n_steps), None, reset=False)
            new.feed(0, past)
            new.channel.load(spikes, done)
            new.signal[:done] = self.widen(old.signal[:done])
            spiking = spikes.part(done - 1, done).ids
        new.y[readouts] = new.constants["alpha"][readouts] * new.y[readouts]  # no current in their first step
        new.y += new.constants["zeta"] * self.latest_to_readouts(spiking)
        if done:
            new.signal[done - 1] = new.y

    # ---- engines of the spike variant --------------------------------------------------------------------------------

    def keeps_sums(self) -> bool:
        """Whether sums of learning can continue in the new engine as the old one has made them."""
        old, new = self.old.engine, self.new.engine
        lost = [b for a, b in zip(old.memory.blocks, new.memory.blocks, strict=False) if a not in (0, b)]
        same = (old.plan.sets, old.plan.m) == (new.plan.sets, new.plan.m)
        return not lost and (same or not old.plastic)

    def carry_spike(self, rates: Rates) -> None:
        """Collective: take over the state of an engine between samples, if `keeps_sums`."""
        old, new = self.old.engine, self.new.engine
        kept, time, memory = old.state(), old.time, new.memory
        steps, shared = time - memory.first_step(time), {"y": new.y}
        move(kept.shared["y"], self.places["readout"], new.y)
        for name in ERRORS:
            shared[name], entries = np.zeros_like(memory.history[name]), self.widen(kept.shared[name])
            before, after = memory.find_kept(name, len(entries), len(shared[name]), time)
            shared[name][after] = entries[before]
        inputs = SpikeLog.from_arrays(kept.shared["inputs_ids"], kept.shared["inputs_ptr"])
        for name, log, role in (("inputs", inputs, "input"), ("spikes", kept.spikes["spikes"](), "recurrent")):
            whole = take_latest(self.carry_log(log, len(log.ptr) - 1, role), steps)
            shared |= {f"{name}_ids": whole.ids, f"{name}_ptr": whole.ptr}
        numbers, own = dict(kept.numbers), new.state().numbers
        numbers |= {key: own[key] for key in ("blocks", "ways")}
        numbers["plastic"] = own.get("plastic", {}) | kept.numbers.get("plastic", {})
        new.load_state(numbers, shared)
        fresh = new.state()
        self.carry_neurons(kept.neurons, fresh.neurons, lambda name, n, other: memory.find_kept(name, n, other, time))
        self.carry_synapses(kept, fresh)
        self.carry_rows((kept.rows[name], fresh.rows[name]) for name in sorted(kept.rows.keys() & fresh.rows.keys()))
        self._carry_rates(rates)
        new.refresh()

    def _carry_rates(self, rates: Rates) -> None:
        """Collective: take over which rates of learning were there when."""
        old, new = self.old.engine.memory, self.new.engine.memory
        for table, into, rows, fresh in zip(old.tables[:2], new.tables, old.rows, new.rows, strict=False):
            if not len(rows.rate_since):
                continue
            fresh.first = np.full(len(into.row_ptr) - 1, layout.NEVER)
            self.carry_rows([((table, np.asarray(rows.first)), (into, np.asarray(fresh.first)))])
            of_projection = dict(zip((name for name, _ in list_blocks(table)), np.asarray(rows.rates).T, strict=True))
            known = {span.projection.name: set(list_delays(span.projection)) for span in table.spans}
            past = np.zeros((len(rows.rate_since), len(into.blocks)))
            for place, (name, delay) in enumerate(list_blocks(into)):
                others, rate = rates.get(name, ([], 0.0))
                like = [of_projection[other] for other in others if other in of_projection]
                own = delay in known.get(name, ())
                past[:, place] = of_projection[name] if own else like[-1] if like else rate
            fresh.rate_since, fresh.rates = np.array(rows.rate_since), past


def list_blocks(table: SynapseTable) -> list[tuple[str, int]]:
    """Return projection and delay of each block of a table."""
    return [(span.projection.name, int(delay)) for span in table.spans for delay in span.delays]


def list_sources(clock: Later, population: Population) -> np.ndarray:
    """What tells the sources of a population apart: ids of nodes, or numbers of Poisson trains; ascending."""
    if population.name.startswith("parrots"):  # or those that are as many steps late
        return clock.wiring.parrots
    if population.name.startswith("generators"):
        return clock.wiring.direct
    return np.arange(population.size)
