"""Time a step forward and a step of the backward pass of generated neuron models, beside C loops written by hand.

    python scripts/neuron_cost.py [--neurons 2000,20000] [--seconds 0.2] [MODEL ...]

Prints nanoseconds per neuron and step: the median and the fastest of five measurements; where a loop by hand is known,
the ratio of the two, measured in turns. Both have the same parameters for all neurons, and the package's own exp.
"""

from __future__ import annotations

import argparse
import ctypes
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pareprop import kernels
from pareprop.neurons import library
from pareprop.neurons.compile import compile
from pareprop.neurons.cost import calls

ROUNDS = 5


def hand(name: str, library_: ctypes.CDLL, n: int) -> dict[str, Callable[[], object]]:
    """Return calls of the loops by hand of a model, on arrays of ordinary numbers."""
    arrays = [np.random.default_rng(k).uniform(0.9999, 1.0, n) for k in range(14)]  # what decays stays normal
    numbers = np.random.default_rng(1).uniform(0.9999, 1.0, 22)
    pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))

    def call(function: Callable[..., object]) -> Callable[[], object]:
        return lambda keep=arrays: function(ctypes.c_long(n), ctypes.c_void_p(numbers.ctypes.data), pointers)

    functions = {what: getattr(library_, f"{name}_{what}", None) for what in ("step", "sweep")}
    return {what: call(function) for what, function in functions.items() if function}


def compile_by_hand() -> ctypes.CDLL:
    """Compile the loops with the flags of the package."""
    header = (Path(kernels.build_info.__file__).parent / "elementary.h").read_text()
    folder = Path(tempfile.mkdtemp())
    (folder / "hand.c").write_text(header + Path(__file__).with_suffix(".c").read_text())
    command = [
        *shlex.split(kernels.build_info.compiler),
        *kernels.build_info.levels[kernels.LEVEL][0].split(),
        *shlex.split(kernels.build_info.flags),
        "-w",
        "-shared",
    ]
    subprocess.run([*command, str(folder / "hand.c"), "-o", str(folder / "hand.so")], check=True)
    return ctypes.CDLL(str(folder / "hand.so"))


def nanoseconds(call: object, n: int, seconds: float) -> float:
    """Time a call per neuron."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds / ROUNDS:
        for _ in range(20):
            call()
        count += 20
    return (time.perf_counter() - start) / count / n * 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "models", nargs="*", default=["iaf_bsshslm_2020", "iaf_psc_exp", "adex", "iaf_cond_exp", "izhikevich"]
    )
    parser.add_argument("--neurons", default="2000,20000")
    parser.add_argument("--seconds", type=float, default=0.2)
    given = parser.parse_args()
    by_hand = compile_by_hand()
    for name in given.models:
        program = compile(library.get(name))
        for n in map(int, given.neurons.split(",")):
            ours = calls(program, n, current=200.0)
            theirs = hand(name, by_hand, n)
            for what, call in ours.items():
                mine, other = [], []
                for _ in range(ROUNDS):
                    mine.append(nanoseconds(call, n, given.seconds))
                    if what in theirs:
                        other.append(nanoseconds(theirs[what], n, given.seconds))
                line = f"{name} {n} neurons, {what}: {np.median(mine):.2f} ns (fastest {min(mine):.2f})"
                if other:
                    ratios = np.array(mine) / other
                    line += f"; by hand {np.median(other):.2f}, ratio {np.median(ratios):.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
