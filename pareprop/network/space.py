"""Cells in space: positions on a plane or in a volume, and synapses whose probability decreases with distance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from .. import elementary, files, rng
from ..errors import InputError, escape_unprintable
from .parameters import Frozen, array_of

PAIRS = 2**22  # pairs of neurons whose distances are held at a time
SHORTEST, LONGEST = 1e-75, 1e75  # bounds of lengths: squares and their ratios are finite and above 0
MOST_PLACES = 2**62  # most cells of the grid in which sources are searched


def _read_positions(value: object) -> np.ndarray | None:
    """Return positions as an array, given as such or as the path of a `.npy` file."""
    if isinstance(value, str | Path):
        shown = escape_unprintable(str(value))
        try:
            value = files.read_npy(value)
        except OSError as problem:
            raise ValueError(f"{shown}: {problem.strerror or problem}") from None
        except ValueError as problem:
            raise ValueError(f"{shown}: not a .npy file of numbers: {problem}") from None
    try:
        return None if value is None else array_of(value, "").astype(float)
    except InputError:
        raise ValueError("must be numbers, one row for each cell") from None


Positions = Annotated[np.ndarray | None, BeforeValidator(_read_positions)]


class Space(Frozen):
    """Positions of sources and targets, and the decrease of the probability of a synapse with their distance d.

    Attributes
    ----------
    extent : tuple of float
        Sides of a plane (2) or of a volume (3), in any unit of length.
    length : float
        Scale of the profile, in that unit.
    profile : str
        "gaussian": exp(-d^2 / (2 length^2)); "exponential": exp(-d / length).
    cutoff : float
        Distance beyond which there are no synapses.
    periodic : bool
        Whether opposite sides touch.
    sources, targets : array_like, path or None
        Positions, (n, 2 or 3), or the path of a `.npy` file of them; None: drawn uniformly, keyed by the names of the
        populations.
    """

    extent: tuple[float, ...]
    length: float = Field(gt=0)
    profile: Literal["gaussian", "exponential"] = "gaussian"
    cutoff: float = Field(gt=0)
    periodic: bool = True
    sources: Positions = None
    targets: Positions = None

    @model_validator(mode="after")
    def _check_sides(self) -> Space:
        if len(self.extent) not in (2, 3) or min(self.extent) <= 0:
            raise ValueError(f"extent = {self.extent} must be two or three lengths above 0")
        lengths = [("length", self.length), ("cutoff", self.cutoff), *(("extent", side) for side in self.extent)]
        for name, value in lengths:
            if not SHORTEST <= value <= LONGEST:
                raise ValueError(f"{name} = {value:g} must lie between {SHORTEST:g} and {LONGEST:g}")
        if math.prod(max(1.0, side / self.cutoff) for side in self.extent) > MOST_PLACES:
            raise ValueError(f"cutoff = {self.cutoff:g} is too short for extent = {self.extent}")
        if self.periodic and self.cutoff > min(self.extent) / 2:
            half = min(self.extent) / 2
            raise ValueError(f"cutoff = {self.cutoff:g} must be at most half of the shortest side, {half:g}")
        return self

    def find_positions(self, known: np.ndarray | None, seed: int, population: str, ids: np.ndarray) -> np.ndarray:
        """Return positions of some cells of a population, float64 (n, 2 or 3)."""
        if known is not None:
            return np.asarray(known, float)[ids]
        key = rng.make_key(seed, f"{population}/position")
        return rng.draw_uniform(key, ids, len(self.extent)) * self.extent

    def square_distances(self, offset: np.ndarray) -> np.ndarray:
        """Return the squared distances of pairs whose positions differ by `offset` (..., 2 or 3)."""
        if self.periodic:
            offset = offset - np.rint(offset / self.extent) * self.extent
        return elementary.total_rows(offset * offset)

    def compute_probabilities(self, squares: np.ndarray) -> np.ndarray:
        """Return the probability at some squared distances, relative to the probability at distance 0."""
        length = self.length
        decay = squares / (2 * (length * length)) if self.profile == "gaussian" else np.sqrt(squares) / length
        return np.where(squares <= self.cutoff * self.cutoff, elementary.exp(-decay), 0.0)

    def average_profile(self) -> float:
        """Return the mean of the profile over uniformly distributed pairs of cells, with periodic borders."""
        axes = [np.linspace(-side / 2, side / 2, 64, endpoint=False) for side in self.extent]
        return float(
            elementary.mean_in_order(
                self.compute_probabilities(self.square_distances(np.stack(np.meshgrid(*axes), axis=-1)))
            )
        )


def draw_synapses(
    space: Space,
    seed: int,
    name: str,
    ends: tuple[str, str],
    n_sources: int,
    leaves_out_self: bool,
    probability: float,
    targets: tuple[int, int],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Draw the synapses of some targets at a time.

    Each pair is drawn once: number `source` of the random stream of the target. A grid finds the sources within the
    cutoff, see `SourceGrid`. `name` is the projection, `ends` are the names of the populations of sources and targets,
    `probability` applies at distance 0, `targets` is a half-open range. `leaves_out_self`: target j must not have
    source j.

    Yields targets and counts, int64 (n,); sources, int64 (n_synapses,), target after target, ascending for each; and
    distances between source and target, float64 (n_synapses,).
    """
    target_ids = np.arange(*targets)
    if not len(target_ids):
        return
    near, key = SourceGrid(space, seed, ends, n_sources), rng.make_key(seed, f"{name}/topology")
    places = near.position_targets(target_ids)
    cell_of = near.index_cells(places)
    by_cell = np.argsort(cell_of, kind="stable")
    cells, starts = np.unique(cell_of[by_cell], return_index=True)
    for cell, group in zip(cells, np.split(by_cell, starts[1:]), strict=True):
        some_near = np.sort(np.concatenate([near.order[low:high] for low, high in near.list_ranges(cell[None])[0]]))
        for some in np.array_split(group, -(-len(group) * len(some_near) // PAIRS) or 1):
            squares = space.square_distances(near.sources[some_near] - places[some][:, None])
            hit = rng.draw_uniform(key, target_ids[some], len(some_near)) < probability * space.compute_probabilities(
                squares
            )
            if leaves_out_self:
                hit &= some_near != target_ids[some][:, None]
            sources = some_near[np.nonzero(hit)[1]].astype(np.int64)
            yield target_ids[some], np.count_nonzero(hit, axis=1), sources, np.sqrt(squares[hit])


class SourceGrid:
    """Sources sorted into a grid of cells at least as wide as the cutoff: sources near a target lie in adjacent cells.

    `ends` are the names of the populations of sources and targets.

    Attributes
    ----------
    sources : np.ndarray
        float64 (n_sources, 2 or 3), positions of the sources.
    order : np.ndarray
        uint32 (n_sources,), sources sorted by grid cell, ascending within each.
    """

    def __init__(self, space: Space, seed: int, ends: tuple[str, str], n_sources: int) -> None:
        self.space, self._seed, self._post = space, seed, ends[1]
        self._shape = np.maximum(1, np.floor(np.array(space.extent) / space.cutoff)).astype(np.int64)
        self.sources = np.ascontiguousarray(space.find_positions(space.sources, seed, ends[0], np.arange(n_sources)))
        cells = self.index_cells(self.sources)
        order = np.argsort(cells, kind="stable")
        self.order, self._cells = order.astype(np.uint32), cells[order]
        steps = [(-1, 0, 1) if n > 2 or not space.periodic else range(n) for n in self._shape]
        self._around = np.array(list(itertools.product(*steps)))

    def position_targets(self, ids: np.ndarray) -> np.ndarray:
        """Return positions of targets, float64 (n, 2 or 3)."""
        return np.ascontiguousarray(self.space.find_positions(self.space.targets, self._seed, self._post, ids))

    def index_cells(self, where: np.ndarray) -> np.ndarray:
        """Return the number of the grid cell in which each position lies."""
        index = np.floor(where / np.array(self.space.extent) * self._shape).astype(np.int64)
        index = index % self._shape if self.space.periodic else np.clip(index, 0, self._shape - 1)
        return np.ravel_multi_index(tuple(index.T), tuple(self._shape))

    def list_ranges(self, cells: np.ndarray) -> np.ndarray:
        """Return ranges (start, stop) of `order` in grid cells and their neighbours, int64 (n_cells, n_ranges, 2)."""
        around = np.stack(np.unravel_index(cells, tuple(self._shape)), axis=-1)[:, None] + self._around
        inside = np.all((around >= 0) & (around < self._shape), axis=-1) | self.space.periodic
        around = np.where(inside[..., None], around % self._shape, 0)
        numbers = np.where(inside, np.ravel_multi_index(tuple(np.moveaxis(around, -1, 0)), tuple(self._shape)), -1)
        ends = [np.searchsorted(self._cells, numbers, side=side) for side in ("left", "right")]
        return np.stack(ends, axis=-1).astype(np.int64)

    def compute_lengths(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the distances between sources and targets, float64 (n_pairs,)."""
        return np.sqrt(self.space.square_distances(self.sources[source] - self.position_targets(target)))

    @property
    def nbytes(self) -> int:
        """Bytes of positions and cells."""
        return self.sources.nbytes + self.order.nbytes + self._cells.nbytes
