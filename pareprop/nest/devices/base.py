"""Base classes of devices, by the part that a device has in a network.

A generator derives from `SpikeSource`, `TrainSource`, `RateSource` or `CurrentSource`, a recorder from `Recorder`. Its
class states its parameters, the values that are refused, and its actions in each step; the device keeps its state when
the network grows. Steps are NEST's, see `stimuli`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ...errors import quote
from ...values import AnyValue, Given, Numbers, Values
from ..errors import NESTErrors, make_refusal
from ..recorders import FOREVER_STEPS, EventList, Meter, Window
from ..settings import MS_PER_TIC

FOREVER = float(np.finfo(float).max)
EMPTY = np.zeros(0)
BACKENDS = ("ascii", "memory", "screen")  # of recorders
FILE = {"precision": 3, "file_extension": "dat"}  # of recorders to text; an extension of those to files
MOST_STEPS = 2**60


class Device:
    """A node of a model of devices.

    `node` is its id, `model` the name of its model or of a copy; `get` returns the value of a parameter, `dt` is the
    resolution in ms.

    Attributes
    ----------
    named : list of type
        All devices with a name of NEST's.
    """

    named: ClassVar[list[type[Device]]] = []
    name: ClassVar[str] = ""  # NEST's
    kind: ClassVar[str] = "stimulator"
    future: ClassVar[tuple[str, ...]] = ()  # lists of times that must be ahead when they are set

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            Device.named.append(cls)

    def __init__(self, node: int, model: str, get: Callable[[str], AnyValue], dt: float) -> None:
        self.node, self.model, self.get, self.dt = node, model, get, dt

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return {"label": "", "origin": 0.0, "start": 0.0, "stop": FOREVER}

    @classmethod
    def check(cls, values: Given, changed: Given, where: str, dt: float) -> None:
        """Check parameters, of which some were just changed; see `catalogue.check_node`."""
        for key in changed.keys() & {"origin", "start", "stop", "offset", "interval"}:
            value = changed[key]
            if not 0.0 <= value <= FOREVER or (value < FOREVER and not abs(value / dt) < MOST_STEPS):
                raise NESTErrors.BadProperty(
                    f"{where}: {key} = {value} must be at least 0, and below {MOST_STEPS} steps"
                )
            if value < FOREVER and abs(value / dt - round(value / dt)) > 1e-9 * max(1.0, abs(value / dt)):
                raise NESTErrors.BadProperty(f"{where}: {key} = {value} must be a multiple of the resolution, {dt}")
        if changed.get("interval", dt) < dt:
            raise NESTErrors.BadProperty(
                f"{where}: interval = {changed['interval']} must be at least the resolution, {dt}"
            )
        if changed.keys() & {"start", "stop"} and np.any(np.asarray(values["stop"]) < values["start"]):
            raise NESTErrors.BadProperty(f"{where}: stop >= start required")

    @property
    def window(self) -> Window:
        """When it works: its stamps lie in (start, stop]."""
        origin, start, stop = (float(self.get(key)) for key in ("origin", "start", "stop"))
        end = FOREVER_STEPS if stop >= FOREVER else round((origin + stop) / self.dt)
        return Window(round((origin + start) / self.dt), end)


class SpikeSource(Device):
    """A generator whose targets all get the same spikes."""

    def list_spikes(self, clock: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return stamps in (clock, end], ascending, and by how many ms their spikes are earlier."""
        raise NotImplementedError


class NumberSource(Device):
    """A generator that follows one number, its `quantity`: `ConstantSource` or a `StepFunction`."""

    quantity: ClassVar[str] = "amplitude"

    def list_values(self, clock: int, end: int) -> Numbers:
        """Return the number, one for all times in (clock, end], or one for each; also of times when it is off."""
        raise NotImplementedError

    def is_on(self, clock: int, end: int) -> np.ndarray:
        """Return whether the device is active at each of the times (clock, end], that is within [start, stop)."""
        times, window = np.arange(clock + 1, end + 1), self.window
        return (times >= window.start) & (times < window.stop)


class RateSource(NumberSource):
    """A generator of targets and learning windows of readouts, which keep the latest amplitude while it is off."""


class CurrentSource(NumberSource):
    """A generator of currents in pA into neurons, 0 while it is off."""


class TrainSource(NumberSource):
    """A Poisson generator: each connection gets different spikes; random numbers are not NEST's."""

    quantity, _random = "rate", None

    @classmethod
    def check(cls, values: Given, changed: Given, where: str, dt: float) -> None:
        """Check parameters, see `Device.check`."""
        super().check(values, changed, where, dt)
        if changed.get("rate", 0.0) < 0:
            raise NESTErrors.BadProperty(f"{where}: rate = {changed['rate']} must be at least 0")
        if np.min(changed.get("rate_values", EMPTY), initial=0.0) < 0:
            raise NESTErrors.BadProperty(
                f"{where}: rate_values hold {np.min(changed['rate_values'])}, must be at least 0"
            )

    def draw_spike_counts(self, clock: int, end: int, n: int, seed: int) -> np.ndarray:
        """Draw the spikes of `n` connections with stamps in (clock, end]: how many, int64 (n_stamps, n)."""
        self._random = self._random or np.random.Generator(np.random.Philox(key=[seed, self.node]))
        rate = self.list_values(clock, end)
        mean = (rate[:, None] if np.ndim(rate) else rate) * self.dt / 1000.0
        counts = self._random.poisson(mean, (end - clock, n))
        begun, window = np.arange(clock, end), self.window  # NEST looks at the begin of a step
        counts[(begun <= window.start) | (begun > window.stop)] = 0
        return counts


class ConstantSource(NumberSource):
    """A source of a number that stays as it is set."""

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().list_parameters() | {cls.quantity: 0.0}

    def list_values(self, clock: int, end: int) -> float:
        """Return the number, see `NumberSource.list_values`."""
        return self.get(self.quantity)


class StepFunction(NumberSource):
    """A source of a number that changes at given times, and not in between."""

    _latest, _span, _column = 0.0, (0, 0), EMPTY

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        lists = f"{cls.quantity}_times", f"{cls.quantity}_values"
        return super().list_parameters() | dict.fromkeys(lists, EMPTY) | {"allow_offgrid_times": False}

    @classmethod
    def check(cls, values: Given, changed: Given, where: str, dt: float) -> None:
        """Check parameters, see `Device.check`."""
        super().check(values, changed, where, dt)
        keys = f"{cls.quantity}_times", f"{cls.quantity}_values"
        if changed.keys() & set(keys):
            times, steps = map(changed.get, keys)
            if times is None or steps is None or len(times) != len(steps):
                raise NESTErrors.BadProperty(f"{where}: {' and '.join(keys)} must be set together, as long")
            check_times(times, keys[0], where, dt, True)

    def list_values(self, clock: int, end: int) -> np.ndarray:
        """Return the number, see `NumberSource.list_values`; values set for earlier times have no effect."""
        if self._span != (clock, end):  # else another purpose has asked
            steps = np.rint(self.get(f"{self.quantity}_times") / self.dt).astype(np.int64)
            low, high = np.searchsorted(steps, (clock, end), side="right")
            known = np.concatenate([[self._latest], self.get(f"{self.quantity}_values")[low:high]])
            self._column = known[np.searchsorted(steps[low:high], np.arange(clock + 1, end + 1), side="right")]
            self._latest, self._span = float(known[-1]), (clock, end)
        return self._column


class Recorder(Device):
    """A device that records."""

    kind = "recorder"

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().list_parameters() | {"record_to": "memory", "time_in_steps": False} | FILE

    @classmethod
    def check(cls, values: Given, changed: Given, where: str, dt: float) -> None:
        """Check parameters, see `Device.check`."""
        for key in changed:
            if not all(is_of_backend(key, backend) for backend in np.ravel(values["record_to"])):
                raise NESTErrors.UnaccessedDictionaryEntry(
                    f"Unaccessed elements in params: {key} ({where}) is for recorders with record_to = 'ascii'"
                )
        super().check(values, changed, where, dt)
        backend = changed.get("record_to", BACKENDS[0])
        if backend in ("mpi", "sionlib"):
            raise make_refusal(f"record_to = {quote(backend)} ({where})", "record to memory or ascii")
        if backend not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise NESTErrors.BadProperty(f"{where}: unknown recording backend {quote(backend)}, there are {known}")

    def make_recording(self, ids: np.ndarray, now: int = 0, late: int = 1) -> Meter | EventList:
        """Return the object that stores its recordings.

        `ids` are int64, the nodes it is connected to; `now` is NEST's step in which it begins to work; events become
        visible at most `late` steps later.
        """
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.model} {self.node}"


def is_of_backend(key: str, backend: str) -> bool:
    """Whether recorders to some place have a parameter."""
    return key not in FILE or backend == "ascii" or (backend == "screen" and key == "precision")


def align_to_grid(times: np.ndarray, dt: float, off_grid: bool, now: float | None = None) -> np.ndarray:
    """Times on the grid, as NEST takes them: the nearest step if it is half a tic away, else the end of the step.

    `times` are float64 (n,) in ms, `dt` is the resolution in ms. With `off_grid` other times than steps are allowed;
    without, they are left as they are. Times at the present time `now` in ms move a step on; None: they stay.
    """
    nearest = np.rint(times / dt)
    near = np.abs(times - nearest * dt) < MS_PER_TIC / 2
    steps = np.where(near, nearest, np.ceil(times / dt))
    if now is not None:
        steps = steps + (steps == np.rint(now / dt))
    return np.where(near | off_grid, steps * dt, times)


def check_times(times: np.ndarray, key: str, where: str, dt: float, strictly: bool, least: float = 0.0) -> None:
    """Check times above `least` that lie on the grid of a resolution `dt`, 0 for none."""
    steps = np.rint(times / dt) if dt else times
    off = np.abs(times - steps * dt) > 1e-6 * np.maximum(dt, np.abs(times)) if dt else np.zeros(len(times), bool)
    if off.any():
        raise NESTErrors.BadProperty(
            f"{where}: {key}: Time point {times[off][0]} is not representable in current "
            f"resolution. It must be a multiple of {dt}"
        )
    if not np.all(np.isfinite(times)):
        raise NESTErrors.BadProperty(f"{where}: {key} must be finite, one is {times[~np.isfinite(times)][0]}")
    if len(times) and times.min() <= least:
        name = key.removesuffix("s").replace("_", " ")
        raise NESTErrors.BadProperty(f"{where}: {key}: {name} cannot be set to {times.min():g}, must be above 0")
    gaps = np.diff(steps)
    if np.any(gaps < 0) or (strictly and np.any(gaps == 0)):
        raise NESTErrors.BadProperty(f"{where}: {key} must be {'strictly ' if strictly else ''}ascending")
