"""Export of a run as a script that rebuilds its network in NEST: the module `nest_template`, with the run's results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from ..network import of_nest
from ..network.variants import find_variant
from ..storage.disk import output_errors, replace_file, write_hdf5
from ..storage.opened import RunResults
from .export_checks import open_network, require_target

TEMPLATE = Path(__file__).with_name("nest_template.py")
KIND = "spikes_from_rest_without_learning"  # attribute that marks a file of spikes written with a script
Spikes = dict[str, tuple[np.ndarray, np.ndarray]]


def export_network(
    results: Path, target: Path, overwrite: bool = False, simulate: Callable[[], Spikes] | None = None
) -> list[str]:
    """Write a script that reads `results` of the run by a relative path; return notes on differences in NEST.

    `simulate` returns steps and ids of spikes from rest and without learning, by sample; they are written into a file
    next to the script. A note names each population that NEST integrates by another method.
    """
    require_target(target, "script", ".py", overwrite)
    run = open_network(results, "NEST")
    models, notes = _choose_models(run)
    with files.open_results(results) as file:
        _check_ports(file, run)
        for name, item in file.get("perturbations", {}).items():
            phases = json.loads(str(item.attrs["phases"]))
            if phases is None or "train" in phases:
                raise InputError(f"perturbation {quote(name)}: it acts in training, NEST has no such thing")
    place = os.path.relpath(os.path.realpath(results), os.path.dirname(os.path.realpath(target)))
    text = files.read(TEMPLATE).decode()
    text = text.replace('RESULTS = Path("results.h5")', f"RESULTS = Path(__file__).resolve().parent / {place!r}", 1)
    text = text.replace("MODELS: dict[str, str] = {}", f"MODELS: dict[str, str] = {models!r}", 1)
    spikes, spike_file = simulate() if simulate else {}, target.with_suffix(".h5")
    if spikes:
        if os.path.lexists(spike_file) and not (overwrite and _is_spike_file(spike_file)):
            raise InputError(f"{spike_file}: exists; --overwrite replaces the spikes of a script, no other file")
        text = text.replace("AT_REST = None", f"AT_REST = Path(__file__).resolve().parent / {spike_file.name!r}", 1)
        with output_errors(spike_file), replace_file(spike_file) as part:
            _write_spikes(part, spikes)
    with output_errors(target), replace_file(target) as part:
        part.write_text(text)
    return notes


def _choose_models(run: RunResults) -> tuple[dict[str, str], list[str]]:
    """Return NEST's model of each population of neurons, and a note for each that NEST integrates by another method."""
    models, notes = {}, []
    variant = find_variant(run.attributes.get("variant"))
    for name in run.populations:
        about, here = run.attributes_of(name), f"population {quote(name)}"
        if about["role"] != "recurrent":
            continue
        model = str(about["model"])
        if "neuron_model" not in about:
            if model not in variant.neurons:
                raise InputError(f"{run.path}: {here}: no model {quote(model)} in variant '{variant.name}'")
            models[name] = f"eprop_{model}{variant.nest_suffix}"
            continue
        nest = of_nest.find_name(model, json.loads(str(about["neuron_model"])))
        if not nest:
            names = ", ".join((*of_nest.SAME, *of_nest.OTHERWISE))
            raise InputError(f"{here}: model {quote(model)} is a custom model; scripts can hold NEST's {names}")
        models[name] = nest
        if nest == "izhikevich" and np.any(run.parameters(name)["t_ref"]):
            raise InputError(f"{here}: t_ref must be 0: NEST's izhikevich has no refractory time")
        if nest in of_nest.OTHERWISE:
            notes.append(f"{here}: NEST integrates {nest} by another method: spikes may be others")
    return models, notes


def _check_ports(file: h5py.File, run: RunResults) -> None:
    """Raise `InputError` for weights whose sign would send them to another port in NEST."""
    for name in run.projections:
        group = file[f"projections/{name}"]
        sign = {"exc": 1, "inh": -1}.get(str(group.attrs.get("port")), 0)
        post = run.attributes_of(str(group.attrs["post"]))
        is_signal = run.attributes_of(str(group.attrs["pre"]))["role"] == "readout"
        if not sign or is_signal or post["model"] in of_nest.OTHERWISE:
            continue
        values = run.parameters(str(group.attrs["post"]))
        if np.array_equal(values["tau_syn_ex"], values["tau_syn_in"]):
            continue
        for key in ("weight_initial", "weight"):
            if len(wrong := np.flatnonzero(group[key][()] * sign < 0)):
                here = f"projection {quote(name)}: {key} = {group[key][wrong[0]]:g} is of port '{group.attrs['port']}'"
                raise InputError(f"{here}: in NEST weights above 0 arrive at port 'exc', weights below 0 at 'inh'")


def _is_spike_file(path: Path) -> bool:
    """Return whether a file holds spikes that were written with a script, and may be replaced."""
    try:
        with files.open_hdf5(path) as file:
            return KIND in file.attrs
    except (OSError, InputError):
        return False


def _write_spikes(path: Path, spikes: Spikes) -> None:
    with write_hdf5(path) as file:
        file.attrs[KIND] = True
        for sample, (steps, ids) in spikes.items():
            file[f"{sample}/spike_steps"], file[f"{sample}/spike_ids"] = steps, ids
