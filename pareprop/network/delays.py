"""Delays that follow a law: drawn from a distribution, or growing with distance; in whole steps."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from .. import elementary, rng
from ..errors import InputError, quote
from ..sonata.edges import MAX_DELAY
from .optimizers import OF_WEIGHTS, Optimizer, require_no_decay
from .parameters import Constant, Distribution, Frozen, LogNormal, Normal
from .rule_base import Described
from .space import Space

REACH = 4.0  # standard deviations from the mean beyond which delays are drawn again


class DistanceDelay(Frozen):
    """Delays that grow with the distance d: offset + per_length d, rounded to whole steps, at least one.

    Attributes
    ----------
    per_length : float
        Delay for each unit of length of the space, the inverse of the speed of spikes: steps in `delay`, ms in
        `delay_ms`.
    offset : float
        Delay at distance 0, in the same unit of time.
    """

    per_length: float = Field(ge=0, allow_inf_nan=False)
    offset: float = Field(0.0, ge=0, allow_inf_nan=False)

    def compute_steps(self, distance: float | np.ndarray) -> np.ndarray:
        """Return the delays at some distances, float64, for a law in steps."""
        return np.maximum(1.0, np.floor(self.offset + self.per_length * np.asarray(distance) + 0.5))


Law = Distribution | DistanceDelay


def convert_to_steps(here: str, law: Law, dt_ms: float) -> Law:
    """Convert a law of delays to steps, where `dt_ms` is one step in its unit; `InputError` for other kinds of laws."""
    if isinstance(law, DistanceDelay):
        return DistanceDelay(per_length=law.per_length / dt_ms, offset=law.offset / dt_ms)
    if isinstance(law, Constant):
        law = Normal(mean=law.value, std=0.0)
    if isinstance(law, Normal):
        return Normal(mean=law.mean / dt_ms, std=law.std / dt_ms)
    if isinstance(law, LogNormal):
        return LogNormal(mean=law.mean - float(elementary.log(dt_ms)), std=law.std)
    raise InputError(f"{here}: delays drawn from {law} are not possible; give Normal, LogNormal, or lowest and highest")


def find_range(here: str, law: Law, space: Space | None = None) -> tuple[int, int]:
    """Return the lowest and highest delay of a law in steps: within `REACH`, or up to the cutoff in space."""
    if isinstance(law, DistanceDelay):
        most = float(law.compute_steps(space.cutoff if space else 0.0))
        if not most <= MAX_DELAY:
            raise InputError(f"{here}: delay = {most:g} steps at the cutoff must be at most {MAX_DELAY}")
        return int(law.compute_steps(0.0)), int(most)
    mean, std = law.numbers
    ends = mean - REACH * std, mean + REACH * std
    if isinstance(law, LogNormal):
        ends = tuple(float(elementary.exp(min(end, 50.0))) for end in ends)  # type: ignore[assignment]  # two of them
    low, high = max(math.floor(ends[0] + 0.5), 1), math.floor(ends[1] + 0.5)
    if not 1 <= high <= MAX_DELAY:
        raise InputError(f"{here}: delay drawn from {quote(str(law))} steps must lie in 1 to {MAX_DELAY} steps")
    return low, high


def list_levels(law: Distribution, low: int, high: int) -> np.ndarray:
    """Return the thresholds that turn numbers of 32 bits into delays, uint32 (high - low,); see `rng.make_levels`.

    `law` is a distribution of delays in steps, which are rounded to the nearest one; delays outside [low, high] are
    drawn again. A delay is `low` plus the number of thresholds below the random number.
    """
    mean, std = law.numbers
    edges = np.arange(low, high + 2) - 0.5
    if isinstance(law, LogNormal):
        edges = elementary.log(edges)
    if low == high:
        return np.zeros(0, np.uint32)
    total = _compute_cumulative((edges - mean) / std)
    share = (total[1:-1] - total[0]) / (total[-1] - total[0])
    return rng.make_levels(share)


def _compute_cumulative(x: np.ndarray) -> np.ndarray:
    """Return the probability that a standard normal number is at most x, by its series (Marsaglia 2004)."""
    x = np.clip(x, -8.0, 8.0)
    total, term, odd, before = x, x, 1, np.full_like(x, np.nan)
    while np.any(total != before):
        odd += 2
        before, term = total, term * x * x / odd
        total = total + term
    return 0.5 + total * elementary.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def convert_optimizer(here: str, rule: Optimizer, dt_ms: float | None) -> Optimizer:
    """Return the optimizer of delays with `eta`, `low` and `high` in steps, converted from ms if `dt_ms` is given."""
    here, unit = (f"{here}: learn_delay", 1.0) if dt_ms is None else (f"{here}: learn_delay_ms", dt_ms)
    for kind, names in (("weights", OF_WEIGHTS), ("parameters of neurons", ("scale", "shared"))):
        for name in names:
            if name in rule.model_fields_set:
                raise InputError(f"{here}: {name} = {quote(getattr(rule, name))} is for {kind}, not for delays")
    require_no_decay(here, rule)
    if rule.high is None:
        raise InputError(f"{here}: high is missing: the longest delay that synapses may come to have")
    low, high = (1.0 if end is None else _convert_time(end, unit) for end in (rule.low, rule.high))
    if not 1.0 <= low <= high <= MAX_DELAY:
        shown = f"low = {low * unit:g} and high = {high * unit:g}"
        most = f"{MAX_DELAY * unit:g}"
        raise InputError(f"{here}: {shown} must lie in {unit:g} to {most}, one step at least, lowest first")
    return rule.model_copy(update={"eta": rule.eta / unit, "low": low, "high": high})


def _convert_time(time: float, unit: float) -> float:
    """Return a time in steps; a whole number if it is one within rounding, as 0.3 ms with steps of 0.1 ms."""
    steps = time / unit
    return float(round(steps)) if abs(steps - round(steps)) < 1e-9 * steps else steps


def check_learned(projection: Described, here: str) -> None:
    """Raise `InputError` unless the delays of a projection may learn, and lie within their bounds at the start."""
    if (rule := projection.learn_delay) is None:
        return
    here = f"{here}: learn_delay"
    if projection.pre.role not in ("input", "recurrent") or projection.post.role != "recurrent":
        raise InputError(f"{here} is for projections from inputs and neurons onto neurons")
    if not projection.plastic:
        raise InputError(f"{here} needs plastic = True; an optimizer with eta = 0 keeps the weights as they are")
    assert rule.low is not None and rule.high is not None  # see `convert_optimizer`
    for first, beyond in zip(projection.first_delays, (-1, 1), strict=True):
        if not projection.is_empty and not round(rule.low) <= first <= round(rule.high):
            which = "shortest" if beyond < 0 else "longest"
            bounds = f"low = {rule.low:g} to high = {rule.high:g}"
            raise InputError(f"{here}: the {which} delay at the start, {first} steps, must lie in {bounds}")
