"""Parameters of tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(n: int, values: Iterable[Any]) -> list[Any]:
    """Values of a parameter, of which `pytest` alone takes the first n, and `pytest --all` all."""
    return [value if i < n else pytest.param(value, marks=pytest.mark.slow) for i, value in enumerate(values)]


def first_rows(n: int, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Rows of values of several parameters, likewise."""
    return [row if i < n else pytest.param(*row, marks=pytest.mark.slow) for i, row in enumerate(rows)]
