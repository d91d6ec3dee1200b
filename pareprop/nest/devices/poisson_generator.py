"""A generator of Poisson trains of one rate."""

from .base import Steady, TrainSource


class PoissonGenerator(Steady, TrainSource):
    """NEST's `poisson_generator`."""

    name = "poisson_generator"
