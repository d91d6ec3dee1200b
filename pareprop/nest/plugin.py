"""pytest plugin: `pytest -p pareprop.nest.plugin FILES` runs tests of NEST with this package in its place.

NEST need not be installed. `--nest-as` and `--nest-losses` are the options of `pareprop nest`.
"""

from __future__ import annotations

import pytest

from .commands import replace_nest, set_options
from .versions import VERSIONS

_replacement = replace_nest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("pareprop nest")
    group.addoption("--nest-as", choices=VERSIONS, default="", help="NEST's version that the tests are for.")
    group.addoption("--nest-losses", action="store_true", help="Lose what NEST loses.")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before the first conftest, which imports `nest`."""
    nest = _replacement.__enter__()
    options = early_config.known_args_namespace
    set_options(nest, options.nest_as, options.nest_losses)


def pytest_unconfigure(config: pytest.Config) -> None:
    """After all tests."""
    _replacement.__exit__(None, None, None)
