"""Recordings: columns that grow, and are returned as copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from ..machine import require_bytes
from ..values import Values
from .settings import to_ms

FOREVER_STEPS = 2**62
FIRST = 1024  # rows that a column has room for at first


class Column:
    """An array of numbers of type `kind` that grows at its end, `width` numbers in a row."""

    def __init__(self, kind: DTypeLike, width: int = 1) -> None:
        self._array, self.n = np.zeros((0, width), kind), 0

    def reserve_rows(self, n: int, what: str) -> None:
        """Have at least `n` rows, new ones 0."""
        if n > len(self._array):
            room = max(n, FIRST, len(self._array) * 3 // 2)
            require_bytes(room * self._array.itemsize * self._array.shape[1], what)
            grown = np.zeros((room, self._array.shape[1]), self._array.dtype)
            grown[: self.n] = self._array[: self.n]
            self._array = grown
        self.n = max(self.n, n)

    def append_values(self, values: np.ndarray, what: str) -> None:
        """Add rows of one number each."""
        n = self.n
        self.reserve_rows(n + len(values), what)
        self._array[n : self.n, 0] = values

    @property
    def rows(self) -> np.ndarray:
        """All rows, a view."""
        return self._array[: self.n]

    def copy_rows(self, n: int, first: int = 0) -> np.ndarray:
        """Rows [first, n), one after the other, a copy that belongs to the script."""
        return self._array[first:n].flatten()


@dataclass(frozen=True)
class Window:
    """When a recorder records: stamps in (start, stop], in steps."""

    start: int
    stop: int


class Segment:
    """Rows of a multimeter at regular stamps, from `first` to at most `stop`.

    `ids` are int64 and ascending, `fields` the recorded quantities; rows are `every` steps apart, `dt` is the
    resolution in ms.
    """

    def __init__(self, ids: np.ndarray, fields: tuple[str, ...], first: int, stop: int, every: int, dt: float) -> None:
        self.ids, self.first, self.stop, self.every, self.dt = ids, first, stop, every, dt
        self._cleared = 0  # rows
        self._columns = {field: Column(float, len(ids)) for field in fields}
        self._times, self._senders = Column(float, len(ids)), Column(np.int64, len(ids))

    def count_rows_until(self, stamp: int) -> int:
        """Number of rows with stamps up to `stamp`."""
        return max(0, (min(stamp, self.stop) - self.first) // self.every + 1) if self._columns else 0

    def reserve_until(self, stamp: int, name: str) -> None:
        """Have rows for all stamps up to `stamp`; the message names `name` when memory is short."""
        n, before = self.count_rows_until(stamp), self._times.n
        for column in (*self._columns.values(), self._times, self._senders):
            column.reserve_rows(n, f"{name}, {len(self.ids)} nodes and {len(self._columns)} quantities in {n} steps,")
        if n > before:
            stamps = self.first + self.every * np.arange(before, n)
            self._times.rows[before:n] = to_ms(stamps, self.dt)[:, None]
            self._senders.rows[before:n] = self.ids

    def write_rows(self, field: str, places: np.ndarray, step: int, values: np.ndarray) -> None:
        """Write values of some nodes from `step` on, see `Meter.write_rows`."""
        low, high = self.count_rows_until(step), self.count_rows_until(step + len(values))
        if high > low:
            chosen = self.first + self.every * np.arange(low, high) - step - 1
            self._columns[field].rows[low:high, places] = values[chosen]

    def list_events(self, clock: int) -> dict[str, np.ndarray]:
        """Return events with stamps before `clock`."""
        n, first = self._count_shown_rows(clock), self._cleared
        shown = {field: column.copy_rows(n, first) for field, column in self._columns.items()}
        return shown | {"senders": self._senders.copy_rows(n, first), "times": self._times.copy_rows(n, first)}

    def count_events(self, clock: int) -> int:
        """Number of events at `clock`."""
        return (self._count_shown_rows(clock) - self._cleared) * len(self.ids)

    def clear_events(self, clock: int) -> None:
        """Drop the events that are shown at `clock`."""
        self._cleared = self._count_shown_rows(clock)

    def _count_shown_rows(self, clock: int) -> int:
        return max(self._cleared, min(self.count_rows_until(clock - 1), self._times.n))


class Meter:
    """A multimeter, whose nodes and window may change between two segments of time.

    Errors of too little memory contain `name`. `ids` are int64 and ascending, the nodes it is connected to; `fields`
    are the recorded quantities. Samples are `every` steps apart, the first one after `offset` steps. It begins to work
    in NEST's step `now`, and steps become visible at most `late` steps after they are over.
    """

    def __init__(
        self,
        name: str,
        ids: np.ndarray,
        fields: tuple[str, ...],
        window: Window,
        every: int,
        offset: int,
        dt: float,
        now: int = 0,
        late: int = 1,
    ) -> None:
        self.name, self.ids, self.fields, self.every, self.offset, self.dt = name, ids, fields, every, offset, dt
        self._late = {field: np.zeros((late, len(ids))) for field in fields}  # of the latest steps, by stamp
        # NEST has no sample in the first step if there is an offset
        self._segments = [self._make_segment(Window(max(window.start, now + (offset > 0)), window.stop))]

    def _make_segment(self, window: Window) -> Segment:
        rows_before = max(0, -(-(window.start + 1 - self.offset) // self.every))
        first = self.offset + rows_before * self.every
        return Segment(self.ids, self.fields, first, window.stop, self.every, self.dt)

    def change_window(self, ids: np.ndarray, window: Window, shown: int, now: int) -> None:
        """Continue with other nodes and another window.

        Values that were not shown yet are checked against the new window, as in NEST, which checks when they are shown.
        `ids` are the nodes, int64 and ascending. Stamps below `shown` are visible, stamps up to `now` are over.
        """
        before = self._segments[-1]
        before.stop = min(before.stop, shown - 1)
        waiting = self._make_segment(Window(max(window.start, shown - 1), min(window.stop, now)))
        waiting.reserve_until(now, self.name)
        for field, rows in self._late.items():
            stamps = np.arange(now + 1 - len(rows), now + 1)
            waiting.write_rows(field, np.arange(len(self.ids)), int(stamps[0]) - 1, rows[stamps % len(rows)])
        self.ids = ids
        self._late = {field: np.zeros((len(rows), len(ids))) for field, rows in self._late.items()}
        self._segments += [waiting, self._make_segment(Window(max(window.start, now), window.stop))]

    def reserve_until(self, stamp: int) -> None:
        """Have rows for all stamps up to `stamp`."""
        self._segments[-1].reserve_until(stamp, self.name)

    def write_rows(self, field: str, places: np.ndarray, step: int, values: np.ndarray) -> None:
        """Write values of some nodes in steps from NEST's step `step` on, whose stamp is one later.

        `field` is one of `fields`; `places` are the indices of the nodes in `ids`, int64 (n_places,); `values` is
        float64 (n_steps, n_places).
        """
        self._segments[-1].write_rows(field, places, step, values)
        late = self._late[field]
        n = min(len(late), len(values))
        stamps = step + 1 + np.arange(len(values) - n, len(values))
        late[(stamps % len(late))[:, None], places] = values[len(values) - n :]

    def list_events(self, clock: int) -> dict[str, np.ndarray]:
        """Return events with stamps before `clock`."""
        parts = [segment.list_events(clock) for segment in self._segments]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if len(parts) > 1 else parts[0]

    def count_events(self, clock: int) -> int:
        """Number of events at `clock`."""
        return sum(segment.count_events(clock) for segment in self._segments)

    def clear_events(self, clock: int) -> None:
        """Drop the events that are shown at `clock`."""
        for segment in self._segments:
            segment.clear_events(clock)


class EventList:
    """A spike recorder or weight recorder: events in order of time.

    Errors of too little memory contain `name`. `fields` has the values of an event other than `senders` and `times`,
    `dt` is the resolution in ms. With `at_arrival` events become visible when the spike arrives, one step after it was
    sent.
    """

    def __init__(self, name: str, window: Window, dt: float, fields: Values, at_arrival: bool) -> None:
        self.name, self.window, self.dt, self._at_arrival = name, window, dt, at_arrival
        self._columns = {key: Column(kind) for key, kind in ({"senders": np.int64, "times": float} | fields).items()}
        self._in_transit: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []  # until they arrive

    def change_window(self, ids: np.ndarray, window: Window, shown: int, now: int) -> None:
        """Continue with another window; arguments as of `Meter.change_window`."""
        self.take_arrivals(shown)
        self.window = window

    def add_events(self, stamps: np.ndarray, early: np.ndarray | float = 0.0, **values: np.ndarray) -> None:
        """Add events in order, those in the window, at times that may be `early` by some ms."""
        if self._at_arrival:
            self._in_transit.append((stamps, values))
        else:
            self._append_events(stamps, early, values)

    def _append_events(self, stamps: np.ndarray, early: np.ndarray | float, values: dict[str, np.ndarray]) -> None:
        inside = (stamps > self.window.start) & (stamps <= self.window.stop)
        n = self._columns["times"].n
        for key, column in ({"times": to_ms(stamps, self.dt) - early} | values).items():
            self._columns[key].append_values(column[inside], f"{self.name} with {self._columns[key].n} events")
        times = self._columns["times"].rows[:, 0]
        if 0 < n < len(times) and times[n] < times[n - 1]:  # of other connections
            order = np.argsort(times, kind="stable")
            for column in self._columns.values():
                column.rows[:] = column.rows[order]

    def take_arrivals(self, clock: int) -> None:
        """Take the events that have arrived at `clock` and lie in the present window."""
        waiting, self._in_transit = self._in_transit, []
        for stamps, values in waiting:
            here = stamps < clock
            self._append_events(stamps[here], 0.0, {key: column[here] for key, column in values.items()})
            if not np.all(here):
                self._in_transit.append((stamps[~here], {key: column[~here] for key, column in values.items()}))

    def list_events(self, clock: int) -> dict[str, np.ndarray]:
        """Return the events that are shown at `clock`."""
        n = self.count_events(clock)
        return {key: column.copy_rows(n) for key, column in self._columns.items()}

    def count_events(self, clock: int) -> int:
        """Number of events at `clock`."""
        self.take_arrivals(clock)
        return self._columns["times"].n

    def clear_events(self, clock: int) -> None:
        """Forget all events that are shown at `clock`; those on their way are shown later."""
        self.take_arrivals(clock)
        for key, column in self._columns.items():
            self._columns[key] = Column(column.rows.dtype)
