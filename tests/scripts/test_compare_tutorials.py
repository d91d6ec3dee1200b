"""scripts/compare_tutorials.py: what it finds between two runs and how it tells; `tests/nest` runs the tutorials."""

import numpy as np
import pytest
from nest_tutorials import agreement, first_difference

SPIKES = {"events_sr/times": np.array([3.0, 5.0, 5.0, 9.0]), "events_sr/senders": np.array([1, 2, 3, 1])}


def change(**values: object) -> dict[str, np.ndarray]:
    return SPIKES | {f"events_sr/{name}": np.array(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (change(), None),
        (change(times=[9.0, 5.0, 3.0, 5.0], senders=[1, 2, 1, 3]), None),  # recorders list spikes in any order
        (change(times=[3.0, 5.0, 6.0, 9.0]), 5.0),
        (change(senders=[1, 2, 4, 1]), 5.0),
        (change(times=[3.0, 5.0, 5.0], senders=[1, 2, 3]), 9.0),
    ],
)
def test_first_spike_that_only_one_run_has(other, expected):
    assert first_difference(SPIKES, other) == first_difference(other, SPIKES) == expected


def test_losses_are_compared_relatively_weights_not():
    one = SPIKES | {"loss": np.array([200.0, 100.0]), "weight_in_rec": np.array([[1.0, -3.0]])}
    other = one | {"loss": np.array([200.0, 101.0]), "weight_in_rec": np.array([[1.5, -3.0]])}
    assert agreement(other, one) == {"spikes": None, "loss": pytest.approx(0.01), "weights": 0.5}
