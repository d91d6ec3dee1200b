"""What pyproject.toml promises of the installation."""

import tomllib
from pathlib import Path

import pareprop
from pareprop.core import build_info

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("pareprop/**/__init__.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | {"pareprop.core"}


def test_version_is_that_of_the_distribution() -> None:
    assert pareprop.__version__ == PYPROJECT["project"]["version"]


def test_results_cannot_depend_on_the_machine() -> None:
    flags = build_info.flags.split()
    assert "-ffp-contract=off" in flags
    assert not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math"} & set(flags)
    assert ("checked" in build_info.mode) == ("-O1" in flags)
    assert ("portable" in build_info.mode) or any(flag.endswith("=native") for flag in flags)
