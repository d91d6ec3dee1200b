"""A run that goes on shares its neurons among ranks by the rates that were measured; results stay the same."""

from pathlib import Path

import numpy as np
import pytest
import ranks

import pareprop
from pareprop import Model, Normal, Sample
from pareprop.network.cuts import EVENT, STEP
from pareprop.parallel.exchange import Exchange

N, N_STEPS = 100, 50


def network(variant: str) -> Model:
    """Neurons that fire with each input, and neurons that never fire."""
    model, cell = Model(variant, seed=3), {"C_m": 1.0, "E_L": 0.0, "tau_m": 20.0, "V_th": 1.0}
    inputs, out = model.inputs("in", 4), model.readouts("out", 1, C_m=1.0, E_L=0.0, tau_m=20.0)
    for name, weight in (("busy", 3.0), ("quiet", 0.0)):
        group = model.neurons(name, N, **cell)
        model.connect(inputs, group, weight=weight, plastic=False)
        model.connect(group, group, "fixed_indegree", indegree=50, weight=Normal(std=0.01))
        model.connect(group, out, weight=Normal(std=0.1))
        model.connect(out, group, weight=Normal(std=0.1))
    return model


class Task:
    n_steps = learning_window = N_STEPS

    def sample(self, index: int, phase: str = "train") -> Sample:
        raster = np.random.default_rng(index).random((N_STEPS, 4)) < 0.3
        return Sample.from_raster(raster, np.sin(np.arange(N_STEPS)[:, None] / 10.0))


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """Two or four iterations, from the start or going on: the digest, and the first neuron of the second rank."""
    variant, until, restart = words[0], int(words[1]), len(words) > 2
    done = pareprop.run(
        network(variant), Task(), Path(folder) / variant, exchange=exchange, iterations=4, until=until, test_samples=0,
        figures="none", quiet=True, restart=restart,
    )  # fmt: skip
    if exchange.rank == 0:
        rate = done.simulation.model.rates_hz.get("busy", 0.0)
        print(f"digest: {done.digest}\ncut: {done.simulation.network.cuts[1]}\nrate: {rate}")


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_neurons_are_shared_by_measured_rates(variant: str, tmp_path: Path) -> None:
    whole = ranks.digests(2, __file__, tmp_path / "whole", variant, "4")
    assert whole["cut"] == "100"  # all are taken to fire as often
    ranks.digests(2, __file__, tmp_path / "parts", variant, "2")
    resumed = ranks.digests(2, __file__, tmp_path / "parts", variant, "4", "on")
    assert resumed["digest"] == whole["digest"]
    each = 4.0 * 10.0 + 50 * np.array([float(resumed["rate"]), 0.0])  # spikes that arrive in a second
    busy, quiet = STEP + EVENT * 1e-3 * each
    assert int(resumed["cut"]) == pytest.approx(N * (busy + quiet) / 2 / busy, abs=1) and quiet < busy / 2
