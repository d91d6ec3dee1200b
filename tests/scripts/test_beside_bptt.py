"""`scripts/beside_bptt.py` trains by e-prop and by BPTT, from the same weights."""

import pytest

pytest.importorskip("torch", reason="PyTorch (extra `peer`) is not installed")
import beside_bptt

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def test_both_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_bptt, "EPOCHS", 12)
    monkeypatch.setattr(beside_bptt.Digits, "n_train", 64)
    accuracy, rate_hz = beside_bptt.by_eprop(1, "symmetric", True)
    assert accuracy > 0.25  # from 64 samples; by chance 0.1
    assert 0.5 * beside_bptt.TARGET_HZ < rate_hz < 2.0 * beside_bptt.TARGET_HZ
    assert beside_bptt.by_bptt(1, True) > 0.25
