"""The exchange between ranks, played by threads on one communicator: logs complete in ascending id, messages grow.

One file, because all tests use the same communicator of threads.
"""

import copy
import errno
import fcntl
import itertools
import math
import os
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from queue import Queue
from threading import Barrier, Event, Lock
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import held
from properties import examples

from pareprop.errors import InputError, RankLost
from pareprop.kernels import exchange, readout_sums, row_map
from pareprop.parallel import collectives, node, shared_memory, tree
from pareprop.parallel.channel import Channel, ChannelSizes
from pareprop.parallel.exchange import Ranks
from pareprop.parallel.messages import Sources
from pareprop.parallel.partition import find_block
from pareprop.parallel.spike_log import SpikeLog
from pareprop.parallel.subscriptions import Subscriptions, count_bytes

PER_NODE = "PAREPROP_RANKS_PER_NODE"


class Wire:
    """What the threads share; counts the collective calls."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, Barrier(size, timeout=900)
        self.parts: list = [None] * size
        self.n_calls, self.lock = 0, Lock()
        self.n_objects = 0  # collective calls that pickle what they carry
        self.queues: defaultdict[tuple[int, ...], Queue] = defaultdict(Queue)  # from one to another; and a tag

    def queue(self, *key: int) -> Queue:
        with self.lock:  # or two threads would make one each
            return self.queues[key]

    def gather(self, rank: int, mine: object) -> list:
        self.parts[rank] = mine
        self.barrier.wait()
        parts = list(self.parts)
        self.n_calls += rank == 0
        self.barrier.wait()
        return parts


class ThreadComm:
    """The part of an MPI communicator that `Ranks` and `collectives` use."""

    def __init__(self, wire: Wire, rank: int) -> None:
        self.wire, self.rank, self.size = wire, rank, wire.size

    def Allgather(self, mine: np.ndarray, all_of_them: np.ndarray) -> None:
        all_of_them[:] = np.concatenate(self.wire.gather(self.rank, mine.copy()))

    def Barrier(self) -> None:
        self.wire.gather(self.rank, None)

    def Split(self, color: int, key: int) -> "ThreadComm":
        parts = self.wire.gather(self.rank, (color, key))
        members = sorted((k, r) for r, (c, k) in enumerate(parts) if c == color)
        rank = members.index((key, self.rank))
        wires = self.wire.gather(self.rank, Wire(len(members)))
        return ThreadComm(wires[members[0][1]], rank)

    def Allreduce(self, mine: np.ndarray, into: np.ndarray, operation: str) -> None:
        reduce = {"SUM": np.sum, "MAX": np.max, "BOR": np.bitwise_or.reduce}[operation]
        into[:] = reduce(self.wire.gather(self.rank, mine.copy()), axis=0)

    def allgather(self, mine: object) -> list:
        self.wire.n_objects += self.rank == 0
        return self.wire.gather(self.rank, mine)

    def bcast(self, mine: object) -> object:
        return self.allgather(mine)[0]

    def gather(self, mine: object) -> list | None:
        parts = self.allgather(copy.deepcopy(mine))
        return None if self.rank else parts

    def Alltoallv(self, mine: tuple, others: tuple) -> None:
        buffer, (counts, starts) = mine
        sent = [buffer[start : start + n].copy() for n, start in zip(counts, starts, strict=True)]
        received, (counts, starts) = others
        came = [parts[self.rank] for parts in self.wire.gather(self.rank, sent)]
        for part, n, start in zip(came, counts, starts, strict=True):
            assert len(part) == n  # both ends know the size
            received[start : start + n] = part

    def Send(self, mine: np.ndarray, dest: int) -> None:
        self.wire.queue(self.rank, dest).put(mine.copy())

    def Recv(self, into: np.ndarray, source: int) -> None:
        into[:] = self.wire.queue(source, self.rank).get(timeout=900)

    def Isend(self, mine: np.ndarray, dest: int, tag: int) -> SimpleNamespace:
        self.wire.queue(self.rank, dest, tag).put(mine.copy())
        return SimpleNamespace(Wait=lambda: None)

    def Irecv(self, into: np.ndarray, source: int, tag: int) -> SimpleNamespace:
        def wait() -> None:
            into[:] = self.wire.queue(source, self.rank, tag).get(timeout=900)

        return SimpleNamespace(Wait=wait)

    def Create_dist_graph_adjacent(self, sources: list[int], destinations: list[int]) -> "ThreadComm":
        graph = ThreadComm(self.wire.gather(self.rank, Wire(self.size))[0], self.rank)
        graph.edges = sources, destinations
        return graph

    def Neighbor_alltoallv(self, mine: tuple, others: tuple) -> None:
        (buffer, sent), (received, coming) = mine, others
        for place, n, start in zip(self.edges[1], *sent, strict=True):
            self.Send(buffer[start : start + n], place)
        for place, n, start in zip(self.edges[0], *coming, strict=True):
            self.Recv(received[start : start + n], place)  # both ends know the size

    def Sendrecv(self, mine: np.ndarray, dest: int, *, recvbuf: np.ndarray, source: int) -> None:
        self.Send(mine, dest)
        self.Recv(recvbuf, source)


def on_threads(size: int, work) -> tuple[list, Wire]:
    """`work(comm)` on each rank."""
    wire = Wire(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, [ThreadComm(wire, rank) for rank in range(size)])), wire


@pytest.fixture(autouse=True)
def one_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All threads on one node, unless a test says otherwise."""
    monkeypatch.setenv(PER_NODE, "1000")
    yield


def write(channel: Channel, raster: np.ndarray, first: int, last: int) -> None:
    """Let neurons from 0 on spike in steps [first, last) as in a raster (n_steps, n) of those of this rank."""
    own = channel.own_spikes
    for t in range(first, last):
        ids = np.flatnonzero(raster[t])
        own.reserve(own.ptr[t] + len(ids))
        own.ids[own.ptr[t] : own.ptr[t] + len(ids)] = ids
        own.ptr[t + 1] = own.ptr[t] + len(ids)


def require_spikes(log: SpikeLog, raster: np.ndarray) -> None:
    expected = SpikeLog.from_raster(raster)
    np.testing.assert_array_equal(log.ptr, expected.ptr)
    np.testing.assert_array_equal(log.ids[: log.ptr[-1]], expected.ids)


def of_rank(raster: np.ndarray, comm: ThreadComm) -> np.ndarray:
    """Spikes of the neurons of a rank alone."""
    mine, own = np.zeros_like(raster), slice(*find_block(raster.shape[1], comm.size, comm.rank))
    mine[:, own] = raster[:, own]
    return mine


@settings(max_examples=examples(80), deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.integers(2, 5),
    per_node=st.integers(1, 5),
    n=st.integers(1, 40),
    n_out=st.integers(0, 6),
    length=st.integers(1, 9),
    within=st.integers(1, 9),
    words=st.sampled_from([None, 3, 20, 4096]),
    sending=st.sampled_from(["counted", "everything", "targeted"]),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    density=st.sampled_from([0.0, 0.2, 1.0]),
    apart=st.booleans(),
)
def test_logs_and_sums_complete(
    seed, size, per_node, n, n_out, length, within, words, sending, share, density, apart
) -> None:
    """However ranks lie on nodes, whatever fits into the first message, on ranks without neurons, too.

    Ranks of a node may meet more often than nodes do, and have the spikes of their node then.

    A rank that listens to some neurons hears them by number; the spikes of all come together on rank 0. All ranks know
    the exact sums of what each adds for the readouts, also where these travel in a tree. Then steps are
    forgotten, and all goes on.
    """
    rng = np.random.default_rng(seed)
    n_steps = 20
    raster, added = rng.random((n_steps, n)) < density, weights(rng, size, n_steps, n_out, 3)
    added[rng.random(added.shape) < 0.01] = np.nan
    wanted = rng.random((size, n)) < share
    wanted[0] |= rng.random() < 0.5  # a rank may listen to all

    def work(comm: ThreadComm) -> tuple:
        mine = of_rank(raster, comm)
        wanted[comm.rank, slice(*find_block(n, size, comm.rank))] = True
        ids = np.flatnonzero(wanted[comm.rank])
        ranks = Ranks(comm, sending)
        terms = ChannelSizes(n, n_steps, n_steps, n_out, summed_steps=length, within=within)
        node = ranks.nodes.starts[ranks.nodes.index : ranks.nodes.index + 2]
        near = slice(find_block(n, size, node[0])[0], find_block(n, size, node[1] - 1)[1])
        channel = ranks.open(terms, Sources(n, None if len(ids) == n else ids))
        if words and ranks.sending == "everything" and ranks.sender:
            ranks.sender.box.capacity, ranks.sender.box.steps = words, -1
        received, far = [], np.ones(n, bool)
        far[near] = False
        for first in range(0, n_steps, length):
            last = min(first + length, n_steps)
            write(channel, mine, first, last)
            channel.sums.begin(first)
            for t, k in itertools.product(range(first, last), range(n_out)):
                channel.sums.add(t, k, added[comm.rank, t, k])
            for stop, complete in do_parts(channel, first, last):
                known = raster[:stop].copy()
                known[complete:, far] = False
                require_spikes(channel.received_spikes.slice_steps(0, stop), known[:, ids])
                received += [totals(channel.sums, t) for t in range(len(received), complete)]
        channel.synchronize_ranks()
        whole, heard = (
            channel.all_spikes_on_root(0, n_steps),
            channel.received_spikes.slice_steps(0, n_steps).copy(n_steps),
        )
        channel.drop_steps(n_steps - 5, n_steps)
        return ids, heard, received, whole, channel.received_spikes.slice_steps(0, 5), channel.nbytes > 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PER_NODE, str(per_node))
        patch.setattr(tree, "is_tree_faster", lambda n_nodes, n_sums, spared=0: apart and n_sums > 0)
        results, _ = on_threads(size, work)
    expected_sums = [[exact_sum(added[:, t, k].ravel()) for k in range(n_out)] for t in range(n_steps)]
    for ids, heard, received, (_, total), rest, has_bytes in results:
        for log, rows in ((heard, slice(0, n_steps)), (rest, slice(n_steps - 5, n_steps))):
            require_spikes(log, raster[rows][:, ids])
        np.testing.assert_array_equal(received, expected_sums)
        assert total == raster.sum() and has_bytes
    require_spikes(results[0][3][0], raster)


def do_parts(channel: Channel, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Do a round in the parts in which kernels do it; yield after each meeting where it was, and what is complete."""
    part = first
    while part < last:
        before = channel.meeting.n_within
        part, complete = channel.meeting.part(part, first, last)
        if channel.meeting.n_within > before:  # else ranks without neurons have slept
            yield part, complete


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Weights of sizes from 2**-80 to 2**30, of both signs, some 0."""
    return rng.normal(size=shape) * 2.0 ** rng.integers(-80, 28, shape) * (rng.random(shape) < 0.9)


def exact_sum(values: np.ndarray) -> float:
    """The sum of fractions, each rounded to a multiple of 2**-64, as the nearest double; infinite if one is NaN."""
    if np.isnan(values).any():
        return np.inf
    return float(sum(Fraction(round(Fraction(value) * 2**64), 2**64) for value in values.tolist()))


def totals(sums: readout_sums.ReadoutSums, step: int) -> np.ndarray:
    found = np.zeros(sums.n_readouts)
    sums.put_totals(step, found)
    return found


def sums_of(values: np.ndarray) -> readout_sums.ReadoutSums:
    sums = readout_sums.ReadoutSums(np.zeros(readout_sums.ReadoutSums.room(1, 1), np.int64), 1, 1)
    sums.begin()
    sums.add(0, 0, values)
    return sums


@settings(max_examples=examples(200), deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 300))
def test_sums_are_exact_in_any_order(seed: int, n: int) -> None:
    """As fractions add up; as `math.fsum` where no weight has bits below 2**-64."""
    rng = np.random.default_rng(seed)
    values = weights(rng, n)
    values = np.concatenate([values, -values[: n // 2], [2.0**-64, -(2.0**-65), np.nextafter(2.0**31, 0)]])
    found = totals(sums_of(values), 0)[0]
    assert found == exact_sum(values) == totals(sums_of(rng.permutation(values)), 0)[0]
    coarse = rng.normal(size=n)
    coarse = np.where(np.abs(coarse) < 2.0**-11, 1.0, coarse)
    assert totals(sums_of(coarse), 0)[0] == math.fsum(coarse)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31)])
def test_a_weight_that_does_not_fit_makes_its_sum_infinite(value: float) -> None:
    """Whatever is added before and after; sums of other readouts stay as they are."""
    for values in ([value, 1.0], [1.0, value], [value, -value]):
        assert totals(sums_of(np.array(values)), 0)[0] == np.inf
    sums = readout_sums.ReadoutSums(np.zeros(2 * readout_sums.ReadoutSums.room(1, 2), np.int64), 1, 2, 1, (0, 2))
    sums.begin()
    sums.add(0, 1, np.array([value]))
    assert totals(sums, 0).tolist() == [0.0, np.inf]


@pytest.mark.parametrize("n_nodes", range(2, 10))
def test_sums_in_a_tree(n_nodes: int) -> None:
    """As Python adds whole numbers; infinite where a sum of one node is. Each node receives as many as are told."""
    rng, infinite = np.random.default_rng(n_nodes), -(2**63)
    numbers = rng.integers(-(2**62), 2**62, (n_nodes, 40, 2))
    numbers[:, :, 1] //= 16
    numbers[:, :5] = -1, -1  # the least amount below 0
    numbers[rng.integers(n_nodes), 7, 1] = numbers[:, 8, 1] = infinite
    values = [[int(high) * 2**64 + int(low) % 2**64 for low, high in node] for node in numbers.tolist()]

    def work(comm: ThreadComm) -> list[list[int]]:
        mine = numbers[comm.rank].ravel().copy()
        tree.add_over_nodes(comm, mine, exchange.add_sums)
        return mine.reshape(-1, 2).tolist()

    found, wire = on_threads(n_nodes, work)
    for sums in found:
        for k, (low, high) in enumerate(sums):
            expected = sum(value[k] for value in values)
            assert high == infinite if k in (7, 8) else high * 2**64 + low % 2**64 == expected
    got = [sum(wire.queues[other, node].unfinished_tasks for other in range(n_nodes)) for node in range(n_nodes)]
    assert got == [tree.count_received_messages(n_nodes, node) for node in range(n_nodes)]
    assert max(got) <= tree.count_stages(n_nodes) <= math.log2(n_nodes) + 2


def test_counts_choose_a_tree() -> None:
    """Where it spares more words than its messages cost; never for two nodes, or without readouts."""
    assert not any(
        tree.is_tree_faster(n, n_sums) for n, n_sums in ((2, 10**9), (3, 10**9), (10_000, 0), (4, 2000), (100, 30))
    )
    assert tree.is_tree_faster(4, 2001) and tree.is_tree_faster(1000, 30)
    assert not tree.is_tree_faster(1000, 1) and not tree.is_tree_faster(1000, 0, 990)
    assert tree.is_tree_faster(1000, 1, 990)  # where nodes need hardly any messages but those with the sums
    with pytest.raises(ValueError, match="2 and 4 numbers"):
        exchange.add_sums(np.zeros(2, np.int64), np.zeros(4, np.int64))


def open_ranks(comm: ThreadComm, sending: str, wanted: list[np.ndarray | None], n: int) -> Ranks:
    """`n` neurons that all spike in the one step there is."""
    ranks = Ranks(comm, sending)
    channel = ranks.open(ChannelSizes(n, 1, 1, 0), Sources(n, wanted[comm.rank]))
    write(channel, of_rank(np.ones((1, n), bool), comm), 0, 1)
    channel.meeting.round(0, 1)
    channel.synchronize_ranks()
    return ranks


@pytest.mark.parametrize("sending", ["everything", "targeted"])
def test_no_objects_of_all_ranks_are_gathered(sending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take memory and time for each rank on each rank; leaders, and ranks of a node, may exchange some."""
    monkeypatch.setenv(PER_NODE, "2")
    wanted = [np.arange(30) for _ in range(6)]
    assert on_threads(6, lambda comm: open_ranks(comm, sending, wanted, 30).sending == sending)[1].n_objects == 0


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.integers(1, 5),
    per_node=st.integers(1, 3),
    n=st.integers(0, 300),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_nodes_tell_each_other_whom_they_hear(seed, size, per_node, n, share) -> None:
    """By the sets of numpy, in parts of the nodes' neurons. A billion neurons take two bits each."""
    assert count_bytes(np.arange(7813) * 128_000, 5) == 2 * 7812 * 128_000 / 8
    rng = np.random.default_rng(seed)
    cuts = np.sort(np.concatenate(([0, n], rng.integers(0, n + 1, size - 1))))
    wanted = rng.random((size, n)) < share
    listens_to_all = rng.random(size) < 0.1
    wanted |= listens_to_all[:, None]

    def work(comm: ThreadComm) -> tuple:
        nodes = node.find_nodes(comm)
        own = None if listens_to_all[comm.rank] else np.flatnonzero(wanted[comm.rank]).astype(np.uint32)
        first = cuts[nodes.starts]
        hearing = Subscriptions(comm, nodes, first, own)
        hearing.exchange_between_nodes()
        here, found, cut = nodes.index, [], np.random.default_rng(seed)
        heard = [wanted[low:high].any(axis=0) for low, high in itertools.pairwise(nodes.starts)]
        for r in range(nodes.count):
            kinds = (
                (hearing.list_incoming, hearing.count_incoming, r, here),
                (hearing.list_outgoing, hearing.count_outgoing, here, r),
            )
            for part, count, of, by in kinds:
                low, high = np.sort(cut.integers(first[of], first[of + 1] + 1, 2)).tolist()
                found.append((part(r, low, high), np.flatnonzero(heard[by][low:high])))
                assert count(r, low, high) == len(found[-1][1])
        assert hearing.compute_subscribed_fraction() == pytest.approx(np.mean(heard) if n else 0.0)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PER_NODE, str(per_node))
        for found in on_threads(size, work)[0]:
            for mine, expected in found:
                np.testing.assert_array_equal(mine, expected)


@settings(max_examples=examples(100), deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 100_000), share=st.sampled_from([0.0, 1e-4, 2e-3, 0.01, 0.5, 1.0]))
def test_places_of_those_that_are_heard(seed: int, n: int, share: float) -> None:
    """As by a search in their list; few of them take no more memory than they are."""
    rng = np.random.default_rng(seed)
    ids = np.flatnonzero(rng.random(n) < share).astype(np.uint32)
    index = Sources(n, ids).index
    asked = np.unique(np.concatenate([rng.integers(0, n, 200), ids[:200], [0, n - 1]]))
    expected = np.where(np.isin(asked, ids), np.searchsorted(ids, asked), -1)
    assert [index.place(k) for k in asked.tolist()] == expected.tolist()
    low, high = np.sort(rng.integers(0, n + 1, 2)).tolist()
    rows = row_map.RowMap(0, 1, (0, high - low), False, listed=index, offset=low)
    assert (rows.low_number, rows.n_sources) == (np.sum(ids < low), np.sum((ids >= low) & (ids < high)))
    assert index.nbytes <= 12 * (min(n / 64, n / 4096 + 4 * len(ids)) + 4)


def test_bytes_that_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """To everybody: all messages have the size of the largest. Targeted: what is listened to, within the quota.

    A spike takes two bytes.
    """
    n, size = 3000, 3
    monkeypatch.setenv(PER_NODE, "1")
    wanted = [np.arange(1000), np.arange(500, 2000), None]
    everything, targeted = (
        [ranks.received_bytes for ranks in on_threads(size, lambda comm, way=way: open_ranks(comm, way, wanted, n))[0]]
        for way in ("everything", "targeted")
    )
    assert len(set(everything)) == 1 and everything[0] >= 4 * 2 * 1003
    frame = 4 * 4  # header and one count
    assert targeted[0] == 0  # hears no other node
    assert 2 * 500 <= targeted[1] <= 1.3 * 2 * 500 + 2 * frame + 100
    assert 2 * 2000 <= targeted[2] <= 1.3 * 2 * 2000 + 2 * frame + 100


def test_spikes_far_apart_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps of 16 bits, and those that do not fit into them; in the first round there is room for some of them only."""
    n, far = 150_000, 65535  # neurons of a rank, all of which the other one hears
    near = [0, 1, far - 1, far, far + 1, 2 * far - 1, 2 * far, 2 * far + 1, n - 1]
    steps = [[k] for k in near] + [[0, k] for k in near[1:]] + [near, [], list(range(n))]
    raster = np.zeros((len(steps), 2 * n), bool)
    for t, ids in enumerate(steps):
        raster[t, ids] = raster[t, [n + k for k in ids]] = True
    monkeypatch.setenv(PER_NODE, "1")

    def work(comm: ThreadComm) -> SpikeLog:
        channel = Ranks(comm, "targeted").open(ChannelSizes(2 * n, len(steps), len(steps), 0, summed_steps=len(near)))
        mine = of_rank(raster, comm)
        for first in range(0, len(steps), len(near)):
            last = min(first + len(near), len(steps))
            write(channel, mine, first, last)
            channel.meeting.round(first, last)
        channel.synchronize_ranks()
        return channel.received_spikes.slice_steps(0, len(steps)).copy(len(steps))

    for heard in on_threads(2, work)[0]:
        require_spikes(heard, raster)


def test_counts_choose_how_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targeted where nodes listen to a part of the neurons; nothing is sent within a node."""
    some, nearly = [np.arange(50), np.arange(50, 100)], [np.arange(95), np.arange(5, 100)]
    for per_node, wanted, chosen in ((1, some, "targeted"), (1, nearly, "everything"), (2, some, "shared")):
        monkeypatch.setenv(PER_NODE, str(per_node))
        results, _ = on_threads(2, lambda comm, wanted=wanted: open_ranks(comm, "counted", wanted, 100))
        assert [ranks.sending for ranks in results] == [chosen] * 2
        assert per_node == 1 or [ranks.received_bytes for ranks in results] == [0, 0]


def test_nobody_asks_who_hears_whom_where_everything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a table of a bit for each pair of a neuron and a node, and a collective call."""
    monkeypatch.setenv(PER_NODE, "1")
    monkeypatch.setattr("pareprop.parallel.exchange.Subscriptions", lambda *_: pytest.fail("a table was made"))
    results, _ = on_threads(2, lambda comm: open_ranks(comm, "everything", [np.arange(50)] * 2, 100))
    assert [ranks.sending for ranks in results] == ["everything"] * 2


def test_shared_memory_is_taken_as_it_is_needed() -> None:
    """A node has addresses for each neuron in each step, but memory for few spikes at first."""
    layout = shared_memory.Layout(2, np.array([10_000, 10_000]), 1000, 1, 1)
    fd, problem = shared_memory._create_file(layout)
    try:
        assert problem is None and os.fstat(fd).st_size > 2 * 4 * 10_000 * 1000
        assert os.fstat(fd).st_blocks * 512 <= layout.initial_bytes() < 2**23
    finally:
        os.close(fd)


@pytest.mark.parametrize(("neurons", "huge"), [(1_000, False), (1_000_000, True)])
def test_large_logs_ask_for_huge_pages(neurons: int, huge: bool) -> None:
    """Small ones do not: they would grow to a huge page for each rank."""
    local = SimpleNamespace(rank=0, size=1, bcast=lambda value: value)
    memory = shared_memory.SharedMemory(
        None, SimpleNamespace(local=local), shared_memory.Layout(1, np.array([neurons]), 10, 1, 1)
    )
    file = os.fstat(memory.fd)
    place = [f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}", str(file.st_ino)]
    parts = re.split(r"(?<=\n)(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text())
    (mapping,) = [part for part in parts if part.split(maxsplit=5)[3:5] == place]
    assert ("hg" in re.search("VmFlags: (.*)", mapping)[1].split()) == huge


def test_ranks_with_neurons_tell_of_problems_without_waiting() -> None:
    flags, told = (0b1, 0b0, 0b100), [Event() for _ in range(3)]

    def work(comm: ThreadComm) -> list[int]:
        channel, heard = Ranks(comm).open(ChannelSizes(2, 2, 2, 0, n_sharing=1)), []
        for own, event in zip(flags, told, strict=True):
            if comm.rank:
                assert event.wait(20)  # rank 0 went on before this one came
            heard.append(channel.meeting.agree_without_waiting(0b10 if comm.rank else own))
            event.set()
            channel.synchronize_ranks()
        return heard

    assert on_threads(2, work)[0] == [list(flags)] * 2


def test_a_second_message_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst is sent twice and leaves room for the next ones."""
    raster = np.ones((10, 1000), bool)
    monkeypatch.setenv(PER_NODE, "1")
    counts = []

    def work(comm: ThreadComm) -> None:
        mine = of_rank(raster, comm)
        ranks = Ranks(comm)
        channel = ranks.open(ChannelSizes(1000, 10, 10, 0))
        calls = ranks.nodes.leaders.wire
        start = calls.n_calls
        for step in range(10):
            write(channel, mine, step, step + 1)
            channel.meeting.round(step, step + 1)
        counts.append(calls.n_calls - start)

    on_threads(2, work)
    assert max(counts) == 11


@pytest.mark.parametrize("per_node", [1, 2])
def test_nodes_send_to_those_that_hear_them_alone(per_node: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a ring, where each node hears the one before. Parts that grow are sent once more, to that node alone.

    Only node 2 spikes much, in step 3 and from then on.
    """
    n_nodes, n_steps, each = 5, 9, 40
    monkeypatch.setenv(PER_NODE, str(per_node))
    size, n = n_nodes * per_node, n_nodes * each
    raster = np.random.default_rng(1).random((n_steps, n)) < 0.02
    raster[3:, 2 * each : 3 * each] = True

    def work(comm: ThreadComm) -> tuple:
        ranks, here = Ranks(comm, "targeted"), comm.rank // per_node
        before = (here - 1) % n_nodes
        heard = np.sort([*range(before * each, (before + 1) * each), *range(here * each, (here + 1) * each)])
        channel, mine = ranks.open(ChannelSizes(n, n_steps, n_steps, 0), Sources(n, heard)), of_rank(raster, comm)
        for step in range(n_steps):
            write(channel, mine, step, step + 1)
            channel.meeting.round(step, step + 1)
        require_spikes(channel.received_spikes.slice_steps(0, n_steps), raster[:, heard])
        channel.synchronize_ranks()
        return ranks.sender.buffers, ranks.sender.graph, ranks.nodes.leaders, channel.nbytes

    results, _ = on_threads(size, work)
    for rank, (post, *_) in enumerate(results):
        here = rank // per_node
        assert (post.sources, post.targets) == ([(here - 1) % n_nodes], [(here + 1) % n_nodes])
    messages = {pair: queue.unfinished_tasks for pair, queue in results[0][1].wire.queues.items()}
    assert messages == {(k, (k + 1) % n_nodes): n_steps for k in range(n_nodes)}
    again = {key[:2]: queue.unfinished_tasks for key, queue in results[0][2].wire.queues.items()}
    assert again[2, 3] >= 1 and set(again) <= {(2, 3)}


def test_too_little_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line on all ranks."""

    def work(comm: ThreadComm) -> str:
        ranks = Ranks(comm)
        with pytest.raises(InputError) as problem:
            ranks.require_memory(ChannelSizes(2**50, 10, 10, 0))
        return str(problem.value)

    texts, _ = on_threads(2, work)
    assert texts[0] == texts[1] and "/dev/shm has" in texts[0] and "start fewer ranks per node" in texts[0]


def test_memory_that_cannot_be_allocated_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of earlier tests may be closed meanwhile; no further one stays open."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before, layout = held(os.getpid()), shared_memory.Layout(2, np.array([10, 10]), 10, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fails)
        _, problem = shared_memory._create_file(layout)
    assert str(problem) == f"/dev/shm has no room for {layout.initial_bytes()} bytes: No space left on device"
    assert {*held(os.getpid())} <= {*before}


@pytest.mark.parametrize("nodes", [1, 2])
def test_who_waits_for_a_rank_that_ended_ends(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest of those that are left tells it. Between nodes MPI ends the others."""
    monkeypatch.setenv(PER_NODE, "3")

    def work(comm: ThreadComm) -> tuple:
        ranks = Ranks(comm)
        channel = ranks.open(ChannelSizes(10, 10, 10, 0))
        channel.synchronize_ranks()
        if comm.rank > 2:  # another node
            return ()
        if comm.rank == 1:  # what the system does when a process ends
            fcntl.fcntl(channel.owners[0].fd, 37, struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 1, 1, 0))
            return ()
        with pytest.raises(RankLost, match="rank 1 ended unexpectedly") as problem:
            channel.meeting.round(0, 1)
        return (problem.value.speaks,)

    assert on_threads(3 * nodes, work)[0][:3] == [(True,), (), (False,)]


def test_shared_memory_that_fills_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a sample: the rank can't agree with the others on how to end, so it tells it and ends them."""

    def work(comm: ThreadComm) -> str:
        channel = Ranks(comm).open(ChannelSizes(10_000, 1000, 1000, 0))

        def fails(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", fails)
            with pytest.raises(RankLost) as problem:
                channel.own_spikes.reserve(10_000_000)
        return f"{problem.value.speaks} {problem.value}"

    (text,), _ = on_threads(1, work)
    assert text == "True /dev/shm has no room for more spikes of the ranks of this node: No space left on device"


def test_ranks_per_node_is_checked() -> None:
    assert [node.read_ranks_per_node({PER_NODE: text}) for text in ("", "3")] == [0, 3]
    for text in ("0", "-1", "two", "1.5"):
        with pytest.raises(InputError, match=f"{PER_NODE} = '{text}' must be a whole number of at least 1"):
            node.read_ranks_per_node({PER_NODE: text})


def test_collective_numbers() -> None:
    assert (collectives.max_over_ranks(None, 2.0), collectives.sum_over_ranks(None, 3)) == (2.0, 3)
    results, _ = on_threads(
        3, lambda c: (collectives.max_over_ranks(c, float(c.rank)), collectives.sum_over_ranks(c, 10 + c.rank))
    )
    assert results == [(2.0, 33)] * 3
    assert collectives.count_texts(None, "a") == {"a": 1}
    for found in on_threads(5, lambda c: collectives.count_texts(c, "bab"[c.rank % 3] + "x"))[0]:
        assert list(found.items()) == [("bx", 3), ("ax", 2)]
    assert list(collectives.send_items_to_root(None, [1, 2])) == [1, 2]


def test_ranks_wait_for_ordered_accesses_alone() -> None:
    """`DONE` and `ASLEEP` are touched by three functions, whose accesses have an order."""
    text = (Path(__file__).parents[2] / "cython_core" / "rounds.pyx").read_text()
    used = [line.strip() for line in text.splitlines() if re.search(r"\b(?:DONE|ASLEEP)\]", line)]
    assert len(used) == 3
    for line, name in zip(used, ("raise_to", "load", "sleep_below"), strict=True):
        assert re.search(rf"\b{name}\(", line)
    orders = re.findall(r"__atomic_(\w+)\(\(long long\*\) (\w+),.*?__ATOMIC_(\w+)\)", text)
    orders += re.findall(r"__atomic_(load_n)\(\(const long long\*\) (\w+), __ATOMIC_(\w+)\)", text)
    assert sorted(orders) == [
        ("fetch_add", "asleep", "SEQ_CST"),
        ("fetch_sub", "asleep", "SEQ_CST"),
        ("load_n", "asleep", "SEQ_CST"),
        ("load_n", "place", "ACQUIRE"),
        ("load_n", "place", "SEQ_CST"),
        ("store_n", "place", "SEQ_CST"),
    ]
