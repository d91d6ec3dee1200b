"""Sphinx directive `parameters`: tables that the code's registries fill, so that they are never older than the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import partial
from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from pareprop import cli
from pareprop.engines.recorded import RECORDED_UNITS
from pareprop.engines.traces import TRACES_UNITS
from pareprop.errors import InputError
from pareprop.network.connection_rules import RULES
from pareprop.network.losses import LOSSES
from pareprop.network.model import Model
from pareprop.network.optimizers import OPTIMIZERS
from pareprop.network.reward import Reward
from pareprop.network.unsupported import MEANINGS, UNSUPPORTED
from pareprop.network.variants import VARIANTS
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel
from pareprop.neurons.surrogates import SURROGATES
from pareprop.runs.parameter_tables import list_sections, neuron_kinds


def row(*cells: object) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    head = list(head)
    return [row(*head), row(*["---"] * len(head)), *(row(*cells) for cells in rows)]


def summary(thing: object) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()).replace("`", "")


def parameters(section: str) -> list[str]:
    """Return a Markdown table of the parameters of a section of `pareprop help parameters`."""
    entries = list_sections()[section]
    head = ("parameter", "default", "unit", "bounds", "meaning", *(["of"] if any(one.of for one in entries) else []))
    rows = ((f"`{one.name}`", one.default, one.unit, one.bounds, one.meaning, one.of) for one in entries)
    return table(head, (cells[: len(head)] for cells in rows))


def neurons() -> list[str]:
    """Neuron models, then their parameters."""
    models = table(
        ("NEST's name", "variant", "in `Model.neurons`", "description"),
        (
            (f"`{label}`", variant, f'`"{name}"`', library.get_definition(label.removeprefix("eprop_")).description)
            for label, (variant, name, _) in neuron_kinds().items()
        ),
    )
    return [*models, "", *parameters("neurons")]


def neuron_models() -> list[str]:
    """Neuron models of the package that are given by equations."""

    def equations(model: NeuronModel) -> str:
        lines = [f"{name} ← {text}" for name, text in model.to_dict()["step"].items()]
        resets = model.to_dict().get("reset", {})
        lines += [f"spike: {model.spike} ≥ 0", *(f"reset: {name} ← {text}" for name, text in resets.items())]
        return "<br>".join(f"`{line}`" for line in lines)

    return table(
        ("model", "description", "source", "equations"),
        (
            (f"`{name}`", model.description, model.source, equations(model))
            for name, model in ((name, library.get_definition(name)) for name in library.list_names())
        ),
    )


def knowing(what: str, name: str) -> str:
    """Names of the variants that know an optimizer or a loss."""
    known = {variant.name: getattr(variant, what) for variant in VARIANTS.values()}
    return ", ".join(variant for variant, names in known.items() if names is None or name in names)


def optimizers() -> list[str]:
    """Optimizers, then their settings."""
    kinds = table(
        ("`type`", "class", "variants", "description"),
        (
            (f'`"{name}"`', f"`{kind.__name__}`", knowing("optimizers", name), summary(kind))
            for name, kind in OPTIMIZERS.items()
        ),
    )
    return [*kinds, "", *parameters("optimizers")]


def losses() -> list[str]:
    """Losses of readouts, then the loss of rewards."""
    return table(
        ("`loss`", "variants", "unit of outputs", "description"),
        [
            *(
                (f'`"{name}"`', knowing("losses", name), loss.unit, summary(type(loss)))
                for name, loss in LOSSES.items()
            ),
            ("`Reward(...)`", ", ".join(filter(takes_rewards, VARIANTS)), Reward.unit, summary(Reward)),
        ],
    )


def takes_rewards(variant: str) -> bool:
    """Return whether a model of a variant can learn from rewards."""
    try:
        return bool(Model(variant, loss=Reward()))
    except InputError:
        return False


def reward() -> list[str]:
    """Settings of the loss of rewards."""
    rows = ((f"`{one.name}`", one.default, one.meaning) for one in list_sections()["reward"])
    return table(("setting", "default", "meaning and bounds"), rows)


def rules() -> list[str]:
    """Connectivity rules with the arguments that they need."""
    return table(
        ("`rule`", "needs", "drawn by", "description"),
        (
            (
                f'`"{name}"`',
                ", ".join(f"`{option}`" for option in rule.options),
                "Python" if rule.code < 0 else "a kernel",
                summary(type(rule)),
            )
            for name, rule in RULES.items()
        ),
    )


def recorded() -> list[str]:
    """Quantities of neurons and of synapses that can be recorded."""
    listed = [("neurons", RECORDED_UNITS), ("synapses", TRACES_UNITS)]
    rows = ((f"`{name}`", unit_, of) for of, units in listed for name, unit_ in units.items())
    return table(("quantity", "unit", "of"), rows)


def surrogates() -> list[str]:
    """Surrogate gradients with their formulas; the parameters are height h and width w."""
    short = {"surrogate_gradient_height": "h", "(1/surrogate_gradient_width)": "1/w", "surrogate_gradient_width": "w"}
    rows = []
    for name, formula in SURROGATES.items():
        for long, letter in short.items():
            formula = formula.replace(long, letter)
        rows.append((f'`"{name}"`', f"`{formula}`".replace("*1/w", "/w")))
    return table(("`surrogate_gradient_function`", "ψ(x), x = voltage - threshold, 0 while refractory"), rows)


def unsupported() -> list[str]:
    """Features that do not go together."""
    rows = (([MEANINGS[name] for name in features], reason) for features, reason in UNSUPPORTED.items())
    return table(
        ("feature", "does not go with", "because"), ((one, ", ".join(more), why) for (one, *more), why in rows)
    )


def commands() -> list[str]:
    """The help of every command."""

    def helps(command: click.Command, name: str) -> list[str]:
        if isinstance(command, click.Group):
            return [line for key in sorted(command.commands) for line in helps(command.commands[key], f"{name} {key}")]
        context = click.Context(command, info_name=name, max_content_width=90, terminal_width=90)
        return [f"## `{name}`", "", "```text", *command.get_help(context).splitlines(), "```", ""]

    return helps(cli.commands, "pareprop")


TABLES = {
    "neurons": neurons,
    "neuron-models": neuron_models,
    "optimizers": optimizers,
    "losses": losses,
    "reward": reward,
    "rules": rules,
    "surrogates": surrogates,
    "recorded": recorded,
    "commands": commands,
    "unsupported": unsupported,
    **{
        name.replace("_", "-"): partial(parameters, name)
        for name in ("readouts", "local_readouts", "background", "perturbations", "rewire", "space")
    },
}


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
