"""Setting parameters of nodes: one value for all, one for each, random ones; all or none of them."""

from __future__ import annotations

import numpy as np

from ..errors import quote
from ..values import AnyValue, Given, Later, Values
from .catalogue import LISTS, NODE_CONSTANTS, NodeModel, check_node
from .devices.base import align_to_grid
from .devices.spike_generator import OFF_GRID
from .errors import NESTErrors, make_refusal
from .nodes import Block, NodeCollection, PerNode
from .random import Parameter, draw_parameters

TIMES = {key for key in LISTS if key.endswith("_times")}


class DrawnValues:
    """Numbers that were drawn for the nodes of a block."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers


def write(kernel: Later, nodes: NodeCollection, params: Given) -> None:
    """Set parameters of nodes, all or none.

    `KernelException` for an unknown name or a bad value; nothing has changed then.
    """
    parts = nodes.list_blocks()
    for block, local in parts:
        values = kernel.versions.read(params, block.model.defaults, block.model.variant)
        unknown = [key for key in values if key not in block.values]
        if unknown and unknown[0] in (*NODE_CONSTANTS, "vp"):
            raise make_refusal(f"another {unknown[0]} of nodes", "leave the nodes out")
        if unknown:
            raise NESTErrors.UnaccessedDictionaryEntry(
                f"Unaccessed elements in params: '{unknown[0]}' is not a parameter of {block.model.name}"
            )
        values = values | _draw_random(kernel, block, local, values)
        start = 0 if len(parts) == 1 else int(np.searchsorted(nodes._ids, block.first + local[0]))
        _write_block(
            kernel,
            block,
            local,
            {
                key: _expand_value(kernel, key, value, len(nodes), start, block.first + local)
                for key, value in values.items()
            },
        )


def _draw_random(kernel: Later, block: Block, local: np.ndarray, values: Given) -> Values:
    """Random parameters, drawn for one node after the other."""
    names = block.model.sort_drawn(key for key, value in values.items() if isinstance(value, Parameter))
    if not names:
        return {}
    drawn = draw_parameters([values[name] for name in names], kernel.generators, block.first + local)
    return {name: DrawnValues(column) for name, column in zip(names, drawn, strict=True)}


def _expand_value(kernel: Later, key: str, value: AnyValue, n: int, start: int, ids: np.ndarray) -> AnyValue:
    """Bring a value into the form in which blocks keep it: one for all, or one for each node of `ids`."""
    if isinstance(value, DrawnValues):
        return value.numbers
    if key in LISTS and not isinstance(value, PerNode):
        return [parse_list(key, value)] * len(ids)
    if isinstance(value, NodeCollection) or (np.ndim(value) if not isinstance(value, PerNode) else True):
        if len(value) < n:
            raise IndexError("list index out of range")
        chosen = list(value)[start : start + len(ids)]
        return [parse_list(key, entry) for entry in chosen] if key in LISTS else _make_array(key, chosen)
    return _make_array(key, [value])[0]


def parse_list(key: str, value: AnyValue) -> AnyValue:
    """Value of a parameter that is a list, in the form in which blocks keep it."""
    if key == "record_from":
        return (value,) if isinstance(value, str) else tuple(value)
    if value is None or (not isinstance(value, NodeCollection) and np.ndim(value) != 1):
        raise NESTErrors.TypeMismatch(f"'{key}' must be a list of numbers")
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise NESTErrors.TypeMismatch(f"'{key}' must be a list of numbers") from None


def _make_array(key: str, values: list[AnyValue]) -> AnyValue:
    array = np.asarray(values)
    return array if array.dtype.kind in "biuf" else np.asarray(values, object)


def _align_times(kernel: Later, block: Block, local: np.ndarray, values: Values) -> Values:
    """Times of generators on the grid, if they may be elsewhere."""

    def is_option_set(name: str) -> bool:
        return bool(np.any(values.get(name, block.get_value(name, int(local[0])) if name in block.values else False)))

    if is_option_set("precise_times") or not TIMES & values.keys():
        return values
    now = kernel.step * kernel.resolution
    origin = values.get("origin", block.get_array("origin", local))
    origins = np.broadcast_to(origin, len(local)).tolist()
    shifts = [now - origin for origin in origins] if is_option_set("shift_now_spikes") else [None] * len(local)
    return values | {
        key: [
            align_to_grid(entry, kernel.resolution, is_option_set("allow_offgrid_times"), shift)
            for entry, shift in zip(values[key], shifts, strict=True)
        ]
        for key in TIMES & values.keys()
    }


def _write_block(kernel: Later, block: Block, local: np.ndarray, values: Values) -> None:
    for key, value in values.items():
        _check_type(block.model, key, value)
    values = _align_times(kernel, block, local, values)
    now = kernel.step * kernel.resolution
    for key in block.model.device.future if block.model.device and now else ():
        if any(np.any(entry <= now) for entry in values.get(key, ())):
            raise NESTErrors.BadProperty(f"{block.model.name}: {key} must lie in the future, after {now:g} ms")
    trial = Block.__new__(Block)
    trial.model, trial.first, trial.n, trial.values = block.model, block.first, block.n, dict(block.values)
    for key, value in values.items():
        if key in LISTS:
            kept = list(trial.values[key])
            for place, entry in zip(local.tolist(), value, strict=True):
                kept[place] = entry
            trial.values[key] = kept
        elif key == "f_target" and block.model.kind == "neuron":
            trial.set_values(key, local, value)
        else:
            trial.set_values(
                key, local, float(value) if type(value) in (int, np.int64) and _is_float(block, key) else value
            )
    where = f"{block.model.name} with node id {block.first + local[0]}"
    if values.keys() & set(OFF_GRID) and "spike_times" not in values:
        if any(len(block.values["spike_times"][place]) for place in local.tolist() if "spike_times" in block.values):
            raise NESTErrors.BadProperty(
                f"{where}: Options can only be set together with spike times or if no spike times have been set."
            )
    if block.model.device:
        one = {key: (value if np.ndim(value) == 0 else value[0]) for key, value in values.items() if key not in LISTS}
        check_node(block.model, trial.values, one, where, kernel.resolution)
        done = set()
        given = [key for key in values if key in LISTS]
        options = [key for key in OFF_GRID if key in trial.values]
        for place, *entry in zip(local.tolist(), *(values[key] for key in given), strict=True) if given else ():
            chosen = {key: trial.get_value(key, place) for key in options}
            if (mark := (*map(id, entry), *chosen.values())) not in done:
                done.add(mark)
                lists = dict(zip(given, entry, strict=True))
                here = {key: trial.values[key][place] for key in LISTS & trial.values.keys()}
                check_node(block.model, trial.values | here | chosen, lists, where, kernel.resolution)
    else:
        check_node(block.model, trial.values, values, where, kernel.resolution)
    block.values = trial.values


def _is_float(block: Block, key: str) -> bool:
    return isinstance(block.model.defaults[key], float)


def _check_type(model: NodeModel, key: str, value: object) -> None:
    default = model.defaults[key]
    if isinstance(default, bool):
        good = np.asarray(value).dtype.kind == "b"
    elif isinstance(default, float) or default is None:
        good = np.asarray(value).dtype.kind in "biuf"
    elif isinstance(default, int):
        good = np.asarray(value).dtype.kind in "iu"
    elif isinstance(default, str):
        good = all(isinstance(entry, str) for entry in np.ravel(np.asarray(value, object)))
    else:
        return
    if not good:
        shown = quote(value.item() if isinstance(value, np.generic) else value)
        raise NESTErrors.TypeMismatch(f"'{key}' of {model.name} has a value of the wrong type: {shown}")
