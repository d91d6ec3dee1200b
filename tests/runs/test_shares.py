"""A run that goes on, or is resumed, shares its neurons by the rates that were measured; results stay the same."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
import ranks
from small import READOUT, Noise

import pareprop
from pareprop import Adam, Model, Normal, Observer, Simulation
from pareprop.network.costs import estimate_rank_costs
from pareprop.network.partition_bounds import choose_bounds
from pareprop.network.rewire import Rewire
from pareprop.parallel.exchange import Exchange
from pareprop.runs import provenance
from pareprop.storage import repartition

N, N_STEPS = 100, 50


def network(variant: str, **options: object) -> Model:
    """Neurons that fire with each input, and neurons that never fire."""
    model, cell = Model(variant, seed=3), READOUT | {"V_th": 1.0}
    inputs, out = model.inputs("in", 4), model.readouts("out", 1, **READOUT)
    for name, weight in (("busy", 3.0), ("quiet", 0.0)):
        group = model.neurons(name, N, **cell)
        model.connect(inputs, group, weight=weight, plastic=False)
        model.connect(group, group, "fixed_indegree", indegree=50, weight=Normal(std=0.01), **options)
        model.connect(group, out, weight=Normal(std=0.1))
        model.connect(out, group, weight=Normal(std=0.1))
    return model


TASK = Noise(np.sin(np.arange(N_STEPS)[:, None] / 10.0), 4, 0.3)


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """Two or four iterations, from the start or going on: the digest, and the first neuron of the second rank."""
    if words[0] == "anew":
        return train_anew(words[1], exchange)
    if words[0] == "slow":
        return train_slowly(words[1], exchange, Path(folder) / "run")
    variant, until, restart = words[0], int(words[1]), len(words) > 2
    done = pareprop.run(
        network(variant),
        TASK,
        Path(folder) / variant,
        exchange=exchange,
        iterations=4,
        until=until,
        test_samples=0,
        figures="none",
        quiet=True,
        restart=restart,
    )
    if exchange.rank == 0:
        rate = done.simulation.model.rates_hz.get("busy", 0.0)
        print(f"digest: {done.digest}\ncut: {done.simulation.network.cuts[1]}\nrate: {rate}")


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_neurons_are_shared_by_measured_rates(variant: str, tmp_path: Path) -> None:
    whole = ranks.digests(2, __file__, tmp_path / "whole", variant, "4")
    assert whole["cut"] == "100"  # all are taken to fire as often
    ranks.digests(2, __file__, tmp_path / "parts", variant, "2")
    resumed = ranks.digests(2, __file__, tmp_path / "parts", variant, "4", "on")
    assert resumed["digest"] == whole["digest"]
    check_cut(resumed, variant)


def costs_of(variant: str, bounds: list[int], rates: tuple[float, float]) -> np.ndarray:
    """Return picoseconds of a step of each rank: of neurons, arrivals, rows that are opened, and the readout."""
    costs, found = network(variant).eprop.costs, []
    for low, high in itertools.pairwise(bounds):
        cost = 0.0
        for first, rate in zip((0, N), rates, strict=True):
            n = max(0, min(high, first + N) - max(low, first))
            cost += n * (costs.step + costs.signal + costs.readout_event * rate / 1000)
            cost += n * costs.event * (4 * 10.0 + 50 * rate) / 1000
            heard = N * (1 - np.exp(-0.5 * n))
            cost += costs.row * (4 * 10.0 * (1 - np.exp(-n)) + heard * rate) / 1000
        found.append(cost)
    return np.array(found)


def check_cut(told: dict[str, str], variant: str) -> None:
    """Assert that both ranks cost as much, by the rate of busy neurons."""
    costs = costs_of(variant, [0, int(told["cut"]), 2 * N], (float(told["rate"]), 0.0))
    assert costs.max() / costs.mean() < 1.02 and int(told["cut"]) < 95


def train_anew(variant: str, exchange: Exchange) -> None:
    """Neurons are shared anew as if that took no time, unless an observer may hold some of them: what comes of it."""
    repartition.PICOSECONDS_PER_SYNAPSE = repartition.PICOSECONDS_PER_REPARTITION = 0
    repartition.sum_compute_seconds = lambda simulation: 0.0  # rates alone
    told = []
    for more in ({"rewire": Rewire(every=2), "allow_multapses": False}, {"optimizer": Adam(), "delay": (1, 4)}):
        for observers in ([], [Observer()]):
            observer = repartition.Repartition(5)
            simulation = Simulation(network(variant, **more), TASK, exchange, [*observers, observer])
            simulation.train(5)
            told.append((simulation.hexdigest(), observer.done, simulation))
    if exchange.rank == 0:
        (a, *_), (b, held, _), (c, done, moved), (d, *_) = told
        print(f"digest: {a} {b == a} {c} {d == c}\nheld: {held}\ndone: {done}\ncut: {moved.network.cuts[1]}")
        print(f"rate: {moved.model.rates_hz.get('busy', 0.0)}")


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_neurons_are_shared_anew_while_a_run_goes_on(variant: str, tmp_path: Path) -> None:
    """Rewired synapses and their books, moments, spikes in flight and traces go with their neurons."""
    alone = ranks.digests(1, __file__, tmp_path, "anew", variant)
    assert alone["done"] == "[]" and "False" not in alone["digest"]
    both = ranks.digests(2, __file__, tmp_path, "anew", variant)
    assert both["digest"] == alone["digest"] and both["done"] != "[]" and both["held"] == "[]"
    check_cut(both, variant)
    nodes = ranks.digests(3, __file__, tmp_path, "anew", variant, env={"PAREPROP_RANKS_PER_NODE": "2"})
    assert nodes["digest"] == alone["digest"] and nodes["done"] != "[]"


def train_slowly(variant: str, exchange: Exchange, folder: Path) -> None:
    """Both populations cost the same, but rank 0 takes three times as long as rank 1, in each look more."""
    repartition.PICOSECONDS_PER_SYNAPSE = repartition.PICOSECONDS_PER_REPARTITION = 0
    looks = itertools.count(1)
    repartition.sum_compute_seconds = lambda simulation: (1.0 if exchange.rank else 3.0) * next(looks)
    done = pareprop.run(
        network(variant), TASK, folder, exchange=exchange, iterations=6, test_samples=0, figures="none", quiet=True
    )
    if exchange.rank == 0:
        content = provenance.read(folder)
        told = [line.split("cuts: ")[1] for line in provenance.format_lines(content) if "cuts: " in line]
        cuts = [tuple(cut.values()) for cut in content["parts"][0]["cuts"]]
        print(f"digest: {done.digest}\ncuts: {cuts}\ntold: {told[0]}")


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_neurons_move_to_ranks_that_need_less_time(variant: str, tmp_path: Path) -> None:
    """It is told in provenance when they did, and where ranks begin."""
    both = ranks.digests(2, __file__, tmp_path / "moved", "slow", variant)
    held = ranks.digests(2, __file__, tmp_path / "held", "slow", variant, env={"PAREPROP_CUTS": "70"})
    assert both["digest"] == held["digest"] and held["cuts"] == "[(0, [0, 70])]"
    cuts = ast.literal_eval(both["cuts"])
    assert [after for after, _ in cuts] == [0, 1, 4]  # at first by rates alone
    (_, one), (_, two), (_, three) = cuts
    assert one == [0, 100] and two[1] < 100 and three[1] < 0.8 * two[1]
    told = f"after iteration 0 ranks begin at 0, 100; after iteration 1 ranks begin at 0, {two[1]};"
    assert both["told"].startswith(told)


def test_dear_neurons_count_by_what_they_cost() -> None:
    """All cost the same, but a rank takes twice as long as the other one; a rank that takes ten times as long."""
    model = Model(seed=2)
    model.neurons("rec", 2000)
    even = choose_bounds(model, 2)
    for spent, times, first in (((2.0, 1.0), (4 / 3, 2 / 3), 750), ((1.0, 2.0), (2 / 3, 4 / 3), 1250)):
        model.load_factors = repartition.find_load_factors(model, even, np.array(spent))
        np.testing.assert_allclose(model.load_factors[1], times)
        assert choose_bounds(model, 2)[1] == pytest.approx(first, abs=1)
        model.load_factors = None
    np.testing.assert_allclose(repartition.find_load_factors(model, even, np.array([10.0, 1.0]))[1], (20 / 11, 0.5))
    assert repartition.find_load_factors(model, even, np.array([1.0, 0.0])) is None


@pytest.mark.parametrize(
    ("rates", "steps", "pays"), [((40.0, 0.0), 10**7, True), ((40.0, 0.0), 10**3, False), ((40.0, 40.0), 10**9, False)]
)
def test_neurons_are_shared_anew_where_it_pays(rates: tuple[float, float], steps: int, pays: bool) -> None:
    model = network("interval")
    old = choose_bounds(model, 2)
    model.rates_hz = dict(zip(("busy", "quiet"), rates, strict=True))
    new = choose_bounds(model, 2)
    costs = [costs_of("interval", bounds.tolist(), rates) for bounds in (old, new)]
    for bounds, cost in zip((old, new), costs, strict=True):
        assert estimate_rank_costs(model, bounds)[0] == pytest.approx(
            cost, rel=1e-5
        )  # of whole picoseconds for each neuron
    saved = (costs[0].max() - costs[1].max()) * steps
    built = repartition.PICOSECONDS_PER_REPARTITION + repartition.PICOSECONDS_PER_SYNAPSE * N * (
        4 + 50
    )  # of a rank, which has one population's worth
    assert repartition.saves_time(model, old, new, steps) == (saved > built) == pays
