"""Neuron models of the package: each TOML file in `models/`, in the format of users' own models.

A file is named after its first model; it may contain several forms, such as the levels of `glif`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from .. import files
from ..errors import InputError
from ..values import Values
from .language import suggest_nearest
from .model import NeuronModel, models_of

FOLDER = Path(__file__).parent / "models"


@cache
def read_tables() -> dict[str, Values]:
    """Return the tables of all models of the package by name, unchecked."""
    models: dict[str, Values] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        models |= files.parse_toml(path.read_text())["neuron_models"]
    return models


def list_names() -> tuple[str, ...]:
    """Return the names of all models of the package."""
    return tuple(read_tables())


@cache
def free_names() -> tuple[str, ...]:
    """Return the names of models for both variants: all but NEST's own e-prop neurons, which are for one."""
    return tuple(name for name in read_tables() if name not in nest_names())


@cache
def nest_names() -> tuple[str, ...]:
    """Return the names of NEST's own e-prop neurons."""
    return tuple(name for name, table in read_tables().items() if table.get("nest", "").startswith("eprop_"))


@cache
def get_definition(name: str) -> NeuronModel:
    """Return a model of the package by its name, one of `list_names()`; `InputError` for other names."""
    if name in read_tables():
        return NeuronModel.from_dict(name, read_tables()[name])
    raise InputError(f"unknown neuron model {name!r}{suggest_nearest(name, list_names())}")


def load_definitions(path: str | Path) -> dict[str, NeuronModel]:
    """Return the models by name from the table `neuron_models` of a TOML or JSON file.

    Raises `InputError` if the file cannot be read, or a model is wrong.
    """
    return models_of(read_table(path, "neuron_models"), str(path))


def read_table(path: str | Path, *names: str) -> Values:
    """Return a table of a TOML or JSON file under the first of some names; `InputError` if there is none."""
    try:
        text = files.read(path).decode()
        given = files.parse_json(text) if str(path).endswith(".json") else files.parse_toml(text)
    except OSError as problem:
        raise InputError(f"cannot read {path}: {problem.strerror or problem}") from None
    except ValueError as problem:
        raise InputError(f"cannot read {path}: {' '.join(str(problem).split())[:200]}") from None
    found = [given[name] for name in names if given.get(name)] if isinstance(given, dict) else []
    if not found:
        raise InputError(f"{path}: there is no table [{names[0]}.NAME]")
    return found[0]
