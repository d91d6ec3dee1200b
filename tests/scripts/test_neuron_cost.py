"""scripts/neuron_cost.py: a line for each model, size and direction; ratios where a loop by hand is known."""

import neuron_cost
import pytest


def test_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["neuron_cost", "iaf_psc_exp", "iaf", "--neurons", "64", "--seconds", "0.001"])
    neuron_cost.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"{name} 64 neurons, {what}" for name in ("iaf_psc_exp", "iaf") for what in ("step", "sweep")
    ]
    assert ["ratio" in line for line in lines] == [True, True, False, False]
