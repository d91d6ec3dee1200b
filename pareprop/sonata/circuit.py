"""`circuit_config.json`: the node and edge files of a network, with the values of the variables of its manifest."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from .. import files
from ..errors import InputError
from ..values import AnyValue, Given, Values

SIZE_LIMIT = 2**24  # bytes
MAX_CHARACTERS = 4096  # characters of a variable of the manifest, as of a path
CONFIGDIR = "configdir"


@dataclass(frozen=True)
class Files:
    """An HDF5 file of nodes or edges, with its CSV table of types if there is one."""

    data: Path
    types: Path | None


@dataclass(frozen=True)
class Circuit:
    """The files of a SONATA network, whose configuration is `path`.

    `nodes` and `edges` have the files of node and edge populations, `components` the folder of each kind of component,
    such as "point_neuron_models_dir". `spikes` has the spike files of a simulation's inputs, each with its population.
    """

    path: Path
    nodes: list[Files]
    edges: list[Files]
    components: dict[str, Path]
    spikes: list[tuple[Path, str]]


def read(path: Path) -> Circuit:
    """Read a `circuit_config.json`, or the `simulation_config.json` that names one."""
    path = Path(path)
    content, variables = _load_content(path)
    spikes = []
    for name, entry in _get_mapping(path, content, "inputs").items():
        if not isinstance(entry, Mapping) or entry.get("input_type") != "spikes" or entry.get("enabled") is False:
            raise InputError(f"{path}: inputs.{name} must be of input_type 'spikes', others are not supported")
        if not isinstance(entry.get("node_set"), str):
            raise InputError(f"{path}: inputs.{name}.node_set = {entry.get('node_set')!r} must name a population")
        spikes.append((_resolve_path(path, variables, entry, "input_file", f"inputs.{name}"), entry["node_set"]))
    if "network" in content and "networks" not in content:
        path = _resolve_path(path, variables, content, "network", "")
        content, variables = _load_content(path)
    networks = _get_mapping(path, content, "networks")
    parts = {
        kind: [
            _resolve_files(path, variables, entry, kind, f"networks.{kind}[{number}]")
            for number, entry in enumerate(_get_list(path, networks, kind))
            if not (isinstance(entry, Mapping) and entry.get("enabled") is False)
        ]
        for kind in ("nodes", "edges")
    }
    if not parts["nodes"]:
        raise InputError(f"{path}: networks.nodes names no file")
    folders = _get_mapping(path, content, "components")
    components = {key: _resolve_path(path, variables, folders, key, "components") for key in folders}
    return Circuit(path, parts["nodes"], parts["edges"], components, spikes)


def _load_content(path: Path) -> tuple[Values, dict[str, str]]:
    content = load_json(path, SIZE_LIMIT)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold an object")
    return content, _resolve_variables(path, _get_mapping(path, content, "manifest"))


def load_json(path: Path, limit: int = files.TEXT_LIMIT) -> AnyValue:
    """Return the content of a JSON file of at most `limit` bytes; `InputError` names the file."""
    try:
        return json.loads(files.read(path, limit))
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not JSON: {problem}") from None


def _resolve_variables(path: Path, manifest: Given) -> dict[str, str]:
    """Return the values of the manifest's variables by name; variables inside values are replaced."""
    values = {name.lstrip("$").strip("{}"): value for name, value in manifest.items()}
    wrong = next((name for name, value in values.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise InputError(f"{path}: manifest.{wrong} = {values[wrong]!r} must be a text")
    for name, value in values.items():
        if len(value) > MAX_CHARACTERS:
            raise InputError(f"{path}: manifest.{name} has more than {MAX_CHARACTERS} characters")
    values[CONFIGDIR] = str(path.parent.resolve())
    try:  # variables inside a value come first
        order = [
            *TopologicalSorter(
                {name: set(_find_variables(value, values)) for name, value in values.items()}
            ).static_order()
        ]
    except CycleError as problem:
        raise InputError(f"{path}: manifest.{problem.args[1][0]} contains itself") from None
    for name in order:
        values[name] = _replace_variables(values[name], values)
        if len(values[name]) > MAX_CHARACTERS:
            raise InputError(f"{path}: manifest.{name} has more than {MAX_CHARACTERS} characters with its variables")
    return values


def _find_variables(text: str, known: Container[str]) -> list[str]:
    """Return the known variables in a text, written $NAME or ${NAME}."""
    return [name for part in text.split("$")[1:] if (name := _split_variable(part, known)[0])]


def _replace_variables(text: str, variables: Mapping[str, str]) -> str:
    """Replace $NAME and ${NAME} of known variables by their values."""
    first, *parts = text.split("$")
    split = (_split_variable(part, variables) for part in parts)
    return first + "".join((variables[name] if name else "$") + rest for name, rest in split)


def _split_variable(part: str, known: Container[str]) -> tuple[str, str]:
    """Split the text after a dollar into the known variable, or "", and the remaining text.

    $NETWORK is a prefix of $NETWORK_DIR: the longest name is chosen.
    """
    inside, closed, rest = part[1:].partition("}")
    if part.startswith("{") and closed and inside and inside in known:
        return inside, rest
    n = next((n for n in range(len(part), 0, -1) if part[:n] in known), 0)
    return part[:n], part[n:]


def _resolve_path(path: Path, variables: Mapping[str, str], owner: Given, key: str, here: str) -> Path:
    value, name = owner.get(key), f"{here}.{key}".lstrip(".")
    if not isinstance(value, str) or not value:
        raise InputError(f"{path}: {name} = {value!r} must name a file")
    text = _replace_variables(value, variables)
    if "$" in text:
        raise InputError(f"{path}: {name} = {value!r} contains a variable that the manifest has not")
    return path.parent / text


def _resolve_files(path: Path, variables: Mapping[str, str], entry: object, kind: str, here: str) -> Files:
    if not isinstance(entry, Mapping):
        raise InputError(f"{path}: {here} must be an object")
    types = f"{kind[:-1]}_types_file"
    table = _resolve_path(path, variables, entry, types, here) if entry.get(types) is not None else None
    return Files(_resolve_path(path, variables, entry, f"{kind}_file", here), table)


def _get_mapping(path: Path, owner: Given, key: str) -> Values:
    mapping = owner.get(key) or {}
    if not isinstance(mapping, dict):
        raise InputError(f"{path}: {key} must be an object")
    return mapping


def _get_list(path: Path, owner: Given, key: str) -> list[AnyValue]:
    entries = owner.get(key) or []
    if not isinstance(entries, list):
        raise InputError(f"{path}: networks.{key} must be a list")
    return entries
