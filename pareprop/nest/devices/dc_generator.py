"""A generator of a steady current."""

from .base import CurrentSource, Steady


class DcGenerator(Steady, CurrentSource):
    """NEST's `dc_generator`."""

    name = "dc_generator"
