"""A network that grows in a run: nodes and connections that are made after the first step.

The network is built anew, with the new nodes last among their kind and the new connections in projections of their own,
and takes over what the old one has: voltages, traces, histories, spikes on their way, the state of optimizers. What is
new starts as it would at step 0, with sources that were silent so far. As in NEST, a new connection carries spikes
that were sent since the last exchange of spikes, and none before.
"""

from __future__ import annotations

import numpy as np

from ..engines.transfer import Transfer, find_places
from ..kernels import layout
from ..network.connectivity import Population
from ..values import Later


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


def list_sources(clock: Later, population: Population) -> np.ndarray:
    """What tells the sources of a population apart: ids of nodes, or numbers of Poisson trains; ascending."""
    if population.name.startswith("parrots"):  # or those that are as many steps late
        return clock.wiring.parrots
    if population.name.startswith("generators"):
        return clock.wiring.direct
    return np.arange(population.size)
