"""Confusion matrix of a classification on the test split."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import hdf5
from ..errors import InputError
from ..later import h5py
from . import panels, style

SHORT_NAME = 2  # longer names of classes stand upright below the columns
MAX_ANNOTATED_CLASSES = 20  # with at most this many classes, counts are written into the cells


def count_confusion(labels: np.ndarray, predictions: np.ndarray, least: int = 0) -> np.ndarray:
    """Count how often each label (row) was predicted as each class (column), of `least` classes or more."""
    n = max(int(max(labels.max(), predictions.max())) + 1, least)
    return np.bincount(labels * n + predictions, minlength=n * n).reshape(n, n)


def read_predictions(test: h5py.Group) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels and predictions; None if they are absent or empty.

    Raise `InputError` unless both are equally many whole numbers in 0 to 9999.
    """
    columns = hdf5.read_pair(test, "labels", "predictions")
    if columns is None or not columns[0].size:
        return None
    for name, classes in zip(("labels", "predictions"), columns, strict=True):
        if np.any(classes != np.floor(classes)) or classes.min() < 0 or classes.max() > 9999:
            raise InputError(f"{test.file.filename}: {test.name}/{name} must be classes 0, 1, ... 9999")
    return columns[0].astype(np.int64), columns[1].astype(np.int64)


def format_accuracy(test: h5py.Group, counts: np.ndarray) -> str:
    """Return a line with the accuracy, its interval when it was stored, and the number of samples."""
    n = int(counts.sum())
    accuracy = float(test.attrs.get("accuracy", np.trace(counts) / n))
    interval = [test.attrs.get(f"interval_{end}") for end in ("low", "high")]
    inside = "" if None in interval else "95 % interval {:.2f} to {:.2f}, ".format(*interval)
    return f"test accuracy {accuracy:.3f} ({inside}n = {n})"


def annotate_cells(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Write the counts that are not zero into the cells, light on dark."""
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.5 else style.BLACK
            ax.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=7)


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw the confusion matrix, each row normalised, counts in the cells; None without test predictions."""
    test = hdf5.find_child(file, "test")
    columns = read_predictions(test) if test is not None else None
    if columns is None:
        return None
    counts = count_confusion(*columns, min(len(panels.given_names(file)), MAX_ANNOTATED_CLASSES))
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    result = style.new_figure(file, 4.4, width=5.0)
    ax = result.add_subplot()
    drawn = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set(title=format_accuracy(test, counts), xlabel="predicted class", ylabel="true class")
    if len(counts) <= MAX_ANNOTATED_CLASSES:
        annotate_cells(ax, counts, shares)
        names = [panels.shorten_name(name) for name in panels.class_names(file, len(counts))]
        ax.set_xticks(range(len(counts)), names, rotation=90 if max(map(len, names)) > SHORT_NAME else 0)
        ax.set_yticks(range(len(counts)), names)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    bar = result.colorbar(drawn, ax=ax, shrink=0.8, label="share of the true class")
    bar.outline.set_visible(False)
    return result
