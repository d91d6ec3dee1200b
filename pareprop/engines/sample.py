"""`Sample`: inputs and target that a task gives to the simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from .. import elementary, rng
from ..errors import InputError, quote
from ..kernels import checksum
from ..network.features import list_features
from ..network.learning import list_rules_reading
from ..network.model import Model
from ..network.parameters import is_number, is_whole
from ..network.reward import Rollout
from ..network.unsupported import require_supported
from ..parallel.spike_log import SpikeLog


def check_numbers(name: str, value: object) -> np.ndarray:
    """Return an array of the numbers or truth values of a sample; `InputError` names a field of other types."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise InputError(f"sample: {name} = {quote(value)} must hold numbers")
    if np.ma.is_masked(value):
        raise InputError(f"sample: {name} holds masked values, which are no numbers")
    if name == "window" and array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError("sample: window holds NaN, must hold truth values")
    return array


def _compute_checksum(arrays: Iterable[object]) -> int:
    """Return the checksum of some arrays, one after the other; None counts as well."""
    mark = 0
    for array in arrays:
        held = np.zeros(1, np.uint8) if array is None else np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        mark = checksum.xxh64(held, mark)
    return mark


BY_STEP = ("target", "currents", "window", "modulator", "factors")  # arrays with a row for each step


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs and target of one sample.

    Attributes
    ----------
    inputs : SpikeLog
        Spikes of the input populations; with a delay of one step, spikes of step s reach neurons in step s.
    target : np.ndarray or None
        float64 (n_steps, n_readouts); None for losses of episodes.
    currents : np.ndarray or None
        float64 (n_steps, n_currents), amplitudes in pA of the graded sources.
    window : np.ndarray or None
        bool (n_steps,), steps with a learning signal; None for the task's `learning_window`.
    label : int or None
        Class, for classification.
    local_targets : callable or None
        Returns the targets of the local readouts of neurons [first, last), (n_steps, n), for (first, last).
    rollout : Rollout or None
        Actions and rewards, for an episode.
    n_inputs : int or None
        Columns of the raster, or rates, that the inputs were made of.
    modulator : np.ndarray or None
        float64 (n_steps,), one number for each step, which learning rules may read as `M`, such as a reward.
    factors : np.ndarray or None
        float64 (n_steps, n_readouts), factors of the errors in the window, in the spike variant; None: 1. The
        loss does not contain them.
    """

    inputs: SpikeLog
    target: np.ndarray | None = None
    currents: np.ndarray | None = None
    window: np.ndarray | None = None
    label: int | None = None
    local_targets: Callable[[int, int], np.ndarray] | None = None
    rollout: Rollout | None = None
    n_inputs: int | None = None
    modulator: np.ndarray | None = None
    factors: np.ndarray | None = None

    @classmethod
    def from_raster(cls, raster: np.ndarray, target: np.ndarray, **others) -> Sample:
        """Make a sample of a raster.

        Parameters
        ----------
        raster : array_like
            (n_steps, n_inputs), non-zero where an input spikes: numbers or truth values.
        target : array_like
            (n_steps, n_readouts).
        **others : object
            Further attributes.

        Returns
        -------
        Sample
            With these spikes as inputs.

        Raises
        ------
        InputError
            For shapes that do not fit, and for values that are not finite numbers.
        """
        spikes, target = SpikeLog.from_raster(raster), check_numbers("target", target)
        shape = np.shape(raster)
        if target.ndim != 2 or len(target) != shape[0]:
            raise InputError(f"raster {shape} and target {target.shape} must be (n_steps, n)")
        return cls(spikes, target, **{"n_inputs": shape[1]} | others)

    @classmethod
    def from_rates(
        cls, rates_hz: np.ndarray, target: np.ndarray, seed: int, index: int, dt_ms: float = 1.0, **others
    ) -> Sample:
        """Make a sample of Poisson inputs, the same on all ranks.

        Parameters
        ----------
        rates_hz : array_like
            Firing rates in Hz, (n_inputs,) or (n_steps, n_inputs).
        target : array_like
            (n_steps, n_readouts).
        seed, index : int
            Seed of the run and number of the sample; together they determine the spikes.
        dt_ms : float
            Step in ms; a step holds one spike with probability 1 - exp(-rate dt).
        **others : object
            Further attributes.

        Returns
        -------
        Sample
            With these spikes as inputs.

        Raises
        ------
        InputError
            For a rate below 0 or not finite, or a shape that does not fit the target.
        """
        rates, target = check_numbers("rates_hz", rates_hz).astype(float), check_numbers("target", target)
        for name, value in (("seed", seed), ("index", index)):
            if not is_whole(value):
                raise InputError(f"sample: {name} = {quote(value)} must be a whole number")
        if not is_number(dt_ms) or not 0 < dt_ms < np.inf:
            raise InputError(f"sample: dt_ms = {quote(dt_ms)} must be a number above 0 and finite")
        if rates.ndim not in (1, 2) or (rates.ndim == 2 and len(rates) != len(target)):
            raise InputError(f"rates_hz {rates.shape} must be (n_inputs,) or ({len(target)}, n_inputs)")
        if not np.all(np.isfinite(rates)) or np.any(rates < 0):
            raise InputError(f"rates_hz must be finite and at least 0, the lowest is {np.min(rates)}")
        key = rng.make_key(seed, f"poisson/{index}")
        probability = -elementary.expm1(-rates * dt_ms / 1000.0)
        if rates.ndim == 1:
            spikes = SpikeLog.from_arrays(*rng.draw_bernoulli(key, probability, len(target)))
            return cls(spikes, target, **{"n_inputs": len(rates)} | others)
        raster = rng.draw_uniform(key, np.arange(rates.shape[1]), len(target)).T < probability
        return cls.from_raster(raster, target, **others)

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, SpikeLog):
            raise InputError(
                f"sample: inputs = {quote(self.inputs)} must be a SpikeLog; Sample.from_raster and Sample.from_rates "
                "make one"
            )
        for name in BY_STEP:
            kind, value = bool if name == "window" else float, getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.ascontiguousarray(check_numbers(name, value), kind))
        if self.rollout is not None and not isinstance(self.rollout, Rollout):
            raise InputError(f"sample: rollout = {quote(self.rollout)} must be a Rollout")
        if self.local_targets is not None and not callable(self.local_targets):
            raise InputError(f"sample: local_targets = {quote(self.local_targets)} must be a function")

    def part(self, first: int, last: int) -> Sample:
        """Return steps [first, last) of the sample."""
        rows = {name: None if (array := getattr(self, name)) is None else array[first:last] for name in BY_STEP}
        return replace(self, inputs=self.inputs.slice_steps(first, last), **rows)

    def checksums(self) -> dict[str, int]:
        """Return a 64-bit checksum of each field of the sample, by name; local targets have none."""
        ptr = self.inputs.ptr
        held: dict[str, Iterable[object]] = {
            "input spikes": (ptr, self.inputs.ids[: ptr[-1]]),
            "target": (self.target,),
            "currents": (self.currents,),
            "window": (self.window,),
            "label": (None if self.label is None else np.array(self.label),),
            "rollout": () if self.rollout is None else vars(self.rollout).values(),
        }
        for name in ("modulator", "factors"):
            if getattr(self, name) is not None:
                held[name] = (getattr(self, name),)
        return {name: _compute_checksum(arrays) for name, arrays in held.items()}

    def check(self, n_steps: int, model: Model, needs_target: bool = True) -> None:
        """Raise `InputError` unless the sample has `n_steps` steps and the model's inputs and readouts."""
        wanted: dict[str, tuple[int, ...]] = {
            "target": (n_steps, model.size("readout")),
            "currents": (n_steps, model.size("current")),
            "window": (n_steps,),
            "modulator": (n_steps,),
            "factors": (n_steps, model.size("readout")),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise InputError(f"sample: {name} has shape {value.shape}, must be {shape}")
        if model.is_rewarded:
            self._check_rollout(n_steps, model)
        elif self.target is None and needs_target:
            raise InputError("sample: target is missing, which the loss of the readouts needs")
        elif self.target is not None and not np.isfinite(self.target).all():
            raise InputError("sample: target holds values that are not finite")
        if self.currents is not None and not np.isfinite(self.currents).all():
            raise InputError("sample: currents hold values that are not finite")
        for name in ("modulator", "factors"):
            if (value := getattr(self, name)) is not None and not np.isfinite(value).all():
                raise InputError(f"sample: {name} holds values that are not finite")
        if given := {name: f"field '{name}'" for name in ("currents", "factors") if getattr(self, name) is not None}:
            require_supported("sample: ", given | list_features(model))
        if self.modulator is None:
            for name in list_rules_reading(model, "M"):
                raise InputError(f"rule {name} reads M; the network has no modulator")
        self._check_label(model.size("readout"))
        n_inputs = model.size("input")
        if len(self.inputs.ptr) != n_steps + 1:
            raise InputError(f"sample: inputs have {len(self.inputs.ptr) - 1} steps, must have {n_steps}")
        if self.n_inputs not in (None, n_inputs):
            sizes = ", ".join(f"{item.name} {item.size}" for item in model.of_role("input")) or "none"
            raise InputError(
                f"sample: the raster has {self.n_inputs} columns, one for each input, but the model has {n_inputs} "
                f"inputs ({sizes})"
            )
        ids = self.inputs.ids[: self.inputs.ptr[n_steps]]
        if len(ids) and ids.max() >= n_inputs:
            raise InputError(f"sample: an input spike of source {ids.max()}, the model has {n_inputs}")

    def _check_label(self, n_readouts: int) -> None:
        if self.label is None:
            return
        if not is_whole(self.label):
            raise InputError(f"sample: label = {quote(self.label)} must be a whole number, the class")
        if n_readouts and not 0 <= self.label < n_readouts:
            raise InputError(
                f"sample: label = {quote(self.label)} must lie in [0, {n_readouts - 1}], as there are {n_readouts} "
                "readouts, one for each class"
            )

    def _check_rollout(self, n_steps: int, model: Model) -> None:
        if self.rollout is None:
            raise InputError("sample: rollout is missing, which loss 'reward' needs")
        self.rollout.check(n_steps, model.size("readout") - 1)
