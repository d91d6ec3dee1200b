"""Read files of users: only regular ones, of bounded size, and HDF5 without links to other places."""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import re
import stat
import tokenize
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from .errors import InputError, describe, quote, shorten
from .later import h5py
from .values import Values

TEXT_LIMIT = 2**20  # longer texts, in bytes, are rejected
RUN_FORMAT = "pareprop-run-1"  # attribute `format` of `results.h5`
NOT_KEPT = "synapses_not_kept"  # attribute of `results.h5` without synapses: their number
OBJECTS = 100_000  # HDF5 files with more groups and datasets are rejected
# errors other than OSError that h5py raises for a damaged file
MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError, SystemError)


class Unfit(OSError):
    """A file that exists but must not be read; `strerror` gives the reason."""


class LinkedFile(Unfit):
    """A file of HDF5 that has links, or values in other files."""


class CorruptFile(Unfit):
    """A file that was damaged or changed after it was written."""


@contextmanager
def report_read_errors(path: str | Path) -> Iterator[None]:
    """Context that raises errors of h5py at a damaged file as `CorruptFile`; an OSError passes unchanged."""
    try:
        yield
    except MALFORMED as problem:
        raise CorruptFile(errno.EINVAL, f"is damaged: {describe(problem)}", str(path)) from None


@contextmanager
def input_errors(where: object, *kinds: type[Exception]) -> Iterator[None]:
    """Context that raises an OSError, and errors of `kinds`, as `InputError`: `where` and the reason."""
    known: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except known as problem:
        raise InputError(f"{where}: {getattr(problem, 'strerror', None) or problem}") from None


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file for reading; raise `Unfit` for a FIFO or a device, whose reading may never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        raise Unfit(errno.EINVAL, "is a directory" if is_folder else "is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def require_own_file(path: Path) -> Path:
    """Return the path of a file in a directory that another user may have made.

    Raises `Unfit` for a link to outside of the directory, where files may be private.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(path.parent)):
        raise Unfit(errno.EINVAL, "is a link to another place", str(path))
    return path


def read(path: str | Path, limit: int = TEXT_LIMIT) -> bytes:
    """Return the content of a file of at most `limit` bytes."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
        if len(content) > limit:
            size = max(os.fstat(file.fileno()).st_size, len(content))
            raise Unfit(errno.EFBIG, f"has {size} bytes, at most {limit} are read", str(path))
    return content


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of the values of a `.npy` file, from its header.

    Raises `ValueError` if the header is malformed, or the values are objects.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of old names of types
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
    except (SyntaxError, TypeError, EOFError, OverflowError, RecursionError, MemoryError, tokenize.TokenError):
        raise ValueError("its head is damaged") from None
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    return shape, dtype


def read_npy(path: str | Path, kinds: str = "fiub") -> np.ndarray:
    """Read a `.npy` file of numbers; `kinds` are the kinds of the accepted types, "V" of structured arrays.

    Raises `OSError` if the file cannot be read, `ValueError` if it does not contain numbers, or is shorter than its
    header says.
    """
    with open_regular(path) as file:
        shape, dtype = npy_header(file)
        if dtype.kind not in kinds:
            raise ValueError(f"it holds {dtype}")
        there, size = os.fstat(file.fileno()).st_size - file.tell(), math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size > there:
            raise ValueError(f"values of shape {shape} take {size} bytes, it has {there}")
        file.seek(0)
        with warnings.catch_warnings(action="ignore"):
            return np.load(file, allow_pickle=False)


def parse_toml(text: str) -> Values:
    """Parse TOML; raise `ValueError` for text that is not TOML, deep nesting, or numbers of thousands of digits."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_json(text: str) -> object:
    """Parse JSON in which no key occurs twice, as in TOML; raise `ValueError` for other text, or deep nesting."""
    try:
        return json.loads(text, object_pairs_hook=_require_unique_keys)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _require_unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def open_hdf5(
    path: str | Path, sources: Callable[[str], bool] = lambda name: False, killed: bool = False, aliases: bool = False
) -> h5py.File:
    """Open an HDF5 file; raise `LinkedFile` if it has links, or values in other files than `sources` allows.

    Links and values in other files would let a foreign file read, or write, all files of the user. With `killed`, the
    file of a killed writer can be opened, too, which HDF5 requires to be in the mode of a single writer and many
    readers. With `aliases`, links within the file are allowed, as some formats have them.
    """
    open_regular(path).close()
    file = None
    try:
        with report_read_errors(path):
            try:
                file = h5py.File(path)
            except OSError:
                if not killed:
                    raise
                file = _open_of_killed_writer(path)
            _require_own(file, sources, aliases)
    except BaseException:
        if file is not None:
            file.close()
        raise
    return file


def _open_of_killed_writer(path: str | Path) -> h5py.File:
    """Open a file in the mode of a single writer and many readers, without repeated reads of damaged parts.

    HDF5 takes a wrong checksum in this mode for an unfinished write, and reads again a hundred times, after pauses that
    double: forever. h5py does not have the setting, hence the call of its HDF5 library.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    set_attempts = ctypes.CDLL(h5py.h5p.__file__).H5Pset_metadata_read_attempts
    set_attempts.argtypes, set_attempts.restype = (ctypes.c_int64, ctypes.c_uint), ctypes.c_int
    if set_attempts(access.id, 1) < 0:
        raise Unfit(errno.EINVAL, "HDF5 does not read it once alone", str(path))
    mode = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
    return h5py.File(h5py.h5f.open(os.fsencode(path), mode, fapl=access))


@contextmanager
def open_results(path: Path) -> Iterator[h5py.File]:
    """Open the results of a run.

    Raises `InputError` if the file is missing, unreadable (also later, while it is being read) or not the results of a
    run.
    """
    try:
        with open_hdf5(require_own_file(path)) as file:
            if not isinstance(given := file.attrs.get("format"), str) or given != RUN_FORMAT:
                reason = "none" if given is None else quote(given)
                raise InputError(f"{path} is not the result of a run: format is {reason}, must be {RUN_FORMAT}")
            yield file
    except OSError as problem:
        raise InputError(f"cannot read {path}: {problem.strerror or problem}") from problem
    except MALFORMED as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise InputError(f"{path} is not what a run writes: {shorten(reason, 300)}") from problem


def require_weights(file: h5py.File) -> None:
    """Raise `InputError` if the results of a run were written without its synapses."""
    if NOT_KEPT in file.attrs:
        raise InputError(f"{file.filename} has no weights: the run kept none, as of record.weights = false")


def _require_own(file: h5py.File, sources: Callable[[str], bool], aliases: bool) -> None:
    names: list[str] = []

    def visit_link(name: str, link: object) -> str | None:  # a text ends the visit; h5py does not pass on exceptions
        if aliases and isinstance(link, h5py.SoftLink):
            return None  # a link within the file: its target is checked under its own name
        names.append(name)
        if len(names) > OBJECTS:
            return f"has more than {OBJECTS} groups and datasets"
        return None if isinstance(link, h5py.HardLink) else f"{quote(name)} is a link to another place"

    problem = file.visititems_links(visit_link)
    for name in names if problem is None else ():
        if isinstance(node := file[name], h5py.Dataset):
            _ = node.dtype  # raises for types that NumPy lacks, before other code reads the type
            others = {source.file_name for source in node.virtual_sources()} if node.is_virtual else ()
            if node.external or not all(map(sources, others)):
                problem = f"{quote(name)} keeps its values in another file"
    if problem is not None:
        raise LinkedFile(errno.EINVAL, problem, file.filename)


def is_within(directory: Path, name: object, pattern: str) -> bool:
    """Return whether a name matches `pattern` and is a regular file in the folder, neither a link nor below one."""
    if not isinstance(name, str) or not re.fullmatch(pattern, name):
        return False
    path = directory / name
    places = [path, *(path.parents[k] for k in range(len(Path(name).parts) - 1))]
    return path.is_file() and not any(place.is_symlink() for place in places)
