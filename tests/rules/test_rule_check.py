"""What `pareprop check-rule` finds, and that it can find it."""

from pathlib import Path

import numpy as np
import pytest
from commands import command

from pareprop.neurons import library as models
from pareprop.rules import library
from pareprop.rules.check import check_rule
from pareprop.rules.definition import LearningRule
from pareprop.rules.program import RuleProgram


@pytest.mark.parametrize("dt", [1.0, 0.1])
def test_window_of_pairs(dt: float) -> None:
    """Bi and Poo's window, from its formula, until a hundredth of its height is left."""
    found = check_rule(library.get_definition("pair_stdp"), models.get_definition("iaf"), dt)
    assert found.passed and not found.warnings and "maps of steps" in found.errors
    times = found.times
    wanted = np.where(times >= 0, np.exp(-np.abs(times) / 20.0), -1.05 * np.exp(-np.abs(times) / 20.0))
    np.testing.assert_allclose(found.window, wanted, rtol=1e-11)
    assert 100 < times[-1] < 130 and times[0] == -times[-1]


def clopath_change(shift: int, rest: float, rise: float, dt: float, steps: int) -> float:
    """What Clopath's rule changes by a spike of the source, and `shift` steps later one of the target, step by step."""
    u_minus, u_plus, r, change = rest, rest, 0.0, 0.0
    for t in range(-steps, steps):
        V = rest + (rise * np.exp(-(t - shift) * dt / 2.0) if t >= shift else 0.0)
        change -= 0.4 * (t == 0) * max(u_minus + 68.0, 0.0)
        r = np.exp(-dt / 15.0) * r + (1 - np.exp(-dt / 15.0)) * (t == 0)
        change += 0.5 * r * max(V + 60.0, 0.0) * max(u_plus + 68.0, 0.0)
        u_minus += (1 - np.exp(-dt / 10.0)) * (V - u_minus)
        u_plus += (1 - np.exp(-dt / 7.0)) * (V - u_plus)
    return change


@pytest.mark.parametrize(("rest", "rise", "dt"), [(-70.0, 100.0, 1.0), (-200.0, 1000.0, 1.0), (-70.0, 100.0, 0.5)])
def test_voltages_cross_thresholds(rest: float, rise: float, dt: float) -> None:
    found = check_rule(library.get_definition("clopath"), models.get_definition("iaf"), dt, {"E_L": rest})
    assert found.passed and found.crossed == found.thresholds == 3
    assert found.rise == rise and f"rise by {rise:g} and" in found.text()
    assert found.window.min() < 0 < found.window.max()
    for k in range(0, len(found.times), 7):
        wanted = clopath_change(round(found.times[k] / dt), rest, rise, dt, int(600 / dt))
        assert found.window[k] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_what_is_wrong_is_told() -> None:
    rule = LearningRule(
        "odd",
        parameters={"tau": (20.0, "ms"), "unused": (1.0, "1"), "V": (1.0, "mV")},
        constants={"keep": "exp(-dt/tau)", "wrong": "tau + V"},
        neuron={"alone": "0.5*alone + z"},
        synapse={"r": "keep*r + wrong*pre", "big": "1.5*big + r", "still": "0.5*still"},
        gradient="big + still",
    )
    found = check_rule(rule, models.get_definition("iaf"))
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
    constants = RuleProgram.compute_constants
    monkeypatch.setattr(RuleProgram, "compute_constants", lambda *given: 1.01 * constants(*given))
    found = check_rule(library.get_definition(name), models.get_definition("iaf"))
    assert not found.passed and min(found.errors.values()) > 1e-4


def test_zeros_are_no_comparison() -> None:
    rule = LearningRule("idle", reads=["V_m"], synapse={"r": "0.9*r + pre"}, gradient="where(V_m > 1e300, 1, 0)*r")
    found = check_rule(rule, models.get_definition("iaf"))
    assert not found.passed and (found.crossed, found.thresholds) == (0, 1)
    assert "only zeros were compared" in found.text() and "the window is 0" in found.text()


OSTL = """
[learning_rules.ostl_reset]
reads = ["tau_m", "V_th"]
neuron = {last = "psi"}
synapse = {e = "(exp(-dt/tau_m) - V_th*before(last))*e + pre"}
gradient = "L*psi*e"
"""


@pytest.mark.filterwarnings("error")
def test_values_of_the_neurons(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "ostl.toml"
    path.write_text(OSTL)
    code, output, errors = command(capsys, "check-rule", path, "--out", tmp_path / "window.png")
    assert code == 1 and "FAILED" in output and "nan (" not in output and not errors
    assert "error: the equations give inf for e in step " in output and "with --set" in output
    assert "figure: none" in output and not (tmp_path / "window.png").exists()
    code, output, _ = command(capsys, "check-rule", path, "--set", "V_th=0.6", "--out", tmp_path / "window.png")
    assert code == 0 and "passed" in output and (tmp_path / "window.png").exists()
    for setting, told in (("V_rh=0.6", "unknown parameter 'V_rh'"), ("V_th=a", "V_th must be a number")):
        code, _, errors = command(capsys, "check-rule", path, "--set", setting)
        assert code == 2 and told in errors and errors.count("\n") == 1


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
