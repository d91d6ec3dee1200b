"""Read checkpoints: the latest undamaged one, on any number of ranks; refuse checkpoints of other runs.

Checksums are computed while arrays are loaded: each byte is read once, by one rank of a group. Several ranks may each
read a part of the bytes that one rank wrote: then their checksums are combined.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .. import __version__, files
from ..errors import VALUE_LIMIT, InputError, quote, shorten
from ..network.identity import list_fact_differences
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..parallel.mpi import Comm
from ..simulation.loop import Simulation
from ..values import AnyValue, Given, Values
from . import checkpoint_pieces, checkpoint_table
from .checkpoint_table import Table
from .checkpoint_write import (
    FORMAT,
    MANIFEST,
    MANIFEST_LIMIT,
    hash_manifest,
    iteration_of,
    list_checkpoints,
    rank_file_name,
    take_back,
)

T = TypeVar("T")

NETWORK = "network"  # key of an identity: facts of the network of a script, see `identity.list_facts`
FINGERPRINT = "fingerprint of "  # keys of an identity that stand for the content of a file begin so
FEW = 6  # a message names at most this many differences
MOST_HZ = 1e6  # measured rates of this size or more are ignored as damage
MISFITS = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError, RecursionError)  # malformed data
# errors of opening and reading a damaged file; others come from the system, and are raised
DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG)
OPEN = 8  # files of a checkpoint that a rank keeps open
Check = Callable[[Values, int, int], None]
Prepare = Callable[[Path, list[str]], None]
PART = np.dtype([("number", "<i8"), ("column", "<i8"), ("crc", "<u4")])  # checksum of a rank's part of an array
Count = Annotated[int, Field(ge=0, lt=2**48)]


class CorruptCheckpoint(Exception):
    """A checkpoint that was changed after it was written."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Array(_Strict):
    """Entry of a manifest for one array: name, kind, type, and shape of an item."""

    name: str = Field(max_length=1000)
    kind: Literal["shared", "neurons", "synapses"]
    dtype: Literal["<f8", "<f4", "<i8", "<i4", "<u8", "<u4", "|u1", "|b1"]
    item: list[Count] = Field(max_length=8)


class _Manifest(_Strict):
    """A manifest."""

    format: str
    version: str = Field(max_length=100)
    identity: Values
    iteration: Count
    ranks: int = Field(ge=1, le=2**24)
    leaders: list[Count]
    numbers: Values
    arrays: list[_Array] = Field(min_length=1)
    table: str = Field(pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _is_whole(self) -> _Manifest:
        if len({array.name for array in self.arrays}) < len(self.arrays):
            raise ValueError("two arrays have the same name")
        ends = [-1, *self.leaders, self.ranks]
        if ends[1] or any(a >= b for a, b in pairwise(ends)):
            raise ValueError("leaders are not the first ranks of nodes")
        loop = self.numbers["loop"]
        if loop["iteration"] != self.iteration or type(loop["iteration"]) is not int:
            raise ValueError(f"iteration = {self.iteration}, but {quote(loop['iteration'])} in numbers")
        if not re.fullmatch("[0-9a-f]{64}", loop["digest"]):
            raise ValueError("the digest is not of 64 hexadecimal digits")
        return self


def load(
    simulation: Simulation,
    folder: Path,
    identity: Values,
    check: Check | None = None,
    prepare: Prepare | None = None,
    *,
    network_only: bool = False,
) -> tuple[Path, list[str]]:
    """Collective: load the latest undamaged checkpoint; return its path, and one complaint for each later one.

    `simulation` is newly built, `identity` the configuration of the run, which the checkpoint must have in common.
    `check` is called with the numbers of a checkpoint, rank and number of ranks, and raises a ValueError if other files
    of the checkpoint are damaged. `prepare` is called with path and complaints so far before each checkpoint is loaded,
    which may be found damaged then; it may raise.

    With `network_only` iteration, losses and observers stay as they are. The simulation may have been trained, so all
    is read before anything changes in it.

    Raises an `InputError` if there is no checkpoint, if it belongs to another configuration, version or format, in
    which case the message names the differences, or if its arrays do not fit this network.
    """
    comm = simulation.world
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    complaints: list[str] = []
    with collectives.share_errors(comm):
        if rank == 0:
            take_back(folder)
        paths = list_checkpoints(folder) if rank == 0 else []
    for path in paths if comm is None else comm.bcast(paths):
        with collectives.share_errors(comm):
            answer = _catch_damage(_read_manifest, path) if rank == 0 else ({}, "")
        manifest, wrong = answer if comm is None else comm.bcast(answer)
        if not wrong:
            _refuse_others(path, manifest, identity)
            _, wrong = _catch_damage_on_all_ranks(comm, _verify_files, path, manifest, rank, size, network_only, check)
        if not wrong:
            if prepare is not None:
                prepare(path, complaints)
            wrong = _restore_state(simulation, path, manifest, network_only)
        if not wrong:
            return path, complaints
        complaints.append(f"{path} is damaged: {wrong}")
    none = f"no checkpoint to resume from in {folder}"
    if not complaints:
        none += (
            ": the run ended before it wrote one; [checkpoint] every = N (--set checkpoint.every=N) writes one every N "
            "iterations of a run that begins again"
        )
    raise InputError("; ".join([*complaints, none]))


def measured_rates(folder: Path, exchange: Exchange) -> dict[str, float]:
    """Collective: return the firing rates in Hz that the latest checkpoint holds, by population; {} without them.

    Damage is ignored here: rates only decide how neurons are divided among ranks.
    """
    latest: dict[str, float] = {}
    if exchange.rank == 0:
        with suppress(OSError):  # `load` reports it
            for path in list_checkpoints(folder)[:1]:
                rates, _ = _catch_damage(lambda path: _read(path)["numbers"]["loop"].get("rates_hz"), path)
                values = rates.values() if isinstance(rates, dict) else [None]
                if all(type(rate) is float and 0 <= rate < MOST_HZ for rate in values):
                    latest = rates
    return latest if exchange.comm is None else exchange.comm.bcast(latest)


def _catch_damage(function: Callable[..., Values | None], *arguments: object) -> tuple[AnyValue, str]:
    """Return the result of a function and "", or None and why a checkpoint cannot be used; raise other errors."""
    try:
        return function(*arguments), ""
    except CorruptCheckpoint as problem:
        return None, str(problem)
    except OSError as problem:
        if problem.errno not in DAMAGE:
            raise
        return None, f"{Path(problem.filename or '?').name}: {problem.strerror or problem}"
    except MISFITS as problem:
        return None, f"{MANIFEST} is malformed ({type(problem).__name__}: {shorten(str(problem), 300)})"


def _catch_damage_on_all_ranks(
    comm: Comm, function: Callable[..., AnyValue], *arguments: object
) -> tuple[AnyValue, str]:
    """Collective: return this rank's result of a function and why any rank cannot use the checkpoint, "" if all can."""
    with collectives.share_errors(comm):
        result, wrong = _catch_damage(function, *arguments)
    (any_wrong,) = collectives.any_of(comm, [bool(wrong)])
    return result, next(filter(None, collectives.gather_values(comm, wrong))) if any_wrong else ""


def _read_manifest(path: Path) -> Values:
    """Return a manifest, after checks of its fields and its table; values are compared with the simulation later."""
    manifest = _read(path)
    if (form := manifest["format"]) != FORMAT:
        return {"format": shorten(str(form), VALUE_LIMIT)}
    try:
        fields = _Manifest(**manifest)
        with _open(path / checkpoint_table.NAME) as file:
            _check_table(checkpoint_table.read(file, fields.ranks, len(fields.arrays), fields.table), fields)
    except ValidationError as problem:
        error = problem.errors()[0]
        place = ".".join(map(str, error["loc"]))
        text = error["msg"].removeprefix("Value error, ")
        raise CorruptCheckpoint(f"{MANIFEST} is malformed: {shorten(place, VALUE_LIMIT)}: {shorten(text)}") from None
    if fields.iteration != iteration_of(path):
        raise CorruptCheckpoint(f"{MANIFEST} is of iteration {fields.iteration}")
    return manifest


def _read(path: Path) -> Values:
    """Read the text of a manifest; raise `CorruptCheckpoint` if its checksum differs."""
    file = path / MANIFEST
    if not file.exists():
        raise CorruptCheckpoint(f"{MANIFEST} is missing")
    if file.is_symlink():
        raise CorruptCheckpoint(f"{MANIFEST} is a link")
    checksum, _, text = files.read(file, MANIFEST_LIMIT).decode(errors="replace").partition("\n")
    text = text.removesuffix("\n")
    if checksum != hash_manifest(text):
        raise CorruptCheckpoint(f"{MANIFEST}: its checksum differs")
    return json.loads(text, parse_constant=_no_number)


def _check_table(blocks: Iterable[np.ndarray], fields: _Manifest) -> None:
    """Raise `CorruptCheckpoint` unless a table, given some rows at a time, fits the arrays of a manifest."""
    names = [array.name for array in fields.arrays]
    try:
        totals = dict(zip(names, checkpoint_table.check(blocks, names), strict=True))
    except ValueError as problem:
        raise CorruptCheckpoint(f"{checkpoint_table.NAME}: {problem}") from None
    for array in fields.arrays:
        if totals[array.name] * math.prod(array.item) * 8 >= 2**62:
            shape = f"{totals[array.name]} items of shape {array.item}"
            raise CorruptCheckpoint(f"{MANIFEST} is malformed: array {array.name} has {shape}: more than there can be")
    for name in ("loop/losses", "loop/rates"):
        if totals.get(name) != fields.iteration:
            raise CorruptCheckpoint(f"{name} has {totals.get(name)} entries after {fields.iteration} iterations")


def _open_table(path: Path, manifest: Values, stack: ExitStack) -> Table:
    """Return the table of a checkpoint; its rows are read when they are needed."""
    file = stack.enter_context(_open(path / checkpoint_table.NAME))
    return Table.of_file(file, manifest["ranks"], len(manifest["arrays"]))


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _item_bytes(array: Given) -> int:
    return np.dtype(array["dtype"]).itemsize * math.prod(array["item"])


def _open(path: Path) -> BinaryIO:
    """Open a file of a checkpoint; raise an OSError if it is a link."""
    if path.is_symlink():
        raise files.Unfit(errno.EINVAL, "is a link", str(path))
    return files.open_regular(path)


def _verify_files(path: Path, manifest: Values, rank: int, size: int, values: bool, check: Check | None) -> None:
    """Check this rank's part of the files: their size, with `values` also checksums, and with `check` recordings."""
    for first, end in list(pairwise([*manifest["leaders"], manifest["ranks"]]))[rank::size]:
        name = rank_file_name(first)
        with ExitStack() as stack:
            table, file = _open_table(path, manifest, stack), stack.enter_context(_open(path / name))
            there = os.fstat(file.fileno()).st_size
            for number in range(first, end):
                for column, array in enumerate(manifest["arrays"]):
                    count, offset, crc = table.read_entry(number, column)
                    length = count * _item_bytes(array)
                    if length and offset + length > there:
                        raise CorruptCheckpoint(f"{name} has {there} bytes, {array['name']} ends at {offset + length}")
                    if values and checkpoint_pieces.compute_checksum(file.fileno(), offset, length) != crc:
                        raise CorruptCheckpoint(f"{name}: the checksum of {array['name']} differs")
    if check is not None:
        try:
            check(manifest["numbers"], rank, size)
        except ValueError as problem:
            raise CorruptCheckpoint(str(problem)) from None


def _refuse_others(path: Path, manifest: Values, identity: Values) -> None:
    """Raise `InputError` if a checkpoint has another format, or belongs to another version or configuration."""
    if manifest["format"] != FORMAT:
        raise InputError(f"{path} has format '{manifest['format']}', this version reads '{FORMAT}'")
    kept, identity = dict(manifest["identity"]), dict(identity)
    networks = [part.pop(NETWORK, None) for part in (kept, identity)]
    for section in ("run", "task"):  # keys that may change, or whose content is compared, are not in `identity`
        if isinstance(kept.get(section), dict) and isinstance(identity.get(section), dict):
            known = identity[section]
            kept[section] = {
                key: kept[section][key] for key in kept[section] if key in known or key.startswith(FINGERPRINT)
            }
    changes = _describe_contents(kept.get("task"), identity.get("task")) + list_differences(kept, identity)
    if isinstance(networks[0], dict) and isinstance(networks[1], dict):
        changes += list_fact_differences(networks[0], networks[1])
    elif networks[0] != networks[1]:
        changes.append("its network is described otherwise")
    way = "; `pareprop run` begins one with other settings"
    if manifest["version"] != __version__:
        changes.insert(0, f"pareprop {manifest['version']}, now {__version__}")
        way = ""
    if changes:
        raise InputError(f"{path} belongs to another run: {describe_few(changes)}{way}")


def _describe_contents(kept: object, task: object) -> list[str]:
    """Return a line for each file whose fingerprint differs; `kept` takes over the other one, so as not to differ."""
    if not isinstance(kept, dict) or not isinstance(task, dict):
        return []
    names = [name for name in task if name.startswith(FINGERPRINT) and name in kept]
    pairs = {name.removeprefix(FINGERPRINT): (kept[name], task[name]) for name in names}
    for name in names:
        kept[name] = task[name]
    return [f"the content of the file of {name} is another one" for name, (old, new) in pairs.items() if old != new]


def list_differences(old: Given, new: Given, prefix: str = "") -> list[str]:
    """Return the differences of two nested mappings, as "key = old value, now new value"."""
    changes = []
    for key in dict.fromkeys([*old, *new]):
        before, after = _by_name(old.get(key)), _by_name(new.get(key))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += list_differences(before, after, f"{prefix}{key}.")
        elif before != after:
            changes.append(f"{prefix}{key} = {_format_value(before)}, now {_format_value(after)}")
    return changes


def describe_few(changes: Sequence[str]) -> str:
    """Return some differences as text: the first ones, and the number of the others."""
    more = [f"and {len(changes) - FEW} more"] if len(changes) > FEW else []
    return "; ".join([*changes[:FEW], *more])


def list_values(settings: Given, prefix: str = "") -> Iterator[tuple[str, AnyValue]]:
    """Yield each value of nested mappings with its key, such as `model.populations.rec.params.tau_m`."""
    for key, value in settings.items():
        value = _by_name(value)
        if isinstance(value, Mapping):
            yield from list_values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _by_name(value: object) -> AnyValue:
    """Return a list of tables with names, such as populations, as tables by name; other values as they are."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {str(item["name"]): item for item in value}
    return value


def _format_value(value: object) -> str:
    return shorten(json.dumps(value), 300)


def _restore_state(simulation: Simulation, path: Path, manifest: Values, network_only: bool) -> str:
    """Collective: load the state of a checkpoint into a simulation; return a line on damage, "" without any.

    `InputError` if the arrays do not fit this network.
    """
    comm, world, root = simulation.exchange.comm, simulation.world, simulation.exchange.rank == 0
    with ExitStack() as stack:
        files, wrong = _catch_damage_on_all_ranks(world, _Files, path, manifest, stack)
        if not wrong:
            shared, wrong = _catch_damage_on_all_ranks(world, files.read_shared, root)
        if wrong:
            return wrong
        for array in shared.values() if comm is not None else ():
            comm.Bcast(array)
        with _require_fit(world, path):
            simulation.load_network(manifest["numbers"], shared)
            state = simulation.state(False)
            for name, (table, array) in state.rows.items():
                array[...] = shared[name][table.number_whole_rows()[0]]
        checkpoint_pieces.require_same(comm, state)
        pieces = [piece for piece in checkpoint_pieces.list_pieces(state, 0) if piece.kind != "shared"]
        starts, totals = collectives.sum_lower_ranks(comm, np.array([piece.count for piece in pieces], np.int64))
        with collectives.share_errors(world):
            _check_fit(path, pieces, totals, files, manifest["arrays"])
        firsts = starts.tolist()

        def fill_arrays() -> np.ndarray:
            checkpoint_pieces.fill_pieces(
                pieces, firsts, lambda k, first, last: files.read(pieces[k].name, first, last)
            )
            return files.list_checksums()

        own, wrong = _catch_damage_on_all_ranks(world, fill_arrays)
        if not wrong:
            _, wrong = _catch_damage_on_all_ranks(world, files.require_sums, collectives.gather_rows(comm, own))
    if not wrong:
        if not network_only:
            with _require_fit(world, path):
                simulation.load_progress(manifest["numbers"], shared)
        simulation.engine.refresh_derived()
    return wrong


@contextmanager
def _require_fit(comm: Comm, path: Path) -> Iterator[None]:
    """Collective context: raise an `InputError` on all ranks if one cannot load a checkpoint."""
    with collectives.share_errors(comm):
        try:
            yield
        except MISFITS as problem:
            reason = shorten(str(problem), 300)
            raise InputError(f"{path} does not fit: {type(problem).__name__}: {reason}") from None


def _check_fit(
    path: Path, pieces: list[checkpoint_pieces.Piece], totals: np.ndarray, shares: _Files, arrays: list[Values]
) -> None:
    expected = {
        piece.name: (piece.kind, piece.array.dtype.str, list(piece.item), int(total))
        for piece, total in zip(pieces, totals, strict=True)
    }
    present = {
        array["name"]: (array["kind"], array["dtype"], array["item"], shares.count_items(array["name"]))
        for array in arrays
        if array["kind"] != "shared"
    }
    if expected != present:
        found_differences = list_differences(present, expected)
        raise InputError(f"{path} does not fit this network: {'; '.join(found_differences[:5])}")


class _Files:
    """The files of a checkpoint, of which the latest few are open, and the checksums of the bytes that were read."""

    def __init__(self, path: Path, manifest: Values, stack: ExitStack) -> None:
        self._path = path
        self._columns = {array["name"]: k for k, array in enumerate(manifest["arrays"])}
        self._arrays: list[Values] = manifest["arrays"]
        self._table = _open_table(path, manifest, stack)
        self._leaders: list[int] = manifest["leaders"]  # the first rank of each file
        self._opened: dict[str, BinaryIO] = {}  # the latest last
        stack.callback(lambda: [file.close() for file in self._opened.values()])
        self._sums: dict[tuple[int, int], tuple[int, int, int]] = {}  # by rank and column: bytes, CRC-32, items after

    def _name_file(self, number: int) -> str:
        """Return the name of the file in which rank `number` wrote."""
        return rank_file_name(self._leaders[bisect_right(self._leaders, number) - 1])

    def _open_descriptor(self, name: str) -> int:
        self._opened[name] = file = self._opened.pop(name, None) or _open(self._path / name)
        if len(self._opened) > OPEN:
            self._opened.pop(next(iter(self._opened))).close()
        return file.fileno()

    def count_items(self, name: str) -> int:
        """Return the number of items of a whole array."""
        return self._table.count_items(self._columns[name])

    def read_shared(self, root: bool) -> dict[str, np.ndarray]:
        """Return the arrays that are the same on all ranks; on rank 0 alone with their values."""
        found = {}
        for array in self._arrays:
            if array["kind"] == "shared":
                name, total = array["name"], self.count_items(array["name"])
                found[name] = self.read(name, 0, total) if root else np.empty((total, *array["item"]), array["dtype"])
        self.list_checksums()
        return found

    def read(self, name: str, first: int, last: int) -> np.ndarray:
        """Return items [first, last) of a whole array."""
        column = self._columns[name]
        array = self._arrays[column]
        out = np.empty((last - first, *array["item"]), array["dtype"])
        for number, start, stop, place in self._table.list_parts(column, first, last):
            self._read_into(out[start - first : stop - first], number, column, place)
        return out

    def _read_into(self, out: np.ndarray, number: int, column: int, place: int) -> None:
        """Read items of rank `number`'s part of an array, from item `place` on; later calls read later items."""
        name, (count, offset, _) = self._name_file(number), self._table.read_entry(number, column)
        data = out.reshape(-1).view(np.uint8)
        view, offset = data.data, offset + place * _item_bytes(self._arrays[column])
        while view:
            n = os.preadv(self._open_descriptor(name), [view], offset)
            if n == 0:
                raise CorruptCheckpoint(f"{name} ends within {self._arrays[column]['name']}")
            view, offset = view[n:], offset + n
        n_bytes, crc, _ = self._sums.get((number, column), (0, 0, 0))
        self._sums[number, column] = n_bytes + len(data), zlib.crc32(data.data, crc), count - place - len(out)

    def list_checksums(self) -> np.ndarray:
        """Return the checksums, PART (n,), of arrays of which other ranks read a part; check all others."""
        parts = []
        for (number, column), (n_bytes, crc, after) in self._sums.items():
            size = _item_bytes(self._arrays[column])
            if n_bytes < self._table.read_entry(number, column)[0] * size:
                parts.append((number, column, checkpoint_pieces.extend_checksum(crc, after * size)))
            else:
                self._require_checksum(number, column, crc)
        return np.array(parts, PART)

    def require_sums(self, parts: np.ndarray) -> None:
        """Raise `CorruptCheckpoint` unless the checksums that `list_checksums` returned on all ranks fit together."""
        n = len(self._arrays)
        keys, places = np.unique(parts["number"] * n + parts["column"], return_inverse=True)
        found = np.zeros(len(keys), np.uint32)
        np.bitwise_xor.at(found, places, parts["crc"])
        for key, crc in zip(keys.tolist(), found.tolist(), strict=True):
            self._require_checksum(key // n, key % n, crc)

    def _require_checksum(self, number: int, column: int, crc: int) -> None:
        if crc != self._table.read_entry(number, column)[2]:
            raise CorruptCheckpoint(
                f"{self._name_file(number)}: the checksum of {self._arrays[column]['name']} differs"
            )
