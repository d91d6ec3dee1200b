"""Phases of a training: what is validated, when it stops, what the test learns, and how it is scored."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import command, output_of, run_of
from params import first
from scipy.stats import binomtest

from pareprop.engines.sample import Sample
from pareprop.network.losses import LOSSES
from pareprop.runs.phases import Phases
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer, Outcome, predict_class
from pareprop.tasks import TASKS
from pareprop.tasks.base import make_task

TINY = ("n_reg=4", "n_ad=3", "batch_size=2", "pause=20", "n_cues=3", "recall=30")


def test_class_is_that_of_the_largest_mean_in_the_window():
    signal = np.array([[9.0, 0, 0], [9, 0, 0], [0, 1, 0.5], [0, 1, 2.5]])
    sample = Sample.from_raster(np.zeros((4, 1)), np.zeros((4, 3)), label=1)
    window = np.array([True, True, False, False])
    masked = Sample.from_raster(np.zeros((4, 1)), np.zeros((4, 3)), label=1, window=window)
    predictions = [
        predict_class(item, signal, 2, LOSSES[loss])
        for item, loss in ((sample, "mean_squared_error"), (sample, "cross_entropy"), (masked, "mean_squared_error"))
    ]
    softmax = np.exp(signal[2:]) / np.exp(signal[2:]).sum(axis=1, keepdims=True)
    assert predictions == [int(np.argmax(signal[2:].mean(axis=0))), int(np.argmax(softmax.mean(axis=0))), 0]


class Seen(Observer):
    """Keeps which samples ran."""

    def __init__(self) -> None:
        self.samples: list[tuple[str, int]] = []

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        self.samples.append((outcome.phase, outcome.index))


def train(*settings: str, name: str = "evidence-accumulation") -> tuple[Simulation, Phases, list[tuple[str, int]]]:
    task, seen = make_task(TASKS[name], settings), Seen()
    phases = Phases(task, task.iterations)
    simulation = Simulation(task.build_model(), task, observers=[phases, seen], settings=task.make_settings())
    simulation.train(task.iterations)
    return simulation, phases, seen.samples


def test_samples_of_all_phases_in_order():
    looks = ("validate_every=2", "validate_samples=3", "stop_below=0", "test_samples=2")
    _, phases, samples = train(*TINY, "iterations=3", *looks)
    training = [("train", index) for index in range(6)]
    validate, test = [("validate", index) for index in range(3)], [("test", 0), ("test", 1)]
    assert samples == training[:4] + validate + training[4:] + test
    assert [iteration for iteration, _ in phases.history.validations] == [2]
    assert len(phases.history.errors) == 3 and {error * 2 % 1 for error in phases.history.errors} == {0}
    assert len(phases.test.labels) == 2


def test_early_stop_needs_a_second_look():
    settings = (*TINY, "iterations=9", "validate_every=1", "validate_samples=2", "stop_samples=5", "test_samples=3")
    simulation, phases, samples = train(*settings, "stop_below=1.1")  # any error will do
    assert (simulation.iteration, phases.stopped) == (1, True)
    assert [phase for phase, _ in samples] == ["train"] * 2 + ["validate"] * 7 + ["test"] * 3
    assert phases.format_lines()[0].startswith("stopped after 1 iterations")
    simulation, phases, _ = train(*settings, "stop_below=0")
    assert (simulation.iteration, phases.stopped) == (9, False)


def test_an_interrupted_training_is_not_tested():
    task, seen = make_task(TASKS["evidence-accumulation"], (*TINY, "iterations=3", "validate_every=0")), Seen()
    phases = Phases(task, 3)
    simulation = Simulation(task.build_model(), task, observers=[phases, seen], settings=task.make_settings())
    simulation.train(2)
    assert phases.test is None and {phase for phase, _ in seen.samples} == {"train"}
    kept = phases.state(simulation)
    other = Phases(task, 3)
    other.load_state(kept)
    assert (other.history.errors, other.history.validations) == (phases.history.errors, phases.history.validations)


def weights(simulation: Simulation) -> np.ndarray:
    return np.concatenate([table.weight.copy() for table in simulation.network.list_tables().values()])


def test_only_a_phase_with_a_learning_rate_learns():
    settings = (*TINY, "iterations=2", "validate_every=0", "test_samples=3")
    untested, _, _ = train(*settings[:-1], "test_samples=0")
    tested, _, _ = train(*settings)
    np.testing.assert_array_equal(weights(tested), weights(untested))
    learned, _, _ = train(*settings, "eta_test=1e-3")
    assert np.abs(weights(learned) - weights(untested)).max() == pytest.approx(1e-3, rel=1.0)  # two steps of Adam
    assert {item.eta for item in learned.engine.plastic} == {5e-3}


@pytest.mark.usefixtures("no_figures")
def test_scores_are_in_the_results_and_said(capsys: pytest.CaptureFixture, tmp_path: Path):
    settings = (*TINY, "iterations=2", "validate_every=1", "validate_samples=2", "stop_below=0", "test_samples=5")
    code, output, errors = command(capsys, *run_of("evidence-accumulation", tmp_path / "run", *settings))
    assert (code, errors) == (0, "")
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        labels, predictions = file["test/labels"][:], file["test/predictions"][:]
        assert len(labels) == 5 and file["error"].shape == (2,) and list(file["validation/iteration"]) == [1, 2]
        found = dict(file["test"].attrs)
        assert found["accuracy"] == np.mean(labels == predictions)
        interval = binomtest(int(np.sum(labels == predictions)), 5).proportion_ci(0.95, "wilson")
        np.testing.assert_allclose([found["interval_low"], found["interval_high"]], interval)
        last = file["dynamics/last"]
        signal, target, error = (last[f"{name}_signal"][-30:] for name in ("readout", "target", "error"))
        np.testing.assert_allclose(signal.sum(axis=1), 1)  # what was compared with the target
        np.testing.assert_allclose(error, signal - target, atol=1e-12)
        assert int(np.argmax(signal.mean(axis=0))) == predictions[0]
    low, high = interval
    line = f"test accuracy: {found['accuracy']:.3f} (95 % interval {low:.2f} to {high:.2f}, n = 5)"
    assert line in output.splitlines()


@pytest.mark.usefixtures("no_figures")  # but the common one
def test_several_seeds_have_a_common_figure(capsys: pytest.CaptureFixture, tmp_path: Path):
    arguments = "--set iterations=2 --set n_step=60 --set n_rec=5 --seed 4 --seeds 2".split()
    code, output, errors = command(capsys, "run", "sine-waves", "--out", tmp_path, *arguments)
    assert (code, errors) == (0, "")
    assert (tmp_path / "learning_curves.png").stat().st_size > 1000
    losses = []
    for seed in (4, 5):
        with h5py.File(tmp_path / f"seed-{seed}" / "results.h5") as file:
            losses.append(file["loss"][:])
            assert file.attrs["seed"] == seed
    assert losses[0].shape == losses[1].shape == (2,) and np.all(losses[0] != losses[1])
    assert output.count("digest: ") >= 2


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("variant", first(0, ["spike", "interval"], rest=1))
def test_a_test_leaves_the_digest_of_the_training(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Also through a checkpoint; a test that learns changes it."""
    sizes = [f"variant={variant}", "n_rec=8", "n_in=6", "n_step=60", "periods=[60,30,20,10]", "iterations=4"]
    simulation, _, _ = train(*(text for text in sizes if "periods" not in text), name="sine-waves")
    before = simulation.hexdigest()
    simulation.test(2)
    simulation.test(1, "validate")
    assert simulation.hexdigest() == before
    simulation.run_sample(0, "test", True)
    assert simulation.hexdigest() != before
    found = []
    for k, more in enumerate((["test_samples=0"], ["test_samples=3"], ["validate_every=4", "validate_samples=2"])):
        for words in (run_of("sine-waves", tmp_path / str(k), *sizes, *more), ["resume", tmp_path / str(k)]):
            found.append(output_of(capsys, *words).splitlines()[-1])
    assert found[0].startswith("digest: ") and len(set(found)) == 1
