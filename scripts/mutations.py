"""Draw mutations of the code, one place each; `mutate.py` tries them.

Of Python modules: comparisons, operators, constants, truth values, negations and swapped arguments; of kernels:
operators and constants.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Each folder of the package: its modules, and the folders of tests that start ranks.
ROOMS = {
    folder.name: (f"pareprop/{folder.name}/**/*.py", [folder.name])
    for folder in sorted(ROOT.glob("pareprop/*/"))
    if (ROOT / "tests" / folder.name).is_dir()
}
ROOMS["engines"][1].append("parallel/test_exchange.py")
ROOMS["algorithms"] = "pareprop/algorithms/*.py", ["engines"]
ROOMS["ground"] = "pareprop/*.py", ["test_errors.py", "test_levels.py", "runs/test_directory.py"]
KERNELS = (
    "cython_core/**/*.p[yx][xid]",
    [
        "runs/test_verify.py",
        "engines",
        "network/test_connectivity.py",
        "network/test_drawing.py",
        "parallel",
        "rules",
        "test_rng.py",
        "neurons",
        "storage/test_traces.py",
        "nest/test_draws.py",
        "nest/test_small_scripts.py",
    ],
)
COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.BitOr: "&"}
TOKENS = {" + ": " - ", " - ": " + ", " * ": " / ", " / ": " * ", " < ": " <= ", " <= ": " < ", " > ": " >= ",
          " >= ": " > ", " == ": " != ", " != ": " == ", " += ": " -= ", " -= ": " += ", " and ": " or ",
          " or ": " and "}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """Bytes [first, last) of a file, to be replaced."""

    room: str
    path: str
    line: int
    first: int
    last: int
    old: str
    new: str

    @property
    def is_python(self) -> bool:
        """Whether the module can still be parsed."""
        try:
            ast.parse(self.apply((ROOT / self.path).read_bytes()))
        except SyntaxError:
            return False
        return True

    def apply(self, text: bytes) -> bytes:
        """Return the text of the file with the mutation."""
        return text[: self.first] + self.new.encode() + text[self.last :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: `{self.old}` -> `{self.new}`"


class Places(ast.NodeVisitor):
    """All mutations of a Python module; annotations, messages and descriptions are left alone."""

    def __init__(self, room: str, path: str, text: str) -> None:
        self.room, self.path, self.text, self.found = room, path, text.encode(), []
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Bytes of a node."""
        first = self.starts[node.lineno - 1] + node.col_offset
        return first, self.starts[node.end_lineno - 1] + node.end_col_offset

    def add(self, node: ast.AST, first: int, last: int, new: str) -> None:
        """Note a mutation."""
        old = self.text[first:last].decode()
        self.found.append(Mutation(self.room, self.path, node.lineno, first, last, old, new))

    def between(self, node: ast.AST, left: ast.AST, right: ast.AST, new: str) -> None:
        """Replace the operator between two nodes, if only blanks surround it."""
        first, last = self.place(left)[1], self.place(right)[0]
        if re.fullmatch(r"\s*[^\s()#]+( \w+)?\s*", self.text[first:last].decode()):
            self.add(node, first, last, f" {new} ")

    def visit_Compare(self, node: ast.Compare) -> None:
        """`<` to `<=`, `==` to `!=` and so on."""
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            self.between(node, left, right, COMPARISONS[type(operator)])
            left = right
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """`+` to `-` and so on."""
        if type(node.op) in OPERATORS:
            self.between(node, node.left, node.right, OPERATORS[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """`and` to `or` and back."""
        self.between(node, node.values[0], node.values[1], "or" if isinstance(node.op, ast.And) else "and")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """`not x` to `x`."""
        if isinstance(node.op, ast.Not):
            self.add(node, self.place(node)[0], self.place(node.operand)[0], "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Numbers and truth values."""
        if isinstance(node.value, bool):
            self.add(node, *self.place(node), str(not node.value))
        elif isinstance(node.value, int | float):
            other = node.value * 1.5 if node.value and isinstance(node.value, float) else node.value + 1
            self.add(node, *self.place(node), repr(other))

    def visit_Call(self, node: ast.Call) -> None:
        """The first two arguments swapped."""
        if len(node.args) > 1 and not any(isinstance(part, ast.Starred) for part in node.args[:2]):
            (a, b), (c, d) = map(self.place, node.args[:2])
            if self.text[a:b] != self.text[c:d]:
                self.add(node, a, d, (self.text[c:d] + self.text[b:c] + self.text[a:b]).decode())
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The value alone."""
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Nothing within messages."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Defaults and body."""
        for part in (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef


def find_in_module(room: str, path: Path) -> list[Mutation]:
    """Mutations of a Python module."""
    text = path.read_text()
    places = Places(room, str(path.relative_to(ROOT)), text)
    places.visit(ast.parse(text))
    return places.found


def find_in_kernel(path: Path) -> Iterator[Mutation]:
    """Mutations of a kernel, within its functions: declarations, comments and docstrings are left alone."""
    start, quoted, inside = 0, False, False
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        code = line.partition("#")[0]
        inside = bool(re.match(r"\s*(cdef|cpdef|def) .*[(:]", code)) or (
            inside and (not code.strip() or code[0] == " ")
        )
        quotes = code.count('"""')
        skipped = (
            quoted or quotes or re.match(r"\s*(cdef|cpdef|def|ctypedef|cimport|include|DEF)\b", code) or not inside
        )
        quoted = quoted ^ (quotes % 2 == 1)
        for old, new in TOKENS.items() if not skipped else ():
            for match in re.finditer(re.escape(old), code):
                first = start + len(code[: match.start()].encode())
                place = str(path.relative_to(ROOT))
                yield Mutation("kernels", place, number, first, first + len(old.encode()), old, new)
        for match in re.finditer(r"(?<![\w.])\d+(?![\w.])", code) if not skipped else ():
            first = start + len(code[: match.start()].encode())
            new = str(int(match[0]) + 1)
            yield Mutation("kernels", str(path.relative_to(ROOT)), number, first, first + len(match[0]), match[0], new)
        start += len(line.encode())


def draw_mutations(count: int, kernels: int, seed: int) -> list[Mutation]:
    """Mutations of all rooms, in turn, then of the kernels."""
    draw = random.Random(seed)
    by_room = {}
    for room, (pattern, _) in ROOMS.items():
        mutations = [item for path in sorted(ROOT.glob(pattern)) for item in find_in_module(room, path)]
        by_room[room] = draw.sample(mutations, len(mutations))
    chosen: list[Mutation] = []
    while len(chosen) < count and any(by_room.values()):
        chosen += [item for item in (mutations.pop() for mutations in by_room.values() if mutations) if item.is_python]
    of_kernels = [item for path in sorted(ROOT.glob(KERNELS[0])) for item in find_in_kernel(path)]
    return chosen[:count] + draw.sample(of_kernels, min(kernels, len(of_kernels)))
