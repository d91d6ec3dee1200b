"""Ids are cut where the expected cost is equal, and results do not depend on where that is."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import ranks
import small
from hypothesis import given, settings
from hypothesis import strategies as st
from params import first_rows
from properties import examples
from small import Noise

import pareprop
from pareprop.errors import InputError
from pareprop.machine import CACHE
from pareprop.network import from_tables, synapse_table, to_tables, totals
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.parameters import Normal
from pareprop.network.partition_bounds import LONGEST, VARIABLE, choose_bounds, choose_equal_bounds, count_round_steps
from pareprop.parallel.exchange import Exchange
from pareprop.simulation import Simulation

CELL = {"C_m": 1.0, "E_L": 0.0, "tau_m": 30.0, "V_th": 0.5}
READOUT = {"C_m": 1.0, "E_L": 0.0, "tau_m": 30.0}


def sparse(variant: str) -> Model:
    """Neurons that hear few others at one of many delays, and inputs that reach one neuron each.

    Most rows would be empty.
    """
    rule = {} if variant == "interval" else {"kappa": 0.97, "kappa_reg": 0.97}
    model = Model(variant, seed=5)
    inputs, one = model.inputs("in", 90), model.neurons("one", 30, **CELL, **rule)
    two, out = model.neurons("two", 90, **CELL, **rule), model.readouts("out", 1, **READOUT)
    model.connect(inputs, two, "one_to_one", weight=Normal(mean=0.5, std=0.1), delay=(1, 9))
    model.connect(one, two, "fixed_indegree", indegree=3, weight=Normal(std=0.5), delay=2)
    model.connect(two, one, "fixed_indegree", indegree=9, weight=0.2, delay=2)
    several = {"indegree": 4, "delay": (2, 40), "allow_multapses": False}
    model.connect(two, two, "fixed_indegree", weight=Normal(std=0.5), **several)
    for group in (one, two):
        model.connect(group, out, weight=Normal(std=0.2), delay=2)
        model.connect(out, group, weight=Normal(std=0.2), delay=2)
    return model


def four_areas(variant: str, far: int, out_delay: int, rewire: dict | None = None) -> Model:
    """Of unequal size, with short delays within and long ones between them, whose synapses may move."""
    rule = {} if variant == "interval" else {"kappa": 0.97, "kappa_reg": 0.97}
    model = Model(variant, seed=5)
    inputs, sizes = model.inputs("in", 40), enumerate((30, 32, 29, 31))
    areas = [model.neurons(f"area{k}", size, area=f"V{k // 2}", **CELL, **rule) for k, size in sizes]
    out = model.readouts("out", 2, **READOUT)
    for k, area in enumerate(areas):
        model.connect(inputs, area, weight=Normal(std=0.2))
        model.connect(area, area, "fixed_indegree", indegree=5, weight=Normal(std=0.5), delay=(1, 2))
        between = {"delay": (far, far + 3)} | ({"rewire": rewire, "allow_multapses": False} if rewire else {})
        model.connect(area, areas[k - 1], "fixed_indegree", indegree=3, weight=Normal(std=0.5), **between)
        model.connect(area, out, weight=Normal(std=0.2), delay=out_delay)
        model.connect(out, area, weight=Normal(std=0.2), delay=out_delay)
    return model


WAVES = Noise(np.sin(np.arange(103)[:, None] / 20.0 + np.arange(2)), 40, 0.15)


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    kind, variant, *numbers = words
    kinds = {"sparse": train_sparse, "areas": train_areas, "restart": train_again, "rounds": train_rounds}
    kinds[kind](variant, exchange, folder, *numbers)


def train_sparse(variant: str, exchange: Exchange, _: str, few: str) -> None:
    synapse_table.FEWEST_ROWS = int(few)
    simulation = Simulation(sparse(variant), Noise(np.sin(np.arange(120)[:, None] / 20.0), 90, 0.15), exchange)
    simulation.train(3)
    digest, indexed = simulation.hexdigest(), any(span.bits is not None for span in simulation.network.incoming.spans)
    own = simulation.network.neurons[0], indexed
    everybodys = exchange.comm.gather(own) if exchange.comm else [own]
    if exchange.rank == 0:
        firsts = ",".join(str(first) for first, _ in everybodys[1:])
        print(digest, simulation.rates[-1] > 2, any(indexed for _, indexed in everybodys), firsts)


def train_areas(variant: str, exchange: Exchange, _: str, *delays: str) -> None:
    for far, out_delay in zip(map(int, delays[::2]), map(int, delays[1::2]), strict=True):
        simulation = Simulation(four_areas(variant, far, out_delay), WAVES, exchange)
        simulation.train(3)
        digest, meeting = simulation.hexdigest(), simulation.engine.channel.meeting
        if exchange.rank == 0:
            fires = simulation.rates[-1] > 5
            print(digest, fires, simulation.engine.round_steps, meeting.n_within, meeting.n_between)


def train_rounds(variant: str, exchange: Exchange, _: str, *lengths: str) -> None:
    """With rounds of some lengths; also what each rank reads out."""
    for steps in map(int, lengths):
        model = four_areas(variant, 10, 10)
        settings = model.eprop.make_settings(WAVES.n_steps, round_steps=steps)
        simulation = Simulation(model, WAVES, exchange, settings=settings, quiet=True)
        simulation.train(2)
        digest, signals = simulation.hexdigest(), hashlib.sha256(simulation.engine.show_signal()).hexdigest()
        for rank in exchange.comm.gather(signals) or [] if exchange.comm else [signals]:
            print(digest, rank)


def train_again(variant: str, exchange: Exchange, folder: str, until: str) -> None:
    options = {"iterations": 4, "test_samples": 0, "figures": "none", "quiet": True, "restart": True}
    made = four_areas(variant, 10, 4, {"l1": 0.5})
    done = pareprop.run(made, WAVES, folder, exchange=exchange, until=int(until), **options)
    meeting = done.simulation.engine.channel.meeting
    if exchange.rank == 0:
        print(done.digest, meeting.n_within, meeting.n_between)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("n", "variant"),
    first_rows(
        1, [(2, "spike"), (3, "interval"), (4, "spike"), (2, "interval"), (3, "spike"), (4, "interval")], rest=2
    ),
)
def test_same_digest_for_any_cut(n: int, variant: str, tmp_path: Path) -> None:
    """Drawn cuts, empty ranks among them, on one and several nodes; rows with synapses alone, or for all sources."""
    digest, fires, indexed = ranks.train(1, __file__, tmp_path, "sparse", variant, str(10**12)).split()
    assert (fires, indexed) == ("True", "False")
    draw = np.random.default_rng([n, variant == "spike"])
    for env in ({"PAREPROP_SENDING": "targeted", "PAREPROP_RANKS_PER_NODE": "1"}, {"PAREPROP_RANKS_PER_NODE": "2"}, {}):
        cuts = ",".join(map(str, np.sort(draw.integers(0, 121, n - 1))))
        found = ranks.train(n, __file__, tmp_path, "sparse", variant, "0", env=env | {VARIABLE: cuts})
        assert found.split() == [digest, "True", "True", cuts]


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("variant", "out_delay", "between", "way"),
    first_rows(
        1,
        [
            ("interval", 1, 10, "targeted"),
            ("spike", 4, 4, "everything"),
            ("interval", 1, 10, "everything"),
            ("spike", 4, 4, "targeted"),
        ],
        rest=2,
    ),
)
def test_nodes_meet_as_seldom_as_delays_allow(
    variant: str, out_delay: int, between: int, way: str, tmp_path: Path
) -> None:
    """Ranks of a node meet in each step. A part of a message that finds no room is sent again, a few times in a run."""
    words = "areas", variant, "10", str(out_delay)
    digest, fires, *_ = ranks.train(1, __file__, tmp_path, *words).split()
    assert fires == "True"
    for n, per_node in ((4, 1), (4, 2), (2, 1)):
        env = {"PAREPROP_RANKS_PER_NODE": str(per_node), "PAREPROP_SENDING": way}
        found, _, steps, within, exchanges = ranks.train(n, __file__, tmp_path, *words, env=env).split()
        assert (found, int(steps), int(within)) == (digest, between, 3 * 103)
        parts = 2 * (n // per_node - 1) * per_node  # that leave a node and come to it, one of each rank
        assert 0 <= int(exchanges) - 3 * -(-103 // between) <= 3 * parts


@pytest.mark.mpi
def test_ranks_that_follow_one_read_out_what_it_does(tmp_path: Path) -> None:
    """Also on another node, after the messages of a round, however long rounds are, and delays within nodes."""
    words = "rounds", "spike", "0", "1", "3"
    expected = set(ranks.train(1, __file__, tmp_path, *words).splitlines())
    env = {"PAREPROP_RANKS_PER_NODE": "2", "PAREPROP_SHARE_ABOVE": "100000"}
    found = ranks.train(3, __file__, tmp_path, *words, env=env).splitlines()
    assert len(found) == 9 and {*found} == expected and len(expected) == 1


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_same_digest_for_any_rounds(variant: str, tmp_path: Path) -> None:
    """Areas that nodes cut through, delays longer than a sample, and one rank with the whole network."""
    digests = set()
    for n, more in (
        (1, {}),
        (3, {"RANKS_PER_NODE": "2"}),
        (3, {"RANKS_PER_NODE": "1", "CUTS": "20,100"}),
        (4, {"RANKS_PER_NODE": "2", "CUTS": "62,62,93"}),
        (2, {"RANKS_PER_NODE": "1", "SHARE_ABOVE": "10000"}),
    ):
        env = {f"PAREPROP_{name}": value for name, value in more.items()}
        output = ranks.train(n, __file__, tmp_path, "areas", variant, *"1 1 7 3 150 31".split(), env=env)
        digests.add(tuple(line.split()[0] for line in output.splitlines()))
    assert [len(set(found)) for found in digests] == [3]


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_run_with_two_kinds_of_rounds_goes_on(variant: str, tmp_path: Path) -> None:
    """On other ranks and nodes than before, with spikes between nodes on their way, and synapses that move."""

    def run(n: int, per_node: int, folder: str, until: int) -> tuple[str, int, int]:
        env, words = {"PAREPROP_RANKS_PER_NODE": str(per_node)}, ("restart", variant, str(until))
        env["PAREPROP_SENDING"] = "targeted"
        digest, within, between = ranks.train(n, __file__, tmp_path / folder, *words, env=env).split()
        return digest, int(within), int(between)

    digest, *_ = run(1, 1, "whole", 4)
    _, within, between = run(4, 2, "parts", 2)
    assert within > 2 * between > 0
    resumed, within, between = run(2, 1, "parts", 4)
    assert resumed == digest and within > 2 * between > 0


def areas(sizes: tuple[int, ...], far: int, variant: str = "interval") -> Model:
    """Areas of two populations, with delays of 1 within and `far` between neighbours."""
    model = Model(variant, seed=2)
    pairs = [[model.neurons(f"{kind}{k}", n) for kind, n in (("e", 4 * n), ("i", n))] for k, n in enumerate(sizes)]
    for k, pair in enumerate(pairs):
        for pre, post in itertools.product(pair, pair):
            model.connect(pre, post, "fixed_indegree", indegree=4, delay=1)
        if len(pairs) > 1:
            model.connect(pair[0], pairs[k - 1][0], "fixed_indegree", indegree=2, delay=(far, far + 5))
    return model


def shares_of(
    model: Model, size: int, nodes: np.ndarray | None = None, rates_hz: dict[str, float] | None = None
) -> np.ndarray:
    """Return the cost of each rank, by what ranks lay out."""
    costs, shares = model.eprop.costs, []
    for rank in range(size):
        network = LocalNetwork(model, rank, size, nodes)
        table, (first, last) = network.incoming, network.neurons
        cold = max(0.0, 1.0 - CACHE / max(len(table.weight) * model.eprop.event_bytes, 1))
        far = max(0.0, 1.0 - 5000 / max(last - first, 1))
        event = costs.event + cold * costs.cold_event + far * costs.far_event
        share = costs.step * (last - first)
        for span in table.spans:
            rows = np.diff(table.row_ptr[span.rows : span.rows + span.n_rows + 1])
            rate = (rates_hz or {}).get(span.projection.pre.name, 10.0) * 1e-3
            walks = rows.reshape(len(span.delays), -1)
            # in the interval variant all rows of a source are walked at once
            walks = walks.any(axis=0) if model.variant == "interval" else walks
            share += rate * (event * rows.sum() + costs.row * np.count_nonzero(walks))
        shares.append(share)
    return np.array(shares)


def imbalance(model: Model, size: int, rates_hz: dict[str, float] | None = None) -> float:
    """Return the cost of the dearest rank over the mean."""
    shares = shares_of(model, size, rates_hz=rates_hz)
    return shares.max() / shares.mean()


def test_nodes_are_cut_between_areas_where_that_costs_little() -> None:
    """Excitatory and inhibitory neurons of an area stay together; a tenth of the mean cost may be given for that."""
    nodes = np.array([0, 2, 4, 6])
    for sizes, cuts, steps in (
        ((100, 110, 95), [0, 500, 1050, 1525], 8),
        ((100, 100, 100, 100, 100, 100), [0, 1000, 2000, 3000], 8),
        ((200, 100, 60), None, 1),
        ((360,), None, 1),
    ):
        model = areas(sizes, 8)
        bounds = choose_bounds(model, 6, nodes)
        if cuts is None:
            np.testing.assert_array_equal(bounds, choose_bounds(model, 6))
        else:
            np.testing.assert_array_equal(bounds[nodes], cuts)
            assert np.ptp(shares_of(model, 6, nodes)[:2]) < 4 * model.eprop.costs.step  # whole neurons
        assert count_round_steps(model, 1000, nodes, bounds) == (1, steps)
        assert count_round_steps(model, 1000) == (1, 1)
    far = areas((100, 100, 100), 8)
    assert count_round_steps(far, 5, nodes, choose_bounds(far, 6, nodes)) == (1, 5)
    apart = areas((100,), 8)
    apart.neurons("silent", 500)
    pair = np.array([0, 1, 2])
    assert count_round_steps(apart, 1000, pair, choose_bounds(apart, 2, pair)) == (1, LONGEST)


@pytest.mark.parametrize(
    ("sizes", "second", "equal"), [((60, 50, 90), 110, 97), ((70, 50, 80), 99, 99), ((100, 30, 70), 104, 104)]
)
def test_nodes_are_cut_at_ends_of_areas_that_are_named(sizes: tuple[int, ...], second: int, equal: int) -> None:
    """All delays are as long. The first area has two populations, and may be a tenth larger than a half of all.

    Equal cuts are some neurons off the middle: each source is a row, more of which a rank of two populations has.
    """
    pair = np.array([0, 1, 2])
    for names, border in ((("V1", "V1", "V2"), second), (("", "", ""), equal)):
        model = Model("interval", seed=2)
        groups = [model.neurons(f"n{k}", n, area=name) for k, (n, name) in enumerate(zip(sizes, names, strict=True))]
        for pre, post in itertools.product(groups, groups):
            model.connect(pre, post, "fixed_indegree", indegree=4)
        assert choose_bounds(model, 2, pair).tolist() == [0, border, 200]
        assert choose_bounds(model, 2).tolist() == [0, equal, 200]


def test_an_area_is_a_name_of_neurons_that_follow_one_another() -> None:
    model = Model("interval")
    for name, area in (("a", "V1"), ("b", "V1"), ("c", "V2"), ("d", "V1")):
        model.neurons(name, 5, area=area)
    assert model.notes == ["population 'd' does not follow the others of area 'V1': it may lie apart"]
    tables, arrays = to_tables.describe_model(model)
    assert [entry["area"] for entry in tables["populations"]] == ["V1", "V1", "V2", "V1"]
    again = to_tables.build_model(tables | {"variant": "interval", "seed": 1, "precision": "double"}, arrays, {})
    assert [item.area for item in again.populations] == ["V1", "V1", "V2", "V1"]
    with pytest.raises(InputError, match="population 'e': area = 3 must be a name"):
        model.neurons("e", 5, area=3)
    entries = [{"name": "out", "role": "readout", "size": 1, "area": "V1"}]
    problems = from_tables.add_populations(Model("interval"), entries, ())
    assert problems == ["populations[0] 'out': area = 'V1' is for neurons, not for role 'readout'"]


def test_learning_signals_bound_rounds_of_the_spike_variant() -> None:
    nodes, model = np.array([0, 1, 2, 3]), areas((100, 100, 100), 8, "spike")
    out = model.readouts("out", 1)
    for k, group in enumerate(model.of_role("recurrent")):
        model.connect(group, out, delay=3)
        model.connect(out, group, delay=5)
        assert k or count_round_steps(model, 1000, nodes, choose_bounds(model, 3, nodes)) == (1, 3)
    assert count_round_steps(model, 1000, nodes, choose_bounds(model, 3, nodes)) == (1, 3)
    assert count_round_steps(areas((100, 100, 100), 8, "spike"), 1000, nodes, choose_bounds(model, 3, nodes)) == (1, 8)


@settings(max_examples=examples(60))
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), size=st.integers(1, 12), data=st.data())
def test_no_rank_costs_more_than_its_share_and_a_neuron(lengths: list[int], size: int, data: st.DataObject) -> None:
    cost = st.integers(1, 1000)
    costs = [
        np.array(data.draw(st.lists(cost, min_size=n, max_size=n) | st.lists(cost, min_size=1, max_size=1)))
        for n in lengths
    ]
    bounds = choose_equal_bounds(costs, lengths, size)
    each = np.concatenate([np.broadcast_to(cost, n) for cost, n in zip(costs, lengths, strict=True)])
    assert bounds[0] == 0 and bounds[-1] == len(each) and np.all(np.diff(bounds) >= 0) and len(bounds) == size + 1
    for low, high in itertools.pairwise(bounds):
        assert each[low:high].sum() < each.sum() / size + each.max() + 1


def two(indegrees: tuple[int, int]) -> Model:
    model = Model(seed=2)
    groups = [model.neurons(name, 2000) for name in ("one", "two")]
    for group, indegree in zip(groups, indegrees, strict=True):
        model.connect(groups[0], group, "fixed_indegree", indegree=indegree)
    return model


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("first", [False, True])
def test_few_heavy_neurons(variant: str, first: bool) -> None:
    """The rank that has them opens rows of twice as many projections, which is more than their share of synapses."""
    model = Model(variant, seed=2)
    sizes = {"few": 40, "many": 3960}
    groups = [model.neurons(name, sizes[name]) for name in (sorted(sizes) if first else sorted(sizes)[::-1])]
    for group in groups:
        for source in groups:
            indegree = {"few": 2000, "many": 100}[group.name] * source.size // 4000
            model.connect(source, group, "fixed_indegree", indegree=indegree)
    model.rates_hz = dict.fromkeys(sizes, 40.0)
    assert imbalance(model, 2, model.rates_hz) < 1.015
    assert min(np.diff(choose_bounds(model, 2))) < 1900


def test_readouts_count() -> None:
    """Neurons with a hundred readouts cost more than those without any."""
    model, out = Model(seed=2), "out"
    groups = [model.neurons(name, 1000) for name in ("one", "two")]
    readouts = model.readouts(out, 100)
    model.connect(groups[1], readouts)
    model.connect(readouts, groups[1])
    costs = model.eprop.costs
    more = costs.step + 100 * costs.signal + 100 * 0.01 * costs.readout_event
    assert choose_bounds(model, 2)[1] == pytest.approx(1000 + 500 * (1 - costs.step / more), abs=1)


def test_measured_rates_count() -> None:
    """Of two populations that hear themselves alone one fires sixty times as often: each rank gets half of the cost."""
    model = Model(seed=2)
    for name in ("one", "two"):
        group = model.neurons(name, 2000)
        model.connect(group, group, "fixed_indegree", indegree=500)
    assert choose_bounds(model, 2)[1] == 2000
    model.rates_hz = {"one": 1.0, "two": 60.0}
    assert imbalance(model, 2, model.rates_hz) < 1.01


def test_true_degrees_count() -> None:
    """Log-normal in-degrees as they are drawn; explicit synapses, few neurons of which have most."""
    law = {"indegree": 100, "sigma_in": 1.0, "sigma_out": 0.5}
    assert imbalance(small.population(3000, "lognormal_degrees", model={"seed": 4}, **law), 5) < 1.02
    target = np.concatenate([np.arange(3000), np.repeat(np.arange(2990, 3000), 20_000)])
    ends = {"source": np.arange(len(target)) % 3000, "target": target}
    model = small.population(3000, "explicit", model={"seed": 4}, **ends, weight=1.0, delay=1)
    assert imbalance(model, 2) < 1.05 and choose_bounds(model, 2)[1] > 1600


def test_totals_count_by_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rank draws the in-degrees of all neurons, of which a large network has billions."""
    model = Model(seed=2)
    one, two = (model.neurons(name, 1000) for name in ("one", "two"))
    for group, n in ((one, 50_000), (two, 500_000)):
        model.connect(one, group, "fixed_total_number", N=n)
    asked: list[int] = []
    drawn = totals.divide_total
    monkeypatch.setattr(
        totals,
        "divide_total",
        lambda key, n, size, low, high: asked.append(high - low) or drawn(key, n, size, low, high),
    )
    assert imbalance(model, 4) < 1.02 and asked and max(asked) < 1000


@pytest.mark.parametrize(
    ("text", "problem"),
    [("5", "first neuron of each of 3 ranks"), ("5,x", "first neuron"), ("7,5", "ascend"), ("5,99999", "ascend")],
)
def test_bad_cuts(text: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=problem):
        choose_bounds(two((10, 10)), 3)


def test_a_network_of_one_rank_takes_no_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "5,9")
    monkeypatch.delenv("PAREPROP_SHARE_ABOVE")
    model = Model()
    model.neurons("rec", 20)
    with pytest.raises(InputError, match="PAREPROP_CUTS = '5,9': one rank has this small network"):
        choose_bounds(model, 3)
