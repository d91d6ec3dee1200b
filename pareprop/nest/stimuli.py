"""What generators emit, frozen for each stretch of time when it is simulated.

Steps are NEST's: in step t neurons take what arrives then, and what happens in it has the stamp t + 1. An event with
stamp g that goes through a connection of d steps arrives in step g - 1 + d.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..arrays import list_ranges
from ..machine import require_bytes
from ..parallel.spike_log import SpikeLog
from ..values import Numbers
from .catalogue import FOREVER
from .nodes import Block, NodeTable
from .settings import to_ms, to_steps

NOTHING = np.zeros(0, np.int64)


def active(block: Block, local: int, dt: float) -> tuple[float, float]:
    """Steps after which, and up to which, a device works: its stamps lie in (start, stop]."""
    origin, start, stop = (float(block.get(key, local)) for key in ("origin", "start", "stop"))
    return np.rint((origin + start) / dt), np.inf if stop >= FOREVER else np.rint((origin + stop) / dt)


def _is_on(block: Block, local: int, dt: float, clock: int, end: int) -> np.ndarray:
    """Whether a generator of amplitudes works at the times (clock, end]: those of [start, stop)."""
    low, high = active(block, local, dt)
    times = clock + 1 + np.arange(end - clock)
    return (times >= low) & (times < high)


def _follow(before: float, steps: np.ndarray, values: np.ndarray, clock: int, end: int) -> tuple[np.ndarray, float]:
    """Piecewise constant values at the times (clock, end], and the last one; `before` holds until a first step."""
    low, high = np.searchsorted(steps, (clock, end), side="right")
    known = np.concatenate([[before], values[low:high]])
    column = known[np.searchsorted(steps[low:high], clock + 1 + np.arange(end - clock), side="right")]
    return column, float(known[-1])


class Train:
    """Spikes of the input populations that have not been taken yet, by stamp and source."""

    def __init__(self) -> None:
        self.stamps, self.sources = NOTHING, NOTHING

    def add(self, stamps: np.ndarray, sources: np.ndarray) -> None:
        """Add spikes; those of equal stamp and source stay apart."""
        stamps, sources = np.concatenate([self.stamps, stamps]), np.concatenate([self.sources, sources])
        order = np.lexsort((sources, stamps))
        self.stamps, self.sources = stamps[order], sources[order]

    def take(self, first: int, last: int) -> SpikeLog:
        """Spikes of stamps [first, last), a log with one step for each; they and all before are dropped."""
        low, high = np.searchsorted(self.stamps, (first, last))
        log = SpikeLog.of(self.stamps[low:high] - first, self.sources[low:high], last - first)
        self.stamps, self.sources = self.stamps[high:], self.sources[high:]
        return log


@dataclass
class Links:
    """From generators to what they drive.

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

    def add(self, node: np.ndarray, source: np.ndarray, delay: np.ndarray) -> None:
        """Add links."""
        for name, values in (("node", node), ("source", source), ("delay", delay)):
            setattr(self, name, np.concatenate([getattr(self, name), np.broadcast_to(values, len(node))]))

    def by_node(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Each generator with its sources and delays."""
        links = self.sort()
        nodes, first = np.unique(links.node, return_index=True)
        last = np.append(first, len(links.node))[1:]
        return [
            (int(node), links.source[low:high], links.delay[low:high])
            for node, low, high in zip(nodes, first, last, strict=True)
        ]

    def sort(self) -> Links:
        """The links by generator, those of one in their order."""
        order = np.argsort(self.node, kind="stable")
        return Links(self.node[order], self.source[order], self.delay[order])


def _join(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second


class SpikeTrains:
    """Spikes of spike generators and Poisson generators.

    Parameters
    ----------
    nodes : NodeTable
        All nodes.
    links : Links
        Of the spike generators.
    trains : Links
        Of the Poisson generators: every link is a train of its own.
    relays : Links
        Of the parrots that drive other parrots.
    seed : int
        Of the Poisson trains.
    dt : float
        Resolution in ms.
    """

    def __init__(self, nodes: NodeTable, links: Links, trains: Links, relays: Links, seed: int, dt: float) -> None:
        self._nodes, self._dt, self._seed = nodes, dt, seed
        self._all, self._relays = (links, trains), relays.sort()
        self._late = NOTHING, NOTHING  # stamps and sources of spikes that are relayed when their time has come
        self._random: dict[int, np.random.Generator] = {}
        self._latest: dict[int, float] = {}  # rate that is in force, of generators with rates that change
        self.link()

    def take_over(self, before: SpikeTrains, late: tuple[np.ndarray, np.ndarray]) -> None:
        """Go on where other trains are; `late` are stamps and sources of spikes whose time has not come."""
        self._late = late
        self._random |= before._random
        self._latest = dict(before._latest)

    def link(self) -> None:
        """Take the links that are there now."""
        self._links, self._trains = (links.by_node() for links in self._all)
        for node, _, _ in self._trains:
            if node not in self._random:
                self._random[node] = np.random.Generator(np.random.Philox(key=[self._seed, node]))

    def freeze(self, clock: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Stamps and sources of what is emitted with stamps in (clock, end]."""
        stamps, sources = [NOTHING], [NOTHING]
        for node, targets, delays in self._links:
            mine, _ = self.list_spikes(node, clock, end)
            stamps.append((mine[:, None] + delays).ravel())
            sources.append(np.tile(targets, len(mine)))
        for node, targets, delays in self._trains:
            block, local = self._nodes.place(node)
            low, high = active(block, local, self._dt)
            mean = self._rate(node, block, local, clock, end) * self._dt / 1000.0
            counts = self._random[node].poisson(mean, (end - clock, len(targets)))
            emitted = clock + 1 + np.arange(end - clock)
            looked = emitted - 1  # NEST looks at the begin of a step
            counts[(looked <= low) | (looked > high)] = 0
            step, train = np.nonzero(counts)
            n = counts[step, train]
            stamps.append(np.repeat(emitted[step] + delays[train], n))
            sources.append(np.repeat(targets[train], n))
        return self._relay(np.concatenate(stamps), np.concatenate(sources), end)

    def _relay(self, stamps: np.ndarray, sources: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Add the spikes that parrots pass on to others: those with stamps up to `end` now, the rest later."""
        relays = self._relays
        if not len(relays.node):
            return stamps, sources
        made, late = [(stamps, sources)], [(NOTHING, NOTHING)]
        stamps, sources = _join([self._late, made[0]])
        while len(stamps):
            is_late = stamps > end
            late.append((stamps[is_late], sources[is_late]))
            stamps, sources = stamps[~is_late], sources[~is_late]
            low, high = (np.searchsorted(relays.node, sources, side=side) for side in ("left", "right"))
            require_bytes(40 * int(np.sum(high - low)), "parrot neurons that drive each other: their spikes")
            link = list_ranges(low, high)
            stamps, sources = np.repeat(stamps, high - low) + relays.delay[link], relays.source[link]
            made.append((stamps, sources))
        self._late = _join(late)
        return _join(made)

    def _rate(self, node: int, block: Block, local: int, clock: int, end: int) -> Numbers:
        """Rate in Hz, one for all stamps (clock, end] or, in a column, one for each."""
        if block.model.base == "poisson_generator":
            return block.get("rate", local)
        steps = np.rint(block.get("rate_times", local) / self._dt).astype(np.int64)
        column, self._latest[node] = _follow(
            self._latest.get(node, 0.0), steps, block.get("rate_values", local), clock, end
        )
        return column[:, None]

    def list_spikes(self, node: int, clock: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Spikes of a spike generator: stamps in (clock, end], and by how many ms they are earlier.

        Their times count from the generator's origin.
        """
        block, local = self._nodes.place(node)
        low, high = active(block, local, self._dt)
        times = block.get("origin", local) + block.get("spike_times", local)
        steps = to_steps(times, self._dt)
        first, last = np.searchsorted(steps, (max(clock, low), min(end, high)), side="right")
        stamps, early = steps[first:last], np.zeros(last - first)
        if block.get("precise_times", local):
            early = np.maximum(to_ms(stamps, self._dt) - times[first:last], 0.0)
        multiplicity = block.get("spike_multiplicities", local)
        if len(multiplicity):
            n = multiplicity[first:last].astype(np.int64)
            stamps, early = np.repeat(stamps, n), np.repeat(early, n)
        return stamps, early


class Amplitudes:
    """Amplitudes of step rate generators, of all steps that are frozen and not taken.

    Parameters
    ----------
    nodes : NodeTable
        All nodes.
    weight : dict
        Generator to readouts and the weights with which they take it.
    n : int
        Number of readouts.
    dt : float
        Resolution in ms.
    """

    def __init__(self, nodes: NodeTable, weight: dict[int, list[tuple[int, float]]], n: int, dt: float) -> None:
        self._nodes, self._weight, self._dt = nodes, weight, dt
        self._latest: dict[int, float] = {}  # amplitude of a generator
        self._kept: dict[int, float] = {}  # what its readouts have of it
        self._first, self._rows = 0, np.zeros((1, n))  # nothing is there in step 0

    def take_over(self, before: Amplitudes, places: np.ndarray, rest: np.ndarray | float = 0.0) -> None:
        """Go on where others are, whose columns have some places here; the other columns are `rest` so far."""
        self._latest, self._kept, self._first = dict(before._latest), dict(before._kept), before._first
        self._rows = np.zeros((len(before._rows), self._rows.shape[1])) + rest
        self._rows[:, places[places >= 0]] = before._rows[:, places >= 0]

    def freeze(self, clock: int, end: int) -> None:
        """Take the amplitudes of the times in (clock, end]; what was set for earlier times has no effect."""
        rows = np.zeros((end - clock, self._rows.shape[1]))
        for node, targets in self._weight.items():
            block, local = self._nodes.place(node)
            column = self._column(node, block, local, clock, end)
            for place, weight in targets:
                rows[:, place] += weight * column
        self._rows = np.concatenate([self._rows, rows])

    def _column(self, node: int, block: Block, local: int, clock: int, end: int) -> np.ndarray:
        """Amplitudes at the times (clock, end]: readouts keep the latest one while a generator does not work."""
        column = self._follow(node, block, local, clock, end)
        latest = np.maximum.accumulate(np.where(_is_on(block, local, self._dt, clock, end), np.arange(end - clock), -1))
        kept = np.where(latest < 0, self._kept.get(node, 0.0), column[latest])
        self._kept[node] = float(kept[-1])
        return kept

    def _follow(self, node: int, block: Block, local: int, clock: int, end: int) -> np.ndarray:
        steps = np.rint(block.get("amplitude_times", local) / self._dt).astype(np.int64)
        column, self._latest[node] = _follow(
            self._latest.get(node, 0.0), steps, block.get("amplitude_values", local), clock, end
        )
        return column

    def of(self, first: int, last: int) -> np.ndarray:
        """Sums onto the readouts in steps [first, last), (steps, n)."""
        return self._rows[first - self._first : last - self._first]

    def forget(self, step: int) -> None:
        """Drop the steps before `step`."""
        if step > self._first:
            self._rows, self._first = self._rows[step - self._first :].copy(), step


class Currents(Amplitudes):
    """Currents of dc and step current generators, by the step in which they arrive through a delay of one step.

    Parameters
    ----------
    nodes : NodeTable
        All nodes.
    generators : np.ndarray
        int64 (n,), ids.
    dt : float
        Resolution in ms.
    """

    def __init__(self, nodes: NodeTable, generators: np.ndarray, dt: float) -> None:
        super().__init__(nodes, {node: [(k, 1.0)] for k, node in enumerate(generators.tolist())}, len(generators), dt)

    def _column(self, node: int, block: Block, local: int, clock: int, end: int) -> np.ndarray:
        steady = block.model.base == "dc_generator"
        values = block.get("amplitude", local) if steady else self._follow(node, block, local, clock, end)
        return np.where(_is_on(block, local, self._dt, clock, end), values, 0.0)
