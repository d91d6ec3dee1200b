"""Weights of a projection as a matrix, and its reduction to a drawable size."""

from __future__ import annotations

import numpy as np

from .. import hdf5
from ..errors import InputError
from ..later import h5py
from . import reader

LARGEST = 1_000_000  # matrices of more pairs of neurons are not drawn: they show nothing on paper
MOST_TILES = 200  # a drawn matrix has at most this many tiles along a side


def find_shape(projection: h5py.Group) -> tuple[int, int] | None:
    """Return (n_pre, n_post) when the matrix can be drawn: ids known, few pairs, no more synapses than may be read."""
    pre, post = (int(projection.attrs.get(name, 0)) for name in ("n_pre", "n_post"))
    ids = [hdf5.find_dataset(projection, name) for name in ("source", "target")]
    lengths = [len(data) for data in ids if data is not None]
    known = pre > 0 and post > 0 and len(lengths) == 2
    return (pre, post) if known and pre * post <= LARGEST and lengths[0] <= reader.SAMPLE_LIMIT else None


def build_dense_matrix(
    projection: h5py.Group, n_pre: int, n_post: int, weight: np.ndarray, sources: str = "source"
) -> np.ndarray:
    """Return the matrix (n_post, n_pre) of a projection, NaN without a synapse, the sum if there are several.

    `sources` names the dataset of source ids; "source_initial" has the ids before synapses moved.
    """
    source, target = hdf5.require_dataset(projection, sources), hdf5.require_dataset(projection, "target")
    if not len(source) == len(target) == len(weight):
        raise InputError(f"{projection.file.filename}: {projection.name}: source, target and weight differ in length")
    for name, ids, n in (("source", source, n_pre), ("target", target, n_post)):
        if ids.dtype.kind not in "iu" or (ids.size and not (0 <= ids.min() and ids.max() < n)):
            raise InputError(f"{projection.file.filename}: {projection.name}/{name} has ids outside 0..{n - 1}")
    matrix = np.full((n_post, n_pre), np.nan)
    matrix[target, source] = 0.0
    np.add.at(matrix, (target, source), weight)
    return matrix


def average_tiles(matrix: np.ndarray, most: int = MOST_TILES) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a matrix averaged over tiles, at most `most` along each side, and the shape of a tile.

    Absent synapses (NaN) do not count: they would wash out a sparse matrix.
    """
    tile = tuple(-(-n // most) for n in matrix.shape)
    if tile == (1, 1):
        return matrix, tile
    starts = [np.arange(0, n, step) for n, step in zip(matrix.shape, tile, strict=True)]

    def sum_tiles(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)

    present = np.isfinite(matrix)
    count, weight = sum_tiles(present.astype(np.int64)), sum_tiles(np.where(present, matrix, 0.0))
    return np.divide(weight, count, out=np.full(count.shape, np.nan), where=count > 0), tile


def compute_colour_limit(*arrays: np.ndarray) -> float:
    """Return the 99.5th percentile of the absolute finite values, as symmetric colour limit robust to outliers."""
    values = np.concatenate([np.abs(a[np.isfinite(a)]) for a in arrays])
    return float(np.quantile(values, 0.995)) or 1.0 if values.size else 1.0
