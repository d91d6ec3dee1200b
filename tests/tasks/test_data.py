"""Networks of a configuration trained on data of a file: against the library, in all formats, and what is refused.

One file, because all tests start from the same data and configuration.
"""

import csv
import io
import json
import pickle
import re
import tomllib
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from commands import as_options, command, digests, on_ranks, output_of, refusal_of
from params import first

from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.network import from_tables
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, AdamW, GradientDescent
from pareprop.network.parameters import Normal, Uniform
from pareprop.plots import panels
from pareprop.runs import config, log
from pareprop.runs.opened import open_run
from pareprop.runs.script import run
from pareprop.simulation.loop import Simulation

N, STEPS, INPUTS = 6, 40, 5
NETWORK = """
[task]
name = "data"
data = "DATA"
n_train = 4
[run]
iterations = 6
seed = 3
[[model.populations]]
name = "in"
role = "input"
size = 5
[[model.populations]]
name = "a"
role = "recurrent"
size = 7
C_m = 1.0
E_L = 0.0
V_th = 0.4
tau_m = { mean = 20.0, std = 1.0 }
c_reg = 2.0
[[model.populations]]
name = "b"
role = "recurrent"
model = "iaf_adapt"
size = 4
C_m = 1.0
E_L = 0.0
V_th = 0.4
adapt_beta = 0.1
[[model.populations]]
name = "out"
role = "readout"
size = 2
C_m = 1.0
[[model.projections]]
pre = "in"
post = "a"
weight = { mean = 0.0, std = 0.6 }
[[model.projections]]
pre = "in"
post = "b"
rule = "fixed_probability"
probability = 0.8
weight = { low = 0.1, high = 0.6 }
plastic = false
[[model.projections]]
pre = "a"
post = "b"
rule = "fixed_indegree"
indegree = 3
delay = [2, 4]
weight = 0.3
optimizer = { type = "gradient_descent", eta = 1e-5 }
[[model.projections]]
pre = "b"
post = "out"
rule = "explicit"
source = [0, 1, 3]
target = [0, 1, 1]
weight = [0.1, 0.2, -0.1]
[[model.projections]]
pre = "out"
post = ["a", "b"]
weight = { mean = 0.0, std = 0.5 }
"""


pytestmark = pytest.mark.usefixtures("no_figures")


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.random((N, STEPS, INPUTS)) < 0.2, rng.normal(size=(N, STEPS, 2))


def write_samples(folder: Path, kind: str, **changes: object) -> Path:
    """A file of samples of some format; the configuration beside it. `None` leaves an array out."""
    raster, targets = arrays()
    inputs = {"raster": raster} if "raster" in kind else {"spikes": np.argwhere(raster)[::-1]}
    values = {name: value for name, value in ({"targets": targets} | inputs | changes).items() if value is not None}
    path = folder / f"data.{kind.split()[1]}"
    if path.suffix == ".npz":
        np.savez(path, **values)
    else:
        with h5py.File(path, "w") as file:
            for name, value in values.items():
                file[name] = value
    (folder / "my.toml").write_text(NETWORK.replace("DATA", str(path)))
    return folder / "my.toml"


class ByHand:
    """The same samples without the file."""

    n_steps = learning_window = STEPS

    def sample(self, index: int, phase: str = "train") -> Sample:
        raster, targets = arrays()
        return Sample.from_raster(raster[index % 4], targets[index % 4])


def by_hand(variant: str) -> str:
    model = Model(variant, 3, optimizer=Adam(eta=1e-3) if variant == "interval" else GradientDescent(eta=1e-5))
    cell = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.4}
    inputs = model.inputs("in", 5)
    a = model.neurons("a", 7, "iaf", **cell, tau_m=Normal(mean=20.0, std=1.0), c_reg=2.0)
    b = model.neurons("b", 4, "iaf_adapt", **cell, adapt_beta=0.1)
    out = model.readouts("out", 2, C_m=1.0)
    model.connect(inputs, a, weight=Normal(std=0.6))
    model.connect(inputs, b, "fixed_probability", probability=0.8, weight=Uniform(low=0.1, high=0.6), plastic=False)
    slow = {"type": "gradient_descent", "eta": 1e-5}
    model.connect(a, b, "fixed_indegree", indegree=3, delay=(2, 4), weight=0.3, optimizer=slow)
    model.connect(b, out, "explicit", source=[0, 1, 3], target=[0, 1, 1], weight=[0.1, 0.2, -0.1])
    model.connect(out, a, weight=Normal(std=0.5))
    model.connect(out, b, weight=Normal(std=0.5))
    simulation = Simulation(model, ByHand())
    simulation.train(6)
    assert min(simulation.rates) > 1.0
    return simulation.hexdigest()


@pytest.mark.mpi
@pytest.mark.parametrize("variant", first(0, ["spike", "interval"], rest=1))
def test_the_same_as_in_the_library_on_any_ranks(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_samples(tmp_path, "raster npz")
    chosen = as_options("record.every=2", "checkpoint.every=2", variant=variant)
    output = output_of(capsys, "run", path, *chosen, "--out", tmp_path / "one")
    assert digests(output.splitlines()) == [by_hand(variant)]
    parts = [["run", path, *chosen, "--out", tmp_path / "two", "--until", 3], ["resume", tmp_path / "two"]]
    codes, lines, errors = on_ranks(2, parts)
    assert codes == [0, 0], errors
    assert digests(lines)[-1] == by_hand(variant)
    assert command(capsys, "compare", tmp_path / "one", tmp_path / "two")[1] == "no difference\n"


@pytest.mark.parametrize("kind", ["raster h5", "spikes npz", "spikes h5"])
def test_formats_say_the_same(kind: str, tmp_path: Path) -> None:
    task, raster = config.load(str(write_samples(tmp_path, kind))).task, arrays()[0]
    assert task.n_steps == STEPS
    for index, place in ((0, 0), (5, 1)):
        sample = task.sample(index)
        np.testing.assert_array_equal(small.raster(sample.inputs, STEPS, INPUTS), raster[place])
        np.testing.assert_array_equal(sample.target, arrays()[1][place])
    np.testing.assert_array_equal(task.sample(3, "test").target, arrays()[1][5])
    shuffled = config.load(str(tmp_path / "my.toml"), ["shuffle=true"]).task
    order = [shuffled.split.locate_sample(index, "train")[1] for index in range(40)]
    assert all(sorted(order[k : k + 4]) == [0, 1, 2, 3] for k in range(0, 40, 4)) and order[:4] * 10 != order


def test_rates_are_drawn_anew_for_each_epoch_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The first epoch has the spikes of before; each other one, at any place in it, others of the same rate."""
    path = write_samples(tmp_path, "raster npz", raster=None, rates=np.full((N, INPUTS), 100.0))

    def rasters(indices: range, phase: str = "train", *settings: str) -> np.ndarray:
        task = config.load(str(path), settings).task
        return np.array([small.raster(task.sample(index, phase).inputs, STEPS, INPUTS) for index in indices])

    once, anew = rasters(range(8)), rasters(range(200), "train", "redraw=true")
    assert np.array_equal(once[:4], once[4:]) and np.array_equal(once[:4], anew[:4])
    assert len({raster.tobytes() for raster in anew}) == 200
    probability = 1 - np.exp(-0.1)
    assert abs(anew.mean() - probability) < 5 * np.sqrt(probability / anew.size)
    assert np.array_equal(rasters(range(2), "test"), rasters(range(2), "test", "redraw=true"))
    path = write_samples(tmp_path, "raster npz")
    told = refusal_of(capsys, "run", path, "--set", "redraw=true", "--out", tmp_path / "no")
    assert f"redraw = True needs rates, from which spikes are drawn; {tmp_path / 'data.npz'} has none" in told


def test_every_problem_of_a_network_in_one_go(tmp_path: Path) -> None:
    path = write_samples(tmp_path, "raster npz")
    text = path.read_text().replace("tau_m = { mean", "tau_mm = { mean").replace('"iaf_adapt"', '"iaf_adap"')
    text = text.replace('pre = "b"', 'pre = "c"').replace("size = 2", "size = 0")
    path.write_text(text + "[learning]\netta = 3\nWmin = 200.0\n")
    with pytest.raises(InputError) as caught:
        config.load(str(path))
    told = str(caught.value)
    for part in (
        f"{path}: [learning] etta: unknown parameter 'etta', did you mean 'eta'?",
        "populations[1] 'a': unknown parameter 'tau_mm', did you mean 'tau_m'?",
        "populations[2] 'b': unknown model 'iaf_adap' in variant 'interval', did you mean 'iaf_adapt'?",
        "populations[3] 'out': size = 0: Input should be greater than or equal to 1",
        "must be at least Wmin = 200.0",
    ):
        assert part in told, told
    path.write_text(NETWORK.replace('pre = "b"', 'pre = "bb"').replace("indegree = 3", "indegre = 3\nfoo = 1"))
    with pytest.raises(InputError) as caught:
        config.load(str(path))
    told = str(caught.value)
    for part in (
        "projections[3]: pre = 'bb' is not a population, did you mean 'b'?",
        "unknown parameter 'foo'",
        "projections[2]: unknown parameter 'indegre', did you mean 'indegree'?",
    ):
        assert part in told, told


WRONG = {
    "no targets": ({"targets": None}, "targets (n_samples, n_steps, n_readouts) is missing"),
    "other names": (
        {"targets": None, "raster": None, "y": np.zeros(N), "x": np.zeros(N)},
        "it has x, y, which are not read; read are targets, rates, raster, spikes, ",
    ),
    "readouts": ({"targets": np.zeros((N, STEPS, 3))}, "targets has shape (6, 40, 3), must be (6, 40, 2)"),
    "no inputs": ({"raster": None}, "has no inputs; the network of 5 inputs needs one of rates, raster, spikes"),
    "inputs": ({"raster": np.zeros((N, STEPS, 4))}, "raster has shape (6, 40, 4), must be (6, 40, 5)"),
    "text": ({"targets": np.full((N, STEPS, 2), "x")}, "must be numbers"),
    "currents": ({"currents": np.zeros((N, STEPS, 1))}, "currents: the network has 0"),
    "few": ({"targets": np.zeros((3, STEPS, 2)), "raster": np.zeros((3, STEPS, 5))}, "n_train = 4 must be at most 3"),
    "label": ({"labels": np.zeros(N)}, "labels has type float64, must be whole numbers"),
    "class": ({"labels": np.full(N, 2)}, "label 2 of sample 0 is not one of the 2 readouts, 0 to 1"),
    "names": ({"class_names": ["a", "b", "c"]}, "class_names has shape (3,), must be (2,)"),
    "id": ({"raster": None, "spikes": np.array([[0, 0, 9]])}, "spikes: id 9 must lie in 0 to 4"),
}


@pytest.mark.parametrize(("name", "kind"), [*((name, "npz") for name in WRONG), ("other names", "h5")])
def test_a_file_that_does_not_fit_is_refused(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    changes, expected = WRONG[name]
    config = write_samples(tmp_path, f"raster {kind}", **changes)
    assert expected in refusal_of(capsys, "run", config, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def huge(path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 40, 2)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("targets.npy", header.getvalue() + bytes(100))


def write_pickle(path: Path) -> None:
    np.savez(path, targets=np.array([pickle.Unpickler], object))


def write_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["targets"] = h5py.ExternalLink("/etc/passwd", "x")


def write_claimed_size(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("targets", (1, 2**40, 2), "f8", chunks=(1, 64, 2))
        file.create_dataset("raster", (1, 2**40, 5), "u1", chunks=(1, 64, 5))


@pytest.mark.parametrize(
    ("kind", "make", "expected"),
    [
        ("npz", huge, "takes 703687441776640 bytes; it has 228"),
        ("npz", write_pickle, "Object arrays cannot be loaded"),
        ("h5", write_link, "'targets' is a link to another place"),
        ("h5", write_claimed_size, "bytes per sample, at most 4294967296 are read"),
        ("npz", lambda path: path.write_text("hello"), "File is not a zip file"),
        ("h5", lambda path: path.write_text("hello"), "file signature not found"),
        ("npz", lambda path: None, "No such file or directory"),
    ],
)
def test_a_hostile_file_is_refused(
    kind: str, make, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "my.toml").write_text(NETWORK.replace("DATA", str(tmp_path / f"data.{kind}")))
    make(tmp_path / f"data.{kind}")
    code, _, errors = command(capsys, "run", tmp_path / "my.toml", "--out", tmp_path / "run")
    assert code == 2 and errors.startswith(f"pareprop: error: data {tmp_path}") and expected in errors, errors


def test_labels_and_test_phase(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_samples(tmp_path, "raster h5", labels=np.arange(N) % 2)
    words = ["run", path, "--set", "test_samples=2"]
    assert "test accuracy: " in output_of(capsys, *words, "--out", tmp_path / "run")
    assert "n_train = 0 must lie in 1 to 5" in refusal_of(capsys, *words, "--set", "n_train=0")


@pytest.mark.parametrize("kind", ["raster npz", "raster h5", "spikes npz"])
def test_labels_alone_are_enough(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As with targets that are 1 for the class; spikes have no axis of steps."""
    labels = np.arange(N) % 2
    targets = np.tile(np.eye(2)[labels][:, None], (1, STEPS, 1))
    path = write_samples(tmp_path, kind, labels=labels, targets=targets)
    whole = output_of(capsys, "run", path, "--out", tmp_path / "whole")
    names = ["ä" if "npz" in kind else "a", "b" * 30]
    path = write_samples(tmp_path, kind, labels=labels, targets=None, class_names=names)
    steps = as_options(f"steps={STEPS}") if "spikes" in kind else []
    alone = output_of(capsys, "run", path, *steps, "--out", tmp_path / "alone")
    assert digests(whole.splitlines()) == digests(alone.splitlines())
    with h5py.File(tmp_path / "alone" / "results.h5") as file:
        assert file.attrs["output_names"].tolist() == names
        for sample in file["dynamics"].values():
            label = np.argmax(sample["target_signal"][0])
            assert sample.attrs["label"] == label and panels.describe_moment(file, sample).endswith(
                f", class {panels.shorten_name(names[label])}"
            )
    if steps:
        told = refusal_of(capsys, "run", path, "--out", tmp_path / "no")
        assert "no array has an axis of steps: give steps in section [task]" in told
    else:
        told = refusal_of(capsys, "run", path, "--set", "steps=41", "--out", tmp_path / "no")
        assert "raster has 40 steps, steps = 41 in section [task]" in told


def test_counted_samples(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of a file of 6: which train, validate and test, for counts of all or some; all that are held out are run."""
    path = write_samples(tmp_path, "raster h5", labels=np.arange(N) % 2)

    def split(*settings: str) -> list[list[int]]:
        parts = config.load(str(path), settings).task.split.parts
        return [list(parts[phase]) for phase in ("train", "validate", "test")]

    assert split("n_train=2", "n_validate=1", "n_test=2") == [[0, 1], [2], [3, 4]]
    assert split("n_train=0", "n_validate=1", "n_test=2") == [[0, 1, 2], [3], [4, 5]]
    assert split("n_train=2", "n_test=1") == [[0, 1], [2, 3, 4], [5]]
    assert split("n_train=2", "n_validate=3") == [[0, 1], [2, 3, 4], [5]]
    counts = as_options("n_train=2", "n_validate=2", "n_test=2", "validate_every=3")
    text = output_of(capsys, "run", path, *counts, "--out", tmp_path / "run")
    assert "2 train (0 to 1 of the file, counted from 0), 2 validate (2 to 3 of the file" in text
    assert "test (4 to 5 of the file" in text and "n = 2)" in text
    few = as_options("n_validate=2", "n_test=2", "validate_every=3", "validate_samples=1", "test_samples=0")
    text = output_of(capsys, "run", path, *as_options("n_train=2"), *few, "--out", tmp_path / "few")
    assert "1 validate (2 to 2 of the file, counted from 0) of n_validate = 2, as validate_samples = 1" in text
    assert "none test of n_test = 2, as test_samples = 0" in text and "test accuracy" not in text
    for settings, words in (
        (["n_train=4", "n_test=2", "validate_every=1"], "validate_every = 1 needs n_validate: no samples of "),
        (["n_train=4", "n_validate=1", "n_test=2"], "n_train = 4, n_validate = 1, n_test = 2 make 7 samples, "),
        (["n_train=0", "n_test=6"], "n_test = 6 and at least one that trains make 7 samples"),
        (["n_test=1", "test_samples=2"], "test_samples = 2 must be at most 1, the samples of "),
        (["n_validate=1", "validate_every=1", "validate_samples=2"], "validate_samples = 2 must be at most 1"),
    ):
        assert words in refusal_of(capsys, "run", path, *as_options(*settings), "--out", tmp_path / "no")


def test_patience_needs_no_test(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of a file without samples that test, none is tested after an early end."""
    path = write_samples(tmp_path, "raster h5", labels=np.arange(N) % 2)
    words = as_options("n_train=3", "n_validate=3", "validate_every=1", "patience=1", "eta=1e-30", "iterations=9")
    text = output_of(capsys, "run", path, *words, "--out", tmp_path / "run")
    assert "stopped after" in text and "test accuracy" not in text


def test_epochs_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Three samples in batches of two: passes end in iterations 2, 3, 5, 6; also after a restart, with one validation
    in iteration 4, which belongs to the third pass.
    """
    pytest.importorskip("tensorboard")
    path, out = write_samples(tmp_path, "raster h5", labels=np.arange(N) % 2), tmp_path / "run"
    chosen = as_options("n_train=3", "batch_size=2", "validate_every=4", "test_samples=2", "validate_samples=1")
    more = as_options("window=10", "log=tensorboard")
    text = output_of(capsys, "run", path, *chosen, *more, "--until", 4, "--out", out)
    places = "3 train (0 to 2 of the file, counted from 0), 1 validate (3 to 3 of the file, counted from 0), "
    places += "2 test (4 to 5 of the file, counted from 0)"
    assert f"samples: {places}; a pass through those that train (an epoch) takes 1.5 iterations\n" in text
    text = output_of(capsys, "resume", out)
    with h5py.File(out / "results.h5") as file:
        losses, right, value = file["loss"][()], 1 - file["error"][()], file["validation/value"][()]
        validated, kept = file["validation/loss"][()], {name: item[()] for name, item in file["epochs"].items()}
        assert all(item.attrs["unit"] == "1" for item in (file["validation/loss"], *file["epochs"].values()))
    cuts = [slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)]
    rows = {
        "epoch": [1, 2, 3, 4],
        "iteration": [2, 3, 5, 6],
        "loss": [losses[cut].mean() for cut in cuts],
        "loss_per_step": [losses[cut].mean() / 10 for cut in cuts],
        "accuracy": [right[cut].mean() for cut in cuts],
        "validation_loss": [np.nan, np.nan, validated[0], np.nan],
        "validation_accuracy": [np.nan, np.nan, 1 - value[0], np.nan],
    }
    assert list(open_run(out).epochs) == list(rows)
    written = list(csv.DictReader((out / "epochs.csv").open()))
    for name, values in rows.items():
        np.testing.assert_allclose(kept[name], values)
        np.testing.assert_allclose([float(row[name] or "nan") for row in written], values)
    steps = list(csv.DictReader((out / "loss.csv").open()))
    np.testing.assert_allclose([float(row["accuracy"]) for row in steps], right)
    assert [row["validation_loss"] for row in steps] == ["", "", "", f"{validated[0]:.9g}", "", ""]
    line = f"epoch 4, 6 iterations: loss {losses[5]:.4g} ({losses[5] / 10:.4g} per step), accuracy {right[5]:.4g}\n"
    assert line in text and line in (out / "run.log").read_text()


def test_short_epochs_are_not_all_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six within a second the first, the last and those that validate; samples are named that are kept for a
    validation that never comes.
    """
    path = write_samples(tmp_path, "raster h5", labels=np.arange(N) % 2)
    monkeypatch.setattr(log, "monotonic", lambda: 5.0)
    more = as_options("n_train=1", "n_validate=2", "validate_every=0")
    _, text, errors = command(capsys, "run", path, *more, "--out", tmp_path / "run")
    for told in (text, (tmp_path / "run" / "run.log").read_text()):
        assert [line.split("epoch ")[1][0] for line in told.splitlines() if "epoch " in line and "loss " in line] == [
            "1",
            "6",
        ]
    assert "n_validate: no effect, as nothing is validated" in errors
    more = as_options("n_train=1", "validate_every=2")
    text = output_of(capsys, "run", path, *more, "--out", tmp_path / "validated")
    assert [line.split()[1] for line in text.splitlines() if line.startswith("epoch ")] == ["1,", "2,", "4,", "6,"]
    assert len((tmp_path / "run" / "epochs.csv").read_text().splitlines()) == 7


def test_a_run_of_epochs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Three passes through 3 samples in batches of 2: 5 iterations, of which the last one begins the next pass."""
    path = write_samples(tmp_path, "raster h5", labels=np.arange(N) % 2)
    (tmp_path / "epochs.toml").write_text(path.read_text().replace("iterations = 6", "epochs = 3"))
    more = as_options("n_train=3", "batch_size=2")
    text = output_of(capsys, "run", tmp_path / "epochs.toml", *more, "--out", tmp_path / "run")
    assert "5 iterations of 2 samples" in text and "epoch 3, 5 iterations: loss" in text
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["run"]["iterations"] == 5
    text = output_of(capsys, "resume", tmp_path / "run", "--set", "epochs=4")
    assert "epoch 4, 6 iterations: loss" in text
    assert config.load(str(tmp_path / "epochs.toml"), ["iterations=4"]).task.iterations == 4
    assert config.load(str(path), ["n_train=3", "batch_size=2", "epochs=2"]).task.iterations == 3
    (tmp_path / "both.toml").write_text(path.read_text().replace("iterations = 6", "epochs = 3\niterations = 6"))
    both = "epochs: iterations are given, too: give one of them"
    for words, told in (
        (["run", path, *as_options("epochs=2", "iterations=3")], f"--set {both}"),
        (["run", tmp_path / "both.toml"], f"both.toml: [run] {both}"),
        (
            ["run", tmp_path / "epochs.toml", "--set", "epochs=-1"],
            "--set epochs = -1 must be a whole number of at least 0",
        ),
        (["run", "sine-waves", "--set", "epochs=2"], "--set epochs = 2: the task does not tell how many samples train"),
    ):
        assert told in refusal_of(capsys, *words, "--out", tmp_path / "no")
    task = config.load(str(path), ["n_train=3"]).task
    done = run(task.build_model(), task, tmp_path / "script", epochs=2, figures="none", quiet=True)
    assert len(done.losses) == 6
    with pytest.raises(InputError, match=r"pareprop\.run: epochs: iterations are given, too"):
        run(task.build_model(), task, tmp_path / "no", epochs=2, iterations=3)


def test_no_sample_both_validates_and_tests(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of a file of 6, 3 train, the last 2 test and the one between validates."""
    path = write_samples(tmp_path, "raster h5")
    both = ["n_train=3", "validate_every=1", "validate_samples=1", "test_samples=2"]
    task = config.load(str(path), both).task
    targets = arrays()[1]

    def places(phase: str, n: int) -> list[int]:
        return [int(np.argmin([np.abs(task.sample(k, phase).target - t).max() for t in targets])) for k in range(n)]

    assert (places("train", 3), places("validate", 2), places("test", 2)) == ([0, 1, 2], [3, 3], [4, 5])
    task = config.load(str(path), ["n_train=3", "test_samples=3"]).task
    assert places("test", 3) == [3, 4, 5]
    for n in (3, 5):
        told = refusal_of(capsys, "run", path, *as_options(*both, f"test_samples={n}"), "--out", tmp_path / "no")
        assert f"test_samples = {n} must be at most 2, the samples of {tmp_path}" in told
    assert not (tmp_path / "no").exists()


def test_no_sample_validates_twice(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of a file of 6, 3 train, up to 2 test, and the others validate."""
    path = write_samples(tmp_path, "raster h5")

    def error(*settings: str) -> str:
        chosen = as_options("n_train=3", "validate_every=1", *settings)
        code, _, errors = command(capsys, "run", path, *chosen, "--until", 0, "--out", tmp_path / "run", "--overwrite")
        assert code == 2 * bool(errors)
        return errors

    assert not error("validate_samples=3") and not error("validate_samples=1", "test_samples=2", "stop_samples=9")
    for settings, told in (
        (["validate_samples=4"], "validate_samples = 4 must be at most 3, the samples of .* that validate"),
        (["validate_samples=2", "test_samples=2"], "validate_samples = 2 must be at most 1, the samples of"),
        (["stop_samples=3", "stop_below=0.1"], "stop_samples = 3 must be at most 2, the samples of"),
    ):
        assert re.search(told, error(*settings))
    task = config.load(str(path), ["n_train=3", "validate_every=1", "test_samples=2"]).task
    simulation = Simulation(task.build_model(), task, settings=task.make_settings())
    assert len(simulation.test(1, "validate").losses) == 1
    with pytest.raises(InputError, match=r"^test: 2 samples of 'validate' are asked for, the task has 1$"):
        simulation.test(2, "validate")
    with pytest.raises(InputError, match=r"^test: 3 samples of 'test' are asked for, the task has 2$"):
        simulation.test(3)


def test_the_printed_example_is_what_the_readme_describes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "my.toml").write_text(command(capsys, "config", "data")[1])
    assert json.loads(config.load(str(tmp_path / "my.toml")).to_json()) == json.loads(config.load("data").to_json())


def test_decay_of_weights_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """For the optimizer that has it; PyTorch's default where none is given."""
    path = write_samples(tmp_path, "raster npz")
    given = [config.load(str(path), ["optimizer=adamw", *more]).task for more in ((), ("weight_decay=0.25",))]
    assert [task.build_model().optimizer for task in given] == [AdamW(eta=1e-3), AdamW(eta=1e-3, weight_decay=0.25)]
    told = refusal_of(capsys, "run", path, "--set", "weight_decay=0.25", "--out", tmp_path / "out")
    assert "weight_decay = 0.25: is a setting of optimizer = 'adamw', not of 'adam'" in told


def projections(text: str, dt_ms: float = 1.0) -> list:
    """Projections of the network's populations that `text` describes."""
    model = Model(dt_ms=dt_ms)
    sections = tomllib.loads(NETWORK[: NETWORK.index("[[model.projections]]")] + text)["model"]
    assert not from_tables.add_populations(model, sections["populations"])
    assert not from_tables.add_projections(model, sections["projections"])
    return model.projections


def test_delays_in_ms_and_lists_of_populations() -> None:
    """A table with lists stands for all pairs; delays in ms are those in steps of dt_ms."""
    table = "[[model.projections]]\npre = {pre}\npost = {post}\nweight = 0.3\n{delay}\n"
    pairs = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    expected = projections("".join(table.format(pre=f'"{x}"', post=f'"{y}"', delay="delay = [2, 4]") for x, y in pairs))
    both = '["a", "b"]'
    found = projections(table.format(pre=both, post=both, delay="delay_ms = [1.0, 2.0]"), dt_ms=0.5)
    assert [(item.name, item.delay) for item in found] == [(item.name, item.delay) for item in expected]
    assert len(found) == 4 and found[1].pre.name == "a" and found[1].post.name == "b"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('pre = ["a", "c"]', "projections[0]: pre = 'c' is not a population"),
        ("pre = []", "pre = []: must be the name of a population, or a list of names"),
        ("pre = 5", "pre = 5: must be the name of a population, or a list of names"),
        ('pre = ["a", "b"]\nname = "x"', "projections[0]: name = 'x' is for one pre and one post, not for 2 pairs"),
        ('pre = "a"\ndelay_ms = 1.5', "projection 'a->b': delay_ms = 1.5 ms must be whole steps of 1 ms"),
        ('pre = "a"\ndelay_ms = -1', "projection 'a->b': delay_ms = -1 ms must be whole steps of 1 ms"),
        ('pre = "a"\ndelay_ms = 1\ndelay = 1', "delay = 1 and delay_ms = 1: give one of them"),
        ('pre = "a"\nweight = { mean = 0.0, sd = 1.0 }', "weight: unknown key 'sd', did you mean 'std'?"),
        ('pre = "a"\nweight = { mean = 0.0, std = -1.0 }', "weight: std = -1.0: Input should be"),
        ('pre = "a"\noptimizer = { type = "adam", etaa = 1.0 }', "unknown parameter 'etaa', did you mean 'eta'?"),
        ('pre = "a"\nrewire = { evry = 1 }', "rewire: unknown parameter 'evry', did you mean 'every'?"),
    ],
)
def test_a_problem_within_a_table_names_its_key(tmp_path: Path, capsys: object, line: str, message: str) -> None:
    """And nothing else: no value of its neighbours."""
    path = tmp_path / "my.toml"
    start = NETWORK.index("[[model.projections]]")
    path.write_text(NETWORK[:start] + f'[[model.projections]]\n{line}\npost = "b"\n')
    told = refusal_of(capsys, "run", path, "--out", tmp_path / "out")
    assert message in told and "adam" not in told and "0.0" not in told, told
