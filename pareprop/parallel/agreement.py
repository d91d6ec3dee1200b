"""Check that all ranks do the same: reach the same call of a script with the same model, task and settings.

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
from .shared_memory import release_locks

ARRIVAL, ANSWER = 32001, 32002  # tags of messages
WARN_AFTER = 60.0  # seconds after which a rank that waits says for whom
LIMIT = "PAREPROP_WAIT"  # environment variable: seconds after which a rank that waits ends; not set: never
MAX_DIFFERENCES = 3  # most differences in a message
MAX_VALUE_LENGTH = 100  # most characters of a value in a message
WAIT = "wait"  # answer of rank 0 that another one follows
END = "the end of its script"
UNSET = "not set"

# environment variables that decide how ranks exchange; each must have one value on all ranks
VARIABLES = ("PAREPROP_SHARE_ABOVE", "PAREPROP_SENDING", "PAREPROP_RANKS_PER_NODE", "PAREPROP_CUTS")


def require_agreement(comm: Comm, location: str, facts: Mapping[str, str] | None = None) -> None:
    """Collective: raise `InputError` on all ranks unless all reach the same `location` with the same `facts`.

    `location` is for messages, such as "Simulation()"; `facts` map names to texts that must be equal. The message names
    the first differences, with their values on two ranks, or the rank that reached another location, or none within the
    seconds of PAREPROP_WAIT. Without `comm`, one process agrees with itself.
    """
    if comm is None or comm.size == 1:
        return
    facts = facts or {}
    digest = hashlib.sha256(repr(sorted(facts.items())).encode()).digest()
    answer = _compare_on_root(comm, location, digest) if comm.rank == 0 else _report_to_root(comm, location, digest)
    if answer is None:
        return
    if answer:
        _ScriptEnd.has_failed = True
        raise InputError(answer)
    raise InputError(find_difference(comm.allgather(facts)))


def read_exchange_variables() -> dict[str, str]:
    """Return the environment variables that decide how ranks exchange, name to value."""
    return {name: os.environ.get(name) or UNSET for name in VARIABLES}


def find_difference(facts: list[dict[str, str]]) -> str:
    """Return a line that names the facts in which ranks differ."""
    names = list(dict.fromkeys(name for mine in facts for name in mine))
    differences = []
    for name in names:
        values = [mine.get(name, UNSET) for mine in facts]
        other = next((rank for rank, value in enumerate(values) if value != values[0]), 0)
        if other:
            differences.append(
                f"{name} = {shorten(values[0], MAX_VALUE_LENGTH)} on rank 0, "
                f"{shorten(values[other], MAX_VALUE_LENGTH)} on rank {other}"
            )
    more = f"; {len(differences) - MAX_DIFFERENCES} more" if len(differences) > MAX_DIFFERENCES else ""
    return f"ranks disagree: {'; '.join(differences[:MAX_DIFFERENCES])}{more} (must be the same on all ranks)"


def _compare_on_root(comm: Comm, location: str, digest: bytes) -> str | None:
    """On rank 0: receive from all ranks; answer None if all agree, "" if facts differ, or the ranks elsewhere."""
    from mpi4py import MPI  # where there is a communicator, it is loaded

    came, others = np.zeros(comm.size, bool), dict[int, str]()  # ranks that came, and the locations of other ranks
    n_missing, same, status, wait = comm.size - 1, True, MPI.Status(), _Wait(WARN_AFTER)
    came[0], answer = True, None
    while n_missing and not answer:
        if comm.iprobe(MPI.ANY_SOURCE, ARRIVAL, status):
            there, theirs = comm.recv(source=status.source, tag=ARRIVAL)
            came[status.source], n_missing, same = True, n_missing - 1, same and theirs == digest
            if there != location:
                others[status.source] = there
        else:
            missing = np.flatnonzero(~came)
            if wait.sleep_and_warn(f"rank 0 waits at {location} for {_format_ranks(missing)}", location) and came[1]:
                comm.send(WAIT, 1, ANSWER)
            answer = wait.describe_timeout(f"rank 0 waited at {location} for {_format_ranks(missing)}", location)
    if answer is None and others:
        other = min(others)
        answer = (
            f"rank 0 has come to {location}, rank {other} to {others[other]}: "
            "what one of the ranks calls, all must call"
        )
    elif answer is None and not same:
        answer = ""
    for rank in np.flatnonzero(came)[1:].tolist():
        comm.send(answer, rank, ANSWER)
    return answer


def _report_to_root(comm: Comm, location: str, digest: bytes) -> str | None:
    """On other ranks: send to rank 0, and return its answer."""
    message, wait, answer = comm.isend((location, digest), 0, ARRIVAL), _Wait(1.5 * WARN_AFTER), WAIT
    while answer == WAIT:
        while not comm.iprobe(0, ANSWER):
            wait.sleep_and_warn(f"rank 1 waits at {location} for rank 0" if comm.rank == 1 else "", location)
            if problem := wait.describe_timeout(f"rank {comm.rank} waited at {location} for rank 0", location):
                print(f"pareprop: error: {problem}", file=sys.stderr, flush=True)  # rank 0 reports other errors
                return problem
        answer = comm.recv(source=0, tag=ANSWER)
        wait = _Wait(endless=True)  # rank 0 came, and reports the ranks that it waits for
    message.wait()
    return answer


class _Wait:
    """Sleeps in steps up to a millisecond; prints once for whom, after `patience` seconds; ends after `limit`."""

    def __init__(self, patience: float = float("inf"), endless: bool = False) -> None:
        start = time.monotonic()
        self.pause, self.warn_at, self.end_at = (
            1e-5,
            start + patience,
            start + (float("inf") if endless else read_wait_limit()),
        )

    def sleep_and_warn(self, text: str, location: str) -> bool:
        """Sleep; return whether `text` was printed now."""
        time.sleep(self.pause)
        self.pause = min(1.5 * self.pause, 1e-3)
        late = location != END and bool(text) and time.monotonic() > self.warn_at
        if late:
            self.warn_at = float("inf")
            print(f"pareprop: {text}; all ranks must call it", file=sys.stderr, flush=True)
        return late

    def describe_timeout(self, text: str, location: str) -> str | None:
        """Return the message of the error if the wait has taken too long, else None."""
        return (
            f"{text} longer than {LIMIT} = {read_wait_limit():g} s"
            if location != END and time.monotonic() > self.end_at
            else None
        )


def read_wait_limit() -> float:
    """Return the seconds that a rank waits for others, from PAREPROP_WAIT; unlimited by default."""
    text = os.environ.get(LIMIT) or "inf"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"{LIMIT} = {quote(text)} must be a number of seconds above 0")
    return seconds


def _format_ranks(numbers: np.ndarray) -> str:
    text = ", ".join(map(str, numbers[:10].tolist())) + (
        f" and {len(numbers) - 10} others" if len(numbers) > 10 else ""
    )
    return f"rank{'s' if len(numbers) > 1 else ''} {text}"


class _ScriptEnd:
    """Whether ranks announce the end of their script, and whether they reached different calls before."""

    comm: Comm = None
    has_failed = False


def announce_script_end(comm: Comm) -> None:
    """Announce to the other ranks when the script of this rank ends, so that none of them waits for it."""
    if _ScriptEnd.comm is None:
        atexit.register(_end_script, os.getpid())
    _ScriptEnd.comm = comm


def _end_script(process: int) -> None:
    """Collective, if all goes well: come to the end of the script."""
    from mpi4py import MPI

    if os.getpid() != process or MPI.Is_finalized() or _ScriptEnd.has_failed:  # a forked process is not a rank
        return
    release_locks()  # ranks in a round see that this one is gone
    try:
        require_agreement(_ScriptEnd.comm, END)
    except InputError:
        pass  # other ranks report it
