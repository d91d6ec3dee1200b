"""Areas of cortex: their tables, their networks, delays between areas, what stands for areas left out."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import as_options, digests, on_ranks, output_of
from scipy.special import erfcx

from pareprop.errors import InputError
from pareprop.network.partition_bounds import choose_bounds, count_round_steps
from pareprop.simulation.loop import Simulation
from pareprop.tasks import areas as cortex
from pareprop.tasks.base import make_task
from pareprop.tasks.multi_area import MultiArea

SMALL = ["scale=0.001", "indegrees=0.05", "figures=none"]


MADE_UP = cortex.make_up_tables()


def as_file() -> dict[str, dict]:
    """The made-up tables as a file has them, with an area more that lacks a layer."""
    names = ("23E", "23I", "4E", "4I", "5E", "5I", "6E", "6I")
    areas = ["A", "B", "C", "46"]
    row = {place: k for k, place in enumerate(MADE_UP.populations)}

    def number(values: np.ndarray, area: str, name: str) -> float:
        return float(values[row["C" if area == "46" else area, f"L{name}"]]) * (area != "46" or name[0] != "4")

    def of_all(value) -> dict[str, dict]:
        return {area: {name: value(area, name) for name in names} for area in areas}

    def sources(area: str, name: str) -> dict[str, dict]:
        of_target = MADE_UP.indegrees[row["C" if area == "46" else area, f"L{name}"]]
        external = {"external": number(MADE_UP.external, area, name)}
        return of_all(lambda pre, source: number(of_target, pre, source)) | {"external": external}

    return {
        "area_list": areas,
        "neuron_numbers": of_all(lambda area, name: number(MADE_UP.sizes, area, name)),
        "indegrees": of_all(sources),
        "rates": of_all(lambda area, name: number(MADE_UP.rates_hz, area, name)),
        "distances": {pre: {post: 0.0 if pre == post else 9.5 for post in areas} for pre in areas},
    }


def test_tables_of_a_file(tmp_path: Path) -> None:
    """By the published model's names; a layer without neurons is no population."""
    path = tmp_path / "tables.json"
    path.write_text(json.dumps(as_file()))
    table = cortex.read_tables(path)
    assert table.areas == ("A", "B", "C", "46")
    assert table.populations[:24] == MADE_UP.populations
    assert [name for area, name in table.populations if area == "46"] == "L23E L23I L5E L5I L6E L6I".split()
    for name in ("sizes", "external", "rates_hz"):
        np.testing.assert_array_equal(getattr(table, name)[:24], getattr(MADE_UP, name))
    np.testing.assert_array_equal(table.indegrees[:24, :24], MADE_UP.indegrees)
    np.testing.assert_array_equal(table.distances, 9.5 * (1.0 - np.eye(4)))
    task = make_task(MultiArea, ["areas=46,A", f"tables={path}", "scale=0.003"])
    assert [item.name for item in task.build_model().of_role("recurrent")][5:7] == ["46-L6I", "A-L23E"]
    assert make_task(MultiArea, [f"tables={path}"]).chosen_areas == ("A", "B", "C", "46")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tables: tables.pop("rates"), "has no 'rates'"),
        (lambda tables: tables["indegrees"]["B"]["5E"].pop("A"), "has no 'A'"),
        (lambda tables: tables["rates"]["B"].update({"5E": -1.0}), "rates must be finite and at least 0"),
        (lambda tables: tables["distances"]["B"].update({"A": 0.0}), "distances between areas must be above 0"),
        (lambda tables: tables.update(area_list=[]), "no area has neurons"),
        (lambda tables: tables.update(neuron_numbers=7), "is not such a file"),
    ],
)
def test_a_file_that_is_none_of_tables(tmp_path: Path, change, message: str) -> None:
    tables, path = as_file(), tmp_path / "tables.json"
    change(tables)
    path.write_text(json.dumps(tables))
    with pytest.raises(InputError, match=rf"tables = '.*tables.json': .*{message}.*; .*INM-6/multi-area-model"):
        make_task(MultiArea, [f"tables={path}"])


def test_published_areas_need_their_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown area 'V1' .*A, B, C.*; .*INM-6/multi-area-model"):
        make_task(MultiArea, ["areas=V1,V2"])
    with pytest.raises(InputError, match=r"tables = '.*': cannot be read: No such file.*INM-6/multi-area-model"):
        make_task(MultiArea, [f"tables={tmp_path / 'none.json'}"])


def siegert(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Rates in Hz of neurons with noisy input, in mV from rest: Fourcaud and Brunel 2002, by quadrature."""
    shift = 2.0652531522312172 / 2.0 * math.sqrt(0.5 / 10.0)
    low, high = (end[:, None] for end in ((0.0 - mean) / std + shift, (15.0 - mean) / std + shift))
    place, weight = np.polynomial.legendre.leggauss(200)
    values = erfcx(-0.5 * (low + high) - 0.5 * (high - low) * place)
    integral = (0.5 * (high - low) * values * weight).sum(axis=1)
    return 1000.0 / (2.0 + 10.0 * math.sqrt(math.pi) * integral)


@pytest.mark.parametrize("areas", [("A", "B", "C"), ("A", "C")])
def test_rates_are_those_of_mean_field_theory(areas: tuple[str, ...]) -> None:
    """Of all areas, and of two of them with Poisson spikes in place of the others: the rates fit their own input."""
    circuit = cortex.build_circuit(areas, 1.0, 1.0, 0.5)
    mean = std = 0.0
    for power in (1, 2):
        jump = (circuit.weights * 0.5 / 250.0) ** power  # mV
        outer = sum(item.rate_hz * (item.weight * 0.5 / 250.0) ** power for item in circuit.poisson)
        moment = 10e-3 * ((circuit.indegrees * jump) @ circuit.rates_hz + outer)
        mean, std = (moment, std) if power == 1 else (mean, np.sqrt(moment))
    np.testing.assert_allclose(siegert(mean, std), circuit.rates_hz, rtol=0.01, atol=0.01)


def test_the_network_is_that_of_the_tables() -> None:
    task = MultiArea(areas=["A", "C"], scale=0.01, indegrees=0.25, chi=1.9, chi_inhibitory=2.0)
    model, table = task.build_model(), MADE_UP
    neurons = model.of_role("recurrent")
    assert [item.name for item in neurons][7:10] == ["A-L6I", "C-L23E", "C-L23I"] and len(neurons) == 16
    assert [item.area for item in neurons] == ["A"] * 8 + ["C"] * 8
    row = {place: k for k, place in enumerate(table.populations)}
    projections = {item.name: item for item in model.projections}

    def check(name: str, weight: float, mean: float, std: float) -> None:
        pre, post = (row[tuple(end.split("-", 1))] for end in name.split("->"))
        item = projections[name]
        assert item.N == round(table.indegrees[post, pre] * 0.25 * item.post.size)
        assert item.weight.mean == pytest.approx(87.8 * weight / 0.5)
        assert item.delay_law.numbers == pytest.approx((mean * 10.0, std * 10.0))

    check("A-L4E->A-L23E", 2.0, 1.5, 0.75)
    check("A-L4I->A-L4E", -11.0, 0.75, 0.375)
    distance = table.distances[0, 2]
    check("A-L23E->C-L4E", 1.9, distance / 3.5, 0.5 * distance / 3.5)
    check("A-L23E->C-L4I", 1.9 * 2.0, distance / 3.5, 0.5 * distance / 3.5)
    backgrounds = {item.name: item for item in model.backgrounds}
    of_C, own = row["C", "L23I"], [k for k, (area, _) in enumerate(table.populations) if area in ("A", "C")]
    outside = backgrounds["background->C-L23I"]
    assert outside.rate_hz == pytest.approx(table.external[of_C] * 10.0 * 0.25) and outside.weight == 87.8 / 0.5
    others = backgrounds["other areas->C-L23I"]
    missing = np.delete(table.indegrees[of_C] * table.rates_hz, own).sum()
    assert others.rate_hz == pytest.approx(0.25 * missing) and others.weight == pytest.approx(87.8 * 3.8 / 0.5)
    alone = MultiArea(areas="C", background="constant").build_model()
    assert {item.post.name[:2] for item in alone.projections} == {"C-"} and not alone.backgrounds


def test_the_thalamus_projects_to_the_first_area_and_readouts_listen_to_the_last() -> None:
    model = make_task(MultiArea, ["areas=A,C", "learn=volleys", "scale=0.003"]).build_model()
    heard = {item.post.name for item in model.projections if item.pre.name == "thalamus"}
    assert heard == {"A-L4E", "A-L4I", "A-L6E", "A-L6I"}
    assert [item.pre.name for item in model.projections if item.post.role == "readout"] == ["C-L5E"]
    between = [item for item in model.projections if {item.pre.area, item.post.area} == {"A", "C"}]
    assert between and all(item.plastic and np.all(item.signs == 1) for item in between)


def test_synapses_between_areas_alone_learn() -> None:
    """And those onto readouts; neither the thalamus nor anything within an area does."""
    words = ["areas=A,C", "learn=volleys", "scale=0.003"]
    model = make_task(MultiArea, [*words, "learn_between=true"]).build_model()
    learning = {(item.pre.area, item.post.area) for item in model.projections if item.plastic}
    assert learning == {("A", "C"), ("C", "A"), ("C", "")}
    every = make_task(MultiArea, words).build_model()
    assert sum(item.plastic for item in model.projections) < sum(item.plastic for item in every.projections)
    for item, other in zip(model.projections, every.projections, strict=True):
        assert (item.name, item.weight, item.delay_law) == (other.name, other.weight, other.delay_law)


@pytest.mark.slow
@pytest.mark.parametrize(("eta", "low", "high"), [(0, 0.0, 0.75), (30, 0.8, 1.0)])
def test_an_area_learns_what_another_one_hears(eta: float, low: float, high: float) -> None:
    """Readouts of B alone hardly tell which part of the thalamus fired to A; synapses between them learn to."""
    words = ["learn=volleys", "learn_between=true", "chi=1.9", "background=constant", "batch_size=4", f"eta={eta}"]
    task = make_task(MultiArea, words)
    simulation = Simulation(task.build_model(), task, settings=task.make_settings())
    simulation.train(40)
    assert low <= simulation.test(64).accuracy <= high


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learn_between=true"], "learn_between = true needs learn = 'volleys' or 'rates'"),
        (["learn_between=true", "learn=rates", "areas=C"], "learn_between = true needs at least two areas, there is C"),
    ],
)
def test_learning_between_areas_needs_them(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(MultiArea, words)


@pytest.mark.parametrize(("spread", "share"), [(0.1, 0.6), (0.0, 1.0), (0.5, 0.0)])
def test_nodes_exchange_once_per_shortest_delay_between_areas(spread: float, share: float) -> None:
    """One node has two areas; delays are drawn down to four standard deviations below their mean."""
    task = MultiArea(scale=0.001, delay_spread=spread)
    model, nodes = task.build_model(), np.array([0, 2, 3])
    bounds = choose_bounds(model, 3, nodes)
    ends = {model.offset(item) for item in model.of_role("recurrent") if item.name.endswith("L23E")}
    assert bounds[2] in ends - {0}
    within, between = count_round_steps(model, task.n_steps, nodes, bounds)
    assert within == 1 and abs(between - max(share * 15.0 / 3.5 / 0.1, 1.0)) <= 1.0


@pytest.mark.parametrize(
    ("areas", "message"),
    [(["A", "D"], "unknown area 'D' .*known: A, B, C"), (["A", "B", "A"], "area 'A' is named twice")],
)
def test_areas_that_there_are_not(areas: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(MultiArea, {"areas": areas})


@pytest.mark.slow
def test_rates_come_near_those_of_theory(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Within 35 % and 1 Hz, in a fiftieth of an area with a fifth of the in-degrees, in the second 0.2 s.

    Neurons of L23E, whose synapses from L4E are twice as strong, fire more: in so few neurons these are correlated.
    """
    settings = as_options("areas=A", "scale=0.02", "indegrees=0.2", "sample_ms=200", "iterations=2", "figures=none")
    output = output_of(capsys, "run", "multi-area", *settings, "--out", tmp_path / "run")
    (line,) = [line for line in output.splitlines() if line.startswith("rates: ")]
    names, found = zip(*(part.split()[:2] for part in line.removeprefix("rates: ").split(", ")), strict=True)
    circuit = cortex.build_circuit(("A",), 1.0, 1.0, 0.5)
    assert names == circuit.names
    near = np.abs(np.array(found, float) - circuit.rates_hz) < 1.0 + 0.35 * circuit.rates_hz
    assert [name for name, fits in zip(names, near, strict=True) if not fits] == ["A-L23E"], line


@pytest.mark.slow
def test_one_digest_on_any_number_of_ranks(tmp_path: Path) -> None:
    words = ["run", "multi-area", *as_options(*SMALL, "areas=A,C", "sample_ms=20", "iterations=1")]
    found = set()
    for n in (1, 3):
        codes, output, errors = on_ranks(n, [[*words, "--out", tmp_path / str(n)]])
        assert codes == [0], errors
        found.update(digests(output))
    assert len(found) == 1
