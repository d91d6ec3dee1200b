"""`record.h5`: combine the files of a recording by virtual datasets, open it, and check the files."""

from __future__ import annotations

import errno
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from ..machine import require_bytes
from ..parallel.partition import find_block
from ..values import Values
from .disk import describe_os_error, remove_leftover, replace_path, write_hdf5
from .growing_file import compute_checksum

BLOCK = 2**22  # bytes read at a time
PART = r"part-\d{3,9}-rank-\d{5,9}\.h5"  # names of the files of a recording


def open_combined(path: Path) -> h5py.File:
    """Open a `record.h5`.

    `OSError` if values lie in files of another recording, or a dataset has another type than its sources: HDF5 would
    crash when it turns text into numbers.
    """
    folder = path.with_suffix("").name
    pattern = f"{re.escape(folder)}/{PART}"
    joined = files.open_hdf5(files.require_own_file(path), lambda name: files.is_within(path.parent, name, pattern))
    try:
        _require_recorded(joined, path.parent)
    except BaseException:
        joined.close()
        raise
    return joined


def _require_recorded(joined: h5py.File, folder: Path) -> None:
    """Raise an OSError unless the sources of all joined datasets have their type of numbers and number of axes."""
    datasets: list[h5py.Dataset] = []
    joined.visititems(lambda _, node: datasets.append(node) if isinstance(node, h5py.Dataset) else None)
    with ExitStack() as stack:
        parts: dict[str, h5py.File] = {}
        for dataset in datasets:
            for source in dataset.virtual_sources() if dataset.is_virtual else ():
                name = source.file_name
                if name not in parts:
                    parts[name] = stack.enter_context(files.open_hdf5(folder / name))
                there, axes = parts[name].get(source.dset_name), source.src_space.get_simple_extent_ndims()
                kind = there.dtype.kind if isinstance(there, h5py.Dataset) and there.ndim == axes else ""
                if kind not in ("f", "i", "u") or kind != dataset.dtype.kind:
                    problem = f"{quote(source.dset_name)} is not what was recorded"
                    raise files.Unfit(errno.EINVAL, problem, str(folder / name))


def check_parts(directory: Path, parts: object) -> list[Values]:
    """Return the parts of a recording that a checkpoint lists, for `join`, checked without opening a file.

    `ValueError` if they are malformed, or name a file that is not one of this recording.
    """
    if not isinstance(parts, list):
        raise ValueError("parts of a recording must be a list")
    for part in parts:
        names, rows, blocks, crcs = part["files"], part["rows"], part["blocks"], part["crcs"]
        counts = [n for table in (*rows, *crcs) for n in table.values()] + [n for some in blocks.values() for n in some]
        if len(names) != len(rows) or any(type(n) is not int or not 0 <= n < 2**48 for n in counts):
            raise ValueError("rows of a recording must be whole numbers of at least 0, for each of its files")
        if len(crcs) != len(names):
            raise ValueError("checksums of a recording must be given for each of its files")
        for name in names:
            if not files.is_within(directory, name, PART):
                raise ValueError(f"{quote(name)} is not a file of the recording in {directory}")
    return parts


def require_readable(directory: Path, parts: object, rank: int = 0, size: int = 1) -> None:
    """Read this rank's part (`rank` of `size`) of the files of a recording that a checkpoint refers to.

    `ValueError` as for `check_parts`, or if a file is damaged: it cannot be read, or has too few rows or other values.
    """
    entries = [entry for part in check_parts(directory, parts) for entry in _list_entries(part)]
    for name, rows, crcs in entries[rank::size]:
        path = directory / name
        try:
            with files.open_hdf5(path, killed=True) as file, files.report_read_errors(path):
                _require_checksums(file, rows, crcs)
        except (OSError, InputError) as problem:
            text = describe_os_error(problem) if isinstance(problem, OSError) else problem
            raise ValueError(f"recording {path}: {text}") from None


def _list_entries(part: Values) -> Iterator[tuple[str, dict[str, int], dict[str, int]]]:
    """Yield each file of a part with the rows of its columns and the checksums of its datasets."""
    return zip(part["files"], part["rows"], part["crcs"], strict=True)


def _require_checksums(file: h5py.File, rows: dict[str, int], crcs: dict[str, int]) -> None:
    """Read all datasets of a file; raise a ValueError unless they have these rows and checksums."""
    names: list[str] = []
    file.visit(names.append)
    for name in dict.fromkeys([*names, *rows, *crcs]):
        node = file.get(name)
        if isinstance(node, h5py.Group) and name not in rows and name not in crcs:
            continue
        if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "fiu" or node.ndim not in (1, 2):
            raise ValueError(f"{quote(name)} is not what was recorded")
        there, n = len(node), rows.get(name, len(node))
        if there < n:
            raise ValueError(f"{quote(name)} has {there} rows, the checkpoint knows {n}")
        if crcs.get(name, 0) != _compute_checksum(node, n):  # 0: of no rows
            raise ValueError(f"{quote(name)}: the checksum of its values differs")
        _copy_attributes(node)
    _copy_attributes(file)


def _copy_attributes(node: h5py.File | h5py.Dataset) -> Values:
    """Return the attributes.

    `ValueError` if one is neither number nor text, or a text that cannot be written again.
    """
    attributes = dict(node.attrs)
    for name, value in attributes.items():
        for item in np.ravel(np.asarray(value)).tolist():
            if not isinstance(item, int | float | str):
                raise ValueError(f"attribute {quote(name)} is neither number nor text")
            if isinstance(item, str):
                item.encode()  # a UnicodeEncodeError is a ValueError
    return attributes


def _compute_checksum(data: h5py.Dataset, n: int) -> int:
    """Return the CRC-32 of the first `n` rows."""
    size = data.dtype.itemsize * int(np.prod(data.shape[1:], dtype=np.int64))
    step, crc = max(1, BLOCK // max(1, size)), 0
    require_bytes(min(n, step) * size, data.name)
    for start in range(0, n, step):
        crc = compute_checksum(data[start : min(start + step, n)], crc)
    return crc


def repair_file(path: Path) -> None:
    """Replace a file that a killed writer left, and that HDF5 opens in SWMR mode only, by a copy."""
    try:
        with h5py.File(path):
            return
    except OSError:
        pass
    part = remove_leftover(path.with_suffix(".part"))
    with files.open_hdf5(path, killed=True) as source, write_hdf5(part, "x+", "latest") as copy:
        copy.attrs.update(_copy_attributes(source))
        for name in source:
            source.copy(name, copy)
    replace_path(part, path)


def combine_files(directory: Path, parts: list[Values]) -> Path:
    """Combine the files of a recording by virtual datasets in `record.h5`, next to their directory; return its path.

    Parts of the run follow one another. Within one, spikes are sorted by iteration, step and id; neurons, readouts and
    synapses lie side by side in order of their ids. For each part of the run `parts` has "files"; "rows", for each file
    the number of rows by column; and "blocks", by group of spikes the numbers that each flush wrote, equally divided
    among the files. Raises an `OSError` if the disk is full, or a file was damaged after it was written.
    """
    target = directory.with_suffix(".h5")
    sources: dict[str, list[_Source]] = defaultdict(list)
    part_of_target = remove_leftover(target.with_suffix(".part"))
    with write_hdf5(part_of_target, "x+", "latest") as joined, files.report_read_errors(directory):
        for number, part in enumerate(parts):
            for name, rows, _ in _list_entries(part):
                repair_file(directory / name)
                with files.open_hdf5(directory / name) as file:
                    joined.attrs.update(_copy_attributes(file))
                    _add_sources(file, number, f"{directory.name}/{name}", rows, sources)
        for name, datasets in sources.items():
            blocks = [part["blocks"].get(name.rpartition("/")[0]) for part in parts]
            _create_virtual(joined, name, datasets, blocks)
    replace_path(part_of_target, target)
    return target


@dataclass
class _Source:
    """A dataset of one file; its first `rows` rows belong to the run."""

    part: int
    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: int
    attributes: Values
    grows: bool

    @property
    def width(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1

    def make_source(self) -> h5py.VirtualSource:
        return h5py.VirtualSource(self.path, self.name, self.shape)


def _add_sources(
    file: h5py.File, part: int, path: str, rows: dict[str, int], sources: dict[str, list[_Source]]
) -> None:
    """Add the datasets of a file to `sources`, by name."""

    def add_source(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            grows = name in rows
            n = rows[name] if grows else len(node)
            sources[name].append(_Source(part, path, name, node.shape, node.dtype, n, _copy_attributes(node), grows))

    file.visititems(add_source)


def _create_virtual(joined: h5py.File, name: str, sources: list[_Source], blocks: list[list[int] | None]) -> None:
    if not sources[0].grows:  # constants, such as ids, are the same in every part
        sources = [source for source in sources if source.part == sources[0].part]
    if len(sources[0].shape) == 1:
        layout = h5py.VirtualLayout((sum(source.rows for source in sources),), sources[0].dtype)
        row = 0
        for source, first, last in _order_sources(sources, blocks):
            layout[row : row + last - first] = source.make_source()[first:last]
            row += last - first
    else:
        layout = _lay_side_by_side(sources)
    joined.create_virtual_dataset(name, layout)
    joined[name].attrs.update(sources[0].attributes)


def _order_sources(sources: list[_Source], blocks: list[list[int] | None]) -> Iterator[tuple[_Source, int, int]]:
    """Yield (source, first row, last + 1) in the order of the joined dataset: by part, block, file."""
    for number in dict.fromkeys(source.part for source in sources):
        files = [source for source in sources if source.part == number]
        counts = blocks[number]
        if counts is None or len(files) == 1:
            yield from ((source, 0, source.rows) for source in files if source.rows)
            continue
        done = [0] * len(files)
        for count in counts:
            for k, source in enumerate(files):
                first, last = find_block(count, len(files), k)
                if first < last:
                    yield source, done[k], done[k] + last - first
                done[k] += last - first


def _lay_side_by_side(sources: list[_Source]) -> h5py.VirtualLayout:
    heights = {source.part: source.rows for source in sources}
    width = sum(source.width for source in sources if source.part == sources[0].part)
    layout = h5py.VirtualLayout((sum(heights.values()), width), sources[0].dtype)
    row = column = 0
    for k, source in enumerate(sources):
        if k and source.part != sources[k - 1].part:
            row, column = row + sources[k - 1].rows, 0
        if source.rows and source.width:
            layout[row : row + source.rows, column : column + source.width] = source.make_source()[: source.rows]
        column += source.width
    return layout
