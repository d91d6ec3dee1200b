"""Run all comparisons by one command: the microcircuit without and with learning, and NEST's e-prop network.

    python scripts/race/race.py --scale 0.1 --seconds 1 --out build/race

| contest | who runs |
|---|---|
| microcircuit | NEST and pareprop without learning, pareprop with all synapses learning |
| e-prop, 2 000 neurons | NEST and pareprop, both variants of e-prop, 2 000 neurons of 100 + 100 synapses |

All on the same cores (`--workers`, threads of NEST and ranks of pareprop), each run in a fresh process. Written:
`race.csv`, a row for each run: seconds of computing per second of the model, joules per second
of the model ("not told" if no counter can be read, see `pareprop/energy.py`), seconds to build, memory;
`race.png`, the medians, the machine and the versions; `environment.json`, all of these. Needs NEST 3.10 (extra `peer`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import microcircuit
import numpy as np

from pareprop import energy

sys.path.insert(0, str(Path(__file__).parents[1]))
COLUMNS = ("contest", "contestant", "workers", "s_per_s", "j_per_s", "build_s", "memory_mib")
NOT_TOLD = "not told"
NETWORK = "bench-2000"  # of contests.py


def race_microcircuit(options: argparse.Namespace, k: int) -> Iterator[dict[str, Any]]:
    """Run the microcircuit in each simulator; `microcircuit.py` does it."""
    for name in microcircuit.SIMULATORS if options.nest else microcircuit.SIMULATORS[1:]:
        path = options.out / f"race-{name.replace(', ', '-')}-{options.scale:g}-{options.seconds:g}s-{k}.npz"
        if not path.exists():
            arguments = [
                "--scale",
                str(options.scale),
                "--indegrees",
                str(options.indegrees),
                "--warm-up",
                str(options.warm_up),
                "--seconds",
                str(options.seconds + options.warm_up / 1000.0),
                "--ranks",
                str(options.workers),
                "--threads",
                str(options.workers),
            ]
            microcircuit.start(arguments, options.workers, name, k, path)
        with np.load(path) as result:
            joules = float(result["joules"]) / options.seconds
            yield {
                "contest": f"microcircuit, {result['sizes'].sum()} neurons",
                "contestant": name,
                "s_per_s": float(result["seconds"]) / options.seconds,
                "j_per_s": joules,
                "build_s": float(result["build"]),
                "memory_mib": float(result["memory"]),
            }


def race_eprop(options: argparse.Namespace, k: int) -> Iterator[dict[str, Any]]:
    """Run NEST's e-prop and pareprop's on the network of `compare_nest.py`."""
    from contests import CONTESTS, Kind, fresh

    for contest in (item for item in CONTESTS if item.name == NETWORK):
        for simulator in ("nest", "pareprop") if options.nest else ("pareprop",):
            result = fresh(contest, Kind(simulator, True, options.workers))
            seconds = contest.n_samples * contest.n_steps / 1000.0
            yield {
                "contest": "e-prop, 2 000 neurons",
                "s_per_s": result["seconds"] / seconds,
                "contestant": f"{simulator.replace('nest', 'NEST')}, {contest.variant} variant",
                "j_per_s": np.nan,
                "build_s": result["build_seconds"],
                "memory_mib": result["bytes"] / 2**20,
            }


def tell_version(name: str) -> str:
    """Return the version of an installed package, or that there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def show(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row; numbers that nobody knows are empty, joules say so."""
    values = {**row, "j_per_s": NOT_TOLD if np.isnan(row["j_per_s"]) else row["j_per_s"]}
    cells = (values[name] for name in COLUMNS)
    return [("" if np.isnan(cell) else f"{cell:.4g}") if isinstance(cell, float) else str(cell) for cell in cells]


def tell_about() -> dict[str, str]:
    """Return the machine and the versions."""
    from pareprop.machine import find_available_memory
    from pareprop.runs.provenance import describe_environment

    found = describe_environment() | {"peers": f"NEST {tell_version('nest-simulator')}"}
    return found | {"cores": str(os.cpu_count()), "memory": f"{find_available_memory() / 2**30:.0f} GiB"}


def draw(options: argparse.Namespace, rows: list[dict[str, Any]], about: dict[str, str]) -> None:
    """Draw the medians of the seconds per second, a panel for each contest; machine and versions stand below."""
    from matplotlib.figure import Figure

    from pareprop.plots import style

    contests = list(dict.fromkeys(row["contest"] for row in rows))
    names = [list(dict.fromkeys(row["contestant"] for row in rows if row["contest"] == item)) for item in contests]
    figure = Figure(figsize=(7.0, 0.9 + 0.26 * sum(map(len, names)) + 0.35 * len(contests)), layout="constrained")
    panels = figure.subplots(len(contests), 1, squeeze=False, height_ratios=[len(item) for item in names])
    for ax, contest, contestants in zip(panels[:, 0], contests, names, strict=True):
        for place, name in enumerate(contestants):
            runs = [row["s_per_s"] for row in rows if (row["contest"], row["contestant"]) == (contest, name)]
            color = style.BLUE if name.startswith("pareprop") else style.GREY
            ax.barh(-place, np.median(runs), color=color)
            ax.text(np.median(runs), -place, f" {np.median(runs):.3g}", va="center", fontsize=7)
        ax.set_yticks(-np.arange(len(contestants)), contestants)
        ax.set_title(contest, loc="left", fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0.1)
    panels[-1, 0].set_xlabel(f"seconds per second of the model, {options.workers} worker{'s' * (options.workers > 1)}")
    machine = f"{about['processor']}, {about['cores']} cores, {about['memory']}; {about['date'][:10]}"
    ours = ", ".join(item for item in about["versions"].split(", ") if item.startswith(("pareprop", "Python")))
    figure.supxlabel(f"{machine}\n{ours}, {about['peers']}", x=0.01, ha="left", fontsize=6)
    figure.savefig(options.out / "race.png", dpi=150)
    print(f"figure: {options.out / 'race.png'}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="neurons as a fraction of the full network")
    parser.add_argument("--indegrees", type=float, default=1.0, help="in-degrees as a fraction of the full network")
    parser.add_argument("--seconds", type=float, default=1.0, help="of the microcircuit that are timed")
    parser.add_argument("--warm-up", type=float, default=200.0, help="ms before them")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each")
    parser.add_argument("--workers", type=int, default=1, help="threads of NEST, ranks of pareprop")
    parser.add_argument("--out", type=Path, default=Path("build/race"))
    parser.add_argument("--no-nest", dest="nest", action="store_false", help="leave NEST out")
    parser.add_argument("--only", choices=RACES, help="one contest")
    return parser.parse_args(arguments)


RACES = {"microcircuit": race_microcircuit, "e-prop": race_eprop}


def main() -> None:
    """Run everything, one after the other, and write it down after each run."""
    options, rows = parse(), []
    options.out.mkdir(parents=True, exist_ok=True)
    about = tell_about()
    (options.out / "environment.json").write_text(json.dumps(about, indent=1) + "\n")
    print(energy.describe_source())
    print(", ".join(COLUMNS))
    for k in range(1, options.repeat + 1):
        for name, race in RACES.items():
            for row in race(options, k) if options.only in (None, name) else ():
                rows.append({"workers": options.workers} | row)
                print(", ".join(show(rows[-1])), flush=True)
                with open(options.out / "race.csv", "w", newline="") as file:
                    csv.writer(file).writerows([COLUMNS, *map(show, rows)])
    draw(options, rows, about)


if __name__ == "__main__":
    main()
