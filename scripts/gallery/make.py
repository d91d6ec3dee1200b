#!/usr/bin/env python3
"""Remake the gallery: run each command of the tasks' page, copy its figure here, and renew the table of the page.

A run directory that is there already (runs/gallery/NAME) is not run again; `--again` does. Times are processor time of
the command, its figures included, so that other load on the machine does not count.
"""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from PIL import Image

HERE = Path(__file__).parent
PAGE = HERE.parent / "handbook" / "reference" / "tasks.md"
START, END = "<!-- gallery, written by scripts/gallery/make.py -->\n", "<!-- end of gallery -->\n"
WIDTH = 1000  # pixels


@dataclass(frozen=True)
class Entry:
    """A command and the figure of its run directory that is shown."""

    name: str
    command: str
    figure: str
    words: str


ACROBOT = (  # episodes may be longer than usual, as an even policy needs about 1 500 decisions to reach the goal
    "--set env=Acrobot-v1 --set 'env_arguments={max_episode_steps=1500}' --set decisions=1500 "
    "--set 'low=[-1,-1,-1,-1,-6,-10]' --set 'high=[1,1,1,1,6,10]' --set sigma=1 --set peak=0.3 --set period=5 "
    "--set n_rec=100 --set readout_std=0.5 --set batch_size=4 --set iterations=1000 --set reward_scale=0.05 "
    "--set lambda_=0.95 --set eta=3e-3 --set eta_out=0.02 --set schedule=cosine --set eta_end=5e-4 --set c_H_end=0"
)
ENTRIES = (
    Entry("sine-waves", "run sine-waves", "dynamics_last", "A sum of four sines from frozen noise"),
    Entry("sine-waves-plus", "run sine-waves-plus", "loss", "The same with e-prop+, which learns at every spike"),
    Entry("lemniscate", "run lemniscate", "trajectory", "A figure eight"),
    Entry("handwriting", "run handwriting --set word=eprop", "trajectory", "A word"),
    Entry("evidence-accumulation", "run evidence-accumulation", "evidence", "The side with more cues, after a pause"),
    Entry("store-recall", "run store-recall", "evidence", "A value kept over others until it is asked for"),
    Entry("delayed-choice", "run delayed-choice", "returns", "The side of a cue, after a pause, from rewards alone"),
    Entry("reach", "run reach", "paths", "Reach a goal on the plane, from rewards in closed loop"),
    Entry("cart-pole", "run cart-pole", "returns", "Balance a pole on a cart, from rewards in closed loop"),
    Entry("acrobot", f"run gym {ACROBOT}", "returns", "Swing up two links, an environment of Gymnasium"),
    Entry("n-mnist", "run n-mnist --set data=FOLDER", "events", "Digits seen by an event camera, 800 + 100 recordings"),
    Entry(
        "n-mnist-interval",
        "run n-mnist --set data=FOLDER --set variant=interval",
        "classification",
        "The same with larger settings and the interval variant: all test recordings",
    ),
    Entry("n-mnist-synthetic", "run n-mnist --set data=synthetic", "events", "Synthetic digits in their place"),
)


def run(entry: Entry, data: str, again: bool) -> dict | None:
    """Run a command in runs/gallery; return its report and processor time, None if its directory exists."""
    directory = Path("runs", "gallery", entry.command.removeprefix("run ").replace(" ", "_").replace("--set_", ""))
    directory = directory if len(directory.name) < 100 else directory.with_name(entry.name)
    if (directory / f"{entry.figure}.png").exists() and not again:
        shrink(directory, entry)
        return None
    words = shlex.split(entry.command.replace("FOLDER", shlex.quote(data)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pareprop", *words, "--out", str(directory), "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise click.ClickException(f"{entry.command}: exit code {done.returncode}\n{done.stderr}")
    shrink(directory, entry)
    kept = [
        line for line in done.stdout.splitlines() if line.startswith(("loss:", "return:", "stopped", "test", "data:"))
    ]
    return {"said": kept, "seconds": round(sum(after[:2]) - sum(before[:2]), 1)}


def shrink(directory: Path, entry: Entry) -> None:
    """Copy the figure, narrower and with 256 colours."""
    image = Image.open(directory / f"{entry.figure}.png").convert("RGB")
    image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.NONE).save(HERE / f"{entry.name}.png", optimize=True)


def table(results: dict[str, dict]) -> str:
    """Table of the page."""
    rows = ["| task | figure | outcome |", "|---|---|---|"]
    for entry in ENTRIES:
        if not (HERE / f"{entry.name}.png").exists():
            continue
        outcome = results.get(entry.command, {"said": [], "seconds": None})
        said = "; ".join(outcome["said"])
        time = f"{outcome['seconds'] / 60:.1f} min of processor time" if outcome["seconds"] else ""
        figure = f'<img src="../../scripts/gallery/{entry.name}.png" width="420" alt="{entry.name}">'
        rows.append(f"| {entry.words}: `pareprop {entry.command}` | {figure} | {said}. {time} |")
    return "\n".join(rows) + "\n"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--data", default="", help="Folder of N-MNIST; without it those entries are left as they are.")
@click.option("--again", is_flag=True, help="Run also examples that have a run directory.")
def main(names: tuple[str, ...], data: str, again: bool) -> None:
    """Remake the entries NAMES, or all."""
    record = HERE / "results.json"
    results = json.loads(record.read_text()) if record.exists() else {}
    for entry in ENTRIES:
        if (names and entry.name not in names) or ("FOLDER" in entry.command and not data):
            continue
        outcome = run(entry, data, again)
        if outcome:
            results[entry.command] = outcome
            record.write_text(json.dumps(results, indent=1) + "\n")
    text = PAGE.read_text()
    if START in text:
        before, rest = text.split(START)
        PAGE.write_text(before + START + table(results) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
