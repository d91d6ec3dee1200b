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

MARGIN = 2**19  # bytes that must stay free, for the metadata of the file


@contextmanager
def on_disk(comm: Any, what: str, path: Path) -> Iterator[None]:
    """Collective context manager: raise an OSError of one rank as a StateError on all ranks.

    The block must not hold collective calls.
    """
    problem = None
    try:
        yield
    except OSError as found:
        problem = StateError(f"{what} {path}: {reason(found)}")
    raise_together(comm, problem)


def require_space(path: Path, n_bytes: int) -> None:
    """Raise the OSError of a full disk unless the file system of `path` has `n_bytes` free bytes.

    HDF5 may crash when the disk fills up during a write, so call this before.
    """
    system = os.statvfs(path.parent)
    if system.f_bavail * system.f_frsize < n_bytes + MARGIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def reason(problem: OSError) -> str:
    """Return the message of the file system, without the additions of HDF5."""
    text = os.strerror(problem.errno) if problem.errno else str(problem)
    found = re.search(r"error message = '([^']*)'", text)
    return found[1] if found else text
