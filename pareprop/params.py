"""Parameters of neurons, readouts and optimizers: frozen, validated, with NEST's names, units and defaults."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import InputError

SURROGATES = ("piecewise_linear", "exponential", "fast_sigmoid_derivative", "arctan_derivative")
Surrogate = Literal["piecewise_linear", "exponential", "fast_sigmoid_derivative", "arctan_derivative"]
CUTOFF_LIMIT = 1e7  # steps, of which spikes are kept; a longer cutoff that is not infinite is a mistake
FLOAT_MAX = float(np.finfo(float).max)
T = TypeVar("T", bound=BaseModel)


class Frozen(BaseModel):
    """Base of all checked descriptions: immutable, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


class Constant(Frozen):
    """The same value for all."""

    kind: Literal["constant"] = "constant"
    value: float


class Normal(Frozen):
    """Normally distributed with mean `mean` and standard deviation `std`."""

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    std: float = Field(ge=0)


class Uniform(Frozen):
    """Uniformly distributed in [low, high)."""

    kind: Literal["uniform"] = "uniform"
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} must not exceed high = {self.high}")
        return self


def _plain(value: Any) -> Any:
    """Turn NumPy scalars into Python's and sequences into read-only float arrays."""
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0:
        array = np.array(value, dtype=float)
        if array.ndim != 1 or not np.all(np.isfinite(array)):
            raise ValueError("an array of parameters must have one dimension and finite values")
        array.setflags(write=False)
        return array
    return value.item() if isinstance(value, np.generic) else value


Value = Annotated[float | np.ndarray | Normal | Uniform, BeforeValidator(_plain)]


class _Neuron(Frozen):
    C_m: Value = 250.0
    E_L: Value = -70.0
    I_e: Value = 0.0
    V_m: Value | None = None
    V_min: Annotated[float | np.ndarray, BeforeValidator(_plain)] = -FLOAT_MAX
    V_th: Value = -55.0
    tau_m: Value = 10.0
    t_ref: Annotated[float | np.ndarray, BeforeValidator(_plain)] = 2.0
    c_reg: Value = 0.0
    f_target: Value = 10.0
    surrogate_gradient_function: Surrogate = "piecewise_linear"
    surrogate_gradient_height: Value = 0.3
    surrogate_gradient_width: Value = 1.0

    @model_validator(mode="after")
    def _bounds(self) -> _Neuron:
        require_above(self, 0.0, "C_m", "tau_m", "surrogate_gradient_width")
        require_above(self, 0.0, "t_ref", "c_reg", "f_target", "surrogate_gradient_height", equal=True)
        _require_order(self, "V_min", "V_th", equal=True)
        return self


class _Adaptive(Frozen):
    adapt_beta: Value = 1.0
    adapt_tau: Value = 10.0

    @model_validator(mode="after")
    def _adaptation_bounds(self) -> _Adaptive:
        require_above(self, 0.0, "adapt_tau")
        require_above(self, 0.0, "adapt_beta", equal=True)
        return self


class IafInterval(_Neuron):
    """`eprop_iaf_bsshslm_2020`: leaky integrate-and-fire, learning signals once per update interval."""

    regular_spike_arrival: bool = True


class IafAdaptInterval(_Adaptive, IafInterval):
    """`eprop_iaf_adapt_bsshslm_2020`: with an adaptive threshold."""


class Iaf(_Neuron):
    """`eprop_iaf`: leaky integrate-and-fire of the spike variant (e-prop+)."""

    kappa: float = Field(0.97, ge=0, lt=1)
    kappa_reg: float = Field(0.97, ge=0, lt=1)
    eprop_isi_trace_cutoff: float = Field(float("inf"), ge=0, allow_inf_nan=True)

    @model_validator(mode="after")
    def _cutoff(self) -> Iaf:
        require_cutoff(self.eprop_isi_trace_cutoff)
        return self


class IafAdapt(_Adaptive, Iaf):
    """`eprop_iaf_adapt`: with an adaptive threshold."""


class IafPscDelta(Iaf):
    """`eprop_iaf_psc_delta`: fixed reset voltage, no integration while refractory."""

    V_reset: Value = -70.0
    refractory_input: bool = False

    @model_validator(mode="after")
    def _reset_below_threshold(self) -> IafPscDelta:
        _require_order(self, "V_reset", "V_th")
        _require_order(self, "V_min", "V_reset", equal=True)
        return self


class IafPscDeltaAdapt(_Adaptive, IafPscDelta):
    """`eprop_iaf_psc_delta_adapt`: with an adaptive threshold."""


class _Readout(Frozen):
    C_m: float = Field(250.0, gt=0)
    E_L: float = 0.0
    I_e: float = 0.0
    V_m: float | None = None
    V_min: float = -FLOAT_MAX
    tau_m: float = Field(10.0, gt=0)
    loss: Literal["mean_squared_error", "cross_entropy"] = "mean_squared_error"


class ReadoutInterval(_Readout):
    """`eprop_readout_bsshslm_2020`: leaky integrator that compares its voltage with a target."""

    regular_spike_arrival: bool = True


class Readout(_Readout):
    """`eprop_readout` of the spike variant."""

    eprop_isi_trace_cutoff: float = Field(float("inf"), ge=0, allow_inf_nan=True)

    @model_validator(mode="after")
    def _cutoff(self) -> Readout:
        require_cutoff(self.eprop_isi_trace_cutoff)
        return self


class GradientDescent(Frozen):
    """Plain gradient descent (`eprop_synapse` optimizer "gradient_descent")."""

    type: Literal["gradient_descent"] = "gradient_descent"
    eta: float = Field(1e-4, ge=0)
    batch_size: int = Field(1, ge=1)
    Wmin: float = -100.0
    Wmax: float = 100.0
    optimize_each_step: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> GradientDescent:
        if self.Wmin > self.Wmax:
            raise ValueError(f"Wmin = {self.Wmin} must not exceed Wmax = {self.Wmax}")
        return self


class Adam(GradientDescent):
    """Adam (Kingma and Ba 2015) as in NEST."""

    type: Literal["adam"] = "adam"
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-7, gt=0)


Optimizer = Adam | GradientDescent
NEURON_MODELS: dict[str, dict[str, type[_Neuron]]] = {
    "interval": {"iaf": IafInterval, "iaf_adapt": IafAdaptInterval},
    "spike": {
        "iaf": Iaf,
        "iaf_adapt": IafAdapt,
        "iaf_psc_delta": IafPscDelta,
        "iaf_psc_delta_adapt": IafPscDeltaAdapt,
    },
}
READOUT_MODELS: dict[str, type[_Readout]] = {"interval": ReadoutInterval, "spike": Readout}


def optimizer(values: Mapping[str, Any], origin: str) -> Optimizer:
    """Make a checked optimizer from NEST's optimizer dictionary (`type` tells which)."""
    kinds = {"gradient_descent": GradientDescent, "adam": Adam}
    kind = values.get("type", "gradient_descent")
    if kind not in tuple(kinds):
        raise InputError(f"{origin}: unknown optimizer type '{kind}'{nearest(str(kind), kinds)}")
    return checked(kinds[kind], values, origin)


def checked(kind: type[T], values: Mapping[str, Any], origin: str) -> T:
    """Build `kind` from `values`; all problems in one `InputError`, each with key, value and bound.

    Parameters
    ----------
    kind : a `Frozen` class
    values : name to value
    origin : what the values belong to, named in the message
    """
    try:
        return kind(**values)
    except ValidationError as problem:
        raise InputError("; ".join(_explain(kind, error, origin) for error in problem.errors())) from None


def _explain(kind: type[BaseModel], error: Any, origin: str) -> str:
    key = ".".join(str(part) for part in error["loc"][:1])
    if error["type"] == "extra_forbidden":
        return f"{origin}: unknown parameter '{key}'{nearest(key, kind.model_fields)}"
    text = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    shown = f" = {given!r}" if key and not isinstance(given, dict) else ""
    return f"{origin}: {key}{shown}: {text}" if key else f"{origin}: {text}"


def nearest(name: str, known: Any) -> str:
    """Return a hint with the known name nearest to `name`, and what is known otherwise."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else f" (known: {', '.join(known)})"


def _extremes(value: Any) -> tuple[float, float] | None:
    if isinstance(value, Uniform):
        return value.low, value.high
    if value is None or isinstance(value, Normal):  # unbounded: checked after drawing
        return None
    return float(np.min(value)), float(np.max(value))


def require_above(owner: Any, bound: float, *names: str, equal: bool = False) -> None:
    """Raise ValueError unless each parameter of `owner` lies above `bound` (or at it, with `equal`)."""
    for name in names:
        limits = _extremes(getattr(owner, name))
        if limits and (limits[0] < bound or (limits[0] == bound and not equal)):
            raise ValueError(f"{name} = {limits[0]:g} must be {'at least' if equal else 'above'} {bound:g}")


def require_cutoff(value: float) -> None:
    """Raise ValueError unless a cutoff in steps is so short that its spikes can be kept, or infinite."""
    if np.isnan(value) or CUTOFF_LIMIT < value < np.inf:
        raise ValueError(f"eprop_isi_trace_cutoff = {value:g} must be at most {CUTOFF_LIMIT:g} steps, or inf for none")


def _require_order(owner: Any, lower: str, upper: str, equal: bool = False) -> None:
    low, high = getattr(owner, lower), getattr(owner, upper)
    if any(value is None or isinstance(value, Normal | Uniform) for value in (low, high)):
        return
    if np.any(np.asarray(low) > high) or (not equal and np.any(np.asarray(low) == high)):
        relation = "not exceed" if equal else "be below"
        raise ValueError(f"{lower} = {np.max(low):g} must {relation} {upper} = {np.min(high):g}")
