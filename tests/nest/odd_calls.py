"""Odd calls of the whole Python interface: every argument of every function takes every value that it should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Call = tuple[str, Callable[[Any, dict[str, Any]], Any]]  # how it is written; makes it, given nest and some objects

VALUES = {  # as they are written in a call; `o` holds objects of the present network
    **{text: (lambda o, text=text: eval(text, {"np": np})) for text in (
        "None", "True", "-1", "0", "1", "2.5", "float('nan')", "float('inf')", "1e308", "10**400", "1j", "''", "'x'",
        "'eprop_iaf'", "'static_synapse'", "'weight'", "b'x'", "[]", "[1]", "[2, 1]", "[1, 1]", "[0]", "[99]", "[1.5]",
        "['x']", "[None]", "[[1], [2]]", "[{}]", "[{'x': 1}, {'x': 2}]", "(1, 2)", "{}", "{'x': 1}", "{1: 2}",
        "{'weight': 'x'}", "{'V_th': None}", "{'rule': 'x'}", "{'rule': 'one_to_one', 'p': 2}",
        "{'synapse_model': 'x'}", "{'delay': [1.0, 2.0]}", "{'optimizer': 5}", "{'optimizer': {'eta': 'x'}}",
        "np.zeros((2, 2))", "np.array([1.5])", "np.array(['x'])", "np.array(3)", "np.float32(1)", "range(3)", "{1}",
        "slice(None)", "object()", "len",
    )},
    **{name: (lambda o, name=name: o[name]) for name in ("neurons", "nothing", "recorder", "connections", "parameter")},
}  # fmt: skip
SPELLED = {"neurons": "neurons", "nothing": "neurons[:0]"}

FUNCTIONS = {  # function to its usual arguments; names of objects stand for these
    "Create": ("'eprop_iaf'", "2", "{'V_th': 1.0}"),
    "Connect": ("neurons", "neurons", "'all_to_all'", "{'weight': 1.0}"),
    "GetConnections": ("neurons", "neurons", "'static_synapse'"),
    "SetDefaults": ("'eprop_iaf'", "{'V_th': 1.0}"),
    "GetDefaults": ("'eprop_iaf'", "'V_th'"),
    "CopyModel": ("'eprop_iaf'", "'copy'", "{}"),
    "Install": ("'mymodule'",),
    "GetStatus": ("neurons", "'V_th'"),
    "SetStatus": ("neurons", "{'V_th': 1.0}"),
    "GetNodes": ("{}",),
    "GetLocalNodeCollection": ("neurons",),
    "NodeCollection": ("[1, 2]",),
    "Simulate": ("0.0",),
    "Run": ("0.0",),
    "get": ("'resolution'",),
    "GetKernelStatus": ("'resolution'",),
    "SetKernelStatus": ("{}",),
    "set_verbosity": ("'M_INFO'",),
    "random.normal": ("0.0", "1.0"),
    "random.lognormal": ("0.0", "1.0"),
    "random.uniform": ("0.0", "1.0"),
    "random.uniform_int": ("5",),
    "random.exponential": ("1.0",),
    "math.exp": ("parameter",),
    "math.min": ("parameter", "1.0"),
    "math.redraw": ("parameter", "-1.0", "1.0"),
}
METHODS = {
    ("neurons", "get"): ("'V_th'",),
    ("neurons", "set"): ("{'V_th': 1.0}",),
    ("neurons", "index"): ("1",),
    ("neurons", "__getitem__"): ("0",),
    ("recorder", "set"): ("{'start': 1.0}",),
    ("recorder", "get"): ("'events'",),
    ("connections", "get"): ("'weight'",),
    ("connections", "set"): ("{'weight': 1.0}",),
    ("connections", "__getitem__"): ("0",),
}
SPECS = {
    "rule": "'all_to_all'",
    "indegree": "1",
    "outdegree": "1",
    "N": "1",
    "p": "0.5",
    "allow_autapses": "True",
    "allow_multapses": "True",
    "make_symmetric": "False",
}
RULE_OF = {
    "indegree": "fixed_indegree",
    "outdegree": "fixed_outdegree",
    "N": "fixed_total_number",
    "p": "pairwise_bernoulli",
}
SYNAPSE = ("synapse_model", "weight", "delay", "receptor_type", "tau_m_readout", "optimizer", "weight_recorder", "x")


def network(nest: Any) -> dict[str, Any]:
    """A fresh network, for one call."""
    nest.ResetKernel()
    neurons = nest.Create("eprop_iaf", 2)
    nest.Connect(neurons, neurons)
    return {
        "neurons": neurons,
        "nothing": neurons[:0],
        "recorder": nest.Create("spike_recorder"),
        "connections": nest.GetConnections(),
        "parameter": nest.random.normal(),
    }


def _value(text: str) -> Callable[[dict[str, Any]], Any]:
    return VALUES[text] if text in VALUES else lambda o: eval(text, {"np": np}, o)


def _call(name: str, texts: list[str], find: Callable[[Any, dict], Any]) -> Call:
    values = [_value(text) for text in texts]
    return f"{name}({', '.join(texts)})", lambda nest, o: find(nest, o)(*(value(o) for value in values))


def _find(name: str) -> Callable[[Any, dict], Any]:
    def find(nest: Any, o: dict[str, Any]) -> Any:
        for part in name.split("."):
            nest = getattr(nest, part)
        return nest

    return find


def make_calls(models: dict[str, list[str]], kernel: list[str]) -> Iterator[Call]:
    """All calls.

    Parameters
    ----------
    models : dict
        Node model to its parameters.
    kernel : list of str
        Kernel parameters.
    """
    for name, usual in FUNCTIONS.items():
        for n in range(len(usual) + 2):
            yield _call(name, [*usual, "None", "None"][:n], _find(name))
        for place in range(len(usual)):
            for text in VALUES:
                yield _call(name, [*usual[:place], text, *usual[place + 1 :]], _find(name))
    for (owner, method), usual in METHODS.items():
        for place in range(len(usual)):
            for text in VALUES:
                yield _call(
                    f"{owner}.{method}",
                    [*usual[:place], text, *usual[place + 1 :]],
                    lambda nest, o, owner=owner, method=method: getattr(o[owner], method),
                )
    for text in VALUES:
        for key in SPECS:
            yield _connect(f"{{'rule': '{RULE_OF.get(key, 'all_to_all')}', '{key}': {text}}}")
        for key in SYNAPSE:
            yield _connect(f"syn_spec={{'{key}': {text}}}")
        for key in ("type", "eta", "Wmin", "batch_size", "optimize_each_step", "x"):
            yield _written(f"nest.SetDefaults('eprop_synapse', {{'optimizer': {{'{key}': {text}}}}})")
        for key in kernel:
            yield _written(f"nest.set(**{{'{key}': {text}}})")
            yield f"nest.{key} = {text}", lambda nest, o, key=key, text=text: setattr(nest, key, _value(text)(o))
        for model, keys in models.items():
            for key in keys:
                yield _written(f"nest.Create('{model}', 1, {{'{key}': {text}}})")


def _connect(text: str) -> Call:
    return _written(f"nest.Connect(neurons, neurons, {text})")


def _written(text: str) -> Call:
    return text, lambda nest, o: eval(text, {"np": np, "nest": nest}, dict(o))
