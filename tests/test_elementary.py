"""Our elementary functions against those in extended precision, and that no other is used where bits count."""

import re
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
    np.testing.assert_array_equal(
        elementary.exp([0.0, -np.inf, np.inf, -800.0, 710.0, np.nan]), [1, 0, np.inf, 0, np.inf, np.nan]
    )
    np.testing.assert_array_equal(
        elementary.log([1.0, 0.0, np.inf, -1.0, np.nan]), [0, -np.inf, np.inf, np.nan, np.nan]
    )
    np.testing.assert_array_equal(elementary.log1p([0.0, -1.0, np.inf, -2.0]), [0, -np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(elementary.expm1([0.0, -np.inf, np.inf, -50.0, 800.0]), [0, -1, np.inf, -1, np.inf])
    np.testing.assert_array_equal(elementary.tanh([0.0, -np.inf, np.inf, 50.0]), [0, -1, 1, 1])
    np.testing.assert_array_equal(elementary.sin([0.0, 1e6, np.nan]), [0, np.nan, np.nan])
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
        np.testing.assert_allclose(normal.draw(*shape), theirs.randn(*shape), rtol=4e-16)
    np.testing.assert_array_equal(ours.rand(5), theirs.rand(5))


def test_no_other_is_used_where_bits_count() -> None:
    """Neither NumPy's and the C library's functions nor BLAS. NEST's random numbers are those of its C library."""
    functions = r"exp|expm1|exp2|log|log1p|log2|log10|sin|cos|tan|tanh|sinh|cosh|power|float_power|dot|matmul|einsum"
    python = re.compile(rf"\b(?:np|math|numpy)\.(?:{functions}|pow|vdot|inner|tensordot)\(|\.randn\(|\w @ \w")
    kernel = re.compile(rf"^from libc.math cimport .*\b(?:{functions}|pow)\b|[\w\])] \*\* [a-z]")
    found = []
    for room in ("engines", "network", "simulation", "tasks"):
        for path in sorted((ROOT / "pareprop" / room).glob("*.py")):
            lines = enumerate(path.read_text().splitlines(), 1)
            found += [f"{path.name}:{number}: {line.strip()}" for number, line in lines if python.search(line)]
    for path in sorted((ROOT / "cython_core").rglob("*.p[yx][xid]")):
        if path.name in ("mersenne.pxd", "nest_draws.pyx"):
            continue
        lines = enumerate((line.partition("#")[0] for line in path.read_text().splitlines()), 1)
        found += [
            f"{path.name}:{number}: {line.strip()}"
            for number, line in lines
            if kernel.search(line) and '"""' not in line
        ]
    assert found == []
