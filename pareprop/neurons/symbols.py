"""Translate trees into SymPy's expressions and back. SymPy is loaded when the first derivative is taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, reduce

import sympy
from sympy import Function, Integer

from ..errors import InputError
from ..values import Foreign
from .language import CONDITIONS, Tree, names_of, write

ZERO, ONE = ("number", 0.0), ("number", 1.0)
WIDE = 64  # sums and products of more operands are grouped, so that trees do not become too deep
EXPONENT, BITS = 64, 1024  # largest powers, and bits of results, that SymPy takes exactly; larger ones cost too much


class Where(Function):
    """`where(c, a, b)`: its derivative is the derivative of the branch taken."""

    nargs = 3

    @classmethod
    def eval(cls, c: Foreign, a: Foreign, b: Foreign) -> Foreign:
        """Choose a branch if the branches are equal, or the condition is a number."""
        if a == b:
            return a
        if c.is_Number:
            return a if c != 0 else b
        if isinstance(a, Where) and a.args[0] == c:
            return Where(c, a.args[1], b)
        if isinstance(b, Where) and b.args[0] == c:
            return Where(c, a, b.args[2])
        return None

    def _eval_derivative(self, symbol: object) -> Foreign:
        return Where(self.args[0], self.args[1].diff(symbol), self.args[2].diff(symbol))


class Detach(Function):
    """`detach(x)`: x with derivative 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Foreign:
        """Return the derivative by the argument, 0."""
        return Integer(0)


class Condition(Function):
    """Base of comparisons and `and`, `or`, `not`, which have no derivative."""

    def fdiff(self, argindex: int = 1) -> Foreign:
        """Return the derivative by an argument, 0."""
        return Integer(0)


@cache
def _make_condition(operator: str) -> type:
    names = {"<": "Below", "<=": "AtMost", ">": "Above", ">=": "AtLeast", "==": "Same", "!=": "Other"}
    return type(names.get(operator, operator.capitalize() + "Of"), (Condition,), {"operator": operator})


def to_sympy(tree: Tree, here: str) -> Foreign:
    """Return a tree as an expression of SymPy; `min`, `max` and `abs` become `where`.

    `here` is the place of the tree, for messages. Raises `InputError` if, after names that cancel are gone, it contains
    a number that is not finite or not real.
    """
    return _require_finite(_to_sympy(tree), here)


def _to_sympy(tree: Tree) -> Foreign:
    kind, *items = tree
    if kind == "number":
        return (
            Integer(int(items[0])) if float(items[0]).is_integer() and abs(items[0]) < 2**53 else sympy.Float(items[0])
        )
    if kind == "name":
        return sympy.Symbol(items[0])
    a, *rest = (_to_sympy(item) for item in items)
    b = rest[0] if rest else None
    operations: dict[str, Callable[[], Foreign]] = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a / b,
        "**": lambda: _make_power(a, b),
        "neg": lambda: -a,
        "exp": lambda: sympy.exp(a),
        "log": lambda: sympy.log(a),
        "sqrt": lambda: sympy.sqrt(a),
        "tanh": lambda: sympy.tanh(a),
        "detach": lambda: Detach(a),
        "where": lambda: Where(a, *rest),
        "min": lambda: Where(_make_condition("<=")(a, b), a, b),
        "max": lambda: Where(_make_condition(">=")(a, b), a, b),
        "abs": lambda: Where(_make_condition(">=")(a, Integer(0)), a, -a),
    }
    return operations[kind]() if kind in operations else _make_condition(kind)(a, *rest)


def _make_power(base: Foreign, exponent: Foreign) -> Foreign:
    """Return a power; SymPy evaluates powers of numbers, and of factors that are numbers, exactly."""
    if exponent.is_Integer:
        factor, size = base.as_coeff_Mul()[0], abs(int(exponent))
        bits = max(int(factor.p).bit_length(), int(factor.q).bit_length()) if factor.is_Rational else 0
        if size > EXPONENT or size * bits > BITS:
            exponent = sympy.Float(int(exponent))
    return base**exponent


def from_sympy(expression: Foreign, moving: frozenset[str], here: str) -> Tree:
    """Return an expression of SymPy as a tree, in an order that is the same for every version of SymPy.

    Factors and terms without the names in `moving`, which vary with time, are grouped, so that they are computed once.
    `here` describes the expression in messages. Raises `InputError` if a number in it is not finite, or not real.
    """
    try:
        return _from_sympy(_require_finite(expression, here), moving)
    except OverflowError:  # SymPy has exact numbers that are too large for a float
        raise InputError(f"{here} holds a number that is not finite, or not real") from None


def _require_finite(expression: Foreign, here: str) -> Foreign:
    """Return an expression; raise `InputError` if it contains a number that is not finite or not real, such as 1/0."""
    if expression.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I):
        raise InputError(f"{here} holds a number that is not finite, or not real")
    return expression


def _from_sympy(expression: Foreign, moving: frozenset[str]) -> Tree:
    def convert_item(item: object) -> Tree:
        return _from_sympy(item, moving)

    def make_sort_key(item: Tree) -> tuple[bool, str]:
        return bool(names_of(item) & moving), write(item)

    if expression.is_Symbol:
        return ("name", expression.name)
    if expression.is_Number or expression.is_NumberSymbol:
        if not math.isfinite(value := float(expression)):
            raise OverflowError
        return ("number", value)
    if expression.is_Add:
        return _add_terms(
            sorted(
                (_split_sign(convert_item(item)) for item in expression.args), key=lambda pair: make_sort_key(pair[1])
            )
        )
    if expression.is_Mul:
        return _convert_product(expression, convert_item, make_sort_key)
    if expression.is_Pow:
        base, exponent = expression.args
        if exponent == sympy.Rational(1, 2):
            return ("sqrt", convert_item(base))
        if _is_negative(exponent):
            return ("/", ONE, convert_item(sympy.Pow(base, -exponent)))
        return ("**", convert_item(base), convert_item(exponent))
    names = {sympy.exp: "exp", sympy.log: "log", sympy.tanh: "tanh", Where: "where", Detach: "detach"}
    name = names.get(expression.func) or getattr(expression.func, "operator", None)
    if name is None or (name in CONDITIONS and not isinstance(expression, Condition)):
        raise ValueError(f"{expression.func} has no place in a neuron model")
    items = [convert_item(item) for item in expression.args]
    return items[0] if name == "detach" else (name, *items)


def _is_negative(expression: Foreign) -> bool:
    return bool(expression.as_coeff_Mul()[0] < 0)


def _split_sign(tree: Tree) -> tuple[bool, Tree]:
    """Return whether a term is subtracted, and the term without its sign."""
    if tree[0] == "neg":
        return True, tree[1]
    return (True, ("number", -tree[1])) if tree[0] == "number" and tree[1] < 0 else (False, tree)


def _add_terms(terms: list[tuple[bool, Tree]]) -> Tree:
    ordered = sorted(terms, key=lambda pair: pair[0])  # stable: added terms come first
    if len(ordered) > WIDE:
        return _add_terms([(False, _add_terms(ordered[k : k + WIDE])) for k in range(0, len(ordered), WIDE)])
    negative, total = ordered[0]
    total = ("neg", total) if negative else total
    for negative, term in ordered[1:]:
        total = ("-" if negative else "+", total, term)
    return total


def _multiply_trees(a: Tree, b: Tree) -> Tree:
    return ("*", a, b)


def _convert_product(expression: Foreign, back: Callable[[Foreign], Tree], order: Callable[[Tree], tuple]) -> Tree:
    above, below = [], []
    sign = _is_negative(expression)
    for item in sympy.Mul.make_args(-expression if sign else expression):
        if item.is_Pow and _is_negative(item.args[1]):
            below.append(back(sympy.Pow(item.args[0], -item.args[1])))
        elif item.is_Rational and item.q != 1:
            above += [] if item.p == 1 else [("number", float(item.p))]
            below.append(("number", float(item.q)))
        else:
            above.append(back(item))
    result: Tree | None = None
    for moves in (False, True):  # constant factors first
        up = sorted((item for item in above if order(item)[0] == moves), key=order)
        down = sorted((item for item in below if order(item)[0] == moves), key=order)
        while len(up) > WIDE:
            up = [reduce(_multiply_trees, up[k : k + WIDE]) for k in range(0, len(up), WIDE)]
        while len(down) > WIDE:
            down = [reduce(_multiply_trees, down[k : k + WIDE]) for k in range(0, len(down), WIDE)]
        for item in up:
            result = item if result is None else _multiply_trees(result, item)
        for item in down:
            result = ("/", ONE if result is None else result, item)
    result = ONE if result is None else result
    if sign and result[0] == "number":
        return ("number", -result[1])
    return ("neg", result) if sign else result
