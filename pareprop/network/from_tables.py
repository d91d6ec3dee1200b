"""Add populations, projections and more from TOML tables to a `Model`; all problems are reported together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model

from ..errors import VALUE_LIMIT, InputError, quote
from ..neurons.model import NeuronModel
from ..values import AnyValue, Given, Values
from . import learned, parameters
from .background import Background
from .connection import Connection
from .connectivity import MAX_SIZE
from .equations import make_parameters_class
from .model import Model
from .neurons import Neuron
from .perturbations import KINDS, Cut, Perturbation

NEEDED = ("recurrent", "readout")  # roles that a network needs to learn from targets
CELL = {"C_m": 1.0, "E_L": 0.0, "tau_m": 20.0}
POPULATIONS: tuple[Values, ...] = (
    {"name": "in", "role": "input", "size": 20},
    {"name": "rec", "role": "recurrent", "size": 50, "model": "iaf", **CELL, "V_th": 0.6, "c_reg": 1.0},
    {"name": "out", "role": "readout", "size": 1, **CELL},
)
PROJECTIONS: tuple[Values, ...] = (
    {"pre": "in", "post": "rec", "weight": {"mean": 0.0, "std": 0.3}},
    {
        "pre": "rec",
        "post": "rec",
        "rule": "fixed_indegree",
        "indegree": 10,
        "allow_autapses": False,
        "delay": 2,
        "weight": {"mean": 0.0, "std": 0.05},
    },
    {"pre": "rec", "post": "out", "weight": {"mean": 0.0, "std": 0.01}},
    {"pre": "out", "post": "rec", "weight": {"mean": 0.0, "std": 0.1}},
)


class PopulationEntry(parameters.Frozen):
    """Keys of every population's table, next to NEST's parameters of its cells."""

    name: str = Field(min_length=1)
    role: Literal["input", "current", "recurrent", "readout"]
    size: int = Field(ge=1, le=MAX_SIZE)
    model: str = "iaf"
    sign: int | list[int] = 0
    area: str = ""
    learn: dict[str, Any] = Field(default_factory=dict)  # Any: optimizers or tables, which the model checks


def _list_names(value: object) -> list[str]:
    """Return the names of populations from one name or a list."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("must be the name of a population, or a list of names")
    return list(names)


Names = Annotated[list[str], BeforeValidator(_list_names)]


class ProjectionEntry(Connection):
    """Keys of a projection's table: names of populations, and the options of `Model.connect`."""

    pre: Names
    post: Names


class BackgroundEntry(Background):
    """Keys of a background's table: names of populations, and the options of `Model.background`."""

    post: Names


# classes of tables: the target of a perturbation, and the options of its kind
PERTURBATIONS: dict[str, type[Perturbation]] = {
    name: create_model(f"{kind.__name__}Entry", __base__=kind, of=(Names, ...)) for name, kind in KINDS.items()
}


def add_populations(model: Model, entries: Sequence[Given], needed: Collection[str] = NEEDED) -> list[str]:
    """Add the populations of some tables to a model; return a line for each problem.

    `needed` are roles of which there must be at least one population; no readouts if neurons get local readouts.
    """

    def add_entry(here: str, entry: Given) -> None:
        named = f" {quote(entry['name'])}" if isinstance(entry.get("name"), str) else ""
        _add_population(model, entry, here + named)

    problems = _add_each("populations", entries, add_entry)
    there = {population.role for population in model.populations}
    missing = set(needed) - there - {str(entry.get("role")) for entry in entries}
    return problems + [f"populations: one of role '{role}' is missing" for role in sorted(missing)]


def _add_each(name: str, entries: Sequence[Given], add: Callable[[str, Given], None]) -> list[str]:
    """Call `add` with the start of messages and each table; return a line for each problem."""
    problems = []
    for number, entry in enumerate(entries):
        here = f"{name}[{number}]"
        try:
            add(here, entry)
        except InputError as problem:
            problems.append(str(problem) if str(problem).startswith(here) else f"{here}: {problem}")
    return problems


def add_local_readouts(model: Model, entry: Given) -> list[str]:
    """Give neurons local readouts: all neurons, unless `of` names populations; none for an empty table."""
    every = [population.name for population in model.of_role("recurrent")]
    try:
        if entry:
            model.local_readouts(**{"name": "local", "of": every, **entry})
    except InputError as problem:
        return [str(problem)]
    return []


def _add_population(model: Model, entry: Given, here: str) -> None:
    own = {key: entry[key] for key in PopulationEntry.model_fields if key in entry}
    rest = {key: value for key, value in entry.items() if key not in own}
    kind = _find_kind(model, entry, here)
    if own.get("learn") and isinstance(kind, type) and issubclass(kind, Neuron):
        definition, rest = learned.convert_to_equations(kind, rest, here)
        kind = make_parameters_class(definition)
    surrogate = ("surrogate_gradient_function",) if hasattr(kind, "definition") else ()  # no field of the class
    known = [*PopulationEntry.model_fields, *(kind.model_fields if kind else ()), *surrogate]
    unknown = [key for key in rest if key not in known]
    problems = [f"{here}: unknown parameter {quote(key)}{parameters.suggest_name(key, known)}" for key in unknown]
    checked = {key: rest[key] for key in rest if key not in (*unknown, *surrogate)}
    for needed, values in ((PopulationEntry, own), (kind, checked)):
        try:
            if needed:
                parameters.validate_values(needed, values, here)
        except InputError as problem:
            problems.append(str(problem))
    if problems:
        raise InputError("; ".join(problems))
    adding = {"input": model.inputs, "current": model.currents, "recurrent": model.neurons, "readout": model.readouts}
    role, named = own.pop("role"), {key: own.pop(key) for key in ("name", "size")}
    try:
        taken = {"recurrent": own, "input": {key: own[key] for key in ("sign",) if key in own}}
        if own.get("learn") and role != "recurrent":
            raise InputError(f"learn is for neurons, not for role '{role}'")
        if own.get("sign", 0) != 0 and role not in taken:
            raise InputError(f"sign = {own['sign']} is for inputs and neurons, not for role '{role}'")
        if own.get("area") and role != "recurrent":
            raise InputError(f"area = {quote(own['area'])} is for neurons, not for role '{role}'")
        adding[role](**named, **taken.get(role, {}), **rest)
    except InputError as problem:
        raise InputError(f"{here}: {problem}") from None


def _find_kind(model: Model, entry: Given, here: str) -> type[parameters.Frozen] | None:
    """Return the class of the parameters of a population's cells, None if they have none."""
    if entry.get("role") == "readout":
        return model.eprop.readout
    if entry.get("role") != "recurrent":
        return None
    kind = model.find_neuron(str(entry.get("model", "iaf"))[: 2 * VALUE_LIMIT], here)
    if not isinstance(kind, NeuronModel):
        return kind
    surrogate = entry.get("surrogate_gradient_function")
    return make_parameters_class(kind if surrogate is None else kind.with_surrogate(surrogate))


def add_projections(model: Model, entries: Sequence[Given]) -> list[str]:
    """Add the projections of some tables to a model; return a line for each problem."""
    populations = {population.name: population for population in model.populations}

    def add_entry(here: str, entry: Given) -> None:
        if isinstance(edges := entry.get("edges"), Mapping):
            from . import from_sonata

            entry = {**entry, "edges": from_sonata.read_edges(model, edges, here)}
        fields = parameters.validate_values(ProjectionEntry, entry, here)
        _require_known(here, {"pre": fields.pre, "post": fields.post}, populations)
        pairs = list(itertools.product(fields.pre, fields.post))
        if fields.name is not None and len(pairs) > 1:
            raise InputError(f"name = {quote(fields.name)} is for one pre and one post, not for {len(pairs)} pairs")
        for pre, post in pairs:
            model.add_projection(populations[pre], populations[post], fields)

    return _add_each("projections", entries, add_entry)


def _require_known(here: str, ends: Mapping[str, Iterable[str]], populations: Collection[str]) -> None:
    """Raise `InputError` that lists all unknown populations."""
    unknown = [
        f"{here}: {key} = {quote(name)} is not a population{parameters.suggest_name(name, populations)}"
        for key, names in ends.items()
        for name in names
        if name not in populations
    ]
    if unknown:
        raise InputError("; ".join(unknown))


def add_backgrounds(model: Model, entries: Sequence[Given]) -> list[str]:
    """Add the Poisson background of some tables to a model; return a line for each problem."""
    populations = {population.name: population for population in model.populations}

    def add_entry(here: str, entry: Given) -> None:
        fields = parameters.validate_values(BackgroundEntry, entry, here)
        _require_known(here, {"post": fields.post}, populations)
        if fields.name is not None and len(fields.post) > 1:
            raise InputError(f"name = {quote(fields.name)} is for one population, not for {len(fields.post)}")
        for name in fields.post:
            model.add_background(populations[name], fields)

    return _add_each("backgrounds", entries, add_entry)


def add_perturbations(model: Model, entries: Sequence[Given]) -> list[str]:
    """Add the perturbations of some tables to a model; return a line for each problem."""
    populations = {population.name: population for population in model.populations}
    projections = {projection.name: projection for projection in model.projections}

    def add_entry(here: str, entry: Given) -> None:
        kind = entry.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise InputError(f"kind = {quote(kind)} must be one of {', '.join(KINDS)}")
        options = {key: value for key, value in entry.items() if key != "kind"}
        fields: AnyValue = parameters.validate_values(PERTURBATIONS[kind], options, here)
        known: Given = projections if KINDS[kind] is Cut else populations
        for name in [name for name in fields.of if name not in known][:1]:
            what = "projection" if KINDS[kind] is Cut else "population"
            raise InputError(f"of = {quote(name)} is not a {what}{parameters.suggest_name(name, known)}")
        if fields.name is not None and len(fields.of) > 1:
            raise InputError(f"name = {quote(fields.name)} is for one, not for {len(fields.of)}")
        options = {key: getattr(fields, key) for key in KINDS[kind].model_fields}
        for name in fields.of:
            model.add_perturbation(known[name], KINDS[kind](**options))

    return _add_each("perturbations", entries, add_entry)
