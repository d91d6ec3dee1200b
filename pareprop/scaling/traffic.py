"""Costs of exchanging spikes: measured by `pareprop ping`, and added up for a run by a formula."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from pydantic import Field

from .. import files
from ..engines import footprint
from ..errors import InputError
from ..network.model import Model
from ..network.parameters import Frozen
from ..network.partition_bounds import choose_bounds, count_round_steps
from ..network.sharing import count_sharing
from ..parallel import tree
from ..parallel.exchange import MAX_TARGETED_FRACTION
from ..parallel.messages import GROWTH

FILE = "ping.json"
SPIKE_BYTES = 4.0
ASSUMED = {"round_s": 4e-7, "line_s": 5e-8, "look_up_s": 1.2e-9, "pack_s": 6e-9, "message_s": 2e-7}


class Interconnect(Frozen):
    """Costs of exchanges; None: not measured."""

    latency_s: float | None = Field(None, ge=0, description="latency between nodes")
    bandwidth: float | None = Field(None, gt=0, description="bandwidth of a node")
    message_s: float | None = Field(None, ge=0, description="further message of an exchange")
    round_s: float | None = Field(None, ge=0, description="exchange of two ranks")
    line_s: float | None = Field(None, ge=0, description="further rank of a node")
    look_up_s: float | None = Field(None, ge=0, description="look-up of a spike")
    pack_s: float | None = Field(None, ge=0, description="packing of a spike")

    def list_assumed(self, nodes: int, node_ranks: int) -> list[str]:
        """Return descriptions of the costs that matter to a run and were not measured."""
        matter = ["round_s"] * (node_ranks > 1) + ["line_s"] * (node_ranks > 2)
        matter += ["message_s", "look_up_s", "pack_s"] * (nodes > 1)
        return [str(type(self).model_fields[name].description) for name in matter if getattr(self, name) is None]

    def find_cost(self, name: str) -> float:
        """Return a cost: measured, else assumed; 0 for messages between nodes if no latency is known."""
        if name == "message_s" and self.latency_s is None:
            return 0.0
        value = getattr(self, name)
        return float(ASSUMED.get(name, 0.0) if value is None else value)


def read(path: Path | None, latency_s: float | None = None, bandwidth: float | None = None) -> tuple[Interconnect, str]:
    """Return costs of exchanges and their origin; a given latency or bandwidth replaces the measured one.

    Without a path, `ping.json` is read if it exists.
    """
    if path is None and not Path(FILE).exists():
        found, origin = Interconnect(), ""
    else:
        path = path or Path(FILE)
        try:
            found, origin = Interconnect.model_validate_json(files.read(path)), str(path)
        except OSError as problem:
            raise InputError(f"{path}: {problem.strerror}; `pareprop ping` writes it") from None
        except ValueError as problem:
            raise InputError(f"{path} holds no costs of exchanges: {' '.join(str(problem).split())[:200]}") from None
    given = {"latency_s": latency_s, "bandwidth": bandwidth}
    return found.model_copy(update={name: value for name, value in given.items() if value is not None}), origin


class Traffic:
    """Spikes and sums that ranks and nodes exchange in a sample of `n_steps`.

    Neurons of `model` fire at `rate_hz`; a full node has `ranks_per_node` of the `ranks`.
    """

    def __init__(self, model: Model, n_steps: int, rate_hz: float, ranks: int, ranks_per_node: int) -> None:
        self.nodes = nodes = -(-ranks // ranks_per_node)
        self.node_ranks = -(-ranks // nodes)
        starts = -(-np.arange(nodes + 1) * ranks // nodes)  # first rank of each node
        self.cuts, n = choose_bounds(model, ranks, starts), model.size("recurrent")
        self.rounds = self.exchanges = 0
        if ranks > 1 and count_sharing(model, ranks) == ranks:
            within, between = count_round_steps(model, n_steps, starts, self.cuts)
            self.rounds, self.exchanges = -(-n_steps // within), -(-n_steps // between)
        first = self.cuts[starts]
        sources = footprint.count_sources(model, int(first[0]), int(first[1]))
        self.share = share = sum(sources.values()) / max(n, 1)
        self.is_targeted = nodes > 1 and share <= MAX_TARGETED_FRACTION
        self.neighbours = _count_neighbours(model, sources, first)
        self.spikes = n * rate_hz * n_steps * model.dt_ms / 1000.0
        self.node_spikes = self.spikes * (share if self.is_targeted else 1.0)
        self._n_steps, self._sums, self._node_neurons = n_steps, n_steps * model.size("readout"), int(first[1])
        self._is_listed = sum(footprint.count_sources(model, 0, int(self.cuts[1])).values()) < n

    def estimate_seconds(self, costs: Interconnect) -> dict[str, float]:
        """Return seconds of a sample for exchange within and between nodes, packing, and looking spikes up."""
        found = dict.fromkeys(("communicate", "pack", "look_up"), 0.0)
        if not self.exchanges:
            return found
        cost, others = costs.find_cost, self.nodes - 1
        if self.node_ranks > 1:  # with three more synchronizations around packing and unpacking
            rounds = self.rounds + 3 * self.exchanges * self.is_targeted
            found["communicate"] = rounds * (cost("round_s") + cost("line_s") * (self.node_ranks - 2))
        found["look_up"] = cost("look_up_s") * self.node_spikes * self._is_listed
        if others:
            arriving = self.node_spikes * others / self.nodes
            stages, further = math.ceil(math.log2(self.nodes)), 0.0  # one message for all nodes
            words = tree.WORDS_OF_SUM * self._sums * others
            if self.is_targeted:
                spared = others - self.neighbours
                in_tree = tree.is_tree_faster(self.nodes, self._sums / self.exchanges, spared)
                stages, further = 1 + tree.count_stages(self.nodes) * in_tree, max(self.neighbours - 1.0, 0.0)
                if in_tree:
                    words = tree.WORDS_OF_SUM * self._sums * tree.count_stages(self.nodes)
                found["pack"] = cost("pack_s") * 2.0 * arriving / self.node_ranks
            messages = self.exchanges * (stages * cost("latency_s") + further * cost("message_s"))
            n_bytes = SPIKE_BYTES * (arriving * (GROWTH / 2 if self.is_targeted else 1.0) + words)
            found["communicate"] += messages + (n_bytes / costs.bandwidth if costs.bandwidth else 0.0)
        return found

    def count_bytes(self) -> tuple[float, float]:
        """Return the bytes of routes on each rank, and of spikes and messages that the ranks of a node share."""
        if self.nodes == 1 or not self.exchanges:
            return 0.0, 0.0
        parts = math.ceil(self.node_ranks / max(self.neighbours, 1.0))  # of a message, see `messages.count_parts`
        listed = max(self.share * self.nodes - 1.0, 0.0) / self.node_ranks  # target nodes of a neuron, for each rank
        routes = self._node_neurons * (8.0 / parts + 12.0 * listed) * self.is_targeted
        ends = (self.node_ranks + self.nodes - 1) * (self._n_steps + 1)  # of the steps of each log
        messages = 2.0 * GROWTH * self.node_spikes / self.exchanges
        return routes, SPIKE_BYTES * (messages + self.node_spikes) + 8.0 * ends


def _count_neighbours(model: Model, sources: dict[str, float], first: np.ndarray) -> float:
    """Return the expected number of nodes that send to the first node; `first` is the first neuron of each node."""
    expected = np.zeros(len(first) - 1)
    for group in model.of_role("recurrent"):
        here = np.diff(np.clip(first - model.offset(group), 0, group.size))  # neurons of each node
        expected += here * (max(sources[group.name] - here[0], 0.0) / max(group.size - here[0], 1))
    return float(np.sum(-np.expm1(-expected[1:])))
