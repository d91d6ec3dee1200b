"""The models of the package, advanced by compiled kernels, against NEST 3.10.

Where NEST integrates exactly, or by the same step, voltages are equal; else they converge as the step becomes short.
"""

import case_files
import numpy as np
import pytest

from pareprop.neurons import library
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile_model

pytestmark = pytest.mark.peer


def simulate(nest, model, params, dt, steps, spikes, weights, receptors=None, current=0.0):
    """Voltages (steps,) and times of spikes in NEST; `spikes`: by port, steps in which one arrives."""
    nest.resolution = dt
    cell = nest.Create(model, 1, params)
    meter = nest.Create("multimeter", 1, {"record_from": ["V_m"], "interval": dt})
    recorder = nest.Create("spike_recorder")
    nest.Connect(meter, cell, syn_spec={"delay": dt})
    nest.Connect(cell, recorder, syn_spec={"delay": dt})
    for p, (arriving, weight) in enumerate(zip(spikes, weights, strict=True)):
        times = np.asarray(arriving, float) * dt  # sent at t, there after a step of delay, in step t / dt
        source = nest.Create("spike_generator", 1, {"spike_times": np.round(times[times > 0], 6)})
        more = {} if receptors is None else {"receptor_type": receptors[p]}
        nest.Connect(source, cell, syn_spec={"weight": weight, "delay": dt} | more)
    if current:
        nest.Connect(nest.Create("dc_generator", 1, {"amplitude": current}), cell, syn_spec={"delay": dt})
    nest.Simulate((steps + 1) * dt)
    return np.asarray(meter.events["V_m"])[:steps], np.asarray(recorder.events["times"])


def advance(name, params, dt, steps, spikes, weights, current):
    """Voltages (steps,) and steps of spikes by compiled kernels; `current` (steps,)."""
    cells, found, fired = Cells(compile_model(library.get_definition(name)), 1, params, dt), [], []
    for t in range(steps):
        pairs = zip(spikes, weights, strict=True)
        ports = [[weight * np.sum(np.asarray(arriving) == t)] for arriving, weight in pairs]
        z, _, _ = cells.step(np.array(ports), np.full(1, current[t]))
        found.append(cells.state[0, 0])
        if z[0]:
            fired.append(t)
    return np.array(found), np.array(fired)


def drawn(steps, seed, count=60):
    """Steps in which spikes arrive; after the first few, so that NEST sends them all."""
    return np.sort(np.random.default_rng(seed).choice(np.arange(5, steps), count, replace=False))


@pytest.mark.parametrize("model", ["iaf_psc_exp", "iaf_psc_alpha"])
@pytest.mark.parametrize("dt", [1.0, 0.1])
def test_synaptic_currents_of_both_signs(nest, model: str, dt: float) -> None:
    params = {"tau_syn_ex": 3.0, "tau_syn_in": 7.0, "V_reset": -68.0, "I_e": 420.0, "t_ref": 2.0}
    steps = round(300 / dt)
    spikes, weights = [drawn(steps, 1), drawn(steps, 2)], [400.0, -300.0]
    theirs, times = simulate(nest, model, params, dt, steps, spikes, weights)
    ours, fired = advance(model, params, dt, steps, spikes, weights, np.full(steps, 420.0))
    assert len(fired) > 3
    np.testing.assert_array_equal(fired + 1, np.rint(times / dt)[: len(fired)])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dt", [1.0, 0.1])
def test_izhikevich(nest, dt: float) -> None:
    """The same sums in the same order: equal to the last bit but for how compilers contract them."""
    steps, spikes, weights = round(300 / dt), [drawn(round(300 / dt), 3)], [6.0]
    params = {"a": 0.02, "b": 0.2, "c": -63.0, "d": 7.0, "I_e": 4.0}
    start = {"V_m": -65.0, "U_m": -65.0 * 0.2, "consistent_integration": True}
    theirs, times = simulate(nest, "izhikevich", params | start, dt, steps, spikes, weights)
    ours, fired = advance("izhikevich", params, dt, steps, spikes, weights, np.full(steps, 4.0))
    assert len(fired) > 2
    np.testing.assert_array_equal(fired + 1, np.rint(times / dt)[: len(fired)])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [1, 3, 5])
def test_glif(nest, level: int) -> None:
    dt, steps = 0.5, 800
    spikes, weights, current = [drawn(steps, 4, 150), drawn(steps, 5, 100)], [60.0, -40.0], 260.0
    common = {"C_m": 58.72, "g": 9.43, "E_L": -78.85, "t_ref": 3.5}
    theirs = common | {"V_m": -78.85, "V_th": -51.68, "tau_syn": [2.0, 3.0]}
    theirs |= dict.fromkeys(("spike_dependent_threshold", "adapting_threshold"), level == 5)
    threshold = {"th_spike_add": 0.5, "th_spike_decay": 0.01, "th_voltage_index": 0.006, "th_voltage_decay": 0.08}
    threshold |= {"voltage_reset_fraction": 0.3, "voltage_reset_add": 12.0}
    theirs |= {"after_spike_currents": level >= 3} | (threshold if level == 5 else {"V_reset": -70.0})
    ours = {key: value for key, value in theirs.items() if key in library.get_definition(f"glif{level}").parameters}
    ours |= {"tau_syn_1": 2.0, "tau_syn_2": 3.0, "V_th": -51.68}
    if level >= 3:
        theirs |= {"asc_init": [0.0, 0.0], "asc_decay": [0.003, 0.1], "asc_amps": [-9.18, -98.94], "asc_r": [1.0, 0.9]}
        ours |= {"asc_amp_1": -9.18, "asc_amp_2": -98.94, "asc_r_2": 0.9}
    V, times = simulate(nest, "glif_psc", theirs, dt, steps, spikes, weights, [1, 2], current)
    drive = np.where(np.arange(steps) >= 2, current, 0.0)  # sent in step 0, there in step 1, acts in the next one
    found, fired = advance(f"glif{level}", ours, dt, steps, spikes, weights, drive)
    assert len(fired) > 5
    np.testing.assert_array_equal(fired + 1, np.rint(times / dt)[: len(fired)])
    np.testing.assert_allclose(found, V, rtol=0, atol=1e-9)


def test_hh_cond_exp_traub(nest) -> None:
    """The spike times of the stored case, which `test_models_of_package.py` compares with ours, are NEST's."""
    case = np.load(case_files.CASES / "nest" / "hh_cond_exp_traub.npz")
    dt, steps = float(case["dt"]), int(case["steps"])
    for j, I_e in enumerate(case["I_e"]):
        nest.ResetKernel()
        nest.verbosity = nest.VerbosityLevel.FATAL
        spikes, signs = [case[name][j][case[name][j] >= 0] for name in ("exc", "inh")], (1, -1)
        weights = [sign * weight for sign, weight in zip(signs, case["weights"][j], strict=True)]
        _, times = simulate(nest, "hh_cond_exp_traub", {"I_e": float(I_e)}, dt, steps, spikes, weights)
        found = np.rint(times / dt).astype(int)
        np.testing.assert_array_equal(found[found <= steps], case["spikes"][j][case["spikes"][j] >= 0])


def test_iaf_cond_exp(nest) -> None:
    """First order in the step: the error halves with it."""
    params = {"tau_syn_ex": 2.0, "tau_syn_in": 6.0, "I_e": 150.0, "t_ref": 2.0, "V_reset": -65.0}
    ms, weights = [np.arange(5, 200, 7), np.arange(8, 200, 11)], [14.0, 6.0]
    V, times = simulate(nest, "iaf_cond_exp", params, 0.05, 4000, [arriving * 20 for arriving in ms], [14.0, -6.0])
    assert len(times) > 3
    errors, late = [], []
    for n in (4, 8, 16):  # steps per ms
        dt = 1 / n
        spikes = [arriving * n for arriving in ms]
        ours, fired = advance("iaf_cond_exp", params, dt, 200 * n, spikes, weights, np.full(200 * n, 150.0))
        before = int(times[0]) - 1  # ms
        errors.append(np.abs(ours[n - 1 : before * n : n] - V[19 : before * 20 : 20]).max())
        late.append(np.abs((fired[:4] + 1) * dt - times[:4]).max())
    assert errors[1] < 0.62 * errors[0] and errors[2] < 0.62 * errors[1] and errors[2] < 0.2
    assert late[2] < 1.0 and late[2] < 0.5 * late[0]  # a spike more or less early meets other input


def test_adex(nest) -> None:
    """First order in the step; NEST's neuron without synapses, so that the current alone drives it."""
    params = {"C_m": 200.0, "g_L": 10.0, "E_L": -70.0, "V_th": -50.0, "Delta_T": 2.0, "V_peak": 0.0, "V_reset": -58.0,
              "a": 2.0, "b": 60.0, "tau_w": 120.0, "I_e": 400.0, "t_ref": 2.0}  # fmt: skip
    _, times = simulate(nest, "aeif_psc_delta", params | {"V_m": -70.0}, 0.01, 30000, [], [])
    errors = []
    for dt in (0.1, 0.05, 0.025):
        steps = round(300 / dt)
        _, fired = advance("adex", params, dt, steps, [[]], [1.0], np.full(steps, 400.0))
        errors.append(np.abs((fired[:4] + 1) * dt - times[:4]).max())
    assert len(times) > 3 and errors[1] < 0.65 * errors[0] and errors[2] < 0.65 * errors[1] and errors[2] < 0.6
