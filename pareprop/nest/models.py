"""Node and synapse models of a script: NEST's, with changed defaults, and copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import quote
from ..network.optimizers import Optimizer, make_optimizer
from ..network.variants import VARIANTS
from ..values import Given, Values
from .catalogue import (
    ADAM,
    LISTS,
    N_NUMBERS,
    NODE_CONSTANTS,
    NODE_MODELS,
    NUMBERS,
    OPTIMIZER,
    SYNAPSE_MODELS,
    NodeModel,
    SynapseModel,
    check_node,
    list_recorder_keys,
)
from .connections import count_steps
from .devices.weight_recorder import WeightRecorder
from .errors import NESTErrors, make_refusal, translate_errors
from .nodes import NodeCollection
from .parameters import parse_list
from .settings import to_ms
from .versions import Versions


class Models:
    """All models with their present defaults; `count` returns the number of connections of a named synapse model."""

    def __init__(self, count: Callable[[str], int], versions: Versions) -> None:
        self._count, self._versions = count, versions
        self._first_rates: dict[str, float] = {}
        self.nodes: dict[str, NodeModel] = dict(NODE_MODELS)
        self.synapses: dict[str, SynapseModel] = {
            name: replace(model, defaults=dict(model.defaults)) for name, model in SYNAPSE_MODELS.items()
        }

    def _format_unknown_name(self, name: object) -> str:
        return (
            f"{quote(name)} is not a known model name: pareprop has the e-prop models of NEST and what drives and "
            f"records them, {', '.join([*self.nodes, *self.synapses])}"
        )

    def get_node_model(self, name: str) -> NodeModel:
        """A node model by name."""
        if name not in self.nodes:
            raise NESTErrors.UnknownModelName(self._format_unknown_name(name))
        self._versions.require_variant(name, self.nodes[name].variant)
        return self.nodes[name]

    def get_synapse_model(self, name: str) -> SynapseModel:
        """A synapse model by name; those with `_hpc`, which NEST has for large networks, are the same here."""
        if not isinstance(name, str):
            raise NESTErrors.UnknownSynapseType(f"synapse_model = {quote(name)} must be the name of a model")
        plain = name.removesuffix("_hpc")
        if plain not in self.synapses:
            raise NESTErrors.UnknownSynapseType(
                f"Synapse with name {quote(name)} does not exist in pareprop, only {', '.join(self.synapses)}"
            )
        return self.synapses[plain]

    def find_model_number(self, name: str) -> int:
        """NEST's number of a synapse model."""
        return NUMBERS[name] if name in NUMBERS else N_NUMBERS + list(self.synapses).index(name) - len(NUMBERS)

    def copy(self, old: str, new: str, values: Given, dt: float) -> None:
        """Make a model under another name."""
        if new in self.nodes or new in self.synapses:
            raise NESTErrors.NewModelNameExists(f"Model {new} is the name of an existing model and cannot be re-used.")
        if old in self.nodes:
            self.nodes[new] = replace(self.nodes[old], name=new)
        elif old.removesuffix("_hpc") in self.synapses:
            model = self.get_synapse_model(old)
            self.synapses[new] = replace(model, name=new, defaults=dict(model.defaults))
            if model.name in self._first_rates:
                self._first_rates[new] = self._first_rates[model.name]
        else:
            raise NESTErrors.UnknownModelName(self._format_unknown_name(old))
        self.set_defaults(new, values, dt, runs=False)

    def set_defaults(self, name: str, values: Given, dt: float, runs: bool) -> None:
        """Change the defaults of a node or synapse model; defaults of node models hold for nodes that are made later.

        `dt` is the resolution in ms. After the network was simulated (`runs`), synapses take no value except another
        learning rate.
        """
        if name in self.nodes:
            model = self.nodes[name]
            values = self._versions.read(values, model.defaults, model.variant)
            _require_known(values, model)
            values = {key: parse_list(key, value) if key in LISTS else value for key, value in values.items()}
            merged = model.defaults | values
            check_node(model, merged, values, f"defaults of {name}", dt)
            self.nodes[name] = replace(model, defaults=merged)
            return
        if name.removesuffix("_hpc") not in self.synapses:
            raise NESTErrors.UnknownModelName(self._format_unknown_name(name))
        synapse = self.get_synapse_model(name)
        _require_known(values, synapse)
        known = {key: value for key, value in values.items() if key != "optimizer"}
        if "delay" in known:
            known["delay"] = to_ms(count_steps(known["delay"], dt), dt)
        if "weight_recorder" in known:
            _check_recorder(known["weight_recorder"])
        if synapse.is_short_term:
            synapse.make_short_term(synapse.defaults | known)
            if known.get("weight_recorder"):
                raise make_refusal(f"a weight_recorder of {name}", "record the voltages of its targets")
        if "optimizer" in values:
            known["optimizer"] = self._merge_optimizer(synapse, values["optimizer"])
        if runs and self._count(synapse.name):
            _require_same(synapse, known)
        if "eta" in values.get("optimizer", ()):
            self._first_rates.setdefault(synapse.name, float(values["optimizer"]["eta"]))
        synapse.defaults.update(known)

    def _merge_optimizer(self, model: SynapseModel, values: Given) -> Values:
        kept = dict(model.defaults["optimizer"])
        kind = values.get("type", kept["type"])
        if kind != kept["type"] and self._count(model.name):
            raise NESTErrors.BadParameter("The optimizer cannot be changed because synapses have been created.")
        if kind != kept["type"]:  # NEST makes another optimizer then
            kept = dict(OPTIMIZER)
            self._first_rates.pop(model.name, None)
        for key in values:
            if key not in OPTIMIZER | ADAM:
                raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in params: {key} of an optimizer")
        own = ADAM if kind == "adam" else {}
        made = own | kept | {key: value for key, value in values.items() if key in OPTIMIZER | own}
        with translate_errors():
            make_optimizer(made, f"optimizer of {model.name}")
        return made

    def list_learning_rates(self) -> dict[str, tuple[float, float]]:
        """Synapse model to its learning rate, and to the first one that a script gave it: NEST's for first updates."""
        present = {name: model.defaults["optimizer"]["eta"] for name, model in self.synapses.items() if model.plastic}
        return {name: (eta, self._first_rates.get(name, eta)) for name, eta in present.items()}

    def read_defaults(self, name: str, nothing: object) -> Values:
        """Defaults of a model as NEST shows them; `nothing` stands for no recorder."""
        if name in self.nodes:
            model = self.nodes[name]
            shown = self._versions.show_parameters(model.defaults) | {"model": name, "type_id": model.base}
            shown |= {"element_type": model.element_type} | NODE_CONSTANTS
            if model.kind == "recorder":
                kept = list_recorder_keys(shown, model.defaults["record_to"])
                shown = {key: value for key, value in shown.items() if key in kept}
            if "f_target" in shown:
                shown["f_target"] /= 1000.0
            if "record_from" in shown:
                shown["record_from"] = list(shown["record_from"])
            return shown | ({"recordables": list(model.recordables)} if model.recordables else {})
        if name.removesuffix("_hpc") not in self.synapses:
            raise NESTErrors.UnknownComponent(self._format_unknown_name(name).replace("model name", "component"))
        synapse = self.get_synapse_model(name)
        shown = synapse.defaults | {
            "synapse_model": name,
            "synapse_modelid": self.find_model_number(synapse.name),
            "element_type": "synapse",
            "num_connections": self._count(synapse.name),
            "has_delay": True,
            "weight_recorder": synapse.defaults["weight_recorder"] or nothing,
        }
        if "optimizer" in shown:
            shown["optimizer"] = {
                "optimizer" if key == "type" else key: value for key, value in shown["optimizer"].items()
            }
        return shown


def _check_recorder(recorder: object) -> None:
    """Check the weight recorder of a synapse model."""
    if recorder is not None and not isinstance(recorder, NodeCollection):
        raise NESTErrors.TypeMismatch(f"weight_recorder = {quote(recorder)} must be a NodeCollection")
    for block, _ in recorder.list_blocks() if recorder else ():
        if not block.model.is_a(WeightRecorder):
            raise NESTErrors.BadProperty(f"weight_recorder is a {block.model.name}, it must be a weight_recorder")


def _require_known(values: Given, model: NodeModel | SynapseModel) -> None:
    for key in values:
        if key not in model.defaults:
            raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in params: {key} ({model.name})")


def _require_same(model: SynapseModel, known: Given) -> None:
    changed = [key for key in known if key not in ("optimizer", "weight") and known[key] != model.defaults[key]]
    if "optimizer" in known:
        before = model.defaults["optimizer"]
        changed += [key for key, value in known["optimizer"].items() if key != "eta" and value != before.get(key)]
    if changed:
        raise make_refusal(f"another {changed[0]} of {model.name} after the first step", "set it before")


def make_synapse_optimizer(synapse: SynapseModel) -> Optimizer:
    """The optimizer that a synapse model describes."""
    return make_optimizer(synapse.defaults["optimizer"], f"optimizer of {synapse.name}")


def common_optimizer(models: list[SynapseModel], variant: str) -> Optimizer:
    """The optimizer of the first of the models that learn in a network.

    Each projection has its own optimizer; only options that all must share are taken from this one. Raises a
    `KernelException` if the models differ in them.
    """
    averages = {model.defaults.get("average_gradient", False) for model in models}
    batches = {model.defaults["optimizer"]["batch_size"] for model in models}
    if len(averages) > 1 or len(batches) > 1:
        raise make_refusal("synapse models that differ in batch_size or average_gradient", "give them the same")
    if VARIANTS[variant].is_online and batches - {1}:
        raise NESTErrors.BadProperty(f"batch_size = {max(batches)} must be 1 for eprop_synapse")
    with translate_errors():
        return make_synapse_optimizer(models[0]) if models else make_optimizer({}, "optimizer")
