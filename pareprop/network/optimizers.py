"""Optimizers: settings with NEST's names and defaults, checked, each with the kernel of its step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from pydantic.config import JsonDict

from ..errors import InputError, quote
from ..kernels import optimizers as kernel
from ..values import Given
from .parameters import Frozen, nearest, validate

ABSENT: JsonDict = {"absent": True}  # no fact of a model unless it differs from its default
OF_VALUES = ("low", "high", "scale", "shared")  # fields for what is learned beside weights
OF_WEIGHTS = ("Wmin", "Wmax", "optimize_each_step", "normalized", "batch_size")  # fields for weights alone


class Optimizer(Frozen, ABC):
    """Settings of all optimizers, and the flags by which engines tell them apart.

    Attributes
    ----------
    accumulates : bool
        Whether one step with a sum of gradients equals the steps with each of them.
    moments : tuple of str
        Names of the arrays that the optimizer keeps of each synapse.
    follows_gradient : bool
        Whether a step grows with the gradient, so that filters of the traces count.
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
        gain 1, see `Variant.gain`.
    low : float or None
        Lowest value of what is learned beside weights.
    high : float or None
        Its highest value.
    scale : str
        "linear", or "log": `eta` is then a share of the value, whose logarithm is learned.
    shared : bool
        Whether a population learns one value of a parameter, by the sum of the gradients of its neurons.
    """

    accumulates: ClassVar[bool] = False
    follows_gradient: ClassVar[bool] = True
    moments: ClassVar[tuple[str, ...]] = ()

    type: str
    eta: float = Field(1e-4, ge=0)
    batch_size: int = Field(1, ge=1)
    Wmin: float = -100.0
    Wmax: float = 100.0
    optimize_each_step: bool = True
    normalized: bool = False
    low: float | None = Field(None, json_schema_extra=ABSENT)
    high: float | None = Field(None, json_schema_extra=ABSENT)
    scale: Literal["linear", "log"] = Field("linear", json_schema_extra=ABSENT)
    shared: bool = Field(False, json_schema_extra=ABSENT)

    @model_validator(mode="after")
    def _check_order(self) -> Optimizer:
        if self.Wmin > self.Wmax:
            raise ValueError(f"Wmin = {self.Wmin} must not exceed Wmax = {self.Wmax}")
        return self

    @abstractmethod
    def step(
        self, eta: float, divisor: float, n_step: int, gradient: np.ndarray, weight: np.ndarray, **moments: np.ndarray
    ) -> None:
        """Take one step in place and set the gradient to 0.

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


class GradientDescent(Optimizer):
    """Plain gradient descent (`eprop_synapse` optimizer "gradient_descent")."""

    accumulates: ClassVar[bool] = True

    type: Literal["gradient_descent"] = "gradient_descent"

    def step(
        self, eta: float, divisor: float, n_step: int, gradient: np.ndarray, weight: np.ndarray, **moments: np.ndarray
    ) -> None:
        """Take one step, see `Optimizer.step`."""
        kernel.gradient_descent(eta, divisor, self.Wmin, self.Wmax, gradient, weight)


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

    follows_gradient: ClassVar[bool] = False  # nearly: epsilon does not grow with it
    moments: ClassVar[tuple[str, ...]] = ("moment", "variance")

    type: Literal["adam"] = "adam"
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-7, gt=0)

    def step(
        self, eta: float, divisor: float, n_step: int, gradient: np.ndarray, weight: np.ndarray, **moments: np.ndarray
    ) -> None:
        """Take one step, see `Optimizer.step`."""
        kernel.adam(
            eta,
            divisor,
            self.Wmin,
            self.Wmax,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            n_step,
            gradient,
            moments["moment"],
            moments["variance"],
            weight,
        )


class SgdMomentum(Optimizer):
    """Gradient descent with momentum: v = momentum v + g, w -= eta v (Sutskever et al. 2013, PMLR 28, 1139-1147).

    Attributes
    ----------
    momentum : float
        Share of the velocity v that is left after a step.
    """

    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    type: Literal["sgd_momentum"] = "sgd_momentum"
    momentum: float = Field(0.9, ge=0, lt=1)

    def step(
        self, eta: float, divisor: float, n_step: int, gradient: np.ndarray, weight: np.ndarray, **moments: np.ndarray
    ) -> None:
        """Take one step, see `Optimizer.step`."""
        kernel.sgd_momentum(eta, divisor, self.Wmin, self.Wmax, self.momentum, gradient, moments["velocity"], weight)


def require_of_weights(optimizer: Optimizer, here: str) -> None:
    """Raise `InputError`, after `here`, if an optimizer that moves weights has settings for other values."""
    for name in OF_VALUES:
        if name in optimizer.model_fields_set:
            value = quote(getattr(optimizer, name))
            raise InputError(f"{here}: {name} = {value} is for learned parameters; bounds of weights are Wmin and Wmax")


def default_optimizer() -> Optimizer:
    """Return the optimizer of a model that is given none: its first steps are small, and as long in both variants."""
    return GradientDescent(eta=1e-5, normalized=True)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.model_fields["type"].default: kind for kind in (GradientDescent, Adam, SgdMomentum)
}
if TYPE_CHECKING:
    OptimizerName = str  # of one of them
else:
    OptimizerName = Literal[*OPTIMIZERS]


def optimizer(values: Given, origin: str) -> Optimizer:
    """Make a checked optimizer from NEST's optimizer dictionary.

    Parameters
    ----------
    values : Mapping
        Name to value; `type` names the optimizer, gradient descent without it.
    origin : str
        Owner of the values, named in the messages.

    Returns
    -------
    Optimizer
        Settings, all within their bounds.

    Raises
    ------
    InputError
        For an unknown `type` or name, or a value out of bounds.
    """
    kind = values.get("type", "gradient_descent")
    if not isinstance(kind, str) or kind not in OPTIMIZERS:
        here = f"{origin}: " if origin else ""
        raise InputError(f"{here}unknown optimizer type {quote(kind)}{nearest(str(kind), OPTIMIZERS)}")
    return validate(OPTIMIZERS[kind], values, origin)
