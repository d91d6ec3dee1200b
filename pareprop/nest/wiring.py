"""From described nodes and connections to a `Model`: before the first step, and again when there are new ones.

Parrot neurons and generators become input populations, e-prop neurons recurrent ones, one for each block of equal
scalar parameters. Connections that only carry targets, learning windows or the sums of a softmax are recognised and
leave the graph. What fits none of this is refused by name.
"""

from __future__ import annotations

from operator import methodcaller

import numpy as np

from ..network.model import Model
from ..network.variants import VARIANTS
from ..values import Values
from . import plain
from .devices.base import CurrentSource, Device, SpikeSource, TrainSource
from .errors import make_refusal, translate_errors
from .models import common_optimizer
from .network import PopulationNodes, Wiring
from .nodes import Block
from .projections import Projections, is_parrot
from .rates import RateConnections
from .session import Session
from .versions import translate_parameters

SPLIT = (
    "surrogate_gradient_function",
    "kappa",
    "kappa_reg",
    "eprop_isi_trace_cutoff",
    "regular_spike_arrival",
    "refractory_input",
)


def wire_network(session: Session, version: str) -> Wiring:
    """Build the description that the package runs, for a script of a version of NEST.

    Raises a `KernelException`: `NotImplemented` if something cannot be represented exactly, `BadProperty` if something
    is wrong.
    """
    return _Wirer(session, version).wiring


class _Wirer:
    def __init__(self, session: Session, version: str) -> None:
        self.nodes, self.bundles, self.kernel, self.version = session.nodes, session.bundles, session.params, version
        self.dt, synapses, bundles, nodes = session.resolution, session.models.synapses, self.bundles, self.nodes
        of_nodes = [block.model.variant for block in nodes.list_blocks_of_kind("neuron", "readout")]
        of_synapses = [bundle.model.variant for bundle in bundles if len(bundle)]
        variants = {*of_nodes, *of_synapses} - {""} or {"spike"}
        if len(variants) != 1:
            raise make_refusal(
                "networks of both variants",
                "simulate one with neurons of one variant, `eprop_iaf*_bsshslm_2020` or the others",
            )
        self.variant = variants.pop()
        learning = [
            synapses[name]
            for name in dict.fromkeys(bundle.model.name for bundle in bundles if bundle.model.plastic and len(bundle))
        ]
        model = Model(self.variant, 1, self.dt, optimizer=common_optimizer(learning, self.variant))
        self.groups: dict[str, list[PopulationNodes]] = {"input": [], "current": [], "recurrent": [], "readout": []}
        recurrent, readouts, parrots = (nodes.list_ids_of_kind(kind) for kind in ("neuron", "readout", "parrot"))
        self.wiring = Wiring(model, recurrent, readouts, parrots, RateConnections(self.variant, readouts))
        self.wiring.average_gradient = any(item.defaults.get("average_gradient") for item in learning)
        with translate_errors():
            self._add_populations()
            self._add_inputs()
            groups = [group for role in self.groups.values() for group in role]
            Projections(self.wiring, groups, session).make_projections()
            self._check_readouts()
        self.wiring.plain = tuple(
            dict.fromkeys(block.model.base for block in nodes.list_blocks_of_kind("neuron") if not block.model.variant)
        )

    # ---- populations -------------------------------------------------------------------------------------------------

    def _add_populations(self) -> None:
        for block in self.nodes.list_blocks_of_kind("neuron", "readout"):
            for ids in _split_block(block):
                self._add_population(block, ids)
        if not self.groups["recurrent"]:  # one that no script sees: parrots and readouts alone are a network, too
            self.wiring.recurrent = np.zeros(1, np.int64)
            nobody = self.wiring.model.neurons("nobody", 1, "iaf")
            self.groups["recurrent"].append(PopulationNodes(nobody, self.wiring.recurrent))

    def _add_population(self, block: Block, ids: np.ndarray) -> None:
        if not block.model.variant:
            self._add_plain(block, ids)
            return
        neuron = block.model.kind == "neuron"
        kind = VARIANTS[self.variant].find_kind(block.model.core)
        local, values = ids - block.first, {}
        for key in kind.model_fields:
            if key in block.values:
                value = block.values[key]
                value = value[local] if isinstance(value, np.ndarray) else value
                same = np.ndim(value) == 0 or np.all(value == value[0])
                values[key] = np.ravel(value)[0] if np.ndim(value) and same else value
        values = self._translate_parameters(values) if neuron else values
        name = f"{block.model.name} {ids[0]}..{ids[-1]}"
        if neuron:
            population = self.wiring.model.neurons(name, len(ids), block.model.core, **values)
        else:
            population = self.wiring.model.readouts(name, len(ids), **values)
        self.groups["recurrent" if neuron else "readout"].append(PopulationNodes(population, ids))

    def _add_plain(self, block: Block, ids: np.ndarray) -> None:
        """Neurons without e-prop, which learn where e-prop synapses are connected."""
        name, local = f"{block.model.name} {ids[0]}..{ids[-1]}", ids - block.first
        values = {
            key: plain.require_shared(key, value) if isinstance(value, list) else value
            for key, value in block.values.items()
        }
        definition, known = plain.find_model(block.model.core, values, name)
        known = {
            key: _one_if_same(value[local] if isinstance(value, np.ndarray) else value) for key, value in known.items()
        }
        population = self.wiring.model.neurons(name, len(ids), definition, **known)
        self.groups["recurrent"].append(PopulationNodes(population, ids))

    def _translate_parameters(self, values: Values) -> Values:
        """Parameters of neurons as the package takes them."""
        averages = self.wiring.average_gradient
        window = round(self.kernel["eprop_learning_window"] / self.dt) if averages else 1
        values = translate_parameters(self.version, values, window)
        if self.kernel["eprop_nest_losses"] and VARIANTS[self.variant].is_online:
            values["f_target"] = values["f_target"] * self.dt  # NEST compares spikes per ms with spikes per step
        return values

    # ---- inputs ------------------------------------------------------------------------------------------------------

    def _add_inputs(self) -> None:
        """Input populations: parrots, generators that reach neurons directly, Poisson trains; and what drives them."""
        w, model = self.wiring, self.wiring.model
        if len(w.parrots):
            self.groups["input"].append(PopulationNodes(model.inputs("parrots", len(w.parrots)), w.parrots))
        direct = self._list_generators(SpikeSource)
        w.direct = direct
        if len(direct):
            population = model.inputs("generators", len(direct))
            self.groups["input"].append(PopulationNodes(population, direct))
            w.links.add_links(direct, model.offset(population) + np.arange(len(direct)), np.array(0))
        for bundle in self.bundles:
            if not self.nodes.any_node_passes(bundle.ends[1], is_parrot):
                continue
            chosen = np.flatnonzero(self.nodes.test_nodes(bundle.target, is_parrot))
            if not all(
                is_parrot(model) or model.is_a(SpikeSource, TrainSource)
                for model in self.nodes.list_models(bundle.source[chosen])
            ):
                raise make_refusal(
                    "spikes from neurons to parrot neurons", "connect generators and parrot neurons to them"
                )
            w.add_parrot_links(bundle, chosen, self.nodes)
        w.currents = self._list_generators(CurrentSource)
        if len(w.currents):
            self.groups["current"].append(PopulationNodes(model.currents("currents", len(w.currents)), w.currents))

    def _list_generators(self, kind: type[Device]) -> np.ndarray:
        """Generators of a class with targets other than parrots."""
        generators = [np.zeros(0, np.int64)]
        for bundle in self.bundles:
            if bundle.records or not self.nodes.any_node_passes(bundle.ends[0], methodcaller("is_a", kind)):
                continue
            mine = self.nodes.test_nodes(bundle.source, methodcaller("is_a", kind))
            mine &= ~self.nodes.test_nodes(bundle.target, is_parrot)
            generators.append(bundle.source[mine])
        return np.unique(np.concatenate(generators))

    def _check_readouts(self) -> None:
        readouts = self.groups["readout"]
        if len({group.population.params.loss for group in readouts}) > 1:
            raise make_refusal("readouts with different losses", "give all readouts the same")
        interval = bool(readouts) and not VARIANTS[self.variant].is_online
        self.wiring.rate_connections.keep_last_links()
        self.wiring.rate_connections.check(interval and readouts[0].population.params.loss == "cross_entropy")


def _one_if_same(value: object) -> object:
    """One number in place of an array of the same."""
    return value[0] if isinstance(value, np.ndarray) and np.all(value == value[0]) else value


def _split_block(block: Block) -> list[np.ndarray]:
    """Runs of nodes of a block that agree in what the package takes as one number for a population."""
    ids = block.first + np.arange(block.n)
    whole = block.values if block.model.kind == "readout" else SPLIT
    keys = [key for key in whole if isinstance(block.values.get(key), np.ndarray)]
    if not keys:
        return [ids]
    changes = np.zeros(block.n - 1, bool)
    for key in keys:
        changes |= block.values[key][1:] != block.values[key][:-1]
    return np.split(ids, np.flatnonzero(changes) + 1)
