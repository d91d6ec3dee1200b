"""Make a model from a SONATA network: populations of its nodes, projections whose synapses stay in its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, StrictBool

from ..errors import InputError, quote
from ..neurons.model import NeuronModel
from ..sonata import circuit, edge_files, nodes
from ..sonata.edges import Edges
from ..values import AnyValue, Given, Later, Values
from . import of_nest
from .connection import Connection
from .connectivity import Population
from .parameters import Frozen, suggest_name, validate_values

OWN = ("rule", "name", "edges", "delay", "delay_ms", "weight")  # options of connections that the files set
READING = ("round_delays", "default_weight", "default_delay")  # options of reading edges
SUFFIX = "_bsshslm_2020"  # end of NEST's names of neurons of the interval variant
EVERY = "*"  # key of the options of all edge populations


class Options(Frozen):
    """Arguments of `Model.from_sonata`, without the arguments of every model."""

    neuron: str | None
    values: Values
    sign: Literal["source", "weights", "free"]
    round_delays: StrictBool
    default_weight: float | None
    default_delay: float | None = Field(gt=0)
    projections: dict[str, Values]


class EdgesEntry(Frozen):
    """Table of a projection's edges: an edge population of a circuit, or a part of it, with the fields of `Edges`."""

    circuit: Path
    name: str
    part: tuple[Literal["receptor", "sign"], int] | None = None
    round_delays: StrictBool = False
    default_weight: float | None = None
    default_delay: float | None = Field(None, gt=0)


def read_edges(model: Later, given: Given, here: str) -> Edges:
    """Return the edges that a table names."""
    entry = validate_values(EdgesEntry, given, f"{here}: edges")
    sizes = {population.name: population.size for population in model.populations}
    reading = {key: getattr(entry, key) for key in READING}
    found = edge_files.read(circuit.read(entry.circuit), sizes, model.dt_ms, **reading, only=entry.name)
    if not found:
        raise InputError(f"{here}: edges: {entry.circuit}: no edge population {quote(entry.name)}")
    return replace(found[0], part=entry.part)


def describe_edges(model: Later, edges: Edges) -> Values:
    """Return the table of some edges."""
    return {
        "circuit": str(model.circuit.absolute()),
        "name": edges.name,
        "part": edges.part,
        **{key: getattr(edges, key) for key in READING},
    }


def add_circuit(model: Later, path: Path, options: Given) -> None:
    """Add the populations and projections of a circuit to a model; see `Model.from_sonata`."""
    checked = validate_values(Options, options, str(path))
    model.circuit = path
    network = _add_populations(model, path, checked.neuron, checked.values, checked.sign)
    reading = {key: getattr(checked, key) for key in READING}
    _add_projections(model, network, checked.sign, checked.projections, **reading)


def _add_populations(model: Later, path: Path, neuron: str | None, values: Given, sign: str) -> circuit.Circuit:
    """Add the node populations of a circuit; return the circuit."""
    network = circuit.read(path)
    populations = nodes.read(network)
    if sign == "source" and all(population.sign is None for population in populations):
        raise InputError(f"{path}: sign = 'source' needs a column ei in the tables of node types")
    for population in populations:
        own = population.sign if sign == "source" and population.sign is not None else 0
        if population.virtual:
            model.inputs(population.name, population.size, sign=own)
            continue
        kind, type_values = (neuron, population.values) if neuron else _find_model(model, population)
        known = model.eprop.neurons.get(kind) if isinstance(kind, str) else None
        if known and "V_reset" not in known.model_fields:  # eprop_iaf resets by V_th
            type_values = {key: value for key, value in type_values.items() if key != "V_reset"}
        model.neurons(population.name, population.size, kind, sign=own, **{**type_values, **values})
    return network


def _add_projections(
    model: Later, network: circuit.Circuit, sign: str, options: Mapping[str, Given], **reading: AnyValue
) -> None:
    """Add the edge populations of a circuit."""
    populations = {population.name: population for population in model.populations}
    sizes = {name: population.size for name, population in populations.items()}
    read = edge_files.read(network, sizes, model.dt_ms, **reading)
    names = [item.name for item in read]
    known = [key for key in Connection.model_fields if key not in OWN]
    for name in options:
        if name not in (EVERY, *names):
            raise InputError(f"{network.path}: no edge population '{name}'{suggest_name(name, names)}")
        for key in options[name]:
            if key not in known:
                raise InputError(f"{network.path}: projections: unknown option '{key}'{suggest_name(key, known)}")
    for item in read:
        pre, post = populations[item.source], populations[item.target]
        own = {"sign": item.find_source_signs() if sign == "weights" else sign}
        own |= {**options.get(EVERY, {}), **options.get(item.name, {})}
        for name, edges, port in _split_by_port(item, post):
            onto: Values = {} if port is None else {"port": port}
            if item.transmission and "transmission" not in own:
                onto["transmission"] = item.transmission
            model.connect(pre, post, "sonata", edges=edges, name=name, **onto, **own)


def _split_by_port(item: Edges, post: Population) -> list[tuple[str, Edges, str | None]]:
    """Split edges by the port at which they arrive, as NEST does: by receptor type, or by the sign of the weight.

    A weight that later changes its sign stays at its port.
    """
    ports = post.ports
    if ports[0].startswith(of_nest.RECEPTOR):
        parts = item.split_by_receptor()
        if (most := max(parts)) > len(ports):
            raise InputError(
                f"{item.path}: receptor_type = {most} of '{item.name}': neurons of '{post.name}' have {len(ports)}"
            )
        named = [(f"{of_nest.RECEPTOR}{receptor}", part) for receptor, part in parts.items()]
    elif ports == ("exc", "inh"):
        named = [("exc" if sign > 0 else "inh", part) for sign, part in item.split_by_sign().items()]
    else:
        return [(item.name, item, None)]
    return [(item.name if len(named) == 1 else f"{item.name}_{port}", part, port) for port, part in named]


def _find_model(model: Later, population: nodes.Nodes) -> tuple[str | NeuronModel, Values]:
    """Return model and parameters of node types with a template such as "nest:eprop_iaf_bsshslm_2020"."""
    variant, nest = model.eprop, population.template.rpartition(":")[2]
    plain = nest.removeprefix("eprop_")
    name = plain.removesuffix(SUFFIX)
    if name in variant.neurons:
        if nest != plain and nest != f"eprop_{name}{variant.nest_suffix}":
            note = f"{nest} is of the other variant of e-prop; '{name}' of the {variant.name} variant takes its place"
            model.notes.append(f"node population '{population.name}': {note}")
        return name, population.values
    found = of_nest.find_model(plain, population)
    if found is None:
        raise InputError(
            f"node population '{population.name}': model_template = '{population.template}' has no model in variant "
            f"'{variant.name}'{suggest_name(name, model.list_neuron_models())}; neuron= names one"
        )
    return found
