"""Without recurrent connections, gradients of neurons given by equations are those of backpropagation through time.

The twin is PyTorch's autograd on equations written by hand: nothing of the package's language is read. It is exact
where traces follow all states that a spike resets: a spike's derivative, the surrogate gradient, then goes through the
reset as it does through autograd. Feedback is symmetric, and spikes arrive at readouts with 1 - kappa; see
`engines/test_bptt.py`.
"""

import numpy as np
import pytest
from small import Once

from pareprop.engines.interval import IntervalSettings
from pareprop.engines.sample import Sample
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.neurons import library
from pareprop.simulation.loop import Simulation

pytest.importorskip("torch", reason="PyTorch (extra `peer`) is not installed")
import torch
import torch_twin

pytestmark = pytest.mark.peer
T, N_IN, N_REC, N_OUT, TAU = 150, 12, 6, 2, 15.0
KAPPA = float(np.exp(-1.0 / TAU))
EXP_10 = 10.0


def adex(state, arriving, current, refractory):
    """Voltage and adaptation of Brette and Gerstner (2005), default parameters of the package; 1 ms."""
    V, w = state
    upstroke = 10.0 * 2.0 * torch.exp(torch.clamp((V + 50.0) / 2.0, max=EXP_10))
    new = V + (10.0 * (-70.0 - V) + upstroke - w + current + arriving[0]) / 200.0
    keep = float(np.exp(-1.0 / 120.0))
    u = keep * w + (1.0 - keep) * 2.0 * (V + 70.0)
    V = torch.where(refractory, V, new)
    return (V, u), V, 0.1 * torch.exp(-torch.abs(V + 50.0) / 4.0)


def adex_reset(state, z):
    return (1.0 - z) * state[0] + z * -58.0, state[1] + 60.0 * z


def cond(state, arriving, current, refractory):
    """Exponential Euler step of a neuron with two conductances."""
    V, g_ex, g_in = state
    g = 16.7 + g_ex + g_in
    end = (16.7 * -70.0 + g_in * -85.0 + current) / g
    V = torch.where(refractory, V, end + (V - end) * torch.exp(-g / 250.0))
    state = V, float(np.exp(-0.5)) * g_ex + arriving[0], float(np.exp(-1.0 / 6.0)) * g_in + arriving[1]
    return state, V + 55.0, 0.3 / (1.0 + torch.abs(V + 55.0)) ** 2


def cond_reset(state, z):
    return (1.0 - z) * state[0] + z * -65.0, state[1], state[2]


KINDS = {  # step, reset, start, current, scale of the weights at each port
    "adex": (adex, adex_reset, (-70.0, 0.0), 300.0, (700.0,)),
    "iaf_cond_exp": (cond, cond_reset, (-70.0, 0.0, 0.0), 150.0, (3.0, 3.0)),
}


def backpropagate(kind, w_in, w_out, raster, target):
    """Spikes, loss, and its gradient by the weights of each port and of the readouts."""
    step, reset, start, I_e, _ = KINDS[kind]
    w_in = [torch.tensor(w, requires_grad=True) for w in w_in]
    w_out = torch.tensor(w_out, requires_grad=True)
    state = tuple(torch.full((N_REC,), value, dtype=torch.float64) for value in start)
    left, y, loss, spikes = torch.zeros(N_REC), torch.zeros(N_OUT, dtype=torch.float64), 0.0, []
    for t in range(T):
        x = torch.tensor(raster[t], dtype=torch.float64)
        state, over, psi = step(state, [w @ x for w in w_in], I_e if t else 0.0, left > 0)
        over = state[0] if kind == "adex" else over  # AdEx: the peak of the upstroke is 0 mV
        left = torch.clamp(left - 1.0, min=0.0)
        psi = torch.where(left == 0, psi, torch.zeros_like(psi)).detach()
        z = torch_twin.Spike.apply(over, left == 0, psi)
        left = torch.where(z > 0, torch.full_like(left, 2.0), left)
        state = reset(state, z)
        y = KAPPA * y + (1.0 - KAPPA) * (w_out @ z)
        loss = loss + 0.5 * ((y - torch.tensor(target[t])) ** 2).sum()
        spikes.append(z.detach().numpy())
    loss.backward()
    return np.array(spikes), float(loss), [w.grad.numpy() for w in w_in], w_out.grad.numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_backpropagation(kind: str) -> None:
    rng = np.random.default_rng(4)
    _, _, _, I_e, scales = KINDS[kind]
    raster, target = rng.random((T, N_IN)) < 0.15, rng.normal(size=(T, N_OUT))
    raster[0] = False
    weights = [np.abs(rng.normal(scale, scale / 2, (N_REC, N_IN))) * 0.5**k for k, scale in enumerate(scales)]
    w_out = rng.normal(size=(N_OUT, N_REC))
    model = Model("interval", optimizer=GradientDescent(eta=1e-3, Wmin=-1e6, Wmax=1e6))
    inputs, cells = model.inputs("in", N_IN), model.neurons("rec", N_REC, library.get(kind), I_e=I_e, c_reg=0.0)
    out = model.readouts("out", N_OUT, C_m=1.0, E_L=0.0, tau_m=TAU, regular_spike_arrival=False)
    for port, w in zip(cells.ports, weights, strict=True):
        j, i = np.indices(w.shape).reshape(2, -1)
        model.connect(inputs, cells, "explicit", source=i, target=j, weight=w[j, i], port=port, name=port)
    k, j = np.indices(w_out.shape).reshape(2, -1)
    model.connect(cells, out, "explicit", source=j, target=k, weight=w_out[k, j])
    model.connect(out, cells, feedback="symmetric")
    run = Simulation(model, Once(Sample.from_raster(raster, target), T), settings=IntervalSettings(T))
    run.engine.gradient.keep()
    loss, _ = run.run_sample(0, "train", learn=True)
    spikes, theirs, by_port, by_out = backpropagate(kind, weights, w_out, raster, target)
    found = np.zeros((T, N_REC))
    found[run.engine.log.spikes(T)] = 1.0
    np.testing.assert_array_equal(found, spikes)
    assert 10 < spikes.sum() < T * N_REC / 4
    np.testing.assert_allclose(loss, theirs, rtol=1e-10)
    for table, wanted in (
        (run.network.incoming, dict(zip(cells.ports, by_port, strict=True))),
        (run.network.outgoing, {"rec->out": by_out}),
    ):
        for span in table.spans:
            source, target_, _, index = (np.concatenate(part) for part in zip(*table.chunks(span), strict=True))
            ours = run.engine.gradient.arrays[id(table)][index]
            there = wanted[span.projection.name][target_, source]
            assert np.count_nonzero(there) > len(there) // 2
            np.testing.assert_allclose(ours, there, rtol=1e-8, atol=1e-11 * np.abs(there).max())
