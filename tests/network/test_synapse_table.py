"""Partition and synapse tables: every rank holds its own share, and the canonical order is the same for all."""

import tracemalloc

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from pareprop.network import synapse_table
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.parameters import Normal, Uniform
from pareprop.network.synapse_table import SynapseTable
from pareprop.parallel.partition import find_block


@given(n=st.integers(1, 10**12), size=st.integers(1, 10**5), data=st.data())
def test_blocks_cover_all_ids_once(n: int, size: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, size - 1))
    first, last = find_block(n, size, rank)
    assert 0 <= first <= last <= n
    assert last == (find_block(n, size, rank + 1)[0] if rank + 1 < size else n)
    assert first == (find_block(n, size, rank - 1)[1] if rank else 0)
    assert abs((last - first) - n / size) < 1.0


def list_places(parts: list[SynapseTable], span: int, limit: int) -> np.ndarray:
    """Rows of (target, source, delay, weight) of a projection, rank after rank, in the order of `chunks`."""
    rows = [
        np.stack([target, source, delay, part.weight[index]], axis=1)
        for part in parts
        for source, target, delay, index in part.yield_chunks(part.spans[span], limit)
    ]
    return np.concatenate(rows)


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 2**31),
    size=st.integers(1, 6),
    limit=st.sampled_from([1, 3, 10, 10**6]),
    n_pre=st.integers(1, 12),
    n_post=st.integers(1, 12),
    n=st.integers(0, 80),
    same=st.booleans(),
)
def test_canonical_order_of_explicit_synapses(
    seed: int, size: int, limit: int, n_pre: int, n_post: int, n: int, same: bool
) -> None:
    """Also of several synapses between the same two cells; a second projection lies behind in the same arrays."""
    rng = np.random.default_rng(seed)
    model = Model()
    pre, post = model.neurons("pre", n_pre), model.neurons("post", n_post)
    post = pre if same else post
    source, target = rng.integers(0, pre.size, n), rng.integers(0, post.size, n)
    delay, weight = rng.integers(1, 4, n), rng.normal(size=n)
    model.connect(pre, post, "explicit", source=source, target=target, delay=delay, weight=weight, name="a")
    model.connect(post, pre, weight=Normal(std=1.0), name="b")
    n_all = model.size("recurrent")
    parts = [SynapseTable(model, model.projections, *find_block(n_all, size, rank)) for rank in range(size)]
    expected = np.stack([target, source, delay, weight], axis=1)[np.lexsort((delay, source, target))]
    np.testing.assert_array_equal(list_places(parts, 0, limit), expected)
    whole = SynapseTable(model, model.projections, 0, n_all)
    second = list_places([whole], 1, 10**6)
    np.testing.assert_array_equal(list_places(parts, 1, limit), second)
    assert len(np.unique(second[:, :2], axis=0)) == pre.size * post.size
    for part in parts:  # ascending targets in every row, as the kernels need them
        assert part.row_ptr[-1] == len(part.target) == len(part.weight)
        for first, last in zip(part.row_ptr[:-1], part.row_ptr[1:], strict=True):
            assert np.all(np.diff(part.target[first:last].astype(int)) >= 0)


def five_each(targets: np.ndarray) -> dict[str, np.ndarray]:
    """Five sources of 13 for each target, those of later targets first."""
    target = np.repeat(targets[::-1], 5)
    return {"source": (3 * target + 2 * np.arange(len(target)) % 5) % 13, "target": target}


RULES = {
    "all": {},
    "all but autapses": {"allow_autapses": False},
    "all, delays drawn": {"delay": (2, 4)},
    "indegree": {"rule": "fixed_indegree", "indegree": 5},
    "indegree, no multapses": {"rule": "fixed_indegree", "indegree": 5, "allow_multapses": False},
    "indegree, delays drawn": {"rule": "fixed_indegree", "indegree": 30, "delay": (1, 5)},
    "indegree 0": {"rule": "fixed_indegree", "indegree": 0},
    "a function": {"rule": five_each, "indegree": 5, "delay": (1, 3)},
    "probability": {"rule": "fixed_probability", "probability": 0.4, "allow_autapses": False, "delay": (3, 4)},
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [2, 3, 4, 20])
def test_rules_give_the_same_synapses_on_any_number_of_ranks(name: str, size: int) -> None:
    model = Model(seed=9)
    other, group = model.neurons("other", 4), model.neurons("group", 13)
    model.connect(other, group)
    model.connect(group, group, weight=Uniform(low=-1.0, high=1.0), **RULES[name])
    whole = list_places([SynapseTable(model, model.projections, 0, 17)], 1, 10**6)
    parts = [SynapseTable(model, model.projections, *find_block(17, size, rank)) for rank in range(size)]
    np.testing.assert_array_equal(list_places(parts, 1, 7), whole)
    assert len(np.unique(whole[:, 3])) == len(whole), "every synapse draws its own weight"
    target, source, delay = whole[:, :3].astype(int).T
    indegree = np.bincount(target, minlength=13)
    options = RULES[name]
    if "indegree" in options:
        assert np.all(indegree == options["indegree"])
    if not options.get("allow_autapses", True):
        assert not np.any(source == target)
    if "rule" not in options:
        assert np.all(indegree == (13 if options.get("allow_autapses", True) else 12))
    if options.get("allow_multapses") is False:
        assert len(np.unique(np.stack([target, source]), axis=1).T) == len(target)
    low, high = options.get("delay", (1, 1))
    if len(delay):
        assert set(delay) == set(range(low, high + 1))


def sparse_model(**options: object) -> Model:
    """Neurons that hear few others at one of many delays, and inputs each of which reaches one of them."""
    n, model = 900, Model(seed=5)
    inputs, before = model.inputs("in", n), model.neurons("before", 70)
    cells = model.neurons("rec", n)
    model.connect(inputs, cells, "one_to_one", weight=Normal(mean=90.0, std=5.0), delay=(1, 9))
    model.connect(before, cells, "fixed_indegree", indegree=3, weight=20.0)
    model.connect(cells, cells, delay=(1, 40), weight=Normal(mean=20.0, std=90.0), **options)
    small.read_out(model, cells, onto=1.0)
    return model


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "fixed_indegree", "indegree": 4},
        {"rule": "fixed_probability", "probability": 0.004},
        {"rule": "lognormal_degrees", "indegree": 5, "sigma_in": 0.5, "sigma_out": 0.5},
    ],
    ids=["indegree", "probability", "lognormal"],
)
def test_rows_without_synapses_are_left_out_of_sparse_blocks(options: dict) -> None:
    """The same synapses in the same order as in a table with rows for every source and delay."""
    model = sparse_model(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synapse_table, "FEWEST_ROWS", 10**12)
        full = LocalNetwork(model, 0, 1).incoming
    parts = [LocalNetwork(model, rank, 3).incoming for rank in range(3)]
    assert len(full.row_ptr) > 36_000
    assert all(part.spans[2].bits is not None and part.spans[0].bits is not None for part in parts)
    for part in parts:
        assert part.spans[2].n_rows <= part.spans[2].last - part.spans[2].first
        assert part.nbytes < 12 * len(part.target) + 8 * len(part.row_ptr) + 12 * 41 * 1000 / 64 * 2 + 30_000
        filled = np.diff(part.row_ptr)[part.spans[2].rows :][: part.spans[2].n_rows]
        assert np.all(filled > 0)
        numbers, n_rows = part.number_whole_rows()
        assert n_rows == len(full.row_ptr) - 1
        lengths = np.diff(part.row_ptr)
        whole = np.empty(n_rows, np.int64)
        whole[full.number_whole_rows()[0]] = np.diff(full.row_ptr)
        assert np.all(lengths <= whole[numbers])
    for k in range(3):
        joined = list_places(parts, k, 100)
        np.testing.assert_array_equal(joined, list_places([full], k, 10**6))


def test_no_array_of_all_neurons_and_delays_is_made() -> None:
    """Neither in the build nor after it: 2 000 neurons of a million, delays from 1 to 100."""
    options = {"indegree": 20, "allow_autapses": False, "allow_multapses": False, "delay": (1, 100)}
    model = small.population(1_000_000, "fixed_indegree", model={"seed": 1}, **options)
    tracemalloc.start()
    table = LocalNetwork(model, 7, 500).incoming
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table.target) == 40_000
    assert table.nbytes < 2_000_000, "rows of all that are heard and all delays would take 33 MB"
    assert peak < 8_000_000


def test_projections_without_a_target_have_one_block() -> None:
    """A rank of a network with thousands of projections goes over the delays of its own ones alone; rows are numbered
    on all ranks as in a table of all sources and delays."""
    model = Model(seed=3)
    groups = [model.neurons(f"area{k}", 50) for k in range(4)]
    for pre in groups:
        for post in groups:
            model.connect(pre, post, "fixed_indegree", indegree=5, delay=(1, 40))
    cuts = np.array([0, 50, 100, 150, 200])
    for rank in range(4):
        table = LocalNetwork(model, rank, 4, cuts=cuts).incoming
        assert [len(span.delays) for span in table.spans] == [40 if k % 4 == rank else 1 for k in range(16)]
        assert len(table.blocks) == 4 * 40 + 12 and len(table.weight) == 50 * 20
        rows, n_rows = table.number_whole_rows()
        assert n_rows == 16 * 40 * 50 and len(np.unique(rows)) == len(rows)
        assert rows.min() >= rank * 2000 and np.unique(rows // 2000).tolist() == [rank, 4 + rank, 8 + rank, 12 + rank]
