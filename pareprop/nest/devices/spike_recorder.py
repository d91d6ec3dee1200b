"""A recorder of spikes."""

import numpy as np

from ..recorders import EventList
from .base import Recorder


class SpikeRecorder(Recorder):
    """NEST's `spike_recorder`: nodes that spike are connected to it."""

    name = "spike_recorder"

    def make_recording(self, ids: np.ndarray, now: int = 0, late: int = 1) -> EventList:
        """Return the container of its recordings, see `Recorder.make_recording`."""
        return EventList(self.title, self.window, self.dt, {}, at_arrival=False)
