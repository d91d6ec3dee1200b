"""The connections between described nodes as projections of a `Model`."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..network.connectivity import ENDS, Population
from ..network.rule_options import ShortTerm
from ..values import Values
from . import plain
from .catalogue import NodeModel, SynapseModel
from .connections import Bundle
from .devices.base import TrainSource
from .errors import make_refusal
from .models import make_synapse_optimizer
from .network import PopulationNodes, Wiring
from .session import Session


@dataclass(frozen=True)
class ProjectionPart:
    """Connections that become one projection.

    Attributes
    ----------
    pre, post : Group
        Populations at the two ends.
    synapse : SynapseModel
        Model of all of them.
    port : str or None
        Port of the neurons, None where they have only one.
    age : int
        Number of generations before them; synapses of different ages have other histories.
    members : list of tuple
        Number of each bundle, and places of these connections in it.
    """

    pre: PopulationNodes
    post: PopulationNodes
    synapse: SynapseModel
    port: str | None
    age: int
    members: list[tuple[int, np.ndarray]]


class Projections:
    """Projections between the populations of a network, and the trains of Poisson generators, as populations.

    `groups` are the populations of `wiring`, all except Poisson trains. Connections of each generation of `session` are
    kept apart, because they have different histories.
    """

    def __init__(self, wiring: Wiring, groups: list[PopulationNodes], session: Session) -> None:
        self.wiring, self.groups, self.bundles, self.nodes = wiring, groups, session.bundles, session.nodes
        self._synapses, self._generations = session.models.synapses, session.generations
        self._late: dict[str, PopulationNodes] = {}
        self._readout_taus = {readouts.params.tau_m for readouts in wiring.model.of_role("readout")}

    def make_projections(self) -> None:
        """Make all projections; the rates of generators are kept in the wiring."""
        parts: dict[tuple[int, int, str, str | None, int], list[tuple[int, np.ndarray]]] = {}
        for index, bundle in enumerate(self.bundles):
            if bundle.records:
                continue
            age = bisect.bisect_right(self._generations, index)
            rest = np.arange(len(bundle))
            if self.nodes.any_node_passes(bundle.ends[1], is_parrot):
                rest = rest[~self.nodes.test_nodes(bundle.target, is_parrot)]
            if bundle.model.base == "rate_connection_delayed":
                self.wiring.rate_connections.add_connections(
                    bundle, self.nodes.list_end_models(bundle.source[rest], bundle.target[rest])
                )
                continue
            if not len(rest):
                continue
            if self.nodes.any_node_passes(bundle.ends[0], has_trains):
                trains = self.nodes.test_nodes(_take_entries(bundle.source, rest), has_trains)
                if trains.any():
                    self._add_trains(index, bundle, rest[trains])
                rest = rest[~trains]
            for (pre, post), mine in self._split_by_ends(bundle, rest):
                population = self.groups[post].population
                spikes = self.groups[pre].population.role in ("input", "recurrent")
                if len(population.ports) == 1 or not spikes:
                    parts.setdefault((pre, post, bundle.model.name, None, age), []).append((index, mine))
                    continue
                for port, places in plain.split_by_port(population, bundle.weight[mine], bundle.receptor):
                    key = pre, post, bundle.model.name, port, age
                    parts.setdefault(key, []).append((index, _take_entries(mine, places)))
        for (pre, post, name, port, age), members in parts.items():
            self._make_projection(
                ProjectionPart(self.groups[pre], self.groups[post], self._synapses[name], port, age, members)
            )

    def _split_by_ends(self, bundle: Bundle, place: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray]]:
        """Connections of a bundle by the populations of their ends; populations by their place among all."""
        ends = [np.unique(self._owners[ids]).tolist() for ids in bundle.ends]
        if len(ends[0]) == len(ends[1]) == 1 and min(ends)[0] >= 0:
            return [((ends[0][0], ends[1][0]), place)]
        pre, post = (self._find_owners(_take_entries(ids, place)) for ids in (bundle.source, bundle.target))
        n = int(post.max(initial=0)) + 1
        pair = pre * n + post
        return [((k // n, k % n), place[pair == k]) for k in np.flatnonzero(np.bincount(pair)).tolist()]

    @cached_property
    def _owners(self) -> np.ndarray:
        """Index of the population of each node, -1 for nodes of no population."""
        owners = np.full(self.nodes.n + 1, -1, np.int64)
        for place, group in enumerate(self.groups):
            owners[group.ids] = place
        return owners

    def _find_owners(self, ids: np.ndarray) -> np.ndarray:
        owners = self._owners[ids]
        if np.any(owners < 0):
            node = int(ids[owners < 0][0])
            raise make_refusal(
                f"connections of {self.nodes.find_block(node)[0].model.base} (node {node}) to or from e-prop neurons",
                "use parrot neurons, or generators that the page lists",
            )
        return owners

    def _make_projection(self, part: ProjectionPart) -> None:
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for index, place in part.members:
            b = self.bundles[index]
            for column, values in zip(columns, (b.source, b.target, b.weight, b.delay), strict=True):
                column.append(_take_entries(np.broadcast_to(values, len(b)), place))
        source, target, weight, delay = map(_join_columns, columns)
        pre, post, synapse = part.pre.population, part.post.population, part.synapse
        self._check(part, delay)
        if self._crosses_intervals(pre, synapse) and np.any(delay != 1):
            self._split_by_delay(part)
            return
        options: Values = {}
        if synapse.plastic:
            options["optimizer"] = make_synapse_optimizer(synapse)
            self.wiring.plastic = True
        elif pre.role in ("input", "recurrent"):
            options["plastic"] = False
            self.wiring.fixed |= pre.role == "input"
        name = f"{synapse.name}: {pre.name} -> {post.name}{'' if part.port is None else f' ({part.port})'}"
        name += f", made later ({part.age})" if part.age else ""
        options |= {} if part.port is None else {"port": part.port}
        if synapse.is_short_term:
            options["transmission"] = self._find_transmission(part, source)
        self.wiring.model.connect(
            pre,
            post,
            "explicit",
            weight=weight,
            delay=np.ones_like(delay) if pre.name in self.wiring.extra_delays else delay,
            name=name,
            source=_find_places(part.pre.ids, source),
            target=_find_places(part.post.ids, target),
            **options,
        )
        self.wiring.origin[name] = part.members
        if synapse.plastic:
            self.wiring.models[name] = synapse.name

    def _find_transmission(self, part: ProjectionPart, source: np.ndarray) -> ShortTerm:
        """Return short-term plasticity by source, of connections with these sources."""
        values: Values = {}
        place = _find_places(part.pre.ids, source)
        for key in part.synapse.per_synapse_keys:
            column = _join_columns(
                [
                    _take_entries(
                        np.broadcast_to(self.bundles[index].per_synapse[key], len(self.bundles[index])), chosen
                    )
                    for index, chosen in part.members
                ]
            )
            by_source = np.full(len(part.pre.ids), column[0])
            by_source[place] = column
            differs = np.flatnonzero(by_source[place] != column)
            if len(differs):
                raise make_refusal(
                    f"{part.synapse.name} connections of one source (node {source[differs[0]]}) that differ in {key}",
                    "give them the same, or connect them by several models (CopyModel)",
                )
            values[key] = column[0] if np.all(column == column[0]) else by_source
        return part.synapse.make_short_term(values)

    def _crosses_intervals(self, pre: Population, synapse: SynapseModel) -> bool:
        """Whether spikes may be on their way to fixed synapses when an interval ends; these do not lose them."""
        return (
            not self.wiring.model.eprop.is_online
            and not synapse.plastic
            and pre.role == "input"
            and pre.name not in self.wiring.extra_delays
        )

    def _split_by_delay(self, part: ProjectionPart) -> None:
        """Connect by delays: from the inputs, or from inputs that spike as many steps later, all with one step."""
        by_delay: dict[int, list[tuple[int, np.ndarray]]] = {}
        for index, place in part.members:
            bundle = self.bundles[index]
            delay = np.broadcast_to(bundle.delay, len(bundle))[place]
            for d in np.unique(delay).tolist():
                by_delay.setdefault(d, []).append((index, place[delay == d]))
        for d, mine in sorted(by_delay.items()):
            self._make_projection(replace(part, pre=self._get_late_inputs(part.pre, d - 1), members=mine))

    def _get_late_inputs(self, group: PopulationNodes, steps: int) -> PopulationNodes:
        """Return inputs that spike some steps after the inputs of a group."""
        w, name = self.wiring, f"{group.population.name}, {steps} steps late"
        if not steps:
            return group
        if name not in w.extra_delays:
            population = w.model.inputs(name, len(group.ids))
            w.extra_delays[name], self._late[name] = steps, PopulationNodes(population, group.ids)
            sources = w.model.offset(population) + np.arange(len(group.ids))
            if group.population.name == "parrots":
                w.relays.add_links(np.arange(len(group.ids)), sources, np.array(steps))
            else:
                w.links.add_links(group.ids, sources, np.array(steps))
        return self._late[name]

    def _check(self, part: ProjectionPart, delay: np.ndarray) -> None:
        pre, post, synapse = part.pre.population, part.post.population, part.synapse
        if synapse.is_short_term and not self.wiring.model.eprop.is_online:
            raise make_refusal(
                f"{synapse.name} in the interval variant", "use the neurons of the spike variant, such as eprop_iaf"
            )
        if (pre.role, post.role) not in ENDS:
            roles = f"{_name_role(pre)} to {_name_role(post)}"
            raise make_refusal(f"connections from {roles}", "put recurrent e-prop neurons between")
        if (
            not self.wiring.model.eprop.is_online
            and not synapse.plastic
            and pre.role == post.role == "recurrent"
            and np.any(delay != 1)
        ):
            raise make_refusal(
                f"{synapse.name} between e-prop neurons of the interval variant with a delay of several steps",
                "give it one step, or use an e-prop synapse with eta = 0 by CopyModel",
            )
        if synapse.base == "eprop_synapse_bsshslm_2020" and post.role == "recurrent" and self._readout_taus:
            if len(self._readout_taus) > 1:
                raise make_refusal("readouts with different tau_m in the interval variant", "give all the same tau_m")
            (tau,) = self._readout_taus
            for index, place in part.members:
                taus = np.asarray(self.bundles[index].per_synapse["tau_m_readout"])
                taus = taus[place] if taus.ndim else taus
                if np.any(taus != tau):
                    raise make_refusal(
                        f"tau_m_readout = {np.ravel(taus)[0]:g} that is not tau_m = {tau:g} of the readouts",
                        "give the synapses the readouts' tau_m",
                    )
        if synapse.base.startswith("eprop_learning_signal") and np.any(delay != 1):
            raise make_refusal("learning signals with a delay of several steps", "give them one step")

    def _add_trains(self, index: int, bundle: Bundle, place: np.ndarray) -> None:
        """Add a separate spike train for each connection of a Poisson generator."""
        model, n = self.wiring.model, len(place)
        population = model.inputs(f"Poisson trains {index}", n)
        post = self._find_owners(bundle.target[place])
        delay = np.broadcast_to(bundle.delay, len(bundle))[place]
        late = 0 if model.eprop.is_online else delay - 1  # spikes may be on their way when an interval ends
        self.wiring.trains.add_links(bundle.source[place], model.offset(population) + np.arange(n), np.asarray(late))
        delay = delay - late
        for k in np.unique(post):
            mine, group = np.flatnonzero(post == k), self.groups[k]
            if group.population.role != "recurrent":
                role = _name_role(group.population)
                raise make_refusal(f"connections from poisson_generator to {role}", "drive neurons by it")
            self.wiring.fixed = True
            weight = bundle.weight[place]
            for port, some in plain.split_by_port(group.population, weight[mine], bundle.receptor):
                own = mine[some]
                onto = {} if port is None else {"port": port}
                model.connect(
                    population,
                    group.population,
                    "explicit",
                    weight=weight[own],
                    delay=delay[own],
                    name=f"Poisson trains {index} -> {group.population.name}{f' ({port})' if port else ''}",
                    source=own,
                    target=np.searchsorted(group.ids, bundle.target[place][own]),
                    plastic=False,
                    **onto,
                )


def is_parrot(model: NodeModel) -> bool:
    """Whether nodes of a model are parrot neurons."""
    return model.kind == "parrot"


def has_trains(model: NodeModel) -> bool:
    """Return whether each connection of a node of a model gets different spikes."""
    return model.is_a(TrainSource)


def _take_entries(column: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Entries at ascending places, without a copy if these are all."""
    return column if len(place) == len(column) else column[place]


def _join_columns(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns one after the other, a single one without a copy."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _find_places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of some of ascending ids."""
    return wanted - ids[0] if len(ids) == ids[-1] - ids[0] + 1 else np.searchsorted(ids, wanted)


def _name_role(population: Population) -> str:
    return {"input": "inputs", "current": "current generators", "recurrent": "e-prop neurons"}.get(
        population.role, "readouts"
    )
