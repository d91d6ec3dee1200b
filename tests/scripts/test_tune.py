"""Tuning with Optuna: trials are compared and pruned, a second call goes on, mistakes are named."""

import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import ranks

from pareprop.errors import NotFiniteError, StateError

optuna = pytest.importorskip("optuna", reason="Optuna (extra `tune`) is not installed")

CONFIG = """
[task]
name = "data"
data = 'DATA'
n_train = 20
n_validate = 10
[[model.populations]]
name = "in"
role = "input"
size = 20
[[model.populations]]
name = "rec"
role = "recurrent"
size = 10
C_m = 1.0
E_L = 0.0
V_th = 0.4
[[model.populations]]
name = "out"
role = "readout"
size = 1
C_m = 1.0
[[model.projections]]
pre = "in"
post = "rec"
weight = { std = 0.3 }
[[model.projections]]
pre = "rec"
post = "out"
weight = { std = 0.1 }
[[model.projections]]
pre = "out"
post = "rec"
feedback = "symmetric"
[run]
iterations = 12
validate_every = 3
"""

WIDE = ("--set", "Wmin=-1e308", "--set", "Wmax=1e308")


def tune(path: Path, *words: object) -> subprocess.CompletedProcess:
    command = [*ranks.python(), "-m", "pareprop.jobs.tune", *map(str, (path, *words))]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    level = np.random.default_rng(1).integers(0, 2, 30)
    rates = 100.0 * np.where(np.arange(20) < 10, level[:, None], 1 - level[:, None])
    np.savez(tmp_path / "data.npz", rates=rates, targets=np.tile(level[:, None, None] - 0.5, (1, 60, 1)))
    (tmp_path / "own.toml").write_text(CONFIG.replace("DATA", str(tmp_path / "data.npz")))
    return tmp_path / "own.toml"


@pytest.mark.slow
def test_trials_are_compared_and_pruned(levels: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "tune", "--log", "eta=1e-7:1e-1", "--warm-up", 2, "--set", "batch_size=2")
    for n in (6, 4):
        done = tune(levels, *words, "--trials", n)
        assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="pareprop", storage=f"sqlite:///{tmp_path}/tune/study.db")
    states = [trial.state.name for trial in study.trials]
    assert len(states) == 10 and {"COMPLETE", "PRUNED"} == set(states)
    for trial in study.trials:
        values = list(trial.intermediate_values.values())
        assert list(trial.intermediate_values) == [3, 6, 9, 12][: len(values)]
        assert trial.state.name == "PRUNED" or (trial.value == min(values) and len(values) == 4)
        assert (tmp_path / f"tune/trial-{trial.number:04d}/results.h5").exists()
    best = study.best_trial
    assert f"best: trial {best.number}, validation {best.value:.6g}" in done.stdout
    words = ["pareprop", "run", str(levels), "--set", "batch_size=2", "--set", f"eta={best.params['eta']!r}"]
    assert shlex.split(done.stdout.splitlines()[-1]) == words


@pytest.mark.slow
def test_a_training_that_diverges_is_pruned(levels: Path, tmp_path: Path) -> None:
    done = tune(levels, "--out", tmp_path / "wild", "--log", "eta=1e300:1e301", *WIDE, "--trials", 1)
    assert done.returncode == 0 and "1 pruned" in done.stdout, done.stderr


@pytest.mark.parametrize(("problem", "code"), [(StateError("no space left"), 3), (NotFiniteError("loss is nan"), 0)])
def test_only_numbers_that_are_not_finite_are_pruned(
    levels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    problem: StateError,
    code: int,
) -> None:
    from pareprop.jobs import tune as script

    def fail(*arguments: object, **options: object) -> None:
        raise problem

    monkeypatch.setattr(script, "run", fail)
    words = ["tune", str(levels), "--out", str(tmp_path / "tune"), "--log", "eta=1e-3:1e-2", "--trials", "1"]
    monkeypatch.setattr("sys.argv", words)
    assert script.start() == code
    out, errors = capsys.readouterr()
    assert (errors, "1 pruned" in out) == (("", True) if code == 0 else ("tune: no space left\n", False))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give a range: --log KEY=LOW:HIGH"),
        (("--log", "eta=1:0.1"), "'eta=1:0.1' must be KEY=LOW:HIGH with LOW below HIGH"),
        (("--log", "eta=0:1"), "--log eta: 0 must be above 0"),
        (("--log", "etta=0.1:1"), "etta"),
        (("--log", "eta=0.1:1", "--set", "validate_every=0"), "give validate_every"),
    ],
)
def test_mistakes_are_named(levels: Path, tmp_path: Path, words: tuple, message: str) -> None:
    done = tune(levels, "--out", tmp_path / "tune", *words)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "tune").exists()


def test_whole_numbers_of_a_range() -> None:
    """Both ends count as whole, or none does."""
    from pareprop.jobs import tune as script

    kinds = [
        [type(end) for end in script.read_range(f"x={ends}", log)[1:]]
        for log, ends in [(False, "8:64"), (False, "8:64.5"), (True, "8:64")]
    ]
    assert kinds == [[int, int], [float, float], [float, float]]
    drawn = script.suggest(optuna.create_study().ask(), [script.read_range("x=8:64", False)], False)["x"]
    assert isinstance(drawn, int) and 8 <= drawn <= 64


def test_a_missing_optuna_is_named() -> None:
    words = "import runpy, sys; sys.modules['optuna'] = None; runpy.run_module('pareprop.jobs.tune')"
    done = subprocess.run([*ranks.python(), "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "tune: needs Optuna (extra `tune`): pip install optuna\n")
