"""Delays and weights of synapses that a rule chooses piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import rng
from ..sonata.edges import Piece
from .parameters import Constant, Normal


def piece(seed: int, item: Any, targets: np.ndarray, counts: np.ndarray, source: np.ndarray, weights: bool) -> Piece:
    """Draw delays and weights of synapses: number k of the target's streams is for its k-th synapse.

    Parameters
    ----------
    seed : int
        Seed of the model.
    item : Projection
        The checked projection.
    targets, counts : np.ndarray
        int64 (n_targets,), targets and their numbers of synapses.
    source : np.ndarray
        int64 (n_synapses,), sources of all of them, target after target.
    weights : bool
        Whether weights are needed; else they are 0.

    Returns
    -------
    Piece
        The synapses, target after target.
    """
    low, high = item.delay
    delay = np.full(len(source), low)
    if high > low:
        delay += np.floor(_own(rng.uniform, seed, item, "delay", targets, counts) * (high - low + 1)).astype(np.int64)
    weight = _weights(seed, item, targets, counts) if weights else np.zeros(len(source))
    if weights and item.normalized:
        weight /= np.sqrt(np.repeat(counts, counts))
    return Piece(source, np.repeat(targets, counts), delay, weight)


def _own(draw: Any, seed: int, item: Any, what: str, targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Draw as many numbers of each target's random stream as it has synapses, targets of like counts together."""
    numbers_of_all = np.empty(counts.sum())
    starts = np.cumsum(counts) - counts
    key, order = rng.key(seed, f"{item.name}/{what}"), np.argsort(counts, kind="stable")
    for some in np.array_split(order, max(1, len(order) // 256)):
        most = int(counts[some].max(initial=0))
        if most:
            numbers, inside = draw(key, targets[some], most), np.arange(most) < counts[some][:, None]
            numbers_of_all[(starts[some][:, None] + np.arange(most))[inside]] = numbers[inside]
    return numbers_of_all


def _weights(seed: int, item: Any, targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    kind = item.weight
    if isinstance(kind, Constant):
        return np.full(counts.sum(), kind.value)
    if isinstance(kind, Normal):
        return kind.mean + kind.std * _own(rng.normal, seed, item, "weight", targets, counts)
    return kind.low + (kind.high - kind.low) * _own(rng.uniform, seed, item, "weight", targets, counts)
