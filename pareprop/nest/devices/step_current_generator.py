"""A generator of a current that changes in steps."""

from .base import CurrentSource, StepFunction


class StepCurrentGenerator(StepFunction, CurrentSource):
    """NEST's `step_current_generator`."""

    name = "step_current_generator"
