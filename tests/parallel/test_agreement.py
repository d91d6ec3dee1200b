"""Ranks that do not do the same are told what differs, at once and before anything is lost; nobody waits for ever."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import launch
import numpy as np
import pytest
import ranks
from commands import output_of, run_of
from params import first

from pareprop import installation, kernels
from pareprop.errors import InputError
from pareprop.kernels import checksum
from pareprop.parallel import agreement
from pareprop.parallel.channel import Channel

# The published test vectors of XXH64 (xxhash_spec.md, and the sanity checks of the reference implementation).
VECTORS = {
    b"": 0xEF46DB3751D8E999,
    b"a": 0xD24EC4F1A98C6E5B,
    b"abc": 0x44BC2CF5AD770999,
    b"Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1,
}
# Of the reference implementation by its Python package: whole blocks of 32 bytes and none, and each kind of rest.
VECTORS |= {
    bytes(range(n)): value
    for n, value in (
        (4, 0xFFCED8604453CC1E),
        (8, 0x884A173614B81B8D),
        (12, 0x424AF23F1F08DCA5),
        (20, 0xA3E3FBE96798D8AC),
        (31, 0xC346D2B59B4D8EE1),
        (32, 0xCBF59C5116FF32B4),
        (45, 0x10FDD84D6409ABDF),
        (64, 0xF7C67301DB6713F0),
        (71, 0x2EBFFC96EB139D60),
    )
}


@pytest.mark.parametrize("text", VECTORS)
def test_checksum(text: bytes) -> None:
    assert checksum.xxh64(np.frombuffer(text, np.uint8)) == VECTORS[text]


SAME = "(must be the same on all ranks)"


def require_difference(done: subprocess.CompletedProcess[str], what: str) -> None:
    """All ranks end with one line on it."""
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("pareprop")]
    assert told == [f"pareprop: error: ranks disagree: {what} {SAME}"]


class Agreed:
    """A meeting in which other ranks set their bits, too."""

    def __init__(self, others: list[int]) -> None:
        self.others = others

    def agree(self, bits: int) -> int:
        assert bits < 2**62
        for other in self.others:
            bits |= other
        return bits


def channel(meeting: object) -> Channel:
    made = Channel.__new__(Channel)
    made.meeting, made.comm = meeting, None
    return made


@pytest.mark.parametrize("marks", list(itertools.product((0, 1, 2, 3, 2**30 - 1), repeat=3)))
def test_marks_are_compared_in_one_message(marks: tuple[int, ...]) -> None:
    sent = []
    for mark in marks:
        listening = Agreed([])
        kept = listening.agree
        listening.agree = lambda bits, kept=kept: sent.append(bits) or kept(bits)
        channel(listening).compare_marks(None, mark)
    assert channel(Agreed(sent[1:])).compare_marks(None, marks[0]) == (len(set(marks)) == 1)


def test_differences_are_named() -> None:
    facts = [{"seed": "1", "a": "x", "b": "1", "c": "2"}, {"seed": "1", "a": "x", "b": "3"}]
    told = "b = 1 on rank 0, 3 on rank 1; c = 2 on rank 0, not set on rank 1"
    assert agreement.find_difference(facts) == f"ranks disagree: {told} {SAME}"
    many = [{str(k): str(rank) for k in range(9)} for rank in range(2)]
    assert agreement.find_difference(many).endswith(f"on rank 1; 6 more {SAME}")


# One thing after the other differs on the last rank; each rank prints what it was told, and all go on after it.
PARTS = """
import os
import numpy as np
from pareprop import Adam, GradientDescent, InputError, Normal, Observer, Sample, Simulation, exchange
from pareprop import run as run_script
from pareprop.engines.interval import IntervalSettings
from pareprop.parallel import launcher
from small import network

ranks = exchange()
last = ranks.rank == ranks.size - 1

class Levels:
    def __init__(self, seed=1, n_steps=30, learning_window=20, spoil=None):
        self.seed, self.n_steps, self.learning_window, self.spoil = seed, n_steps, learning_window, spoil
    def sample(self, index, phase="train"):
        rng = np.random.default_rng(None if self.seed is None else [self.seed, index])
        raster, target = rng.random((self.n_steps, 10)) < 0.1, np.ones((self.n_steps, 1))
        raster[0] = False  # these spikes would not arrive
        more = {"window": np.arange(self.n_steps) > 10, "label": 0}
        if self.spoil and last and index == 2:
            {"target": lambda: target.__setitem__((5, 0), 2.0), "label": lambda: more.pop("label"),
             "window": lambda: more["window"].__setitem__(20, False)}[self.spoil]()
        return Sample.from_raster(raster, target, **more)

def model(n=40, delay=1, std=0.2, C_m=1.0, loss="mean_squared_error", optimizer=Adam(eta=1e-3), **more):
    among = {"rule": "fixed_indegree", "indegree": 5, "weight": Normal(std=0.2), "delay": delay}
    parts = {"cell": {"C_m": C_m}, "out": {"loss": loss}, "into": std, "among": among, "onto": 0.2, "back": 0.2}
    return network(n=n, **parts, optimizer=optimizer, **more)

def tell(what, action):
    try:
        action()
        print(f"{what}: nothing\\n", end="", flush=True)
    except InputError as problem:
        print(f"{what}: {problem}\\n", end="", flush=True)
"""

DIFFER = """
for name, value in (("variant", "spike"), ("seed", 2), ("n", 41), ("delay", 3), ("precision", "single"), ("std", 0.1),
                    ("optimizer", Adam(eta=2e-3)), ("optimizer", Adam(eta=1e-3, batch_size=2)),
                    ("optimizer", GradientDescent(eta=1e-3)), ("C_m", 2.0), ("n_out", 2), ("loss", "cross_entropy")):
    tell(f"{name} {value!r}", lambda: Simulation(model(**({name: value} if last else {})), Levels(), ranks))
for name, value in (("n_steps", 40), ("learning_window", 10), ("seed", 2), ("seed", None)):
    tell(f"task {name} {value}", lambda: Simulation(model(), Levels(**({name: value} if last else {})), ranks).train(2))
for thing in ("target", "window", "label"):
    tell(f"sample {thing}", lambda: Simulation(model(), Levels(spoil=thing), ranks).train(4))
settings = IntervalSettings(20, average_gradient=last)
tell("settings", lambda: Simulation(model(), Levels(), ranks, settings=settings))
watching = [Observer()] if last else []
tell("observers", lambda: Simulation(model(), Levels(), ranks, observers=watching).state())
tell("observers of a run", lambda: run_script(model(), Levels(), "never made", observers=watching, exchange=ranks))
class Refuses(Observer):
    def state(self, simulation):
        if last:
            raise InputError("nothing to keep")
        return {}

tell("state", lambda: Simulation(model(), Levels(), ranks, observers=[Refuses()]).state())
tell("class", lambda: Simulation(model(), Levels(), ranks, observers=[Observer if last else Observer()]))
tell("train", lambda: Simulation(model(), Levels(), ranks).train(2 + last))
tell("test", lambda: Simulation(model(), Levels(), ranks).test(2 + last))
run = Simulation(model(), Levels(), ranks)
tell("place", lambda: run.train(1) if last else run.test(1))
os.environ["PAREPROP_SHARE_ABOVE"] = "0" if last else "100000"
tell("environment", lambda: Simulation(model(), Levels(), ranks))
os.environ["PAREPROP_SHARE_ABOVE"] = "0"
run = Simulation(model(), Levels(), ranks)
run.train(2)
digest = run.hexdigest()
print(f"end: {ranks.comm.bcast(digest)}\\n", end="", flush=True)
"""


def run_parts(n: int, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    return ranks.run(n, "-c", PARTS + script, env=env | {"PYTHONPATH": str(Path(__file__).parents[1])})


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("n", "env"), [(2, {}), (3, {"PAREPROP_RANKS_PER_NODE": "1"}), (3, {"PAREPROP_SHARE_ABOVE": "9999999"})]
)
def test_what_differs_is_named_on_all_ranks(n: int, env: dict[str, str]) -> None:
    done = run_parts(n, DIFFER, **env)
    assert (done.returncode, done.stderr) == (0, "")
    told = dict(line.split(": ", 1) for line in sorted(set(done.stdout.splitlines())))
    assert done.stdout.count("\n") == n * len(told)  # the same on all ranks
    end, where = SAME, f"on rank 0, {{}} on rank {n - 1}"
    drawn = "sample 0 of 'train': input spikes = "
    observers = "observers = none " + where.format("Observer")
    expected = {
        "observers": observers,
        "observers of a run": observers,
        "variant 'spike'": "variant = 'interval' " + where.format("'spike'"),
        "seed 2": f"seed = 1 {where.format(2)} {end}",
        "n 41": f"population 'rec': size = 40 {where.format(41)} {end}",
        "delay 3": f"projection 'rec->rec': delay = [1, 1] {where.format([3, 3])} {end}",
        "precision 'single'": "precision = 'double' " + where.format("'single'"),
        "std 0.1": "projection 'in->rec': weight = Normal(",
        "n_out 2": f"population 'out': size = 1 {where.format(2)}",
        "C_m 2.0": f"population 'rec': C_m = 1.0 {where.format(2.0)} {end}",
        "loss 'cross_entropy'": "population 'out': loss = 'mean_squared_error' " + where.format("'cross_entropy'"),
        "task n_steps 40": f"task Levels: n_steps = 30 {where.format(40)} {end}",
        "task learning_window 10": f"task Levels: learning_window = 20 {where.format(10)} {end}",
        "task seed 2": f"task Levels: seed = 1 {where.format(2)} {end}; samples must depend on index and phase alone",
        "task seed None": f"task Levels: seed = 1 {where.format('None')}",
        "sample target": "sample 2 of 'train': target = ",
        "sample window": "sample 2 of 'train': window = ",
        "sample label": "sample 2 of 'train': label = ",
        "settings": f"settings: average_gradient = False {where.format(True)} {end}",
        "train": f"n_iterations = 2 {where.format(3)} {end}",
        "test": f"n_samples = 2 {where.format(3)} {end}",
        "environment": f"PAREPROP_SHARE_ABOVE = 100000 {where.format(0)} {end}",
    }
    for what, text in expected.items():
        assert told[what].startswith("ranks disagree: ") and text in told[what], (what, told[what])
    assert drawn in told["task seed 2"] and drawn in told["task seed None"]
    assert sum("eta = 0.001" in text and "batch_size" not in text for text in told.values()) == 1
    assert told["place"].startswith("rank 0 has come to test(), rank")
    assert told["state"] == f"nothing to keep (rank {n - 1})"
    assert told["class"].endswith(f"pass an instance, Observer() (rank {n - 1})")
    assert len(told["end"]) == 64


# What some ranks do alone, and what those that wait are told. The others come to the end of the script.
ALONE = {
    "build": ("Simulation(model(), Levels(), ranks)", "Simulation()"),
    "train": ("run.train(3)", "train()"),
    "test": ("run.test(3)", "test()"),
    "hexdigest": ("run.hexdigest()", "hexdigest()"),
    "split": ("launcher.split_into_replicas(ranks, 2)", "split()"),
    "sample": ("[run.run_sample(k, 'test', False) for k in range(3)]", ""),
}


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize(
    ("what", "who"), [*((what, "== 0") for what in ALONE), ("build", "!= 0"), ("hexdigest", "!= 0")]
)
def test_ranks_that_wait_for_one_that_ended_are_told(what: str, who: str) -> None:
    action, place = ALONE[what]
    script = f"run = Simulation(model(), Levels(), ranks)\nif ranks.rank {who}:\n    {action}"
    done = run_parts(3 if what != "split" else 2, script)
    assert done.returncode not in (0, 124), done.stderr
    if place:
        here, other = (place, agreement.END) if who == "== 0" else (agreement.END, place)
        assert f"InputError: rank 0 has come to {here}, rank 1 to {other}: what one of the ranks" in done.stderr
    else:
        assert "ended unexpectedly" in done.stderr


@pytest.mark.slow
@pytest.mark.mpi
def test_a_rank_that_waits_long_says_for_whom() -> None:
    script = """
from pareprop.parallel import agreement
import time
agreement.WARN_AFTER = 0.5
if ranks.rank == ranks.size - 1:
    time.sleep(3)
Simulation(model(), Levels(), ranks).train(1)
"""
    done = run_parts(3, script)
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["pareprop: rank 0 waits at Simulation() for rank 2; all ranks must call it"]


@pytest.mark.slow
@pytest.mark.mpi
def test_a_rank_that_alone_asks_for_the_exchange_says_for_whom_it_waits() -> None:
    """Where MPI has started; MPI itself waits in silence, or ends all, where one of the ranks never starts it."""
    script = """
import time
from mpi4py import MPI
from pareprop.parallel import agreement, launcher
agreement.WARN_AFTER = 0.2
if MPI.COMM_WORLD.rank == 1:
    time.sleep(2)
print(launcher.exchange().size)
"""
    done = ranks.run(2, "-c", script)
    assert done.returncode == 0 and done.stdout == "2\n2\n"
    assert done.stderr.splitlines() == ["pareprop: rank 0 waits at exchange() for rank 1; all ranks must call it"]


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("who", [0, 1])
def test_a_rank_that_alone_asks_for_the_exchange_ends_where_it_is_told_to(who: int) -> None:
    """With one line and exit code 2, after PAREPROP_WAIT seconds; without that variable it waits."""
    script = f"""
from mpi4py import MPI
from pareprop import cli
if MPI.COMM_WORLD.rank == {who}:
    cli.main(["tasks"])
"""
    done = ranks.run(2, "-c", script, env={"PAREPROP_WAIT": "0.5"})
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("pareprop: ")]
    line = f"pareprop: error: rank {who} waited at exchange() for rank {1 - who} longer than PAREPROP_WAIT = 0.5 s"
    assert told == [line], done.stderr


def test_a_wait_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agreement.read_wait_limit() == float("inf")
    for text in ("long", "0", "-1", "nan"):
        monkeypatch.setenv("PAREPROP_WAIT", text)
        with pytest.raises(InputError, match=f"PAREPROP_WAIT = '{text}' must be a number of seconds above 0"):
            agreement.read_wait_limit()


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("variable", agreement.VARIABLES)
def test_environments_are_compared_before_anything_else(variable: str, tmp_path) -> None:
    """Set on one rank alone, where they cut one machine into nodes these ranks would wait for each other for ever."""
    value = "targeted" if variable.endswith("SENDING") else "1"
    script = (
        f"import os, sys\nfrom pareprop import cli\nfrom pareprop.parallel import launcher\n"
        f"if launcher.read_launched_rank(os.environ): os.environ['{variable}'] = '{value}'\n"
        "cli.main(sys.argv[1:])"
    )
    env = dict.fromkeys(agreement.VARIABLES, "") | {"PAREPROP_RANKS_PER_NODE": "" if "NODE" in variable else "2"}
    done = ranks.run(3, "-c", script, "run", "sine-waves", "--out", tmp_path / "run", env=env)
    require_difference(done, f"{variable} = not set on rank 0, {value} on rank 1")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["--set", "iterations=7"], "iterations = 2000 on rank 0, 7 on rank 1"),
        (["--seeds", "2"], "seeds = 1 on rank 0, 2 on rank 1"),
    ],
)
def test_configurations_of_a_run_are_compared(more: list[str], differs: str, tmp_path) -> None:
    script = (
        "import os, sys\nfrom pareprop import cli\nfrom pareprop.parallel import launcher\n"
        f"more = {more} if launcher.read_launched_rank(os.environ) else []\n"
        "cli.main([*sys.argv[1:], *more])"
    )
    done = ranks.run(2, "-c", script, "run", "sine-waves", "--out", tmp_path / "run", timeout=120)
    require_difference(done, differs)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.mpi
def test_directories_to_resume_are_compared(tmp_path, capsys) -> None:
    """Found by hand: ranks resumed copies of a run, and said that it was moved, or nothing."""
    settings = {"n_rec": 6, "n_in": 5, "n_step": 20, "iterations": 4, "figures": "none"}
    output_of(capsys, *run_of("sine-waves", tmp_path / "a", **settings), "--until", 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    script = (
        "import os, sys\nfrom pareprop import cli\nfrom pareprop.parallel import launcher\n"
        "cli.main(['resume', *sys.argv[1 + launcher.read_launched_rank(os.environ)].split()])"
    )
    for options, differs in (
        ("b", f"run directory = {tmp_path / 'a'} on rank 0, {tmp_path / 'b'} on rank 1"),
        ("a --until 3", "until = None on rank 0, 3 on rank 1"),
        ("a --set iterations=9", "--set = [] on rank 0, ['iterations=9'] on rank 1"),
    ):
        done = ranks.run(2, "-c", script, tmp_path / "a", f"{tmp_path}/{options}")
        require_difference(done, differs)


INSTALLED = """
import os, sys
from pareprop import cli, installation
own, rank = installation.list_installation_facts(), os.environ["OMPI_COMM_WORLD_RANK"]
installation.list_installation_facts = lambda local: own | ({sys.argv[1]: "other"} if rank == "1" else {})
cli.main(["run", "sine-waves", "--set", "n_rec=4", "--out", sys.argv[2]])
"""


@pytest.mark.mpi
@pytest.mark.parametrize("what", first(1, ["pareprop", "sources of pareprop", "sources of its kernels"]))
def test_other_versions_and_builds_are_refused(what: str, tmp_path: Path) -> None:
    """Before anything is written; found by hand, ranks of two versions trained one network."""
    done = ranks.run(2, "-c", INSTALLED, what, tmp_path / "run")
    require_difference(done, f"{what} = {installation.list_installation_facts()[what]} on rank 0, other on rank 1")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.mpi
def test_ranks_with_another_copy_of_the_package(tmp_path: Path) -> None:
    """The same sources elsewhere are taken; with one changed line they are refused."""
    package = Path(installation.__file__).parent
    shutil.copytree(package, tmp_path / "copy" / "pareprop", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy" / "pareprop" / "core").symlink_to(Path(kernels.build_info.__file__).parent)
    there = f'[ "$OMPI_COMM_WORLD_RANK" = 1 ] && export PYTHONPATH={tmp_path / "copy"}; exec "$@"'
    shell = ["bash", "-c", there, "-", sys.executable, "-P"]
    run = ["-m", "pareprop", "run", "sine-waves", "--set", "n_rec=4", "--set", "iterations=1", "--no-figures", "--out"]
    done = launch.mpirun(2, *run, tmp_path / "same", python=shell)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "copy" / "pareprop" / "arrays.py", "a") as file:
        file.write("# changed\n")
    done = launch.mpirun(2, *run, tmp_path / "other", python=shell)
    assert done.returncode == 2 and "ranks disagree: sources of pareprop = " in done.stderr, done.stderr


def test_what_is_installed(tmp_path: Path) -> None:
    """A digest goes by names and texts of sources alone."""
    for folder in ("a", "b"):
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "one.py").write_text("x = 1\n")
        (tmp_path / folder / "inner" / "two.py").write_text("y = 2\n")
    (tmp_path / "b" / "one.txt").write_text("is no source")
    (tmp_path / "b" / "core").mkdir()
    (tmp_path / "b" / "core" / "build.py").write_text("is of kernels")
    find = installation.digest_sources.__wrapped__
    same = find(tmp_path / "a")
    assert find(tmp_path / "b") == same
    (tmp_path / "b" / "inner" / "two.py").rename(tmp_path / "b" / "two.py")
    moved = find(tmp_path / "b")
    (tmp_path / "b" / "two.py").write_text("y = 3\n")
    assert len({same, moved, find(tmp_path / "b")}) == 3
    for name in ("pareprop", "its kernels"):
        assert re.fullmatch("[0-9a-f]{16}", installation.list_installation_facts()[f"sources of {name}"])
