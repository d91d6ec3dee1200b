"""`pareprop export --network`: what was trained, as this package, libsonata and bmtk read it back."""

from pathlib import Path

import h5py
import numpy as np
import pages
import pytest
from commands import apart, output_of, refusal_of, run_of

import pareprop
from pareprop import Model, Simulation
from pareprop.network.local import LocalNetwork
from pareprop.runs import config
from pareprop.simulation import digest

pytestmark = pytest.mark.usefixtures("no_figures")
SETTINGS = {"n_rec": 40, "n_in": 15, "n_step": 60, "indegree": 8, "indegree_in": 5, "iterations": 3, "skip": 10}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run directory and the folder of its network."""
    place = tmp_path_factory.mktemp("export")
    for words in (
        run_of("own-activity", place / "run", **SETTINGS, eta=0.01, figures="none"),
        ["export", place / "run", place / "net", "--network"],
    ):
        done = apart(*words)
        assert done.returncode == 0, done.stderr
    return place / "run", place / "net"


def edges_of(directory: Path, name: str) -> dict[str, np.ndarray]:
    with h5py.File(directory / "results.h5") as file:
        return {key: file[f"projections/{name}/{key}"][()] for key in ("source", "target", "delay", "weight")}


PAIRS = [("in->rec", "in_to_rec"), ("rec->rec", "rec_to_rec")]


def test_this_package_reads_it(exported: tuple[Path, Path]) -> None:
    directory, folder = exported
    model = Model.from_sonata(folder / "circuit_config.json", sign="source")
    assert [item.role for item in model.populations] == ["input", "recurrent"]
    neurons = model.populations[1]
    assert (neurons.model, neurons.params.t_ref, neurons.params.regular_spike_arrival) == ("iaf", 3.0, True)
    trained = config.load(str(directory / "config.toml")).task.build_model()
    np.testing.assert_array_equal(neurons.sign, trained.populations[1].sign)
    network = LocalNetwork(model, 0, 1)
    for (table, span), (name, _) in zip(digest.list_tables(network), PAIRS, strict=True):
        found, wanted = np.concatenate(list(digest.hash_synapses(None, table, span))), edges_of(directory, name)
        for key, values in wanted.items():
            np.testing.assert_array_equal(found[key], values)


def test_spikes_of_the_network_of_the_first_page(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Read back, it has the spikes of the test of the run."""
    page: dict = {}
    exec(pages.first_network(), page)
    options = {"iterations": 1, "test_samples": 1, "figures": "none", "quiet": True}
    done = pareprop.run(page["model"], page["Levels"](), tmp_path / "run", **options)
    output_of(capsys, "export", tmp_path / "run", tmp_path / "net", "--network")
    model = Model.from_sonata(tmp_path / "net" / "circuit_config.json")
    model.connect(model.populations[1], model.readouts("out", 1), weight=0.0)
    simulation = Simulation(model, page["Levels"]())
    simulation.run_sample(0, "test", learn=False)
    steps, ids = simulation.engine.log.list_spikes(simulation.engine.n)
    wanted = done.open().spikes("last")
    assert len(steps) > 1000
    np.testing.assert_array_equal(steps, wanted["step"])
    np.testing.assert_array_equal(ids, wanted["id"])


@pytest.mark.parametrize(("projection", "population"), PAIRS)
def test_libsonata_reads_it(exported: tuple[Path, Path], projection: str, population: str) -> None:
    libsonata = pytest.importorskip("libsonata")
    directory, folder = exported
    wanted = edges_of(directory, projection)
    edges = libsonata.EdgeStorage(folder / f"network/{population}_edges.h5").open_population(population)
    every = edges.select_all()
    assert (edges.source, edges.target, edges.size) == (*population.split("_to_"), len(wanted["weight"]))
    np.testing.assert_array_equal(edges.source_nodes(every), wanted["source"])
    np.testing.assert_array_equal(edges.target_nodes(every), wanted["target"])
    np.testing.assert_array_equal(edges.get_attribute("syn_weight", every), wanted["weight"])
    np.testing.assert_array_equal(edges.get_attribute("delay", every), wanted["delay"] * 1.0)
    onto = edges.afferent_edges([3, 7]).flatten()  # by the index
    np.testing.assert_array_equal(onto, np.flatnonzero(np.isin(wanted["target"], [3, 7])))


def test_libsonata_finds_all_populations_of_the_circuit(exported: tuple[Path, Path]) -> None:
    libsonata = pytest.importorskip("libsonata")
    directory, folder = exported
    circuit = libsonata.CircuitConfig.from_file(folder / "circuit_config.json")
    nodes = {name: circuit.node_population(name).size for name in circuit.node_populations}
    edges = {name: circuit.edge_population(name).size for name in circuit.edge_populations}
    assert nodes == {"in": SETTINGS["n_in"], "rec": SETTINGS["n_rec"]}
    assert [circuit.node_population_properties(name).type for name in sorted(nodes)] == ["virtual", "point_neuron"]
    assert edges == {population: len(edges_of(directory, name)["weight"]) for name, population in PAIRS}


@pytest.mark.parametrize(("projection", "population"), PAIRS)
def test_bmtk_reads_it(exported: tuple[Path, Path], projection: str, population: str) -> None:
    sonata = pytest.importorskip("bmtk.utils.sonata")
    directory, folder = exported
    wanted = edges_of(directory, projection)
    ends = population.split("_to_")
    kinds = [f"{population}_edge", *{f"{end}_node" for end in ends}]
    data = [str(folder / f"network/{kind}s.h5") for kind in kinds]
    tables = [str(folder / f"network/{kind}_types.csv") for kind in kinds]
    file = sonata.File(data_files=data, data_type_files=tables)
    found = list(file.edges.get_population(population))
    np.testing.assert_array_equal([edge.source_node_id for edge in found], wanted["source"])
    np.testing.assert_array_equal([edge.target_node_id for edge in found], wanted["target"])
    np.testing.assert_array_equal([edge["syn_weight"] for edge in found], wanted["weight"])
    np.testing.assert_array_equal([edge["delay"] for edge in found], wanted["delay"] * 1.0)


def test_what_is_refused(exported: tuple[Path, Path], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    directory, folder = exported
    assert "is there already and not an empty folder" in refusal_of(capsys, "export", directory, folder, "--network")
    assert "is a folder, spikes need the name of a file" in refusal_of(capsys, "export", directory, folder)
