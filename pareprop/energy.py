"""Read the energy of processors and their memory, in joules, from counters of Linux (RAPL) if they are readable.

The counters of Intel's and AMD's processors are in `/sys/class/powercap`; `POWERCAP` names another folder. They measure
the whole machine, including other programs.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

COUNTED = ("package", "dram")  # prefixes of names of zones; other zones are parts of these, or contain them


def find_powercap_folder() -> Path:
    """Return the folder of the counters."""
    return Path(os.environ.get("POWERCAP", "/sys/class/powercap"))


class Meter:
    """Measures the joules of laps for all processor packages of this machine and their memory; NaN without counters.

    Counters wrap around at their range, at full load after some minutes; a second wrap within a lap is not noticed.
    """

    def __init__(self) -> None:
        self.zones = [
            path
            for path in sorted(find_powercap_folder().glob("intel-rapl:*"))
            if _read_text(path / "name").startswith(COUNTED)
        ]
        self._before = [_read_number(path / "energy_uj") for path in self.zones]

    def measure_interval(self) -> float:
        """Return the joules since the last call."""
        now, joules = [_read_number(path / "energy_uj") for path in self.zones], 0.0 if self.zones else math.nan
        for path, before, value in zip(self.zones, self._before, now, strict=True):
            restarted = _read_number(path / "max_energy_range_uj") if value < before else 0.0
            joules += (value - before + restarted) / 1e6
        self._before = now
        return joules


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _read_number(path: Path) -> float:
    try:
        return float(_read_text(path))
    except ValueError:  # not there, or only root may read it, as since 2020
        return math.nan


def describe_source() -> str:
    """Return a line on whether this machine measures joules."""
    meter = Meter()
    if math.isnan(meter.measure_interval()):
        why = "its counters may be read by root alone" if meter.zones else "it has no counters"
        return f"joules: this machine does not tell them, {why} ({find_powercap_folder()})"
    n = sum(_read_text(path / "name").startswith(COUNTED[0]) for path in meter.zones)
    memory = " with memory" if len(meter.zones) > n else ""
    return f"joules: of {n} processor package{'s' * (n > 1)}{memory} ({find_powercap_folder()})"
