"""Name trees that a step, or its derivatives, computes once and reads several times, to keep expressions short."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import InputError
from .language import CONDITIONS, Tree, names_of

PARTS = 50_000  # most nodes in all derivatives of a model, if each product is expanded
LONG = 2_000  # derivatives of a tree with more nodes are not expanded, to save time of SymPy and of the C compiler


class Terms:
    """Collects trees under new names: constants, and terms, which vary with time.

    `taken` are names in use, `moving` the names among them that vary with time.

    Attributes
    ----------
    constants, terms : dict of str to tuple
        Trees that do not vary with time, and trees that do; each may read earlier ones.
    """

    def __init__(self, taken: Collection[str], moving: Collection[str]) -> None:
        self._taken, self._moving, self._parts = set(taken), set(moving), 0
        self.constants: dict[str, Tree] = {}
        self.terms: dict[str, Tree] = {}

    @property
    def moving(self) -> frozenset[str]:
        """All names that vary with time."""
        return frozenset(self._moving)

    def add_term(self, name: str, tree: Tree) -> Tree:
        """Return a new name, which begins with `name`, for a tree; names and numbers are returned as they are."""
        if tree[0] in ("number", "name"):
            return tree
        name = self._take_name(name)
        if self._moving.isdisjoint(names_of(tree)):
            self.constants[name] = tree
        else:
            self.terms[name] = tree
            self._moving.add(name)
        return ("name", name)

    def add_variable(self, name: str) -> str:
        """Return a new name, which begins with `name`, for a varying value without a tree, such as a variable of a
        loop.
        """
        name = self._take_name(name)
        self._moving.add(name)
        return name

    def take_from(self, first: int) -> dict[str, Tree]:
        """Remove the terms from index `first` on, which now belong to a loop, and return them."""
        return {name: self.terms.pop(name) for name in list(self.terms)[first:]}

    def _take_name(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def check_derivatives(self, here: str, tree: Tree, names: Collection[str]) -> bool:
        """Return whether the derivatives of a tree by names are long; raise `InputError` if all are too long."""
        parts = count_parts(tree, names)
        self._parts += parts
        if self._parts > PARTS:
            raise InputError(
                f"{here}: the derivatives up to here may have {self._parts:.3g} parts, {parts:.3g} of them its own; a "
                f"model may have {PARTS}"
            )
        return parts > LONG


def count_parts(tree: Tree, names: Collection[str]) -> int:
    """Return the total number of nodes of the derivatives of a tree by names."""
    slopes = _count_nodes(tree)[1]
    return sum(slopes.get(name, 0) for name in names)


def _count_nodes(tree: Tree) -> tuple[int, dict[str, int]]:
    """Return the number of nodes of a tree and, by name, of its nonzero derivatives.

    Repeated trees count each time: `min`, `max` and `abs` become `where`, and the derivative of a product contains the
    derivative of each factor next to the other factors.
    """
    kind, *items = tree
    if kind in ("number", "name"):
        return 1, {items[0]: 1} if kind == "name" else {}
    found = [_count_nodes(item) for item in items]
    sizes, slopes = [size for size, _ in found], [slope for _, slope in found]
    repeats = {"min": 2, "max": 2, "abs": 3}.get(kind, 1)
    size = 1 + repeats * sum(sizes)
    if kind == "detach" or kind in CONDITIONS:
        return size, {}
    if kind == "where":
        slopes = slopes[1:]
    each = 1 if kind in ("+", "-", "neg") else size
    total: dict[str, int] = {}
    for slope in slopes:
        for name, parts in slope.items():
            total[name] = total.get(name, 0) + parts * (2 if kind == "abs" else 1) + each
    return size, total
