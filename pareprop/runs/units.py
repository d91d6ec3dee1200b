"""Unit costs of a machine: seconds and bytes per operation, neuron or synapse, fitted to measured runs, kept in a file.

Each phase and each kind of memory is a sum of counts (`work.Work`) times unit costs of at least 0.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..kernels import layout
from ..machine import CACHE
from ..parallel import tree
from ..parallel.messages import GROWTH, SLACK
from ..values import Values
from .work import Work

CACHES = tuple(2.0**k for k in range(21, 27))  # bytes of a core's caches that the fit tries, 2 to 64 MiB
GAPS = 2  # spikes in a 32-bit word, if nodes send each other different messages

SAMPLE_PHASES = {  # phase of a sample to the counts that its seconds grow with
    "deliver": (
        "events", "cold_events", "lagged_events", "visits", "cold_visits", "lagged_visits", "neuron_steps",
        "readout_events",
    ),
    "update": (
        "neuron_steps", "cold_neuron_steps", "streamed_steps", "lagged_neuron_steps", "rounds", "readout_events"
    ),
    "sweep": ("neuron_steps", "cold_neuron_steps", "streamed_steps", "lagged_neuron_steps", "signal_steps", "steps"),
    "credit": ("events", "cold_events", "visits", "cold_visits", "readout_events"),
    "optimize": ("synapses", "readout_synapses"),
}  # fmt: skip
ARRIVALS = {"events", "cold_events", "lagged_events", "visits", "cold_visits", "lagged_visits"}
PHASES = SAMPLE_PHASES | {"build": ("synapses", "rows", "neurons")}
LATER = {  # (phase, count) that files of earlier versions lack
    ("deliver", "cold_visits"), ("credit", "cold_visits"), ("update", "streamed_steps"), ("sweep", "streamed_steps"),
    ("deliver", "lagged_visits"), ("deliver", "neuron_steps"), ("update", "cold_neuron_steps"),
    ("update", "lagged_neuron_steps"), ("sweep", "cold_neuron_steps"), ("sweep", "lagged_neuron_steps"),
}  # fmt: skip
MEMORY = {  # kind of memory to its counts; tables of synapses have a known layout
    "neurons": ("neurons",),
    "histories": ("neuron_steps", "neurons", "steps", "lag_rows"),
    "log": ("spikes", "input_spikes", "steps", "neurons"),
}


@dataclass(frozen=True)
class Measured:
    """Counts of one rank, its seconds in each phase (per sample; build: once), and its bytes by kind."""

    work: Work
    phases: dict[str, float]
    memory: dict[str, float]


@dataclass(frozen=True)
class Interconnect:
    """Costs of the exchange between ranks.

    Attributes
    ----------
    latency_s : float
        Seconds of one message between two nodes.
    bandwidth : float
        Bytes per second that a node receives.
    merge_s : float
        Seconds per spike of the node to look up whether a rank listens to it, if the rank listens to some neurons only.
    number_s : float
        Further seconds per spike that the rank listens to, to look up its number.
    round_s : float
        Seconds of a round of two ranks of a node.
    line_s : float
        Further seconds of a round for each rank of the node beyond two.
    pack_s : float
        Seconds to pack or unpack a spike, if nodes send each other different messages.
    copy_s : float
        Seconds to pack or unpack a spike, if a node sends one message to all.
    sum_s : float
        Seconds to add one sum for a readout and step, of another rank of the node or of another node.
    message_s : float
        Seconds for each message beyond the first that a node receives in a round, if it listens to some nodes only.
    skew : float
        Seconds that each of two ranks waits for the other per second of work, as equal work takes unequal time.
    """

    latency_s: float = 2e-6
    bandwidth: float = 5e9
    merge_s: float = 1.2e-9
    number_s: float = 1.2e-9
    round_s: float = 4e-7
    line_s: float = 5e-8
    pack_s: float = 6e-9
    copy_s: float = 1.3e-9
    sum_s: float = 2e-9
    message_s: float = 2e-7
    skew: float = 0.0


OF_EXCHANGE = {  # phase of an exchange to the costs that its seconds grow with
    "communicate": ("latency_s", "bandwidth", "round_s", "line_s", "sum_s", "message_s"),
    "pack": ("pack_s", "copy_s"), "look_up": ("merge_s", "number_s"), "wait": ("skew",),
}  # fmt: skip
BETWEEN_NODES = ("latency_s", "bandwidth", "message_s")
TOLD = {  # fields of `Interconnect` in words
    "latency_s": "latency between nodes", "bandwidth": "bandwidth between nodes", "merge_s": "look-up of a spike",
    "number_s": "look-up of its number", "round_s": "round of two ranks", "line_s": "further rank of a round",
    "pack_s": "packing for some nodes", "copy_s": "packing for all nodes", "sum_s": "sum for a readout",
    "message_s": "further message of a round", "skew": "waiting for equal work",
}  # fmt: skip
OF_PROCESSOR = ("merge_s", "number_s", "round_s", "line_s", "pack_s", "copy_s", "sum_s")  # fields of `Interconnect`


@dataclass(frozen=True)
class Units:
    """Unit costs.

    Attributes
    ----------
    seconds : dict[str, dict[str, float]]
        Phase to name of a count to seconds per unit of the count.
    nbytes : dict[str, dict[str, float]]
        Kind of memory to name of a count to bytes per unit of the count.
    network : Interconnect
        Costs of the exchange.
    base_bytes : float
        Memory of a process that has loaded the package and built nothing.
    crowded : dict[str, dict[str, float]]
        As `seconds`, measured while `cores` cores work and share caches and memory; {}: cores do not slow each other.
    cores : int
        Number of cores that worked during `crowded`.
    cache, crowded_cache : float
        Bytes of a core's caches that fit best, see `Work.with_cache`, with one busy core and with `cores`.
    processor, level : str
        Processor, and level of instructions of the kernels, of the measurement; "" in files of earlier versions.
    sample_s : float
        Seconds of a sample of the network of `speed` on that processor; 0 in files of earlier versions.
    date : str
        Day of the measurement; "" in files of earlier versions.
    load : float
        Processes that were busy on the machine when the measurement began.
    watts : float
        Power of the machine for each of its cores while all of them work; 0: its counters did not tell.
    spread : dict of str to tuple of float
        Phase to the ends of the middle nine tenths of measured seconds, of all probes and repetitions, relative to what
        these costs say of the same probe; {} in files of earlier versions.
    measured : tuple of str
        Costs of the exchange that were measured; the others are estimates.
    base_file_bytes : float
        Of `base_bytes`, files, which a node has once for all its processes; 0 in files of earlier versions.
    """

    seconds: dict[str, dict[str, float]]
    nbytes: dict[str, dict[str, float]]
    network: Interconnect = field(default_factory=Interconnect)
    base_bytes: float = 0.0
    crowded: dict[str, dict[str, float]] = field(default_factory=dict)
    cores: int = 1
    cache: float = CACHE
    crowded_cache: float = CACHE
    processor: str = ""
    level: str = ""
    sample_s: float = 0.0
    date: str = ""
    load: float = 0.0
    watts: float = 0.0
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    measured: tuple[str, ...] = ()
    base_file_bytes: float = 0.0

    def _seconds(self, phase: str, work: Work) -> float:
        """Return seconds of a phase, between those of one busy core and of `cores`, by the ranks of the node."""
        measured = {"update": work.given_update, "sweep": work.given_sweep}.get(phase, 0.0)
        added = work.added_events / max(work.events, 1.0) * (phase in ("deliver", "credit"))
        alone, crowded = (
            # measured seconds of models given by equations replace the cost of the package's neurons
            _sum(costs, work.with_cache(cache)) + max(0.0, measured - costs.get("neuron_steps", 0.0) * work.given_steps)
            + added * _sum({name: costs[name] for name in ARRIVALS & costs.keys()}, work.with_cache(cache))
            for costs, cache in (
                (self.seconds[phase], self.cache),
                (self.crowded.get(phase, self.seconds[phase]), self.crowded_cache),
            )
        )  # fmt: skip
        searches = self.network.merge_s * work.searches * (phase in ("deliver", "credit"))
        return searches + alone + min((work.node_ranks - 1.0) / max(self.cores - 1, 1), 1.0) * (crowded - alone)

    def phase_seconds(self, work: Work, samples: int = 1) -> dict[str, float]:
        """Return seconds by phase for `samples` samples (build: once)."""
        times = {name: 1 if name == "build" else samples for name in self.seconds}
        seconds = {name: self._seconds(name, work) * times[name] for name in self.seconds}
        parts = self.exchange_parts(work)
        exchange = {"look_up": parts.pop("look-up"), "pack": parts.pop("packing"), "wait": self.wait_seconds(work)}
        exchange["communicate"] = sum(parts.values())
        return seconds | {name: samples * value for name, value in exchange.items()}

    def exchange_seconds(self, work: Work) -> float:
        """Return seconds of all exchanges of a sample."""
        return sum(self.exchange_parts(work).values())

    def exchange_parts(self, work: Work) -> dict[str, float]:
        """Return seconds of all exchanges of a sample, by activity.

        Ranks of a node read each other's lines in shared memory. Leaders of nodes exchange all spikes by an Allgather,
        which has log2(nodes) stages, or send each node those that it listens to. Nobody merges spikes; ranks that
        listen to some neurons only look up the numbers of those in the log of their node. Where messages
        differ, nodes that hear nothing of each other send nothing, the ranks of a node meet three times more around
        them, to share what is to be packed and unpacked, and messages have more room than was needed before, see
        `messages.GROWTH`. For
        each readout and step a sum of each rank of the node is added, and one of each other node; these are shared,
        too, unless leaders add sums of nodes in a tree, see `tree.pays`. If there is one message for all, the leader
        packs, unpacks and adds.
        """
        network, others = self.network, work.nodes - 1
        parts = dict.fromkeys(("ranks of a node", "messages", "bytes", "packing", "look-up", "sums"), 0.0)
        if work.ranks == 1:
            return parts
        if work.node_ranks > 1:
            rounds = work.rounds + work.exchanges * 3 * work.targeted
            parts["ranks of a node"] = rounds * (network.round_s + network.line_s * max(work.node_ranks - 2, 0.0))
        arriving, leaving = work.node_spikes * others / work.nodes, work.spikes / work.nodes
        apart, talks = self._talks(work)
        adding = tree.stages(work.nodes) if apart else others  # stages of messages with sums
        if others and work.targeted:
            each = network.latency_s * min(talks, 1.0) + network.message_s * max(talks - 1.0, 0.0)
            parts["messages"] = work.exchanges * each
            words = self._words(work) + tree.WORDS_OF_SUM * work.steps * work.readouts * adding
            parts["bytes"] = 4.0 * words / network.bandwidth
            parts["packing"] = network.pack_s * 2.0 * arriving / work.node_ranks + network.copy_s * leaving
        elif others:
            parts["messages"] = work.exchanges * network.latency_s * float(np.ceil(np.log2(work.nodes)))
            parts["bytes"] = work.exchanges * 4.0 * work.words * others / network.bandwidth
            parts["packing"] = network.copy_s * (leaving + arriving)
        if others and work.targeted:  # sums in a tree follow all other messages
            parts["messages"] += work.exchanges * (network.latency_s + tree.CALL) * adding * apart
        sums = work.steps * work.readouts
        sharing = min(work.node_ranks, max(sums / work.exchanges, 1.0)) if work.targeted else 1.0
        parts["sums"] = network.sum_s * sums * (work.node_ranks / sharing + adding / (1.0 if apart else sharing))
        looks = network.merge_s * work.node_spikes + network.number_s * work.heard_spikes
        parts["look-up"] = looks * work.numbered
        return parts

    @staticmethod
    def _talks(work: Work) -> tuple[bool, float]:
        """Return whether sums travel in a tree, and from how many nodes messages come, where these differ."""
        others, n_sums = work.nodes - 1.0, work.steps * work.readouts / work.exchanges
        neighbours = min(work.neighbours, others)
        apart = work.targeted and tree.pays(work.nodes, n_sums, others - neighbours)
        return apart, neighbours if apart or not n_sums else others

    def _words(self, work: Work) -> float:
        """Return the words of all messages of a sample that come to a node which are for it alone, without sums."""
        frame = self._talks(work)[1] * (work.exchanges * (layout.HEADER + SLACK) + work.steps)
        return frame + GROWTH * work.node_spikes * (work.nodes - 1) / work.nodes / GAPS

    def wait_seconds(self, work: Work) -> float:
        """Return seconds of a sample that a rank waits for the slowest one in each round.

        The arrivals of a round at a rank are many rare events, so that their variance is their mean; the largest of n
        normal numbers is about sqrt(2 log n) standard deviations above their mean. What steps of equal work differ by
        is measured with two ranks (`Interconnect.skew`), and grows in the same way.
        """
        if work.ranks == 1:
            return 0.0
        costs, work = (self.crowded or self.seconds)["deliver"], work.with_cache(self.crowded_cache)
        arrivals = work.events / work.rounds
        each = costs["events"] + costs["cold_events"] * work.cold_events / max(work.events, 1.0)
        unequal = work.rounds * each * np.sqrt(2.0 * np.log(work.ranks) * arrivals)
        return float(unequal + self.network.skew * np.sqrt(np.log2(work.ranks)) * self._busy_seconds(work))

    def _busy_seconds(self, work: Work) -> float:
        """Return the seconds of a sample that a rank needs for its steps, between meetings."""
        return sum(self._seconds(name, work) for name in ("deliver", "update"))

    def band(self, phases: Mapping[str, float]) -> tuple[float, float] | None:
        """Return the seconds of phases together with each of them at the lower, and at the upper end of its `spread`.

        None in unit costs of earlier versions, which have none.
        """
        if not self.spread:
            return None
        ends = [self.spread.get(name, (1.0, 1.0)) for name in phases]
        low, high = (sum(map(math.prod, zip(phases.values(), end, strict=True))) for end in zip(*ends, strict=True))
        return low, high

    def estimated(self, work: Work) -> list[str]:
        """Return the costs of the exchange that matter to a rank and were not measured."""
        matter = [*BETWEEN_NODES] * (work.nodes > 1) + ["line_s"] * (work.node_ranks > 2) + ["skew"] * (work.ranks > 1)
        return [name for name in matter if name not in self.measured]

    def memory(self, work: Work) -> dict[str, float]:
        """Return bytes by kind.

        `buffers` are those of a whole node, with the spikes of other nodes; `routes` list for each rank where the
        spikes go that it packs and unpacks.
        """
        scale = work.real_bytes / 8
        steps, lag_rows = work.neuron_steps * scale, work.lag_rows * scale
        scaled = replace(work, neuron_steps=steps, lag_rows=lag_rows)
        n_bytes = {name: _sum(costs, scaled) for name, costs in self.nbytes.items()} | work.table_bytes
        n_bytes |= {"gradients": work.learning_bytes, "books": work.book_bytes}
        if work.targeted:  # as much leaves as comes
            words = 2.0 * self._words(work) / work.exchanges
        else:
            words = max(256.0, GROWTH * work.words) * (work.nodes + 1)
        ends = (work.node_ranks + work.nodes - 1) * (work.steps + 1)  # of the steps of each log
        buffers = 4.0 * (words + work.node_spikes) + 8.0 * ends
        of_models = work.given_bytes + work.rule_bytes + work.ring_bytes + work.map_bytes
        n_bytes["histories"] = n_bytes.get("histories", 0.0) + of_models
        of_node, share = work.neurons * work.node_ranks, work.node_spikes / max(work.spikes, 1e-9)
        parts = min(work.node_ranks, np.ceil(work.node_ranks / max(self._talks(work)[1], 1.0)))  # see `count_parts`
        routes = of_node * (8 / parts + 12 * max(share * work.nodes - 1.0, 0.0) / work.node_ranks)
        return n_bytes | {"buffers": buffers * (work.nodes > 1), "routes": routes * work.targeted}

    def node_bytes(self, work: Work) -> float:
        """Return the bytes of a node whose ranks are like this one; the processes themselves included."""
        n_bytes = self.memory(work)
        shared = n_bytes["buffers"] + self.base_file_bytes
        return work.node_ranks * (sum(n_bytes.values()) + self.base_bytes - shared) + shared

    def with_network(self, latency_s: float | None = None, bandwidth: float | None = None) -> Units:
        """Return a copy with another latency or bandwidth, where given."""
        changes = {"latency_s": latency_s, "bandwidth": bandwidth}
        changed = {name: value for name, value in changes.items() if value is not None}
        measured = tuple(sorted({*self.measured, *changed}))
        return replace(self, network=replace(self.network, **changed), measured=measured)

    def with_exchange(self, repetitions: Sequence[Mapping[str, float]], nodes: int) -> Units:
        """Return a copy with measured costs of the exchange, the median of each.

        Parameters
        ----------
        repetitions : sequence of mapping
            For each repetition, costs by name; what it could not measure is missing.
        nodes : int
            Number of nodes that were measured; of one, what messages between nodes cost stays an estimate,
            or what was measured before.
        """
        kept = set(BETWEEN_NODES) & set(self.measured) if nodes == 1 else set()
        if kept:  # an earlier measurement between nodes counts more
            repetitions = [{name: cost for name, cost in one.items() if name not in kept} for one in repetitions]
        network = {
            name: float(np.median([costs[name] for costs in repetitions if name in costs]))
            for name in dict.fromkeys(name for costs in repetitions for name in costs)
        }
        spread = dict(self.spread)
        for phase, names in OF_EXCHANGE.items():
            pairs = [(costs[name], network[name], name) for costs in repetitions for name in names if name in costs]
            ratios = [
                middle / cost if name == "bandwidth" else cost / middle
                for cost, middle, name in pairs
                if cost and middle
            ]
            ratios += spread.get("deliver", ()) if phase == "wait" else ()  # for who delivers longer
            if ratios:
                low, high = _ends(ratios)
                before = self.spread.get(phase, (low, high)) if kept & {*names} else (low, high)
                spread[phase] = min(low, before[0]), max(high, before[1])
        known = {name for name in network if nodes > 1 or name not in BETWEEN_NODES}
        measured = tuple(sorted({*self.measured, *known}))
        return replace(self, network=replace(self.network, **network), spread=spread, measured=measured)

    def scaled(self, times: float) -> Units:
        """Return the costs of a processor that takes `times` as long; latency and bandwidth between nodes stay."""
        tables = ({name: {count: times * cost for count, cost in costs.items()} for name, costs in table.items()}
                  for table in (self.seconds, self.crowded))  # fmt: skip
        network = replace(self.network, **{name: times * getattr(self.network, name) for name in OF_PROCESSOR})
        seconds, crowded = tables
        return replace(self, seconds=seconds, crowded=crowded, network=network)


def _sum(costs: dict[str, float], work: Work) -> float:
    return sum(cost * getattr(work, count) for count, cost in costs.items())


def read(path: Path) -> dict[str, Units]:
    """Read unit costs by variant.

    Raises
    ------
    InputError
        If the file is missing or holds no unit costs.
    """
    try:
        costs_by_variant = json.loads(files.read(path))
        return {variant: _check(values) for variant, values in costs_by_variant.items()}
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}; `pareprop predict --measure` writes it") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise InputError(f"{path} holds no unit costs: {type(problem).__name__}: {problem}") from None


def _check(values: Values) -> Units:
    """Return the unit costs of a variant; raise ValueError, TypeError or KeyError unless `write` wrote them."""
    tables = [values["seconds"], *([values["crowded"]] if values.get("crowded") else [])]
    costs = [item for table in (*tables, values["nbytes"]) for item in table.items()]
    numbers = [(f"{name}.{count}", cost) for name, counts in costs for count, cost in counts.items()]
    numbers += [*values["network"].items(), ("base_bytes", values.get("base_bytes", 0.0))]
    numbers += [("cores", values.get("cores", 1))]
    numbers += [(name, values.get(name, 0.0)) for name in ("sample_s", "load", "watts", "base_file_bytes")]
    spread = values.get("spread", {})
    numbers += [(f"spread.{phase}", end) for phase, ends in spread.items() for end in ends]
    numbers += [(name, values.get(name, CACHE)) for name in ("cache", "crowded_cache")]
    for name, number in numbers:
        if type(number) not in (int, float) or not 0 <= number < np.inf:
            raise ValueError(f"{quote(name)} = {quote(number)} must be a finite number of at least 0")
    if values.get("base_file_bytes", 0.0) > values.get("base_bytes", 0.0):
        raise ValueError("base_file_bytes is a part of base_bytes")
    for name in ("processor", "level", "date"):
        if not isinstance(values.get(name, ""), str):
            raise ValueError(f"{name} = {quote(values[name])} must be a text")
    if wrong := [phase for phase, ends in spread.items() if len(ends) != 2 or ends[0] > ends[1]]:
        raise ValueError(f"spread.{quote(wrong[0])} must be a lowest and a highest ratio")
    if not isinstance(names := values.get("measured", []), list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"measured = {quote(names)} must be a list of names")
    if values["network"].get("bandwidth", 1.0) <= 0:
        raise ValueError("bandwidth must be above 0")
    known = {name for counts in (*PHASES.values(), *MEMORY.values()) for name in counts}
    if unknown := [name for _, counts in costs for name in counts if name not in known]:
        raise ValueError(f"{quote(unknown[0])} is not a count")
    if missing := [name for table in tables for name in PHASES if name not in table]:
        raise ValueError(f"seconds of {missing[0]} are missing")
    lacking = [
        f"{name}.{count}"
        for table in tables
        for name, counts in PHASES.items()
        for count in counts
        if count not in table[name] and (name, count) not in LATER
    ]
    if lacking:
        raise ValueError(f"seconds of {lacking[0]} are missing")
    pairs = {phase: (float(low), float(high)) for phase, (low, high) in spread.items()}
    made = {"network": Interconnect(**values["network"]), "spread": pairs, "measured": tuple(names)}
    return Units(**{**values, **made})


def write(path: Path, units: dict[str, Units]) -> None:
    """Write unit costs by variant as JSON."""
    path.write_text(json.dumps({variant: asdict(item) for variant, item in units.items()}, indent=1) + "\n")


def fit(
    runs: Sequence[Measured], network: Interconnect, base_bytes: float, crowded: Sequence[Measured] = (), cores: int = 1
) -> Units:
    """Fit unit costs to measured runs, by relative errors, so that small and large runs count alike.

    Parameters
    ----------
    runs : sequence of Measured
        With one busy core.
    network : Interconnect
        Costs of the exchange.
    base_bytes : float
        Memory of a process that has loaded the package and built nothing.
    crowded : sequence of Measured
        While `cores` cores do the same work.
    cores : int
        Number of cores that were busy in `crowded`.
    """
    nbytes = {
        kind: _fit(counts, [run.work for run in runs], [run.memory.get(kind, 0.0) for run in runs])
        for kind, counts in MEMORY.items()
    }
    seconds, cache = _fit_phases(runs)
    of_many, shared = _fit_phases(crowded) if crowded else ({}, cache)
    return Units(seconds, nbytes, network, base_bytes, of_many, cores, cache, shared)


def spread(costs: Units, alone: Iterable[Measured], crowded: Iterable[Measured]) -> dict[str, tuple[float, float]]:
    """Return how far the seconds of measured runs are from unit costs, see `Units.spread`.

    Parameters
    ----------
    costs : Units
        Fitted to the medians of these runs.
    alone, crowded : iterable of Measured
        All repetitions, with one busy core and with `cores`.
    """
    ratios: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for table, cache, runs in (
        (costs.seconds, costs.cache, alone),
        (costs.crowded, costs.crowded_cache, crowded),
    ):
        for run, phase in itertools.product(runs, PHASES):
            fitted, seconds = _sum(table[phase], run.work.with_cache(cache)), run.phases.get(phase, 0.0)
            if fitted > 0 and seconds > 0:
                ratios[phase].append(seconds / fitted)
    return {phase: _ends(values) for phase, values in ratios.items() if values}


def _ends(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the middle nine tenths: single runs that other work disturbed do not count."""
    low, high = np.quantile(ratios, (0.05, 0.95)).tolist()
    return low, high


def _fit_phases(runs: Sequence[Measured]) -> tuple[dict[str, dict[str, float]], float]:
    """Return seconds by phase and count, and the bytes of a core's caches for which they fit the runs best."""
    best, error, size = dict[str, dict[str, float]](), np.inf, float(CACHE)
    for cache in CACHES:
        cached = [replace(run, work=run.work.with_cache(cache)) for run in runs]
        found = {
            phase: _fit(counts, [run.work for run in cached], [run.phases.get(phase, 0.0) for run in cached])
            for phase, counts in PHASES.items()
        }
        ratios = [
            _sum(found[phase], run.work) / run.phases[phase] - 1.0
            for phase in SAMPLE_PHASES
            for run in cached
            if run.phases.get(phase, 0.0) > 0
        ]
        if (here := float(np.sum(np.square(ratios)))) < error:
            best, error, size = found, here, cache
    return best, size


def _fit(counts: Sequence[str], works: Sequence[Work], values: Sequence[float]) -> dict[str, float]:
    y = np.array(values)
    known = y > 0
    if not known.any():
        return dict.fromkeys(counts, 0.0)
    x = np.array([[getattr(work, count) for count in counts] for work in works], float)[known] / y[known, None]
    return dict(zip(counts, map(float, least_squares(x, np.ones(len(x)))), strict=True))


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return coefficients of at least 0 that minimise |x c - y|: the best of all subsets of the few columns."""
    best, error = np.zeros(x.shape[1]), float(y @ y)
    columns = range(x.shape[1])
    for some in itertools.chain(*(itertools.combinations(columns, k) for k in range(1, len(columns) + 1))):
        scale = np.abs(x[:, some]).max(axis=0)
        scale[scale == 0] = 1.0
        solution = np.linalg.lstsq(x[:, some] / scale, y, rcond=None)[0] / scale
        remaining = float(np.sum(np.square(x[:, some] @ solution - y)))
        if np.all(solution >= 0) and remaining < error * (1 - 1e-9):
            best, error = np.zeros(x.shape[1]), remaining
            best[list(some)] = solution
    return best
