"""Delays of synapses that learn (interval variant)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import case_files
import h5py
import networks
import numpy as np
import pytest
import ranks
from commands import command, verify_on_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CaseTask
from params import first
from properties import examples
from reference import run_case

import pareprop
from pareprop import Adam, InputError, LearningRate, Model, StateError, open_run
from pareprop.files import open_results
from pareprop.kernels import rewire
from pareprop.network import synapse_table
from pareprop.parallel.exchange import Exchange
from pareprop.plots.delays import draw_figure as delay_figure
from pareprop.runs.report import summarize_run
from pareprop.simulation import Simulation

NAMES = ("in", "rec")
RULES = {
    "adam": {"type": "adam", "eta": 0.4, "low": 1.0, "high": 9.0},
    "gradient_descent": {"type": "gradient_descent", "eta": 30.0, "low": 1.0, "high": 7.0},
}


def case_of(seed: int, kind: str, batch: int = 1) -> dict:
    """A random network whose delays learn: all, or those of inputs or neurons alone."""
    rng = np.random.default_rng(seed)
    case = networks.random_case(seed, optimizer={"type": "gradient_descent", "eta": 1e-3, "batch_size": batch})
    return case | {
        "d_in": rng.integers(1, 5, case["w_in"].shape),
        "learn_delay": dict.fromkeys(NAMES[rng.integers(2) :], RULES[kind] | {"eta": batch * RULES[kind]["eta"]}),
    }


def delays(run: Simulation) -> dict[str, np.ndarray]:
    """Real delays as matrices "in", "rec"; those of others as NaN."""
    found = run.engine.show_delays()

    def values(table: synapse_table.SynapseTable) -> np.ndarray:
        spread = np.full(len(table.weight), np.nan)
        for span in table.spans:
            if span.projection.name in found:
                spread[span.first : span.last] = found[span.projection.name]
        return spread

    return networks.matrices(run, values)


def compare(case: dict, **options: object) -> int:
    """Train a case and its slow twin; return how many synapses have another whole delay at the end."""
    n_samples, batch = len(case["inputs"]) // case["interval"], case["optimizer"].get("batch_size", 1)
    expected, run = run_case(case), networks.simulation(case, **options)
    run.train(n_samples // batch)
    found, weights = delays(run), networks.matrices(run, lambda table: table.weight)
    moved = 0
    for name in case["learn_delay"]:
        there = ~np.isnan(case[f"w_{name}"])
        scale = np.abs(np.array(expected[f"gd_{name}"])[:, there]).max(initial=1e-300)
        assert scale > 1e-9 or not there.any(), "nothing learns"
        np.testing.assert_allclose(found[name][there], expected[f"delay_{name}"][there], rtol=1e-10, err_msg=name)
        before = np.broadcast_to(case[f"d_{name}"], there.shape)
        moved += int(np.sum(np.rint(found[name][there]) != before[there]))
    for name in ("in", "rec", "out"):
        np.testing.assert_allclose(weights[name], expected[f"w_{name}"], rtol=1e-10, atol=1e-10, err_msg=name)
    assert sum(map(sum, run.moves.values())) >= moved
    return moved


@pytest.mark.parametrize("batch", first(1, [1, 2]))
@pytest.mark.parametrize("kind", list(RULES))
def test_delays_and_weights_are_those_of_the_twin(kind: str, batch: int) -> None:
    """Which carries traces of half a difference of arrivals forward in time, for each synapse."""
    assert sum(compare(case_of(seed, kind, batch)) for seed in (5, 7, 11)) > 10


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of all delays by the slow twin, whose neurons are compiled already."""
    case = case_of(5, "adam") | {"dt": 1.0, "learn_delay": dict.fromkeys(NAMES, RULES["adam"])}
    del case["step_currents"]
    case["readout"]["loss"] = "mean_squared_error"
    path = tmp_path_factory.mktemp("case") / "small.h5"
    networks.write_case(path, case, run_case(case))
    return path


def edited(path: Path, folder: Path, edit: Callable[[h5py.File], None]) -> Path:
    """A copy of a case after an edit."""
    with h5py.File(shutil.copy(path, folder / "edited.h5"), "r+") as file:
        edit(file)
    return folder / "edited.h5"


@pytest.mark.parametrize(
    ("key", "amount"), [("d_in", 1), ("delay_rec", 2e-9), ("gradient_delay_in", 1e-3), ("delay_in", np.nan)]
)
def test_verify_compares_delays(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture, key: str, amount: float
) -> None:
    code, output, errors = command(capsys, "verify", small)
    assert (code, errors) == (0, "") and ": holds" in output

    def edit(file: h5py.File) -> None:
        place = tuple(np.argwhere(~np.isnan(file["w_in" if key.endswith("in") else "w_rec"][()]))[0])
        file[f"expected/{key}"][place] += amount

    code, output, _ = command(capsys, "verify", edited(small, tmp_path, edit))
    assert code == 1 and "DOES NOT HOLD" in output


def rule(**values: object) -> Callable[[h5py.File], None]:
    return lambda file: file["learn_delay/0"].attrs.update(values)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rule(matrix="w_out"), "learn_delay/0: matrix = 'w_out' must be one of w_in, w_rec"),
        (rule(matrix="w_rec"), "learn_delay/1: delays of w_rec onto group 0 are named twice"),
        (rule(group=9), r"learn_delay/0: group = 9 must lie in 0 to \d"),
        (rule(high=1.5), "the longest delay at the start, 4 steps, must lie in low = 1 to high = 1.5"),
        (rule(high=np.nan), "learn_delay/0: high"),
        (lambda file: file["d_in"].write_direct(np.zeros_like(file["d_in"][()])), "delay"),
        (lambda file: file.__delitem__("expected/delay_in"), "'delay_in' is missing"),
    ],
)
def test_bad_cases_are_refused_in_a_line(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture, edit: Callable, message: str
) -> None:
    code, output, errors = command(capsys, "verify", edited(small, tmp_path, edit))
    assert (code, output) == (2, "") and re.search(message, errors) and errors.count("\n") == 1


@pytest.mark.slow
def test_golden_cases_hold_and_give_one_digest() -> None:
    """With parameters of neurons that learn beside; neurons are compiled first, which takes long."""
    paths = case_files.find("learned", "*delays*")
    assert len(paths) == 3
    verify_on_ranks(paths)


@pytest.mark.parametrize("widest", [2, 256])
def test_rows_of_one_delay_at_a_time_give_the_same(widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far bounds leave no ring: each delay is delivered and credited by itself."""
    case = case_of(7, "adam")
    far = {"adam": RULES["adam"] | {"high": 300.0}}
    case["learn_delay"] = dict.fromkeys(case["learn_delay"], far["adam"] if widest == 2 else RULES["adam"])
    assert compare(case) > 5


@settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
def test_rows_are_sorted_by_delay_then_target(data: st.DataObject) -> None:
    """As a stable sort of all synapses does it."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n_sources, n_delays, low = int(rng.integers(1, 5)), int(rng.integers(1, 7)), int(rng.integers(1, 4))
    lengths = rng.integers(0, 6, n_sources * n_delays)
    ptr = np.concatenate([[0], np.cumsum(lengths)]) + int(rng.integers(0, 9))
    target = np.concatenate([[], *(np.sort(rng.integers(0, 5, n)) for n in lengths)]).astype(np.uint32)
    row = np.repeat(np.arange(len(lengths)), lengths)
    delay = low + rng.uniform(-0.4, n_delays - 0.6, len(target))
    stays = rng.random(len(target)) < 0.3
    delay[stays] = low + row[stays] % n_delays + rng.choice([0.0, np.nan], stays.sum())
    new = np.where(np.isnan(delay), row, row // n_delays * n_delays + np.rint(delay) - low).astype(int)
    order, found = np.empty(len(target), np.int64), ptr.copy()
    moved = rewire.sort_by_delay(low, n_delays, found, target, delay, order, np.empty_like(order))
    assert moved == np.sum(new != row)
    np.testing.assert_array_equal(order, np.lexsort((target, new)))
    counts = np.bincount(new, minlength=len(lengths))
    np.testing.assert_array_equal(found, ptr[0] + np.concatenate([[0], np.cumsum(counts)]))


N_IN, N = 6, 24


def network(
    learn: object = None,
    variant: str = "interval",
    own: object = None,
    precision: Literal["double", "single"] = "double",
    **options: object,
) -> Model:
    """Drawn delays of neurons learn by Adam; those of inputs by the optimizer `own`, if one is given."""
    model = Model(variant, 3, optimizer=Adam(eta=0.02, batch_size=2), precision=precision)
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2)
    cells = model.neurons("rec", N, C_m=1.0, E_L=0.0, V_th=1.0, tau_m=20.0, t_ref=2.0, c_reg=20.0, f_target=20.0)
    learn = Adam(eta=0.4, low=1, high=9) if learn is None else learn
    once = {"rule": "fixed_indegree", "allow_multapses": False}
    model.connect(inputs, cells, indegree=3, weight=0.9, delay=2, learn_delay=own, **once)
    options = once | {"delay": (2, 5), "learn_delay": learn, "indegree": 8} | options
    model.connect(cells, cells, weight=0.1, **options)
    model.connect(cells, out, weight=0.1)
    model.connect(out, cells, weight=0.5)
    return model


def task(n_samples: int = 12, n_steps: int = 50) -> CaseTask:
    rng = np.random.default_rng(3)
    inputs, targets = rng.random((n_samples * n_steps, N_IN)) < 0.2, rng.normal(size=(n_samples * n_steps, 2))
    return CaseTask({"interval": n_steps, "learning_window": n_steps, "inputs": inputs, "targets": targets})


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """Delays of neurons by Adam, of inputs by plain descent; see `ranks.check_restart`."""
    model = network(own={"type": "gradient_descent", "eta": 3.0, "high": 6})
    rate = LearningRate(lambda iteration: 0.4 / (1 + iteration), "rec->rec.delay")
    done = ranks.run_part(
        words,
        exchange,
        model,
        task(),
        Path(folder, "single"),
        iterations=6,
        observers=[rate],
        record={"every": 1, "what": ["weights", "delays"], "synapses": 17},
    )
    if exchange.rank == 0:
        print(f"single: {done.digest}")


@pytest.mark.slow
def test_one_digest_on_any_ranks_and_after_a_restart(tmp_path: Path) -> None:
    """Synapses that moved lie in their rows again, and results tell all of them; 0.2 is what is left of a rate."""
    ranks.check_restart(__file__, tmp_path)
    for name in ("single",):
        one, part = (open_run(tmp_path / kind / name) for kind in ("one", "part"))
        for projection in one.projections:
            found, wanted = part.weights(projection), one.weights(projection)
            assert list(found) == list(wanted)
            for key, column in wanted.items():
                np.testing.assert_array_equal(found[key], column, err_msg=key)
        learned = one.weights("rec->rec")
        np.testing.assert_array_equal(learned["delay"], np.rint(learned["delay_real"]))
        assert 20 < np.sum(learned["delay"] != learned["delay_initial"]) < len(learned["delay"])
        assert learned["delay_initial"].min() >= 2 and learned["delay"].min() >= 1 and learned["delay"].max() <= 9
        with h5py.File(one.path) as file, h5py.File(part.path) as other:
            moved = file["projections/rec->rec/moved"][()]
            np.testing.assert_array_equal(moved, other["projections/rec->rec/moved"])
            assert len(moved) == 6 and moved.sum() > 20
            assert json.loads(file["projections/rec->rec"].attrs["learn_delay"])["high"] == 9.0
        with h5py.File(tmp_path / "one" / name / "record.h5") as file:
            course = file["weights/rec->rec/delay_real"][()]
        with h5py.File(tmp_path / "part" / name / "record.h5") as file:
            np.testing.assert_array_equal(file["weights/rec->rec/delay_real"], course)
        assert np.all(course[0] == np.rint(course[0])) and not np.any(course[-1] == course[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn_delay": {"type": "adam", "low": 1}}, "'rec->rec': learn_delay: high is missing"),
        ({"learn_delay": {"low": 0.5, "high": 9}}, "low = 0.5 and high = 9 must lie in 1 to .*, lowest first"),
        ({"learn_delay": {"low": 3, "high": 9}}, "the shortest delay at the start, 2 steps, must lie in low = 3 to"),
        ({"learn_delay": {"low": 1, "high": 4}}, "the longest delay at the start, 5 steps, must lie in low = 1 to"),
        ({"learn_delay": {"high": 9, "Wmax": 3}}, "learn_delay: Wmax = 3.0 is for weights, not for delays"),
        ({"learn_delay": {"high": 9, "batch_size": 2}}, "learn_delay: batch_size = 2 is for weights"),
        ({"learn_delay": {"high": 9, "scale": "log"}}, "learn_delay: scale = 'log' is for parameters of neurons"),
        ({"learn_delay": {"high": 9, "shared": True}}, "learn_delay: shared = True is for parameters of neurons"),
        ({"learn_delay": {"high": 9, "etta": 1}}, "etta"),
        ({"learn_delay": {"high": 9, "type": "adamw"}}, "learn_delay: optimizer 'adamw' decays weights; take adam"),
        ({"learn_delay_ms": {"high": 9.0}}, "learn_delay and learn_delay_ms are given: give one of them"),
        ({"plastic": False}, "learn_delay needs plastic = True; an optimizer with eta = 0 keeps the weights"),
        ({"rewire": {"l1": 0.1}, "allow_multapses": False}, "learn_delay does not go with rewire: both move"),
        ({"variant": "spike"}, "learn_delay does not go with the spike variant: "),
        ({"optimizer": {"high": 3.0}}, "optimizer: high = 3.0 is for learned parameters"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as problem:
        network(**options)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(("pre", "post"), [("rec", "out"), ("out", "rec"), ("dc", "rec")])
def test_only_spikes_onto_neurons_have_delays_that_learn(pre: str, post: str) -> None:
    model = Model()
    cells = {"rec": model.neurons("rec", 3), "out": model.readouts("out", 1), "dc": model.currents("dc", 1)}
    with pytest.raises(InputError, match="learn_delay is for projections from inputs and neurons onto neurons"):
        model.connect(cells[pre], cells[post], learn_delay=Adam(high=4))


def test_steps_and_ms() -> None:
    """A step of 0.5 ms: rates and bounds in ms are twice as many steps."""
    model = Model(dt_ms=0.5)
    cells = model.neurons("rec", 3)
    made = model.connect(cells, cells, delay_ms=2.0, learn_delay_ms={"type": "adam", "eta": 0.1, "high": 4.0})
    rule = made.learn_delay
    assert rule is not None and (rule.eta, rule.low, rule.high) == (0.2, 1.0, 8.0)
    assert (made.delay, made.delay_range, made.learn_delay_ms) == ((4, 4), (1, 8), None)
    assert model.min_delay("recurrent") == 1, "rounds are cut by the least delay that synapses may come to have"
    model = Model(dt_ms=0.1)
    cells = model.neurons("rec", 3)
    made = model.connect(cells, cells, delay_ms=0.3, learn_delay_ms={"type": "adam", "eta": 0.1, "high": 0.3})
    assert (made.delay, made.learn_delay.high) == ((3, 3), 3.0)  # 0.3/0.1 is less


def test_a_pair_has_one_synapse_whose_delay_learns() -> None:
    """Results list the synapses of a pair by their delays: two that cross would change places."""
    with pytest.raises(InputError, match=r"source \d+ has two synapses onto target \d+, learn_delay needs at most one"):
        Simulation(network(allow_multapses=True), task())


def test_bounds_need_not_be_whole(tmp_path: Path) -> None:
    """Delays start within them; what a run ends with is taken up by another one."""
    model = network(Adam(eta=3.0, low=1.6, high=5.4))
    pareprop.run(model, task(), tmp_path / "run", iterations=2, figures="none", quiet=True)
    found = open_run(tmp_path / "run").weights("rec->rec")
    assert 1.6 <= found["delay_real"].min() < 2 and 5 < found["delay_real"].max() <= 5.4
    other = network(Adam(eta=3.0, low=1.6, high=5.4))
    other.copy_weights(open_run(tmp_path / "run"))
    Simulation(other, task())


def test_a_run_shows_delays_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In a figure, over the bounds, and in a line of the report and of `pareprop info`."""
    pareprop.run(network(), task(), tmp_path / "run", iterations=4, figures="none", quiet=True)
    columns = open_run(tmp_path / "run").weights("rec->rec")
    before, after = columns["delay_initial"], columns["delay_real"]
    n = int(np.sum(np.rint(after) != before))
    wanted = f"mean {before.mean():.4g} → {after.mean():.4g} ms"
    with open_results(tmp_path / "run" / "results.h5") as file:
        left, right = delay_figure(file).axes
        assert sum(patch.get_data().values.sum() for patch in left.patches) == 2 * len(before)
        assert sorted(line.get_xdata()[0] for line in left.get_lines()) == [1.0, 9.0]
        assert [text.get_text() for text in left.get_legend().get_texts()] == ["initial", "final", "bounds"]
        np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), file["moves/rec->rec"][()])
        (line,) = (text for name, text in summarize_run(file, []).items() if name == "learned rec->rec.delay")
    assert line.startswith(wanted) and line.endswith(f", {n} of {len(before)} by whole steps")
    code, output, _ = command(capsys, "info", tmp_path / "run")
    assert code == 0 and f"learned rec->rec.delay: {line}" in output


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_ends_the_run(bad: float) -> None:
    """Bounds would hide it: the next sample tells."""
    run = Simulation(network(), task())
    run.run_samples(0, 2, "train", learn=True)
    run.engine.gradient.of_delays[0][3] = bad
    run.engine.step_optimizers()
    with pytest.raises(StateError, match=r"\(sample 2\)"):
        run.run_samples(2, 10, "train", learn=True)


def test_single_precision_learns_nearly_the_same() -> None:
    """The first steps of descent, before spikes differ."""
    found = []
    for precision in ("double", "single"):
        model = network({"type": "gradient_descent", "eta": 3.0, "high": 9}, precision=precision)
        run = Simulation(model, task())
        run.train(2)
        found.append(run.engine.show_delays()["rec->rec"])
    assert found[1].dtype == np.float32 and np.any(found[0] != np.rint(found[0]))
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


def test_delays_by_distance_and_far_bounds(tmp_path: Path) -> None:
    """Of a rule that yields its synapses: they begin where the rule puts them, in rows for all delays."""
    model = Model("interval", 3, optimizer=Adam(eta=0.02))
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2)
    cells = model.neurons("rec", N, C_m=1.0, E_L=0.0, V_th=1.0, tau_m=20.0)
    space = {"extent": (20.0, 20.0), "length": 4.0, "cutoff": 8.0}
    near = {"probability": 0.8, "space": space, "delay": {"per_length": 0.5, "offset": 2.0}}
    model.connect(inputs, cells, weight=0.9)
    model.connect(cells, cells, "distance", weight=0.1, learn_delay=Adam(eta=0.4, high=20), **near)
    model.connect(cells, out, weight=0.1)
    model.connect(out, cells, weight=0.5)
    pareprop.run(model, task(), tmp_path / "run", iterations=3, figures="none", quiet=True)
    learned = open_run(tmp_path / "run").weights("rec->rec")
    assert 2 <= learned["delay_initial"].min() < learned["delay_initial"].max() <= 6
    assert np.all(np.abs(learned["delay_real"] - learned["delay_initial"]) < 3 * 0.41)
    assert np.any(learned["delay_real"] != learned["delay_initial"])
