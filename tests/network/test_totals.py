"""Rule `fixed_total_number`, and delays that follow a distribution, against SciPy's laws."""

import itertools
import re

import numpy as np
import pytest
import scipy.stats
import small

from pareprop import rng
from pareprop.errors import InputError
from pareprop.network import delays, totals
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.parameters import LogNormal, Normal, Uniform

KEY = rng.make_key(1, "totals")


@pytest.mark.parametrize(
    ("n", "p"), [(1, 0.5), (7, 1 / 3), (19, 0.5), (20, 0.5), (29, 0.36), (1000, 0.5), (10**6, 0.1), (3 * 10**8, 0.499)]
)
def test_binomial_numbers(n: int, p: float) -> None:
    """By inversion and by rejection: the randomised distribution function is uniform (Kolmogorov and Smirnov)."""
    size = 20000
    found = totals.draw_binomial(KEY, np.arange(size), np.full(size, n), np.full(size, p))
    low = scipy.stats.binom.cdf(found - 1, n, p)
    u = low + np.random.default_rng(0).random(size) * scipy.stats.binom.pmf(found, n, p)
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    assert abs(found.mean() - n * p) < 4 * np.sqrt(n * p * (1 - p) / size)


@pytest.mark.parametrize(("n", "size"), [(0, 5), (7, 1), (100000, 77), (5, 1000), (10**6, 3)])
def test_targets_share_the_total(n: int, size: int) -> None:
    """All synapses are there; any division of the targets draws the same; each target has the same chances."""
    whole = totals.divide_total(KEY, n, size, 0, size)
    assert whole.sum() == n
    cuts = [0, size // 3, size // 3, size // 3 + 1, size]
    parts = [totals.divide_total(KEY, n, size, low, high) for low, high in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    if n > 10 * size and size > 1:
        assert scipy.stats.chisquare(whole).pvalue > 1e-4


def total_model(**options) -> Model:
    model = Model("interval", seed=4)
    cells = model.neurons("a", 40, "iaf"), model.neurons("b", 25, "iaf")
    out = model.readouts("out", 1)
    model.connect(cells[0], cells[1], "fixed_total_number", N=5000, delay=(1, 4), weight=Normal(mean=1.0, std=0.1))
    model.connect(cells[1], cells[1], "fixed_total_number", N=3001, allow_autapses=False, **options)
    model.connect(cells[0], out)
    return model


def synapses(model: Model, rank: int, size: int) -> np.ndarray:
    """Projection, source, target, delay, weight of the synapses of a rank, sorted."""
    network = LocalNetwork(model, rank, size)
    rows = []
    for number, span in enumerate(network.incoming.spans):
        for source, target, delay, index in network.incoming.yield_chunks(span):
            rows.append(np.stack([np.full(len(source), number), source, target, delay, network.incoming.weight[index]]))
    found = np.concatenate(rows, axis=1)
    return found[:, np.lexsort(found[::-1])]


def test_synapses_of_a_total_number() -> None:
    """As many as asked for, on any ranks the same, pairs with equal chances, none of a neuron onto itself."""
    model = total_model()
    whole = synapses(model, 0, 1)
    for size in (2, 3):
        parts = np.concatenate([synapses(model, rank, size) for rank in range(size)], axis=1)
        np.testing.assert_array_equal(parts[:, np.lexsort(parts[::-1])], whole)
    first, second = whole[:, whole[0] == 0], whole[:, whole[0] == 1]
    assert (first.shape[1], second.shape[1]) == (5000, 3001)
    pairs = np.histogram2d(first[1], first[2], [np.arange(41), np.arange(26)])[0]
    assert scipy.stats.chisquare(pairs.ravel()).pvalue > 1e-4
    pairs = np.histogram2d(second[1], second[2], [np.arange(26), np.arange(26)])[0]
    assert not np.diag(pairs).any()
    assert scipy.stats.chisquare(pairs[~np.eye(25, dtype=bool)]).pvalue > 1e-4
    model.projections[0] = model.projections[0].model_copy(update={"N": 5001})
    assert synapses(model, 0, 1).shape[1] == 8002


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"N": -1}, "N = -1 must be a whole number from 0"),
        ({"N": 2.5}, "N = 2.5 must be a whole number from 0"),
        ({"N": 5, "allow_multapses": False}, "rule 'fixed_total_number' cannot leave out multapses"),
        ({}, "rule 'fixed_total_number' needs N="),
        ({"N": 5, "indegree": 3}, "rule 'fixed_total_number' has no option indegree"),
    ],
)
def test_bad_totals(options: dict, expected: str) -> None:
    model = Model("interval")
    cells = model.neurons("a", 4, "iaf")
    with pytest.raises(InputError, match=re.escape(expected)):
        model.connect(cells, cells, "fixed_total_number", **options)


@pytest.mark.parametrize(
    "law", [Normal(mean=1.5, std=0.75), Normal(mean=0.75, std=0.375), LogNormal(mean=0.3, std=0.5)]
)
def test_delays_follow_their_law(law: Normal | LogNormal) -> None:
    """Delays in ms, of drawn synapses, against the probabilities of SciPy; beyond four deviations there are none."""
    model, dt = Model("interval", dt_ms=0.1), 0.1
    cells = model.neurons("a", 200, "iaf")
    model.readouts("out", 1)
    item = model.connect(cells, cells, "fixed_indegree", indegree=500, delay_ms=law)
    low, high = item.delay_range
    assert item.delay_range == delays.find_range("", item.delay_law) and low >= 1
    delay = synapses(model, 0, 1)[3].astype(int)
    assert delay.min() >= low and delay.max() <= high
    if isinstance(law, Normal):
        continuous = scipy.stats.norm(law.mean, law.std)
    else:
        continuous = scipy.stats.lognorm(law.std, scale=np.exp(law.mean))
    share = np.diff(continuous.cdf((np.arange(low, high + 2) - 0.5) * dt))
    counts, expected = np.bincount(delay, minlength=high + 1)[low:], len(delay) * share / share.sum()
    many = expected > 5
    few = [counts[~many].sum(), expected[~many].sum()]
    assert abs(few[0] - few[1]) < 6 * np.sqrt(few[1]) + 1
    scale = counts[many].sum() / expected[many].sum()
    assert scipy.stats.chisquare(counts[many], expected[many] * scale).pvalue > 1e-4
    edges = np.array([edge / 2**32 for edge in delays.list_levels(item.delay_law, low, high).astype(float) + 1.0])
    np.testing.assert_allclose(edges, np.cumsum(share / share.sum())[:-1], atol=1e-9)


def test_a_law_of_degrees_has_delays_of_a_law() -> None:
    options = {"indegree": 40, "sigma_in": 0.1, "sigma_out": 0.1, "delay": Normal(mean=5.0, std=1.0)}
    delay = synapses(small.population(100, "lognormal_degrees", model={"dt_ms": 0.5}, **options), 0, 1)[3]
    assert abs(delay.mean() - 5.0) < 0.1 and abs(delay.var() - 1.0 - 1 / 12) < 0.1


def test_bad_laws_of_delays() -> None:
    model = Model("interval", dt_ms=0.1)
    cells = model.neurons("a", 4, "iaf")
    for options, expected in (
        ({"delay_ms": Uniform(low=1.0, high=2.0)}, "give Normal, LogNormal, or lowest and highest"),
        ({"delay_ms": {"mean": 1.0, "std": -1.0}}, "std = -1.0: Input should be greater than or equal to 0"),
        ({"delay_ms": Normal(mean=-5.0, std=0.1)}, "must lie in 1 to"),
        ({"delay_ms": Normal(mean=1.0, std=0.1), "delay": 3}, "give one of them"),
        ({"rule": "explicit", "source": [0], "target": [1], "delay": Normal(std=1.0)}, "cannot be drawn from a distri"),
    ):
        with pytest.raises(InputError, match=re.escape(expected)):
            model.connect(cells, cells, **options)
