"""Scores of a training and of its validations, over its iterations."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np

from ..later import h5py
from ..simulation.returns import Returns
from ..simulation.score import Score
from ..storage.opened import EPOCH
from ..storage.self_description import name_axes
from ..tasks.base import TaskBase
from ..values import Values


class ScoreHistory:
    """Scores of the training iterations, and of the validations between them; `task` has the batch size.

    Attributes
    ----------
    errors : list of float
        Classification error of each training iteration, empty without labels.
    episodes : Returns
        Returns and lengths of the training episodes, in order of their index.
    validations : list of tuple[int, float]
        (number of iterations, error or loss) of each validation.
    validation_losses : list of float
        Loss of each validation.
    n_train : int
        Samples of a pass through the training data (an epoch), 0 where the task makes as many as are asked for.
    n_steps : int
        Steps of a sample with a learning signal.
    """

    def __init__(self, task: TaskBase) -> None:
        self.task = task
        self.errors: list[float] = []
        self.episodes = Returns()
        self.validations: list[tuple[int, float]] = []
        self.validation_losses: list[float] = []
        self.n_train, self.n_steps = 0, 1

    def add_batch(self, score: Score) -> None:
        """Add the score of a training iteration."""
        if score.labels:
            self.errors.append(score.value)
        self.episodes.append_returns(score.episodes)

    def add_validation(self, done: int, score: Score) -> None:
        """Add the score of a validation after `done` iterations."""
        self.validations.append((done, score.value))
        self.validation_losses.append(float(score))

    def is_better(self, value: float, other: float) -> bool:
        """Return whether a validation with `value` is better than one with `other`."""
        return value > other if self.episodes else value < other

    @property
    def best(self) -> int:
        """Index of the best validation, the first of equals."""
        values = [value for _, value in self.validations]
        return values.index(max(values) if self.episodes else min(values))

    def average_returns(self, k: int, batch_size: int) -> dict[str, float]:
        """Return mean return, length and entropy of the episodes of iteration `k`; {} without episodes."""
        return self.episodes.average_returns(k * batch_size, (k + 1) * batch_size) if self.episodes else {}

    def find_accuracy(self, k: int) -> float | None:
        """Return the share of right predictions of iteration `k`, None without labels."""
        return 1.0 - self.errors[k] if k < len(self.errors) else None

    def find_validation(self, done: int, since: int | None = None) -> dict[str, float | None]:
        """Return value, loss and accuracy of the latest validation of those after `since` (None: the one before the
        last iteration) up to `done` iterations, None where there is none.
        """
        first = done - 1 if since is None else since
        found = bisect.bisect_right(self.validations, (done, math.inf)) - 1
        if found < 0 or self.validations[found][0] <= first:
            return dict.fromkeys(("validation", "validation_loss", "validation_accuracy"))
        value, loss = self.validations[found][1], self.validation_losses[found]
        accuracy = 1.0 - value if self.errors else None
        return {"validation": value, "validation_loss": loss, "validation_accuracy": accuracy}

    def _count_epochs(self, done: int) -> int:
        return done * self.task.batch_size // self.n_train

    def summarize_epoch(self, done: int, losses: Sequence[float]) -> dict[str, float | None]:
        """Return how a pass through the training data went that the last of `done` iterations completed; else {}."""
        if not self.n_train or not done or self._count_epochs(done) == self._count_epochs(done - 1):
            return {}
        first = -(-self._count_epochs(done - 1) * self.n_train // self.task.batch_size)
        loss, errors = float(np.mean(losses[first:done])), self.errors[first:done]
        values: dict[str, float | None] = {"epoch": self._count_epochs(done), "iteration": done, "loss": loss}
        values |= {"loss_per_step": loss / self.n_steps, "accuracy": 1.0 - float(np.mean(errors)) if errors else None}
        validation = self.find_validation(done, first)
        return values | {name: validation[name] for name in ("validation_loss", "validation_accuracy")}

    def state(self) -> Values:
        """Return errors, validations and episodes so far."""
        return {
            "errors": np.array(self.errors, float),
            "validations": [list(pair) for pair in self.validations],
            "validation_losses": np.array(self.validation_losses, float),
        } | self.episodes.to_arrays()

    def load_state(self, state: Values) -> None:
        """Restore errors, validations and episodes."""
        self.errors = list(map(float, state["errors"]))
        self.validations = [(int(iteration), float(value)) for iteration, value in state["validations"]]
        self.validation_losses = list(map(float, state["validation_losses"]))
        self.episodes = Returns.from_arrays(state)

    def write(self, file: h5py.File) -> None:
        """Add the scores to the results of a run, and means of each epoch."""
        if self.errors:
            file["error"] = self.errors
        if self.episodes:
            _write_episodes(file, self.episodes, self.task.batch_size)
        if self.validations:
            file["validation/iteration"], file["validation/value"] = zip(*self.validations, strict=True)
            file["validation/loss"] = self.validation_losses
            file["validation/value"].attrs["unit"], file["validation/loss"].attrs["unit"] = self._unit, "1"
        losses = file["loss"][...]
        epochs = [row for k in range(len(losses)) if (row := self.summarize_epoch(k + 1, losses))]
        for name in EPOCH if epochs else ():
            file[f"epochs/{name}"] = [math.nan if row[name] is None else row[name] for row in epochs]
            name_axes(file, f"epochs/{name}", ("epoch",), "1")

    @property
    def _unit(self) -> str:
        if self.episodes:
            return "return"
        return "share of wrong samples" if self.errors else "loss"


def _write_episodes(file: h5py.File, episodes: Returns, batch_size: int) -> None:
    """Write each training episode, and means of each iteration, into the results."""
    arrays: dict[str, Sequence[float] | np.ndarray] = {
        "return": episodes.returns,
        "episode_length": episodes.lengths,
        "terminated": episodes.to_arrays()["terminated"],
    }
    for name, values in arrays.items():
        file[name] = values
        name_axes(file, name, ("episode",), "decisions" if name == "episode_length" else "")
    means: dict[str, Sequence[float]] = {
        "mean_return": episodes.returns,
        "mean_length": episodes.lengths,
        "entropy": episodes.entropies,
        "value_error": episodes.value_errors,
    }
    for name, values in means.items():
        file[name] = np.mean(np.reshape(values, (-1, batch_size)), axis=1)
        name_axes(file, name, ("iteration",), {"entropy": "nats", "mean_length": "decisions"}.get(name, ""))
