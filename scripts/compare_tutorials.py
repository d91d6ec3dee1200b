#!/usr/bin/env python3
"""Run NEST's six e-prop tutorials, unchanged, with NEST and by `pareprop nest` on several ranks, and compare them.

    python scripts/compare_tutorials.py --data N-MNIST    # a folder with its Train.zip and Test.zip

Prints two tables: seconds of the whole scripts, and how far the runs agree. Spikes, losses and weights of a tutorial
are compared with NEST's, tutorials of the interval variant also with --nest-losses;
digests are compared between ranks. With --rounding tutorials that amplify rounding are compared with themselves, on
another number of threads or with numbers moved by 1e-13. Needs the extra `peer`; takes half an hour on a free machine.
Runs with results in the folder are not repeated.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import click
import nest_tutorials
import numpy as np
from nest_tutorials import NAMES, agreement, edit, find_shipped, first_difference, tutorial

from pareprop.scaling import launchers

RUNNER = Path(nest_tutorials.__file__).resolve()
PARTS = ("Train", "Test")


def prepare(folder: Path, name: str, data: Path | None) -> None:
    """Copy the files that the tutorials read from the folder in which they run."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "handwriting":
        shutil.copy(find_shipped("chaos_handwriting.txt"), folder)
    if name == "n-mnist":
        shutil.copy(find_shipped("NMNIST_pixels_blocklist.txt"), folder)  # next to edited ones
        for part in PARTS:
            if not (folder / "468j46mzdv-1" / part).exists():
                if data is None:
                    raise click.UsageError("n-mnist: give --data, the folder with Train.zip and Test.zip")
                zipfile.ZipFile(data / f"{part}.zip").extractall(folder / "468j46mzdv-1")


def run(folder: Path, script: Path, kept: str, ranks: int = 0, *options: str) -> dict[str, Any]:
    """One run in a fresh process, with NEST if `ranks` is 0: its seconds and its digest; results stay in a file."""
    notes = folder / f"{kept}.json"
    if notes.exists():
        return json.loads(notes.read_text())
    front = [] if not ranks else ["-m", "pareprop", "nest", "--timings", *options]
    line = [
        *(launchers.make_command("mpirun", ranks) if ranks > 1 else []),
        sys.executable,
        *front,
        RUNNER,
        script,
        f"{kept}.npz",
    ]
    environment = launchers.make_environment(ranks) if ranks > 1 else dict(os.environ)
    environment |= {"MPLBACKEND": "Agg", "PYNEST_QUIET": "1"}
    if ranks:
        environment["OMP_NUM_THREADS"] = "1"
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        list(map(str, line)), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, line))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    figures = {"wall": round(wall, 2), "processor": round(processor, 2)}
    if ranks:
        figures["digest"] = done.stdout.splitlines()[-1].removeprefix("digest: ")
    notes.write_text(json.dumps(figures))
    return figures


def compare(folder: Path, name: str, ranks: tuple[int, ...], data: Path | None) -> dict[str, Any]:
    """All runs of one tutorial, and how far they agree."""
    prepare(folder, name, data)
    script = tutorial(name)
    figures = {"nest": run(folder, script, "nest")}
    figures |= {str(n): run(folder, script, f"ranks-{n}", n) for n in ranks}
    figures["one digest"] = len({figures[str(n)]["digest"] for n in ranks}) == 1
    kinds = {"as it is": f"ranks-{ranks[0]}"}
    if NAMES[name].endswith("bsshslm_2020"):
        run(folder, script, "losses", 1, "--nest-losses")
        kinds["--nest-losses"] = "losses"
    for kind, file in kinds.items():
        with np.load(folder / f"{file}.npz") as ours, np.load(folder / "nest.npz") as theirs:  # read as needed
            figures[kind] = agreement(ours, theirs)
    return figures


def rounding(folder: Path, data: Path | None) -> dict[str, float | None]:
    """Return the time of the first different spike in runs that differ by rounding alone, by the change.

    NEST's N-MNIST against itself, and handwriting with --nest-losses against itself.
    """
    moved = {"weights_in_rec": "weights_in_rec = weights_in_rec * (1 + 1e-13)"}
    short = {"group_size": 80, "n_iter_train": 1, "n_iter_test": 1}
    cases = {
        "N-MNIST with NEST, one thread instead of four": ("n-mnist", None, short | {"total_num_virtual_procs": 1}),
        "N-MNIST with NEST, weights of inputs times 1 + 1e-13": ("n-mnist", moved, short),
        "handwriting with --nest-losses, eta times 1 + 1e-14": ("handwriting", None, {"eta": 5e-3 * (1 + 1e-14)}),
    }
    times = {}
    for k, (change, (name, after, values)) in enumerate(cases.items()):
        here, as_it_is = folder / name, short if name == "n-mnist" else {}
        prepare(here, name, data)
        kept = []
        for label, code in (("base", edit(tutorial(name), **as_it_is)), (k, edit(tutorial(name), after, **values))):
            script = here.resolve() / f"rounding-{label}.py"
            script.write_text(code)
            run(here, script, script.stem, *((1, "--nest-losses") if name == "handwriting" else ()))
            kept.append(np.load(here / f"{script.stem}.npz"))
        times[change] = first_difference(*kept)
    return times


def tables(figures: dict[str, dict[str, Any]], ranks: tuple[int, ...]) -> str:
    """Seconds and agreement of all tutorials, in Markdown."""
    columns = " | ".join(f"{n} rank{'s' * (n > 1)}" for n in ranks)
    lines = [f"| tutorial | NEST | {columns} | times less, 1 rank |", "|---" * (len(ranks) + 3) + "|"]
    for name, runs in figures.items():
        seconds = [runs[key] for key in ("nest", *map(str, ranks))]
        cells = " | ".join(f"{one['wall']:.1f} / {one['processor']:.1f}" for one in seconds)
        lines.append(f"| {name} | {cells} | {seconds[0]['processor'] / seconds[1]['processor']:.0f} |")
    lines += [
        "",
        "| tutorial | against NEST | first other spike (ms) | losses, relative | weights | one digest |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in figures.items():
        for kind in ("as it is", "--nest-losses"):
            if kind in runs:
                at, loss, weights = (runs[kind][key] for key in ("spikes", "loss", "weights"))
                cells = f"{'none' if at is None else f'{at:.0f}'} | {loss:.0e} | {weights:.0e}"
                lines.append(f"| {name} | {kind} | {cells} | {'yes' if runs['one digest'] else 'NO'} |")
    return "\n".join(lines)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(NAMES)))
@click.option("--ranks", default="1,2,3", show_default=True, help="Numbers of ranks, one after the other.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of N-MNIST: Train.zip, Test.zip.")
@click.option("--folder", type=click.Path(path_type=Path), default="tutorials", show_default=True, help="Of results.")
@click.option("--rounding", "with_rounding", is_flag=True, help="Compare NEST's N-MNIST with itself, too.")
def main(names: tuple[str, ...], ranks: str, data: Path | None, folder: Path, with_rounding: bool) -> None:
    """Run NEST's tutorials with NEST and by `pareprop nest`, one run after the other, and compare them."""
    numbers, figures = tuple(map(int, ranks.split(","))), {}
    for name in names or NAMES:
        figures[name] = compare(folder / name, name, numbers, data)
        click.echo(f"{name}: {json.dumps(figures[name])}", err=True)
    (folder / "tutorials.json").write_text(json.dumps(figures, indent=1))
    click.echo("Seconds, wall / processor:\n\n" + tables(figures, numbers))
    if with_rounding:
        for change, at in rounding(folder, data).items():
            click.echo(f"{change}: first other spike at {at} ms")


if __name__ == "__main__":
    main()
