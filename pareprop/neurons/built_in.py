"""NEST's own e-prop neurons, whose kernels are generated from their files when the package is built.

An installation from sources has kernels for NEST's default surrogate gradient; others are compiled when a run needs
them. Wheels have all.

Kernels count voltages from `E_L`, like NEST, so that small differences keep their digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from . import library
from .language import Tree, write
from .model import NeuronModel
from .surrogates import SURROGATES

ORIGIN = "E_L"  # parameter that is 0 mV in the kernels
DEFAULT = next(iter(SURROGATES))  # surrogate gradient, as NEST's
INTERVAL = "_bsshslm_2020"  # name suffix of models of the interval variant, which has no composed maps


@cache
def find_model(name: str, surrogate: str) -> NeuronModel:
    """Return the model that is compiled for one of `library.nest_names()` with one of `SURROGATES`."""
    return count_from(library.get_definition(name).with_surrogate(surrogate), ORIGIN)


def write_source(headers: Mapping[str, str]) -> str:
    """Return C of all these models, with a table of their digests, texts (JSON) and addresses.

    `headers` maps "elementary.h", "lanes.h" and "neuron_model.h" to their texts. The addresses are a model's tables in
    both precisions, then its composed maps in both. Models with another surrogate gradient than NEST's default are
    included if `PAREPROP_MODELS` is defined.
    """
    from .generate import PRECISIONS, generate_model, head_of, section_of, texts_of  # a run needs none of it

    parts = [head_of(headers)]
    rows: list[str] = []
    composed: dict[str, str] = {"": ""}  # C of composed maps to the first model that has it: several share one
    for name in library.nest_names():
        owners: dict[str, str] = {}
        for surrogate in SURROGATES:
            model, suffix = find_model(name, surrogate), f"{name}_{surrogate}"
            generated = generate_model(model, follows_synapses=False, ahead=not name.endswith(INTERVAL))
            maps, once = generated.functions.get("composed", ""), {"sweep": generated.functions["sweep"]}
            source = _share_functions(generated.write_source("step", "sweep"), once, suffix, owners)
            sections = [section_of(source, precision, suffix) for precision in PRECISIONS]
            if maps not in composed:
                composed[maps] = name
                sections += [section_of(maps, precision, name) for precision in PRECISIONS]
            addresses = [f"(void *)neuron_model_{precision}_{suffix}" for precision in PRECISIONS]
            owner = composed[maps]
            addresses += [f"(void *)neuron_maps_{precision}_{owner}" if owner else "NULL" for precision in PRECISIONS]
            texts = json.dumps(texts_of(generated))
            row = f"    {{{json.dumps(model.digest)}, {texts}, {{{', '.join(addresses)}}}}},"
            for written, new in ((parts, sections), (rows, [row])):
                written += new if surrogate == DEFAULT else ["#ifdef PAREPROP_MODELS", *new, "#endif"]
    table = "typedef struct { const char *digest, *texts; const void *(*address[4])(void); } Model;"
    count = "enum { N_NEURON_MODELS = sizeof NEURON_MODELS / sizeof NEURON_MODELS[0] };"
    return "\n".join([*parts, table, "static const Model NEURON_MODELS[] = {", *rows, "};", count, ""])


def _share_functions(source: str, functions: Mapping[str, str], suffix: str, owners: dict[str, str]) -> str:
    """Return a source without the functions that an earlier model defines; it calls the earlier functions instead.

    `owners` maps the text of a function to the suffix of the first model that has it.
    """
    for name, text in functions.items():
        owner = owners.setdefault(text, suffix)
        if owner != suffix:
            source = source.replace(text, "").replace(f"NAME({name})", f"JOIN({name}, JOIN(PRECISION_NAME, {owner}))")
    return source


def count_from(model: NeuronModel, origin: str) -> NeuronModel:
    """Return the same neuron with its states in mV counted from the parameter `origin`.

    The model must be given by steps. Each such state, and each value that equations give it, is lower by `origin`.
    """
    states = {name for name, (_, unit) in model.states.items() if unit == "mV"}
    moved = Shift(states, origin)
    equations, given = model.equations, model.to_dict()
    for key in ("step", "traces", "reset"):
        trees = getattr(equations, key)
        if trees:
            given[key] = {
                name: write(moved.shift_voltage(tree) if name in states else moved.shift_states(tree))
                for name, tree in trees.items()
            }
    given["states"] = {
        name: [write(moved.shift_voltage(equations.initial[name])) if name in states else value, unit]
        for name, (value, unit) in model.states.items()
    }
    given["spike"] = write(moved.shift_states(equations.spike))
    return NeuronModel.from_dict(model.name, given)


class Shift:
    """Rewrites trees to count the given states from the parameter `origin`; the order of operations stays."""

    def __init__(self, states: set[str], origin: str) -> None:
        self.states, self.origin = states, ("name", origin)

    def shift_voltage(self, tree: Tree) -> Tree:
        """Return the tree of a voltage, counted from the origin."""
        kind, *items = tree
        if tree == self.origin:
            return ("number", 0.0)
        if kind == "name" and items[0] in self.states:
            return tree
        if kind in ("+", "-"):
            first, second = self.shift_voltage(items[0]), self.shift_states(items[1])
            if first != ("number", 0.0):
                return (kind, first, second)
            return second if kind == "+" else ("neg", second)
        if kind in ("max", "min"):
            return (kind, *map(self.shift_voltage, items))
        if kind == "where":
            return (kind, self.shift_states(items[0]), *map(self.shift_voltage, items[1:]))
        return ("-", self.shift_states(tree), self.origin)

    def shift_states(self, tree: Tree) -> Tree:
        """Return a tree with the same value as before, reading states that are counted from the origin."""
        kind, *items = tree
        if kind == "number":
            return tree
        if kind == "name":
            return ("+", tree, self.origin) if items[0] in self.states else tree
        if kind == "-" and self._begins_with_a_state(items[0]):
            first, second = self.shift_voltage(items[0]), self.shift_voltage(items[1])
            return first if second == ("number", 0.0) else (kind, first, second)
        return (kind, *map(self.shift_states, items))

    def _begins_with_a_state(self, tree: Tree) -> bool:
        kind, *items = tree
        return items[0] in self.states if kind == "name" else kind in ("+", "-") and self._begins_with_a_state(items[0])
