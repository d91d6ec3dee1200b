"""Losses of readouts, for both variants: errors and loss from readout signals and targets.

A new loss is a class here and an entry of `LOSSES`. The spike variant calls it once in each step, unless it is compiled
into `cython_core/spike_variant/steps.pxi`. The loss of rewards, which has no target, is in `reward`.
A script passes a custom loss to its `Model`, as a function (`FunctionLoss`) or as an instance of a subclass of `Loss`.
"""

from __future__ import annotations

import copy
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .. import elementary
from ..errors import InputError, quote
from ..values import AnyValue, Later, Values

SHARES = (1e-3, 1e-5)  # steps of finite differences, as fractions of the largest distance from a target
NEAR, ROUNDED = 0.02, 1e-3  # tolerated deviation of errors, as a fraction of the derivative and of the loss


@dataclass(frozen=True, eq=False)
class Context:
    """Data on the present sample for losses and hooks of scripts, the same on all ranks except `neurons`.

    Attributes
    ----------
    index : int
        Number of the sample in its phase.
    phase : str
        "train", "validate" or "test".
    label : int or None
        Class, for classification.
    batch_size : int
        Samples of a batch.
    neurons : np.ndarray or None
        int64 (n,), neurons of the network in the columns of a hook's arrays, some or all neurons of this rank; None for
        losses of readouts.
    """

    index: int = 0
    phase: str = ""
    label: int | None = None
    batch_size: int = 1
    neurons: np.ndarray | None = None

    @property
    def batch(self) -> int:
        """Number of the batch in its phase; of a training, the iteration."""
        return self.index // self.batch_size


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors and loss of a sample.

    Attributes
    ----------
    error : np.ndarray
        float64 (n_steps, n_readouts), 0 in steps without a learning signal.
    loss : float
        Loss of the whole sample.
    extra : dict of str to np.ndarray
        Quantities from which errors and loss were computed, for results.
    """

    error: np.ndarray
    loss: float
    extra: dict[str, np.ndarray] = field(default_factory=dict)


class _Seen:
    """Descriptor for the context of a loss; without a setter, attributes `context` of scripts take precedence."""

    def __get__(self, loss: Loss | None, owner: type[Loss]) -> Context:
        return (owner if loss is None else loss)._context


class Loss(ABC):
    """A sum over readouts and steps; the error is its derivative by the readout voltage.

    Attributes
    ----------
    unit : str
        Unit of outputs, targets and errors.
    context : Context
        Data on the present sample, unless a script's class or object has an attribute of this name.
    """

    unit: str = "mV"
    context = _Seen()
    _context: Context = Context()

    def set_context(self, context: Context) -> None:
        """Set the context of the next evaluation."""
        object.__setattr__(self, "_context", context)  # a loss may be frozen

    def state(self) -> Values:
        """Return the state that the loss keeps between samples: only training changes it, checkpoints store it.

        Values as of `Observer.state`. A loss with a state needs `load_state`, too.
        """
        return {}

    def load_state(self, state: Values) -> None:
        """Restore a result of `state` on every rank: after each sample of a validation or test, and to resume."""
        if state:
            names = ", ".join(sorted(state))
            raise InputError(f"loss {name_loss(self)} takes no state back, and there is one of {names}")

    @property
    def has_state(self) -> bool:
        """Whether results for a sample depend on earlier samples."""
        return _has_method(self, "state")

    def output(self, signal: np.ndarray) -> np.ndarray:
        """Return the outputs to compare with targets, (n_steps, n_readouts), for readout voltages of this shape."""
        return signal

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors, (n_steps, n_readouts)."""
        return output - target

    def evaluate(
        self, signal: np.ndarray, target: np.ndarray | None, window: np.ndarray | slice, rollout: Later = None
    ) -> Evaluation:
        """Return errors and loss of one sample; all ranks compute them from the same signals, with the same result.

        Parameters
        ----------
        signal, target : np.ndarray
            float64 (n_steps, n_readouts).
        window : np.ndarray or slice
            Steps with a learning signal.
        rollout : Rollout or None
            Record of an episode, for losses without targets.

        Returns
        -------
        Evaluation
            Errors, 0 outside the window; the loss is summed over the window.
        """
        assert target is not None  # only episodes have none
        error = np.zeros_like(signal)
        output, target_signal = self.output(signal[window]), target[window]
        error[window] = _to_numpy(self.error(output, target_signal))
        return Evaluation(error, _to_numpy(self.value(output, target_signal, error[window])))

    def check(
        self,
        signal: np.ndarray,
        target: np.ndarray,
        window: np.ndarray | slice = slice(None),
        by_step: bool = False,
        context: Context | None = None,
    ) -> str:
        """Compare the errors with finite differences of the loss; return a line on the deviation, "" if there is none.

        Parameters
        ----------
        signal, target : np.ndarray
            float64 (n_steps, n_readouts): voltages of the readouts, and targets.
        window : np.ndarray or slice
            Steps with a learning signal.
        by_step : bool
            Whether the loss is a sum of losses of single steps, as the spike variant calls it.
        context : Context or None
            Context for the loss; None: its latest context.

        Returns
        -------
        str
            One line.
        """
        self.set_context(context or self._context)
        signal, target = signal[window], np.asarray(target, float)[window]
        errors, value = self._evaluate_steps(signal, target, by_step)
        norm, spread = float(np.sqrt(np.sum(np.square(errors)))), float(np.max(np.abs(signal - target), initial=0.0))
        if not (math.isfinite(norm) and spread):
            return ""
        what = f"loss {name_loss(self)}: errors are not the derivative of the loss"
        lines = {"a random line": np.random.default_rng(1).normal(size=signal.shape)}
        if norm:
            lines = {"them": errors / np.max(np.abs(errors))} | lines
        stated = {name: float(np.sum(errors * line)) for name, line in lines.items()}
        rounded = ROUNDED * abs(value) / spread
        near = {name: NEAR * max(abs(slope), norm) + rounded for name, slope in stated.items()}
        found = {}
        for name, line in lines.items():  # two steps, as one may be too long, or lost in rounding
            slopes = [self._estimate_slope(signal, target, by_step, line, share * spread) for share in SHARES]
            found[name] = min(slopes, key=lambda slope: abs(slope - stated[name]))
        far = [name for name in lines if not abs(found[name] - stated[name]) <= near[name]]
        if not far or not all(map(math.isfinite, found.values())):
            return ""
        if all(abs(slope) <= rounded for slope in found.values()):
            return f"{what}: it does not change with the outputs"
        ratio = stated[far[0]] / found[far[0]] if found[far[0]] else 0.0
        if ratio and all(abs(stated[name] - ratio * found[name]) <= near[name] for name in lines):
            is_turned = abs(ratio + 1.0) <= NEAR
            return f"{what}: {'their sign is wrong' if is_turned else f'they are {ratio:.3g} times as large'}"
        return f"{what} by the outputs: along {far[0]} it changes by {found[far[0]]:.3g}, they say {stated[far[0]]:.3g}"

    def _estimate_slope(
        self, signal: np.ndarray, target: np.ndarray, by_step: bool, line: np.ndarray, step: float
    ) -> float:
        """Return the derivative of the loss along a line, by a central difference."""
        up, down = (self._evaluate_steps(signal + sign * step * line, target, by_step)[1] for sign in (1.0, -1.0))
        return (up - down) / (2.0 * step)

    def _evaluate_steps(self, signal: np.ndarray, target: np.ndarray, by_step: bool) -> tuple[np.ndarray, float]:
        """Return errors and loss without changing the state; with `by_step` each step starts from the same state."""
        cuts = range(1, len(signal)) if by_step else []
        found = []
        for part, wanted in zip(np.split(signal, cuts), np.split(target, cuts), strict=True):
            kept = copy.deepcopy(self.state())
            found.append(self.evaluate(part, wanted, slice(None)))
            self.load_state(kept)
        return np.concatenate([each.error for each in found]), sum(each.loss for each in found)

    @abstractmethod
    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps, (n_steps, n_readouts) each."""


class MeanSquaredError(Loss):
    """0.5 sum E^2, E = y - target. Bellec et al. 2020, Methods."""

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        with np.errstate(over="ignore"):  # an infinite loss ends the run
            return float(0.5 * elementary.sum_in_order(np.square(error)))


class CrossEntropy(Loss):
    """- sum target log softmax(y); the error is softmax(y) - target. Bellec et al. 2020, Methods."""

    unit = "1"  # probabilities

    def output(self, signal: np.ndarray) -> np.ndarray:
        """Return the softmax over the readouts."""
        shifted = elementary.exp(signal - signal.max(axis=1, keepdims=True))
        return shifted / elementary.total_rows(shifted)[:, None]

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        return float(-elementary.sum_in_order(target * elementary.log(np.maximum(output, np.finfo(float).tiny))))


class Huber(Loss):
    """Quadratic for |y - target| <= 1, linear beyond: single large errors count less. Huber 1964.

    doi 10.1214/aoms/1177703732.
    """

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors, at most 1 in size."""
        return np.clip(output - target, -1.0, 1.0)

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        distance = np.abs(output - target)
        return float(elementary.sum_in_order(np.where(distance <= 1.0, 0.5 * np.square(error), distance - 0.5)))


class FunctionLoss(Loss):
    """A loss of a script.

    Parameters
    ----------
    function : callable
        Takes the outputs and targets in the steps with a learning signal, float64 (n, n_readouts) each; in the spike
        variant of one such step, n = 1. It returns the errors, (n, n_readouts), which are the derivatives of the loss
        by the outputs, and the loss. An argument named `context` receives the `Context`.
    """

    def __init__(self, function: Callable[..., tuple[np.ndarray, float]]) -> None:
        self.function = function
        try:
            known = set(inspect.signature(function).parameters)
        except (TypeError, ValueError):  # of code that is not Python
            known = set()
        self._wants_context = "context" in known

    def state(self) -> Values:
        """Return the state of the function, if it is an object that has one."""
        return self.function.state() if self.has_state else {}  # type: ignore[attr-defined]

    def load_state(self, state: Values) -> None:
        """Restore the state of the function from a result of `state`."""
        self.function.load_state(state) if self.has_state else super().load_state(state)  # type: ignore[attr-defined]

    @property
    def has_state(self) -> bool:
        """Whether results for a sample depend on earlier samples."""
        return _has_method(self.function, "state")

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors."""
        return self._call_function(output, target)[0]

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        return self._call_function(output, target)[1]

    def evaluate(
        self, signal: np.ndarray, target: np.ndarray | None, window: np.ndarray | slice, rollout: object = None
    ) -> Evaluation:
        """Return errors and loss of one sample, by one call of the function; see `Loss.evaluate`."""
        assert target is not None  # only episodes have none
        error = np.zeros_like(signal)
        error[window], loss = self._call_function(signal[window], target[window])
        return Evaluation(error, loss)

    def _call_function(self, output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        more = {"context": self._context} if self._wants_context else {}
        result = self.function(output.copy(), target.copy(), **more)  # copies, as the function may change them
        name = name_loss(self)
        if not isinstance(result, tuple) or len(result) != 2:
            raise InputError(f"loss {name} returned {quote(result)}, must return the errors and the loss")
        error, loss = map(_to_numpy, result)
        if np.shape(error) != output.shape:
            raise InputError(f"loss {name}: errors have shape {np.shape(error)}, must be {output.shape}")
        if np.ndim(loss) or not np.isreal(loss):
            raise InputError(f"loss {name}: the loss {quote(loss)} must be one number")
        return np.asarray(error, float), float(loss)


def _to_numpy(value: AnyValue) -> AnyValue:
    """Return a tensor of PyTorch as an array or a number, anything else as it is."""
    if not hasattr(value, "detach"):
        return value
    array = value.detach().cpu().numpy()
    return array if array.ndim else array.item()


def name_loss(loss: Loss) -> str:
    """Return the name of a loss in messages: the name of its class, or of a script's function."""
    own = loss.function if isinstance(loss, FunctionLoss) else loss
    return getattr(own, "__name__", type(own).__name__)


def require_whole_state(loss: Loss) -> None:
    """Raise `InputError` unless a loss has both of `state` and `load_state`, or neither."""
    own = loss.function if isinstance(loss, FunctionLoss) else loss
    given = {name: _has_method(own, name) for name in ("state", "load_state")}
    for name in given:
        if isinstance(own, Loss) and not callable(getattr(own, name)):
            raise InputError(f"loss {name_loss(loss)}: {name} = {quote(getattr(own, name))} must be a method")
    if len(set(given.values())) > 1:
        one, other = sorted(given, key=lambda name: not given[name])
        raise InputError(f"loss {name_loss(loss)} has {one}(), but no {other}(): it needs both")


def _has_method(own: object, name: str) -> bool:
    """Whether an object of a script overrides a method of `Loss`, given by name."""
    method = getattr(own, name, None)
    return callable(method) and getattr(method, "__func__", method) is not vars(Loss)[name]


def log_softmax(signal: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis, (n, n_readouts) as `signal`."""
    shifted = signal - signal.max(axis=-1, keepdims=True)
    return shifted - elementary.log(elementary.total_rows(elementary.exp(shifted))[..., None])


LOSSES: dict[str, Loss] = {
    "mean_squared_error": MeanSquaredError(),
    "cross_entropy": CrossEntropy(),
    "huber": Huber(),
}
