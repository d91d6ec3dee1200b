"""Settings of rewiring (synapses move while they learn), and their checks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from ..errors import InputError
from .parameters import Frozen
from .rule_base import Described


class Rewire(Frozen):
    """DEEP R with a constant number of synapses per target (Bellec et al. 2018, arXiv:1711.05136).

    With the rule "distance", new sources are drawn so that pairs stay connected with its probabilities; with other
    rules, uniformly from all sources.

    Attributes
    ----------
    l1 : float
        Weights shrink by `l1` times the learning rate with each step of the optimizer; in the spike variant at the end
        of every `every`-th sample.
    temperature : float
        Temperature of the random walk of the weights.
    every : int
        Steps of the optimizer, or samples of the spike variant, between two replacements of dormant synapses.
    """

    l1: float = Field(0.01, ge=0)
    temperature: float = Field(0.0, ge=0)
    every: int = Field(1, ge=1)


def check_projection(projection: Described, here: str) -> None:
    """Raise `InputError` unless the synapses of a projection may move."""
    if projection.rewire and not (projection.plastic and projection.post.role == "recurrent"):
        raise InputError(f"{here}: rewire needs a plastic projection onto neurons")


def check_bounds(projection: Described, low: float, high: float, here: str) -> None:
    """Raise `InputError` if Wmin = `low` or Wmax = `high` excludes a sign that may occur."""
    signs = projection.signs if projection.keeps_signs else np.zeros(1, np.int8)
    if low > 0 or (low == 0 and np.any(signs <= 0)):
        raise InputError(f"{here}: Wmin = {low:g} must be below 0 where synapses are rewired, some may inhibit")
    if high < 0 or (high == 0 and np.any(signs >= 0)):
        raise InputError(f"{here}: Wmax = {high:g} must be above 0 where synapses are rewired, some may excite")


def check_synapses(projection: Described, chunks: Iterable[tuple[np.ndarray, ...]]) -> None:
    """Raise `InputError` for multapses, or for targets with more than half of their possible sources.

    `projection` is rewired. `chunks` are (source, target, delay, index) in the order of `SynapseTable.yield_chunks`; a
    target is in one chunk. The message names the target, the number of its synapses and the bound.
    """
    here = f"projection '{projection.name}'"
    choices = projection.pre.size - (projection.pre == projection.post and not projection.allow_autapses)
    for source, target, _, _ in chunks:
        require_single(here, "rewire", source, target)
        targets, counts = np.unique(target, return_counts=True)
        if len(counts) and 2 * counts.max() > choices:
            worst = int(np.argmax(counts))
            raise InputError(
                f"{here}: target {targets[worst]} has {counts[worst]} synapses, rewire needs at most half of the "
                f"{choices} sources that it may have"
            )


def require_single(here: str, option: str, source: np.ndarray, target: np.ndarray) -> None:
    """Raise `InputError` if there are multapses among synapses in canonical order, which could not be distinguished."""
    twice = np.flatnonzero((np.diff(source) == 0) & (np.diff(target) == 0))
    if len(twice):
        pair = source[twice[0]], target[twice[0]]
        raise InputError(
            f"{here}: source {pair[0]} has two synapses onto target {pair[1]}, {option} needs at most one: "
            "give allow_multapses=False, or another rule"
        )
