"""Parameters of NEST's e-prop neurons and of readouts, with NEST's names, units, defaults and bounds.

The docstrings of the classes document each parameter. `make_nest_class` makes the class of a neuron model, which has
the parameters, with their defaults, that the equations of the model read.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from pydantic import BeforeValidator, Field, create_model, model_validator

from ..kernels import layout
from ..neurons import library
from ..neurons.surrogates import SURROGATES as FORMULAS
from ..values import Values
from .losses import LOSSES
from .parameters import FLOAT_MAX, Frozen, Value, normalize_value

Surrogate = Literal[*FORMULAS]  # type: ignore[valid-type]  # names of the registry
SURROGATES = get_args(Surrogate)
PLAIN = ("I_e", "adapt_beta", "c_reg", "refractory_input")  # kernels read these as given, 0 if a model has none
CUTOFF_LIMIT = 1e7  # longest finite cutoff in ms, as spikes are stored for this time
TICS_PER_MS = 1000  # NEST's resolution, to which times are rounded
INTERVAL = "_bsshslm_2020"  # suffix of the names of equations of the interval variant
Undrawn = Annotated[float | np.ndarray, BeforeValidator(normalize_value)]


class Cell(Frozen):
    """Parameters of neurons of all models.

    Attributes
    ----------
    adaptive : bool
        Whether the threshold adapts.
    I_e : float, array_like, Normal or Uniform
        Constant current in pA.
    t_ref : float or array_like
        Refractory period in ms.
    c_reg : float, array_like, Normal or Uniform
        Factor of firing rate regularization.
    f_target : float, array_like, Normal or Uniform
        Target rate in Hz.
    surrogate_gradient_height : float, array_like, Normal or Uniform
        Height h of the surrogate gradient; see `neurons.surrogates`.
    surrogate_gradient_width : float, array_like, Normal or Uniform
        Width w of the surrogate gradient in mV.
    """

    adaptive: ClassVar[bool] = False
    bounds: ClassVar[tuple[str, ...]] = (
        "t_ref >= 0",
        "c_reg >= 0",
        "f_target >= 0",
        "surrogate_gradient_height >= 0",
        "surrogate_gradient_width > 0",
    )

    I_e: Value = 0.0
    t_ref: Value = 2.0
    c_reg: Value = 0.0
    f_target: Value = 10.0
    surrogate_gradient_height: Value = 0.3
    surrogate_gradient_width: Value = 1.0


class Cutoff(Frozen):
    """Learning parameters of synapses in the spike variant.

    Attributes
    ----------
    eprop_isi_trace_cutoff : float
        Time in ms after a spike from which on its contribution to the gradient is 0, at most 1e7; inf: never.
    """

    eprop_isi_trace_cutoff: float = Field(float("inf"), ge=0, allow_inf_nan=True)

    @model_validator(mode="after")
    def _check_cutoff(self) -> Cutoff:
        value = self.eprop_isi_trace_cutoff
        if np.isnan(value) or CUTOFF_LIMIT < value < np.inf:
            raise ValueError(f"eprop_isi_trace_cutoff = {value:g} must be at most {CUTOFF_LIMIT:g} ms, or inf for none")
        return self


class Filtered(Cutoff):
    """Learning parameters of neurons in the spike variant.

    Attributes
    ----------
    kappa : float
        Decay per step of the low-pass filter of eligibility traces.
    kappa_reg : float
        Decay per step of the low-pass filter of the firing rate.
    """

    kappa: float = Field(0.97, ge=0, lt=1)
    kappa_reg: float = Field(0.97, ge=0, lt=1)


class Neuron(Cell):
    """Parameters of NEST's e-prop neurons, whose equations are in `neurons/models`.

    Attributes
    ----------
    suffix : str
        Suffix of the names of the equations of a variant.
    psc_delta : bool
        Whether a spike sets the voltage to `V_reset`, where it stays while the neuron is refractory.
    V_m : float, array_like, Normal or Uniform
        Voltage at the start in mV; None: `E_L`.
    surrogate_gradient_function : str
        Name of the surrogate gradient.
    C_m : float, array_like, Normal or Uniform
        Capacitance in pF.
    E_L : float, array_like, Normal or Uniform
        Resting voltage in mV.
    V_th : float, array_like, Normal or Uniform
        Threshold voltage in mV.
    V_min : float or array_like
        Lowest voltage in mV.
    tau_m : float, array_like, Normal or Uniform
        Membrane time constant in ms.
    V_reset : float, array_like, Normal or Uniform
        Voltage after a spike in mV.
    refractory_input : bool
        Whether input that arrives while refractory is stored and decays; else it is lost.
    adapt_beta : float, array_like, Normal or Uniform
        Rise of the threshold with the adaptation, which grows by 1 with each spike.
    adapt_tau : float, array_like, Normal or Uniform
        Time constant of the adaptation in ms.
    regular_spike_arrival : bool
        Whether a spike adds its weight, not weight (1 - exp(-dt / tau_m)).
    """

    psc_delta: ClassVar[bool] = False
    suffix: ClassVar[str] = ""
    bounds: ClassVar[tuple[str, ...]] = ("C_m > 0", "tau_m > 0", "V_min <= V_th")

    t_ref: Undrawn = 2.0
    V_m: Value | None = None
    surrogate_gradient_function: Surrogate = "piecewise_linear"

    @classmethod
    def name_equations(cls) -> str:
        """Return the name of the equations in `neurons.library`."""
        return f"iaf{'_psc_delta' * cls.psc_delta}{'_adapt' * cls.adaptive}{cls.suffix}"

    @property
    def kernel_code(self) -> int:
        """Bits that describe the model's features to kernels, see `layout.pxd`."""
        early = layout.EARLY_CURRENT if library.get_definition(self.name_equations()).current_from == 0 else 0
        return early | (layout.KEEPS_INPUT if getattr(self, "refractory_input", False) else 0)


class OnlineNeuron(Filtered, Neuron):
    """Parameters of NEST's e-prop neurons of the spike variant."""


OWN_BOUNDS = {"adapt_beta": ("adapt_tau > 0", "adapt_beta >= 0"), "V_reset": ("V_reset < V_th", "V_min <= V_reset")}


def make_nest_class(name: str, suffix: str = "") -> type[Neuron]:
    """Return the class of one of NEST's e-prop neurons, with the parameters of its equations."""
    definition = library.get_definition(name + suffix)
    given = {key: value for key, (value, _) in definition.parameters.items()}
    fields: Values = {key: (Value, value) for key, value in given.items() if key not in Cell.model_fields}
    fields["V_min"] = Undrawn, given["V_min"]
    if "regular_spike_arrival" in given:
        fields["regular_spike_arrival"] = bool, True
    if "V_reset" in given:
        fields["refractory_input"] = bool, False
    base: type[Neuron] = Neuron if suffix else OnlineNeuron
    kind = create_model(f"eprop_{name}{suffix}", __base__=base, __doc__=definition.docstring, **fields)
    kind.suffix, kind.psc_delta, kind.adaptive = suffix, "V_reset" in given, "adapt_beta" in given
    kind.bounds = tuple(bound for key, bounds in OWN_BOUNDS.items() if key in given for bound in bounds)
    return kind


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


class Readout(ReadoutBase, Cutoff):
    """`eprop_readout` of the spike variant."""


def round_up_steps(ms: float | np.ndarray, dt_ms: float) -> np.ndarray:
    """Return a time in ms as steps, in NEST's way: rounded to a thousandth of a ms, then up to whole steps."""
    return np.ceil(np.round(np.rint(np.asarray(ms, float) * TICS_PER_MS) / (TICS_PER_MS * dt_ms), 6))
