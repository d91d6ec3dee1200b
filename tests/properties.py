"""How many examples a property gets: all with `pytest --long`, a fifth of them without."""

from hypothesis import settings


def examples(n: int) -> int:
    """Scale a number of examples as the profile of `conftest` says."""
    return max(5, n * settings.default.max_examples // 100)
