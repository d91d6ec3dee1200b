"""Generators that add nothing to the classes of `base` but a name."""

from .base import ConstantSource, CurrentSource, RateSource, StepFunction, TrainSource


class DcGenerator(ConstantSource, CurrentSource):
    """NEST's `dc_generator`."""

    name = "dc_generator"


class InhomogeneousPoissonGenerator(StepFunction, TrainSource):
    """NEST's `inhomogeneous_poisson_generator`."""

    name, future = "inhomogeneous_poisson_generator", ("rate_times",)


class PoissonGenerator(ConstantSource, TrainSource):
    """NEST's `poisson_generator`."""

    name = "poisson_generator"


class StepCurrentGenerator(StepFunction, CurrentSource):
    """NEST's `step_current_generator`."""

    name = "step_current_generator"


class StepRateGenerator(StepFunction, RateSource):
    """NEST's `step_rate_generator`."""

    name = "step_rate_generator"
