"""Transfer the state of a network to a larger one, with more neurons, readouts, inputs and projections.

New parts start as at step 0, with sources that were silent so far. Populations and projections of both networks keep
their names, and the order of their neurons and synapses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..arrays import find_equal, find_places, number_synapses
from ..engines.state import State
from ..network.connectivity import Population
from ..network.local import LocalNetwork
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel import collectives
from ..parallel.mpi import Comm
from ..parallel.spike_log import SpikeLog, gather_log

GONE = -1  # as of `find_places`
Rows = tuple[SynapseTable, np.ndarray]  # a table, and an array with an entry for each of its rows
Length = Callable[[str, int, int], tuple[np.ndarray, np.ndarray]]


def move_values(values: np.ndarray, places: np.ndarray, into: np.ndarray) -> None:
    """Write values to their places on the last axis, those that have one."""
    kept = places >= 0
    into[..., places[kept]] = values[..., kept]


def take_latest_steps(log: SpikeLog, n_steps: int) -> SpikeLog:
    """Return the last steps of a log, empty ones before them where it is shorter."""
    has = len(log.ptr) - 1
    if n_steps <= has:
        return log.slice_steps(has - n_steps, has)
    return SpikeLog.from_arrays(log.ids, np.concatenate([np.zeros(n_steps - has, np.int64), log.ptr]))


class Transfer:
    """Transfers the state of a network to one that contains it.

    `before` and `after` are this rank's parts of the two; `places` has for each role the indices of its members in
    `after`, int64, or `GONE`. `comm` joins the ranks that hold them.

    Attributes
    ----------
    new_readouts : np.ndarray
        int64, readouts that the network before has not.
    """

    def __init__(self, before: LocalNetwork, after: LocalNetwork, places: Mapping[str, np.ndarray], comm: Comm) -> None:
        self.before, self.after, self.places, self.comm = before, after, places, comm
        self.new_readouts = np.setdiff1d(np.arange(after.n_readouts), places["readout"])
        self._known = {item.name for item in before.model.projections}

    def is_new(self, projection: str) -> bool:
        """Whether the network before lacks a projection."""
        return projection not in self._known

    def widen_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return columns of the old readouts at their places among all readouts; other columns are 0."""
        wide = np.zeros((len(rows), self.after.n_readouts), rows.dtype)
        move_values(rows, self.places["readout"], wide)
        return wide

    def gather_columns(self, *columns: np.ndarray) -> list[np.ndarray]:
        """Collective: return columns with the entries of all ranks, in the order of ranks."""
        parts = [columns] if self.comm is None else self.comm.allgather(columns)
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def transfer_neurons(self, old: dict[str, np.ndarray], new: dict[str, np.ndarray], length: Length) -> None:
        """Collective: move arrays whose last axis are neurons.

        `old` and `new` map names to arrays of this rank's neurons; `new` is filled. `length` returns, for a name and
        two different lengths of a ring, the indices in both rings of the values that are kept.
        """
        first, last = self.after.neurons
        places = self.places["recurrent"]
        places = np.where((places >= first) & (places < last), places - first, GONE)
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
                move_values(values, places, array)
                continue
            before, after = length(name, len(values), len(array))
            inner = tuple(slice(0, min(pair)) for pair in zip(values.shape[1:-1], array.shape[1:-1], strict=True))
            part = array[after]
            move_values(values[before][:, *inner], places, part[:, *inner])
            array[after] = part

    def transfer_synapses(self, old: State, new: State) -> None:
        """Collective: copy the state of synapses; equal source, target and delay: in their order."""
        for name in sorted(old.synapses):
            table, span, array = old.synapses[name]
            keys, index = self._name_synapses(table, span, is_old=True)
            keys, values = self.gather_columns(keys, array[index - span.first])
            if name not in new.synapses:
                continue
            table, span, array = new.synapses[name]
            own, index = self._name_synapses(table, span, is_old=False)
            array[index - span.first] = values[find_equal(own, keys)]

    def _name_synapses(self, table: SynapseTable, span: ProjectionSlice, is_old: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return a number for the ends and delay of each synapse of this rank, and its place in the table."""
        source, target, delay, index = table.list_columns(span)
        pre, post = span.projection.pre, span.projection.post
        source, target = self._find_place(pre, source, is_old), self._find_place(post, target, is_old)
        shape = self.after.model.size(pre.role), int(span.projection.delay_range[1]) + 1
        return number_synapses(source, target, delay, shape), index

    def _find_place(self, population: Population, ids: np.ndarray, is_old: bool) -> np.ndarray:
        """Return where members of a population are in the network after, by index in their role."""
        if not is_old:
            return self.after.model.offset(population) + ids
        return self.places[population.role][self.before.model.offset(population) + ids]

    def transfer_rows(self, pairs: Iterable[tuple[Rows, Rows]]) -> None:
        """Collective: copy values of rows, in each pair from the first array to the second."""
        for (table, array), (into, filled) in pairs:
            spans = {span.projection.name: span for span in into.spans}
            for span in table.spans:
                other = spans[span.projection.name]
                own = span.own_rows
                known = np.diff(table.row_ptr)[own] > 0
                keys, values = self.gather_columns(self._name_rows(span, is_old=True)[known], array[own][known])
                keys, first = np.unique(keys, return_index=True)
                place = find_places(self._name_rows(other, is_old=False), keys)
                here = np.flatnonzero(place >= 0)
                filled[other.rows + here] = values[first][place[here]]

    def _name_rows(self, span: ProjectionSlice, is_old: bool) -> np.ndarray:
        """Return a number for the source and delay of each row of a projection."""
        row = np.arange(span.n_rows)
        source = self._find_place(span.projection.pre, span.find_sources(row), is_old)
        return source * 2**31 + span.delays[span.find_blocks(row)]

    def transfer_log(self, log: SpikeLog, n_steps: int, role: str) -> SpikeLog:
        """Collective: return the spikes of all neurons, from this rank's spikes, or of all inputs; see `places`."""
        steps, ids = (log if role == "input" else gather_log(self.comm, log, n_steps)).list_spikes(n_steps)
        places = self.places[role][ids.astype(np.int64)]
        order = np.lexsort((places, steps))
        return SpikeLog.from_spikes(steps[order], places[order], n_steps)

    def sum_latest_onto_readouts(self, spiking: np.ndarray) -> np.ndarray:
        """Collective: return the sums that spikes of these neurons (indices) add to readouts by new projections."""
        table, arriving = self.after.outgoing, [list[float]() for _ in range(self.after.n_readouts)]
        for span in table.spans:
            if self.is_new(span.projection.name):
                offset = self.after.model.offset(span.projection.pre)
                for source, _, _, index in table.yield_chunks(span):
                    mine = index[np.isin(source + offset, spiking)]
                    for readout, weight in zip(table.target[mine].tolist(), table.weight[mine].tolist(), strict=True):
                        arriving[readout].append(weight)
        everybodys = collectives.gather_values(self.comm, arriving)  # rounded once: the same sums on any ranks
        return np.array([math.fsum(itertools.chain(*weights)) for weights in zip(*everybodys, strict=True)])
