"""Figures of weights: matrices, changes, histograms."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from result_files import RNG_SEED, opened, tile

from pareprop.plots import matrices, reader, weights


def test_weights_show_matrices_change_and_histograms(tmp_path):
    with opened(tmp_path) as file:
        figure, data = weights.draw_figure(file), file["projections/rec->rec"]
        source, target, before, after = (data[k][...] for k in ("source", "target", "weight_initial", "weight"))
    weight, change, histogram = tile(figure, "rec → rec")
    for ax, values in ((weight, after), (change, after - before)):
        matrix = ax.images[0].get_array()
        np.testing.assert_allclose(matrix[target, source], values)
        assert np.ma.count(matrix) == len(values)  # absent synapses are masked
        low, high = ax.images[0].get_clim()
        assert low == -high and f"±{high:.2g}" in ax.get_title(loc="left")
    for patch, values in zip(histogram.patches, (before, after), strict=True):
        counts, edges, _ = patch.get_data()
        np.testing.assert_array_equal(counts, np.histogram(values, edges)[0])
        assert counts.sum() == len(values)


def test_large_matrices_show_the_means_of_the_synapses_in_a_tile():
    matrix = np.random.default_rng(RNG_SEED).normal(size=(7, 5))
    matrix[:3, :2], matrix[4, 3] = np.nan, np.nan
    tiles, shape = matrices.average_tiles(matrix, most=3)
    assert shape == (3, 2) and tiles.shape == (3, 3) and np.isnan(tiles[0, 0])
    for row, column in ((0, 1), (1, 1), (2, 2)):
        part = matrix[3 * row : 3 * row + 3, 2 * column : 2 * column + 2]
        assert tiles[row, column] == pytest.approx(np.nanmean(part))


@pytest.mark.parametrize("values", [[], [0.5] * 9, [0.5, np.nextafter(0.5, 1)], [0.0, 0.0], [-1e299, 1e299]])
def test_any_weights_fall_into_bins(values):
    edges = weights.bin_edges(np.array(values))
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_several_synapses_of_a_pair_are_added(tmp_path):
    with h5py.File(tmp_path / "results.h5", "w") as file:
        group = file.create_group("projections/a->b")
        group["source"], group["target"] = [1, 1, 0], [0, 0, 1]
        matrix = matrices.build_dense_matrix(group, 2, 2, np.array([0.5, 0.25, 3.0]))
    np.testing.assert_array_equal(matrix, [[np.nan, 0.75], [3.0, np.nan]])


class Counting:
    """Stand in for a dataset and count the entries read."""

    def __init__(self, data):
        self.data, self.read = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, key):
        part = self.data[key]
        self.read += len(part)
        return part


def test_sample_is_bounded_even_and_complete_when_small():
    data = Counting(np.arange(10_000_019))
    sample = reader.sample(data, 100_000)
    assert data.read == len(sample) == 100_000
    assert sample[0] == 0 and sample[-1] == 10_000_018 and (np.diff(sample) > 0).all()
    assert np.histogram(sample, 10)[0].tolist() == [10_000] * 10
    assert np.bincount(sample % 100).min() == 1000  # no stride hides the structure of a fixed indegree of 100
    np.testing.assert_array_equal(reader.sample(np.arange(50), 50), np.arange(50))


def test_big_projection_is_sampled_and_gets_no_matrix(tmp_path, monkeypatch):
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(reader, "SAMPLE_LIMIT", 20_000)
    monkeypatch.setattr(reader.sample, "__defaults__", (20_000,))
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, *key: read.append((self.name, out := original(self, *key))) or out
    )
    with h5py.File(tmp_path / "results.h5", "w") as file:
        group = file.create_group("projections/rec->rec")
        group.attrs.update(n_pre=100_000, n_post=100_000)
        for name in ("source", "target", "delay"):
            group.create_dataset(name, (100_000_000,), dtype=np.int64, chunks=(1 << 16,))  # unwritten: takes no space
        for name in ("weight_initial", "weight"):
            group.create_dataset(name, (100_000_000,), dtype=np.float64, chunks=(1 << 16,), fillvalue=0.5)
        figure = weights.draw_figure(file)
    assert {name.rpartition("/")[2] for name, _ in read} == {"weight_initial", "weight"}
    assert sum(np.size(part) for _, part in read) == 40_000
    none, change, weight = tile(figure, "rec → rec")
    assert [ax.get_title(loc="left") for ax in (change, weight)] == ["change of weight", "synapses by weight"]
    assert not none.axison and "100,000,000 synapses, 20,000 of them shown" in none.texts[0].get_text()
