"""The run that is predicted or run dry: of a task, a configuration file, or the benchmark network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from ..engines.base import Settings
from ..network.model import Model
from ..network.parameters import parse_setting, validate
from ..runs import config
from ..runs.benchmark import Bench
from ..simulation.task import Task


@dataclass(frozen=True)
class Subject:
    """A run that is predicted or run dry.

    Attributes
    ----------
    name : str
        Name of the task, or "bench".
    model, task, settings : Model, Task, Settings
        Arguments of `Simulation`.
    samples : int
        Number of samples of the whole run that train.
    evaluated : int
        Number of samples that validate and test.
    batch : int
        Samples of a batch.
    """

    name: str
    model: Model
    task: Task
    settings: Settings
    samples: int
    evaluated: int = 0
    batch: int = 1


def find(source: str, settings: Iterable[str] = (), trust: bool = False) -> Subject:
    """Return the subject named by a task, a file ending in .toml, or "bench", changed by "key=value" settings.

    With `trust`, code that the configuration of a run names may be imported.

    Raises
    ------
    InputError
        For anything unknown or out of range.
    """
    if source == "bench":
        bench = validate(Bench, dict(map(parse_setting, settings)), "bench")
        model = bench.model()
        return Subject("bench", model, bench.task(), model.eprop.settings(bench.steps), bench.intervals)
    task = config.load(source, settings, trust).task
    samples, evaluated = task.iterations * task.batch_size, task.test_samples
    if task.validates:
        evaluated += task.iterations // task.validate_every * task.validate_samples
    subject = cast(Task, task.subject)
    return Subject(task.name, task.model(), subject, task.settings(), samples, evaluated, task.batch_size)
