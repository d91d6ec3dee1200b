"""A multimeter of membrane voltages."""

from ...values import Values
from .multimeter import Multimeter


class Voltmeter(Multimeter):
    """NEST's `voltmeter`."""

    name = "voltmeter"

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().list_parameters() | {"record_from": ("V_m",)}
