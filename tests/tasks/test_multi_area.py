"""Areas of macaque cortex: their tables, their networks, delays between areas, what stands for areas left out."""

import math
from pathlib import Path

import numpy as np
import pytest
from commands import as_options, digests, on_ranks, output_of
from scipy.special import erfcx

from pareprop.errors import InputError
from pareprop.network.cuts import cut, round_steps
from pareprop.runs import config
from pareprop.simulation.loop import Simulation
from pareprop.tasks import macaque
from pareprop.tasks.base import make
from pareprop.tasks.multi_area import MultiArea

SMALL = ["scale=0.001", "indegrees=0.05", "figures=none"]


def test_tables_have_what_is_published() -> None:
    """4.13 million neurons and 24.2 billion synapses; layers, inhibition within areas alone, distances."""
    table = macaque.read_tables()
    assert len(table.populations) == 254 and {area for area, _ in table.populations} == set(macaque.AREAS)
    assert [name for area, name in table.populations if area == "TH"] == ["L23E", "L23I", "L5E", "L5I", "L6E", "L6I"]
    assert abs(table.sizes.sum() - 4.13e6) < 5e3
    assert abs((table.indegrees * table.sizes[:, None]).sum() / 24.2e9 - 1.0) < 0.005
    areas, names = map(np.array, zip(*table.populations, strict=True))
    apart, inhibits = areas[:, None] != areas, np.char.endswith(names, "I")
    assert not (table.indegrees * (apart & inhibits)).any() and (table.indegrees * apart).any()
    assert np.array_equal(table.distances, table.distances.T) and not table.distances.diagonal().any()
    assert 5.9 < table.distances[table.distances > 0].min() and table.distances.max() < 63.0


def siegert(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Rates in Hz of neurons with noisy input, in mV from rest: Fourcaud and Brunel 2002, by quadrature."""
    shift = 2.0652531522312172 / 2.0 * math.sqrt(0.5 / 10.0)
    low, high = (end[:, None] for end in ((0.0 - mean) / std + shift, (15.0 - mean) / std + shift))
    place, weight = np.polynomial.legendre.leggauss(200)
    values = erfcx(-0.5 * (low + high) - 0.5 * (high - low) * place)
    integral = (0.5 * (high - low) * values * weight).sum(axis=1)
    return 1000.0 / (2.0 + 10.0 * math.sqrt(math.pi) * integral)


@pytest.mark.parametrize("areas", [macaque.AREAS, ("V4", "TH")])
def test_rates_are_those_of_mean_field_theory(areas: tuple[str, ...]) -> None:
    """Of all areas, and of two of them with Poisson spikes in place of the others: the rates fit their own input."""
    circuit = macaque.circuit(areas, 1.0, 1.0, 0.5)
    mean = std = 0.0
    for power in (1, 2):
        jump = (circuit.weights * 0.5 / 250.0) ** power  # mV
        outer = sum(item.rate_hz * (item.weight * 0.5 / 250.0) ** power for item in circuit.poisson)
        moment = 10e-3 * ((circuit.indegrees * jump) @ circuit.rates_hz + outer)
        mean, std = (moment, std) if power == 1 else (mean, np.sqrt(moment))
    np.testing.assert_allclose(siegert(mean, std), circuit.rates_hz, rtol=0.01, atol=0.01)


def test_the_network_is_that_of_the_tables() -> None:
    task = MultiArea(areas=["V2", "TH"], scale=0.01, indegrees=0.25, chi=1.9, chi_inhibitory=2.0)
    model, table = task.model(), macaque.read_tables()
    neurons = model.of_role("recurrent")
    assert [item.name for item in neurons][7:10] == ["V2-L6I", "TH-L23E", "TH-L23I"] and len(neurons) == 14
    assert [item.area for item in neurons] == ["V2"] * 8 + ["TH"] * 6
    row = {place: k for k, place in enumerate(table.populations)}
    projections = {item.name: item for item in model.projections}

    def check(name: str, weight: float, mean: float, std: float) -> None:
        pre, post = (row[tuple(end.split("-", 1))] for end in name.split("->"))
        item = projections[name]
        assert item.N == round(table.indegrees[post, pre] * 0.25 * item.post.size)
        assert item.weight.mean == pytest.approx(87.8 * weight / 0.5)
        assert item.delay_law.numbers == pytest.approx((mean * 10.0, std * 10.0))

    check("V2-L4E->V2-L23E", 2.0, 1.5, 0.75)
    check("V2-L4I->V2-L4E", -11.0, 0.75, 0.375)
    distance = table.distances[macaque.AREAS.index("V2"), macaque.AREAS.index("TH")]
    check("V2-L5E->TH-L5E", 1.9, distance / 3.5, 0.5 * distance / 3.5)
    check("V2-L5E->TH-L5I", 1.9 * 2.0, distance / 3.5, 0.5 * distance / 3.5)
    backgrounds = {item.name: item for item in model.backgrounds}
    of_TH, own = row["TH", "L23I"], [k for k, (area, _) in enumerate(table.populations) if area in ("V2", "TH")]
    outside = backgrounds["background->TH-L23I"]
    assert outside.rate_hz == pytest.approx(table.external[of_TH] * 10.0 * 0.25) and outside.weight == 87.8 / 0.5
    others = backgrounds["other areas->TH-L23I"]
    missing = np.delete(table.indegrees[of_TH] * table.rates_hz, own).sum()
    assert others.rate_hz == pytest.approx(0.25 * missing) and others.weight == pytest.approx(87.8 * 3.8 / 0.5)
    alone = MultiArea(areas="TH", background="constant").model()
    assert {item.post.name[:2] for item in alone.projections} == {"TH"} and not alone.backgrounds


def test_the_thalamus_projects_to_the_first_area_and_readouts_listen_to_the_last() -> None:
    model = make(MultiArea, ["areas=V1,MT", "learn=volleys", "scale=0.003"]).model()
    heard = {item.post.name for item in model.projections if item.pre.name == "thalamus"}
    assert heard == {"V1-L4E", "V1-L4I", "V1-L6E", "V1-L6I"}
    assert [item.pre.name for item in model.projections if item.post.role == "readout"] == ["MT-L5E"]
    between = [item for item in model.projections if {item.pre.area, item.post.area} == {"V1", "MT"}]
    assert between and all(item.plastic and np.all(item.signs == 1) for item in between)


def test_synapses_between_areas_alone_learn() -> None:
    """And those onto readouts; neither the thalamus nor anything within an area does."""
    words = ["areas=V1,MT", "learn=volleys", "scale=0.003"]
    model = make(MultiArea, [*words, "learn_between=true"]).model()
    learning = {(item.pre.area, item.post.area) for item in model.projections if item.plastic}
    assert learning == {("V1", "MT"), ("MT", "V1"), ("MT", "")}
    every = make(MultiArea, words).model()
    assert sum(item.plastic for item in model.projections) < sum(item.plastic for item in every.projections)
    for item, other in zip(model.projections, every.projections, strict=True):
        assert (item.name, item.weight, item.delay_law) == (other.name, other.weight, other.delay_law)


def test_what_learns_between_areas_by_default() -> None:
    """V1 and V2, unless a user says otherwise; rates keep their defaults."""
    task = make(MultiArea, ["learn=volleys", "learn_between=true", "eta=3"])
    assert (task.areas, task.thalamic_hz, task.batch_size, task.eta) == (("V1", "V2"), 300.0, 8, 3.0)
    task = make(MultiArea, ["learn=volleys", "learn_between=true", "variant=spike"])
    assert (task.areas, task.thalamic_hz, task.batch_size, task.eta) == (("V1", "V2"), 300.0, 1, 2.0)
    others = make(MultiArea, ["learn=volleys"]), make(MultiArea, ["learn=rates", "learn_between=true"])
    assert [(len(task.areas), task.eta) for task in others] == [(4, 8.0), (4, 4.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("eta", "low", "high"), [(0, 0.0, 0.75), (30, 0.85, 1.0)])
def test_an_area_learns_what_another_one_hears(eta: float, low: float, high: float) -> None:
    """Readouts of V2 alone hardly tell which part of the thalamus fired to V1; synapses between them learn to."""
    words = ["learn=volleys", "learn_between=true", "chi=1.9", "background=constant", "batch_size=4", f"eta={eta}"]
    task = make(MultiArea, words)
    simulation = Simulation(task.model(), task, settings=task.settings())
    simulation.train(20)
    assert low <= simulation.test(32).accuracy <= high


@pytest.mark.parametrize(("words", "message"), [
    (["learn_between=true"], "learn_between = true needs learn = 'volleys' or 'rates'"),
    (["learn_between=true", "learn=rates", "areas=V4"], "learn_between = true needs at least two areas, there is V4"),
])  # fmt: skip
def test_learning_between_areas_needs_them(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(MultiArea, words)


@pytest.mark.parametrize(("spread", "share"), [(0.1, 0.6), (0.0, 1.0), (0.5, 0.0)])
def test_nodes_exchange_once_per_shortest_delay_between_areas(spread: float, share: float) -> None:
    """Two nodes have two areas each; delays are drawn down to four standard deviations below their mean."""
    task = MultiArea(areas=["V1", "V2", "V4", "MT"], scale=0.001, delay_spread=spread)
    model, table = task.model(), macaque.read_tables()
    nodes = np.array([0, 1, 2])
    bounds = cut(model, 2, nodes)
    ends = {model.offset(item) for item in model.of_role("recurrent") if item.name.endswith("L23E")}
    assert bounds[1] in ends - {0}
    places = [[macaque.AREAS.index(area) for area in areas] for areas in (("V1", "V2"), ("V4", "MT"))]
    nearest = table.distances[np.ix_(*places)].min()
    within, between = round_steps(model, task.n_steps, nodes, bounds)
    assert within == 1 and abs(between - max(share * nearest / 3.5 / 0.1, 1.0)) <= 1.0


@pytest.mark.parametrize(("areas", "message"), [
    (["V1", "V9"], "unknown area 'V9', did you mean 'VP'"),
    (["V1", "V2", "V1"], "area 'V1' is named twice"),
    ([], "areas"),
])  # fmt: skip
def test_areas_that_there_are_not(areas: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(MultiArea, {"areas": areas})


@pytest.mark.parametrize(("words", "areas"), [("46", ("46",)), ("[46, '7a']", ("46", "7a")), ("46,V1", ("46", "V1"))])
def test_an_area_may_have_a_number_as_its_name(words: str, areas: tuple[str, ...]) -> None:
    assert config.load("multi-area", (f"areas={words}",)).task.areas == areas


@pytest.mark.parametrize("key", ["chi", "chi_inhibitory"])
def test_weights_between_areas_are_above_zero(key: str) -> None:
    with pytest.raises(InputError, match=f"{key} = 0.0: .*greater than 0"):
        make(MultiArea, {key: 0.0})


@pytest.mark.slow
def test_rates_come_near_those_of_theory(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Within 35 % and 1 Hz, in a fiftieth of two areas with a fifth of the in-degrees, in the second 0.2 s."""
    settings = as_options("areas=V1,V2", "scale=0.02", "indegrees=0.2", "sample_ms=200", "iterations=2", "figures=none")
    output = output_of(capsys, "run", "multi-area", *settings, "--out", tmp_path / "run")
    (line,) = [line for line in output.splitlines() if line.startswith("rates: ")]
    names, found = zip(*(part.split()[:2] for part in line.removeprefix("rates: ").split(", ")), strict=True)
    circuit = macaque.circuit(("V1", "V2"), 1.0, 1.0, 0.5)
    assert names == circuit.names
    assert np.all(np.abs(np.array(found, float) - circuit.rates_hz) < 1.0 + 0.35 * circuit.rates_hz), line


@pytest.mark.slow
def test_one_digest_on_any_number_of_ranks(tmp_path: Path) -> None:
    words = ["run", "multi-area", *as_options(*SMALL, "areas=V4,TH", "sample_ms=20", "iterations=1")]
    found = set()
    for n in (1, 3):
        codes, output, errors = on_ranks(n, [[*words, "--out", tmp_path / str(n)]])
        assert codes == [0], errors
        found.update(digests(output))
    assert len(found) == 1
