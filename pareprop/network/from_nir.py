"""Make a model from a graph of NIR: its neurons and readouts become populations, its weights and delays projections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, describe, quote
from ..neurons import library
from ..values import Foreign, Later, Values
from . import nir_nodes
from .connectivity import Population
from .parameters import FLOAT_MAX, is_number, normalize_value

CELLS = ("Input", "LIF", "CubaLIF", "LI")
BETWEEN = ("Linear", "Affine", "Delay")
KNOWN = (*CELLS, "Output", *BETWEEN)
NEURONS = ("iaf_psc_delta", "iaf")  # models that a node LIF may become


class Graph:
    """A graph of NIR, read from a file and checked: all of its nodes are supported.

    `InputError` names the file, and the node that is wrong or not supported.
    """

    def __init__(self, path: Path) -> None:
        nir = nir_nodes.load()
        self.path, self._used = path, set[str]()
        try:
            with files.open_hdf5(path):
                pass
            graph = nir.read(path)
        except OSError as problem:
            raise InputError(f"{path}: {problem.strerror or describe(problem)}") from None
        except Exception as problem:  # a foreign package may raise anything
            raise InputError(f"{path} is not a graph of NIR: {describe(problem)}") from None
        places = {name: node.metadata.get(nir_nodes.ORDER) for name, node in graph.nodes.items()}
        order = sorted(places, key=lambda name: places[name] if is_number(places[name]) else np.inf)
        self.nodes, self.metadata = {name: graph.nodes[name] for name in order}, dict(graph.metadata)
        self.edges = list(dict.fromkeys(map(tuple, graph.edges)))
        for name, node in self.nodes.items():
            kind, shape = self.find_kind(name), next(iter(node.input_type.values()))
            if kind not in KNOWN:
                raise InputError(f"{self.name_node(name)}: {kind} is not supported (known: {', '.join(KNOWN)})")
            if np.size(shape) != 1:
                raise InputError(f"{self.name_node(name)}: has shape {np.asarray(shape).tolist()}, must be (n,)")
            for key, value in vars(node).items():
                if isinstance(value, np.ndarray) and value.dtype.kind not in "iuf":
                    raise InputError(f"{self.name_node(name)}: {key} must be numbers, is of type {value.dtype}")

    def name_node(self, name: str) -> str:
        """Return the start of a message on a node."""
        return f"{self.path}: node {quote(name)}"

    def find_kind(self, name: str) -> str:
        """Return the type of a node."""
        return type(self.nodes[name]).__name__

    def count_cells(self, name: str) -> int:
        """Return the number of cells of a node."""
        return int(np.ravel(next(iter(self.nodes[name].output_type.values())))[0])

    def list_predecessors(self, name: str) -> list[str]:
        """Return the nodes from which edges lead to a node."""
        return [pre for pre, post in self.edges if post == name]

    def yield_paths(self, post: str) -> Iterator[tuple[str, np.ndarray, Foreign, np.ndarray]]:
        """Yield all paths that lead to a node: source, delays before the weights, weights (None: 1), delays after them.

        Delays are in s, (n_sources,) and (n_targets,).
        """
        for name in self.list_predecessors(post):
            behind = np.zeros(self.count_cells(post))
            if self.find_kind(name) == "Delay":
                self._used.add(name)
                behind, names = np.asarray(self.nodes[name].delay, float), self.list_predecessors(name)
            else:
                names = [name]
            for weights in names:
                if self.find_kind(weights) not in ("Linear", "Affine"):
                    yield self._require_source(weights), np.zeros(self.count_cells(weights)), None, behind
                    continue
                for pre in self.list_predecessors(weights):
                    self._used |= {pre, weights}
                    ahead, ends = np.zeros(self.count_cells(pre)), [pre]
                    if self.find_kind(pre) == "Delay":
                        ahead, ends = np.asarray(self.nodes[pre].delay, float), self.list_predecessors(pre)
                    for end in ends:
                        yield self._require_source(end), ahead, self.nodes[weights], behind

    def require_all_used(self) -> None:
        """Raise `InputError` if weights or delays are on no path, such as nodes in front of an Output."""
        for name in self.nodes:
            after = [self.find_kind(post) for pre, post in self.edges if pre == name]
            if self.find_kind(name) in BETWEEN and (name not in self._used or "Output" in after):
                raise InputError(
                    f"{self.name_node(name)}: {self.find_kind(name)} must lie between cells ({', '.join(CELLS)})"
                )

    def _require_source(self, name: str) -> str:
        if self.find_kind(name) not in ("Input", "LIF", "CubaLIF"):
            wanted = (
                "Output alone" if self.find_kind(name) == "LI" else "neurons, not to another node of weights or delays"
            )
            raise InputError(f"{self.name_node(name)}: {self.find_kind(name)} must lead to {wanted}")
        return name

    def find_step(self, dt_ms: float | None) -> float:
        """Return the step in ms: the given one, or the step in the file."""
        if dt_ms is None and "dt_ms" not in self.metadata:
            raise InputError(f"{self.path}: does not say for which step it is; give dt_ms")
        dt = self.metadata["dt_ms"] if dt_ms is None else dt_ms
        if not is_number(dt) or not 0 < normalize_value(dt) <= FLOAT_MAX:
            origin = f"{self.path}: metadata: " if dt_ms is None else ""
            raise InputError(f"{origin}dt_ms = {quote(dt)} must be a number above 0 and finite")
        return float(normalize_value(dt))


def add_graph(model: Later, graph: Graph, neuron: str) -> None:
    """Add all populations and projections of a graph to a model without populations; `neuron` is one of `NEURONS`."""
    if neuron not in NEURONS:
        raise InputError(f"neuron = {quote(neuron)} must be {' or '.join(map(repr, NEURONS))}")
    cells: dict[str, Population] = {}
    known = {
        name: nir_nodes.convert_node(graph.name_node(name), node, model.dt_ms)
        for name, node in graph.nodes.items()
        if graph.find_kind(name) in ("LIF", "CubaLIF", "LI")
    }
    synapses: dict[str, dict[str, list[tuple[np.ndarray, ...]]]] = {}
    for name, (kind, values, factor, current) in known.items():
        synapses[name], bias = _collect_synapses(graph, name, factor, model.dt_ms)
        if np.any(bias):
            if np.any(np.isnan(current)):
                raise InputError(f"{graph.name_node(name)}: a bias of weights onto CubaLIF is not supported")
            values["I_e"] = nir_nodes.reduce_shared(nir_nodes.round_digits(bias * current))
        if kind == "readout" and (own := [key for key, value in values.items() if np.ndim(value)]):
            raise InputError(
                f"{graph.name_node(name)}: {own[0]} must be the same for all of its cells, which are readouts"
            )
    graph.require_all_used()
    for name in graph.nodes:
        if graph.find_kind(name) == "Input":
            cells[name] = model.inputs(name, graph.count_cells(name))
    for name, (kind, values, *_) in known.items():
        if kind == "readout":
            cells[name] = model.readouts(name, graph.count_cells(name), **values)
        else:
            cells[name] = _add_neurons(
                model, name, graph.count_cells(name), neuron if kind == NEURONS[0] else kind, values
            )
    for name, sources in synapses.items():
        for pre, columns in sources.items():
            source, target, delay, weight = map(np.concatenate, zip(*columns, strict=True))
            order = np.lexsort((delay, source, target))
            ends = {"source": source[order], "target": target[order]}
            model.connect(cells[pre], cells[name], "explicit", delay=delay[order], weight=weight[order], **ends)


def _add_neurons(model: Later, name: str, size: int, kind: str, values: Values) -> Population:
    if kind == "iaf":
        values = {key: value for key, value in values.items() if key != "V_reset"}
        model.notes.append(f"population {quote(name)}: {nir_nodes.SUBTRACTS}")
    known = kind in model.eprop.neurons  # the interval variant has iaf_psc_delta only as equations
    return model.neurons(name, size, kind if known else library.get_definition(kind), t_ref=0.0, **values)


def _collect_synapses(
    graph: Graph, post: str, factor: np.ndarray, dt_ms: float
) -> tuple[dict[str, list[tuple[np.ndarray, ...]]], np.ndarray]:
    """Return the synapses onto a node by source (source, target, delay in steps, weight), and the node's bias."""
    synapses: dict[str, list[tuple[np.ndarray, ...]]] = {}
    bias = np.zeros(len(factor))
    biased: set[int] = set()
    for pre, ahead, node, behind in graph.yield_paths(post):
        n_pre, n_post = len(ahead), len(behind)
        weight = np.eye(n_post) if node is None else np.asarray(node.weight, float)
        own, ends = np.asarray(getattr(node, "bias", np.zeros(n_post)), float), (n_post, n_pre)
        if ends != (len(factor), graph.count_cells(pre)) or weight.shape != ends or own.shape != (n_post,):
            raise InputError(f"{graph.name_node(pre)}: does not fit node {quote(post)}, or what lies between them")
        if id(node) not in biased:
            biased.add(id(node))
            bias += own
        target, source = np.nonzero(weight)
        steps = (ahead[source] + behind[target]) * nir_nodes.MS_PER_S / dt_ms
        whole = np.rint(steps)
        wrong = ~(np.abs(steps - whole) <= 1e-6 * np.maximum(whole, 1.0)) | (steps < 0)
        if np.any(wrong):
            reason = f"a delay of {steps[wrong][0]:g} steps of {dt_ms:g} ms must be whole and at least 0"
            raise InputError(f"{graph.name_node(post)}: {reason}")
        delay = 1 + np.minimum(whole, 2.0**60).astype(np.int64)  # `connect` rejects delays that are too long
        synapses.setdefault(pre, []).append((source, target, delay, weight[target, source] * factor[target]))
    return synapses, bias
