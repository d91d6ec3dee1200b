"""The file system: its errors on all ranks at once, free space, writing a file as a whole, locks, moved folders."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import re
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import files
from ..errors import InputError, StateError
from ..later import h5py
from ..parallel.collectives import raise_together, wait_for_all
from ..parallel.mpi import Comm
from ..values import AnyValue

NO_PLACE = {  # errors of a path that cannot be written to, for which its user can choose another one
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
}
SUPERBLOCK, FLAGS = 48, 11  # bytes of HDF5's superblock of version 3, with a checksum at its end; place of its flags
IS_OPEN, ONE_WRITER = 1, 4  # flags: open for writing; readers may read meanwhile
MARGIN = 2**19  # bytes that must stay free in addition to the data, for metadata of the file


@contextmanager
def on_disk(comm: Comm, what: str, path: Path) -> Iterator[None]:
    """Collective context manager: raise an OSError of one rank as a StateError on all ranks.

    The block must not hold collective calls.
    """
    problem = None
    try:
        yield
    except OSError as error:
        problem = StateError(f"{what} {path}: {describe_os_error(error)}")
    if comm is not None:
        wait_for_all(comm)
    raise_together(comm, problem)


@contextmanager
def output_errors(path: Path, what: str = "") -> Iterator[None]:
    """Context that raises an OSError as `InputError` if the path is at fault, else (a full disk) as `StateError`."""
    try:
        yield
    except OSError as problem:
        kind = InputError if problem.errno in NO_PLACE else StateError
        raise kind(f"{what}{path}: {describe_os_error(problem)}") from None


def require_space(path: Path, n_bytes: int, descriptor: int | None = None) -> None:
    """Raise the OSError of a full disk unless the file system of `path` has `n_bytes` free bytes.

    Call this before a large write, which then need not be tried. The descriptor of an open file is used if given, as
    the file may have been moved.
    """
    system = os.statvfs(path.parent if descriptor is None else descriptor)
    free, needed = system.f_bavail * system.f_frsize, n_bytes + MARGIN
    if free < needed and system.f_blocks:  # some network file systems do not report it
        text = f"{os.strerror(errno.ENOSPC)}: {needed / 2**30:.4g} GiB are needed, {free / 2**30:.4g} GiB are free"
        raise files.Unfit(errno.ENOSPC, text, str(path))


class OutputFile(io.FileIO):
    """A file for HDF5: after its first error nothing more is written, and the error is hidden from HDF5.

    HDF5 keeps a dataset whose flush fails, and crashes when the process ends. The disk then holds the same
    bytes as after a kill at the first error.
    """

    _problem: OSError | None = None

    def write(self, data: AnyValue) -> int:
        """Write all bytes."""
        rest = memoryview(data).cast("B")
        if len(rest) > FLAGS and rest[FLAGS] == ONE_WRITER and self.tell() == 0:
            rest = memoryview(_mark_open(rest))
        try:
            while self._problem is None and rest:
                rest = rest[super().write(rest) :]
        except OSError as problem:
            self._problem = problem
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        try:
            if self._problem is None:
                super().truncate(size)
        except OSError as problem:
            self._problem = problem
        return size or 0

    @contextmanager
    def raise_write_errors(self) -> Iterator[None]:
        """Context that ends with the first error of a write, also if HDF5 then reads bytes that were not written."""
        try:
            yield
        except (OSError, RuntimeError):
            if self._problem is None:
                raise
        if self._problem is not None:
            raise self._problem


def _mark_open(start: memoryview) -> bytes:
    """Return the start of a file for a single writer and many readers, marked as open for writing.

    HDF5 leaves this mark out where it writes through Python; without it readers take the file for a damaged one. The
    checksum of the superblock is a function of HDF5 that h5py does not have.
    """
    checksum = ctypes.CDLL(h5py.h5f.__file__).H5_checksum_metadata
    checksum.argtypes, checksum.restype = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32), ctypes.c_uint32
    head = bytearray(start[: SUPERBLOCK - 4])
    head[FLAGS] |= IS_OPEN
    return bytes(head) + checksum(bytes(head), len(head), 0).to_bytes(4, "little") + bytes(start[SUPERBLOCK:])


@contextmanager
def write_hdf5(path: Path, mode: str = "w+", libver: str | None = None) -> Iterator[h5py.File]:
    """Context with an HDF5 file to write, a new one unless `mode` is "r+"; it raises the first error of a write."""
    own_mode = "r+" if mode == "r+" else "w"  # where `raw` opens the file, HDF5 has no "x"
    with OutputFile(path, mode) as raw, raw.raise_write_errors(), h5py.File(raw, own_mode, libver=libver) as file:
        yield file


def remove_leftover(path: Path) -> Path:
    """Remove a file or link that a killed run left under a name that is to be written; return the name."""
    path.unlink(missing_ok=True)
    return path


def sync_path(path: Path) -> None:
    """Synchronise a file, or the entries of a directory, with the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_path(part: Path, path: Path) -> None:
    """Give a complete file its final name, replacing another; contents reach the disk before the name does."""
    sync_path(part)
    os.replace(part, path)
    sync_path(path.parent)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Context with the name of a new file next to `path`; if the block ends without an error, it replaces `path`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(descriptor, 0o666 & ~umask)  # as `open` would
        os.close(descriptor)
        yield Path(name)
        replace_path(Path(name), path)
    except BaseException:
        os.unlink(name)
        raise


@contextmanager
def fill_folder(folder: Path) -> Iterator[Path]:
    """Context with a new folder next to `folder`; if the block ends without an error, its files move to `folder`."""
    folder = Path(os.path.realpath(folder))  # `resolve` fails for a loop of links
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:100]}.", suffix=".part", dir=folder.parent) as part:
        yield Path(part)
        folder.mkdir(exist_ok=True)
        for path in sorted(Path(part).iterdir(), reverse=True):
            path.rename(folder / path.name)


@contextmanager
def lock_directory(directory: Path, what: str) -> Iterator[None]:
    """Context that locks a directory against other processes that call this, until it or this process ends.

    `InputError` if another process has the lock. On a file system without locks no process is refused.
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
    """A directory that is found again after it was moved; `path` is its path at present."""

    def __init__(self, path: Path) -> None:
        self.path, self._descriptor = path, os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, self._descriptor)

    def find_path(self) -> Path:
        """Return the path of the directory: the given one if it is still there or no other is known."""
        own = os.fstat(self._descriptor)
        with suppress(OSError):
            if os.path.samestat(own, os.stat(self.path)):
                return self.path
        with suppress(OSError):  # a system without /proc
            there = Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))
            if os.path.samestat(own, os.stat(there)):
                return there
        return self.path


def describe_os_error(problem: OSError) -> str:
    """Return the message of the file system, without HDF5's additions."""
    if isinstance(problem, files.Unfit):
        return problem.strerror or str(problem)
    text = os.strerror(problem.errno) if problem.errno else str(problem)
    match = re.search(r"error message = '([^']*)'", text)
    return match[1] if match else text
