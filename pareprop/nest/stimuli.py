"""The output of generators, computed once for each stretch of time when it is simulated.

Steps are NEST's: in step t neurons take arriving events, and events of step t have the stamp t + 1. An event with
stamp g that goes through a connection of d steps arrives in step g - 1 + d.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..arrays import list_ranges
from ..machine import require_bytes
from ..parallel.spike_log import SpikeLog
from .devices.base import CurrentSource, RateSource, SpikeSource, TrainSource
from .nodes import NodeTable

NOTHING = np.zeros(0, np.int64)


class PendingSpikes:
    """Spikes of the input populations that have not been taken yet, by stamp and source."""

    def __init__(self) -> None:
        self.stamps, self.sources = NOTHING, NOTHING

    def add_spikes(self, stamps: np.ndarray, sources: np.ndarray) -> None:
        """Add spikes; spikes with equal stamp and source stay separate."""
        stamps, sources = np.concatenate([self.stamps, stamps]), np.concatenate([self.sources, sources])
        order = np.lexsort((sources, stamps))
        self.stamps, self.sources = stamps[order], sources[order]

    def take_log(self, first: int, last: int) -> SpikeLog:
        """Spikes of stamps [first, last), a log with one step for each; they and all before are dropped."""
        low, high = np.searchsorted(self.stamps, (first, last))
        log = SpikeLog.from_spikes(self.stamps[low:high] - first, self.sources[low:high], last - first)
        self.stamps, self.sources = self.stamps[high:], self.sources[high:]
        return log


@dataclass
class Links:
    """Links from generators to their targets.

    Attributes
    ----------
    node : np.ndarray
        int64 (n,), ids of generators.
    source : np.ndarray
        int64 (n,), sources of the network's inputs that they make spike.
    delay : np.ndarray
        int64 (n,), steps until then; 0 where the generator itself is the source.
    """

    node: np.ndarray = field(default_factory=lambda: NOTHING)
    source: np.ndarray = field(default_factory=lambda: NOTHING)
    delay: np.ndarray = field(default_factory=lambda: NOTHING)

    def add_links(self, node: np.ndarray, source: np.ndarray, delay: np.ndarray) -> None:
        """Add links."""
        for name, values in (("node", node), ("source", source), ("delay", delay)):
            setattr(self, name, np.concatenate([getattr(self, name), np.broadcast_to(values, len(node))]))

    def group_by_node(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Each generator with its sources and delays."""
        links = self.sort_by_node()
        nodes, first = np.unique(links.node, return_index=True)
        last = np.append(first, len(links.node))[1:]
        return [
            (int(node), links.source[low:high], links.delay[low:high])
            for node, low, high in zip(nodes, first, last, strict=True)
        ]

    def sort_by_node(self) -> Links:
        """Return the links sorted by generator, in stable order."""
        order = np.argsort(self.node, kind="stable")
        return Links(self.node[order], self.source[order], self.delay[order])


def _join_spikes(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second


class SpikeTrains:
    """Spikes of spike generators and Poisson generators.

    `links` are the targets of spike generators, `trains` of Poisson generators, whose every link is a separate train
    with `seed`, and `relays` of parrots that drive other parrots. `dt` is the resolution in ms.
    """

    def __init__(self, nodes: NodeTable, links: Links, trains: Links, relays: Links, seed: int, dt: float) -> None:
        self._nodes, self._dt, self._seed = nodes, dt, seed
        self._all, self._relays = (links, trains), relays.sort_by_node()
        self._late = NOTHING, NOTHING  # stamps and sources of spikes that are relayed when their time has come
        self.update_links()

    def set_late_spikes(self, late: tuple[np.ndarray, np.ndarray]) -> None:
        """Take stamps and sources of spikes that were made before, and whose time has not come."""
        self._late = late

    def update_links(self) -> None:
        """Take the links that are there now."""
        self._links, self._trains = (links.group_by_node() for links in self._all)

    def emit_spikes(self, clock: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return stamps and sources of spikes emitted with stamps in (clock, end]."""
        stamps, sources = [NOTHING], [NOTHING]
        for node, targets, delays in self._links:
            mine, _ = self._nodes.get_device(node, self._dt, SpikeSource).list_spikes(clock, end)
            stamps.append((mine[:, None] + delays).ravel())
            sources.append(np.tile(targets, len(mine)))
        for node, targets, delays in self._trains:
            device = self._nodes.get_device(node, self._dt, TrainSource)
            counts = device.draw_spike_counts(clock, end, len(targets), self._seed)
            step, train = np.nonzero(counts)
            n = counts[step, train]
            stamps.append(np.repeat(clock + 1 + step + delays[train], n))
            sources.append(np.repeat(targets[train], n))
        return self._relay_spikes(np.concatenate(stamps), np.concatenate(sources), end)

    def _relay_spikes(self, stamps: np.ndarray, sources: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Add the spikes that parrots pass on to others: those with stamps up to `end` now, the rest later."""
        relays = self._relays
        if not len(relays.node):
            return stamps, sources
        made, late = [(stamps, sources)], [(NOTHING, NOTHING)]
        stamps, sources = _join_spikes([self._late, made[0]])
        while len(stamps):
            is_late = stamps > end
            late.append((stamps[is_late], sources[is_late]))
            stamps, sources = stamps[~is_late], sources[~is_late]
            low, high = (np.searchsorted(relays.node, sources, side=side) for side in ("left", "right"))
            require_bytes(40 * int(np.sum(high - low)), "parrot neurons that drive each other: their spikes")
            link = list_ranges(low, high)
            stamps, sources = np.repeat(stamps, high - low) + relays.delay[link], relays.source[link]
            made.append((stamps, sources))
        self._late = _join_spikes(late)
        return _join_spikes(made)


class Amplitudes:
    """Amplitudes of generators of rates, of all steps that are frozen and not taken.

    `weight` has for each generator the readouts and their weights, `n` is the number of readouts, `dt` the resolution
    in ms.
    """

    def __init__(self, nodes: NodeTable, weight: dict[int, list[tuple[int, float]]], n: int, dt: float) -> None:
        self._nodes, self._weight, self._dt = nodes, weight, dt
        self._kept: dict[int, float] = {}  # latest value of each generator
        self._first, self._rows = 0, np.zeros((1, n))  # nothing is there in step 0

    def transfer_state(self, before: Amplitudes, places: np.ndarray, rest: np.ndarray | float = 0.0) -> None:
        """Take over the state of others, whose columns are at `places` here; the other columns are `rest` so far."""
        self._kept, self._first = dict(before._kept), before._first
        self._rows = np.zeros((len(before._rows), self._rows.shape[1])) + rest
        self._rows[:, places[places >= 0]] = before._rows[:, places >= 0]

    def read_until(self, clock: int, end: int) -> None:
        """Read the amplitudes of the times in (clock, end]; values set for earlier times have no effect."""
        rows = np.zeros((end - clock, self._rows.shape[1]))
        for node, targets in self._weight.items():
            column = self._read_generator(node, clock, end)
            for place, weight in targets:
                rows[:, place] += weight * column
        self._rows = np.concatenate([self._rows, rows])

    def _read_generator(self, node: int, clock: int, end: int) -> np.ndarray:
        """Return the values of a generator at the times (clock, end]."""
        device, times = self._nodes.get_device(node, self._dt, RateSource), np.arange(end - clock)
        amplitudes = np.broadcast_to(device.list_values(clock, end), len(times))
        latest = np.maximum.accumulate(np.where(device.is_on(clock, end), times, -1))
        kept = np.where(latest < 0, self._kept.get(node, 0.0), amplitudes[latest])
        self._kept[node] = float(kept[-1])
        return kept

    def get_steps(self, first: int, last: int) -> np.ndarray:
        """Sums onto the readouts in steps [first, last), (steps, n)."""
        return self._rows[first - self._first : last - self._first]

    def drop_before(self, step: int) -> None:
        """Drop the steps before `step`."""
        if step > self._first:
            self._rows, self._first = self._rows[step - self._first :].copy(), step


class Currents(Amplitudes):
    """Currents of `generators`, int64 ids (n,), by the step in which they arrive through a delay of one step."""

    def __init__(self, nodes: NodeTable, generators: np.ndarray, dt: float) -> None:
        super().__init__(nodes, {node: [(k, 1.0)] for k, node in enumerate(generators.tolist())}, len(generators), dt)

    def _read_generator(self, node: int, clock: int, end: int) -> np.ndarray:
        device = self._nodes.get_device(node, self._dt, CurrentSource)
        return np.where(device.is_on(clock, end), device.list_values(clock, end), 0.0)
