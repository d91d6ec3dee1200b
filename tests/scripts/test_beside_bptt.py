"""`scripts/beside_bptt.py` trains by e-prop and by BPTT, from the same weights."""

import pytest

pytest.importorskip("torch", reason="PyTorch (extra `peer`) is not installed")
import beside_bptt
import torch

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def test_both_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_bptt, "EPOCHS", 12)
    monkeypatch.setattr(beside_bptt.Digits, "n_train", 64)
    accuracy, rate_hz = beside_bptt.by_eprop(1, "symmetric", True)
    assert accuracy > 0.25  # from 64 samples; by chance 0.1
    assert 0.5 * beside_bptt.TARGET_HZ < rate_hz < 2.0 * beside_bptt.TARGET_HZ
    assert min(beside_bptt.by_bptt([1, 2])) > 0.25


def test_networks_side_by_side_do_as_alone() -> None:
    alone = [beside_bptt.exported(seed) for seed in (1, 2)]
    spikes = (torch.rand(2, 4, 80, 128, generator=torch.Generator().manual_seed(1)) < 0.05).double()
    found = [net(raster) for net, raster in zip(alone, spikes, strict=True)]
    sum(readouts.square().sum() for readouts, _ in found).backward()
    gradients = {key: torch.cat([net.weights[key].grad for net in alone]) for key in alone[0].weights}
    together = beside_bptt.side_by_side([beside_bptt.exported(seed) for seed in (1, 2)])
    readouts, fired = together(torch.cat(list(spikes), dim=2))
    readouts.square().sum().backward()
    torch.testing.assert_close(readouts, torch.cat([one for one, _ in found], dim=2))
    assert fired.sum() == sum(one.sum() for _, one in found) > 1000
    torch.testing.assert_close({key: weight.grad for key, weight in together.weights.items()}, gradients)
