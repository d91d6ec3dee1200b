"""From described nodes and connections to a `Model`, once, before the first step.

Parrot neurons and generators become input populations, e-prop neurons recurrent ones, one for each block of equal
scalar parameters. Connections that only carry targets, learning windows or the sums of a softmax are recognised and
leave the graph. What fits none of this is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..network.connectivity import Population
from ..network.model import Model
from ..network.neurons import NEURON_MODELS, READOUT_MODELS
from .catalogue import SynapseModel
from .connections import Bundle
from .errors import refuse, translate_errors
from .models import common_optimizer, make_optimizer
from .nodes import Block, NodeTable
from .rates import Rates
from .stimuli import Links

SPLIT = ("surrogate_gradient_function", "kappa", "kappa_reg", "eprop_isi_trace_cutoff", "regular_spike_arrival",
         "refractory_input")  # fmt: skip


@dataclass
class Wiring:
    """A described network as the package runs it.

    Attributes
    ----------
    model : Model
        Populations and projections.
    recurrent, readouts, parrots : np.ndarray
        int64, ids of nodes by their index in the role (parrots: among the inputs).
    links : Links
        Spike generators to inputs.
    trains : Links
        Poisson generators to inputs.
    currents : np.ndarray
        int64, ids of current generators.
    targets, window : dict
        Generator to readouts and weights.
    origin : dict
        Projection to bundles and places of its synapses.
    rates : dict
        Plastic projection to the synapse model that has its learning rate.
    average_gradient : bool
        Of the interval variant.
    plastic : bool
        Whether anything learns.
    fixed : bool
        Whether there are synapses of inputs that do not learn.
    """

    model: Model
    recurrent: np.ndarray
    readouts: np.ndarray
    parrots: np.ndarray
    links: Links = field(default_factory=Links)
    trains: Links = field(default_factory=Links)
    currents: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    targets: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    window: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    origin: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)
    rates: dict[str, str] = field(default_factory=dict)
    average_gradient: bool = False
    plastic: bool = False
    fixed: bool = False


class _Group:
    """Nodes that become one population."""

    def __init__(self, population: Population, ids: np.ndarray) -> None:
        self.population, self.ids = population, ids


def wire(
    nodes: NodeTable, bundles: list[Bundle], synapses: Mapping[str, SynapseModel], kernel: Mapping[str, Any]
) -> Wiring:
    """Build the description that the package runs.

    Parameters
    ----------
    nodes : NodeTable
        All nodes.
    bundles : list of Bundle
        All connections between nodes that are not recorders.
    synapses : dict
        Models of synapses, with their present defaults.
    kernel : dict
        Kernel parameters.

    Raises
    ------
    KernelException
        `NotImplemented` for what cannot be represented exactly, `BadProperty` for what is wrong.
    """
    return _Wirer(nodes, bundles, synapses, kernel).wiring


class _Wirer:
    def __init__(
        self, nodes: NodeTable, bundles: list[Bundle], synapses: Mapping[str, SynapseModel], kernel: Mapping[str, Any]
    ) -> None:
        self.nodes, self.bundles, self.synapses, self.dt = nodes, bundles, synapses, float(kernel["resolution"])
        self.kind = np.array(["", *np.concatenate([np.repeat(b.model.kind, b.n) for b in nodes.blocks])])
        self.base = np.array(["", *np.concatenate([np.repeat(b.model.base, b.n) for b in nodes.blocks])])
        variants = {block.model.variant for block in nodes.of_kind("neuron", "readout")}
        if len(variants) != 1 or not nodes.of_kind("neuron"):
            raise refuse(
                "networks of both variants" if len(variants) == 2 else "networks without e-prop neurons",
                "simulate one with neurons of one variant, `eprop_iaf*_bsshslm_2020` or the others",
            )
        self.variant = variants.pop()
        learning = [synapses[name] for name in dict.fromkeys(
            bundle.model.name for bundle in bundles if bundle.model.plastic and len(bundle))]  # fmt: skip
        model = Model(self.variant, 1, self.dt, optimizer=common_optimizer(learning, self.variant))
        self.groups: dict[str, list[_Group]] = {"input": [], "current": [], "recurrent": [], "readout": []}
        self.wiring = Wiring(model, *(np.zeros(0, np.int64) for _ in range(3)))
        self.wiring.average_gradient = any(item.defaults.get("average_gradient") for item in learning)
        with translate_errors():
            self._populations()
            self._rates = Rates(self.variant, self.base, self.kind, self.wiring.readouts)
            self.wiring.targets, self.wiring.window = self._rates.targets, self._rates.window
            self._inputs()
            self._connections()
            self._check_readouts()

    # ---- populations -------------------------------------------------------------------------------------------------

    def _populations(self) -> None:
        for block in self.nodes.of_kind("neuron", "readout"):
            for ids in _split(block):
                self._population(block, ids)
        for role in ("recurrent", "readout"):
            ids = [group.ids for group in self.groups[role]]
            setattr(self.wiring, role.replace("out", "outs"), np.concatenate(ids) if ids else np.zeros(0, np.int64))
        parrots = [np.arange(block.n) + block.first for block in self.nodes.of_kind("parrot")]
        self.wiring.parrots = np.concatenate(parrots) if parrots else np.zeros(0, np.int64)

    def _population(self, block: Block, ids: np.ndarray) -> None:
        neuron = block.model.kind == "neuron"
        kinds = NEURON_MODELS[self.variant] if neuron else {"readout": READOUT_MODELS[self.variant]}
        local, values = ids - block.first, {}
        for key in kinds[block.model.core].model_fields:
            if key in block.values:
                value = block.values[key]
                value = value[local] if isinstance(value, np.ndarray) else value
                same = np.ndim(value) == 0 or np.all(value == value[0])
                values[key] = np.ravel(value)[0] if np.ndim(value) and same else value
        if "eprop_isi_trace_cutoff" in values:
            values["eprop_isi_trace_cutoff"] = float(values["eprop_isi_trace_cutoff"]) / self.dt
        name = f"{block.model.name} {ids[0]}..{ids[-1]}"
        if neuron:
            population = self.wiring.model.neurons(name, len(ids), block.model.core, **values)
        elif any(isinstance(value, np.ndarray) for value in values.values()):
            raise refuse("readouts with different parameters", "give all readouts the same")
        else:
            population = self.wiring.model.readouts(name, len(ids), **values)
        self.groups["recurrent" if neuron else "readout"].append(_Group(population, ids))

    # ---- inputs ------------------------------------------------------------------------------------------------------

    def _inputs(self) -> None:
        """Input populations: parrots, generators that reach neurons directly, Poisson trains; and what drives them."""
        w, model = self.wiring, self.wiring.model
        if len(w.parrots):
            self.groups["input"].append(_Group(model.inputs("parrots", len(w.parrots)), w.parrots))
        direct = self._sources("spike_generator")
        if len(direct):
            population = model.inputs("generators", len(direct))
            self.groups["input"].append(_Group(population, direct))
            w.links.add(direct, model.offset(population) + np.arange(len(direct)), np.array(0))
        for bundle in self.bundles:
            if not self._among(bundle.ends[1], self.kind == "parrot"):
                continue
            chosen = (self.kind == "parrot")[bundle.target]
            base, kinds = self.base[bundle.source[chosen]], self.kind[bundle.source[chosen]]
            if np.any(kinds != "stimulator") or np.any((base != "spike_generator") & (base != "poisson_generator")):
                raise refuse("spikes from neurons to parrot neurons", "connect generators to them alone")
            delay = np.broadcast_to(bundle.delay, len(bundle))[chosen]
            place = np.searchsorted(w.parrots, bundle.target[chosen])
            for name, links in (("spike_generator", w.links), ("poisson_generator", w.trains)):
                mine = base == name
                links.add(bundle.source[chosen][mine], place[mine], delay[mine])
        w.currents = np.union1d(self._sources("dc_generator"), self._sources("step_current_generator"))
        if len(w.currents):
            self.groups["current"].append(_Group(model.currents("currents", len(w.currents)), w.currents))

    def _sources(self, base: str) -> np.ndarray:
        """Generators of a kind with targets other than parrots."""
        generators = [np.zeros(0, np.int64)]
        for bundle in self.bundles:
            if not self._among(bundle.ends[0], self.base == base):
                continue
            mine = np.flatnonzero((self.base == base)[bundle.source])
            generators.append(bundle.source[mine][self.kind[bundle.target[mine]] != "parrot"])
        return np.unique(np.concatenate(generators))

    # ---- connections -------------------------------------------------------------------------------------------------

    def _connections(self) -> None:
        parts: dict[tuple, list[tuple[int, np.ndarray]]] = {}
        for index, bundle in enumerate(self.bundles):
            rest = np.arange(len(bundle))
            if self._among(bundle.ends[1], self.kind == "parrot"):
                rest = rest[self.kind[bundle.target] != "parrot"]
            if bundle.model.base == "rate_connection_delayed":
                self._rates.add(bundle, rest)
                continue
            if not len(rest):
                continue
            if self._among(bundle.ends[0], self.base == "poisson_generator"):
                poisson = (self.base == "poisson_generator")[_take(bundle.source, rest)]
                self._poisson(index, bundle, rest[poisson])
                rest = rest[~poisson]
            for (pre, post), mine in self._between(bundle, rest):
                parts.setdefault((pre, post, bundle.model.name), []).append((index, mine))
        everybody = [group for role in self.groups.values() for group in role]
        for (pre, post, name), members in parts.items():
            self._project(everybody[pre], everybody[post], self.synapses[name], members)

    @staticmethod
    def _among(ids: np.ndarray, wanted: np.ndarray) -> bool:
        return bool(np.any(wanted[ids]))

    def _between(self, bundle: Bundle, place: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray]]:
        """Connections of a bundle by the populations of their ends; populations by their place among all."""
        ends = [np.unique(self._owners[ids]).tolist() for ids in bundle.ends]
        if len(ends[0]) == len(ends[1]) == 1 and min(ends)[0] >= 0:
            return [((ends[0][0], ends[1][0]), place)]
        pre, post = (self._owner(_take(ids, place)) for ids in (bundle.source, bundle.target))
        n = int(post.max(initial=0)) + 1
        pair = pre * n + post
        return [((k // n, k % n), place[pair == k]) for k in np.flatnonzero(np.bincount(pair)).tolist()]

    @cached_property
    def _owners(self) -> np.ndarray:
        """Population of each node by its place among all, -1 for what belongs to none."""
        owners = np.full(len(self.kind), -1, np.int64)
        for place, group in enumerate(group for role in self.groups.values() for group in role):
            owners[group.ids] = place
        return owners

    def _owner(self, ids: np.ndarray) -> np.ndarray:
        owners = self._owners[ids]
        if np.any(owners < 0):
            node = int(ids[owners < 0][0])
            raise refuse(f"connections of {self.base[node]} (node {node}) to or from e-prop neurons",
                         "use parrot neurons, or generators that the page lists")  # fmt: skip
        return owners

    def _project(self, pre: _Group, post: _Group, synapse: SynapseModel, members: list[tuple[int, np.ndarray]]) -> None:
        source, target, weight, delay = (_join(column) for column in zip(
            *(tuple(_take(column, k) for column in (b.source, b.target, b.weight, np.broadcast_to(b.delay, len(b))))
              for b, k in ((self.bundles[index], place) for index, place in members)), strict=True))  # fmt: skip
        self._check_projection(pre.population, post.population, synapse, members, delay)
        options: dict[str, Any] = {}
        if synapse.plastic:
            options["optimizer"] = make_optimizer(synapse)
            self.wiring.plastic = True
        elif pre.population.role in ("input", "recurrent"):
            options["plastic"] = False
            self.wiring.fixed |= pre.population.role == "input"
        name = f"{synapse.name}: {pre.population.name} -> {post.population.name}"
        self.wiring.model.connect(
            pre.population, post.population, "explicit", weight=weight, delay=delay, name=name,
            source=_places(pre.ids, source), target=_places(post.ids, target), **options,
        )  # fmt: skip
        self.wiring.origin[name] = members
        if synapse.plastic:
            self.wiring.rates[name] = synapse.name

    def _check_projection(
        self, pre: Population, post: Population, synapse: SynapseModel, members: list, delay: np.ndarray
    ) -> None:
        ends = pre.role, post.role
        if ends not in {("input", "recurrent"), ("current", "recurrent"), ("recurrent", "recurrent"),
                        ("recurrent", "readout"), ("readout", "recurrent")}:  # fmt: skip
            raise refuse(f"connections from {_words(pre)} to {_words(post)}", "put recurrent e-prop neurons between")
        if self.variant == "interval" and not synapse.plastic and pre.role == "recurrent":
            raise refuse(f"{synapse.base} from e-prop neurons of the interval variant",
                         "use an e-prop synapse with eta = 0 by CopyModel")  # fmt: skip
        if synapse.base == "eprop_synapse_bsshslm_2020" and post.role == "recurrent" and self.groups["readout"]:
            tau = self.groups["readout"][0].population.params.tau_m
            for index, place in members:
                given = np.asarray(self.bundles[index].tau_m_readout)
                given = given[place] if given.ndim else given
                if np.any(given != tau):
                    raise refuse(f"tau_m_readout = {np.ravel(given)[0]:g} that is not tau_m = {tau:g} of the readouts",
                                 "give the synapses the readouts' tau_m")  # fmt: skip
        if synapse.base.startswith("eprop_learning_signal") and np.any(delay != 1):
            raise refuse("learning signals with a delay of several steps", "give them one step")

    def _poisson(self, index: int, bundle: Bundle, place: np.ndarray) -> None:
        """Each connection of a Poisson generator is a train of its own."""
        model, n = self.wiring.model, len(place)
        population = model.inputs(f"Poisson trains {index}", n)
        self.wiring.trains.add(bundle.source[place], model.offset(population) + np.arange(n), np.array(0))
        post = self._owner(bundle.target[place])
        everybody = [group for role in self.groups.values() for group in role]
        delay = np.broadcast_to(bundle.delay, len(bundle))[place]
        for k in np.unique(post):
            mine, group = np.flatnonzero(post == k), everybody[k]
            if group.population.role != "recurrent":
                raise refuse(f"connections from poisson_generator to {_words(group.population)}", "drive neurons by it")
            self.wiring.fixed = True
            model.connect(
                population, group.population, "explicit", weight=bundle.weight[place][mine], delay=delay[mine],
                name=f"Poisson trains {index} -> {group.population.name}", source=mine,
                target=np.searchsorted(group.ids, bundle.target[place][mine]), plastic=False,
            )  # fmt: skip

    def _check_readouts(self) -> None:
        readouts = self.groups["readout"]
        if readouts and any(group.population.params != readouts[0].population.params for group in readouts):
            raise refuse("readouts with different parameters", "give all readouts the same")
        interval = bool(readouts) and self.variant == "interval"
        self._rates.check(interval and readouts[0].population.params.loss == "cross_entropy")


def _split(block: Block) -> list[np.ndarray]:
    """Runs of nodes of a block that agree in what the package takes as one number for a population."""
    ids = block.first + np.arange(block.n)
    keys = [key for key in SPLIT if isinstance(block.values.get(key), np.ndarray)]
    if not keys:
        return [ids]
    changes = np.zeros(block.n - 1, bool)
    for key in keys:
        changes |= block.values[key][1:] != block.values[key][:-1]
    return np.split(ids, np.flatnonzero(changes) + 1)


def _take(column: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Entries at ascending places, without a copy if these are all."""
    return column if len(place) == len(column) else column[place]


def _join(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns one after the other, a single one without a copy."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of some of ascending ids."""
    return wanted - ids[0] if len(ids) == ids[-1] - ids[0] + 1 else np.searchsorted(ids, wanted)


def _words(population: Population) -> str:
    return {"input": "inputs", "current": "current generators", "recurrent": "e-prop neurons"}.get(
        population.role, "readouts"
    )
