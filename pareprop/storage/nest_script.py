"""Export of a run as a script that rebuilds its network in NEST: the module `nest_rebuild`, with the run's results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from ..network.connectivity import Role
from .disk import output_errors, replace_file
from .opened import RunResults

TEMPLATE = Path(__file__).with_name("nest_rebuild.py")
KIND = "spikes_from_rest_without_learning"  # attribute that marks a file of spikes written beside a script
Spikes = dict[str, tuple[np.ndarray, np.ndarray]]


def export(results: Path, target: Path, overwrite: bool = False, simulate: Callable[[], Spikes] | None = None) -> Path:
    """Write the script and, beside it, the spikes to compare with, unless these are in the results of the run.

    Parameters
    ----------
    results : Path
        `results.h5` of the run, which the script reads by its path from the script's folder.
    target : Path
        The script.
    overwrite : bool
        Whether to replace a script.
    simulate : callable or None
        Returns steps and ids of spikes from rest and without learning, by sample; called after all checks.

    Returns
    -------
    Path
        The script.

    Raises
    ------
    InputError
        If there are no results, NEST has no such network, or the file exists.
    """
    run = RunResults(results.parent)
    if not run.populations:
        raise InputError(f"{results}: written before version 0.2, without the parameters of its neurons")
    roles = {name: str(run.attributes_of(name).get("role")) for name in run.populations}
    for name, role in roles.items():
        if role not in get_args(Role):
            reason = f"role = {quote(role)} must be one of {', '.join(get_args(Role))}"
            raise InputError(f"{results}: population '{name}': {reason}")
        if role == "current":
            raise InputError(f"population '{name}': input currents can't be exported to NEST")
    with files.open_results(results) as file:
        files.require_weights(file)
        for name in list(file.get("backgrounds", {}))[:1]:
            raise InputError(f"background {quote(name)}: its spikes are drawn as the network runs, NEST draws others")
        for name, item in file.get("perturbations", {}).items():
            phases = json.loads(str(item.attrs["phases"]))
            if phases is None or "train" in phases:
                raise InputError(f"perturbation {quote(name)}: it acts in training, NEST has no such thing")
    if target.suffix != ".py":
        raise InputError(f"{target}: the script needs a name that ends in .py")
    if os.path.lexists(target) and (not overwrite or target.is_symlink() or not target.is_file()):
        raise InputError(f"{target}: exists; --overwrite replaces a script")
    place = os.path.relpath(os.path.realpath(results), os.path.dirname(os.path.realpath(target)))
    text = files.read(TEMPLATE).decode()
    text = text.replace('RESULTS = Path("results.h5")', f"RESULTS = Path(__file__).resolve().parent / {place!r}", 1)
    spikes, beside = simulate() if simulate else {}, target.with_suffix(".h5")
    if spikes:
        if os.path.lexists(beside) and not (overwrite and _is_of_script(beside)):
            raise InputError(f"{beside}: exists; --overwrite replaces the spikes of a script, no other file")
        text = text.replace("AT_REST = None", f"AT_REST = Path(__file__).resolve().parent / {beside.name!r}", 1)
        with output_errors(beside), replace_file(beside) as part:
            _write_spikes(part, spikes)
    with output_errors(target), replace_file(target) as part:
        part.write_text(text)
    return target


def _is_of_script(path: Path) -> bool:
    """Return whether a file was written beside a script, and may be replaced."""
    try:
        with files.open_hdf5(path) as file:
            return KIND in file.attrs
    except (OSError, InputError):
        return False


def _write_spikes(path: Path, spikes: Spikes) -> None:
    with h5py.File(path, "w") as file:
        file.attrs[KIND] = True
        for sample, (steps, ids) in spikes.items():
            file[f"{sample}/spike_steps"], file[f"{sample}/spike_ids"] = steps, ids
