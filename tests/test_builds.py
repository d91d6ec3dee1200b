"""The kernels built with bounds checks and for any processor give the same bits as the installed ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from case_files import GOLDEN
from commands import digests

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


# A target beyond the neurons, met in a function that cannot raise; without an end there "went on" would be printed.
BROKEN = """
import numpy as np
from pareprop.kernels import layout, PRECISIONS
blocks = np.zeros((1, layout.BLOCK_COLUMNS), np.int64)
blocks[0, [layout.SOURCES, layout.DELAY]] = 1
row_ptr, target, weight = np.array([0, 1]), np.array([7], np.uint32), np.ones(1)
PRECISIONS["double"].interval.inject(blocks, row_ptr, target, weight, np.ones((2, 1)), np.zeros((2, 3)))
print("went on")
"""


def output(*arguments: str, **options) -> str:
    """Output of Python with `arguments`, which must succeed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_same_bits(tmp_path: Path) -> None:
    """Both switches in one build, to save time. An index out of bounds would raise; warnings are errors."""
    pytest.importorskip("Cython", reason="a build needs Cython and setuptools")
    for name in ("pareprop", "cython_core", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    install = ("-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", "built", ".")
    switches = {"PAREPROP_CHECKED": "1", "PAREPROP_PORTABLE": "1", "CFLAGS": "-O0"}
    output(*install, cwd=tmp_path, env=os.environ | switches, timeout=900)

    elsewhere = tmp_path / "elsewhere"  # where no package lies beside
    elsewhere.mkdir()
    verify = ("-W", "error", "-m", "pareprop", "verify", *GOLDEN)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "built")}
    mode = output("-c", "from pareprop.core import build_info; print(build_info.mode)", cwd=elsewhere, env=environment)
    assert mode == "checked-portable\n"
    broken = subprocess.run(
        [sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False, cwd=elsewhere, env=environment
    )
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "add_row" in broken.stderr and "pareprop: error: a bounds check failed in a kernel" in broken.stderr
    found = output(*verify, cwd=elsewhere, env=environment, timeout=900)
    expected = output(*verify, cwd=elsewhere, timeout=900)
    assert digests(found.splitlines()) == digests(expected.splitlines()) != []
