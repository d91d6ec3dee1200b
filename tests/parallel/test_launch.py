"""The launcher of the tests itself: ranks start, and a hang ends as a failure with nothing left running."""

import os
from pathlib import Path

import launch
import pytest

pytestmark = pytest.mark.mpi

HELLO = "from mpi4py import MPI; comm = MPI.COMM_WORLD; print(f'rank {comm.rank} of {comm.size}')"
# Rank 0 hangs without listening to anyone, the others wait for it.
HANG = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from mpi4py import MPI
rank = MPI.COMM_WORLD.rank
open(f"{sys.argv[1]}/{rank}", "w").write(str(os.getpid()))
print(f"rank {rank} hangs", flush=True)
while rank == 0:
    pass
MPI.COMM_WORLD.Barrier()
"""


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ranks_start_silently(n: int) -> None:
    done = launch.mpirun(n, "-c", HELLO)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [f"rank {rank} of {n}" for rank in range(n)]


def test_exit_code_and_environment_pass_through() -> None:
    done = launch.mpirun(1, "-c", "import os, sys; sys.exit(int(os.environ['CODE']))", env={"CODE": "3"})
    assert done.returncode == 3


@pytest.mark.slow
def test_hang_fails_and_leaves_no_rank(tmp_path: Path) -> None:
    for limit in (4, 40, 400):  # a busy machine may not have started the ranks by then
        with pytest.raises(pytest.fail.Exception) as failure:
            launch.mpirun(2, "-c", HANG, tmp_path, timeout=limit)
        if "rank 0 hangs" in str(failure.value):
            break
    assert f"killed after {limit} s" in str(failure.value)
    pids = [int((tmp_path / str(rank)).read_text()) for rank in range(2)]
    launch.wait_until(lambda: not [pid for pid in pids if running(pid)])


def running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
