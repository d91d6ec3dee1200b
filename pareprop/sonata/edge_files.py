"""Read the edge populations of a circuit: the properties of each that a projection needs, without the edges."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..errors import InputError, quote
from ..later import h5py
from ..values import Values
from . import hdf5, table
from .circuit import Circuit, Files
from .edges import CHUNK, Edges, convert_to_steps
from .nodes import read_json

SHORT_TERM = "tsodyks2_synapse"  # NEST's synapse with short-term plasticity
SHORT_TERM_DEFAULTS = {"U": 0.5, "tau_rec": 800.0, "tau_fac": 0.0, "x": 1.0}  # its defaults; u is U
MAX_RECEPTOR = 16  # largest receptor type


def read(
    circuit: Circuit,
    sizes: dict[str, int],
    dt_ms: float,
    round_delays: bool = False,
    default_weight: float | None = None,
    default_delay: float | None = None,
    only: str | None = None,
) -> list[Edges]:
    """Return all edge populations of a circuit, or population `only`; `sizes` has the sizes of node populations."""
    all_edges = []
    for files in circuit.edges:
        with hdf5.open_file(files.data) as file:
            populations = hdf5.get_group(file, "edges")
            for name in [name for name in populations if only in (None, name)]:
                options = dt_ms, round_delays, default_weight, default_delay, *_read_synapses(circuit, files, name)
                all_edges.append(_read_population(files, hdf5.get_group(populations, name), name, sizes, *options))
    names = [edges.name for edges in all_edges]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{circuit.path}: edge population '{twice}' is in two files")
    return all_edges


def _read_population(
    files: Files,
    group: h5py.Group,
    name: str,
    sizes: dict[str, int],
    dt_ms: float,
    round_delays: bool,
    default_weight: float | None,
    default_delay: float | None,
    receptors: dict[int, int],
    transmission: Values | None,
) -> Edges:
    ids = [hdf5.get_dataset(group, f"{end}_node_id") for end in ("source", "target")]
    ends = []
    for dataset in ids:
        end = hdf5.to_text(dataset.attrs.get("node_population", ""))
        if end not in sizes:
            raise InputError(f"'{dataset.name}': node_population = '{end}' is not one of {', '.join(sizes)}")
        ends.append(end)
    for key in ("target_node_id", "edge_type_id", "edge_group_id", "edge_group_index"):
        other = hdf5.find_dataset(group, key)
        if other is not None and len(other) != len(ids[0]):
            raise InputError(f"'{other.name}' has {len(other)} values, source_node_id {len(ids[0])}")
    rows = table.read(files.types, "edge_type_id", name) if files.types else {}
    here = f"{files.types}: edge type"
    types = {
        number: (
            table.read_number(row, "syn_weight", f"{here} {number}"),
            table.read_number(row, "delay", f"{here} {number}"),
        )
        for number, row in rows.items()
    }
    groups = tuple(key for key in group if key.isdigit())
    source, target = ends
    edges = Edges(
        files.data,
        name,
        source,
        target,
        sizes[source],
        sizes[target],
        len(ids[0]),
        _find_index(group),
        groups,
        types,
        default_weight,
        default_delay,
        dt_ms,
        round_delays,
        receptors=receptors,
        transmission=transmission,
    )
    return _add_delays(edges, group)


def _read_synapses(circuit: Circuit, files: Files, name: str) -> tuple[dict[int, int], Values | None]:
    """Return the `receptor_type` of edge types whose parameter file has one, and their short-term plasticity."""
    rows = table.read(files.types, "edge_type_id", name) if files.types else {}
    folder, receptors = circuit.components.get("synaptic_models_dir"), {}
    found: list[Values | None] = []
    for number, row in rows.items():
        path = folder / file if folder and (file := row.get("dynamics_params")) else None
        given = read_json(path) if path and path.is_file() else {}
        is_short_term = row.get("model_template", "").rpartition(":")[2] == SHORT_TERM
        parameters = {key: given.get(key, value) for key, value in SHORT_TERM_DEFAULTS.items()}
        found.append({**parameters, "u": given.get("u", parameters["U"])} if is_short_term else None)
        if found[-1] != found[0]:
            raise InputError(f"{files.types}: edge types of '{name}' differ in short-term plasticity: divide them")
        receptor = given.get("receptor_type")
        if receptor is None:
            continue
        if not isinstance(receptor, int) or isinstance(receptor, bool) or not 1 <= receptor <= MAX_RECEPTOR:
            problem = f"receptor_type = {quote(receptor)} must be a whole number in 1 to {MAX_RECEPTOR}"
            raise InputError(f"{path}: {problem}")
        receptors[number] = receptor
    return receptors, found[0] if found else None


def _find_index(group: h5py.Group) -> str:
    """Return the name of the index by target, "" if there is none that can be used."""
    for parent in ("indices", "indicies"):
        index = group.get(f"{parent}/target_to_source")
        if isinstance(index, h5py.Group) and {"node_id_to_ranges", "node_id_to_range"} & set(index):
            return f"{parent}/target_to_source"
    return ""


def _name_row(name: str, first: int, k: int) -> str:
    return f"'{name}' of row {first + k}: delay"


def _repeat_name(words: str, k: int) -> str:
    return words


def _add_delays(edges: Edges, group: h5py.Group) -> Edges:
    """Add the delays that may occur: from groups, which are read in chunks, and from types."""
    possible = [np.zeros(0, np.int64)]
    for key in edges.groups:
        values = hdf5.find_dataset(hdf5.get_group(group, key), "delay", "iuf")
        for start in range(0, 0 if values is None else len(values), CHUNK):
            assert values is not None  # else there are no chunks
            part = values[start : start + CHUNK].astype(float)
            where = partial(_name_row, values.name, start)
            possible.append(np.unique(convert_to_steps(part, edges.dt_ms, edges.round_delays, where)))
    have_delays = [hdf5.find_dataset(hdf5.get_group(group, key), "delay", "iuf") is not None for key in edges.groups]
    if not have_delays or not all(have_delays):
        known = [delay for _, delay in edges.types.values() if delay is not None]
        default = [] if edges.default_delay is None else [edges.default_delay]
        for given, words in ((known, f"edge types of '{edges.name}': delay"), (default, "default_delay")):
            possible.append(
                convert_to_steps(np.array(given), edges.dt_ms, edges.round_delays, partial(_repeat_name, words))
            )
    delays = np.unique(np.concatenate(possible))
    fields = {key: getattr(edges, key) for key in edges.__dataclass_fields__} | {"delays": delays}
    return Edges(**fields)
