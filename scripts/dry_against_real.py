"""A dry run of each rank against the real run: python scripts/dry_against_real.py [--variant spike] [--ranks 2] ...

Prints bytes by kind and seconds by phase of rank 0 and of the last one, with dry over
real. Dry runs are made one alone, and all ranks side by side: memory bandwidth is shared then, as in the real run.
Of repetitions the fastest counts, phase by phase. Spikes are drawn on both sides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pareprop.parallel import launcher
from pareprop.runs import benchmark
from pareprop.scaling import dryrun, launchers

RATE_HZ = 30.0
SIZES = {"neurons": 20_000, "indegree": 1000, "inputs": 100, "steps": 500, "delay": 1, "intervals": 1}
TARGETS = {"memory": 0.05, "phases": 0.20}


def dry(options: argparse.Namespace, rank: int) -> None:
    """Write the share of a rank as a dry run finds it."""
    sizes = {key: getattr(options, key) for key in SIZES}
    model = benchmark.model(sizes["neurons"], sizes["indegree"], sizes["inputs"], 1, sizes["delay"], options.variant)
    task = benchmark.BenchTask(sizes["inputs"], sizes["steps"], 1)
    settings = model.eprop.settings(task.learning_window)
    found = dryrun.run(
        model, task, options.ranks, rank, samples=sizes["intervals"], rate_hz=RATE_HZ, drive=True, settings=settings
    )
    Path(f"{options.dry}-{rank}").write_text(json.dumps(asdict(found.share)))


def run_on_ranks(n: int, *arguments: object) -> None:
    """Run Python on `n` ranks."""
    line = [*launchers.command("mpirun", n), sys.executable, *map(str, arguments)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env=launchers.environment(n))


def shares(options: argparse.Namespace, folder: Path) -> dict[str, list[list[dict[str, Any]]]]:
    """By kind of run, of each repetition the shares of the first and the last rank."""
    sizes = [f"--{key}={getattr(options, key)}" for key in SIZES]
    fixed, ends = [*sizes, f"--variant={options.variant}"], (0, options.ranks - 1)
    again = [__file__, *fixed, f"--ranks={options.ranks}", f"--dry={folder / 'dry'}"]
    found: dict[str, list[list[dict[str, Any]]]] = {"real": [], "side by side": [], "alone": []}

    def read() -> list[dict[str, Any]]:
        return [json.loads((folder / f"dry-{rank}").read_text()) for rank in ends]

    for _ in range(options.repeats):
        run_on_ranks(options.ranks, "-m", "pareprop", "bench", *fixed, "--warmup=1", f"--rate={RATE_HZ:g}",
                "--profile-waiting", f"--json={folder / 'real'}")  # fmt: skip
        real = json.loads((folder / "real").read_text())["shares"]
        found["real"].append([real[rank] for rank in ends])
        run_on_ranks(options.ranks, *again)
        found["side by side"].append(read())
        for rank in ends:
            run_on_ranks(1, *again, f"--rank={rank}")
        found["alone"].append(read())
    return found


def table(found: dict[str, list[list[dict[str, Any]]]], ranks: int) -> list[str]:
    """Lines of figures, with * where a ratio is further from 1 than the target."""
    lines = []
    for place, rank in enumerate((0, ranks - 1)):
        lines.append(f"rank {rank} of {ranks:<24d} real   side by side           alone")
        for what, scale, unit in (("memory", 2**20, "MiB"), ("phases", 1.0, "s")):
            for name in found["real"][0][place][what]:
                best = {
                    kind: min(run[place][what].get(name, 0.0) for run in runs) / scale for kind, runs in found.items()
                }
                if best["real"] and (best["alone"] or name in ("wait", "communicate")):
                    lines.append(f"{name:14s} {unit:4s} " + _cells(best, TARGETS[what]))
    return lines


def _cells(best: dict[str, float], target: float) -> str:
    cells = [f"{best['real']:13.4f}"]
    for kind in ("side by side", "alone"):
        ratio = best[kind] / best["real"]
        mark = "*" if abs(ratio - 1) > target else " "
        cells.append(f"{best[kind]:9.4f} {ratio:5.2f}{mark}" if best[kind] else "not in a dry run")
    return " ".join(cells)


def main() -> None:
    """Print the table, or be one of the dry runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for key, value in SIZES.items():
        parser.add_argument(f"--{key}", type=int, default=value)
    parser.add_argument("--variant", choices=("interval", "spike"), default="interval")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dry", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.dry:
        dry(options, launcher.exchange().rank if options.rank is None else options.rank)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = shares(options, Path(folder))
    print("\n".join(table(found, options.ranks)))
    print(f"* further from 1 than {TARGETS['memory']:.0%} (memory) or {TARGETS['phases']:.0%} (time)")


if __name__ == "__main__":
    main()
