"""Errors and free space of the file system, the same on all ranks."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import StateError
from ..parallel.collectives import raise_together

MARGIN = 2**19  # bytes that must stay free, for the frame of the file itself


@contextmanager
def on_disk(comm: Any, what: str, path: Path) -> Iterator[None]:
    """Collective: an error of the file system on one rank becomes a StateError on all. Nothing collective inside."""
    problem = None
    try:
        yield
    except OSError as found:
        problem = StateError(f"{what} {path}: {reason(found)}")
    raise_together(comm, problem)


def require_room(path: Path, n_bytes: int) -> None:
    """Raise the OSError of a full disk if the file system of `path` lacks room for so many more bytes.

    HDF5 may crash when a disk fills up under it: whoever writes such a file asks before.
    """
    system = os.statvfs(path.parent)
    if system.f_bavail * system.f_frsize < n_bytes + MARGIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def reason(problem: OSError) -> str:
    """What the file system said, without the trimmings of HDF5."""
    text = os.strerror(problem.errno) if problem.errno else str(problem)
    found = re.search(r"error message = '([^']*)'", text)
    return found[1] if found else text
