"""Section [record] of a run: its keys and the names of quantities, and a check against the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np
from pydantic import BeforeValidator, Field, SkipValidation

from ..engines import traces
from ..engines.recorded import RECORDED_UNITS, recorded_states
from ..engines.traces import TRACES_UNITS
from ..errors import InputError
from ..network.model import Model
from ..network.parameters import Frozen, is_whole, suggest_name
from ..values import AnyValue
from .results import choose_evenly

SIGNALS = ("readout_signal", "error_signal", "target_signal")
SYNAPSES = "synapse_states"  # all states of synapses, of e-prop or of a rule given by equations
STATES = "states"  # all states and `records` of neurons given by equations
DELAYS = "delays"  # delays that learn
PARAMETERS = "parameters"  # values of parameters of neurons that learn
if TYPE_CHECKING:
    Quantity = str  # type checkers cannot unpack names into a Literal
else:
    Quantity = Literal[
        "spikes",
        "input_spikes",
        *RECORDED_UNITS,
        STATES,
        *SIGNALS,
        "weights",
        DELAYS,
        PARAMETERS,
        SYNAPSES,
        *TRACES_UNITS,
    ]
Some = int | tuple[int, ...]


def _read_some(value: AnyValue) -> Some:
    many = isinstance(value, list | tuple)
    if not all(is_whole(item) for item in (value if many else [value])):
        raise ValueError(
            "must be a number of neurons, a list of ids or of populations, or a table of these by populations, such as "
            "{ exc = 5, inh = [0, 3] }"
        )
    return tuple(map(int, value)) if many else int(value)


def _read_chosen(value: AnyValue) -> Some | str | tuple[str, ...] | dict[str, Some]:
    names = value if isinstance(value, list | tuple | dict) and value else [value]
    if isinstance(value, dict):
        return {str(name): _read_some(some) for name, some in value.items()}
    if all(isinstance(name, str) for name in names):
        return value if isinstance(value, str) else tuple(names)
    return _read_some(value)


Chosen = Annotated[SkipValidation[Some | str | tuple[str, ...] | dict[str, Some]], BeforeValidator(_read_chosen)]


class Record(Frozen):
    """Section [record]: quantities of training samples to record in addition to the results."""

    every: int = Field(0, ge=0, description="iterations between recorded samples, 0 for no recording")
    test: int = Field(
        0, ge=0, description="samples of the test whose spikes, states and signals the results keep, the first ones"
    )
    what: tuple[Quantity, ...] = Field(("spikes",), description="quantities to record")
    step: int = Field(1, ge=1, description="steps between recorded values of state and signals")
    neurons: Chosen = Field(
        10,
        description="neurons whose state and parameters are recorded: a number, evenly spread; ids; populations; "
        "or for some populations a number or ids, { exc = 5, inh = [0, 3] }",
    )
    projections: tuple[str, ...] = Field(
        (), description="projections whose weights and traces are recorded, none for all"
    )
    synapses: int = Field(0, ge=0, description="recorded synapses of each projection, evenly spread, 0 for all")
    compression: int = Field(1, ge=0, le=9, description="gzip level, 0 for none")
    weights: bool = Field(
        True, description="whether the results keep all synapses, 36 bytes each; checkpoints always have their weights"
    )


def _by_population(chosen: Chosen, sizes: Mapping[str, int]) -> Mapping[str, Some]:
    """Return how many neurons, or which, are chosen of each population; "" stands for all neurons together."""
    if isinstance(chosen, dict):
        return chosen
    given = chosen if isinstance(chosen, tuple) else (chosen,)
    names = {name: sizes.get(name, 0) for name in given if isinstance(name, str)}
    return names or {"": cast("Some", chosen)}


def list_neurons(settings: Record, model: Model) -> np.ndarray:
    """Return the ids of the neurons whose state and parameters are recorded, int64, ascending."""
    cells = {"": (0, model.size("recurrent"))}
    cells |= {item.name: (model.offset(item), item.size) for item in model.of_role("recurrent")}
    chosen = _by_population(settings.neurons, {name: n for name, (_, n) in cells.items()})
    parts = [
        cells[name][0] + (choose_evenly(cells[name][1], some) if isinstance(some, int) else np.array(some, np.int64))
        for name, some in chosen.items()
    ]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))


def check(settings: Record, model: Model) -> None:
    """Raise `InputError` if section [record] names neurons or projections that the network lacks."""
    problems = []
    n, names = model.size("recurrent"), [item.name for item in model.projections if item.pre.role != "readout"]
    sizes = {item.name: item.size for item in model.of_role("recurrent")}
    chosen = _by_population(settings.neurons, sizes)
    for name in [name for name in chosen if name and name not in sizes]:
        problems.append(f"neurons: '{name}' is not a population of neurons{suggest_name(name, sizes)}")
    for name, some in chosen.items():
        here, most = f"neurons{f' of {name}' if name else ''}", sizes.get(name, n) - 1
        if isinstance(some, tuple):
            problems += [f"{here}: {k} must lie in 0 to {most}" for k in some if not 0 <= k <= most]
        elif some < 0:
            problems.append(f"{here} = {some} must be at least 0")
    problems += [f"projections: '{k}' is not one of {', '.join(names)}" for k in settings.projections if k not in names]
    if model.is_rewarded and "target_signal" in settings.what:
        problems.append("what: 'target_signal' is not there in a task with rewards")
    if PARAMETERS in settings.what and not any(item.learn for item in model.of_role("recurrent")):
        problems.append("what: 'parameters' is for neurons with parameters that learn")
    if STATES in settings.what and not recorded_states(model):
        problems.append("what: 'states' is for neurons whose model is given by equations")
    named = [item for item in model.projections if not settings.projections or item.name in settings.projections]
    if DELAYS in settings.what and not any(item.learn_delay for item in named):
        problems.append("what: 'delays' is for projections whose delays learn, learn_delay of a projection")
    if not {"weights", DELAYS, SYNAPSES, *TRACES_UNITS}.isdisjoint(settings.what):
        problems += [
            f"weights of '{item.name}' can't be recorded: its synapses move; name others in [record] projections"
            for item in named
            if item.rewire
        ]
    if not TRACES_UNITS.keys().isdisjoint(settings.what):
        problems += _list_problems_of_traces(settings, model)
    if problems:
        raise InputError("; ".join(f"[record] {problem}" for problem in problems))


def _list_problems_of_traces(settings: Record, model: Model) -> list[str]:
    problems = []
    for item in model.projections:
        named = item.name in settings.projections if settings.projections else item.pre.role in ("input", "recurrent")
        if not named or item.pre.role not in ("input", "recurrent"):
            continue
        try:
            traces.check(model, item)
        except InputError as problem:
            problems.append(f"{problem}{'' if settings.projections else '; name others in [record] projections'}")
    return problems
