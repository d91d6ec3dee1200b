"""What one rank alone meets, all ranks hear of: errors, wishes to stop, and the end of a rank."""

from pathlib import Path

import launch
import pytest
import ranks

pytestmark = pytest.mark.mpi

# Every problem of one rank alone, one after the other; each rank prints what it was told.
PROBLEMS = """
import numpy as np
from pareprop.errors import InputError, ParepropError
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Normal
from pareprop.parallel import launcher
from pareprop.simulation import loop
from pareprop.simulation.loop import Simulation
from pareprop.tasks import TASKS

exchange = launcher.exchange()
alone = exchange.rank == exchange.size - 1

def tell(what, action):
    try:
        action()
    except ParepropError as problem:
        print(f"{what}: {type(problem).__name__}: {problem}\\n", end="", flush=True)

class Task:
    n_steps, learning_window, generated = 10, 10, True
    def __init__(self, task, problem):
        self.task, self.problem = task, problem
    def sample(self, index, phase="train"):
        if alone and index == 1:
            raise self.problem
        return self.task.sample(index, phase)

for variant in ("interval", "spike"):
    task = TASKS["sine-waves"](variant=variant, n_rec=6, n_in=4, n_step=10, periods=(10, 5, 4, 2))

    def bounded():
        model = Model(variant, optimizer=GradientDescent(Wmin=-0.5, Wmax=0.5))
        rec, out = model.neurons("rec", 6, "iaf"), model.readouts("out", 1)
        ids = np.arange(6)
        weight = np.where(ids == 5, 0.7, 0.1)  # lies with the last rank
        model.connect(rec, rec, "explicit", source=ids, target=ids, weight=weight)
        model.connect(rec, out, weight=0.1)
        model.connect(out, rec)
        Simulation(model, task, exchange)

    def short():
        before = LocalNetwork._build_cells
        def build(self):
            if alone:
                raise MemoryError("no more")
            before(self)
        LocalNetwork._build_cells = build
        try:
            Simulation(task.build_model(), task, exchange, settings=task.make_settings())
        finally:
            LocalNetwork._build_cells = before

    tell("weight", bounded)
    tell("memory", short)
    for problem in (InputError("bad data"), PermissionError(13, "Permission denied", "data.h5"), MemoryError()):
        run = Simulation(task.build_model(), Task(task, problem), exchange, settings=task.make_settings())
        tell(type(problem).__name__, lambda: run.train(3))
"""


@pytest.mark.parametrize("n", [2, 3])
def test_a_problem_of_one_rank_is_raised_on_all(n: int) -> None:
    done = ranks.run(n, "-c", PROBLEMS)
    assert (done.returncode, done.stderr) == (0, "")
    where = f"(rank {n - 1})"
    expected = [
        f"weight: InputError: projection 'rec->rec': weight = 0.7 must be at most Wmax = 0.5 of its optimizer {where}",
        f"memory: StateError: not enough memory: no more {where}",
        f"InputError: InputError: bad data {where}",
        f"PermissionError: StateError: data.h5: Permission denied {where}",
        f"MemoryError: StateError: not enough memory {where}",
    ]
    assert sorted(done.stdout.splitlines()) == sorted(expected * 2 * n)


# Observers of different groups disagree; prints iterations done, and the scores of the last batch.
DISAGREE = """
from pareprop.parallel import launcher
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer
from pareprop.tasks import TASKS

class Stop(Observer):
    def __init__(self, everywhere):
        self.everywhere = everywhere
    def after_sample(self, simulation, outcome):
        if outcome.index == (11 if self.everywhere else 8):
            simulation.stop_requested = True
    def after_batch(self, simulation, first, n, phase):
        assert len(simulation.batch) == n

task = TASKS["sine-waves"](batch_size=4, n_rec=10, n_step=100, periods=(100, 50, 25, 20))
everyone = launcher.exchange()
for replicas in (1, everyone.size):
    for everywhere in (True, False):
        group = launcher.split_into_replicas(everyone, replicas)
        run = Simulation(task.build_model(), task, group, [Stop(everywhere)], settings=task.make_settings())
        run.train(9)
        losses = [loss for loss, _ in run.batch]
        print(run.iteration, sum(losses) / 4 == run.losses[-1], f"{losses}\\n", end="", flush=True)
"""


def test_one_group_that_asks_stops_all() -> None:
    done = ranks.run(4, "-c", DISAGREE)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 16 and len(set(lines)) == 1 and lines[0].startswith("3 True [")


# A command on ranks of which the last one has other arguments, for instance a file that it can't read.
APART = """
import sys
from pareprop import cli
from pareprop.parallel import launcher
rank = launcher.read_launched_rank(__import__("os").environ)
cli.main([argument.replace("RANK", str(rank)) for argument in sys.argv[1:]])
"""


@pytest.mark.parametrize("command", ["run", "verify", "config"])
def test_a_file_that_one_rank_cannot_read_ends_all(command: str, tmp_path: Path) -> None:
    for rank in (0, 2):
        (tmp_path / f"{rank}.toml").write_text("[task]\nname = 'sine-waves'\n")
    out = ["--out", tmp_path / "run"] if command == "run" else []
    done = ranks.run(3, "-c", APART, command, tmp_path / "RANK.toml", *out)
    if command == "config":
        assert done.returncode == 0  # rank 0 alone reads it
        return
    assert done.returncode == 2 and done.stderr.count("pareprop: error:") == 1, done.stderr
    assert not (tmp_path / "run").exists()


# One rank leaves where nobody expects it.
LEAVES = """
import sys, time
from pareprop import cli
from pareprop.errors import InputError, StateError
from pareprop.parallel import launcher
from pareprop.simulation import loop, observer
how, phase = sys.argv[1:3]
problems = {"input": InputError("alone"), "interrupt": KeyboardInterrupt(), "exit": SystemExit(7)}
class Leave(observer.Observer):
    def before_sample(self, simulation, index, phase):
        if index == 2 and simulation.exchange.rank == 1:
            raise problems[how]
real = loop.Simulation.__init__
def patched(self, model, task, exchange, observers=(), settings=None):
    if phase == "build" and exchange.rank == 1:
        raise problems[how]
    real(self, model, task, exchange, [Leave(), *observers], settings)
loop.Simulation.__init__ = patched
if phase != "library":
    cli.main(sys.argv[3:])
else:
    from pareprop.tasks import TASKS
    task = TASKS["sine-waves"](n_rec=6, n_step=100, periods=(100, 50, 25, 20))
    loop.Simulation(task.build_model(), task, launcher.exchange(), settings=task.make_settings()).train(10**6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["build", "training", "library"])
@pytest.mark.parametrize(("how", "code"), [("input", 2), ("interrupt", 130)])
def test_a_rank_that_leaves_takes_the_others_along(how: str, code: int, phase: str, tmp_path: Path) -> None:
    arguments = ["run", "sine-waves", "--set", "iterations=1000000", "--set", "n_rec=6", "--out", tmp_path / "run"]
    done = ranks.run(2, "-c", LEAVES, how, phase, *arguments)
    assert done.returncode == (1 if phase == "library" and how == "input" else code), done.stderr
    assert how == "interrupt" or "alone" in done.stderr


def test_a_refusal_has_one_line_on_any_number_of_ranks(tmp_path: Path) -> None:
    """Rank 0 looks at the run directory for all."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("not of a run")
    command = "-m", "pareprop", "run", "sine-waves", "--set", "iterations=1", "--out", tmp_path / "run"
    found = [launch.mpirun(n, *command) for n in (1, 2)]
    assert [done.returncode for done in found] == [2, 2]
    errors = [[line for line in done.stderr.splitlines() if line.startswith("pareprop: error: ")] for done in found]
    assert errors[0] == errors[1] and len(errors[0]) == 1
