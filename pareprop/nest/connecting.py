"""Connecting nodes: checks and connections of `Connect`."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from ..values import AnyValue, Values
from .catalogue import NodeModel, SynapseModel
from .connections import FROM_DEVICES, TO_RECORDERS, Bundle, is_plain, make_bundles, make_single_connection
from .devices.base import CurrentSource, RateSource
from .errors import NESTErrors, make_refusal
from .nodes import NodeCollection
from .rules import BOTH_WAYS
from .session import Session


class CollocatedSynapses:
    """Several synapses of each pair of nodes that a call connects; each of `specs` is one as `Connect` takes it."""

    def __init__(self, *specs: Values) -> None:
        self.specs = specs

    def __len__(self) -> int:
        return len(self.specs)


def connect_nodes(session: Session, pre: object, post: object, conn: object, syn: object) -> None:
    """Connect nodes."""
    start = time.perf_counter()
    try:
        _connect_collections(session, pre, post, conn, syn)
    except NESTErrors.IllegalConnection as problem:
        raise type(problem)(f"Creation of connection is not possible: {problem}") from None
    finally:
        seconds = time.perf_counter() - start
        session.timers.add_seconds("describe", seconds)
        session.spent.add_seconds("construction_connect", seconds)


def _connect_collections(session: Session, pre: object, post: object, conn: object, syn: AnyValue) -> None:
    source, target = read_ids(session, pre), read_ids(session, post)
    if not isinstance(syn, CollocatedSynapses) and _connect_pair(session, source, target, conn, syn):
        return
    _check_ids(((pre, source), (post, target)), conn)
    syns = [
        {"synapse_model": syn} if isinstance(syn, str) else dict(syn or {})
        for syn in (syn.specs if isinstance(syn, CollocatedSynapses) else (syn,))
    ]
    models = [session.models.get_synapse_model(syn.get("synapse_model", "static_synapse")) for syn in syns]
    ends = session.nodes.list_models(source), session.nodes.list_models(target)
    records = _has_recorder(ends)
    for model in models:
        _check_ends(model, *ends)
        if not records and isinstance(conn, Mapping) and conn.get("rule") == BOTH_WAYS:
            _check_ends(model, *ends[::-1])
    made = make_bundles(models, conn, syns, source, target, session.generators, session.resolution)
    for item in made if len(made[0]) else ():
        item.records = records
        if ends[0][0].element_type != "neuron":
            item.table = FROM_DEVICES
        elif records:
            item.table = TO_RECORDERS
        check_delay(session, item)
        if not records:
            _check_receptor(item.model, item.receptor, ends[1])
    for item in made if len(made[0]) else ():
        if records:
            for part in session.recorders.connect_recorder(item):
                session.bundles.append(part)
            continue
        if session.simulated:
            session.grown = session.grown or not session.running.link_generators(item)
        session.bundles.append(item)


def _connect_pair(session: Session, source: np.ndarray, target: np.ndarray, conn: object, syn: AnyValue) -> bool:
    """Connect one node to another, fast, as scripts do it thousands of times; return False for other arguments."""
    if len(source) != 1 or len(target) != 1 or session.simulated:
        return False
    if not isinstance(syn, dict):
        syn = {"synapse_model": syn} if isinstance(syn, str) else {} if syn is None else {"": syn}
    if not is_plain(conn, syn):
        return False
    model = session.models.get_synapse_model(syn.get("synapse_model", "static_synapse"))
    pre, post = (session.nodes.find_block(int(ids[0]))[0].model for ids in (source, target))
    if (known := (model.name, model.defaults["receptor_type"], pre.name, post.name)) not in session.fitting:
        if _has_recorder(([pre], [post])):
            return False
        _check_ends(model, [pre], [post])
        _check_receptor(model, model.defaults["receptor_type"], [post])
        session.fitting.add(known)
    made = make_single_connection(model, syn, source, target, session.resolution)
    if pre.element_type != "neuron":
        made.table = FROM_DEVICES
    check_delay(session, made)
    session.bundles.append(made)
    return True


def _has_recorder(ends: tuple[list[NodeModel], list[NodeModel]]) -> bool:
    """Whether a recorder is at one of the ends."""
    return any(node.kind == "recorder" for nodes in ends for node in nodes)


def check_delay(session: Session, made: Bundle) -> None:
    """Raise an error for delays that the synapse model, or the running network, does not have."""
    low, high = made.delays
    if made.model.base.startswith("eprop_") and high > 1 and not session.params["eprop_delays_above_one_step"]:
        raise NESTErrors.IllegalConnection(
            "e-prop synapses need a delay of one step, as in NEST; longer ones are simulated with "
            "nest.set(eprop_delays_above_one_step=True)"
        )
    is_fixed = session.simulated or session.bundles.is_range_set
    least, most = session.delay_range if is_fixed else (low, high)
    if low < least or high > most:
        when = "" if session.bundles.is_range_set else "after the first step "
        raise NESTErrors.BadDelay(
            f"Delay value {session.to_ms(low if low < least else high)} is invalid: {when}it must be "
            f"between min_delay {session.to_ms(least)} and max_delay {session.to_ms(most)}"
        )


def read_ids(session: Session, nodes: AnyValue) -> np.ndarray:
    """Ids of nodes that a script gives, which exist."""
    if isinstance(nodes, NodeCollection):
        return nodes._ids
    ids = nodes if isinstance(nodes, np.ndarray) else np.asarray(list(nodes))
    if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1:
        raise TypeError("nodes must be a NodeCollection or a sequence of whole numbers")
    bad = ids[(ids < 1) | (ids > session.nodes.n)]
    if len(bad):
        raise NESTErrors.UnknownNode(f"Node with id {bad[0]} does not exist.")
    return ids.astype(np.int64)


def _check_receptor(model: SynapseModel, receptor: int, targets: list[NodeModel]) -> None:
    """Check the receptor type of connections to e-prop neurons, readouts and parrots; others have other checks."""
    if model.base == "rate_connection_delayed":
        return
    for node in targets:
        if (node.variant and receptor != 0) or (node.kind == "parrot" and receptor not in (0, 1)):
            raise NESTErrors.UnknownReceptorType(f"Receptor type {receptor} is not available in {node.name}.")


def _check_ids(given: tuple[tuple[AnyValue, np.ndarray], ...], conn: object) -> None:
    """Check the ids of nodes that a script gave to connect."""
    for nodes, ids in given:
        if isinstance(nodes, NodeCollection):
            if not len(ids):
                raise NESTErrors.IllegalConnection("a NodeCollection is empty")
        elif (conn.get("rule") if isinstance(conn, Mapping) else conn) != "one_to_one":
            if len(np.unique(ids)) < len(ids):
                raise ValueError("ids that repeat are connected by the rule 'one_to_one' only")


def _check_amplitudes(model: SynapseModel, sources: list[NodeModel], targets: list[NodeModel]) -> None:
    """Check who sends rates and currents, and who takes them."""
    by_rate = model.base == "rate_connection_delayed"
    for pre in sources:
        sends_rates = pre.is_a(RateSource) or (by_rate and pre.base.startswith("eprop_readout"))
        for post in targets:
            current = pre.is_a(CurrentSource) and post.kind == "parrot"
            if by_rate != sends_rates or (by_rate and post.kind != "readout") or current:
                raise NESTErrors.IllegalConnection(f"{model.name} cannot connect {pre.name} to {post.name}")


def _check_ends(model: SynapseModel, sources: list[NodeModel], targets: list[NodeModel]) -> None:
    """Check the models of nodes that synapses are to connect."""
    variant = model.variant
    if model.is_short_term and any(node.kind in ("parrot", "recorder") for node in targets):
        raise make_refusal(
            f"{model.name} onto parrot neurons and recorders", "which take no weights: use static_synapse"
        )
    if model.is_short_term and any(node.kind not in ("neuron", "parrot") for node in sources):
        raise NESTErrors.IllegalConnection(f"{model.name} takes spikes of neurons and parrot neurons alone")
    if _has_recorder((sources, targets)):
        if variant:
            raise NESTErrors.IllegalConnection(f"{model.name} does not connect recorders")
        return
    if not variant:
        by_spikes = model.base == "static_synapse" or model.is_short_term
        if by_spikes and any(node.kind == "stimulator" for node in targets):
            raise NESTErrors.IllegalConnection("generators take no spikes")
        if any(node.kind == "readout" for node in sources) and model.base == "static_synapse":
            raise NESTErrors.IllegalConnection("readouts send no spikes")
        _check_amplitudes(model, sources, targets)
        return
    learning = "learning_signal" in model.base
    target_kinds = ("neuron",) if learning else ("neuron", "readout")
    for node in targets:
        plain = node.kind == "neuron" and not node.variant
        if node.kind not in target_kinds or (node.variant != variant and not plain):
            raise NESTErrors.NotImplemented(f"{model.name} cannot have {node.name} as its target")
    for node in sources:
        good = node.base.startswith("eprop_readout") if learning else node.kind in ("neuron", "parrot")
        if not good or (node.variant and node.variant != variant):
            raise NESTErrors.IllegalConnection(f"{model.name} cannot have {node.name} as its source")
