"""Phases around the training: validation, early stopping, the final test; their scores go into the results."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np

from ..errors import quote
from ..later import h5py
from ..simulation.checks import count_available
from ..simulation.observer import Observer, Watched
from ..simulation.returns import NAMES, Returns
from ..simulation.schedule import Annealing
from ..simulation.score import Score
from ..storage.best_weights import BestWeights
from ..storage.opened import EPOCH
from ..storage.self_description import name_axes
from ..tasks.base import TaskBase
from ..values import Values


class Phases(Observer):
    """Validates every `validate_every` iterations, stops early, tests at the end; keeps the scores.

    Must come before observers that write results in `finish`. All ranks have the same signals, so all decide alike.

    Parameters
    ----------
    task : TaskBase
        The task, with the settings of the phases.
    n_iterations : int
        Number of iterations of a complete training, after which the test runs.
    annealing : Annealing or None
        Schedule whose values are shown beside the scores.
    best : BestWeights or None
        Keeps the network of the best validation, which becomes the result.
    tests : bool
        Whether the test follows the training.

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
    test : Score or None
        Score of the final test, None before it.
    stopped_by : str
        Reason of an early end: "bound" (of a validation), "patience" or "observer"; "" without one.
    kept : tuple of int and float, or None
        Iterations and value of the best validation whose network is kept.
    """

    movable = True

    def __init__(
        self,
        task: TaskBase,
        n_iterations: int,
        annealing: Annealing | None = None,
        best: BestWeights | None = None,
        tests: bool = True,
    ) -> None:
        self.task, self.n_iterations, self.best, self.tests = task, n_iterations, best, tests
        self.annealing = annealing or Annealing("constant", 0, {})
        self.errors: list[float] = []
        self.episodes = Returns()
        self.validations: list[tuple[int, float]] = []
        self.validation_losses: list[float] = []
        self.n_train, self.n_steps = 0, 1
        self.test: Score | None = None
        self.stopped_by, self._second = "", math.nan  # value of the validation that confirmed the bound
        self.kept: tuple[int, float] | None = None
        self._needed: set[int] = set()  # iterations of kept networks that the latest checkpoint refers to
        self._trained, self._done = Score(), 0

    def after_batch(self, simulation: Watched, first: int, n: int, phase: str) -> None:
        """Keep the score of a training batch, as another observer may test before `after_iteration`."""
        if phase == "train":
            self._trained = simulation.score

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Keep the error of the iteration; validate if due, and stop if the result is good enough."""
        score = self._trained
        if score.labels:
            self.errors.append(score.value)
        self.episodes.extend(score.episodes)
        task = self.task
        if not task.validate_every or (iteration + 1) % task.validate_every:
            return
        score = self._run(simulation, "validate", task.validate_samples, task.eta_validate)
        value = score.value
        self.validations.append((iteration + 1, value))
        self.validation_losses.append(float(score))
        if self.best is not None and (self.kept is None or self._is_better(value, self.kept[1])):
            self.kept = iteration + 1, value
            self.best.keep(simulation, self._needed)
        if self._is_good(value):
            self._second = self._run(simulation, "validate", task.stop_samples, task.eta_validate).value
        self.stopped_by = self._find_stop("bound")
        simulation.stop_requested = simulation.stop_requested or self.stopped

    @property
    def stopped(self) -> bool:
        """Whether the training stopped early."""
        return bool(self.stopped_by)

    def _is_better(self, value: float, other: float) -> bool:
        return value > other if self.episodes else value < other

    @property
    def _best_validation(self) -> int:
        """Index of the best validation, the first of equals."""
        values = [value for _, value in self.validations]
        return values.index(max(values) if self.episodes else min(values))

    def _find_stop(self, bound: str) -> str:
        """Return why the training ends after the last validation: `bound`, "patience" or "" to go on."""
        if self.validations and self._is_good(self.validations[-1][1]) and self._is_good(self._second):
            return bound
        patience = self.task.patience
        is_late = bool(patience) and len(self.validations) - 1 - self._best_validation >= patience
        return "patience" if is_late else ""

    @property
    def _stop_above(self) -> float | None:
        return getattr(self.task, "stop_above", None)  # of tasks with rewards

    def _is_good(self, value: float) -> bool:
        """Whether a validation with this value ends the training."""
        if self.episodes:
            return self._stop_above is not None and value > self._stop_above
        return bool(self.task.stop_below) and value < self.task.stop_below

    def settle(self, simulation: Watched, asked: list[bool]) -> None:
        """Count a run that an observer ends as complete; one that a signal ends is stopped later, and is not."""
        if simulation.stop_requested and not self.stopped:
            self.stopped_by = "observer"

    def finish(self, simulation: Watched) -> None:
        """Test if the training is complete; after an early stop test at least one sample, if any, for the figures."""
        self._done = simulation.iteration
        has_any = count_available(simulation.task, "test") != 0
        n_samples = max(self.task.test_samples, int(self.stopped and has_any))
        is_complete = self.stopped or simulation.iteration >= self.n_iterations
        if is_complete and self.best is not None and self.kept is not None:
            self.best.restore(simulation, self.kept[0])
        if n_samples and is_complete and self.tests:
            self.test = self._run(simulation, "test", n_samples, self.task.eta_test)

    def _run(self, simulation: Watched, phase: str, n_samples: int, eta: float) -> Score:
        """Run samples of a phase and return their score; with `eta` > 0, learn from them in batches."""
        if eta == 0:
            return simulation.test(n_samples, phase)
        usual = [item.eta for item in simulation.engine.plastic]
        simulation.set_eta(eta)
        batch, scores = self.task.batch_size, []
        for first in range(0, n_samples, batch):
            simulation.run_samples(first, min(batch, n_samples - first), phase, learn=True)
            scores.append(simulation.score)
            simulation.engine.optimize()
        for item, before in zip(simulation.engine.plastic, usual, strict=True):
            item.eta = before
        return Score.join(scores)

    def state(self, simulation: Watched) -> Values:
        """Return errors, validations and episodes so far."""
        self._needed = set() if self.kept is None else {self.kept[0]}
        return {
            "errors": np.array(self.errors, float),
            "validations": [list(pair) for pair in self.validations],
            "validation_losses": np.array(self.validation_losses, float),
            "stopped": self.stopped,
            "stopped_by": self.stopped_by,
            "second": self._second,
            "kept": self.kept,
        } | self.episodes.arrays()

    def load_state(self, state: Values) -> None:
        """Restore errors, validations and episodes."""
        self.errors = list(map(float, state["errors"]))
        self.validations = [(int(iteration), float(value)) for iteration, value in state["validations"]]
        self.validation_losses = list(map(float, state["validation_losses"]))
        self.episodes = Returns.of(state)
        self._second = float(state["second"])
        by = str(state["stopped_by"])
        if by not in ("", "bound", "patience", "observer"):
            raise ValueError(f"stopped_by = {quote(by)} must be what ends a training")
        self.stopped_by = self._find_stop("bound") if by in ("bound", "patience") else by  # bounds may be others now
        kept = state.get("kept")
        self.kept = (int(kept[0]), float(kept[1])) if kept is not None and self.best is not None else None

    def start(self, simulation: Watched) -> None:
        """Keep a resumed run stopped if it had stopped early."""
        self.n_train = count_available(simulation.task, "train") or 0
        self.n_steps = simulation.engine.settings.learning_window or simulation.task.n_steps
        if self.best is not None:
            self.best.forget_after(simulation)
            if self.kept is not None and not self.best.has(simulation, self.kept[0]):
                self.kept = None  # somebody removed it: the best one from here on
            self._needed = set() if self.kept is None else {self.kept[0]}
        simulation.stop_requested = simulation.stop_requested or self.stopped

    def returns_of(self, simulation: Watched, k: int) -> dict[str, float]:
        """Return mean return, length and entropy of the episodes of iteration `k`; {} without episodes."""
        n = simulation.model.optimizer.batch_size
        return self.episodes.means(k * n, (k + 1) * n) if self.episodes else {}

    def accuracy(self, k: int) -> float | None:
        """Return the share of right predictions of iteration `k`, None without labels."""
        return 1.0 - self.errors[k] if k < len(self.errors) else None

    def validation(self, done: int, since: int | None = None) -> dict[str, float | None]:
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

    def _passes(self, done: int) -> int:
        return done * self.task.batch_size // self.n_train

    def epoch(self, done: int, losses: Sequence[float]) -> dict[str, float | None]:
        """Return how a pass through the training data went that the last of `done` iterations completed; else {}."""
        if not self.n_train or not done or self._passes(done) == self._passes(done - 1):
            return {}
        first = -(-self._passes(done - 1) * self.n_train // self.task.batch_size)
        loss, errors = float(np.mean(losses[first:done])), self.errors[first:done]
        values: dict[str, float | None] = {"epoch": self._passes(done), "iteration": done, "loss": loss}
        values |= {"loss_per_step": loss / self.n_steps, "accuracy": 1.0 - float(np.mean(errors)) if errors else None}
        validation = self.validation(done, first)
        return values | {name: validation[name] for name in ("validation_loss", "validation_accuracy")}

    def latest(self, simulation: Watched) -> dict[str, float]:
        """Return loss, or return, length and entropy of episodes, of the last iteration, then scheduled values."""
        k = simulation.iteration - 1
        shown = self.returns_of(simulation, k) if self.episodes else {"loss": simulation.losses[-1]}
        return shown | self.annealing.values(k)

    def lines(self) -> list[str]:
        """Return the outcome as lines of text."""
        lines = []
        if self.stopped_by == "observer":
            lines.append(f"stopped after {self._done} iterations: an observer asked for it")
        elif self.stopped_by == "patience":
            iteration, value = self.validations[self._best_validation]
            reason = f"none of {self.task.patience} validations was better than {value:.4g} after {iteration}"
            lines.append(f"stopped after {self.validations[-1][0]} iterations: {reason}")
        elif self.stopped:
            iteration, value = self.validations[-1]
            bound = f"above {self._stop_above:g}" if self.episodes else f"below {self.task.stop_below:g}"
            lines.append(f"stopped after {iteration} iterations: validation {value:.4g} {bound}")
        if self.episodes:
            n, returns = self.task.batch_size, self.episodes.returns
            first, last = np.mean(returns[:n]), np.mean(returns[-n:])
            lines.append(f"return: {first:.4g} in the first iteration, {last:.4g} in the last")
        if self.best is not None and self.kept is not None and (self.stopped or self._done >= self.n_iterations):
            lines.append(f"weights: those after {self.kept[0]} iterations, the best validation ({self.kept[1]:.4g})")
        return lines + ([self.test.line("test")] if self.test is not None else [])

    def write(self, file: h5py.File) -> None:
        """Add the scores to the results of a run: /error, /validation, /test, and what ended it early."""
        file.attrs["stopped_by"] = self.stopped_by
        for name, values in self.task.arrays().items():
            file[name] = values
        if self.errors:
            file["error"] = self.errors
        if self.episodes:
            _write_episodes(file, self.episodes, self.task.batch_size)
        if self.validations:
            file["validation/iteration"], file["validation/value"] = zip(*self.validations, strict=True)
            file["validation/loss"] = self.validation_losses
            file["validation/value"].attrs["unit"], file["validation/loss"].attrs["unit"] = self._unit, "1"
            if self.kept is not None:
                file["validation"].attrs["weights_after"] = self.kept[0]
        losses = file["loss"][...]
        epochs = [row for k in range(len(losses)) if (row := self.epoch(k + 1, losses))]
        for name in EPOCH if epochs else ():
            file[f"epochs/{name}"] = [math.nan if row[name] is None else row[name] for row in epochs]
            name_axes(file, f"epochs/{name}", ("epoch",), "1")
        if self.test is not None:
            self._write_test(file.create_group("test"), self.test)

    @property
    def _unit(self) -> str:
        if self.episodes:
            return "return"
        return "share of wrong samples" if self.errors else "loss"

    @staticmethod
    def _write_test(group: h5py.Group, test: Score) -> None:
        group["loss"] = test.losses
        for name in NAMES if test.episodes else ():
            group[name] = getattr(test.episodes, name)
        if test.interval is not None:
            group["labels"], group["predictions"] = test.labels, test.predictions
            low, high = test.interval
            group.attrs.update(accuracy=test.accuracy, interval_low=low, interval_high=high, n_classes=test.n_classes)


def _write_episodes(file: h5py.File, episodes: Returns, batch_size: int) -> None:
    """Write each training episode, and means of each iteration, into the results."""
    arrays: dict[str, Sequence[float] | np.ndarray] = {
        "return": episodes.returns, "episode_length": episodes.lengths, "terminated": episodes.arrays()["terminated"],
    }  # fmt: skip
    for name, values in arrays.items():
        file[name] = values
        name_axes(file, name, ("episode",), "decisions" if name == "episode_length" else "")
    means: dict[str, Sequence[float]] = {
        "mean_return": episodes.returns, "mean_length": episodes.lengths, "entropy": episodes.entropies,
        "value_error": episodes.value_errors,
    }  # fmt: skip
    for name, values in means.items():
        file[name] = np.mean(np.reshape(values, (-1, batch_size)), axis=1)
        name_axes(file, name, ("iteration",), {"entropy": "nats", "mean_length": "decisions"}.get(name, ""))
