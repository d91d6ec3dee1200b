"""Estimate the memory of a rank from the description of a network: refusals, `predict` and `jobs` use this formula.

The memory of neurons and rules is known once their models are compiled, see `algorithms.plan.compile_models`.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from ..algorithms.choice import choose_algorithms
from ..algorithms.plan import FOLD_STEPS, NetworkPlan, TablePlan
from ..algorithms.structs import STRUCTS
from ..arrays import count_array_bytes
from ..kernels import layout
from ..machine import require_bytes
from ..network import learning
from ..network.connectivity import RULES, Population, Projection
from ..network.drawing import find_local_range
from ..network.local import ALMOST_ALL, program_of
from ..network.model import Model
from ..network.partition_bounds import choose_bounds
from ..network.synapse_table import count_bytes, count_spread_steps, pays_index
from ..values import Later
from . import rule_kernels

SPIKING = ("input", "recurrent")
SAMPLE = 20_000  # at most so many neurons get arrays when bytes are counted
PARAMETERS, STATE = 12, 7  # numbers of a neuron: in double precision, and in the precision of the model


def require_memory(
    model: Model,
    n_steps: int,
    rank: int = 0,
    size: int = 1,
    cuts: np.ndarray | None = None,
    plan: NetworkPlan | None = None,
) -> None:
    """Raise `InputError`, naming the largest part, if the local part of a rank is larger than the memory.

    `cuts` is int64 (size + 1,), the first neuron of each rank and the number of all; None: as `choose_bounds` says.
    """
    cuts = choose_bounds(model, size) if cuts is None else cuts
    first, last = cuts[rank : rank + 2].tolist()
    parts = list_parts(model, n_steps, first, last, plan)
    what = max(parts, key=parts.__getitem__)
    require_bytes(int(parts[what]), what)
    require_bytes(int(sum(parts.values())), f"the network of rank {rank}, most of all {what},")


def list_parts(model: Model, n_steps: int, first: int, last: int, plan: NetworkPlan | None = None) -> dict[str, float]:
    """Return the bytes of each part of a rank with neurons [first, last), by a description of the part."""
    plan = plan or (choose_algorithms(model) if model.eprop.is_online else None)
    n, real, groups = last - first, np.dtype(model.kernels.real).itemsize, model.of_role("recurrent")
    onto, ports = _Projections(model, plan, first, last), max([1, *(len(group.ports) for group in groups)])
    parts = {f"state of {n} neurons": n * (8.0 * PARAMETERS + real * STATE)}
    for item in model.projections:
        if item.pre.role != "current":
            parts[f"projection '{item.name}' ({_describe_projection(model, item, first, last)})"] = onto.count_bytes(
                item
            )
    parts[f"signals of {model.size('readout')} readouts in {n_steps} steps"] = 8.0 * model.size("readout") * n_steps
    if model.local:
        parts[f"signals of local readouts of {n} neurons"] = float(n * n_steps * real)
    if onto.table is None:
        kept = n_steps * ports * (1 + len(learning.list_eprop(model))) + (n_steps + 1) * _count_kept(model)
        parts[f"history of {n} neurons over n_steps = {n_steps}"] = float(n * real * kept)
    elif plan:
        parts[f"history of {n} neurons"] = _count_history(model, plan, onto.table, n)
    waiting = max((count_spread_steps(model, item) for item in model.projections), default=0)
    parts[f"buffer of later arrivals at {n} neurons"] = float(n * real * waiting * ports)
    parts["parameters that learn"] = _count_parameters(model, n)
    none, one = (rule_kernels.count_bytes(model, n_steps, k) * (plan is None) for k in (0, 1))
    parts[f"what learning rules keep of {n} neurons"] = float(none + n * (one - none))
    return parts


def count_sources(model: Model, first: int, last: int) -> dict[str, float]:
    """Return how many neurons of each population have targets among neurons [first, last), which count as well.

    The estimate takes the targets of a source as drawn independently. A rank with almost all neurons as sources keeps
    no list of them: then all are counted.
    """
    expected = {group.name: 0.0 for group in model.of_role("recurrent")}  # synapses of a source
    for item in model.projections:
        if item.pre.role == item.post.role == "recurrent":
            low, high = _find_part(model, item.post, first, last)
            expected[item.pre.name] += (high - low) * RULES[item.rule].compute_indegree(item) / item.pre.size
    sources = {}
    for group in model.of_role("recurrent"):
        low, high = _find_part(model, group, first, last)
        sources[group.name] = high - low - (group.size - high + low) * math.expm1(-expected[group.name])
    if sum(sources.values()) > ALMOST_ALL * model.size("recurrent"):
        return {group.name: float(group.size) for group in model.of_role("recurrent")}
    return sources


def _find_part(model: Model, group: Population, first: int, last: int) -> tuple[int, int]:
    """Return the part of a population among neurons [first, last); all of readouts."""
    return find_local_range(model, group, first, last) if group.role == "recurrent" else (0, group.size)


class _Projections:
    """Bytes of projections on a rank with neurons [first, last): synapses, rows, and the memory of both for learning.

    In the spike variant `table` is the plan of all synapses onto neurons, each of which keeps as many numbers.
    """

    def __init__(self, model: Model, plan: NetworkPlan | None, first: int, last: int) -> None:
        self._model, self._plan, self._ends = model, plan, (first, last)
        self._sources = count_sources(model, first, last)
        self._lists = sum(self._sources.values()) < model.size("recurrent")
        self._batched = plan is not None and model.optimizer.batch_size > 1
        self.table: TablePlan | None = None
        self._numbers = dict.fromkeys(("recurrent", "readout"), (int(not _is_direct(model)), 0))
        for role in self._numbers:
            if plan is None:
                break
            items = [item for item in model.projections if item.post.role == role and item.pre.role in SPIKING]
            table = plan.of_projections(items)
            self.table = self.table or table
            of_row = layout.BOOK_COLUMNS + 1 + bool(table.reads_maps.any())
            self._numbers[role] = len(table.numbers), table.learns * of_row

    def count_bytes(self, item: Projection) -> float:
        """Return the bytes of a projection."""
        model, real, rule = self._model, np.dtype(self._model.kernels.real).itemsize, RULES[item.rule]
        low, high = _find_part(model, item.pre if item.post.role == "readout" else item.post, *self._ends)
        n_delays, words, ids = item.delay_range[1] - item.delay_range[0] + 1, 0.0, 0.0
        if item.post.role == "readout":  # on the ranks of its sources
            synapses, senders = (
                item.post.size * rule.compute_indegree(item) * (high - low) / item.pre.size,
                float(high - low),
            )
        else:
            synapses = (high - low) * rule.compute_indegree(item)
            senders = self._sources.get(item.pre.name, float(item.pre.size)) * (synapses > 0)
            ids = senders * (self._lists and item.pre.role == "recurrent")
        rows = senders * n_delays
        if item.post.role != "readout" and pays_index(synapses, rows) and not item.moves:
            words, rows = rows // 64 + 1, -rows * math.expm1(-synapses / rows)
        weighs, adapts = (
            item.transmission is not None,
            item.plastic and not (item.optimizer or model.optimizer).accumulates,
        )
        n_bytes = count_bytes(model.kernels.real, synapses, rows, n_delays, words, ids, weighs)
        if self._plan and item.pre.role == "readout":  # adaptive feedback has its readout projection's optimizer
            return n_bytes
        numbers, of_row = self._numbers[item.post.role]
        numbers += self._batched + 2 * adapts * (self._batched or not self._plan)
        if item.learn_delay is not None:
            numbers += 2 + len(item.learn_delay.moments)
        if self._plan:
            counted = self._batched or adapts
            of_row += (counted + (self._plan.m + 2) * weighs) * bool(of_row)
            n_bytes += 8 * (rows * of_row + senders + counted * n_delays * 4 * 2 * FOLD_STEPS)
        return n_bytes + synapses * numbers * real


def _is_direct(model: Model) -> bool:
    """Return whether the interval variant adds gradients straight to the weights and keeps no sums of gradients."""
    optimizers = [model.optimizer, *(item.optimizer for item in model.projections if item.optimizer)]
    stay = all(item.learn_delay is None for item in model.projections) and model.optimizer.max_norm is None
    return stay and all(item.accumulates and item.batch_size == 1 for item in optimizers)


def _count_kept(model: Model) -> int:
    """Return how many numbers per step each neuron keeps for derivatives; all neurons of a rank keep as many."""
    kept = learning.list_kept(model)
    return max((program_of(group, kept[group.name]).n_kept for group in model.of_role("recurrent")), default=0)


def _count_history(model: Model, plan: NetworkPlan, table: TablePlan, n: int) -> float:
    """Return the bytes that algorithms and histories keep of n neurons in the spike variant."""
    sample = max(1, min(n, SAMPLE))
    rank: Later = rule_kernels.Nobody(model, sample)
    rank.incoming = SimpleNamespace(blocks=np.zeros((len(table.plans), layout.BLOCK_COLUMNS), np.int64))
    arrays = [item for kind in STRUCTS for item in kind(rank, plan, (table, table), 1).arrays if item.per == "neuron"]
    steps = table.kept_steps() + plan.m + 3
    kept = _count_kept(model) * steps * np.dtype(model.kernels.real).itemsize
    return n * (count_array_bytes(arrays) / sample + kept)


def _count_parameters(model: Model, n: int) -> float:
    """Return the bytes of parameters that learn: values and moments of n neurons, gradients of those that learn."""
    found, n_all = 0.0, max(model.size("recurrent"), 1)
    for group in model.of_role("recurrent"):
        share = n * group.size / n_all
        for optimizer in group.learn.values():
            found += (1 if optimizer.shared else n) * (1 + len(optimizer.moments)) + share
    return 8.0 * found


def _describe_projection(model: Model, item: Projection, first: int, last: int) -> str:
    values = {name: getattr(item, name) for name in RULES[item.rule].options}
    texts = {name: getattr(value, "__qualname__", value) for name, value in values.items() if np.ndim(value) == 0}
    options = [f"{name} = {text}" for name, text in texts.items()]
    low, high = _find_part(model, item.post, first, last)
    return ", ".join([item.rule, *options, f"{item.pre.size} x {high - low}"])
