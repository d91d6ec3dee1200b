"""Collect the results of a study into one table: a row per run, with minimum, mean and maximum over ranks."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from .. import files
from ..errors import InputError
from ..plots import reader
from ..runs import benchmark
from ..values import Given, Values
from .study import Point, Study

FIGURES = (
    "train_seconds",
    "build_seconds",
    "firing_rate_hz",
    "synapses",
    "events",
    "events_per_second",
    "simulated_seconds",
    "digest",
    "sending",
)
OPTIONAL = ("core_hours", "joules", "other_cores")  # left out where the machine has none
SPREAD = ("train_seconds", "real_time_factor", "joules_per_event")  # of which runs that differ in seeds have means
ENVIRONMENT = ("date", "processor", "versions", "mpi", "flags")
TABLE, OBJECTS, EXTRA_P, SUMMARY = "study.csv", "study.json", "study.extra-p.jsonl", "summary.csv"
SIZES = ("kind", "variant", "neurons", "indegree", "delay", "rate", "ranks")
HEADINGS = {
    "train_seconds": "seconds",
    "real_time_factor": "real-time factor",
    "joules_per_event": "µJ per synaptic event",
}
MAX_BYTES = 2**28  # longer files of results, in bytes, are refused; they have an entry for each rank


def read_results(point: Point, path: Path) -> Values:
    """Return the results of a run of a study; raise `InputError` if the file belongs to another point or study."""
    try:
        figures = json.loads(files.read(path, MAX_BYTES))
        wanted = {key: value for key, value in point.columns.items() if key not in ("kind", "repeat")}
        wrong = [key for key, value in wanted.items() if figures[key] != value]
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"{path} is not a result of `pareprop bench`: {type(problem).__name__}: {problem}") from None
    if wrong:
        differing = ", ".join(f"{key} = {figures[key]}, now {wanted[key]}" for key in wrong)
        raise InputError(f"{path} belongs to another study: {differing}; choose another --out")
    return figures


def collect_rows(study: Study, folder: Path) -> list[Values]:
    """Return the rows of all finished points."""
    rows = []
    for point in study.list_points():
        path = folder / f"{point.label}.json"
        if path.exists():
            rows.append(make_row(point, read_results(point, path)))
    return rows


def make_row(point: Point, figures: Given) -> Values:
    """Return the row of one run: its sizes, results, phases and memory over ranks."""
    shares = figures["shares"]
    hosts = Counter(share["host"] for share in shares)
    columns = point.columns | {name: figures[name] for name in FIGURES}
    columns |= {name: figures["environment"][name] for name in ENVIRONMENT}
    columns |= {name: figures[name] for name in OPTIONAL if name in figures}
    if "joules" in figures and figures["events"]:
        columns["joules_per_event"] = figures["joules"] / figures["events"]
    columns |= {
        "hosts": len(hosts),
        "real_time_factor": figures["train_seconds"] / figures["simulated_seconds"],
        "oversubscribed": int(any(hosts[share["host"]] > share["cores"] for share in shares)),
    }
    for phase in benchmark.PHASES:
        columns |= _summarize_ranks(f"{phase}_s", [share["phases"][phase] for share in shares])
    columns |= _summarize_ranks("memory_bytes", [sum(share["memory"].values()) for share in shares])
    columns |= _summarize_ranks("peak_rss_bytes", [share["peak_rss_bytes"] for share in shares])
    columns |= _summarize_ranks("listens_to", [share["listens_to"] for share in shares])
    columns |= _summarize_ranks("round_bytes", [share["round_bytes"] for share in shares])
    for kind in shares[0]["memory"]:
        columns[f"{kind}_bytes_max"] = max(share["memory"][kind] for share in shares)
    return columns


def _summarize_ranks(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}_min": min(values), f"{name}_mean": sum(values) / len(values), f"{name}_max": max(values)}


def summarize_rows(rows: Sequence[Given]) -> list[Values]:
    """Return a row for runs that differ in seed and repetition alone: their number, means and standard deviations.

    Papers on the cortical microcircuit compare the real-time factor (seconds of computing per second of the model) and
    joules per synaptic event.
    """
    found = []
    for sizes, some in reader.group_rows(rows, lambda item: tuple(item[name] for name in SIZES)).items():
        columns: Values = dict(zip(SIZES, sizes, strict=True)) | {"runs": len(some)}
        for name in SPREAD:
            values = [item[name] for item in some if name in item]
            if len(values) == len(some):
                columns |= {name: fmean(values), f"{name}_sd": stdev(values) if len(values) > 1 else ""}
        columns |= {name: fmean(item[name] for item in some) for name in OPTIONAL if all(name in item for item in some)}
        found.append(columns)
    return found


def format_summary(summary: Sequence[Given]) -> list[str]:
    """Return the rows of `summarize_rows` as lines of a Markdown table."""
    has = [name for name in SPREAD if any(name in item for item in summary)]
    head = [*SIZES[1:], "runs", *(HEADINGS[name] for name in has), "core hours", "others' cores"]
    cells = [
        [f"{item[name]}" for name in (*SIZES[1:], "runs")]
        + [_format_mean(item, name) for name in has]
        + [f"{item[name]:.3g}" if name in item else "" for name in ("core_hours", "other_cores")]
        for item in summary
    ]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


def _format_mean(item: Given, name: str) -> str:
    scale = 1e6 if name == "joules_per_event" else 1.0
    if name not in item:
        return ""
    spread = item[f"{name}_sd"]
    return f"{scale * item[name]:.4g}" + ("" if spread == "" else f" ± {scale * spread:.2g}")


def write_tables(rows: Sequence[Given], path: Path) -> None:
    """Write rows as CSV, and in the same folder their summary, the rows as JSON, and a file for Extra-P."""
    if not rows:
        raise InputError(f"{path.parent}: no point of the study is finished; run `pareprop scaling run` first")
    for place, some in ((path, rows), (path.with_name(SUMMARY), summarize_rows(rows))):
        write_csv(place, some)
    path.with_name(OBJECTS).write_text(json.dumps({"runs": rows}, indent=1) + "\n")
    path.with_name(EXTRA_P).write_text("".join(f"{json.dumps(item)}\n" for item in list_measurements(rows)))


def write_csv(path: Path, rows: Sequence[Given]) -> None:
    """Write rows with a header; rows may lack columns."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


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
