"""Taps, which copy results of the engines to multimeters and recorders."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from ..arrays import list_ranges
from ..parallel.mpi import Comm
from .connections import Bundle
from .recorders import EventList, Meter

NOBODY = np.zeros(0, np.int64)
AHEAD = 2  # steps by which voltages of readouts are known before they are shown
LATE = 10 * AHEAD  # most entries written for later stamps: all quantities in all of these steps


class Taps:
    """All recorders of a network.

    `spikes` has each spike recorder and how often each node is connected to it, int64 (n_nodes + 1,). `weights` are
    weight recorders with the plastic connections that they watch, `fixed` with the others. `recurrent` and `readouts`
    are int64 ids of nodes by index.

    Attributes
    ----------
    recorded : np.ndarray
        int64 ascending, indices of the recurrent neurons that any meter records.
    """

    def __init__(
        self,
        meters: list[Meter],
        spikes: list[tuple[EventList, np.ndarray]],
        weights: list[WeightTap],
        fixed: list[WeightTap],
        recurrent: np.ndarray,
        readouts: np.ndarray,
    ) -> None:
        self.meters, self._spikes, self.weights, self._fixed = meters, spikes, weights, fixed
        self._noted: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._neurons = [_find_places(meter, recurrent) for meter in meters]
        self._readouts = [_find_places(meter, readouts) for meter in meters]
        index_by_meter = [index for index, _ in self._neurons]
        self.recorded = np.unique(np.concatenate([NOBODY, *index_by_meter]))
        self._shown: deque[tuple[str, int, np.ndarray]] = deque(maxlen=LATE)

    def reserve_until(self, stamp: int) -> None:
        """Have room for everything up to a stamp."""
        for meter in self.meters:
            meter.reserve_until(stamp)

    def records_field(self, field: str) -> bool:
        """Whether anybody records a quantity of neurons."""
        return any(
            field in meter.fields and len(index) for meter, (index, _) in zip(self.meters, self._neurons, strict=True)
        )

    def write_neurons(self, field: str, step: int, values: np.ndarray) -> None:
        """Write a quantity of the `recorded` neurons in steps from `step` on, float64 (n_steps, n_recorded)."""
        for meter, (index, places) in zip(self.meters, self._neurons, strict=True):
            if field in meter.fields and len(index):
                meter.write_rows(field, places, step, values[:, np.searchsorted(self.recorded, index)])

    def write_readouts(self, field: str, step: int, values: np.ndarray) -> None:
        """Write a quantity of all readouts in steps from `step` on, float64 (n_steps, n_readouts)."""
        late = values[-AHEAD:]
        self._shown.append((field, step + len(values) - len(late), late.copy()))
        for meter, (index, places) in zip(self.meters, self._readouts, strict=True):
            if field in meter.fields and len(index):
                meter.write_rows(field, places, step, values[:, index])

    def transfer_state(self, before: Taps, widen: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
        """Take over values for later stamps that were written before these recorders existed.

        `widen` makes rows of the readouts that are there now.
        """
        for field, step, values in tuple(before._shown):
            self.write_readouts(field, step, widen(values))

    def filter_recorded(self, ids: np.ndarray) -> np.ndarray:
        """Return the `ids` whose spikes are recorded."""
        is_connected = [connected[ids] > 0 for _, connected in self._spikes]
        return ids[np.any(is_connected, axis=0)] if is_connected else ids[:0]

    @property
    def records_spikes(self) -> bool:
        """Whether anybody records spikes or weights."""
        return bool(self._spikes or self.weights or self._fixed)

    def note_spikes(self, stamps: np.ndarray, ids: np.ndarray, early: np.ndarray | None = None) -> None:
        """Note spikes, in any order, which were `early` by some ms."""
        self._noted.append((stamps, ids, np.zeros(len(ids)) if early is None else early))

    def write_spikes(self, bundles: list[Bundle]) -> None:
        """Write the spikes that were noted, by time and id, and the weights of connections that do not learn."""
        columns = zip((NOBODY, NOBODY, np.zeros(0)), *self._noted, strict=True)
        stamps, ids, early = (np.concatenate(column) for column in columns)
        order = np.lexsort((ids, -early, stamps))
        stamps, ids, early, self._noted = stamps[order], ids[order], early[order], []
        for recorder, connected in self._spikes:
            n = connected[ids]
            recorder.add_events(np.repeat(stamps, n), np.repeat(early, n), senders=np.repeat(ids, n))
        for tap in self._fixed if len(ids) else ():
            tap.write_arrivals(
                stamps, ids, np.array([bundles[index].weight[place] for index, place in tap.place.tolist()])
            )


class WeightTap:
    """A weight recorder with the connections that it watches; `recorder` takes the events.

    `source`, `target`, `receptor` and `port` of the connections are int64 (n,); `place` has bundles and indices in
    them, int64 (n, 2).
    """

    def __init__(
        self,
        recorder: EventList,
        source: np.ndarray,
        target: np.ndarray,
        receptor: np.ndarray,
        port: np.ndarray,
        place: np.ndarray,
    ) -> None:
        order = np.lexsort((target, source))
        self.recorder, self.source, self.target, self.place = recorder, source[order], target[order], place[order]
        self._receptor, self._port = receptor[order], port[order]

    def write_arrivals(
        self, stamps: np.ndarray, ids: np.ndarray, weight: np.ndarray, lost: np.ndarray | None = None
    ) -> None:
        """Write the weights with which spikes arrive.

        `stamps` and `ids` are int64 (n_spikes,), spikes by ascending stamp; `weight` is float64 (n,), of the
        connections; `lost` is bool (n_spikes, n), True for spikes that do not arrive.
        """
        low, high = np.searchsorted(self.source, ids), np.searchsorted(self.source, ids, side="right")
        spike, which = np.repeat(np.arange(len(ids)), high - low), list_ranges(low, high)
        if lost is not None:
            kept = ~lost[spike, which]
            spike, which = spike[kept], which[kept]
        self.write_weights(stamps[spike], which, weight[which])

    def write_weights(self, stamps: np.ndarray, which: np.ndarray, weight: np.ndarray) -> None:
        """Write weights of some connections."""
        self.recorder.add_events(
            stamps,
            senders=self.source[which],
            targets=self.target[which],
            weights=weight,
            receptors=self._receptor[which],
            ports=self._port[which],
        )


def _find_places(meter: Meter, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices in a role of the nodes of a meter, ascending, and their places in the meter."""
    order = np.argsort(ids)
    position = np.searchsorted(ids[order], meter.ids)
    position = np.minimum(position, max(len(ids) - 1, 0))
    mine = np.flatnonzero(ids[order][position] == meter.ids) if len(ids) else NOBODY
    index = order[position[mine]] if len(mine) else NOBODY
    by_index = np.argsort(index)
    return index[by_index], mine[by_index]


def gather_columns(comm: Comm, columns: np.ndarray) -> np.ndarray:
    """Collective: columns of all ranks side by side, on all of them."""
    return columns if comm is None else np.concatenate(comm.allgather(np.ascontiguousarray(columns)), axis=1)
