"""Node and synapse models with NEST's names, their parameters and what can be recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import quote
from ..network.equations import parameters_of
from ..network.parameters import Frozen, validate
from ..network.variants import VARIANTS, Variant
from ..values import Given, Values
from . import plain
from .errors import NESTErrors, refuse, translate_errors
from .settings import MS_PER_TIC
from .versions import ARCTAN, FUNCTION

ALIKE = {"frozen": False, "local": True, "node_uses_wfr": False}  # of all nodes
FOREVER = float(np.finfo(float).max)
EMPTY = np.zeros(0)
BACKENDS = ("ascii", "memory", "screen")  # of recorders
HISTORY = "eprop_history_duration"  # a recordable that tells the length of a buffer that only NEST has
FORCED = {"ignore_and_spike": False, "ignore_and_spike_interval": 100.0, "ignore_and_spike_offset": 1.0}
DEVICE = {"label": "", "origin": 0.0, "start": 0.0, "stop": FOREVER}
FILE = {"precision": 3, "file_extension": "dat"}  # of recorders to text; an extension of those to files
RECORDER = DEVICE | {"record_to": "memory", "time_in_steps": False} | FILE
METER = RECORDER | {"interval": 1.0, "offset": 0.0}


_FIRST = ("flush_event_send_interval", "ignore_and_spike_offset", "ignore_and_spike_interval", "eprop_isi_trace_cutoff",
          "E_L", "V_reset", "V_th", "V_min")  # fmt: skip
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
    """What a node is.

    Attributes
    ----------
    name : str
        NEST's name, or that of a copy.
    kind : str
        "neuron", "readout", "parrot", "stimulator" or "recorder"; the first three are neurons to NEST (`element_type`).
    defaults : dict
        Parameters with their values; those of `fixed` can be set to no other.
    base : str
        NEST's name.
    variant : str
        Name of the variant of e-prop, for neurons and readouts; "" for neurons that learn in either.
    core : str
        Name of a neuron in the package, such as "iaf_adapt".
    recordables : tuple of str
        What a multimeter can record.
    fixed : dict
        Parameter to what to do instead of changing it.
    """

    name: str
    kind: str
    defaults: Values
    base: str
    variant: str = ""
    core: str = ""
    recordables: tuple[str, ...] = ()
    fixed: dict[str, str] = field(default_factory=dict)

    @property
    def element_type(self) -> str:
        """What NEST calls its kind."""
        return self.kind if self.kind in ("stimulator", "recorder") else "neuron"

    def sort_drawn(self, names: Iterable[str]) -> list[str]:
        """Names of random parameters in the order in which NEST draws them for a node."""
        known = DRAWN if self.variant and "delta" not in self.core else DRAWN_OF_OTHERS
        place = {name: float(k) for k, name in enumerate(known)}
        if self.base == "eprop_iaf_adapt_bsshslm_2020":  # NEST's neuron with the two the other way round
            place[_SURROGATE[0]] = place[_SURROGATE[1]] + 0.5
        return sorted(names, key=lambda name: place.get(name, len(known)))


def _neuron(variant: Variant, core: str) -> NodeModel:
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


def _plain(name: str) -> NodeModel:
    fixed = plain.MODELS[name][2] | {"ignore_and_spike": "drive the neuron by a spike_generator"}
    defaults = plain.defaults(name) | FORCED | {"flush_event_send_interval": np.inf}
    recordables = ("V_m", "learning_signal", "surrogate_gradient")
    return NodeModel(name, "neuron", defaults, name, "", name, recordables, fixed)


def _readout(variant: Variant) -> NodeModel:
    name = f"eprop_readout{variant.nest_suffix}"
    fields = variant.readout.model_fields
    defaults = {key: item.default for key, item in fields.items()} | {"V_m": 0.0}
    recordables = ["V_m", HISTORY, "error_signal", "readout_signal", "target_signal"]
    if variant.is_online:
        defaults.pop("loss")
    else:
        recordables.append("readout_signal_unnorm")
    return NodeModel(name, "readout", defaults, name, variant.name, "readout", tuple(sorted(recordables)))


def _device(name: str, kind: str, defaults: Values) -> NodeModel:
    return NodeModel(name, kind, defaults, name)


SPIKES = {
    "spike_times": EMPTY, "spike_weights": EMPTY, "spike_multiplicities": EMPTY, "precise_times": False,
    "allow_offgrid_times": False, "shift_now_spikes": False,
}  # fmt: skip
RATES = {"amplitude_times": EMPTY, "amplitude_values": EMPTY, "allow_offgrid_times": False}
STEPS = {"rate_times": EMPTY, "rate_values": EMPTY, "allow_offgrid_times": False}
MOST_STEPS = 2**60
POISSON = ("poisson_generator", "inhomogeneous_poisson_generator")
WATCH = {"senders": EMPTY, "targets": EMPTY}
NODE_MODELS: dict[str, NodeModel] = {
    model.name: model
    for model in (
        *(
            model
            for variant in VARIANTS.values()
            for model in (*(_neuron(variant, core) for core in variant.neurons), _readout(variant))
        ),
        *map(_plain, plain.MODELS),
        _device("parrot_neuron", "parrot", {"flush_event_send_interval": np.inf} | FORCED),
        _device("spike_generator", "stimulator", DEVICE | SPIKES),
        _device("step_rate_generator", "stimulator", DEVICE | RATES),
        _device("poisson_generator", "stimulator", DEVICE | {"rate": 0.0}),
        _device("inhomogeneous_poisson_generator", "stimulator", DEVICE | STEPS),
        _device("dc_generator", "stimulator", DEVICE | {"amplitude": 0.0}),
        _device("step_current_generator", "stimulator", DEVICE | RATES),
        _device("multimeter", "recorder", METER | {"record_from": ()}),
        _device("voltmeter", "recorder", METER | {"record_from": ("V_m",)}),
        _device("spike_recorder", "recorder", RECORDER),
        _device("weight_recorder", "recorder", RECORDER | WATCH),
    )
}
LISTS = {"spike_times", "spike_weights", "spike_multiplicities", "amplitude_times", "amplitude_values", "rate_times",
         "rate_values", "record_from", "senders", "targets", *plain.LISTS}  # fmt: skip


def list_of_recorder(keys: Iterable[str], backend: str) -> list[str]:
    """Names of what a recorder shows: `keys` of its parameters, and what depends on where it records to."""
    more = {"ascii": ["filenames"], "memory": ["events"], "screen": []}[backend]
    return [*(key for key in keys if _is_of_backend(key, backend)), "n_events", *more]


def _is_of_backend(key: str, backend: str) -> bool:
    return key not in FILE or backend == "ascii" or (backend == "screen" and key == "precision")


UNSUPPORTED = {"spike_weights": "give weights to the connections"}  # must stay empty; what to do instead
OFF_GRID = ("precise_times", "allow_offgrid_times", "shift_now_spikes")  # options of spike generators


@dataclass(frozen=True)
class SynapseModel:
    """What a connection is.

    Attributes
    ----------
    name : str
        NEST's name, or that of a copy.
    base : str
        NEST's name.
    defaults : dict
        Its parameters; `optimizer` is a dictionary of its own.
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


ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZER = {
    "type": "gradient_descent", "batch_size": 1, "eta": 1e-4, "Wmin": -100.0, "Wmax": 100.0, "optimize_each_step": True
}  # fmt: skip
PLAIN: Values = {"weight": 1.0, "delay": 1.0, "receptor_type": 0, "weight_recorder": None}
COMMON = {"weight_recorder", "optimizer", "average_gradient"}  # of the model, not of single connections
_MORE: dict[str, Values] = {  # what a synapse model has beside that, in the order of NEST's numbers
    "eprop_synapse_bsshslm_2020": {"optimizer": OPTIMIZER, "average_gradient": False, "tau_m_readout": 10.0},
    "eprop_learning_signal_connection_bsshslm_2020": {},
    "eprop_synapse": {"optimizer": OPTIMIZER},
    "eprop_learning_signal_connection": {},
    "rate_connection_delayed": {},
    "static_synapse": {},
}
NUMBERS = dict(zip(_MORE, (10, 12, 13, 15, 26, 29), strict=True))
N_NUMBERS = 77  # of NEST's synapse models; copies follow
SYNAPSE_MODELS = {name: SynapseModel(name, name, PLAIN | more) for name, more in _MORE.items()}


def check_node(model: NodeModel, values: Given, changed: Given, where: str, dt: float) -> None:
    """Check parameters of nodes that were just changed.

    Parameters
    ----------
    model : NodeModel
        Of the nodes.
    values : dict
        All parameters, scalars or one value for each node.
    changed : dict
        Those that are new.
    where : str
        Named in messages.
    dt : float
        Resolution in ms.

    Raises
    ------
    KernelException
        `NotImplemented` for what cannot be represented, `BadProperty` for bad values.
    """
    for key, value in changed.items():
        if key in model.fixed and np.any(np.asarray(value) != model.defaults[key]):
            raise refuse(f"{key} = {value} ({where})", model.fixed[key])
        if key in FILE and not all(_is_of_backend(key, backend) for backend in np.ravel(values["record_to"])):
            raise NESTErrors.UnaccessedDictionaryEntry(
                f"Unaccessed elements in params: {key} ({where}) is for recorders with record_to = 'ascii'"
            )
        if key in OFF_GRID and "precise_times" in values:
            precise, *others = (np.asarray(values[name], bool) for name in OFF_GRID)
            if np.any(precise & (others[0] | others[1])):
                raise NESTErrors.BadProperty(
                    f"{where}: Option precise_times cannot be set to true when either "
                    "allow_offgrid_times or shift_now_spikes is set to true."
                )
        if key in UNSUPPORTED and np.size(value) > 0:
            raise refuse(f"{key} = {value} ({where})", UNSUPPORTED[key])
    if model.kind == "neuron" and not model.variant:
        with translate_errors():
            definition, known = plain.find(model.core, {k: plain.shared(k, v) for k, v in values.items()}, where)
            validate(parameters_of(definition), known, where)
    elif model.kind in ("neuron", "readout"):
        kind = VARIANTS[model.variant].find_kind(model.core)
        with translate_errors():
            for row in _rows(kind, values):
                validate(kind, row, where)
    if "flush_event_send_interval" in changed and np.min(changed["flush_event_send_interval"]) <= 0:
        raise NESTErrors.BadProperty(f"{where}: flush_event_send_interval > 0 required")
    for key in ("ignore_and_spike_interval", "ignore_and_spike_offset"):
        if key in changed and np.min(changed[key]) <= 0:
            raise NESTErrors.BadProperty(f"{where}: {key} > 0 required, it is {np.min(changed[key]):g}")
    if model.kind in ("stimulator", "recorder"):
        _check_device(model, values, changed, where, dt)


def _rows(kind: type[Frozen], values: Given) -> list[Values]:
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


def _check_device(model: NodeModel, values: Given, changed: Given, where: str, dt: float) -> None:
    for key in changed.keys() & {"origin", "start", "stop", "offset", "interval"}:
        value = changed[key]
        if not 0.0 <= value <= FOREVER or (value < FOREVER and not abs(value / dt) < MOST_STEPS):
            raise NESTErrors.BadProperty(f"{where}: {key} = {value} must be at least 0, and below {MOST_STEPS} steps")
        if value < FOREVER and abs(value / dt - round(value / dt)) > 1e-9 * max(1.0, abs(value / dt)):
            raise NESTErrors.BadProperty(f"{where}: {key} = {value} must be a multiple of the resolution, {dt}")
    if changed.get("interval", dt) < dt:
        raise NESTErrors.BadProperty(f"{where}: interval = {changed['interval']} must be at least the resolution, {dt}")
    if changed.keys() & {"start", "stop"} and np.any(np.asarray(values["stop"]) < values["start"]):
        raise NESTErrors.BadProperty(f"{where}: stop >= start required")
    if changed.get("rate", 0.0) < 0:
        raise NESTErrors.BadProperty(f"{where}: rate = {changed['rate']} must be at least 0")
    if "record_to" in changed and changed["record_to"] not in BACKENDS:
        if changed["record_to"] in ("mpi", "sionlib"):
            raise refuse(f"record_to = {quote(changed['record_to'])} ({where})", "record to memory or ascii")
        raise NESTErrors.BadProperty(
            f"{where}: unknown recording backend {quote(changed['record_to'])}, there are {', '.join(BACKENDS)}"
        )
    if "spike_times" in changed:
        step = 0.0 if values["precise_times"] else dt
        _check_times(
            changed["spike_times"], "spike_times", where, step, False, -dt if values["shift_now_spikes"] else 0
        )
    if changed.keys() & {"spike_times", "spike_multiplicities"}:
        _check_multiplicities(changed, len(values["spike_times"]), values["spike_multiplicities"], where)
    for name in ("amplitude", "rate"):
        if f"{name}_times" in model.defaults and changed.keys() & {f"{name}_times", f"{name}_values"}:
            times, steps = changed.get(f"{name}_times"), changed.get(f"{name}_values")
            if times is None or steps is None or len(times) != len(steps):
                raise NESTErrors.BadProperty(f"{where}: {name}_times and {name}_values must be set together, as long")
            _check_times(times, f"{name}_times", where, dt, True)
    if len(changed.get("rate_values", ())) and np.min(changed["rate_values"]) < 0:
        raise NESTErrors.BadProperty(f"{where}: rate_values hold {np.min(changed['rate_values'])}, must be at least 0")


def _check_multiplicities(changed: Given, n_times: int, multiplicities: np.ndarray, where: str) -> None:
    n = len(multiplicities)
    if n and (n < n_times or (n > n_times and "spike_multiplicities" in changed)):
        raise NESTErrors.BadProperty(
            f"{where}: spike_multiplicities must have the same number of elements as spike_times, {n_times}, not {n}"
        )
    if np.any(multiplicities != np.rint(multiplicities)):
        raise NESTErrors.TypeMismatch(f"{where}: spike_multiplicities must be whole numbers")


def align(times: np.ndarray, dt: float, off_grid: bool, now: float | None = None) -> np.ndarray:
    """Times on the grid, as NEST takes them: the nearest step if it is half a tic away, else the end of the step.

    Parameters
    ----------
    times : np.ndarray
        float64 (n,), ms.
    dt : float
        Resolution in ms.
    off_grid : bool
        Whether others than steps are allowed, which are left as they are if not.
    now : float or None
        Present time in ms, at which nothing can be any more: such times move a step on; None: they stay.
    """
    nearest = np.rint(times / dt)
    near = np.abs(times - nearest * dt) < MS_PER_TIC / 2
    steps = np.where(near, nearest, np.ceil(times / dt))
    if now is not None:
        steps = steps + (steps == np.rint(now / dt))
    return np.where(near | off_grid, steps * dt, times)


def _check_times(times: np.ndarray, key: str, where: str, dt: float, strictly: bool, least: float = 0.0) -> None:
    """Check times above `least` that lie on the grid of a resolution `dt`, 0 for none."""
    steps = np.rint(times / dt) if dt else times
    off = np.abs(times - steps * dt) > 1e-6 * np.maximum(dt, np.abs(times)) if dt else np.zeros(len(times), bool)
    if off.any():
        raise NESTErrors.BadProperty(
            f"{where}: {key}: Time point {times[off][0]} is not representable in current "
            f"resolution. It must be a multiple of {dt}"
        )
    if not np.all(np.isfinite(times)):
        raise NESTErrors.BadProperty(f"{where}: {key} must be finite, one is {times[~np.isfinite(times)][0]}")
    if len(times) and times.min() <= least:
        name = key.removesuffix("s").replace("_", " ")
        raise NESTErrors.BadProperty(f"{where}: {key}: {name} cannot be set to {times.min():g}, must be above 0")
    gaps = np.diff(steps)
    if np.any(gaps < 0) or (strictly and np.any(gaps == 0)):
        raise NESTErrors.BadProperty(f"{where}: {key} must be {'strictly ' if strictly else ''}ascending")
