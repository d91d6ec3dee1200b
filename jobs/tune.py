"""Tune settings of a configuration with Optuna; runs that fall behind others are pruned.

    python -m pareprop.jobs.tune digits.toml --out runs/tune --log eta=1e-4:1e-1 --linear batch_size=8:64 --trials 20

The same command continues with further trials, and several at a time share the study. Validation is compared, so
that the configuration needs `validate_every`; nothing is tested.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path

from pareprop import InputError, Observer, run
from pareprop.errors import NotFiniteError, ParepropError
from pareprop.runs import config
from pareprop.simulation import Score
from pareprop.simulation.observer import Watched
from pareprop.simulation.task import is_closed

try:
    import optuna
except ImportError:
    print("tune: needs Optuna (extra `tune`): pip install optuna", file=sys.stderr)
    sys.exit(2)


class Pruner(Observer):
    """Reports each validation to a trial, and ends the training when the trial has fallen behind."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.is_pruned = trial, False
        self.scores: list[Score] = []

    def after_batch(self, simulation: Watched, first: int, n: int, phase: str) -> None:
        """Keep the score of a batch of a validation."""
        if phase == "validate":
            self.scores.append(simulation.score)

    def handle_requests(self, simulation: Watched, asked: list[bool]) -> None:
        """Report the validation of this iteration, if there was one."""
        if self.scores:
            self.trial.report(Score.join_scores(self.scores).value, simulation.iteration)
            self.scores, self.is_pruned = [], self.trial.should_prune()
            simulation.stop_requested = simulation.stop_requested or self.is_pruned


def read_range(text: str, log: bool) -> tuple[str, float, float]:
    """Return key, lowest and highest value of KEY=LOW:HIGH; on a linear scale as `int` if both are whole."""
    key, _, ends = text.partition("=")
    low, _, high = ends.partition(":")
    try:
        pair = float(low), float(high)
    except ValueError:
        raise InputError(f"'{text}' must be KEY=LOW:HIGH") from None
    if not key or not all(map(math.isfinite, pair)) or not pair[0] < pair[1]:
        raise InputError(f"'{text}' must be KEY=LOW:HIGH with LOW below HIGH")
    return key, *(map(int, pair) if not log and all(map(float.is_integer, pair)) else pair)


def suggest(trial: optuna.Trial, ranges: list[tuple[str, float, float]], log: bool) -> dict[str, float]:
    """Draw the settings of a trial; a range of `int` has whole numbers alone."""
    chosen: dict[str, float] = {}
    for key, low, high in ranges:
        if isinstance(low, int):
            chosen[key] = trial.suggest_int(key, low, int(high))
        else:
            chosen[key] = trial.suggest_float(key, low, high, log=log)
    return chosen


def main() -> None:
    """Run the trials, then print the best one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="task or configuration file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study and of a run for each trial")
    for name, metavar, meaning in (
        ("log", "KEY=LOW:HIGH", "range on a logarithmic scale"),
        ("linear", "KEY=LOW:HIGH", "range on a linear scale"),
        ("set", "KEY=VALUE", "setting of all trials"),
    ):
        parser.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=meaning)
    parser.add_argument("--trials", type=int, default=20, help="trials of this call")
    parser.add_argument("--warm-up", type=int, default=5, help="trials before the first one is pruned")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draws")
    given = parser.parse_args()
    scales = {log: [read_range(text, log) for text in (given.log if log else given.linear)] for log in (True, False)}
    if not any(scales.values()):
        raise InputError("give a range: --log KEY=LOW:HIGH or --linear KEY=LOW:HIGH")
    for key, low, _ in scales[True]:
        if low <= 0:
            raise InputError(f"--log {key}: {low:g} must be above 0")

    def settings_of(chosen: dict[str, float]) -> list[str]:
        return [*given.set, *(f"{key}={value!r}" for key, value in chosen.items())]

    def load(chosen: dict[str, float]) -> config.Config:
        return config.load(given.source, (*settings_of(chosen), "figures=none", "test_samples=0"))

    ends = [load({key: end[k] for ranges in scales.values() for key, *end in ranges}) for k in range(2)]
    if not all(one.task.validates for one in ends):
        raise InputError(f"{given.source}: trials are compared by validation: give validate_every")

    def train(trial: optuna.Trial) -> float:
        chosen = {key: value for log, ranges in scales.items() for key, value in suggest(trial, ranges, log).items()}
        one, pruner = load(chosen), Pruner(trial)
        place = given.out / f"trial-{trial.number:04d}"
        options = {"record": one.record, "checkpoint": one.checkpoint, "quiet": True}
        try:
            done = run(None, one.task, place, observers=[pruner], **options)
        except NotFiniteError as problem:  # a bad setting, not a fault
            print(f"trial {trial.number}: {problem}", flush=True)
            raise optuna.TrialPruned from None
        if pruner.is_pruned:
            raise optuna.TrialPruned
        values = [value for _, value in done.validations]
        return max(values) if rewarded else min(values)

    rewarded = is_closed(ends[0].task.subject)
    given.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="pareprop",
        storage=f"sqlite:///{given.out.resolve()}/study.db",
        direction="maximize" if rewarded else "minimize",
        sampler=optuna.samplers.TPESampler(seed=given.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=given.warm_up),
        load_if_exists=True,
    )
    study.optimize(train, n_trials=given.trials)
    states = [trial.state.name.lower() for trial in study.trials]
    print(", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states)))
    if "complete" in states:
        best = study.best_trial
        print(f"best: trial {best.number}, validation {best.value:.6g}")
        words = [word for setting in settings_of(best.params) for word in ("--set", setting)]
        print(shlex.join(["pareprop", "run", given.source, *words]))


def start() -> int:
    """Run the trials and return the exit code."""
    try:
        main()
    except ParepropError as problem:
        print(f"tune: {problem}", file=sys.stderr)
        return 2 if isinstance(problem, InputError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(start())
