"""List the facts of a model as text, by which resumed runs and ranks check that their models are the same.

Messages name the facts that differ.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType

import numpy as np
from pydantic import BaseModel

from ..errors import quote
from ..kernels import checksum
from ..rules.definition import LearningRule
from ..values import AnyValue, Values
from .background import PopulationBackground
from .connectivity import Population, Projection
from .losses import Loss
from .model import Model
from .perturbations import Applied

FEW = 4  # an array with more values is shown by its checksum
PLAIN = bool | int | float | str | bytes | np.generic | None


def list_facts(model: Model, phase: str | None = None) -> dict[str, str]:
    """Return all facts of a model, name to value as text; arrays by their checksum.

    Objects without a printable value, such as the code of a loss, are listed by name. With `phase`, perturbations that
    do not act in that phase are left out.
    """
    names = ("variant", "seed", "dt_ms", "precision", "loss", "activity", "learning_signal", "local")
    facts = {name: format_value(getattr(model, name)) for name in names}
    facts |= list_fields(model.optimizer)
    described: dict[str, Sequence[Population | Projection | PopulationBackground | Applied]] = {
        "population": model.populations,
        "projection": model.projections,
        "background": model.backgrounds,
        "perturbation": [item for item in model.perturbations if phase is None or item.options.acts_in(phase)],
    }
    for kind, items in described.items():
        facts |= {f"number of {kind}s": str(len(items))}
        for item in items:
            facts |= {f"{kind} '{item.name}': {name}": text for name, text in list_fields(item).items()}
    return facts


def list_fact_differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the differences of two lists of facts, as "name = old text, now new text"."""
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, "none"), new.get(name, "none")
        shapes = [re.fullmatch("(an array .*), [0-9a-f]{16}", text) for text in (before, after)]
        if before != after and shapes[0] and shapes[1] and shapes[0][1] == shapes[1][1]:
            lines.append(f"{name} = {shapes[0][1]}, now one with other values")
        elif before != after:
            lines.append(f"{name} = {before}, now {after}")
    return lines


def list_fields(thing: object) -> dict[str, str]:
    """Return the fields of a description, name to value as text, including the fields of a population's parameters."""
    facts: Values = {}
    for name, value in _list_values(thing).items():
        if name == "params" and value is not None:
            facts |= list_fields(value)
        else:
            facts[name] = value.name if isinstance(value, Population) else format_value(value)
    return facts


def _list_values(thing: AnyValue) -> Values:
    names = getattr(type(thing), "model_fields", None) or [field.name for field in dataclasses.fields(thing)]
    return {name: getattr(thing, name) for name in names}


def format_value(value: object) -> str:
    """Return a value as text that is the same on all ranks and machines: no address, no folder, checksums of arrays."""
    if isinstance(value, PLAIN):
        return quote(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, Path):  # files may have other paths on another node
        return value.name
    if isinstance(value, np.ndarray) and value.dtype != object:
        mark = checksum.xxh64(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        return f"{value.tolist()}" if value.size <= FEW else f"an array {value.shape} of {value.dtype}, {mark:016x}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {format_value(value[key])}' for key in sorted(value, key=str))}}}"
    if isinstance(value, LearningRule):
        return f"{value.name} {value.digest}"
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        inside = _list_values(value)
    elif isinstance(value, FunctionType | type) or not hasattr(value, "__dict__"):
        return getattr(value, "__qualname__", type(value).__qualname__)
    else:  # an object of a script, which may hold data of one rank
        kept = value.state() if isinstance(value, Loss) else {}  # changes from sample to sample
        inside = {
            name: item
            for name, item in vars(value).items()
            if isinstance(item, PLAIN | np.ndarray) and name not in kept
        }
    return f"{type(value).__qualname__}({', '.join(f'{name}={format_value(item)}' for name, item in inside.items())})"
