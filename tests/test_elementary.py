"""Our elementary functions against those in extended precision, and that no other is used where bits count."""

import ast
import functools
import operator
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pareprop import elementary
from pareprop.tasks.draws import LegacyNormal

ROOT = Path(__file__).parents[1]
POSITIVE = np.ldexp(np.random.default_rng(1).random(20000) + 0.5, np.random.default_rng(2).integers(-1060, 1000, 20000))
SMALL = np.random.default_rng(3).normal(size=20000) * 10.0 ** np.random.default_rng(4).integers(-18, 3, 20000)
CASES = [
    ("exp", np.random.default_rng(5).uniform(-707.0, 709.0, 20000), 1.0),
    ("exp", SMALL[np.abs(SMALL) < 700], 1.0),
    ("log", POSITIVE, 1.0),
    ("log", 1.0 + SMALL[np.abs(SMALL) < 0.9], 1.0),
    ("log1p", SMALL[SMALL > -1.0], 1.0),
    ("expm1", SMALL[np.abs(SMALL) < 700], 4.0),
    ("tanh", SMALL, 5.0),
    ("sin", np.random.default_rng(6).uniform(-1e5, 1e5, 20000), 1.0),
    ("cos", np.random.default_rng(7).uniform(-1e5, 1e5, 20000), 1.0),
]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no extended precision here")
@pytest.mark.parametrize(("name", "x", "ulps"), CASES)
def test_errors(name: str, x: np.ndarray, ulps: float) -> None:
    exact = getattr(np, name)(x.astype(np.longdouble))
    error = np.abs(getattr(elementary, name)(x).astype(np.longdouble) - exact)
    assert np.max(error / np.spacing(np.abs(exact).astype(float))) < ulps


def test_ends() -> None:
    for name, x, expected in (
        ("exp", [0.0, -np.inf, np.inf, -800.0, 710.0, np.nan], [1, 0, np.inf, 0, np.inf, np.nan]),
        ("log", [1.0, 0.0, np.inf, -1.0, np.nan], [0, -np.inf, np.inf, np.nan, np.nan]),
        ("log1p", [0.0, -1.0, np.inf, -2.0], [0, -np.inf, np.inf, np.nan]),
        ("expm1", [0.0, -np.inf, np.inf, -50.0, 800.0], [0, -1, np.inf, -1, np.inf]),
        ("tanh", [0.0, -np.inf, np.inf, 50.0], [0, -1, 1, 1]),
        ("sin", [0.0, 1e6, np.nan], [0, np.nan, np.nan]),
    ):
        np.testing.assert_array_equal(getattr(elementary, name)(x), expected, err_msg=name)
    np.testing.assert_allclose(elementary.exp(-744.0), 1e-323, rtol=0.5)  # denormal
    assert isinstance(elementary.exp(1.0), float) and elementary.log(np.ones((2, 3))).shape == (2, 3)


def test_power() -> None:
    n = np.array([0, 1, 2, 17, 1000, -1, -3])
    np.testing.assert_allclose(elementary.power(0.95, n), [0.95 ** int(k) for k in n], rtol=2e-13)
    np.testing.assert_array_equal(elementary.power([[2.0], [-1.0]], [3, 0]), [[8, 1], [-1, 1]])


@pytest.mark.parametrize("shapes", [[(3, 4), (7,)], [(5,), (1,), (0,), (2, 2)], [(1,)]])
def test_legacy_normal(shapes: list[tuple[int, ...]]) -> None:
    """Its numbers are those of NumPy but for the last bits, and the generator goes on as NumPy's does."""
    ours, theirs = np.random.RandomState(8), np.random.RandomState(8)
    normal = LegacyNormal(ours)
    for shape in shapes:
        np.testing.assert_allclose(normal.draw_normals(*shape), theirs.randn(*shape), rtol=4e-16)
    np.testing.assert_array_equal(ours.rand(5), theirs.rand(5))


def test_sums() -> None:
    """Their order is that of NumPy's rows, by which the digests of earlier versions were made."""
    for n in (0, 1, 7, 8, 17, 128, 129, 1000):
        x = np.random.default_rng(n).normal(size=(3, n))
        np.testing.assert_array_equal(elementary.total_rows(x), [add(row) for row in x.tolist()])
        np.testing.assert_array_equal(elementary.total_rows(x), elementary.total_rows(np.asfortranarray(x)))
        assert elementary.sum_in_order(x[0]) == add(x[0].tolist())
    assert elementary.total_rows(np.ones((2, 3, 4))).shape == (2, 3)
    assert elementary.mean_in_order([1, 2, 6]) == 3.0 and isinstance(elementary.mean_in_order([1]), float)


def add(row: list[float]) -> float:
    """Pairwise sum as NumPy's documentation describes it: blocks of 128 at most, each in eight parts."""
    if len(row) > 128:
        half = len(row) // 2 // 8 * 8
        return add(row[:half]) + add(row[half:])
    whole, total = len(row) // 8 * 8, 0.0
    if whole:
        parts = [functools.reduce(operator.add, row[k:whole:8]) for k in range(8)]
        while len(parts) > 1:
            parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
        total = parts[0]
    return functools.reduce(operator.add, row[whole:], total)


def test_interpolation() -> None:
    draw = np.random.default_rng(9)
    places, values = np.sort(draw.random(20)), draw.normal(size=20)
    x = np.concatenate([draw.uniform(-0.2, 1.2, 1000), places])
    np.testing.assert_allclose(elementary.interpolate(x, places, values), np.interp(x, places, values), rtol=1e-12)
    np.testing.assert_array_equal(elementary.interpolate(places, places, values), values)
    np.testing.assert_array_equal(elementary.interpolate(np.array([-9.0, 9.0]), places, values), values[[0, -1]])


ROOMS = ("engines", "network", "neurons", "algorithms", "rules", "simulation", "tasks", "runs/benchmark.py")
FUNCTIONS = set(
    """arccos arcsin arctan arctan2 atan2 average cbrt convolve corrcoef cos cosh cov dist dot einsum exp exp2 expm1
    float_power geomspace hypot inner interp log log10 log1p log2 logspace matmul mean nanmean nansum pow power sin
    sinh std sum tan tanh tensordot trapezoid vdot var""".split()
)
METHODS = {"dot", "mean", "norm", "randn", "reduceat", "std", "sum", "var"}
LIBRARIES = {"np", "numpy", "math"}
OWN = {"elementary", "loop", "self", "space"}  # whose methods have such names
WHOLE = re.compile(r"n_\w+|size|nbytes|shape|count|rows|width|lengths|len|int")  # names of whole numbers
CHECKS = "checks and shows equations; nothing is trained"
CHECKED = "a check of a loss against finite differences"
EXPECTED = "an expected number, for times, memory and cuts"
SHOWN = "part of a message alone"
EXACT = "whole numbers"
IN_TURN = "arrays, one after the other"
ALLOWED = {
    ("algorithms/scan/algorithm.py", "traces ** 2"): EXACT,
    ("network/scaled.py", "np.arange(26) ** 2"): EXACT,
    ("tasks/data.py", "sum(list(counts.values())[1:])"): EXACT,
    ("network/partition_bounds.py", "sum((sum_cost(*chunk) for chunk in zip(costs, lengths, strict=True)))"): EXACT,
    ("engines/footprint.py", "math.expm1(-expected[group.name])"): EXPECTED,
    ("engines/footprint.py", "math.expm1(-synapses / rows)"): EXPECTED,
    ("engines/footprint.py", "sum(sources.values())"): EXACT,
    ("engines/footprint.py", "sum(self._sources.values())"): EXACT,
    ("network/local.py", "sum((size * rate for size, rate in known))"): EXPECTED,
    ("network/losses.py", "np.sum(np.square(errors))"): CHECKED,
    ("network/losses.py", "np.sum(errors * line)"): CHECKED,
    ("network/losses.py", "sum((each.loss for each in found))"): CHECKED,
    ("neurons/check.py", "10.0 ** np.arange(-4, 8.1, 0.25)"): CHECKS,
    ("neurons/check.py", "np.log(size)"): CHECKS,
    ("neurons/check.py", "result.spikes.sum()"): CHECKS,
    ("neurons/check.py", "sum((evaluate_tree(part, read) for part in derivatives if part is not None))"): CHECKS,
    ("neurons/symbols.py", "base ** exponent"): "of SymPy: terms, not numbers",
    ("neurons/terms.py", "sum(sizes)"): EXACT,
    ("neurons/terms.py", "sum((slopes.get(name, 0) for name in names))"): EXACT,
    ("neurons/composed_map_rows.py", "sum((k < p for k in self.ports))"): EXACT,
    ("rules/generate.py", "sum((key[0] == k for key in pairs))"): EXACT,
    (
        "engines/rule_kernels.py",
        "sum({id(item.constant): item.constant.nbytes for item in self.learners}.values())",
    ): EXACT,
    ("rules/check.py", "np.sum(self._run_backward() * self.arrivals, axis=0)"): CHECKS,
    ("engines/rewiring.py", "np.diff(parts).sum(axis=(1, 2))"): EXACT,
    ("runs/benchmark.py", "lengths @ sent[numbers]"): EXACT,
    ("simulation/loop.py", "sum(marks.values())"): EXACT,
    ("network/parameters.py", "math.log(FAR)"): SHOWN,
    ("network/parameters.py", "math.log(abs(default))"): SHOWN,
    ("network/parameters.py", "math.log(self.mean)"): SHOWN,
    ("network/parameters.py", "math.log1p(ratio * ratio)"): SHOWN,
    ("simulation/notices.py", "sum((counts[label] for label in absent))"): SHOWN,
    ("simulation/notices.py", "sum(losses[-SOON // 5:])"): SHOWN,
    ("simulation/notices.py", "sum(losses[:SOON // 5])"): SHOWN,
    ("simulation/returns.py", "np.std(self.returns, ddof=1)"): SHOWN,
    ("tasks/circuit.py", "sum(others, first)"): IN_TURN,
}


def is_whole(node: ast.AST) -> bool:
    """Tell whether an expression is a whole number by what is called, named or written."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int)
        case ast.UnaryOp(operand=part) | ast.GeneratorExp(elt=part) | ast.Subscript(value=part):
            return is_whole(part)
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id=name), *_]):
            return bool(WHOLE.fullmatch(name))
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Call(func=ast.Name(id=name)):
            return bool(WHOLE.fullmatch(name))
    return False


def list_foreign(tree: ast.AST) -> Iterator[ast.AST]:
    """Powers, sums and functions of NumPy, Python and the C library whose last bit may be theirs.

    Sums of whole numbers tell so: by their names, by `int(...)` around them, by `dtype=`.
    """
    within = {
        id(node.args[0]) for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args and is_whole(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.MatMult):
            if not (isinstance(node.left, ast.Constant) and is_whole(node.right)):
                yield node
        if not isinstance(node, ast.Call) or id(node) in within or any(item.arg == "dtype" for item in node.keywords):
            continue
        match node.func:
            case ast.Name(id="sum" | "pow") if not is_whole(node.args[0]):
                yield node
            case ast.Attribute(value=of, attr=name):
                owner = getattr(of, "id", getattr(of, "attr", None))
                if (name in METHODS and owner not in OWN) or (owner in LIBRARIES and name in FUNCTIONS):
                    yield node


def test_no_other_is_used_where_bits_count() -> None:
    """Neither NumPy's and the C library's functions and sums nor BLAS, but where no digest hangs on the last bit."""
    found = set()
    for room in ROOMS:
        place = ROOT / "pareprop" / room
        for path in place.rglob("*.py") if place.is_dir() else [place]:
            name = path.relative_to(ROOT / "pareprop").as_posix()
            found |= {(name, ast.unparse(node)) for node in list_foreign(ast.parse(path.read_text()))}
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "text",
    [
        "np.hypot(x, y)", "x.sum(axis=1)", "np.sum(x)", "sum(values)", "x @ y", "x**0.5", "np.linalg.norm(x)",
        "f(x).mean()", "x[1:].std()", "math.exp(x)", "2.0**x", "(x * x).sum()", "pow(x, y)", "np.add.reduceat(x, y)",
    ],
)  # fmt: skip
def test_others_are_seen(text: str) -> None:
    assert len(list(list_foreign(ast.parse(text)))) == 1


def test_whole_numbers_pass() -> None:
    text = "int(x.sum()) + sum(part.size for part in x) + x.sum(dtype=int) + elementary.mean_in_order(x) + 2.0**-60"
    assert not list(list_foreign(ast.parse(text)))


def test_kernels_use_no_other() -> None:
    """NEST's random numbers are those of its C library."""
    functions = r"exp|expm1|exp2|log|log1p|log2|log10|sin|cos|tan|tanh|sinh|cosh|power|pow|hypot"
    kernel = re.compile(rf"^from libc.math cimport .*\b(?:{functions})\b|[\w\])] \*\* [a-z]")
    found = []
    for path in sorted((ROOT / "cython_core").rglob("*.p[yx][xid]")):
        if path.name in ("mersenne.pxd", "nest_draws.pyx"):
            continue
        lines = enumerate((line.partition("#")[0] for line in path.read_text().splitlines()), 1)
        seen = ((number, line.strip()) for number, line in lines if kernel.search(line) and '"""' not in line)
        found += [f"{path.name}:{number}: {line}" for number, line in seen]
    assert found == []
