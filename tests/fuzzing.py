"""Feed hostile input to a door of the package and judge the answer: told in a line, nothing left behind, no hang."""

import io
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import command

SECONDS, MEMORY, LONGEST = 60, 2**31, 2**16  # of a command: time, memory beyond what there is, characters it says
FEWEST = 8  # inputs of a door, however slow the machine is
tried: dict[str, Counter] = {}  # door to exit codes


class Hang(BaseException):
    """A command that takes too long."""


@contextmanager
def limit_process() -> Iterator[None]:
    """A block that ends in time and takes no more memory than it should."""

    def late(*_: object) -> None:
        raise Hang

    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> dict[str, tuple]:
    """What lies in a folder: names with sizes and times of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        times = (status.st_size, status.st_mtime_ns) if path.is_file() else ()
        found[str(path.relative_to(folder))] = times
    return found


def judge(capsys: pytest.CaptureFixture, door: str, arguments: list[object], *more: Any) -> int:
    """The exit code of a command that `answer` judges."""
    return answer(capsys, door, arguments, *more)[0]


def refusal(capsys: pytest.CaptureFixture, arguments: list[object], folder: Path) -> str:
    """What a command tells that refuses an input of the corpus."""
    code, errors = answer(capsys, "corpus", arguments, folder)
    assert code == 2
    return errors


def answer(
    capsys: pytest.CaptureFixture, door: str, arguments: list[object], folder: Path | None = None, codes: Any = (0, 2)
) -> tuple[int, str]:
    """Run a command; fail unless it ends with one of `codes` and, if refused, with one line and `folder` untouched."""
    before = listing(folder) if folder else {}
    with limit_process():
        code, _, errors = command(capsys, *arguments)
    shown = f"{[str(part)[:200] for part in arguments]}\n{errors[:3000]}"
    assert code in codes and "Traceback" not in errors, f"exit code {code}: {shown}"
    if code == 2:
        told = [line for line in errors.splitlines() if line.startswith("pareprop: error: ")]
        assert len(told) == 1 and len(errors) <= LONGEST, shown
        assert not folder or listing(folder) == before, f"left something behind: {shown}"
    tried.setdefault(door, Counter())[code] += 1
    return code, errors


def until(seconds: float, door: str, one: Callable[[random.Random, int], None]) -> None:
    """Call `one` with a generator of its own for input after input, until the time is over."""
    end, number = time.monotonic() + seconds, 0
    first = int(os.environ.get("PAREPROP_FUZZ_SEED", "0")) * 1_000_000
    while number < FEWEST or time.monotonic() < end:
        draw = random.Random(f"{door} {first + number}")
        try:
            one(draw, number)
        except BaseException as problem:
            problem.add_note(f"{door}, input {first + number}")
            raise
        number += 1


def mutate(draw: random.Random, content: bytes) -> bytes:
    """Some bytes flipped, taken away, doubled, or replaced by special ones."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 5, 30])):
        if not data:
            break
        k, n = draw.randrange(len(data)), draw.choice([1, 2, 4, 8, 64])
        what = draw.randrange(6)
        if what == 0:
            data[k] ^= 1 << draw.randrange(8)
        elif what == 1:
            data[k : k + n] = draw.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * n
        elif what == 2:
            del data[k : k + n]
        elif what == 3:
            data[k:k] = data[k : k + n]
        elif what == 4:
            data[k : k + n] = draw.randbytes(n)
        else:
            del data[k:]
    return bytes(data)


NUMBERS = ["", "0", "-1", "1", "2", "3.5", "1e400", "-1e308", "1e300", "nan", "inf", "-inf", "5" * 5000, str(2**31),
           str(2**63), str(2**64), str(10**30), "0x10", "1_0", "true", "false", "٣", "1e5000"]  # fmt: skip
TEXTS = ["x", "a/b", "../x", "/dev/zero", "/dev/null", "/", ".", "..", "~", "-", "--", "=", "'", '"', "{", "}", "[]",
         "[" * 3000, "{a=" * 3000, "[" * 200 + "]" * 200, "x" * 300, "x" * 70_000, "5\nfoo = 1", "5\n[run]", "\x01",
         "é", "\ud83d", "[1, 'a']", "{ mean = 1.0 }", "{ mean = true, std = 1 }", "1979-05-27", "[true]", "['5']",
         "\u2028", "%s%n", "{0}", "interval", "spike", "[[1, 2], [3]]"]  # fmt: skip


def value(draw: random.Random) -> str:
    """A hostile value of an option or a setting."""
    return draw.choice(NUMBERS if draw.random() < 0.5 else TEXTS)


HOSTILE = [np.nan, np.inf, -1.0, 1e300, -(2**63), 2**63 - 1, 0, "text", b"\xff", True, [], [1.0, 2.0], np.zeros((2, 0))]


def spoil(draw: random.Random, path: Path) -> None:
    """Change an HDF5 file within its format: attributes and datasets of other types, shapes and values, or missing."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(draw.choice([1, 1, 2, 4])):
            name = draw.choice(["/", *names])
            if name != "/" and name not in file:
                continue
            node, what = file[name], draw.randrange(6)
            if what == 0 and name != "/":
                del file[name]
            elif what == 1 and len(node.attrs):
                node.attrs[draw.choice(list(node.attrs))] = draw.choice(HOSTILE)
            elif what == 2 and len(node.attrs):
                del node.attrs[draw.choice(list(node.attrs))]
            elif what == 3 and isinstance(node, h5py.Dataset) and node.size and node.dtype.kind in "fiu":
                wrong = draw.choice([np.nan, np.inf, 1e300, -1, 10**9])
                if node.dtype.kind == "f" or np.isfinite(wrong):
                    place = tuple(draw.randrange(n) for n in node.shape)
                    with np.errstate(invalid="ignore"):
                        node[place] = np.array(wrong).astype(node.dtype)
            elif name != "/":
                del file[name]
                if what == 4:
                    file[name] = draw.choice(HOSTILE)
                else:
                    shape = draw.choice([(), (0,), (3,), (2, 3), (1, 2, 3), (2**40,), (2**20, 2**20)])
                    kind = draw.choice(["f8", "i4", "u1", "S5", h5py.string_dtype(), "V3"])
                    file.create_dataset(name, shape, kind, chunks=tuple(min(n, 8) or 1 for n in shape) or None)


def attack(draw: random.Random, source: bytes, path: Path) -> None:
    """Write a file to `path` that was spoiled byte by byte or within its format."""
    path.write_bytes(source)
    if draw.random() < 0.4:
        path.write_bytes(mutate(draw, source))
        return
    try:
        spoil(draw, path)
    except (ValueError, OSError, TypeError, KeyError, RuntimeError):
        path.write_bytes(mutate(draw, source))


def in_memory(write: Callable[[h5py.File], None]) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


VALUES = [None, True, 0, -1, 1.0, 2**31, 2**60, 2**64, 10**30, 1e308, "", "x", "x" * 100_000, [], {}, [[]], [1, 2, 3],
          float("inf"), float("nan"), "../../x", "/etc/passwd", "|O", "<f16"]  # fmt: skip


def places(node: object, way: tuple = ()) -> list[tuple]:
    """Ways to all nodes of a JSON tree."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [way, *(found for key, value in inside for found in places(value, (*way, key)))]


def change(draw: random.Random, manifest: dict) -> dict:
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        way = draw.choice([way for way in places(manifest) if way])
        node = manifest
        for key in way[:-1]:
            node = node[key]
        if draw.random() < 0.2:
            del node[way[-1]]
        else:
            node[way[-1]] = draw.choice([*VALUES, [0] * 40])
    return manifest
