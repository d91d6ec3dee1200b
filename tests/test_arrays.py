"""Orders of whole numbers."""

import numpy as np
import pytest

from pareprop.arrays import sort_by


@pytest.mark.parametrize("most", [1, 2, 300, 65536, 70_000, 2**31, 2**40])
@pytest.mark.parametrize("n", [0, 1, 2000])
def test_the_order_of_lexsort(n: int, most: int) -> None:
    """Entries that are equal keep their order."""
    rng = np.random.default_rng(most)
    keys = [rng.integers(0, high, n) for high in (most, 3, most, 1)]
    keys[0][: n // 2] = keys[0][n // 2 : 2 * (n // 2)]
    assert np.array_equal(sort_by(*keys), np.lexsort(keys))
    assert np.array_equal(sort_by(keys[0].astype(np.uint64)), np.argsort(keys[0], kind="stable"))
