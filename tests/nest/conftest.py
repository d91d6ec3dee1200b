"""What NEST's `ResetKernel` leaves as it is stays with the test that set it."""

from collections.abc import Iterator

import pytest

from pareprop.nest.kernel import kernel
from pareprop.nest.settings import DEFAULTS


@pytest.fixture(autouse=True)
def default_settings() -> Iterator[None]:
    yield
    kernel.params = dict(DEFAULTS)
