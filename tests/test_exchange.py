"""The exchange between ranks, played by threads on one communicator: logs merge in ascending id, messages grow."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareprop import collective
from pareprop.exchange import Alone, Ranks
from pareprop.partition import block
from pareprop.spikelog import Log


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

    def allgather(self, mine: object) -> list:
        return self.wire.gather(self.rank, mine)


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
        own, merged = Log.from_raster(raster[:, slice(*cells)]), Log(n_steps, 1)
        own.ids = np.concatenate([own.ids + np.uint32(cells[0]), np.zeros(3, np.uint32)])
        received = np.full((n_steps, n_out), np.nan)
        ranks = Ranks(comm)
        ranks.words = words
        ranks.bind(own, merged, signal[:, slice(*outs)].copy(), received)
        before = (0, 0)
        for first in range(0, n_steps, length):
            last = min(first + length, n_steps)
            ranks.round(first, last, *before)
            before = first, last
        ranks.round(n_steps, n_steps, *before)
        return merged, received, ranks.nbytes

    results, _ = on_threads(size, work)
    expected = Log.from_raster(raster)
    for merged, received, nbytes in results:
        np.testing.assert_array_equal(merged.ptr, expected.ptr)
        np.testing.assert_array_equal(merged.ids[: merged.ptr[-1]], expected.ids)
        np.testing.assert_array_equal(received, signal)
        assert nbytes == results[0][2] >= 4 * words * (1 + size)


def test_a_second_message_is_rare() -> None:
    """A burst is sent twice and leaves room for the next ones."""
    raster = np.ones((10, 1000), bool)

    def work(comm: ThreadComm) -> None:
        first, last = block(1000, 2, comm.rank)
        own = Log.from_raster(raster[:, first:last])
        ranks = Ranks(comm)
        ranks.bind(own, Log(10), np.zeros((10, 0)), np.zeros((10, 0)))
        for step in range(10):
            ranks.round(step, step + 1, 0, 0)

    _, wire = on_threads(2, work)
    assert wire.n_calls == 11


def test_alone() -> None:
    signal, kept = np.arange(6.0).reshape(3, 2), np.zeros((3, 2))
    log = Log(3)
    alone = Alone()
    alone.bind(log, log, signal, signal)
    alone.round(0, 3, 0, 3)
    alone.bind(log, log, signal, kept)
    alone.round(0, 3, 1, 2)
    np.testing.assert_array_equal(kept, [[0, 0], [2, 3], [0, 0]])


def test_collective_numbers() -> None:
    assert (collective.maximum(None, 2.0), collective.total(None, 3)) == (2.0, 3)
    results, _ = on_threads(3, lambda c: (collective.maximum(c, float(c.rank)), collective.total(c, 10 + c.rank)))
    assert results == [(2.0, 33)] * 3
    assert list(collective.to_root(None, [1, 2])) == [1, 2]


def test_log_grows() -> None:
    log = Log(2, 4)
    log.ids[:] = [5, 6, 7, 8]
    log.reserve(4)
    assert len(log.ids) == 4
    log.reserve(8)
    assert len(log.ids) >= 8
    np.testing.assert_array_equal(log.ids[:4], [5, 6, 7, 8])
    assert log.nbytes == log.ids.nbytes + 24


@pytest.mark.parametrize("raster", [np.zeros((3, 2)), np.zeros((0, 2)), np.zeros((3, 0))])
def test_silent_logs(raster: np.ndarray) -> None:
    log = Log.from_raster(raster)
    np.testing.assert_array_equal(log.ptr, np.zeros(len(raster) + 1))
    assert len(log.spikes(len(raster))[1]) == 0
