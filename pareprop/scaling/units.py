"""Unit costs of this machine: seconds and bytes per operation, neuron or synapse, fitted to measured runs.

Each phase and each kind of memory is a sum of counts (`work.Work`) times unit costs of at least 0.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError, shown
from .work import Work

SAMPLE_PHASES = {  # the counts that a phase grows with
    "deliver": ("events", "cold_events", "lagged_events", "visits", "steps", "readout_events"),
    "update": ("neuron_steps", "rounds", "readout_events"),
    "sweep": ("neuron_steps", "signal_steps", "steps"),
    "credit": ("events", "cold_events", "visits", "readout_events"),
    "optimize": ("synapses", "readout_synapses"),
}
PHASES = SAMPLE_PHASES | {"build": ("synapses", "rows", "neurons")}
MEMORY = {
    "incoming": ("synapses", "rows"),
    "outgoing": ("readout_synapses", "rows"),
    "feedback": ("feedback_synapses",),
    "neurons": ("neurons",),
    "gradients": ("synapses", "readout_synapses"),
    "books": ("rows",),
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
    """The network between ranks, which carries messages.

    Attributes
    ----------
    latency_s : float
        Seconds of one message between two ranks.
    bandwidth : float
        Bytes per second that a rank receives.
    merge_s : float
        Seconds per spike to merge messages into the log.
    """

    latency_s: float = 2e-6
    bandwidth: float = 5e9
    merge_s: float = 1e-9


@dataclass(frozen=True)
class Units:
    """Unit costs.

    Attributes
    ----------
    seconds : dict[str, dict[str, float]]
        Phase to count to seconds of one.
    nbytes : dict[str, dict[str, float]]
        Kind of memory to count to bytes of one.
    network : Interconnect
        Costs of the exchange.
    base_bytes : float
        Memory of a process that has loaded the package and built nothing.
    """

    seconds: dict[str, dict[str, float]]
    nbytes: dict[str, dict[str, float]]
    network: Interconnect = field(default_factory=Interconnect)
    base_bytes: float = 0.0

    def phase_seconds(self, work: Work, samples: int = 1) -> dict[str, float]:
        """Return seconds by phase for `samples` samples (build: once)."""
        found = {name: _sum(costs, work) * (1 if name == "build" else samples) for name, costs in self.seconds.items()}
        return found | {"communicate": samples * self.exchange_seconds(work)}

    def exchange_seconds(self, work: Work) -> float:
        """Return seconds of all exchanges of a sample: an Allgather has log2(ranks) stages, and all words arrive."""
        if work.ranks == 1:
            return 0.0
        arriving = 4.0 * work.words * (work.ranks - 1)
        per_round = self.network.latency_s * np.ceil(np.log2(work.ranks)) + arriving / self.network.bandwidth
        return float(work.rounds * per_round + self.network.merge_s * work.spikes)

    def memory(self, work: Work) -> dict[str, float]:
        """Return bytes by kind."""
        found = {name: _sum(costs, work) for name, costs in self.nbytes.items()}
        return found | {"buffers": 4 * max(256.0, 1.25 * work.words) * (work.ranks + 1) * (work.ranks > 1)}

    def with_network(self, latency_s: float | None = None, bandwidth: float | None = None) -> Units:
        """Return a copy with another latency or bandwidth, where given."""
        given = {"latency_s": latency_s, "bandwidth": bandwidth}
        changed = {name: value for name, value in given.items() if value is not None}
        return replace(self, network=replace(self.network, **changed))


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
        found = json.loads(files.read(path))
        return {variant: _check(values) for variant, values in found.items()}
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}; `pareprop predict --measure` writes it") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise InputError(f"{path} holds no unit costs: {type(problem).__name__}: {problem}") from None


def _check(values: dict[str, Any]) -> Units:
    """Return the unit costs of a variant; raise ValueError, TypeError or KeyError unless `write` wrote them."""
    costs = [*values["seconds"].items(), *values["nbytes"].items()]
    numbers = [(f"{name}.{count}", cost) for name, counts in costs for count, cost in counts.items()]
    numbers += [*values["network"].items(), ("base_bytes", values.get("base_bytes", 0.0))]
    for name, number in numbers:
        if type(number) not in (int, float) or not 0 <= number < np.inf:
            raise ValueError(f"{shown(name)} = {shown(number)} must be a finite number of at least 0")
    if values["network"].get("bandwidth", 1.0) <= 0:
        raise ValueError("bandwidth must be above 0")
    known = {name for counts in (*PHASES.values(), *MEMORY.values()) for name in counts}
    if unknown := [name for _, counts in costs for name in counts if name not in known]:
        raise ValueError(f"{shown(unknown[0])} is no count")
    if missing := [name for name in PHASES if name not in values["seconds"]]:
        raise ValueError(f"seconds of {missing[0]} are missing")
    return Units(**{**values, "network": Interconnect(**values["network"])})


def write(path: Path, units: dict[str, Units]) -> None:
    """Write unit costs by variant as JSON."""
    path.write_text(json.dumps({variant: asdict(item) for variant, item in units.items()}, indent=1) + "\n")


def fit(runs: Sequence[Measured], network: Interconnect, base_bytes: float) -> Units:
    """Fit unit costs to measured runs, by relative errors, so that small and large runs count alike."""
    seconds = {
        phase: _fit(counts, [run.work for run in runs], [run.phases.get(phase, 0.0) for run in runs])
        for phase, counts in PHASES.items()
    }
    nbytes = {
        kind: _fit(counts, [run.work for run in runs], [run.memory.get(kind, 0.0) for run in runs])
        for kind, counts in MEMORY.items()
    }
    return Units(seconds, nbytes, network, base_bytes)


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
