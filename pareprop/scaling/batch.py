"""Run a training in a batch job (`launch`): start its ranks, forward signals, report its end, requeue the job."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import FrameType

from .. import terminal
from ..errors import InputError, StateError
from ..runs.directory import CHECKPOINTS
from ..runs.run import EXIT_CHECKPOINTED
from ..storage.checkpoint_observer import LISTENING
from ..storage.checkpoint_write import list_checkpoints
from ..storage.disk import output_errors
from . import launchers

POLL_SECONDS = 0.2
EXIT_BAD_INPUT = 2  # the training has printed a line on it
RULE = "-----"  # mpirun puts lines that begin like this before and after blocks of output
# messages of srun and mpirun on the rank that ended first: rank, and how it ended
END_PATTERNS = (
    r"srun: error: \S+: tasks? (?P<rank>[\d,-]+): (?P<how>.+)",
    r"process rank (?P<rank>\d+) with PID \d+ on node \S+ exited on\s+(?P<how>signal \d+ \([^)]+\))",
    r"Process name: \[[^\]]+,(?P<rank>\d+)\]\s+Exit code:\s+(?P<how>\d+)",
)
# explanations of unclear ends of ranks
CAUSES = {
    "Illegal instruction": "a kernel or a library has instructions that the processor of that node lacks: install "
    "pareprop with PAREPROP_LEVELS=all, and NumPy and MPI for the oldest of the nodes",
    "Bus error": "memory or a file behind it was not there: /dev/shm or the disk of that node is full (in a container "
    "--shm-size), or a file that was mapped became shorter",
}


class Training:
    """A training in separate ranks; it continues the run in its directory `out`, if there is one.

    `arguments` are passed to `pareprop run`, without `--out` and `--restart`. `launcher` is "srun", "mpirun", or "" for
    one process without a launcher. Progress, warnings and errors are always shown, standard output with `output` only.
    """

    def __init__(self, arguments: Sequence[str], out: Path, launcher: str, n_ranks: int, output: bool = True) -> None:
        self.out, self.n_ranks, self.stdout = out, n_ranks, None if output else subprocess.DEVNULL
        ranks = launchers.make_command(launcher, n_ranks) if launcher else []
        self.command = [*ranks, sys.executable, "-m", "pareprop", "run", *arguments, "--out", str(out), "--restart"]
        self.first_end, self.prefix = "", ""
        self.asked: set[int] = set()  # signals that asked for a checkpoint

    def run(self, seconds: float | None = None) -> int:
        """Run to the end and return the exit code; SIGUSR1, or the end of `seconds`, requests a checkpoint."""
        ((_, code),) = run_together([self], 1, seconds)
        return code

    def start_ranks(self) -> None:
        """Start the ranks."""
        self._listening, self._handed_on = self.out / CHECKPOINTS / LISTENING, False
        with suppress(FileNotFoundError, NotADirectoryError):  # the run itself says that --out is a file
            self._listening.unlink()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self.stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=launchers.make_environment(self.n_ranks),
        )
        self._reader = threading.Thread(target=self._print_lines, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def poll_exit_code(self, is_asked: bool) -> int | None:
        """Return the exit code, None while the training runs; forward the request for a checkpoint once.

        The signal is forwarded after all ranks have installed their handlers: it would kill ranks without one.
        """
        if self.process.poll() is None:
            if is_asked and not self._handed_on and self._listening.exists():
                self.process.send_signal(signal.SIGUSR1)
                self._handed_on = True  # a second signal would end the training at once
            return None
        self._reader.join()
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    def _print_lines(self, lines: Iterable[str]) -> None:
        """Print lines of the launcher and the ranks, and store which rank ended first."""
        for text in drop_checkpoint_reports(lines):
            if not self.first_end:
                self.first_end = find_first_end(text)
            terminal.echo(self.prefix + text, err=True, nl=False)

    def describe_failure(self, code: int) -> Iterator[str]:
        """Yield lines for the end of a log after a failure: which rank ended first, and how to continue."""
        if code in (0, EXIT_BAD_INPUT, EXIT_CHECKPOINTED):
            return
        if self.first_end:
            yield f"first to end was {self.first_end}"
            yield from (line for how, line in CAUSES.items() if how in self.first_end)
        saved = list_checkpoints(self.out / CHECKPOINTS)
        if saved:
            job = os.environ.get("SLURM_JOB_ID")
            again = f"`scontrol requeue {job}` or " if job else ""
            yield f"latest checkpoint: {saved[0]}; {again}`pareprop resume {self.out}` continues from there"
        else:
            yield f"no checkpoint in {self.out}: the training starts anew when it is called again"


def run_together(
    trainings: Iterable[Training], jobs: int, seconds: float | None = None
) -> Iterator[tuple[Training, int]]:
    """Run trainings to their ends, up to `jobs` at a time, and yield each with its exit code when it ends.

    After SIGUSR1 or SIGTERM, or after `seconds`, running trainings write a checkpoint and stop; no other one begins.
    """
    asked: set[int] = set()

    def note_signal(number: int, frame: FrameType | None) -> None:
        asked.add(number)

    running: list[Training] = []
    waiting, began = iter(trainings), time.monotonic()
    listens = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note_signal) for number in (signal.SIGUSR1, signal.SIGTERM) if listens}
    try:
        while True:
            while len(running) < jobs and not asked and (one := next(waiting, None)) is not None:
                one.asked = asked
                one.start_ranks()
                running.append(one)
            if not running:
                return
            is_over = seconds is not None and time.monotonic() - began >= seconds
            for one in list(running):
                if (code := one.poll_exit_code(bool(asked) or is_over)) is not None:
                    running.remove(one)
                    yield one, code
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:  # the ranks get it from the terminal as well, and end after their iteration
        try:
            for one in running:
                one.process.wait()
        finally:
            for one in running:
                one.process.kill()  # if it is interrupted again
        raise
    finally:
        for one in running:  # the caller stopped iterating
            one.process.terminate()
        for number, handler in before.items():
            signal.signal(number, handler)


def drop_checkpoint_reports(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines and blocks of the launcher's output, except reports of `EXIT_CHECKPOINTED` as a failure."""
    block: list[str] = []
    for line in lines:
        if not block and not line.startswith(RULE):
            if f"Exited with exit code {EXIT_CHECKPOINTED}" not in line:
                yield line
            continue
        block.append(line)
        if line.startswith(RULE) and len(block) > 1:
            text, block = "".join(block), []
            if not re.search(rf"Exit code: +{EXIT_CHECKPOINTED}\b", text):
                yield text
    if block:
        yield "".join(block)


def find_first_end(text: str) -> str:
    """Return the rank that a launcher reports as ended, and how: "rank 1: Killed"; "" without such a report."""
    for pattern in END_PATTERNS:
        if match := re.search(pattern, text):
            how = f"exit code {match['how']}" if match["how"].isdigit() else match["how"].strip()
            return f"rank {match['rank']}: {how}"
    return ""


def requeue_job(job: str) -> None:
    """Put this job back into the queue; SLURM then ends it. Raise `StateError` if SLURM refuses."""
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StateError(f"scontrol requeue {job}: {done.stderr.strip()}")


def format_job(n_ranks: int, seconds: float) -> str:
    """Return a line on a finished job: its number and nodes in SLURM, its ranks, and its time."""
    clock = time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 3600:.1f} h"
    job, nodes = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NUM_NODES", "1")
    where = f"job {job}: {nodes} node{'s' if nodes != '1' else ''}, " if job else ""
    return f"{where}{n_ranks} rank{'s' if n_ranks > 1 else ''}, {clock} elapsed"


def write_scripts(folder: Path) -> list[Path]:
    """Write the job scripts of the package into a folder, and return their paths.

    If a file there differs, raise `InputError` and write nothing.
    """
    kinds = (".sh", ".sbatch", ".toml", ".md")
    texts = {
        folder / entry.name: entry.read_bytes()
        for entry in sorted(resources.files("pareprop.jobs").iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(kinds)
    }
    with output_errors(folder, "--write "):
        for path, text in texts.items():
            if path.exists() and path.read_bytes() != text:
                raise InputError(f"--write {folder}: {path.name} is there and differs")
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_bytes(text)
            path.chmod(0o755 if text.startswith(b"#!") else 0o644)
    return list(texts)
