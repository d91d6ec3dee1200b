"""Compiled once: a cache that survives damage and company, one line without a compiler, bytes by MPI."""

import ast
import hashlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import ranks
from case_files import CASES
from commands import command, digests
from params import first

from pareprop import InputError, NeuronModel, kernels, terminal
from pareprop.neurons import compile as compiling
from pareprop.neurons.calls import Cells
from pareprop.rules import program as rule_program

TINY = {"states": {"u": [0.0, "1"]}, "step": {"u": "0.5*u + arriving"}, "spike": "u - 1"}
MODEL = NeuronModel.from_dict("tiny", TINY)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing compiled in this process."""
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "_programs", {})
    return tmp_path / "cache"


def half(program) -> float:
    cells = Cells(program, 1, {}, 1.0)
    cells.step([[0.4]], [0.0])
    cells.step([[0.0]], [0.0])
    return float(cells.state[0, 0])


def with_compiler(monkeypatch, name: str) -> None:
    info = kernels.build_info
    made = SimpleNamespace(compiler=name, flags=info.flags, marches=info.marches, __file__=info.__file__)
    monkeypatch.setattr(compiling.kernels, "build_info", made)


def test_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert half(compiling.compile_model(MODEL)) == 0.2
    file, _ = sorted(cache.iterdir())
    before = file.stat().st_mtime_ns
    compiling._programs.clear()
    monkeypatch.setattr(compiling, "_compile_parts", None)  # what is in the cache is not compiled again
    assert half(compiling.compile_model(MODEL)) == 0.2
    assert file.stat().st_mtime_ns == before and not file.stat().st_mode & 0o022


@pytest.mark.parametrize("damage", ["short", "changed", "empty", "others may write"])
def test_a_cache_that_cannot_be_trusted(cache: Path, damage: str) -> None:
    compiling.compile_model(MODEL)
    file, _ = sorted(cache.iterdir())
    content = file.read_bytes()
    if damage == "others may write":
        file.chmod(0o666)
    else:
        file.write_bytes({"short": content[:-100], "empty": b"", "changed": content[:-1] + b"?"}[damage])
    compiling._programs.clear()
    assert half(compiling.compile_model(MODEL)) == 0.2
    assert file.read_bytes()[-100:] == content[-100:] or damage == "others may write"
    assert not stat.S_IMODE(file.stat().st_mode) & 0o022


@pytest.mark.parametrize("whose", ["another model", "another version of it", "of an earlier version of the package"])
def test_a_whole_file_of_another_model_is_not_believed(cache: Path, monkeypatch, whose: str) -> None:
    """Copied, or renamed, within a cache: found by hand, its neurons were taken without a word."""
    other = NeuronModel.from_dict("tiny", TINY | {"step": {"u": "0.25*u + arriving"}})
    if whose == "another model":
        other = NeuronModel.from_dict("other", other.to_dict())
    compiling.compile_model(other)
    wrong, texts = sorted(cache.iterdir())
    compiling.compile_model(MODEL)
    right, _ = sorted(set(cache.iterdir()) - {wrong, texts})
    content = wrong.read_bytes()
    if whose.startswith("of an earlier"):  # whose files had a checksum of the shared object alone
        content = content[:-32] + hashlib.sha256(content[:-32]).digest()
    right.write_bytes(content)
    compiling._programs.clear()
    assert half(compiling.compile_model(MODEL)) == 0.2 and right.read_bytes() != content


def test_all_that_generates_code_decides_the_name_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by hand: with another formula of a surrogate gradient the kernels of before were taken."""
    here, read = Path(compiling.__file__).parent, list[str]()
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.stem), whole(path))[1])
    compiling._compute_key(MODEL)
    seen, waiting = set[str](), {"generate"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        tree = ast.parse((here / f"{name}.py").read_text())
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
        waiting |= {name for node in nodes for name in [node.module or "", *(each.name for each in node.names)]} - seen
        waiting = {name for name in waiting if (here / f"{name}.py").exists()}
    assert seen <= set(read), seen - set(read)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(compiling, "_programs", {})
    assert half(compiling.compile_model(MODEL)) == 0.2


def test_another_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the one that built the package is not; runs with and without it find what it compiled."""
    there = kernels.build_info.compiler
    with_compiler(monkeypatch, "no-such-compiler -O3")
    monkeypatch.setenv("PAREPROP_CC", "no-such-cc")
    with pytest.raises(InputError, match=r"there is no C compiler 'no-such-cc' \(of PAREPROP_CC\) on this machine"):
        compiling.compile_model(MODEL)
    monkeypatch.setenv("PAREPROP_CC", there)
    assert half(compiling.compile_model(MODEL)) == 0.2
    compiling._programs.clear()
    monkeypatch.delenv("PAREPROP_CC")
    assert half(compiling.compile_model(MODEL)) == 0.2


def test_a_compiler_that_fails(cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    with_compiler(monkeypatch, "false")
    with pytest.raises(InputError, match="the C compiler 'false' cannot compile it"):
        compiling.compile_model(MODEL)
    assert capfd.readouterr() == ("", "")


def test_a_fifo_in_the_cache_is_left_alone(cache: Path) -> None:
    """To open one for reading waits for a writer."""
    cache.mkdir()
    os.mkfifo(cache / compiling._file_name(MODEL, compiling.QUICK, kernels.LEVEL))
    assert half(compiling.compile_model(MODEL)) == 0.2


def test_what_was_compiled_before_needs_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the level that was asked for; a message names the others that there are."""
    levels = list(kernels.build_info.marches)
    others = [level for level in levels if level != kernels.LEVEL][:1]
    compiling.fill_cache(MODEL, others)
    with monkeypatch.context() as here:
        here.setattr(compiling.shutil, "which", lambda name: None)
        with pytest.raises(InputError, match="there is no C compiler") as told:
            compiling.compile_model(MODEL)
    assert not others or f"for level {' and '.join(others)} alone, not for {kernels.LEVEL}" in str(told.value)
    assert len(compiling.fill_cache(MODEL)) == 10  # texts, quick; step, sweep, traces, composed maps in two precisions
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    parts = [compiling.Part(kind, precision) for kind in compiling._FUNCTIONS for precision in ("double", "single")]
    parts += [compiling.Part("composed", precision, (0,), second_trace=False) for precision in ("double", "single")]
    assert all(map(compiling.compile_model(MODEL, parts=parts).has_part, parts))
    with pytest.raises(InputError, match="level 'v9' is unknown for this architecture"):
        compiling.fill_cache(MODEL, ["v9"])


def test_ports_that_are_named(cache: Path) -> None:
    """Maps for each combination of ports would be 65,535 files for 16 ports, and as many in single precision."""
    model = NeuronModel.from_dict("tiny", TINY | {"ports": ["a", "b", "c"], "step": {"u": "0.5*u + a + b + c"}})

    def list_ports(*ports: list[str]) -> list[str]:
        found = compiling.fill_cache(model, ports=ports)
        assert all(path.is_file() for path in found)
        return [path.stem.partition("-composed-double-")[2] for path in found if "-composed-double" in path.stem]

    assert list_ports() == ["0-1-2", "0", "1", "2"]
    assert list_ports(["c", "a"], ["b"]) == ["0-2", "1"]
    with pytest.raises(InputError, match="neuron model 'tiny' has no port 'd'"):
        compiling.fill_cache(model, ports=[["a", "d"]])


SECONDS = """
import os
from pareprop.neurons import compile, library
from pareprop.neurons.compile import Part
(model,) = library.load_definitions(FILE).values()
ports = tuple(range(len(model.ports)))
maps = Part("composed", "double", ports, second_trace=False)
parts = {"check": [compile.QUICK], "interval": [Part("step"), Part("sweep")], "spike": [Part("step"), maps]}
compile.compile_model(model, None, parts[KIND])
print(sum(os.times()[:4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["check", "interval", "spike"])
@pytest.mark.parametrize(("name", "seconds"), [("eif", 6.0), ("wang_buzsaki", 12.0)])
def test_a_neuron_of_a_user_takes_seconds(cache: Path, all_flags, name: str, seconds: float, kind: str) -> None:
    """All that a first run waits for, of one core; it was 25 s and 37 s."""
    file = str(Path(__file__).parent / "user" / f"{name}.toml")
    script = SECONDS.replace("FILE", repr(file)).replace("KIND", repr(kind))
    environment = os.environ | all_flags | {"PAREPROP_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert float(done.stdout) <= seconds


class Ranks:
    """Two ranks that meet in one process: rank 0 first."""

    told: ClassVar[list] = []

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def allreduce(self, value):
        return value  # both have one level

    def bcast(self, value, root):
        assert root == 0
        if self.rank == 0:
            Ranks.told.append(value)
        return value if self.rank == 0 else Ranks.told.pop(0)


def test_other_ranks_get_the_bytes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They read no cache and run no compiler; an error of rank 0 is theirs as well."""
    compiling.compile_model(MODEL, Ranks(0))
    compiling._programs.clear()
    with_compiler(monkeypatch, "no-such-compiler -O3")
    monkeypatch.setenv("PAREPROP_CACHE", "/nowhere")
    assert half(compiling.compile_model(MODEL, Ranks(1))) == 0.2
    other = NeuronModel.from_dict("other", TINY)
    for rank in (0, 1):
        compiling._programs.clear()
        with pytest.raises(InputError, match="there is no C compiler"):
            compiling.compile_model(other, Ranks(rank))
    assert not Ranks.told


# A rank that knows a model already, as one that checked it, or trained it alone, does.
KNOWN = """
from pareprop import NeuronModel, exchange
from pareprop.neurons.compile import Part, compile_model
ranks, model = exchange(), NeuronModel.from_dict("tiny", TINY)
if ranks.rank == 1:
    compile_model(model, None, [Part("composed", "double", (0,))])
both = [compile_model(model, ranks.comm, [part]) for part in (Part("step"), Part("composed", "double", (0,)))]
ranks.comm.barrier()
print(f"{both[0] is both[1] and both[0].n_states}\\n", end="", flush=True)
"""


@pytest.mark.mpi
def test_a_rank_that_knows_a_model_takes_part(cache: Path) -> None:
    """Found by random networks: it did not wait for the others, which hung."""
    done = ranks.run(3, "-c", KNOWN.replace("TINY", repr(TINY)), timeout=300)
    assert (done.returncode, done.stdout) == (0, "1\n" * 3), done.stderr


@pytest.mark.slow
def test_concurrent_runs(cache: Path) -> None:
    """All of them compile, or find what another one compiled; none finds half a file."""
    script = (
        "from pareprop import NeuronModel; from pareprop.neurons.compile import compile_model\n"
        f"print(compile_model(NeuronModel.from_dict('tiny', {TINY!r})).n_states)"
    )
    line, streams = [*ranks.python(), "-c", script], {"stdout": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(line, env=os.environ, **streams) for _ in range(3)]
    assert [run.communicate(timeout=280)[0].strip() for run in runs] == ["1"] * 3
    assert [path.suffix for path in cache.iterdir()] == [".so"] * 2


SOME = (
    "neurons/interval-iaf-psc-exp-ports-delays",
    "neurons/spike-adex-adam",
    "rules/spike-triplet-pair-stdp-delays",
    "neurons/interval-izhikevich-two-kinds-adam-batch",
    "learned/interval-adex-a-b-tau-w-no-reset-adam",
)


@pytest.mark.parametrize("case", first(1, SOME, rest=3))
def test_optimisation_moves_no_bit(cache: Path, monkeypatch, capsys, all_flags: dict[str, str], case: str) -> None:
    """So other tests may compile with less of it: `conftest.compile_quickly`."""
    found, paths = [], [os.environ["PATH"], all_flags["PATH"]]
    for name, path in zip("ab", paths, strict=True):
        monkeypatch.setenv("PATH", path)
        monkeypatch.setenv("PAREPROP_CACHE", str(cache / name))
        for known in (compiling, rule_program):
            monkeypatch.setattr(known, "_programs", {})
        code, output, _ = command(capsys, "verify", CASES / f"{case}.h5")
        assert code == 0
        found += digests(output.splitlines())
    quick, own = ([path.read_bytes() for path in sorted((cache / name).iterdir())] for name in "ab")
    assert len(quick) == len(own) > 0 and (quick != own) == (paths[0] != paths[1])
    assert len(found) == 2 and found[0] == found[1]


def test_a_start_loads_no_sympy() -> None:
    """Neither the package nor a model from the cache needs SymPy."""
    compiling.compile_model(MODEL)
    script = (
        "import sys, pareprop; from pareprop import NeuronModel; from pareprop.neurons.compile import compile_model\n"
        f"compile_model(NeuronModel.from_dict('tiny', {TINY!r}))\n"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_sizes_and_errors_of_constants() -> None:
    more = {"parameters": {"tau": [1.0, "ms"]}, "constants": {"k": "1/tau"}, "step": {"u": "k*u + arriving"}}
    program = compiling.compile_model(NeuronModel.from_dict("mine", TINY | more))
    assert program.compute_constants({"tau": np.array([1.0, 2.0])}, 1.0).shape == (program.n_constants, 2)
    with pytest.raises(InputError, match="constants: k is inf, where tau = 0"):
        program.compute_constants({"tau": np.array([1.0, 0.0])}, 1.0)


def test_what_takes_long_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the standard error, which is a terminal or the log of a job."""
    said, real = list[tuple[str, bool]](), compiling._generate_source

    def slowly(*what: object) -> str:
        while len(said) < 2:
            time.sleep(0.001)
        return real(*what)

    monkeypatch.setattr(compiling, "_generate_source", slowly)
    monkeypatch.setattr(terminal, "PATIENCE", 0.01)
    monkeypatch.setattr(terminal, "echo", lambda text, *, err: said.append((text, err)))
    assert half(compiling.compile_model(MODEL)) == 0.2
    what = "neuron model 'tiny': its derivatives are taken"
    assert said[:2] == [(f"{what}, 0.01 s so far", True), (f"{what}, 0.02 s so far", True)]
    said.clear()
    compiling.fill_cache(MODEL)
    assert said[0][0] == "neuron model 'tiny' (file 3 of 10): its derivatives are taken, 0.01 s so far"
