"""Generated C against the slow twin: a step, traces, the sweep back, what is past a cutoff."""

from itertools import islice

import neuron_twin as twin
import numpy as np
import pytest
from params import first

from pareprop import NeuronModel
from pareprop.neurons import library
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile

N, T = 24, 80
# everything that the language knows, and every way in which something can vary
ODD = {
    "parameters": {"k": [0.9, "1"], "theta": [1.1, "1"], "t_ref": [1.0, "ms"], "c": [0.3, "1"]},
    "constants": {
        "decay": "exp(-dt/12)",
        "root": "sqrt(k)**3",
        "odd": "where(c > 0.2 and not c > 2, 1/k, 7) + tanh(c)",
    },
    "states": {"a": ["0.1*root", "1"], "b": [0.0, "1"], "c_1": [0.2, "1"]},
    "ports": ["p", "q"],
    "step": {
        "a": "decay*a*(1 - 0.1*z) + p*(1 + 0.2*b) - 0.05*where(refractory or b < -1, a, 0.3*b) + 0.1*I*abs(c_1)",
        "b": "0.8*b + 0.1*max(a, c_1) - 0.3*z + q*exp(-b*b) + 0.02*(0.5 + a*a)**2.5",
        "c_1": "c_1*k + 0.1*min(a, odd, 0.7) + 0.1*tanh(b)/(1 + b**2) + log(2 + a**2)*0.01 - 0.1*(2 + b*b)**-3"
        " + 0.01*(k + 1)**b",
    },
    "spike": "a + 0.2*abs(b) - theta - detach(c_1)*0.1",
    "reset": {"a": "0.3*a + 0.05*b*b", "c_1": "c_1 - 0.2*a"},
    "follow": ["a", "c_1"],
    "surrogate": "surrogate_gradient_height*exp(-(x/surrogate_gradient_width)**2)*(1 + 0.1*c)",
}
DRIVE = {  # by the beginning of a name: size of what arrives, largest current
    "izhikevich": (4.0, 3.0), "resonate_and_fire": (120.0, 0.0), "odd": (0.5, 0.5), "iaf_cond_exp": (20.0, 200.0),
    "adex": (400.0, 300.0), "two_compartment": (6.0, 150.0), "iaf_psc_exp": (600.0, 300.0), "glif": (400.0, 200.0),
}  # fmt: skip


def definition(name):
    return NeuronModel.from_dict("odd", ODD) if name == "odd" else library.get(name)


def run(name, real=np.float64, n=N):
    """Random input to compiled kernels and twin side by side; yields (step, kernels, twin, z, psi, before, kept)."""
    model, draw = definition(name), np.random.default_rng(5)
    size, current = next((value for key, value in DRIVE.items() if name.startswith(key)), (12.0, 200.0))
    told = model.to_dict() | {"surrogate": model.surrogate}
    values = {"surrogate_gradient_width": 9.0 if name != "odd" else 0.7}
    slow = twin.Kind(told, n, {key: np.full(n, value) for key, value in values.items()}, 1.0)
    fast = Cells(compile(model), n, values, 1.0, real)
    for t in range(T):
        ports = size * (draw.random((len(model.ports), n)) < 0.3) * draw.normal(0.6, 1.0, (len(model.ports), n))
        drive = current * draw.random(n)
        slow.step(dict(zip(model.ports, ports, strict=True)), drive)
        before = fast.before
        z, psi, kept = fast.step(ports, drive)
        yield t, fast, slow, z, psi, before, kept
        fast.before = kept


NAMES = first(4, ["odd", *library.names()])


@pytest.mark.parametrize("name", NAMES)
def test_step(name: str) -> None:
    spikes = 0
    for _, fast, slow, z, psi, _, _ in run(name):
        np.testing.assert_array_equal(z, slow.z)
        np.testing.assert_array_equal(fast.refractory, slow.counter)
        np.testing.assert_allclose(psi, slow.psi, rtol=1e-9, atol=1e-12)
        for row, state in zip(fast.state, slow.s.values(), strict=True):
            np.testing.assert_allclose(row, state, rtol=1e-9, atol=1e-9)
        spikes += z.sum()
    assert N / 2 < spikes < N * T / 2  # neither silent nor always on


@pytest.mark.parametrize("name", NAMES)
def test_traces_and_sweep(name: str) -> None:
    """The traces of synapses onto each port are those of complex steps; the sweep gives the sums that they give."""
    draw, rows, fast = np.random.default_rng(6), [], None
    model = definition(name)
    arrivals, L, rate = draw.random(T) < 0.2, draw.normal(size=(T, N)), 0.1 * draw.normal(size=N)
    ports, K = len(model.ports), len(model.states)
    eps, e = np.zeros((ports, N, K)), np.zeros((ports, N))
    total, size, share = np.zeros((ports, N)), np.zeros((ports, N)), 0.3
    for t, fast, slow, _, psi, before, kept in run(name):
        if t == 0:
            traces = [np.zeros((fast.program.n_traces, N)) for _ in range(ports)]
        rows.append((before, kept, psi))
        now = {key: getattr(slow, key) for key in ("J", "v", "h", "psi", "R", "gap")}
        for p in range(ports):
            entering = slow.U[:, :, p] * arrivals[t]
            eps[p], e[p] = twin.trace(now, np.arange(N), eps[p], e[p], entering)
            found = fast.trace(p, before, kept, psi, arrivals[t], traces[p])
            scale = np.abs(eps[p]).max() + 1e-9
            np.testing.assert_allclose(found, e[p], rtol=1e-8, atol=1e-9 * scale)
            np.testing.assert_allclose(traces[p][:K].T, eps[p], rtol=1e-8, atol=1e-9 * scale)
            total[p] += (share * L[t] + rate) * e[p]
            size[p] += np.abs((share * L[t] + rate) * e[p])
    adjoint, gradient = np.zeros((fast.program.n_adjoint, N)), np.zeros((ports, N))
    for t in reversed(range(T)):
        before, kept, psi = rows[t]
        credit = fast.sweep(before, kept, share, np.ascontiguousarray(L[t]), rate, adjoint, psi)
        gradient += credit * arrivals[t]
    assert np.abs(total).max() > 0
    np.testing.assert_allclose(gradient, total, rtol=1e-8, atol=1e-10 * size.max())


@pytest.mark.parametrize("name", NAMES)
def test_past_a_cutoff(name: str) -> None:
    *_, (_, fast, slow, *_) = islice(run(name), 20)
    draw, K = np.random.default_rng(7), slow.K
    traces = draw.normal(size=(fast.program.n_traces, N))
    eps, e = traces[:K].T.copy(), traces[K] if len(traces) > K else np.zeros(N)
    own, expected = np.einsum("skk->sk", slow.J), np.zeros((N, K))
    for k in range(K):
        if slow.kept[k, 0]:
            carried = own[:, k] ** 4 * slow.v[:, k] * e if slow.kept[k, 1] else 0.0
            expected[:, k] = own[:, k] ** 5 * eps[:, k] + carried
    fast.decay(5, traces)
    np.testing.assert_allclose(traces[:K].T, expected, rtol=1e-10, atol=1e-14)
    assert not traces[K:].any()


@pytest.mark.parametrize("name", ["iaf_adapt", "iaf_cond_exp", "two_compartment", "odd"])
def test_single_precision(name: str) -> None:
    """Numbers agree with double precision to a few parts in 10^5 as long as the same neurons spike."""
    double = [(z, fast.state.copy(), psi) for _, fast, _, z, psi, _, _ in run(name)]
    same = 0
    for (_, fast, _, z, psi, _, _), (z_d, state, psi_d) in zip(run(name, np.float32), double, strict=True):
        if not np.array_equal(z, z_d):
            break
        same += 1
        np.testing.assert_allclose(fast.state, state, rtol=2e-4, atol=2e-4 * np.abs(state).max())
        np.testing.assert_allclose(psi, psi_d, rtol=1e-3, atol=1e-3)
    assert same > 10


def test_bits_do_not_depend_on_the_number_of_neighbours() -> None:
    """Vector loops and their remainders give the same bits: ranks divide neurons as they like."""
    for name in ("adex", "iaf_cond_exp", "two_compartment"):
        model, draw = definition(name), np.random.default_rng(3)
        ports = draw.normal(2.0, 1.0, (30, len(model.ports), 19))
        whole = Cells(compile(model), 19, {"I_e": 0.0}, 1.0)
        parts = [Cells(compile(model), k, {"I_e": 0.0}, 1.0) for k in (8, 1, 10)]
        places = np.split(np.arange(19), [8, 9])
        for t in range(30):
            _, psi, _ = whole.step(ports[t], np.full(19, 300.0))
            for part, place in zip(parts, places, strict=True):
                _, own, _ = part.step(ports[t][:, place], np.full(len(place), 300.0))
                np.testing.assert_array_equal(own, psi[place])
                np.testing.assert_array_equal(part.state, whole.state[:, place])
