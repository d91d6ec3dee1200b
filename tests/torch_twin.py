"""The interval variant in PyTorch, so that autograd gives the gradient of backpropagation through time (BPTT).

Neurons and readouts advance step by step in float64 with arithmetic of their own; only the synapses are taken from a
`Simulation`. The backward pass replaces the derivative of a spike by the surrogate gradient, which is 0 while
refractory, and ignores the reset by V_th (detached), as e-prop does; it follows the path through the adaptive
threshold. Not covered: input currents, V_min, drawn parameters, several ranks, intervals without reset, rate
regularisation.

Sources: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y; step order of NEST 3.10.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from pareprop.engines.sample import Sample
from pareprop.network.model import Model
from pareprop.simulation.digest import list_tables
from pareprop.simulation.loop import Simulation

torch.set_num_threads(1)  # small matrices: threads only cost

SURROGATES = {  # of x = |voltage - threshold| / width, before the height
    "piecewise_linear": lambda x: torch.clamp(1.0 - x, min=0.0),
    "exponential": lambda x: torch.exp(-x),
    "fast_sigmoid_derivative": lambda x: (1.0 + x) ** -2,
    "arctan_derivative": lambda x: 1.0 / (1.0 + x**2),
    "sigmoid_derivative": lambda x: 4.0 * torch.sigmoid(x) * torch.sigmoid(-x),
}


@dataclass(frozen=True)
class Bptt:
    """What one sample gave.

    Attributes
    ----------
    loss : summed over the learning window
    spikes : bool (n_steps, n_recurrent)
    gradient : projection name to float64 (n_synapses,), in canonical order
    """

    loss: float
    spikes: np.ndarray
    gradient: dict[str, np.ndarray]


class Spike(torch.autograd.Function):
    """1 where a neuron that is free to spike reaches its threshold; backward the surrogate gradient."""

    @staticmethod
    def forward(ctx: Any, excess: torch.Tensor, free: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
        """Spikes (n,) of `excess`, the voltage above threshold; `psi` is kept for the backward pass."""
        ctx.save_for_backward(psi)
        return ((excess >= 0.0) & free).double()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Multiply by the surrogate gradient."""
        return gradient * ctx.saved_tensors[0], None, None


def synapses(simulation: Simulation) -> dict[str, tuple[Any, ...]]:
    """Projection name to (projection, table, source, target, delay, index), in canonical order."""
    found = {}
    for table, span in list_tables(simulation.network):
        columns = zip(*table.yield_chunks(span), strict=True)
        found[span.projection.name] = span.projection, table, *(np.concatenate(column) for column in columns)
    return found


def eprop(simulation: Simulation) -> dict[str, np.ndarray]:
    """The gradient that the engine has collected since its last update, as `Bptt.gradient`."""
    found, gradient = synapses(simulation).items(), simulation.engine.gradient.arrays
    return {name: gradient[id(table)][index] for name, (item, table, *_, index) in found if item.plastic}


def bptt(simulation: Simulation, sample: Sample, through: float = 1.0) -> Bptt:
    """Loss, spikes and gradient of one sample with the present weights, by backpropagation through time.

    Parameters
    ----------
    through : what passes backward through a recurrent connection is multiplied by this: 1 is BPTT; 0 cuts all paths
        through other neurons, which is e-prop with symmetric feedback
    """
    model, weights, matrices = simulation.model, {}, {"input": {}, "recurrent": {}, "readout": {}}
    for name, (item, table, source, target, delay, index) in synapses(simulation).items():
        if item.pre.role not in ("input", "recurrent"):
            continue
        weights[name] = torch.tensor(table.weight[index], requires_grad=True)
        kind = "readout" if item.post.role == "readout" else item.pre.role
        place = torch.tensor(target + model.offset(item.post)), torch.tensor(source + model.offset(item.pre))
        shape = model.size(item.post.role), model.size(item.pre.role)
        for d in np.unique(delay):
            here = torch.tensor(delay == d)
            dense = torch.zeros(shape, dtype=torch.float64).index_put(
                tuple(ids[here] for ids in place), weights[name][here], accumulate=True
            )
            matrices[kind][int(d)] = matrices[kind].get(int(d), 0.0) + dense
    spikes = _neurons(model, _arriving(model, sample, matrices["input"]), matrices["recurrent"], through)
    signal = _readouts(model, spikes @ sum(matrices["readout"].values()).T)
    first = simulation.task.n_steps - simulation.engine.settings.learning_window
    loss = _loss(model.of_role("readout")[0].params.loss, signal[first:], torch.tensor(sample.target[first:]))
    gradient = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    named = {name: value.numpy() for name, value in zip(weights, gradient, strict=True)}
    return Bptt(loss.item(), spikes.detach().numpy() > 0.0, named)


def _arriving(model: Model, sample: Sample, matrices: dict[int, torch.Tensor]) -> torch.Tensor:
    """Weights of the input spikes by step of arrival (n_steps, n_recurrent); what arrives in step 0 is lost."""
    n_steps = len(sample.target)
    raster = torch.zeros((n_steps, model.size("input")), dtype=torch.float64)
    steps, ids = sample.inputs.list_spikes(n_steps)
    raster[steps, ids.astype(np.int64)] = 1.0
    total = torch.zeros((n_steps, model.size("recurrent")), dtype=torch.float64)
    for delay, weight in matrices.items():
        late = delay - 1
        total = total + torch.nn.functional.pad(raster, (0, 0, late, 0))[:n_steps] @ weight.T
    keep = torch.ones((n_steps, 1), dtype=torch.float64)
    keep[0] = 0.0
    return keep * total


def _values(model: Model, name: str, default: float = 0.0) -> torch.Tensor:
    values = [np.broadcast_to(getattr(group.params, name, default), group.size) for group in model.of_role("recurrent")]
    return torch.tensor(np.concatenate(values).astype(float))


def _neurons(model: Model, arriving: torch.Tensor, recurrent: dict[int, torch.Tensor], through: float) -> torch.Tensor:
    """Spikes (n_steps, n_recurrent) of one interval."""
    get, dt = partial(_values, model), model.dt_ms
    alpha, rho = torch.exp(-dt / get("tau_m")), torch.exp(-dt / get("adapt_tau", 1.0))
    zeta = torch.where(get("regular_spike_arrival") > 0.0, 1.0, 1.0 - alpha)
    V_th, beta, t_ref = get("V_th") - get("E_L"), get("adapt_beta"), torch.round(get("t_ref") / dt)
    v, a, z, r = (torch.zeros_like(V_th) for _ in range(4))
    spikes: list[torch.Tensor] = []
    for t, total in enumerate(arriving):
        r = torch.clamp(r - 1.0, min=0.0)
        for delay, weight in recurrent.items():
            if delay <= t:
                past = spikes[t - delay]
                total = total + weight @ (past.detach() + through * (past - past.detach()))
        v = zeta * total + alpha * v - V_th * z.detach()
        a = rho * a + z
        excess = v - V_th - beta * a
        z = Spike.apply(excess, r == 0.0, torch.where(r == 0.0, _surrogate(model, excess.detach()), 0.0))
        r = torch.where(z.detach() > 0.0, t_ref, r)
        spikes.append(z)
    return torch.stack(spikes)


def _surrogate(model: Model, excess: torch.Tensor) -> torch.Tensor:
    groups = model.of_role("recurrent")
    x = (excess.abs() / _values(model, "surrogate_gradient_width")).split([group.size for group in groups])
    rules = [SURROGATES[group.params.surrogate_gradient_function] for group in groups]
    return _values(model, "surrogate_gradient_height") * torch.cat([f(part) for f, part in zip(rules, x, strict=True)])


def _readouts(model: Model, arriving: torch.Tensor) -> torch.Tensor:
    """Signals (n_steps, n_readouts); a spike of step t is taken in readout step t, whatever its delay."""
    params = model.of_role("readout")[0].params
    kappa = float(np.exp(-model.dt_ms / params.tau_m))
    zeta = 1.0 if params.regular_spike_arrival else 1.0 - kappa
    y, signal = torch.zeros_like(arriving[0]), []
    for total in arriving:
        y = zeta * total + kappa * y
        signal.append(y)
    return torch.stack(signal) + params.E_L


def _loss(kind: str, signal: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if kind == "cross_entropy":
        return -torch.sum(target * torch.log_softmax(signal, dim=1))
    if kind == "huber":
        return torch.nn.functional.huber_loss(signal, target, reduction="sum", delta=1.0)
    return 0.5 * torch.sum((signal - target) ** 2)
