"""Name trees that a step, or its derivatives, computes once and reads several times, so that expressions stay short."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import InputError
from .language import CONDITIONS, Tree, names_of

PARTS = 50_000  # most nodes in all derivatives of a model, if each product is written out
LONG = 2_000  # more nodes in derivatives of a tree are not written out, as SymPy and the C compiler take long for them


class Terms:
    """Collects trees under new names: constants, and terms, which vary with time.

    Parameters
    ----------
    taken : collection of str
        Names that are taken already.
    moving : collection of str
        Names among them that vary with time.

    Attributes
    ----------
    constants, terms : dict of str to tuple
        Trees that do not vary with time, and trees that do; each may name earlier ones.
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
        """Return a new name, which begins with `name`, for what varies without a tree, such as a variable of a loop."""
        name = self._take_name(name)
        self._moving.add(name)
        return name

    def take_from(self, first: int) -> dict[str, Tree]:
        """Return the terms from a place on, which stand within a loop from now on, not here."""
        return {name: self.terms.pop(name) for name in list(self.terms)[first:]}

    def _take_name(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def check_derivatives(self, here: str, tree: Tree, names: Collection[str]) -> bool:
        """Return whether the derivatives of a tree by names are long; `InputError` if too long, with those before."""
        parts = count_parts(tree, names)
        self._parts += parts
        if self._parts > PARTS:
            raise InputError(
                f"{here}: the derivatives up to here may have {self._parts:.3g} parts, {parts:.3g} of them its own; a "
                f"model may have {PARTS}"
            )
        return parts > LONG


def count_parts(tree: Tree, names: Collection[str]) -> int:
    """Return how many nodes the derivatives of a tree by names have together."""
    slopes = _count_nodes(tree)[1]
    return sum(slopes.get(name, 0) for name in names)


def _count_nodes(tree: Tree) -> tuple[int, dict[str, int]]:
    """Return how many nodes a tree has, and, by name, its derivatives that are not 0.

    Repeated trees count each time: `min`, `max` and `abs` become `where`, and in the derivative of a product each
    factor's derivative stands beside the others.
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
