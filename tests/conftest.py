"""Settings and fixtures of all tests."""

import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# No deadline: the machine may be busy. The same examples on every CI run: a failure there is the change's own.
hypothesis.settings.register_profile("pareprop", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("pareprop")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the reference material: $PAREPROP_SHARED, or `shared` beside the checkout."""
    path = Path(os.environ.get("PAREPROP_SHARED") or Path(__file__).parents[2] / "shared")
    if not path.is_dir():
        pytest.skip(f"no reference material at {path}; PAREPROP_SHARED names another folder")
    return path
