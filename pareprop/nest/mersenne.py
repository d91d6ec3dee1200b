"""NEST's default random generator, so that a script draws the numbers that it draws with NEST.

64-bit Mersenne Twister (Nishimura 2000, doi 10.1145/369534.369540), seeded by `randutils`' mixing of a few integers
(O'Neill 2015), with the distributions of the GNU C++ library. NEST has one generator per virtual process.
"""

from __future__ import annotations

import math

import numpy as np

N, M = 312, 156  # words of the state, distance of the recurrence
HIGH, LOW = np.uint64(0xFFFFFFFF80000000), np.uint64(0x7FFFFFFF)
TWIST = np.uint64(0xB5026F5AA96619E9)
RANK_SYNCED, THREAD_SPECIFIC = 0xC229212D, 0xB84C9BAE  # NEST's constants for the purpose of a generator
MASK = 0xFFFFFFFF


def mixed(entropy: list[int], n_words: int) -> np.ndarray:
    """Mix a few 32-bit integers into `n_words` seeds, uint32 (n_words,): four words of state, each a hash of all."""
    hash_, words = 0x43B0D7E5, []

    def hashed(value: int) -> int:
        nonlocal hash_
        value ^= hash_
        hash_ = (hash_ * 0x931E8875) & MASK
        value = (value * hash_) & MASK
        return value ^ (value >> 16)

    def mix(x: int, y: int) -> int:
        result = (0xCA01F9DD * x - 0x4973F715 * y) & MASK
        return result ^ (result >> 16)

    words = [hashed(entropy[i]) if i < len(entropy) else hashed(0) for i in range(4)]
    for source in range(4):
        for target in range(4):
            if source != target:
                words[target] = mix(words[target], hashed(words[source]))
    for value in entropy[4:]:
        words = [mix(word, hashed(value)) for word in words]
    seeds, hash_ = np.empty(n_words, np.uint32), 0x8B51F9DD
    for k in range(n_words):
        value = words[k % 4] ^ hash_
        hash_ = (hash_ * 0x58F38DED) & MASK
        value = (value * hash_) & MASK
        seeds[k] = value ^ (value >> 16)
    return seeds


class Twister:
    """One generator.

    Parameters
    ----------
    entropy : what it is seeded with
    """

    def __init__(self, *entropy: int) -> None:
        seeds = mixed(list(entropy), 2 * N).astype(np.uint64)
        self._state = seeds[0::2] | seeds[1::2] << np.uint64(32)
        if not self._state[1:].any() and not int(self._state[0]) >> 31:
            self._state[0] = 1 << 63
        self._ready, self._place = np.zeros(0, np.uint64), 0

    def _advance(self) -> np.ndarray:
        """The next `N` words: twist the state in three runs, none of which reads what it writes, and temper them."""
        state = self._state
        for first, last, shift in ((0, M, M), (M, N - 1, M - N)):
            word = (state[first:last] & HIGH) | (state[first + 1 : last + 1] & LOW)
            state[first:last] = state[first + shift : last + shift] ^ self._twisted(word)
        word = (state[N - 1 :] & HIGH) | (state[:1] & LOW)
        state[N - 1 :] = state[M - 1 : M] ^ self._twisted(word)
        x = state.copy()
        x ^= (x >> np.uint64(29)) & np.uint64(0x5555555555555555)
        x ^= (x << np.uint64(17)) & np.uint64(0x71D67FFFEDA60000)
        x ^= (x << np.uint64(37)) & np.uint64(0xFFF7EEE000000000)
        return x ^ (x >> np.uint64(43))

    @staticmethod
    def _twisted(word: np.ndarray) -> np.ndarray:
        return (word >> np.uint64(1)) ^ np.where(word & np.uint64(1), TWIST, np.uint64(0))

    def words(self, n: int) -> np.ndarray:
        """The next `n` words, uint64 (n,)."""
        parts = [self._ready[self._place : self._place + n]]
        self._place += len(parts[0])
        missing = n - len(parts[0])
        while missing > 0:
            self._ready = self._advance()
            self._place = min(missing, N)
            parts.append(self._ready[: self._place])
            missing -= self._place
        return np.concatenate(parts)

    def word(self) -> int:
        """The next word."""
        if self._place >= len(self._ready):
            self._ready, self._place = self._advance(), 0
        self._place += 1
        return int(self._ready[self._place - 1])

    def uniform(self, n: int) -> np.ndarray:
        """The next `n` numbers in [0, 1), float64 (n,)."""
        return np.minimum(self.words(n).astype(np.float64) * 2.0**-64, np.nextafter(1.0, 0.0))

    def drand(self) -> float:
        """The next number in [0, 1)."""
        return min(self.word() * 2.0**-64, math.nextafter(1.0, 0.0))

    def whole(self, bound: int, n: int) -> np.ndarray:
        """The next `n` whole numbers below `bound` (at most 2^32), int64 (n,).

        High word of a product of 128 bits; numbers that would favour some values are drawn again.
        """
        words, low = self.words(n), np.uint64(MASK)
        factor, half = np.uint64(bound), np.uint64(32)
        lower = (words & low) * factor
        upper = (words >> half) * factor + (lower >> half)
        values = (upper >> half).astype(np.int64)
        again = words * factor < np.uint64((2**64 - bound) % bound)  # once in 2^32 draws
        if again.any():
            values = np.concatenate([values[~again], self.whole(bound, int(again.sum()))])
        return values


class NormalPairs:
    """Normal numbers by Marsaglia's polar method, made in pairs; the second one waits for the next call."""

    def __init__(self) -> None:
        self._waiting: float | None = None

    def draw(self, twister: Twister, mean: float, std: float) -> float:
        """One number."""
        if self._waiting is not None:
            value, self._waiting = self._waiting, None
            return value * std + mean
        while True:
            x, y = 2.0 * twister.drand() - 1.0, 2.0 * twister.drand() - 1.0
            square = x * x + y * y
            if 0.0 < square <= 1.0:
                break
        factor = math.sqrt(-2.0 * math.log(square) / square)
        self._waiting = x * factor
        return y * factor * std + mean
