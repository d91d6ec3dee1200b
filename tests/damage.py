"""Change files as accidents and people do: bits, and parts of HDF5 files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

Edit = Callable[[h5py.File], object]


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that is below a folder, by name."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def flip(path: Path, place: int, bit: int = 4, source: bytes | None = None) -> None:
    """Turn a bit around, of what the file holds, or held."""
    content = bytearray(path.read_bytes() if source is None else source)
    content[place] ^= 1 << bit
    path.write_bytes(content)


def edited(source: Path | str, target: Path, change: Edit) -> Path:
    """A copy of a HDF5 file with a change."""
    shutil.copy(source, target)
    target.chmod(0o644)
    with h5py.File(target, "r+") as file:
        change(file)
    return target


def replace(key: str, value: Any) -> Edit:
    """Another dataset in its place, or what a function makes of its values."""

    def edit(file: h5py.File) -> None:
        new = value(file[key][()]) if callable(value) else value
        del file[key]
        file[key] = new

    return edit


def put(key: str, place: Any, value: Any) -> Edit:
    """A value of a dataset."""
    return lambda file: file[key].__setitem__(place, value)


def add_to(key: str, place: Any, amount: float) -> Edit:
    """As `put`, of the value that is there and more."""
    return lambda file: put(key, place, file[key][place] + amount)(file)


def attribute(node: str, key: str, value: Any) -> Edit:
    """An attribute."""
    return lambda file: file[node].attrs.__setitem__(key, value)


def delete(key: str) -> Edit:
    """Without a group, a dataset, or, by "@name", an attribute of the file."""
    return lambda file: (file.attrs if key[0] == "@" else file).__delitem__(key.removeprefix("@"))


def group_for(key: str) -> Edit:
    """An empty group in the place of something."""
    return lambda file: (file.__delitem__(key), file.create_group(key))
