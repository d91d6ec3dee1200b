"""The state of the spike variant between samples, for checkpoints; the contract stands in `state`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..parallel.spike_log import SpikeLog
from .spike_rules import ERRORS
from .state import State

KINDS = ("incoming", "outgoing", "mirror")


def saved(engine: Any) -> State:
    """Everything that the next sample reads: spikes and errors in flight, histories, sums, traces, moments."""
    numbers = {
        "time": engine.time, "learned": engine.learned, "blocks": [engine.block, engine.readout_block],
        "plastic": {item.name: item.numbers() for item in engine.plastic},
    }  # fmt: skip
    first, last = _kept_steps(engine) - engine.kernel.base, engine.time - engine.kernel.base
    inputs = engine.inputs.part(first, last)
    errors = {name: engine.history[name] for name in ERRORS}
    shared = errors | {"inputs_ids": inputs.ids, "inputs_ptr": inputs.ptr}
    state = State(numbers, shared)
    network, spikes = engine.network, engine.merged.part(first, last)
    state.spikes["spikes"] = lambda: network.sources.named(spikes, last - first, *network.neurons)
    histories = {name: array for name, array in engine.history.items() if name not in ERRORS}
    state.neurons = engine.state | histories | {"carried": engine.carried}
    state.readouts = {"y": engine.y, "arriving_out": np.asarray(engine.kernel.arriving_out)}
    tables = (*engine.tables(), engine.mirror)
    for kind, rows, table, names in zip(KINDS, engine.rows, tables, engine.names, strict=True):
        for name in ("books", "Z", *(["counters"] if "moment" in names else [])):
            state.rows[f"{kind}/{name}"] = table, np.asarray(getattr(rows, name))
        for span in table.spans:
            if span.projection.plastic:
                arrays = {name: np.asarray(getattr(rows, name)) for name in ("weight", *sorted(names))}
                state.add_synapses(kind, table, span, **arrays)
    return state


def restore(engine: Any, numbers: dict[str, Any], shared: dict[str, np.ndarray]) -> None:
    """Take back numbers, errors and logs.

    Raises
    ------
    InputError
        If what is shared doesn't fit the network, or sums were made in other blocks of steps.
    """
    if (blocks := numbers.get("blocks")) != [engine.block, engine.readout_block]:
        raise InputError(
            f"sums are made in blocks of {engine.block} and {engine.readout_block} steps, those of the checkpoint in "
            f"{blocks or 'blocks of an earlier version'}"
        )
    engine.time, engine.learned = int(numbers["time"]), bool(numbers["learned"])
    for item in engine.plastic:
        item.restore(numbers["plastic"][item.name])
    engine.kernel.base = _kept_steps(engine)
    steps = engine.time - engine.kernel.base
    sizes = {"inputs": engine.network.n_inputs, "spikes": engine.network.n_recurrent}
    for name, log in (("inputs", engine.inputs), ("spikes", engine.merged)):
        ids, ptr = shared[f"{name}_ids"], shared[f"{name}_ptr"]
        sound = ptr.shape == (steps + 1,) and ptr[0] == 0 and np.all(np.diff(ptr) >= 0) and ptr[-1] == len(ids)
        if not sound or (len(ids) and int(ids.max()) >= sizes[name]):
            raise InputError(f"the spikes in flight ({name}) are not those of {steps} steps of {sizes[name]} sources")
        flying = SpikeLog.from_arrays(ids, ptr)
        log.append(0, flying if name == "inputs" else engine.network.sources.numbered(flying, steps), steps)
    for name in ERRORS:
        if shared[name].shape != engine.history[name].shape:
            raise InputError("the errors in flight are not those of this network")
        engine.history[name][...] = shared[name]


def _kept_steps(engine: Any) -> int:
    """First step of the logs that later samples still read."""
    return max(engine.time - engine.steps_kept, 0)
