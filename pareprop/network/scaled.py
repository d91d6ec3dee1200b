"""Weights scaled by the number of sources and the constants of their targets, so that a first network fires."""

from __future__ import annotations

import math

import numpy as np

from .. import elementary, rng
from ..errors import InputError
from ..neurons.language import evaluate_tree, with_terms
from ..neurons.model import NeuronModel
from ..values import AnyValue, Values
from .parameters import Distribution, Normal, Scaled
from .rule_base import Described

TRIED, TRIED_MS = 128, 300.0  # neurons of a trial, and its length
GAINS = np.arange(26) ** 2 / 32.0  # of a trial, to 19.5
KICK = 1e-6  # weight of a single arrival, small for a linear response
ENOUGH, LONGEST = 1e-4, 100_000  # fraction of the peak at which a response ends, and most steps


def make_distribution(scaled: Scaled, here: str, projection: Described, n_sources: float, dt_ms: float) -> Normal:
    """Return the distribution of the weights of a projection.

    Raises `InputError` if the projection brings no spikes or needs weights of one sign, if its targets spike at rest,
    or if they cannot fire at the requested rate.
    """
    if not projection.is_drawn:
        raise InputError(f"{here}: weight: Scaled is for synapses that are drawn, not for rule '{projection.rule}'")
    if projection.pre.role not in ("input", "recurrent"):
        raise InputError(f"{here}: weight: Scaled is for projections that bring spikes, from inputs or neurons")
    if projection.requires_positive:
        raise InputError(f"{here}: weight: Scaled has both signs; {projection.requires_positive}; give mean and std")
    return Normal(std=compute_std(scaled, f"{here}: weight: Scaled", projection, n_sources, dt_ms))


def compute_std(scaled: Scaled, here: str, projection: Described, n_sources: float, dt_ms: float) -> float:
    """Return the standard deviation of scaled weights; `InputError`, starting with `here`, if there is none."""
    post = projection.post
    if post.role == "readout":
        if scaled.fires_hz is not None:
            raise InputError(f"{here}: fires_hz is for neurons; readouts have a gain")
        response, distance = _simulate_readout(post.params, dt_ms), 1.0
    else:
        response, distance = _simulate_neuron(post, projection.port_index, here, dt_ms)
    p = min(scaled.rate_hz * dt_ms / 1000.0, 1.0)
    total, squares = float(elementary.sum_in_order(response)), float(elementary.sum_in_order(np.square(response)))
    moments = p * p * total * total + p * (1.0 - p) * squares
    if not (moments > 0 and math.isfinite(moments)):
        raise InputError(f"{here}: spikes do not move the voltage of '{post.name}' from rest")
    unit, gain = distance / math.sqrt(moments), scaled.gain
    if scaled.fires_hz is not None:
        gain = _find_gain(post, projection.port_index, here, dt_ms, scaled.fires_hz, unit, p)
    return gain * unit / math.sqrt(max(n_sources, 1.0))


def _find_gain(post: AnyValue, port: int, here: str, dt_ms: float, fires_hz: float, unit: float, p: float) -> float:
    """Return the gain with which neurons fire at a rate in a trial, from rest.

    The input to a neuron is approximated as normal: a sum of weights of total variance `unit`^2, each arriving in a
    step with probability `p`, has a constant mean, as weights are constant, and noise from step to step.
    """
    definition, fixed = _describe_neuron(post, dt_ms)
    n_steps, name, shape = math.ceil(TRIED_MS / dt_ms), definition.ports[port], (len(GAINS), TRIED)
    draws = rng.draw_normal(rng.make_key(0, "scaled"), np.arange(TRIED), 1 + n_steps).T
    arriving, held = unit * (p * draws[0] + math.sqrt(p * (1.0 - p)) * draws[1:]), round(fixed["t_ref"] / dt_ms)
    states = {key: np.broadcast_to(value, shape) for key, value in definition.compute_initial(fixed).items()}
    waits, z, n_spikes = np.zeros(shape), np.zeros(shape), np.zeros(len(GAINS))
    for row in arriving:
        before = {name: GAINS[:, None] * row, "z": z, "refractory": (waits > 0) * 1.0}
        states = _step(definition, fixed | states | before)
        waits = np.maximum(waits - 1, 0)
        fired = (evaluate_tree(definition.equations.spike, fixed | states) >= 0) & (waits == 0)
        after = {key: evaluate_tree(tree, fixed | states) for key, tree in definition.equations.reset.items()}
        states = states | {key: np.where(fired, value, states[key]) for key, value in after.items()}
        waits, z = np.where(fired, held, waits), fired * 1.0
        n_spikes += np.count_nonzero(fired, axis=1)
    rates = 1000.0 * n_spikes / (TRIED * n_steps * dt_ms)
    if rates[0] >= fires_hz:
        why = f"'{post.name}' fires {rates[0]:.4g} Hz without input, fires_hz = {fires_hz:g} must be above"
        raise InputError(f"{here}: {why}")
    if not np.any(rates >= fires_hz):
        raise InputError(f"{here}: fires_hz = {fires_hz:g} is out of reach of '{post.name}'")
    k = int(np.argmax(rates >= fires_hz))
    (low, high), (below, above) = GAINS[k - 1 : k + 1], rates[k - 1 : k + 1]
    return float(low + (high - low) * (fires_hz - below) / (above - below))


def _simulate_readout(params: AnyValue, dt_ms: float) -> np.ndarray:
    kappa = float(elementary.exp(-dt_ms / params.tau_m))
    zeta = 1.0 if getattr(params, "regular_spike_arrival", True) else 1.0 - kappa
    response = [zeta]
    while response[-1] > ENOUGH * zeta and len(response) < LONGEST:
        response.append(kappa * response[-1])
    return np.array(response)


def _simulate_neuron(post: AnyValue, port: int, here: str, dt_ms: float) -> tuple[np.ndarray, float]:
    """Return a neuron's response to a spike of weight 1, in each step, and its distance from threshold."""
    definition, values = _describe_neuron(post, dt_ms)
    rest, moved = (definition.compute_initial(values) for _ in range(2))
    response: list[float] = []
    kick, peak = {definition.ports[port]: KICK}, 0.0
    while len(response) < LONGEST:
        rest, moved = _step(definition, values | rest), _step(definition, values | kick | moved)
        kick = {}
        x, x_moved = (float(evaluate_tree(definition.equations.spike, values | states)) for states in (rest, moved))
        response.append((x_moved - x) / KICK)
        peak = max(peak, abs(response[-1]))
        if abs(response[-1]) <= ENOUGH * peak and len(response) > 1 and (peak or len(response) > 100):
            break
    if not x < 0:
        raise InputError(f"{here}: '{post.name}' spikes at rest, its threshold is {-x:g} away")
    return np.array(response), -x


def _describe_neuron(post: AnyValue, dt_ms: float) -> tuple[NeuronModel, Values]:
    """Return the equations of a population, and the values other than states that they read, of a typical neuron."""
    params, definition = post.params, post.definition
    given = {name: getattr(params, name, None) for name in definition.defaults}
    values = definition.complete_values(
        {name: _find_center(value) for name, value in given.items() if value is not None}, dt_ms
    )
    return definition, values | dict.fromkeys((*definition.ports, "z", "refractory"), 0.0) | {"I": values["I_e"]}


def _step(definition: NeuronModel, values: Values) -> Values:
    values = with_terms(values, definition.equations.terms)
    return {name: evaluate_tree(tree, values) for name, tree in definition.equations.step.items()}


def _find_center(value: AnyValue) -> float:
    return value.center if isinstance(value, Distribution) else float(elementary.mean_in_order(np.atleast_1d(value)))
