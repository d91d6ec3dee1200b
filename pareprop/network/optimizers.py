"""Optimizers of both variants: checked settings with NEST's names, and the equations of a step, which are compiled.

`cython_core/generate_optimizers.py` reads the equations as plain text when the package is built, without importing
this file. All algorithms of both variants contain the compiled equations.

Where to add
------------
An optimizer: a class here with its settings and equations, and its entry in `OPTIMIZERS`. Then build the package.
"""

from __future__ import annotations

import inspect
import json
import math
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ..errors import InputError, quote
from ..kernels import optimizers as kernel
from ..values import Given
from .parameters import Frozen, list_meanings, suggest_name, validate_values

OF_VALUES = ("low", "high", "scale", "shared")  # fields for learned delays and parameters of neurons alone
OF_MODEL = {"batch_size", "max_norm"}  # fields that projections take from the model
OF_WEIGHTS = (
    "Wmin",
    "Wmax",
    "optimize_each_step",
    "normalized",
    "scaled",
    "batch_size",
    "max_norm",
)  # fields for weights alone
UNBOUNDED = 1e30  # bounds of weights without bounds
_COMPILED = {item["equations"]: (code, item["constants"]) for code, item in enumerate(json.loads(kernel.kinds()))}


class Optimizer(Frozen):
    """Settings of all optimizers, and the equations of their steps.

    Equations may read the settings, the gradient `g` and the optimizer state of the synapse (its moments). They are
    computed one after another: the moments in the order of `kept`, then `weight`, which is then clipped to its bounds.

    Attributes
    ----------
    kept : dict
        Name to equation of each moment of a synapse, 0 before the first step.
    weight : str
        Equation of the weight.
    of_step : dict
        Name to equation of numbers of a step that are the same for all synapses, by `n`, the number of the step from 1.
    idle : dict
        Equations of `n` steps without a gradient at once: first of other names, then of `weight` and of the moments.
        `series(x)` is the sum over these steps, i = 1, 2, ... n, of
        ``rate * factor**i / (1 - x (growth**i - 1))``, see `plans.idle`. Empty: the kernels take the steps one by one.
    series : dict
        Equations of "rate", of each step, in proportion to `eta`, and of "factor" and "growth", by settings alone. A
        step with a gradient must change the weight like a step of the series with i = 0: it is computed together with
        the steps after it.
    negligible : dict
        Name of a moment to the size of gradients that it ignores in single precision: their squares are subnormal
        numbers, which take a processor a hundred times as long.
    accumulates : bool
        Whether one step with a sum of gradients equals the steps with each of them.
    moments : tuple of str
        Names of the moments.
    follows_gradient : bool
        Whether a step grows with the gradient, so that filters of the traces matter.
    eta_scaled : float
        Default of `eta` if it is `scaled`.
    usual, often : str
        Usual range of `eta` in the tasks of the package, for help; `often`: in the spike variant, if it differs.
    type : str
        Name of the optimizer, a key of `OPTIMIZERS`.
    eta : float
        Learning rate.
    batch_size : int
        Samples per step.
    Wmin : float
        Lowest weight.
    Wmax : float
        Highest weight.
    optimize_each_step : bool
        Whether the spike variant steps with the gradient of every time step, not with their sum.
    normalized : bool
        Whether `eta` means the same in both variants, of neurons and of readouts: as if all traces were filtered with
        gain 1, see `Variant.gain`. Rules without e-prop's filter ignore it.
    scaled : bool
        Whether `eta` has the unit of the weights that `Scaled()` would draw for the projection: Adam moves a weight by
        about `eta` of these units in a batch, or in a sample of the spike variant without batches; gradient descent
        takes `eta` times the squared unit over the number of steps with a learning signal, and is normalized. By
        default `eta` is then 0.01 for Adam, 0.03 with momentum, else 0.3, and weights have no bounds.
    max_norm : float or None
        Norm of the gradient of all weights of all projections, above which the gradient is scaled down to this norm;
        None: never. For the model's optimizer, in the interval variant.
    low : float or None
        Lowest value of a learned delay or parameter.
    high : float or None
        Highest value of a learned delay or parameter.
    scale : str
        "linear", or "log": `eta` is then a fraction of the value, whose logarithm is learned.
    shared : bool
        Whether a population learns one value of a parameter, by the sum of the gradients of its neurons.
    """

    positional: ClassVar[str] = "eta"
    bounds: ClassVar[tuple[str, ...]] = ("Wmin <= Wmax",)
    kept: ClassVar[dict[str, str]] = {}
    weight: ClassVar[str] = "weight"
    of_step: ClassVar[dict[str, str]] = {}
    idle: ClassVar[dict[str, str]] = {}
    series: ClassVar[dict[str, str]] = {}
    negligible: ClassVar[dict[str, str]] = {}
    accumulates: ClassVar[bool] = False
    follows_gradient: ClassVar[bool] = True
    moments: ClassVar[tuple[str, ...]] = ()
    eta_scaled: ClassVar[float] = 0.3
    usual: ClassVar[str] = "a smaller value"
    often: ClassVar[str] = ""

    type: str
    eta: float = Field(1e-4, ge=0)
    batch_size: int = Field(1, ge=1)
    Wmin: float = -100.0
    Wmax: float = 100.0
    optimize_each_step: bool = True
    normalized: bool = False
    scaled: bool = False
    max_norm: float | None = Field(None, gt=0)
    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    shared: bool = False

    @classmethod
    def __pydantic_init_subclass__(cls, **options: object) -> None:
        """Set `moments` to the names of the moments; add the settings of all optimizers to the docstring."""
        super().__pydantic_init_subclass__(**options)
        cls.moments = tuple(cls.kept) or cls.moments
        said = list_meanings(cls)
        first = inspect.cleandoc(cls.__doc__ or "").partition("\n\nAttributes\n---")[0]
        fields = {name: field for name, field in cls.model_fields.items() if name in said}
        lines = [f"{name} : {field.default!r}\n    {said[name]}" for name, field in fields.items()]
        cls.__doc__ = "\n".join([first, "", "Attributes", "----------", *lines, ""])

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        """Set the defaults of `scaled` before bounds are checked."""
        values = {"eta": self.eta_scaled, "Wmin": -UNBOUNDED, "Wmax": UNBOUNDED} if self.scaled else {}
        self.__dict__.update({name: value for name, value in values.items() if name not in self.model_fields_set})
        return super()._check_bounds()  # type: ignore[operator, no-any-return]  # pydantic keeps the function

    @model_validator(mode="after")
    def _check_type(self) -> Optimizer:
        kind = OPTIMIZERS.get(self.type, type(self))
        if kind is not type(self):  # runs are resumed with the optimizer of this type
            own = type(self).__name__
            raise ValueError(f"type = {self.type!r} is that of {kind.__name__}; give {own} a type of its own")
        return self

    @classmethod
    @cache
    def find_compiled(cls) -> tuple[int, list[str]] | None:
        """Return the number of the equations in the kernels, and the settings that they read.

        None if kernels do not have the equations: an optimizer of a script, with a `step` in Python.
        """
        parts = (cls.kept, cls.weight, cls.of_step, cls.idle, cls.series, cls.negligible)
        return _COMPILED.get(json.dumps(parts))

    @property
    def code(self) -> int:
        """Number of the equations in the kernels; `InputError` if kernels do not have them."""
        if compiled := self.find_compiled():
            return compiled[0]
        raise InputError(
            f"optimizer '{self.type}': its equations are not in the kernels: build the package again, or give the "
            "class a `step`"
        )

    @property
    def constants(self) -> list[float]:
        """Settings that the equations read, in the order of the kernels."""
        compiled = self.find_compiled()
        return [getattr(self, name) for name in compiled[1]] if compiled else []

    def step(
        self, eta: float, divisor: float, n_step: int, gradient: np.ndarray, weight: np.ndarray, **moments: np.ndarray
    ) -> None:
        """Take one step in place and set the gradient to 0; a script may have its own.

        Parameters
        ----------
        eta : float
            Learning rate of this step, in place of `self.eta`.
        divisor : float
            Divides the gradient.
        n_step : int
            Number of this step, from 1.
        gradient, weight : np.ndarray
            (n,), of one precision.
        **moments : np.ndarray
            (n,) each, as `self.moments`; zeros before the first step.
        """
        kept = [moments[name] for name in self.moments]
        constants = np.array(self.constants, float)
        kernel.step(self.code, constants, eta, divisor, n_step, self.Wmin, self.Wmax, gradient, weight, kept)


class GradientDescent(Optimizer):
    """Plain gradient descent (`eprop_synapse` optimizer "gradient_descent")."""

    weight: ClassVar[str] = "weight - eta*g"
    accumulates: ClassVar[bool] = True
    usual: ClassVar[str] = "1e-5 to 1e-3"

    type: Literal["gradient_descent"] = "gradient_descent"


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015) as in NEST.

    Attributes
    ----------
    beta_1 : float
        Decay per step of the mean gradient.
    beta_2 : float
        Decay per step of the mean squared gradient.
    epsilon : float
        Added to the root of the mean squared gradient.
    """

    kept: ClassVar[dict[str, str]] = {
        "moment": "beta_1*moment + (1 - beta_1)*g",
        "variance": "beta_2*variance + (1 - beta_2)*g*g",
    }
    of_step: ClassVar[dict[str, str]] = {"bias_1": "1 - beta_1**n", "bias_2": "sqrt(1 - beta_2**n)"}
    weight: ClassVar[str] = "weight - eta*bias_2/bias_1*moment/(sqrt(variance) + epsilon)"
    # with 1 / (s + epsilon y) = share / (1 - x (y - 1)) for s = sqrt(variance), y = beta_2**(-i/2)
    idle: ClassVar[dict[str, str]] = {
        "share": "1/(sqrt(variance) + epsilon)",
        "weight": "weight - moment*share*series(-epsilon*share)",
        "moment": "beta_1**n*moment",
        "variance": "beta_2**n*variance",
    }
    series: ClassVar[dict[str, str]] = {
        "rate": "eta*bias_2/bias_1",
        "factor": "beta_1/sqrt(beta_2)",
        "growth": "1/sqrt(beta_2)",
    }
    negligible: ClassVar[dict[str, str]] = {"variance": "where(epsilon >= 1e-10, 1.1e-19/sqrt(1 - beta_2), 0)"}
    follows_gradient: ClassVar[bool] = False  # nearly: epsilon does not grow with it
    eta_scaled: ClassVar[float] = 0.01
    usual: ClassVar[str] = "1e-3 to 5e-3"
    often: ClassVar[str] = "1e-5 to 1e-4"

    type: Literal["adam"] = "adam"
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-7, gt=0)


class SgdMomentum(Optimizer):
    """Gradient descent with momentum: v = momentum v + g, w -= eta v (Sutskever et al. 2013, PMLR 28, 1139-1147).

    Attributes
    ----------
    momentum : float
        Fraction of the velocity v that remains after a step.
    """

    kept: ClassVar[dict[str, str]] = {"velocity": "momentum*velocity + g"}
    weight: ClassVar[str] = "weight - eta*velocity"
    idle: ClassVar[dict[str, str]] = {"weight": "weight - velocity*series(0)", "velocity": "momentum**n*velocity"}
    series: ClassVar[dict[str, str]] = {"rate": "eta", "factor": "momentum", "growth": "1"}
    eta_scaled: ClassVar[float] = 0.03
    usual: ClassVar[str] = "1e-5 to 1e-4"

    type: Literal["sgd_momentum"] = "sgd_momentum"
    momentum: float = Field(0.9, ge=0, lt=1)


class AdamW(Adam):
    """Adam with weight decay decoupled from the gradient (Loshchilov and Hutter 2019), as in PyTorch.

    Attributes
    ----------
    weight_decay : float
        Fraction of a weight that decays in a step, divided by `eta`.
    """

    weight: ClassVar[str] = "(1 - eta*weight_decay)*weight - eta*bias_2/bias_1*moment/(sqrt(variance) + epsilon*bias_2)"
    idle: ClassVar[dict[str, str]] = {}  # none in closed form, as weights decay in each step
    series: ClassVar[dict[str, str]] = {}

    type: Literal["adamw"] = "adamw"  # type: ignore[assignment]  # another name
    weight_decay: float = Field(0.01, ge=0)

    @model_validator(mode="after")
    def _check_decay(self) -> AdamW:
        if self.eta * self.weight_decay > 1.0:
            raise ValueError(
                f"eta * weight_decay = {self.eta * self.weight_decay:g} must be at most 1: signs would flip"
            )
        return self


class Summed(Optimizer):
    """Optimizer of the spike variant at spikes within a batch: it sums gradients and does not change weights."""

    kept: ClassVar[dict[str, str]] = {"gradient": "gradient + g"}
    idle: ClassVar[dict[str, str]] = {"weight": "weight", "gradient": "gradient"}
    series: ClassVar[dict[str, str]] = {"rate": "0", "factor": "1", "growth": "1"}

    type: Literal["summed"] = "summed"
    eta: float = 0.0
    Wmin: float = -math.inf
    Wmax: float = math.inf
    optimize_each_step: bool = False


def require_of_weights(optimizer: Optimizer, here: str) -> None:
    """Raise `InputError`, after `here`, if an optimizer that moves weights has settings for other values."""
    for name in OF_VALUES:
        if name in optimizer.model_fields_set:
            value = quote(getattr(optimizer, name))
            raise InputError(f"{here}: {name} = {value} is for learned parameters; bounds of weights are Wmin and Wmax")


def default_optimizer() -> Optimizer:
    """Return the default optimizer of a model: its first steps are small, and of the same length in both variants."""
    return GradientDescent(eta=1e-5, normalized=True)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.model_fields["type"].default: kind for kind in (GradientDescent, Adam, SgdMomentum, AdamW)
}
if TYPE_CHECKING:
    OptimizerName = str  # of one of them
else:
    OptimizerName = Literal[*OPTIMIZERS]


def require_no_decay(here: str, rule: Optimizer) -> None:
    """Raise `InputError` for an optimizer with weight decay, if it is for other values than weights."""
    if hasattr(rule, "weight_decay"):
        raise InputError(f"{here}: optimizer '{rule.type}' decays weights; take adam")


def make_optimizer(values: Given, origin: str) -> Optimizer:
    """Return a checked optimizer from NEST's optimizer dictionary, whose `type` names the optimizer.

    The default type is gradient descent. `origin` is the owner of the values, named in messages. Raises `InputError`
    for an unknown `type` or name, or a value out of bounds.
    """
    kind = values.get("type", "gradient_descent")
    if not isinstance(kind, str) or kind not in OPTIMIZERS:
        here = f"{origin}: " if origin else ""
        raise InputError(f"{here}unknown optimizer type {quote(kind)}{suggest_name(str(kind), OPTIMIZERS)}")
    return validate_values(OPTIMIZERS[kind], values, origin)
