"""The job of the fly brain's size: its smallest form stops at a time limit and goes on to its end."""

from pathlib import Path

import h5py
import pytest
from commands import job, needs_jobs

pytestmark = needs_jobs


@pytest.mark.slow
@pytest.mark.mpi
def test_stops_and_goes_on(tmp_path: Path) -> None:
    done = job("brain.sh", tmp_path, "tiny", MINUTES="0", ITERATIONS="30")
    assert done.returncode == 0, done.stderr
    assert "stopped by SIGUSR1" in done.stdout and list(tmp_path.glob("tiny/checkpoints/iteration-*"))
    done = job("brain.sh", tmp_path, "tiny", ITERATIONS="30")
    assert done.returncode == 0 and "resumed: " in done.stdout, done.stderr
    with h5py.File(tmp_path / "tiny/results.h5") as file:
        assert len(file["loss"]) == 30
        assert file["dynamics/last/correlation"][()].mean() > 0.05
    assert (tmp_path / "tiny/own_activity.png").is_file()


def test_unknown_size(tmp_path: Path) -> None:
    done = job("brain.sh", tmp_path, "tinny")
    assert done.returncode == 2 and "tinny must be plain, rewire, large or tiny" in done.stderr
