"""A run directory for the tests of figures."""

from pathlib import Path

import pytest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make an empty run directory."""
    return tmp_path
