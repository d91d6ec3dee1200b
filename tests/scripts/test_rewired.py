"""scripts/rewired.py: sparse networks as described, and a table of the runs that are there."""

import numpy as np
import pytest
import rewired

from pareprop.network.local import LocalNetwork


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("name", ["sines-20", "evidence-short"])
def test_networks_differ_in_rewiring_alone(name: str, moves: bool) -> None:
    kind, settings, density, _ = rewired.TASKS[name]
    model = rewired.sparse(kind(seed=3, **settings), density, True, moves)
    network = LocalNetwork(model, 0, 1)
    for span in network.incoming.spans:
        item = span.projection
        assert (item.rewire is not None) == moves
        assert span.last - span.first == round(density * item.pre.size) * item.post.size
        if item.pre.role == "recurrent":
            source = np.concatenate([source for source, *_ in network.incoming.chunks(span)])
            weight = np.concatenate([network.incoming.weight[index] for *_, index in network.incoming.chunks(span)])
            assert np.all(weight * np.where(source < 0.8 * item.pre.size, 1, -1) >= 0)


def test_table() -> None:
    results = {
        rewired.key("sines-5", seed, False, moves): rewired.measure("sines-5", seed, False, moves, 2)
        for seed in (1, 2)
        for moves in (False, True)
    }
    assert results[rewired.key("sines-5", 1, False, False)]["moved"] == 0
    assert results[rewired.key("sines-5", 1, False, True)]["moved"] > 0
    *_, line = lines = rewired.table(results, [1, 2, 3])
    assert len(lines) == 3 and line.startswith("| sines-5 | free | ")
    fixed = [results[rewired.key("sines-5", seed, False, False)]["loss"] for seed in (1, 2)]
    assert f"{np.mean(fixed):.4g} ({fixed[0]:.3g} {fixed[1]:.3g})" in line


def test_classifications_are_tested_on_fresh_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewired, "FRESH", 4)
    found = rewired.measure("evidence-short", 1, True, True, 1)
    assert found["accuracy"] in (0, 0.25, 0.5, 0.75, 1)
    assert 0 < found["loss"] < 2  # about log(2) of a step before learning
