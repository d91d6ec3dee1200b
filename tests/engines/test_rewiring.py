"""Rewiring (DEEP R): every move of the golden cases, rows in place, restarts, results, and what is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from case_files import find
from commands import check_resumed, command, digests, on_ranks, verify_on_ranks
from small import network, population, ramp

from pareprop import Adam, Model, Normal, Simulation
from pareprop.engines.rewiring import Rewiring
from pareprop.errors import InputError
from pareprop.kernels import rewire as kernel
from pareprop.network.local import LocalNetwork

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


def write_config(folder: Path) -> Path:
    random = np.random.default_rng(2)
    np.savez(folder / "data.npz", rates=np.full((1, 60, 14), 80.0), targets=random.random((1, 60, 2)))
    signs = [[int(sign) for sign in random.choice([-1, 1], n)] for n in (14, 30)]
    path = folder / "config.toml"
    path.write_text(CONFIG.format(data=folder / "data.npz", sign_in=signs[0], sign_rec=signs[1]))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.mark.mpi
def test_resume_on_other_ranks_goes_on_with_the_topology(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture
) -> None:
    check_resumed(capsys, config, tmp_path, 2, 3)
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
    settings = {"indegree": 8, "weight": Normal(std=1.0), "allow_multapses": False, "rewire": {"l1": 0.1}} | options
    return population(20, "fixed_indegree", cell={"C_m": 1.0, "V_th": 1.0}, model={"seed": 1}, **settings)


def test_new_sources_are_uniform_over_what_a_target_has_not() -> None:
    """All synapses of a target go again and again: each other source comes equally often, the own ones never."""
    network = LocalNetwork(small(), 0, 1)
    table, span = network.incoming, network.incoming.spans[0]
    rewiring = Rewiring(table, span, 1)
    counts = np.zeros((20, 20), int)
    for n in range(1, 200):
        table.weight[:] = 1.0
        had = {(s, t) for source, target, *_ in table.yield_chunks(span) for s, t in zip(source, target, strict=True)}
        rewiring.keep_signs()
        table.weight[:] = -1.0
        rewiring.step(n, 0.1, span.projection.optimizer or network.model.optimizer)
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


ROUTES = """
import sys, numpy as np
from pareprop.parallel import launcher
from pareprop.runs import config
from pareprop.simulation import Simulation
exchange = launcher.exchange()
task = config.load(sys.argv[1]).task
run = Simulation(task.build_model(), task, exchange)
item = next(item for item in run.engine.plastic if item.name == "rec->rec")
item.rewiring.kept = []
run.train(int(sys.argv[2]))
first = run.network.cuts[exchange.nodes.starts]
moves = exchange.comm.allgather(np.concatenate(item.rewiring.kept))
post, routes = exchange.sender.buffers, exchange.sender._routes
ptr, others = routes["route_ptr"], post.targets
n_parts = len(others) * (len(post.starts[post.nodes.index]) - 1)
node_of_part = [others[part % len(others)] for part in range(n_parts)[post.find_outgoing_parts(post.nodes.local.rank)]]
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


# ---- by distance -----------------------------------------------------------------------------------------------------

SPACES = {
    "plane": {"extent": (10.0, 10.0), "length": 1.0, "cutoff": 2.5},
    "borders": {"extent": (10.0, 7.0), "length": 1.5, "cutoff": 3.0, "periodic": False},
    "volume": {"extent": (4.0, 5.0, 6.0), "length": 0.8, "cutoff": 2.0, "profile": "exponential"},
    "far tails": {"extent": (10.0, 10.0), "length": 0.5, "cutoff": 5.0},  # hardly any candidate is taken there
}


def in_space(kind: str, n: int = 150, probability: float = 0.8, **options: object) -> tuple[Model, np.ndarray]:
    """A network with drawn positions, and the distance of each target (row) from each source, by brute force."""
    space, cell = SPACES[kind], {"C_m": 1.0, "V_th": 1.0}
    places = np.random.default_rng(5).random((n, len(space["extent"]))) * space["extent"]
    settings = {"weight": Normal(std=1.0), "rewire": {"l1": 0.1}, "allow_autapses": False} | options
    given = space | {"sources": places, "targets": places}
    how = {"probability": probability, "space": given, **settings}
    model = population(n, "distance", cell=cell, model={"seed": 3}, **how)
    offset = np.abs(places[:, None] - places)
    if space.get("periodic", True):
        offset = np.minimum(offset, space["extent"] - offset)
    return model, np.sqrt((offset**2).sum(axis=-1))


def profile(kind: str, distance: np.ndarray) -> np.ndarray:
    space = SPACES[kind]
    ratio = distance / space["length"]
    value = np.exp(-ratio) if space.get("profile") == "exponential" else np.exp(-(ratio**2) / 2)
    return np.where(distance <= space["cutoff"], value, 0.0)


def move_all(network: LocalNetwork, rewiring: Rewiring, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Let every synapse go; return who had whom as a source before (target, source), and the moves."""
    table, span = network.incoming, network.incoming.spans[0]
    had = np.zeros((150, 150), bool)
    for source, target, *_ in table.yield_chunks(span):
        had[target, source] = True
    table.weight[:] = 1.0
    rewiring.keep_signs()
    table.weight[:] = -1.0
    rewiring.step(n, 0.1, network.model.optimizer)
    return had, rewiring.latest


@pytest.mark.parametrize("kind", SPACES)
def test_new_sources_are_drawn_by_the_distance(kind: str) -> None:
    """As NumPy draws them without repetition, in proportion to the odds; those that go may come back."""
    model, distance = in_space(kind, probability=0.7)
    network, random = LocalNetwork(model, 0, 1), np.random.default_rng(1)
    rewiring = Rewiring(network.incoming, network.incoming.spans[0], 1)
    found, expected, rounds = [], [], 10
    for n in range(1, rounds):
        had, moves = move_all(network, rewiring, n)
        assert len(moves) == had.sum() and not np.any(moves[:, 1] == moves[:, 3])
        found.append(distance[moves[:, 1], moves[:, 3]])
        for target in range(150):
            chance = 0.7 * profile(kind, distance[target])
            weight = chance / (1 - chance) * (np.arange(150) != target)
            if had[target].any():
                drawn = random.choice(150, had[target].sum(), replace=False, p=weight / weight.sum())
                expected.append(distance[target, drawn])
    edges = np.quantile(np.concatenate(expected), np.linspace(0, 1, 8))
    counts = [np.histogram(np.concatenate(each), edges)[0] for each in (found, expected)]
    assert np.concatenate(found).max() <= SPACES[kind]["cutoff"] and min(counts[1]) > 100
    assert np.all(np.abs(counts[0] - counts[1]) < 5 * np.sqrt(counts[0] + counts[1])), counts


def test_synapses_come_back_where_no_other_source_is_near() -> None:
    places = np.array([[x + 0.1 * k, 1.0] for x in (1.0, 5.0, 8.0) for k in range(3)])
    space = {"extent": (10.0, 2.0), "length": 50.0, "cutoff": 0.9, "sources": places, "targets": places}
    settings = {"probability": 1.0, "allow_autapses": False, "rewire": {"l1": 0.1}, "weight": Normal(std=1.0)}
    own = {"cell": {"C_m": 1.0, "V_th": 1.0}, "model": {"seed": 1}}
    model = population(9, "distance", **own, space=space, delay=(1, 3), **settings)
    network = LocalNetwork(model, 0, 1)
    table, span = network.incoming, network.incoming.spans[0]
    rewiring, before = Rewiring(table, span, 1), [np.copy(array) for array in next(table.yield_chunks(span))[:2]]
    assert len(before[0]) == 18
    rewiring.keep_signs()
    table.weight[:] = -np.sign(table.weight)
    rewiring.step(1, 0.1, model.optimizer)
    assert len(rewiring.latest) == 18 and not np.any(table.weight)
    np.testing.assert_array_equal(next(table.yield_chunks(span))[:2], before)


def kolmogorov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of two empirical distributions."""
    both = np.sort(np.concatenate([first, second]))
    parts = [np.searchsorted(np.sort(values), both, side="right") / len(values) for values in (first, second)]
    return float(np.abs(parts[0] - parts[1]).max())


@pytest.mark.parametrize("kind", ["plane", "borders"])
def test_delays_follow_the_distance(kind: str) -> None:
    model, distance = in_space(kind, delay={"per_length": 2.0, "offset": 1.0})
    network = LocalNetwork(model, 0, 1)
    span = network.incoming.spans[0]
    rewiring = Rewiring(network.incoming, span, 1)
    for n in range(1, 5):
        _, moves = move_all(network, rewiring, n)
        assert len(moves) > 300
        for source, target, delay, _ in network.incoming.yield_chunks(span):
            np.testing.assert_array_equal(delay, np.floor(1.0 + 2.0 * distance[target, source] + 0.5))
        np.testing.assert_array_equal(moves[:, 4], np.floor(1.5 + 2.0 * distance[moves[:, 1], moves[:, 3]]))
    assert len(np.unique(moves[:, 4])) > 3


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_training_keeps_distances_and_delays(variant: str) -> None:
    """After 60 iterations with moves each delay follows from its distance, and distances are spread as before."""
    random, n = np.random.default_rng(8), 100
    places = random.random((n, 2)) * 10.0
    offset = np.abs(places[:, None] - places)
    distance = np.sqrt((np.minimum(offset, 10.0 - offset) ** 2).sum(axis=-1))
    space = {"extent": (10.0, 10.0), "length": 1.5, "cutoff": 4.0, "sources": places, "targets": places}
    eta, l1 = {"interval": (5e-3, 1.0), "spike": (1e-5, 2000.0)}[variant]
    among = {
        "rule": "distance",
        "probability": 0.6,
        "space": space,
        "allow_autapses": False,
        "rewire": {"l1": l1},
        "weight": Normal(std=0.1),
        "delay": {"per_length": 2.0, "offset": 1.0},
    }
    model = network(variant, 10, n, into=0.5, among=among, back=0.3, seed=4, optimizer=Adam(eta=eta))
    simulation = Simulation(model, ramp(50, 10))
    table, span = simulation.network.incoming, simulation.network.incoming.spans[-1]
    ends = []
    for n_iterations in (0, 60):
        simulation.train(n_iterations)
        parts = [np.stack(part[:3]) for part in table.yield_chunks(span)]
        ends.append(np.concatenate(parts, axis=1))
        source, target, delay = ends[-1]
        np.testing.assert_array_equal(delay, np.floor(1.5 + 2.0 * distance[target, source]))
    pairs = [set(zip(*end[:2].tolist(), strict=True)) for end in ends]
    assert len(pairs[1]) == len(pairs[0]) > 400 and len(pairs[1] - pairs[0]) > len(pairs[0]) / 2  # most of them moved
    first, last = (distance[end[1], end[0]] for end in ends)
    evenly = distance[(distance > 0) & (distance <= 4.0)]  # what other rules would lead to
    bound = 1.63 * np.sqrt(2.0 / len(first))  # exceeded by one pair of samples in a hundred
    assert kolmogorov(first, last) < bound < 0.5 * kolmogorov(first, evenly)


DISTANCE = """
import sys
from pareprop import Adam, Model, Normal, run
from pareprop.parallel import launcher
import numpy as np
from pareprop import Sample

class Noise:
    n_steps = learning_window = 60
    def sample(self, index, phase="train"):
        random = np.random.default_rng(index)
        return Sample.from_raster(random.random((60, 20)) < 0.2, random.random((60, 1)))

model = Model(sys.argv[1], seed=2, optimizer=Adam(eta=1e-3))
inputs, out = model.inputs("in", 20), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
neurons = model.neurons("rec", 60, "iaf", C_m=1.0, E_L=0.0, V_th=0.5, tau_m=20.0)
space = {"extent": (10.0, 10.0), "length": 1.5, "cutoff": 4.0}
model.connect(inputs, neurons, weight=Normal(std=0.4))
model.connect(neurons, neurons, "distance", probability=0.6, space=space, allow_autapses=False,
              weight=Normal(std=0.2), delay={"per_length": 1.0, "offset": 1.0}, rewire={"l1": 20.0})
model.connect(neurons, out, weight=Normal(std=0.1))
model.connect(out, neurons, weight=Normal(std=0.3))
done = run(model, Noise(), sys.argv[2], iterations=6, until=int(sys.argv[3]), restart=True, figures="none", quiet=True)
if launcher.exchange().rank == 0:
    print("digest:", done.digest)
"""


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_the_same_bits_by_distance_on_any_ranks(tmp_path: Path, variant: str) -> None:
    def digest(n: int, name: str, until: int = 6) -> list[str]:
        output = ranks.output(n, "-c", DISTANCE, variant, tmp_path / name, until)
        return digests(output.splitlines())

    whole = digest(1, "whole")
    digest(2, "stopped", until=3)
    assert len(whole) == 1 and digest(3, "three") == whole == digest(3, "stopped")
    with h5py.File(tmp_path / "whole" / "results.h5") as file:
        moves, group = file["moves/rec->rec"][()], file["projections/rec->rec"]
        assert moves.sum() > 50 and np.any(group["delay"][()] != group["delay_initial"][()])
