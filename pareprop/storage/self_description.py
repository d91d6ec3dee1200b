"""Describe `results.h5` in itself: write parameters of populations and projections, units, named axes.

Axes are HDF5 dimension scales with the names `iteration`, `step`, `neuron`, `readout`, `spike`, `synapse`, so that
xarray opens a group with them. Axes that only count, of spikes and synapses, are dimensions without values, as netCDF
has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..engines.parameters import SUMMARY
from ..engines.recorded import RECORDED_UNITS
from ..later import h5py
from ..network.connectivity import RULES, Population, Projection
from ..network.local import draw_cell_values
from ..network.model import Model
from ..network.optimizers import OF_VALUES, OF_WEIGHTS
from ..network.parameters import Distribution
from ..values import AnyValue, Values

STATE = "state_"  # datasets of states of neurons given by equations begin so
BLOCK = 2**20  # values of a parameter drawn at a time
WITHOUT_VALUES = "This is a netCDF dimension but not a netCDF variable.%10d"
UNITS = {
    "C_m": "pF", "E_L": "mV", "V_m": "mV", "V_th": "mV", "V_min": "mV", "V_reset": "mV", "I_e": "pA", "tau_m": "ms",
    "t_ref": "ms", "adapt_tau": "ms", "eprop_isi_trace_cutoff": "ms", "f_target": "Hz", "rate_hz": "Hz",
    "mean": "pA", "std": "pA", "delay": "steps",
}  # fmt: skip
SIGNALS = ("readout_signal", "target_signal", "error_signal")
DYNAMICS = {  # axes of the datasets of a recorded sample
    **dict.fromkeys(RECORDED_UNITS, ("step", "neuron")),
    **dict.fromkeys(SIGNALS, ("step", "readout")),
    "record": ("neuron",),
    "spike_steps": ("spike",),
    "spike_ids": ("spike",),
    "input_steps": ("input_spike",),
    "input_ids": ("input_spike",),
    **dict.fromkeys(("decision_steps", "action", "reward", "value", "td_error", "advantage"), ("decision",)),
    "policy": ("decision", "choice"),
    "observation": ("moment", "component"),
}


def write_parameters(file: h5py.File, model: Model) -> None:
    """Write /populations, /backgrounds, /perturbations, and the parameters of /projections.

    Single numbers become attributes, values of each cell datasets. Drawn values depend on the seed and the number of
    the cell alone, so that rank 0 draws the values of all ranks.
    """
    for order, population in enumerate(model.populations):
        group = file.create_group(f"populations/{population.name}")
        group.attrs.update(role=population.role, model=population.model, size=population.size, order=order)
        if population.area:
            group.attrs["area"] = population.area
        definition = getattr(population.params, "definition", None)
        if definition and population.model not in model.eprop.neurons:  # models of the variant are known by name
            group.attrs["neuron_model"] = definition.to_json()
        params = population.params.model_dump() if population.params is not None else {}
        for name in params:
            _write_parameter(group, model, population, name, getattr(population.params, name))
    for background in model.backgrounds:
        group = file.create_group(f"backgrounds/{background.name}")
        group.attrs.update(post=background.post.name, port=background.post.ports[background.port_index])
        for name in ("rate_hz", "weight"):
            value = getattr(background, name)
            _write_parameter(group, model, background.post, name, value, f"{background.name}/{name}")
    for item in model.perturbations:
        group = file.create_group(f"perturbations/{item.name}")
        group.attrs.update(kind=item.kind, of=item.of, phases=json.dumps(item.options.phases))
        group.attrs.update(start=item.start, stop=-1 if item.stop is None else item.stop)
        for name in ("p", "mean", "std", "dt", "cells"):
            if isinstance(value := getattr(item.options, name, None), tuple):
                group.create_dataset(name, data=value)
            elif value is not None:
                (post,) = (population for population in model.populations if population.name == item.of)
                _write_parameter(group, model, post, name, value, f"{item.name}/{name}")
    for projection in model.projections:
        if (group := file.get(f"projections/{projection.name}")) is not None:  # it has synapses
            group.attrs.update(_collect_parameters(projection, model))
            if projection.learning_rule is not None:
                for name, value in (projection.learning_parameters or {}).items():
                    drawn_as = f"{projection.learning_rule.name}/{name}"
                    _write_parameter(group, model, projection.post, f"learning_{name}", value, drawn_as)
            if projection.transmission is not None:
                for name, value in projection.transmission:
                    drawn_as = f"{projection.name}/transmission/{name}"
                    _write_parameter(group, model, projection.pre, f"transmission_{name}", value, drawn_as)


def write_learned(
    file: h5py.File,
    model: Model,
    learned: Mapping[str, Sequence[Mapping[str, float]]],
    values: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """Write initial and final values, and statistics by iteration, of parameters that learn.

    `file` was written by `write_parameters`; `learned` has statistics as in `Simulation.learned`, `values` the initial
    and final values by name, one for each neuron or one for all.
    """
    for population in model.of_role("recurrent"):
        for name, optimizer in population.learn.items():
            full, group = f"{population.name}.{name}", file[f"populations/{population.name}"]
            for key, value in zip((f"{name}_initial", name), values[full], strict=True):
                group.attrs.pop(key, None)
                if key in group:
                    del group[key]
                if optimizer.shared:
                    group.attrs[key] = value[0]
                else:
                    group[key] = value
                    name_axes(group, key, ("neuron",), population.params.definition.units[name])
            summary = file.create_group(f"learned/{full}")
            summary.attrs.update(
                population=population.name,
                parameter=name,
                low=optimizer.low,
                high=optimizer.high,
                scale=optimizer.scale,
                shared=optimizer.shared,
                unit=population.params.definition.units[name],
                optimizer=json.dumps(optimizer.model_dump(include=optimizer.model_fields_set | {"type"})),
            )
            for key in SUMMARY:
                summary[key] = np.array([row[key] for row in learned[full]], float)
                name_axes(summary, key, ("iteration",))


def _write_parameter(
    group: h5py.Group, model: Model, population: Population, name: str, value: AnyValue, drawn_as: str | None = None
) -> None:
    if value is None:
        return
    drawn = isinstance(value, Distribution)
    if not drawn and not np.ndim(value):
        group.attrs[name] = value
        return
    data = group.create_dataset(name, (population.size,), "f8")
    for low, high in _list_blocks(population.size):
        data[low:high] = draw_cell_values(model, population, drawn_as or name, value, low, high)
    if drawn:
        data.attrs["drawn_from"] = str(value)
    name_axes(group, name, ("neuron",))


def _list_blocks(size: int) -> Iterator[tuple[int, int]]:
    return ((low, min(low + BLOCK, size)) for low in range(0, size, BLOCK))


def _collect_parameters(projection: Projection, model: Model) -> Values:
    """Return the parameters of a projection as attributes."""
    optimizer = projection.optimizer or model.optimizer
    attributes: Values = {
        "rule": projection.rule,
        "plastic": projection.plastic,
        "delay_range": list(projection.delay_range),
        "feedback": projection.feedback,
        "normalized": projection.normalized,
        "inhibition": projection.inhibition,
    }
    options = {name: getattr(projection, name) for name in RULES[projection.rule].options}
    attributes |= {name: value for name, value in options.items() if isinstance(value, int | float | str)}
    if isinstance(projection.weight, Distribution) and not projection.weight.is_constant:
        attributes["weight_drawn_from"] = str(projection.weight)
    if projection.delay_law is not None:
        drawn = isinstance(projection.delay_law, Distribution)
        attributes["delay_drawn_from" if drawn else "delay_by_distance"] = str(projection.delay_law)
    if len(projection.post.ports) > 1:
        attributes["port"] = projection.post.ports[projection.port_index]
    if projection.plastic:
        left_out = {*OF_VALUES} if optimizer.scaled else {*OF_VALUES, "scaled"}
        attributes["optimizer"] = json.dumps(optimizer.model_dump(exclude=left_out, exclude_none=True))
    if projection.learn_delay is not None:
        attributes["learn_delay"] = json.dumps(projection.learn_delay.model_dump(exclude={*OF_WEIGHTS}))
    if (rule := projection.learning_rule) is not None:
        attributes |= {"learning_rule": rule.name, "learning_rule_definition": json.dumps(rule.to_dict())}
    if projection.rewire is not None:
        attributes["rewire"] = json.dumps(projection.rewire.model_dump(mode="json"))
    return attributes


def name_axes(group: h5py.Group, name: str, axes: tuple[str, ...], unit: str = "") -> None:
    """Attach its unit and dimension scales of the group, new ones if need be, to a dataset.

    An axis whose length differs from the scale of its name (such as a signal of other neurons) gets a label alone.
    """
    data = group[name]
    if unit or name in UNITS:
        data.attrs["unit"] = unit or UNITS[name]
    for k, axis in enumerate(axes):
        scale = group.get(axis) or _make_scale(group, axis, data.shape[k])
        if scale.name != data.name and len(scale) == data.shape[k]:
            data.dims[k].attach_scale(scale)
        data.dims[k].label = axis


def _make_scale(group: h5py.Group, axis: str, length: int) -> h5py.Dataset:
    if axis in ("spike", "input_spike", "synapse"):  # without values it takes no space
        scale = group.create_dataset(axis, (length,), "i1")
        scale.make_scale(WITHOUT_VALUES % length)
        return scale
    ids = group["record"][()] if axis == "neuron" and "record" in group else np.arange(length) + (axis == "iteration")
    scale = group.create_dataset(axis, data=ids)
    scale.make_scale(axis)
    return scale


def describe_sample(group: h5py.Group, unit: str, units: dict[str, str]) -> None:
    """Name axes and units of a recorded sample; `unit` belongs to readouts, targets and errors, `units` to states."""
    for name, axes in DYNAMICS.items():
        if name in group and group[name].ndim == len(axes):
            name_axes(group, name, axes, unit if name in SIGNALS else RECORDED_UNITS.get(name, ""))
    for name in [name for name in group if name.startswith("info_")]:
        name_axes(group, name, ("moment",))
    for name in [name for name in group if name.startswith(STATE)]:
        name_axes(group, name, ("step", "neuron"), units.get(name.removeprefix(STATE), ""))
