"""Train dense networks by e-prop in JAX, for `compare_jax.py`: a compiled yardstick of our own, and BrainTrace.

Both take plain leaky neurons without refractory period, delays of one step and one interval per sample.

The yardstick is the interval variant in dense arithmetic: forward by `lax.scan`, the same backward pass as pareprop's
(pareprop/engines/README.md), then one matrix product for all synapses instead of an addition per arrival. It is the
toughest dense peer that we could think of; `compare_jax.py` compares its gradient with pareprop's.
BrainTrace trains the same network, with the same surrogate gradient, by algorithms of its own that run forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.network.local import LocalNetwork
from pareprop.simulation.digest import tables

Weights = dict[str, Any]
CELLS = ("alpha", "zeta", "V_th", "height", "inverse_width", "c_reg", "f_target")


@dataclass(frozen=True)
class Dense:
    """A network and its sample in dense float32 arrays.

    Attributes
    ----------
    weights : "in", "rec", "out" to (n_post, n_pre); plastic
    exists : of "rec", 1 where there is a synapse
    feedback : (n_rec, n_out)
    cells : parameters of the neurons, (n_rec,)
    kappa, zeta : of the readouts
    eta : learning rate
    raster, target : (n_steps, n_in), (n_steps, n_out)
    """

    weights: Weights
    exists: Any
    feedback: Any
    cells: dict[str, Any]
    kappa: float
    zeta: float
    eta: float
    raster: Any
    target: Any


def dense_of(network: LocalNetwork, sample: Sample) -> Dense:
    """Take the arrays out of a network.

    Raises
    ------
    InputError
        If it is none that `Dense` describes.
    """
    constants, cells = network.readout_constants(), network.cells
    zero = (cells["t_ref"], cells["I_e"], constants["drive"], constants["E_L"], np.ptp(constants["alpha"]))
    if network.adaptive or any(np.any(values) for values in zero):
        raise InputError("dense peers know leaky neurons without currents and t_ref, and readouts of one tau_m, only")
    matrices = {}
    for table, span in tables(network):
        names = {"input": "in", "readout": "back", "recurrent": "rec"}
        ends = span.projection.pre.role, span.projection.post.role
        matrices["out" if ends[1] == "readout" else names[ends[0]]] = matrix(table, span, table.weight)
    raster = np.zeros((len(sample.target), network.n_inputs), np.float32)
    steps, ids = sample.inputs.spikes(len(sample.target))
    raster[steps, ids] = 1.0
    raster[0] = 0.0  # what arrives in step 0 is lost
    single = {name: jnp.asarray(np.nan_to_num(matrices[name]), jnp.float32) for name in matrices}
    return Dense(
        {name: single[name] for name in ("in", "rec", "out")},
        jnp.asarray(~np.isnan(matrices["rec"]), jnp.float32),
        single["back"],
        {name: jnp.asarray(cells[name], jnp.float32) for name in CELLS},
        float(constants["alpha"][0]),
        float(constants["zeta"][0]),
        network.model.optimizer.eta,
        jnp.asarray(raster),
        jnp.asarray(sample.target, jnp.float32),
    )


def matrix(table: Any, span: Any, values: np.ndarray) -> np.ndarray:
    """Values of the synapses of a projection as (n_post, n_pre), NaN where there is none."""
    whole = np.full((span.projection.post.size, span.projection.pre.size), np.nan)
    for source, target, delay, index in table.chunks(span):
        if np.any(delay != 1):
            raise InputError("dense peers know delays of one step only")
        whole[target, source] = values[index]
    return whole


def forward(net: Dense, weights: Weights, forced: Any = None) -> tuple[Any, Any, Any]:
    """Spikes, voltages above threshold (n_steps, n_rec) and readout signals (n_steps, n_out).

    With `forced` these spikes act instead of the network's own.
    """
    cells = net.cells

    def step(state: tuple, row: tuple) -> tuple:
        v, z, y = state
        drive, given = row
        v = cells["zeta"] * (drive + weights["rec"] @ z) + cells["alpha"] * v - cells["V_th"] * z
        excess = v - cells["V_th"]
        own = (excess >= 0.0).astype(v.dtype)
        z = own if given is None else given
        y = net.zeta * (weights["out"] @ z) + net.kappa * y
        return (v, z, y), (own, excess, y)

    n_rec, n_out = weights["rec"].shape[0], weights["out"].shape[0]
    start = jnp.zeros(n_rec), jnp.zeros(n_rec), jnp.zeros(n_out)
    return lax.scan(step, start, (net.raster @ weights["in"].T, forced))[1]


def gradient(net: Dense, weights: Weights, forced: Any = None) -> tuple[Weights, Any, Any]:
    """Gradient of one sample, spikes and voltages above threshold, by the backward pass."""
    cells, n_steps = net.cells, len(net.target)
    own, excess, y = forward(net, weights, forced)
    z = own if forced is None else forced
    psi = cells["height"] * jnp.maximum(1.0 - jnp.abs(excess) * cells["inverse_width"], 0.0)
    rate = cells["c_reg"] * (z.mean(axis=0) - cells["f_target"]) / n_steps

    def step(state: tuple, row: tuple) -> tuple:
        filtered, b = state
        psi, error = row
        filtered = error + net.kappa * filtered
        b = psi * ((1.0 - net.kappa) * (net.feedback @ filtered) + rate) + cells["alpha"] * b
        return (filtered, b), (net.zeta * filtered, b)

    start = jnp.zeros(y.shape[1]), jnp.zeros(z.shape[1])
    out, b = lax.scan(step, start, (psi, y - net.target), reverse=True)[1]
    b = cells["zeta"] * b
    gradients = {"in": b.T @ net.raster, "rec": b[1:].T @ z[:-1] * net.exists, "out": out.T @ z}
    return gradients, own, excess


class Peer:
    """Training that is compiled on its first call.

    Parameters
    ----------
    step : trains by one sample: state to state
    state : weights
    """

    def __init__(self, step: Callable[[Any], Any], state: Any) -> None:
        self.step, self._state = step, state

    def __call__(self, n: int) -> None:
        """Train by `n` samples."""
        for _ in range(n):
            self._state = self.step(self._state)
        jax.block_until_ready(self._state)

    def state(self) -> Any:
        """A copy of the present weights."""
        return jax.tree.map(jnp.copy, self._state)


def yardstick(net: Dense) -> Peer:
    """Training by the yardstick."""

    @partial(jax.jit, donate_argnums=0)
    def step(weights: Weights) -> Weights:
        gradients = gradient(net, weights)[0]
        return {name: weights[name] - net.eta * gradients[name] for name in weights}

    return Peer(step, jax.tree.map(jnp.copy, net.weights))


def _cells(net: Dense) -> Any:
    """The network as a module of BrainTrace: one weight matrix from inputs and neurons, one to leaky readouts."""
    import brainstate
    import braintrace as bt

    @jax.custom_jvp
    def spike(excess: Any) -> Any:
        return (excess >= 0.0).astype(excess.dtype)

    @spike.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple:
        psi = net.cells["height"] * jnp.maximum(1.0 - jnp.abs(primals[0]) * net.cells["inverse_width"], 0.0)
        return spike(primals[0]), psi * tangents[0]

    class Cells(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            both = jnp.concatenate([net.weights["in"].T, net.weights["rec"].T])
            self.w, self.out = brainstate.ParamState(both), brainstate.ParamState(net.weights["out"].T)

        def init_state(self, *_: Any, **__: Any) -> None:
            self.v = brainstate.HiddenState(jnp.zeros(net.exists.shape[0]))
            self.y = brainstate.HiddenState(jnp.zeros(net.target.shape[1]))

        def update(self, x: Any) -> Any:
            z = spike(self.v.value - net.cells["V_th"])
            arriving = bt.matmul(jnp.concatenate([x, z]), self.w.value)
            reset = net.cells["V_th"] * lax.stop_gradient(z)
            self.v.value = net.cells["zeta"] * arriving + net.cells["alpha"] * self.v.value - reset
            read = bt.matmul(spike(self.v.value - net.cells["V_th"]), self.out.value)
            self.y.value = net.zeta * read + net.kappa * self.y.value
            return self.y.value

    return Cells()


def braintrace(net: Dense, algorithm: str, **options: Any) -> Peer:
    """Training by one of BrainTrace's algorithms.

    Learning signals come from the readouts' own weights; there is no regularisation of rates, and autapses learn, too.
    """
    import brainstate
    import braintrace as bt

    model = _cells(net)
    learner = bt.compile(model, algorithm, net.raster[0], **options)
    parameters = model.states(brainstate.ParamState)

    def loss(x: Any, target: Any) -> Any:
        return 0.5 * jnp.sum((learner(x) - target) ** 2)

    @brainstate.transform.jit
    def train() -> None:
        brainstate.nn.init_all_states(model)
        learner.reset_state()
        gradients = learner.etrace_grad(net.raster, net.target, step_fn=loss, weights=parameters, reduction="sum")
        for name, value in gradients.items():
            parameters[name].value = parameters[name].value - net.eta * value

    def step(_: Any) -> Any:
        train()
        return {name: state.value for name, state in parameters.items()}

    return Peer(step, {name: state.value for name, state in parameters.items()})
