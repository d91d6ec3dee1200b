"""Memory, processor and time limit of this machine and process; the level of instructions to use."""

from __future__ import annotations

import itertools
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from operator import truediv
from pathlib import Path

from .errors import InputError, ParepropError, StateError

CGROUPS = Path("/sys/fs/cgroup")
GROUP_LIMITS = {  # of version 2, alone or with version 1, and of version 1: folders and files, by kind of group
    "": (("", "memory.max"), ("unified", "memory.max")),
    "memory": (("memory", "memory.limit_in_bytes"),),
}
PROCESSORS = Path("/sys/devices/system/cpu")
BUSY = 0.1  # cores that other programs keep busy, above which a measurement is reported as disturbed
CACHE = 16 * 2**20  # about this many bytes of a table stay in a core's caches until their next use


def find_available_memory() -> int:
    """Return the bytes of memory of this machine, or the limit of this process; 0 if unknown."""
    bounds = [*group_limits()]
    with suppress(OSError, StopIteration, ValueError):  # not Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        bounds.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:")))
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))  # `ulimit`
    bounds += [limit for limit in limits if limit != resource.RLIM_INFINITY]
    return min(bounds, default=0)


@cache
def group_limits(groups: Path = Path("/proc/self/cgroup"), mounts: Path = CGROUPS) -> list[int]:
    """Return the limits of memory of the control groups of a process, of version 1 and 2.

    Groups are nested, each with a limit: SLURM makes one for a job, in it one for a step, in it one for a task.
    """
    limits: list[int] = []
    with suppress(OSError, ValueError):  # not Linux
        lines = (line.split(":", 2) for line in groups.read_text().splitlines())
        named = ((path, kind) for _, kinds, path in lines for kind in kinds.split(","))
        for path, (folder, name) in ((path, place) for path, kind in named for place in GROUP_LIMITS.get(kind, ())):
            for group in itertools.accumulate(path.split("/")[1:], truediv, initial=mounts / folder):
                with suppress(OSError, ValueError):  # not here, or no limit ("max")
                    limits.append(int((group / name).read_text()))
    return limits


def require_bytes(n_bytes: int, what: str) -> None:
    """Raise `InputError` if `what` needs more than the memory of this machine."""
    limit = find_available_memory()
    if limit and n_bytes > limit:
        needed = min(n_bytes, 2**1000) / 2**30  # larger numbers are no floats
        raise InputError(f"{what} takes {needed:.4g} GiB of memory, this machine has {limit / 2**30:.4g} GiB for it")


def read_instructions() -> set[str]:
    """Return the instruction sets of this processor by their names in /proc/cpuinfo; empty where that is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return set()
    kinds = ("flags", "Features")  # the second on ARM
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith(kinds)), set())


@cache
def count_cores(threads: frozenset[int] | None = None) -> int:
    """Return the number of cores; hardware threads that share a core count once.

    `threads` are numbers of hardware threads, which Linux calls processors; None: all of this machine.
    """
    names = ["cpu[0-9]*"] if threads is None else [f"cpu{number}" for number in threads]
    paths = [path for name in names for path in PROCESSORS.glob(f"{name}/topology/thread_siblings_list")]
    return len({path.read_text() for path in paths}) or len(threads or ()) or os.cpu_count() or 1


def choose_level(levels: Mapping[str, tuple[str, list[str]]], always: list[str]) -> str:
    """Return the level of the processor whose kernels run here; end the process with one line if there is none.

    The level is PAREPROP_LEVEL, else the highest that this processor supports. `levels` maps installed levels, lowest
    first, to compiler flags and instruction sets; `always` are the instruction sets of kernels without levels.
    """
    here, asked = read_instructions(), os.environ.get("PAREPROP_LEVEL", "")
    missing = {name: sorted({*sets, *always} - here) if here else [] for name, (_, sets) in levels.items()}
    problem = ""
    if asked and asked not in levels:
        problem = f"PAREPROP_LEVEL: level '{asked}' is not installed, there are {', '.join(levels)}"
    elif asked and missing[asked]:
        problem = f"PAREPROP_LEVEL: level '{asked}' needs {', '.join(missing[asked])}, which this processor lacks"
    elif fits := [name for name in levels if not missing[name]]:
        return asked or (fits[-1] if here else fits[0])
    else:
        lowest = next(iter(levels))
        problem = (
            f"the kernels were compiled for processors with {', '.join(missing[lowest])}, which this one lacks: "
            "install pareprop on this kind of machine, or with PAREPROP_LEVELS=all for all kinds"
        )
    print(f"pareprop: error: {problem}", file=sys.stderr)
    sys.exit(2)


def describe_shortage(problem: MemoryError) -> ParepropError:
    """Return the error for a `MemoryError`: `InputError` if one array exceeds the memory of the machine."""
    shape, dtype = getattr(problem, "shape", None), getattr(problem, "dtype", None)  # as NumPy has them
    if isinstance(shape, tuple) and dtype is not None:
        try:
            require_bytes(math.prod(shape) * dtype.itemsize, f"an array of shape {shape}")
        except InputError as impossible:
            return impossible
    return StateError(f"not enough memory{f': {problem}' if str(problem) else ''}")


def peak_rss_bytes() -> int:
    """Return the peak resident memory of this process in bytes."""
    # where there is no Linux, `getrusage` may include the process that started this one
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rss_bytes() -> int:
    """Return the resident memory of this process in bytes; its peak where that is unknown."""
    return _status_bytes("VmRSS") or peak_rss_bytes()


def file_rss_bytes() -> int:
    """Return the resident memory of this process that maps files, which programs on a machine share; 0 if unknown."""
    return _status_bytes("RssFile")


def _status_bytes(name: str) -> int:
    """Return an amount of memory of this process, by its name in Linux; 0 if unknown."""
    with suppress(OSError, StopIteration):  # not Linux
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return 0


def busy_seconds() -> float:
    """Return the core seconds that programs used since the start, including time stolen by the host; NaN if unknown."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, *interrupts_and_stolen = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):  # not Linux
        return math.nan
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def job_seconds_left() -> float:
    """Return the seconds until SLURM ends the job of this process; infinite outside of a job."""
    try:
        return float(os.environ["SLURM_JOB_END_TIME"]) - time.time()
    except (KeyError, ValueError):
        return float("inf")


def processor_name() -> str:
    """Return the name of this processor as the system reports it, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
