"""Collect the results of a study into one tidy table: a row per run, with minimum, mean and maximum over ranks."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import files
from ..errors import InputError
from ..runs import benchmark
from ..runs.units import Units
from ..runs.work import Firing
from ..values import Given, Values
from .predict import predict
from .study import Point, Study

FIGURES = (
    "train_seconds", "build_seconds", "firing_rate_hz", "synapses", "events", "events_per_second", "simulated_seconds",
    "digest", "sending",
)  # fmt: skip
ENVIRONMENT = ("date", "processor", "versions", "mpi", "flags")  # results of earlier versions lack these
TABLE, OBJECTS, EXTRA_P = "study.csv", "study.json", "study.extra-p.jsonl"
LIMIT = 2**28  # longer files of results, in bytes, are refused; they have an entry for each rank


def check(point: Point, path: Path) -> Values:
    """Return the results of a run of a study.

    Raises
    ------
    InputError
        If the file is not a result of this point, for example because the study was changed.
    """
    try:
        figures = json.loads(files.read(path, LIMIT))
        wrong = [key for key in ("ranks", *_sizes(point)) if figures[key] != getattr(point, key)]
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"{path} is not a result of `pareprop bench`: {type(problem).__name__}: {problem}") from None
    if wrong:
        differing = ", ".join(f"{key} = {figures[key]}, now {getattr(point, key)}" for key in wrong)
        raise InputError(f"{path} belongs to another study: {differing}; choose another --out")
    return figures


def _sizes(point: Point) -> list[str]:
    return [key for key in vars(point) if key not in ("kind", "ranks", "repeat", "profile_waiting")]


def collect(study: Study, folder: Path, units: Mapping[str, Units] | None = None) -> list[Values]:
    """Return the rows of all finished points, with predictions if unit costs are given."""
    rows = []
    for point in study.points():
        path = folder / f"{point.label}.json"
        if path.exists():
            figures = check(point, path)
            rows.append(row(point, figures) | (_predict(point, figures, units[point.variant]) if units else {}))
    return rows


def row(point: Point, figures: Given) -> Values:
    """Return the row of one run: its sizes, results, phases and memory over ranks."""
    shares = figures["shares"]
    hosts = Counter(share["host"] for share in shares)
    columns = vars(point) | {name: figures[name] for name in FIGURES}
    columns |= {name: figures.get("environment", {}).get(name, "") for name in ENVIRONMENT}
    columns |= {
        "hosts": len(hosts),
        "real_time_factor": figures["train_seconds"] / figures["simulated_seconds"],
        "oversubscribed": int(any(hosts[share["host"]] > share["cores"] for share in shares)),
    }
    for phase in benchmark.PHASES:
        columns |= _summarize(f"{phase}_s", [share["phases"][phase] for share in shares])
    columns |= _summarize("memory_bytes", [sum(share["memory"].values()) for share in shares])
    columns |= _summarize("peak_rss_bytes", [share["peak_rss_bytes"] for share in shares])
    columns |= _summarize("listens_to", [share["listens_to"] for share in shares])
    columns |= _summarize("round_bytes", [share["round_bytes"] for share in shares])
    for kind in shares[0]["memory"]:
        columns[f"{kind}_bytes_max"] = max(share["memory"][kind] for share in shares)
    return columns


def _summarize(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}_min": min(values), f"{name}_mean": sum(values) / len(values), f"{name}_max": max(values)}


def _predict(point: Point, figures: Given, units: Units) -> dict[str, float]:
    model = benchmark.model(point.neurons, point.indegree, point.inputs, point.seed, point.delay, point.variant)
    rate = point.rate or figures["firing_rate_hz"]
    firing = Firing.at(benchmark.INPUT_PROBABILITY, rate, point.steps, model.dt_ms)
    prediction = predict(model, point.steps, point.intervals, firing, point.ranks, units)
    phases = {f"predicted_{phase}_s": prediction.phases[phase] for phase in benchmark.PHASES}
    return phases | {
        "predicted_train_seconds": prediction.seconds - prediction.phases["build"],
        "predicted_memory_bytes": sum(prediction.memory.values()),
    }


def write(rows: Sequence[Given], path: Path) -> None:
    """Write rows as CSV with a header, and beside it as JSON and as a file for Extra-P.

    Raises
    ------
    InputError
        If there are no rows.
    """
    if not rows:
        raise InputError(f"{path.parent}: no point of the study is finished; run `pareprop scaling run` first")
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for item in rows for key in item)))
        writer.writeheader()
        writer.writerows(rows)
    path.with_name(OBJECTS).write_text(json.dumps({"runs": rows}, indent=1) + "\n")
    path.with_name(EXTRA_P).write_text("".join(f"{json.dumps(item)}\n" for item in list_measurements(rows)))


def list_measurements(rows: Sequence[Given]) -> list[Values]:
    """Return the entries of Extra-P's JSON lines: mean seconds of each phase, and seconds of the training, of each run.

    The parameter is the number of ranks; runs that differ in other sizes are different call paths.
    """
    items = []
    for item in rows:
        size = f"{item['neurons'] // item['ranks']} per rank" if item["kind"] == "weak" else item["neurons"]
        series = f"{item['variant']} n{size} k{item['indegree']} d{item['delay']} h{item['rate']:g}"
        seconds = {"train": item["train_seconds"], **{name: item[f"{name}_s_mean"] for name in benchmark.PHASES}}
        items += [
            {"params": {"ranks": item["ranks"]}, "callpath": f"{series}->{phase}", "metric": "time", "value": value}
            for phase, value in seconds.items()
        ]
    return items
