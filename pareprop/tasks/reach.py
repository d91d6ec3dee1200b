"""Reach: move to a goal on the unit square, in steps of 0.1 in four directions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from .. import rng
from ..values import Values
from .closed import CodedBase

STEP = 0.1
NEAR = 0.1  # an episode ends at less than this distance from the goal, in both coordinates
APART = 0.2  # start and goal are at least this far apart, in one coordinate
SHOWN = 6  # the paths of this many episodes of the test are drawn
MOVES = np.array([(STEP, 0.0), (-STEP, 0.0), (0.0, STEP), (0.0, -STEP)])


class Plane:
    """The square: +1 at the goal, a `cost` for each decision; the observation is goal minus position.

    `key` is the key of the draws (see `rng.make_key`); an episode is cut off after `n_decisions`.
    """

    def __init__(self, key: np.ndarray, n_decisions: int, cost: float) -> None:
        draws = rng.draw_uniform(key, [0], 4)[0]
        self.position, self.goal = draws[:2].copy(), draws[2:].copy()
        if np.all(np.abs(self.goal - self.position) < APART):
            self.goal = (self.position + 0.5) % 1.0
        self._left, self._cost = n_decisions, cost

    def reset(self) -> tuple[np.ndarray, dict[str, float]]:
        """Return the first observation."""
        return self.goal - self.position, self._list_info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """Move; see `Environment.step`."""
        self.position = np.clip(self.position + MOVES[action], 0.0, 1.0)
        self._left -= 1
        there = bool(np.all(np.abs(self.goal - self.position) < NEAR))
        reward = float(there) - self._cost
        return self.goal - self.position, reward, there, self._left == 0 and not there, self._list_info()

    def _list_info(self) -> dict[str, float]:
        (x, y), (goal_x, goal_y) = map(float, self.position), map(float, self.goal)
        return {"x": x, "y": y, "goal_x": goal_x, "goal_y": goal_y}


class Reach(CodedBase):
    """Times are in steps of 1 ms."""

    name: ClassVar[str] = "reach"
    summary: ClassVar[str] = "move to a goal on a plane, learned from rewards in closed loop"
    low: ClassVar[tuple[float, ...]] = (-1.0, -1.0)  # goal minus position
    high: ClassVar[tuple[float, ...]] = (1.0, 1.0)

    gamma: float = Field(0.97, ge=0, le=1, description="discount per decision")
    lambda_: float = Field(0.9, ge=0, le=1, description="decay of the traces of TD(lambda)")
    decisions: int = Field(30, ge=1, description="decisions of an episode at most")
    cost: float = Field(0.02, ge=0, description="cost of a decision; the goal is worth 1")

    @property
    def n_actions(self) -> int:
        """Number of directions."""
        return len(MOVES)

    def list_attributes(self) -> Values:
        """Return names for the figures."""
        return super().list_attributes() | {"action_names": ("right", "left", "up", "down"), "near": NEAR}

    def list_recorded_samples(self) -> dict[tuple[str, int], str]:
        """Return the episodes whose dynamics are recorded: some more of the test, for their paths."""
        more = range(1, min(self.test_samples, SHOWN))
        return super().list_recorded_samples() | {("test", k): f"test-{k}" for k in more}

    def make_environment(self, index: int, phase: str) -> Plane:
        """Return the plane of an episode."""
        return Plane(self.make_key(index, phase), self.decisions, self.cost)
