"""The kernels built with bounds checks and for any processor give the same bits as the installed ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import digests

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("PAREPROP_SHARED", ROOT.parent / "shared"))
GOLDEN = sorted(map(str, (SHARED / "golden").glob("*.h5")))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not GOLDEN, reason=f"no golden cases in {SHARED / 'golden'}")]


def output(*arguments: str, **options) -> str:
    """Output of Python with `arguments`, which must succeed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_same_bits(tmp_path: Path) -> None:
    """Both switches in one build, to save time. An index out of bounds would raise; warnings are errors."""
    pytest.importorskip("Cython", reason="a build needs Cython and setuptools")
    for name in ("pareprop", "cython_core"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    install = ("-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", "built", ".")
    switches = {"PAREPROP_CHECKED": "1", "PAREPROP_PORTABLE": "1"}
    output(*install, cwd=tmp_path, env=os.environ | switches, timeout=300)

    elsewhere = tmp_path / "elsewhere"  # where no package lies beside
    elsewhere.mkdir()
    verify = ("-W", "error", "-m", "pareprop", "verify", *GOLDEN)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "built")}
    mode = output("-c", "from pareprop.core import build_info; print(build_info.mode)", cwd=elsewhere, env=environment)
    assert mode == "checked-portable\n"
    found = output(*verify, cwd=elsewhere, env=environment, timeout=300)
    expected = output(*verify, cwd=elsewhere, timeout=100)
    assert digests(found.splitlines()) == digests(expected.splitlines()) != []
