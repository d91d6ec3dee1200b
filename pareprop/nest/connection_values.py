"""Connections as scripts find them, and read and set their values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .connecting import check_delay, read_ids
from .connections import SynapseCollection, count_steps
from .errors import NESTErrors, make_refusal
from .session import Session


def get_connections(session: Session, source: object, target: object, synapse_model: str | None) -> SynapseCollection:
    """Connections between nodes, in order of model, source and target."""
    sources, targets = (None if nodes is None else read_ids(session, nodes) for nodes in (source, target))
    name = None if synapse_model is None else session.models.get_synapse_model(synapse_model).name
    return SynapseCollection(
        session, *session.bundles.find_connections(sources, targets, name, session.models.synapses)
    )


def list_ports(session: Session, index: np.ndarray, place: np.ndarray) -> np.ndarray:
    """NEST's ports of connections."""
    return session.bundles.list_ports(index, place, session.generators.n)


def list_threads(session: Session, index: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Virtual processes that NEST would keep connections in: of the target, or of the source of a recorder."""
    return session.bundles.list_owner_nodes(index, place) % session.generators.n


def write_delays(session: Session, index: np.ndarray, place: np.ndarray, delay: np.ndarray) -> None:
    """Set delays of connections in ms, before the first step."""
    if session.simulated:
        raise make_refusal("another delay of connections after the first step", "give it before")
    steps = np.broadcast_to(count_steps(delay, session.resolution), len(index))
    for which in np.unique(index).tolist():
        mine, made = index == which, session.bundles[which]
        delays = np.broadcast_to(made.delay, len(made)).copy()
        delays[place[mine]] = steps[mine]
        changed = replace(made, delay=delays)
        check_delay(session, changed)
        session.bundles[which] = changed
        session.bundles.note_delays(changed)


def write_per_synapse(session: Session, index: np.ndarray, place: np.ndarray, key: str, values: np.ndarray) -> None:
    """Set values of connections other than weight and delay, before the first step."""
    if session.simulated:
        raise make_refusal(f"another {key} of connections after the first step", "give it before")
    for which in np.unique(index).tolist():
        mine, made = index == which, session.bundles[which]
        changed = np.broadcast_to(made.per_synapse[key], len(made)).copy()
        changed[place[mine]] = values[mine]
        made.model.make_short_term(made.per_synapse | {key: changed})
        made.per_synapse[key] = changed


def refresh_states(session: Session) -> None:
    """Collective if the network has run: update the states of short-term plasticity."""
    if session.simulated:
        session.running.read_states(session.shown)


def refresh_weights(session: Session) -> None:
    """Collective if the network has run: bring weights up to date."""
    if session.stale:
        session.running.read_weights()
        session.stale = False


def write_weights(session: Session, index: np.ndarray, place: np.ndarray, weight: np.ndarray) -> None:
    """Collective if the network has run: set weights of connections."""
    refresh_weights(session)
    for which in np.unique(index):
        group, mine = session.bundles[which], index == which
        if group.model.plastic:
            rule = group.model.defaults["optimizer"]
            if np.any(weight[mine] < rule["Wmin"]) or np.any(weight[mine] > rule["Wmax"]):
                raise NESTErrors.BadProperty(f"Wmin = {rule['Wmin']} ≤ weight ≤ Wmax = {rule['Wmax']} required.")
        group.weight = group.weight.copy()
        group.weight[place[mine]] = weight[mine]
        if session.clock is not None:
            session.clock.write_weights(int(which))
