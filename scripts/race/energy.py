"""Read the energy that processors take from counters of Linux (RAPL), in joules, if they can be read.

The counters of Intel's and AMD's processors are in `/sys/class/powercap`; `POWERCAP` names another folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

COUNTERS = Path(os.environ.get("POWERCAP", "/sys/class/powercap"))


class Meter:
    """Adds up the energy of all processor packages since it was made; NaN joules where the machine does not tell.

    Counters start again at their range, after some minutes; more often than once between two calls is not noticed.
    """

    def __init__(self, folder: Path = COUNTERS) -> None:
        self.zones = [path for path in sorted(folder.glob("intel-rapl:*")) if path.name.count(":") == 1]
        self.before = [self._read(path, "energy_uj") for path in self.zones]

    @staticmethod
    def _read(path: Path, name: str) -> float:
        try:
            return float((path / name).read_text())
        except (OSError, ValueError):  # only root may read it since 2020
            return np.nan

    def joules(self) -> float:
        """Return the joules of all packages since the meter was made."""
        total = 0.0 if self.zones else np.nan
        for path, before in zip(self.zones, self.before, strict=True):
            taken = self._read(path, "energy_uj") - before
            total += (taken if not taken < 0 else taken + self._read(path, "max_energy_range_uj")) / 1e6
        return total


def tell(folder: Path = COUNTERS) -> str:
    """Return a line that says whether joules are known here."""
    meter = Meter(folder)
    if np.isnan(meter.joules()):
        why = "its counters may be read by root alone" if meter.zones else "it has no counters"
        return f"joules: this machine does not tell them, {why} ({folder})"
    n = len(meter.zones)
    return f"joules: of {n} processor package{'s' * (n > 1)} ({folder})"
