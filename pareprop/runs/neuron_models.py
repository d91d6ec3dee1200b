"""The commands `check-model` and `compile`: find the neuron models that they name, print checks, draw a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import terminal
from ..errors import InputError, quote
from ..network.equations import make_parameters_class
from ..network.parameters import parse_setting, validate_values
from ..neurons import library
from ..neurons.check import Check, check_model
from ..neurons.compile import cache_folder, fill_cache
from ..neurons.language import suggest_nearest
from ..neurons.model import NeuronModel
from ..storage.disk import output_errors
from ..values import Foreign


def check_models(source: str, name: str | None, dt_ms: float, settings: Sequence[str], out: Path | None) -> bool:
    """Check the models of a file, or one of the package; print the findings, and return whether all checks passed.

    `source` is a file or the name of a model, `name` one of the models of a file; None: all of them. `dt_ms` is the
    time step, `settings` has "key=value" of parameters, and `out` is the file for the figure. Raises an `InputError` if
    there is no such model, or it is wrong.
    """
    passed = True
    for model in find_definitions(library, "neuron model", "--model", source, name, out):
        check = check_model(model, dt_ms, parse_values(model, settings))
        terminal.echo(check.text())
        passed &= check.passed
        if out is not None:
            with output_errors(out, "--out "):
                _draw_check(check, out)
            terminal.echo(f"figure: {out}")
    return passed


def compile_all(sources: Sequence[str], levels: Sequence[str], ports: Sequence[str] = ()) -> None:
    """Compile neuron models of files and of the package for later runs, and print their paths.

    `sources` are files or names of models; none: all models of the package that are not compiled with it. `levels` are
    levels of the processor; none: the one in use. Each of `ports` is a list, with commas, of ports at which synapses
    learn together; none: all ports, and each alone. Raises an `InputError` if there is no such model, level or port, or
    no compiler.
    """
    for source in sources or library.free_names():
        for model in find_definitions(library, "neuron model", "", source, None):
            found = fill_cache(model, levels, ports=[some.split(",") for some in ports])
            terminal.echo(f"{model.name}: {len(found)} files in {cache_folder()}")


def find_definitions(
    library: Foreign, kind: str, option: str, source: str, name: str | None, out: Path | None = None
) -> list[Foreign]:
    """Return the neuron models or learning rules (`kind`) of a file, the one called `name`, or one of the package.

    Raises an `InputError` if `source` is neither a file nor in the package, if `name`, given by `option`, is not in the
    file, or if the figure `out` would be of several or cannot have its format.
    """
    if out is not None:
        from ..plots.style import require_format

        require_format("--out", out)
    if source in library.list_names() and not Path(source).exists():
        if name not in (None, source):
            raise InputError(f"{option} {quote(name)}: {source} is a {kind} of the package, not a file")
        return [library.get_definition(source)]
    if not source.endswith((".toml", ".json")) and not Path(source).exists():
        raise InputError(
            f"{quote(source)} is not a file, and no {kind} of the package"
            f"{suggest_nearest(source, library.list_names())}"
        )
    found = library.load_definitions(source)
    if name is not None and name not in found:
        raise InputError(f"{source}: unknown {kind} {quote(name)}{suggest_nearest(name, found)}")
    if out is not None and name is None and len(found) > 1:
        raise InputError(
            f"{source} holds {terminal.format_count(len(found), kind)}: name one with {option} for a picture"
        )
    return list(found.values()) if name is None else [found[name]]


def parse_values(model: NeuronModel, settings: Sequence[str]) -> dict[str, float]:
    """Return parameters of a model that `--set` gives, checked."""
    values = {}
    for setting in settings:
        key, value = parse_setting(setting)
        if key not in model.defaults:
            raise InputError(
                f"--set {quote(setting)}: unknown parameter {quote(key)}{suggest_nearest(key, model.defaults)}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"--set {quote(setting)}: {key} must be a number")
        values[key] = float(value)
    validate_values(make_parameters_class(model), values, f"neuron model '{model.name}'")
    return values


def _draw_check(check: Check, out: Path) -> None:
    from ..plots import neuron

    units, names = check.model.units, list(check.model.states)
    states = {
        f"{name} ({units[name]})" if units[name] != "1" else name: row
        for name, row in zip(names, check.response, strict=True)
        if np.ptp(row) > 0 or len(names) == 1  # a synaptic state stays at rest without spikes that arrive
    }
    traces = {f"by {name}": row for name, row in zip(names, check.eps, strict=True)} | {"e": check.e}
    curve = check.drive, check.rates, check.drive_unit
    drawn = neuron.draw_figure(check.model.name, check.time, states, check.spikes, traces, check.psi, curve)
    neuron.save(out, drawn)
