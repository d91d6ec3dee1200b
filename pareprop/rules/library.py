"""Rules of the package, one file each in `library/`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from .definition import Rule, rules_of

FOLDER = Path(__file__).parent / "library"


@cache
def names() -> list[str]:
    """Return the names of all rules of the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def get(name: str) -> Rule:
    """Return a rule of the package."""
    return rules_of(tomllib.loads((FOLDER / f"{name}.toml").read_text())["learning_rules"], name)[name]
