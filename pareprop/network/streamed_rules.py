"""Connection rules that yield their synapses from Python, in chunks: degrees, distances, explicit ones, functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from .. import elementary, rng
from ..errors import InputError, quote, shorten
from ..sonata.edges import EdgeChunk
from ..values import Values
from . import degrees, delays, space
from .parameters import Constant, Distribution, Uniform, array_of, is_number
from .rule_base import MAX_DELAY, ConnectionRule, Described

AT_ONCE = 2**12  # targets in one call of a function
PART = 2**18  # given synapses that are yielded together
_UNIT, _ZERO = Uniform(low=0.0, high=1.0), Constant(value=0.0)


class LognormalDegrees(ConnectionRule):
    """In-degrees log-normal about `indegree`; sources drawn by log-normal weights, none twice for a target."""

    code = -1
    options = ("indegree", "sigma_in", "sigma_out")
    streamed = True

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless the mean can be reached."""
        limit = degrees.AT_MOST * projection.n_choices
        if not is_number(projection.indegree) or not 0 <= projection.indegree <= limit:
            indegree = quote(projection.indegree)
            raise InputError(f"{here}: indegree = {indegree} must lie in [0, {limit:g}], half of the sources")
        for name in ("sigma_in", "sigma_out"):
            if not is_number(value := getattr(projection, name)) or not 0 <= value <= 5:
                raise InputError(f"{here}: {name} = {quote(value)} must lie in [0, 5]")

    def yield_chunks(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[EdgeChunk]:
        """Yield the synapses onto some targets."""
        drawn = degrees.draw_synapses(
            seed,
            projection.name,
            projection.pre.size,
            projection.n_choices,
            projection.indegree,
            projection.sigma_in,
            projection.sigma_out,
            (low, high),
        )
        for synapses in drawn:
            yield make_piece(seed, projection, *synapses, weights)

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        indegrees = degrees.list_indegrees(projection.n_choices, projection.indegree, projection.sigma_in)
        return float(elementary.mean_in_order(indegrees))

    def list_indegrees(self, seed: int, projection: Described, low: int, high: int) -> float | np.ndarray:
        """Return the number of synapses of each of some targets."""
        numbers = projection.n_choices, projection.indegree, projection.sigma_in
        return degrees.draw_indegrees(seed, projection.name, *numbers, low, high)


class DistanceDependent(ConnectionRule):
    """At most one synapse per pair, with `probability` times the profile of the distance of `space`."""

    code = -1
    options = ("probability", "space")
    streamed = True

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless `probability` lies in [0, 1] and given positions fit the populations."""
        if not (is_number(projection.probability) and 0 <= projection.probability <= 1):
            raise InputError(f"{here}: probability = {quote(projection.probability)} must lie in [0, 1]")
        for name, population in (("sources", projection.pre), ("targets", projection.post)):
            positions = getattr(projection.space, name)
            shape = (population.size, len(projection.space.extent))
            if positions is not None and np.shape(positions) != shape:
                raise InputError(f"{here}: space: {name} have shape {np.shape(positions)}, must be {shape}")
            if positions is not None and not np.all(np.abs(positions) <= space.LONGEST):
                raise InputError(f"{here}: space: {name} hold values that are not finite, or above {space.LONGEST:g}")

    def yield_chunks(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[EdgeChunk]:
        """Yield the synapses onto some targets."""
        ends, leaves_out_self = (projection.pre.name, projection.post.name), projection.n_choices < projection.pre.size
        drawn = space.draw_synapses(
            projection.space,
            seed,
            projection.name,
            ends,
            projection.pre.size,
            leaves_out_self,
            projection.probability,
            (low, high),
        )
        law = projection.delay_law
        for targets, counts, source, length in drawn:
            piece = make_piece(seed, projection, targets, counts, source, weights)
            grows = isinstance(law, delays.DistanceDelay)
            yield replace(piece, delay=law.compute_steps(length).astype(np.int64)) if grows else piece

    def make_grid(self, seed: int, projection: Described) -> space.SourceGrid:
        """Return the grid of sources."""
        return space.SourceGrid(
            projection.space, seed, (projection.pre.name, projection.post.name), projection.pre.size
        )

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target, as if there were no borders."""
        itself = projection.pre == projection.post  # at distance 0
        others = projection.space.average_profile() * (projection.pre.size - itself)
        return projection.probability * (others + (itself and projection.allow_autapses))


class Explicit(ConnectionRule):
    """Synapses given one by one as `source` and `target`, with weights and delays; nothing is drawn."""

    code = -1
    options = ("source", "target")
    streamed = True

    def check_fields(self, here: str, projection: Described) -> Values:
        """Return the arrays of a checked projection."""
        source, target, weight, delay = (
            array_of(getattr(projection, name), f"{here}: {name}") for name in ("source", "target", "weight", "delay")
        )
        source, target, weight = np.atleast_1d(source), np.atleast_1d(target), weight.astype(float, copy=False)
        if source.shape != target.shape or source.ndim != 1:
            raise InputError(f"{here}: source has shape {source.shape}, target {target.shape}; they must be equal")
        for key, array in (("weight", weight), ("delay", delay)):
            if array.ndim and array.shape != source.shape:
                raise InputError(f"{here}: {key} has shape {array.shape}, must be {source.shape}")
        weight, delay = np.broadcast_to(weight, source.shape), np.broadcast_to(delay, source.shape)
        for key, ids, bound in (("source", source, projection.pre.size), ("target", target, projection.post.size)):
            if len(ids) and (not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= bound):
                raise InputError(f"{here}: {key} must hold whole numbers from 0 to {bound - 1}")
        wrong = ~((delay == np.floor(delay)) & (delay >= 1) & (delay <= MAX_DELAY))
        if np.any(wrong):
            raise InputError(f"{here}: delay = {delay[wrong][0]} must be whole steps from 1 to {MAX_DELAY}")
        if not np.all(np.isfinite(weight)):
            raise InputError(f"{here}: weight holds values that are not finite")
        return {
            "source": source.astype(np.int64),
            "target": target.astype(np.int64),
            "weight": weight,
            "delay": delay.astype(np.int64),
        }

    def yield_chunks(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[EdgeChunk]:
        """Yield the synapses onto some targets."""
        columns = [getattr(projection, name) for name in ("source", "target", "delay", "weight")]
        for first in range(0, len(projection.target), PART):
            part = [column[first : first + PART] for column in columns]
            mine = (part[1] >= low) & (part[1] < high)
            yield EdgeChunk(*(values[mine] for values in part))

    def draws_self(self, projection: Described) -> bool:
        """Return whether a target has itself as a source."""
        return bool(np.any(projection.source == projection.target))

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return len(projection.target) / projection.post.size

    def list_indegrees(self, seed: int, projection: Described, low: int, high: int) -> float | np.ndarray:
        """Return the number of synapses of each of some targets."""
        mine = (projection.target >= low) & (projection.target < high)
        return np.bincount(projection.target[mine] - low, minlength=high - low)


class Sonata(ConnectionRule):
    """Edges of a SONATA file."""

    code = -1
    options = ("edges",)
    streamed = True

    def check_fields(self, here: str, projection: Described) -> Values:
        """Return the delays that occur in the file, in steps."""
        return {"weight": None, "delay": projection.edges.delays if projection.edges.n_edges else np.ones(1, np.int64)}

    def yield_chunks(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[EdgeChunk]:
        """Yield the edges onto some targets."""
        return projection.edges.read_chunks(low, high)

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return projection.edges.n_edges / projection.post.size

    def list_indegrees(self, seed: int, projection: Described, low: int, high: int) -> float | np.ndarray:
        """Return the number of edges of each of some targets if the file has an index, else the mean of all."""
        counts = projection.edges.count_indegrees(low, high)
        return self.compute_indegree(projection) if counts is None else counts


class Callback(ConnectionRule):
    """Synapses that a function of a script returns for targets; each rank requests its local targets."""

    code = -1
    options = ("synapses", "indegree")
    streamed = True

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless there is a function, and a mean number of synapses."""
        if not callable(projection.synapses):
            raise InputError(f"{here}: synapses = {quote(projection.synapses)} must be a function of targets")
        if not is_number(projection.indegree) or not 0 <= projection.indegree < 2**31:
            raise InputError(f"{here}: indegree = {quote(projection.indegree)} must lie in [0, 2^31)")

    def yield_chunks(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[EdgeChunk]:
        """Yield the synapses onto some targets, one chunk per call."""
        for first in range(low, high, AT_ONCE):
            targets = np.arange(first, min(first + AT_ONCE, high))
            given = _call_function(projection, targets)
            order = np.argsort(given["target"], kind="stable")
            source, target = given["source"][order], given["target"][order]
            counts = np.bincount(target - first, minlength=len(targets))
            piece = make_piece(seed, projection, targets, counts, source, weights and "weight" not in given)
            yield replace(piece, **{name: given[name][order] for name in ("weight", "delay") if name in given})

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target, as the user gave it."""
        return projection.indegree


def _call_function(projection: Described, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Return the result of a projection's function for some targets; `InputError` if it is no table of synapses."""
    here = f"projection '{projection.name}': rule"
    answer = projection.synapses(targets.copy())
    known = ("source", "target", "weight", "delay")
    if not isinstance(answer, Mapping) or not {"source", "target"} <= answer.keys() <= set(known):
        what = f"the keys {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else quote(answer)
        wanted = "a dict of source and target, and if need be weight and delay"
        raise InputError(f"{here} returned {shorten(what)}, must return {wanted}")
    given = {name: np.atleast_1d(array_of(answer[name], f"{here}: {name}")) for name in known if name in answer}
    source, target, itself = given["source"], given["target"], projection.n_choices < projection.pre.size
    bounds = {"source": (0, projection.pre.size - 1), "target": (targets[0], targets[-1]), "delay": projection.delay}
    for name, values in given.items():
        if values.shape != source.shape or values.ndim != 1:
            shapes = f"{name} of shape {values.shape} and source of shape {source.shape}"
            raise InputError(f"{here} returned {shapes}, they must be equal, of one dimension")
        right, wanted = np.isfinite(values), "finite"
        if name in bounds:
            low, high = bounds[name]
            right, wanted = (values >= low) & (values <= high) & (values == np.floor(values)), f"whole, {low} to {high}"
        for wrong in values[~right][:1]:
            where = f"targets {targets[0]} to {targets[-1]}"
            raise InputError(f"{here} returned {name} {wrong} for {where}, must be {wanted}")
        given[name] = values.astype(np.int64 if name in bounds else float)
    for place in np.flatnonzero(source == target)[:1] if itself else ():
        raise InputError(f"{here} returned target {target[place]} as its own source, without allow_autapses")
    if not projection.allow_multapses and len(np.unique(np.stack([source, target]), axis=1).T) < len(source):
        raise InputError(f"{here} returned a source twice for a target, without allow_multapses")
    return given


def make_piece(
    seed: int, projection: Described, targets: np.ndarray, counts: np.ndarray, source: np.ndarray, weights: bool
) -> EdgeChunk:
    """Draw delays and weights of synapses: the k-th synapse of a target takes number k of the target's streams.

    `targets` and `counts` are int64 (n_targets,), `source` int64 (n_synapses,) lists the sources target after target.
    Without `weights`, weights are 0. The chunk has the synapses target after target.
    """
    low, high = projection.delay
    delay = np.full(len(source), low)
    if isinstance(projection.delay_law, Distribution):
        uniform = _draw_each(_UNIT, seed, projection, "delay", targets, counts)
        levels = delays.list_levels(projection.delay_law, low, high)
        delay += rng.count_levels(levels, uniform)
    elif high > low and projection.delay_law is None:
        uniform = _draw_each(_UNIT, seed, projection, "delay", targets, counts)
        delay += np.floor(uniform * (high - low + 1)).astype(np.int64)
    kind = projection.weight if weights else _ZERO
    weight = _draw_each(kind, seed, projection, "weight", targets, counts)
    if weights and projection.normalized:
        weight /= np.sqrt(np.repeat(counts, counts))
    return EdgeChunk(source, np.repeat(targets, counts), delay, weight)


def _draw_each(
    kind: Distribution, seed: int, projection: Described, what: str, targets: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Draw as many numbers from each target's random stream as it has synapses; targets of equal counts are drawn
    together.
    """
    if isinstance(kind, Constant):
        return np.full(int(counts.sum()), kind.value)
    drawn = np.empty(int(counts.sum()))
    starts = np.cumsum(counts) - counts
    key, order = rng.make_key(seed, f"{projection.name}/{what}"), np.argsort(counts, kind="stable")
    for some in np.array_split(order, max(1, len(order) // 256)):
        most = int(counts[some].max(initial=0))
        if most:
            numbers, inside = kind.draw_values(key, targets[some], most), np.arange(most) < counts[some][:, None]
            drawn[(starts[some][:, None] + np.arange(most))[inside]] = numbers[inside]
    return drawn
