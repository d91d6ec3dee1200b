"""Node and synapse models with NEST's names, their parameters and recordable quantities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..network.equations import make_parameters_class
from ..network.parameters import Frozen, validate_values
from ..network.rule_options import ShortTerm
from ..network.variants import VARIANTS, Variant
from ..values import Given, Values
from . import plain
from .devices import DEVICES
from .devices.base import Device, is_of_backend
from .errors import NESTErrors, make_refusal, translate_errors
from .versions import ARCTAN, FUNCTION

NODE_CONSTANTS = {"frozen": False, "local": True, "node_uses_wfr": False}  # of all nodes
HISTORY = "eprop_history_duration"  # a recordable: the length of a buffer that only NEST has
FORCED = {"ignore_and_spike": False, "ignore_and_spike_interval": 100.0, "ignore_and_spike_offset": 1.0}


_FIRST = (
    "flush_event_send_interval",
    "ignore_and_spike_offset",
    "ignore_and_spike_interval",
    "eprop_isi_trace_cutoff",
    "E_L",
    "V_reset",
    "V_th",
    "V_min",
)
_ADAPT, _LAST = ("adapt_beta", "adapt_tau"), ("kappa", "kappa_reg", "U_m", "V_m", "adaptation")
_SURROGATE = ("surrogate_gradient_width", "surrogate_gradient_height")
#: order in which NEST draws random parameters of a node: of neurons with a current, and of the others
DRAWN = (*_FIRST, *_ADAPT, "C_m", "c_reg", "f_target", "I_e", *_SURROGATE, "t_ref", "tau_m", *_LAST)
DRAWN_OF_OTHERS = (
    *_FIRST, "I_e", "g", "C_m", "tau_m", "tau_syn_ex", "tau_syn_in", "t_ref", *_ADAPT, "c_reg", "f_target", *_SURROGATE,
    "a", "b", "c", "d", "th_spike_add", "th_spike_decay", "voltage_reset_fraction", "voltage_reset_add",
    "th_voltage_index", "th_voltage_decay", *_LAST,
)  # fmt: skip


@dataclass(frozen=True)
class NodeModel:
    """The model of a node.

    Attributes
    ----------
    name : str
        NEST's name, or the name of a copy.
    kind : str
        "neuron", "readout", "parrot", "stimulator" or "recorder"; the first three are neurons to NEST (`element_type`).
    defaults : dict
        Parameters with their values; parameters in `fixed` cannot be changed.
    base : str
        NEST's name.
    variant : str
        Name of the variant of e-prop, for neurons and readouts; "" for neurons that learn in either.
    core : str
        Name of a neuron in the package, such as "iaf_adapt".
    recordables : tuple of str
        Quantities that a multimeter can record.
    fixed : dict
        Parameters that cannot be changed, each with the advice that the refusal gives.
    device : type or None
        Class of a stimulator or recorder.
    """

    name: str
    kind: str
    defaults: Values
    base: str
    variant: str = ""
    core: str = ""
    recordables: tuple[str, ...] = ()
    fixed: dict[str, str] = field(default_factory=dict)
    device: type[Device] | None = None

    @property
    def element_type(self) -> str:
        """NEST's name for `kind`."""
        return self.kind if self.device else "neuron"

    def is_a(self, *kinds: type[Device]) -> bool:
        """Whether it is a device of some class."""
        return self.device is not None and issubclass(self.device, kinds)

    def sort_drawn(self, names: Iterable[str]) -> list[str]:
        """Names of random parameters in the order in which NEST draws them for a node."""
        known = DRAWN if self.variant and "delta" not in self.core else DRAWN_OF_OTHERS
        place = {name: float(k) for k, name in enumerate(known)}
        if self.base == "eprop_iaf_adapt_bsshslm_2020":  # NEST's neuron with the two the other way round
            place[_SURROGATE[0]] = place[_SURROGATE[1]] + 0.5
        return sorted(names, key=lambda name: place.get(name, len(known)))


def _describe_neuron(variant: Variant, core: str) -> NodeModel:
    name = f"eprop_{core}{variant.nest_suffix}"
    fields = variant.neurons[core].model_fields
    defaults = {key: item.default for key, item in fields.items()} | {"V_m": -70.0, "flush_event_send_interval": np.inf}
    adaptive = "adapt" in core
    recordables: tuple[str, ...] = ("V_m", HISTORY, "learning_signal", "surrogate_gradient")
    if adaptive:
        defaults["adaptation"] = 0.0
        recordables = (*recordables, "V_th_adapt", "adaptation")
    fixed = {"adaptation": "start from 0"} if adaptive else {}
    return NodeModel(name, "neuron", defaults | FORCED, name, variant.name, core, tuple(sorted(recordables)), fixed)


def _describe_plain_neuron(name: str) -> NodeModel:
    fixed = plain.MODELS[name][2] | {"ignore_and_spike": "drive the neuron by a spike_generator"}
    defaults = plain.get_defaults(name) | FORCED | {"flush_event_send_interval": np.inf}
    recordables = ("V_m", "learning_signal", "surrogate_gradient")
    return NodeModel(name, "neuron", defaults, name, "", name, recordables, fixed)


def _describe_readout(variant: Variant) -> NodeModel:
    name = f"eprop_readout{variant.nest_suffix}"
    fields = variant.readout.model_fields
    defaults = {key: item.default for key, item in fields.items()} | {"V_m": 0.0}
    recordables = ["V_m", HISTORY, "error_signal", "readout_signal", "target_signal"]
    if variant.is_online:
        defaults.pop("loss")
    else:
        recordables.append("readout_signal_unnorm")
    return NodeModel(name, "readout", defaults, name, variant.name, "readout", tuple(sorted(recordables)))


NODE_MODELS: dict[str, NodeModel] = {
    model.name: model
    for model in (
        *(
            model
            for variant in VARIANTS.values()
            for model in (*(_describe_neuron(variant, core) for core in variant.neurons), _describe_readout(variant))
        ),
        *map(_describe_plain_neuron, plain.MODELS),
        NodeModel("parrot_neuron", "parrot", {"flush_event_send_interval": np.inf} | FORCED, "parrot_neuron"),
        *(NodeModel(kind.name, kind.kind, kind.list_parameters(), kind.name, device=kind) for kind in DEVICES),
    )
}
LISTS = {
    key
    for model in NODE_MODELS.values()
    for key, value in model.defaults.items()
    if isinstance(value, np.ndarray | tuple)
}


def list_recorder_keys(keys: Iterable[str], backend: str) -> list[str]:
    """Names of the values of a recorder: `keys` of its parameters, and keys that depend on where it records to."""
    more = {"ascii": ["filenames"], "memory": ["events"], "screen": []}[backend]
    return [*(key for key in keys if is_of_backend(key, backend)), "n_events", *more]


@dataclass(frozen=True)
class SynapseModel:
    """The model of a connection.

    Attributes
    ----------
    name : str
        NEST's name, or the name of a copy.
    base : str
        NEST's name.
    defaults : dict
        Its parameters; `optimizer` is a nested dictionary.
    """

    name: str
    base: str
    defaults: Values

    @cached_property
    def variant(self) -> str:
        """Variant of e-prop that it belongs to, "" for none."""
        if not self.base.startswith("eprop_"):
            return ""
        fitting = [item for item in VARIANTS.values() if item.nest_suffix in self.base]
        return max(fitting, key=lambda item: len(item.nest_suffix)).name

    @property
    def plastic(self) -> bool:
        """Whether its weights learn."""
        return self.base.startswith("eprop_synapse")

    @property
    def is_short_term(self) -> bool:
        """Whether short-term plasticity scales each spike."""
        return self.base == "tsodyks2_synapse"

    @property
    def per_synapse_keys(self) -> list[str]:
        """Names of values that each connection has in addition to weight and delay."""
        return [key for key in self.defaults if key not in PLAIN and key not in COMMON]

    def make_short_term(self, values: Given) -> ShortTerm:
        """Return the short-term plasticity that values of connections describe; `BadProperty` if they are wrong."""
        with translate_errors():
            return validate_values(ShortTerm, {key: values[key] for key in self.per_synapse_keys}, self.name)


ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZER = {
    "type": "gradient_descent",
    "batch_size": 1,
    "eta": 1e-4,
    "Wmin": -100.0,
    "Wmax": 100.0,
    "optimize_each_step": True,
}
PLAIN: Values = {"weight": 1.0, "delay": 1.0, "receptor_type": 0, "weight_recorder": None}
COMMON = {"weight_recorder", "optimizer", "average_gradient"}  # of the model, not of single connections
_MORE: dict[str, Values] = {  # further defaults of each synapse model, in the order of NEST's numbers
    "eprop_synapse_bsshslm_2020": {"optimizer": OPTIMIZER, "average_gradient": False, "tau_m_readout": 10.0},
    "eprop_learning_signal_connection_bsshslm_2020": {},
    "eprop_synapse": {"optimizer": OPTIMIZER},
    "eprop_learning_signal_connection": {},
    "rate_connection_delayed": {},
    "static_synapse": {},
    "tsodyks2_synapse": {"U": 0.5, "tau_rec": 800.0, "tau_fac": 0.0, "u": 0.5, "x": 1.0},
}
NUMBERS = dict(zip(_MORE, (10, 12, 13, 15, 26, 29, 62), strict=True))
N_NUMBERS = 77  # of NEST's synapse models; copies follow
SYNAPSE_MODELS = {name: SynapseModel(name, name, PLAIN | more) for name, more in _MORE.items()}


def check_node(model: NodeModel, values: Given, changed: Given, where: str, dt: float) -> None:
    """Check parameters of nodes that were just changed.

    `values` has all parameters, scalars or one value for each node, `changed` the new ones; `where` is named in
    messages, `dt` is the resolution in ms. Raises a `KernelException`: `NotImplemented` if the package cannot represent
    a value, `BadProperty` for bad values.
    """
    for key, value in changed.items():
        if key in model.fixed and np.any(np.asarray(value) != model.defaults[key]):
            raise make_refusal(f"{key} = {value} ({where})", model.fixed[key])
    if model.kind == "neuron" and not model.variant:
        with translate_errors():
            definition, known = plain.find_model(
                model.core, {k: plain.require_shared(k, v) for k, v in values.items()}, where
            )
            validate_values(make_parameters_class(definition), known, where)
    elif model.kind in ("neuron", "readout"):
        kind = VARIANTS[model.variant].find_kind(model.core)
        with translate_errors():
            for row in _list_parameter_sets(kind, values):
                validate_values(kind, row, where)
    if "flush_event_send_interval" in changed and np.min(changed["flush_event_send_interval"]) <= 0:
        raise NESTErrors.BadProperty(f"{where}: flush_event_send_interval > 0 required")
    for key in ("ignore_and_spike_interval", "ignore_and_spike_offset"):
        if key in changed and np.min(changed[key]) <= 0:
            raise NESTErrors.BadProperty(f"{where}: {key} > 0 required, it is {np.min(changed[key]):g}")
    if model.device:
        model.device.check(values, changed, where, dt)


def _list_parameter_sets(kind: type[Frozen], values: Given) -> list[Values]:
    """Parameters of a model of the package, one dictionary for each combination of values that it takes as scalars."""
    known = {key: value for key, value in values.items() if key in kind.model_fields}
    if isinstance(known.get(FUNCTION), str) and known[FUNCTION] == ARCTAN:
        known[FUNCTION] = "arctan_derivative"
    scalars = [key for key, value in known.items() if np.ndim(value) and not _takes_arrays(kind, key)]
    if not scalars:
        return [known]
    columns = [known[key].tolist() for key in scalars]
    return [known | dict(zip(scalars, row, strict=True)) for row in sorted(set(zip(*columns, strict=True)), key=str)]


def _takes_arrays(kind: type[Frozen], key: str) -> bool:
    return "ndarray" in str(kind.model_fields[key].annotation)
