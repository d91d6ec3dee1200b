"""Each rule draws what it says of itself; one_to_one is the same network as its synapses given one by one."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
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
from pareprop.sonata.edges import EdgeChunk, LoadedEdges

OPTIONS = {
    "all_to_all": {},
    "one_to_one": {},
    "fixed_indegree": {"indegree": 6},
    "fixed_probability": {"probability": 0.15},
    "explicit": {"source": np.arange(0, 40, 3) % 11, "target": np.arange(14)},
    "lognormal_degrees": {"indegree": 6, "sigma_in": 0.6, "sigma_out": 0.8},
    "distance": {"probability": 0.7, "space": {"extent": (2.0, 3.0), "length": 0.5, "cutoff": 1.0}},
    "sonata": {},
    "callback": {"indegree": 6},
}


def sources_of(
    seed: int, targets: np.ndarray, n: int = 40, allow_autapses: bool = True, allow_multapses: bool = True
) -> dict[str, np.ndarray]:
    """Synapses as a function of a script gives them: four to eight sources of each target, drawn by its number."""
    source = []
    for target in targets:
        random = np.random.default_rng([seed, target])
        others = np.arange(n) if allow_autapses else np.delete(np.arange(n), target)
        source.append(random.choice(others, random.integers(4, 9), replace=allow_multapses))
    return {"source": np.concatenate(source), "target": np.repeat(targets, [len(some) for some in source])}


def edges(seed: int, low: int, high: int) -> LoadedEdges:
    """240 edges among 40 nodes at random, as if read from a file; those onto the targets [low, high) are held."""
    random = np.random.default_rng(seed)
    source, target = random.integers(0, 40, (2, 240))
    mine = (target >= low) & (target < high)
    none = np.zeros(mine.sum())
    piece = EdgeChunk(source[mine], target[mine], np.ones(mine.sum(), np.int64), none)
    return LoadedEdges(
        Path("edges.h5"), "n_to_n", "n", "n", 40, 40, 240, "", (), {}, None, None, 1.0, False, chunks=[piece]
    )


def draw(rule: str, seed: int, low: int, high: int, **more: bool) -> tuple[np.ndarray, Projection]:
    """Sources of a projection of 40 neurons onto themselves, of the targets [low, high)."""
    model = Model(seed=seed)
    neurons = model.neurons("n", 40)
    given = {"edges": edges(seed, low, high)} if rule == "sonata" else OPTIONS[rule]
    given = given | {"synapses": partial(sources_of, seed, **more)} if rule == "callback" else given
    item = model.connect(neurons, neurons, rule, **given, **more)
    table = SynapseTable(model, [item], low, high)
    return np.concatenate([source for source, *_ in table.yield_chunks(table.spans[0])]), item


@pytest.mark.parametrize("more", first(1, [{}, {"allow_autapses": False}, {"allow_multapses": False}]), ids=str)
@pytest.mark.parametrize("rule", OPTIONS)
def test_indegree_is_that_of_the_draw(rule: str, more: dict) -> None:
    """Within five standard errors of 300 draws, exactly where nothing is random."""
    low, high, counts = 10, 17, []
    for seed in range(300):
        source, item = draw(rule, seed, low, high, **more)
        counts.append(len(source) if rule != "explicit" else len(item.target) * (high - low) / 40)
    error = np.std(counts) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - RULES[rule].compute_indegree(item) * (high - low)) <= 5 * error + 1e-12


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


def give(targets: np.ndarray) -> dict[str, np.ndarray]:
    """Synapses among 20 neurons, with weights and delays of their own."""
    ends = sources_of(5, targets, 20)
    return ends | {"weight": 0.1 * np.sin(ends["source"] + 3.0 * ends["target"]), "delay": 1 + ends["source"] % 3}


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_function_gives_the_explicit_network(variant: str) -> None:
    """Same spikes and weights after training; each rank asks for its own targets alone."""
    asked, digests = [], []

    def rule(targets: np.ndarray) -> dict[str, np.ndarray]:
        asked.append(targets.copy())
        return give(targets)

    everything = give(np.arange(20))
    for how in ({"rule": rule, "indegree": 6, "delay": (1, 3)}, {"rule": "explicit", **everything}):
        run = Simulation(small.network(variant, among=how), Noise(lambda draws: draws.random((60, 1)), frozen=3))
        run.train(2)
        digests.append(run.hexdigest())
        assert run.engine.n_spikes > 10
    assert digests[0] == digests[1]
    asked.clear()
    model = small.network(variant, among={"rule": rule, "indegree": 6, "delay": (1, 3)})
    assert not asked
    SynapseTable(model, [item for item in model.projections if item.rule == "callback"], 7, 15)
    assert asked and all(np.array_equal(targets, np.arange(7, 15)) for targets in asked)


def change(**changed: object) -> Callable[[np.ndarray], dict[str, object]]:
    return lambda targets: {**give(targets), **changed}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda targets: None, "returned None, must return a dict of source and target"),
        (change(delays=1), "returned the keys source, target, weight, delay, delays, must return a dict"),
        (change(source=[3]), r"returned target of shape \(\d+,\) and source of shape \(1,\)"),
        (
            lambda targets: {"source": [20], "target": [8]},
            "returned source 20 for targets 7 to 14, must be whole, 0 to 19",
        ),
        (lambda targets: {"source": [np.nan], "target": [8]}, "returned source nan"),
        (lambda targets: {"source": [0.5], "target": [8]}, "returned source 0.5"),
        (
            lambda targets: {"source": [3], "target": [15]},
            "returned target 15 for targets 7 to 14, must be whole, 7 to 14",
        ),
        (lambda targets: {"source": [3], "target": [8], "delay": [4]}, "returned delay 4 .* must be whole, 1 to 3"),
        (lambda targets: {"source": [3], "target": [8], "weight": [np.nan]}, "returned weight nan .* must be finite"),
        (lambda targets: {"source": ["a"], "target": [8]}, r": source = \['a'\] must be a number"),
    ],
)
def test_functions_that_give_no_synapses(rule: Callable, message: str) -> None:
    model = small.network(among={"rule": rule, "indegree": 6, "delay": (1, 3)})
    with pytest.raises(InputError, match=f"projection 'rec->rec': rule.*{message}"):
        SynapseTable(model, [item for item in model.projections if item.rule == "callback"], 7, 15)


@pytest.mark.parametrize(
    ("option", "source", "message"),
    [
        ("allow_autapses", [1, 2, 8], "returned target 8 as its own source"),
        ("allow_multapses", [1, 2, 1], "returned a source twice for a target"),
    ],
)
def test_functions_that_give_what_is_excluded(option: str, source: list[int], message: str) -> None:
    for allowed in (True, False):
        how = {"rule": lambda targets: {"source": source, "target": [8, 8, 8]}, "indegree": 1, option: allowed}
        model = small.network(among=how)
        with nullcontext() if allowed else pytest.raises(InputError, match=message):
            SynapseTable(model, [item for item in model.projections if item.rule == "callback"], 0, 20)


def test_functions_that_draw_anew_are_refused() -> None:
    seeds = iter(range(10))
    model = small.network(among={"rule": lambda targets: sources_of(next(seeds), targets, 20), "indegree": 6})
    with pytest.raises(InputError, match="returned other synapses for the same targets when called again"):
        SynapseTable(model, [item for item in model.projections if item.rule == "callback"], 0, 20)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"rule": give}, r"rule 'callback' needs indegree="),
        ({"rule": give, "indegree": -1}, r"indegree = -1 must lie in \[0, 2\^31\)"),
        ({"rule": "callback", "synapses": "give", "indegree": 1}, "synapses = 'give' must be a function of targets"),
        ({"rule": give, "indegree": 6, "probability": 0.1}, "rule 'callback' has no option probability"),
        ({"rule": int}, "unknown rule"),
    ],
)
def test_functions_that_lack_something(how: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small.network(among=how)
