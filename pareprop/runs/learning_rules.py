"""The command `check-rule`: find the learning rules that it names, print their checks, draw a picture."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from .. import terminal
from ..errors import InputError, quote
from ..neurons import library as models
from ..neurons.language import suggest_nearest
from ..neurons.model import NeuronModel
from ..rules import library
from ..rules.check import RuleCheck, check_rule, find_neurons
from ..rules.definition import LearningRule
from ..storage.disk import output_errors
from .neuron_models import find_definitions, parse_values


def check_rules(
    source: str, name: str | None, neuron: str | None, dt_ms: float, settings: Sequence[str], out: Path | None
) -> bool:
    """Check the rules of a file, or one of the package; print the findings, and return whether all checks passed.

    `source` is a file or the name of a rule, `name` one of the rules of a file; None: all of them. `neuron` is the
    neuron model to check the rules with; None: the first that fits. `dt_ms` is the time step, `settings` has
    "key=value" of parameters of the neurons, and `out` is the file for the figure. Raises an `InputError` if there is
    no such rule or neuron, or it is wrong.
    """
    passed = True
    for rule in find_definitions(library, "learning rule", "--rule", source, name, out):
        if not isinstance(rule, LearningRule):
            terminal.echo(f"rule {rule.name}: e-prop through {quote(rule.through)}, filter {quote(rule.filter)}")
            continue
        model = _find_neuron(source, neuron) or find_neurons(rule)
        found = check_rule(rule, model, dt_ms, parse_values(model, settings))
        terminal.echo(found.text())
        passed &= found.passed
        if out is not None and found.window.size:
            with output_errors(out, "--out "):
                _draw_window(found, out)
            terminal.echo(f"figure: {out}")
        elif out is not None:
            terminal.echo("figure: none, as the equations are not finite")
    return passed


def _find_neuron(source: str, name: str | None) -> NeuronModel | None:
    if name is None:
        return None
    if name in models.list_names():
        return models.get_definition(name)
    own: dict[str, NeuronModel] = {}
    with contextlib.suppress(InputError):  # a file of rules alone
        own = models.load_definitions(source)
    if name not in own:
        raise InputError(
            f"--neuron {quote(name)} is no neuron model of the package{suggest_nearest(name, models.list_names())}"
        )
    return own[name]


def _draw_window(found: RuleCheck, out: Path) -> None:
    from ..plots import rule

    rule.save(out, rule.draw_figure(found.rule.name, found.times, found.window, found.rise_text if found.rise else ""))
