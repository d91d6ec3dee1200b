"""Cart and pole: keep a pole upright by pushing the cart under it left or right (Barto, Sutton and Anderson 1983)."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from .. import elementary, rng
from .closed import CodedBase

GRAVITY, MASS_CART, MASS_POLE, HALF_LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # of Gymnasium's CartPole-v1
X_LIMIT, ANGLE_LIMIT = 2.4, 12 * 2 * math.pi / 360
START = 0.05  # largest size of each number of the initial state


class Cart:
    """The physics and ends of Gymnasium's `CartPole-v1`; state: x, v, angle, angular velocity.

    `key` is the key of the draws (see `rng.make_key`); an episode is cut off after `n_decisions`; each decision gives
    `reward`.
    """

    def __init__(self, key: np.ndarray, n_decisions: int, reward: float) -> None:
        self.state = START * (2.0 * rng.draw_uniform(key, [0], 4)[0] - 1.0)
        self._left, self._reward = n_decisions, reward

    def reset(self) -> tuple[np.ndarray, dict[str, float]]:
        """Return the initial state."""
        return self.state, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """Push left (0) or right (1) for 20 ms of the cart's time; Euler's method, as Gymnasium does."""
        x, v, angle, turn = self.state
        force, total, moment = (FORCE if action == 1 else -FORCE), MASS_CART + MASS_POLE, MASS_POLE * HALF_LENGTH
        cos, sin = elementary.cos(angle), elementary.sin(angle)
        push = (force + moment * np.square(turn) * sin) / total
        turning = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - MASS_POLE * np.square(cos) / total))
        acceleration = push - moment * turning * cos / total
        self.state = np.array((x + TAU * v, v + TAU * acceleration, angle + TAU * turn, turn + TAU * turning))
        self._left -= 1
        fallen = bool(abs(self.state[0]) > X_LIMIT or abs(self.state[2]) > ANGLE_LIMIT)
        return self.state, self._reward, fallen, self._left == 0 and not fallen, {}


class CartPole(CodedBase):
    """Times are in steps of 1 ms."""

    name: ClassVar[str] = "cart-pole"
    summary: ClassVar[str] = "balance a pole on a cart, learned from rewards in closed loop"
    high: ClassVar[tuple[float, ...]] = (2.4, 2.5, 0.21, 2.5)  # x, v, angle, angular velocity
    low: ClassVar[tuple[float, ...]] = tuple(-limit for limit in high)

    iterations: int = Field(200, ge=0, description="training iterations")
    gamma: float = Field(0.98, ge=0, le=1, description="discount per decision")
    lambda_: float = Field(0.95, ge=0, le=1, description="decay of the traces of TD(lambda)")
    c_H: float = Field(0.005, ge=0, description="factor of the entropy bonus")
    period: int = Field(5, ge=1, description="steps between decisions")
    reward: float = Field(0.05, ge=0, description="reward of a decision")

    @property
    def n_actions(self) -> int:
        """Left and right."""
        return 2

    def make_environment(self, index: int, phase: str) -> Cart:
        """Return the cart of an episode."""
        return Cart(self.make_key(index, phase), self.decisions, self.reward)
