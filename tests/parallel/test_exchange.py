"""The exchange between ranks, played by threads on one communicator: logs merge in ascending id, messages grow."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareprop.parallel import collectives
from pareprop.parallel.exchange import Alone, Ranks, timed_round
from pareprop.parallel.messages import Sources
from pareprop.parallel.partition import block
from pareprop.parallel.spike_log import SegmentedLog, SpikeLog, joined
from pareprop.timers import Timers


class Wire:
    """What the threads share; counts the collective calls."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, Barrier(size, timeout=20)
        self.parts: list = [None] * size
        self.n_calls = 0

    def gather(self, rank: int, mine: object) -> list:
        self.parts[rank] = mine
        self.barrier.wait()
        parts = list(self.parts)
        self.n_calls += rank == 0
        self.barrier.wait()
        return parts


class ThreadComm:
    """The part of an MPI communicator that `Ranks` and `collective` use."""

    def __init__(self, wire: Wire, rank: int) -> None:
        self.wire, self.rank, self.size = wire, rank, wire.size

    def Allgather(self, mine: np.ndarray, all_of_them: np.ndarray) -> None:
        all_of_them[:] = np.concatenate(self.wire.gather(self.rank, mine.copy()))

    def Barrier(self) -> None:
        self.wire.gather(self.rank, None)

    def allgather(self, mine: object) -> list:
        return self.wire.gather(self.rank, mine)

    def gather(self, mine: object) -> list | None:
        parts = self.wire.gather(self.rank, mine)
        return None if self.rank else parts

    def alltoall(self, mine: list) -> list:
        return [parts[self.rank] for parts in self.wire.gather(self.rank, mine)]

    def Alltoallv(self, mine: tuple, others: tuple) -> None:
        buffer, (counts, starts) = mine
        sent = [buffer[start : start + n].copy() for n, start in zip(counts, starts, strict=True)]
        received, (counts, starts) = others
        for part, n, start in zip(self.alltoall(sent), counts, starts, strict=True):
            assert len(part) == n  # both ends know the size
            received[start : start + n] = part


def on_threads(size: int, work) -> tuple[list, Wire]:
    """`work(comm)` on each rank."""
    wire = Wire(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, [ThreadComm(wire, rank) for rank in range(size)])), wire


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31), size=st.integers(2, 5), n=st.integers(1, 12), n_out=st.integers(0, 6),
    length=st.integers(1, 9), words=st.sampled_from([2, 3, 20, 4096]), density=st.sampled_from([0.0, 0.2, 1.0]),
)  # fmt: skip
def test_logs_and_signals_merge(
    seed: int, size: int, n: int, n_out: int, length: int, words: int, density: float
) -> None:
    """Whatever fits into the first message, on ranks without neurons and readouts, too; signals lag by a round."""
    rng = np.random.default_rng(seed)
    n_steps = 20
    raster, signal = rng.random((n_steps, n)) < density, rng.normal(size=(n_steps, n_out))

    def work(comm: ThreadComm):
        cells, outs = block(n, size, comm.rank), block(n_out, size, comm.rank)
        own, merged = SpikeLog.from_raster(raster[:, slice(*cells)]), SpikeLog(n_steps, 1)
        own.hold(np.concatenate([own.ids + np.uint32(cells[0]), np.zeros(3, np.uint32)]), own.ptr)
        received = np.full((n_steps, n_out), np.nan)
        ranks = Ranks(comm)
        ranks.bind(own, merged, signal[:, slice(*outs)].copy(), received)
        ranks.way.resize(words)
        before = (0, 0)
        for first in range(0, n_steps, length):
            last = min(first + length, n_steps)
            ranks.round(first, last, *before)
            before = first, last
        ranks.round(n_steps, n_steps, *before)
        return merged, received, ranks.nbytes

    results, _ = on_threads(size, work)
    expected = SpikeLog.from_raster(raster)
    for merged, received, nbytes in results:
        np.testing.assert_array_equal(merged.ptr, expected.ptr)
        np.testing.assert_array_equal(merged.ids[: merged.ptr[-1]], expected.ids)
        np.testing.assert_array_equal(received, signal)
        assert nbytes == results[0][2] >= 4 * words * (1 + size)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31), size=st.integers(2, 5), n=st.integers(1, 40), n_out=st.integers(0, 3),
    length=st.integers(1, 9), sending=st.sampled_from(["measured", "everything", "targeted"]),
    share=st.sampled_from([0.0, 0.3, 1.0]), density=st.sampled_from([0.0, 0.2, 1.0]),
)  # fmt: skip
def test_each_rank_gets_what_it_listens_to(
    seed: int, size: int, n: int, n_out: int, length: int, sending: str, share: float, density: float
) -> None:
    """By number, in ascending order; the spikes of all come together on rank 0. Messages outgrow their first size."""
    rng = np.random.default_rng(seed)
    n_steps = 20
    raster, signal = rng.random((n_steps, n)) < density, rng.normal(size=(n_steps, n_out))
    wanted = rng.random((size, n)) < share
    wanted[0] |= rng.random() < 0.5  # a rank may listen to all

    def work(comm: ThreadComm):
        cells, outs = block(n, size, comm.rank), block(n_out, size, comm.rank)
        wanted[comm.rank, slice(*cells)] = True
        own, merged, received = (
            SpikeLog.from_raster(raster[:, slice(*cells)]),
            SpikeLog(n_steps, 1),
            np.full_like(signal, np.nan),
        )
        own.hold(own.ids + np.uint32(cells[0]), own.ptr)
        ids = np.flatnonzero(wanted[comm.rank])
        sources = Sources(n, None if len(ids) == n else ids)
        ranks = Ranks(comm, sending)
        ranks.bind(own, merged, signal[:, slice(*outs)].copy(), received, sources, 0.1)
        for first in range(0, n_steps, length):
            last = min(first + length, n_steps)
            ranks.round(first, last, first, last)
        whole, total = ranks.all_spikes_on_root(own, merged, n_steps)
        return ids, merged, received, whole, total

    results, _ = on_threads(size, work)
    for ids, merged, received, _, total in results:
        expected = SpikeLog.from_raster(raster[:, ids])
        np.testing.assert_array_equal(merged.ptr, expected.ptr)
        np.testing.assert_array_equal(merged.ids[: merged.ptr[-1]], expected.ids)
        np.testing.assert_array_equal(received, signal)
        assert total == raster.sum()
    whole, expected = results[0][3], SpikeLog.from_raster(raster)
    np.testing.assert_array_equal(whole.ptr, expected.ptr)
    np.testing.assert_array_equal(whole.ids[: whole.ptr[-1]], expected.ids)


def bound(comm: ThreadComm, sending: str, wanted: list[np.ndarray | None], n: int) -> Ranks:
    """`n` neurons that all spike in the one step there is."""
    first, last = block(n, comm.size, comm.rank)
    own = SpikeLog.from_arrays(np.arange(first, last, dtype=np.uint32), np.array([0, last - first]))
    ranks = Ranks(comm, sending)
    none = np.zeros((1, 0))
    ranks.bind(own, SpikeLog(1, 4 * n), none, none, Sources(n, wanted[comm.rank]), 1.0)
    ranks.round(0, 1, 0, 0)
    return ranks


def test_bytes_that_arrive() -> None:
    """To everybody: all messages have the size of the largest. Alltoallv: who listens to nobody gets but the frame."""
    n, size = 3000, 3
    wanted = [np.arange(1000), np.arange(500, 2000), None]
    by_way = {
        way: [ranks.way.received for ranks in on_threads(size, lambda comm, way=way: bound(comm, way, wanted, n))[0]]
        for way in ("everything", "targeted")
    }
    assert len(set(by_way["everything"])) == 1 and by_way["everything"][0] >= 4 * 2 * 1003
    frame = 4 * 3  # header and one count
    assert by_way["targeted"][0] == 2 * frame
    assert 4 * 500 <= by_way["targeted"][1] <= 1.3 * 4 * 500 + 2 * frame + 100
    assert 4 * 2000 <= by_way["targeted"][2] <= 1.3 * 4 * 2000 + 2 * frame + 100


def test_the_choice_is_measured_where_there_is_something_to_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster of the two, and neither is tried if ranks listen to nearly all."""
    tried = []

    def fake(self: Ranks, way: object, sources: Sources, expected: float) -> float:
        tried.append(type(way).__name__)
        return seconds[type(way).__name__]

    monkeypatch.setattr(Ranks, "_tried", fake)
    some, nearly = [np.arange(50), np.arange(50, 100)], [np.arange(95), np.arange(5, 100)]
    for wanted, times, chosen, trials in (
        (some, (1.0, 2.0), "AllgatherSender", 4),
        (some, (2.0, 1.0), "AlltoallvSender", 4),
        (nearly, (2.0, 1.0), "AllgatherSender", 0),
    ):
        seconds = dict(zip(("AllgatherSender", "AlltoallvSender"), times, strict=True))
        tried.clear()
        results, _ = on_threads(2, lambda comm, wanted=wanted: bound(comm, "measured", wanted, 100))
        assert [type(ranks.way).__name__ for ranks in results] == [chosen] * 2 and len(tried) == trials


def test_waiting_is_timed_apart() -> None:
    """The rank that comes first waits for the other one; without the option all of it is communication."""
    for profile in (True, False):

        def work(comm: ThreadComm, profile: bool = profile) -> dict[str, float]:
            ranks, timers, none = Ranks(comm, profile_waiting=profile), Timers(), np.zeros((1, 0))
            ranks.bind(SpikeLog(1), SpikeLog(1), none, none)
            time.sleep(0.2 * comm.rank)
            timed_round(ranks, timers, 0, 1, 0, 0)
            return timers.seconds

        first, second = on_threads(2, work)[0]
        apart = "wait" if profile else "communicate"
        assert first[apart] > 0.15 > 10 * sum(second.values())
        assert set(first) == ({"wait", "communicate"} if profile else {"communicate"})
        assert not profile or first["communicate"] < 0.1


def test_a_second_message_is_rare() -> None:
    """A burst is sent twice and leaves room for the next ones."""
    raster = np.ones((10, 1000), bool)

    def work(comm: ThreadComm) -> None:
        first, last = block(1000, 2, comm.rank)
        own = SpikeLog.from_raster(raster[:, first:last])
        ranks = Ranks(comm)
        ranks.bind(own, SpikeLog(10), np.zeros((10, 0)), np.zeros((10, 0)))
        for step in range(10):
            ranks.round(step, step + 1, 0, 0)

    _, wire = on_threads(2, work)
    assert wire.n_calls == 12  # with one when the ranks were bound


def test_alone() -> None:
    signal, kept = np.arange(6.0).reshape(3, 2), np.zeros((3, 2))
    log = SpikeLog(3)
    alone = Alone()
    alone.bind(log, log, signal, signal)
    alone.round(0, 3, 0, 3)
    alone.bind(log, log, signal, kept)
    alone.round(0, 3, 1, 2)
    np.testing.assert_array_equal(kept, [[0, 0], [2, 3], [0, 0]])


def test_collective_numbers() -> None:
    assert (collectives.maximum(None, 2.0), collectives.total(None, 3)) == (2.0, 3)
    results, _ = on_threads(3, lambda c: (collectives.maximum(c, float(c.rank)), collectives.total(c, 10 + c.rank)))
    assert results == [(2.0, 33)] * 3
    assert list(collectives.to_root(None, [1, 2])) == [1, 2]


def test_log_grows() -> None:
    log = SpikeLog(2, 4)
    log.ids[:] = [5, 6, 7, 8]
    log.reserve(4)
    assert len(log.ids) == 4
    log.reserve(8)
    assert len(log.ids) >= 8
    np.testing.assert_array_equal(log.ids[:4], [5, 6, 7, 8])
    assert log.nbytes == log.ids.nbytes + 24


def test_logs_join_in_each_step() -> None:
    parts = [
        SpikeLog.of(np.array([0, 0, 2]), np.array([1, 3, 1]), 3),
        SpikeLog(3),
        SpikeLog.of(np.array([0, 1]), np.array([7, 9]), 3),
    ]
    whole = joined(parts, 3)
    assert (whole.ptr.tolist(), whole.ids.tolist()) == ([0, 3, 4, 5], [1, 3, 7, 9, 1])
    part = whole.part(1, 3)
    assert (part.ptr.tolist(), part.ids.tolist()) == ([0, 1, 2], [9, 1])


@pytest.mark.parametrize("raster", [np.zeros((3, 2)), np.zeros((0, 2)), np.zeros((3, 0))])
def test_silent_logs(raster: np.ndarray) -> None:
    log = SpikeLog.from_raster(raster)
    np.testing.assert_array_equal(log.ptr, np.zeros(len(raster) + 1))
    assert len(log.spikes(len(raster))[1]) == 0


def test_kernels_see_a_log_that_grew() -> None:
    """Whoever holds a log sees its present arrays; older views stay valid."""
    log = SpikeLog.of(np.array([0, 0, 1]), np.array([2, 5, 3]), 2)
    before, segmented = log.ids, SegmentedLog([log])
    log.reserve(1000)
    log.ids[0] = 7
    assert segmented.segments[0].ids is log.ids and log.ids is not before
    assert (log.ids[:3].tolist(), before.tolist()) == ([7, 5, 3], [2, 5, 3])
    with pytest.raises(ValueError, match="dtype"):
        log.hold(np.zeros(3), log.ptr)
