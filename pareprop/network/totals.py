"""Divide a total number of synapses among targets at random; each rank draws only the numbers of its targets.

A binary tree over the targets: the synapses of a node are divided between its halves by a binomial number, which is
keyed by the node. A rank visits only the nodes that contain its targets.
"""

from __future__ import annotations

import numpy as np

from .. import elementary, rng

FEW = 10.0  # binomial numbers with a lower mean are drawn by summing probabilities, others by rejection
TRIALS = 4  # proposals in the first round of rejection; four times as many in each further round


def divide_total(key: np.ndarray, n: int, size: int, low: int, high: int) -> np.ndarray:
    """Return the numbers of synapses of the targets [low, high), int64 (high - low,).

    Each of `n` synapses chooses one of `size` targets with equal probability. `key` is uint64 (2,), from
    `rng.make_key`.
    """
    counts = np.zeros(max(high - low, 0), np.int64)
    nodes = np.array([[0], [size], [1], [n]], np.int64)  # first target, one past the last, number, synapses
    while nodes.shape[1]:
        nodes = nodes[:, (nodes[0] < high) & (nodes[1] > low)]
        leaf = nodes[1] - nodes[0] == 1
        counts[nodes[0, leaf] - low] = nodes[3, leaf]
        first, last, number, share = nodes[:, ~leaf]
        middle = (first + last) // 2
        left = draw_binomial(key, number, share, (middle - first) / (last - first))
        halves = [first, middle, 2 * number, left], [middle, last, 2 * number + 1, share - left]
        nodes = np.concatenate([np.array(half, np.int64).reshape(4, -1) for half in halves], axis=1)
    return counts


def draw_binomial(key: np.ndarray, ids: np.ndarray, n: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Draw binomial numbers, one from each stream: int64 (k,).

    By inversion if the mean is small, else by transformed rejection with squeeze (Hörmann 1993, algorithm BTRS,
    doi 10.1080/00949659308811496). `key` is uint64 (2,), from `rng.make_key`; `ids` (k,) are the streams, non-negative
    integers; `n` int64 (k,) the trials; `p` float64 (k,) the probability of a hit, above 0 and at most 1/2.
    """
    drawn = np.zeros(len(ids), np.int64)
    few = n * p < FEW
    if np.any(few):
        drawn[few] = _invert_cumulative(rng.draw_uniform(key, ids[few], 1)[:, 0], n[few], p[few])
    waiting, trials = np.flatnonzero(~few), TRIALS
    while len(waiting):
        numbers = rng.draw_uniform(key, ids[waiting], 2 * trials)
        value, accepted = _propose_numbers(numbers[:, ::2], numbers[:, 1::2], n[waiting, None], p[waiting, None])
        first = np.argmax(accepted, axis=1)
        done = accepted.any(axis=1)
        drawn[waiting[done]] = value[done, first[done]]
        waiting, trials = waiting[~done], 4 * trials
    return drawn


def _invert_cumulative(u: np.ndarray, n: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the lowest numbers whose cumulative probability is above `u`."""
    numbers, odds = np.zeros(len(u), np.int64), p / (1.0 - p)
    chance = elementary.exp(n * elementary.log(1.0 - p))
    total = chance.copy()
    while np.any(more := (u >= total) & (numbers < n)):
        numbers[more] += 1
        chance[more] *= odds[more] * (n[more] - numbers[more] + 1) / numbers[more]
        total[more] += chance[more]
    return numbers


def _propose_numbers(u: np.ndarray, v: np.ndarray, n: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return proposed numbers, and whether they are accepted."""
    q, mode = 1.0 - p, np.floor((n + 1) * p)
    spread = np.sqrt(n * p * q)
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    u = u - 0.5
    edge = np.maximum(0.5 - np.abs(u), 2.0**-60)
    k = np.floor((2.0 * a / edge + b) * u + n * p + 0.5)
    squeezed = (edge >= 0.07) & (v <= 0.92 - 4.2 / b)
    inside = (k >= 0) & (k <= n)
    k = np.where(inside, k, 0.0)
    height = np.maximum(v, 2.0**-60) * (2.83 + 5.1 / b) * spread / (a / np.square(edge) + b)
    bound = (
        (mode + 0.5) * elementary.log((mode + 1.0) / (p / q * (n - mode + 1.0)))
        + (n + 1.0) * elementary.log((n - mode + 1.0) / (n - k + 1.0))
        + (k + 0.5) * elementary.log(p / q * (n - k + 1.0) / (k + 1.0))
        + _compute_stirling(mode)
        + _compute_stirling(n - mode)
        - _compute_stirling(k)
        - _compute_stirling(n - k)
    )
    return k.astype(np.int64), inside & (squeezed | (elementary.log(height) <= bound))


EXACT = np.array(
    [  # `_stirling` of 0 to 9
        0.08106146679532726,
        0.0413406959554093,
        0.02767792568499834,
        0.020790672103765093,
        0.016644691189821193,
        0.013876128823070748,
        0.01189670994589177,
        0.010411265261972096,
        0.009255462182712733,
        0.00833056343336287,
    ]
)


def _compute_stirling(k: np.ndarray) -> np.ndarray:
    """Return log(k!) minus Stirling's (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2."""
    square = np.square(k + 1.0)
    series = (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - 1.0 / 1680 / square) / square) / square) / (k + 1.0)
    return np.where(k < len(EXACT), EXACT[np.minimum(k, len(EXACT) - 1).astype(int)], series)
