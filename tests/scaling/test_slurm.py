"""The job scripts under a real SLURM: a private one of one node, or of two simulated ones."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ranks
from commands import as_options, digests, output_of
from launch import wait_until
from params import first

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]
ROOT = Path(__file__).parents[2]
SCRIPT, JOBS = ROOT / "scripts" / "slurm.sh", ROOT / "jobs"
SETTINGS = ("n_rec=40", "n_step=100", "n_in=10", "figures=none")
TASK = ["sine-waves", *as_options(*SETTINGS)]
SHORT = [*TASK, "--set", "iterations=3"]
LIMIT = 150  # seconds to wait for a job; the machine may be busy


class Slurm:
    """Commands for a private SLURM."""

    def __init__(self, folder: Path) -> None:
        mpi = {"PMIX_MCA_psec": "native", "OMPI_MCA_mpi_yield_when_idle": "1"}
        as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        places = {"SLURM_CONF": str(folder / "slurm.conf"), "VENV": str(Path(sys.executable).parent.parent)}
        self.environment = os.environ | places | as_root | mpi

    def __call__(self, *arguments: object, check: bool = True, **more: str) -> str:
        line, env = [str(argument) for argument in arguments], self.environment | more
        done = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False, env=env)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def submit(self, out: Path, script: str, *arguments: object, options: tuple[str, ...] = (), **more: str) -> str:
        """Submit a script of jobs/; return the number of the job."""
        fixed = ["--parsable", f"--output={out}", "--mem-per-cpu=400M", f"--chdir={out.parent}"]
        return self("sbatch", *fixed, *options, JOBS / script, *arguments, **more)

    def states(self, job: str) -> list[str]:
        """States of a job, or of the members of an array."""
        return re.findall(r"\bJobState=(\w+)", self("scontrol", "show", "job", job, check=False))

    def wait(self, job: str, *wanted: str) -> list[str]:
        """Wait until all of a job are in one of the wanted states (finished, by default), and return them."""
        ends = wanted or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        stop = time.monotonic() + LIMIT
        while time.monotonic() < stop:
            states = self.states(job)
            if states and all(state in ends for state in states):
                return states
            time.sleep(0.2)
        pytest.fail(f"job {job} is {self.states(job)} after {LIMIT} s, not {ends}")


@contextmanager
def start(*options: str) -> Iterator[Slurm]:
    """A SLURM of its own, with options of the script's start; its folder must be within reach of everybody."""
    if os.geteuid() != 0:
        pytest.skip("a private SLURM needs root")
    if missing := [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]:
        pytest.skip(f"{', '.join(missing)} not found; `scripts/slurm.sh install` installs Debian's packages")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        start = [SCRIPT, "start", folder, *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}  # as users set them
        done = subprocess.run(start, capture_output=True, text=True, timeout=900, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Slurm(folder)
    finally:
        subprocess.run([SCRIPT, "stop", folder], timeout=900, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A SLURM of one node with all processors of this machine."""
    with start() as found:
        yield found


@pytest.fixture
def digest_of(capsys: pytest.CaptureFixture, tmp_path: Path):
    """Train in this process and return the digest."""

    def train(*arguments: object) -> list[str]:
        output = output_of(capsys, "run", *arguments, "--out", tmp_path / "alone", "--overwrite")
        return digests(output.splitlines())

    return train


def quick_starts() -> str:
    """Return a VENV whose commands need no imports: for jobs of many short runs that get no signals."""
    return str(Path(ranks.commands()).parent)


def list_points(out: Path) -> list[str]:
    return digests(out.read_text().splitlines())


def test_training_by_srun_and_by_mpirun(slurm, digest_of, tmp_path):
    outs = {launcher: tmp_path / f"{launcher}.out" for launcher in ("srun", "mpirun")}
    jobs = {name: slurm.submit(out, "train.sbatch", *SHORT, LAUNCHER=name) for name, out in outs.items()}
    expected = digest_of(*SHORT)
    for name, job in jobs.items():
        assert slurm.wait(job) == ["COMPLETED"], outs[name].read_text()
        assert list_points(outs[name]) == expected
        assert outs[name].read_text().startswith("2 ranks;")
        assert (tmp_path / "runs" / f"pareprop-train-{job}" / "results.h5").exists()


@pytest.mark.long
def test_training_by_srun_with_mpich(slurm, mpich, digest_of, tmp_path):
    """MPICH and srun speak PMI."""
    out = tmp_path / "out"
    job = slurm.submit(out, "train.sbatch", *SHORT, VENV=str(mpich.parent), SLURM_MPI_TYPE="pmi2")
    expected = digest_of(*SHORT)
    assert slurm.wait(job) == ["COMPLETED"], out.read_text()
    assert list_points(out) == expected and out.read_text().startswith("2 ranks;")


def test_big_network_in_small(slurm, tmp_path):
    out = tmp_path / "out"
    sizes = ["--neurons", "300", "--indegree", "20", "--steps", "100", "--digest"]
    job = slurm.submit(out, "big.sbatch", *sizes)
    alone = [*ranks.python(), "-m", "pareprop.jobs.big", *sizes]
    expected = digests(subprocess.run(alone, capture_output=True, text=True, check=True).stdout.splitlines())
    assert slurm.wait(job) == ["COMPLETED"], out.read_text()
    assert list_points(out) == expected
    assert len(re.findall(r"interval \d: loss", out.read_text())) == 2


def test_bad_input_fails_the_job(slurm, tmp_path):
    job = slurm.submit(tmp_path / "out", "train.sbatch", "sine-wave", VENV=quick_starts())
    assert slurm.wait(job) == ["FAILED"]
    assert "did you mean 'sine-waves'" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("launcher", first(0, ["srun", "mpirun"], rest=1))
def test_chain(launcher, slurm, digest_of, tmp_path):
    """Signalled before its limit, a job checkpoints, goes back into the queue, and ends as if nothing had happened."""
    task, out = [*TASK, "--set", "iterations=400", "--set", "checkpoint.every=50"], tmp_path / "out"
    job = slurm.submit(out, "chain.sbatch", *task, LAUNCHER=launcher, OUT=str(tmp_path / "run"))
    wait_until(lambda: list(tmp_path.glob("run/checkpoints/iteration-*[0-9]")), LIMIT)
    slurm("scancel", "--batch", "--signal=USR1", job)
    slurm.wait(job, "PENDING")
    assert "stopped by SIGUSR1 after" in out.read_text()
    lines = [line for line in out.read_text().splitlines() if "DUE TO JOB REQUEUE" not in line]  # SLURM's, not always
    assert not re.search("[Ee]xit code|non-zero|error:|-----", "\n".join(lines))  # nothing that reads like a failure
    start_again(slurm, job)
    expected = digest_of(*task)
    assert slurm.wait(job) == ["COMPLETED"], out.read_text()
    assert "resumed: " in out.read_text()
    assert list_points(out)[-1:] == expected and list_points(out)[0] != expected[0]


def test_a_signal_before_all_ranks_listen(slurm, digest_of, tmp_path):
    """It comes while Python still loads; the script keeps it until it ends nothing but the run."""
    task, out = [*TASK, "--set", "iterations=400"], tmp_path / "out"
    real, stand_in = Path(sys.executable).parent, tmp_path / "venv" / "bin" / "pareprop"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(f'#!/bin/sh\ntouch {tmp_path}/started\nexec env PATH={real}:"$PATH" pareprop "$@"\n')
    stand_in.chmod(0o755)
    job = slurm.submit(out, "chain.sbatch", *task, OUT=str(tmp_path / "run"), VENV=str(stand_in.parents[1]))
    wait_until((tmp_path / "started").exists, LIMIT)  # before that, it ends the shell
    while not (tmp_path / "run").exists() and "SIGUSR1" not in (out.read_text() if out.exists() else ""):
        slurm("scancel", "--batch", "--signal=USR1", job, check=False)
        time.sleep(0.1)
        if out.exists() and slurm.states(job) != ["RUNNING"]:
            break
    expected = digest_of(*task)
    go_on(slurm, job)
    assert slurm.states(job) == ["COMPLETED"], out.read_text()
    assert "stopped by SIGUSR1 after" in out.read_text() and "resumed: " in out.read_text()
    assert list_points(out)[-1:] == expected


@pytest.mark.long
def test_time_limit(slurm, digest_of, tmp_path):
    """SLURM itself signals the job before its limit of a minute, its shortest; it may do so early.

    No number of iterations lasts so long on every machine, so this training has no end.
    """
    task, out = [*TASK, "--set", "record.every=0"], tmp_path / "out"
    options = ("--time=1", "--signal=B:USR1@50")
    run = [*task, "--set", "iterations=1000000000"]
    job = slurm.submit(out, "chain.sbatch", *run, options=options, OUT=str(tmp_path / "run"))
    slurm.wait(job, "RUNNING")
    slurm.wait(job, "PENDING")
    stopped = re.search(r"stopped by SIGUSR1 after (\d+) of", out.read_text())
    assert stopped, out.read_text()
    assert list_points(out) == digest_of(*task, "--set", f"iterations={stopped[1]}")
    start_again(slurm, job)
    wait_until(lambda: "resumed: " in out.read_text(), LIMIT)
    slurm("scancel", job)
    assert slurm.wait(job) == ["CANCELLED"]
    assert f"iteration-{int(stopped[1]):08}" in re.search(r"resumed: .*", out.read_text())[0]


def go_on(slurm: Slurm, job: str) -> int:
    """Start a job whenever it is back in the queue, where it would wait for two minutes, until it ends; how often."""
    restarts, stop = 0, time.monotonic() + LIMIT
    while (states := slurm.states(job)) and states[0] in ("PENDING", "RUNNING", "COMPLETING"):
        assert time.monotonic() < stop, states
        if states == ["PENDING"]:
            start_again(slurm, job)
            restarts += 1
        time.sleep(0.2)
    return restarts


def start_again(slurm: Slurm, job: str) -> None:
    """Start a job that is back in the queue."""
    time.sleep(2)  # SLURM takes a credential of the second in which the old one ended for that
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
    slurm.wait(job, "RUNNING", "COMPLETED", "FAILED", "TIMEOUT")


def test_array_over_seeds(slurm, digest_of, tmp_path):
    job = slurm.submit(tmp_path / "%a.out", "seeds.sbatch", *SHORT, options=("--array=3-4",), VENV=quick_starts())
    expected = {seed: digest_of(*SHORT, "--seed", seed) for seed in (3, 4)}
    assert slurm.wait(job) == ["COMPLETED", "COMPLETED"]
    for seed, digest in expected.items():
        assert list_points(tmp_path / f"{seed}.out") == digest
    assert len({digest[0] for digest in expected.values()}) == 2


def test_study_in_one_job_and_in_many(slurm, tmp_path):
    (tmp_path / "tiny.toml").write_text("ranks = [1, 2]\nneurons = [60]\nindegrees = [5]\ninputs = 5\nsteps = 50\n")
    out = tmp_path / "out"
    job = slurm.submit(out, "study.sbatch", tmp_path / "tiny.toml", tmp_path / "one", VENV=quick_starts())
    assert slurm.wait(job) == ["COMPLETED"], out.read_text()
    pareprop = [*ranks.python(), "-m", "pareprop", "scaling"]
    many = ["--out", tmp_path / "many", "--launcher", "sbatch", "--sbatch-options", "--mem-per-cpu=400M"]
    slurm(*pareprop, "run", tmp_path / "tiny.toml", *many)
    slurm(*pareprop, "collect", tmp_path / "many")
    tables = [list(csv.DictReader((tmp_path / name / "study.csv").open())) for name in ("one", "many")]
    for table in tables:
        assert [row["ranks"] for row in table] == ["1", "2"]
    assert len({row["digest"] for table in tables for row in table}) == 1
    assert (tmp_path / "one" / "scaling.png").exists()


@pytest.mark.parametrize("script", first(0, ["train.sbatch", "seeds.sbatch"], rest=1))
def test_requeued_job_goes_on(script, slurm, digest_of, tmp_path):
    """An operator puts a running job back; the log is kept, and the job ends with the digest of an undisturbed run."""
    task, out = [*TASK, "--set", "iterations=400", "--set", "checkpoint.every=20"], tmp_path / "out"
    options = ("--array=1",) if script == "seeds.sbatch" else ()
    job = slurm.submit(out, script, *task, options=options, OUT=str(tmp_path / "run"))
    wait_until(lambda: list(tmp_path.glob("run/**/checkpoints/iteration-*[0-9]")), LIMIT)
    slurm("scontrol", "requeue", job if not options else f"{job}_1")
    slurm.wait(job, "PENDING", "COMPLETED")
    expected = digest_of(*task)
    go_on(slurm, job)
    text = out.read_text()
    assert slurm.states(job) == ["COMPLETED"], text
    assert text.count("training: ") == 2 and "resumed: " in text
    assert list_points(out)[-1:] == expected


def test_study_with_more_ranks_than_tasks(slurm, tmp_path):
    """Four ranks in two tasks share cores, the log says so; a failed point leaves table and figures of the others."""
    sizes = "neurons = [60]\nindegrees = [5]\ninputs = 5\nsteps = 50\n"
    (tmp_path / "tiny.toml").write_text(f"ranks = [1, 4]\n{sizes}")
    out = tmp_path / "out"
    job = slurm.submit(out, "study.sbatch", tmp_path / "tiny.toml", tmp_path / "study", VENV=quick_starts())
    assert slurm.wait(job) == ["COMPLETED"], out.read_text()
    assert "note: 1 of these points have more ranks" in out.read_text()
    table = list(csv.DictReader((tmp_path / "study" / "study.csv").open()))
    assert [(row["ranks"], row["oversubscribed"]) for row in table] == [("1", "0"), ("4", "1")]
    assert len({row["digest"] for row in table}) == 1

    (tmp_path / "bad.toml").write_text(f"ranks = [1, 2]\ntimeout_s = 0.01\n{sizes}")
    whole = [path for path in (tmp_path / "study").glob("*.json") if "-r1-" in path.name]
    (tmp_path / "part").mkdir()
    shutil.copy(whole[0], tmp_path / "part")
    job = slurm.submit(tmp_path / "bad", "study.sbatch", tmp_path / "bad.toml", tmp_path / "part", VENV=quick_starts())
    assert slurm.wait(job) == ["FAILED"]
    assert "1 of 2 points failed" in (tmp_path / "bad").read_text()
    assert (tmp_path / "part" / "study.csv").exists() and (tmp_path / "part" / "scaling.png").exists()


def test_log_after_a_killed_rank(slurm, tmp_path):
    """It says which rank ended first, from where the training goes on, and how."""
    task, out = [*TASK, "--set", "iterations=1000000", "--set", "checkpoint.every=20"], tmp_path / "out"
    job = slurm.submit(out, "train.sbatch", *task, OUT=str(tmp_path / "run"))
    wait_until(lambda: list(tmp_path.glob("run/checkpoints/iteration-*[0-9]")), LIMIT)
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = dict(item.split("=", 1) for item in path.read_text().split("\0") if "=" in item)
            if variables.get("SLURM_JOB_ID") == job and variables.get("SLURM_PROCID") == "1":
                os.kill(int(path.parent.name), signal.SIGKILL)
        except (OSError, UnicodeDecodeError):
            continue
    assert slurm.wait(job) == ["FAILED"]
    text = out.read_text()
    assert "pareprop: first to end was rank 1: Killed" in text, text
    assert re.search(rf"latest checkpoint: {tmp_path}/run/checkpoints/iteration-\d+; `scontrol requeue {job}` or", text)
    assert f"pareprop: job {job}: 1 node, 2 ranks, 00:0" in text


def test_two_nodes(digest_of, tmp_path):
    """Two simulated nodes, a rank on each."""
    with start("2") as slurm:
        job = slurm.submit(tmp_path / "out", "train.sbatch", *SHORT, options=("--nodes=2", "--ntasks-per-node=1"))
        expected = digest_of(*SHORT)
        assert slurm.wait(job) == ["COMPLETED"], (tmp_path / "out").read_text()
        assert list_points(tmp_path / "out") == expected
