"""Rewiring (DEEP R): every move of the golden cases, rows in place, restarts, results, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from case_files import find
from commands import command, digests, on_ranks, verify_on_ranks

from pareprop import Model, Normal
from pareprop.engines.rewiring import Rewiring
from pareprop.errors import InputError
from pareprop.kernels import rewire as kernel
from pareprop.network.local import LocalNetwork
from pareprop.network.rewire import Rewire

CASES = find("rewiring", "rewire-*")
CONFIG = """
[task]
name = "data"
data = "{data}"
[learning]
eta = 0.02
[run]
iterations = 6
[model]
variant = "interval"
populations = [
    {{ name = "in", role = "input", size = 14, sign = {sign_in} }},
    {{ name = "rec", role = "recurrent", size = 30, model = "iaf", C_m = 1.0, E_L = 0.0, V_th = 0.6, sign = {sign_rec} }},
    {{ name = "out", role = "readout", size = 2, C_m = 1.0, E_L = 0.0, tau_m = 20.0 }},
]
projections = [
    {{ pre = "in", post = "rec", rule = "fixed_indegree", indegree = 5, allow_multapses = false, sign = "source", weight = {{ mean = 0.4, std = 0.3 }}, rewire = {{ l1 = 0.05 }} }},
    {{ pre = "rec", post = "rec", rule = "fixed_indegree", indegree = 8, allow_multapses = false, allow_autapses = false, weight = {{ mean = 0.0, std = 0.2 }}, delay = [1, 3], rewire = {{ l1 = 0.02, temperature = 1e-4, every = 2 }} }},
    {{ pre = "rec", post = "out", weight = {{ mean = 0.0, std = 0.1 }} }},
    {{ pre = "out", post = "rec", weight = {{ mean = 0.0, std = 0.3 }} }},
]
"""  # noqa: E501, an inline table is one line


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.mark.slow
@pytest.mark.mpi
def test_golden_cases_hold_on_any_number_of_ranks() -> None:
    assert len(CASES) == 6
    verify_on_ranks(CASES, " moves equal, ")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    random = np.random.default_rng(2)
    np.savez(tmp_path / "data.npz", rates=np.full((1, 60, 14), 80.0), targets=random.random((1, 60, 2)))
    path = tmp_path / "config.toml"
    signs = [[int(sign) for sign in random.choice([-1, 1], n)] for n in (14, 30)]
    path.write_text(CONFIG.format(data=tmp_path / "data.npz", sign_in=signs[0], sign_rec=signs[1]))
    return path


@pytest.mark.mpi
def test_resume_on_other_ranks_goes_on_with_the_topology(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture
) -> None:
    code, output, errors = command(capsys, "run", config, "--out", tmp_path / "whole")
    assert code == 0, errors
    whole = digests(output.splitlines())
    on_ranks(2, [["run", config, "--until", 3, "--out", tmp_path / "stopped"]])
    _, output, errors = on_ranks(3, [["resume", tmp_path / "stopped"]])
    assert digests(output) == whole, errors
    code, output, _ = command(capsys, "compare", tmp_path / "whole", tmp_path / "stopped")
    assert (code, output) == (0, "no difference\n")
    with h5py.File(tmp_path / "whole" / "results.h5") as file:
        moves = {name: counts[()] for name, counts in file["moves"].items()}
        assert set(moves) == {"in->rec", "rec->rec"} and all(len(counts) == 6 for counts in moves.values())
        assert moves["in->rec"].sum() > 0 and np.all(moves["rec->rec"][::2] == 0) and moves["rec->rec"].sum() > 0
        for name, degree in (("in->rec", 5), ("rec->rec", 8)):
            group = file[f"projections/{name}"]
            source, target, before = group["source"][()], group["target"][()], group["source_initial"][()]
            assert np.all(np.bincount(target) == degree)
            assert len(set(zip(source, target, strict=True))) == len(source)  # no pair twice
            assert np.any(source != before)
            np.testing.assert_array_equal(np.sort(group["delay"][()]), np.sort(group["delay_initial"][()]))
        assert not np.any(file["projections/rec->rec/source"][()] == file["projections/rec->rec/target"][()])


@pytest.mark.parametrize("seed", range(5))
def test_moves_in_place_as_by_sorting_anew(seed: int) -> None:
    random = np.random.default_rng(seed)
    n_rows, n_targets = 40, 25
    there = random.random((n_rows, n_targets)) < 0.3
    rows, targets = np.nonzero(there)
    gone = np.sort(random.choice(len(rows), 60, replace=False))
    empty = np.flatnonzero(~there.ravel())
    come_row, come = np.divmod(np.sort(random.choice(empty, 60, replace=False)), n_targets)
    row_ptr = np.concatenate(([0], np.cumsum(there.sum(axis=1))))
    before, places = np.empty(60, np.int64), np.empty(60, np.int64)
    moved = np.empty((120, 3), np.int64)
    kernel.insertions(row_ptr, targets.astype(np.uint32), come_row, come.astype(np.uint32), before)
    kernel.segments(gone, before, moved, places)
    keys = (rows * n_targets + targets).astype(np.int64)
    kernel.move(moved, keys.itemsize, keys.view(np.uint8))
    keys[places] = come_row * n_targets + come
    there[rows[gone], targets[gone]] = False
    there[come_row, come] = True
    np.testing.assert_array_equal(keys, np.flatnonzero(there))


def small(**options: object) -> Model:
    model = Model(seed=1)
    neurons = model.neurons("rec", 20, "iaf", C_m=1.0, V_th=1.0)
    settings = {"indegree": 8, "weight": Normal(std=1.0), "allow_multapses": False, "rewire": {"l1": 0.1}}
    model.connect(neurons, neurons, "fixed_indegree", **settings | options)
    return model


def test_new_sources_are_uniform_over_what_a_target_has_not() -> None:
    """All synapses of a target go again and again: each other source comes equally often, the own ones never."""
    network = LocalNetwork(small(), 0, 1)
    table, span = network.incoming, network.incoming.spans[0]
    rewiring = Rewiring(table, span, 1)
    counts = np.zeros((20, 20), int)
    for n in range(1, 200):
        table.weight[:] = 1.0
        had = {(s, t) for source, target, *_ in table.chunks(span) for s, t in zip(source, target, strict=True)}
        rewiring.begin()
        table.weight[:] = -1.0
        rewiring.step(n, 0.1, span.projection.optimizer or network.model.optimizer, [])
        moves = rewiring.latest
        assert len(moves) == 160 and not had & set(map(tuple, moves[:, [3, 1]]))
        counts[moves[:, 1], moves[:, 3]] += 1
    expected = 199 * 8 / 20
    assert np.all(np.abs(counts - expected) < 6 * np.sqrt(expected))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"indegree": 11}, r"target 0 has 11 synapses, rewire needs at most half of the 20 sources"),
        ({"indegree": 10, "allow_autapses": False}, r"target 0 has 10 synapses, rewire needs at most half of the 19"),
        ({"allow_multapses": True}, r"source \d+ has two synapses onto target \d+, rewire needs at most one"),
        ({"plastic": False}, r"rewire needs a plastic projection onto neurons"),
        ({"rewire": {"l1": -1.0}}, r"rewire: l1 = -1.0: Input should be greater than or equal to 0"),
        ({"rewire": {"evry": 2}}, r"rewire: unknown parameter 'evry', did you mean 'every'\?"),
    ],
)
def test_what_is_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=rf"projection 'rec->rec'.*{words}"):
        LocalNetwork(small(**options), 0, 1)


def test_settings_as_an_object() -> None:
    assert small(rewire=Rewire(every=3)).projections[0].rewire == Rewire(l1=0.01, temperature=0.0, every=3)


ROUTES = """
import sys, numpy as np
from pareprop.parallel import launcher
from pareprop.runs import config
from pareprop.simulation import Simulation
exchange = launcher.exchange()
task = config.load(sys.argv[1]).task
run = Simulation(task.model(), task, exchange)
item = next(item for item in run.engine.plastic if item.name == "rec->rec")
item.rewiring.kept = []
run.train(int(sys.argv[2]))
first = run.network.cuts[exchange.nodes.starts]
moves = exchange.comm.allgather(np.concatenate(item.rewiring.kept))
post, routes = exchange.sender.post, exchange.sender._routes
ptr, others = routes["route_ptr"], post.others
n_parts = len(others) * (len(post.starts[post.nodes.index]) - 1)
node_of_part = [others[part % len(others)] for part in range(n_parts)[post.packed(post.nodes.local.rank)]]
sent = [(routes["first_id"] + k, node_of_part[part])
        for k in range(len(ptr) - 1) for part in routes["route_part"][ptr[k]:ptr[k + 1]]]
listening = {pair for pairs in exchange.comm.allgather(sent) for pair in pairs}
if exchange.rank == 0:
    node_of = lambda neuron: int(np.searchsorted(first, neuron, side="right")) - 1
    table = {}
    for step, target, gone, came, delay in np.concatenate(moves).tolist():  # the latest one decides
        table[target, came] = True
        table.pop((target, gone), None)
    crossing = 0
    for target, source in table:
        here, there = node_of(source), node_of(target)
        if here != there:
            assert (source, there) in listening, (source, target)
            crossing += 1
    print(exchange.sending, crossing, run.hexdigest())
else:
    run.hexdigest()
"""


@pytest.mark.slow
@pytest.mark.mpi
def test_sources_of_moved_synapses_are_sent_to_their_new_nodes(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture
) -> None:
    """With as many nodes as ranks and messages to those that listen; the same digest as on one rank."""
    text = config.read_text().replace("indegree = 8", "indegree = 2").replace("l1 = 0.02", "l1 = 1.0")
    config.write_text(text.replace("iterations = 6", "iterations = 12"))
    _, output, errors = command(capsys, "run", config, "--out", tmp_path / "alone")
    alone = digests(output.splitlines())
    assert len(alone) == 1, errors
    env = {"PAREPROP_RANKS_PER_NODE": "2", "PAREPROP_SENDING": "targeted"}
    done = ranks.run(4, "-c", ROUTES, config, 12, env=env)
    assert done.returncode == 0, done.stderr
    sending, crossing, found = done.stdout.split()
    assert sending == "targeted" and int(crossing) > 5 and {found} == set(alone)
    env["PAREPROP_RANKS_PER_NODE"] = "1"
    codes, output, errors = on_ranks(3, [["run", config, "--until", 6, "--out", tmp_path / "stopped"]], env=env)
    assert codes == [0], errors
    _, output, errors = on_ranks(3, [["resume", tmp_path / "stopped"]], env=env)
    assert digests(output) == alone, errors
