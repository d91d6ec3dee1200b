"""Each rule draws what it says of itself; one_to_one is the same network as its synapses given one by one."""

from pathlib import Path

import numpy as np
import pytest
import small
from params import first
from small import Noise

from pareprop.errors import InputError
from pareprop.network.connectivity import RULES, Projection
from pareprop.network.model import Model
from pareprop.network.synapse_table import SynapseTable
from pareprop.simulation import Simulation
from pareprop.sonata.edges import HeldEdges, Piece

OPTIONS = {
    "all_to_all": {},
    "one_to_one": {},
    "fixed_indegree": {"indegree": 6},
    "fixed_probability": {"probability": 0.15},
    "explicit": {"source": np.arange(0, 40, 3) % 11, "target": np.arange(14)},
    "lognormal_degrees": {"indegree": 6, "sigma_in": 0.6, "sigma_out": 0.8},
    "distance": {"probability": 0.7, "space": {"extent": (2.0, 3.0), "length": 0.5, "cutoff": 1.0}},
    "sonata": {},
}


def edges(seed: int, low: int, high: int) -> HeldEdges:
    """240 edges among 40 nodes at random, as if read from a file; those onto the targets [low, high) are held."""
    random = np.random.default_rng(seed)
    source, target = random.integers(0, 40, (2, 240))
    mine = (target >= low) & (target < high)
    none = np.zeros(mine.sum())
    piece = Piece(source[mine], target[mine], np.ones(mine.sum(), np.int64), none)
    return HeldEdges(
        Path("edges.h5"), "n_to_n", "n", "n", 40, 40, 240, "", (), {}, None, None, 1.0, False, held=[piece]
    )


def draw(rule: str, seed: int, low: int, high: int, **more: bool) -> tuple[np.ndarray, Projection]:
    """Sources of a projection of 40 neurons onto themselves, of the targets [low, high)."""
    model = Model(seed=seed)
    neurons = model.neurons("n", 40)
    given = {"edges": edges(seed, low, high)} if rule == "sonata" else OPTIONS[rule]
    item = model.connect(neurons, neurons, rule, **given, **more)
    table = SynapseTable(model, [item], low, high)
    return np.concatenate([source for source, *_ in table.chunks(table.spans[0])]), item


@pytest.mark.parametrize("more", first(1, [{}, {"allow_autapses": False}, {"allow_multapses": False}]), ids=str)
@pytest.mark.parametrize("rule", OPTIONS)
def test_indegree_and_silence_are_those_of_the_draw(rule: str, more: dict) -> None:
    """Within five standard errors of 300 draws, exactly where nothing is random."""
    low, high, counts, silent = 10, 17, [], []
    for seed in range(300):
        source, item = draw(rule, seed, low, high, **more)
        counts.append(len(source) if rule != "explicit" else len(item.target) * (high - low) / 40)
        silent.append(1.0 - len(np.unique(source)) / 40)
    for found, wanted in (
        (counts, RULES[rule].indegree(item) * (high - low)),
        (silent, RULES[rule].silent(item, low, high)),
    ):
        error = np.std(found) / np.sqrt(len(found))
        slack = 0.03 if more.get("allow_autapses") is False and found is silent else 0.0  # a source misses itself
        assert abs(np.mean(found) - wanted) <= 5 * error + slack + 1e-12


def test_one_to_one_needs_equal_sizes() -> None:
    model = Model()
    a, b = model.neurons("a", 3), model.neurons("b", 4)
    with pytest.raises(InputError, match="needs populations of the same size, they have 3 and 4 cells"):
        model.connect(a, b, "one_to_one")


NOISE = Noise(lambda draws: draws.random((60, 1)), 9, 0.3)


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("autapses", [True, False])
def test_one_to_one_is_the_explicit_network(variant: str, autapses: bool) -> None:
    """Same spikes, weights and digest after training; without autapses a neuron has nothing from itself."""
    digests = []
    for given in (False, True):
        model = small.network(variant, 9, 9, into=None, onto={"weight": 0.1}, back={"weight": 0.2})
        inputs, neurons, _ = model.populations
        own = np.arange(9) if autapses else np.zeros(0, int)
        for pre, ids, weight, more in (
            (inputs, np.arange(9), 0.8, {}),
            (neurons, own, 0.3, {"allow_autapses": autapses}),
        ):
            if given:
                model.connect(pre, neurons, "explicit", source=ids, target=ids, weight=weight)
            else:
                model.connect(pre, neurons, "one_to_one", weight=weight, **more)
        run = Simulation(model, NOISE)
        run.train(2)
        digests.append(run.hexdigest())
        assert run.engine.n_spikes > 10
    assert digests[0] == digests[1]
