"""Learning curves against the iteration: loss, classification error and firing rate; returns of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from .. import files, hdf5
from ..errors import InputError
from ..later import h5py
from . import reader, style

LONG = 100  # running medians are drawn from this many iterations on
PANELS = (
    ("loss", style.BLUE),
    ("accuracy", style.VERMILLION),
    ("firing_rate", style.GREEN),
    ("gradient_norm", style.PURPLE),
)
RETURNS = (
    ("mean_return", style.BLUE),
    ("mean_length", style.VERMILLION),
    ("entropy", style.PURPLE),
    ("value_error", style.ORANGE),
    ("firing_rate", style.GREEN),
)
LINEAR = ("mean_return", "mean_length", "entropy")  # never on a logarithmic axis
LABELS = {
    "firing_rate": "firing rate",
    "gradient_norm": "norm of\nthe gradient",
    "mean_return": "return",
    "mean_length": "decisions\nper episode",
    "value_error": "value error",
}


def running_median(values: np.ndarray, points: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `points` positions and running medians over a fiftieth of the series (at least 21 values).

    NaN is skipped. Towards the ends the windows shrink symmetrically, so that the medians begin and end with the
    series.
    """
    n, half = len(values), max(10, len(values) // 100)
    centres = np.unique(np.linspace(0, n - 1, min(n, points)).astype(np.int64))
    reaches = np.minimum(half, np.minimum(centres, n - 1 - centres))
    parts = (values[c - reach : c + reach + 1] for c, reach in zip(centres, reaches, strict=True))
    return centres, np.array([np.median(p[np.isfinite(p)]) if np.isfinite(p).any() else np.nan for p in parts])


def running_mean(values: np.ndarray, points: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and running means, over the windows of `running_median`, cut off at the ends.

    For classification errors: a single sample's error is 0 or 1, so that a median is not informative.
    """
    n, half = len(values), max(10, len(values) // 100)
    centres = np.unique(np.linspace(0, n - 1, min(n, points)).astype(np.int64))
    parts = (values[max(c - half, 0) : c + half + 1] for c in centres)
    return centres, np.array([np.mean(p[np.isfinite(p)]) if np.isfinite(p).any() else np.nan for p in parts])


def set_scale(ax: Axes, values: np.ndarray) -> None:
    """Make the axis logarithmic when the positive values span more than a decade and none is negative."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if positive.size and finite.min() >= 0 and positive.max() > 10 * positive.min():
        ax.set_yscale("log", nonpositive="mask")
        if positive.max() < 100 * positive.min():  # powers of ten alone would be one number, or two
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def draw_curve(ax: Axes, values: np.ndarray, color: str, *, means: bool = False) -> None:
    """Draw a series against iterations 1, 2, ...; a long one light, with its running median (or mean) over it."""
    iterations = np.arange(1, len(values) + 1)
    if len(values) < LONG:
        ax.plot(iterations, values, color=color, marker="o" if len(values) < 30 else "", ms=3)
        return
    ax.plot(iterations, values, color=color, alpha=0.4, lw=0.7, label="each iteration")
    centres, middle = (running_mean if means else running_median)(values)
    ax.plot(centres + 1, middle, color=color, lw=1.6, label=f"running {'mean' if means else 'median'}")


def draw_scores(axes: dict[str, Axes], file: h5py.File) -> None:
    """Draw the validations into the panels of their quantities, and the accuracy of the final test as a line."""
    color = style.BLACK
    for name, ax in axes.items():
        if (pair := reader.read_validations(file, name)) is not None:
            ax.plot(*pair, color=color, marker=".", ms=3, lw=0.8, label="validation")
    test = hdf5.find_child(file, "test")
    if test is not None and "accuracy" in axes and "accuracy" in test.attrs:
        axes["accuracy"].axhline(float(test.attrs["accuracy"]), color=color, lw=0.8, ls="--", label="test")


def axis_label(file: h5py.File, name: str) -> str:
    """Return the label of a panel with its unit."""
    unit = {"loss": reader.read_unit(file["loss"]), "firing_rate": "Hz", "entropy": "nats"}.get(name, "")
    return LABELS.get(name, name) + (f" ({unit})" if unit else "")


def stack_panels(
    file: h5py.File, present: list[tuple[str, np.ndarray, str]], detail: str = ""
) -> tuple[Figure, list[Axes]]:
    """Make labelled panels with a common iteration axis, the first one taller."""
    figure = style.new_figure(file, 1.2 + 1.5 * len(present), width=5.0, detail=detail, layout="none")
    ratios = [1.6] + [1.0] * (len(present) - 1)
    axes = figure.subplots(len(present), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for ax, (name, values, _) in zip(axes, present, strict=True):
        ax.set_ylabel(axis_label(file, name))
        if name == "accuracy":
            ax.set_ylim(0, 1.03)
        elif name not in LINEAR:
            set_scale(ax, values)
    axes[-1].set_xlabel("training iteration")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    style.arrange_axes(figure, axes[:, None], left=0.8)
    return figure, list(axes)


def add_legends(axes: list[Axes]) -> None:
    """Add legends above panels, where they hide no data; a line that a panel above explains is left out."""
    explained: set[str] = set()
    for ax in axes:
        new = {
            label: line for line, label in zip(*ax.get_legend_handles_labels(), strict=True) if label not in explained
        }
        explained |= set(new)
        if new:
            handles, labels = list(new.values()), list(new)
            ax.legend(handles, labels, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=len(new))


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw loss, and accuracy, firing rate and norm of the gradient when they were recorded; None without a loss."""
    curves = [(name, reader.read_curve(file, name), color) for name, color in PANELS]
    present = [(name, values, color) for name, values, color in curves if values is not None and values.size]
    if not present or present[0][0] != "loss":
        return None
    result, axes = stack_panels(file, present)
    for ax, (name, values, color) in zip(axes, present, strict=True):
        draw_curve(ax, values, color, means=name == "accuracy")
    panels = {name: ax for ax, (name, _, _) in zip(axes, present, strict=True)}
    draw_scores(panels, file)
    if "gradient_norm" in panels and "max_norm" in file["gradient_norm"].attrs:
        most = float(file["gradient_norm"].attrs["max_norm"])
        if np.any(present[-1][1] >= most):  # else it was never reached
            panels["gradient_norm"].axhline(most, color=style.GREY, lw=0.8, ls="--", label="max_norm")
    add_legends(axes)
    return result


@style.styled
def returns_figure(file: h5py.File) -> Figure | None:
    """Draw returns, lengths, entropies and value errors of training episodes; None where there are none."""
    curves = [(name, hdf5.read_values(file, name), color) for name, color in RETURNS]
    present = [(name, values, color) for name, values, color in curves if values is not None and values.size]
    if not present or present[0][0] != "mean_return":
        return None
    present = [item for item in present if _is_informative(item[0], item[1])]
    result, axes = stack_panels(file, present)
    for ax, (_, values, color) in zip(axes, present, strict=True):
        draw_curve(ax, values, color)
    draw_scores({"mean_return": axes[0]}, file)
    draw_criterion(axes[0], file)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(loc="lower right")
    return result


def _is_informative(name: str, values: np.ndarray) -> bool:
    """Return whether a panel is worth its place: lengths are not if all episodes have one decision."""
    return name != "mean_length" or bool(np.any(values != 1))


def draw_criterion(ax: Axes, file: h5py.File) -> None:
    """Draw the mean return at which a training stops as a line, if there is one."""
    if "stop_above" in file.attrs:
        ax.axhline(float(file.attrs["stop_above"]), color=style.GREY, lw=0.8, ls="--", label="criterion")


@style.styled
def seeds_figure(files: Sequence[h5py.File]) -> Figure:
    """Draw mean and range of learning curves over several runs of one task, up to the end of the shortest run.

    Curves of long runs are running medians: noise within a run would hide the difference between runs.
    """
    present = []
    for name, color in RETURNS if all("mean_return" in file for file in files) else PANELS:
        runs = [run for file in files if (run := reader.read_curve(file, name)) is not None and run.size]
        if name == "loss" and len(runs) < len(files):
            raise InputError("learning curves over seeds need a loss in every run")
        if len(runs) == len(files):
            length = min(map(len, runs))
            values = np.array([run[:length] for run in runs])
            if _is_informative(name, values):
                present.append((name, values, color))
    result, axes = stack_panels(files[0], present)
    result.suptitle(f"{reader.format_label(hdf5.read_text(files[0], 'task'))} · {len(files)} seeds", x=0.01, ha="left")
    for ax, (_, values, color) in zip(axes, present, strict=True):
        iterations = np.arange(1, values.shape[1] + 1)
        if len(iterations) >= LONG:
            centres, _ = running_median(values[0])
            iterations, values = centres + 1, np.array([running_median(run)[1] for run in values])
        low, high = values.min(axis=0), values.max(axis=0)
        ax.fill_between(iterations, low, high, color=color, alpha=0.25, lw=0, label="range")
        ax.plot(iterations, values.mean(axis=0), color=color, label="mean")
    draw_criterion(axes[0], files[0])
    axes[0].legend(
        loc="lower right" if present[0][0] == "mean_return" else "upper right",
        title="running medians" if present[0][1].shape[1] >= LONG else None,
        alignment="left",
    )
    return result


def draw_seeds(directories: Sequence[str | Path], out: str | Path, results: str = "results.h5") -> list[Path]:
    """Draw mean and range of the learning curves of runs that differ in their seed into the directory `out`."""
    if not directories:
        raise InputError("learning curves over seeds need at least one run directory")
    with ExitStack() as stack:
        drawn = seeds_figure([stack.enter_context(files.open_results(Path(d) / results)) for d in directories])
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    return style.save(drawn, target, "learning_curves")
