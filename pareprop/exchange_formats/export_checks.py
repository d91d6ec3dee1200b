"""Checks that all exports share: whether a target may be written, and whether a run holds the needed results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from .. import files
from ..errors import InputError, quote
from ..network.connectivity import Role
from ..storage.opened import RunResults


def require_target(
    target: Path, what: str, suffix: str, overwrite: bool, may_replace: Callable[[Path], bool] = Path.is_file
) -> None:
    """Raise `InputError` unless `target` has its suffix, and is free or may be replaced; `what` names it."""
    if target.suffix != suffix:
        raise InputError(f"{target}: the {what} needs a name that ends in {suffix}")
    if os.path.lexists(target) and (not overwrite or target.is_symlink() or not may_replace(target)):
        raise InputError(f"{target}: exists; --overwrite replaces a {what} that this command wrote, no other file")


def require_empty(folder: Path) -> None:
    """Raise `InputError` unless a folder that is to be written does not exist, or is empty."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already and not an empty folder")


def open_network(results: Path, simulator: str) -> RunResults:
    """Return the results of a run; raise `InputError` if `simulator` lacks its populations or backgrounds."""
    run = RunResults(results.parent)
    if not run.populations:
        raise InputError(f"{results}: has no populations")
    for name in run.populations:
        role, here = str(run.attributes_of(name).get("role")), f"population {quote(name)}"
        if role not in get_args(Role):
            raise InputError(f"{results}: {here}: role = {quote(role)} must be one of {', '.join(get_args(Role))}")
        if role == "current":
            raise InputError(f"{here}: input currents can't be exported to {simulator}")
    with files.open_results(results) as file:
        files.require_weights(file)
        for name in list(file.get("backgrounds", {}))[:1]:
            problem = f"its spikes are drawn as the network runs, an export to {simulator} can't hold them"
            raise InputError(f"background {quote(name)}: {problem}")
    return run


def list_short_term(run: RunResults) -> list[str]:
    """Return the names of projections with short-term plasticity."""
    with files.open_results(run.path) as file:
        groups = {name: file[f"projections/{name}"] for name in run.projections}
        return [name for name, item in groups.items() if "transmission_U" in (*item.attrs, *item)]


def list_unwritten(run: RunResults) -> list[str]:
    """Return a line for each part that the format lacks: perturbations, and readouts of single neurons."""
    with files.open_results(run.path) as file:
        notes = [f"not written: perturbation '{name}'" for name in file.get("perturbations", {})]
        if any("local_signal" in file[f"dynamics/{sample}"] for sample in run.samples):
            notes.append("not written: readouts of single neurons")
    return notes
