"""Collective operations, in an order that does not depend on the number of ranks. `comm` is None for one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ParepropError
from .replicas import Replicas


def raise_together(comm: Any, problem: ParepropError | None) -> None:
    """Collective: raise on all ranks the problem of the lowest rank that has one; name the rank unless all have one."""
    problems = [problem] if comm is None else comm.allgather(problem)
    for rank, found in enumerate(problems):
        if found is not None:
            raise type(found)(f"{found} (rank {rank})" if None in problems else str(found)) from None


@contextmanager
def guarded(comm: Any) -> Iterator[None]:
    """Collective context manager: an error that one rank raises in the block is raised on all ranks at its end.

    The block must not hold collective calls.
    """
    problem = None
    try:
        yield
    except ParepropError as found:
        problem = found
    raise_together(comm, problem)


def run_in_first_group(replicas: Replicas, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function` in the first replica group only and broadcast its result, or its exception, to all groups.

    Collective over all ranks; `function` is collective within a group.
    """
    result = problem = None
    if replicas.index == 0:
        try:
            result = function(*arguments)
        except ParepropError as found:
            problem = found
    result, problem = replicas.broadcast((result, problem))
    if problem is not None:
        raise problem
    return result


def to_root(comm: Any, items: Iterable[Any]) -> Iterator[Any]:
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


def maximum(comm: Any, value: float) -> float:
    """Collective: return the largest value over ranks."""
    return value if comm is None else max(comm.allgather(value))


def gather(comm: Any, value: Any) -> list[Any]:
    """Collective: return the values of all ranks, by rank, on all ranks (an allgather)."""
    return [value] if comm is None else comm.allgather(value)


def total(comm: Any, value: int) -> int:
    """Collective: return the sum of whole numbers over ranks."""
    return value if comm is None else sum(comm.allgather(value))
