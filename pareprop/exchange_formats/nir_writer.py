"""Export of a run's network as a NIR graph; `network.nir_nodes` makes the nodes, `Model.from_nir` reads graphs."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from types import ModuleType

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..machine import require_bytes
from ..network import nir_nodes
from ..storage.disk import OutputFile, describe_os_error, output_errors, replace_file
from ..storage.opened import RunResults
from ..values import Values
from .export_checks import list_short_term, list_unwritten, open_network, require_target


def export_network(results: Path, target: Path, overwrite: bool = False) -> list[str]:
    """Write inputs, neurons and readouts as nodes, and the final weights between them, into a file NAME.nir.

    Delays of one step are not written, because simulators of NIR give them to loops; longer delays become nodes Delay
    of the remaining steps. Return a line for each part that is not written, or differs in NIR.
    """
    nir = nir_nodes.load()
    require_target(target, "graph", ".nir", overwrite)
    run = open_network(results, "NIR")
    for name in list_short_term(run):
        raise InputError(f"projection {quote(name)}: short-term plasticity can't be exported to NIR")
    try:
        with files.report_read_errors(results):
            nodes, edges, notes = _collect_nodes(nir, run)
            graph = nir.NIRGraph(nodes, edges, metadata={"dt_ms": float(run.attributes["dt_ms"])})
    except OSError as problem:
        raise InputError(f"{results}: {describe_os_error(problem)}") from None
    with output_errors(target), replace_file(target) as part, OutputFile(part, "w+") as raw, raw.raise_write_errors():
        nir.write(raw, graph)
    return notes


def _collect_nodes(nir: ModuleType, run: RunResults) -> tuple[Values, list[tuple[str, str]], list[str]]:
    """Return nodes, edges and notes."""
    nodes, edges, notes, biases = {}, [], [], {}
    dt = float(run.attributes["dt_ms"])
    about = {name: run.attributes_of(name) for name in run.populations}
    outputs = "readout" if any(item["role"] == "readout" for item in about.values()) else "recurrent"
    for name, item in sorted(about.items(), key=lambda pair: int(pair[1]["order"])):
        role, here = str(item["role"]), f"population {quote(name)}"
        if role == "input":
            nodes[name] = nir.Input(np.array([int(item["size"])]))
        elif role == "readout":
            nodes[name], biases[name], more = nir_nodes.make_readout_node(here, run.parameters(name), dt)
            notes += more
        else:
            values = run.parameters(name)
            nodes[name], biases[name], more = nir_nodes.make_neuron_node(here, str(item["model"]), values, dt)
            notes += more
        nodes[name].metadata = {nir_nodes.ORDER: int(item["order"])}  # files keep names alone in order
        if role == outputs:
            nodes[output := _find_free_name(f"{name}_output", about)] = nir.Output(np.array([int(item["size"])]))
            edges.append((name, output))
    notes += list_unwritten(run)
    for name, ends in _list_projections(run).items():
        pre, post = ends
        if about[pre]["role"] == "readout":
            notes.append(f"not written: projection '{name}', which carries learning signals")
            continue
        matrices, n_summed = _build_matrices(run, name)
        if n_summed:
            notes.append(f"projection '{name}': {n_summed} synapses are added to others of the same ends and delay")
        for delay, weight in matrices:
            node = _find_free_name(f"{pre}_to_{post}", nodes)
            bias = biases.pop(post, None)
            nodes[node] = nir.Linear(weight) if bias is None or not np.any(bias) else nir.Affine(weight, bias)
            before = pre
            if delay > 1:
                before = _find_free_name(f"{node}_delay", nodes)
                seconds = nir_nodes.round_digits(np.full(weight.shape[1], (delay - 1) * dt / nir_nodes.MS_PER_S))
                nodes[before] = nir.Delay(seconds)
                edges.append((pre, before))
            edges += [(before, node), (node, post)]
    for name, bias in biases.items():
        if np.any(bias):
            raise InputError(f"population {quote(name)}: I_e needs a synapse onto it, whose bias it is in NIR")
    return nodes, edges, notes


def _list_projections(run: RunResults) -> dict[str, tuple[str, str]]:
    """Return the names of source and target population of each projection with synapses."""
    with files.open_results(run.path) as file:
        attributes = {name: file[f"projections/{name}"].attrs for name in run.projections}
        projections = {name: (str(item.get("pre")), str(item.get("post"))) for name, item in attributes.items()}
    for name, ends in projections.items():
        for end in ends:
            if end not in run.populations:
                raise InputError(f"{run.path}: projection {quote(name)}: no population {quote(end)}")
    return projections


def _build_matrices(run: RunResults, projection: str) -> tuple[list[tuple[int, np.ndarray]], int]:
    """Return final weights (n_targets, n_sources) for each delay in steps, and how many synapses were summed."""
    (n_pre, n_post), columns = run.sizes_of(projection), run.weights(projection)
    source, target = columns["source"], columns["target"]
    if len(source) and not (0 <= min(source) <= max(source) < n_pre and 0 <= min(target) <= max(target) < n_post):
        raise InputError(f"{run.path}: projection {quote(projection)} names cells that its populations do not have")
    delays = np.unique(columns["delay"])
    what = f"projection {quote(projection)} as {len(delays)} matrices of {n_post} x {n_pre}, one for each delay,"
    require_bytes(8 * len(delays) * n_pre * n_post, what)
    matrices, n_summed = [], 0
    for delay in delays.tolist():
        mine, weight = columns["delay"] == delay, np.zeros((n_post, n_pre))
        np.add.at(weight, (target[mine], source[mine]), columns["weight"][mine])
        matrices.append((delay, weight))
        n_summed += int(np.count_nonzero(mine)) - len(np.unique(target[mine] * n_pre + source[mine]))
    return matrices, n_summed


def _find_free_name(name: str, taken: Container[str]) -> str:
    """Return `name`, with a number if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
