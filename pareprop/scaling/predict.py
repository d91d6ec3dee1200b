"""Predict seconds by phase and memory of any run from unit costs and counts; find the nodes for a time limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..network.cuts import cut
from ..network.model import Model
from ..runs import work
from ..runs.benchmark import PHASES
from ..runs.units import Units
from ..runs.work import Firing, Work


@dataclass(frozen=True)
class Prediction:
    """Predicted time of the slowest rank and memory of the largest rank.

    Attributes
    ----------
    ranks : int
        Number of ranks of the run.
    phases : dict of str to float
        Seconds of each phase on the slowest rank, over all samples (build: once).
    memory : dict of str to float
        Bytes by kind on the rank with most of them.
    base_bytes : float
        Memory of a process before it builds a network; not part of `memory`.
    sample_seconds : float
        Seconds of one sample.
    imbalance : float
        Time of the slowest rank divided by the mean over ranks.
    node_bytes : float
        Memory of a node whose ranks are all as large, with their processes.
    band : tuple of float or None
        Seconds of the run with each phase at the lower and at the upper end of its spread, see `Units.band`.
    watts : float
        Power of a core that is busy with its part of the machine; NaN if unit costs do not tell.
    estimated : tuple of str
        Costs of the exchange in it that were not measured.
    """

    ranks: int
    phases: dict[str, float]
    memory: dict[str, float]
    base_bytes: float
    sample_seconds: float
    imbalance: float
    node_bytes: float
    band: tuple[float, float] | None = None
    watts: float = math.nan
    estimated: tuple[str, ...] = ()

    @property
    def core_hours(self) -> float:
        """Hours of all ranks together, each on a core."""
        return self.seconds * self.ranks / 3600.0

    @property
    def joules(self) -> float:
        """Energy of the processors; NaN if unit costs do not tell."""
        return self.seconds * self.ranks * self.watts

    @property
    def seconds(self) -> float:
        """Seconds of the whole run."""
        return sum(self.phases.values())

    @property
    def nbytes(self) -> float:
        """Bytes of the largest rank, the process itself included."""
        return sum(self.memory.values()) + self.base_bytes


def predict(
    model: Model,
    n_steps: int,
    samples: int,
    firing: Firing,
    ranks: int,
    units: Units,
    ranks_per_node: int = 0,
) -> Prediction:
    """Predict a run of `samples` samples on `ranks` ranks, `ranks_per_node` on a node, or all on one (0).

    One rank of each kind is counted: see `representatives`.
    """
    nodes = -(-ranks // (ranks_per_node or ranks))
    cuts = cut(model, ranks, work.first_ranks(ranks, nodes))
    counting = work.Counting(model, n_steps, firing, ranks, nodes, cuts)
    kinds = [counting.of_rank(rank) for rank in representatives(model, cuts)]
    seconds = [_sample_seconds(units, item) for item in kinds]
    slowest = kinds[seconds.index(max(seconds))]
    memories = [units.memory(item) for item in kinds]
    phases = units.phase_seconds(slowest, samples)
    return Prediction(
        ranks=ranks,
        phases={name: phases.get(name, 0.0) for name in PHASES},
        base_bytes=units.base_bytes,
        memory=max(memories, key=lambda memory: sum(memory.values())),
        sample_seconds=max(seconds),
        imbalance=max(seconds) / (sum(seconds) / len(seconds)) if max(seconds) else 1.0,
        node_bytes=max(map(units.node_bytes, kinds)),
        band=units.band(phases),
        watts=units.watts or math.nan,
        estimated=tuple(units.estimated(slowest)),
    )


def _sample_seconds(units: Units, item: Work) -> float:
    return sum(seconds for name, seconds in units.phase_seconds(item).items() if name != "build")


def representatives(model: Model, cuts: np.ndarray) -> list[int]:
    """Return ranks that represent all: first, middle, last, and those with ends and middle of each population."""
    groups, last = model.of_role("recurrent"), model.size("recurrent") - 1
    ids = {int(model.offset(group) + place) for group in groups for place in (0, group.size // 2, group.size - 1)}
    with_ids = np.searchsorted(cuts, [min(k, last) for k in ids], side="right") - 1
    ranks = len(cuts) - 1
    return sorted({0, ranks // 2, ranks - 1, *with_ids.tolist()})


def nodes_for(
    model: Model,
    n_steps: int,
    samples: int,
    firing: Firing,
    units: Units,
    limit_s: float,
    ranks_per_node: int,
    node_bytes: float,
    most_nodes: int = 100_000,
) -> tuple[int, Prediction]:
    """Return the smallest number of nodes that finishes within `limit_s` seconds and fits into their memory.

    Numbers up to `most_nodes` are tried, beyond 16 in steps of a sixteenth.

    Raises
    ------
    InputError
        If there is no such number; the message names the fastest.
    """
    tried: list[tuple[float, int]] = []
    nodes = 1
    while nodes <= most_nodes and nodes * ranks_per_node <= model.size("recurrent"):
        prediction = predict(model, n_steps, samples, firing, nodes * ranks_per_node, units, ranks_per_node)
        if prediction.node_bytes <= node_bytes:
            if prediction.seconds <= limit_s:
                return nodes, prediction
            tried.append((prediction.seconds, nodes))
        nodes += max(1, nodes // 16)
    if not tried:
        raise InputError(f"the network does not fit into up to {nodes} nodes with {node_bytes / 1e9:.3g} GB each")
    best, nodes = min(tried)
    raise InputError(
        f"no number of nodes finishes within {limit_s:.3g} s; the fastest, {nodes} nodes, takes {best:.3g} s"
    )
