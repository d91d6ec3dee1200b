"""The tasks: their data against independent counts and formulas, equal on all ranks, their learning against NEST."""

from itertools import pairwise, product
from pathlib import Path

import networks
import numpy as np
import pytest
from case_files import RECORDINGS
from commands import as_options, digests, on_ranks
from run_nest import run_nest
from small import raster
from test_recordings import task, write_recordings

from pareprop import rng
from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.network.optimizers import OF_VALUES
from pareprop.network.parameters import Normal
from pareprop.simulation.loop import Simulation
from pareprop.tasks import TASKS, paths
from pareprop.tasks.base import make_task


@pytest.mark.parametrize("name", sorted(TASKS.keys() - {"data"}))  # which is what the user writes
def test_no_task_gives_cause_for_notices(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    write_recordings(tmp_path, n=100 if name == "n-mnist" else 0)
    if name == "gym":
        request.getfixturevalue("gymnasium")
    fields = TASKS[name].model_fields
    kinds = ("symmetric", "random", "adaptive") if "feedback" in fields else (None,)
    for feedback, indegree in product(kinds, (0, 3) if "indegree" in fields else (None,)):
        given = {"feedback": feedback, "indegree": indegree, "data": str(tmp_path) if name == "n-mnist" else None}
        chosen = make_task(TASKS[name], {key: value for key, value in given.items() if value is not None})
        assert Simulation(chosen.build_model(), chosen).notices.lines == [], given


# ---- trajectories ----------------------------------------------------------------------------------------------------


def test_lemniscate_is_a_lying_eight():
    x, y = task("lemniscate").sample(0).target.T
    assert len(x) == 1258
    np.testing.assert_allclose(y**2, 4 * x**2 * (1 - x**2), atol=1e-12)  # sin(2p)^2 = 4 sin(p)^2 cos(p)^2
    assert (x[0], y[0]) == (0, 0) and x[314] == pytest.approx(1, abs=1e-4)


def test_noise_is_frozen_and_of_its_rate():
    chosen = task("lemniscate")
    first, later = (raster(chosen.sample(index).inputs, 1258, 100) for index in (0, 7))
    np.testing.assert_array_equal(first, later)
    assert not first[0].any()
    assert first.mean() == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / first.size) ** 0.5)
    assert np.any(first != raster(task("lemniscate", "seed=2").sample(0).inputs, 1258, 100))


@pytest.mark.parametrize("text", ["x,y\n0,0\n\n3,0\n# remark\n3,4\n", "0 0\n3 0\n3 0\n3 4\n", "0;0\n3;0\n3;4"])
def test_path_of_a_file(tmp_path: Path, text: str):
    file = tmp_path / "path.csv"
    file.write_text(text)
    points = paths.resample_path(paths.read_path(file), 8)
    np.testing.assert_allclose(points, [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)], atol=1e-12)
    target = task("handwriting", f"path={file}", "points=8").sample(0).target
    np.testing.assert_allclose(target[::8, 0], points[:, 0] / 3 - np.mean(points[:, 0] / 3))
    np.testing.assert_allclose(target[12], (target[8] + target[16]) / 2)  # interpolated between points


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0\n1,one\n", "line 2, '1,one', must be two numbers"),
        ("0,0\n1,2,3\n", "line 2"),
        ("0,0\n1,inf\n", "line 2, '1,inf', must be finite"),
        ("1,1\n1,1\n", "fewer than two different points"),
        ("", "fewer than two different points"),
        (None, "No such file"),
    ],
)
def test_bad_path_files_are_named(tmp_path: Path, text: str | None, message: str):
    file = tmp_path / "path.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        task("handwriting", f"path={file}")
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("word", ["", "  ", "größe"])
def test_words_that_the_font_lacks(word: str):
    with pytest.raises(InputError, match=f"word = '{word.strip()}'"):
        task("handwriting", f"word={word}")


# ---- evidence accumulation -------------------------------------------------------------------------------------------


def test_evidence_trials_by_their_spikes():
    chosen, n, on_target, sides = task("evidence-accumulation"), 200, 0, 0
    rates = np.zeros(3)
    for index in range(n):
        sample = chosen.sample(index)
        spikes = raster(sample.inputs, 2250, 40).reshape(2250, 4, 10)
        assert not spikes[:2100, 2].any() and not spikes[1050:, :2].any()
        cues = np.array([spikes[150 * k + 50 : 150 * k + 150, :2].sum(axis=(0, 2)) for k in range(7)])
        assert not any(spikes[150 * k : 150 * k + 50, :2].any() for k in range(7))
        assert np.all((cues > 0).sum(axis=1) == 1)  # each cue is on one side
        right = int((cues[:, 1] > 0).sum())
        assert sample.label == int(right > 3)
        np.testing.assert_array_equal(sample.target, np.tile(np.eye(2)[sample.label], (2250, 1)))
        on_target += max(right, 7 - right)
        sides += sample.label
        rates += cues.sum() / 7000 / n, spikes[2100:, 2].mean() / n, spikes[1:, 3].mean() / n
    np.testing.assert_allclose(rates, (0.04, 0.04, 0.01), rtol=0.02)
    # cues on the majority side: expectation of max(k, 7 - k) for a binomial k of 7 with 0.7
    k = np.arange(8)
    share = np.array([1, 7, 21, 35, 35, 21, 7, 1]) * 0.7**k * 0.3 ** (7 - k)
    assert on_target / n == pytest.approx(np.sum(share * np.maximum(k, 7 - k)), abs=0.25)
    assert abs(sides / n - 0.5) < 0.15


# ---- ranks and NEST --------------------------------------------------------------------------------------------------

SMALL = (
    ("lemniscate", "iterations=2", "n_rec=30", "n_step=300"),
    ("handwriting", "iterations=2", "n_rec=30", "points=40"),
    ("evidence-accumulation", "iterations=2", "batch_size=2", "n_reg=7", "n_ad=6", "validate_every=1",
     "validate_samples=3", "test_samples=4", "stop_below=0.5", "stop_samples=3", "pause=50", "n_cues=3"),
    ("n-mnist", "iterations=3", "n_rec=20", "test_samples=3"),
    ("n-mnist", "iterations=2", "variant=interval", "batch_size=3", "n_rec=20", "test_samples=3"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.mpi
def test_equal_on_any_number_of_ranks(tmp_path: Path):
    write_recordings(tmp_path / "set")
    found, data = [], {"n-mnist": {"data": tmp_path / "set"}}
    for n in (1, 3):
        commands = [
            ["run", name, "--out", tmp_path / f"{n}-{k}", *as_options(*texts, **data.get(name, {}))]
            for k, (name, *texts) in enumerate(SMALL)
        ]
        codes, output, errors = on_ranks(n, commands)
        assert (codes, errors) == ([0] * len(SMALL), [])
        found.append(digests(output))
    assert len(set(found[0])) == len(SMALL)
    assert found[0] == found[1]


class Quiet:
    """The samples of a task, without input in steps 0 and 1: NEST treats a spike in step 1 of an interval wrongly."""

    def __init__(self, chosen, silent_steps: int) -> None:
        self.chosen, self.n_steps, self.learning_window = chosen, chosen.n_steps, chosen.learning_window
        self.n_inputs, self.silent_steps = chosen.build_model().size("input"), silent_steps

    def sample(self, index: int, phase: str = "train") -> Sample:
        original = self.chosen.sample(index, phase)
        spikes = raster(original.inputs, self.n_steps, self.n_inputs)
        spikes[: self.silent_steps] = False
        return Sample.from_raster(spikes, original.target)


def parameters(run: Simulation, population) -> dict:
    """NEST's parameters of a population, with what was drawn for each neuron."""
    values = population.params.model_dump(exclude={"V_min"})
    for name, value in values.items():
        if isinstance(getattr(population.params, name), Normal):
            key = rng.make_key(run.model.seed, f"{population.name}/{name}")
            values[name] = value["mean"] + value["std"] * rng.draw_normal(key, np.arange(population.size), 1)[:, 0]
    return values


def specification(run: Simulation, chosen: Quiet, n_samples: int) -> dict:
    """Network and samples as the oracle takes them, before training."""
    weights = {f"w_{key}": value for key, value in networks.matrices(run, lambda table: table.weight.copy()).items()}
    samples = [chosen.sample(index) for index in range(n_samples)]
    spec = weights | {
        "variant": run.model.variant,
        "groups": [
            {"model": item.model, "n": item.size, "params": parameters(run, item)}
            for item in run.model.of_role("recurrent")
        ],
        "readout": run.model.of_role("readout")[0].params.model_dump(exclude={"V_min"}),
        "w_fb": run.network.build_dense_feedback().T,
        "inputs": np.concatenate([raster(sample.inputs, chosen.n_steps, chosen.n_inputs) for sample in samples]),
        "targets": np.concatenate([sample.target for sample in samples]),
        "optimizer": run.model.optimizer.model_dump(exclude={*OF_VALUES}, exclude_none=True),
    }
    if run.model.variant == "spike":
        del spec["readout"]["loss"]
        window = np.arange(chosen.n_steps) >= chosen.n_steps - chosen.learning_window
        return spec | {"window": np.tile(window, n_samples)}
    del spec["optimizer"]["optimize_each_step"]
    window = {"interval": chosen.n_steps, "learning_window": chosen.learning_window}
    return spec | window | {"average_gradient": chosen.chosen.make_settings().average_gradient}


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "settings", "n_samples"),
    [
        ("lemniscate", ["n_step=500"], 1),
        ("handwriting", ["points=60"], 1),
        ("evidence-accumulation", ["batch_size=2"], 2),
        ("lemniscate", ["variant=spike", "n_step=500"], 1),
        ("handwriting", ["variant=spike", "points=60"], 1),
        ("evidence-accumulation", ["variant=spike"], 1),
        ("n-mnist", ["silent=0.2"], 6),
        ("n-mnist", ["silent=0.2", "variant=interval", "batch_size=2", "n_rec=150"], 2),
    ],
)
def test_first_iteration_is_that_of_nest(name: str, settings: list[str], n_samples: int):
    pytest.importorskip("nest", reason="NEST (extra `peer`) is not installed")
    data = [f"data={RECORDINGS}", "test_samples=3", "hold_out=2", "validate_every=0"] if name == "n-mnist" else []
    chosen = task(name, *settings, *data)
    quiet = Quiet(chosen, 2 if chosen.variant == "interval" else 0)
    spikes: list[tuple[int, int]] = []
    run = Simulation(chosen.build_model(), quiet, settings=chosen.make_settings())
    expected = run_nest(specification(run, quiet, n_samples))
    for index in range(n_samples):
        run.run_sample(index, "train", learn=True)
        steps, ids = run.engine.log.list_spikes(chosen.n_steps)
        spikes += zip((steps + index * chosen.n_steps).tolist(), ids.tolist(), strict=True)
    run.engine.step_optimizers()
    assert spikes == list(zip(expected["spike_steps"].tolist(), expected["spike_ids"].tolist(), strict=True))
    assert len(spikes) > 100
    shown = run.engine.show_weights()
    untrained = Simulation(chosen.build_model(), quiet, settings=chosen.make_settings())
    before = networks.matrices(untrained, lambda table: table.weight)
    after = networks.matrices(run, lambda table: shown.get(id(table), table.weight))
    for key, weights in after.items():
        wanted = expected[f"w_{key}"].copy()
        if name == "evidence-accumulation" and chosen.variant == "spike" and key != "in":
            # the last update in NEST takes a spike in step n_steps + 2, which a refractory neuron (5 steps) cannot give
            refractory = np.unique([i for step, i in spikes if step + 5 >= chosen.n_steps + 2])
            assert 0 < len(refractory) < 20
            wanted[:, refractory] = weights[:, refractory]
        np.testing.assert_allclose(weights, wanted, rtol=0, atol=1e-9, err_msg=key)
        assert np.nanmax(np.abs(weights - before[key])) > 1e-6, f"{key} learned nothing"


def test_trajectory_is_recorded_over_the_iterations():
    kept = task("lemniscate").list_recorded_samples()
    places = [index for (phase, index) in kept if phase == "train"]
    assert kept["test", 0] == "last" and kept["train", 0] == "first" and len(kept) == 6
    assert all(b > a for a, b in pairwise(sorted(places)))
