"""Checks of what a script hands to a `Simulation`: tasks, samples and observers, with a hint at what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ..engines.sample import Sample
from ..errors import InputError
from .observer import Observer

HOOKS = [name for name in vars(Observer) if not name.startswith("_") and callable(getattr(Observer, name))]
NEAR = 0.8  # similarity from which a method is taken for a misspelt hook


def check_task(task: Any) -> None:
    """Raise `InputError` unless a task has what the loop asks of it."""
    hints = {
        "n_steps": "the most steps of an episode",
        "first": "the step of the first decision",
        "period": "the steps between decisions",
        "n_actions": "the number of actions",
        **dict.fromkeys(("seed", "sensor_delay", "replicated", "bootstrap", "act"), "derive from pareprop.ClosedTask"),
    } if hasattr(task, "episode") else {
        "n_steps": "the steps of a sample",
        "learning_window": "the last steps of a sample, which have a learning signal",
        "sample": "a method (index, phase) that returns a Sample",
    }  # fmt: skip
    for name, meaning in hints.items():
        if not hasattr(task, name):
            raise InputError(f"task {type(task).__name__}: {name} is missing: {meaning}")


def check_sample(sample: Any, task: Any) -> None:
    """Raise `InputError` unless a task returned a sample."""
    if not isinstance(sample, Sample):
        kind = type(sample).__name__
        raise InputError(
            f"task {type(task).__name__}: sample() returned a {kind}, must return a Sample, such as "
            "Sample.from_raster(raster, target)"
        )


def check_observers(observers: Iterable[Any]) -> None:
    """Raise `InputError` for what is no observer, and for methods that look like misspelt hooks."""
    for observer in observers:
        name = type(observer).__name__
        if isinstance(observer, type):
            raise InputError(f"observer {observer.__name__} is a class; pass an instance, {observer.__name__}()")
        if not isinstance(observer, Observer):
            raise InputError(f"observer {name} must be derived from pareprop.Observer")
        for own in vars(type(observer)):
            near = difflib.get_close_matches(own, HOOKS, 1, NEAR)
            if near and own not in HOOKS and not own.startswith("_"):
                raise InputError(f"observer {name}: {own} is no hook; did you mean {near[0]}?")
