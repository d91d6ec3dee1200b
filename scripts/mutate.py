"""Would the tests notice? Change the code at random places, one at a time, and run the tests that reach the place.

Works on a copy of the checkout, in one process after another. Mutations are drawn from a seed: comparisons, operators,
constants, truth values, negations and swapped arguments of the Python modules; operators and constants of the kernels,
which are rebuilt each time. One run of the rooms' tests with coverage tells which of them run a line and how long they
take: of a mutation these are run, the fastest first, then those of its room that start ranks. Prints a line for each,
then a table of how many were found, and the survivors. `--map FILE` keeps what the run with coverage told.

    nice -n 19 python scripts/mutate.py --count 176 --kernels 24 --seed 1
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Room: its modules, and tests that start ranks.
ROOMS = {
    "engines": ("pareprop/engines/*.py", ["engines", "parallel/test_exchange.py"]),
    "optimizers": ("pareprop/network/optimizers.py", ["engines", "network"]),
    "network": ("pareprop/network/*.py", ["network", "engines"]),
    "exchange": ("pareprop/parallel/*.py", ["parallel"]),
    "checkpoints": ("pareprop/storage/*.py", ["storage"]),
    "configuration": ("pareprop/runs/config.py", ["test_errors.py"]),
    "directory": ("pareprop/runs/directory.py", ["runs/test_directory.py"]),
    "files": ("pareprop/files.py", ["runs/test_directory.py"]),
    "data": ("pareprop/tasks/data*.py", ["tasks/test_data.py"]),
}
KERNELS = ("cython_core/**/*.p[yx][xid]", ["runs/test_verify.py", "engines", "network/test_drawing.py"])
MAPPED = ["engines", "network", "parallel", "runs", "simulation", "storage", "tasks", "fuzz/test_corpus.py",
          "test_errors.py", "test_rng.py", "test_digests.py"]  # fmt: skip
QUICK, RANKS = "not mpi and not peer and not slurm and not slow", "mpi and not peer and not slurm and not slow"
COMPARISONS = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
               ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is"}  # fmt: skip
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.BitOr: "&"}
BUILD = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build_ext", "--inplace"]
TOKENS = {" + ": " - ", " - ": " + ", " * ": " / ", " / ": " * ", " < ": " <= ", " <= ": " < ", " > ": " >= ",
          " >= ": " > ", " == ": " != ", " != ": " == ", " += ": " -= ", " -= ": " += ", " and ": " or ",
          " or ": " and "}  # fmt: skip


FAILED = r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$"


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
        """Replace the operator between two nodes, if nothing but blanks is beside it."""
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
            self.add(node, *self.place(node), repr(node.value + 1 if isinstance(node.value, int) else node.value * 1.5))

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
        found = [item for path in sorted(ROOT.glob(pattern)) for item in find_in_module(room, path)]
        by_room[room] = draw.sample(found, len(found))
    chosen: list[Mutation] = []
    while len(chosen) < count and any(by_room.values()):
        chosen += [item for item in (found.pop() for found in by_room.values() if found) if item.is_python]
    of_kernels = [item for path in sorted(ROOT.glob(KERNELS[0])) for item in find_in_kernel(path)]
    return chosen[:count] + draw.sample(of_kernels, min(kernels, len(of_kernels)))


def copy_checkout(folder: Path) -> Path:
    """A copy of the checkout with its compiled kernels, importable by itself."""
    tree = folder / "tree"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    built = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("cython_core/*.so"), *ROOT.glob("build/**/*"))]
    for name in filter(None, [*names, *built]):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    (tree / "pareprop" / "core").symlink_to(tree / "cython_core")
    return tree


def environment(tree: Path) -> dict[str, str]:
    """Environment of the tests: modules of the copy, and the reference material of the checkout."""
    shared = os.environ.get("PAREPROP_SHARED", str(ROOT.parent / "shared"))
    own = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1", "PAREPROP_SHARED": shared}
    return os.environ | own | {"PAREPROP_FUZZ_SECONDS": "1"}


def run(command: list[str], tree: Path, seconds: float) -> tuple[int, str]:
    """Exit code and output of a command in the copy; -1 after too long a time."""
    process = subprocess.Popen(
        ["timeout", "-k", "5", str(seconds), *command], cwd=tree, env=environment(tree), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    output = process.communicate()[0]
    return (-1 if process.returncode in (124, 137) else process.returncode), output


class Tests:
    """Which tests run a line, how long they take, and which fail in a clean copy.

    Parameters
    ----------
    clean : Path
        Copy of the checkout without a mutation.
    seconds : float
        Longest time of the tests of one mutation.
    kept : Path or None
        File with what an earlier run with coverage told, or to keep it in.
    quick : bool
        Whether to leave out tests that start ranks.
    """

    def __init__(self, clean: Path, seconds: float, kept: Path | None, quick: bool) -> None:
        self.clean, self.seconds, self.quick, self.failing = clean, seconds, quick, set()
        if kept and kept.is_file():
            self.durations, self.lines = json.loads(kept.read_text())
            return
        self.durations, self.lines = self.measured()
        if kept:
            kept.write_text(json.dumps([self.durations, self.lines]))

    def measured(self) -> tuple[dict[str, float], dict[str, dict[str, list[str]]]]:
        """Seconds of each test, and the tests that run each line of each module."""
        import coverage

        (self.clean / "mutate.ini").write_text("[run]\nsource_pkgs = pareprop\n")
        options = ["--cov=pareprop", "--cov-context=test", "--cov-report=", "--cov-config=mutate.ini", "--durations=0"]
        output = self.pytest(self.clean, [f"tests/{place}" for place in MAPPED], 7200, QUICK, *options, "-vv")[1]
        durations = Counter()
        for seconds, test in re.findall(r"^([\d.]+)s (?:setup|call|teardown) +(tests/.+)$", output, re.MULTILINE):
            durations[test] += float(seconds)
        data, lines = coverage.CoverageData(str(self.clean / ".coverage")), {}
        data.read()
        for path in data.measured_files():
            of_file = {
                str(line): sorted({context.rpartition("|")[0] for context in contexts} - {""})
                for line, contexts in data.contexts_by_lineno(path).items()
            }
            lines[str(Path(path).relative_to(self.clean.resolve()))] = of_file
        return durations, lines

    def pytest(self, tree: Path, tests: list[str], seconds: float, selected: str, *more: str) -> tuple[int, str]:
        """Run tests in a copy."""
        names = tree / "tests.txt"  # too many for a command line
        names.write_text("\n".join(tests))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", selected, *more]
        return run([*command, f"@{names}"], tree, seconds)

    def reaching(self, mutation: Mutation) -> list[str]:
        """Tests that run the place, the fastest first, as many as fit into the time."""
        if mutation.room == "kernels":
            found = {test for test in self.durations for place in KERNELS[1] if test.startswith(f"tests/{place}")}
        else:
            of_file = self.lines.get(mutation.path, {})
            lines = range(mutation.line, mutation.line + mutation.old.count("\n") + 1)
            found = {test for line in lines for test in of_file.get(str(line), ())}
            if not found:  # run at the import only, such as a default
                found = {test for tests in of_file.values() for test in tests}
        chosen, total = [], 0.0
        for test in sorted(found - self.failing, key=lambda test: (self.durations.get(test, 0), test)):
            total += self.durations.get(test, 0)
            if chosen and total > self.seconds:
                break
            chosen.append(test)
        return chosen

    def found(self, tree: Path, tests: list[str], selected: str) -> str | None:
        """Tell which of the tests fails though it holds in a clean copy."""
        while tests:
            limit = 300 + 10 * self.seconds  # the machine may be busy
            skipped = [f"--deselect={test}" for test in self.failing]
            code, output = self.pytest(tree, tests, limit, selected, "-x", *skipped)
            if code in (0, 5):  # 5: none selected
                return None
            failed = re.search(FAILED, output, re.MULTILINE)
            if code < -1:
                raise TimeoutError  # killed, such as for its memory
            if code == -1 and self.pytest(self.clean, tests, limit, selected, *skipped)[0] == -1:
                raise TimeoutError  # without the mutation, too: the machine is too busy to tell
            if failed is None:
                return "takes too long" if code == -1 else f"pytest ends with {code}"
            if self.pytest(self.clean, [failed[1]], limit, selected)[0] == 0:
                return failed[1]
            self.failing.add(failed[1])
            tests = [test for test in tests if test != failed[1]]
        return None

    def verdict(self, tree: Path, mutation: Mutation) -> str:
        """Tell "found" and by what, or "survived"."""
        quick = self.reaching(mutation)
        ranks = ROOMS[mutation.room][1] if mutation.room in ROOMS else KERNELS[1]
        told = self.found(tree, quick, QUICK)
        if not told and not self.quick:
            told = self.found(tree, [f"tests/{place}" for place in ranks], RANKS)
        return f"found: {told}" if told else f"survived {len(quick)} tests" + " and those on ranks" * (not self.quick)


def judge(tree: Path, tests: Tests, mutation: Mutation) -> str:
    """Verdict on a mutation; the copy is as before afterwards."""
    path = tree / mutation.path
    before = path.read_bytes()
    path.write_bytes(mutation.apply(before))
    try:
        if mutation.room == "kernels" and run(BUILD, tree, 900)[0]:
            return "found: does not compile"
        return tests.verdict(tree, mutation)
    finally:
        path.write_bytes(before)
        if mutation.room == "kernels":
            os.utime(path)
            for name in tree.glob("cython_core/*.so"):  # a later mutation of Python code must not meet this one
                shutil.copy2(tests.clean / name.relative_to(tree), name)


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="mutations of Python modules [200]")
    parser.add_argument("--kernels", type=int, default=24, help="mutations of kernels, a rebuild each [24]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to go on from [0]")
    parser.add_argument("--seconds", type=float, default=60, help="time of the tests of one mutation [60]")
    parser.add_argument("--map", type=Path, help="file that keeps which tests run which line")
    parser.add_argument("--quick", action="store_true", help="leave out tests that start ranks")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    options = parser.parse_args()
    chosen, end, survivors = draw_mutations(options.count, options.kernels, options.seed), time.monotonic(), []
    end += 60 * options.minutes
    found, tried = Counter(), Counter()
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        tree, clean = (copy_checkout(Path(folder, name)) for name in ("changed", "clean"))
        tests = Tests(clean, options.seconds, options.map, options.quick)
        for number, mutation in enumerate(chosen[options.first :], options.first):
            if time.monotonic() > end:
                print(f"out of time; --first {number} goes on")
                break
            try:
                told = judge(tree, tests, mutation)
            except TimeoutError:
                told = "undecided: the machine is too busy"
            print(f"{number}: {mutation.room}: {mutation}: {told}", flush=True)
            tried[mutation.room] += not told.startswith("undecided")
            found[mutation.room] += told.startswith("found")
            survivors += [mutation] * told.startswith("survived")
    print(f"\n{'room':14s} tried found")
    for room in tried:
        print(f"{room:14s} {tried[room]:5d} {found[room]:5d}")
    print(f"{'together':14s} {tried.total():5d} {found.total():5d}")
    for mutation in survivors:
        print(f"survived: {mutation}")


if __name__ == "__main__":
    main()
