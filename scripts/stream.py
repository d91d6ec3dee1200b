"""How fast this machine moves memory: the loops of stream.c in one process, and in several at once."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pareprop.arrays import allocate_aligned

PASSES = 5
MOVED = {"copy": 2, "triad": 3, "scale": 2, "scatter": 1, "gather": 2, "update": 6}  # numbers per event that stream by
STREAMS = {"copy": 2, "triad": 3, "scale": 1}  # arrays of events
THROUGH_ROWS = {"scatter": 1, "gather": 1, "update": 3}  # arrays of events


def count_bytes(loop: str, item: int) -> int:
    """Bytes per event that stream by, as STREAM counts them: what is written counts once."""
    return MOVED[loop] * item + (4 if loop in THROUGH_ROWS else 0)


def build(folder: Path, real: str) -> Path:
    """Compile the loops for "double" or "float"."""
    library = folder / f"stream_{real}.so"
    source = Path(__file__).with_name("stream.c")
    options = ["-O3", "-march=native", "-shared", "-fPIC", f"-DREAL={real}"]
    subprocess.run([os.environ.get("CC", "cc"), *options, str(source), "-o", str(library)], check=True)
    return library


def prepare(library: Path, loop: str, n: int, targets: int, row: int, kind: Any) -> Callable[[], None]:
    """A loop over about `n` events on arrays of this process, memory touched.

    Loops that go through rows of `row` synapses with ascending targets do so in random order.
    """
    function, rng = getattr(ctypes.CDLL(str(library)), loop), np.random.default_rng(1)
    if loop in STREAMS:
        return partial(_call, function, [n], ones(STREAMS[loop], n, kind))
    rows = rng.integers(0, targets, (n // row, row), dtype=np.uint32)
    rows.sort(axis=1)
    order = np.append(rng.permutation(len(rows)), 0)  # the last is fetched only
    arrays = [order, rows.ravel(), *ones(THROUGH_ROWS[loop], rows.size, kind)]
    return partial(_call, function, rows.shape, [*arrays, np.ones(targets, cell(kind) if loop == "update" else kind)])


def ones(count: int, n: int, kind: Any) -> list[np.ndarray]:
    """Arrays for one loop, as the kernels have them."""
    arrays = [allocate_aligned(n, kind) for _ in range(count)]
    for array in arrays:
        array.fill(1)
    return arrays


def cell(kind: Any) -> np.dtype:
    """What the kernel of the spike variant keeps of a target in half a cache line."""
    names = ["r", "a", "d", "total"]
    return np.dtype({"names": names, "formats": ["f8"] * 3 + [kind], "offsets": [0, 8, 16, 24], "itemsize": 32})


def _call(function: Any, sizes: Sequence[int], arrays: list[np.ndarray]) -> None:
    function(*map(ctypes.c_int64, sizes), *(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))


def _time(core: int, ready: Any, done: Any, *what: Any) -> None:
    """In a process of its own: run a loop on a core, together with others; hand over its median seconds."""
    os.sched_setaffinity(0, {core})
    run = prepare(*what)
    run()
    ready.wait()
    laps = []
    for _ in range(PASSES):
        start = time.perf_counter()
        run()
        laps.append(time.perf_counter() - start)
    done.put(float(np.median(laps)))


class Streams:
    """The loops, compiled for one precision.

    Parameters
    ----------
    folder : for the library
    real : "double" or "float"
    n : events of a loop
    """

    def __init__(self, folder: Path, real: str, n: int) -> None:
        self.library, self.n = build(folder, real), n
        self.kind = np.float64 if real == "double" else np.float32

    def measure(self, loop: str, targets: int = 0, row: int = 1, processes: int = 1) -> dict[str, Any]:
        """Speed of the slowest of some processes, each on a core of its own, at the same time."""
        context = multiprocessing.get_context("spawn")
        ready, done = context.Barrier(processes), context.Queue()
        what = self.library, loop, self.n, targets, row, self.kind
        cores = sorted(os.sched_getaffinity(0))
        workers = [
            context.Process(target=_time, args=(cores[k % len(cores)], ready, done, *what)) for k in range(processes)
        ]
        for worker in workers:
            worker.start()
        ns = max(done.get(timeout=100) for _ in workers) / (self.n // row * row) * 1e9
        for worker in workers:
            worker.join()
        speed = count_bytes(loop, np.dtype(self.kind).itemsize) / ns
        return {"loop": loop, "targets": targets, "row": row, "processes": processes, "ns": ns, "gb_per_s": speed}
