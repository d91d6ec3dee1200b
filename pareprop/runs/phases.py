"""Phases around the training: validation, early stopping, the final test; their scores go into the results."""

from __future__ import annotations

import math

import numpy as np

from ..errors import quote
from ..later import h5py
from ..simulation.checks import count_available
from ..simulation.observer import Observer, Watched
from ..simulation.returns import NAMES
from ..simulation.schedule import Annealing
from ..simulation.score import Score
from ..storage.best_weights import BestWeights
from ..tasks.base import TaskBase
from ..values import Values
from .score_history import ScoreHistory


class Phases(Observer):
    """Validates every `validate_every` iterations, stops early, tests at the end; keeps the scores.

    It must come before observers that write results in `finish`. All ranks have the same signals, so all decide alike.
    A complete training has `n_iterations`, after which the test runs if `tests`. Values of the schedule `annealing` are
    shown next to the scores; `best` stores the network of the best validation, which becomes the result.

    Attributes
    ----------
    history : ScoreHistory
        Scores of the training and of the validations so far.
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
        self.history = ScoreHistory(task)
        self._stop_above: float | None = getattr(task, "stop_above", None)  # of tasks with rewards
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
        """Keep the error of the iteration; validate after each interval, and stop if the result is good enough."""
        history, task = self.history, self.task
        history.add_batch(self._trained)
        if not task.validate_every or (iteration + 1) % task.validate_every:
            return
        score = self._run(simulation, "validate", task.validate_samples, task.eta_validate)
        value = score.value
        history.add_validation(iteration + 1, score)
        if self.best is not None and (self.kept is None or history.is_better(value, self.kept[1])):
            self.kept = iteration + 1, value
            self.best.save_network(simulation, self._needed)
        if self._is_good(value):
            self._second = self._run(simulation, "validate", task.stop_samples, task.eta_validate).value
        self.stopped_by = self._find_stop("bound")
        simulation.stop_requested = simulation.stop_requested or self.stopped

    @property
    def stopped(self) -> bool:
        """Whether the training stopped early."""
        return bool(self.stopped_by)

    def _find_stop(self, bound: str) -> str:
        """Return why the training ends after the last validation: `bound`, "patience" or "" to continue."""
        validations, patience = self.history.validations, self.task.patience
        if validations and self._is_good(validations[-1][1]) and self._is_good(self._second):
            return bound
        is_late = bool(patience) and len(validations) - 1 - self.history.best >= patience
        return "patience" if is_late else ""

    def _is_good(self, value: float) -> bool:
        """Whether a validation with this value ends the training."""
        if self.history.episodes:
            return self._stop_above is not None and value > self._stop_above
        return bool(self.task.stop_below) and value < self.task.stop_below

    def handle_requests(self, simulation: Watched, asked: list[bool]) -> None:
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
            self.best.restore_network(simulation, self.kept[0])
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
            simulation.engine.step_optimizers()
        for item, before in zip(simulation.engine.plastic, usual, strict=True):
            item.eta = before
        return Score.join_scores(scores)

    def state(self, simulation: Watched) -> Values:
        """Return errors, validations and episodes so far."""
        self._needed = set() if self.kept is None else {self.kept[0]}
        return self.history.state() | {
            "stopped": self.stopped,
            "stopped_by": self.stopped_by,
            "second": self._second,
            "kept": self.kept,
        }

    def load_state(self, state: Values) -> None:
        """Restore errors, validations and episodes."""
        self.history.load_state(state)
        self._second = float(state["second"])
        by = str(state["stopped_by"])
        if by not in ("", "bound", "patience", "observer"):
            raise ValueError(f"stopped_by = {quote(by)} must be what ends a training")
        self.stopped_by = self._find_stop("bound") if by in ("bound", "patience") else by  # bounds may be others now
        best_validation = state.get("kept")
        self.kept = (
            (int(best_validation[0]), float(best_validation[1]))
            if best_validation is not None and self.best is not None
            else None
        )

    def start(self, simulation: Watched) -> None:
        """Keep a resumed run stopped if it had stopped early."""
        self.history.n_train = count_available(simulation.task, "train") or 0
        self.history.n_steps = simulation.engine.settings.learning_window or simulation.task.n_steps
        if self.best is not None:
            self.best.forget_after(simulation)
            if self.kept is not None and not self.best.has_network(simulation, self.kept[0]):
                self.kept = None  # the files were removed: search the best network from here on
            self._needed = set() if self.kept is None else {self.kept[0]}
        simulation.stop_requested = simulation.stop_requested or self.stopped

    def summarize_iteration(self, simulation: Watched) -> dict[str, float]:
        """Return loss, or return, length and entropy of episodes, of the last iteration, then scheduled values."""
        k = simulation.iteration - 1
        returns = self.history.average_returns(k, simulation.model.optimizer.batch_size)
        shown = returns or {"loss": simulation.losses[-1]}
        return shown | self.annealing.compute_rates(k)

    def format_lines(self) -> list[str]:
        """Return the outcome as lines of text."""
        lines = []
        if self.stopped_by == "observer":
            lines.append(f"stopped after {self._done} iterations: an observer asked for it")
        elif self.stopped_by == "patience":
            iteration, value = self.history.validations[self.history.best]
            reason = f"none of {self.task.patience} validations was better than {value:.4g} after {iteration}"
            lines.append(f"stopped after {self.history.validations[-1][0]} iterations: {reason}")
        elif self.stopped:
            iteration, value = self.history.validations[-1]
            bound = f"above {self._stop_above:g}" if self.history.episodes else f"below {self.task.stop_below:g}"
            lines.append(f"stopped after {iteration} iterations: validation {value:.4g} {bound}")
        if self.history.episodes:
            n, returns = self.task.batch_size, self.history.episodes.returns
            first, last = np.mean(returns[:n]), np.mean(returns[-n:])
            lines.append(f"return: {first:.4g} in the first iteration, {last:.4g} in the last")
        if self.best is not None and self.kept is not None and (self.stopped or self._done >= self.n_iterations):
            lines.append(f"weights: those after {self.kept[0]} iterations, the best validation ({self.kept[1]:.4g})")
        return lines + ([self.test.format_line("test")] if self.test is not None else [])

    def write(self, file: h5py.File) -> None:
        """Add the scores to the results of a run: /error, /validation, /test, and why it ended early."""
        file.attrs["stopped_by"] = self.stopped_by
        for name, values in self.task.list_arrays().items():
            file[name] = values
        self.history.write(file)
        if self.kept is not None and self.history.validations:
            file["validation"].attrs["weights_after"] = self.kept[0]
        if self.test is not None:
            _write_test(file.create_group("test"), self.test)


def _write_test(group: h5py.Group, test: Score) -> None:
    group["loss"] = test.losses
    for name in NAMES if test.episodes else ():
        group[name] = getattr(test.episodes, name)
    if test.interval is not None:
        group["labels"], group["predictions"] = test.labels, test.predictions
        low, high = test.interval
        group.attrs.update(accuracy=test.accuracy, interval_low=low, interval_high=high, n_classes=test.n_classes)
