"""The report of runs and studies: one HTML file that loads nothing else.

`read_run` collects its content: all PNG figures of the run directory (a new one: `plots.figures`), curves
(`_read_curves`, `_draw_charts`), the summary. `report.html` is the template.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from .. import files, hdf5
from ..errors import InputError
from ..later import h5py
from ..plots import charts, classification, loss, panels, reader, sweep, sweep_table
from ..plots import scaling as study_tables
from ..storage.checkpoint_read import list_values
from ..storage.disk import output_errors, replace_file
from ..values import Values
from . import provenance
from .directory import CONFIG, RESULTS
from .outcome import read_test_result

REPORT, MARK = "report.html", b"<!-- pareprop report -->"  # only files with the mark are replaced
MOST = 4_000_000  # at most: bytes of figures in a report
TEMPLATE = Path(__file__).with_name(REPORT)
CLASSES = 30  # the confusion matrix of more classes is left out
STUDY = "study.csv"
STUDY_FIGURES = ("scaling.png", "phases.png", "prediction.png", "learning_curves.png")
TITLES = {  # of curves
    "mean_return": "return",
    "mean_length": "decisions per episode",
    "entropy": "entropy (nats)",
    "loss": "loss",
    "accuracy": "accuracy",
    "firing_rate": "firing rate (Hz)",
    "gradient_norm": "norm of the gradient",
}
COLUMNS = {  # columns of the table of a study and their headings
    "kind": "kind",
    "variant": "variant",
    "neurons": "neurons",
    "indegree": "indegree",
    "ranks": "ranks",
    "seed": "seed",
    "train_seconds": "seconds",
    "real_time_factor": "real-time factor",
    "joules_per_event": "µJ per synaptic event",
    "memory_bytes_max": "MiB of the largest rank",
}


def write(directories: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of runs or studies; return its path.

    Each directory is a run directory, a folder of several runs (such as of `--seeds`), or a folder of a study. Without
    `out` the file is `report.html` in the directory if one is given, else in the working directory. Raises an
    `InputError` if a directory is none of these, or the file exists and is not a report.
    """
    out = out or (directories[0] / REPORT if len(directories) == 1 else Path(REPORT))
    _require_replaceable(out)
    studies = [read_study(path) for path in directories if (path / STUDY).is_file()]
    studies += [read_sweep(path) for path in directories if (path / sweep_table.TABLE).is_file()]
    places = [place for path in directories if not (path / STUDY).is_file() for place in runs_below(path)]
    names = _name_paths(places)
    runs = [read_run(place, name, len(places)) for place, name in zip(places, names, strict=True)]
    text = render_html(runs, studies)
    with output_errors(out, "report "), replace_file(out) as part:
        part.write_bytes(text.encode(errors="replace"))  # a file may hold bytes that are no text
    return out


def _require_replaceable(out: Path) -> None:
    """Raise `InputError` if a file exists that is not a report."""
    try:
        with files.open_regular(out) as file:
            if MARK not in file.read(4096):
                raise InputError(f"report {out}: exists and is not a report")
    except FileNotFoundError:
        pass
    except OSError as problem:
        raise InputError(f"report {out}: {problem.strerror}") from None


def runs_below(path: Path) -> list[Path]:
    """Return a run directory itself, or the run directories in a folder of several, by name."""
    if (path / RESULTS).exists():
        return [path]
    directories = sorted(place.parent for place in path.glob(f"*/{RESULTS}")) if path.is_dir() else []
    try:
        directories = [files.require_own_file(place) for place in directories]
    except OSError as problem:
        raise InputError(f"{problem.filename}: {problem.strerror}; name that directory itself") from None
    if not directories:
        raise InputError(f"{path}: neither a run directory nor a folder of runs or of a study")
    return directories


def _name_paths(places: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that differ from each other."""
    for depth in range(1, 5):
        names = ["/".join(place.resolve().parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def read_run(directory: Path, name: str, n_runs: int = 1) -> Values:
    """Return the contents of a report on a run; `n_runs` runs share the bytes for figures."""
    try:
        notes = provenance.read(directory)
    except InputError:  # a run that was copied without it
        notes = {"parts": []}
    try:
        config = files.read(files.require_own_file(directory / CONFIG)).decode(errors="replace")
    except OSError:
        config = ""
    with files.open_results(directory / RESULTS) as file:
        content = {
            "name": name,
            "config": config,
            "provenance": "\n".join(provenance.format_lines(notes)),
            "parts": notes["parts"],
        }
        content |= {
            "curves": _read_curves(file),
            "confusion": _read_confusion(file),
            "summary": summarize_run(file, notes["parts"]),
        }
        content["settings"] = dict(list_values(hdf5.list_sections(file)))
    return content | {"figures": _read_figures(sorted(directory.glob("*.png")), MOST // n_runs)}


def summarize_run(file: h5py.File, parts: list[Values]) -> dict[str, str]:
    """Return the main facts of a run as text by name."""
    losses, rates = (hdf5.read_values(file, name) for name in ("loss", "firing_rate"))
    entries = {
        "task": hdf5.read_text(file, "task"),
        "variant": hdf5.read_text(file, "variant"),
        "seed": hdf5.read_text(file, "seed"),
    }
    model = json.loads(hdf5.read_text(file, "model") or '{"populations": []}')
    entries["populations"] = ", ".join(f"{item['name']} {item['size']:,}" for item in model["populations"])
    projections = hdf5.find_child(file, "projections")
    n_synapses = file.attrs.get(files.NOT_KEPT, sum(len(item["weight"]) for item in (projections or {}).values()))
    entries["synapses"] = f"{n_synapses:,}"
    if losses is not None and len(losses):
        entries["iterations"] = f"{len(losses):,}"
        entries["loss, first → last"] = f"{losses[0]:.4g} → {losses[-1]:.4g}"
        if (returns := hdf5.read_values(file, "mean_return")) is not None and len(returns):
            entries["return, first → last"] = f"{returns[0]:.4g} → {returns[-1]:.4g}"
        entries["firing rate, last"] = f"{rates[-1]:.3g} Hz" if rates is not None and len(rates) else ""
    entries |= reader.tell_learned(file)
    entries["notices"] = "; ".join(hdf5.read_text(file, "notices").splitlines()) or "none"
    result = read_test_result(file)
    if result is not None and result.name == "test accuracy":
        low, high = (float(file["test"].attrs[f"interval_{end}"]) for end in ("low", "high"))
        entries[result.name] = f"{result.value:.3f} (95 % interval {low:.2f} to {high:.2f})"
    elif result is not None:
        entries[result.name] = f"{result.value:.4g}" + (f" (n = {result.n})" if result.name == "test return" else "")
    if parts:
        seconds, peaks = sum(part.get("wall_seconds", 0.0) for part in parts), parts[-1].get("peak_rss_bytes", [])
        most = parts[-1].get("memory_of_ranks", {}).get("highest", max(peaks, default=0))
        entries["ranks"] = f"{parts[-1].get('ranks', 1)}"
        n_parts = sum(map(provenance.count_parts, parts))
        entries["time"] = f"{seconds:.1f} s" + (f" in {n_parts} parts" if n_parts > 1 else "")
        for name, unit in (("core_hours", ""), ("joules", " J")):
            if all(name in part for part in parts):
                entries[name.replace("_", " ")] = f"{sum(part[name] for part in parts):.4g}{unit}"
        entries["memory of the largest rank"] = f"{most / 2**20:.0f} MiB"
        entries["state"] = str(parts[-1].get("state", ""))
    entries["digest"] = hdf5.read_text(file, "digest")[:16]
    return entries


def _read_curves(file: h5py.File) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return iterations and values of curves and validations; curves of long trainings are smoothed."""
    curves = {}
    for name in TITLES:
        values = reader.read_curve(file, name)
        if values is not None and len(values) >= loss.LONG:
            centres, smooth = loss.running_mean(values)
            curves[name] = centres + 1, smooth
        elif values is not None and len(values):
            curves[name] = np.arange(1, len(values) + 1), values
        if (pair := reader.read_validations(file, name)) is not None:
            curves[f"{name}, validation"] = pair
    return curves


def _read_confusion(file: h5py.File) -> list[Values]:
    test = hdf5.find_child(file, "test")
    columns = classification.read_predictions(test) if test is not None else None
    if columns is None:
        return []
    counts = classification.count_confusion(*columns, min(len(panels.given_names(file)), CLASSES))
    if len(counts) > CLASSES:
        return []
    names = [panels.shorten_name(name) for name in panels.class_names(file, len(counts))]
    cells = [[{"count": int(n), "share": n / max(row.sum(), 1)} for n in row] for row in counts]
    return [{"name": name, "cells": row} for name, row in zip(names, cells, strict=True)]


def _read_figures(paths: Sequence[Path], budget: int) -> list[Values]:
    figures = []
    for path in paths:
        try:
            content = files.read(files.require_own_file(path), 3 * budget // 4)
        except OSError:  # missing, too large, or a link to another folder
            continue
        if content:
            budget -= 4 * len(content) // 3
            source = "data:image/png;base64," + base64.b64encode(content).decode()
            figures.append({"name": path.stem.replace("_", " "), "source": source})
    return figures


def read_study(directory: Path) -> Values:
    """Return the table and the figures of a study."""
    rows = study_tables.read(directory / STUDY)
    columns = [name for name in COLUMNS if name in rows[0]]
    table = [[_format_cell(name, row[name]) for name in columns] for row in rows]
    headings, drawn = (
        [COLUMNS[name] for name in columns],
        _read_figures([directory / name for name in STUDY_FIGURES], MOST),
    )
    return {"name": directory.resolve().name, "columns": headings, "rows": table, "figures": drawn}


def read_sweep(directory: Path) -> Values:
    """Return the settings of a sweep with their results, the best first, a remark on the ranking, and its figure."""
    groups = sweep_table.group_runs(sweep_table.read_rows(directory / sweep_table.TABLE))
    columns, *cells = sweep_table.format_table(groups)
    return {
        "name": directory.resolve().name,
        "remark": sweep_table.describe_choice(groups),
        "columns": columns,
        "rows": cells,
        "figures": _read_figures([directory / sweep.FIGURE], MOST),
    }


def _format_cell(name: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    value *= {"memory_bytes_max": 2.0**-20, "joules_per_event": 1e6}.get(name, 1.0)
    return f"{value:,.0f}" if value.is_integer() else charts.format_number(value)


def render_html(runs: list[Values], studies: list[Values]) -> str:
    """Return the HTML of a report."""
    labels = [*(run["name"] for run in runs), *(study["name"] for study in studies)]
    title = " and ".join(labels) if len(labels) <= 2 else f"{len(runs)} runs compared"
    if runs and len(studies) == 1:  # a sweep
        title = f"{studies[0]['name']}: {len(runs)} runs"
    rows = _side_by_side([run["summary"] for run in runs])
    lead = " · ".join(dict.fromkeys(f"{run['summary']['task']}, {run['summary']['variant']} variant" for run in runs))
    differences = [row for row in _side_by_side([run["settings"] for run in runs]) if row["differs"]]
    template = Environment(autoescape=True, trim_blocks=True).from_string(files.read(TEMPLATE).decode())
    return template.render(
        title=title,
        lead=lead or "scaling study",
        runs=runs,
        studies=studies,
        summary=rows,
        differences=differences,
        curves=_draw_charts(runs),
        timings=_draw_timings(runs),
    )


def _side_by_side(tables: list[Values]) -> list[Values]:
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        texts = [str(table.get(name, "–"))[:400] for table in tables]
        rows.append({"name": name, "texts": texts, "differs": len(set(texts)) > 1})
    return rows


def _draw_charts(runs: list[Values]) -> list[Markup]:
    drawings = []
    for key, title in TITLES.items():
        of_training, of_validations = (
            [(name(run), *run["curves"][of]) if of in run["curves"] else None for run in runs]
            for of, name in (
                (key, lambda run: run["name"] if len(runs) > 1 else "training"),
                (f"{key}, validation", lambda run: f"{run['name']}, validation" if len(runs) > 1 else "validation"),
            )
        )
        if any(of_training):
            both = of_training + of_validations if any(of_validations) else of_training
            drawings.append(charts.draw_curves(title, both, n_colours=len(runs)))
    return drawings


def _draw_timings(runs: list[Values]) -> list[Markup]:
    latest = [(run["name"], run["parts"][-1]) for run in runs if run["parts"]]
    drawings = [
        charts.draw_stacked_bars(
            "seconds by phase, rank 0", [(name, part.get("phases", {})) for name, part in latest], "s"
        )
    ]
    for name, part in latest:
        suffix = f", {name}" if len(latest) > 1 else ""
        spent = part.get("rank_seconds") or []
        by_rank = [(f"rank {k}", seconds) for k, seconds in enumerate(spent)]
        drawings.append(charts.draw_stacked_bars(f"seconds by rank{suffix}", by_rank, "s"))
        peaks = [
            (f"rank {k}", {"peak memory": peak / 2**20}) for k, peak in enumerate(part.get("peak_rss_bytes", [])[:64])
        ]
        drawings.append(charts.draw_stacked_bars(f"memory by rank{suffix}", peaks, "MiB"))
    return [chart for chart in drawings if chart]
