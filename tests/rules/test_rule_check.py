"""What `pareprop check-rule` finds, and that it can find it."""

from pathlib import Path

import numpy as np
import pytest
from commands import command

from pareprop.neurons import library as models
from pareprop.rules import library
from pareprop.rules.check import SHIFTS, check_rule
from pareprop.rules.definition import LearningRule
from pareprop.rules.program import RuleProgram


def test_window_of_pairs() -> None:
    """Bi and Poo's window, from its formula."""
    found = check_rule(library.get("pair_stdp"), models.get("iaf"))
    assert found.passed and not found.warnings and "maps of steps" in found.errors
    wanted = np.where(SHIFTS >= 0, np.exp(-np.abs(SHIFTS) / 20.0), -1.05 * np.exp(-np.abs(SHIFTS) / 20.0))
    np.testing.assert_allclose(found.window, wanted, rtol=1e-12)


def test_what_is_wrong_is_told() -> None:
    rule = LearningRule(
        "odd",
        parameters={"tau": (20.0, "ms"), "unused": (1.0, "1"), "V": (1.0, "mV")},
        constants={"keep": "exp(-dt/tau)", "wrong": "tau + V"},
        neuron={"alone": "0.5*alone + z"},
        synapse={"r": "keep*r + wrong*pre", "big": "1.5*big + r", "still": "0.5*still"},
        gradient="big + still",
    )
    found = check_rule(rule, models.get("iaf"))
    told = "\n".join(found.warnings)
    for text in (
        "parameters: unused is never read",
        "neuron: alone is never read",
        "no pre reaches still",
        "big grows by itself",
        "constants: wrong: tau has unit",
    ):
        assert text in told
    assert all(line in found.text() for line in found.warnings)


@pytest.mark.parametrize("name", ["pair_stdp", "clopath"])
def test_a_wrong_way_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants that are not those of the strings; voltages of the trial cross thresholds."""
    constants = RuleProgram.constants
    monkeypatch.setattr(RuleProgram, "constants", lambda *given: 1.01 * constants(*given))
    found = check_rule(library.get(name), models.get("iaf"))
    assert not found.passed and min(found.errors.values()) > 1e-4


def test_a_rule_that_does_nothing_is_told() -> None:
    gradient = "where(V_m > 1000, 1, 0)*r"
    rule = LearningRule("idle", reads=["V_m"], synapse={"r": "0.9*r + pre"}, gradient=gradient)
    assert any("the ways were not compared" in line for line in check_rule(rule, models.get("iaf")).warnings)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"rules": {"mine": {"synapse": {"r": "0.9*r + pre"}, "gradient": "L*psi*r"}}}')
    code, output, _ = command(capsys, "check-rule", path, "--neuron", "iaf", "--out", tmp_path / "window.png")
    assert code == 0 and "rule mine at neurons iaf: passed" in output
    assert (tmp_path / "window.png").read_bytes()[:4] == b"\x89PNG"
    wrong = tmp_path / "wrong.json"
    given = '{"reads": ["tau_m"], "synapse": {"r": "0.9*r + pre"}, "change": "r*before(tau_m)"}'
    wrong.write_text(f'{{"rules": {{"mine": {given}}}}}')
    for arguments, told in (
        ((path, "--rule", "other"), "unknown learning rule 'other'"),
        (("nothing",), "is not a file, and no learning rule"),
        ((path, "--neuron", "nothing"), "--neuron 'nothing' is no neuron model"),
        (("pair_stdp", "--rule", "other"), "--rule 'other': pair_stdp is a learning rule of the package"),
        ((path, "--out", tmp_path / "window.xyz"), "window.xyz: must end with one of .avif"),
        ((wrong,), "rule mine: before(tau_m) or unreset(tau_m), but tau_m is not a state of model iaf"),
    ):
        code, _, errors = command(capsys, "check-rule", *arguments)
        assert code == 2 and told in errors and errors.count("\n") == 1
