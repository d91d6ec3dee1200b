"""Biological networks: log-normal degrees and distances; by their laws, and the same for any division."""

import numpy as np
import pytest
import small
from params import first, first_rows

from pareprop import Model, Normal
from pareprop.errors import InputError
from pareprop.kernels import degrees as kernel
from pareprop.network.connectivity import RULES
from pareprop.network.delays import DistanceDelay
from pareprop.network.local import LocalNetwork
from pareprop.simulation import digest

N = 3000
LOGNORMAL = {"rule": "lognormal_degrees", "indegree": 60, "sigma_in": 0.6, "sigma_out": 0.7, "allow_autapses": False}
SPACE = {"extent": (10.0, 10.0), "length": 0.8, "cutoff": 2.0}


def model(rule: str, **options: object) -> Model:
    options = {"weight": Normal(std=1.0), "delay": (1, 3)} | options
    return small.population(N, rule, cell={"C_m": 1.0, "V_th": 1.0}, model={"seed": 5}, **options)


def synapses(found: Model, rank: int = 0, size: int = 1) -> np.ndarray:
    network = LocalNetwork(found, rank, size)
    return np.concatenate([part for pair in digest.list_tables(network) for part in digest.hash_synapses(None, *pair)])


OPTIONS = [LOGNORMAL, {"rule": "distance", "probability": 0.6, "space": SPACE}]


@pytest.mark.parametrize("options", first(1, OPTIONS), ids=["lognormal", "distance"])
def test_any_division_draws_the_same(options: dict) -> None:
    whole = synapses(model(**options))
    for size in (2, 5):
        parts = np.concatenate([synapses(model(**options), rank, size) for rank in range(size)])
        np.testing.assert_array_equal(parts, whole)
    pairs = whole["target"] * N + whole["source"]
    assert len(np.unique(pairs)) == len(pairs)  # no pair twice
    rule, item = RULES[options["rule"]], model(**options).projections[0]
    assert len(whole) == pytest.approx(rule.compute_indegree(item) * N, rel=0.05)
    np.testing.assert_allclose(np.bincount(whole["delay"])[1:] / len(whole), 1 / 3, atol=0.01)
    assert abs(whole["weight"].mean()) < 0.01 and whole["weight"].std() == pytest.approx(1.0, abs=0.01)


def test_degrees_are_lognormal() -> None:
    found = synapses(model(**LOGNORMAL))
    assert not np.any(found["source"] == found["target"])
    into, out = (np.bincount(found[end], minlength=N) for end in ("target", "source"))
    assert into.mean() == pytest.approx(60, rel=0.04)
    assert np.log(np.maximum(into, 1)).std() == pytest.approx(0.6, rel=0.05)
    noise = 1 / out.mean()  # of drawing, beside that of the weights
    assert np.log(np.maximum(out, 1)).std() ** 2 == pytest.approx(0.7**2 + noise, rel=0.12)


def test_weights_are_divided_by_the_root_of_the_degree() -> None:
    plain, divided = synapses(model(**LOGNORMAL)), synapses(model(**LOGNORMAL, normalized=True))
    into = np.bincount(plain["target"], minlength=N)
    np.testing.assert_allclose(divided["weight"], plain["weight"] / np.sqrt(into[plain["target"]]), rtol=1e-15)


def test_inhibition_is_stronger_by_a_factor() -> None:
    found = []
    for factor in (1.0, 1.5):
        how = {"indegree": 20, "weight": Normal(std=1.0), "sign": "source", "inhibition": factor}
        cell = {"C_m": 1.0, "V_th": 1.0, "sign": [1] * 150 + [-1] * 50}
        found.append(synapses(small.population(200, "fixed_indegree", cell=cell, model={"seed": 5}, **how)))
    wanted = found[0]["weight"] * np.where(found[0]["source"] >= 150, 1.5, 1.0)
    np.testing.assert_array_equal(found[1]["weight"], wanted)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_alias_table_has_the_weights(n: int) -> None:
    weight = np.exp(np.random.default_rng(n).standard_normal(n))
    weight /= weight.mean()
    chance, other = np.empty(n), np.empty(n, np.uint32)
    kernel.alias(weight, np.empty(n, np.uint32), chance, other)
    found = chance.copy()
    np.add.at(found, other, 1 - chance)
    np.testing.assert_allclose(found, weight, rtol=1e-9)


@pytest.mark.parametrize(("extent", "profile", "periodic"), first_rows(0, [
    ((6.0, 5.0, 7.0), "gaussian", True), ((10.0, 8.0), "exponential", False), ((10.0, 8.0), "gaussian", True),
    ((10.0, 8.0), "gaussian", False), ((10.0, 8.0), "exponential", True), ((6.0, 5.0, 7.0), "gaussian", False),
    ((6.0, 5.0, 7.0), "exponential", True), ((6.0, 5.0, 7.0), "exponential", False),
], rest=1))  # fmt: skip
def test_probability_falls_with_the_distance(extent: tuple, profile: str, periodic: bool) -> None:
    random = np.random.default_rng(0)
    where = random.random((N, len(extent))) * extent
    space = {
        "extent": extent,
        "length": 0.9,
        "cutoff": 1.8,
        "profile": profile,
        "periodic": periodic,
        "sources": where,
        "targets": where,
    }
    found = synapses(model(rule="distance", probability=0.7, space=space, allow_autapses=False))
    assert not np.any(found["source"] == found["target"])
    distance = find_distances(where, extent, periodic)
    np.fill_diagonal(distance, np.inf)
    there = np.zeros((N, N), bool)
    there[found["target"], found["source"]] = True
    assert not np.any(there & (distance > 1.8))
    for low in np.arange(0, 1.8, 0.3):
        inside = (distance >= low) & (distance < min(low + 0.3, 1.8))
        d = distance[inside]
        wanted = 0.7 * (np.exp(-(d**2) / (2 * 0.9**2)) if profile == "gaussian" else np.exp(-d / 0.9))
        spread = np.sqrt(np.sum(wanted * (1 - wanted)))
        assert abs(there[inside].sum() - wanted.sum()) < 5 * spread


def find_distances(where: np.ndarray, extent: tuple[float, ...], periodic: bool) -> np.ndarray:
    offset = np.abs(where[:, None] - where)
    if periodic:
        offset = np.minimum(offset, np.array(extent) - offset)
    return np.sqrt((offset**2).sum(axis=2))


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(
    ("delay", "per_length", "offset"),
    first_rows(
        1,
        [
            ({"delay": {"per_length": 4.0, "offset": 1.5}}, 4.0, 1.5),
            ({"delay": {"per_length": 0.3}}, 0.3, 0.0),
            ({"delay_ms": {"per_length": 1.1, "offset": 0.8}}, 1.1, 0.8),
            ({"delay_ms": DistanceDelay(per_length=0.0, offset=7.0)}, 0.0, 7.0),
        ],
        rest=2,
    ),
)
def test_delays_grow_with_the_distance(delay: dict, per_length: float, offset: float, periodic: bool) -> None:
    where = np.random.default_rng(1).random((N, 2)) * SPACE["extent"]
    space = SPACE | {"sources": where, "targets": where, "periodic": periodic}
    found = synapses(model(rule="distance", probability=0.3, space=space, **{"delay": None} | delay))
    wanted = offset + per_length * find_distances(where, SPACE["extent"], periodic)[found["target"], found["source"]]
    near_half = np.abs(wanted % 1 - 0.5) < 1e-9
    assert len(found) > 1000 and not np.all(near_half)
    np.testing.assert_array_equal(found["delay"][~near_half], np.maximum(1, np.rint(wanted))[~near_half])
    if per_length > 1:
        assert len(np.unique(found["delay"])) > 2


def test_any_division_draws_delays_by_distance_alike() -> None:
    """Also where positions are drawn, and synapses and weights stay those of one delay for all."""
    options = {"rule": "distance", "probability": 0.2, "space": SPACE, "delay": {"per_length": 5.0, "offset": 1.0}}
    whole, plain = synapses(model(**options)), synapses(model(**options | {"delay": 1}))
    parts = np.concatenate([synapses(model(**options), rank, 3) for rank in range(3)])
    np.testing.assert_array_equal(parts, whole)
    for name in ("source", "target"):
        np.testing.assert_array_equal(*(np.sort(one, order=("target", "source"))[name] for one in (whole, plain)))
    assert whole["delay"].min() >= 1 and len(np.unique(whole["delay"])) > 3


@pytest.mark.parametrize(("options", "words"), [
    ({"rule": "fixed_indegree", "indegree": 5, "delay": {"per_length": 1.0}}, "per_length is for rule 'distance'"),
    ({"rule": "distance", "probability": 1, "space": SPACE, "delay": {"per_length": -1.0}}, "delay: per_length = -1"),
    ({"rule": "distance", "probability": 1, "space": SPACE, "delay": {"offset": 1.0}}, "per_length"),
    ({"rule": "distance", "probability": 1, "space": SPACE, "delay": {"per_length": 1.0, "speed": 2}}, "speed"),
    ({"rule": "distance", "probability": 1, "space": SPACE, "delay": None, "delay_ms": {"per_length": np.inf}},
     "delay_ms: per_length = inf"),
    ({"rule": "distance", "probability": 1, "space": SPACE, "delay": {"per_length": 1e12}},
     "steps at the cutoff must be at most"),
    ({**LOGNORMAL, "indegree": 1500}, r"indegree = 1500 must lie in \[0, 1499.5\], half of the sources"),
    ({**LOGNORMAL, "sigma_in": -1}, r"sigma_in = -1 must lie in \[0, 5\]"),
    ({"rule": "lognormal_degrees", "indegree": 5}, r"needs sigma_in= and sigma_out="),
    ({"rule": "distance", "probability": 2, "space": SPACE}, r"probability = 2 must lie in \[0, 1\]"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"cutoff": 6.0}}, r"cutoff = 6 must be at most half"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"extent": (1.0,)}}, r"must be two or three lengths"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"length": 1e300}}, r"length = 1e\+300 must lie between"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"length": 1e-300}}, "length = 1e-300 must lie between"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"cutoff": 1e-20}}, "cutoff = 1e-20 is too short for"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"sources": "\ud800"}}, "sources"),
    ({"rule": "distance", "probability": 1, "space": SPACE | {"sources": np.zeros((2, 2))}},
     r"space: sources have shape \(2, 2\), must be \(3000, 2\)"),
    ({"rule": "fixed_indegree", "indegree": 5, "normalized": True}, r"normalized = True is for rules .*fixed_indegree"),
])  # fmt: skip
def test_what_is_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=rf"projection 'rec->rec'.*{words}"):
        model(**options)


@pytest.mark.peer
@pytest.mark.parametrize("periodic", [True, False])
def test_delays_by_distance_are_those_of_nest(periodic: bool) -> None:
    nest = pytest.importorskip("nest")
    n, dt_ms, where = 200, 0.1, np.random.default_rng(2).random((200, 2)) * 4.0
    nest.ResetKernel()
    nest.resolution = dt_ms
    grid = nest.spatial.free(pos=(where - 2.0).tolist(), extent=[4.0, 4.0], edge_wrap=periodic)
    cells = nest.Create("iaf_psc_delta", positions=grid)
    rule = {"rule": "pairwise_bernoulli", "p": 1.0, "mask": {"circular": {"radius": 1.5}}}
    nest.Connect(cells, cells, rule, {"delay": 0.33 + 1.7 * nest.spatial.distance})
    theirs = nest.GetConnections().get(["source", "target", "delay"])
    space = {"extent": (4.0, 4.0), "length": 1e70, "cutoff": 1.5, "periodic": periodic}  # a profile of 1
    how = {"probability": 1.0, "space": space | {"sources": where, "targets": where}}
    delay_ms = {"per_length": 1.7, "offset": 0.33}
    ours = synapses(small.population(n, "distance", model={"seed": 5, "dt_ms": dt_ms}, **how, delay_ms=delay_ms))
    delays = np.zeros((2, n, n), np.int64)
    ends = np.array(theirs["target"]) - 1, np.array(theirs["source"]) - 1
    delays[0][ends] = np.rint(np.array(theirs["delay"]) / dt_ms)
    delays[1, ours["target"], ours["source"]] = ours["delay"]
    assert np.count_nonzero(delays[0]) > 1000
    np.testing.assert_array_equal(*delays)
