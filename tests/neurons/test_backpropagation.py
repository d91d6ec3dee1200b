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
EXP_10 = 10.0
# gates of Traub and Miles where they rest 60 mV below V_T, from where NEST starts
RATES = np.array(
    [
        [0.32 * 73 / np.expm1(73 / 4), 0.28 * -100 / np.expm1(-20.0)],
        [0.128 * np.exp(77 / 18), 4 / (1 + np.exp(20.0))],
        [0.032 * 75 / np.expm1(15.0), 0.5 * np.exp(70 / 40)],
    ]
)
AT_REST = (-60.0, *(RATES[:, 0] / RATES.sum(axis=1)), 0.0, 0.0, -60.0)


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


def traub_slopes(state, current):
    """Time derivatives of Traub and Miles (1991)."""
    V, m, h, n, g_ex, g_in = state
    u, exp = V + 63.0, torch.exp
    currents = 20000.0 * m**3 * h * (50.0 - V) + 6000.0 * n**4 * (-90.0 - V) + 10.0 * (-60.0 - V)
    alpha_m, beta_m = 0.32 * (13 - u) / (exp((13 - u) / 4) - 1), 0.28 * (u - 40) / (exp((u - 40) / 5) - 1)
    alpha_h, beta_h = 0.128 * exp((17 - u) / 18), 4 / (1 + exp((40 - u) / 5))
    alpha_n, beta_n = 0.032 * (15 - u) / (exp((15 - u) / 5) - 1), 0.5 * exp((10 - u) / 40)
    return torch.stack(
        [
            (currents - g_ex * V + g_in * (-80.0 - V) + current) / 200.0,
            alpha_m * (1 - m) - beta_m * m,
            alpha_h * (1 - h) - beta_h * h,
            alpha_n * (1 - n) - beta_n * n,
            -g_ex / 5.0,
            -g_in / 10.0,
        ]
    )


def traub(state, arriving, current, refractory):
    """Five steps of 0.02 ms by Runge and Kutta's method; the last state is the voltage before them."""
    y, dt = torch.stack(state[:6]), 0.02
    for _ in range(5):
        first = traub_slopes(y, current)
        second = traub_slopes(y + dt / 2 * first, current)
        third = traub_slopes(y + dt / 2 * second, current)
        y = y + dt / 6 * (first + 2 * second + 2 * third + traub_slopes(y + dt * third, current))
    V, m, h, n, g_ex, g_in = y
    x = torch.where(state[0] > V, V + 33.0, torch.clamp(V + 33.0, max=-1.0))
    state = V, m, h, n, g_ex + arriving[0], g_in + arriving[1], state[0]
    return state, x, 0.05 * torch.exp(-torch.abs(x - 33.0 + 50.0) / 5.0)


def traub_reset(state, z):
    """A spike changes no state, and ends the derivatives of voltage and gates."""
    return *(torch.where(z > 0, item.detach(), item) for item in state[:4]), *state[4:]


KINDS = {  # step, reset, start, current, scale of the weights at each port, ms per step
    "adex": (adex, adex_reset, (-70.0, 0.0), 300.0, (700.0,), 1.0),
    "iaf_cond_exp": (cond, cond_reset, (-70.0, 0.0, 0.0), 150.0, (3.0, 3.0), 1.0),
    "hh_cond_exp_traub": (traub, traub_reset, AT_REST, 500.0, (2.0, 2.0), 0.1),
}


def backpropagate(kind, w_in, w_out, raster, target):
    """Spikes, loss, and its gradient by the weights of each port and of the readouts."""
    step, reset, start, I_e, _, dt = KINDS[kind]
    kappa, first = float(np.exp(-dt / TAU)), library.get_definition(kind).current_from
    w_in = [torch.tensor(w, requires_grad=True) for w in w_in]
    w_out = torch.tensor(w_out, requires_grad=True)
    state = tuple(torch.full((N_REC,), float(value), dtype=torch.float64) for value in start)
    left, y, loss, spikes = torch.zeros(N_REC), torch.zeros(N_OUT, dtype=torch.float64), 0.0, []
    for t in range(T):
        x = torch.tensor(raster[t], dtype=torch.float64)
        state, over, psi = step(state, [w @ x for w in w_in], I_e if t >= first else 0.0, left > 0)
        over = state[0] if kind == "adex" else over  # AdEx: the peak of the upstroke is 0 mV
        left = torch.clamp(left - 1.0, min=0.0)
        psi = torch.where(left == 0, psi, torch.zeros_like(psi)).detach()
        z = torch_twin.Spike.apply(over, left == 0, psi)
        left = torch.where(z > 0, torch.full_like(left, 2.0 / dt), left)
        state = reset(state, z)
        y = kappa * y + (1.0 - kappa) * (w_out @ z)
        loss = loss + 0.5 * ((y - torch.tensor(target[t])) ** 2).sum()
        spikes.append(z.detach().numpy())
    loss.backward()
    return np.array(spikes), float(loss), [w.grad.numpy() for w in w_in], w_out.grad.numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_backpropagation(kind: str) -> None:
    rng = np.random.default_rng(4)
    _, _, _, I_e, scales, dt = KINDS[kind]
    raster, target = rng.random((T, N_IN)) < 0.15, rng.normal(size=(T, N_OUT))
    raster[0] = False
    weights = [np.abs(rng.normal(scale, scale / 2, (N_REC, N_IN))) * 0.5**k for k, scale in enumerate(scales)]
    w_out = rng.normal(size=(N_OUT, N_REC))
    model = Model("interval", dt_ms=dt, optimizer=GradientDescent(eta=1e-3, Wmin=-1e6, Wmax=1e6))
    inputs, cells = (
        model.inputs("in", N_IN),
        model.neurons("rec", N_REC, library.get_definition(kind), I_e=I_e, c_reg=0.0),
    )
    out = model.readouts("out", N_OUT, C_m=1.0, E_L=0.0, tau_m=TAU, regular_spike_arrival=False)
    for port, w in zip(cells.ports, weights, strict=True):
        j, i = np.indices(w.shape).reshape(2, -1)
        model.connect(inputs, cells, "explicit", source=i, target=j, weight=w[j, i], port=port, name=port)
    k, j = np.indices(w_out.shape).reshape(2, -1)
    model.connect(cells, out, "explicit", source=j, target=k, weight=w_out[k, j])
    model.connect(out, cells, feedback="symmetric")
    run = Simulation(model, Once(Sample.from_raster(raster, target), T), settings=IntervalSettings(T))
    run.engine.gradient.keep_gradients()
    loss, _ = run.run_sample(0, "train", learn=True)
    spikes, theirs, by_port, by_out = backpropagate(kind, weights, w_out, raster, target)
    found = np.zeros((T, N_REC))
    found[run.engine.log.list_spikes(T)] = 1.0
    np.testing.assert_array_equal(found, spikes)
    assert 10 < spikes.sum() < T * N_REC / 4
    np.testing.assert_allclose(loss, theirs, rtol=1e-10)
    for table, wanted in (
        (run.network.incoming, dict(zip(cells.ports, by_port, strict=True))),
        (run.network.outgoing, {"rec->out": by_out}),
    ):
        for span in table.spans:
            source, target_, _, index = (np.concatenate(part) for part in zip(*table.yield_chunks(span), strict=True))
            ours = run.engine.gradient.arrays[id(table)][index]
            there = wanted[span.projection.name][target_, source]
            assert np.count_nonzero(there) > len(there) // 2
            np.testing.assert_allclose(ours, there, rtol=1e-8, atol=1e-11 * np.abs(there).max())
