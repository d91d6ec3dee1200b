"""Expressions of neuron models: parsed by a list of allowed operations, never run as Python.

An expression becomes a tree of tuples: ``("number", 0.5)``, ``("name", "V_m")``, or an operator with its operands,
``("*", left, right)``. The operators are ``+ - * / **``, ``neg``, the comparisons, ``and or not``, and the names of
`FUNCTIONS`.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple, NoReturn

import numpy as np

from .. import elementary
from ..errors import InputError, quote, shorten
from ..values import Given, Numbers, Values

Tree = tuple  # ("number", x), ("name", text) or (operator, Tree, ...)

LENGTH, DEPTH, NAME = 10_000, 100, 64  # characters of an expression, nesting of a tree, characters of a name
FUNCTIONS = {"exp": 1, "log": 1, "sqrt": 1, "abs": 1, "tanh": 1, "detach": 1, "min": 2, "max": 2, "where": 3}  # arity
INTERNAL = ("expm", "series")  # functions in texts that the package writes itself
MOMENTS = ("new", "before", "unreset")  # functions of a name, in learning rules
RESERVED = {"dt", "I", "z", "x", "refractory", *FUNCTIONS}  # names that a model cannot define
ALLOWED = "numbers, names, + - * / **, comparisons, and, or, not, " + ", ".join(FUNCTIONS)
OPERATORS: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.And: "and", ast.Or: "or", ast.Not: "not", ast.USub: "neg",
}  # fmt: skip
CONDITIONS = ("<", "<=", ">", ">=", "==", "!=", "and", "or", "not")  # operators whose value is true or false
INSTEAD = {"^": "**", "%": "no remainder", "&": "and", "|": "or", "~": "not", "[": "(", "]": ")", "{": "(", "}": ")"}


def suggest_nearest(name: str, known: Collection[str]) -> str:
    """Return a hint: the known name nearest to `name`, or a list of the known names if none is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if len(name) <= NAME else []
    return f", did you mean '{close[0]}'?" if close else shorten(f" (known: {', '.join(known)})", 300)


def check_name(name: object, here: str) -> None:
    """Raise `InputError` unless a model may define `name` for its expressions."""
    if not isinstance(name, str) or len(name) > NAME or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(f"{here}: name {quote(name)} must be a letter, then at most {NAME - 1} letters, digits or _")
    if keyword.iskeyword(name):
        raise InputError(f"{here}: name '{name}' is a keyword of Python; take another, such as '{name}_'")
    if name in RESERVED:
        raise InputError(f"{here}: name '{name}' has a meaning in expressions already; take another")


def parse_expression(
    text: object,
    names: Collection[str],
    here: str,
    internal: bool = False,
    *,
    moments: Collection[str] = (),
    unknown: Callable[[str], str] | None = None,
) -> Tree:
    """Parse an expression, a text or a number, into a tree (see the module).

    `names` are the known names, `here` is model and key for messages. `internal`: the package wrote the text, which may
    be long and contain `expm`, an entry of the exponential of a matrix, and `series`, see
    `cython_core/generate_optimizers.py`. For learning rules, which may use `MOMENTS`: `moments` lists allowed functions
    of one name, such as "before V_m" for before(V_m), which is the name in the tree, and `unknown` returns the message
    for a name, or a name at a moment, that is not allowed. Raises `InputError`: one line with model, key, position in
    the text, and the allowed or nearest names.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = repr(text)
    if not isinstance(text, str):
        raise InputError(f"{here} = {quote(text)} must be an expression in quotes, or a number")
    if len(text) > LENGTH and not internal:
        raise InputError(f"{here} has {len(text)} characters, must have at most {LENGTH}")
    return _Parser(text, names, here, internal, moments, unknown).parse_text()


class _Parser:
    """Turns one text into a tree; every mistake becomes an `InputError` with its position."""

    def __init__(
        self,
        text: str,
        names: Collection[str],
        here: str,
        internal: bool,
        moments: Collection[str],
        unknown: Callable[[str], str] | None,
    ) -> None:
        self.text, self.names, self.here, self.internal = text, names, here, internal
        self.moments, self.unknown = moments, unknown
        self.words = MOMENTS if unknown else ()  # a parser of rules

    def parse_text(self) -> Tree:
        """Return the tree of the whole text."""
        if odd := re.search(r"[^A-Za-z0-9_.+\-*/()<>=!, \t\r\n]", self.text):
            instead = INSTEAD.get(odd[0])
            self.raise_at(odd.start(), f"{quote(odd[0])} is not allowed" + (f", write {instead}" if instead else ""))
        flat = re.sub(r"\s", " ", self.text)
        start = len(flat) - len(flat.lstrip())
        if not flat.strip():
            self.raise_at(0, "is empty")
        depth = 0
        for place, letter in enumerate(flat):
            depth += (letter == "(") - (letter == ")")
            if depth > DEPTH:
                self.raise_at(place, f"is nested deeper than {DEPTH} levels")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                body = ast.parse(flat.strip(), mode="eval").body
        except SyntaxError as problem:
            self.raise_at(start + (problem.offset or 1) - 1, f"cannot be read: {problem.msg}")
        except (RecursionError, MemoryError):
            self.raise_at(0, f"is nested deeper than {DEPTH} levels")
        except ValueError as problem:  # numbers of thousands of digits
            self.raise_at(0, f"cannot be read: {shorten(str(problem), 100)}")
        self.offset = start
        return self.convert_node(body, 0)

    def convert_node(self, node: ast.AST, depth: int) -> Tree:
        """Return the tree of a node; raise if something in it is not allowed, or is no finite number."""
        if depth > DEPTH:
            self.fail_at(node, f"is nested deeper than {DEPTH} levels")
        tree = self.convert_one(node, depth)
        if tree[0] not in ("number", "name") and not self.internal and not names_of(tree):
            value = float(evaluate_tree(tree, {}))
            if not math.isfinite(value):
                self.fail_at(node, f"{shorten(write(tree), 100)} is {value}, must be a finite number")
        return tree

    def convert_one(self, node: ast.AST, depth: int) -> Tree:
        """Return the tree of a node."""

        def convert_children(*nodes: ast.AST) -> list[Tree]:
            return [self.convert_node(item, depth + 1) for item in nodes]

        match node:
            case ast.Constant():
                return self.read_number(node)
            case ast.Name():
                return self.read_name(node)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return (OPERATORS[type(op)], *convert_children(left, right))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return convert_children(operand)[0]
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as operand):
                return ("number", -self.read_number(operand)[1])
            case ast.UnaryOp(op=ast.USub() | ast.Not() as op, operand=operand):
                return (OPERATORS[type(op)], *convert_children(operand))
            case ast.BoolOp(op=op, values=values):
                return self.fold_operands(OPERATORS[type(op)], convert_children(*values))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in OPERATORS for op in ops):
                items = convert_children(left, *others)
                pairs = [(OPERATORS[type(op)], items[k], items[k + 1]) for k, op in enumerate(ops)]
                return self.fold_operands("and", pairs)
            case ast.Call():
                return self.read_call(node, convert_children)
        texts = {
            ast.IfExp: "'if ... else' is not allowed, write where(condition, a, b)",
            ast.Tuple: "a comma stands only between the arguments of a function",
            ast.BinOp: "this operator is not allowed",
            ast.Attribute: "a dot stands only within numbers",
        }
        self.fail_at(node, f"{texts.get(type(node), 'is not allowed')}; allowed are {ALLOWED}")

    def read_number(self, node: ast.Constant) -> Tree:
        """Return a finite real number; reject truth values, which Python counts as numbers."""
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self.fail_at(node, f"{quote(node.value)} must be a real number")
        try:
            value = float(node.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            self.fail_at(node, "is too large for a number")
        return ("number", value)

    def read_name(self, node: ast.Name) -> Tree:
        """Return a known name."""
        if node.id in FUNCTIONS:
            self.fail_at(node, f"{node.id} is a function: {self.format_usage(node.id)}")
        if node.id not in self.names:
            if self.unknown:
                raise InputError(self.unknown(node.id)) from None
            self.fail_at(node, f"unknown name {quote(node.id)}{suggest_nearest(node.id, self.names)}")
        return ("name", node.id)

    def read_call(self, node: ast.Call, inner: Callable[..., list[Tree]]) -> Tree:
        """Return a function with its arguments."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if self.internal and name in INTERNAL:
            return (name, *inner(*node.args))
        if name in self.words:
            return self.read_moment(name, node)
        if name not in FUNCTIONS:
            problem = (
                f"unknown function {quote(name)}{suggest_nearest(name, FUNCTIONS)}" if name else "this cannot be called"
            )
            self.fail_at(node, problem)
        count = len(node.args)
        if node.keywords or any(isinstance(item, ast.Starred) for item in node.args):
            self.fail_at(node, f"arguments are given by place alone: {self.format_usage(name)}")
        if count != FUNCTIONS[name] and not (name in ("min", "max") and count > 2):
            self.fail_at(node, f"{name} takes {FUNCTIONS[name]} arguments, not {count}: {self.format_usage(name)}")
        return self.fold_operands(name, inner(*node.args)) if name in ("min", "max") else (name, *inner(*node.args))

    def read_moment(self, word: str, node: ast.Call) -> Tree:
        """Return a name at another moment."""
        if len(node.args) != 1 or node.keywords or not isinstance(node.args[0], ast.Name):
            self.fail_at(node, f"{word} takes one name: {word}(a)")
        name = f"{word} {node.args[0].id}"
        if name not in self.moments and self.unknown:
            raise InputError(self.unknown(name)) from None
        return ("name", name)

    @staticmethod
    def format_usage(name: str) -> str:
        """Return how to call a function."""
        return f"{name}({'condition, a, b' if name == 'where' else ', '.join('ab'[: FUNCTIONS[name]])})"

    @staticmethod
    def fold_operands(operator: str, items: list[Tree]) -> Tree:
        """Return a chain of operands as one tree, associated to the left."""
        result = items[0]
        for item in items[1:]:
            result = (operator, result, item)
        return result

    def fail_at(self, node: ast.AST, problem: str) -> NoReturn:
        """Raise `InputError` at a node."""
        self.raise_at(self.offset + getattr(node, "col_offset", 0), problem)

    def raise_at(self, place: int, problem: str) -> NoReturn:
        """Raise `InputError` at a position of the text."""
        near = quote(self.text[place : place + 20].strip() or self.text[-20:])
        raise InputError(f"{self.here}: at character {place + 1} (near {near}): {problem}") from None


class Repeat(NamedTuple):
    """Simultaneous assignments that are repeated; as a tree, ("repeat", ...), its value is a list.

    Entry k of the list, ("entry", name of the tree, k), is the last value of variable k.

    Attributes
    ----------
    times : int
        Number of repetitions.
    start, update : dict of str to tuple
        First value and next value of each variable; the next value reads variables and terms.
    terms : dict of str to tuple
        Names that are computed first in each repetition; each may read variables and earlier terms.
    """

    times: int
    start: dict[str, Tree]
    update: dict[str, Tree]
    terms: dict[str, Tree]

    def to_tree(self) -> Tree:
        """Return the assignments as a tree."""
        variables = [(("name", name), start, self.update[name]) for name, start in self.start.items()]
        terms = [item for name, tree in self.terms.items() for item in (("name", name), tree)]
        count = ("number", float(len(variables)))
        return ("repeat", ("number", float(self.times)), count, *(item for some in variables for item in some), *terms)

    @classmethod
    def from_tree(cls, tree: Tree) -> Repeat:
        """Return the assignments that a tree contains."""
        _, (_, times), (_, count), *items = tree
        end = 3 * int(count)
        names, terms = [name for _, name in items[:end:3]], items[end:]
        start, update = (dict(zip(names, items[first:end:3], strict=True)) for first in (1, 2))
        return cls(int(times), start, update, {terms[k][1]: terms[k + 1] for k in range(0, len(terms), 2)})


def names_of(tree: Tree, terms: Mapping[str, Tree] = MappingProxyType({})) -> set[str]:
    """Return the names in a tree, except names that a loop in it defines, and the names in the terms that it reads."""
    names, waiting = set[str](), [tree]
    while waiting:
        found, given = set[str](), set[str]()
        for node in walk_tree(waiting.pop()):
            if node[0] == "name":
                found.add(node[1])
            elif node[0] == "repeat":
                loop = Repeat.from_tree(node)
                given |= loop.start.keys() | loop.terms.keys()
        found -= names | given
        names |= found
        waiting += [terms[name] for name in found & terms.keys()]
    return names


def with_terms(values: Given, terms: Mapping[str, Tree], by: SimpleNamespace | None = None) -> Values:
    """Return values by name, and the values of terms, which may read earlier terms; arguments as of `evaluate_tree`."""
    found = dict(values)
    for name, tree in terms.items():
        found[name] = evaluate_tree(tree, found, REAL if by is None else by)
    return found


def walk_tree(tree: Tree) -> Iterator[Tree]:
    """Yield a tree and all trees in it."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if node[0] not in ("number", "name"):
            waiting += node[:0:-1]


def replace_names(tree: Tree, values: Mapping[str, Tree]) -> Tree:
    """Return a tree with trees in place of names."""
    if tree[0] == "name":
        return values.get(tree[1], tree)
    if tree[0] == "number":
        return tree
    return (tree[0], *(replace_names(item, values) for item in tree[1:]))


# strength of binding, for brackets
_STRENGTH = {"or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6,
             "/": 6, "neg": 7, "**": 8}  # fmt: skip


def write(tree: Tree) -> str:
    """Return a tree as text; parsing the text gives the same tree."""
    kind, *items = tree
    if kind == "number":
        return repr(items[0]).removesuffix(".0") if abs(items[0]) < 1e15 else repr(items[0])
    if kind == "name":
        return items[0]
    if kind in FUNCTIONS or kind == "expm":
        return f"{kind}({', '.join(map(write, items))})"
    own = _STRENGTH[kind]

    def write_operand(item: Tree, equal: bool) -> str:
        weak = _STRENGTH.get(item[0], 9) if item[0] != "number" or math.copysign(1.0, item[1]) > 0 else 7
        chained = own == 4 and weak == 4  # a comparison of a comparison is no chain
        return f"({write(item)})" if weak < own or (weak == own and not equal) or chained else write(item)

    if kind == "neg":
        return f"-({write(items[0])})" if items[0][0] == "number" else f"-{write_operand(items[0], True)}"
    if kind == "not":
        return f"not {write_operand(items[0], True)}"
    space = "" if kind in ("*", "/", "**") else " "
    return f"{write_operand(items[0], kind != '**')}{space}{kind}{space}{write_operand(items[1], kind == '**')}"


def _real_power(x: Numbers, y: Numbers) -> Numbers:
    """Return x**y: by multiplications if y is whole, a root if y is 1/2, else exp(y log(x))."""
    if np.ndim(y) == 0 and float(y).is_integer() and abs(y) <= 64:
        return elementary.power(x, int(y))
    return np.sqrt(x) if np.ndim(y) == 0 and y == 0.5 else elementary.exp(y * elementary.log(x))


def _list_operations(
    kind: type, part: Callable[[Numbers], Numbers], **functions: Callable[..., Numbers]
) -> SimpleNamespace:
    """Return functions of numbers of a type by tree operator; `part` returns the real number that chooses a branch."""
    where = np.where
    comparisons = {
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }
    operations = functions | {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": np.divide,
        "neg": operator.neg,
        "detach": part,
        "**": functions["power"],
        "abs": lambda a: where(part(a) >= 0, a, -a),
        "min": lambda a, b: where(part(a) <= part(b), a, b),
        "max": lambda a, b: where(part(a) >= part(b), a, b),
        "where": lambda a, b, c: where(part(a) != 0, b, c),
        "not": lambda a: where(part(a) != 0, 0.0, 1.0),
        "and": lambda a, b: where((part(a) != 0) & (part(b) != 0), 1.0, 0.0),
        "or": lambda a, b: where((part(a) != 0) | (part(b) != 0), 1.0, 0.0),
    }
    for name, compare in comparisons.items():
        operations[name] = lambda a, b, compare=compare: where(compare(part(a), part(b)), 1.0, 0.0)
    return SimpleNamespace(kind=kind, operations=operations)


#: functions of real numbers, with the same bits on every machine
REAL = _list_operations(
    float, lambda x: x, exp=elementary.exp, log=elementary.log, sqrt=np.sqrt, tanh=elementary.tanh, power=_real_power
)
#: functions of complex numbers; branches are chosen by the real part
COMPLEX = _list_operations(complex, np.real, exp=np.exp, log=np.log, sqrt=np.sqrt, tanh=np.tanh, power=operator.pow)


def evaluate_tree(tree: Tree, values: Given, by: SimpleNamespace = REAL) -> Numbers:
    """Return the value of a tree, float or array of the broadcast shape; conditions are 0 or 1.

    `values` maps each name to a number or an array; `by` is `REAL` or `COMPLEX`. `detach` of complex numbers keeps the
    real part only.
    """
    with np.errstate(all="ignore"):  # once, as it takes as long as an operation
        return _evaluate_node(tree, values, by)


def _evaluate_node(tree: Tree, values: Given, by: SimpleNamespace) -> Numbers:
    kind, *items = tree
    match kind:
        case "number":
            return items[0]
        case "name":
            return values[items[0]]
        case "expm":
            return compute_exponential(items, values, by)
        case "repeat":
            return run_loop(Repeat.from_tree(tree), values, by)
        case "entry":
            return values[items[0][1]][int(items[1][1])]
    return by.operations[kind](*(_evaluate_node(item, values, by) for item in items))


def compile_tree(tree: Tree, constants: Given) -> Callable[[Given], Numbers]:
    """Return a function that maps values by name to the value of a tree; `constants` are read now."""
    kind, *items = tree
    if kind == "name" and items[0] not in constants:
        return operator.itemgetter(items[0])
    if names_of(tree) <= constants.keys():
        value = evaluate_tree(tree, constants)
        return lambda values: value
    if kind not in REAL.operations:
        return lambda values: _evaluate_node(tree, values, REAL)
    operation, parts = REAL.operations[kind], [compile_tree(item, constants) for item in items]
    if len(parts) == 2:  # faster than the general case
        a, b = parts
        return lambda values: operation(a(values), b(values))
    return lambda values: operation(*[part(values) for part in parts])


def run_loop(loop: Repeat, values: Given, by: SimpleNamespace) -> list[Numbers]:
    """Return the last values of the variables of a loop."""
    now = {**values, **{name: evaluate_tree(start, values, by) for name, start in loop.start.items()}}
    for _ in range(loop.times):
        read = with_terms(now, loop.terms, by)
        now |= {name: evaluate_tree(update, read, by) for name, update in loop.update.items()}
    return [now[name] for name in loop.start]


def compute_exponential(items: list[Tree], values: Given, by: SimpleNamespace) -> np.ndarray:
    """Return an entry of the exponential of a matrix, for each neuron.

    `items` are row, column, then the entries of the matrix row by row. If `by` has a list `exponentials`, several
    entries of one exponential are computed at once for the same values.
    """
    row, column, matrix = int(items[0][1]), int(items[1][1]), items[2:]
    known = getattr(by, "exponentials", [])
    result = next((result for trees, result in known if trees == matrix), None)
    if result is None:
        entries = np.broadcast_arrays(*(np.asarray(evaluate_tree(item, values, by), by.kind) for item in matrix))
        with np.errstate(all="ignore"):
            result = _compute_matrix_exponential(entries)
        known.append((matrix, result))
    return result[row][column]


def _compute_matrix_exponential(entries: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return the exponential of a matrix whose entries are given row by row.

    Taylor series and squaring with additions and multiplications in a fixed order: the same bits on every machine.
    """
    n, shape = math.isqrt(len(entries)), entries[0].shape
    A = np.stack([np.atleast_1d(entry) for entry in entries]).reshape(n, n, -1) + 0.0
    size = np.max(np.cumsum(np.abs(A), axis=1)[:, -1], axis=0)
    part, exponent = np.frexp(np.maximum(size, 0.5) / 0.5)
    halvings = exponent - (part == 0.5)  # a norm of at most 1/2 is left
    A = A * np.ldexp(1.0, -halvings)

    def multiply_matrices(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = a[:, 0, None] * b[0]
        for k in range(1, n):
            total = total + a[:, k, None] * b[k]
        return total

    result = one = np.broadcast_to(np.eye(n)[:, :, None], A.shape)
    for k in range(16, 0, -1):  # 1 + A/1 (1 + A/2 (1 + ...))
        result = one + multiply_matrices(A, result) / k
    for k in range(int(halvings.max(initial=0))):
        result = np.where(k < halvings, multiply_matrices(result, result), result)
    return [[result[i, j].reshape(shape) if shape else result[i, j, 0] for j in range(n)] for i in range(n)]
