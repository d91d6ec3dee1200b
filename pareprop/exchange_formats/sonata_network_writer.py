"""Export the network of a run in the SONATA format (Dai et al. 2020), as libsonata, bmtk and NEST read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError
from ..later import h5py
from ..network import of_nest
from ..network.connectivity import Population, Projection
from ..network.local import draw_cell_values
from ..network.model import Model
from ..network.parameters import Distribution
from ..sonata.edge_files import SHORT_TERM
from ..storage.disk import fill_folder, output_errors, write_hdf5
from ..storage.opened import RunResults
from ..values import AnyValue, Values
from .export_checks import require_empty
from .sonata_spikes_writer import MAGIC, VERSION

BLOCK = 2**20  # edges copied at a time
NODE_FILES = {"nodes_file": "nodes.h5", "node_types_file": "node_types.csv"}
EDGE_FILES = {"edges_file": "edges.h5", "edge_types_file": "edge_types.csv"}
EDGE_TYPE = "chemical"  # as libsonata calls synapses


def export_network(results: Path, model: Model, folder: Path) -> dict[str, int]:
    """Write nodes, edges with final weights, tables and `circuit_config.json` into an empty or new folder.

    Inputs, neurons and the projections onto neurons are written; readouts have no counterpart in SONATA. `model` is the
    network of the run's configuration. Return the number of edges of each edge population.
    """
    require_empty(folder)
    model.copy_parameters(RunResults(results.parent))
    with files.open_results(results) as file:
        files.require_weights(file)
        _check_results(file, model)
        with output_errors(folder), fill_folder(folder) as part:
            return _write_network(file, model, part)


def _list_written(model: Model) -> list[Projection]:
    return [
        item for item in model.projections if item.pre.role in ("input", "recurrent") and item.post.role == "recurrent"
    ]


def _check_results(file: h5py.File, model: Model) -> None:
    """Raise `InputError` unless the results fit the populations and projections of the model."""
    for cells in model.of_role("input", "recurrent"):
        if (equations := _find_equations(model, cells)) and equations.nest not in of_nest.WRITTEN:
            here = f"population '{cells.name}': model '{cells.model}'"
            written = ", ".join(name.removeprefix("eprop_") for name in of_nest.WRITTEN)
            raise InputError(f"{here} is a custom model; SONATA files can hold NEST's {written}")
        known = file.get(f"populations/{cells.name}")
        if known is not None and (size := int(known.attrs["size"])) != cells.size:
            reason = f"population '{cells.name}' has {size} cells, the configuration {cells.size}"
            raise InputError(f"{file.filename}: {reason}")
    for item in _list_written(model):
        for key, value in item.transmission or ():
            if value is not None and (np.ndim(value) or isinstance(value, Distribution)):
                here = f"projection '{item.name}': transmission: {key}"
                raise InputError(f"{here} differs by source: SONATA files can hold one value for all")
        group = file.get(f"projections/{item.name}")
        if group is None or "weight" not in group:
            raise InputError(f"{file.filename}: no weights of projection '{item.name}'")
        shapes = {key: group[key].shape for key in ("source", "target", "delay", "weight")}
        if len(set(shapes.values())) > 1 or len(shapes["weight"]) != 1:
            reason = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
            raise InputError(f"{file.filename}: synapses of '{item.name}' have shapes {reason}, must be equal, (n,)")


def _write_network(file: h5py.File, model: Model, folder: Path) -> dict[str, int]:
    for name in ("network", "components/point_neuron", "components/synapse"):
        (folder / name).mkdir(parents=True)
    cells = model.of_role("input", "recurrent")
    nodes: list[Values] = [_write_nodes(model, population, number, folder) for number, population in enumerate(cells)]
    edges: list[Values] = []
    counts: dict[str, int] = {}
    for item in _list_written(model):
        group = file[f"projections/{item.name}"]
        name = f"{item.pre.name}_to_{item.post.name}"
        name += f"_{sum(other.startswith(name) for other in counts) + 1}" if name in counts else ""
        edges.append(_write_edges(model, item, group, name, len(edges), folder))
        counts[name] = len(group["weight"])
    write_circuit(folder, nodes, edges, {"point_neuron_models_dir": "point_neuron", "synaptic_models_dir": "synapse"})
    return counts


def write_circuit(folder: Path, nodes: list[Values], edges: list[Values], components: dict[str, str]) -> None:
    """Write `circuit_config.json`, with files in `network` and folders of components in `components`.

    libsonata and NEST take "." as the folder of the file, and lack `${configdir}`; `target_simulator` belongs to
    configurations of simulations, libsonata refuses NEST in a circuit.
    """
    content = {
        "manifest": {"$NETWORK_DIR": "./network", "$COMPONENTS_DIR": "./components"},
        "components": {key: f"$COMPONENTS_DIR/{name}" for key, name in components.items()},
        "networks": {"nodes": nodes, "edges": edges},
    }
    (folder / "circuit_config.json").write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def _create_file(path: Path) -> Iterator[h5py.File]:
    with write_hdf5(path) as file:
        file.attrs["magic"], file.attrs["version"] = np.uint32(MAGIC), np.array(VERSION, np.uint32)
        yield file


def _write_table(path: Path, rows: list[Values]) -> None:
    """Write a table of types with single blanks between fields: bmtk splits at each blank."""
    path.write_text("".join(f"{' '.join(map(str, line))}\n" for line in (rows[0], *(row.values() for row in rows))))


def _write_nodes(model: Model, population: Population, number: int, folder: Path) -> Values:
    """Write a population with a type for each sign; `number` makes type ids unique in the network, as bmtk requires."""
    name, n = population.name, population.size
    sign = np.zeros(n, np.int8) if population.sign is None else population.sign
    values = {} if population.role == "input" else _collect_parameters(model, population)
    uniform = {key: value for key, value in values.items() if not isinstance(value, np.ndarray)}
    with _create_file(folder / f"network/{name}_nodes.h5") as file:
        group, ids = file.create_group(f"nodes/{name}"), np.arange(n, dtype=np.uint64)
        group["node_id"], group["node_type_id"] = ids, (3 * number + 1 + sign).astype(np.uint64)
        group["node_group_id"], group["node_group_index"] = np.zeros(n, np.uint32), ids
        own = group.create_group("0")
        for key in values.keys() - uniform.keys():
            own[f"dynamics_params/{key}"] = values[key]
    row = {"population": name, "model_type": "virtual"}
    if population.role == "recurrent":
        (folder / f"components/point_neuron/{name}.json").write_text(json.dumps(uniform) + "\n")
        equations = _find_equations(model, population)
        template = f"nest:{equations.nest}" if equations else f"nest:eprop_{population.model}{model.eprop.nest_suffix}"
        row |= {"model_type": "point_neuron", "model_template": template, "dynamics_params": f"{name}.json"}
    kinds = {-1: "i", 0: "NULL", 1: "e"}
    types = [{"node_type_id": 3 * number + 1 + k, **row, "ei": kinds[k]} for k in np.unique(sign).tolist()]
    _write_table(folder / f"network/{name}_node_types.csv", types)
    files_written = {key: f"$NETWORK_DIR/{name}_{end}" for key, end in NODE_FILES.items()}
    return files_written | {"populations": {name: {"type": row["model_type"]}}}


def _find_equations(model: Model, population: Population) -> AnyValue:
    """Return the equations of a custom model, None for a built-in model of the e-prop variant."""
    return None if population.model in model.eprop.neurons else getattr(population.params, "definition", None)


def _collect_parameters(model: Model, population: Population) -> Values:
    """Return NEST's parameters of a population: one value for all cells, or one number for each cell."""
    parameters: Values = {}
    kind = model.eprop.neurons.get(population.model, type(population.params))
    for key in [key for key in kind.model_fields if hasattr(population.params, key)]:
        value = getattr(population.params, key)
        value = bool(value) if kind.model_fields[key].annotation is bool else value
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            continue
        if isinstance(value, str | bool):
            parameters[key] = value
            continue
        drawn = draw_cell_values(model, population, key, value, 0, population.size)
        parameters[key] = float(drawn[0]) if np.all(drawn == drawn[0]) else drawn
    equations = _find_equations(model, population)
    return of_nest.convert_to_nest(equations, parameters) if equations else parameters


def _write_edges(model: Model, item: Projection, group: h5py.Group, name: str, number: int, folder: Path) -> Values:
    n, port, synapse, receptor = len(group["weight"]), item.post.ports[item.port_index], "static", {}
    if port.startswith(of_nest.RECEPTOR):
        synapse, receptor = port, {"receptor_type": item.port_index + 1}
    values = {key: value for key, value in item.transmission or () if value is not None}
    if values:
        synapse, values = name, {"u": values["U"], "x": 1.0} | values
    (folder / f"components/synapse/{synapse}.json").write_text(json.dumps(receptor | values) + "\n")
    sign = _find_sign(model, item.post, port)
    with _create_file(folder / f"network/{name}_edges.h5") as file:
        out = file.create_group(f"edges/{name}")
        kinds = {
            "source_node_id": "u8",
            "target_node_id": "u8",
            "edge_type_id": "u4",
            "edge_group_id": "u2",
            "edge_group_index": "u8",
            "0/syn_weight": "f8",
            "0/delay": "f8",
        }
        data = {key: out.create_dataset(key, (n,), kind) for key, kind in kinds.items()}
        for end, population in (("source", item.pre), ("target", item.post)):
            data[f"{end}_node_id"].attrs["node_population"] = population.name
        counts = np.zeros(item.post.size, np.int64)
        for start in range(0, n, BLOCK):
            part = slice(start, min(start + BLOCK, n))
            source, target = group["source"][part], group["target"][part]
            if len(source) and not 0 <= source.min() <= source.max() < item.pre.size:
                raise InputError(f"{group.file.filename}: '{group.name}/source' names more than {item.pre.size} cells")
            counts += np.bincount(target, minlength=len(counts))
            data["source_node_id"][part], data["target_node_id"][part] = source, target
            data["edge_group_index"][part], data["edge_type_id"][part] = np.arange(part.start, part.stop), number
            data["0/syn_weight"][part] = weight = group["weight"][part]
            data["0/delay"][part] = group["delay"][part] * model.dt_ms
            if len(wrong := np.flatnonzero(weight * sign < 0)):
                here = f"{group.file.filename}: projection '{item.name}': weight = {weight[wrong[0]]:g}"
                bound = "above 0 arrive at port 'exc', weights below 0 at 'inh'"
                raise InputError(f"{here} is of port '{port}': in SONATA files weights {bound}")
        _write_index(out.create_group("indices/target_to_source"), counts)
    row = {"edge_type_id": number, "population": name, "model_template": SHORT_TERM if values else "static_synapse"}
    _write_table(folder / f"network/{name}_edge_types.csv", [row | {"dynamics_params": f"{synapse}.json"}])
    files_written = {key: f"$NETWORK_DIR/{name}_{end}" for key, end in EDGE_FILES.items()}
    return files_written | {"populations": {name: {"type": EDGE_TYPE}}}


def _find_sign(model: Model, post: Population, port: str) -> int:
    """Return the sign that weights at a port must have in NEST, 0 if the sign does not matter."""
    if post.ports != ("exc", "inh"):
        return 0
    values = _collect_parameters(model, post)
    return 0 if np.array_equal(values["tau_syn_ex"], values["tau_syn_in"]) else 1 if port == "exc" else -1


def _write_index(group: h5py.Group, counts: np.ndarray) -> None:
    """Write the index of edges sorted by target, under both names in use; the second name is a link."""
    stops = np.cumsum(counts)
    some = np.flatnonzero(counts)
    group["range_to_edge_id"] = np.stack([stops[some] - counts[some], stops[some]], axis=1).astype(np.uint64)
    ranges = np.zeros((len(counts), 2), np.uint64)
    ranges[some] = np.stack([np.arange(len(some)), np.arange(1, len(some) + 1)], axis=1)
    group["node_id_to_ranges"] = ranges
    group["node_id_to_range"] = group["node_id_to_ranges"]
