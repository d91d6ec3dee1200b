"""A small task in closed loop."""

import numpy as np

from pareprop import Reply
from pareprop.parallel.spike_log import SpikeLog


class Corridor:
    """A place that actions move; inputs fire by the place, in a raster that depends on the decision alone."""

    def __init__(self, task, index: int, phase: str) -> None:
        self.task, self.place, self.n = task, 2, 0
        self.raster = np.random.default_rng([index, len(phase)]).random((task.n_steps + 50, task.n_inputs))
        self.done = 0

    def _spikes(self, n_steps: int) -> SpikeLog:
        drawn = self.raster[self.done : self.done + n_steps] < 0.1 + 0.12 * self.place
        self.done += n_steps
        return SpikeLog.from_raster(drawn)

    def reset(self) -> Reply:
        return Reply(self._spikes(self.task.first + self.task.sensor_delay), 0.0, observation=np.array([2.0]))

    def step(self, action: int) -> Reply:
        self.place, self.n = self.place + (1 if action else -1), self.n + 1
        over, late = self.place in (0, 4), self.n == self.task.most
        reward = 1.0 if self.place == 4 else -0.1
        return Reply(self._spikes(self.task.period), reward, over, late and not over, {}, np.array([float(self.place)]))


class CorridorTask:
    first, period, n_actions, most, n_inputs, replicated, act, seed = 4, 6, 2, 5, 6, True, "sample", 3

    def __init__(self, sensor_delay: int = 1, bootstrap: bool = True, n_steps: int = 35) -> None:
        self.sensor_delay, self.bootstrap, self.n_steps = sensor_delay, bootstrap, n_steps

    def episode(self, index: int, phase: str = "train") -> Corridor:
        return Corridor(self, index, phase)
