"""Open HDF5 files with care: a problem becomes one line with the name of the file; data in other files are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError
from ..later import h5py
from ..machine import require_bytes


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open a file to read; problems of the file, and errors in the block, become `InputError` with the file's name."""
    try:
        files.open_regular(path).close()
        with h5py.File(path, "r") as file:
            yield file
    except files.Unfit as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except InputError as problem:
        text = str(problem)
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as problem:  # h5py's
        lines = str(problem).strip("'\"").splitlines()
        raise InputError(f"{path}: {lines[0] if lines else type(problem).__name__}") from None


def get_group(parent: h5py.Group, key: str) -> h5py.Group:
    """Return a group of the same file."""
    if isinstance(parent.get(key, getlink=True), h5py.ExternalLink):
        raise InputError(f"group '{join_path(parent, key)}' lies in another file")
    if key not in parent or not isinstance(parent[key], h5py.Group):
        raise InputError(f"group '{join_path(parent, key)}' is missing")
    return parent[key]


def get_dataset(parent: h5py.Group, key: str, kinds: str = "iu", columns: int = 0) -> h5py.Dataset:
    """Return a dataset of numbers in the same file.

    `kinds` are the permitted values of `np.dtype.kind`; `columns` is the second dimension, 0 for one dimension.
    """
    here = join_path(parent, key)
    if isinstance(parent.get(key, getlink=True), h5py.ExternalLink):
        raise InputError(f"dataset '{here}' lies in another file")
    if key not in parent or not isinstance(parent[key], h5py.Dataset):
        raise InputError(f"dataset '{here}' is missing")
    data = parent[key]
    if data.external or data.is_virtual:
        raise InputError(f"dataset '{here}' lies in another file")
    shape = (len(data), columns) if columns and data.ndim else (data.size,)
    if data.shape != shape or data.dtype.kind not in kinds:
        expected = f"(n, {columns})" if columns else "(n,)"
        raise InputError(
            f"dataset '{here}' has shape {data.shape} of {data.dtype}, must be numbers of shape {expected}"
        )
    return data


def find_dataset(parent: h5py.Group, key: str, kinds: str = "iu") -> h5py.Dataset | None:
    """Return a dataset as `get_dataset` does, None if the name is missing."""
    return get_dataset(parent, key, kinds) if parent.get(key, getlink=True) is not None else None


def read_whole(column: h5py.Dataset) -> np.ndarray:
    """Read a whole dataset, if it fits into memory."""
    require_bytes(column.size * column.dtype.itemsize, f"dataset '{column.name}'")
    return column[()]


def to_int64(values: np.ndarray) -> np.ndarray:
    """Return `values` as int64; too large ones become negative, so that checks of bounds find them."""
    return np.asarray(values).astype(np.int64)


def to_text(value: object) -> str:
    """Return a string or an attribute, bytes or text, as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def join_path(parent: h5py.Group, key: str) -> str:
    """Return the path of a member of a group."""
    return f"{parent.name.rstrip('/')}/{key}"
