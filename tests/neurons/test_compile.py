"""Compiled once: a cache that survives damage and company, one line without a compiler, bytes by MPI."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ranks

from pareprop import InputError, NeuronModel, kernels, terminal
from pareprop.neurons import compile as compiling
from pareprop.neurons.calls import Cells

TINY = {"states": {"u": [0.0, "1"]}, "step": {"u": "0.5*u + arriving"}, "spike": "u - 1"}


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


def without_compiler(monkeypatch) -> None:
    monkeypatch.setattr(
        compiling.kernels,
        "build_info",
        SimpleNamespace(
            compiler="no-such-compiler -O3", flags=kernels.build_info.flags, __file__=kernels.build_info.__file__
        ),
    )


def test_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = NeuronModel.from_dict("tiny", TINY)
    assert half(compiling.compile(model)) == 0.2
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns
    compiling._programs.clear()
    monkeypatch.setattr(compiling, "_compile", None)  # what is in the cache is not compiled again
    assert half(compiling.compile(model)) == 0.2
    assert file.stat().st_mtime_ns == before and not file.stat().st_mode & 0o022


@pytest.mark.parametrize("damage", ["short", "changed", "empty", "others may write"])
def test_a_cache_that_cannot_be_trusted(cache: Path, damage: str) -> None:
    model = NeuronModel.from_dict("tiny", TINY)
    compiling.compile(model)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    if damage == "others may write":
        file.chmod(0o666)
    else:
        file.write_bytes({"short": content[:-100], "empty": b"", "changed": content[:-1] + b"?"}[damage])
    compiling._programs.clear()
    assert half(compiling.compile(model)) == 0.2
    assert file.read_bytes()[-100:] == content[-100:] or damage == "others may write"
    assert not stat.S_IMODE(file.stat().st_mode) & 0o022


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(compiling, "_programs", {})
    assert half(compiling.compile(NeuronModel.from_dict("tiny", TINY))) == 0.2


def test_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler(monkeypatch)
    with pytest.raises(
        InputError, match="neuron model 'tiny' must be compiled, and there is no C compiler 'no-such-com"
    ):
        compiling.compile(NeuronModel.from_dict("tiny", TINY))
    assert not cache.exists()


def test_a_compiler_that_fails(cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(
        compiling.kernels,
        "build_info",
        SimpleNamespace(compiler="false", flags="-O3", __file__=kernels.build_info.__file__),
    )
    with pytest.raises(InputError, match="the C compiler 'false' cannot compile it"):
        compiling.compile(NeuronModel.from_dict("tiny", TINY))
    assert capfd.readouterr() == ("", "")


class Ranks:
    """Two ranks that meet in one process: rank 0 first."""

    told = None

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def bcast(self, value, root):
        assert root == 0
        if self.rank == 0:
            Ranks.told = value
        return Ranks.told


def test_other_ranks_get_the_bytes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They read no cache and run no compiler; an error of rank 0 is theirs as well."""
    model = NeuronModel.from_dict("tiny", TINY)
    compiling.compile(model, Ranks(0))
    compiling._programs.clear()
    without_compiler(monkeypatch)
    monkeypatch.setenv("PAREPROP_CACHE", "/nowhere")
    assert half(compiling.compile(model, Ranks(1))) == 0.2
    other = NeuronModel.from_dict("other", TINY)
    for rank in (0, 1):
        with pytest.raises(InputError, match="there is no C compiler"):
            compiling.compile(other, Ranks(rank))


@pytest.mark.slow
def test_concurrent_runs(cache: Path) -> None:
    """All of them compile, or find what another one compiled; none finds half a file."""
    script = (
        "from pareprop import NeuronModel; from pareprop.neurons.compile import compile\n"
        f"print(compile(NeuronModel.from_dict('tiny', {TINY!r})).n_states)"
    )
    runs = [
        subprocess.Popen([*ranks.python(), "-c", script], env=os.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [run.communicate(timeout=280)[0].strip() for run in runs] == ["1"] * 3
    assert [path.suffix for path in cache.iterdir()] == [".so"]


def test_a_start_loads_no_sympy() -> None:
    """Neither the package nor a model from the cache needs SymPy."""
    compiling.compile(NeuronModel.from_dict("tiny", TINY))
    script = (
        "import sys, pareprop; from pareprop import NeuronModel; from pareprop.neurons.compile import compile\n"
        f"compile(NeuronModel.from_dict('tiny', {TINY!r}))\n"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_sizes_and_errors_of_constants() -> None:
    model = NeuronModel.from_dict(
        "mine",
        {**TINY, "parameters": {"tau": [1.0, "ms"]}, "constants": {"k": "1/tau"}, "step": {"u": "k*u + arriving"}},
    )
    program = compiling.compile(model)
    assert program.constants({"tau": np.array([1.0, 2.0])}, 1.0).shape == (program.n_constants, 2)
    with pytest.raises(InputError, match="constants: k is inf, where tau = 0"):
        program.constants({"tau": np.array([1.0, 0.0])}, 1.0)


def test_what_takes_long_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """On the standard error, which is a terminal or the log of a job."""
    said, real = "", compiling._compile

    def slowly(definition: NeuronModel, stretches: object, tell: Callable[[str], None]) -> bytes:
        nonlocal said
        while said.count("\n") < 2:
            said += capsys.readouterr().err
        return real(definition, stretches, tell)

    monkeypatch.setattr(compiling, "_compile", slowly)
    monkeypatch.setattr(terminal, "PATIENCE", 0.01)
    assert half(compiling.compile(NeuronModel.from_dict("tiny", TINY))) == 0.2
    first, second = said.splitlines()[:2]
    assert first == "neuron model 'tiny': its derivatives are taken, 0.01 s so far" and "0.02 s so far" in second
