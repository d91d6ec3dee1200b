"""How well ranks work together, in tables: python scripts/rounds.py [PART ...] [--before PYTHON] [--pairs N].

Parts: `training` (sine waves on one and two ranks, also beside a busy process, and on four in two nodes of two),
`speed` (two ranks over one by network size), `machine` (two copies of the runs on one rank at once over one alone:
what the machine leaves to two ranks), `crowded` (four ranks over two) and `predictions` (`pareprop predict` beside
runs); by default all; each takes minutes. Medians of runs that take
turns; `--before` names the Python of another installation, such as an earlier version, to take turns with. Figures are
worth something on an idle machine with two cores at least. The last table has all figures beside what is aimed at.

One file, because that table is made of the figures of all parts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

VARIANTS = ("interval", "spike")
SPEED = {1_000: 1.4, 2_000: 1.7, 5_000: 1.85, 20_000: 1.85}  # times that two ranks shall be as fast as one
CROWDED = (1_000, 5_000)
PREDICTED = (1_000, 2_000, 5_000, 20_000)
LIMIT = 600  # seconds that a run may take


@dataclass
class Found:
    """A figure of the last table.

    Attributes
    ----------
    what, figure, aim : str
        What was measured, what was found, and what is aimed at.
    """

    what: str
    figure: str
    aim: str


class Install:
    """An installation of pareprop, by its Python."""

    def __init__(self, python: Path) -> None:
        self.python, self.mpirun = python, python.parent / "mpirun"

    def command(self, ranks: int, *arguments: object) -> list[str]:
        """Return the command that starts pareprop on so many ranks."""
        start = [] if ranks == 1 else [str(self.mpirun), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
        return [*start, str(self.python), "-m", "pareprop", *map(str, arguments)]

    def run(self, ranks: int, *arguments: object, **environment: str) -> str:
        """Run pareprop, return what it prints."""
        line = self.command(ranks, *arguments)
        process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            for rank in [*ranks_of(process.pid), process.pid]:
                os.kill(rank, signal.SIGKILL)
            raise SystemExit(f"{' '.join(line)} took more than {LIMIT} s") from None
        if process.returncode:
            raise SystemExit(f"{' '.join(line)} failed:\n{errors}")
        return output

    def bench(self, folder: Path, ranks: int, *arguments: object) -> dict[str, Any]:
        """Return the figures of a benchmark."""
        file = folder / f"bench-{random.getrandbits(64)}.json"
        self.run(ranks, "bench", *arguments, f"--json={file}")
        return json.loads(file.read_text())


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Run another process that never rests, if wanted."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def training(installs: dict[str, Install], folder: Path, pairs: int, iterations: int) -> list[Found]:
    """Seconds of training, without building the network; each case beside one rank in the same company."""
    nodes = {"PAREPROP_RANKS_PER_NODE": "2"}
    cases: dict[str, tuple[int, bool, dict[str, str]]] = {
        "1 rank": (1, False, {}),
        "2 ranks": (2, False, {}),
        "1 rank, busy": (1, True, {}),
        "2 ranks, busy": (2, True, {}),
        "4 ranks, 2 nodes": (4, False, nodes),
    }
    alone = {case: "1 rank, busy" if beside else "1 rank" for case, (_, beside, _) in cases.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    digests = set()
    for pair in range(pairs):
        for case, (ranks, beside, environment) in cases.items():
            for name, install in installs.items():
                out = folder / f"{name}-{case}-{pair}"
                line = ("run", "sine-waves", "--set", f"iterations={iterations}", "--no-figures", "--out", out)
                with busy(beside):
                    digests |= set(re.findall(r"digest: (\w{64})", install.run(ranks, *line, **environment)))
                part = json.loads((out / "provenance.json").read_text())["parts"][-1]
                seconds.setdefault((name, case), []).append(part["wall_seconds"] - part["phases"]["build"])
    print(f"\nsine waves, {iterations} iterations, seconds; {len(digests)} digest(s)")
    found = [Found("digests of sine waves on 1, 2, 2 x 2 ranks", str(len(digests)), "1")]
    aims = {"2 ranks": "at most 1.15", "2 ranks, busy": "at most 2"}
    for name in installs:
        for case in cases:
            value, one = (median(seconds[name, key]) for key in (case, alone[case]))
            print(f"{name:8s} {case:18s} {value:9.2f}   {value / one:6.2f} x {alone[case]}")
            found.append(Found(f"{name}: sine waves, {case}", f"{value / one:.2f} x {alone[case]}", aims.get(case, "")))
    return found


def bench_line(variant: str, n: int) -> tuple[object, ...]:
    """Return the options of a benchmark of `n` neurons, long enough that one interruption counts little."""
    sizes = ("--neurons", n, "--indegree", 100, "--inputs", 100, "--steps", 1000)
    return *sizes, "--variant", variant, "--intervals", max(3, 60_000 // n), "--warmup", 1


def speed(installs: dict[str, Install], folder: Path, pairs: int, few: int, many: int) -> list[Found]:
    """Seconds of training by size on few and on many ranks, and the slowest rank's update over the mean."""
    print(f"\n{many} ranks over {few}, delay 1, (100 + 100) synapses, samples of 1 000 steps; median of pairs")
    crowded, found = many > 2, []
    for variant in VARIANTS:
        for n in CROWDED if crowded else SPEED:
            runs: dict[tuple[str, int], list[dict]] = {}
            line = bench_line(variant, n)
            for _ in range(pairs):
                for name, install in installs.items():
                    for size in (few, many):
                        runs.setdefault((name, size), []).append(install.bench(folder, size, *line))
            for name in installs:
                seconds = [[run["train_seconds"] for run in runs[name, size]] for size in (few, many)]
                before, after = map(median, seconds)
                times = median(one / other for one, other in zip(*seconds, strict=True))
                shares = [[share["phases"]["update"] for share in run["shares"]] for run in runs[name, many]]
                skew = median(max(values) * len(values) / sum(values) for values in shares)
                wait = median(run["phases"]["wait"] / run["train_seconds"] for run in runs[name, many])
                print(
                    f"{name:8s} {variant:8s} {n:7d} neurons {before:8.3f} -> {after:8.3f} s, {times:5.2f} "
                    f"times as fast; update of the slowest {skew:.2f} x mean, waits {100 * wait:.0f} %"
                )
                what = f"{name}: {variant}, {n} neurons, {many} ranks over {few}"
                aim = "as before" if crowded else f"at least {SPEED[n]}"
                found.append(Found(what, f"{times:.2f} times as fast", aim))
                if n == max(SPEED):
                    what = f"{name}: {variant}, {n} neurons, update of the slowest rank"
                    found.append(Found(what, f"{skew:.2f} x mean", "at most 1.05"))
    return found


def machine(install: Install, folder: Path, pairs: int) -> list[Found]:
    """Seconds of training of one rank alone and of two copies at once, which share nothing but the machine.

    What two copies lose to one another two ranks lose, too, but that each of them keeps half a network in its cache:
    so `speed` is to be judged beside this.
    """
    print("\ntwo copies at once over one alone, one rank each")
    found = []
    for variant in VARIANTS:
        for n in SPEED:
            alone, beside = [], []
            line = bench_line(variant, n)
            for _ in range(pairs):
                alone.append(install.bench(folder, 1, *line)["train_seconds"])
                with ThreadPoolExecutor(2) as copies:
                    runs = list(copies.map(lambda line: install.bench(folder, 1, *line), (line, line)))
                beside.append(sum(run["train_seconds"] for run in runs) / 2)
            one, two = median(alone), median(beside)
            times = median(2 * first / both for first, both in zip(alone, beside, strict=True))
            figure = f"{times:.2f} times the work of one"
            print(f"{variant:8s} {n:7d} neurons {one:8.3f} -> {two:8.3f} s, {figure}")
            found.append(Found(f"now: {variant}, {n} neurons, two copies", figure, "what the machine allows"))
    return found


def predictions(install: Install, folder: Path, pairs: int) -> list[Found]:
    """Seconds of a sample, predicted at the firing rate of the run, over those of the fastest of runs that take turns.

    The fastest, because `predict --measure` takes the fastest repetition, too.
    """
    units, ratios = folder / "units.json", []
    install.run(1, "predict", "--measure", "--units", units)
    print("\nseconds of a sample, predicted and real")
    cases = list(itertools.product(VARIANTS, PREDICTED, (1, 5), (1, 2)))
    sizes = [{"neurons": n, "indegree": 100, "inputs": 100, "delay": d, "variant": v} for v, n, d, _ in cases]
    lines = [[f"--{key}={value}" for key, value in size.items()] for size in sizes]
    runs: list[list[dict[str, Any]]] = [[] for _ in cases]
    for _ in range(pairs):
        for place, (line, (*_, ranks)) in enumerate(zip(lines, cases, strict=True)):
            runs[place].append(install.bench(folder, ranks, *line, "--warmup=1"))
    for (variant, n, delay, ranks), size, found in zip(cases, sizes, runs, strict=True):
        real = min(run["train_seconds"] / run["intervals"] for run in found)
        text = install.run(
            1,
            "predict",
            "bench",
            *(f"--set={key}={value}" for key, value in size.items()),
            "--units",
            units,
            "--rate",
            found[0]["firing_rate_hz"],
            "--ranks",
            ranks,
            "--ranks-per-node",
            2,
        )
        predicted = float(re.findall(r"([\d.e+-]+) s per sample", text)[0])
        ratios.append(predicted / real)
        print(
            f"{variant:8s} {n:7d} neurons, delay {delay}, {ranks} rank(s) {predicted:9.4f} {real:9.4f}   "
            f"{predicted / real:5.2f}{'' if abs(predicted / real - 1) <= 0.2 else ' *'}"
        )
    within = sum(abs(ratio - 1) <= 0.2 for ratio in ratios)
    figure = f"{within} of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f}"
    return [Found("now: predictions within 20 %", figure, "all")]


def ranks_of(session: int) -> list[int]:
    """Return the processes of a session that run pareprop, but for the launcher."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, state = (path / "cmdline").read_bytes(), (path / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if b"pareprop" in words and int(state[3]) == session != int(path.name):
            found.append(int(path.name))
    return found


def main() -> None:
    """Print the tables of the chosen parts."""
    parts = ("training", "speed", "machine", "crowded", "predictions")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--before", type=Path, help="Python of an installation to compare with")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=1000, help="of sine-waves")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {sorted(unknown)[0]}, must be one of {', '.join(parts)}")
    now = Install(Path(sys.executable))
    installs = ({"before": Install(options.before)} if options.before else {}) | {"now": now}
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in options.parts or parts:
            if part == "training":
                found += training(installs, folder, options.pairs, options.iterations)
            elif part in ("speed", "crowded"):
                found += speed(installs, folder, options.pairs, *((1, 2) if part == "speed" else (2, 4)))
            elif part == "machine":
                found += machine(now, folder, options.pairs)
            else:
                found += predictions(now, folder, options.pairs)
    print(f"\nmedians of {options.pairs} runs that took turns; aims are for an idle machine with two cores")
    for row in found:
        print(f"{row.what:60s} {row.figure:32s} {row.aim}")


if __name__ == "__main__":
    main()
