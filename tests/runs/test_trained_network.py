"""Runs that are opened: their network with its task goes on, is tested, and learns something else."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import small
from commands import command, output_of, refusal_of
from test_script import LEVELS, Tones, classifier, network, run

import pareprop
from pareprop import Adam, InputError, Model, open_run
from pareprop.network.losses import FunctionLoss
from pareprop.tasks.sine_waves import SineWaves


def test_a_run_of_a_script_goes_on_without_a_file(tmp_path: Path) -> None:
    """Its losses and digest are those of the whole training, and its test that of the run."""
    done, whole = run(tmp_path / "run", 3, test_samples=4), run(tmp_path / "whole", 5)
    names = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    simulation = open_run(tmp_path / "run").simulation(LEVELS)
    assert (simulation.iteration, simulation.hexdigest()) == (3, done.digest)
    assert simulation.test(4).losses == done.test.losses
    assert simulation.train(5) == whole.losses and simulation.hexdigest() == whole.digest
    assert names == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert repr(open_run(tmp_path / "run").model()) == repr(network())


def absolute(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """A loss of a script."""
    return np.sign(output - target), float(np.sum(np.abs(output - target)))


def test_a_network_with_code_of_the_script_is_given(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Without the script each command says what is missing; with it the run goes on."""
    own = network()
    own.loss = FunctionLoss(absolute)
    done = pareprop.run(own, LEVELS, tmp_path / "run", iterations=2, figures="none", quiet=True)
    out = tmp_path / "run"
    for words in (["export", "--network", out, tmp_path / "net"], ["dry-run", out, "--ranks", 2]):
        assert "has its network: its loss absolute is code of the script" in refusal_of(capsys, *words)
    assert open_run(tmp_path / "run").simulation(LEVELS, own).hexdigest() == done.digest


class Swapped(Tones):
    """The tones mean the other class."""

    def sample(self, index: int, phase: str = "train") -> pareprop.Sample:
        given = super().sample(index, phase)
        assert given.label is not None and given.target is not None
        return pareprop.Sample(given.inputs, given.target[:, ::-1], label=1 - given.label)


def test_a_network_is_trained_on_another_task(tmp_path: Path) -> None:
    """It begins with the weights of the run and with no iteration done; the run stays as it was."""
    done = pareprop.run(classifier(), Tones(), tmp_path / "run", iterations=30, figures="none", quiet=True)
    tuned = open_run(tmp_path / "run").simulation(Swapped(), fine_tune=True)
    assert (tuned.iteration, tuned.losses) == (0, [])
    before = tuned.test(16)
    assert done.simulation.test(16).accuracy > 0.9 and before.accuracy < 0.1
    tuned.train(100)
    assert tuned.test(16).accuracy > 0.9 and tuned.test(16) < before / 2


def test_weights_are_copied_by_name(tmp_path: Path) -> None:
    """A network of another seed computes what the trained one computes; its feedback stays its own."""
    done = run(tmp_path / "run", 3)
    stds = dict.fromkeys(("into", "among", "onto", "back"), 0.05)
    rule = Adam(eta=5e-3, batch_size=2)
    other = small.network(n_in=20, cell={"t_ref": 3.0}, **stds, seed=9, optimizer=rule)
    assert other.copy_weights(done.open()) == ["in->rec", "rec->rec", "rec->out"]
    simulation = pareprop.Simulation(other, LEVELS)
    assert simulation.test(3).losses == done.simulation.test(3).losses
    simulation.train(2)  # which the copied synapses learn
    assert simulation.test(3).losses != done.simulation.test(3).losses


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    opened = run(tmp_path / "run", 1).open()
    wrong = Model("interval")
    wrong.connect(wrong.inputs("in", 20), wrong.neurons("rec", 21))
    for model, arguments, words in (
        (wrong, (opened,), "copy_weights: projection 'in->rec': its post has 20 cells in the run, 21 in the model"),
        (network(), (opened, ["rec->in"]), "copy_weights: the model has no projection 'rec->in'"),
        (network(), ("runs/x",), "copy_weights: run = 'runs/x' must be what open_run returns"),
    ):
        with pytest.raises(InputError) as found:
            model.copy_weights(*arguments)
        assert str(found.value).startswith(words)


def test_a_task_of_the_package_needs_no_script(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A script's network on sine waves: every command works from the directory, wherever it lies."""
    task = SineWaves(n_in=20, n_rec=20, n_step=60, periods=(60, 30, 20, 10))
    done = pareprop.run(network(), task, tmp_path / "run", iterations=2, figures="none", quiet=True)
    whole = pareprop.run(network(), task, tmp_path / "whole", iterations=4, figures="none", quiet=True)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert command(capsys, "dry-run", tmp_path / "moved", "--ranks", 2)[0] == 0
    assert open_run(tmp_path / "moved").simulation().hexdigest() == done.digest
    output = output_of(capsys, "resume", tmp_path / "moved", "--set", "iterations=4")
    assert output.splitlines()[-1] == f"digest: {whole.digest}"


def test_spikes_for_elephant(tmp_path: Path) -> None:
    """Trains of each cell hold the spikes of the sample, of several populations by their names."""
    pytest.importorskip("neo")
    model = network()
    more = model.neurons("more", 5, "iaf", C_m=1.0, E_L=0.0, V_th=0.3, tau_m=20.0, t_ref=3.0)
    model.connect(model.populations[0], more, weight=0.2)
    opened = pareprop.run(model, LEVELS, tmp_path / "run", iterations=1, figures="none", quiet=True).open()
    for of, names in (("neurons", ["rec"] * 20 + ["more"] * 5), ("inputs", ["in"] * 20)):
        segment, spikes = opened.to_neo("last", of), opened.spikes("last", of)
        trains = segment.spiketrains
        assert [train.annotations["population"] for train in trains] == names and len(spikes["id"])
        assert [train.annotations["gid"] for train in trains] == list(range(len(names)))
        found = {(float(t), k) for k, train in enumerate(trains) for t in train.rescale("ms").magnitude}
        assert found == set(zip(spikes["time_ms"].tolist(), spikes["id"].tolist(), strict=True))
        assert {float(train.t_stop) for train in trains} == {float(LEVELS.n_steps)}


def test_runs_of_scripts_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The setting that differs is named, in words of the model."""
    run(tmp_path / "a", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pareprop.run(network(std=0.06), LEVELS, tmp_path / "b", iterations=1, figures="none", quiet=True)
    _, output, _ = command(capsys, "compare", tmp_path / "a", tmp_path / "b")
    assert "configuration: model.projections.rec->rec.weight.std = 0.05 in the first, 0.06 in the second" in output
