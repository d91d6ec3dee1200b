"""The job of the large task reach, in small: it runs, and goes on where it was stopped."""

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
def test_runs_and_goes_on(tmp_path: Path) -> None:
    path = os.pathsep.join([ranks.commands(), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | launch.ENVIRONMENT | {"PATH": path, "OUT": str(tmp_path / "run"), "BIND": "none"}
    small = [
        "n_rec=30",
        "indegree=5",
        "batch_size=4",
        "decisions=3",
        "test_samples=2",
        "checkpoint.every=1",
        "figures=none",
    ]
    for said in ("ranks; memory", "resumed: "):
        done = subprocess.run(
            [ROOT / "jobs/reach-large.sh", *small, "iterations=2"],
            env=env,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout and "digest: " in done.stdout
