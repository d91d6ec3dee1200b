"""The tasks: settings, inputs and targets as data. `TASKS` maps the names of the command line to them."""

from pareprop.tasks.base import TaskBase
from pareprop.tasks.sine_waves import SineWaves, SineWavesPlus

TASKS: dict[str, type[TaskBase]] = {"sine-waves": SineWaves, "sine-waves-plus": SineWavesPlus}

__all__ = ["TASKS", "TaskBase"]
