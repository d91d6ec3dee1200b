"""Measure this processor on a small fixed network, relative to the processor of the costs in `estimate`.

The measurement takes a fifth of a second, and is kept in the cache folder by processor, level and flags. Only what a
run says before its first iteration depends on it; no result does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import cast

from .. import files, kernels
from ..errors import ParepropError
from ..machine import instructions, processor_name
from ..neurons.compile import cache_folder
from ..parallel import collectives
from ..parallel.exchange import Alone, Exchange
from ..parallel.mpi import Comm
from ..values import Values
from . import benchmark

NEURONS, INDEGREE, INPUTS, STEPS, SAMPLES = 1000, 100, 100, 100, 40
LIMIT = 10_000  # bytes that are read of a file with measurements
# processor seconds of a sample on the processor of the costs, an AMD EPYC with AVX-512
REFERENCE = {"interval": 1.0e-3, "spike": 1.8e-3}


def here() -> tuple[str, str]:
    """Return the name of this processor, and the level of instructions that the kernels in use were compiled for."""
    return processor_name(), kernels.LEVEL


def slowness(comm: Comm, variant: str) -> float:
    """Collective: return the time of the network on rank 0's processor, relative to the processor of the costs."""
    ratio = 1.0

    def together(problem: ParepropError | None) -> None:
        if comm is not None:
            collectives.await_others(comm)  # asleep: they may share its core
        collectives.raise_together(comm, problem)

    with collectives.guarded(comm, together):
        if comm is None or comm.rank == 0:
            ratio = sample_seconds(variant) / REFERENCE[variant]
    return collectives.of_first(comm, ratio)


@cache
def sample_seconds(variant: str) -> float:
    """Return the processor seconds of a sample of the network, measured at most once on each kind of processor."""
    instruction_sets = " ".join(sorted(instructions()))  # where processors have no names
    key = [*here(), instruction_sets, kernels.build_info.mode, kernels.build_info.flags]
    path = _path(key)
    known = _read(path, key) if path else {}
    if variant not in known:
        known[variant] = _measure(variant)
        if path:
            _keep(path, {"of": key, "seconds": known})
    return known[variant]


def _measure(variant: str) -> float:
    """Return the seconds of the shortest of some samples, which other work has delayed least."""
    network = benchmark.model(NEURONS, INDEGREE, INPUTS, variant=variant)
    task = benchmark.BenchTask(INPUTS, STEPS, 1)
    engine, seconds = benchmark.build(network, task, cast(Exchange, Alone())).engine, []
    for _ in range(SAMPLES):
        start = time.thread_time()
        engine.run(task.sample(0), True)
        engine.optimize()
        seconds.append(time.thread_time() - start)
    return max(min(seconds), 1e-9)


def _path(key: list[str]) -> Path | None:
    """Return the file with the measurements of a kind of processor; None if the user has no cache folder."""
    try:
        return cache_folder() / f"speed-{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:20]}.json"
    except RuntimeError:  # no home
        return None


def _read(path: Path, key: list[str]) -> dict[str, float]:
    """Return measured seconds by variant; {} if the file is damaged, another user's, or of another processor."""
    try:
        with files.open_regular(path) as file:
            status, text = os.fstat(file.fileno()), file.read(LIMIT)
        values = json.loads(text)
        own = status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022
        found = values["seconds"] if own and values["of"] == key else {}
        return {name: found[name] for name in REFERENCE if name in found and 0.0 < found[name] < math.inf}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _keep(path: Path, values: Values) -> None:
    """Write the file as a whole, by a temporary name; keep nothing if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    except OSError:
        return
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
