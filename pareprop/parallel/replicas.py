"""Batches in parallel: groups of ranks that each hold the network; sums with the same bits for any number of groups.

The n samples of a batch are assigned to `LEAVES` leaves: sample k to leaf k * LEAVES // n, or all to the first leaf if
there are fewer than `MIN_TREE_BATCH`. Samples of a leaf are added one after the other, then leaves in pairs, pairs of
pairs, and so on. Group g of R owns the leaves [g, g + 1) * LEAVES / R, which form a subtree, so its sum has the same
bits for any R. R is a power of two and at most `LEAVES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .mpi import Comm

T = TypeVar("T")

LEAVES = 8  # most groups; a sum needs at most 1 + log2(LEAVES) sets of arrays
MIN_TREE_BATCH = 4  # smallest batch that is added in a tree: each level costs memory for one more gradient
CHUNK = 2**20  # numbers in a message


def assign_leaf(k: int, n: int) -> int:
    """Return the leaf of sample `k` of `n`."""
    return k * LEAVES // n if n >= MIN_TREE_BATCH else 0


@dataclass(frozen=True)
class Replicas:
    """The replica groups: their number, and the index of this rank's group.

    `across` connects the ranks with the same part of the network, by group, `world` all ranks of all groups; both are
    None for one group.
    """

    count: int = 1
    index: int = 0
    across: Comm = None
    world: Comm = None

    def list_samples(self, n: int) -> range:
        """Return the samples of a batch of `n` that this group runs; the first group always runs sample 0."""
        if n < MIN_TREE_BATCH:
            return range(0, n) if self.index == 0 else range(n, n)
        first, last = (-(-n * group // self.count) for group in (self.index, self.index + 1))
        return range(first, last)

    def gather_values(self, value: T) -> list[T]:
        """Collective: return the values of all groups, by group, on all groups (an allgather)."""
        return [value] if self.count == 1 else self.across.allgather(value)

    def broadcast_value(self, value: T, group: int = 0) -> T:
        """Collective: return the value of group `group` on all groups."""
        return value if self.count == 1 else self.across.bcast(value, root=group)

    def add_over_groups(self, array: np.ndarray) -> None:
        """Collective: replace `array` (n,) by its sum over groups, with the same bits on all (an allreduce)."""
        distance = 1
        while distance < self.count:
            other = self.index ^ distance
            for first in range(0, len(array), CHUNK):
                mine = array[first : first + CHUNK]
                theirs = np.empty_like(mine)
                self.across.Sendrecv(mine, other, recvbuf=theirs, source=other)
                mine += theirs  # the other group adds in the other order: the same bits
            distance *= 2


class TreeSum:
    """Sums over the samples of a batch, in the order of the reduction tree.

    It stores one set of arrays for each partial sum that waits for its sibling: one set for a batch of fewer than
    `MIN_TREE_BATCH` samples, at most 1 + log2(LEAVES) sets. Samples add to `arrays`, the sums of the current leaf.
    """

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays
        self._leaf = 0
        self._done: list[tuple[int, list[np.ndarray]]] = []  # partial sums from left to right: a leaf, arrays
        self._spare: list[list[np.ndarray]] = []  # zeros

    def open_leaf(self, number: int) -> None:
        """Begin leaf `number`, if it is not the present one; leaves must ascend."""
        if number <= self._leaf:
            return
        self._close_leaf(number)
        self.arrays = self._spare.pop() if self._spare else [np.zeros_like(array) for array in self.arrays]
        self._leaf = number

    def sum_over_groups(self, replicas: Replicas) -> list[np.ndarray]:
        """Collective: return the sums over all samples of all groups. They are `arrays`; clear them afterwards."""
        self._close_leaf(LEAVES)
        ((_, self.arrays),) = self._done
        self._done, self._leaf = [], 0
        for array in self.arrays:
            replicas.add_over_groups(array)
        return self.arrays

    def clear_sums(self) -> None:
        """Drop all that was added since the last total."""
        if self._done:
            self.arrays = self._done[0][1]
        self._done, self._leaf = [], 0
        for array in self.arrays:
            array.fill(0.0)

    def copy_sums(self) -> list[np.ndarray]:
        """Return the sums of this group so far, and leave them as they are."""
        parts = [*(arrays for _, arrays in self._done), self.arrays]
        return [np.sum(same, axis=0) for same in zip(*parts, strict=True)]

    def _close_leaf(self, following: int) -> None:
        """End the present leaf; add siblings whose parent does not contain the leaf `following`."""
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
