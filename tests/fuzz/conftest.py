"""Fixtures of the doors: tiny runs, and nothing trained for longer than it takes to be refused."""

import os
import shutil
from pathlib import Path

import pytest
from commands import apart, run_of

from pareprop.runs import run
from pareprop.storage import checkpoint_write

TINY = ["n_rec=6", "n_in=5", "n_step=20", "iterations=2", "record.every=1", "checkpoint.every=1"]
WHAT = 'what=["spikes","input_spikes","V_m","weights","readout_signal"]'


@pytest.fixture(autouse=True)
def without_figures(no_figures: None) -> None:
    """No test of this folder draws."""


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is configured, built and begun; what was accepted may train for days."""
    monkeypatch.setattr(run.Run, "train", lambda self: "")
    monkeypatch.setattr(run, "draw_seeds", lambda parts, directory: None)  # of runs that then have no results


@pytest.fixture(scope="session", params=["interval", "spike"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with recording, checkpoints and provenance."""
    out = tmp_path_factory.mktemp("finished") / request.param
    done = apart(*run_of("sine-waves", out, *TINY, WHAT, variant=request.param))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def latest(finished: Path, tmp_path: Path) -> Path:
    """The only checkpoint of a copy of a run."""
    shutil.copytree(finished, tmp_path / "run")
    first, *others = checkpoint_write.list_checkpoints(tmp_path / "run" / "checkpoints")
    for other in others:
        shutil.rmtree(other)
    return first


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A pipe that nobody writes to: who opens it waits forever."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"
