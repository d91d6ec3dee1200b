"""A network that grows in a run: nodes and connections that are made after the first step.

The network is built anew, with the new nodes last among their kind and the new connections in projections of their own,
and takes over what the old one has: voltages, traces, histories, spikes on their way, the state of optimizers. What is
new starts as it would at step 0, with sources that were silent so far. As in NEST, a new connection carries spikes
that were sent since the last exchange of spikes, and none before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from ..engines.state import State
from ..kernels import layout
from ..network.connectivity import Population
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel.spike_log import SpikeLog
from ..values import Later

NEVER_THERE = -1


def find_places(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Places of ids among others, which ascend; `NEVER_THERE` where they are not."""
    place = np.minimum(np.searchsorted(among, ids), max(len(among) - 1, 0))
    there = among[place] == ids if len(among) else np.zeros(len(ids), bool)
    return np.where(there, place, NEVER_THERE)


def move(values: np.ndarray, places: np.ndarray, into: np.ndarray) -> None:
    """Write values to their places on the last axis, those that have one."""
    kept = places >= 0
    into[..., places[kept]] = values[..., kept]


class Growth:
    """What a network that was built anew takes over from the one before.

    Parameters
    ----------
    old, new : Clock
        The networks; `new` has not run.
    first_bundle : int
        Bundles from there on are new.
    """

    def __init__(self, old: Later, new: Later, first_bundle: int) -> None:
        self.old, self.new, self.first_bundle = old, new, first_bundle
        self.comm, self.step = new.comm, old.step
        self.recurrent = find_places(old.wiring.recurrent, new.wiring.recurrent)
        self.readouts = find_places(old.wiring.readouts, new.wiring.readouts)
        self.currents = find_places(old.wiring.currents, new.wiring.currents)
        self.inputs = self._map_inputs()
        self.new_readouts = np.setdiff1d(np.arange(len(new.wiring.readouts)), self.readouts)

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
        for name, map_ in (("train", self.inputs), ("_parrots", self.inputs)):
            getattr(new, name).add(getattr(old, name).stamps, map_[getattr(old, name).sources])
        new.targets.take_over(old.targets, self.readouts, self._rest())
        new.window.take_over(old.window, self.readouts)
        new.currents.take_over(old.currents, self.currents)
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
        (first, last), cells, pieces = self.new.network.neurons, self.new.engine.cells, self.new.network.pieces
        fresh = np.setdiff1d(np.arange(first, last), self.recurrent) - first
        constant, current = cells.parameters["I_e"], cells.state["current"]
        current[fresh] = constant[fresh]
        piece = np.searchsorted(pieces[:, layout.FIRST], fresh, side="right") - 1
        late = fresh[pieces[piece, layout.MODEL] & layout.EARLY_CURRENT == 0]
        for array in (constant, current):
            self.new.close(self.step + 1, array, late)

    def _rest(self) -> np.ndarray:
        """What readouts show before they are there, for targets that leave no errors then."""
        return self.new.engine.constants["E_L"]

    def widen(self, rows: np.ndarray) -> np.ndarray:
        """Columns of the old readouts among those of the new ones, which are 0."""
        wide = np.zeros((len(rows), len(self.new.wiring.readouts)), rows.dtype)
        move(rows, self.readouts, wide)
        return wide

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
            if pre.role != "readout" and (self.is_new(name) or self._is_new_train(name, pre)):
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

    def _is_new_train(self, projection: str, population: Population) -> bool:
        if projection in self.new.wiring.origin:
            return False
        return all(population.name != item.name for item in self.old.model.of_role("input"))

    def is_new(self, projection: str) -> bool:
        """Whether the connections of a projection are new."""
        members = self.new.wiring.origin.get(projection, ())
        return bool(members) and members[0][0] >= self.first_bundle

    # ---- engines -----------------------------------------------------------------------------------------------------

    def carry_neurons(self, old: dict[str, np.ndarray], new: dict[str, np.ndarray], length: Callable) -> None:
        """Collective: take over arrays whose last axis are neurons.

        Parameters
        ----------
        old, new : dict
            Name to array of this rank's neurons, the new ones to be filled.
        length : Callable
            Returns, for a name and two lengths of a ring that differ, the places in both of what is kept.
        """
        first, last = self.new.network.neurons
        places = np.where((self.recurrent >= first) & (self.recurrent < last), self.recurrent - first, NEVER_THERE)
        for name in sorted(old):
            values = old[name]
            if self.comm is not None:
                values = np.concatenate(self.comm.allgather(np.ascontiguousarray(values)), axis=-1)
            if name not in new or not values.shape[-1] or not new[name].size:
                continue
            array = new[name]
            if array.ndim > values.ndim:  # of neurons with several inputs, of which the others have the first
                array = array[0]
            if values.ndim == 1 or values.shape[:-1] == array.shape[:-1]:
                move(values, places, array)
                continue
            before, after = length(name, len(values), len(array))
            inner = tuple(slice(0, min(pair)) for pair in zip(values.shape[1:-1], array.shape[1:-1], strict=True))
            part = array[after]
            move(values[(before, *inner)], places, part[(slice(None), *inner)])
            array[after] = part

    def carry_synapses(self, old: State, new: State) -> None:
        """Collective: take over what synapses keep."""
        for name in sorted(old.synapses):
            table, span, array = old.synapses[name]
            parts = [
                (which, place, array[local - span.first])
                for (which, place), local in self.old._places(table, span, self.old.wiring.origin[span.projection.name])
            ]
            self._spread(parts, name, new)

    def _spread(self, parts: list, name: str, new: State) -> None:
        gathered = [parts] if self.comm is None else self.comm.allgather(parts)
        if name not in new.synapses:
            return
        table, span, array = new.synapses[name]
        whole: dict[int, np.ndarray] = {}
        for which, place, values in (part for mine in gathered for part in mine):
            whole.setdefault(which, np.zeros(len(self.new.bundles[which]), array.dtype))[place] = values
        for (which, place), local in self.new._places(table, span, self.new.wiring.origin[span.projection.name]):
            array[local - span.first] = whole[which][place]

    def carry_rows(self, old: Iterator[tuple[SynapseTable, np.ndarray, SynapseTable, np.ndarray]]) -> None:
        """Collective: take over what rows keep: of each pair of tables with their arrays, the new ones to be filled."""
        for table, array, into, filled in old:
            spans = {span.projection.name: span for span in into.spans}
            for span in table.spans:
                other = spans[span.projection.name]
                key, values = self._rows(self.old, table, span, array)
                wanted = name_rows(self.new, other)
                order = np.argsort(key, kind="stable")
                place = find_places(wanted, key[order])
                here = np.flatnonzero(place >= 0)
                filled[other.rows + here] = values[order][place[here]]

    def _rows(self, clock: Later, table: SynapseTable, span: ProjectionSlice, array: np.ndarray) -> tuple:
        own = slice(span.rows, span.rows + span.n_rows)
        known = np.diff(table.row_ptr)[own] > 0
        mine = name_rows(clock, span)[known], array[own][known]
        parts = [mine] if self.comm is None else self.comm.allgather(mine)
        keys, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        keys, first = np.unique(keys, return_index=True)
        return keys, values[first]

    def carry_log(self, log: SpikeLog, n_steps: int, of_inputs: bool) -> SpikeLog:
        """Collective: spikes of all sources, from those of this rank's (inputs: of all); the same on all ranks."""
        steps, ids = (log if of_inputs else self.new.gather_spikes(log, n_steps)).spikes(n_steps)
        places = (self.inputs if of_inputs else self.recurrent)[ids.astype(np.int64)]
        order = np.lexsort((places, steps))
        return SpikeLog.of(steps[order], places[order], n_steps)

    def latest_to_readouts(self, spiking: np.ndarray) -> np.ndarray:
        """Collective: what spikes of some neurons, by index, bring to readouts through new connections."""
        arriving = np.zeros(len(self.new.wiring.readouts))
        for name, (table, span) in self.new._synapses.items():
            if self.is_new(name) and span.projection.post.role == "readout":
                offset = self.new.model.offset(span.projection.pre)
                for source, _, _, index in table.chunks(span):
                    mine = np.isin(source + offset, spiking)
                    np.add.at(arriving, table.target[index[mine]].astype(np.int64), table.weight[index[mine]])
        return arriving if self.comm is None else np.sum(self.comm.allgather(arriving), axis=0)

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

    @cached_property
    def new_projections(self) -> list[str]:
        """Names of the projections of new connections."""
        return [name for name in self.new._synapses if self.is_new(name)]


def list_sources(clock: Later, population: Population) -> np.ndarray:
    """What tells the sources of a population apart: ids of nodes, or numbers of Poisson trains; ascending."""
    if population.name.startswith("parrots"):  # or those that are as many steps late
        return clock.wiring.parrots
    if population.name.startswith("generators"):
        return clock.wiring.direct
    return np.arange(population.size)


def name_rows(clock: Later, span: ProjectionSlice) -> np.ndarray:
    """One number for the source and delay of each row of a projection."""
    pre, row = span.projection.pre, np.arange(span.n_rows)
    ids = list_sources(clock, pre) if pre.role in ("input", "current") else clock._ids(pre)
    return ids[span.source(row)] * 2**31 + span.delays[span.block(row)]
