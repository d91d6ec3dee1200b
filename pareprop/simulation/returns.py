"""Returns, lengths, entropies and value errors of episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from .. import elementary
from ..network.reward import Rollout
from ..values import Given


@dataclass
class Returns:
    """Statistics of episodes: lists with one value per episode, in the order of their index.

    Attributes
    ----------
    returns : list of float
        Sum of the rewards, without discount.
    lengths : list of int
        Number of decisions.
    terminated : list of bool
        Whether the episode came to its end; False: its time ran out.
    entropies, value_errors : list of float
        Mean entropy (in nats) of the policy, and mean square of the advantage, over the decisions.
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    value_errors: list[float] = field(default_factory=list)

    @classmethod
    def from_arrays(cls, arrays: Given) -> Returns:
        """Return the statistics that `arrays()` turned into arrays; empty lists for missing ones."""
        return cls(*(list(np.asarray(arrays.get(name, [])).tolist()) for name in NAMES))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as arrays, by the names of `NAMES`; {} without episodes."""
        kinds = {"lengths": np.int64, "terminated": np.uint8}
        return {name: np.array(getattr(self, name), kinds.get(name, float)) for name in NAMES} if self else {}

    def __len__(self) -> int:
        return len(self.returns)

    def add_rollout(self, rollout: Rollout, extra: Mapping[str, np.ndarray]) -> None:
        """Add an episode; `extra` holds entropy and advantage of each decision."""
        self.returns.append(float(elementary.sum_in_order(rollout.rewards)))
        self.lengths.append(len(rollout.when))
        self.terminated.append(rollout.terminated)
        self.entropies.append(float(elementary.mean_in_order(extra["entropy"])))
        self.value_errors.append(float(elementary.mean_in_order(np.square(extra["advantage"]))))

    def append_returns(self, other: Returns) -> None:
        """Append the episodes of `other`."""
        for name in NAMES:
            getattr(self, name).extend(getattr(other, name))

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(elementary.mean_in_order(self.returns))

    def average_returns(self, first: int, last: int) -> dict[str, float]:
        """Return the means over the episodes [first, last), for progress and curves."""
        shown: dict[str, Sequence[float]] = {"return": self.returns, "length": self.lengths, "entropy": self.entropies}
        return {name: float(elementary.mean_in_order(values[first:last])) for name, values in shown.items()}

    def format_line(self, phase: str) -> str:
        """Return the outcome as a line of text."""
        n = len(self)
        error = f" +- {np.std(self.returns, ddof=1) / math.sqrt(n):.2g}" if n > 1 else ""
        return (
            f"{phase} return: {self.mean:.4g}{error} (mean and standard error, n = {n}), length: "
            f"{elementary.mean_in_order(self.lengths):.4g}, terminated: {elementary.mean_in_order(self.terminated):.3f}"
        )


NAMES = tuple(item.name for item in fields(Returns))
