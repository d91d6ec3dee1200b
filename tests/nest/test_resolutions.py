"""Every parameter of every neuron, at fine resolutions: the same as with NEST."""

from pathlib import Path

import numpy as np
import pytest
from test_dynamics import START, USUAL
from tutorials import assert_same, find_shipped, run

pytestmark = pytest.mark.peer

EVERY = """
neurons.set(surrogate_gradient_function="{surrogate}")
neurons.set({{"C_m": 0.8, "E_L": -1.2, "I_e": 0.002, "V_m": -1.0, "V_min": -2.5, "V_th": {V_th}, "t_ref": {t_ref},
              "tau_m": [9.0, 11.0, 13.0, 15.0, 17.0], "c_reg": 0.7, "f_target": 33.0, "surrogate_gradient_height": 0.4,
              "surrogate_gradient_width": 1.7}}
            | ({{"V_reset": -1.5, "refractory_input": True}} if "delta" in "{model}" else {{}}))
if variant == "spike":
    neurons.set({{"kappa": 0.93, "kappa_reg": 0.9, "eprop_isi_trace_cutoff": {cutoff}}})
    readouts.set({{"eprop_isi_trace_cutoff": {cutoff} + 3 * {dt}}})
else:
    neurons.set({{"regular_spike_arrival": False}})
    readouts.set({{"regular_spike_arrival": False}})
if "adapt" in "{model}":
    neurons.set({{"adapt_beta": 0.07, "adapt_tau": 50.0}})
readouts.set({{"C_m": 0.7, "E_L": 0.2, "V_m": 0.1, "I_e": 0.02, "V_min": -1.5}})
"""
CASES = [
    (variant, model, dt, surrogate)
    for dt, surrogate in ((0.1, "exponential"), (0.25, "arctan_derivative"), (0.5, "fast_sigmoid_derivative"))
    for variant, models in (
        ("interval", ("iaf", "iaf_adapt")),
        ("spike", ("iaf", "iaf_adapt", "iaf_psc_delta", "iaf_psc_delta_adapt")),
    )
    for model in models
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_same_as_nest(case: tuple[str, str, float, str], tmp_path: Path) -> None:
    variant, model, dt, surrogate = case
    find_shipped("nest/__init__.py")
    own = {"variant": variant, "model": model, "dt": dt, "surrogate": surrogate, "t_ref": 1.3}
    own |= {"cutoff": round(9.75 / dt) * dt if dt > 0.1 else 10.0, "V_th": 0.4 if variant == "spike" else -1.0}
    values = USUAL | own
    code = START.format(**values | {"extra": EVERY.format(**values)})
    ours, peer = run(code, tmp_path, options=("--nest-losses",)), run(code, tmp_path, peer=True)
    if variant == "spike":  # shown as 0 by NEST after all sources of a neuron spiked at once, see the page
        shown, signal = peer["events_mm/learning_signal"], ours["events_mm/learning_signal"]
        hidden = (shown == 0.0) & (signal != 0.0)
        assert hidden.sum() < 10
        shown[hidden] = signal[hidden]
    assert len(peer["events_sr/times"]) > 80 and peer["events_wr/weights"].std() > 1e-4
    assert_same(ours, peer)


DELAYS = """
import nest
nest.verbosity = nest.VerbosityLevel.FATAL
found, times = [], []
for dt in (0.1, 0.125, 0.2, 0.25, 0.5):
    nest.ResetKernel()
    nest.set(resolution=dt)
    one = nest.Create("parrot_neuron")
    for delay in [k * 0.05 for k in range(1, 60)] + [dt * k + dt / 2 for k in range(9)]:
        other = nest.Create("parrot_neuron")
        try:
            nest.Connect(one, other, "all_to_all", {"delay": delay})
            found.append(nest.GetConnections(one, other).delay)
        except nest.NESTError:
            found.append(0.0)
    times += [nest.min_delay, nest.max_delay]
events_all = {"delays": found, "limits": times}
"""


def test_delays_between_steps(tmp_path: Path) -> None:
    """NEST rounds halves up, as a delay of 0.25 ms with steps of 0.1 ms."""
    find_shipped("nest/__init__.py")
    ours, peer = run(DELAYS, tmp_path), run(DELAYS, tmp_path, peer=True)
    for key, values in peer.items():
        assert np.array_equal(ours[key], values), key
