"""Joules of the processors: two packages, whose counters may start again; NaN where nothing tells."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/race"))
from energy import Meter, tell


def write(folder: Path, name: str, value: int) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{value}\n")
    (folder / name / "max_energy_range_uj").write_text("10000000\n")


def test_packages_add_up(tmp_path: Path) -> None:
    for name, value in (("intel-rapl:0", 1_000_000), ("intel-rapl:1", 9_000_000), ("intel-rapl:0:0", 5)):
        write(tmp_path, name, value)
    meter = Meter(tmp_path)
    assert tell(tmp_path) == f"joules: of 2 processor packages ({tmp_path})"
    for name, value in (("intel-rapl:0", 3_500_000), ("intel-rapl:1", 1_000_000), ("intel-rapl:0:0", 9_000_000)):
        write(tmp_path, name, value)
    assert meter.joules() == 2.5 + 2.0  # the second one started again


def test_a_machine_that_does_not_tell(tmp_path: Path) -> None:
    assert np.isnan(Meter(tmp_path).joules()) and np.isnan(Meter(tmp_path / "none").joules())
    (tmp_path / "intel-rapl:0").mkdir()
    assert np.isnan(Meter(tmp_path).joules())
    assert tell(tmp_path / "none").startswith("joules: this machine does not tell them, it has no counters (")
    assert "may be read by root alone" in tell(tmp_path)
