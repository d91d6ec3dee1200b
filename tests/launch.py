"""Run Python under mpirun from a test: with a time limit, as any user, with more ranks than cores."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",  # OpenMPI 4
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # OpenMPI 5
    "PRTE_MCA_hwloc_default_binding_policy": "none",  # several test runs must not share one core
    "OMPI_MCA_btl": "self,sm",  # one node: no search for networks, and no warnings from it
    "OMPI_MCA_osc": "^ucx",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # ranks that wait leave the cores to others, also where each has its own
    "OMP_NUM_THREADS": "1",
}
# what mpirun says when it cannot listen, before any rank is started: now and then, where several start at once
NO_LISTENER = "listener thread failed to start"


def find_mpirun() -> str | None:
    """Return the mpirun of this virtual environment, which mpi4py uses first, or else the system's."""
    return shutil.which("mpirun", path=Path(sys.executable).parent) or shutil.which("mpirun")


def mpirun(
    n: int,
    *args: object,
    timeout: float = 900,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    python: Sequence[str] = (sys.executable,),
) -> subprocess.CompletedProcess[str]:
    """Run ``python *args`` on `n` ranks and return exit code and output; the test is skipped without an mpirun.

    ``mpirun(2, "-m", "pareprop", "tasks")`` or ``mpirun(3, script)``. A run of more than `timeout` seconds is
    killed with all its ranks and fails the test with what it had printed. `env` adds to the environment;
    `python` is what runs `args` on each rank.
    """
    launcher = find_mpirun()
    if launcher is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    ranks = [launcher, "-n", str(n), *python, *map(str, args)]
    # prterun may ignore TERM, hence -k; a session of its own, hence its ranks can be found whatever becomes of it.
    command = ["timeout", "-k", "5", str(timeout), *ranks]
    start = time.monotonic()
    for _ in range(3):
        done = in_session(command, os.environ | ENVIRONMENT | (env or {}), cwd=cwd)
        if NO_LISTENER not in done.stderr:
            break
    if time.monotonic() - start >= timeout:
        pytest.fail(f"killed after {timeout} s: {' '.join(ranks)}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done


def in_session(command: Sequence[object], env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a session of its own; nothing of the session is left."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(list(map(str, command)), env=env, **streams | options, start_new_session=True)
    try:
        output, errors = process.communicate()
    finally:
        kill_session(process.pid)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def wait_until(condition: Callable[[], object], seconds: float = 900) -> None:
    """Wait for what a test needs; the limit ends a hang alone, the machine may be busy."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened within {seconds} s"
        time.sleep(0.02)


def processes_of(session: int) -> list[int]:
    """Return the processes of a session that are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *rest = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(rest[2]) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def held(process: int) -> list[str]:
    """Return the files in shared memory that a process holds open; other processes of this machine have theirs."""
    found = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed in between
            found.append(os.readlink(link))
    return sorted(name for name in found if name.startswith("/dev/shm/"))


def kill_session(session: int) -> None:
    """Kill every process of a session, such as ranks that outlive their mpirun."""
    for process in processes_of(session):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
