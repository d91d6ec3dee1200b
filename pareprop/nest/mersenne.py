"""NEST's default random generator, so that a script draws the numbers that it draws with NEST.

64-bit Mersenne Twister (Nishimura 2000, doi 10.1145/369534.369540), seeded by `randutils`' mixing of a few integers
(O'Neill 2015), with the distributions of the GNU C++ library. NEST has one generator per virtual process.
"""

from __future__ import annotations

import math

import numpy as np

N, M = 312, 156  # words of the state, distance of the recurrence
HIGH, LOW = np.uint64(0xFFFFFFFF80000000), np.uint64(0x7FFFFFFF)
TWIST, ONE = np.uint64(0xB5026F5AA96619E9), np.uint64(1)
RANK_SYNCED, THREAD_SPECIFIC = 0xC229212D, 0xB84C9BAE  # NEST's constants for the purpose of a generator
MASK = 0xFFFFFFFF


def mix_seeds(entropy: list[int], n_words: int) -> np.ndarray:
    """Mix a few 32-bit integers into `n_words` seeds, uint32 (n_words,): four words of state, each a hash of all."""
    hash_, words = 0x43B0D7E5, []

    def hash_word(value: int) -> int:
        nonlocal hash_
        value ^= hash_
        hash_ = (hash_ * 0x931E8875) & MASK
        value = (value * hash_) & MASK
        return value ^ (value >> 16)

    def mix(x: int, y: int) -> int:
        result = (0xCA01F9DD * x - 0x4973F715 * y) & MASK
        return result ^ (result >> 16)

    words = [hash_word(entropy[i]) if i < len(entropy) else hash_word(0) for i in range(4)]
    for source in range(4):
        for target in range(4):
            if source != target:
                words[target] = mix(words[target], hash_word(words[source]))
    for value in entropy[4:]:
        words = [mix(word, hash_word(value)) for word in words]
    seeds, hash_ = np.empty(n_words, np.uint32), 0x8B51F9DD
    for k in range(n_words):
        value = words[k % 4] ^ hash_
        hash_ = (hash_ * 0x58F38DED) & MASK
        value = (value * hash_) & MASK
        seeds[k] = value ^ (value >> 16)
    return seeds


def _temper(x: np.ndarray) -> np.ndarray:
    """Words as they are given out; `x` is overwritten."""
    x ^= (x >> np.uint64(29)) & np.uint64(0x5555555555555555)
    x ^= (x << np.uint64(17)) & np.uint64(0x71D67FFFEDA60000)
    x ^= (x << np.uint64(37)) & np.uint64(0xFFF7EEE000000000)
    x ^= x >> np.uint64(43)
    return x


class Twister:
    """One generator.

    Parameters
    ----------
    *entropy : int
        What it is seeded with.
    """

    def __init__(self, *entropy: int) -> None:
        seeds = mix_seeds(list(entropy), 2 * N).astype(np.uint64)
        self._state = seeds[0::2] | seeds[1::2] << np.uint64(32)
        if not self._state[1:].any() and not int(self._state[0]) >> 31:
            self._state[0] = 1 << 63
        self._ready, self._place = np.zeros(0, np.uint64), 0

    def _advance(self, n: int) -> np.ndarray:
        """The next `n` times `N` words: twist the state in runs, none of which reads what it writes, and temper it."""
        state, words = self._state, np.empty((n, N), np.uint64)
        low, mixed = np.empty((2, M), np.uint64)
        for block in words:
            for first, last, other in ((0, M, state[M:]), (M, N - 1, state)):
                word, odd, size = mixed[: last - first], low[: last - first], last - first
                np.bitwise_and(state[first:last], HIGH, out=word)
                np.bitwise_and(state[first + 1 : last + 1], LOW, out=odd)
                np.bitwise_or(word, odd, out=word)
                np.bitwise_and(odd, ONE, out=odd)
                np.multiply(odd, TWIST, out=odd)
                np.right_shift(word, ONE, out=word)
                np.bitwise_xor(word, odd, out=word)
                np.bitwise_xor(other[:size], word, out=state[first:last])
            state[N - 1] = self._last(int(state[N - 1]), int(state[0]), int(state[M - 1]))
            block[:] = state
        return _temper(words.ravel())

    @staticmethod
    def _last(word: int, following: int, other: int) -> int:
        """The last word of a state, which needs the first one of the next."""
        mixed = (word & int(HIGH)) | (following & int(LOW))
        return other ^ (mixed >> 1) ^ (int(TWIST) if mixed & 1 else 0)

    def words(self, n: int) -> np.ndarray:
        """The next `n` words, uint64 (n,)."""
        missing = n - (len(self._ready) - self._place)
        if missing > 0:
            rest = self._ready[self._place :]
            self._ready, self._place = np.concatenate([rest, self._advance(-(-missing // N))]), 0
        self._place += n
        return self._ready[self._place - n : self._place]

    def put_back(self, n: int) -> None:
        """Have the last `n` words of `words` come again."""
        self._place -= n

    def word(self) -> int:
        """The next word."""
        if self._place >= len(self._ready):
            self._ready, self._place = self._advance(1), 0
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

    def many(self, twister: Twister, mean: float, std: float, n: int) -> np.ndarray:
        """The next `n` numbers, float64 (n,)."""
        values = [np.zeros(0)] if self._waiting is None or not n else [np.array([self._waiting])]
        if n:
            self._waiting = None
        missing = n - len(values[0])
        while missing > 0:
            n_pairs = (missing + 1) // 2
            tried = int(n_pairs * 1.28) + 8
            x, y = (2.0 * twister.uniform(2 * tried) - 1.0).reshape(-1, 2).T
            square = x * x + y * y
            good = np.flatnonzero((square > 0.0) & (square <= 1.0))[:n_pairs]
            if len(good) == n_pairs:
                twister.put_back(2 * (tried - int(good[-1]) - 1))
            square = square[good]
            logarithm = np.fromiter(map(math.log, square.tolist()), float, len(square))  # NumPy's may round otherwise
            factor = np.sqrt(-2.0 * logarithm / square)
            values.append(np.stack([y[good] * factor, x[good] * factor], axis=1).ravel())
            missing -= 2 * len(good)
        made = np.concatenate(values)
        if len(made) > n:
            self._waiting = float(made[-1])
        return made[:n] * std + mean
