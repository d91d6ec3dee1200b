"""A recorder of quantities of neurons and readouts at regular times."""

import numpy as np

from ...values import Values
from ..recorders import Meter
from .base import Recorder


class Multimeter(Recorder):
    """NEST's `multimeter`, which records quantities of the nodes that it is connected to."""

    name = "multimeter"

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().list_parameters() | {"interval": 1.0, "offset": 0.0, "record_from": ()}

    def make_recording(self, ids: np.ndarray, now: int = 0, late: int = 1) -> Meter:
        """Return the container of its recordings, see `Recorder.make_recording`."""
        every, offset = (round(self.get(key) / self.dt) for key in ("interval", "offset"))
        fields = self.get("record_from")
        return Meter(self.title, np.unique(ids), fields, self.window, every, offset, self.dt, now, late)
