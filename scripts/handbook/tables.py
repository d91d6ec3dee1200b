"""Sphinx directive `parameters`: tables that the code's registries fill, so that they are never older than the code.

Names, defaults and models come from the checked classes, meanings from their docstrings, bounds from what the classes
answer to values that are too low and too high.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from docutils import nodes
from docutils.statemachine import StringList
from numpydoc.docscrape import NumpyDocString
from pydantic import ValidationError
from sphinx.util.docutils import SphinxDirective

from pareprop import InputError, Model, cli
from pareprop.engines.base import RECORDED_UNITS
from pareprop.network.local_readouts import LocalReadouts
from pareprop.network.losses import LOSSES
from pareprop.network.neurons import SURROGATES
from pareprop.network.optimizers import OPTIMIZERS
from pareprop.network.parameters import FLOAT_MAX, Frozen
from pareprop.network.reward import Reward
from pareprop.network.rewire import Rewire
from pareprop.network.rules import RULES
from pareprop.network.space import Space
from pareprop.network.variants import VARIANTS
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel
from pareprop.storage.self_description import UNITS

ROOT = Path(__file__).parents[2]
NEEDS = {  # values without which a class cannot be made
    Space: {"extent": (1000.0, 1000.0), "length": 100.0, "cutoff": 300.0},
    LocalReadouts: {"name": "out", "of": ("rec",)},
}
WORDS = {  # of pydantic, and shorter ones
    "Input should be greater than or equal to": "at least",
    "Input should be greater than": "above",
    "Input should be less than or equal to": "at most",
    "Input should be less than": "below",
    "must not exceed": "at most",
    "must be ": "",
}


def row(*cells: Any) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Return the lines of a Markdown table."""
    head = list(head)
    return [row(*head), row(*["---"] * len(head)), *(row(*cells) for cells in rows)]


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join(inspect.getdoc(thing).partition("\n\n")[0].split()).replace("`", "")


def meanings(kind: type) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("pareprop") and base.__doc__:
            for entry in NumpyDocString(inspect.cleandoc(base.__doc__))["Attributes"]:
                found |= dict.fromkeys(entry.name.split(", "), " ".join(entry.desc))
    return found


def default(value: Any) -> str:
    """Return a default as one would write it in Python."""
    if value is None or isinstance(value, bool | str):
        return f"`{value!r}`"
    if isinstance(value, float) and abs(value) == FLOAT_MAX:
        return "none"
    return f"`{value:g}`" if isinstance(value, int | float) else "required"


def bounds(kind: type[Frozen], name: str) -> str:
    """Return what a class says of values of a parameter that are too low or too high, or the values to choose from."""
    annotation = kind.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(annotation))
    if annotation is bool:
        return "`True`, `False`"
    if annotation in (str, tuple[str, ...], tuple[float, ...]):
        return ""
    far = 10**9 if annotation is int else 1e300
    return ", ".join(dict.fromkeys(found for value in (-far, far) if (found := objection(kind, name, value))))


def objection(kind: type[Frozen], name: str, value: float) -> str:
    """Return the bound that a class names when a parameter has a value beyond it, "" if it takes it."""
    try:
        kind.model_validate(NEEDS.get(kind, {}) | {name: value})
    except ValidationError as problem:
        text = problem.errors()[0]["msg"].removeprefix("Value error, ")
        text = re.sub(rf"^(\w+) = \S+ must not exceed {name}\b.*", r"at least \1", text)
        text = text.removeprefix(f"{name} = {value:g} ")
        for long, short in WORDS.items():
            text = text.replace(long, short)
        return re.sub(r"( =|,) [-\d.e+]+$", "", text)  # of another parameter: its name, not its default
    return ""


def unit(name: str, meaning: str) -> str:
    """Return the unit of a parameter, as results have it, or else as its meaning says."""
    found = re.search(r"\bin (mV|ms|pF|pA|Hz)\b", meaning)
    return UNITS.get(name, found[1] if found else "")


def parameters(kinds: dict[str, type[Frozen]], groups: dict[str, set[str]] | None = None) -> list[str]:
    """Return a table of the parameters of some classes; a column names the models, or groups of them, that have it."""
    names = dict.fromkeys(name for kind in kinds.values() for name in kind.model_fields if name != "type")
    rows = []
    for name in names:
        having = [label for label, kind in kinds.items() if name in kind.model_fields]
        kind = kinds[having[0]]
        meaning = meanings(kind)[name]
        names_of = [group for group, labels in (groups or {}).items() if labels == set(having)]
        where = "all" if len(having) == len(kinds) else ", ".join(names_of or (f"`{label}`" for label in having))
        field = kind.model_fields[name]
        rows.append((f"`{name}`", default(field.default), unit(name, meaning), bounds(kind, name), meaning, where))
    head = ("parameter", "default", "unit", "bounds", "meaning", "of")
    return table(head[:5] if len(kinds) == 1 else head, (cells[:5] if len(kinds) == 1 else cells for cells in rows))


def neurons() -> list[str]:
    """Neuron models, then their parameters."""
    labels = {
        f"eprop_{name}{variant.nest_suffix}": (variant.name, name, kind)
        for variant in VARIANTS.values()
        for name, kind in variant.neurons.items()
    }
    models = table(
        ("NEST's name", "variant", "in `Model.neurons`", "what it is"),
        (
            (f"`{label}`", variant, f'`"{name}"`', summary(kind).partition(": ")[2])
            for label, (variant, name, kind) in labels.items()
        ),
    )
    kinds = {label: kind for label, (_, _, kind) in labels.items()}
    groups = {variant: {label for label in labels if labels[label][0] == variant} for variant in VARIANTS}
    groups["adaptive"] = {label for label, kind in kinds.items() if kind.adaptive}
    groups["psc_delta"] = {label for label, kind in kinds.items() if kind.psc_delta}
    return [*models, "", *parameters(kinds, groups)]


def neuron_models() -> list[str]:
    """Neuron models that are given as equations, drawn from their files."""

    def equations(model: NeuronModel) -> str:
        lines = [f"{name} ← {text}" for name, text in model.to_dict()["step"].items()]
        resets = model.to_dict().get("reset", {})
        lines += [f"spike: {model.spike} ≥ 0", *(f"reset: {name} ← {text}" for name, text in resets.items())]
        return "<br>".join(f"`{line}`" for line in lines)

    return table(
        ("model", "what it is", "source", "equations"),
        (
            (f"`{name}`", model.description, model.source, equations(model))
            for name, model in ((name, library.get(name)) for name in library.names())
        ),
    )


def readouts() -> list[str]:
    """Parameters of readouts, and the variants that have them."""
    return parameters({name: variant.readout for name, variant in VARIANTS.items()})


def knowing(what: str, name: str) -> str:
    """Names of the variants that know an optimizer or a loss."""
    known = {variant.name: getattr(variant, what) for variant in VARIANTS.values()}
    return ", ".join(variant for variant, names in known.items() if names is None or name in names)


def optimizers() -> list[str]:
    """Optimizers, then their settings."""
    kinds = table(
        ("`type`", "class", "variants", "what it is"),
        (
            (f'`"{name}"`', f"`{kind.__name__}`", knowing("optimizers", name), summary(kind))
            for name, kind in OPTIMIZERS.items()
        ),
    )
    return [*kinds, "", *parameters(dict(OPTIMIZERS))]


def losses() -> list[str]:
    """Losses of readouts, then that of rewards."""
    return table(
        ("`loss`", "variants", "unit of outputs", "what it is"),
        [*((f"`\"{name}\"`", knowing("losses", name), loss.unit, summary(type(loss)))
           for name, loss in LOSSES.items()),
         ("`Reward(...)`", ", ".join(filter(takes_rewards, VARIANTS)), Reward.unit, summary(Reward))],
    )  # fmt: skip


def takes_rewards(variant: str) -> bool:
    """Return whether a model of a variant can learn from rewards."""
    try:
        return bool(Model(variant, loss=Reward()))
    except InputError:
        return False


def reward() -> list[str]:
    """Settings of the loss of rewards."""
    said, fields = meanings(Reward), inspect.signature(Reward).parameters
    return table(
        ("setting", "default", "meaning and bounds"),
        ((f"`{name}`", default(fields[name].default), said[name]) for name in fields),
    )


def rules() -> list[str]:
    """Connectivity rules with the arguments that they need."""
    return table(
        ("`rule`", "needs", "drawn by", "what it is"),
        ((f"`\"{name}\"`", ", ".join(f"`{option}`" for option in rule.options),
          "Python" if rule.code < 0 else "a kernel", summary(type(rule))) for name, rule in RULES.items()),
    )  # fmt: skip


def surrogates() -> list[str]:
    """Surrogate gradients with the formulas that stand beside their code."""
    text = (ROOT / "cython_core" / "surrogates.pxd").read_text()
    lines = re.finditer(r"(?:kind == (\w+):|else:) +# (?:(\w+): )?(.+)", text)
    found = {line[1] or line[2]: line[3] for line in lines}
    return table(
        ("`surrogate_gradient_function`", "ψ(x), x = voltage - threshold, 0 while refractory"),
        ((f'`"{name}"`', found[name.upper()]) for name in SURROGATES),
    )


def recorded() -> list[str]:
    """Quantities of neurons that can be recorded."""
    return table(("quantity", "unit"), ((f"`{name}`", unit_) for name, unit_ in RECORDED_UNITS.items()))


def commands() -> list[str]:
    """The help of every command."""

    def helps(command: click.Command, name: str) -> list[str]:
        if isinstance(command, click.Group):
            return [line for key in sorted(command.commands) for line in helps(command.commands[key], f"{name} {key}")]
        context = click.Context(command, info_name=name, max_content_width=90, terminal_width=90)
        return [f"## `{name}`", "", "```text", *command.get_help(context).splitlines(), "```", ""]

    return helps(cli.commands, "pareprop")


TABLES = {
    "neurons": neurons, "neuron-models": neuron_models,
    "readouts": readouts, "optimizers": optimizers, "losses": losses, "reward": reward,
    "rules": rules, "surrogates": surrogates, "recorded": recorded, "commands": commands,
    "local-readouts": lambda: parameters({"LocalReadouts": LocalReadouts}),
    "rewire": lambda: parameters({"Rewire": Rewire}), "space": lambda: parameters({"Space": Space}),
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
