"""`pareprop verify` on cases of rewards: they hold on any number of ranks, wrong expectations and files are told."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import REWARDS
from commands import command, verify_on_ranks


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_hold_on_any_number_of_ranks() -> None:
    verify_on_ranks(REWARDS, "", (2, 1))


def edit_copy(path: str, target: Path, change) -> Path:
    shutil.copy(path, target)
    target.chmod(0o644)
    with h5py.File(target, "r+") as file:
        change(file)
    return target


def attribute(key: str, value):
    return lambda file: file.attrs.__setitem__(key, value)


def value(key: str, place, amount):
    def edit(file: h5py.File) -> None:
        file[key][place] = amount

    return edit


def replace(key: str, change):
    def edit(file: h5py.File) -> None:
        array = change(file[key][()])
        del file[key]
        file[key] = array

    return edit


MISTAKES = {  # case, and the mistake: those of the specification, and wrong expectations
    "gamma": ("gae-cut-off", attribute("gamma", 1.0)),
    "lambda": ("gae-cut-off", attribute("lambda", 1.0)),
    "entropy": ("alif-decisions-adam", attribute("c_H", 0.0)),
    "critic": ("delays", attribute("c_V", 0.1)),
    "bootstrap": ("gae-cut-off", replace("bootstrap", np.zeros_like)),
    "length": ("delays", replace("length", lambda array: np.full_like(array, 100))),
    "feedback": ("delays", attribute("feedback", "random")),
    "delta": ("delays", value("expected/delta", (0, 0), 1e-6)),
    "loss": ("delays", value("expected/loss", 0, 1e-6)),
    "error": ("delays", value("expected/error_signal", (99, 0), 1e-6)),
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

    code, output, _ = command(capsys, "verify", edit_copy(source, tmp_path / "case.h5", edit))
    assert code == 1 and "DOES NOT HOLD" in output


BAD = {
    "variant": (attribute("variant", "spike"), "variant is 'spike'"),
    "gamma": (attribute("gamma", 1.5), "gamma = 1.5"),
    "no-gamma": (lambda file: file.attrs.__delitem__("gamma"), "'gamma' is missing"),
    "actions": (value("actions", (0, 0), 7), "actions must lie in"),
    "n_actions": (attribute("n_actions", 0), "n_actions = 0"),
    "n_actions-more": (attribute("n_actions", 5), "w_out"),
    "length": (replace("length", lambda array: np.full(array.shape, 1000)), "n_steps = 1000"),
    "steps": (value("decision_steps", 0, 50), "must ascend"),
    "steps-half": (replace("decision_steps", lambda array: array + 0.5), "must hold whole numbers"),
    "actions-half": (replace("actions", lambda array: array + 0.5), "must hold whole numbers"),
    "length-half": (replace("length", lambda array: array * np.inf), "must hold whole numbers"),
    "rewards": (value("rewards", (0, 0), np.nan), "must be finite"),
    "alive": (replace("alive", lambda array: array[:, :-1]), "'alive' has shape"),
    "bootstrap": (replace("bootstrap", lambda array: array[:-1]), "'bootstrap' has shape"),
    "inputs": (replace("inputs", lambda array: array[:-1]), "'inputs' has"),
    "none": (lambda file: file.__delitem__("actions"), "'actions' is missing"),
    "expected": (replace("expected/advantage", lambda array: array[:-1]), "'expected/advantage' has shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_file(capsys: pytest.CaptureFixture, tmp_path: Path, name: str) -> None:
    edit, message = BAD[name]
    source = next(path for path in REWARDS if "delays" in path)
    code, output, errors = command(capsys, "verify", edit_copy(source, tmp_path / "case.h5", edit))
    assert (code, output) == (2, "")
    assert re.fullmatch(r"pareprop: error: case [^\n]+\n", errors) and message in errors
