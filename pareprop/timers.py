"""Wall time of named phases."""

from __future__ import annotations

import time
from collections import defaultdict

COMPUTE = ("deliver", "update", "sweep", "credit", "optimize")  # phases of local computation


class Timers:
    """Accumulates wall seconds by name of a phase.

    Phases: build, environment (steps of episodes in closed loop), wait (for other ranks, if it is measured),
    communicate, pack (packing and unpacking messages between nodes), look_up (selecting the spikes with targets on a
    rank), deliver, update, sweep, credit, optimize, and `other` for phases that a driver adds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def add_seconds(self, phase: str, seconds: float) -> None:
        """Add `seconds` to `phase`."""
        self.seconds[phase] += seconds

    def time_phase(self, name: str) -> Phase:
        """Return a context that adds its time to phase `name`."""
        return Phase(self, name)


class Phase:
    """A timed block of code; a separate class because small networks enter several in a millisecond.

    `timers` receives the seconds under the phase's `name`.
    """

    __slots__ = ("name", "start", "timers")

    def __init__(self, timers: Timers, name: str) -> None:
        self.timers, self.name = timers, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *problem: object) -> None:
        self.timers.seconds[self.name] += time.perf_counter() - self.start
