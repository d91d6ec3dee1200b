"""The job of the microcircuit in small: tables, times and a figure, on two ranks; called again it draws anew."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import launch
import pytest
import ranks

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.skipif(not launch.find_mpirun() or not shutil.which("bash"), reason="no mpirun or no bash")
def test_a_small_microcircuit(tmp_path: Path) -> None:
    path = os.pathsep.join([ranks.commands(), str(Path(sys.executable).parent), os.environ["PATH"]])
    small = {"SCALE": "0.01", "SECONDS_OF_MODEL": "0.3", "OUT": str(tmp_path)}
    env = os.environ | launch.ENVIRONMENT | {"PATH": path} | small
    for ran in (True, False):
        done = subprocess.run(
            [ROOT / "jobs/microcircuit.sh", "--indegrees", "0.1", "--warm-up", "100"],
            env=env,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            stdin=subprocess.DEVNULL,
        )
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
