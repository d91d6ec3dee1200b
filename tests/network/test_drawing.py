"""Topology kernels against a slow twin on numpy.random.Philox, and against what each rule promises."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.stats

from pareprop import rng
from pareprop.kernels import random, row_map, topology
from pareprop.network.drawing import make_scratch

KEY_TOPOLOGY, KEY_DELAY, KEY_WEIGHT = (rng.make_key(3, purpose) for purpose in ("topology", "delay", "weight"))


@dataclass(frozen=True)
class Case:
    rule: int
    n_sources: int
    n_targets: int
    indegree: int = 0
    indegrees: tuple = ()  # of each target
    probability: float = 0.0
    multapses: bool = True
    self_offset: int | None = None  # target j is source j + self_offset, which it may not have
    delays: tuple = (1, 1)
    levels: tuple = ()  # of delays
    weight: tuple = (random.NORMAL, 2.0, 0.5)


CASES = {
    "all": Case(topology.ALL_TO_ALL, 300, 31, delays=(2, 5)),
    "all no autapses": Case(topology.ALL_TO_ALL, 13, 17, self_offset=-2, weight=(random.UNIFORM, -1.0, 3.0)),
    "indegree": Case(topology.FIXED_INDEGREE, 40, 23, indegree=600, delays=(1, 3)),
    "indegree no autapses": Case(topology.FIXED_INDEGREE, 20, 20, indegree=50, self_offset=0),
    "distinct": Case(topology.FIXED_INDEGREE, 700, 9, indegree=530, multapses=False, delays=(3, 4)),
    "distinct no autapses": Case(topology.FIXED_INDEGREE, 25, 21, indegree=24, multapses=False, self_offset=2),
    "distinct one": Case(topology.FIXED_INDEGREE, 1, 5, indegree=1, multapses=False),
    "probability": Case(topology.FIXED_PROBABILITY, 900, 11, probability=0.6, delays=(1, 7)),
    "probability no autapses": Case(topology.FIXED_PROBABILITY, 30, 40, probability=0.2, self_offset=-5),
    "probability 1": Case(topology.FIXED_PROBABILITY, 300, 4, probability=1.0),
    "one to one": Case(topology.ONE_TO_ONE, 12, 12, delays=(2, 4)),
    "one to one more targets": Case(topology.ONE_TO_ONE, 7, 12, self_offset=1),
    "lognormal": Case(topology.FIXED_INDEGREE, 30, 8, indegree=300, weight=(random.LOGNORMAL, -1.0, 0.5)),
    "indegrees": Case(topology.FIXED_INDEGREE, 40, 7, indegrees=(3, 0, 700, 256, 1, 0, 12), delays=(1, 3)),
    "indegrees no autapses": Case(topology.FIXED_INDEGREE, 9, 5, indegrees=(3, 9, 0, 300, 1), self_offset=1),
    "levels": Case(topology.FIXED_INDEGREE, 40, 9, indegree=600, delays=(2, 5), levels=(2**30, 2**31, 2**32 - 2**29)),
    "constant": Case(topology.FIXED_INDEGREE, 30, 8, indegree=5, weight=(random.CONSTANT, 4.5, 0.0)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def connect(case, first=0, last=None, target_base=0, indexed=False, scratch=None):
    """Synapses of a range of targets as columns in the order of the flat arrays: delay, source, target, weight."""
    last = case.n_targets if last is None else last
    rows = (case.n_sources, case.delays[1] - case.delays[0] + 1)
    numbers, moved = (scratch or make_scratch)(case.rule, case.n_sources, case.indegree, case.multapses)
    drawing = topology.Drawing(
        {
            "rule": case.rule,
            "n_sources": case.n_sources,
            "indegree": case.indegree,
            "indegrees": np.array(case.indegrees, np.int64)[first:last],
            "first_target": first,
            "probability": case.probability,
            "allow_multapses": case.multapses,
            "self_offset": case.self_offset,
            "delays": case.delays,
            "levels": np.array(case.levels, np.uint32),
            "weight": case.weight,
            "keys": [KEY_TOPOLOGY, KEY_DELAY, KEY_WEIGHT],
            "numbers": numbers,
            "moved": moved,
        }
    )
    places = row_map.RowMap(0, rows[1], (0, case.n_sources), indexed)
    if indexed:
        drawing.mark_rows(first, last, places)
        places.number_rows()
    counts = np.zeros(places.n_rows, dtype=np.int64)
    drawing.count(first, last, places, counts)
    ends = counts.cumsum()
    cursor = ends - counts
    target = np.full(counts.sum(), 2**32 - 1, dtype=np.uint32)
    weight = np.full(target.size, np.nan)
    drawing.fill(first, last, target_base, places, cursor, target, weight)
    np.testing.assert_array_equal(cursor, ends)
    source, delay = (index.ravel() for index in np.indices(rows))
    if indexed:
        assert np.all(counts > 0), "a row without synapses"
        row, bits = np.arange(len(source)), places.index[0]
        kept = (bits[row // 64] >> (row % 64).astype(np.uint64)) & np.uint64(1) == 1
        delay, source = delay[kept], source[kept]
    delay, source = np.repeat(delay, counts), np.repeat(source, counts)
    return delay + case.delays[0], source, target.astype(np.int64), weight


def philox(key, target, n):
    return [int(u) for u in np.random.Philox(key=key, counter=[0, target, 0, 0]).random_raw(n)]


def slow_sources(case, target):
    """Sources of a target in the order of the draw."""
    choices = [s for s in range(case.n_sources) if case.self_offset is None or s != target + case.self_offset]
    if case.rule == topology.ALL_TO_ALL:
        return choices
    if case.rule == topology.ONE_TO_ONE:
        return [s for s in choices if s == target]
    if case.rule == topology.FIXED_INDEGREE:
        if case.multapses:
            n = case.indegrees[target] if case.indegrees else case.indegree
            return [choices[u * len(choices) >> 64] for u in philox(KEY_TOPOLOGY, target, n)]
        for k, u in enumerate(philox(KEY_TOPOLOGY, target, case.indegree)):
            pick = k + (u * (len(choices) - k) >> 64)
            choices[k], choices[pick] = choices[pick], choices[k]
        return choices[: case.indegree]
    drawn, place = [], -1
    for u in philox(KEY_TOPOLOGY, target, len(choices) + 1):
        place += 1 + int(np.log(((u >> 11) + 1) / 2**53) / np.log1p(-case.probability) if case.probability < 1 else 0)
        if place >= len(choices):
            break
        drawn.append(choices[place])
    return drawn


def slow_weights(case, target, n):
    kind, a, b = case.weight
    if kind == random.CONSTANT:
        return [a] * n
    uniforms = np.array([(u >> 11) / 2**53 for u in philox(KEY_WEIGHT, target, n)])
    if kind == random.UNIFORM:
        return a + (b - a) * uniforms
    centred = uniforms - 0.5 + 2.0**-54  # exact, and the law is symmetric
    normals = a - b * np.sign(centred) * scipy.stats.norm.ppf(0.5 - abs(centred))
    return np.exp(normals) if kind == random.LOGNORMAL else normals


def slow_connect(case):
    synapses = []
    low, high = case.delays
    for target in range(case.n_targets):
        sources = slow_sources(case, target)
        numbers = philox(KEY_DELAY, target, len(sources))
        delays = [low + (u * (high - low + 1) >> 64) for u in numbers]
        if case.levels:
            delays = [low + sum(u >> 32 > level for level in case.levels) for u in numbers]
        weights = slow_weights(case, target, len(sources))
        synapses += zip(delays, sources, [target] * len(sources), weights, strict=True)
    # rows are by source, then delay; stable: multapses stay in the order of the draw
    synapses.sort(key=lambda synapse: (synapse[1], synapse[0], synapse[2]))
    return [np.array(column) for column in zip(*synapses, strict=True)]


@each_case
def test_against_slow_twin(case):
    *found, weight = connect(case)
    *expected, expected_weight = slow_connect(case)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(weight, expected_weight, rtol=1e-14, atol=1e-15)


@each_case
def test_rows_of_those_sources_alone_that_have_synapses(case):
    np.testing.assert_array_equal(connect(case, indexed=True), connect(case))


def test_a_table_of_what_moves_shuffles_as_an_array_of_all_sources():
    """Few of many sources are drawn without repetition; the table has places for all that may have to share them."""
    case = replace(CASES["distinct no autapses"], n_sources=100_000, indegree=900, n_targets=5)
    numbers, moved = make_scratch(case.rule, case.n_sources, case.indegree, False)
    assert numbers.size == 0 and len(moved) < 10 * case.indegree, "memory by the indegree, not by the sources"
    by_array = connect(case, scratch=lambda *_: (np.arange(100_000, dtype=np.uint32), np.zeros((0, 2), np.uint32)))
    np.testing.assert_array_equal(connect(case), by_array)
    small = replace(CASES["distinct"], n_targets=40)  # nearly all sources, so that places move again and again
    table = np.full((4096, 2), 2**32 - 1, np.uint32)
    hashed = connect(small, scratch=lambda *_: (np.zeros(0, np.uint32), table))
    np.testing.assert_array_equal(hashed, connect(small))
    assert np.all(table == 2**32 - 1), "empty again after each target"


@each_case
@pytest.mark.parametrize("n_ranges", [2, 3])
def test_ranges_of_targets_draw_the_same_synapses(case, n_ranges):
    bounds = [case.n_targets * r // n_ranges for r in range(n_ranges + 1)]
    parts = [connect(case, *bounds[r : r + 2], target_base=bounds[r]) for r in range(n_ranges)]
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.lexsort((joined[2], joined[0], joined[1]))
    np.testing.assert_array_equal([column[order] for column in joined], connect(case))


@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("self_offset", [None, 0])
def test_fixed_indegree_is_uniform_over_sources(multapses, self_offset):
    n = 200
    case = Case(topology.FIXED_INDEGREE, n, n, indegree=100, multapses=multapses, self_offset=self_offset)
    _, source, _, _ = connect(case)
    choices = n - (self_offset == 0)
    p = 1 / choices if multapses else 100 / choices
    trials = choices * 100 if multapses else choices
    outdegree = np.bincount(source, minlength=n)
    assert abs(outdegree - trials * p).max() < 5 * np.sqrt(trials * p * (1 - p))
    assert outdegree.std() > 0.7 * np.sqrt(trials * p * (1 - p))


@pytest.mark.parametrize("probability", [0.003, 0.1, 0.8])
def test_fixed_probability_within_five_sigma(probability):
    case = Case(topology.FIXED_PROBABILITY, 1000, 500, probability=probability, self_offset=0)
    _, source, target, _ = connect(case)
    for degrees, n in ((np.bincount(target, minlength=500), 999), (np.bincount(source, minlength=1000)[:500], 499)):
        sigma = np.sqrt(n * probability * (1 - probability))
        assert abs(degrees - n * probability).max() < 5.5 * sigma + 1
        assert abs(degrees.mean() - n * probability) < 5 * sigma / np.sqrt(500)


def test_weights_and_delays_follow_their_laws():
    case = Case(topology.FIXED_INDEGREE, 100, 200, indegree=100, delays=(1, 4))
    delay, source, target, weight = connect(case)
    assert scipy.stats.kstest((weight - 2.0) / 0.5, "norm").pvalue > 1e-3
    assert scipy.stats.chisquare(np.bincount(delay)[1:]).pvalue > 1e-3
    for other in (source, target, delay):
        assert abs(np.corrcoef(weight, other)[0, 1]) < 4 / np.sqrt(weight.size)
    uniform = connect(replace(case, weight=(random.UNIFORM, -1.0, 3.0)))[3]
    assert scipy.stats.kstest(uniform, "uniform", (-1.0, 4.0)).pvalue > 1e-3
