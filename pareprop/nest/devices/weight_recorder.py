"""A recorder of the weights with which spikes arrive."""

import numpy as np

from ...values import Values
from ..recorders import EventList
from .base import EMPTY, Recorder


class WeightRecorder(Recorder):
    """NEST's `weight_recorder`: models of synapses name it."""

    name = "weight_recorder"

    @classmethod
    def list_parameters(cls) -> Values:
        """Return parameters with their defaults."""
        return super().list_parameters() | {"senders": EMPTY, "targets": EMPTY}

    def make_recording(self, ids: np.ndarray, now: int = 0, late: int = 1) -> EventList:
        """Return the container of its recordings, see `Recorder.make_recording`."""
        fields = {"targets": np.int64, "weights": float, "receptors": np.int64, "ports": np.int64}
        return EventList(self.title, self.window, self.dt, fields, at_arrival=True)
