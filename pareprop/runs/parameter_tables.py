"""Tables of all parameters, made from the code, for the handbook and `pareprop help parameters`.

Names and defaults come from the classes, meanings from their docstrings, bounds from the messages with which classes
refuse values that are too low and too high.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from pydantic import ValidationError

from ..engines.base import RECORDED_UNITS
from ..engines.traces import TRACES_UNITS
from ..errors import InputError, quote
from ..network.background import Background
from ..network.connection import Connection
from ..network.delays import DistanceDelay
from ..network.local_readouts import LocalReadouts
from ..network.losses import LOSSES
from ..network.model import Model
from ..network.optimizers import OPTIMIZERS
from ..network.parameters import FLOAT_MAX, Frozen, meanings, nearest
from ..network.perturbations import KINDS as PERTURBATIONS
from ..network.reward import Reward
from ..network.rewire import Rewire
from ..network.rules import RULES
from ..network.space import Space
from ..network.variants import VARIANTS
from ..neurons import library
from ..neurons.model import NeuronModel
from ..storage.self_description import UNITS
from ..values import Values

NEEDS: dict[type[Frozen], Values] = {  # values for required fields, so that a class can be made
    Space: {"extent": (1000.0, 1000.0), "length": 100.0, "cutoff": 300.0},
    DistanceDelay: {"per_length": 0.003},
    LocalReadouts: {"name": "out", "of": ("rec",)},
}
WORDS = {  # phrases of messages, and shorter ones
    "Input should be greater than or equal to": "at least",
    "Input should be greater than": "above",
    "Input should be less than or equal to": "at most",
    "Input should be less than": "below",
    "must not exceed": "at most",
    "must be ": "",
}


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


def default(value: object) -> str:
    """Return a default value as Python code."""
    if value is None or isinstance(value, bool | str):
        return f"`{value!r}`"
    if isinstance(value, float) and abs(value) == FLOAT_MAX:
        return "none"
    return f"`{value:g}`" if isinstance(value, int | float) else "required"


def bounds(kind: type[Frozen], name: str) -> str:
    """Return the bounds of a parameter as the messages of its class name them, or the values to choose from."""
    annotation = kind.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(annotation))
    if annotation is bool:
        return "`True`, `False`"
    if annotation in (str, tuple[str, ...], tuple[float, ...]):
        return ""
    far = 10**9 if annotation is int else 1e300
    return ", ".join(dict.fromkeys(text for value in (-far, far) if (text := objection(kind, name, value))))


def objection(kind: type[Frozen], name: str, value: float) -> str:
    """Return the bound that a class names when it refuses `value` for a parameter; "" if it accepts it."""
    try:
        kind.model_validate({**NEEDS.get(kind, {}), name: value})
    except ValidationError as problem:
        text = problem.errors()[0]["msg"].removeprefix("Value error, ")
        text = re.sub(rf"^(\w+) = \S+ must not exceed {name}\b.*", r"at least \1", text)
        text = text.removeprefix(f"{name} = {value:g} ")
        for long, short in WORDS.items():
            text = text.replace(long, short)
        return re.sub(r"( =|,) [-\d.e+]+$", "", text)  # a bound that is another parameter: its name alone
    return ""


def unit(name: str, meaning: str) -> str:
    """Return the unit of a parameter: that of results, or else the one in its meaning; "" without one."""
    match = re.search(r"\bin (mV|ms|pF|pA|Hz)\b", meaning)
    return UNITS.get(name, match[1] if match else "")


@dataclass(frozen=True)
class Entry:
    """A parameter: name, default, unit, bounds, meaning, and the classes that have it (`of`)."""

    name: str
    default: str
    unit: str
    bounds: str
    meaning: str
    of: str


def list_parameters(kinds: dict[str, type[Frozen]], groups: dict[str, set[str]] | None = None) -> list[Entry]:
    """Return the parameters of some classes; their `of` names classes or `groups` of them, "" if there is one class."""
    entries = []
    for name in dict.fromkeys(name for kind in kinds.values() for name in kind.model_fields if name != "type"):
        having = [label for label, kind in kinds.items() if name in kind.model_fields]
        kind = kinds[having[0]]
        meaning = meanings(kind)[name]
        names_of = [group for group, labels in (groups or {}).items() if labels == set(having)]
        where = "all" if len(having) == len(kinds) else ", ".join(names_of or (f"`{label}`" for label in having))
        known = default(kind.model_fields[name].default), unit(name, meaning), bounds(kind, name)
        entries.append(Entry(name, *known, meaning, where if len(kinds) > 1 else ""))
    return entries


def parameters(kinds: dict[str, type[Frozen]], groups: dict[str, set[str]] | None = None) -> list[str]:
    """Return a Markdown table of the parameters of some classes."""
    head = ("parameter", "default", "unit", "bounds", "meaning", *(["of"] if len(kinds) > 1 else []))
    entries = list_parameters(kinds, groups)
    rows = ((f"`{one.name}`", one.default, one.unit, one.bounds, one.meaning, one.of) for one in entries)
    return table(head, (cells[: len(head)] for cells in rows))


def neuron_kinds() -> dict[str, tuple[str, str, type[Frozen]]]:
    """Return variant, name in `Model.neurons` and class of each neuron model, by NEST's name."""
    return {
        f"eprop_{name}{variant.nest_suffix}": (variant.name, name, kind)
        for variant in VARIANTS.values()
        for name, kind in variant.neurons.items()
    }


def neuron_groups() -> tuple[dict[str, type[Frozen]], dict[str, set[str]]]:
    """Return the classes of the neuron models by NEST's name, and groups of them."""
    labels = neuron_kinds()
    kinds = {label: kind for label, (_, _, kind) in labels.items()}
    groups = {variant: {label for label in labels if labels[label][0] == variant} for variant in VARIANTS}
    groups["adaptive"] = {label for label, kind in kinds.items() if getattr(kind, "adaptive", False)}
    groups["psc_delta"] = {label for label, kind in kinds.items() if getattr(kind, "psc_delta", False)}
    return kinds, groups


def neurons() -> list[str]:
    """Neuron models, then their parameters."""
    models = table(
        ("NEST's name", "variant", "in `Model.neurons`", "what it is"),
        (
            (f"`{label}`", variant, f'`"{name}"`', summary(kind).partition(": ")[2])
            for label, (variant, name, kind) in neuron_kinds().items()
        ),
    )
    return [*models, "", *parameters(*neuron_groups())]


def neuron_models() -> list[str]:
    """Neuron models of the package that are given by equations."""

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
    said, fields = meanings(Reward), inspect.signature(Reward).parameters
    return table(
        ("setting", "default", "meaning and bounds"),
        ((f"`{name}`", default(fields[name].default), said[name]) for name in fields),
    )


def rules() -> list[str]:
    """Connectivity rules with the arguments that they need."""
    return table(
        ("`rule`", "needs", "drawn by", "what it is"),
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


def sections() -> dict[str, list[Entry]]:
    """Return the parameters by section of `pareprop help parameters`."""
    said, fields = meanings(Reward), inspect.signature(Reward).parameters
    return {
        "neurons": list_parameters(*neuron_groups()),
        "readouts": list_parameters({name: variant.readout for name, variant in VARIANTS.items()}),
        "local_readouts": list_parameters({"LocalReadouts": LocalReadouts}),
        "connect": list_parameters({"Connection": Connection}),
        "background": list_parameters({"Background": Background}),
        "perturbations": list_parameters(dict(PERTURBATIONS)),
        "space": list_parameters({"Space": Space, "DistanceDelay": DistanceDelay}),
        "rewire": list_parameters({"Rewire": Rewire}),
        "optimizers": list_parameters(dict(OPTIMIZERS)),
        "reward": [Entry(name, default(fields[name].default), "", "", said[name], "") for name in fields],
    }


def describe(names: tuple[str, ...]) -> Iterator[str]:
    """Yield lines for a terminal: all sections, or the sections and parameters that `names` lists.

    Raises
    ------
    InputError
        If a name is neither a section nor a parameter.
    """
    listed = sections()
    known = [*listed, *dict.fromkeys(entry.name for entries in listed.values() for entry in entries)]
    by_equations = {name: library.get(name) for name in library.free_names()}
    more = {*by_equations, *(name for model in by_equations.values() for name in model.parameters)} - {*known}
    for name in names:
        if name not in known and name not in more:
            raise InputError(f"{quote(name)} is not a parameter, and none of {', '.join(listed)}{nearest(name, known)}")
    for section, entries in listed.items():
        chosen = [one for one in entries if not names or section in names or one.name in names]
        if chosen:
            yield f"{section}:"
        for one in chosen:
            facts = [f"default {one.default}" if one.default != "required" else one.default, one.bounds, one.of]
            name = f"{one.name} ({one.unit})" if one.unit else one.name
            yield f"  {name}: {'; '.join(filter(None, facts))}".replace("`", "")
            yield textwrap.fill(one.meaning, 100, initial_indent="      ", subsequent_indent="      ")
    for label, model in by_equations.items():
        own = [name for name in model.defaults if label in names or (name in names and name in more)]
        if own:
            yield f"{label}: {model.description}"
        for name in own:
            value, unit_ = model.defaults[name], model.units[name]
            yield f"  {name} ({unit_}): default {'none' if abs(value) == FLOAT_MAX else f'{value:g}'}"
    if not names:
        yield f"given by equations: {', '.join(by_equations)}; `pareprop help parameters NAME` tells theirs"
