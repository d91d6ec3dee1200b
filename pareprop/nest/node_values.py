"""Parameters of nodes, and what recorders hold, as scripts read and set them."""

from __future__ import annotations

import numpy as np

from ..values import AnyValue, Given
from .catalogue import ALIKE, FORCED, list_of_recorder
from .errors import NESTErrors, refuse, unknown
from .nodes import Block, NodeCollection
from .parameters import write as write_parameters
from .session import Session
from .settings import to_ms, to_steps
from .versions import CUTOFF, read_old

DYNAMIC = ("V_m", "V_th_adapt", "adaptation", "learning_signal", "surrogate_gradient", "readout_signal",
           "readout_signal_unnorm", "target_signal", "error_signal")  # fmt: skip
WINDOW = {"origin", "start", "stop"}
FREE_IN_A_RUN = {*WINDOW, "n_events", "label", "precision", "file_extension"}  # of recorders that have recorded


def list_parameters(session: Session, nodes: NodeCollection) -> list[str]:
    """Names of all parameters of nodes."""
    keys: dict[str, None] = {}
    for block, local in nodes.parts():
        own = dict.fromkeys(session.versions.show(block.values))
        if block.model.kind == "recorder":
            own = dict.fromkeys(list_of_recorder(own, block.get("record_to", int(local[0]))))
        elif block.model.recordables:
            own |= dict.fromkeys(key for key in block.model.recordables if key in DYNAMIC) | {"recordables": None}
            own = {key: None for key in own if not (block.first <= session.n_built and key in DYNAMIC)}
        keys = own if not keys else {key: None for key in keys if key in own}
    return sorted([*keys, "global_id", "model", "element_type", "thread", "vp", *ALIKE])


def read(session: Session, nodes: NodeCollection, key: str) -> list[AnyValue]:
    """One parameter of each node."""
    if key == "global_id":
        return nodes.tolist()
    column = []
    for block, local in nodes.parts():
        column += [_value(session, block, place, key) for place in local.tolist()]
    return column


def _value(session: Session, block: Block, local: int, key: str) -> object:
    if key in ALIKE:
        return ALIKE[key]
    if key in ("model", "element_type", "vp", "thread", "recordables"):
        process = (block.first + local) % session.generators.n if block.model.element_type == "neuron" else 0
        return {
            "model": block.model.name,
            "element_type": block.model.element_type,
            "vp": process,
            "thread": process,
            "recordables": list(block.model.recordables),
        }[key]
    if block.model.kind == "recorder" and key in ("events", "n_events", "filenames"):
        return _value_of_recorder(session, block, local, key)
    if block.first <= session.n_built and key in DYNAMIC and block.model.kind in ("neuron", "readout"):
        raise refuse(f"reading {key} of a neuron in a run", "record it by a multimeter")
    if key in ("gamma", "beta") and block.model.kind == "neuron":
        return read_old(key, lambda name: block.get(name, local))
    if key not in block.values:
        if key in DYNAMIC and key in block.model.recordables:
            return block.get("V_th", local) if key == "V_th_adapt" else 0.0
        known = ", ".join(list_parameters(session, session.collection(np.array([block.first + local]))))
        raise unknown(KeyError, f"{block.model.name} has no parameter '{key}'; it has {known}")
    value = block.get(key, local)
    if key == CUTOFF:
        return session.versions.show_cutoff(value)
    if key in ("senders", "targets"):
        return session.collection(np.unique(value).astype(np.int64))
    if key == "record_from":
        return list(value)
    if key == "spike_multiplicities":
        return value.astype(np.int64)
    return value / 1000.0 if key == "f_target" else value


def _value_of_recorder(session: Session, block: Block, local: int, key: str) -> AnyValue:
    node = block.first + local
    recorder = session.recorders.of(node)
    backend = block.get("record_to", local)
    if backend != "memory":
        files = session.recorders.files(node)
        if key == "n_events":
            return files.n
        if key == "events":
            raise unknown(KeyError, f"{recorder.name} has no 'events': they are {files.place(session.params)}")
        if backend == "ascii":
            return [str(path) for path in files.paths(session.params)]
    if key == "filenames":
        raise unknown(KeyError, f"{recorder.name} has no 'filenames': its record_to is not 'ascii'")
    if key == "n_events":
        return recorder.count(session.shown)
    events = recorder.events(session.shown)
    if block.get("time_in_steps", local):
        steps = to_steps(events["times"], session.resolution)
        events |= {"times": steps, "offsets": to_ms(steps, session.resolution) - events["times"]}
    return events


def write(session: Session, nodes: NodeCollection, values: Given) -> None:
    """Set parameters of nodes."""
    values = dict(values)
    if late := [key for key in ("interval", "offset", "record_from") if key in values]:
        if session.recorders.has_meter(nodes.tolist()):
            raise NESTErrors.BadProperty(f"{late[0]} cannot be changed after the multimeter has been connected")
    forces = bool(values) and values.keys() <= FORCED.keys()
    if session.simulated:
        for block, _ in nodes.parts():
            known_free = block.first > session.n_built or (forces and block.model.variant)
            if block.model.element_type == "neuron" and not known_free:
                raise refuse(f"changing {', '.join(values)} of neurons in a run", "set it before the first step")
    if session.prepared and any(block.model.kind == "recorder" for block, _ in nodes.parts()):
        raise NESTErrors.BadProperty(f"{', '.join(values)}: recorders cannot be changed between Prepare and Cleanup")
    if session.simulated and "time_in_steps" in values:
        raise NESTErrors.BadProperty("Property time_in_steps cannot be set after Simulate has been called.")
    recorded = [node for node in nodes.tolist() if session.recorders.is_made(node)]
    known = set().union(*(block.values for block, _ in nodes.parts()))
    if recorded and (fixed := values.keys() & known - FREE_IN_A_RUN):
        raise refuse(f"changing {', '.join(sorted(fixed))} of recorders that have recorded", "create another recorder")
    if "n_events" in values:
        _clear(session, nodes, values.pop("n_events"))
    if values:
        write_parameters(session, nodes, values)
    if values.keys() & WINDOW:
        session.recorders.move(recorded)
    if session.clock is not None and forces:
        session.clock.forced.restart(nodes._ids[nodes._ids <= session.n_built], session.step)


def _clear(session: Session, nodes: NodeCollection, n: object) -> None:
    for block, local in nodes.parts():
        if block.model.kind != "recorder":
            raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in params: n_events ({block.model.name})")
        if n != 0:
            raise NESTErrors.BadProperty(f"n_events = {n}: it can only be set to 0, which forgets all events")
        for node in (block.first + local).tolist():
            session.recorders.of(node).clear(session.shown)
            session.recorders.files(node).n = 0
