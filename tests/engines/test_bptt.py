"""Without recurrent connections e-prop is backpropagation through time: its gradient against PyTorch's autograd.

Why it is exact. A spike of neuron j in step t changes readout k by zeta_out W_kj kappa^(t'-t) in every step t' >= t,
and nothing else, so with dLoss/dy_k[t'] = E_k[t'] (for cross-entropy if targets sum to 1)

    dLoss/dz_j[t] = zeta_out sum_k W_kj sum_(t' >= t) kappa^(t'-t) E_k[t'].

In v, a and z of the neuron alone, the surrogate in place of dz/dv and the reset detached, the derivative
dz_j[t]/dw_ji, through voltage and adaptation, is the eligibility trace e_ji[t]. E-prop filters it with kappa, the leak
of the readout, and a factor (1-kappa):

    sum_t' L_j[t'] ebar_ji[t'] = (1-kappa) sum_t e_ji[t] sum_(t' >= t) kappa^(t'-t) L_j[t'],  L_j = sum_k B_jk E_k.

Hence g = dLoss/dw_ji if B_jk (1-kappa) = W_kj zeta_out. With irregular arrival at the readouts (zeta_out = 1-kappa)
that is symmetric feedback, B = W^T; with regular arrival (zeta_out = 1) the feedback must be W^T / (1-kappa), and with
symmetric feedback e-prop gives (1-kappa) times the gradient. The arrival convention at the neurons (zeta) enters both
sides alike. The gradient of readout weights is exact in all these cases. There must be no rate regularisation, no V_min
that clamps, and a reset (or a cut of the backward pass) at the border of intervals.
"""

import networks
import numpy as np
import pytest

from pareprop.engines.interval import IntervalSettings
from pareprop.network.losses import LOSSES
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Normal
from pareprop.simulation.loop import Simulation

pytest.importorskip("torch", reason="PyTorch (extra `peer`) is not installed")
import torch_twin

pytestmark = pytest.mark.peer
N_STEPS, N_IN, N_REC, N_OUT, KAPPA = 80, 10, 8, 3, float(np.exp(-1.0 / 15.0))
SOURCES = [0, 1, 2, 5]  # of the few recurrent connections, onto other neurons


def make_model(
    kind: str, surrogate: str, loss: str, regular: bool, regular_out: bool, feedback: str, recurrent: str = ""
) -> Model:
    """Sparse inputs with delays of 1 to 4 steps; explicit feedback is what makes e-prop exact."""
    rng = np.random.default_rng(5)
    model = Model("interval", optimizer=GradientDescent(eta=1e-3))
    adaptation = {"adapt_beta": rng.uniform(0.1, 0.5, N_REC), "adapt_tau": 60.0} if kind == "iaf_adapt" else {}
    inputs, out_scale = model.inputs("in", N_IN), 1.0 if regular_out else 5.0
    cell = {"C_m": 1.0, "E_L": -60.0, "V_th": -59.5, "tau_m": rng.uniform(8.0, 25.0, N_REC), "t_ref": 2.0, "c_reg": 0.0}
    cell |= {"surrogate_gradient_function": surrogate, "surrogate_gradient_height": 0.8}
    cell |= {"surrogate_gradient_width": rng.uniform(0.4, 1.0, N_REC), "regular_spike_arrival": regular}
    neurons = model.neurons("rec", N_REC, kind, **cell, **adaptation)
    out = model.readouts("out", N_OUT, C_m=1.0, E_L=0.3, tau_m=15.0, loss=loss, regular_spike_arrival=regular_out)
    target, source = np.nonzero(rng.random((N_REC, N_IN)) < 0.7)
    strength = rng.normal(0.05, 0.3, len(source)) * (1.0 if regular else 8.0)
    delay = rng.integers(1, 5, len(source))
    model.connect(inputs, neurons, "explicit", source=source, target=target, weight=strength, delay=delay)
    w_out = rng.normal(size=(N_OUT, N_REC)) * out_scale
    j, k = np.indices((N_REC, N_OUT)).reshape(2, -1)
    model.connect(neurons, out, "explicit", source=j, target=k, weight=w_out[k, j])
    if feedback == "explicit":
        zeta_out = 1.0 if regular_out else 1.0 - KAPPA
        model.connect(out, neurons, "explicit", source=k, target=j, weight=w_out[k, j] * zeta_out / (1.0 - KAPPA))
    else:
        model.connect(out, neurons, feedback=feedback)
    if recurrent == "few":
        model.connect(neurons, neurons, "explicit", source=SOURCES, target=[3, 3, 4, 6], weight=5.0, delay=[1, 2, 3, 1])
    elif recurrent == "full":
        model.connect(neurons, neurons, weight=Normal(std=3.0), delay=(1, 4))
    return model


def make_run(model: Model) -> Simulation:
    """Two different samples, an error in the last three quarters of each, targets that sum to 1."""
    rng = np.random.default_rng(6)
    targets = rng.random((2 * N_STEPS, N_OUT))
    case = {
        "inputs": rng.random((2 * N_STEPS, N_IN)) < 0.2,
        "targets": targets / targets.sum(axis=1, keepdims=True),
        "interval": N_STEPS,
        "learning_window": 3 * N_STEPS // 4,
    }
    settings = IntervalSettings(case["learning_window"])
    run = Simulation(model, networks.CaseTask(case), settings=settings)
    run.engine.gradient.keep_gradients()
    return run


def both(run: Simulation, index: int, through: float = 1.0) -> tuple[dict, dict]:
    """Gradients of e-prop and of BPTT for one sample, after a look at spikes and loss."""
    expected = torch_twin.bptt(run, run.task.sample(index), through)
    loss, _ = run.run_sample(index, "train", learn=True)
    np.testing.assert_allclose(loss, expected.loss, rtol=1e-12)
    spikes = run.engine.log.list_spikes(N_STEPS)
    np.testing.assert_array_equal(np.argwhere(expected.spikes), np.column_stack(spikes))
    assert 20 < len(spikes[0]) < N_STEPS * N_REC / 3
    return torch_twin.eprop(run), expected.gradient


def assert_equal(found: np.ndarray, wanted: np.ndarray) -> None:
    """To 1e-10; the largest entry counts where single ones cancel to nearly nothing."""
    assert np.count_nonzero(wanted) > len(wanted) // 2
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-13 * np.abs(wanted).max())


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("surrogate", networks.ALL_SURROGATES)
@pytest.mark.parametrize("kind", ["iaf", "iaf_adapt"])
def test_eprop_is_bptt_without_recurrent_connections(kind: str, surrogate: str, loss: str, regular: bool) -> None:
    for regular_out in (True, False):
        run = make_run(make_model(kind, surrogate, loss, regular, regular_out, "explicit"))
        found, wanted = both(run, 0)
        assert_equal(found["in->rec"], wanted["in->rec"])
        assert_equal(found["rec->out"], wanted["rec->out"])


@pytest.mark.parametrize("regular_out", [True, False])
@pytest.mark.parametrize("kind", ["iaf", "iaf_adapt"])
def test_symmetric_feedback_stays_bptt_while_weights_change(kind: str, regular_out: bool) -> None:
    """Exact with irregular arrival at the readouts, (1-kappa) times BPTT with regular arrival."""
    run = make_run(make_model(kind, "piecewise_linear", "cross_entropy", True, regular_out, "symmetric"))
    for index in range(2):
        found, wanted = both(run, index)
        assert_equal(found["in->rec"], wanted["in->rec"] * ((1.0 - KAPPA) if regular_out else 1.0))
        assert_equal(found["rec->out"], wanted["rec->out"])
        run.engine.step_optimizers()


def test_recurrent_connections_break_the_equality() -> None:
    """The twin sees paths through other neurons that e-prop leaves out: the input weights of their sources differ."""
    run = make_run(make_model("iaf_adapt", "exponential", "mean_squared_error", True, False, "symmetric", "few"))
    _, _, _, target, _, _ = torch_twin.synapses(run)["in->rec"]
    found, wanted = both(run, 0)
    assert_equal(found["rec->out"], wanted["rec->out"])
    sources = np.isin(target, SOURCES)
    assert_equal(found["in->rec"][~sources], wanted["in->rec"][~sources])
    assert_equal(found["rec->rec"], wanted["rec->rec"])  # onto neurons that reach readouts alone
    for j in SOURCES:
        assert np.linalg.norm((found["in->rec"] - wanted["in->rec"])[target == j]) > 1e-3


@pytest.mark.parametrize("kind", ["iaf", "iaf_adapt"])
def test_eprop_is_bptt_with_recurrent_paths_cut(kind: str) -> None:
    """In a fully recurrent network with several delays: recurrent weights too, others' spikes taken as given."""
    run = make_run(make_model(kind, "piecewise_linear", "mean_squared_error", False, False, "symmetric", "full"))
    found, wanted = both(run, 0, through=0.0)
    for name in ("in->rec", "rec->rec", "rec->out"):
        assert_equal(found[name], wanted[name])
