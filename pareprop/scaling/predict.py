"""Prediction: seconds by phase and memory of any run, from unit costs and counts; nodes for a wanted time."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from ..network.model import Model
from ..parallel.partition import owner
from ..runs.benchmark import PHASES
from . import work
from .units import Units
from .work import Firing, Work


@dataclass(frozen=True)
class Prediction:
    """Of the slowest and the largest rank.

    Attributes
    ----------
    ranks : of the run
    phases : seconds by phase of the rank that needs longest for samples, build for once and the others for all samples
    memory : bytes by kind of the rank that holds most
    base_bytes : of a process with nothing built, not in `memory`
    sample_seconds : of one sample
    imbalance : time of the slowest rank over the mean of the ranks that were looked at
    """

    ranks: int
    phases: dict[str, float]
    memory: dict[str, float]
    base_bytes: float
    sample_seconds: float
    imbalance: float

    @property
    def seconds(self) -> float:
        """Whole run."""
        return sum(self.phases.values())

    @property
    def nbytes(self) -> float:
        """All of the largest rank."""
        return sum(self.memory.values()) + self.base_bytes


def predict(model: Model, n_steps: int, samples: int, firing: Firing, ranks: int, units: Units) -> Prediction:
    """Predict a run of `samples` samples on `ranks` ranks.

    Ranks differ only in how many neurons and readouts they own; one of each kind is looked at.
    """
    kinds = [work.of_rank(model, n_steps, firing, ranks, rank) for rank in representatives(model, ranks)]
    seconds = [_sample_seconds(units, item) for item in kinds]
    slowest = kinds[seconds.index(max(seconds))]
    memories = [units.memory(item) for item in kinds]
    phases = units.phase_seconds(slowest, samples)
    return Prediction(
        ranks=ranks, phases={name: phases.get(name, 0.0) for name in PHASES}, base_bytes=units.base_bytes,
        memory=max(memories, key=lambda memory: sum(memory.values())), sample_seconds=max(seconds),
        imbalance=max(seconds) / (sum(seconds) / len(seconds)) if max(seconds) else 1.0,
    )  # fmt: skip


def _sample_seconds(units: Units, item: Work) -> float:
    return sum(seconds for name, seconds in units.phase_seconds(item).items() if name != "build")


def representatives(model: Model, ranks: int) -> list[int]:
    """Ranks that show every number of neurons and of readouts that a rank may own.

    Blocks differ by at most one cell. The owners of the first readouts and their neighbours are among them.
    """
    n_readouts = model.size("readout")
    owners = [owner(n_readouts, ranks, readout) for readout in range(min(n_readouts, 4))]
    near = {rank + step for rank in owners for step in (-1, 0, 1)} & set(range(ranks))
    return sorted({0, ranks // 2, ranks - 1} | near)


def nodes_for(
    model: Model, n_steps: int, samples: int, firing: Firing, units: Units, wanted_s: float, ranks_per_node: int,
    node_bytes: float, limit: int = 100_000,
) -> tuple[int, Prediction]:  # fmt: skip
    """Smallest number of nodes that finishes within `wanted_s` seconds and fits into their memory, up to `limit`.

    Numbers beyond 16 are tried in steps of a sixteenth.

    Raises
    ------
    InputError
        If none does; names the fastest.
    """
    tried: list[tuple[float, int]] = []
    nodes = 1
    while nodes <= limit and nodes * ranks_per_node <= model.size("recurrent"):
        found = predict(model, n_steps, samples, firing, nodes * ranks_per_node, units)
        if found.nbytes * ranks_per_node <= node_bytes:
            if found.seconds <= wanted_s:
                return nodes, found
            tried.append((found.seconds, nodes))
        nodes += max(1, nodes // 16)
    if not tried:
        raise InputError(f"the network doesn't fit into up to {nodes} nodes with {node_bytes / 1e9:.3g} GB each")
    best, nodes = min(tried)
    raise InputError(f"no number of nodes takes {wanted_s:.3g} s; the fastest, {nodes}, takes {best:.3g} s")
