"""How well ranks work together, in tables: python scripts/rounds.py [PART ...] [--before PYTHON] [--pairs N].

Parts: `training` (sine waves on one and two ranks, and on four in two nodes of two), `speed` (two ranks over one by
network size), `crowded` (four ranks), `rounds` (a round with nothing to say), `events` (cost of an event by network
size) and `kills` (a rank is killed at a random moment); by default all but `events`, which needs 10 GB. Medians of runs
that take turns; `--before` names the Python of another installation, such as an earlier version, to take turns with.
Figures are worth something on an idle machine with two cores at least.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

SIZES = (1_000, 2_000, 5_000, 20_000)
EVENTS = (10_000, 20_000, 50_000, 100_000, 200_000)
VARIANTS = ("interval", "spike")


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
        done = subprocess.run(
            self.command(ranks, *arguments), capture_output=True, text=True, env=os.environ | environment, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(self.command(ranks, *arguments))} failed:\n{done.stderr}")
        return done.stdout

    def bench(self, folder: Path, ranks: int, *arguments: object) -> dict[str, Any]:
        """Return the figures of a benchmark."""
        file = folder / f"bench-{random.getrandbits(64)}.json"
        self.run(ranks, "bench", *arguments, f"--json={file}")
        return json.loads(file.read_text())


def training(installs: dict[str, Install], folder: Path, pairs: int, iterations: int) -> None:
    """Seconds of training, of the whole command less that of one iteration."""
    cases = {"1 rank": (1, {}), "2 ranks": (2, {}), "4 ranks, 2 nodes": (4, {"PAREPROP_RANKS_PER_NODE": "2"})}
    seconds: dict[tuple[str, str], list[float]] = {}
    digests = set()
    for pair in range(pairs):
        for name, install in installs.items():
            for case, (ranks, environment) in cases.items():
                laps = []
                for n in (1, iterations):
                    out = folder / f"{name}-{ranks}-{n}-{pair}"
                    start = time.perf_counter()
                    text = install.run(
                        ranks, "run", "sine-waves", "--set", f"iterations={n}", "--out", out, **environment
                    )  # fmt: skip
                    laps.append(time.perf_counter() - start)
                digests |= set(re.findall(r"digest: (\w{64})", text))
                seconds.setdefault((name, case), []).append(laps[1] - laps[0])
    print(f"\nsine waves, {iterations - 1} iterations, seconds; {len(digests)} digest(s)")
    for name in installs:
        one = median(seconds[name, "1 rank"])
        for case in cases:
            value = median(seconds[name, case])
            print(f"{name:8s} {case:18s} {value:9.2f}   {value / one:6.2f} x one rank")


def speed(installs: dict[str, Install], folder: Path, pairs: int, ranks: int = 2) -> None:
    """Seconds of training by size, and the slowest rank's update over the mean."""
    print(f"\n{ranks} ranks over one, delay 1, (100 + 100) synapses, 3 samples of 1 000 steps")
    for variant in VARIANTS:
        for n in SIZES:
            found: dict[tuple[str, int], list[dict]] = {}
            for _ in range(pairs):
                for name, install in installs.items():
                    for size in (1, ranks):
                        line = ("--neurons", n, "--indegree", 100, "--inputs", 100, "--variant", variant)
                        found.setdefault((name, size), []).append(
                            install.bench(folder, size, *line, "--steps", 1000, "--intervals", 3, "--warmup", 1)
                        )
            for name in installs:
                one, many = (median(run["train_seconds"] for run in found[name, size]) for size in (1, ranks))
                shares = [[share["phases"]["update"] for share in run["shares"]] for run in found[name, ranks]]
                skew = median(max(values) * len(values) / sum(values) for values in shares)
                waits = [run["phases"]["wait"] / run["train_seconds"] for run in found[name, ranks]]
                print(f"{name:8s} {variant:8s} {n:7d} neurons {one:8.3f} -> {many:8.3f} s, {one / many:5.2f} times as "
                      f"fast; update of the slowest {skew:.2f} x mean, waits {100 * median(waits):.0f} %")  # fmt: skip


def rounds(folder: Path) -> None:
    """A round with nothing to say, within a node and between two."""
    script = Path(__file__).with_name("exchange.py")
    print("\na round, two ranks, µs")
    for words, environment in (("one node", {}), ("two nodes", {"PAREPROP_RANKS_PER_NODE": "1"})):
        install, file = Install(Path(sys.executable)), folder / "exchange.json"
        line = [str(install.mpirun), "-n", "2", sys.executable, str(script), f"--json={file}"]
        subprocess.run(line, check=True, capture_output=True, env=os.environ | environment)
        for row in json.loads(file.read_text())["rows"]:
            print(f"{words:10s} {row['way']:11s} {row['spikes']:5d} spikes per rank {row['round_us']:9.2f}, bare call "
                  f"{row['bare_us']:9.2f}")  # fmt: skip


def events(installs: dict[str, Install], folder: Path) -> None:
    """Cost of a synaptic event by size of the network, one rank, single precision, in-degree 1 000, 10 Hz."""
    print("\nns per synaptic event (deliver alone)")
    for variant in VARIANTS:
        for n in EVENTS:
            for name, install in installs.items():
                run = install.bench(
                    folder, 1, "--neurons", n, "--indegree", 1000, "--inputs", 100, "--rate", 10, "--steps", 200,
                    "--intervals", 2, "--warmup", 1, "--variant", variant, "--precision", "single",
                )  # fmt: skip
                cost, deliver = (1e9 * x / run["events"] for x in (run["train_seconds"], run["phases"]["deliver"]))
                print(f"{name:8s} {variant:8s} {n:8d} neurons {cost:7.2f} ({deliver:.2f})")


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


def kills(install: Install, folder: Path, n: int) -> None:
    """A rank of three is killed at a random moment; the others must end, and a resumed run must end as ever."""
    task = ["run", "sine-waves", "--set", "iterations=200", "--set", "n_step=300", "--set", "checkpoint.every=10"]
    expected = re.findall(r"digest: (\w{64})", install.run(1, *task, "--out", folder / "whole"))
    latest, ended, same = 0.0, 0, 0
    for k in range(n):
        out = folder / f"killed-{k}"
        line = install.command(3, *task, "--out", out)
        process = subprocess.Popen(line, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and not any((out / "checkpoints").glob("*/manifest.json")):
            time.sleep(0.01)
        time.sleep(random.random())
        ranks = ranks_of(process.pid)
        if process.poll() is None and len(ranks) == 3:
            start = time.perf_counter()
            os.kill(random.choice(ranks), signal.SIGKILL)
            process.communicate()
            while ranks_of(process.pid):
                time.sleep(0.01)
            latest = max(latest, time.perf_counter() - start)
            ended += process.returncode != 0
        text = install.run(1 + k % 2, "resume", out)
        same += re.findall(r"digest: (\w{64})", text) == expected
    left = len(list(Path("/dev/shm").glob("pareprop-*")))
    print(f"\n{n} kills: {ended} ended with an exit code that is not 0, the latest after {latest:.2f} s; {left} files "
          f"left in shared memory; {same} of {n} resumed runs have the undisturbed digest")  # fmt: skip


def main() -> None:
    """Print the tables of the chosen parts."""
    parts = ("training", "speed", "crowded", "rounds", "kills", "events")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--before", type=Path, help="Python of an installation to compare with")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=2000, help="of sine-waves")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {sorted(unknown)[0]}, must be one of {', '.join(parts)}")
    now = Install(Path(sys.executable))
    installs = ({"before": Install(options.before)} if options.before else {}) | {"now": now}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in options.parts or parts[:-1]:
            if part == "training":
                training(installs, folder, options.pairs, options.iterations)
            elif part in ("speed", "crowded"):
                speed(installs, folder, options.pairs, 2 if part == "speed" else 4)
            elif part == "rounds":
                rounds(folder)
            elif part == "kills":
                kills(now, folder, options.kills)
            else:
                events(installs, folder)


if __name__ == "__main__":
    main()
