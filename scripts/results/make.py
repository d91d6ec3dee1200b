#!/usr/bin/env python3
"""Fill the table of results: train each row with its seeds, and write its line of the page.

    python scripts/results/make.py digits reach                   # these rows
    python scripts/results/make.py shd --data SHD_FOLDER          # with data that must be there

Each row is a sweep over seeds in `runs/results/NAME`; finished runs are not trained again, and an interrupted
one continues. Only rows that are named change, and only if all of their seeds are done.
"""

from __future__ import annotations

import csv
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

HERE = Path(__file__).parent
PAGE = HERE.parent / "handbook" / "reference" / "results.md"
NONE = "not run"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes
    ----------
    what, network, rule : str
        Task, network and learning rule.
    source : str
        Task, or configuration of this folder.
    settings : str
        Options of `pareprop sweep`; FOLDER stands for `--data`.
    papers : str
        What papers report.
    """

    what: str
    network: str
    rule: str
    source: str
    settings: str = ""
    papers: str = "-"


ADAM = "interval, Adam, batches of"
ROWS = {
    "digits": Row("digits of scikit-learn, as rates: accuracy, n = 500", "200 LIF", f"{ADAM} 32", "digits.toml"),
    "sequential-digits": Row(
        "the same row by row, 80 steps: accuracy, n = 500",
        "64 LIF, 64 adaptive",
        f"{ADAM} 16",
        "sequential-digits.toml",
    ),
    "n-mnist": Row(
        "N-MNIST, 800 + 100 recordings: accuracy, n = 100",
        "150 LIF",
        "spike (e-prop+), gradient descent",
        "n-mnist",
        "--set data=FOLDER",
    ),
    "n-mnist-interval": Row(
        "the same", "400 LIF", f"{ADAM} 100", "n-mnist", "--set data=FOLDER --set variant=interval"
    ),
    "n-mnist-full": Row(
        "N-MNIST, 60 000 + 10 000 recordings: accuracy",
        "400 LIF",
        f"{ADAM} 100",
        "n-mnist",
        "--set data=FOLDER --set variant=interval --set iterations=6000 --set test_samples=10000",
    ),
    "shd": Row(
        "SHD: accuracy, n = 2 264",
        "128 LIF, 128 adaptive",
        f"{ADAM} 64",
        "shd.toml",
        "--set data=FOLDER/shd_train.h5 --set test_data=FOLDER/shd_test.h5 --set n_test=2264",
        "0.827 to 0.832 (recurrent, BPTT) [1]",
    ),
    "ssc": Row(
        "SSC: accuracy, n = 20 382",
        "128 LIF, 128 adaptive",
        f"{ADAM} 64",
        "ssc.toml",
        "--set data=FOLDER/ssc_train.h5 --set test_data=FOLDER/ssc_test.h5 --set n_test=20382",
        "0.509 to 0.573 (recurrent, BPTT) [2]",
    ),
    "evidence-accumulation": Row(
        "side with more cues: accuracy, n = 512", "50 LIF, 50 adaptive", f"{ADAM} 32", "evidence-accumulation"
    ),
    "delayed-choice": Row(
        "side of a cue, from rewards: return, n = 1 024", "50 LIF, 50 adaptive", f"{ADAM} 64", "delayed-choice"
    ),
    "reach": Row("goal on a plane, from rewards: return, n = 320", "60 LIF", f"{ADAM} 16", "reach"),
}


def command(row: Row, name: str, data: Path | None, seeds: str, more: tuple[str, ...], out: Path) -> list[str]:
    """Return the command of a row."""
    source = str(HERE / row.source) if row.source.endswith(".toml") else row.source
    words = shlex.split(row.settings)
    if "FOLDER" in row.settings:
        if data is None:
            raise click.UsageError(f"{name} needs --data FOLDER")
        words = [word.replace("FOLDER", str(data.resolve())) for word in words]
    settings = [word for one in more for word in ("--set", one)]
    quiet = ["--set", "figures=none", "--set", f"seed={seeds}", "--out", str(out)]
    return [sys.executable, "-m", "pareprop", "sweep", source, *words, *settings, *quiet]


def write_digits(folder: Path) -> None:
    """Write the digits of scikit-learn, shuffled: as 64 rates, and row by row, with 16 inputs for each column."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    np.savez(folder / "digits.npz", rates=400.0 * images, labels=labels)
    rows = 200.0 * images.reshape(-1, 8, 8).repeat(10, axis=1).repeat(16, axis=2)
    np.savez_compressed(folder / "rows.npz", rates=rows.astype("f4"), labels=labels)


def outcome(folder: Path) -> tuple[str, str] | None:
    """Return mean and spread over the seeds of a sweep, and seconds of a run; None unless all are done."""
    try:
        with (folder / "sweep.csv").open() as table:
            runs = list(csv.DictReader(table))
    except OSError:
        return None
    values = [float(run["test"]) for run in runs if run["test"]]
    if not runs or len(values) < len(runs):
        return None
    seconds = np.mean([float(run["seconds"]) for run in runs])
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread} ({len(values)})", f"{seconds:.0f}"


def line(name: str, result: tuple[str, str] | None) -> str:
    """Return the line of a row."""
    row = ROWS[name]
    return (
        f"| `{name}` | {row.what} | {row.network} | {row.rule} | {' | '.join(result or (NONE, ''))} | {row.papers} |\n"
    )


def renew(text: str, results: dict[str, tuple[str, str]]) -> str:
    """Return the page with the lines of these rows; a row that the page lacks is added to the table's end."""
    lines = text.splitlines(keepends=True)
    for name in ROWS:
        places = [k for k, one in enumerate(lines) if one.startswith(f"| `{name}` |")]
        if places and name in results:
            lines[places[0]] = line(name, results[name])
        elif not places:
            last = max(k for k, one in enumerate(lines) if one.startswith("|"))
            lines.insert(last + 1, line(name, results.get(name)))
    return "".join(lines)


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(list(ROWS)))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of N-MNIST, SHD or SSC.")
@click.option(
    "--runs", type=click.Path(path_type=Path), default="runs/results", show_default=True, help="Folder of runs."
)
@click.option("--seeds", default="1..3", show_default=True, help="Seeds.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Further settings, to try a row.")
@click.option("--page", type=click.Path(path_type=Path), default=PAGE, help="Page with the table.")
def main(names: tuple[str, ...], data: Path | None, runs: Path, seeds: str, more: tuple[str, ...], page: Path) -> None:
    """Train rows and write their lines."""
    runs.mkdir(parents=True, exist_ok=True)
    commands = {name: command(ROWS[name], name, data, seeds, more, (runs / name).resolve()) for name in names}
    if any(ROWS[name].source.endswith("digits.toml") for name in names) and not (runs / "rows.npz").exists():
        write_digits(runs)
    for name, words in commands.items():
        done = subprocess.run(words, cwd=runs, check=False)
        result = outcome(runs / name)
        if done.returncode or result is None:
            sys.exit(f"{name}: no result; exit code {done.returncode}")
        page.write_text(renew(page.read_text(), {name: result}))


if __name__ == "__main__":
    main()
