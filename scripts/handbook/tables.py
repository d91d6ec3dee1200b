"""Sphinx directive `parameters`: tables that the code's registries fill, so that they are never older than the code."""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from pareprop import cli
from pareprop.network.background import Background
from pareprop.network.delays import DistanceDelay
from pareprop.network.local_readouts import LocalReadouts
from pareprop.network.perturbations import KINDS as PERTURBATIONS
from pareprop.network.rewire import Rewire
from pareprop.network.space import Space
from pareprop.neurons.surrogates import SURROGATES
from pareprop.runs import parameter_tables as of
from pareprop.runs.parameter_tables import parameters, table


def surrogates() -> list[str]:
    """Surrogate gradients with their formulas; the parameters are those of height h and width w."""
    short = {"surrogate_gradient_height": "h", "(1/surrogate_gradient_width)": "1/w", "surrogate_gradient_width": "w"}
    rows = []
    for name, formula in SURROGATES.items():
        for long, letter in short.items():
            formula = formula.replace(long, letter)
        rows.append((f'`"{name}"`', f"`{formula}`".replace("*1/w", "/w")))
    return table(("`surrogate_gradient_function`", "ψ(x), x = voltage - threshold, 0 while refractory"), rows)


def commands() -> list[str]:
    """The help of every command."""

    def helps(command: click.Command, name: str) -> list[str]:
        if isinstance(command, click.Group):
            return [line for key in sorted(command.commands) for line in helps(command.commands[key], f"{name} {key}")]
        context = click.Context(command, info_name=name, max_content_width=90, terminal_width=90)
        return [f"## `{name}`", "", "```text", *command.get_help(context).splitlines(), "```", ""]

    return helps(cli.commands, "pareprop")


TABLES = {
    "neurons": of.neurons, "neuron-models": of.neuron_models,
    "readouts": of.readouts, "optimizers": of.optimizers, "losses": of.losses, "reward": of.reward,
    "rules": of.rules, "surrogates": surrogates, "recorded": of.recorded, "commands": commands,
    "local-readouts": lambda: parameters({"LocalReadouts": LocalReadouts}),
    "background": lambda: parameters({"Background": Background}),
    "perturbations": lambda: parameters(dict(PERTURBATIONS)),
    "rewire": lambda: parameters({"Rewire": Rewire}),
    "space": lambda: parameters({"Space": Space, "DistanceDelay": DistanceDelay}),
}  # fmt: skip


class Parameters(SphinxDirective):
    """Write one of `TABLES` in place of the directive, read as Markdown."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the table."""
        lines = TABLES[self.arguments[0]]()
        place = nodes.section() if self.arguments[0] == "commands" else nodes.Element()
        place.document = self.state.document
        self.state.nested_parse(StringList(lines, source="tables.py"), self.content_offset, place, match_titles=True)
        return place.children


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("parameters", Parameters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
