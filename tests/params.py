"""Parameters of tests: which of their values belong to which set of tests (CONTRIBUTING describes the sets)."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(n: int, values: Iterable[Any], rest: int | None = None) -> list[Any]:
    """Values of a parameter, of which `pytest` alone takes the first n, `pytest --all` the first `rest` (None: all)."""
    return first_rows(n, ((value,) for value in values), rest)


def first_rows(n: int, rows: Iterable[tuple[Any, ...]], rest: int | None = None) -> list[Any]:
    """Rows of values of several parameters, likewise."""
    found = []
    for i, row in enumerate(rows):
        marks = [] if i < n else [pytest.mark.slow] if rest is None or i < rest else [pytest.mark.long]
        found.append(pytest.param(*row, marks=marks))
    return found
