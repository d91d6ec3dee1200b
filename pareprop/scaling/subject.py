"""The run that is predicted or run dry: of a task, a configuration file, or the benchmark network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal, cast, get_type_hints

from pydantic import Field, create_model

from ..engines.base import Settings
from ..errors import InputError
from ..network.model import Model
from ..network.parameters import Frozen, parse_setting, validate
from ..network.variants import DEFAULT, VariantName
from ..runs import benchmark, config
from ..simulation.task import Task
from ..values import Values


class Sizes(Frozen):
    """Sizes of the benchmark network, as options of `pareprop bench`."""

    variant: VariantName = DEFAULT
    neurons: int = Field(2000, ge=1)
    indegree: int = Field(100, ge=0)
    inputs: int = Field(100, ge=1)
    steps: int = Field(1000, ge=1)
    intervals: int = Field(1, ge=1)
    delay: int = Field(1, ge=1)
    seed: int = Field(1, ge=0)
    precision: Literal["double", "single"] = "double"


KINDS = get_type_hints(benchmark.Axes)
AXES: Values = {axis.name: (KINDS[axis.name], axis.default) for axis in fields(benchmark.Axes)}
Benchmark: type[Sizes] = create_model("Benchmark", __base__=Sizes, **AXES)


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
        return _benchmark(settings)
    task = config.load(source, settings, trust).task
    samples, evaluated = task.iterations * task.batch_size, task.test_samples
    if task.validates:
        evaluated += task.iterations // task.validate_every * task.validate_samples
    subject = cast(Task, task.subject)
    return Subject(task.name, task.model(), subject, task.settings(), samples, evaluated, task.batch_size)


def _benchmark(settings: Iterable[str]) -> Subject:
    chosen = validate(Benchmark, dict(map(parse_setting, settings)), "bench")
    sizes = chosen.model_dump(include={"neurons", "indegree", "inputs", "steps", "intervals", "delay"})
    benchmark.check(**sizes)
    if chosen.indegree >= chosen.neurons:
        raise InputError(f"bench: indegree = {chosen.indegree} must be below the {chosen.neurons} neurons")
    axes = benchmark.Axes(**chosen.model_dump(include=set(AXES)))
    network = chosen.neurons, chosen.indegree, chosen.inputs, chosen.seed, chosen.delay, chosen.variant
    model = benchmark.model(*network, chosen.precision, axes)
    task = benchmark.BenchTask(chosen.inputs, chosen.steps, chosen.seed, axes.readouts)
    return Subject("bench", model, task, model.eprop.settings(chosen.steps), chosen.intervals)
