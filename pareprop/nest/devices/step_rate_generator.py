"""A generator of rates that change in steps: targets and learning windows."""

from .base import RateSource, StepFunction


class StepRateGenerator(StepFunction, RateSource):
    """NEST's `step_rate_generator`."""

    name = "step_rate_generator"
