"""Ranks that listen to a part of the neurons: the same bits however spikes travel, and no memory for the others."""

import os
import tracemalloc

import numpy as np
import pytest
import ranks
import small
from commands import as_options, digests, on_ranks, output_of
from params import first

from pareprop.errors import InputError
from pareprop.network import local
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.parameters import Normal
from pareprop.parallel import tree
from pareprop.parallel.exchange import Exchange
from pareprop.parallel.launcher import read_sending_mode
from pareprop.runs.benchmark import Bench
from pareprop.simulation.loop import Simulation

pytestmark = pytest.mark.mpi
ONE = pytest.mark.parametrize("variant", first(0, ["spike", "interval"], rest=1))


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """All recurrent synapses end at the first ten of forty neurons.

    On three or four ranks the others have no targets, and nobody listens to the last ten neurons but their own rank.
    """
    if "apart" in words:
        tree.is_tree_faster = lambda n_nodes, n_sums, spared=0: n_sums > 0
    source, target = np.array([(s, t) for t in range(10) for s in range(30) if (s + 3 * t) % 5 == 0 and s != t]).T
    among = {"rule": "explicit", "source": source, "target": target, "delay": 2 + source % 2}
    among["weight"] = 0.3 * np.cos(np.arange(len(source)))
    late = {"weight": Normal(std=0.2), "delay": 2}
    slow = {"cell": {"tau_m": 30.0, "V_th": 0.5, "t_ref": 1.0}, "out": {"tau_m": 30.0}}
    if "ring" in words:  # each ten neurons hear the ten before them
        source, target = np.array([(s, t) for t in range(40) for s in range(40) if (t // 10 - s // 10) % 4 == 1]).T
        among |= {"source": source, "target": target, "delay": 2 + source % 2}
        among["weight"] = 0.3 * np.cos(np.arange(len(source)))
    model = small.network(words[0], 8, 40, 3, **slow, into=0.3, among=among, onto=late, back=late, seed=3)
    sines = np.sin(np.arange(150)[:, None] / 20.0 + np.arange(3))
    simulation = Simulation(model, small.Noise(sines, 8, 0.15), exchange)
    simulation.train(3)
    digest, ids = simulation.hexdigest(), simulation.network.sources.ids
    if "ring" in words and exchange.comm:
        targets = exchange.comm.gather(exchange.sender.buffers.targets)
        if exchange.rank == 0:
            print(digest, simulation.rates[-1].hex(), targets)
        return
    heard = exchange.comm.gather(40 if ids is None else len(ids)) if exchange.comm else [40]
    if exchange.rank == 0:
        print(digest, simulation.rates[-1].hex(), exchange.sending or "-", *heard)


@ONE
def test_same_digest_where_a_rank_has_no_targets(variant, tmp_path):
    output = ranks.train(1, __file__, tmp_path, variant)
    cases = ((2, 1, "targeted"), (3, 1, "everything"), (4, 2, "targeted"), (4, 3, "counted"), (3, 8, "shared"))
    for n, per_node, way in cases:
        env = {"PAREPROP_RANKS_PER_NODE": str(per_node)} | ({} if way == "shared" else {"PAREPROP_SENDING": way})
        env |= {"PAREPROP_CUTS": "10,20,30"} if n == 4 else {}  # so that it is known who hears whom
        digest, rate, kind, *heard = ranks.train(n, __file__, tmp_path, variant, env=env).split()
        assert [digest, rate] == output.split()[:2] and float.fromhex(rate) > 5
        assert way == "counted" or kind == way
        assert n < 4 or heard == ["30", "10", "10", "10"]


@ONE
def test_same_digest_where_sums_travel_in_a_tree(variant, tmp_path):
    output = ranks.train(1, __file__, tmp_path, variant)
    for n, per_node in ((2, 1), (3, 1), (4, 1), (4, 2), (3, 2)):
        env = {"PAREPROP_RANKS_PER_NODE": str(per_node), "PAREPROP_SENDING": "targeted"}
        found = ranks.train(n, __file__, tmp_path, variant, "apart", env=env).split()
        assert found[:3] == [*output.split()[:2], "targeted"]


@ONE
def test_same_digest_where_neighbours_alone_talk(variant, tmp_path):
    """By MPI: nodes send to the one that hears them; sums for readouts travel in a tree, or to all others."""
    digest, rate, *_ = ranks.train(1, __file__, tmp_path, variant, "ring").split()
    env = {"PAREPROP_RANKS_PER_NODE": "1", "PAREPROP_CUTS": "10,20,30", "PAREPROP_SENDING": "targeted"}
    for words, targets in ((["ring", "apart"], "[[1], [2], [3], [0]]"), (["ring"], "[[1, 2, 3], [0, 2, 3], ")):
        found = ranks.train(4, __file__, tmp_path, variant, *words, env=env)
        assert found.split()[:2] == [digest, rate] and targets in found


@ONE
def test_same_digest_of_sparse_networks(variant, capsys, tmp_path):
    """Also when a run is resumed on another number of ranks that send in another way."""
    settings = {"variant": variant, "n_rec": 120, "indegree": 3, "n_step": 200, "iterations": 4, "delay": 2}
    task = ["sine-waves", *as_options(**settings), "--no-figures"]
    output = output_of(capsys, "run", *task, "--out", tmp_path / "alone")
    expected = digests(output.splitlines())
    first, then = (
        {"PAREPROP_SENDING": way, "PAREPROP_RANKS_PER_NODE": n} for way, n in (("targeted", "2"), ("everything", "1"))
    )
    several = [["run", *task, "--until", 2, "--out", tmp_path / name] for name in ("two", "c")]
    assert on_ranks(4, several, env=first)[0] == [0, 0]
    again = on_ranks(2, [["resume", "--no-figures", tmp_path / "two"]], env=then)
    assert again[0] == [0] and digests(again[1]) == expected != []
    # on one rank, which listens to all
    output = output_of(capsys, "resume", "--no-figures", tmp_path / "c")
    assert digests(output.splitlines()) == expected


def sparse(n: int, indegree: int) -> Model:
    among = {"rule": "fixed_indegree", "indegree": indegree, "weight": Normal(std=1.0), "delay": (1, 3)}
    return small.network("interval", 5, n, 0, into=1.0, among=among)


def test_sources_without_targets_cost_nothing():
    """Tables shrink with the number of ranks, whatever the size of the network."""
    model = sparse(20_000, 4)
    for size in (10, 100, 1000):
        network, own = LocalNetwork(model, 3, size), 20_000 // size
        heard = network.sources.ids
        assert len(heard) <= own * 5  # its own and four sources of each
        n_rows, synapses = len(network.incoming.row_ptr) - 1, len(network.incoming.weight)
        assert n_rows == 5 + 3 * len(heard) or n_rows <= synapses  # of all that are heard, or those with synapses alone
        words = 20_000 // 64 + 1 + 3 * (len(heard) // 64 + 1)
        assert network.incoming.nbytes < 12 * synapses + 8 * n_rows + 4 * len(heard) + 12 * words + 700
        for span in network.incoming.spans[1:]:
            source = np.concatenate([source for source, *_ in network.incoming.yield_chunks(span)])
            assert set(source) <= set(heard) and len(source) == 4 * own


def test_no_table_over_all_neurons() -> None:
    """A rank of a million needs no array over the billion neurons of a network, also while it is built."""
    model, cuts = sparse(10**9, 4), np.arange(10**6 + 1) * 1000
    tracemalloc.start()
    network = LocalNetwork(model, 500_000, 10**6, None, cuts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(network.incoming.weight) == 9000 and peak < 20 * 2**20
    assert network.incoming.nbytes < 4 * 2**20


def test_sources_are_found_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, whatever the width of a window; with drawn, given and all-to-all synapses."""

    def build() -> list[LocalNetwork]:
        model = sparse(3000, 1)
        (rec,) = model.of_role("recurrent")
        late = model.neurons("late", 200, **small.CELL)
        source = np.arange(0, 200, 7)
        model.connect(late, rec, "explicit", source=source, target=source + 5, weight=np.ones(len(source)))
        model.connect(late, late, "all_to_all", weight=1.0)
        return [LocalNetwork(model, rank, 40) for rank in (0, 20, 37, 39)]

    whole = build()
    monkeypatch.setattr(local, "WINDOW", 64)
    for one, other in zip(whole, build(), strict=True):
        np.testing.assert_array_equal(one.sources.ids, other.sources.ids)
        for name in ("row_ptr", "target", "weight"):
            np.testing.assert_array_equal(getattr(one.incoming, name), getattr(other.incoming, name))
    assert any(network.sources.ids is not None for network in whole)


def test_all_rows_stay_where_nearly_all_are_used():
    assert LocalNetwork(sparse(100, 60), 0, 4).sources.ids is None
    assert LocalNetwork(sparse(100, 1), 0, 1).sources.ids is None


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_readout_synapses_are_spread_as_their_sources_are(variant: str) -> None:
    """By counts: no rank has more synapses onto readouts, nor rows of them, than its share of the neurons."""
    model = Bench(neurons=200, indegree=150, inputs=10, variant=variant).build_model()
    whole = LocalNetwork(model, 0, 1).outgoing
    for size in (2, 3, 7):
        tables = [LocalNetwork(model, rank, size).outgoing for rank in range(size)]
        counts = [len(table.weight) for table in tables]
        assert sum(counts) == len(whole.weight) == 200 and max(counts) - min(counts) <= 1
        assert [len(table.row_ptr) - 1 for table in tables] == counts
        parts = [np.stack(part) for table in tables for part in table.yield_chunks(table.spans[0])]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], np.arange(200))
        np.testing.assert_array_equal(np.concatenate([table.weight for table in tables]), whole.weight)


def test_unknown_way():
    assert read_sending_mode({}) == "counted" and read_sending_mode({"PAREPROP_SENDING": "targeted"}) == "targeted"
    with pytest.raises(InputError, match="everywhere"):
        read_sending_mode({"PAREPROP_SENDING": "everywhere"})
    assert "PAREPROP_SENDING" not in os.environ
