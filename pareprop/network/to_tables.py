"""Turn a `Model` into tables of a configuration, from which `from_tables` makes the same model again.

Long arrays are stored separately; a table then holds a reference `{ array, checksum }`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ..errors import InputError
from ..kernels import checksum
from ..values import AnyValue, Given, Values
from . import from_tables, identity, learning, parameters
from .background import Background
from .connection import Connection
from .connectivity import Population, Projection
from .losses import LOSSES
from .model import Model, equations_of
from .optimizers import Optimizer, make_optimizer
from .perturbations import Applied
from .reward import Reward

FEW = 8  # an array with more values is stored separately
REFERENCE = {"array", "checksum"}
KEYS = ("dt_ms", "optimizer", "loss", "local_readouts", "populations", "projections", "backgrounds", "perturbations")
Tables = Values
Arrays = dict[str, np.ndarray]


def describe_model(model: Model) -> tuple[Tables, Arrays]:
    """Return a model as tables, with the keys `KEYS`, and the arrays to which they refer.

    Raises `InputError` if a part of the model is code, or stays in files, so that tables cannot hold it.
    """
    arrays: Arrays = {}
    equations = equations_of(model)
    for name in sorted(model.shadowing):
        raise InputError(f"'{name}', given by equations, is a model of the package; give yours another name")
    for key, hook in (("loss of firing rates", model.activity), ("hook of learning signals", model.learning_signal)):
        if hook is not None:
            raise _make_script_error(key, hook)
    tables = {
        "dt_ms": model.dt_ms,
        "optimizer": _describe_optimizer(model.optimizer),
        "loss": _describe_loss(model.loss),
        "local_readouts": {} if model.local is None else _normalize_values(model.local.model_dump()),
        "populations": [_describe_population(item, arrays, equations) for item in model.populations],
        "projections": [_describe_projection(model, item, arrays) for item in model.projections],
        "backgrounds": [
            _list_options(Background, item, item.name, arrays) | {"post": item.post.name} for item in model.backgrounds
        ],
        "perturbations": [_describe_perturbation(item, arrays) for item in model.perturbations],
    }
    own = {"variant": model.variant, "seed": model.seed, "precision": model.precision}
    try:
        edges = {item.name: item.edges for item in model.projections if item.edges is not None}
        own_models = {name: item for name, item in equations.items() if name not in model.eprop.neurons}
        known = model.neuron_models | own_models, learning.rules_by_name(model)
        again = build_model({**tables, **own}, arrays, *known, edges)  # `edges` avoids a second read
    except InputError as problem:
        raise InputError(f"its description can't be read again: {problem}") from None
    if changes := identity.list_fact_differences(identity.list_facts(model), identity.list_facts(again)):
        raise InputError(f"its description is not complete: {changes[0]}")
    return tables, arrays


def build_model(
    tables: Given,
    arrays: Mapping[str, np.ndarray],
    neuron_models: Given,
    learning_rules: Given = MappingProxyType({}),
    edges: Given = MappingProxyType({}),
) -> Model:
    """Return the model that tables describe; `InputError` lists all problems of the tables.

    `tables` has the keys of `describe_model`, and `variant`, `seed`, `precision`. `arrays` are the arrays to which they
    refer; `neuron_models` and `learning_rules` are custom models and rules by name; `edges` are the edges of
    projections that are already read.
    """
    given = _restore_arrays({key: tables[key] for key in KEYS}, arrays)
    loss = Reward(**given["loss"]) if given["loss"] else None
    model = Model(
        tables["variant"],
        tables["seed"],
        given["dt_ms"],
        optimizer=make_optimizer(given["optimizer"], "optimizer"),
        precision=tables["precision"],
        loss=loss,
        neuron_models=dict(neuron_models),
        learning_rules=dict(learning_rules),
    )
    local = given["local_readouts"]
    populations = [
        entry | ({"sign": np.asarray(entry["sign"]).tolist()} if "sign" in entry else {})
        for entry in given["populations"]
    ]
    problems = from_tables.add_populations(model, populations, ())
    problems += from_tables.add_local_readouts(model, local)
    read = {name: {"edges": item} for name, item in edges.items()}
    projections = [item | read.get(item["name"], {}) for item in given["projections"]]
    problems += from_tables.add_projections(model, projections)
    problems += from_tables.add_backgrounds(model, given["backgrounds"])
    problems += from_tables.add_perturbations(model, given["perturbations"])
    if problems:
        raise InputError("; ".join(problems[: parameters.PROBLEMS]))
    return model


def _describe_loss(loss: object) -> Values:
    if loss is None or loss in LOSSES.values():
        return {}
    if isinstance(loss, Reward):
        return _normalize_values(dataclasses.asdict(loss))
    raise _make_script_error("loss", loss)


def _make_script_error(key: str, code: object) -> InputError:
    name = identity.format_value(getattr(code, "function", code)).partition("(")[0]
    return InputError(f"its {key} {name} is code of the script")


def _describe_optimizer(optimizer: Optimizer) -> Values:
    """Return the given settings: an optimizer without `batch_size` takes the model's."""
    return {"type": optimizer.type} | _normalize_values(optimizer.model_dump(exclude_unset=True))


def _describe_population(item: Population, arrays: Arrays, equations: Given) -> Values:
    table: Values = {"name": item.name, "role": item.role, "size": item.size}
    if item.role == "recurrent":
        table["model"] = item.model
    if item.area:
        table["area"] = item.area
    if item.sign is not None:
        first = int(item.sign[0])
        table["sign"] = first if np.all(item.sign == first) else _store_array(item.sign, f"{item.name}/sign", arrays)
    definition = getattr(item.params, "definition", None)
    if definition and (item.learn or definition.surrogate != equations[definition.name].surrogate):
        table["surrogate_gradient_function"] = definition.surrogate
    if item.learn:
        table["learn"] = {name: _describe_optimizer(optimizer) for name, optimizer in item.learn.items()}
    values = {} if item.params is None else dict(item.params)
    return table | {
        name: _convert_value(value, f"{item.name}/{name}", arrays)
        for name, value in values.items()
        if value is not None and not (isinstance(value, float) and abs(value) >= parameters.FLOAT_MAX)  # no bound
    }


RESOLVED = ("weight", "learn_delay", "learning_rule")  # options that a run stores with their resolved values


def _describe_projection(model: Model, item: Projection, arrays: Arrays) -> Values:
    if item.edges is not None and model.circuit is None:
        raise InputError("its edges are read from SONATA files by the script")
    if item.synapses is not None:
        raise InputError(f"synapses of projection '{item.name}' come from code of the script")
    table: Values = {"name": item.name, "pre": item.pre.name, "post": item.post.name}
    for name in [name for name in Connection.model_fields if name in item.given.model_fields_set and name != "name"]:
        value = getattr(item if name in RESOLVED else item.given, name)
        if isinstance(value, Optimizer):
            value = _describe_optimizer(value)
        elif name == "edges":
            from . import from_sonata

            value = from_sonata.describe_edges(model, value)
        elif name == "learning_rule":
            value = value and value.name
        if value is not None:
            table[name] = _convert_value(value, f"{item.name}/{name}", arrays)
    return table


def _describe_perturbation(item: Applied, arrays: Arrays) -> Values:
    table = _list_options(type(item.options), item.options, item.name, arrays)
    return {"kind": item.kind, "of": item.of} | table | {"phases": table.get("phases", "all")}


def _list_options(kind: type[parameters.Frozen], given: object, name: str, arrays: Arrays) -> Values:
    """Return the given fields of a description as a table."""
    values = {key: getattr(given, key) for key in kind.model_fields}
    return {key: _convert_value(value, f"{name}/{key}", arrays) for key, value in values.items() if value is not None}


def _convert_value(value: object, name: str, arrays: Arrays) -> AnyValue:
    """Return a value in the form of JSON."""
    if isinstance(value, parameters.Constant):
        return value.value
    if isinstance(value, np.ndarray):
        return _store_array(value, name, arrays)
    if isinstance(value, parameters.Frozen):
        value = {key: item for key, item in value if item is not None and key in value.model_fields_set | {"kind"}}
    if isinstance(value, Mapping):
        return {key: _convert_value(item, f"{name}/{key}", arrays) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple) and len(value) > FEW:
        return _store_array(np.asarray(value), name, arrays)
    return _normalize_values(value)


def _normalize_values(value: object) -> AnyValue:
    if isinstance(value, Mapping):
        return {str(key): _normalize_values(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_normalize_values(item) for item in value]
    return parameters.normalize_value(value)


def _store_array(array: np.ndarray, name: str, arrays: Arrays) -> AnyValue:
    """Return a short array as a list; store a longer one, and return a reference to it."""
    if array.size <= FEW:
        return array.tolist()
    whole = np.ascontiguousarray(array)
    arrays[name] = whole
    return {"array": name, "checksum": f"{checksum.xxh64(whole.reshape(-1).view(np.uint8)):016x}"}


def _restore_arrays(value: object, arrays: Mapping[str, np.ndarray]) -> AnyValue:
    """Return tables with arrays in place of references; `InputError` names an array that is missing or different."""
    if isinstance(value, Mapping):
        if value.keys() != REFERENCE:
            return {key: _restore_arrays(item, arrays) for key, item in value.items()}
        name = value["array"]
        if name not in arrays:
            raise InputError(f"array {name} is missing")
        array = np.ascontiguousarray(arrays[name])
        if f"{checksum.xxh64(array.reshape(-1).view(np.uint8)):016x}" != value["checksum"]:
            raise InputError(f"array {name} is not the one that was written: its checksum differs")
        return array
    if isinstance(value, list | tuple):
        return [_restore_arrays(item, arrays) for item in value]
    return value
