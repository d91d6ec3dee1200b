"""The run to predict or to run dry: a task, a configuration file, or the benchmark network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from ..engines.base import Settings
from ..network.model import Model
from ..network.parameters import parse_setting, validate_values
from ..runs import config
from ..runs.benchmark import Bench
from ..simulation.task import Task


@dataclass(frozen=True)
class Subject:
    """A run to predict or to run dry: `model`, `task` and `settings` are the arguments of `Simulation`.

    `samples` is the number of samples of the whole run that train, `evaluated` of samples that validate and test.
    """

    name: str
    model: Model
    task: Task
    settings: Settings
    samples: int
    evaluated: int = 0
    batch: int = 1


def find_subject(source: str, settings: Iterable[str] = (), trust: bool = False) -> Subject:
    """Return the run of a task, of a file ending in .toml, or of "bench", changed by "key=value" settings.

    With `trust`, code that the configuration of a run names may be imported.
    """
    if source == "bench":
        bench = validate_values(Bench, dict(map(parse_setting, settings)), "bench")
        model = bench.build_model()
        return Subject("bench", model, bench.make_task(), model.eprop.make_settings(bench.steps), bench.intervals)
    task = config.load(source, settings, trust).task
    samples, evaluated = task.iterations * task.batch_size, task.test_samples
    if task.validates:
        evaluated += task.iterations // task.validate_every * task.validate_samples
    subject = cast(Task, task.subject)
    return Subject(task.name, task.build_model(), subject, task.make_settings(), samples, evaluated, task.batch_size)
