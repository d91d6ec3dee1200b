"""Learning rules of the package: each TOML file that lies in `library/` is one, by its name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from .. import files
from ..neurons.library import read_table
from .definition import Rule, read_rules

FOLDER = Path(__file__).parent / "library"


@cache
def list_names() -> list[str]:
    """Return the names of all rules of the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def get_definition(name: str) -> Rule:
    """Return a rule of the package."""
    return read_rules(files.parse_toml((FOLDER / f"{name}.toml").read_text())["learning_rules"], name)[name]


def load_definitions(path: str | Path) -> dict[str, Rule]:
    """Return the rules of a TOML or JSON file, in its table `learning_rules` or `rules`.

    Raises
    ------
    InputError
        If it cannot be read, or a rule is wrong.
    """
    return read_rules(read_table(path, "learning_rules", "rules"), str(path))
