"""Mistakes of the user: one clear line from rank 0, exit code 2, and all ranks stop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks
from commands import apart, command, on_ranks
from params import first

from pareprop import rng
from pareprop.errors import InputError, StateError
from pareprop.network.model import Model
from pareprop.network.parameters import Normal
from pareprop.parallel import collectives, launcher
from pareprop.runs import cases
from pareprop.runs.benchmark import BenchTask
from pareprop.simulation.loop import Simulation

# Arguments (OUT is a directory with something in it) and what the message must say.
MISTAKES = {
    "unknown task": (["run", "sine-wave"], "unknown task 'sine-wave', did you mean 'sine-waves'?"),
    "unknown key": (["run", "sine-waves", "--set", "itarations=3"], "'itarations', did you mean 'iterations'?"),
    "no value": (["run", "sine-waves", "--set", "n_rec"], "--set n_rec: must be key=value"),
    "empty value": (["run", "sine-waves", "--set", "n_rec="], "n_rec = ''"),
    "not a number": (["run", "sine-waves", "--set", "n_rec=many"], "n_rec = 'many'"),
    "nan": (["run", "sine-waves", "--set", "eta=nan"], "eta = nan"),
    "too small": (["run", "sine-waves", "--set", "n_rec=0"], "n_rec = 0"),
    "two mistakes": (["run", "sine-waves", "--set", "n_in=x", "--set", "n_out=y"], "n_out = 'y'"),
    "negative seed": (["run", "sine-waves", "--seed", "-1"], "seed = -1"),
    "textual seed": (["run", "sine-waves", "--seed", "one"], "'one' is not a valid integer"),
    "delay below one": (["run", "sine-waves", "--set", "delay=0"], "delay = 0"),
    "contradiction": (["run", "sine-waves", "--set", "indegree=2", "--set", "n_rec=1"], "from 0 to 0"),
    "directory exists": (["run", "sine-waves", "--out", "OUT"], "exists and is not empty; --overwrite"),
    "directory is a file": (["run", "sine-waves", "--out", "OUT/file"], "is a file"),
    "directory nowhere": (["run", "sine-waves", "--out", "/proc/none/run"], "No such file"),
    "no task": (["run"], "Missing argument 'TASK"),
    "unknown command": (["rum", "sine-waves"], "No such command 'rum'"),
    "negative round": (["verify", "--round-steps", "-1", "OUT/file"], "--round-steps"),
    "bench size": (["bench", "--neurons", "0"], "bench: neurons = 0: Input should be greater than or equal to 1"),
    "bench contradiction": (["bench", "--neurons", "5", "--indegree", "6"], "indegree = 6"),
    "bench file": (["bench", "--neurons", "5", "--indegree", "2", "--json", "OUT/no/figures.json"], "--json"),
    "plot nothing": (["plot", "OUT"], "results.h5: No such file or directory"),
}


def arguments(name: str, out: Path) -> list[str]:
    return [part.replace("OUT", str(out)) for part in MISTAKES[name][0]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "out"
    directory.mkdir()
    (directory / "file").write_text("precious")
    return directory


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_and_exit_code_2(capsys: pytest.CaptureFixture, out: Path, name: str) -> None:
    code, output, errors = command(capsys, *arguments(name, out))
    assert (code, output) == (2, "")
    assert errors.startswith("pareprop: error: ") and errors.count("\n") == 1 and errors.endswith("\n")
    assert MISTAKES[name][1] in errors
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("file", "precious")]


@pytest.mark.mpi
def test_mistakes_on_two_ranks(out: Path) -> None:
    codes, output, errors = on_ranks(2, [arguments(name, out) for name in MISTAKES])
    assert (codes, output) == ([2] * len(MISTAKES), [])
    assert len(errors) == len(MISTAKES)
    for line, (_, message) in zip(errors, MISTAKES.values(), strict=True):
        assert line.startswith("pareprop: error: ") and message in line


def test_overwrite(capsys: pytest.CaptureFixture, out: Path, no_figures: None) -> None:
    quick = ["run", "sine-waves", "--set", "iterations=1", "--set", "n_step=20", "--out", str(out), "--overwrite"]
    assert command(capsys, *quick)[0] == 0
    assert (out / "results.h5").is_file()


def test_no_arguments_show_the_commands(capsys: pytest.CaptureFixture) -> None:
    code, output, errors = command(capsys)
    assert (code, output) == (2, "")
    for name in ("run", "tasks", "verify", "bench", "plot"):
        assert f"\n  {name} " in errors


def train(folder: str, words: list[str], exchange: object) -> None:
    """A mistake that shows on one rank alone: time constants are drawn, that of the last neuron is below 0."""
    model = Model("interval", seed=int(words[0]))
    model.neurons("rec", 6, "iaf", tau_m=Normal(mean=1.0, std=0.5))
    with pytest.raises(InputError) as problem:
        Simulation(model, BenchTask(1, 10, 1), exchange)
    print(problem.value, flush=True)


@pytest.mark.mpi
def test_mistake_on_one_rank_ends_all(tmp_path: Path) -> None:
    def bad(seed: int) -> list[int]:
        drawn = 1.0 + 0.5 * rng.draw_normal(rng.make_key(seed, "rec/tau_m"), range(6), 1)[:, 0]
        return [neuron for neuron in range(6) if drawn[neuron] <= 0]

    seed = next(seed for seed in range(1000) if bad(seed) == [5])
    lines = ranks.train(3, __file__, tmp_path, str(seed), silent=True).splitlines()
    assert len(lines) == 3 and len(set(lines)) == 1
    assert "population 'rec': tau_m drawn for neuron 5" in lines[0] and lines[0].endswith("(rank 2)")


def test_a_crash_tells_where_it_was() -> None:
    code = "import os, signal; from pareprop import cli; cli.main(['tasks']); os.kill(os.getpid(), signal.SIGBUS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.startswith("Fatal Python error: Bus error") and 'File "<string>", line 1' in done.stderr


CRASH = """
import sys
from pareprop import cli
from pareprop.parallel import launcher
from pareprop.runs import cases
if launcher.exchange().rank == 1:
    cases.load = lambda path: 1 / 0
cli.main(["verify", sys.argv[1]])
"""


@pytest.mark.mpi
def test_crash_of_one_rank_ends_all(tmp_path: Path) -> None:
    """Something unforeseen: the traceback of that rank is shown, and nobody waits for it."""
    done = ranks.run(2, "-c", CRASH, tmp_path)
    assert done.returncode != 0
    assert "rank 1 failed" in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StateError("disk full"), 3, "pareprop: error: disk full\n"),
        (MemoryError("8 TiB"), 3, "pareprop: error: not enough memory: 8 TiB\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_other_ends(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(path: str) -> None:
        raise error

    monkeypatch.setattr(cases, "load", fail)
    assert command(capsys, "verify", "case.h5") == (code, "", message)


def test_crash_alone(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "load", lambda path: 1 / 0)
    code, _, errors = command(capsys, "verify", "case.h5")
    assert code == 1
    assert errors.startswith("pareprop: rank 0 failed:\nTraceback") and "ZeroDivisionError" in errors


class Pair:
    """A communicator of two ranks, of which the other one says `other`."""

    size, rank = 2, 0

    def __init__(self, other: object) -> None:
        self.other = other

    def allgather(self, mine: object) -> list[object]:
        return [mine, self.other]

    def Allreduce(self, mine: np.ndarray, into: np.ndarray, operation: str) -> None:
        into[:] = mine + (self.other is not None)


def test_raise_together() -> None:
    collectives.raise_together(None, None)
    collectives.raise_together(Pair(None), None)
    with pytest.raises(StateError, match=r"^full$"):
        collectives.raise_together(None, StateError("full"))
    with pytest.raises(StateError, match=r"^full \(rank 1\)$"):
        collectives.raise_together(Pair(StateError("full")), None)
    with pytest.raises(InputError, match=r"^bad$"):  # rank 0 has looked for all: as a single process says it
        collectives.raise_together(Pair(None), InputError("bad"))
    with pytest.raises(InputError, match=r"^bad$"):
        collectives.raise_together(Pair(InputError("bad")), InputError("bad"))


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_SIZE": "3", "SLURM_STEP_NUM_TASKS": "1"}, 3),
        ({"PMI_SIZE": "2"}, 2),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 4),
        ({"SLURM_NTASKS": "4"}, None),
    ],
)
def test_size_of_launcher(environment: dict[str, str], size: int | None) -> None:
    assert launcher.read_launched_size(environment) == size


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_launcher_of_another_mpi(rank: int) -> None:
    """More ranks promised than MPI sees: refused, not run several times over."""
    done = apart("tasks", env=os.environ | {"PMI_SIZE": "2", "PMI_RANK": str(rank)})
    assert (done.returncode, done.stdout) == (2, "")
    if rank == 0:
        assert "2 ranks were started, but MPI" in done.stderr and done.stderr.count("\n") == 1
    else:
        assert done.stderr == ""


WITHOUT_MPI = (RuntimeError("cannot load\nlibmpi.so"), ImportError("No module named 'mpi4py'"))


@pytest.mark.parametrize("problem", first(1, WITHOUT_MPI))
def test_ranks_without_mpi(problem: Exception, tmp_path: Path) -> None:
    """One line where mpi4py is not installed or finds no MPI library."""
    (tmp_path / "mpi4py.py").write_text(f"raise {problem!r}\n")
    environment = os.environ | {"PMI_SIZE": "2", "PMI_RANK": "0", "PYTHONPATH": str(tmp_path)}
    arguments = [sys.executable, "-m", "pareprop", "tasks"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert f"2 ranks were started, but mpi4py does not load ({str(problem).splitlines()[0]})" in done.stderr


def test_a_value_that_an_option_repeats_is_shortened() -> None:
    done = apart("bench", "--steps", "9" * 50_000 + "x")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert len(done.stderr) < 2100 and "--steps" in done.stderr
