"""Print tables of times on several ranks, relative to one rank: python scripts/rounds.py [PART ...] [--pairs N].

Parts: `training` (sine waves on one and two ranks, also beside a busy process, and on four in two nodes of two),
`speed` (two ranks, four ranks, and two copies of the run on one rank, over one rank alone: copies share nothing but the
machine, so they show what it leaves to two ranks) and `predictions` (`pareprop predict` beside runs); by default all,
some ten minutes. Runs take turns; medians are shown. Figures are worth something on an idle machine with two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from pareprop.scaling import launchers

VARIANTS = ("interval", "spike")
SIZES = (1_000, 2_000, 5_000, 20_000)
LIMIT = 600  # seconds that a run may take


def pareprop(ranks: int, *arguments: object, **environment: str) -> str:
    """Run a command on so many ranks; return what it prints."""
    front = launchers.command("mpirun", ranks) if ranks > 1 else []
    line = [*front, sys.executable, "-m", "pareprop", *map(str, arguments)]
    surroundings = (launchers.environment(ranks) if ranks > 1 else dict(os.environ)) | environment
    done = subprocess.run(line, capture_output=True, text=True, env=surroundings, timeout=LIMIT, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, line))} failed:\n{done.stderr}")
    return done.stdout


def bench(folder: Path, ranks: int, *arguments: object) -> dict[str, Any]:
    """Return the figures of a benchmark."""
    file = folder / f"bench-{random.getrandbits(64)}.json"
    pareprop(ranks, "bench", *arguments, f"--json={file}")
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


def training(folder: Path, pairs: int) -> None:
    """Seconds of training, without building the network; each case beside one rank in the same company."""
    cases: dict[str, tuple[int, bool, dict[str, str]]] = {
        "1 rank": (1, False, {}), "2 ranks": (2, False, {}),
        "1 rank, busy": (1, True, {}), "2 ranks, busy": (2, True, {}),
        "4 ranks, 2 nodes": (4, False, {"PAREPROP_RANKS_PER_NODE": "2"}),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    digests = set()
    for pair, (case, (ranks, beside, environment)) in itertools.product(range(pairs), cases.items()):
        out = folder / f"{case}-{pair}"
        line = ("run", "sine-waves", "--set", "iterations=1000", "--no-figures", "--out", out)
        with busy(beside):
            digests |= set(re.findall(r"digest: (\w{64})", pareprop(ranks, *line, **environment)))
        part = json.loads((out / "provenance.json").read_text())["parts"][-1]
        seconds[case].append(part["wall_seconds"] - part["phases"]["build"])
    print(f"\nsine waves, 1000 iterations, seconds; {len(digests)} digest(s)")
    for case, (_, beside, _) in cases.items():
        alone = "1 rank, busy" if beside else "1 rank"
        value, one = median(seconds[case]), median(seconds[alone])
        print(f"{case:18s} {value:9.2f}   {value / one:6.2f} x {alone}")


def speed(folder: Path, pairs: int) -> None:
    """Seconds of training by size: of ranks, and of two copies at once, beside one rank alone."""
    print("\ntimes the speed of one rank: delay 1, (100 + 100) synapses, samples of 1 000 steps; medians of pairs")
    for variant, n in itertools.product(VARIANTS, SIZES):
        sizes = ("--neurons", n, "--indegree", 100, "--inputs", 100, "--steps", 1000, "--variant", variant)
        line = (*sizes, "--intervals", max(3, 60_000 // n), "--warmup", 1)  # so long that an interruption counts little
        seconds: dict[str, list[float]] = {"1": [], "2": [], "4": [], "copies": []}
        waits = []
        for _ in range(pairs):
            for ranks in (1, 2, 4):
                run = bench(folder, ranks, *line)
                seconds[str(ranks)].append(run["train_seconds"])
                waits += [run["phases"]["wait"] / run["train_seconds"]] if ranks == 2 else []
            with ThreadPoolExecutor(2) as copies:
                runs = copies.map(lambda words: bench(folder, 1, *words), (line, line))
            seconds["copies"].append(sum(run["train_seconds"] for run in runs) / 4)
        gains = {key: median(a / b for a, b in zip(seconds["1"], laps, strict=True)) for key, laps in seconds.items()}
        print(
            f"{variant:8s} {n:7d} neurons {median(seconds['1']):8.3f} s; two ranks {gains['2']:.2f}, waiting "
            f"{100 * median(waits):.0f} %; four {gains['4']:.2f}; two copies {gains['copies']:.2f}"
        )


def predictions(folder: Path, pairs: int) -> None:
    """Seconds of a sample, predicted at the firing rate of the run, over the median of runs that take turns."""
    units, ratios = folder / "units.json", []
    pareprop(1, "predict", "--measure", "--units", units)
    print("\nseconds of a sample, predicted and real")
    cases = list(itertools.product(VARIANTS, SIZES, (1, 5), (1, 2)))
    sizes = [{"neurons": n, "indegree": 100, "inputs": 100, "delay": d, "variant": v} for v, n, d, _ in cases]
    runs: list[list[dict[str, Any]]] = [[] for _ in cases]
    for _ in range(pairs):
        for results, size, (*_, ranks) in zip(runs, sizes, cases, strict=True):
            line = [f"--{key}={value}" for key, value in size.items()]
            results.append(bench(folder, ranks, *line, "--warmup=1"))
    for (variant, n, delay, ranks), size, results in zip(cases, sizes, runs, strict=True):
        real = median(run["train_seconds"] / run["intervals"] for run in results)
        line = [*(f"--set={key}={value}" for key, value in size.items()), f"--rate={results[0]['firing_rate_hz']}"]
        text = pareprop(1, "predict", "bench", *line, "--units", units, "--ranks", ranks, "--ranks-per-node", 2)
        predicted = float(re.findall(r"([\d.e+-]+) s per sample", text)[0])
        ratios.append(predicted / real)
        print(
            f"{variant:8s} {n:7d} neurons, delay {delay}, {ranks} rank(s) {predicted:9.4f} {real:9.4f}   "
            f"{predicted / real:5.2f}{'' if abs(predicted / real - 1) <= 0.2 else ' *'}"
        )
    within = sum(abs(ratio - 1) <= 0.2 for ratio in ratios)
    print(f"within 20 %: {within} of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f}")


PARTS = {"training": training, "speed": speed, "predictions": predictions}


def main() -> None:
    """Print the tables of the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)[0]}, must be one of {', '.join(PARTS)}")
    os.environ.setdefault("BIND", "none")  # a busy process takes any core
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts or PARTS:
            PARTS[part](Path(folder), options.pairs)


if __name__ == "__main__":
    main()
