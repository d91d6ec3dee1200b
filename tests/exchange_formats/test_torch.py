"""`pareprop export --torch`: the module gives the spikes of the run, and autograd the gradients of BPTT."""

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import small
from commands import output_of, refusal_of

import pareprop
from pareprop import Adam, Model, NeuronModel, Normal, Observer, Outcome, Sample, Simulation, open_run

torch = pytest.importorskip("torch")
import torch_twin  # noqa: E402  # needs torch

pytestmark = [pytest.mark.peer, pytest.mark.usefixtures("no_figures")]
N_IN, STEPS = 10, 150
SPIKES = np.random.default_rng(7).random((STEPS, N_IN)) < 0.15
SPIKES[0] = False
TASK = small.Once(Sample.from_raster(SPIKES, np.ones((STEPS, 2))), STEPS)
OWN = NeuronModel(
    "own",
    parameters={"tau_m": (15.0, "ms"), "V_th": (0.5, "mV"), "k": (0.3, "1")},
    constants={"alpha": "exp(-dt/tau_m)"},
    states={"V_m": (0.0, "mV"), "b": (0.0, "1")},
    step={
        "V_m": "where(refractory and not b > 100, V_m, alpha*V_m + arriving - k*tanh(b))",
        "b": "max(0.9*b + z, min(b, -1, 0))",
    },
    spike="V_m - V_th",
    reset={"V_m": "0", "b": "b + 0.1"},
    follow=["V_m"],
)
PARTS = NeuronModel(
    "parts",
    parameters={"tau_m": (15.0, "ms"), "V_th": (0.5, "mV")},
    states={"V_m": (0.0, "mV"), "b": (0.0, "1"), "last": (0.0, "mV")},
    dynamics={"V_m": "-V_m*(1 + b*b)/tau_m", "b": "0.1*V_m*V_m - 0.2*b"},
    jumps={"V_m": "arriving"},
    step={"last": "V_m"},
    integrator="rk4",
    substeps=3,
    spike="V_m - V_th - 0.1*last",
    reset={"V_m": "0"},
    follow=["V_m"],
)
KINDS = {
    "iaf": ("interval", "iaf", {"t_ref": 3.0}),
    "adaptive": ("interval", "iaf_adapt", {"t_ref": 2.5, "adapt_beta": 0.4, "adapt_tau": 40.0, "V_min": -60.3}),
    "online": ("spike", "iaf_adapt", {"t_ref": 2.0, "adapt_beta": 0.4, "adapt_tau": 40.0}),
    "still": ("spike", "iaf_psc_delta_adapt", {"t_ref": 3.0, "V_reset": -60.2, "adapt_beta": 0.4}),
    "currents": ("spike", "iaf_psc_exp", {"t_ref": 1.0, "tau_syn_ex": 3.0, "tau_syn_in": 3.0, "V_reset": -60.0}),
    "own": ("interval", OWN, {"t_ref": 2.0}),
    "parts": ("interval", PARTS, {"t_ref": 2.0}),
}


def network(variant: str, kind: Any, values: dict) -> Model:
    """Two populations with values of each cell, delays, several synapses of a pair, readouts and feedback."""
    eta = 1e-2 if variant == "interval" else 2e-4
    model = Model(variant, seed=5, dt_ms=0.5, optimizer=Adam(eta=eta, Wmin=-1e4, Wmax=1e4))
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2, tau_m=15.0, E_L=1.0)
    own = {"tau_m": np.linspace(8.0, 25.0, 12)} | values
    own = {"E_L": -60.0, "V_th": -59.4, "I_e": 3.0} | own if isinstance(kind, str) else own
    scale = 60.0 if kind == "iaf_psc_exp" else 1.0
    rec, more = model.neurons("rec", 12, kind, **own), model.neurons("more", 4, kind, **own | {"tau_m": 12.0})
    model.connect(inputs, rec, weight=Normal(mean=0.3 * scale, std=0.3 * scale), delay=(1, 2))
    options = {"allow_multapses": True, "delay": (1, 3)}
    model.connect(rec, rec, "fixed_indegree", indegree=4, weight=Normal(std=0.3 * scale), **options)
    model.connect(rec, more, weight=Normal(mean=0.2 * scale, std=0.2 * scale), delay=(1, 3))
    model.connect(more, rec, weight=Normal(std=0.2 * scale))
    model.connect(rec, out, weight=Normal(std=0.1))
    model.connect(out, rec, weight=Normal(std=0.1))
    return model


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def export(model: Model, folder: Path, capsys: pytest.CaptureFixture, iterations: int = 2) -> ModuleType:
    """Train, export, give the model the trained weights; return the module."""
    with warnings.catch_warnings(action="ignore"):  # a population without feedback
        pareprop.run(model, TASK, out=folder / "run", iterations=iterations, quiet=True)
    told = output_of(capsys, "export", "--torch", folder / "run", folder / "net.py")
    assert told.splitlines() == [
        "not written: projection 'out->rec', which carries learning signals",
        f"module: {folder / 'net.py'}",
    ]
    run = open_run(folder / "run")
    changed = [run.weights(name)["weight"] != run.weights(name)["weight_initial"] for name in run.projections]
    assert any(map(np.any, changed)) == bool(iterations)
    model.copy_weights(run)
    return load(folder / "net.py")


def test_names_of_attributes_and_no_synapses(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Projections may be called as attributes of PyTorch's modules are; the first one may have no synapses."""
    model = Model("interval", seed=5, optimizer=Adam(eta=1e-2))
    inputs, rec, out = model.inputs("in", N_IN), model.neurons("rec", 3, **small.CELL), model.readouts("out", 2)
    model.connect(inputs, rec, "explicit", source=[], target=[], weight=[], name="a.b")
    for name in ("a_b", "forward", "items", "training", "type"):
        model.connect(inputs, rec, weight=0.1, name=name)
    model.connect(rec, out, weight=0.1, name="out_of_them")
    model.connect(out, rec, weight=0.1)
    network_here = export(model, tmp_path, capsys).Network()
    keys = ["a_b", "a_b_", "forward_", "items_", "out_of_them", "training_", "type_"]
    assert list(network_here.weights.keys()) == keys
    assert network_here(torch.tensor(SPIKES))[0].shape == (STEPS, 2)


class Signals(Observer):
    """Keeps the readout signals."""

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        self.signal = outcome.signal.copy()


@pytest.mark.parametrize("name", KINDS)
def test_spikes_and_readouts(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    variant = KINDS[name][0]
    model = network(*KINDS[name])
    module, seen = export(model, tmp_path, capsys), Signals()
    simulation = Simulation(model, TASK, observers=[seen])
    simulation.test(1)
    wanted = small.raster(simulation.engine.log, STEPS, 16)
    assert 100 < wanted.sum() < STEPS * 16 / 3 and np.all(wanted[:, :12].sum(axis=0) > 1)
    signal, spikes = module.Network()(torch.tensor(SPIKES), first=True)
    np.testing.assert_array_equal(spikes.detach().numpy() > 0, wanted)
    np.testing.assert_allclose(signal.detach().numpy(), seen.signal, rtol=1e-9, atol=1e-9)
    if variant == "interval":  # each sample starts at rest, in batches, too
        simulation.test(1)
        both = torch.stack([torch.zeros(SPIKES.shape, dtype=torch.bool), torch.tensor(SPIKES)])
        signal, spikes = module.Network()(both)
        np.testing.assert_array_equal(spikes[1].detach().numpy() > 0, small.raster(simulation.engine.log, STEPS, 16))
        assert spikes[0].sum() < spikes[1].sum()


@pytest.mark.parametrize("through", [1.0, 0.0])
def test_gradients_of_backpropagation_and_of_eprop(through: float, tmp_path: Path, capsys) -> None:
    """`torch_twin` has the same network as a program of its own: the whole gradient, and e-prop's part of it."""
    model = network("interval", "iaf_adapt", {"t_ref": 2.5, "adapt_beta": 0.4, "adapt_tau": 40.0, "I_e": 0.0})
    module = export(model, tmp_path, capsys)
    simulation = Simulation(model, TASK)
    twin = torch_twin.bptt(simulation, TASK.only, through)
    network_here = module.Network(through)
    signal, spikes = network_here(torch.tensor(SPIKES))
    np.testing.assert_array_equal(spikes.detach().numpy() > 0, twin.spikes)
    loss = 0.5 * torch.sum((signal - 1.0) ** 2)
    assert loss.item() == pytest.approx(twin.loss, rel=1e-9)
    loss.backward()
    assert twin.gradient.keys() == network_here.weights.keys()
    for name, weight in network_here.weights.items():
        run = open_run(tmp_path / "run").weights(name)
        wanted, scale = twin.gradient[name], np.abs(twin.gradient[name]).max()
        assert (scale > 0) == (through > 0 or name != "rec->more")  # whose neurons have no readout
        assert len(wanted) == len(run["weight"])
        np.testing.assert_allclose(weight.grad.numpy(), wanted, rtol=1e-7, atol=1e-9 * scale)


def test_a_module_learns(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Weights that an optimizer of PyTorch found come back by `set_weights`, to the same spikes."""
    model = network(*KINDS["adaptive"])
    network_here = export(model, tmp_path, capsys, 0).Network()
    optimizer = torch.optim.Adam(network_here.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        losses.append(torch.mean((network_here(torch.tensor(SPIKES))[0] - 1.0) ** 2))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    simulation = Simulation(model, TASK)
    for name, weight in network_here.weights.items():
        simulation.set_weights(name, weight.detach().numpy())
    simulation.test(2)
    spikes = network_here(torch.tensor(SPIKES))[1]
    np.testing.assert_array_equal(spikes.detach().numpy() > 0, small.raster(simulation.engine.log, STEPS, 16))


def test_what_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = network(*KINDS["still"])
    model.background(model.populations[2], rate_hz=100.0, weight=0.1)
    with warnings.catch_warnings(action="ignore"):
        pareprop.run(model, TASK, out=tmp_path / "run", iterations=1, quiet=True)
    words = ["export", "--torch", tmp_path / "run"]
    assert "needs a name that ends in .py" in refusal_of(capsys, *words, tmp_path / "net.pt")
    assert "its spikes are drawn as the network runs" in refusal_of(capsys, *words, tmp_path / "net.py")
    (tmp_path / "mine.py").write_text("print()")
    assert "exists" in refusal_of(capsys, *words, tmp_path / "mine.py", "--overwrite")
    assert (tmp_path / "mine.py").read_text() == "print()" and not (tmp_path / "net.py").exists()
