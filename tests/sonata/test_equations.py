"""SONATA nodes whose NEST model is given by equations: the same spikes as NEST's, parts of edges, what is refused."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from case_files import SONATA
from commands import output_of, refusal_of
from params import first
from sonata_networks import KINDS, RECEPTORS, write

import pareprop
from pareprop import Model, Simulation
from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.network.local import LocalNetwork
from pareprop.neurons import library
from pareprop.parallel.spike_log import SpikeLog

STEPS = 150


def drawn(n: int) -> np.ndarray:
    """Spikes of the inputs."""
    raster = np.random.default_rng(1).random((STEPS, n)) < 0.08
    raster[:2] = False
    return raster


def ours(model: Model, raster: np.ndarray) -> dict[str, np.ndarray]:
    """Steps and ids of spikes by population."""
    first = model.of_role("recurrent")
    out = model.readouts("out", 1)
    model.connect(first[0], out, weight=0.0)
    task = small.Once(Sample(SpikeLog.from_raster(raster), np.zeros((STEPS, 1))), STEPS)
    run = Simulation(model, task)
    run.engine.run(task.only)
    steps, ids = run.engine.log.list_spikes(STEPS)
    found = {}
    for population in first:
        low = model.offset(population)
        mine = (ids >= low) & (ids < low + population.size)
        found[population.name] = np.array(sorted(zip(steps[mine], ids[mine] - low, strict=True)))
    return found


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "variant"), [*((kind, "interval") for kind in KINDS), ("iaf_psc_delta", "spike")])
def test_spikes_are_those_of_nest(nest, tmp_path: Path, kind: str, variant: str) -> None:
    """Edges as bmtk and libsonata list them; ports by the sign of the weight, or by receptor type."""
    model = Model.from_sonata(write(tmp_path / "net", kind), variant=variant, round_delays=True)
    raster = drawn(model.size("input"))
    found = ours(model, raster)
    params, inhibitory = KINDS[kind]
    sizes = {item.name: item.size for item in model.populations}
    nodes = {
        name: nest.Create(kind, sizes[name], params | (inhibitory if name == "inh" else {})) for name in ("exc", "inh")
    }
    nodes["lgn"] = nest.Create("spike_generator", sizes["lgn"])
    for k, node in enumerate(nodes["lgn"]):
        if raster[:, k].any():
            node.spike_times = np.flatnonzero(raster[:, k]) * 1.0  # stamped as inputs are in the tutorials
    with h5py.File(SONATA / "guide" / "expected_edges.h5") as file:
        for name, group in file.items():
            pre, post = (nodes[end].tolist() for end in name.split("_to_"))
            source, target = (np.array(ids)[group[key][()]] for ids, key in ((pre, "source"), (post, "target")))
            weight = group["weight"][()] * (-1 if name == "inh_to_exc" else 1)
            spec = {"weight": weight, "delay": np.maximum(np.rint(group["delay_ms"][()]), 1.0)}
            if kind == "glif_psc":
                spec["receptor_type"] = np.full(len(source), RECEPTORS[name])
            nest.Connect(source, target, "one_to_one", spec)
    recorders = {name: nest.Create("spike_recorder") for name in ("exc", "inh")}
    for name, recorder in recorders.items():
        nest.Connect(nodes[name], recorder)
    nest.Simulate(STEPS + 1.0)
    for name, recorder in recorders.items():
        events = recorder.events
        first = nodes[name].tolist()[0]
        theirs = zip(events["times"], events["senders"], strict=True)
        theirs = sorted((int(t) - 1, s - first) for t, s in theirs if t <= STEPS)
        assert len(theirs) > 50
        np.testing.assert_array_equal(found[name], theirs)


def test_edges_are_divided_and_none_is_lost(tmp_path: Path) -> None:
    for kind, ports in (
        ("iaf_psc_exp", {"exc_to_exc": "exc", "inh_to_exc": "inh", "lgn_to_exc": "exc"}),
        ("glif_psc", {name: f"receptor_{k}" for name, k in RECEPTORS.items()}),
    ):
        model = Model.from_sonata(write(tmp_path / kind, kind), round_delays=True)
        network = LocalNetwork(model, 0, 1)
        counts: dict[tuple[str, str], int] = {}
        for span in network.incoming.spans:
            weight = network.incoming.weight[span.first : span.last]
            assert kind != "iaf_psc_exp" or np.all((weight >= 0) == (span.projection.port == "exc"))
            key = span.projection.edges.name, span.projection.port
            counts[key] = counts.get(key, 0) + len(weight)
        with h5py.File(SONATA / "guide" / "expected_edges.h5") as file:
            for name, port in ports.items():
                assert counts[name, port] == len(file[name]["weight"])
        exc = next(item for item in model.populations if item.name == "exc")
        assert len(exc.ports) == (2 if kind == "iaf_psc_exp" else 3)


def test_mixed_signs_are_divided(tmp_path: Path) -> None:
    """Types alone do not tell the signs: half of the excitatory synapses become inhibitory ones."""
    path = write(tmp_path / "net", "iaf_psc_exp")
    types = tmp_path / "net" / "network" / "cortex_edge_types.csv"
    types.write_text(types.read_text().replace(" 0.6 5.0 ", " -0.6 5.0 "))
    network = LocalNetwork(Model.from_sonata(path, round_delays=True), 0, 1)
    spans = {span.projection.name: network.incoming.weight[span.first : span.last] for span in network.incoming.spans}
    assert np.all(spans["exc_to_exc_exc"] >= 0) and np.all(spans["exc_to_exc_inh"] < 0)
    assert len(spans["exc_to_exc_exc"]) > 100 and len(spans["exc_to_exc_inh"]) > 100


def test_receptors_are_written_as_those_of_the_package() -> None:
    from pareprop.network.of_nest import set_receptors

    for name in ("glif1", "glif3", "glif5"):
        model = library.get_definition(name)
        four = set_receptors(model, 4)
        assert four.ports == tuple(f"receptor_{k}" for k in (1, 2, 3, 4))
        assert len(four.states) == len(model.states) + 4
        two = set_receptors(set_receptors(model, 3), 2)
        assert two.name != model.name or two == model
        assert set_receptors(model, 2) is model


def test_neurons_of_the_other_variant_are_told(tmp_path: Path) -> None:
    """Those with a counterpart in this one; what the equations of `iaf_psc_delta` do not do is refused."""
    path = write(tmp_path / "net", "iaf_psc_delta", {"refractory_input": True})
    with pytest.raises(InputError, match=r"^population 'exc': unknown parameter 'refractory_input'"):
        Model.from_sonata(path, round_delays=True)
    types, cells = tmp_path / "net/network/node_types.csv", tmp_path / "net/components/cell_models"
    text = types.read_text()
    for file in cells.iterdir():
        file.write_text(json.dumps({"E_L": -70.0, "V_m": -70.0}))
    for name, variant, told in (
        ("eprop_iaf", "interval", True),
        ("eprop_iaf_bsshslm_2020", "interval", False),
        ("eprop_iaf", "spike", False),
        ("eprop_iaf_adapt_bsshslm_2020", "spike", True),
    ):
        types.write_text(text.replace("nest:iaf_psc_delta", f"nest:{name}"))
        model = Model.from_sonata(path, variant=variant, round_delays=True)
        assert any(f"'exc': {name} is of the other variant of e-prop" in note for note in model.notes) == told
        assert model.populations[0].model in name


BAD = {
    "two levels": ({"adapting_threshold": True}, "there are the levels 1, 3 and 5 alone"),
    "start": ({"V_m": -70.0}, "node population 'exc': V_m must be E_L: these neurons start at rest"),
    "currents": ({"asc_init": [1.0, 0.0]}, "asc_init must be 0"),
    "unknown": ({"tau_sym": 2.0}, "unknown parameter 'tau_sym'"),
    "list of text": ({"tau_syn": ["a"]}, "must hold an object of numbers, lists of numbers, and texts"),
    "receptors": ({"tau_syn": [2.0]}, "neurons of 'exc' have 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_glif_psc_may_not_have(tmp_path: Path, name: str) -> None:
    change, message = BAD[name]
    with pytest.raises(InputError) as problem:
        Model.from_sonata(write(tmp_path / "net", "glif_psc", change), round_delays=True)
    assert message in str(problem.value) and "\n" not in str(problem.value)


def test_synapses_without_receptor(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"edge type 1 of 'exc_to_exc' has no receptor_type|types of .* no receptor"):
        Model.from_sonata(write(tmp_path / "net", "glif_psc", receptors=False), round_delays=True)


@pytest.mark.parametrize("kind", first(1, ["glif_psc", "iaf_psc_exp", "iaf_psc_delta"]))
def test_trained_and_written(tmp_path: Path, capsys: pytest.CaptureFixture, kind: str) -> None:
    """NEST's parameters, receptors and edges as they were; read again, the network has the spikes of the run."""
    given = write(tmp_path / "net", kind)
    model = Model.from_sonata(given, round_delays=True, projections={"*": {"plastic": False}})
    raster = drawn(model.size("input"))
    task = small.Once(Sample(SpikeLog.from_raster(raster), np.zeros((STEPS, 1))), STEPS)
    model.connect(model.of_role("recurrent")[0], model.readouts("out", 1), weight=0.0)
    pareprop.run(model, task, tmp_path / "run", iterations=1, figures="none", quiet=True)
    output_of(capsys, "export", tmp_path / "run", tmp_path / "out", "--network")
    params, inhibitory = KINDS[kind]
    for name, expected in (("exc", params), ("inh", params | inhibitory)):
        written = json.loads((tmp_path / "out" / f"components/point_neuron/{name}.json").read_text())
        used = {key: value for key, value in expected.items() if not key.startswith(("th_", "voltage_reset"))}
        used = {key: value for key, value in used.items() if key not in ("asc_init", "refractory_input", "V_m")}
        assert written | used == written
        assert written.get("V_m", written["E_L"]) == written["E_L"]
    again = Model.from_sonata(tmp_path / "out" / "circuit_config.json")
    assert [item.model for item in again.populations] == [
        item.model for item in model.populations if item.name != "out"
    ]
    found, wanted = (ours(item, raster) for item in (again, Model.from_sonata(given, round_delays=True)))
    for name, spikes in wanted.items():
        assert len(spikes) > 50
        np.testing.assert_array_equal(found[name], spikes)


def test_weights_that_nest_would_send_to_the_other_port(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """They are refused, unless both ports have the same time constant."""
    for tau_syn_in in (5.0, 2.0):
        model = Model("interval")
        rec = model.neurons("rec", 3, "iaf_psc_exp", tau_syn_in=tau_syn_in)
        model.connect(model.inputs("in", 2), rec, weight=-1.0, plastic=False)
        model.connect(rec, model.readouts("out", 1), plastic=False)
        task = small.Once(Sample.from_raster(np.zeros((9, 2)), np.zeros((9, 1))), 9)
        run, out = tmp_path / f"run {tau_syn_in}", tmp_path / "out"
        pareprop.run(model, task, run, iterations=1, figures="none", quiet=True)
        if tau_syn_in == 5.0:
            told = refusal_of(capsys, "export", run, out, "--network")
            assert "projection 'in->rec': weight = -1 is of port 'exc': in SONATA files weights above 0" in told
            assert not out.exists()
        else:
            output_of(capsys, "export", run, out, "--network")
