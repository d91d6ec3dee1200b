"""Keyed random numbers against numpy.random.Philox, scipy and the distributions that they claim."""

import hashlib

import numpy as np
import pytest
import scipy.stats

from pareprop import kernels, rng

KEY = rng.make_key(7, "test")


def philox(key, stream_id, n):
    counter = np.array([0, stream_id, 0, 0], dtype=np.uint64)  # a list with ids of 64 bits would pass through float64
    return np.random.Philox(key=key, counter=counter).random_raw(n)


def quantile(numbers):
    out = np.empty(numbers.size)
    kernels.random.normal_quantile(np.asarray(numbers, dtype=np.uint64), out)
    return out


def exact_quantile(numbers):
    """Quantile of p = ((u >> 11) + 1/2) / 2**53 by symmetry, as a double holds p - 1/2 but not every p above 1/2."""
    q = (numbers >> np.uint64(11)) / 2.0**53 - 0.5 + 2.0**-54
    return -np.sign(q) * scipy.stats.norm.ppf(0.5 - abs(q))


def test_key_is_the_documented_hash():
    digest = hashlib.blake2b(b"12/rec->rec/weight", digest_size=16).digest()
    expected = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    key = rng.make_key(12, "rec->rec/weight")
    assert key.dtype == np.uint64
    assert key.tolist() == expected


@pytest.mark.parametrize("n", [1, 3, 4, 5, 1030])
def test_raw_numbers_are_those_of_numpy(n):
    key = np.array([2**64 - 1, 2**63 + 5], dtype=np.uint64)  # the round keys wrap
    ids = np.array([0, 1, 77, 2**32 + 3, 2**64 - 1], dtype=np.uint64)
    out = np.empty((ids.size, n), dtype=np.uint64)
    kernels.random.raw(key, ids, out)
    np.testing.assert_array_equal(out, [philox(key, int(i), n) for i in ids])


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 1030])
def test_uniform_takes_the_53_upper_bits(n):
    ids = [5, 2, 9]
    expected = [(philox(KEY, i, n) >> np.uint64(11)) / 2.0**53 for i in ids]
    np.testing.assert_array_equal(rng.draw_uniform(KEY, ids, n), np.reshape(expected, (3, n)))


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 20_000])
def test_normal_is_the_quantile_of_the_same_numbers(n):
    numbers = philox(KEY, 3, n)
    np.testing.assert_allclose(rng.draw_normal(KEY, [3], n)[0], exact_quantile(numbers), rtol=1e-14)


def test_normal_quantile_in_the_far_tails_and_at_the_median():
    depths = np.uint64(2) ** np.arange(11, 64, dtype=np.uint64)
    rng = np.random.default_rng(1)
    spread = np.concatenate([rng.integers(0, d, 200, dtype=np.uint64) for d in depths])
    special = np.array([0, 2**64 - 1, 2**63 - 2**11, 2**63], dtype=np.uint64)
    numbers = np.concatenate([special, spread, ~spread])
    values = quantile(numbers)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, exact_quantile(numbers), rtol=1e-14)
    np.testing.assert_array_equal(quantile(~numbers), -values)


@pytest.mark.parametrize("draw, law", [(rng.draw_uniform, "uniform"), (rng.draw_normal, "norm")])
def test_distribution_within_and_across_streams(draw, law):
    within = draw(KEY, [1], 50_000)[0]
    across = draw(KEY, np.arange(50_000), 1)[:, 0]
    other_purpose = draw(rng.make_key(7, "other"), [1], 50_000)[0]
    for sample in (within, across, other_purpose):
        assert scipy.stats.kstest(sample, law).pvalue > 1e-3
    for second in (across, other_purpose, np.roll(within, 1)):
        assert abs(np.corrcoef(within, second)[0, 1]) < 4 / np.sqrt(50_000)


def slow_bernoulli(key, probability, n_steps):
    """The definition, one source at a time."""
    spikes = []
    for source, p in enumerate(probability):
        step = -1
        for u in philox(key, source, n_steps + 1):
            v = (int(u >> np.uint64(11)) + 1) / 2**53
            step += 1 + (int(np.log(v) / np.log1p(-p)) if p < 1 else 0)
            if step >= n_steps:
                break
            spikes.append((step, source))
    return sorted(spikes)


def test_bernoulli_against_its_definition():
    probability = [0.3, 1.0, 0.02, 0.9, 1e-3, 0.5]
    ids, ptr = rng.draw_bernoulli(KEY, probability, 101)
    assert (ids.dtype, ptr.dtype, ptr.size) == (np.uint32, np.int64, 102)
    steps = np.repeat(np.arange(101), np.diff(ptr))
    assert list(zip(steps.tolist(), ids.tolist(), strict=True)) == slow_bernoulli(KEY, probability, 101)


def test_bernoulli_counts_and_intervals():
    n_steps = 200_000
    probability = np.array([0.5, 0.1, 0.01, 1e-3])
    ids, ptr = rng.draw_bernoulli(KEY, probability, n_steps)
    counts = np.bincount(ids, minlength=4)
    assert (abs(counts - n_steps * probability) < 5 * np.sqrt(n_steps * probability * (1 - probability))).all()
    steps = np.repeat(np.arange(n_steps), np.diff(ptr))
    for source in (0, 1):
        intervals = np.diff(steps[ids == source])
        observed = np.bincount(np.minimum(intervals, 8), minlength=9)[1:]
        p = probability[source]
        law = p * (1 - p) ** np.arange(7)
        expected = np.append(law, 1 - law.sum()) * intervals.size
        assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("n_steps", [0, 1, 50])
def test_bernoulli_limits(n_steps):
    ids, ptr = rng.draw_bernoulli(KEY, [0.0, 1.0, 1e-300, 1.0, 5e-324], n_steps)
    np.testing.assert_array_equal(ids, [1, 3] * n_steps)
    np.testing.assert_array_equal(ptr, 2 * np.arange(n_steps + 1))
