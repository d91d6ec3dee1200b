"""Whether an expression is linear in the states of a synapse, and its coefficients."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import InputError
from ..neurons.language import CONDITIONS, MOMENTS, Tree, names_of, write
from ..neurons.slopes import ONE, ZERO, multiply_trees, negate_tree

NEW, BEFORE, AFTER = MOMENTS  # words before a name, as in "before V_m"
Form = dict[str, Tree]  # name of a state (with its moment) or "pre" to its coefficient


class Linear:
    """Reads expressions as linear ones in the states of a synapse, given by name."""

    def __init__(self, states: Iterable[str]) -> None:
        names = list(states)
        self.names = {"pre", *names, *(f"{word} {name}" for name in names for word in (NEW, BEFORE))}

    def read_form(self, tree: Tree, here: str) -> Form:
        """Return the coefficients of an expression as it is written.

        `here` names rule, key and state in messages. `InputError` names the term that is not linear.
        """
        form = self._try_form(tree, here)
        return form if form is not None else self._require_zero(tree, here)

    def _require_zero(self, tree: Tree, here: str) -> Form:
        """Return the form of a tree without states, {}; `InputError` unless the tree is 0."""
        if tree[0] == "number" and tree[1] == 0:
            return {}
        raise InputError(
            f"{here}: the term {_format_tree(tree)} holds neither a synapse state nor pre; each term must: multiply it "
            "by pre, or by a state of synapse"
        )

    def _try_form(self, tree: Tree, here: str) -> Form | None:
        """Return the coefficients, None of what holds no state."""
        if self.names.isdisjoint(names_of(tree)):
            return None
        kind, *items = tree
        if kind == "name":
            return {items[0]: ONE}
        if kind in CONDITIONS:
            self._require_fixed(tree, here)
        if kind == "where":
            self._require_fixed(items[0], here)
            a, b = (self.read_form(item, here) for item in items[1:])
            return {name: ("where", items[0], a.get(name, ZERO), b.get(name, ZERO)) for name in {**a, **b}}
        if kind in ("+", "-"):
            a, b = (self.read_form(item, here) for item in items)
            return add_forms(a, b if kind == "+" else {name: negate_tree(part) for name, part in b.items()})
        if kind in ("neg", "detach"):
            form = self.read_form(items[0], here)
            return {name: negate_tree(part) for name, part in form.items()} if kind == "neg" else form
        held = [item for item in items if not self.names.isdisjoint(names_of(item))]
        if kind == "*" and len(held) == 2:
            raise InputError(f"{here}: {_format_tree(tree)} is not linear: both factors hold synapse states or pre")
        if kind == "*":
            return scale_form(self.read_form(held[0], here), items[items[0] in held])
        if kind == "/" and items[1] in held:
            raise InputError(f"{here}: {_format_tree(tree)} is not linear: the divisor holds synapse states or pre")
        if kind == "/":
            return {name: ("/", part, items[1]) for name, part in self.read_form(items[0], here).items()}
        raise InputError(f"{here}: {_format_tree(tree)} is not linear")

    def _require_fixed(self, tree: Tree, here: str) -> None:
        """Raise `InputError` if a condition holds synapse states."""
        if not self.names.isdisjoint(names_of(tree)):
            raise InputError(f"{here}: the condition {_format_tree(tree)} holds synapse states or pre: not linear")


def scale_form(form: Form, factor: Tree) -> Form:
    """Return a form times a factor."""
    return {name: multiply_trees(factor, part) for name, part in form.items()}


def add_forms(a: Form, b: Form) -> Form:
    """Return the sum of two forms."""
    total = dict(a)
    for name, part in b.items():
        total[name] = ("+", total[name], part) if total.get(name, ZERO) != ZERO else part
    return total


def _format_tree(tree: Tree) -> str:
    """Return a tree as a user writes it."""
    return write(_name_moments(tree))


def _name_moments(tree: Tree) -> Tree:
    """Return a tree with moments as functions."""
    if tree[0] == "name":
        word, _, name = tree[1].partition(" ")
        return ("name", f"{word}({name})" if name else word)
    return tree if tree[0] == "number" else (tree[0], *map(_name_moments, tree[1:]))
