"""`circuit_config.json`: the node and edge files of a network, with the variables of its manifest replaced."""

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
LONGEST = 4096  # characters of a variable of the manifest, as of a path
CONFIGDIR = "configdir"


@dataclass(frozen=True)
class Files:
    """A file of nodes or edges with its table of types.

    Attributes
    ----------
    data : Path
        HDF5 file.
    types : Path or None
        CSV file.
    """

    data: Path
    types: Path | None


@dataclass(frozen=True)
class Circuit:
    """The files of a SONATA network.

    Attributes
    ----------
    path : Path
        Path of the configuration.
    nodes, edges : list of Files
        Files of node and edge populations.
    components : dict
        Folder of each kind of component, such as "point_neuron_models_dir".
    spikes : list of (Path, str)
        Spike files of a simulation's inputs and the populations that they are for.
    """

    path: Path
    nodes: list[Files]
    edges: list[Files]
    components: dict[str, Path]
    spikes: list[tuple[Path, str]]


def read(path: Path) -> Circuit:
    """Read a `circuit_config.json`, or the `simulation_config.json` that names one.

    Raises
    ------
    InputError
        Names the file, the key and what is wrong.
    """
    path = Path(path)
    content, variables = _content(path)
    spikes = []
    for name, entry in _mapping(path, content, "inputs").items():
        if not isinstance(entry, Mapping) or entry.get("input_type") != "spikes" or entry.get("enabled") is False:
            raise InputError(f"{path}: inputs.{name} must be of input_type 'spikes', others are not supported")
        if not isinstance(entry.get("node_set"), str):
            raise InputError(f"{path}: inputs.{name}.node_set = {entry.get('node_set')!r} must name a population")
        spikes.append((_path(path, variables, entry, "input_file", f"inputs.{name}"), entry["node_set"]))
    if "network" in content and "networks" not in content:
        path = _path(path, variables, content, "network", "")
        content, variables = _content(path)
    networks = _mapping(path, content, "networks")
    parts = {
        kind: [
            _files(path, variables, entry, kind, f"networks.{kind}[{number}]")
            for number, entry in enumerate(_list(path, networks, kind))
            if not (isinstance(entry, Mapping) and entry.get("enabled") is False)
        ]
        for kind in ("nodes", "edges")
    }
    if not parts["nodes"]:
        raise InputError(f"{path}: networks.nodes names no file")
    folders = _mapping(path, content, "components")
    components = {key: _path(path, variables, folders, key, "components") for key in folders}
    return Circuit(path, parts["nodes"], parts["edges"], components, spikes)


def _content(path: Path) -> tuple[Values, dict[str, str]]:
    content = load_json(path, SIZE_LIMIT)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold an object")
    return content, _variables(path, _mapping(path, content, "manifest"))


def load_json(path: Path, limit: int = files.TEXT_LIMIT) -> AnyValue:
    """Return what a JSON file of at most `limit` bytes holds; `InputError` names the file."""
    try:
        return json.loads(files.read(path, limit))
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not JSON: {problem}") from None


def _variables(path: Path, manifest: Given) -> dict[str, str]:
    """Return the values of the manifest's variables by name, with variables inside them replaced."""
    values = {name.lstrip("$").strip("{}"): value for name, value in manifest.items()}
    wrong = next((name for name, value in values.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise InputError(f"{path}: manifest.{wrong} = {values[wrong]!r} must be a text")
    for name, value in values.items():
        if len(value) > LONGEST:
            raise InputError(f"{path}: manifest.{name} has more than {LONGEST} characters")
    values[CONFIGDIR] = str(path.parent.resolve())
    try:  # what a value names comes first
        order = [*TopologicalSorter({name: set(_find(value, values)) for name, value in values.items()}).static_order()]
    except CycleError as problem:
        raise InputError(f"{path}: manifest.{problem.args[1][0]} contains itself") from None
    for name in order:
        values[name] = _replace(values[name], values)
        if len(values[name]) > LONGEST:
            raise InputError(f"{path}: manifest.{name} has more than {LONGEST} characters with its variables")
    return values


def _find(text: str, known: Container[str]) -> list[str]:
    """Return the known variables that a text names, as $NAME or ${NAME}."""
    return [name for part in text.split("$")[1:] if (name := _split(part, known)[0])]


def _replace(text: str, variables: Mapping[str, str]) -> str:
    """Replace $NAME and ${NAME} by the values of variables that are known."""
    first, *parts = text.split("$")
    split = (_split(part, variables) for part in parts)
    return first + "".join((variables[name] if name else "$") + rest for name, rest in split)


def _split(part: str, known: Container[str]) -> tuple[str, str]:
    """Return the known variable, or "", and the rest of what follows a dollar, up to the next one.

    $NETWORK is a prefix of $NETWORK_DIR: the longest name counts.
    """
    inside, closed, rest = part[1:].partition("}")
    if part.startswith("{") and closed and inside and inside in known:
        return inside, rest
    n = next((n for n in range(len(part), 0, -1) if part[:n] in known), 0)
    return part[:n], part[n:]


def _path(path: Path, variables: Mapping[str, str], owner: Given, key: str, here: str) -> Path:
    value, name = owner.get(key), f"{here}.{key}".lstrip(".")
    if not isinstance(value, str) or not value:
        raise InputError(f"{path}: {name} = {value!r} must name a file")
    text = _replace(value, variables)
    if "$" in text:
        raise InputError(f"{path}: {name} = {value!r} contains a variable that the manifest has not")
    return path.parent / text


def _files(path: Path, variables: Mapping[str, str], entry: object, kind: str, here: str) -> Files:
    if not isinstance(entry, Mapping):
        raise InputError(f"{path}: {here} must be an object")
    types = f"{kind[:-1]}_types_file"
    table = _path(path, variables, entry, types, here) if entry.get(types) is not None else None
    return Files(_path(path, variables, entry, f"{kind}_file", here), table)


def _mapping(path: Path, owner: Given, key: str) -> Values:
    mapping = owner.get(key) or {}
    if not isinstance(mapping, dict):
        raise InputError(f"{path}: {key} must be an object")
    return mapping


def _list(path: Path, owner: Given, key: str) -> list[AnyValue]:
    entries = owner.get(key) or []
    if not isinstance(entries, list):
        raise InputError(f"{path}: networks.{key} must be a list")
    return entries
