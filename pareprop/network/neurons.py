"""Parameters of NEST's e-prop neurons and of readouts, with NEST's names, units, defaults and bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ..kernels import layout
from ..neurons import library
from ..neurons.surrogates import SURROGATES as FORMULAS
from .losses import LOSSES
from .parameters import FLOAT_MAX, Frozen, Value, plain

Surrogate = Literal[*FORMULAS]  # type: ignore[valid-type]  # names of the registry
SURROGATES = get_args(Surrogate)
PLAIN = ("I_e", "adapt_beta", "c_reg", "refractory_input")  # kernels read these as given, 0 where a model has none
CUTOFF_LIMIT = 1e7  # longest finite cutoff in ms: spikes are kept as long as the cutoff lasts
TICS_PER_MS = 1000  # NEST's, to which times are rounded


class Neuron(Frozen):
    """Parameters of all recurrent neurons of NEST's e-prop, whose equations are those of a file in `neurons/models`.

    Attributes
    ----------
    adaptive : bool
        Whether the threshold adapts.
    psc_delta : bool
        Whether a spike sets the voltage to `V_reset`, and the neuron stands still while refractory.
    suffix : str
        End of the names of the equations of a variant.
    C_m : float, array_like, Normal or Uniform
        Capacitance in pF.
    E_L : float, array_like, Normal or Uniform
        Resting voltage in mV.
    V_m : float, array_like, Normal or Uniform
        Voltage at the start in mV; None: `E_L`.
    V_th : float, array_like, Normal or Uniform
        Threshold voltage in mV.
    V_min : float or array_like
        Lowest voltage in mV.
    I_e : float, array_like, Normal or Uniform
        Constant current in pA.
    tau_m : float, array_like, Normal or Uniform
        Membrane time constant in ms.
    t_ref : float or array_like
        Refractory period in ms.
    c_reg : float, array_like, Normal or Uniform
        Factor of firing rate regularization.
    f_target : float, array_like, Normal or Uniform
        Target rate in Hz.
    surrogate_gradient_function : str
        Name of the surrogate gradient.
    surrogate_gradient_height : float, array_like, Normal or Uniform
        Height h of the surrogate gradient; see `neurons.surrogates`.
    surrogate_gradient_width : float, array_like, Normal or Uniform
        Width w of the surrogate gradient in mV.
    """

    suffix: ClassVar[str] = ""
    adaptive: ClassVar[bool] = False
    psc_delta: ClassVar[bool] = False
    bounds: ClassVar[tuple[str, ...]] = (
        "C_m > 0", "tau_m > 0", "surrogate_gradient_width > 0", "t_ref >= 0", "c_reg >= 0", "f_target >= 0",
        "surrogate_gradient_height >= 0", "V_min <= V_th",
    )  # fmt: skip

    C_m: Value = 250.0
    E_L: Value = -70.0
    I_e: Value = 0.0
    V_m: Value | None = None
    V_min: Annotated[float | np.ndarray, BeforeValidator(plain)] = -FLOAT_MAX
    V_th: Value = -55.0
    tau_m: Value = 10.0
    t_ref: Annotated[float | np.ndarray, BeforeValidator(plain)] = 2.0
    c_reg: Value = 0.0
    f_target: Value = 10.0
    surrogate_gradient_function: Surrogate = "piecewise_linear"
    surrogate_gradient_height: Value = 0.3
    surrogate_gradient_width: Value = 1.0

    @classmethod
    def equations(cls) -> str:
        """Return the name of its equations in `neurons.library`."""
        return f"iaf{'_psc_delta' * cls.psc_delta}{'_adapt' * cls.adaptive}{cls.suffix}"

    @property
    def kernel_code(self) -> int:
        """Bits that tell kernels what the model does, see `layout.pxd`."""
        early = layout.EARLY_CURRENT if library.get(self.equations()).current_from == 0 else 0
        return early | (layout.KEEPS_INPUT if getattr(self, "refractory_input", False) else 0)


class _Adaptive(Frozen):
    """What an adaptive threshold adds.

    Attributes
    ----------
    adapt_beta : float, array_like, Normal or Uniform
        Rise of the threshold with the adaptation, which grows by 1 with each spike.
    adapt_tau : float, array_like, Normal or Uniform
        Time constant of the adaptation in ms.
    """

    adaptive: ClassVar[bool] = True
    bounds: ClassVar[tuple[str, ...]] = ("adapt_tau > 0", "adapt_beta >= 0")

    adapt_beta: Value = 1.0
    adapt_tau: Value = 10.0


class IafInterval(Neuron):
    """`eprop_iaf_bsshslm_2020`: leaky integrate-and-fire, learning signals once per update interval.

    Attributes
    ----------
    regular_spike_arrival : bool
        Whether a spike adds its weight, not weight (1 - exp(-dt / tau_m)).
    """

    suffix: ClassVar[str] = "_bsshslm_2020"

    regular_spike_arrival: bool = True


class IafAdaptInterval(_Adaptive, IafInterval):
    """`eprop_iaf_adapt_bsshslm_2020`: with an adaptive threshold."""


class Iaf(Neuron):
    """`eprop_iaf`: leaky integrate-and-fire of the spike variant (e-prop+).

    Attributes
    ----------
    kappa : float
        Decay per step of the low-pass filter of eligibility traces.
    kappa_reg : float
        Decay per step of the low-pass filter of the firing rate.
    eprop_isi_trace_cutoff : float
        Time in ms after a spike from which on it adds nothing to the gradient; inf: never.
    """

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
    """`eprop_iaf_psc_delta`: fixed reset voltage, no integration while refractory.

    Attributes
    ----------
    V_reset : float, array_like, Normal or Uniform
        Voltage after a spike in mV.
    refractory_input : bool
        Whether input that arrives while refractory is kept, decaying, else it is lost.
    """

    psc_delta: ClassVar[bool] = True
    bounds: ClassVar[tuple[str, ...]] = ("V_reset < V_th", "V_min <= V_reset")

    V_reset: Value = -70.0
    refractory_input: bool = False


class IafPscDeltaAdapt(_Adaptive, IafPscDelta):
    """`eprop_iaf_psc_delta_adapt`: with an adaptive threshold."""


class ReadoutBase(Frozen):
    """Parameters of a population of readouts.

    Attributes
    ----------
    C_m : float
        Capacitance in pF.
    E_L : float
        Resting voltage in mV.
    I_e : float
        Constant current in pA.
    V_m : float or None
        Voltage at the start in mV; None: `E_L`.
    V_min : float
        Lowest voltage in mV.
    tau_m : float
        Membrane time constant in ms.
    loss : str
        Name of the loss, a key of `LOSSES`.
    """

    C_m: float = Field(250.0, gt=0)
    E_L: float = 0.0
    I_e: float = 0.0
    V_m: float | None = None
    V_min: float = -FLOAT_MAX
    tau_m: float = Field(10.0, gt=0)
    loss: Literal[*LOSSES] = "mean_squared_error"  # type: ignore[valid-type]  # names of the registry


class ReadoutInterval(ReadoutBase):
    """`eprop_readout_bsshslm_2020`: leaky integrator that compares its voltage with a target.

    Attributes
    ----------
    regular_spike_arrival : bool
        Whether a spike adds its weight, not weight (1 - exp(-dt / tau_m)).
    """

    regular_spike_arrival: bool = True


class Readout(ReadoutBase):
    """`eprop_readout` of the spike variant.

    Attributes
    ----------
    eprop_isi_trace_cutoff : float
        Time in ms after a spike from which on it adds nothing to the gradient; inf: never.
    """

    eprop_isi_trace_cutoff: float = Field(float("inf"), ge=0, allow_inf_nan=True)

    @model_validator(mode="after")
    def _cutoff(self) -> Readout:
        require_cutoff(self.eprop_isi_trace_cutoff)
        return self


# filled by `variants`; they stay here for scripts that import them
NEURON_MODELS: dict[str, dict[str, type[Neuron]]] = {}
READOUT_MODELS: dict[str, type[ReadoutBase]] = {}


def require_cutoff(value: float) -> None:
    """Raise ValueError unless a cutoff in ms is so short that its spikes can be kept, or infinite."""
    if np.isnan(value) or CUTOFF_LIMIT < value < np.inf:
        raise ValueError(f"eprop_isi_trace_cutoff = {value:g} must be at most {CUTOFF_LIMIT:g} ms, or inf for none")


def whole_steps(ms: float | np.ndarray, dt_ms: float) -> np.ndarray:
    """Return a time in ms as steps, as NEST counts them: rounded to a thousandth of a ms, then up to whole steps."""
    return np.ceil(np.round(np.rint(np.asarray(ms, float) * TICS_PER_MS) / (TICS_PER_MS * dt_ms), 6))
