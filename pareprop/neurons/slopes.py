"""Derivatives of long trees without SymPy, which expands products: here they share subexpressions."""

from __future__ import annotations

from collections.abc import Mapping

from .language import CONDITIONS, Tree

ZERO: Tree = ("number", 0.0)
ONE: Tree = ("number", 1.0)


def multiply_trees(a: Tree, b: Tree) -> Tree:
    """Return a product; nothing is multiplied by 1 or 0."""
    if ZERO in (a, b):
        return ZERO
    if ONE in (a, b):
        return b if a == ONE else a
    return ("*", a, b)


def add_trees(a: Tree, b: Tree) -> Tree:
    """Return a sum; 0 is not added."""
    if ZERO in (a, b):
        return b if a == ZERO else a
    return ("-", a, b[1]) if b[0] == "neg" else ("+", a, b)


def negate_tree(tree: Tree) -> Tree:
    """Return minus a tree."""
    if tree[0] == "number":
        return ("number", -tree[1])
    return tree[1] if tree[0] == "neg" else ("neg", tree)


def differentiate_tree(tree: Tree, name: str, inner: Mapping[tuple[str, str], Tree]) -> Tree:
    """Return the derivative of a tree by a name, `ZERO` if it has none.

    `inner` holds derivatives of names that stand for trees, by that name and `name`. A branch that is not taken does
    not enter the derivative, whatever its value is.
    """
    kind, *items = tree
    if kind == "name":
        return ONE if items[0] == name else inner.get((items[0], name), ZERO)
    if kind in ("number", "detach") or kind in CONDITIONS:
        return ZERO
    if kind in ("*", "/"):
        return _of_product(tree, name, inner)
    *conditions, a, b = items if kind == "where" else (*items, ZERO)[:2]
    da, db = (differentiate_tree(item, name, inner) for item in (a, b))
    if kind == "where":
        return _choose_tree(conditions[0], da, db)
    if kind in ("min", "max"):
        return _choose_tree(("<=" if kind == "min" else ">=", a, b), da, db)
    if kind in ("+", "-"):
        return add_trees(da, db if kind == "+" else negate_tree(db))
    if kind == "**":
        by_base = multiply_trees(
            b, ("**", a, add_trees(b, ("number", -1.0)) if b[0] != "number" else ("number", b[1] - 1.0))
        )
        return add_trees(multiply_trees(da, by_base), multiply_trees(db, multiply_trees(tree, ("log", a))))
    if da == ZERO:
        return ZERO
    match kind:
        case "neg":
            return negate_tree(da)
        case "abs":
            return _choose_tree((">=", a, ZERO), da, negate_tree(da))
        case "exp":
            return multiply_trees(tree, da)
        case "tanh":
            return multiply_trees(("-", ONE, ("*", tree, tree)), da)
        case "log":
            return ("/", da, a)
    assert kind == "sqrt"
    return ("/", da, ("*", ("number", 2.0), tree))


def _choose_tree(condition: Tree, a: Tree, b: Tree) -> Tree:
    return a if a == b else ("where", condition, a, b)


def _of_product(tree: Tree, name: str, inner: Mapping[tuple[str, str], Tree]) -> Tree:
    """Return the derivative of a product of factors and divisors: each one's derivative, times all others in order."""
    terms, after = [], ONE
    while tree[0] in ("*", "/"):
        kind, before, item = tree
        slope = differentiate_tree(item, name, inner)
        if slope != ZERO:
            own = (
                multiply_trees(before, slope) if kind == "*" else negate_tree(multiply_trees(("/", tree, item), slope))
            )
            terms.append(multiply_trees(own, after))
        after = multiply_trees(after, item) if kind == "*" else ("/", after, item)
        tree = before
    terms.append(multiply_trees(differentiate_tree(tree, name, inner), after))
    while len(terms) > 1:  # a balanced tree
        terms = [add_trees(terms[k], terms[k + 1]) if k + 1 < len(terms) else terms[k] for k in range(0, len(terms), 2)]
    return terms[0]
