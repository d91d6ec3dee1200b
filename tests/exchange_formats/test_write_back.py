"""Trained weights in a copy of the SONATA network that a script's run began with; its network as tables."""

import filecmp
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import SONATA
from commands import output_of, refusal_of
from small import ramp, read_out
from sonata_networks import RECEPTORS, write

import pareprop
from pareprop import Adam, Model
from pareprop.network import identity
from pareprop.network.local import LocalNetwork
from pareprop.simulation import digest
from pareprop.sonata import circuit, edge_files, nodes

pytestmark = pytest.mark.usefixtures("no_figures")
COLUMNS = ("target", "source", "delay", "weight")


def train(path: Path, folder: Path, precision: str = "double", **options: object) -> Path:
    """A run of a script with the network of `path`."""
    rule = Adam(eta=2e-3)
    model = Model.from_sonata(path, optimizer=rule, precision=precision, round_delays=True, **options)
    read_out(model, *model.of_role("recurrent"), onto=0.1)
    task = ramp(30, model.size("input"), 0.3)
    pareprop.run(model, task, folder, iterations=2, figures="none", quiet=True)
    return folder


def read_rows(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Edges by population, in the order of the file."""
    found = circuit.read(path)
    sizes = {item.name: item.size for item in nodes.read(found)}
    populations = edge_files.read(found, sizes, 1.0, round_delays=True)
    return {item.name: vars(item.read_rows(0, item.n_edges)) for item in populations}


def sorted_rows(*columns: np.ndarray) -> np.ndarray:
    rows = np.stack(columns, axis=1).astype(float)
    return rows[np.lexsort(rows.T)]


def list_files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("bmtk", "double"), ("guide", "single"), ("glif_psc", "double"), ("iaf_psc_exp", "double"), ("bare", "double")],
)
def test_each_edge_gets_the_weight_of_its_synapse(
    tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, precision: str
) -> None:
    """By target, source, delay, receptor and first weight, whatever groups, types and multiplicities hold."""
    cases = kind in ("bmtk", "guide")
    given = SONATA / kind / "circuit_config.json"
    if not cases:
        given = write(tmp_path / "net", "iaf_psc_delta" if kind == "bare" else kind)
    if kind == "bare":  # edges of a population have the values of their types alone
        with h5py.File(tmp_path / "net" / "network" / "lgn_edges.h5", "r+") as file:
            for key in ("0", "edge_group_id", "edge_group_index"):
                del file[f"edges/lgn_to_exc/{key}"]
    run = train(given, tmp_path / "run", precision)
    output_of(capsys, "export", run, tmp_path / "out", "--network", "--circuit", given)
    before, after = read_rows(given), read_rows(tmp_path / "out" / "circuit_config.json")
    changed = 0
    with h5py.File(run / "results.h5") as file:
        for name, rows in before.items():
            assert all(np.array_equal(rows[key], after[name][key]) for key in ("target", "source", "delay"))
            groups = [group for key, group in file["projections"].items() if key.startswith(name)]
            columns = {
                key: np.concatenate([group[key][()] for group in groups])
                for key in ("target", "source", "delay", "weight_initial", "weight")
            }
            first = rows["weight"].astype(np.float32 if precision == "single" else float)
            found = sorted_rows(*(rows[key] for key in COLUMNS[:3]), first, after[name]["weight"])
            np.testing.assert_allclose(found, sorted_rows(*columns.values()), rtol=1e-15)
            changed += np.count_nonzero(columns["weight"] != columns["weight_initial"])
            if kind == "glif_psc":
                assert {group.attrs["port"] for group in groups} == {f"receptor_{RECEPTORS[name]}"}
    assert changed > 1000
    copies = list_files(tmp_path / "out")
    for name, path in list_files(given.parent / "network").items():
        assert name.endswith("edges.h5") or filecmp.cmp(path, copies[name], shallow=False)
    again = Model.from_sonata(tmp_path / "out" / "circuit_config.json", round_delays=True)
    assert [item.model for item in again.of_role("recurrent")]


def test_delays_that_learned_are_written_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = SONATA / "guide" / "circuit_config.json"
    learned = {"exc_to_exc": {"learn_delay": {"type": "adam", "eta": 0.9, "low": 1, "high": 9}}}
    run = train(given, tmp_path / "run", neuron="iaf", projections=learned)
    output_of(capsys, "export", run, tmp_path / "out", "--network", "--circuit", given)
    before, after = (read_rows(path)["exc_to_exc"] for path in (given, tmp_path / "out" / "circuit_config.json"))
    with h5py.File(run / "results.h5") as file:
        names = ("target", "source", "delay_initial", "weight_initial", "delay", "weight")
        columns = [file[f"projections/exc_to_exc/{name}"][()] for name in names]
    found = sorted_rows(*(before[key] for key in COLUMNS), after["delay"], after["weight"])
    np.testing.assert_array_equal(found, sorted_rows(*columns))
    assert np.count_nonzero(columns[4] != columns[2]) > 100


def test_synapses_that_moved_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = SONATA / "guide" / "circuit_config.json"
    run = train(given, tmp_path / "run", neuron="iaf", projections={"exc_to_exc": {"rewire": {"l1": 0.1}}})
    told = refusal_of(capsys, "export", run, tmp_path / "out", "--network", "--circuit", given)
    assert "edge population 'exc_to_exc': its synapses moved to other sources" in told
    assert not (tmp_path / "out").exists()


def test_others_read_the_copy(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    libsonata = pytest.importorskip("libsonata")
    given = SONATA / "guide" / "circuit_config.json"
    output_of(capsys, "export", train(given, tmp_path / "run"), tmp_path / "out", "--network", "--circuit", given)
    ours = read_rows(tmp_path / "out" / "circuit_config.json")["lgn_to_exc"]
    circuit = libsonata.CircuitConfig.from_file(tmp_path / "out" / "circuit_config.json")
    assert circuit.node_populations == {item.name for item in Model.from_sonata(given).populations}
    edges = circuit.edge_population("lgn_to_exc")  # of one group of edges, compressed by what libsonata lacks
    assert (edges.source, edges.target, edges.size) == ("lgn", "exc", len(ours["source"]))


def test_another_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = write(tmp_path / "net", "iaf_psc_delta", receptors=False)
    run = train(given, tmp_path / "run")
    words = ["export", run, tmp_path / "out", "--network", "--circuit", given]
    assert "--circuit goes with --network" in refusal_of(capsys, *words[:3], *words[4:])
    with h5py.File(tmp_path / "net" / "network" / "cortex_edges.h5", "r+") as file:
        group = file["edges/inh_to_exc"]
        group["0/syn_weight"][group["edge_group_index"][7]] = 55.0
    told = refusal_of(capsys, *words)
    assert "edge population 'inh_to_exc': weight 55 of edge 7 in " in told and "this is another network" in told
    assert not (tmp_path / "out").exists()


def test_the_network_of_a_script_is_described(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """By its circuit: the run is opened, resumed and exported without the script."""
    given = SONATA / "bmtk" / "circuit_config.json"
    run = train(given, tmp_path / "run", neuron="iaf", sign="weights", values={"V_th": -68.5})
    model = pareprop.open_run(run).model()
    trained = Model.from_sonata(
        given, optimizer=Adam(eta=2e-3), round_delays=True, neuron="iaf", sign="weights", values={"V_th": -68.5}
    )
    facts, wanted = identity.list_facts(model), identity.list_facts(trained)
    parts = ("population 'cortex'", "population 'lgn'", "projection 'cortex_to_cortex'", "projection 'lgn_to_cortex'")
    assert {key: text for key, text in facts.items() if key.startswith(parts)} == {
        key: text for key, text in wanted.items() if key.startswith(parts)
    }
    output_of(capsys, "export", run, tmp_path / "out", "--network")
    read = LocalNetwork(Model.from_sonata(tmp_path / "out" / "circuit_config.json"), 0, 1)
    with h5py.File(run / "results.h5") as file:
        for (table, span), name in zip(digest.list_tables(read), ("cortex_to_cortex", "lgn_to_cortex"), strict=True):
            found = np.concatenate(list(digest.hash_synapses(None, table, span)))
            for key in COLUMNS:
                np.testing.assert_array_equal(found[key], file[f"projections/{name}/{key}"][()])
