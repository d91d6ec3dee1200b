"""The job of the microcircuit in small, on two ranks: called again it draws anew, or goes on; the race, with joules."""

import csv
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import job, needs_jobs
from test_reach_large import require_restart

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.mpi
@needs_jobs
def test_a_small_microcircuit(tmp_path: Path) -> None:
    small = {"SCALE": "0.01", "SECONDS_OF_MODEL": "0.3"}
    for ran in (True, False):
        done = job("microcircuit.sh", tmp_path, "--indegrees", "0.1", "--warm-up", "100", **small)
        assert done.returncode == 0, done.stderr
        assert ("pareprop, seed 1 ..." in done.stdout) == ran
    with open(tmp_path / "microcircuit.csv") as file:
        rows = {row["population"]: float(row["rate_hz"]) for row in csv.DictReader(file)}
    assert list(rows) == ["L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I"]
    assert 2 < rows["L4E"] < 9 and 4 < rows["L5E"] < 16 and 0 < rows["L6E"] < 4
    with open(tmp_path / "times.csv") as file:
        (times,) = csv.DictReader(file)
    assert int(times["synapses"]) > 200_000 and float(times["s_per_s"]) > 0
    assert (tmp_path / "microcircuit.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.mpi
@needs_jobs
def test_a_small_microcircuit_learns_and_goes_on(tmp_path: Path) -> None:
    settings = "indegrees=0.1 dt_ms=0.5 test_samples=2 checkpoint.every=1 figures=none"
    require_restart("microcircuit.sh", tmp_path / "run", settings, SCALE="0.003", LEARN="volleys")


@pytest.mark.slow
@pytest.mark.parametrize("tells", [True, False])
def test_a_race_with_joules_where_the_machine_tells(tmp_path: Path, tells: bool) -> None:
    """A counter of a package that rises by 0.1 J each ms, or none: numbers, or "not told"; a line says which."""
    zone, over = tmp_path / "counters/intel-rapl:0", threading.Event()

    def count() -> None:
        joules = 0.0
        while not over.wait(0.001):
            joules += 0.1
            (zone / "part").write_text(f"{1e6 * joules:.0f}")
            (zone / "part").replace(zone / "energy_uj")

    if tells:
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "energy_uj").write_text("0")
        threading.Thread(target=count, daemon=True).start()
    small = ["--scale", "0.01", "--indegrees", "0.1", "--seconds", "0.5", "--warm-up", "100", "--repeat", "1"]
    line = [
        sys.executable,
        ROOT / "scripts/race/race.py",
        "--only",
        "microcircuit",
        "--no-nest",
        *small,
        "--out",
        tmp_path,
    ]
    env = os.environ | {"POWERCAP": str(tmp_path / "counters")}
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False, env=env)
    finally:
        over.set()
    assert done.returncode == 0, done.stderr
    said = "of 1 processor package (" if tells else "this machine does not tell them, it has no counters"
    assert done.stdout.startswith(f"joules: {said}")
    with open(tmp_path / "race.csv") as file:
        rows = {row["contestant"]: row["j_per_s"] for row in csv.DictReader(file)}
    assert list(rows) == ["pareprop", "pareprop, learning"]
    assert all(float(cell) > 0 for cell in rows.values()) if tells else set(rows.values()) == {"not told"}
    assert (tmp_path / "race.png").stat().st_size > 10_000
