"""Export of a run's network as a module of PyTorch: the file `torch_template`, with the run's equations and weights."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..machine import require_bytes
from ..network.variants import Variant, find_variant
from ..storage.disk import output_errors, replace_file
from ..storage.opened import RunResults
from ..values import Values
from . import torch_nodes
from .export_checks import list_short_term, list_unwritten, open_network, require_target

TEMPLATE = Path(__file__).with_name("torch_template.py")
DATA = '\nMODELS: dict[str, Later] = {}\nABOUT = "{}"\nARRAYS: dict[str, Later] = {}\n'  # of the template
Arrays = dict[str, np.ndarray]


def export_network(results: Path, target: Path, overwrite: bool = False) -> list[str]:
    """Write one Python file with the class `Network`, a `torch.nn.Module` with the final weights of a run.

    `target` ends in .py. Return a line for each part that is not written.
    """
    require_target(target, "module", ".py", overwrite, _is_module)
    run = open_network(results, "PyTorch")
    variant = find_variant(run.attributes.get("variant"))
    models: dict[str, list[str]] = {}
    arrays: Arrays = {}
    places = {name: int(run.attributes_of(name)["order"]) for name in run.populations}
    cells = [_describe_population(run, variant, name, models) for name in sorted(places, key=places.__getitem__)]
    for k, (item, values) in enumerate(cells):
        item["values"] = sorted(values)
        arrays |= {f"value/{k}/{name}": value for name, value in values.items()}
    projections, notes = _describe_projections(run, [item for item, _ in cells], arrays)
    roles = {role: [item["name"] for item, _ in cells if item["role"] == role] for role in ("input", "readout")}
    about = {
        "populations": [item for item, _ in cells],
        "projections": projections,
        "inputs": roles["input"],
        "readouts": roles["readout"],
        "neurons": [item["name"] for item, _ in cells if item["model"]],
        "loses_first": not variant.is_online,
        "dt_ms": float(run.attributes["dt_ms"]),
    }
    require_bytes(4 * sum(array.nbytes for array in arrays.values()), f"{target}: the text of the module")
    text = files.read(TEMPLATE).decode()
    assert text.endswith(DATA)
    with output_errors(target), replace_file(target) as part:
        part.write_text(text.removesuffix(DATA) + _write_data(models, about, arrays))
    return notes


def _is_module(path: Path) -> bool:
    """Return whether an export wrote a file, so that it may be replaced."""
    try:
        return path.is_file() and files.read(path, 2**32).decode().startswith(files.read(TEMPLATE).decode()[:80])
    except (OSError, UnicodeDecodeError):
        return False


def _describe_population(
    run: RunResults, variant: Variant, name: str, models: dict[str, list[str]]
) -> tuple[Values, Arrays]:
    """Return the description of a population, and its values, (size,) each; add its model to `models`."""
    about, dt, here = run.attributes_of(name), float(run.attributes["dt_ms"]), f"population {quote(name)}"
    role = str(about["role"])
    item: Values = {"name": name, "role": role, "size": int(about["size"]), "model": ""}
    if role == "input":
        return item, {}
    given = run.parameters(name)
    if role == "readout":
        return item, torch_nodes.compute_readout_constants(given, dt)
    more, values, lines = torch_nodes.describe_neurons(here, variant, str(about["model"]), given, dt)
    models[more["model"]] = lines
    return item | more, values


def _describe_projections(run: RunResults, cells: list[Values], arrays: Arrays) -> tuple[list[Values], list[str]]:
    """Return descriptions of the projections, and notes on parts that are not written; add the synapses to `arrays`."""
    about = {item["name"]: item for item in cells}
    found: list[Values] = []
    notes, short = list_unwritten(run), list_short_term(run)
    with files.open_results(run.path) as file:
        attributes = {name: dict(file[f"projections/{name}"].attrs) for name in run.projections}
    for name, given in attributes.items():
        pre, post, here = str(given["pre"]), str(given["post"]), f"projection {quote(name)}"
        if name in short:
            raise InputError(f"{here}: short-term plasticity can't be exported to PyTorch")
        if about[pre]["role"] == "readout":
            notes.append(f"not written: projection '{name}', which carries learning signals")
            continue
        ports = about[post].get("ports", ["arriving"])
        port = str(given.get("port", ports[0]))
        k, columns = len(found), run.weights(name)
        onto_readouts, key = about[post]["role"] == "readout", name.replace(".", "_")
        found.append({"key": key, "pre": pre, "post": post, "port": port, "onto_readouts": onto_readouts})
        arrays |= {f"{column}/{k}": columns[column].astype(np.int32) for column in ("source", "target", "delay")}
        arrays[f"weight/{k}"] = columns["weight"]
    return found, notes


def _write_data(models: Mapping[str, list[str]], about: Values, arrays: Arrays) -> str:
    """Return the end of the file: equations, descriptions, and arrays as text."""
    lines = [""]
    for model in models.values():
        lines += ["", *model, ""]
    lines += ["", f"MODELS = {{{', '.join(f'{key!r}: {key}' for key in models)}}}"]
    lines += [f"ABOUT = {json.dumps(about)!r}", "ARRAYS = {"]
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        text = base64.b64encode(plain.tobytes()).decode()
        lines.append(f"    {name!r}: ({plain.dtype.name!r}, {plain.shape!r}, {text!r}),")
    return "\n".join([*lines, "}", ""])
