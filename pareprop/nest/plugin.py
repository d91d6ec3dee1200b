"""pytest plugin: `pytest -p pareprop.nest.plugin FILES` runs tests of NEST with this package in its place."""

from __future__ import annotations

import pytest

from .commands import in_place_of_nest

_place = in_place_of_nest()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is collected."""
    _place.__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    """After all tests."""
    _place.__exit__(None, None, None)
