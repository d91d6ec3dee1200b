"""`pareprop verify` on cases of rewards: they hold on any number of ranks, wrong expectations and files are told."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import REWARDS
from commands import command, verify_on_ranks
from damage import attribute, delete, edited, put, replace


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_hold_on_any_number_of_ranks() -> None:
    verify_on_ranks(REWARDS, "", (2, 1))


MISTAKES = {  # case, and the mistake: those of the specification, and wrong expectations
    "gamma": ("gae-cut-off", attribute("/", "gamma", 1.0)),
    "lambda": ("gae-cut-off", attribute("/", "lambda", 1.0)),
    "entropy": ("alif-decisions-adam", attribute("/", "c_H", 0.0)),
    "critic": ("delays", attribute("/", "c_V", 0.1)),
    "bootstrap": ("gae-cut-off", replace("bootstrap", np.zeros_like)),
    "length": ("delays", replace("length", lambda array: np.full_like(array, 100))),
    "feedback": ("delays", attribute("/", "feedback", "random")),
    "delta": ("delays", put("expected/delta", (0, 0), 1e-6)),
    "loss": ("delays", put("expected/loss", 0, 1e-6)),
    "advantage": ("delays", replace("expected/advantage", lambda array: array[:-1])),
    "error": ("delays", put("expected/error_signal", (99, 0), 1e-6)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_do_not_hold(capsys: pytest.CaptureFixture, tmp_path: Path, name: str) -> None:
    case, edit = MISTAKES[name]
    source = next(path for path in REWARDS if case in path)
    if name == "feedback":  # random feedback of the same weights does not follow them
        first = edit

        def edit(file: h5py.File) -> None:
            first(file)
            file["w_fb"][...] = file["w_out"][()].T

    code, output, _ = command(capsys, "verify", edited(source, tmp_path / "case.h5", edit))
    assert code == 1 and "DOES NOT HOLD" in output


BAD = {
    "variant": (attribute("/", "variant", "spike"), "spike"),
    "gamma": (attribute("/", "gamma", 1.5), "gamma = 1.5"),
    "actions": (put("actions", (0, 0), 7), "actions must lie in"),
    "n_actions": (attribute("/", "n_actions", 0), "'out->rec0'"),
    "n_actions-more": (attribute("/", "n_actions", 5), "w_out"),
    "length": (replace("length", lambda array: np.full(array.shape, 1000)), "n_steps = 1000"),
    "steps": (put("decision_steps", 0, 50), "must ascend"),
    "length-half": (replace("length", lambda array: array * np.inf), "infinity"),
    "rewards": (put("rewards", (0, 0), np.nan), "must be finite"),
    "alive": (replace("alive", lambda array: array[:, :-1]), "boolean index"),
    "bootstrap": (replace("bootstrap", lambda array: array[:-1]), "out of bounds"),
    "none": (delete("actions"), "'actions' is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_file(capsys: pytest.CaptureFixture, tmp_path: Path, name: str) -> None:
    edit, message = BAD[name]
    source = next(path for path in REWARDS if "delays" in path)
    code, output, errors = command(capsys, "verify", edited(source, tmp_path / "case.h5", edit))
    assert (code, output) == (2, "")
    assert re.fullmatch(r"pareprop: error: case [^\n]+\n", errors) and message in errors
