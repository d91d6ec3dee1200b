"""Check that all ranks do the same: come to the same place of a script, with the same facts on what they will run.

Ranks that differ would wait for each other for ever, or train one network each and call it one. They are compared where
something begins; samples are compared one by one (`Channel.compare`). Rank 0 receives from all others and answers, so
that it knows who is missing; nobody waits in a call of MPI. A rank that comes to the end of its script says so, too:
ranks that wait for it elsewhere then end.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
import time
from collections.abc import Mapping

import numpy as np

from ..errors import InputError, quote, shorten
from .mpi import Comm
from .shared_memory import let_go

ARRIVAL, ANSWER = 32001, 32002  # tags of messages
NOTICE = 60.0  # seconds after which a rank that waits says for whom
LIMIT = "PAREPROP_WAIT"  # environment variable: seconds after which a rank that waits ends; not set: never
SHOWN = 3  # most differences in a message
LONGEST = 100  # most characters of a value in a message
WAIT = "wait"  # answer of rank 0 that another one follows
END = "the end of its script"
UNSET = "not set"

# environment variables that decide how ranks exchange; each must have one value on all ranks
VARIABLES = (
    "PAREPROP_SHARE_ABOVE", "PAREPROP_SENDING", "PAREPROP_RANKS_PER_NODE", "PAREPROP_CUTS"
)  # fmt: skip


def agree(comm: Comm, place: str, facts: Mapping[str, str] | None = None) -> None:
    """Collective: raise `InputError` on all ranks unless all come to the same place with the same facts.

    Parameters
    ----------
    comm : communicator or None
        Communicator of the ranks; None: one process, which agrees with itself.
    place : str
        Where this rank is, for messages, such as "Simulation()".
    facts : Mapping or None
        Name to value of all that must be the same, as text.

    Raises
    ------
    InputError
        Names the first things that differ, with their values on two ranks, or who came to another place, or not within
        the seconds of PAREPROP_WAIT.
    """
    if comm is None or comm.size == 1:
        return
    facts = facts or {}
    digest = hashlib.sha256(repr(sorted(facts.items())).encode()).digest()
    answer = _lead(comm, place, digest) if comm.rank == 0 else _follow(comm, place, digest)
    if answer is None:
        return
    if answer:
        _Left.torn = True
        raise InputError(answer)
    raise InputError(find_difference(comm.allgather(facts)))


def environment() -> dict[str, str]:
    """Return the environment variables that decide how ranks exchange, name to value."""
    return {name: os.environ.get(name) or UNSET for name in VARIABLES}


def find_difference(facts: list[dict[str, str]]) -> str:
    """Return a line that names what differs between the facts of the ranks."""
    names = list(dict.fromkeys(name for mine in facts for name in mine))
    differences = []
    for name in names:
        values = [mine.get(name, UNSET) for mine in facts]
        other = next((rank for rank, value in enumerate(values) if value != values[0]), 0)
        if other:
            differences.append(
                f"{name} = {shorten(values[0], LONGEST)} on rank 0, {shorten(values[other], LONGEST)} on rank {other}"
            )
    more = f"; {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return f"ranks disagree: {'; '.join(differences[:SHOWN])}{more} (must be the same on all ranks)"


def _lead(comm: Comm, place: str, digest: bytes) -> str | None:
    """On rank 0: receive from all ranks, and answer: None if all agree, "" if facts differ, or who is elsewhere."""
    from mpi4py import MPI  # where there is a communicator, it is loaded

    came, others = np.zeros(comm.size, bool), dict[int, str]()  # who came, and the places of those that are elsewhere
    n_missing, same, status, wait = comm.size - 1, True, MPI.Status(), _Wait(NOTICE)
    came[0], answer = True, None
    while n_missing and not answer:
        if comm.iprobe(MPI.ANY_SOURCE, ARRIVAL, status):
            there, theirs = comm.recv(source=status.source, tag=ARRIVAL)
            came[status.source], n_missing, same = True, n_missing - 1, same and theirs == digest
            if there != place:
                others[status.source] = there
        else:
            missing = np.flatnonzero(~came)
            if wait.sleep(f"rank 0 waits at {place} for {_ranks(missing)}", place) and came[1]:
                comm.send(WAIT, 1, ANSWER)
            answer = wait.end(f"rank 0 waited at {place} for {_ranks(missing)}", place)
    if answer is None and others:
        other = min(others)
        answer = (
            f"rank 0 has come to {place}, rank {other} to {others[other]}: what one of the ranks calls, all must call"
        )
    elif answer is None and not same:
        answer = ""
    for rank in np.flatnonzero(came)[1:].tolist():
        comm.send(answer, rank, ANSWER)
    return answer


def _follow(comm: Comm, place: str, digest: bytes) -> str | None:
    """On other ranks: send to rank 0, and return its answer."""
    message, wait, answer = comm.isend((place, digest), 0, ARRIVAL), _Wait(1.5 * NOTICE), WAIT
    while answer == WAIT:
        while not comm.iprobe(0, ANSWER):
            wait.sleep(f"rank 1 waits at {place} for rank 0" if comm.rank == 1 else "", place)
            if problem := wait.end(f"rank {comm.rank} waited at {place} for rank 0", place):
                print(f"pareprop: error: {problem}", file=sys.stderr, flush=True)  # rank 0 reports other errors
                return problem
        answer = comm.recv(source=0, tag=ANSWER)
        wait = _Wait(endless=True)  # rank 0 is there, and says for whom it waits
    message.wait()
    return answer


class _Wait:
    """Sleeps in steps up to a millisecond; prints once for whom, after `patience` seconds; ends after `limit`."""

    def __init__(self, patience: float = float("inf"), endless: bool = False) -> None:
        start = time.monotonic()
        self.pause, self.due, self.last = 1e-5, start + patience, start + (float("inf") if endless else limit())

    def sleep(self, text: str, place: str) -> bool:
        """Sleep; return whether `text` was printed now."""
        time.sleep(self.pause)
        self.pause = min(1.5 * self.pause, 1e-3)
        late = place != END and bool(text) and time.monotonic() > self.due
        if late:
            self.due = float("inf")
            print(f"pareprop: {text}; all ranks must call it", file=sys.stderr, flush=True)
        return late

    def end(self, text: str, place: str) -> str | None:
        """Return the message of the error if the wait has taken too long, else None."""
        return f"{text} longer than {LIMIT} = {limit():g} s" if place != END and time.monotonic() > self.last else None


def limit() -> float:
    """Return the seconds that a rank waits for others, as PAREPROP_WAIT says; by default without end.

    Raises
    ------
    InputError
        If it is not a number above 0.
    """
    text = os.environ.get(LIMIT) or "inf"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"{LIMIT} = {quote(text)} must be a number of seconds above 0")
    return seconds


def _ranks(numbers: np.ndarray) -> str:
    text = ", ".join(map(str, numbers[:10].tolist())) + (
        f" and {len(numbers) - 10} others" if len(numbers) > 10 else ""
    )
    return f"rank{'s' if len(numbers) > 1 else ''} {text}"


class _Left:
    """Whether ranks tell each other of their end, and whether they came to different places before."""

    comm: Comm = None
    torn = False


def tell_of_the_end(comm: Comm) -> None:
    """Let this rank tell the others when its script ends, so that none of them waits for it."""
    if _Left.comm is None:
        atexit.register(_leave, os.getpid())
    _Left.comm = comm


def _leave(process: int) -> None:
    """Collective, if all goes well: come to the end of the script."""
    from mpi4py import MPI

    if os.getpid() != process or MPI.Is_finalized() or _Left.torn:  # a forked process is not a rank
        return
    let_go()  # ranks in a round see that this one is gone
    try:
        agree(_Left.comm, END)
    except InputError:
        pass  # the others tell it
