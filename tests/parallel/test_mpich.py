"""The digests under OpenMPI are those under MPICH, which a virtual environment of the test's own gets from PyPI."""

import os
import subprocess
from pathlib import Path

import pytest
from commands import digests, output_of
from launch import ENVIRONMENT, in_session
from params import first

pytestmark = [pytest.mark.mpi, pytest.mark.slow]
TASK = ["sine-waves", "--set", "n_rec=50", "--set", "n_step=100", "--set", "iterations=2", "--no-figures"]
VERSION = "from mpi4py import MPI; print(MPI.Get_library_version())"


def on_mpich(folder: Path, n: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python on `n` ranks of MPICH."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMPI", "PMI", "PRTE"))}
    whole = ["timeout", "-k", "5", "120", folder / "mpiexec", "-n", str(n), folder / "python", *map(str, arguments)]
    return in_session(whole, environment | {"OMP_NUM_THREADS": ENVIRONMENT["OMP_NUM_THREADS"]})


def test_it_is_mpich(mpich):
    assert "MPICH" in on_mpich(mpich, 1, "-c", VERSION).stdout


@pytest.mark.parametrize("variant", first(0, ["spike", "interval"], rest=1))
def test_same_digest(variant, mpich, tmp_path, capsys):
    arguments = ["run", *TASK, "--set", f"variant={variant}", "--out"]
    output = output_of(capsys, *arguments, tmp_path / "one")
    done = on_mpich(mpich, 3, "-m", "pareprop", *arguments, tmp_path / "three")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 ranks;")
    assert digests(done.stdout.splitlines()) == digests(output.splitlines()) != []
