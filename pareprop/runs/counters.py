"""Joules that the machines of a run use, and cores that other programs keep busy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .. import machine
from ..parallel import collectives
from ..parallel.mpi import Comm
from ..parallel.node import leads_machine


class Counters:
    """Counts up to each `stop_counting`, from `start_counting` or the stop before.

    The first rank of each machine reads its counters. The constructor is collective; `comm` joins all ranks.
    """

    def __init__(self, comm: Comm) -> None:
        self.comm, self.leads = comm, leads_machine(comm)
        self._lap: Callable[[], float] = lambda: 0.0
        if self.leads:
            from .. import energy

            self._lap = energy.Meter().measure_interval
        self.joules = self.seconds = 0.0
        self.start_counting()

    def start_counting(self) -> None:
        """Discard counts since the last stop."""
        self._lap()
        self._before = self._count_other_seconds()

    def stop_counting(self) -> None:
        """Add counts since the start, or the last stop."""
        before, self._before = self._before, self._count_other_seconds()
        self.joules += self._lap()
        self.seconds += self._before - before

    def _count_other_seconds(self) -> float:
        """Return seconds of a processor; their sum over ranks is the time of other programs."""
        return (machine.busy_seconds() if self.leads else 0.0) - time.process_time()

    def collect_figures(self, wall_seconds: float) -> dict[str, float]:
        """Collective: return the known figures, by name.

        `joules` is the energy of all machines, `other_cores` the mean number of cores of a machine that other programs
        kept busy.
        """
        counted = collectives.gather_values(self.comm, (self.joules, self.seconds, self.leads))
        joules, seconds, machines = (math.fsum(column) for column in zip(*counted, strict=True))
        found = {"joules": joules, "other_cores": max(seconds, 0.0) / max(wall_seconds, 1e-9) / machines}
        return {name: value for name, value in found.items() if not math.isnan(value)}
