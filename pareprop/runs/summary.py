"""Lines that a run prints at its start (`start_lines`) and, if ranks waited long, at its end (`describe_waiting`)."""

from __future__ import annotations

import math

from .. import machine
from ..network.local import count_kept
from ..network.model import Model
from ..parallel import collectives, mpi
from ..parallel.replicas import LEAVES
from ..simulation import digest
from ..simulation.checks import count_available
from ..simulation.loop import Simulation
from ..tasks.base import TaskBase
from ..terminal import format_count
from ..values import Values
from . import provenance

MUCH = 0.5  # a run gives advice if waiting and transfer take more than this share of its time
SHORT = 2.0  # runs of fewer seconds give no advice


def start_lines(simulation: Simulation, task: TaskBase, last: int) -> list[str]:
    """Collective: return lines on ranks, memory and network; valid on rank 0.

    `simulation` is before its first iteration, and the run ends after iteration `last`.
    """
    comm, model = simulation.exchange.comm, simulation.model
    own = sum(span.last - span.first for _, span in digest.list_tables(simulation.network))
    n_synapses = collectives.sum_over_ranks(comm, own)
    memory = simulation.nbytes()
    most = collectives.max_over_ranks(comm, sum(memory.values())) / 2**20
    batch, n_steps = model.optimizer.batch_size, simulation.task.n_steps
    groups = simulation.replicas.count
    kept = simulation.engine.history_steps
    parts = ", ".join(f"{name} {size / 2**20:.2f}" for name, size in memory.items() if size)
    samples = f"{format_count(batch, 'sample')} of {n_steps} steps ({n_steps * model.dt_ms:g} ms)"
    to_come = format_count(last - simulation.iteration, "iteration")
    network = mpi.describe_interconnect() if len(provenance.count_ranks_by_host(simulation.world)) > 1 else ""
    warnings = [f"warning: {network} (is libibverbs installed?); messages between nodes travel by TCP"]
    return [
        f"{format_count(simulation.exchange.size * groups, 'rank')}{f' in {groups} groups' if groups > 1 else ''}; "
        f"memory of rank 0: {sum(memory.values()) / 2**20:.2f} MiB ({parts}); "
        f"a neuron keeps at most {kept} steps of history, however long the run",
        f"training: {format_count(model.size('recurrent'), 'neuron')}, {format_count(n_synapses, 'synapse')}; "
        f"{to_come} of {samples}; at most {most:.2f} MiB on each rank",
        *_describe_samples(simulation, task),
        *_describe_models(model),
        *(warnings if network.endswith(mpi.UNUSED) else []),
    ]


def _describe_samples(simulation: Simulation, task: TaskBase) -> list[str]:
    """Return a line on which samples train, validate and test; none where a task makes as many as are asked for."""
    n_train = count_available(simulation.task, "train")
    if not n_train:
        return []
    parts: dict[str, range] = getattr(getattr(simulation.task, "split", None), "parts", {})
    stops = bool(task.validate_every and (task.stop_below or task.patience))  # after that at least one is tested
    used = {"train": n_train, "validate": task.validate_samples * task.validates}
    texts = []
    for phase, n in (used | {"test": max(task.test_samples, int(stops))}).items():
        part = parts.get(phase)
        n = 0 if part == range(0) else n
        part = part[:n] if isinstance(part, range) else range(0)
        file = "the file"
        if part and phase == "test" and getattr(task, "test_data", None):
            part, file = range(len(part)), "test_data"
        where = f" ({part[0]:,} to {part[-1]:,} of {file}, counted from 0)" if part else ""
        counted = getattr(task, f"n_{phase}", None) if phase != "train" else None
        key = "validate_every" if phase == "validate" and not task.validate_every else f"{phase}_samples"
        left = f" of n_{phase} = {counted}, as {key} = {getattr(task, key)}" if counted and n < counted else ""
        texts.append(f"{f'{n:,}' if n else 'none'} {phase}{where}{left}")
    size = f"{n_train / task.batch_size:.6g} iteration{'' if n_train == task.batch_size else 's'}"
    return [f"samples: {', '.join(texts)}; a pass through those that train (an epoch) takes {size}"]


def _describe_models(model: Model) -> list[str]:
    """Return a line on the numbers that models given by equations keep; [] without such models."""
    kept = [f"{name} {count}" for name, count in count_kept(model).items()]
    return [f"numbers kept per neuron and step: {', '.join(kept)}"] if kept else []


def describe_waiting(part: Values, neurons: int, batch: int) -> list[str]:
    """Return a remark if more than half of the time of the ranks was waiting or transfer.

    `part` is a part of the provenance, with `mean_rank_seconds`; `neurons` is the number of recurrent neurons, `batch`
    the number of samples of a batch.
    """
    spent, ranks, groups = part.get("mean_rank_seconds", {}), part.get("ranks", 1), part.get("replicas", 1)
    lost, total = spent.get("wait", 0.0) + spent.get("transfer", 0.0), sum(spent.values())
    if ranks < 2 or total < SHORT or lost <= MUCH * total:
        return []
    cores = min(part.get("cores") or ranks, machine.count_cores()) * part.get("nodes", 1)
    if ranks > cores:
        better = f"there are more ranks than the {cores} cores: `mpirun -n {cores}` would be faster"
    elif batch >= LEAVES and groups < (most := math.gcd(ranks, LEAVES)):
        better = f"`--replicas {most}` lets ranks share batches and meet less often"
    else:
        better = f"{neurons / ranks * groups:,.0f} neurons per rank are few: fewer ranks would be faster"
    return [f"note: {lost / total:.0%} of the time went into waiting and transfer; {better}"]
