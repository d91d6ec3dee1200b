"""Feed hostile input to a door of the package and judge the answer: told in a line, nothing left behind, no hang."""

import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import command

SECONDS, MEMORY, LONGEST = 60, 2**31, 2**16  # of a command: time, memory beyond what there is, characters it says
FEWEST = 15  # inputs of a door, however slow the machine is
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


def judge(
    capsys: pytest.CaptureFixture, door: str, arguments: list[object], folder: Path | None = None,
    codes: tuple[int, ...] = (0, 2),
) -> int:  # fmt: skip
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
    return code


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
