"""Write trained weights back: a copy of the SONATA network that a run began with, with its final weights.

Nodes, models, types, other values of edges and the order of the edges stay as they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError
from ..later import h5py
from ..machine import require_bytes
from ..network.of_nest import RECEPTOR
from ..sonata import circuit, edge_files, hdf5, nodes
from ..sonata.edges import Edges
from ..storage.disk import fill_folder, output_errors, write_hdf5
from ..values import Values
from .export_checks import require_empty
from .sonata_network_writer import EDGE_TYPE, write_circuit

EDGE_BYTES = 200  # memory for an edge while its population is compared and written
COLUMNS = ("target", "source", "delay", "weight")


def export_weights(results: Path, given: Path, folder: Path) -> dict[str, int]:
    """Write a copy of the network `given`, with the final weights of a run, into an empty or new folder.

    `given` is the `circuit_config.json` of the network that the run began with, or a `simulation_config.json` that
    names it. Return the number of edges of each edge population.
    """
    require_empty(folder)
    network = circuit.read(given)
    cells = nodes.read(network)
    sizes = {item.name: item.size for item in cells}
    types = {item.name: "virtual" if item.virtual else nodes.POINT[0] for item in cells}
    with files.open_results(results) as file:
        files.require_weights(file)
        dt_ms = float(file.attrs["dt_ms"])
        # if the defaults do not fit, the comparison raises an error
        read = edge_files.read(network, sizes, dt_ms, True, default_weight=0.0, default_delay=dt_ms)
        with output_errors(folder), fill_folder(folder) as part:
            copies = _copy_network(network, types, part)
            for edges in read:
                changed = _find_changes(file, edges)
                with write_hdf5(copies[edges.path], "r+") as out:
                    _write_weights(out[f"edges/{edges.name}"], edges, *changed)
    return {edges.name: edges.n_edges for edges in read}


def _copy_network(network: circuit.Circuit, types: dict[str, str], folder: Path) -> dict[Path, Path]:
    """Copy all files of a circuit and write its configuration, with the types of its nodes; return the copies."""
    copies: dict[Path, Path] = {}
    (folder / "network").mkdir()

    def copy_file(path: Path | None) -> str | None:
        if path is None:
            return None
        if path not in copies:
            taken = {copy.name for copy in copies.values()}
            copies[path] = folder / "network" / (f"{len(copies)}_{path.name}" if path.name in taken else path.name)
            shutil.copyfile(path, copies[path])
        return f"$NETWORK_DIR/{copies[path].name}"

    def describe_files(kind: str, item: circuit.Files) -> Values:
        with hdf5.open_file(item.data) as file:
            populations = {name: {"type": types[name] if kind == "node" else EDGE_TYPE} for name in file[f"{kind}s"]}
        table = {} if item.types is None else {f"{kind}_types_file": copy_file(item.types)}
        return {f"{kind}s_file": copy_file(item.data), **table, "populations": populations}

    nodes = [describe_files("node", item) for item in network.nodes]
    edges = [describe_files("edge", item) for item in network.edges]
    components = {key: key.removesuffix("_dir") for key, path in network.components.items() if path.is_dir()}
    for key, name in components.items():
        shutil.copytree(network.components[key], folder / "components" / name)
    write_circuit(folder, nodes, edges, components)
    return copies


def _find_changes(file: h5py.File, edges: Edges) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the weight of each edge, in the order of its file, and its delay in ms if delays were learned."""
    require_bytes(EDGE_BYTES * edges.n_edges, f"{edges.path}: edge population '{edges.name}'")
    here = f"{file.filename}: edge population '{edges.name}'"
    groups = [group for group in file["projections"].values() if _has_edges_of(group, edges.name)]
    if any("source_initial" in group for group in groups):
        raise InputError(f"{here}: its synapses moved to other sources; --network writes a new network with them")
    with hdf5.open_file(edges.path) as given:
        kinds = hdf5.find_dataset(given[f"edges/{edges.name}"], "edge_type_id")
        kind = np.zeros(edges.n_edges, np.int64) if kinds is None else hdf5.to_int64(hdf5.read_whole(kinds))
    piece = edges.read_rows(0, edges.n_edges)
    before = [getattr(piece, name) for name in COLUMNS]
    began = [np.concatenate([_read_initial(group, name) for group in groups] or [np.zeros(0)]) for name in COLUMNS]
    parts = [_find_part(group, len(groups)) for group in groups]
    of_run = np.repeat(parts, [len(group["weight"]) for group in groups]).astype(np.int64)
    of_file = np.zeros(len(kind), np.int64)
    if len(groups) > 1:
        of_receptor = np.array([edges.receptors.get(k, 0) for k in range(int(kind.max(initial=0)) + 1)])
        of_file = of_receptor[kind] if edges.receptors else np.where(piece.weight >= 0, 1, -1)
    # the order in which a rank sorts edges; edges of one pair and delay stay in the order of the file
    order, own = (np.lexsort((c[2], c[1], c[0], part)) for c, part in ((before, of_file), (began, of_run)))
    if len(order) != len(own):
        raise InputError(f"{here}: has {len(order)} edges in {edges.path}, the run began with {len(own)}")
    for name, values, others in zip(COLUMNS, before, began, strict=True):
        number_type = np.float32 if name == "weight" else np.int64  # a run in single precision rounds weights
        wrong = np.flatnonzero(values[order].astype(number_type) != others[own].astype(number_type))
        if len(wrong):
            edge, other = order[wrong[0]], others[own[wrong[0]]]
            what = f"{name} {values[edge]:g} of edge {edge} in {edges.path}, the run began with {other:g}"
            raise InputError(f"{here}: {what}: this is another network, or it was read with other options")
    after = np.empty((2, len(order)))
    for k, name in enumerate(("weight", "delay")):
        after[k, order] = np.concatenate([group[name][()] for group in groups] or [np.zeros(0)])[own]
    learned = any("delay_initial" in group for group in groups)
    return after[0], after[1] * edges.dt_ms if learned else None


def _has_edges_of(group: h5py.Group, name: str) -> bool:
    """Return whether a projection has all edges of a population, or its edges onto one port of the targets."""
    return group.name.rpartition("/")[2] in (name, f"{name}_{group.attrs.get('port', '')}")


def _read_initial(group: h5py.Group, name: str) -> np.ndarray:
    return group[f"{name}_initial" if f"{name}_initial" in group else name][()]


def _find_part(group: h5py.Group, n_parts: int) -> int:
    """Return the receptor, or the sign of weights, of the edges at a projection's port; 0 if it has all edges."""
    port = str(group.attrs.get("port", ""))
    return 0 if n_parts == 1 else int(port.removeprefix(RECEPTOR)) if RECEPTOR in port else 1 if port == "exc" else -1


def _write_weights(group: h5py.Group, edges: Edges, weight: np.ndarray, delay_ms: np.ndarray | None) -> None:
    """Write weights, and delays, into the groups that hold values of single edges."""
    for key, places in (("edge_group_id", np.zeros(edges.n_edges)), ("edge_group_index", np.arange(edges.n_edges))):
        if key not in group:
            group[key] = places.astype(np.uint64)
    owner, index = (hdf5.to_int64(group[key][()]) for key in ("edge_group_id", "edge_group_index"))
    for number in np.unique(owner):
        own, mine = group.require_group(str(number)), owner == number
        rows = index[mine]
        times = own["nsyns"][()][rows] if "nsyns" in own else np.ones(len(rows))
        if len(np.unique(rows)) < len(rows) or not np.all(times):
            what = "edges share their values" if np.all(times) else "there are edges with nsyns = 0"
            raise InputError(f"{edges.path}: group '{own.name}': {what}, so that weights cannot be written")
        _write_rows(own, "syn_weight", rows, weight[mine] / times)
        if delay_ms is not None:
            _write_rows(own, "delay", rows, delay_ms[mine])


def _write_rows(group: h5py.Group, key: str, rows: np.ndarray, values: np.ndarray) -> None:
    """Write `values` into rows of a column of float64; other rows keep their values."""
    lengths = [len(item) for item in group.values() if isinstance(item, h5py.Dataset)]
    column = np.full(max([int(rows.max()) + 1, *lengths]), np.nan)
    kept = {}
    if key in group:
        column[: len(group[key])], kept = group[key][()], dict(group[key].attrs)
        del group[key]
    column[rows] = values
    group[key] = column
    group[key].attrs.update(kept)
