"""What recorders hold: columns that grow, and are handed out as copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import require_bytes
from .catalogue import FOREVER
from .settings import to_ms

FIRST = 1024  # rows that a column has room for at first


class Column:
    """An array that grows at its end.

    Parameters
    ----------
    kind : np.dtype
        Type of its numbers.
    width : int
        Numbers in a row.
    """

    def __init__(self, kind: Any, width: int = 1) -> None:
        self._array, self.n = np.zeros((0, width), kind), 0

    def reserve(self, n: int, what: str) -> None:
        """Have at least `n` rows, new ones 0."""
        if n > len(self._array):
            room = max(n, FIRST, len(self._array) * 3 // 2)
            require_bytes(room * self._array.itemsize * self._array.shape[1], what)
            grown = np.zeros((room, self._array.shape[1]), self._array.dtype)
            grown[: self.n] = self._array[: self.n]
            self._array = grown
        self.n = max(self.n, n)

    def append(self, values: np.ndarray, what: str) -> None:
        """Add rows of one number each."""
        n = self.n
        self.reserve(n + len(values), what)
        self._array[n : self.n, 0] = values

    @property
    def rows(self) -> np.ndarray:
        """All rows, a view."""
        return self._array[: self.n]

    def flat(self, n: int, first: int = 0) -> np.ndarray:
        """Rows [first, n), one after the other, a copy that belongs to the script."""
        return self._array[first:n].flatten()


class Window:
    """When a recorder records: stamps in (start, stop], in steps.

    Parameters
    ----------
    block, local : Block, int
        The device.
    dt : float
        Resolution in ms.
    """

    def __init__(self, block: Any, local: int, dt: float) -> None:
        origin, start, stop = (float(block.get(key, local)) for key in ("origin", "start", "stop"))
        self.start = round((origin + start) / dt)
        self.stop = 2**62 if stop >= FOREVER else round((origin + stop) / dt)


class Meter:
    """A multimeter.

    Parameters
    ----------
    name : str
        Told when memory is short.
    ids : np.ndarray
        int64 ascending, the nodes it is connected to.
    fields : tuple of str
        What it records.
    window : Window
        When it records.
    every, offset : int
        Steps between samples, and of the first one.
    dt : float
        Resolution in ms.
    now : int
        NEST's step in which it begins to work.
    """

    def __init__(
        self, name: str, ids: np.ndarray, fields: tuple[str, ...], window: Window, every: int, offset: int, dt: float,
        now: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.ids, self.fields, self.every, self.dt = name, ids, fields, every, dt
        after = max(window.start, now + (offset > 0)) + 1  # NEST has no sample in the first step if there is an offset
        self.first = offset + max(0, -(-(after - offset) // every)) * every  # stamp of the first row
        self.stop = window.stop
        self._cleared = 0  # rows
        self._columns = {field: Column(float, len(ids)) for field in fields}
        self._times, self._senders = Column(float, len(ids)), Column(np.int64, len(ids))

    def rows_up_to(self, stamp: int) -> int:
        """Number of rows with stamps up to `stamp`."""
        return max(0, (min(stamp, self.stop) - self.first) // self.every + 1) if self.fields else 0

    def reserve(self, stamp: int) -> None:
        """Have rows for all stamps up to `stamp`."""
        n, before = self.rows_up_to(stamp), self._times.n
        for column in (*self._columns.values(), self._times, self._senders):
            column.reserve(n, f"{self.name}, {len(self.ids)} nodes and {len(self.fields)} quantities in {n} steps,")
        if n > before:
            stamps = self.first + self.every * np.arange(before, n)
            self._times.rows[before:n] = to_ms(stamps, self.dt)[:, None]
            self._senders.rows[before:n] = self.ids

    def put(self, field: str, places: np.ndarray, step: int, values: np.ndarray) -> None:
        """Write what some nodes showed in steps from `step` on.

        Parameters
        ----------
        field : str
            One of `fields`.
        places : np.ndarray
            int64 (n_places,), of the nodes in `ids`.
        step : int
            NEST's, whose stamp is one later.
        values : np.ndarray
            float64 (n_steps, n_places).
        """
        low, high = self.rows_up_to(step), self.rows_up_to(step + len(values))
        if high > low:
            chosen = self.first + self.every * np.arange(low, high) - step - 1
            self._columns[field].rows[low:high, places] = values[chosen]

    def events(self, clock: int) -> dict[str, np.ndarray]:
        """What is shown at `clock`: everything with earlier stamps."""
        n, first = min(self.rows_up_to(clock - 1), self._times.n), self._cleared
        shown = {field: column.flat(n, first) for field, column in self._columns.items()}
        return shown | {"senders": self._senders.flat(n, first), "times": self._times.flat(n, first)}

    def count(self, clock: int) -> int:
        """Number of events at `clock`."""
        return (min(self.rows_up_to(clock - 1), self._times.n) - self._cleared) * len(self.ids)

    def clear(self, clock: int) -> None:
        """Show no more what is shown at `clock`."""
        self._cleared = min(self.rows_up_to(clock - 1), self._times.n)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(column.rows.nbytes for column in (*self._columns.values(), self._times, self._senders))


class EventList:
    """A spike recorder or weight recorder: events in order of time.

    Parameters
    ----------
    name : str
        Told when memory is short.
    window : Window
        When it records.
    dt : float
        Resolution in ms.
    fields : dict
        What each event has besides `senders` and `times`.
    at_arrival : bool
        Whether events are shown when the spike arrives, one step after it was sent.
    """

    def __init__(self, name: str, window: Window, dt: float, fields: dict[str, Any], at_arrival: bool) -> None:
        self.name, self.window, self.dt, self.at_arrival = name, window, dt, at_arrival
        self._columns = {key: Column(kind) for key, kind in ({"senders": np.int64, "times": float} | fields).items()}

    def add(self, stamps: np.ndarray, early: np.ndarray | float = 0.0, **values: np.ndarray) -> None:
        """Add events in order, those in the window, at times that may be `early` by some ms."""
        inside = (stamps > self.window.start) & (stamps <= self.window.stop)
        n = self._columns["times"].n
        for key, column in ({"times": to_ms(stamps, self.dt) - early} | values).items():
            self._columns[key].append(column[inside], f"{self.name} with {self._columns[key].n} events")
        times = self._columns["times"].rows[:, 0]
        if 0 < n < len(times) and times[n] < times[n - 1]:  # of other connections
            order = np.argsort(times, kind="stable")
            for column in self._columns.values():
                column.rows[:] = column.rows[order]

    def events(self, clock: int) -> dict[str, np.ndarray]:
        """What is shown at `clock`."""
        n = self.count(clock)
        return {key: column.flat(n) for key, column in self._columns.items()}

    def count(self, clock: int) -> int:
        """Number of events at `clock`."""
        n = self._columns["times"].n
        times = self._columns["times"].rows[:, 0]
        return int(np.searchsorted(times, (clock - 0.5) * self.dt)) if self.at_arrival else n

    def clear(self, clock: int) -> None:
        """Forget all events that are shown at `clock`; those on their way are shown later."""
        n = self.count(clock)
        for key, column in self._columns.items():
            self._columns[key] = kept = Column(column.rows.dtype)
            kept.append(column.rows[n:, 0], self.name)
