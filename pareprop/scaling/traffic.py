"""What exchanges of spikes cost: costs that `pareprop ping` measures, and the formula that adds them up for a run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from pydantic import Field

from .. import files
from ..engines import footprint
from ..errors import InputError
from ..network.cuts import cut, round_steps
from ..network.model import Model
from ..network.parameters import Frozen
from ..network.sharing import count_sharing
from ..parallel import tree
from ..parallel.exchange import WORTHWHILE
from ..parallel.messages import GROWTH

FILE = "ping.json"
BYTES_OF_SPIKE = 4.0
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
        """Return the costs, in words, that matter to a run and were not measured."""
        matter = ["round_s"] * (node_ranks > 1) + ["line_s"] * (node_ranks > 2)
        matter += ["message_s", "look_up_s", "pack_s"] * (nodes > 1)
        return [str(type(self).model_fields[name].description) for name in matter if getattr(self, name) is None]

    def cost(self, name: str) -> float:
        """Return a cost: measured, else assumed; 0 for messages between nodes if no latency is known."""
        if name == "message_s" and self.latency_s is None:
            return 0.0
        value = getattr(self, name)
        return float(ASSUMED.get(name, 0.0) if value is None else value)


def read(path: Path | None, latency_s: float | None = None, bandwidth: float | None = None) -> tuple[Interconnect, str]:
    """Return costs of exchanges and where they come from; a latency or bandwidth that is given replaces the measured.

    Without a path `ping.json` is read, if it is here.
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
    """What ranks and nodes exchange in a sample.

    Parameters
    ----------
    model : Model
        The whole network.
    n_steps : int
        Steps of a sample.
    rate_hz : float
        Firing rate of the neurons.
    ranks, ranks_per_node : int
        Ranks of the run, and of a full node.
    """

    def __init__(self, model: Model, n_steps: int, rate_hz: float, ranks: int, ranks_per_node: int) -> None:
        self.nodes = nodes = -(-ranks // ranks_per_node)
        self.node_ranks = -(-ranks // nodes)
        starts = -(-np.arange(nodes + 1) * ranks // nodes)  # first rank of each node
        self.cuts, n = cut(model, ranks, starts), model.size("recurrent")
        self.rounds = self.exchanges = 0
        if ranks > 1 and count_sharing(model, ranks) == ranks:
            within, between = round_steps(model, n_steps, starts, self.cuts)
            self.rounds, self.exchanges = -(-n_steps // within), -(-n_steps // between)
        first = self.cuts[starts]
        heard = footprint.count_heard(model, int(first[0]), int(first[1]))
        self.share = share = sum(heard.values()) / max(n, 1)
        self.is_targeted = nodes > 1 and share <= WORTHWHILE
        self.neighbours = _count_neighbours(model, heard, first)
        self.spikes = n * rate_hz * n_steps * model.dt_ms / 1000.0
        self.node_spikes = self.spikes * (share if self.is_targeted else 1.0)
        self._n_steps, self._sums, self._node_neurons = n_steps, n_steps * model.size("readout"), int(first[1])
        self._is_listed = sum(footprint.count_heard(model, 0, int(self.cuts[1])).values()) < n

    def seconds(self, costs: Interconnect) -> dict[str, float]:
        """Return seconds of a sample: within a node and between nodes, packing, and looking spikes up."""
        found = dict.fromkeys(("communicate", "pack", "look_up"), 0.0)
        if not self.exchanges:
            return found
        cost, others = costs.cost, self.nodes - 1
        if self.node_ranks > 1:  # ranks of a node share what they pack and unpack in three more
            rounds = self.rounds + 3 * self.exchanges * self.is_targeted
            found["communicate"] = rounds * (cost("round_s") + cost("line_s") * (self.node_ranks - 2))
        found["look_up"] = cost("look_up_s") * self.node_spikes * self._is_listed
        if others:
            arriving = self.node_spikes * others / self.nodes
            stages, further = math.ceil(math.log2(self.nodes)), 0.0  # one message for all nodes
            words = tree.WORDS_OF_SUM * self._sums * others
            if self.is_targeted:
                spared = others - self.neighbours
                in_tree = tree.pays(self.nodes, self._sums / self.exchanges, spared)
                stages, further = 1 + tree.stages(self.nodes) * in_tree, max(self.neighbours - 1.0, 0.0)
                if in_tree:
                    words = tree.WORDS_OF_SUM * self._sums * tree.stages(self.nodes)
                found["pack"] = cost("pack_s") * 2.0 * arriving / self.node_ranks
            messages = self.exchanges * (stages * cost("latency_s") + further * cost("message_s"))
            n_bytes = BYTES_OF_SPIKE * (arriving * (GROWTH / 2 if self.is_targeted else 1.0) + words)
            found["communicate"] += messages + (n_bytes / costs.bandwidth if costs.bandwidth else 0.0)
        return found

    def count_bytes(self) -> tuple[float, float]:
        """Return the bytes of routes that each rank has, and of spikes and messages that its node has once."""
        if self.nodes == 1 or not self.exchanges:
            return 0.0, 0.0
        parts = math.ceil(self.node_ranks / max(self.neighbours, 1.0))  # of a message, see `messages.count_parts`
        listed = max(self.share * self.nodes - 1.0, 0.0) / self.node_ranks  # nodes that hear a neuron, for each rank
        routes = self._node_neurons * (8.0 / parts + 12.0 * listed) * self.is_targeted
        ends = (self.node_ranks + self.nodes - 1) * (self._n_steps + 1)  # of the steps of each log
        messages = 2.0 * GROWTH * self.node_spikes / self.exchanges
        return routes, BYTES_OF_SPIKE * (messages + self.node_spikes) + 8.0 * ends


def _count_neighbours(model: Model, heard: dict[str, float], first: np.ndarray) -> float:
    """Return of how many other nodes the first one hears neurons, as expected; `first` is the first neuron of each."""
    expected = np.zeros(len(first) - 1)
    for group in model.of_role("recurrent"):
        here = np.diff(np.clip(first - model.offset(group), 0, group.size))  # neurons of each node
        expected += here * (max(heard[group.name] - here[0], 0.0) / max(group.size - here[0], 1))
    return float(np.sum(-np.expm1(-expected[1:])))
