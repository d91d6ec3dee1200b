"""SONATA networks: equal to the edges they were written from, on any ranks, in any pieces; bad files in a line.

One file, because all tests start from the same network files.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
import small
from case_files import SONATA
from commands import on_ranks

from pareprop import Model, Simulation
from pareprop.errors import InputError
from pareprop.network import partition_bounds, shared_reading
from pareprop.network.local import LocalNetwork
from pareprop.network.variants import VARIANTS, Costs
from pareprop.parallel.exchange import Exchange
from pareprop.parallel.partition import find_block
from pareprop.simulation import digest
from pareprop.sonata import circuit, edge_files, edges, nodes

NETWORKS = ("bmtk", "guide", "export-example")
KEYS = ("target", "source", "delay", "weight")


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """What the tests on ranks do."""
    if words[0] == "missing":
        try:
            simulate(folder, exchange)
            print("built\n", end="")
        except InputError as problem:
            print(f"{problem}\n", end="")
        return
    if words[0] == "unindexed":
        read, whole = [], edges.Edges.read_rows
        edges.Edges.read_rows = lambda self, first, last: (read.append(last - first), whole(self, first, last))[1]
        model = Model.from_sonata(Path(folder) / "circuit_config.json")
        models = {"net": shared_reading.hold_own_edges(model, exchange.comm, chunk=37)}
    else:
        models, read = {name: model_of(name) for name in NETWORKS}, []
    for name, model in models.items():
        found = draw_synapses(model, exchange.comm, exchange.rank, exchange.size)
        total = sum(exchange.comm.allgather(sum(read))) if exchange.comm else 0
        for population, (records, wanted) in found.items() if exchange.rank == 0 else ():
            print(name, population, len(records), total, np.array_equal(records, wanted))


def model_of(name: str, **options: object) -> Model:
    return Model.from_sonata(SONATA / name / "circuit_config.json", **options)


def draw_synapses(
    model: Model, comm: object = None, rank: int = 0, size: int = 1
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Edge population to records of its synapses and of those it must have, on rank 0."""
    network, found = LocalNetwork(model, rank, size), {}
    for table, span in digest.list_tables(network):
        parts = list(digest.hash_synapses(comm, table, span))
        if not rank:
            name = span.projection.name
            path = span.projection.edges.path.parents[1] / "expected_edges.h5"
            with h5py.File(path) as file:
                group = file[name]
                wanted = np.empty(len(group["source"]), digest.SYNAPSE)
                for key in KEYS:
                    wanted[key] = group["delay_ms" if key == "delay" else key][()]
            found[name] = np.sort(np.concatenate(parts), order=KEYS), wanted
    return found


def join(pieces: object) -> list[np.ndarray]:
    columns = [[getattr(piece, key) for key in KEYS] for piece in pieces]
    return [np.concatenate(column) for column in zip(*columns, strict=True)]


@pytest.mark.slow
@pytest.mark.mpi
def test_networks_equal_what_they_were_written_from_on_any_number_of_ranks(tmp_path: Path) -> None:
    told = {ranks.train(n, __file__, tmp_path, "networks") for n in (1, 3)}
    (lines,) = (text.splitlines() for text in told)
    assert len(lines) == 7 and all(line.endswith(" 0 True") for line in lines), lines


@pytest.mark.slow
@pytest.mark.mpi
def test_without_an_index_many_ranks_read_each_edge_once(copy: Path, tmp_path: Path) -> None:
    shutil.copy(SONATA / "export-example/expected_edges.h5", copy)
    with h5py.File(copy / EDGES, "r+") as file:
        group = file["edges/rec_to_rec"]
        del group["indices"]
        order = np.random.default_rng(1).permutation(len(group["source_node_id"]))  # unsorted, too
        for key in ("source_node_id", "target_node_id", "edge_group_index"):
            group[key][:] = group[key][()][order]
    (lines,) = (text.splitlines() for text in {ranks.train(n, __file__, copy, "unindexed") for n in (5, 6)})
    assert "net rec_to_rec 2000 2000 True" in lines and all(line.endswith(" True") for line in lines), lines


@pytest.mark.mpi
def test_an_edge_that_is_wrong_is_told_once_by_many_ranks(copy: Path, tmp_path: Path) -> None:
    edit("source_node_id", 1999, 100)(copy)
    without("edges/rec_to_rec/indices")(copy)
    line = ["run", "own-activity", "--set", f"sonata={copy / 'circuit_config.json'}", "--set", "n_in=9"]
    codes, _, errors = on_ranks(5, [[*line, "--set", "signs=false", "--out", tmp_path / "run"]])
    assert codes == [2] and len(errors) == 1 and "source_node_id' of edge 1999 is 100" in errors[0], errors


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("chunk", [97, 500])
def test_pieces_of_any_size(name: str, chunk: int) -> None:
    found = circuit.read(SONATA / name / "circuit_config.json")
    sizes = {population.name: population.size for population in nodes.read(found)}
    for population in edge_files.read(found, sizes, 1.0):
        for low, high in (find_block(population.n_targets, 7, rank) for rank in (0, 3, 6)):
            whole, cut = (join(population.read_chunks(low, high, size)) for size in (2**20, chunk))
            assert all(map(np.array_equal, whole, cut))
            assert np.all((whole[0] >= low) & (whole[0] < high))


def test_populations_and_their_parameters() -> None:
    model = model_of("guide", variant="spike", sign="source")
    exc, inh, lgn = model.populations
    assert [item.role for item in model.populations] == ["recurrent", "recurrent", "input"]
    assert exc.model == "iaf_psc_delta" and (exc.size, inh.size, lgn.size) == (200, 100, 60)
    with h5py.File(SONATA / "guide/network/nodes.h5") as file:
        np.testing.assert_array_equal(exc.params.tau_m, file["nodes/exc/0/dynamics_params/tau_m"][()])
    assert np.all(exc.sign == 1) and np.all(inh.sign == -1) and lgn.sign is None
    cells = model_of("bmtk", variant="spike").populations[0].params
    assert set(np.unique(cells.tau_m)) == {10.0, 20.0} and cells.C_m == 250.0
    assert model_of("bmtk").populations[0].params.definition.nest == "eprop_iaf_psc_delta"  # by equations
    assert model_of("bmtk", neuron="iaf").populations[0].model == "iaf"


def test_options_of_projections() -> None:
    model = model_of("bmtk", projections={"cortex_to_cortex": {"plastic": False}}, sign="weights")
    cortex, lgn = model.projections
    assert not cortex.plastic and lgn.plastic
    assert set(np.unique(cortex.signs)) == {-1, 1} and np.all(lgn.signs >= 0)
    with pytest.raises(InputError, match="no edge population 'cortex_to_cortx', did you mean 'cortex_to_cortex'"):
        model_of("bmtk", projections={"cortex_to_cortx": {}}).projections  # noqa: B018


# ---- files that can't be used ----------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SONATA / "export-example", tmp_path / "net"))


EDGES = "network/rec_to_rec_edges.h5"


def edit(key: str, index: int, value: float):
    def edit(folder: Path) -> None:
        with h5py.File(folder / EDGES, "r+") as file:
            file[f"edges/rec_to_rec/{key}"][index] = value

    return edit


def without(key: str, file_name: str = EDGES):
    def edit(folder: Path) -> None:
        with h5py.File(folder / file_name, "r+") as file:
            del file[key]

    return edit


def nodes_with(name: str, values: np.ndarray) -> Callable[[Path], None]:
    """The file of nodes with another data set."""

    def edit(folder: Path) -> None:
        with h5py.File(folder / "network/rec_nodes.h5", "r+") as file:
            if name in file["nodes/rec"]:
                del file["nodes/rec"][name]
            file["nodes/rec"][name] = values

    return edit


def cut_file(folder: Path) -> None:
    path = folder / EDGES
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_link(folder: Path) -> None:
    (folder / "other.h5").write_bytes((folder / EDGES).read_bytes())
    with h5py.File(folder / EDGES, "r+") as file:
        del file["edges/rec_to_rec/source_node_id"]
        file["edges/rec_to_rec/source_node_id"] = h5py.ExternalLink("../other.h5", "/edges/rec_to_rec/source_node_id")


def virtual(folder: Path) -> None:
    layout = h5py.VirtualLayout((2000,), "u8")
    layout[:] = h5py.VirtualSource(str(folder / EDGES), "edges/rec_to_rec/target_node_id", (2000,))
    with h5py.File(folder / EDGES, "r+") as file:
        name = file["edges/rec_to_rec/source_node_id"].attrs["node_population"]
        del file["edges/rec_to_rec/source_node_id"]
        file["edges/rec_to_rec"].create_virtual_dataset("source_node_id", layout)
        file["edges/rec_to_rec/source_node_id"].attrs["node_population"] = name


def change_config(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "circuit_config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def manifest(**variables: str) -> Callable[[Path], None]:
    named = {f"${name}": value for name, value in variables.items()}
    return lambda folder: change_config(folder, lambda content: content["manifest"].update(named))


def row(text: str, more: str = "") -> Callable[[Path], None]:
    """Replace the row of the only type of nodes, or its whole table."""

    def write(folder: Path) -> None:
        path = folder / "network/rec_node_types.csv"
        header = path.read_text().splitlines()[0]
        path.write_text(f"{more or header}\n{text}\n")

    return write


def twice(folder: Path) -> None:
    change_config(folder, lambda content: content["networks"].update(nodes=2 * content["networks"]["nodes"]))


NODE = "rec point_neuron nest:iaf_psc_delta rec.json"
BAD = {
    "no column of types": (row(f"0 {NODE}", "id population model_type a b"), "column 'node_type_id' is missing"),
    "short row": (row("0 rec"), r"rec_node_types.csv: line 2 has 2 fields, the header 5"),
    "type is text": (row(f"x {NODE}"), r"line 2: node_type_id = x must be a whole number"),
    "type twice": (row(f"0 {NODE}\n0 {NODE}"), r"line 3: node_type_id = 0 is there twice"),
    "type unknown": (row(f"7 {NODE}"), r"node population 'rec': node_type_id = 0 is not in .*rec_node_types.csv"),
    "odd kind": (row(f"0 {NODE.replace('point_neuron', 'cone')}"), r"model_type = 'cone' must be 'virtual' or "),
    "nodes twice": (twice, r"circuit_config.json: node population '\w+' is in two files"),
    "no nodes": (nodes_with("node_type_id", np.zeros(0, np.uint32)), r"node population 'rec' has no nodes"),
    "gap in node_id": (
        nodes_with("node_id", np.r_[np.arange(99), 100].astype(np.uint64)),
        r"rec_nodes.h5: dataset '/nodes/rec/node_id' must hold each of 0 to 99 once, 100 is there",
    ),
    "delay 0": (edit("0/delay", 7, 0.0), r"delay' of row 7: delay = 0 ms must be whole steps of 1 ms from 1"),
    "delay 0.5": (edit("0/delay", 7, 0.5), r"delay = 0.5 ms must be whole steps .*; round_delays = true rounds them"),
    "type": (edit("edge_type_id", 3, 77), r"edge_type_id = 77 of edge 3 of 'rec_to_rec' is not in its table"),
    "group index": (edit("edge_group_index", 3, 5000), r"edge_group_index = 5000 is beyond .* of 2000"),
    "group": (edit("edge_group_id", 3, 4), r"edge_group_id = 4 of '/edges/rec_to_rec': there is no such group"),
    "source": (edit("source_node_id", 3, 100), r"source_node_id' of edge 3 is 100, the population has 100 nodes"),
    "weight": (edit("0/syn_weight", 3, np.inf), r"edge 3 of 'rec_to_rec' has no finite weight, but inf"),
    "no target": (without("edges/rec_to_rec/target_node_id"), r"dataset '/edges/rec_to_rec/target_node_id' is missing"),
    "truncated": (cut_file, r"rec_to_rec_edges.h5: "),
    "external link": (replace_by_link, r"dataset '/edges/rec_to_rec/source_node_id' lies in another file"),
    "virtual dataset": (virtual, r"dataset '/edges/rec_to_rec/source_node_id' lies in another file"),
    "circular manifest": (manifest(ONE="$TWO/a", TWO="$ONE/b"), r"circuit_config.json: manifest.\w+ contains itself"),
    "growing manifest": (
        manifest(ONE="$TWO" * 99, TWO="$SIX" * 99, SIX="x"),
        r"manifest.ONE has more than 4096 characters with its variables",
    ),
}


@pytest.mark.parametrize(("edit", "words"), BAD.values(), ids=BAD)
def test_bad_files_are_told_in_a_line(copy: Path, edit: object, words: str) -> None:
    edit(copy)
    with pytest.raises(InputError, match=words) as caught:
        LocalNetwork(Model.from_sonata(copy / "circuit_config.json"), 0, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("default_delay", -1.0, "default_delay = -1.0: "),
        ("default_delay", 0.5, "default_delay = 0.5 ms must be whole"),
        ("default_delay", "x", "default_delay = 'x': must be a number"),
        ("default_delay", [1], "default_delay = "),
        ("default_weight", "x", "default_weight = 'x': must be a number"),
        ("default_weight", np.inf, "default_weight = inf: "),
        ("default_weight", True, "default_weight = True: "),
        ("round_delays", "no", "round_delays = 'no': "),
        ("round_delays", 1.5, "round_delays = 1.5: "),
        ("sign", "x", "sign = 'x': "),
        ("sign", [1], "sign = "),
        ("neuron", 5, "neuron = 5: "),
        ("neuron", ["iaf"], "neuron = "),
        ("values", "x", "values = 'x': "),
        ("values", [1], "values = "),
        ("projections", 1.5, "projections = 1.5: "),
        ("projections", {"*": 5}, "projections = "),
        ("projections", {"*": {"delay_msec": 5}}, "projections: unknown option 'delay_msec'"),
    ],
)
def test_options_of_a_network_are_checked(option: str, value: object, words: str) -> None:
    with pytest.raises(InputError) as caught:
        model_of("bmtk", **{option: value})
    assert words in str(caught.value) and "\n" not in str(caught.value), caught.value


def truncate_index(group: h5py.Group) -> None:
    """As bmtk, which stops at the largest id with edges; the others have none."""
    for name in ("node_id_to_ranges", "node_id_to_range"):
        ranges = group[name][:60]
        del group[name]
        group[name] = ranges


@pytest.mark.parametrize(
    "change", ["one name", "other name", "none", "shorter", "misspelt", "no groups", "no group ids"]
)
def test_what_files_may_lack(copy: Path, change: str) -> None:
    def records() -> np.ndarray:
        return draw_synapses(Model.from_sonata(copy / "circuit_config.json"))["rec_to_rec"][0]

    whole = records()
    with h5py.File(copy / EDGES, "r+") as file:
        group = file["edges/rec_to_rec"]
        if change in ("one name", "other name"):
            del group["indices/target_to_source"]["node_id_to_range" + "s" * (change == "one name")]
        elif change == "none":
            del group["indices"]
        elif change == "misspelt":
            group.move("indices", "indicies")
        elif change == "no group ids":  # all in group 0, where the index says
            del group["edge_group_id"]
        elif change == "no groups":
            del group["edge_group_id"], group["edge_group_index"]
        else:
            truncate_index(group["indices/target_to_source"])
    expected = whole[whole["target"] < 60] if change == "shorter" else whole
    np.testing.assert_array_equal(records(), expected)


def test_an_index_tells_indegrees(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a damaged one stops no estimate; without one, nothing is told."""
    whole = Model.from_sonata(copy / "circuit_config.json")
    for item in whole.projections:
        if item.edges is None:
            continue
        targets = join(item.edges.read_chunks(0, item.post.size))[0]
        counts = np.bincount(targets, minlength=item.post.size)
        for low, high in ((0, item.post.size), (3, 50), (7, 7)):
            np.testing.assert_array_equal(item.edges.count_indegrees(low, high), counts[low:high])
    alone = Costs(1, event=4000, cold_event=0, far_event=0, row=0, readout_event=0, signal=0)  # synapses cost something
    monkeypatch.setitem(VARIANTS, whole.variant, dataclasses.replace(whole.eprop, costs=alone))
    assert 45 < partition_bounds.choose_bounds(whole, 2)[1] < 55
    heavy = np.arange(whole.size("recurrent")) < 10
    with h5py.File(copy / EDGES, "r+") as file:
        group = file["edges/rec_to_rec"]
        index = group["indices/target_to_source"]
        name = "node_id_to_ranges" if "node_id_to_ranges" in index else "node_id_to_range"
        nodes = index[name][()]
        nodes[~heavy[: len(nodes)]] = 0
        index[name][...] = nodes
    assert partition_bounds.choose_bounds(Model.from_sonata(copy / "circuit_config.json"), 2)[1] < 35
    with h5py.File(copy / EDGES, "r+") as file:
        index = file["edges/rec_to_rec/indices/target_to_source"]
        index[name][5], index[name][6], index["range_to_edge_id"][0] = (2**40, 9), (3, 2**40), (2**50, 1)
    counts = next(item.edges for item in whole.projections if item.name == "rec_to_rec").count_indegrees(0, 60)
    assert len(counts) == 60 and np.all(counts >= 0)
    with h5py.File(copy / EDGES, "r+") as file:
        del file["edges/rec_to_rec/indices"]
    lacks = Model.from_sonata(copy / "circuit_config.json")
    assert next(item.edges for item in lacks.projections if item.name == "rec_to_rec").count_indegrees(0, 9) is None
    assert partition_bounds.choose_bounds(lacks, 2)[1] == whole.size("recurrent") // 2


def test_delays_are_rounded_if_asked(copy: Path) -> None:
    edit("0/delay", 7, 0.4)(copy)
    edit("0/delay", 8, 2.6)(copy)
    model = Model.from_sonata(copy / "circuit_config.json", round_delays=True)
    with h5py.File(copy / EDGES) as file:
        exact = file["edges/rec_to_rec/0/delay"][()]
    found = draw_synapses(model)["rec_to_rec"][0]
    np.testing.assert_array_equal(np.bincount(found["delay"]), np.bincount(np.maximum(np.rint(exact), 1).astype(int)))


def simulate(folder: object, exchange: object) -> Simulation:
    """A simulation of the network in a folder, with a readout."""
    made = Model.from_sonata(Path(folder) / "circuit_config.json", neuron="iaf", values=small.CELL)
    out = made.readouts("out", 1, **small.READOUT)
    for population in made.of_role("recurrent"):
        made.connect(population, out, weight=0.1)
        made.connect(out, population, weight=0.1)
    return Simulation(made, small.Once(None, 20), exchange)


def leave_out(folder: Path, targets: list[int]) -> int:
    """Let the index of a network say that some targets have no edges; return how many they have."""
    with h5py.File(folder / EDGES, "r+") as file:
        group = file["edges/rec_to_rec"]
        index = group["indices/target_to_source"]
        ranges = index["node_id_to_ranges" if "node_id_to_ranges" in index else "node_id_to_range"]
        for target in targets:
            ranges[target] = 0, 0
        return int(np.isin(group["target_node_id"][()], targets).sum())


@pytest.mark.mpi
@pytest.mark.parametrize("n", [1, 2])
def test_an_index_that_lacks_targets_is_refused(copy: Path, n: int) -> None:
    """On any number of ranks, even where edges that lie between others would be read in passing."""
    missing = leave_out(copy, [17, 70])
    assert missing > 0
    output = ranks.train(n, __file__, copy, "missing", silent=True)
    told = set(output.splitlines())
    assert len(told) == 1 and output.count("\n") == n
    with h5py.File(copy / EDGES) as file:
        all_edges = len(file["edges/rec_to_rec/target_node_id"])
    line = told.pop()
    assert f"leads to {all_edges - missing} of {all_edges} edges" in line and EDGES in line, line


def test_a_manifest_of_many_variables(tmp_path: Path) -> None:
    """It took minutes: each variable was replaced in each of the others, again and again."""
    n = 2000
    variables = {f"$V{k}": f"$V{k + 1}/" if k % 10 else "x" for k in range(n)} | {f"$V{n}": "end"}
    path = tmp_path / "circuit_config.json"
    path.write_text(json.dumps({"manifest": variables, "networks": {"nodes": [{"nodes_file": f"$V{n - 3}/n.h5"}]}}))
    assert circuit.read(path).nodes[0].data == tmp_path / "end////n.h5"
    deep = {f"$W{k:04}": f"$W{k + 1:04}" for k in range(n)} | {f"$W{n:04}": "end"}  # deeper than Python may recurse
    path.write_text(json.dumps({"manifest": deep, "networks": {"nodes": [{"nodes_file": "$W0000/n.h5"}]}}))
    assert circuit.read(path).nodes[0].data == tmp_path / "end/n.h5"


def test_manifest(tmp_path: Path) -> None:
    content = {
        "manifest": {"$NETWORK": "${configdir}/n", "$NETWORK_DIR": "$BASE/net", "BASE": "."},
        "networks": {
            "nodes": [
                {"nodes_file": "$NETWORK_DIR/a.h5", "node_types_file": None},
                {"nodes_file": "${NETWORK}/b.h5", "node_types_file": "t.csv"},
                {"nodes_file": "gone.h5", "enabled": False},
            ]
        },
    }
    path = tmp_path / "circuit_config.json"
    path.write_text(json.dumps(content))
    first, second = circuit.read(path).nodes
    assert (first.data, first.types) == (tmp_path / "net/a.h5", None)
    assert (second.data, second.types) == (tmp_path / "n/b.h5", tmp_path / "t.csv")
    content["networks"]["nodes"][0]["nodes_file"] = "$NOWHERE/a.h5"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="contains a variable that the manifest has not"):
        circuit.read(path)
