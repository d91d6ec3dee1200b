"""Generated C against the slow twin: a step, traces, the backward pass, what is past a cutoff."""

from itertools import islice

import neuron_twin as twin
import numpy as np
import pytest
from params import first

from pareprop import NeuronModel
from pareprop.neurons import library
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile_model
from pareprop.neurons.derive import NEVER_LEARNED, NO_LEARNS, Learns, derive_model

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
# all that a parameter can go through, and little to compile
SMALL = {
    "parameters": {"tau": [9.0, "ms"], "theta": [1.0, "1"], "d": [0.2, "1"], "E": [0.1, "1"], "t_ref": [1.0, "ms"]},
    "constants": {"alpha": "exp(-dt/tau)"},
    "states": {"a": ["E", "1"], "b": [0.0, "1"]},
    "step": {"a": "alpha*(a - E) + E + (1 - alpha)*b*I + arriving - theta*detach(z)", "b": "0.9*b*(1 - 0.2*z)"},
    "spike": "a - theta - b*b",
    "reset": {"b": "b + d*(1 + b)"},
    "follow": ["b"],
}
# substeps beside a step, and all that stands still within them
LOOP = {
    "parameters": {
        "tau": [9.0, "ms"],
        "tau_u": [5.0, "ms"],
        "theta": [1.0, "1"],
        "k": [0.3, "1"],
        "t_ref": [1.0, "ms"],
    },
    "states": {"a": ["0.1*k", "1"], "g": [0.0, "1"], "u": [0.0, "1"], "last": [0.0, "1"]},
    "ports": ["p", "q"],
    "dynamics": {
        "a": "where(refractory, 0.1, (0.1 - a)/tau + g*(2 - a)*exp(-u*u) + k*tanh(u + last) + 0.3*I - 0.2*z)",
        "g": "-g/3 - 0.1*g*a*a",
        "u": "-u/tau_u",
    },
    "jumps": {"g": "0.3*q", "u": "p"},
    "step": {"last": "0.8*last + 0.2*a*k + 0.1*p"},
    "integrator": "exponential_euler",
    "substeps": 3,
    "spike": "a + 0.1*last - theta",
    "reset": {"a": "0.2*a", "g": "detach(g)", "last": "last - 0.1*detach(u)"},
    "follow": ["a", "g", "last"],
}
DRIVE = {  # by the beginning of a name: size of what arrives, largest current
    "izhikevich": (4.0, 3.0),
    "resonate_and_fire": (120.0, 0.0),
    "odd": (0.5, 0.5),
    "iaf_cond_exp": (20.0, 200.0),
    "small": (0.5, 0.5),
    "loop": (0.5, 0.5),
    "hh": (30.0, 900.0),
    "adex": (400.0, 300.0),
    "two_compartment": (6.0, 150.0),
    "iaf_psc_alpha": (400.0, 300.0),
    "iaf_psc_exp": (600.0, 300.0),
    "glif": (400.0, 200.0),
}


def definition(name):
    own = {"odd": ODD, "small": SMALL, "loop": LOOP}
    return NeuronModel.from_dict(name, own[name]) if name in own else library.get_definition(name)


def run(name, real=np.float64, n=N, learns=NO_LEARNS):
    """Random input to compiled kernels and twin side by side; yields (step, kernels, twin, z, psi, before, kept)."""
    model, draw = definition(name), np.random.default_rng(5)
    size, current = next((value for key, value in DRIVE.items() if name.startswith(key)), (12.0, 200.0))
    told = model.to_dict() | {"surrogate": model.surrogate}
    values = {"surrogate_gradient_width": 9.0 if name not in ("odd", "small", "loop") else 0.7}
    dt = 0.1 if name.startswith("hh") else 1.0
    slow = twin.Kind(told, n, {key: np.full(n, value) for key, value in values.items()}, dt)
    fast = Cells(compile_model(model, learns=learns), n, values, dt, real)
    for t in range(T):
        ports = size * (draw.random((len(model.ports), n)) < 0.3) * draw.normal(0.6, 1.0, (len(model.ports), n))
        drive = current * draw.random(n)
        slow.step(dict(zip(model.ports, ports, strict=True)), drive)
        before = fast.before
        z, psi, kept = fast.step(ports, drive)
        yield t, fast, slow, z, psi, before, kept
        fast.before = kept


NAMES = first(5, ["odd", "loop", *library.list_names()])


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
            found = fast.advance_trace(p, before, kept, psi, arrivals[t], traces[p])
            scale = np.abs(eps[p]).max() + 1e-9
            np.testing.assert_allclose(found, e[p], rtol=1e-8, atol=1e-9 * scale)
            np.testing.assert_allclose(traces[p][:K].T, eps[p], rtol=1e-8, atol=1e-9 * scale)
            total[p] += (share * L[t] + rate) * e[p]
            size[p] += np.abs((share * L[t] + rate) * e[p])
    adjoint, gradient = np.zeros((fast.program.n_adjoint, N)), np.zeros((ports, N))
    for t in reversed(range(T)):
        before, kept, psi = rows[t]
        credit = fast.run_backward_step(before, kept, share, np.ascontiguousarray(L[t]), rate, adjoint, psi)
        gradient += credit * arrivals[t]
    assert np.abs(total).max() > 0
    np.testing.assert_allclose(gradient, total, rtol=1e-8, atol=1e-10 * size.max())


def learnable(name):
    """All parameters of a model that spikes depend on."""
    model = definition(name)
    names = tuple(sorted(key for key in model.defaults if key not in NEVER_LEARNED))
    learned = derive_model(model, Learns(names)).learned
    return tuple(key for k, key in enumerate(names) if learned.list_paths(model, k))


@pytest.mark.parametrize("name", first(1, ["small", "loop", "odd", *library.list_names()], rest=4))
def test_traces_and_sweep_of_parameters(name: str) -> None:
    """The trace of every parameter is that of complex steps, through constants, too; the sweep gives its sums."""
    names, draw, rows = learnable(name), np.random.default_rng(6), []
    L, rate, share, fast = draw.normal(size=(T, N)), 0.1 * draw.normal(size=N), 0.3, None
    for t, fast, slow, _, psi, before, kept in run(name, learns=Learns(names)):
        if t == 0:
            traces = np.zeros((len(names), fast.program.n_traces, N))
            eps, e, total, size = np.zeros((len(names), N, slow.K)), *np.zeros((3, len(names), N))
        rows.append((before, kept, psi))
        for k, parameter in enumerate(names):
            q, x, r, initial = slow.by_parameter(parameter)
            if t == 0:
                eps[k], traces[k, : slow.K] = initial, initial.T
            with np.errstate(all="ignore"):
                new = np.einsum("sij,sj->si", slow.J, eps[k]) + slow.v * e[k][:, None] + q
                e[k] = slow.psi * (np.sum(slow.h * new, axis=1) + x)
                eps[k] = np.einsum("sij,sj->si", slow.R, new) + r + slow.gap * e[k][:, None]
            found = fast.advance_trace(len(slow.ports) + k, before, kept, psi, 1.0, traces[k])
            scale = np.abs(eps[k]).max() + 1e-9
            np.testing.assert_allclose(found, e[k], rtol=1e-8, atol=1e-9 * scale)
            np.testing.assert_allclose(traces[k, : slow.K].T, eps[k], rtol=1e-8, atol=1e-9 * scale)
            total[k] += (share * L[t] + rate) * e[k]
            size[k] += np.abs((share * L[t] + rate) * e[k])
    adjoint = np.zeros((fast.program.n_adjoint, N))
    for t in reversed(range(T)):
        fast.run_backward_step(*rows[t][:2], share, np.ascontiguousarray(L[t]), rate, adjoint, rows[t][2])
    *_, slopes = fast.program.recompute_columns({"surrogate_gradient_width": 1.0}, fast.dt, N)
    first_column = fast.program.n_adjoint - len(names) - ("I_e" in names)
    found = adjoint[first_column : first_column + len(names)]
    found = found + np.einsum("in,kin->kn", adjoint[: slow.K], slopes)
    assert np.count_nonzero(np.abs(total).max(axis=1)) >= len(names) - 1  # what is never the least counts as a path
    np.testing.assert_allclose(found, total, rtol=1e-8, atol=1e-10 * size.max())


def test_steps_keep_what_learned_values_were() -> None:
    """Traces of synapses are the same whatever a parameter has become since the step; without that they are not."""
    found = {}
    for online in (False, True):
        *_, (_, fast, _, _, psi, before, kept) = islice(run("small", learns=Learns(("d", "tau"), online)), 30)
        for value in ({}, {"tau": 3.0, "d": 0.5}):
            fast.constant[:] = fast.program.compute_constants({"surrogate_gradient_width": 0.7} | value, 1.0, N)
            trace = np.ones((fast.program.n_traces, N))
            fast.advance_trace(0, before, kept, psi, 1.0, trace)
            found[online, bool(value)] = trace
    np.testing.assert_array_equal(found[True, False], found[True, True])
    np.testing.assert_allclose(found[True, False], found[False, False], rtol=1e-12)
    assert np.abs(found[False, False] - found[False, True]).max() > 0.01


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
    fast.decay_trace(5, traces)
    np.testing.assert_allclose(traces[:K].T, expected, rtol=1e-10, atol=1e-14)
    assert not traces[K:].any()


@pytest.mark.parametrize("name", first(3, ["iaf_adapt", "odd", "loop", "iaf_cond_exp", "two_compartment"]))
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
    for name in ("adex", "iaf_cond_exp", "two_compartment", "loop"):
        model, draw = definition(name), np.random.default_rng(3)
        ports = draw.normal(2.0, 1.0, (30, len(model.ports), 19))
        whole = Cells(compile_model(model), 19, {"I_e": 0.0}, 1.0)
        parts = [Cells(compile_model(model), k, {"I_e": 0.0}, 1.0) for k in (8, 1, 10)]
        places = np.split(np.arange(19), [8, 9])
        for t in range(30):
            _, psi, _ = whole.step(ports[t], np.full(19, 300.0))
            for part, place in zip(parts, places, strict=True):
                _, own, _ = part.step(ports[t][:, place], np.full(len(place), 300.0))
                np.testing.assert_array_equal(own, psi[place])
                np.testing.assert_array_equal(part.state, whole.state[:, place])
