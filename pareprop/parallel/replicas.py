"""Batches in parallel: groups of ranks that each hold the network, and sums whose bits don't depend on their number.

The n samples of a batch lie in `LEAVES` leaves: sample k in leaf k * LEAVES // n, or all in the first leaf if they are
fewer than `FEWEST`. Samples of a leaf are added one after the other, then leaves in pairs, pairs of pairs, and so on.
Group g of R owns the leaves [g, g + 1) * LEAVES / R, which are a subtree, so its sum is the same number whoever makes
it. R is a power of two and at most `LEAVES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LEAVES = 8  # bounds the groups, and by its logarithm the arrays that a sum needs
FEWEST = 4  # samples that gain from a tree: each of its levels costs memory for one more gradient
CHUNK = 2**20  # numbers in a message


def leaf(k: int, n: int) -> int:
    """Leaf of sample `k` of `n`."""
    return k * LEAVES // n if n >= FEWEST else 0


@dataclass(frozen=True)
class Replicas:
    """This rank's group among all groups.

    Attributes
    ----------
    count, index : number of groups, and which one this is
    across : communicator of the ranks with this rank's share of the network, by group; None for one group
    world : communicator of all ranks of all groups; None for one group
    """

    count: int = 1
    index: int = 0
    across: Any = None
    world: Any = None

    def share(self, n: int) -> range:
        """Samples of this group among those of a batch of `n`; the first group always has sample 0."""
        if n < FEWEST:
            return range(0, n) if self.index == 0 else range(n, n)
        first, last = (-(-n * group // self.count) for group in (self.index, self.index + 1))
        return range(first, last)

    def gather(self, value: Any) -> list[Any]:
        """Collective: the values of all groups, by group."""
        return [value] if self.count == 1 else self.across.allgather(value)

    def broadcast(self, value: Any, group: int = 0) -> Any:
        """Collective: the value of one group."""
        return value if self.count == 1 else self.across.bcast(value, root=group)

    def add(self, array: np.ndarray) -> None:
        """Collective: replace each group's array (n,) by the sum over groups, added in pairs, so all get the same."""
        distance = 1
        while distance < self.count:
            other = self.index ^ distance
            for first in range(0, len(array), CHUNK):
                mine = array[first : first + CHUNK]
                theirs = np.empty_like(mine)
                self.across.Sendrecv(mine, other, recvbuf=theirs, source=other)
                mine += theirs  # the other group adds them the other way round: the same bits
            distance *= 2


class TreeSum:
    """Sums over the samples of a batch, in the order of the tree.

    Holds one set of arrays for each partial sum that waits for its other half: one for a batch of fewer than `FEWEST`
    samples, at most 1 + log2(LEAVES).

    Parameters
    ----------
    arrays : zeros, (n,) each

    Attributes
    ----------
    arrays : what samples of the present leaf add to
    """

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays
        self._leaf = 0
        self._done: list[tuple[int, list[np.ndarray]]] = []  # a leaf in it, its sums; from left to right
        self._spare: list[list[np.ndarray]] = []  # zeros

    def open(self, number: int) -> None:
        """The next sample is in leaf `number`, not before that of the last sample."""
        if number <= self._leaf:
            return
        self._close(number)
        self.arrays = self._spare.pop() if self._spare else [np.zeros_like(array) for array in self.arrays]
        self._leaf = number

    def total(self, replicas: Replicas) -> list[np.ndarray]:
        """Collective: the sums over all samples of all groups; they are `arrays`, to be cleared for the next batch."""
        self._close(LEAVES)
        ((_, self.arrays),) = self._done
        self._done, self._leaf = [], 0
        for array in self.arrays:
            replicas.add(array)
        return self.arrays

    def _close(self, following: int) -> None:
        """End the present leaf; add up halves whose parent the leaf `following` is not in."""
        done = self._done
        done.append((self._leaf, self.arrays))
        while len(done) > 1 and (done[-2][0] ^ done[-1][0]).bit_length() < (done[-1][0] ^ following).bit_length():
            _, right = done.pop()
            for total, array in zip(done[-1][1], right, strict=True):
                total += array
                array.fill(0.0)
            self._spare.append(right)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        sets = 1 + len(self._done) + len(self._spare)
        return sets * sum(array.nbytes for array in self.arrays)
