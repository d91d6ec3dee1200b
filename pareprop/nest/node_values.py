"""Parameters of nodes and recordings, as scripts read and set them."""

from __future__ import annotations

import numpy as np

from ..values import AnyValue, Given
from .catalogue import FORCED, NODE_CONSTANTS, list_recorder_keys
from .errors import NESTErrors, make_lookup_error, make_refusal
from .nodes import Block, NodeCollection
from .parameters import write as write_parameters
from .session import Session
from .settings import to_ms, to_steps
from .versions import CUTOFF, read_old_parameter

DYNAMIC = (
    "V_m",
    "V_th_adapt",
    "adaptation",
    "learning_signal",
    "surrogate_gradient",
    "readout_signal",
    "readout_signal_unnorm",
    "target_signal",
    "error_signal",
)
WINDOW = {"origin", "start", "stop"}
FREE_IN_A_RUN = {*WINDOW, "n_events", "label", "precision", "file_extension"}  # of recorders that have recorded


def list_parameters(session: Session, nodes: NodeCollection) -> list[str]:
    """Names of all parameters of nodes."""
    keys: dict[str, None] = {}
    for block, local in nodes.list_blocks():
        own = dict.fromkeys(session.versions.show_parameters(block.values))
        if block.model.kind == "recorder":
            own = dict.fromkeys(list_recorder_keys(own, block.get_value("record_to", int(local[0]))))
        elif block.model.recordables:
            own |= dict.fromkeys(key for key in block.model.recordables if key in DYNAMIC) | {"recordables": None}
            own = {key: None for key in own if not (block.first <= session.n_built and key in DYNAMIC)}
        keys = own if not keys else {key: None for key in keys if key in own}
    return sorted([*keys, "global_id", "model", "element_type", "thread", "vp", *NODE_CONSTANTS])


def read(session: Session, nodes: NodeCollection, key: str) -> list[AnyValue]:
    """One parameter of each node."""
    if key == "global_id":
        return nodes.tolist()
    column = []
    for block, local in nodes.list_blocks():
        column += [_read_value(session, block, place, key) for place in local.tolist()]
    return column


def _read_value(session: Session, block: Block, local: int, key: str) -> object:
    if key in NODE_CONSTANTS:
        return NODE_CONSTANTS[key]
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
        return _read_recorder_value(session, block, local, key)
    if block.first <= session.n_built and key in DYNAMIC and block.model.kind in ("neuron", "readout"):
        raise make_refusal(f"reading {key} of a neuron in a run", "record it by a multimeter")
    if key in ("gamma", "beta") and block.model.kind == "neuron":
        return read_old_parameter(key, lambda name: block.get_value(name, local))
    if key not in block.values:
        if key in DYNAMIC and key in block.model.recordables:
            return block.get_value("V_th", local) if key == "V_th_adapt" else 0.0
        known = ", ".join(list_parameters(session, session.make_collection(np.array([block.first + local]))))
        raise make_lookup_error(KeyError, f"{block.model.name} has no parameter '{key}'; it has {known}")
    value = block.get_value(key, local)
    if key == CUTOFF:
        return session.versions.show_cutoff(value)
    if key in ("senders", "targets"):
        return session.make_collection(np.unique(value).astype(np.int64))
    if key == "record_from":
        return list(value)
    if key == "spike_multiplicities":
        return value.astype(np.int64)
    return value / 1000.0 if key == "f_target" else value


def _read_recorder_value(session: Session, block: Block, local: int, key: str) -> AnyValue:
    node = block.first + local
    recorder = session.recorders.get_recording(node)
    backend = block.get_value("record_to", local)
    if backend != "memory":
        files = session.recorders.get_text_files(node)
        if key == "n_events":
            return files.n
        if key == "events":
            raise make_lookup_error(
                KeyError, f"{recorder.name} has no 'events': they are {files.describe_location(session.params)}"
            )
        if backend == "ascii":
            return [str(path) for path in files.list_paths(session.params)]
    if key == "filenames":
        raise make_lookup_error(KeyError, f"{recorder.name} has no 'filenames': its record_to is not 'ascii'")
    if key == "n_events":
        return recorder.count_events(session.shown)
    events = recorder.list_events(session.shown)
    if block.get_value("time_in_steps", local):
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
        for block, _ in nodes.list_blocks():
            known_free = block.first > session.n_built or (forces and block.model.variant)
            if block.model.element_type == "neuron" and not known_free:
                raise make_refusal(f"changing {', '.join(values)} of neurons in a run", "set it before the first step")
    if session.prepared and any(block.model.kind == "recorder" for block, _ in nodes.list_blocks()):
        raise NESTErrors.BadProperty(f"{', '.join(values)}: recorders cannot be changed between Prepare and Cleanup")
    if session.simulated and "time_in_steps" in values:
        raise NESTErrors.BadProperty("Property time_in_steps cannot be set after Simulate has been called.")
    recorded = [node for node in nodes.tolist() if session.recorders.is_made(node)]
    known = set().union(*(block.values for block, _ in nodes.list_blocks()))
    if recorded and (fixed := values.keys() & known - FREE_IN_A_RUN):
        raise make_refusal(
            f"changing {', '.join(sorted(fixed))} of recorders that have recorded", "create another recorder"
        )
    if "n_events" in values:
        _clear_events(session, nodes, values.pop("n_events"))
    if values:
        write_parameters(session, nodes, values)
    if values.keys() & WINDOW:
        session.recorders.mark_moved(recorded)
    if session.clock is not None and forces:
        session.clock.forced.restart_neurons(nodes._ids[nodes._ids <= session.n_built], session.step)


def _clear_events(session: Session, nodes: NodeCollection, n: object) -> None:
    for block, local in nodes.list_blocks():
        if block.model.kind != "recorder":
            raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in params: n_events ({block.model.name})")
        if n != 0:
            raise NESTErrors.BadProperty(f"n_events = {n}: it can only be set to 0, which forgets all events")
        for node in (block.first + local).tolist():
            session.recorders.get_recording(node).clear_events(session.shown)
            session.recorders.get_text_files(node).n = 0
