"""Environments of Gymnasium that go wrong in the second episode, at its third decision; one that does not."""

import os

import gymnasium
import numpy as np
from gymnasium import spaces


class Faulty(gymnasium.Env):
    """Two numbers in [0, 1]; ends after four decisions."""

    action_space = spaces.Discrete(2, start=5)
    observation_space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,), np.float64), "b": spaces.Discrete(3, start=-1)})

    def __init__(self, fault: str = "") -> None:
        self.fault, self.episode = fault, -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.decision = -1
        return self._observation(), {}

    def _observation(self):
        return {"a": self.np_random.random(2), "b": int(self.np_random.integers(-1, 2))}

    def step(self, action):
        assert action in (5, 6)
        self.decision += 1
        observation, reward, rank = self._observation(), float(action - 5), os.environ.get("OMPI_COMM_WORLD_RANK", "0")
        if (self.episode, self.decision) == (1, 2):
            if self.fault == "raises" or (self.fault == "raises on rank 1" and rank == "1"):
                raise RuntimeError("the robot\nfell over")
            if self.fault == "outside":
                observation["a"][1] = 1.5
            if self.fault == "observation":
                observation["a"] = np.array([0.5, np.nan])
            if self.fault == "reward":
                reward = np.inf
            if self.fault == "nothing":
                reward = None
            if self.fault == "shape":
                observation["a"] = np.array([0.5, 0.5, 0.5])
            if self.fault == "four values":
                return observation, reward, False, {}
            if self.fault == "exit":
                raise SystemExit(0)
            if self.fault == "both ends":
                return observation, reward, True, True, {}
            if self.fault == "own numbers":
                observation["a"] = np.random.default_rng(os.getpid()).random(2)
            if self.fault == "ends on rank 1" and rank == "1":
                return observation, reward, True, False, {}
        return observation, reward, self.decision == 3, False, {}


gymnasium.register("Faulty-v0", Faulty)
