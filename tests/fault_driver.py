"""A command of the package on ranks of which one meets a fault: `fault_driver.py RANK PHASE FAULT ARGUMENTS...`.

The fault happens within the phase, after the second checkpoint where there is one. What is sent to the process itself
comes from outside, so that it is met wherever the computation is.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py

from pareprop import cli
from pareprop.network.local import LocalNetwork
from pareprop.parallel import launcher
from pareprop.parallel.channel import Channel
from pareprop.runs import run
from pareprop.simulation.loop import Simulation
from pareprop.storage import checkpoint_pieces, recorder
from pareprop.storage.checkpoint_observer import Checkpoints
from pareprop.tasks import sine_waves

AFTER = 5  # iterations done before the fault; checkpoints are written after 2 and 4
done = [0]


def outside(script: str) -> None:
    """Run a shell script on this process, $1."""
    subprocess.Popen(["sh", "-c", script, "sh", str(os.getpid())], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def storm() -> None:
    outside("for i in $(seq 200); do kill -USR1 $1 2>/dev/null || exit; done")


def twice() -> None:
    """From here: from outside, the run may have stopped before the second signal comes."""
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)


def memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))
    bytearray(2**26)  # what the phase would have asked for


def remove_run(out: Path) -> None:
    """The run's directory is gone; a copy stays, in place of a file system that comes back."""
    shutil.copytree(out, out.with_name("kept"))
    shutil.rmtree(out)


def full(out: Path) -> None:
    with open(out.parent / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def read_only(out: Path) -> None:
    """Cover the directory with a read-only view of itself; files that are open, such as the log, stay writable."""
    subprocess.run(["mount", "--bind", out.parent, out.parent], check=True)
    end = time.monotonic() + 20  # refused while the other rank has opened a file in between
    while subprocess.run(["mount", "-o", "remount,bind,ro", out.parent], check=time.monotonic() > end).returncode:
        time.sleep(0.01)


def unreadable() -> None:
    """The next sample of this rank lies in a file that fails."""

    def fail(self: sine_waves.SineWaves, index: int, phase: str = "train") -> None:
        with h5py.File("/proc/self/mem") as file:
            file["nothing"]

    sine_waves.SineWaves.sample = fail


FAULTS: dict[str, Callable[[Path], None]] = {
    "SIGKILL": lambda out: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSTOP": lambda out: outside("kill -STOP $1; sleep 1; kill -CONT $1"),
    "SIGTERM": lambda out: outside("kill -TERM $1"),
    "SIGINT": lambda out: outside("kill -INT $1"),
    "SIGUSR1": lambda out: outside("kill -USR1 $1"),
    "storm": lambda out: storm(),
    "twice": lambda out: twice(),
    "full": full,
    "removed": remove_run,
    "read-only": read_only,
    "memory": lambda out: memory(),
    "unreadable": lambda out: unreadable(),
}


def before(owner: type, name: str, act: Callable[[], None], early: bool = False) -> None:
    """Act once before a method runs, when enough iterations are done."""
    real = getattr(owner, name)
    waiting = [act]

    def patched(*arguments, **options):
        if waiting and (early or done[0] >= AFTER):
            waiting.pop()()
        return real(*arguments, **options)

    setattr(owner, name, patched)


PHASES = {
    "build": (LocalNetwork, "_build_cells"),
    "training": (Simulation, "_run_sample"),
    "exchange": (Channel, "all_spikes_on_root"),
    "checkpoint": (checkpoint_pieces, "write"),
    "recording": (recorder.Recorder, "_write_buffers"),
    "plotting": (run, "draw_run"),
    "end": (Checkpoints, "finish"),
}


def main() -> None:
    """Arm the fault on its rank and run the command."""
    rank, phase, fault = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    arguments = sys.argv[4:]
    out = Path(arguments[arguments.index("--out") + 1])

    def act() -> None:
        (out.parent.with_name(f"{out.parent.name}.hit")).touch()
        FAULTS[fault](out)

    if launcher.read_launched_rank(os.environ) == rank:
        owner, name = PHASES[phase]
        before(owner, name, act, early=phase == "build")
    if phase != "plotting":  # figures take longer than all the rest
        run.draw_run = lambda directory, **_: None
    real = Simulation._run_iteration

    def counted(self: Simulation) -> None:
        real(self)
        done[0] = self.iteration

    Simulation._run_iteration = counted
    cli.main(arguments)


if __name__ == "__main__":
    main()
