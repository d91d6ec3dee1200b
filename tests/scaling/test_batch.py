"""`pareprop launch`, and the job scripts that use it, with stand-ins for srun and scontrol."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import launch
import pytest
import ranks
from commands import apart, as_options, command, refusal_of
from params import first, first_rows

import pareprop
from pareprop.scaling import batch

JOBS = Path(__file__).parents[2] / "jobs"
SRUN = """#!/usr/bin/env bash
echo "iteration 1 of 9" >&2
read -r <"$GO"
printf -- '-----\\nwarning of MPI\\n-----\\n' >&2
printf -- '-----\\nexited with non-zero status\\n   Exit code:    %s\\n-----\\n' "$CODE" >&2
echo "srun: error: n1: task 1: Exited with exit code $CODE" >&2
echo "srun: error: n1: task 0: Killed" >&2
echo "$@" >"$GO.arguments"
exit "$CODE"
"""
SMALL = ("sine-waves", *as_options("n_rec=8", "n_in=6", "n_step=30", "iterations=4"))


def stand_ins(folder: Path, **programs: str) -> dict[str, str]:
    """Programs on the PATH, and the variables of a SLURM job."""
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f"{folder}:{ranks.commands()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "chain", "SLURM_NTASKS": "3", "SLURM_JOB_NUM_NODES": "2"}
    return job | {"PATH": path}


def started(line: list[object], environment: dict[str, str], **streams: object) -> subprocess.Popen[str]:
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(line, **pipes, **streams, text=True, env=os.environ | environment)


@pytest.mark.parametrize("code", first(1, [3, 75]))
def test_log_of_a_chain(tmp_path: Path, code: int) -> None:
    """Lines come as they are written; what launchers say of code 75 is left out, of other codes it is not."""
    environment = stand_ins(tmp_path, srun=SRUN, scontrol='#!/usr/bin/env bash\necho "$@"\n')
    os.mkfifo(tmp_path / "go")
    environment |= {"GO": str(tmp_path / "go"), "CODE": str(code), "OUT": str(tmp_path / "run")}
    line = ["timeout", "120", "bash", JOBS / "chain.sbatch", "sine-waves"]
    process = started(line, environment | {"PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL)
    assert select.select([process.stderr], [], [], 100)[0], "nothing is told while the run goes on"
    (tmp_path / "go").write_text("\n")
    output, errors = process.communicate()
    assert errors.startswith("iteration 1 of 9\n-----\nwarning of MPI\n-----\n")
    assert "pareprop: job 7: 2 nodes, 3 ranks, 00:00:" in errors
    arguments = (tmp_path / "go.arguments").read_text()
    assert "--ntasks=3" in arguments and arguments.strip().endswith(f"run sine-waves --out {tmp_path}/run --restart")
    if code == 75:
        assert "Exit code:" not in errors and "exit code 75" not in errors and "first to end" not in errors
        assert output == "job 7 continues from this checkpoint\n" and process.returncode == 0
    else:
        assert "Exit code:    3" in errors and "task 1: Exited with exit code 3" in errors
        assert "first to end was rank 1: Exited with exit code 3" in errors
        assert f"no checkpoint in {tmp_path}/run" in errors
        assert output == "" and process.returncode == 3


@pytest.mark.parametrize(("number", "code"), first_rows(1, [(signal.SIGTERM, 75), (signal.SIGUSR1, 0)]))
def test_a_cancelled_job_stays_out_of_the_queue(tmp_path: Path, number: int, code: int) -> None:
    """`scancel` sends SIGTERM to a job: its last checkpoint is kept, but it is not requeued as before a time limit."""
    environment = stand_ins(tmp_path, srun=SRUN, scontrol='#!/usr/bin/env bash\necho "$@" >"$GO.scontrol"\n')
    os.mkfifo(tmp_path / "go")
    environment |= {"GO": str(tmp_path / "go"), "CODE": "75"}
    line = [*ranks.python(), "-m", "pareprop", "launch", "--requeue", "sine-waves", "--out", tmp_path / "run"]
    process = started(line, environment)
    assert process.stderr and process.stderr.readline() == "iteration 1 of 9\n"
    process.send_signal(number)
    (tmp_path / "go").write_text("\n")
    output, errors = process.communicate(timeout=900)
    assert process.returncode == code, errors
    assert (tmp_path / "go.scontrol").exists() == (code == 0)
    cancelled = f"job 7 was ended by SIGTERM; `pareprop resume {tmp_path / 'run'}` continues from its checkpoint"
    assert (cancelled in output) == (code != 0)


def test_the_latest_checkpoint_is_named(tmp_path: Path) -> None:
    """Found by hand: the oldest one was."""
    for n in (100, 9, 101):
        (tmp_path / "checkpoints" / f"iteration-{n:08d}").mkdir(parents=True)
    (line,) = batch.Training([], tmp_path, "", 1).describe_failure(1)
    assert line.startswith(f"latest checkpoint: {tmp_path}/checkpoints/iteration-00000101; ")


def test_deaths_that_say_little_are_explained(tmp_path: Path) -> None:
    """In the words of mpirun and of srun."""
    training = batch.Training([], tmp_path, "", 1)
    mpirun = "mpirun noticed that process rank 1 with PID 12 on node n exited on signal 4 (Illegal instruction).\n"
    for said, told in (
        (mpirun, "instructions that the processor of that node lacks: install pareprop with PAREPROP_LEVELS=all"),
        ("srun: error: n2: task 5: Bus error (core dumped)\n", "/dev/shm or the disk of that node is full"),
    ):
        training.first_end = batch.find_first_end(said)
        first, cause, _ = training.describe_failure(132)
        assert first.startswith("first to end was rank") and told in cause


def test_words_of_mpirun_on_a_killed_rank() -> None:
    text = """-----
prterun noticed that process rank 1 with PID 84 on node x exited on
signal 9 (Killed).
-----
"""
    assert batch.find_first_end(text) == "rank 1: signal 9 (Killed)"
    assert batch.find_first_end("   Process name: [prterun-vm-11@1,2]\n   Exit code:    3\n") == "rank 2: exit code 3"


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.skipif(not launch.find_mpirun(), reason="no mpirun")
def test_launch_again_continues_the_run(tmp_path: Path) -> None:
    """Stopped with a checkpoint at its first iteration, it continues to the digest of an undisturbed run."""

    def launched(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = ("--launcher", "mpirun", "--ranks", "2", "--out", name, "--no-figures")
        env = os.environ | launch.ENVIRONMENT | {"BIND": "none"}
        return apart("launch", *options, *SMALL, *arguments, cwd=tmp_path, env=env)

    first = launched("a", "--minutes", "0", "--set", "iterations=100000")
    assert first.returncode == 75 and "stopped by SIGUSR1 after" in first.stdout, first.stderr
    assert "first to end" not in first.stderr and "2 ranks, 00:0" in first.stderr
    done = int(first.stdout.split("stopped by SIGUSR1 after ")[1].split()[0])
    again, whole = (launched(name, "--set", f"iterations={done + 3}") for name in ("a", "b"))
    assert (again.returncode, whole.returncode) == (0, 0), again.stderr
    assert "resumed: " in again.stdout
    assert again.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1] != first.stdout.splitlines()[-1]
    other = launched("a", "--set", "n_rec=9")
    assert other.returncode == 2 and "belongs to another run: model.n_rec = 8, now 9" in other.stderr
    assert "continues from there" not in other.stderr


@pytest.mark.slow
def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = ["launch", *SMALL, "--ranks", "1", "--out", tmp_path / "file"]
    done = apart(*line, env=os.environ | launch.ENVIRONMENT)
    assert done.returncode == 2 and f"--out {tmp_path / 'file'}: is a file" in done.stderr
    assert "Traceback" not in done.stderr


def test_restart_needs_a_directory(capsys: pytest.CaptureFixture) -> None:
    assert "--restart needs --out DIR" in refusal_of(capsys, "run", *SMALL, "--restart")


def test_requeue_outside_of_a_job(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert "--requeue: this is no SLURM job" in refusal_of(capsys, "launch", *SMALL, "--out", tmp_path, "--requeue")


@pytest.mark.parametrize(("name", "value"), [("RANKS", "two"), ("RANKS", "0"), ("LAUNCHER", "sruns")])
def test_odd_variables_are_told(
    name: str, value: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, value)
    told = refusal_of(capsys, "launch", *SMALL, "--out", tmp_path / "run")
    assert value in told and name in told
    assert not (tmp_path / "run").exists()


def test_scripts_are_written_and_nothing_is_replaced(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "ping.json").write_text("[]")
    costs = f"--ping={tmp_path / 'ping.json'}"
    assert command(capsys, "jobs", "sine-waves", costs, "--write", tmp_path / "jobs")[0] == 2
    assert not (tmp_path / "jobs").exists()  # nothing is written where the plan is refused
    code, output, _ = command(capsys, "jobs", "--write", tmp_path / "jobs")
    written = {path.name for path in (tmp_path / "jobs").iterdir()}
    assert code == 0 and output.count("job script: ") == len(written)
    assert written == {path.name for path in JOBS.iterdir() if path.suffix in (".sh", ".sbatch", ".toml", ".md")}
    assert os.access(tmp_path / "jobs" / "train.sh", os.X_OK)
    assert command(capsys, "jobs", "--write", tmp_path / "jobs")[0] == 0  # the same ones
    (tmp_path / "jobs" / "train.sh").write_text("mine")
    (tmp_path / "jobs" / "chain.sbatch").unlink()
    assert "train.sh is there and differs" in refusal_of(capsys, "jobs", "--write", tmp_path / "jobs")
    assert not (tmp_path / "jobs" / "chain.sbatch").exists()


SBATCH = """#!/usr/bin/env bash
case "$*" in *-r2-*) echo "sbatch: error: too many tasks" >&2; exit 1 ;; esac
job=$((100 + $(ls "$JOBS" | wc -l)))
touch "$JOBS/$job"
echo "$job"
"""
SQUEUE = """#!/usr/bin/env bash
echo "$@" >>"$JOBS.asked"
case "$*" in *--name=*) echo 100 ;; esac
"""


def study_of_jobs(folder: Path, monkeypatch: pytest.MonkeyPatch, sbatch: str, study: str) -> list[object]:
    """The command that submits the points of a study."""
    for name in ("bin", "jobs"):
        (folder / name).mkdir()
    for name, value in stand_ins(folder / "bin", sbatch=sbatch, squeue=SQUEUE).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JOBS", str(folder / "jobs"))
    (folder / "tiny.toml").write_text(f"{study}indegrees = [5]\n")
    return ["scaling", "run", folder / "tiny.toml", "--out", folder / "out", "--launcher", "sbatch"]


def test_points_are_submitted_once(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    """A refused point leaves the others and their printed ids; a second call waits for what the first submitted."""
    run = study_of_jobs(tmp_path, monkeypatch, SBATCH, "ranks = [1, 2]\nneurons = [60]\n")
    code, output, errors = command(capsys, *run)
    assert code == 3 and "job 100: interval-n60" in output and "jobs: 100\n" in output
    assert "refused: interval-n60-k5-d1-h0-s1-r2-0: sbatch: sbatch: error: too many tasks" in output
    assert "2 of 2 points failed" in errors
    code, output, _ = command(capsys, *run)
    assert "job 100: interval-n60-k5-d1-h0-s1-r1-0, submitted before" in output
    assert len(list((tmp_path / "jobs").iterdir())) == 1


def test_a_point_that_is_submitted_while_a_signal_comes_is_known(tmp_path: Path, capsys, monkeypatch) -> None:
    """Found by hand: Ctrl-C came between sbatch and the note of its job, which then was submitted again."""
    sbatch = SBATCH.replace("job=$((", "kill -INT $PPID; sleep 0.5\njob=$((", 1)
    run = study_of_jobs(tmp_path, monkeypatch, sbatch, "ranks = [1]\nneurons = [60, 70]\n")
    assert command(capsys, *run)[0] == 130
    assert [path.read_text() for path in (tmp_path / "out").glob("*.job")] == ["100\n"]
    code, output, _ = command(capsys, *run)
    assert code == 130 and "job 100: interval-n60-k5-d1-h0-s1-r1-0, submitted before" in output
    assert len(list((tmp_path / "jobs").iterdir())) == 2


def test_another_processor_is_told_before_the_first_kernel(tmp_path: Path) -> None:
    """The processor of this machine, without the instruction sets that compilers choose."""
    from pareprop.core import build_info

    if not build_info.instructions:
        pytest.skip("built for any processor")
    script = (
        "import pathlib\nread = pathlib.Path.read_text\n"
        "poor = lambda path, *more: 'flags : fpu vme' if str(path) == '/proc/cpuinfo' else read(path, *more)\n"
        "pathlib.Path.read_text = poor\nfrom pareprop import Model\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "avx" in done.stderr or "sse" in done.stderr
    assert "PAREPROP_LEVELS=all" in done.stderr and pareprop.__version__
