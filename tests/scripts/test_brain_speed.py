"""scripts/brain_speed.py: what it compares has the readouts and the moves that its lines name."""

import json

import brain_speed
import pytest


def test_a_part_measures_all_kinds(capsys: pytest.CaptureFixture) -> None:
    brain_speed.part(neurons=400, iterations=1, repeat=2, l1=0.01)
    found = json.loads(capsys.readouterr().out)
    assert set(found["least"]) == set(brain_speed.KINDS)
    assert all(value > 0 for pair in found["least"].values() for value in pair)
    assert 0 < found["moved"] < 1


def test_networks_differ_in_readouts() -> None:
    few = brain_speed.FewReadouts(n_rec=400, n_in=40)
    assert few.model().local is None and few.model().of_role("readout")[0].size == brain_speed.FEW
    assert few.sample(0).target.shape == (few.n_step, brain_speed.FEW) and few.sample(1) is few.sample(0)
