"""Draws of NEST's connections against those of libstdc++, with which NEST draws."""

import hashlib

import numpy as np

from pareprop.kernels import nest_draws

WORDS = 312  # of a generator; its place among them follows


def seed(number: int) -> np.ndarray:
    """The state of a `std::mt19937_64(number)`."""
    words = [number]
    for k in range(1, WORDS):
        words.append((6364136223846793005 * (words[-1] ^ words[-1] >> 62) + k) % 2**64)
    return np.array([[*words, WORDS]], np.uint64)


def test_binomial_numbers_are_those_of_the_standard_library() -> None:
    """Of all regions of the rejection, and by waiting times; the digest is that of a program of 30 lines of C++.

    It splits each size by each list of weights with a `std::binomial_distribution<unsigned long>` of its own, and
    prints a line of shares. A single number that differs changes all after it.
    """
    weights = ([1, 1, 1], [3, 1], [1, 9, 2, 2], [5, 0, 7], [1, 1])
    digest = hashlib.sha256()
    for number in range(1, 61):
        generators = seed(number)
        for size in (5, 17, 40, 300, 5000, 123457, 100000000):
            for some in weights:
                shares = np.zeros(len(some), np.int64)
                nest_draws.binomial(generators, np.array(some, np.int64), size, shares)
                digest.update((" ".join(map(str, shares)) + "\n").encode())
    assert digest.hexdigest() == "1dd3189fed51cb1d225a36a10e16a79021a6f656a3efb8d8f1cb8cd5b9ec6f33"
