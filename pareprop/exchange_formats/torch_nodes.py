"""Neurons and readouts for the module of PyTorch that `torch_writer` writes: numbers and equations."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import numpy as np

from .. import elementary
from ..errors import InputError
from ..network.neurons import round_up_steps
from ..network.variants import Variant
from ..neurons import library
from ..neurons.language import Repeat, Tree, write
from ..neurons.model import NeuronModel
from ..values import Values

FUNCTIONS = {"min": "take_minimum", "max": "take_maximum"}
ONE, ZERO = ast.Constant(1.0), ast.Constant(0.0)
Arrays = dict[str, np.ndarray]


def describe_neurons(
    here: str, variant: Variant, model: str, given: Mapping[str, np.ndarray], dt_ms: float
) -> tuple[Values, Arrays, list[str]]:
    """Return the description, values and equations of a population of neurons for the module of PyTorch.

    `given` maps NEST's parameters to (size,), and `neuron_model` to the definition of a custom model as JSON. The
    description names the model in the file, its states, ports and so on; values are parameters, constants and initial
    states, (size,) each; the equations are lines of a Python class. Messages start with `here`.
    """
    own, surrogate = given.get("neuron_model"), given.get("surrogate_gradient_function")
    if own is not None:
        definition = NeuronModel.from_json(model, str(own[0]))
    else:
        definition = library.get_definition(variant.neurons[model].name_equations())
    if surrogate is not None:
        definition = definition.with_surrogate(str(surrogate[0]))
    if np.any(np.asarray(given.get("refractory_input", 0.0), float)):
        raise InputError(f"{here}: refractory_input = true can't be exported to PyTorch")
    numbers = {name: np.asarray(value, float) for name, value in given.items() if name in definition.defaults}
    values = definition.complete_values(numbers, dt_ms)
    start = definition.compute_initial(values) | ({"V_m": given["V_m"]} if "V_m" in given else {})
    t_ref = np.asarray(values["t_ref"], float)
    values["t_ref_steps"] = np.rint(t_ref / dt_ms) if own is not None else round_up_steps(t_ref, dt_ms)
    values |= {f"start_{state}": value for state, value in start.items()}
    about: Values = {
        "model": f"{definition.name}_{definition.digest[:8]}",
        "states": list(definition.states),
        "ports": list(definition.ports),
        "follow": list(definition.follow),
        "current_from": int(definition.current_from),
    }
    size = len(given["neuron"])
    arrays = {name: np.broadcast_to(np.asarray(value, float), size) for name, value in values.items()}
    return about, arrays, _write_class(about["model"], definition)


def compute_readout_constants(given: Mapping[str, np.ndarray], dt_ms: float) -> Arrays:
    """Return constants and starting voltages of a population of readouts, (size,) each."""
    tau, E_L = given["tau_m"], given["E_L"]
    kappa = elementary.exp(-dt_ms / tau)
    regular = np.asarray(given.get("regular_spike_arrival", np.ones(len(tau))), bool)
    values = {"kappa": kappa, "zeta": np.where(regular, 1.0, 1.0 - kappa), "E_L": E_L, "low": given["V_min"] - E_L}
    values["start"] = np.asarray(given.get("V_m", E_L), float) - E_L
    return values | {"I": tau / given["C_m"] * (1.0 - kappa) * given["I_e"]}


def _write_class(name: str, model: NeuronModel) -> list[str]:
    """Return the equations of a model as a class with functions of its values `v`."""
    equations = model.equations
    terms = [line for name, tree in equations.terms.items() for line in _write_assignment(name, tree)]
    lines = [f"class {name}:", f"    about = {f'{model.name}: {model.description}'!r}"]
    for part, before, result in (
        ("step", terms, _write_dict(equations.step)),
        ("traces", terms if equations.traces else [], _write_dict(equations.traces)),
        ("spike", [], write_torch(equations.spike)),
        ("reset", [], _write_dict(equations.reset)),
        ("surrogate", [], write_torch(equations.surrogate)),
    ):
        lines += ["", "    @staticmethod", f"    def {part}(v):"]
        lines += [f"        {line}" for line in [*before, f"return {result}"]]
    return lines


def _write_assignment(name: str, tree: Tree) -> list[str]:
    """Return lines that assign a term to `v.name`."""
    if tree[0] == "entry":
        return [f"v.{name} = v.{tree[1][1]}[{int(tree[2][1])}]"]
    if tree[0] != "repeat":
        return [f"v.{name} = {write_torch(tree)}"]
    loop = Repeat.from_tree(tree)
    variables = ", ".join(f"v.{variable}" for variable in loop.start)
    first, after = (", ".join(map(write_torch, trees.values())) for trees in (loop.start, loop.update))
    terms = [f"    v.{term} = {write_torch(part)}" for term, part in loop.terms.items()]
    return [
        f"{variables} = {first}",
        f"for _ in range({loop.times}):",
        *terms,
        f"    {variables} = {after}",
        f"v.{name} = [{variables}]",
    ]


def _write_dict(trees: Mapping[str, Tree]) -> str:
    return "{" + ", ".join(f"{name!r}: {write_torch(tree)}" for name, tree in trees.items()) + "}"


def write_torch(tree: Tree) -> str:
    """Return an expression as Python code of the module: names are attributes of `v`, functions are torch's."""
    return ast.unparse(_TorchTranslator().visit(ast.parse(write(tree), mode="eval")))


class _TorchTranslator(ast.NodeTransformer):
    """Rewrites an expression of the language of neuron models for PyTorch."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(f"v.{node.id}", mode="eval").body

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)
        name, items = node.func.id, [self.visit(item) for item in node.args]
        if name in ("min", "max"):  # of two or more
            total = items[0]
            for item in items[1:]:
                total = _build_call(FUNCTIONS[name], total, item)
            return total
        if name == "where":
            return _build_call("select_where", *items)
        if name == "detach":
            return ast.Call(ast.Attribute(_build_call("to_tensor", *items), "detach"), [], [])
        return _build_call(f"torch.{name}", _build_call("to_tensor", *items))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        return _build_call("to_tensor", ast.BinOp(ast.Constant(1.0), ast.Mult(), node))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        total, *rest = (_build_call("select_where", self.visit(item), ONE, ZERO) for item in node.values)
        for item in rest:
            total = _build_call("select_where", total, *((item, ZERO) if isinstance(node.op, ast.And) else (ONE, item)))
        return total

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            return _build_call("select_where", node.operand, ZERO, ONE)
        return node


def _build_call(name: str, *items: ast.expr) -> ast.Call:
    return ast.Call(ast.parse(name, mode="eval").body, list(items), [])
