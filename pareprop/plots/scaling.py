"""Draw the figures of a scaling study from its table alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ..errors import InputError
from ..machine import BUSY
from ..values import Values
from . import reader, style

Row = Values  # of a table, by column: a number, or a text
PHASES = {  # in the order of a run, with their colours
    "wait": style.GREY,
    "communicate": style.VERMILLION,
    "pack": style.MUTED[2],
    "look_up": style.MUTED[1],
    "deliver": style.BLUE,
    "update": style.GREEN,
    "sweep": style.SKY,
    "credit": style.ORANGE,
    "optimize": style.PURPLE,
}
NARROW = 3.0  # a logarithmic axis spans at least this factor
NAMED = 0.09  # parts above this share of the highest bar have room for the name of their phase
Point = tuple[float, float, bool, float, float]  # ranks, median, whether more ranks than cores, smallest, largest
CROWDED = "open: more ranks than cores, for correctness only"


def read(path: Path) -> list[Row]:
    """Return the rows of a table, with numbers as numbers."""
    lines = reader.read_table(path, "`pareprop scaling collect` writes it")
    rows = [{key: _parse_number(value) for key, value in line.items()} for line in lines]
    if not rows or "train_seconds" not in rows[0]:
        raise InputError(f"{path} holds no runs of a study")
    return rows


def _parse_number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def draw_figures(table: Path) -> list[Path]:
    """Draw all figures into the folder of the table; return their paths."""
    rows = read(table)
    folder = table.parent
    paths = style.save(scaling_figure(rows), folder, "scaling")
    paths += style.save(phase_figure(rows), folder, "phases")
    (folder / "caption.txt").write_text(describe_study(rows) + "\n")
    return paths


def _group_series(rows: list[Row]) -> dict[str, list[Row]]:
    """Return curves by name: runs that differ only in ranks, repetition and seed (and size, if it grows with ranks)."""
    weak = rows[0]["kind"] == "weak"

    def name_series(row: Row) -> str:
        neurons = row["neurons"] / row["ranks"] if weak else row["neurons"]
        rate = f"{row['rate']:g} Hz drawn" if row["rate"] else "own spikes"
        size = f"{neurons:g}{' per rank' if weak else ''} x {row['indegree']:g}"
        return f"{row['variant']}, {size}, delay {row['delay']:g}, {rate}"

    return reader.group_rows(rows, name_series)


def _read_ranks(row: Row) -> float:
    return row["ranks"]


def _compute_medians(rows: list[Row], value: Callable[[Row], float]) -> list[Point]:
    """Return median and range of a value over the repeats at each number of ranks, ascending."""
    points = []
    for ranks, some in sorted(reader.group_rows(rows, _read_ranks).items()):
        values = list(map(value, some))
        crowded = any(row["oversubscribed"] for row in some)
        points.append((ranks, median(values), crowded, min(values), max(values)))
    return points


def _draw_curve(ax: Axes, points: list[Point], color: str, label: str) -> None:
    """Draw a line through the points, with the range of the repeats; more ranks than cores are open and dotted."""
    fair = [point for point in points if not point[2]]
    ax.plot([p[0] for p in fair], [p[1] for p in fair], color=color, marker="o", ms=3.5, label=label)
    crowded = [point for point in points if point[2]]
    if crowded:
        joined = fair[-1:] + crowded
        ax.plot([p[0] for p in joined], [p[1] for p in joined], color=color, ls=":")
        ax.plot([p[0] for p in crowded], [p[1] for p in crowded], color=color, marker="o", mfc="white", ms=3.5, ls="")
    repeated = [point for point in points if point[4] > point[3]]
    if repeated:
        ranks, middle, _, low, high = (list(column) for column in zip(*repeated, strict=True))
        spread = [
            [m - end for m, end in zip(middle, low, strict=True)],
            [end - m for m, end in zip(middle, high, strict=True)],
        ]
        ax.errorbar(ranks, middle, spread, color=color, ls="", lw=0.8, capsize=2, zorder=0)


@style.styled
def scaling_figure(rows: list[Row]) -> Figure:
    """Draw wall time, speed-up, efficiency, real-time factor, events and memory against the number of ranks."""
    series, weak = _group_series(rows), rows[0]["kind"] == "weak"
    figure = Figure(figsize=(style.WIDTH, 5.0 + 0.12 * len(series)), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    energy = all(row.get("joules_per_event") for row in rows)
    for color, (label, some) in zip(style.choose_colors(len(series)), series.items(), strict=True):
        wall = _compute_medians(some, lambda row: row["train_seconds"])
        _draw_curve(axes[0], wall, color, label)
        gain: list[Point] = []
        for n, t, crowded, low, high in wall:
            one = wall[0][1] * (n / wall[0][0] if weak else 1.0)
            spread = (low, high) if gain else (t, t)  # the others are relative to the first point
            gain.append((n, one / t, crowded, one / spread[1], one / spread[0]))
        _draw_curve(axes[1], gain, color, label)
        share = [
            (n, middle * wall[0][0] / n, crowded, low * wall[0][0] / n, high * wall[0][0] / n)
            for n, middle, crowded, low, high in gain
        ]
        _draw_curve(axes[2], share, color, label)
        _draw_curve(axes[3], _compute_medians(some, lambda row: row["real_time_factor"]), color, label)
        _draw_curve(axes[4], _compute_medians(some, lambda row: row["memory_bytes_max"] / 2**20), color, label)
        _draw_curve(axes[5], _compute_medians(some, _compute_microjoules if energy else _count_events), color, label)
        first = wall[0]
        ideal = [first[1] * (1.0 if weak else first[0] / n) for n, *_ in wall]
        axes[0].plot([n for n, *_ in wall], ideal, color=color, ls="-.", lw=0.6, zorder=0)
    ranks = sorted({row["ranks"] for row in rows})
    _draw_ideal(axes, ranks, weak)
    titles = (
        "Wall time (s)",
        "Scaled speed-up" if weak else "Speed-up",
        "Efficiency",
        "Real-time factor (wall / simulated)",
        "Memory of the largest rank (MiB)",
        "Energy per synaptic event (µJ)" if energy else "Synaptic events per second",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlabel="ranks")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(ranks, [f"{n:g}" for n in ranks])
    axes[2].set_ylim(0, None)
    _add_nodes(axes[:3], rows)
    _draw_legend(figure, axes, rows)
    figure.suptitle(f"{'Weak' if weak else 'Strong'} scaling", x=0.01, ha="left")
    return figure


def _compute_microjoules(row: Row) -> float:
    return 1e6 * row["joules_per_event"]


def _count_events(row: Row) -> float:
    return row.get("events_per_second", 0.0) or 0.0


def _draw_ideal(axes: list[Axes], ranks: list[float], weak: bool) -> None:
    """Draw ideal speed-up (n / n_first) and efficiency (1); make the other axes logarithmic."""
    axes[1].plot(ranks, [n / ranks[0] for n in ranks], color=style.GREY, ls="-.", lw=0.8, zorder=0)
    axes[2].axhline(1.0, color=style.GREY, ls="-.", lw=0.8, zorder=0)
    for ax in (axes[0], axes[1], axes[3], axes[4], axes[5]):
        if not any(np.any(np.asarray(line.get_ydata(), float) > 0) for line in ax.get_lines()):
            continue  # nothing that a logarithmic axis can show
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if high < NARROW * low:  # else the axis would show differences of a few per mille as large ones
            middle = np.sqrt(low * high)
            low, high = ax.set_ylim(middle / NARROW**0.5, middle * NARROW**0.5)
        wide = LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,))
        few = sum(low <= value <= high for value in wide.tick_values(low, high)) < 3
        ax.yaxis.set_major_locator(LogLocator(subs=[float(k) for k in range(1, 10)]) if few else wide)
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_locator(NullLocator())


def _add_nodes(axes: list[Axes], rows: list[Row]) -> None:
    """Draw a second axis with the number of nodes, where runs had several."""
    nodes = {row["ranks"]: row.get("hosts", 1.0) for row in rows}
    if max(nodes.values()) <= 1:
        return
    for ax in axes:
        other = ax.secondary_xaxis("top")
        other.set_xticks(list(nodes), [f"{n:g}" for n in nodes.values()])
        other.xaxis.set_minor_locator(NullLocator())
        other.set_xlabel("nodes")
        ax.set_title(ax.get_title(loc="left"), pad=29)  # points, above this axis


def _draw_legend(figure: Figure, axes: list[Axes], rows: list[Row]) -> None:
    """Draw the legend below, with the meaning of the marks."""
    handles, labels = axes[0].get_legend_handles_labels()
    notes = ["dash-dotted: ideal", "bars: range over seeds and repeats"]
    if any(row["oversubscribed"] for row in rows):
        notes.append(CROWDED)
    if (busy := max(_read_other_load(rows), default=0.0)) > BUSY:
        warning = f"other programs kept up to {busy:.1f} cores of a machine busy: it was not idle"
        notes[-1] += f"\n{warning}"
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=1 if max(map(len, labels)) > 50 else 2,
        fontsize=6,
        title="; ".join(notes),
        title_fontsize=6,
        alignment="left",
    )


def _read_other_load(rows: list[Row]) -> list[float]:
    """Return the cores that other programs kept busy, of the runs that recorded them."""
    return [row["other_cores"] for row in rows if row.get("other_cores", "") != ""]


def describe_study(rows: list[Row]) -> str:
    """Return a caption: measured quantities, processor, versions and date."""
    groups = (reader.group_rows(some, _read_ranks).values() for some in _group_series(rows).values())
    first, repeats = rows[0], max(len(points) for group in groups for points in group)
    seeds, others = len({row.get("seed") for row in rows}), _read_other_load(rows)
    lines = [
        f"{'Weak' if first['kind'] == 'weak' else 'Strong'} scaling of the benchmark network, "
        f"{' and '.join(sorted({str(row['variant']) for row in rows}))} variant: wall time of training without the "
        "build, all ranks in step at its start and end; "
        f"median of {repeats} run{'s' if repeats > 1 else ''} at each point "
        f"({seeds} seed{'s' if seeds > 1 else ''}), bars span the smallest and the largest.",
        "Phases are means over the ranks; `wait` is waiting for other ranks, `communicate` what messages take.",
    ]
    if others:
        lines.append(f"other programs kept {min(others):.1f} to {max(others):.1f} cores of a machine busy")
    for name in ("processor", "mpi", "versions", "flags"):
        values = sorted({str(row[name]) for row in rows if row.get(name)})
        lines += [f"{name}: {' or '.join(values)}"] if values else []
    dates = sorted(str(row["date"]) for row in rows if row.get("date"))
    lines += [f"measured from {dates[0]} to {dates[-1]}"] if dates else []
    return "\n".join(lines)


@style.styled
def phase_figure(rows: list[Row]) -> Figure:
    """Draw the mean seconds of each phase per second of the model, stacked; black lines: range over ranks."""
    series = _group_series(rows)
    columns = min(len(series), 2)
    lines = -(-len(series) // columns)
    figure = Figure(figsize=(style.WIDTH, 1.2 + 1.7 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, (label, some) in zip(axes, series.items(), strict=False):
        ax.use_sticky_edges = False  # else a phase of 0 s on top would take away the margin
        ticks = []
        ranks = _compute_medians(
            some,
            lambda row: sum(float(row.get(f"{phase}_s_mean") or 0.0) for phase in PHASES) / row["simulated_seconds"],
        )
        top = max(point[1] for point in ranks) or 1.0
        for place, (n, _, crowded, _, _) in enumerate(ranks):
            here = [row for row in some if row["ranks"] == n]
            _draw_stack(ax, place, here, top)
            ticks.append(f"{n:g} rank{'s' if n > 1 else ''}" + ("*" if crowded else ""))
        ax.set_xticks(range(len(ticks)), ticks)
        ax.set(title=label, xlabel="* more ranks than cores" if "*" in "".join(ticks) else "")
        ax.set(ylabel="s per s of the model")
        ax.autoscale_view(scalex=False)
        ax.set_ylim(0, None)
    for ax in axes[len(series) :]:
        ax.axis("off")
    drawn, names = axes[0].get_legend_handles_labels()
    figure.legend(
        [*drawn, Line2D([], [], color=style.BLACK, lw=0.8)],
        [*names, "range over ranks"],
        loc="outside lower center",
        ncols=4,
    )
    return figure


def _draw_stack(ax: Axes, position: int, rows: list[Row], top: float) -> None:
    def of_model(phase: str, end: str) -> float:
        """Return seconds per second of the model."""
        return median(row[f"{phase}_s_{end}"] / row["simulated_seconds"] for row in rows)

    bottom = 0.0
    for phase, color in PHASES.items():
        height = of_model(phase, "mean")
        low, high = of_model(phase, "min"), of_model(phase, "max")
        ax.bar(position, height, 0.7, bottom, color=color, label=phase if position == 0 else None)
        if height > NAMED * top:
            shade = "white" if color == style.BLUE else style.BLACK
            ax.text(position, bottom + height / 2, phase, ha="center", va="center", fontsize=6, color=shade)
        if high - low > 0.01 * top:
            x = position + 0.3  # not through the name
            ax.plot([x, x], [bottom + low, bottom + high], color=style.BLACK, lw=0.8)
        bottom += height
