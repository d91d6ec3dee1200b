"""Errors, losses and optimizers: what turns readout signals into weight changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .kernels import optimizers as kernel
from .memory import aligned
from .params import Adam, GradientDescent, Optimizer
from .synapses import Span, Synapses


def softmax(signal: np.ndarray) -> np.ndarray:
    """Softmax over the readouts, (n_steps, n_readouts)."""
    shifted = np.exp(signal - signal.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def output(loss: str, signal: np.ndarray) -> np.ndarray:
    """What a loss compares with the target: the signals or their softmax, (n_steps, n_readouts)."""
    return softmax(signal) if loss == "cross_entropy" else signal


def evaluate(loss: str, signal: np.ndarray, target: np.ndarray, window: np.ndarray | slice) -> tuple[np.ndarray, float]:
    """Error signals and loss of one sample.

    Parameters
    ----------
    loss : "mean_squared_error" or "cross_entropy"
    signal, target : float64 (n_steps, n_readouts)
    window : steps with a learning signal, a mask or a slice

    Returns
    -------
    error : float64 (n_steps, n_readouts), 0 outside the window
    loss : 0.5 sum E^2, or the cross-entropy summed over the window

    Notes
    -----
    Every rank computes this from the same signals, so it is the same on all. Bellec et al. 2020, Methods.
    """
    error = np.zeros_like(signal)
    inside, wanted = signal[window], target[window]
    if loss == "cross_entropy":
        probability = softmax(inside)
        error[window] = probability - wanted
        value = -np.sum(wanted * np.log(np.maximum(probability, np.finfo(float).tiny)))
    else:
        error[window] = inside - wanted
        with np.errstate(over="ignore"):  # an infinite loss ends the run
            value = 0.5 * np.sum(np.square(error[window]))
    return error, float(value)


def learning_signal(error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Errors (n_steps, n_readouts) times feedback weights (n_readouts, n): the learning signals of some neurons.

    Summed in ascending readout: a matrix product may sum in another order for another number of neurons.
    """
    total = np.zeros((len(error), weights.shape[1]))
    for k, row in enumerate(weights):
        total += error[:, k, None] * row
    return total


@dataclass
class Plastic:
    """A plastic projection on this rank with its optimizer and the optimizer's state.

    Attributes
    ----------
    span : where its synapses lie
    optimizer : settings; `eta` may be changed between samples
    n_steps : optimizer steps made
    keeps_moments : whether moments are kept here (interval variant)
    moment, variance : (n_synapses,) of the type of the weights, Adam's, else empty
    """

    table: Synapses
    span: Span
    optimizer: Optimizer
    n_steps: int = 0
    keeps_moments: bool = True

    def __post_init__(self) -> None:
        n = self.span.last - self.span.first if self.keeps_moments and isinstance(self.optimizer, Adam) else 0
        self.moment, self.variance = (aligned(n, self.table.weight.dtype) for _ in range(2))
        self.eta = self.optimizer.eta

    def step(self, gradient: np.ndarray, divisor: float) -> None:
        """Take one optimizer step with `gradient` / `divisor` and clear the gradient (n_synapses of the table,)."""
        rule: GradientDescent = self.optimizer
        first, last = self.span.first, self.span.last
        self.n_steps += 1
        if isinstance(rule, Adam):
            kernel.adam(
                self.eta, divisor, rule.Wmin, rule.Wmax, rule.beta_1, rule.beta_2, rule.epsilon, self.n_steps,
                gradient[first:last], self.moment, self.variance, self.table.weight[first:last],
            )  # fmt: skip
        else:
            kernel.gradient_descent(
                self.eta, divisor, rule.Wmin, rule.Wmax, gradient[first:last], self.table.weight[first:last]
            )

    @property
    def name(self) -> str:
        """Name of the projection."""
        return self.span.projection.name

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps of each synapse: the table's weights and the moments kept here."""
        arrays = {"weight": self.table.weight}
        if self.keeps_moments and isinstance(self.optimizer, Adam):
            arrays |= {"moment": self.moment, "variance": self.variance}
        return arrays

    def numbers(self) -> dict[str, float]:
        """What a checkpoint keeps besides arrays."""
        return {"eta": self.eta, "n_steps": self.n_steps}

    def restore(self, numbers: dict[str, float]) -> None:
        """Take back `numbers`."""
        self.eta, self.n_steps = float(numbers["eta"]), int(numbers["n_steps"])

    def clip(self) -> None:
        """Note a step whose gradient went straight into the weights, and clip them."""
        self.n_steps += 1
        kernel.clip(self.optimizer.Wmin, self.optimizer.Wmax, self.table.weight[self.span.first : self.span.last])

    @property
    def nbytes(self) -> int:
        """Bytes of the optimizer's state."""
        return self.moment.nbytes + self.variance.nbytes


def plastic(table: Synapses, default: Optimizer, keeps_moments: bool = True) -> list[Plastic]:
    """The plastic projections of a table.

    Raises
    ------
    InputError
        For a weight that lies outside of its bounds, as in NEST.
    """
    for span in table.spans:
        _require_bounds(span, span.projection.optimizer or default, table.weight[span.first : span.last])
    return [
        Plastic(table, span, span.projection.optimizer or default, keeps_moments=keeps_moments)
        for span in table.spans
        if span.projection.plastic
    ]


def _require_bounds(span: Span, optimizer: Optimizer, weight: np.ndarray) -> None:
    if not span.projection.plastic or not len(weight):
        return
    for worst, beyond, name in (
        (weight.min(), weight.min() < optimizer.Wmin, "at least Wmin"),
        (weight.max(), weight.max() > optimizer.Wmax, "at most Wmax"),
    ):
        if beyond:
            bound = optimizer.Wmin if "Wmin" in name else optimizer.Wmax
            raise InputError(f"projection '{span.projection.name}': weight = {worst:g} must be {name} = {bound:g}")
