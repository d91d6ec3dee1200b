"""Faults in every phase of a run on ranks: it ends or goes on within seconds, and a resume gives the undisturbed bits.

Part of the matrix by default, all of it with `--long`. The resume is on other numbers of ranks than the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fault_driver
import launch
import pytest
import ranks
from commands import as_options, command, digests, on_ranks

from pareprop.storage import checkpoint_write

pytestmark = pytest.mark.mpi
DRIVER = Path(fault_driver.__file__)
SIZES = ["n_rec=12", "n_in=10", "n_step=30", "periods=[30,15,10,6]", "iterations=12", "checkpoint.every=2"]
RECORD = ["record.every=1", 'what=["spikes","V_m"]']
ASKS = ("SIGTERM", "SIGINT", "SIGUSR1", "storm")  # for a checkpoint and an end
DISK = ("full", "removed", "read-only")
AT_WORK = ("training", "exchange", "checkpoint", "recording")
LATE = ("plotting", "end")
LIMIT = 150  # seconds, on a machine that may be busy: a hang has no end


@dataclass(frozen=True)
class Trial:
    """A fault on one of two ranks within a phase, and the exit codes of the run that are documented for it."""

    variant: str
    phase: str
    fault: str
    rank: int

    @property
    def codes(self) -> set[int]:
        """What the run may end with. Killed by a signal: what the launcher makes of it."""
        killed = {128 + number for number in (1, 2, 9, 10, 15)} | {1}
        if self.fault == "SIGSTOP":
            return {0}
        if self.fault == "SIGKILL":
            return killed
        if self.fault in (*ASKS, "twice"):
            if self.phase in AT_WORK:
                return {130} if self.fault == "twice" else {75}
            return killed | ({0} if self.phase in LATE else set())  # nobody listens before and after the iterations
        if self.fault == "memory":
            return {1, 3}
        return {3} | ({0} if self.phase in LATE else set())

    @property
    def name(self) -> str:
        """Name of its directory."""
        return "-".join([self.variant, self.phase, self.fault, str(self.rank)])


def trials() -> list[Trial]:
    """All that make sense: files are of rank 0 where it alone writes, data are read in training only."""
    found = []
    for variant in ("interval", "spike"):
        for phase in fault_driver.PHASES:
            for number, fault in enumerate(fault_driver.FAULTS):
                if fault == "unreadable" and phase != "training":
                    continue
                if (fault in DISK and phase == "build") or (fault == "read-only" and phase == "recording"):
                    continue  # nothing is there yet; a file that is open can't be made read-only
                rank = 0 if phase == "plotting" else (number + (variant == "spike")) % 2  # each fault on both ranks
                found.append(Trial(variant, phase, fault, rank))
    return found


QUICK = [
    Trial("interval", "build", "SIGINT", 1),
    Trial("spike", "exchange", "SIGKILL", 1),
    Trial("interval", "exchange", "SIGSTOP", 1),
    Trial("spike", "training", "SIGTERM", 1),
    Trial("interval", "checkpoint", "storm", 1),
    Trial("spike", "checkpoint", "full", 0),
    Trial("interval", "training", "unreadable", 1),
    Trial("spike", "recording", "removed", 0),
    Trial("interval", "training", "memory", 1),
    Trial("spike", "plotting", "SIGUSR1", 0),
    Trial("interval", "exchange", "twice", 0),
    Trial("spike", "end", "SIGINT", 1),
]


def settings(trial: Trial) -> list[str]:
    """Settings of the run; without a recording where the disk is to become read-only under it."""
    return as_options(f"variant={trial.variant}", *SIZES, *(RECORD if trial.fault != "read-only" else []))


def run_trial(trial: Trial, folder: Path) -> tuple[int, float, str]:
    """Exit code, seconds and output of a run with a fault; its disk is well again afterwards."""
    place = folder / trial.name
    place.mkdir()
    if trial.fault in DISK:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    two = [launch.find_mpirun(), "-n", "2", *ranks.python(), DRIVER, trial.rank, trial.phase, trial.fault]
    arguments = ["run", "sine-waves", *settings(trial), "--out", place / "run"]
    line, begun = ["timeout", "-k", "5", LIMIT, *two, *arguments], time.monotonic()
    done = launch.in_session(line, os.environ | launch.ENVIRONMENT, stderr=subprocess.STDOUT)
    seconds = time.monotonic() - begun
    if trial.fault == "read-only":
        subprocess.run(["umount", "-l", place], check=True)
    if trial.fault in DISK:
        (place / "filler").unlink(missing_ok=True)
    if (place / "kept").exists():
        shutil.rmtree(place / "run", ignore_errors=True)
        (place / "kept").rename(place / "run")
    return done.returncode, seconds, done.stdout


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each variant and phase if all are wanted, or one of a few trials."""
    parts = {"quick": QUICK}
    if metafunc.config.getoption("--long"):
        every = trials()
        names = dict.fromkeys(f"{trial.variant}-{trial.phase}" for trial in every)
        parts = {name: [trial for trial in every if trial.name.startswith(f"{name}-")] for name in names}
    metafunc.parametrize("found", parts.values(), ids=parts)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_matrix(found: list[Trial], request: pytest.FixtureRequest, tmp_path: Path, capsys) -> None:
    if launch.find_mpirun() is None:
        pytest.skip("no mpirun")
    if os.geteuid() != 0:
        pytest.skip("may not mount file systems")
    try:
        with ThreadPoolExecutor(3) as pool:
            ended = list(pool.map(lambda trial: run_trial(trial, tmp_path), found))
        problems, rows = check(found, ended, tmp_path, capsys)
    finally:
        for trial in found:
            if os.path.ismount(tmp_path / trial.name):
                subprocess.run(["umount", "-l", tmp_path / trial.name], check=False)
    with capsys.disabled():
        if request.config.getoption("--long"):
            print("\n" + "\n".join(rows))
    assert not problems, "\n".join(problems)


def check(
    found: list[Trial], ended: list[tuple[int, float, str]], folder: Path, capsys: pytest.CaptureFixture
) -> tuple[list[str], list[str]]:
    """What is wrong, and a row of a table for each trial; resumes every run."""
    expected, problems, rows = {}, [], []
    for variant in ("interval", "spike"):
        texts = settings(Trial(variant, "", "", 0))
        output = command(capsys, "run", "sine-waves", *texts, "--out", folder / f"whole-{variant}")[1]
        (expected[variant],) = digests(output.splitlines())
    again = [resume(trial, folder) for trial in found]
    one, several = again[::2], again[1::2]
    _, output, _ = on_ranks(3, several, timeout=1800) if several else ([], [], [])
    lines = iter(split(output, len(several)))
    for k, (trial, (code, seconds, text)) in enumerate(zip(found, ended, strict=True)):
        if not (folder / f"{trial.name}.hit").exists():
            problems.append(f"{trial}: was not hit: {code}, {text[-500:]}")
        if code not in trial.codes or seconds > LIMIT - 1:
            problems.append(f"{trial}: exit code {code} after {seconds:.0f} s: {text[-1500:]}")
        told = command(capsys, *one[k // 2])[1].splitlines() if k % 2 == 0 else next(lines)
        if digests(told) != [expected[trial.variant]]:
            problems.append(f"{trial}: resumed to {told[-3:]}, not {expected[trial.variant]}")
        from_checkpoint = again[k][0] == "resume"
        how = f"{'resumed' if from_checkpoint else 'begun again'} on {1 if k % 2 == 0 else 3}"
        name = f"{trial.variant:9}{trial.phase:11}{trial.fault:11}"
        rows.append(f"{name}rank {trial.rank}  exit {code:3}  {seconds:5.1f} s  {how}")
    return problems, rows


def resume(trial: Trial, folder: Path) -> list[object]:
    """The command that goes on: from a checkpoint, or from the start if there is none yet."""
    out = folder / trial.name / "run"
    if checkpoint_write.list_checkpoints(out / "checkpoints"):
        return ["resume", out]
    return ["run", "sine-waves", *settings(trial), "--out", out, "--overwrite"]


def split(lines: list[str], n: int) -> list[list[str]]:
    """Output of several commands, each of which ends with its digest if all is well."""
    parts: list[list[str]] = [[]]
    for line in lines:
        parts[-1].append(line)
        if line.startswith("digest: "):
            parts.append([])
    return (parts + [[] for _ in range(n)])[:n]
