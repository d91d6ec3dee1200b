"""A multimeter of membrane voltages."""

from ...values import Values
from .multimeter import Multimeter


class Voltmeter(Multimeter):
    """NEST's `voltmeter`."""

    name = "voltmeter"

    @classmethod
    def parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().parameters() | {"record_from": ("V_m",)}
