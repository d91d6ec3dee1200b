"""Start ranks by mpirun or srun, and run the points of a study directly or as SLURM jobs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import machine
from ..errors import InputError, StateError
from ..simulation.interrupts import Deferred
from ..storage.disk import output_errors
from .study import Point

POLL_SECONDS = 1.0
ROOT_VARIABLES = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def make_command(launcher: str, n_ranks: int) -> list[str]:
    """Return the command line that starts another command on `n_ranks` ranks; `InputError` without the launcher.

    Ranks are bound to cores if there is a core for each.
    """
    path = shutil.which(launcher, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if path is None:
        raise InputError(f"--launcher {launcher}: not found on the PATH")
    bind = os.environ.get("BIND")
    if launcher == "srun":
        crowded = ["--overcommit"] if is_crowded(n_ranks) else []
        bind = "none" if crowded else bind or "cores"
        return [path, f"--ntasks={n_ranks}", *crowded, f"--cpu-bind={bind}", "--mem=0"]
    return [path, "-n", str(n_ranks), "--bind-to", "none" if is_crowded(n_ranks) else bind or "core"]


def is_crowded(n_ranks: int) -> bool:
    """Return whether ranks share cores: there are more ranks than tasks of this SLURM job, or cores of this machine."""
    return n_ranks > int(os.environ.get("SLURM_NTASKS") or machine.count_cores())


def make_environment(n_ranks: int) -> dict[str, str]:
    """Return the environment variables of a run: one thread per rank, more ranks than cores allowed."""
    one = {"OMP_NUM_THREADS": "1", "SRUN_CPUS_PER_TASK": os.environ.get("SLURM_CPUS_PER_TASK", "1")}
    crowded = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMPI_MCA_mpi_yield_when_idle": "1"}
    return os.environ | ROOT_VARIABLES | one | (crowded if is_crowded(n_ranks) else {})


def run_point(point: Point, folder: Path, launcher: str, timeout_s: float) -> None:
    """Run a point here and wait; write `<label>.json` in `folder` if it succeeds, else raise `StateError`.

    The output is in `<label>.log`.
    """
    final, log = folder / f"{point.label}.json", folder / f"{point.label}.log"
    with output_errors(log), _replace_when_complete(final) as part, open(log, "w") as output:
        line = [*make_command(launcher, point.ranks), sys.executable, "-m", "pareprop", *point.make_arguments(part)]
        try:
            code = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                env=make_environment(point.ranks),
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise StateError(f"{point.label}: killed after {timeout_s:g} s; see {log}") from None
    if code:
        raise StateError(f"{point.label}: exit code {code}; see {log}")


@contextmanager
def _replace_when_complete(final: Path) -> Iterator[Path]:
    """Yield a temporary name; rename the file to `final` if the block ends without an error."""
    part = final.with_suffix(".part")
    part.unlink(missing_ok=True)
    yield part
    if part.exists():
        part.rename(final)


def submit_point(point: Point, folder: Path, options: list[str]) -> str:
    """Submit a point as a SLURM job with further `options` of sbatch; return the job id, stored in `<label>.job`.

    Raise `StateError` if SLURM refuses.
    """
    final = folder / f"{point.label}.json"
    part = final.with_suffix(".part")
    inner = ["srun", "--cpu-bind=cores", sys.executable, "-m", "pareprop", *point.make_arguments(part)]
    line = f"export OMP_NUM_THREADS=1; {shlex.join(inner)} && mv {shlex.quote(str(part))} {shlex.quote(str(final))}"
    command = [
        "sbatch",
        "--parsable",
        f"--job-name={point.label}",
        f"--ntasks={point.ranks}",
        "--hint=nomultithread",
        f"--output={folder / point.label}.log",
        *options,
        f"--wrap={line}",
    ]
    job_file = folder / f"{point.label}.job"
    with job_file.open("w") as file, Deferred():  # a signal must not lose the id of a submitted job
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.PIPE, text=True, check=False, start_new_session=True
        )
    if done.returncode:
        job_file.unlink()
        raise StateError(f"{point.label}: sbatch: {done.stderr.strip()}")
    return _read_job(job_file)


def _read_job(path: Path) -> str:
    """Return the job id that sbatch printed into a file, without the name of the cluster that may follow."""
    return path.read_text().strip().split(";")[0]


def find_submitted_job(point: Point, folder: Path) -> str:
    """Return the id of a waiting or running job of a point that an earlier call submitted; "" without one."""
    try:
        job = _read_job(folder / f"{point.label}.job")
    except OSError:
        return ""
    return job if job.isdigit() and list_queued_jobs([job], f"--name={point.label}") else ""


def list_queued_jobs(jobs: list[str], *options: str) -> list[str]:
    """Return the ids of those jobs that wait or run."""
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(jobs)}", *options]
    # jobs that SLURM has forgotten are an error of squeue, with no output
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def wait_for_jobs(jobs: list[str]) -> None:
    """Wait until none of the jobs waits or runs."""
    while jobs and list_queued_jobs(jobs):
        time.sleep(POLL_SECONDS)
