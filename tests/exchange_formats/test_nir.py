"""`pareprop export --nir`, `Model.from_nir`: spikes of NIR's equations, of snnTorch, of Norse, and of a round trip."""

import itertools
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import small
from commands import output_of, refusal_of, run_of

import pareprop
from pareprop import Adam, InputError, Model, Normal, Observer, Outcome, Sample, Simulation, open_run
from pareprop.network import nir_nodes

nir = pytest.importorskip("nir")
pytestmark = pytest.mark.usefixtures("no_figures")
N_IN, STEPS = 10, 150
OPTIMIZER = Adam(eta=0.01, Wmin=-1e4, Wmax=1e4)
SPIKES = np.random.default_rng(7).random((STEPS, N_IN)) < 0.1
SPIKES[0] = False  # in the interval variant they never arrive
TASK = small.Once(Sample.from_raster(SPIKES, np.ones((STEPS, 2))), STEPS)


def network(
    variant: str = "spike", kind: str = "iaf_psc_delta", delay: object = (1, 3), multapses: bool = False, **values: Any
) -> Model:
    """Two populations of neurons with constants of each cell, delays, readouts and feedback."""
    model = Model(variant, seed=5, dt_ms=0.5, optimizer=OPTIMIZER)
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2, tau_m=15.0, E_L=1.0)
    own = {"E_L": -60.0, "V_th": -57.0, "tau_m": np.linspace(8.0, 25.0, 12), "t_ref": 0.0, "I_e": 3.0} | values
    if "psc" in kind:
        own["V_reset"] = own.get("V_reset", -61.0)
    if kind == "iaf_psc_exp":
        own |= {"I_e": 0.0, "tau_syn_ex": 3.0, "tau_syn_in": 3.0}
    rec = model.neurons("rec", 12, kind, **own)
    more = model.neurons("more", 4, kind, **own | {"tau_m": 12.0})
    scale = 60.0 if kind == "iaf_psc_exp" else 1.0
    model.connect(inputs, rec, weight=Normal(mean=1.5 * scale, std=scale), delay=(1, 2))
    options = {"allow_multapses": multapses}
    model.connect(rec, rec, "fixed_indegree", indegree=4, weight=Normal(std=scale), delay=delay, **options)
    model.connect(rec, more, weight=Normal(mean=0.5 * scale, std=scale), delay=delay)
    model.connect(more, rec, weight=Normal(std=scale), delay=delay)
    model.connect(rec, out, weight=Normal(std=0.1))
    model.connect(out, rec, weight=Normal(std=0.1))
    return model


def dynamics(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Spikes (steps, neurons) and readout signals (steps, readouts) of a sample without learning."""
    signals: list[np.ndarray] = []

    class Signals(Observer):
        def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
            signals.append(outcome.signal.copy())

    simulation = Simulation(model, TASK, observers=[Signals()])
    simulation.run_sample(0, "test", learn=False)
    return small.raster(simulation.engine.log, STEPS, model.size("recurrent")), signals[0]


def interpret(path: Path, dt: float, subtracts: bool = False) -> dict[str, np.ndarray]:
    """Integrate NIR's equations exactly, inputs constant over a step; spikes of neurons arrive in the next step."""
    graph, n = nir.read(path), STEPS
    out = {name: np.zeros((n, *np.ravel(node.output_type["output"]))) for name, node in graph.nodes.items()}
    state = {name: np.array(node.v_leak) for name, node in graph.nodes.items() if hasattr(node, "v_leak")}
    current = {name: np.zeros_like(v) for name, v in state.items()}
    inputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]

    def value(name: str, t: int) -> np.ndarray:
        """Output of a node without a state of its own at a step."""
        node = graph.nodes[name]
        if name in state:  # a loop takes a step
            return out[name][t - 1] if t > 0 else np.zeros(out[name].shape[1])
        if name in inputs:
            return out[name][t] if t >= 0 else np.zeros(out[name].shape[1])
        before = [pre for pre, post in graph.edges if post == name]
        if isinstance(node, nir.Delay):
            late = np.rint(node.delay / dt).astype(int)
            return np.array([sum(value(pre, t - d)[k] for pre in before) for k, d in enumerate(late)])
        total = node.weight @ sum(value(pre, t) for pre in before)
        return total + node.bias if isinstance(node, nir.Affine) else total

    for name in inputs:
        out[name][:] = SPIKES
    for t in range(n):
        for name, v in state.items():
            node = graph.nodes[name]
            arriving = sum((value(pre, t) for pre, post in graph.edges if post == name), np.zeros_like(v))
            tau = node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau
            keep = np.exp(-dt / tau)
            if isinstance(node, nir.CubaLIF):  # spikes act at the end of the step in which they arrive
                decay, i = np.exp(-dt / node.tau_syn), current[name]
                v = node.v_leak + keep * (v - node.v_leak)
                v += node.r * i * node.tau_syn / (node.tau_syn - tau) * (decay - keep)
                current[name] = decay * i + (1 - decay) * node.w_in * arriving
            else:
                v = node.v_leak + keep * (v - node.v_leak) + (1 - keep) * node.r * arriving
            if isinstance(node, nir.LI):
                out[name][t] = v
            else:
                out[name][t] = v > node.v_threshold
                v = np.where(v > node.v_threshold, v - node.v_threshold if subtracts else node.v_reset, v)
            state[name] = v
    return out


def train(model: Model, folder: Path, capsys: pytest.CaptureFixture) -> tuple[Path, str]:
    """Train, export, give the model the trained weights; return the graph and what was told."""
    with warnings.catch_warnings(action="ignore"):  # a population without feedback
        pareprop.run(model, TASK, out=folder / "run", iterations=2, quiet=True)
    told = output_of(capsys, "export", "--nir", folder / "run", folder / "net.nir")
    assert told.splitlines()[-1] == f"graph: {folder / 'net.nir'}"
    run = open_run(folder / "run")
    assert any(np.any(run.weights(name)["weight"] != run.weights(name)["weight_initial"]) for name in run.projections)
    model.copy_weights(run)
    return folder / "net.nir", told


def neurons_of(found: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([found["rec"], found["more"]], axis=1).astype(bool)


@pytest.mark.parametrize(
    ("variant", "kind"), [("spike", "iaf_psc_delta"), ("spike", "iaf_psc_exp"), ("interval", "iaf_psc_exp")]
)
def test_spikes_are_those_of_the_equations_and_of_a_round_trip(
    tmp_path: Path, capsys: pytest.CaptureFixture, variant: str, kind: str
) -> None:
    model = network(variant, kind)
    path, told = train(model, tmp_path, capsys)
    assert "not written: projection 'out->rec', which carries learning signals" in told
    assert ("a step after its arrival" in told) == (kind == "iaf_psc_exp")
    raster, signal = dynamics(model)
    assert 100 < raster.sum() < 0.5 * raster.size
    found = interpret(path, 0.5e-3)
    np.testing.assert_array_equal(neurons_of(found), raster)
    late = int(variant == "interval")  # whose signals are counted without the delay of a step
    np.testing.assert_allclose(found["out"][late:], signal[: STEPS - late], rtol=1e-9)
    again = Model.from_nir(path, variant=variant, optimizer=OPTIMIZER)
    same, same_signal = dynamics(again)
    np.testing.assert_array_equal(same, raster)
    np.testing.assert_allclose(same_signal, signal, rtol=1e-12)
    assert [(item.name, item.size, item.model) for item in again.populations] == [
        (item.name, item.size, item.model) for item in model.populations
    ]
    given = {item.name: item for item in model.projections}
    for item in again.projections:
        before = given[item.name]
        order = np.lexsort((before.delay, before.source, before.target))
        for name in ("source", "target", "delay"):
            np.testing.assert_array_equal(getattr(item, name), getattr(before, name)[order])
        np.testing.assert_allclose(item.weight, before.weight[order], rtol=1e-13)


def test_only_the_reset_of_iaf_differs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = network("spike", "iaf")
    path, told = train(model, tmp_path, capsys)
    assert "'rec': NIR's neurons reset to v_reset, those of model 'iaf' subtract V_th: spikes may differ" in told
    raster, _ = dynamics(model)
    np.testing.assert_array_equal(neurons_of(interpret(path, 0.5e-3, subtracts=True)), raster)
    other = neurons_of(interpret(path, 0.5e-3))
    first = int(np.flatnonzero(raster.any(axis=1))[0])
    np.testing.assert_array_equal(other[: first + 1], raster[: first + 1])
    assert 0 < other.sum() < raster.sum()  # what is above the threshold is lost
    np.testing.assert_array_equal(dynamics(Model.from_nir(path, variant="spike"))[0], other)
    assert any("subtract V_th" in note for note in Model.from_nir(path, neuron="iaf").notes)


def test_a_round_trip_of_iaf_with_irregular_arrival(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = network("interval", "iaf", regular_spike_arrival=False, V_th=-59.8)
    path, _ = train(model, tmp_path, capsys)
    raster, signal = dynamics(model)
    same, same_signal = dynamics(Model.from_nir(path, neuron="iaf"))
    assert raster.sum() > 50
    np.testing.assert_array_equal(same, raster)
    np.testing.assert_allclose(same_signal, signal, rtol=1e-9)


def part_of(graph: Any, nodes: dict, last: str) -> Any:
    """Some nodes of a graph, of which the last, of 20 neurons, is its output."""
    edges = [edge for edge in graph.edges if set(edge) <= set(nodes)]
    return nir.NIRGraph(nodes | {"end": nir.Output(np.array([20]))}, [*edges, (last, "end")])


def spikes_of(module: Any, rows: Any) -> np.ndarray:
    """What a module of PyTorch gives step by step."""
    state, found = None, []
    for row in rows:
        z, state = module(row, state)
        found.append(z.detach().numpy() > 0)
    return np.array(found)


@pytest.mark.peer
def test_norse_has_the_same_spikes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It steps by Euler, takes r as 1, and knows no readouts: time constants and weights are given accordingly.

    No extra installs it, as it is built from source.
    """
    torch, norse = pytest.importorskip("torch"), pytest.importorskip("norse.torch")
    cell = {"E_L": -60.0, "V_reset": -60.0, "V_th": -57.0, "tau_m": 20.0, "t_ref": 0.0, "C_m": 250.0}
    ways = {key: {"weight": Normal(mean=0.2, std=0.6)} for key in ("into", "among", "onto", "back")}
    model = small.network("spike", N_IN, 20, 2, kind="iaf_psc_delta", cell=cell, **ways, seed=5, optimizer=OPTIMIZER)
    path, _ = train(model, tmp_path, capsys)
    raster, _ = dynamics(model)
    graph = nir.read(path)
    lif = graph.nodes["rec"]
    nodes = {name: graph.nodes[name] for name in ("in", "in_to_rec", "rec", "rec_to_rec")}
    for name in ("in_to_rec", "rec_to_rec"):
        nodes[name].weight = nodes[name].weight * lif.r[:, None]
    lif.tau, lif.r = 1e-3 / (1.0 - np.exp(-1e-3 / lif.tau)), np.ones(20)
    found = spikes_of(norse.from_nir(part_of(graph, nodes, "rec")), torch.as_tensor(SPIKES, dtype=torch.float32))
    assert raster.sum() > 200
    np.testing.assert_array_equal(found, raster)


@pytest.mark.peer
def test_snntorch_has_the_same_spikes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It steps by Euler, by 0.1 ms always, and passes a layer without delay.

    A network without loops: in version 1.0 input to a population with loops goes through the weights of the loop, too.
    """
    torch, snntorch = pytest.importorskip("torch"), pytest.importorskip("snntorch.import_nir")
    model = Model("spike", seed=5, dt_ms=0.1, optimizer=Adam(eta=1e-4))
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2)
    values = {"E_L": -60.0, "V_reset": -60.0, "V_th": -57.0, "t_ref": 0.0}
    first = model.neurons("a", 20, "iaf_psc_delta", tau_m=5.0, **values)
    second = model.neurons("b", 20, "iaf_psc_delta", tau_m=9.0, **values)
    for pre, post in ((inputs, first), (first, second), (second, out), (out, second), (out, first)):
        model.connect(pre, post, weight=Normal(mean=0.3, std=0.6))
    path, _ = train(model, tmp_path, capsys)
    raster, _ = dynamics(model)
    graph, dt = nir.read(path), 1e-4
    nodes = {name: graph.nodes[name] for name in ("in", "in_to_a", "a", "a_to_b", "b")}
    for name in ("a", "b"):
        nodes[name].tau = dt / (1.0 - np.exp(-dt / nodes[name].tau))
    module = snntorch.import_from_nir(part_of(graph, nodes, "b"))
    found = spikes_of(module, torch.as_tensor(SPIKES, dtype=torch.float32)[:, None])[:, 0]
    assert raster[:, 20:].sum() > 200
    np.testing.assert_array_equal(found[:-1], raster[1:, 20:])


REFUSED = [
    ({"t_ref": 2.0}, "iaf", "t_ref = 2: NIR's neurons have no refractory time"),
    ({"adapt_beta": 1.5}, "iaf_adapt", "adapt_beta = 1.5: NIR's neurons have no adaptive threshold"),
    ({"V_min": -80.0}, "iaf", "V_min = -80: NIR's neurons have no lowest voltage"),
    ({"V_m": -58.0}, "iaf", "V_m = -58: NIR's neurons have no voltage at the start, which is E_L"),
    ({"tau_syn_in": 5.0}, "iaf_psc_exp", "tau_syn_ex = 3 and tau_syn_in = 5: NIR's neurons have one synaptic time"),
    ({"I_e": 5.0}, "iaf_psc_exp", "I_e = 5: NIR's neurons have no constant current"),
    ({}, "izhikevich", "NIR has no neuron of model 'izhikevich', only of iaf, "),
]


@pytest.mark.parametrize(("values", "kind", "message"), REFUSED, ids=lambda item: item if isinstance(item, str) else "")
def test_what_nir_cannot_express_is_refused(values: dict, kind: str, message: str) -> None:
    start = {"E_L": -60.0, "t_ref": 0.0} | ({"tau_syn_ex": 3.0, "tau_syn_in": 3.0} if kind == "iaf_psc_exp" else {})
    own = values if kind == "izhikevich" else start | values
    population = Model("spike").neurons("rec", 2, kind, **own)
    columns = {name: np.full(2, value) for name, value in population.params.model_dump().items() if value is not None}
    with pytest.raises(InputError, match=f"^here: {re.escape(message)}"):
        nir_nodes.make_neuron_node("here", kind, columns, 1.0)


def test_commands_and_files_that_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = train(network(delay=1, multapses=True), tmp_path, capsys)
    columns = open_run(tmp_path / "run").weights("rec->rec")
    ends = list(zip(columns["source"], columns["target"], strict=True))
    assert len(ends) > len(set(ends))
    assert f"projection 'rec->rec': {len(ends) - len(set(ends))} synapses are added to others of the same " in told
    before = path.read_bytes()
    run = tmp_path / "run"
    for arguments, expected in (
        ((run, path), "net.nir: exists; --overwrite replaces a graph"),
        ((run, tmp_path / "x.h5"), "ends in .nir"),
        ((tmp_path, tmp_path / "x.nir"), "results.h5"),
        ((run, tmp_path / "x.nir", "--nest"), "--nest and --nir: choose one"),
        ((run, tmp_path / "none/x.nir"), "x.nir: No such file or directory"),
    ):
        assert expected in refusal_of(capsys, "export", "--nir", *arguments)
    assert path.read_bytes() == before and not list(tmp_path.glob("x.*"))
    output_of(capsys, "export", "--nir", run, path, "--overwrite")
    with h5py.File(run / "results.h5", "a") as file:
        file["populations/more"].attrs["t_ref"] = 2.0
    assert "population 'more': t_ref = 2: NIR's" in refusal_of(capsys, "export", "--nir", run, tmp_path / "x.nir")
    monkeypatch.setitem(sys.modules, "nir", None)
    told = refusal_of(capsys, "export", "--nir", run, tmp_path / "x.nir")
    assert told.endswith("NIR needs the package nir: install the extra `nir` of this package\n")


def test_readouts_of_single_neurons_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    values = {"n_rec": 20, "n_in": 5, "n_step": 30, "indegree": 4, "indegree_in": 2, "iterations": 1, "skip": 5}
    output_of(capsys, *run_of("own-activity", tmp_path / "run", **values))
    with h5py.File(tmp_path / "run/results.h5", "a") as file:
        file["populations/rec"].attrs["t_ref"] = 0.0  # the task's own is refused
    told = output_of(capsys, "export", "--nir", tmp_path / "run", tmp_path / "net.nir")
    assert "not written: readouts of single neurons\n" in told


def graph_of(**changes: object) -> tuple[dict, list]:
    """Nodes and edges of a small graph in which some nodes are others, or go."""
    ones = np.ones(2)
    nodes = {
        "in": nir.Input(np.array([3])),
        "w": nir.Linear(np.ones((2, 3))),
        "late": nir.Delay(2e-3 * ones),
        "lif": nir.LIF(tau=0.02 * ones, r=ones, v_leak=-70.0 * ones, v_threshold=-50.0 * ones, v_reset=-65.0 * ones),
        "v": nir.Affine(np.ones((1, 2)), np.ones(1)),
        "li": nir.LI(0.01 * ones[:1], ones[:1], 0.0 * ones[:1]),
        "out": nir.Output(np.array([1])),
    } | changes
    chain = [name for name in ("in", "w", "late", "lif", "v", "li", "out") if nodes.get(name)]
    return {name: nodes[name] for name in chain}, list(itertools.pairwise(chain))


def write(path: Path, nodes: dict, edges: list) -> Path:
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


def test_a_graph_of_others(tmp_path: Path) -> None:
    """Values by hand: of `tau dv/dt = v_leak - v + r w` over a step."""
    model = Model.from_nir(write(tmp_path / "a.nir", *graph_of()), 1.0, "spike")
    lif, readout = (item.params for role in ("recurrent", "readout") for item in model.of_role(role))
    found = (lif.tau_m, lif.E_L, lif.V_th, lif.V_reset, lif.t_ref, readout.tau_m)
    assert found == (20.0, -70.0, -50.0, -65.0, 0.0, 10.0)
    onto, behind = sorted(model.projections, key=lambda item: item.name)
    assert (onto.name, behind.name) == ("in->lif", "lif->li")
    assert set(onto.delay) == {3} and set(behind.delay) == {1}
    np.testing.assert_allclose(onto.weight, np.full(6, 1 - np.exp(-1 / 20)))
    np.testing.assert_allclose(behind.weight, np.full(2, 1 - np.exp(-1 / 10)))
    np.testing.assert_allclose(readout.I_e * readout.tau_m / readout.C_m, 1.0)  # where the voltage goes without spikes


CUBA = {name: np.ones(2) for name in ("tau_mem", "r", "v_leak", "v_threshold")}
FOREIGN = [
    ({"late": nir.Delay(np.full(2, 1.5e-3))}, 1.0, "node 'lif': a delay of 1.5 steps of 1 ms must be whole"),
    ({"late": nir.Scale(np.ones(2))}, 1.0, "node 'late': Scale is not supported (known: Input, LIF,"),
    ({"w": nir.Linear(np.ones((2, 4)))}, 1.0, "is not a graph of NIR: ValueError: Type inference error"),
    ({"late": nir.Linear(np.ones((2, 2)))}, 1.0, "node 'w': Linear must lead to neurons, not to another node"),
    ({"lif": nir.LIF(*[np.zeros(2)] * 4)}, 1.0, "node 'lif': tau must be above 0 and finite"),
    (
        {"w": nir.Affine(np.ones((2, 3)), np.ones(2)), "lif": nir.CubaLIF(tau_syn=np.ones(2), **CUBA)},
        1.0,
        "node 'lif': a bias of weights onto CubaLIF is not supported",
    ),
    ({"w": nir.Affine(np.ones((2, 3)), np.ones(3))}, 1.0, "node 'in': does not fit node 'lif'"),
    ({"w": nir.Linear(np.full((2, 3), np.nan))}, 1.0, "projection 'in->lif': weight = array([nan"),
    ({"li": None}, 1.0, "node 'v': Affine must lie between cells"),
    (
        {"w": None, "in": nir.Input(np.array([2])), "late": None, "lif": nir.Delay(np.ones(2))},
        1.0,
        "projection 'in->li': a projection from input to readout is not possible",
    ),
    ({"lif": nir.LIF(np.array([b"a", b"b"]), *[np.ones(2)] * 3)}, 1.0, "node 'lif': tau must be numbers"),
    ({}, None, "does not say for which step it is; give dt_ms"),
]


@pytest.mark.parametrize(("changes", "dt_ms", "message"), FOREIGN, ids=range(len(FOREIGN)))
def test_graphs_that_are_refused(tmp_path: Path, changes: dict, dt_ms: float | None, message: str) -> None:
    path = write(tmp_path / "a.nir", *graph_of(**changes))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Model.from_nir(path, dt_ms)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_graphs(tmp_path: Path) -> None:
    (tmp_path / "text.nir").write_text("no")
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["x"] = 1
    for name, message in (
        ("none.nir", "No such file"),
        ("text.nir", "text.nir"),
        ("other.nir", "is not a graph of NIR: "),
        (".", "is a directory"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            Model.from_nir(tmp_path / name, 1.0)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="neuron = 'adex' must be 'iaf_psc_delta' or 'iaf'"):
        Model.from_nir(write(tmp_path / "a.nir", *graph_of()), 1.0, neuron="adex")
