"""Errors and free space of the file system, the same on all ranks."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import files
from ..errors import InputError, StateError
from ..parallel.collectives import await_others, raise_together
from ..parallel.mpi import Comm

NO_PLACE = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EINVAL,
}  # fmt: skip
MARGIN = 2**19  # bytes that must stay free, for the metadata of the file


@contextmanager
def on_disk(comm: Comm, what: str, path: Path) -> Iterator[None]:
    """Collective context manager: raise an OSError of one rank as a StateError on all ranks.

    The block must not hold collective calls.
    """
    problem = None
    try:
        yield
    except OSError as error:
        problem = StateError(f"{what} {path}: {reason(error)}")
    if comm is not None:
        await_others(comm)
    raise_together(comm, problem)


@contextmanager
def output_errors(path: Path, what: str = "") -> Iterator[None]:
    """Raise an OSError as `InputError` if a user named a place that cannot be, else (a full disk) as `StateError`."""
    try:
        yield
    except OSError as problem:
        kind = InputError if problem.errno in NO_PLACE else StateError
        raise kind(f"{what}{path}: {reason(problem)}") from None


def require_space(path: Path, n_bytes: int, descriptor: int | None = None) -> None:
    """Raise the OSError of a full disk unless the file system of `path` has `n_bytes` free bytes.

    HDF5 may crash when the disk fills up during a write, so call this before. The descriptor of an open file is valid
    where the file was moved, too.
    """
    system = os.statvfs(path.parent if descriptor is None else descriptor)
    if system.f_bavail * system.f_frsize < n_bytes + MARGIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def clear(path: Path) -> Path:
    """Remove what a killed run left under a name that is to be written, so that nothing is written through a link."""
    path.unlink(missing_ok=True)
    return path


def synchronise(path: Path) -> None:
    """Synchronise a file, or the entries of a directory, with the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(part: Path, path: Path) -> None:
    """Give a complete file its final name, in place of one that is there; it reaches the disk before the name does."""
    synchronise(part)
    os.replace(part, path)
    synchronise(path.parent)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a fresh name beside `path` to write to; when the block ends well, that file takes the place of `path`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(descriptor, 0o666 & ~umask)  # as `open` would
        os.close(descriptor)
        yield Path(name)
        publish(Path(name), path)
    except BaseException:
        os.unlink(name)
        raise


@contextmanager
def fill_folder(folder: Path) -> Iterator[Path]:
    """Give a fresh folder beside `folder` to fill; when the block ends well, what is in it moves to `folder`."""
    folder = Path(os.path.realpath(folder))  # of a loop of links, too, which `resolve` does not take
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:100]}.", suffix=".part", dir=folder.parent) as part:
        yield Path(part)
        folder.mkdir(exist_ok=True)
        for path in sorted(Path(part).iterdir(), reverse=True):
            path.rename(folder / path.name)


@contextmanager
def lock_directory(directory: Path, what: str) -> Iterator[None]:
    """Keep a directory from other processes that ask for it in this way, until the block or this process ends.

    Raises
    ------
    InputError
        If another process has it. On a file system without locks no process is refused.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{what} {directory}: another run uses this directory") from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


class Place:
    """A directory that is found again after it was moved.

    Parameters
    ----------
    path : Path
        Its path now.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._descriptor = path, os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self._descriptor)

    def find(self) -> Path:
        """Return the path of the directory: the first one while that is it, or where nothing else is known."""
        own = os.fstat(self._descriptor)
        with suppress(OSError):
            if os.path.samestat(own, os.stat(self.path)):
                return self.path
        with suppress(OSError):  # of a system without this folder
            there = Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))
            if os.path.samestat(own, os.stat(there)):
                return there
        return self.path


def reason(problem: OSError) -> str:
    """Return the message of the file system, without the additions of HDF5."""
    if isinstance(problem, files.Unfit):
        return problem.strerror or str(problem)
    text = os.strerror(problem.errno) if problem.errno else str(problem)
    match = re.search(r"error message = '([^']*)'", text)
    return match[1] if match else text
