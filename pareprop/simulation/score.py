"""How well samples went: mean loss, accuracy, confusion, returns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

import numpy as np

from .. import elementary
from .returns import Returns

Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


def compute_wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion `n_right` / `n` (Wilson 1927, doi 10.1080/01621459.1927.10502953)."""
    share, zz = n_right / n, Z95 * Z95 / n
    centre = (share + zz / 2) / (1 + zz)
    half = Z95 * math.sqrt(share * (1 - share) / n + zz / (4 * n)) / (1 + zz)
    return max(centre - half, 0.0), min(centre + half, 1.0)


class Score(float):
    """Score of some samples: a number, their mean loss, with the losses, classes and episodes behind it.

    Attributes
    ----------
    losses : list of float
        Loss of each sample.
    labels, predictions : list of int
        Class and predicted class of each sample that has a label.
    episodes : Returns
        Returns and lengths of episodes.
    n_classes : int
        Number of classes, or of readouts if they are more; 0 without labels.

    Examples
    --------
    >>> test = simulation.test(100)
    >>> test.accuracy, test.interval, test.confusion, test.counts
    """

    losses: list[float]
    labels: list[int]
    predictions: list[int]
    episodes: Returns
    n_classes: int

    def __new__(
        cls,
        losses: Iterable[float] = (),
        labels: Iterable[int] = (),
        predictions: Iterable[int] = (),
        episodes: Returns | None = None,
        n_classes: int = 0,
    ) -> Score:
        """Make a score; its number is the mean loss, NaN without samples."""
        losses = [float(loss) for loss in losses]
        self = super().__new__(cls, fmean(losses) if losses else math.nan)
        self.losses = losses
        self.labels, self.predictions = list(map(int, labels)), list(map(int, predictions))
        self.episodes = Returns() if episodes is None else episodes
        self.n_classes = max([n_classes - 1, *self.labels, *self.predictions]) + 1 if self.labels else 0
        return self

    def __getnewargs__(self) -> tuple[object, ...]:  # type: ignore[override]  # copies and pickles
        """Return the arguments that make an equal score."""
        return self.losses, self.labels, self.predictions, self.episodes, self.n_classes

    @classmethod
    def join_scores(cls, scores: Iterable[Score]) -> Score:
        """Return the score of the samples of all scores, in their order."""
        scores, episodes = list(scores), Returns()
        for score in scores:
            episodes.append_returns(score.episodes)
        losses, labels, predictions = (
            [item for score in scores for item in getattr(score, name)] for name in ("losses", "labels", "predictions")
        )
        return cls(losses, labels, predictions, episodes, max((score.n_classes for score in scores), default=0))

    @property
    def n_right(self) -> int:
        """Number of samples with a right prediction."""
        return int(np.sum(np.equal(self.labels, self.predictions)))

    @property
    def accuracy(self) -> float | None:
        """Share of samples with a right prediction; None without labels."""
        return self.n_right / len(self.labels) if self.labels else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the accuracy, see `wilson`; None without labels."""
        return compute_wilson_interval(self.n_right, len(self.labels)) if self.labels else None

    @property
    def confusion(self) -> np.ndarray:
        """Samples of each class (row) by predicted class (column), int64 (n_classes, n_classes)."""
        n = self.n_classes
        places = np.array(self.labels, np.int64) * n + np.array(self.predictions, np.int64)
        return np.bincount(places, minlength=n * n).reshape(n, n)

    @property
    def counts(self) -> np.ndarray:
        """Samples of each class, int64 (n_classes,)."""
        return self.confusion.sum(axis=1, dtype=np.int64)

    @property
    def class_accuracy(self) -> np.ndarray:
        """Share of right predictions of each class, float64 (n_classes,); NaN of a class without samples."""
        counts = self.counts
        return np.divide(np.diag(self.confusion), counts, out=np.full(len(counts), np.nan), where=counts > 0)

    @property
    def value(self) -> float:
        """Mean return of episodes, classification error, or the mean loss where there are no labels."""
        if self.episodes:
            return self.episodes.mean
        return 1.0 - self.n_right / len(self.labels) if self.labels else float(elementary.mean_in_order(self.losses))

    def format_line(self, phase: str) -> str:
        """Return the score as a line of text."""
        if self.episodes:
            return self.episodes.format_line(phase)
        if self.interval is None:
            return f"{phase} loss: {elementary.mean_in_order(self.losses):.6g}"
        n, (low, high) = len(self.labels), self.interval
        return f"{phase} accuracy: {self.n_right / n:.3f} (95 % interval {low:.2f} to {high:.2f}, n = {n})"

    def __repr__(self) -> str:
        return f"Score({self.format_line('mean' if not self.labels else '').strip()})" if self.losses else "Score()"

    def __str__(self) -> str:  # `print` shows the number alone, which scripts read
        return float.__repr__(self)
