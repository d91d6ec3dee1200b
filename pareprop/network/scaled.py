"""Weights scaled by the number of sources and the constants of their targets, so that a first network fires."""

from __future__ import annotations

import math

import numpy as np

from .. import elementary
from ..errors import InputError
from ..neurons.language import evaluate, with_terms
from ..neurons.model import NeuronModel
from ..values import AnyValue, Values
from .parameters import Distribution, Normal, Scaled
from .rule_base import Described

KICK = 1e-6  # arrives once, so that the response is linear
ENOUGH, LONGEST = 1e-4, 100_000  # share of the peak at which a response ends, and steps


def draw_from(scaled: Scaled, here: str, projection: Described, n_sources: float, dt_ms: float) -> Normal:
    """Return the distribution of the weights of a projection.

    Raises
    ------
    InputError
        If the projection brings no spikes, needs weights of one sign, or its targets spike at rest.
    """
    if not projection.is_drawn:
        raise InputError(f"{here}: weight: Scaled is for synapses that are drawn, not for rule '{projection.rule}'")
    if projection.pre.role not in ("input", "recurrent"):
        raise InputError(f"{here}: weight: Scaled is for projections that bring spikes, from inputs or neurons")
    if projection.requires_positive:
        raise InputError(f"{here}: weight: Scaled has both signs; {projection.requires_positive}")
    return Normal(std=scale_of(scaled, f"{here}: weight: Scaled", projection, n_sources, dt_ms))


def scale_of(scaled: Scaled, here: str, projection: Described, n_sources: float, dt_ms: float) -> float:
    """Return the standard deviation of scaled weights; `InputError` after `here` if there is none."""
    post = projection.post
    if post.role == "readout":
        response, distance = _of_readout(post.params, dt_ms), 1.0
    else:
        response, distance = _of_neuron(post, projection.port_index, here, dt_ms)
    p = min(scaled.rate_hz * dt_ms / 1000.0, 1.0)
    total, squares = float(elementary.total(response)), float(elementary.total(np.square(response)))
    moments = p * p * total * total + p * (1.0 - p) * squares
    if not (moments > 0 and math.isfinite(moments)):
        raise InputError(f"{here}: spikes do not move the voltage of '{post.name}' from rest")
    return scaled.gain * distance / math.sqrt(max(n_sources, 1.0) * moments)


def _of_readout(params: AnyValue, dt_ms: float) -> np.ndarray:
    kappa = float(elementary.exp(-dt_ms / params.tau_m))
    zeta = 1.0 if getattr(params, "regular_spike_arrival", True) else 1.0 - kappa
    response = [zeta]
    while response[-1] > ENOUGH * zeta and len(response) < LONGEST:
        response.append(kappa * response[-1])
    return np.array(response)


def _of_neuron(post: AnyValue, port: int, here: str, dt_ms: float) -> tuple[np.ndarray, float]:
    """Return the response of a neuron to a spike of weight 1, in each step, and how far it is from its threshold."""
    params, definition = post.params, post.definition
    given = {name: getattr(params, name, None) for name in definition.defaults}
    values = definition.values({name: _center(value) for name, value in given.items() if value is not None}, dt_ms)
    values |= dict.fromkeys((*definition.ports, "z", "refractory"), 0.0) | {"I": values["I_e"]}
    rest, moved = (definition.initial(values) for _ in range(2))
    response: list[float] = []
    kick, peak = {definition.ports[port]: KICK}, 0.0
    while len(response) < LONGEST:
        rest, moved = _step(definition, values | rest), _step(definition, values | kick | moved)
        kick = {}
        x, x_moved = (float(evaluate(definition.equations.spike, values | states)) for states in (rest, moved))
        response.append((x_moved - x) / KICK)
        peak = max(peak, abs(response[-1]))
        if abs(response[-1]) <= ENOUGH * peak and len(response) > 1 and (peak or len(response) > 100):
            break
    if not x < 0:
        raise InputError(f"{here}: '{post.name}' spikes at rest, its threshold is {-x:g} away")
    return np.array(response), -x


def _step(definition: NeuronModel, values: Values) -> Values:
    values = with_terms(values, definition.equations.terms)
    return {name: evaluate(tree, values) for name, tree in definition.equations.step.items()}


def _center(value: AnyValue) -> float:
    return value.center if isinstance(value, Distribution) else float(elementary.mean(np.atleast_1d(value)))
