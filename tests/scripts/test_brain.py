"""The job of the fly brain's size: its smallest form stops at a time limit and goes on to its end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import launch
import pytest
import ranks

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not launch.find_mpirun() or not shutil.which("bash"), reason="no mpirun or no bash")


def job(out: Path, *which: str, **env: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([ranks.commands(), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | launch.ENVIRONMENT | {"PATH": path, "OUT": str(out), "BIND": "none"} | env
    process = subprocess.Popen(
        [ROOT / "jobs/brain.sh", *which],
        env=env,
        start_new_session=True,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = process.communicate(timeout=900)
    finally:
        launch.kill_session(process.pid)
    return subprocess.CompletedProcess(which, process.returncode, output, errors)


@pytest.mark.slow
@pytest.mark.mpi
def test_stops_and_goes_on(tmp_path: Path) -> None:
    done = job(tmp_path, "tiny", MINUTES="0", ITERATIONS="30")
    assert done.returncode == 0, done.stderr
    assert "stopped by SIGUSR1" in done.stdout and list(tmp_path.glob("tiny/checkpoints/iteration-*"))
    done = job(tmp_path, "tiny", ITERATIONS="30")
    assert done.returncode == 0 and "resumed: " in done.stdout, done.stderr
    with h5py.File(tmp_path / "tiny/results.h5") as file:
        assert len(file["loss"]) == 30
        assert file["dynamics/last/correlation"][()].mean() > 0.05
    assert (tmp_path / "tiny/own_activity.png").is_file()


def test_unknown_size(tmp_path: Path) -> None:
    done = job(tmp_path, "tinny")
    assert done.returncode == 2 and "tinny must be plain, rewire, large or tiny" in done.stderr
