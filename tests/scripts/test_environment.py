"""Scripts do not depend on what users of a cluster set."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_training_takes_all_processors_whatever_openmp_may_take(tmp_path: Path) -> None:
    (tmp_path / "mpirun").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS $@"\n')
    (tmp_path / "mpirun").chmod(0o755)
    places = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "VENV": "", "RANKS": "", "OUT": ""}
    for users in ({}, {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}):
        command = [ROOT / "jobs" / "train.sh", "lemniscate"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | places | users)
        n = len(os.sched_getaffinity(0))
        assert done.stdout == f"1 -n {n} --bind-to core pareprop run lemniscate\n"


def test_a_training_takes_the_run_directory_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "mpirun").write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    (tmp_path / "mpirun").chmod(0o755)
    places = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "VENV": "", "RANKS": "2", "OUT": "runs/my run"}
    command, environment = [ROOT / "jobs" / "train.sh"], os.environ | places
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-4:] == ["run", "sine-waves", "--out", "runs/my run"]
