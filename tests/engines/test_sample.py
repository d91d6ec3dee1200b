import numpy as np
import pytest

from pareprop.engines.sample import Sample
from pareprop.errors import InputError

TARGET = np.zeros((4000, 1))


@pytest.mark.parametrize("varying", [False, True])
def test_poisson_inputs_have_their_rates(varying):
    rates = np.array([0.0, 10.0, 80.0])
    given = np.tile(rates, (len(TARGET), 1)) if varying else rates
    steps, ids = Sample.from_rates(given, TARGET, seed=3, index=5).inputs.list_spikes(len(TARGET))
    for source, rate in enumerate(rates):
        p = 1.0 - np.exp(-rate / 1000.0)
        count = np.sum(ids == source)
        assert abs(count - p * len(TARGET)) <= 5.0 * np.sqrt(len(TARGET) * p * (1.0 - p))
    assert np.all(np.diff(steps * 10 + ids.astype(int)) > 0)


def test_seed_and_index_give_the_spikes():
    def spikes(seed, index):
        return Sample.from_rates(np.full(5, 50.0), TARGET, seed, index).inputs.ids.tolist()

    assert spikes(1, 2) == spikes(1, 2)
    assert spikes(1, 2) != spikes(1, 3)
    assert spikes(1, 2) != spikes(2, 2)


def test_masked_values_are_refused():
    """What lies under a mask is not a value; it counted as a spike, or as a target."""
    masked = np.ma.array(np.ones((3, 1)), mask=[[False], [True], [False]])
    plain = np.ones((3, 1))
    for raster, target, name in ((masked, plain, "raster"), (plain, masked, "target")):
        with pytest.raises(InputError, match=f"{name} holds masked values"):
            Sample.from_raster(raster, target)
    with pytest.raises(InputError, match="rates_hz holds masked values"):
        Sample.from_rates(masked, plain, 1, 0)
    assert len(Sample.from_raster(np.ma.array(plain), plain).inputs.ids) == 3  # a mask without effect


IMPOSSIBLE = [([-1.0], "at least 0"), ([np.nan], "finite"), (np.ones((3, 2)), "must be")]


@pytest.mark.parametrize(("rates", "message"), IMPOSSIBLE)
def test_impossible_rates_are_refused(rates, message):
    with pytest.raises(InputError, match=message):
        Sample.from_rates(rates, TARGET, 1, 0)
