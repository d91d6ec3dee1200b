"""Lists of all parameters, made from the code, for `pareprop help parameters` and the tables of the handbook.

Names, defaults and bounds come from the classes, meanings from their docstrings.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from ..errors import InputError, quote
from ..network.background import Background
from ..network.connection import Connection
from ..network.delays import DistanceDelay
from ..network.local_readouts import LocalReadouts
from ..network.optimizers import OPTIMIZERS
from ..network.parameters import FLOAT_MAX, Frozen, list_bounds, list_meanings, suggest_name
from ..network.perturbations import KINDS as PERTURBATIONS
from ..network.reward import Reward
from ..network.rewire import Rewire
from ..network.space import Space
from ..network.variants import VARIANTS
from ..neurons import library
from ..storage.self_description import UNITS

OF_FIELDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}  # bounds that pydantic checks
OF_CLASSES = {"be at least": "at least", "be above": "above", "not exceed": "at most", "be below": "below"}


def format_default(value: object) -> str:
    """Return a default value as Python code."""
    if value is None or isinstance(value, bool | str):
        return f"`{value!r}`"
    if isinstance(value, float) and abs(value) == FLOAT_MAX:
        return "none"
    return f"`{value:g}`" if isinstance(value, int | float) else "required"


def format_bounds(kind: type[Frozen], name: str) -> str:
    """Return the bounds of a parameter, or the values or classes to choose from."""
    field = kind.model_fields[name]
    if field.annotation is bool:
        return "`True`, `False`"
    choices = [field.annotation, *get_args(field.annotation)]
    if names := [f"`{item}`" for choice in choices if get_origin(choice) is Literal for item in get_args(choice)]:
        return " ".join(names)
    for item in (inner for choice in choices[1:] for inner in get_args(choice)):
        if isinstance(item, type) and issubclass(item, Frozen):
            return f"a table of settings, or of type {item.__name__}"
    found = [
        f"{words} {getattr(item, key):g}"
        for item in field.metadata
        for key, words in OF_FIELDS.items()
        if hasattr(item, key)
    ]
    for bound in list_bounds(kind):
        limit = bound.limit if isinstance(bound.limit, str) else f"{bound.limit:g}"
        if name == bound.name:
            found.append(f"{OF_CLASSES[bound.words]} {limit}")
        elif name == limit and bound.words == "not exceed":
            found.append(f"at least {bound.name}")
    return ", ".join(found)


def find_unit(name: str, meaning: str) -> str:
    """Return the unit of a parameter: the unit in results, or else the one in its meaning; "" without one."""
    match = re.search(r"\bin (mV|ms|pF|pA|Hz)\b", meaning)
    return UNITS.get(name, match[1] if match else "")


@dataclass(frozen=True)
class Entry:
    """A parameter: name, default, unit, bounds, meaning, and the classes that have it (`of`)."""

    name: str
    default: str
    unit: str
    bounds: str
    meaning: str
    of: str


def list_parameters(kinds: dict[str, type[Frozen]], groups: dict[str, set[str]] | None = None) -> list[Entry]:
    """Return the parameters of some classes; their `of` names classes or `groups` of them, "" if there is one class."""
    entries = []
    for name in dict.fromkeys(name for kind in kinds.values() for name in kind.model_fields if name != "type"):
        having = [label for label, kind in kinds.items() if name in kind.model_fields]
        kind = kinds[having[0]]
        meaning = list_meanings(kind)[name]
        names_of = [group for group, labels in (groups or {}).items() if labels == set(having)]
        where = "all" if len(having) == len(kinds) else ", ".join(names_of or (f"`{label}`" for label in having))
        known = format_default(kind.model_fields[name].default), find_unit(name, meaning), format_bounds(kind, name)
        entries.append(Entry(name, *known, meaning, where if len(kinds) > 1 else ""))
    return entries


def neuron_kinds() -> dict[str, tuple[str, str, type[Frozen]]]:
    """Return variant, name in `Model.neurons` and class of each neuron model, by NEST's name."""
    return {
        f"eprop_{name}{variant.nest_suffix}": (variant.name, name, kind)
        for variant in VARIANTS.values()
        for name, kind in variant.neurons.items()
    }


def neuron_groups() -> tuple[dict[str, type[Frozen]], dict[str, set[str]]]:
    """Return the classes of the neuron models by NEST's name, and groups of them."""
    labels = neuron_kinds()
    kinds = {label: kind for label, (_, _, kind) in labels.items()}
    groups = {variant: {label for label in labels if labels[label][0] == variant} for variant in VARIANTS}
    groups["adaptive"] = {label for label, kind in kinds.items() if getattr(kind, "adaptive", False)}
    groups["psc_delta"] = {label for label, kind in kinds.items() if getattr(kind, "psc_delta", False)}
    return kinds, groups


def list_sections() -> dict[str, list[Entry]]:
    """Return the parameters by section of `pareprop help parameters`."""
    said, fields = list_meanings(Reward), inspect.signature(Reward).parameters
    return {
        "neurons": list_parameters(*neuron_groups()),
        "readouts": list_parameters({name: variant.readout for name, variant in VARIANTS.items()}),
        "local_readouts": list_parameters({"LocalReadouts": LocalReadouts}),
        "connect": list_parameters({"Connection": Connection}),
        "background": list_parameters({"Background": Background}),
        "perturbations": list_parameters(dict(PERTURBATIONS)),
        "space": list_parameters({"Space": Space, "DistanceDelay": DistanceDelay}),
        "rewire": list_parameters({"Rewire": Rewire}),
        "optimizers": list_parameters(dict(OPTIMIZERS)),
        "reward": [Entry(name, format_default(fields[name].default), "", "", said[name], "") for name in fields],
    }


def describe_parameters(names: tuple[str, ...]) -> Iterator[str]:
    """Yield lines for a terminal: all sections, or the sections and parameters that `names` lists.

    `InputError` if a name is neither a section nor a parameter.
    """
    listed = list_sections()
    known = [*listed, *dict.fromkeys(entry.name for entries in listed.values() for entry in entries)]
    by_equations = {name: library.get_definition(name) for name in library.free_names()}
    more = {*by_equations, *(name for model in by_equations.values() for name in model.parameters)} - {*known}
    for name in names:
        if name not in known and name not in more:
            raise InputError(
                f"{quote(name)} is not a parameter, and none of {', '.join(listed)}{suggest_name(name, known)}"
            )
    for section, entries in listed.items():
        chosen = [one for one in entries if not names or section in names or one.name in names]
        if chosen:
            yield f"{section}:"
        for one in chosen:
            facts = [f"default {one.default}" if one.default != "required" else one.default, one.bounds, one.of]
            name = f"{one.name} ({one.unit})" if one.unit else one.name
            yield f"  {name}: {'; '.join(filter(None, facts))}".replace("`", "")
            yield textwrap.fill(one.meaning, 100, initial_indent="      ", subsequent_indent="      ")
    for label, model in by_equations.items():
        own = [name for name in model.defaults if label in names or (name in names and name in more)]
        if own:
            yield f"{label}: {model.description}"
        for name in own:
            value, unit_ = model.defaults[name], model.units[name]
            yield f"  {name} ({unit_}): default {'none' if abs(value) == FLOAT_MAX else f'{value:g}'}"
    if not names:
        yield f"given by equations: {', '.join(by_equations)}; `pareprop help parameters NAME` prints theirs"
