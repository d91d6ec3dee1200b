"""A generator of Poisson trains whose rate changes in steps."""

from .base import StepFunction, TrainSource


class InhomogeneousPoissonGenerator(StepFunction, TrainSource):
    """NEST's `inhomogeneous_poisson_generator`."""

    name, future = "inhomogeneous_poisson_generator", ("rate_times",)
