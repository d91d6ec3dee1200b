"""The job of the large task reach, in small: it runs, and goes on where it was stopped."""

from pathlib import Path

import h5py
import pytest
from commands import job, needs_jobs


@pytest.mark.slow
@pytest.mark.mpi
@needs_jobs
def test_runs_and_goes_on(tmp_path: Path) -> None:
    small = "n_rec=30 indegree=5 batch_size=4 decisions=3 test_samples=2 checkpoint.every=1 figures=none"
    require_restart("reach-large.sh", tmp_path / "run", small)


def require_restart(script: str, out: Path, settings: str, **env: str) -> None:
    for said, iterations in (("ranks; memory", 1), ("resumed: ", 2)):
        done = job(script, out, *settings.split(), f"iterations={iterations}", **env)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout and "digest: " in done.stdout
        with h5py.File(out / "results.h5") as file:
            assert len(file["loss"]) == iterations
