"""Joules of the processors: two packages, whose counters may start again; NaN where nothing tells."""

import math
from pathlib import Path

import pytest

from pareprop.energy import Meter, describe_source

ZONES = {  # as on a server with two sockets, and on a laptop, whose last zone holds the first
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "dram",
    "intel-rapl:0:1": "core",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
}


def write(folder: Path, **microjoules: int) -> None:
    """Write a tree of counters with a range of 10 J; what is not given stays at 0."""
    for zone, name in ZONES.items():
        (folder / zone).mkdir(exist_ok=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "energy_uj").write_text(f"{microjoules.get(name.replace('-', '_'), 0)}\n")
        (folder / zone / "max_energy_range_uj").write_text("10000000\n")


def test_packages_and_memory_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERCAP", str(tmp_path))
    write(tmp_path, package_0=1_000_000, package_1=9_000_000, dram=5, core=5, psys=5)
    meter = Meter()
    assert describe_source() == f"joules: of 2 processor packages with memory ({tmp_path})"
    write(tmp_path, package_0=3_500_000, package_1=1_000_000, dram=250_005, core=9_000_000, psys=9_000_000)
    assert meter.measure_interval() == 2.5 + 2.0 + 0.25  # the second one started again
    assert meter.measure_interval() == 0.0
    write(tmp_path, package_0=4_500_000, package_1=1_000_000, dram=250_005)
    assert meter.measure_interval() == 1.0


def test_a_machine_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERCAP", str(tmp_path / "none"))
    assert math.isnan(Meter().measure_interval())
    assert describe_source().startswith("joules: this machine does not tell them, it has no counters (")
    monkeypatch.setenv("POWERCAP", str(tmp_path))
    assert math.isnan(Meter().measure_interval())
    write(tmp_path)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert math.isnan(Meter().measure_interval()) and "may be read by root alone" in describe_source()
