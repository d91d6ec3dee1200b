"""Collective operations whose results do not depend on the number of ranks. `comm` is None for one process."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import numpy as np

from ..errors import ParepropError, StateError
from ..machine import describe_shortage
from . import mpi
from .mpi import Comm
from .replicas import Replicas

T = TypeVar("T")

ARRIVED = 1  # tag of messages that carry nothing else
PATIENCE = 5.0  # seconds that a rank with an error waits for the others, which have it as well, or never come


def raise_together(comm: Comm, problem: ParepropError | None) -> None:
    """Collective: raise on all ranks the problem of the lowest rank that has one.

    The rank is named unless all have one, or rank 0 has it, which does what one rank does for all: then the line is
    the result of a single process. Problems are sent only if there are any.
    """
    if not sum_over_ranks(comm, problem is not None):
        return
    problems = [problem] if comm is None else comm.allgather(problem)
    for rank, problem in enumerate(problems):
        if problem is not None:
            raise type(problem)(f"{problem} (rank {rank})" if rank and None in problems else str(problem)) from None


def all_arrive(comm: Comm, seconds: float = PATIENCE) -> bool:
    """Collective, if all goes well: return whether all ranks come here within some seconds.

    If not, this rank is alone with its problem, the others wait for it elsewhere, and no collective call is possible.
    """
    if comm is None:
        return True
    arrival, latest = comm.Ibarrier(), time.monotonic() + seconds
    while not (there := arrival.Test()) and time.monotonic() < latest:
        time.sleep(0.01)
    return there


def wait_for_all(comm: Comm) -> None:
    """Collective: wait until all ranks come here, asleep in steps that grow to a millisecond.

    MPI's calls wait awake: during a long computation of one rank, the others would take its processors. Messages, not
    a barrier of MPI, so that a rank that comes to `all_arrive` instead is found to be alone.
    """
    distance = 1
    while distance < comm.size:  # a dissemination barrier
        sending = comm.isend(None, (comm.rank + distance) % comm.size, ARRIVED)
        arrival, pause = comm.irecv(source=(comm.rank - distance) % comm.size, tag=ARRIVED), 1e-5
        while not arrival.test()[0]:
            time.sleep(pause)
            pause = min(1.5 * pause, 1e-3)
        sending.wait()
        distance *= 2


@contextmanager
def share_errors(comm: Comm, raise_on_all: Callable[[ParepropError | None], None] | None = None) -> Iterator[None]:
    """Collective: an error of one rank in the block ends the block on all ranks with that error.

    The block must not contain collective calls. A file that can't be read on one rank, or memory that only one rank
    lacks, becomes a `StateError` on all. `raise_on_all` raises the problem on all ranks, such as
    `Channel.raise_together`; by default `raise_together` of `comm`.
    """
    problem = None
    try:
        yield
    except ParepropError as error:
        problem = error
    except MemoryError as error:
        problem = describe_shortage(error)
    except OSError as error:
        problem = StateError(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    raise_on_all(problem) if raise_on_all else raise_together(comm, problem)


def run_in_first_group(replicas: Replicas, function: Callable[..., T], *arguments: object) -> T | None:
    """Run `function` in the first replica group only and broadcast its result, or its exception, to all groups.

    Collective over all ranks; `function` is collective within a group.
    """
    result = problem = None
    if replicas.index == 0:
        try:
            result = function(*arguments)
        except ParepropError as error:
            problem = error
    result, problem = replicas.broadcast_value((result, problem))
    if problem is not None:
        raise problem
    return result


def send_items_to_root(comm: Comm, items: Iterable[T]) -> Iterator[T]:
    """Collective: yield on rank 0 the items of all ranks, rank after rank; yield nothing on other ranks.

    One item at a time is in flight, so rank 0 never holds all of them. Callers must exhaust the iterator.
    """
    if comm is None or comm.rank == 0:
        yield from items
        for rank in range(1, 1 if comm is None else comm.size):
            while (item := comm.recv(source=rank)) is not None:
                yield item
    else:
        for item in items:
            comm.send(item, dest=0)
        comm.send(None, dest=0)


def sum_in_order(comm: Comm, values: np.ndarray) -> float:
    """Collective: add the values (n,), float64, of all ranks in order; the sum is the same for any partition."""
    before = 0.0 if comm is None or comm.rank == 0 else comm.recv(source=comm.rank - 1)
    total = float(np.cumsum(np.concatenate(([before], values)))[-1])
    if comm is None:
        return total
    if comm.rank < comm.size - 1:
        comm.send(total, dest=comm.rank + 1)
    return comm.bcast(total, root=comm.size - 1)


def max_over_ranks(comm: Comm, value: float) -> float:
    """Collective: return the largest value over ranks."""
    return type(value)(_reduce_values(comm, np.array([value], np.float64), "MAX")[0])


def any_of(comm: Comm, flags: Sequence[bool]) -> list[bool]:
    """Collective: return for each flag whether any rank has set it."""
    return [bool(flag) for flag in _reduce_values(comm, np.array(flags, np.int8), "MAX")]


def is_same(comm: Comm, text: str) -> bool:
    """Collective: return whether all ranks give the same text, by its hash."""
    number = _hash_text(text)
    highest, minus_lowest = _reduce_values(comm, np.array([number, -number], np.int64), "MAX")
    return bool(highest == -minus_lowest)


def count_texts(comm: Comm, text: str) -> Counter[str]:
    """Collective: return how many ranks have each text, in the order of the lowest ranks with the text.

    Only these ranks send a text; others send a number.
    """
    if comm is None:
        return Counter([text])
    numbers = np.empty(comm.size, np.int64)
    comm.Allgather(np.array([_hash_text(text)], np.int64), numbers)
    _, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    texts = comm.allgather(text if comm.rank in first else None)
    return Counter({texts[rank]: n for rank, n in sorted(zip(first.tolist(), counts.tolist(), strict=True))})


def _hash_text(text: str) -> int:
    """Return a hash of a text, the same on all ranks."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def sum_lower_ranks(comm: Comm, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Collective: return the sums of whole numbers, int64 (n,), over the ranks before this one, and over all."""
    before = np.zeros_like(counts)
    if comm is not None:
        comm.Exscan(counts, before)  # adds by default
        before *= comm.rank > 0  # rank 0 gets nothing
    return before, _reduce_values(comm, counts.copy(), "SUM")


def any_bits(comm: Comm, flags: int) -> int:
    """Collective: return the bits that any rank has set in a whole number below 2**63."""
    return int(_reduce_values(comm, np.array([flags], np.int64), "BOR")[0])


def _reduce_values(comm: Comm, values: np.ndarray, operation: str) -> np.ndarray:
    """Collective: return values reduced over ranks by an operation of MPI, such as "MAX", on all ranks."""
    if comm is None:
        return values
    reduced = np.empty_like(values)
    comm.Allreduce(values, reduced, mpi.find_operation(comm, operation))
    return reduced


def gather_values(comm: Comm, value: T) -> list[T]:
    """Collective: return the values of all ranks, by rank, on all ranks (an allgather)."""
    return [value] if comm is None else comm.allgather(value)


def gather_rows(comm: Comm, rows: np.ndarray) -> np.ndarray:
    """Collective: return on rank 0 the rows of all ranks, in the order of ranks; none on other ranks."""
    if comm is None:
        return rows
    counts = np.zeros(comm.size, np.int64) if comm.rank == 0 else None
    comm.Gather(np.array([rows.nbytes], np.int64), counts)
    all_rows = np.empty(0 if counts is None else int(counts.sum()) // rows.itemsize, rows.dtype)
    comm.Gatherv(rows.view(np.uint8), (all_rows.view(np.uint8), counts))
    return all_rows


def broadcast_from_root(comm: Comm, value: T) -> T:
    """Collective: return the value of rank 0, on all ranks."""
    return value if comm is None else cast(T, comm.bcast(value))


def sum_over_ranks(comm: Comm, value: int) -> int:
    """Collective: return the sum of whole numbers over ranks, below 2**63 in size."""
    return int(_reduce_values(comm, np.array([value], np.int64), "SUM")[0])
