"""`results.h5` against the slow twin, and where a run may write."""

from pathlib import Path

import h5py
import networks
import numpy as np
import pytest
import small
from commands import command, output_of, refusal_of, run_of
from reference import run_case

from pareprop.runs import report
from pareprop.simulation.loop import Simulation
from pareprop.storage.record_settings import Record
from pareprop.storage.recorder import Recorder
from pareprop.storage.results import ResultsFile

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory):
    """A case, what the twin makes of it, and the file of its run."""
    case = networks.random_case(5, average_gradient=False)
    path = tmp_path_factory.mktemp("run") / "results.h5"
    simulation = networks.simulation(case)
    samples = {("train", 0): "first", ("train", 2): "last"}
    simulation.observers = [ResultsFile(path, {"task": "test"}, samples, n_record=4)]
    simulation.train(3)
    with h5py.File(path) as file:
        yield case, run_case(case), file


def test_recorded_signals_are_the_twins(recorded, tmp_path: Path) -> None:
    """Those of the readouts, in each iteration; every second step is every second row."""
    case, expected, _ = recorded
    for step in (1, 2):
        simulation = networks.simulation(case)
        settings = Record(every=1, step=step, what=["readout_signal", "error_signal", "target_signal"])
        simulation.observers = [Recorder(tmp_path / f"record{step}", settings)]
        simulation.train(3)
        with h5py.File(tmp_path / f"record{step}.h5") as file:
            rows = np.concatenate([np.arange(case["interval"])[::step] + k * case["interval"] for k in range(3)])
            learns = rows % case["interval"] >= case["interval"] - case["learning_window"]
            for key in ("readout_signal", "error_signal"):
                found, wanted = file[f"readouts/{key}"][()], expected[key][rows]
                assert found.shape == wanted.shape
                np.testing.assert_allclose(found[learns], wanted[learns], rtol=1e-10, atol=1e-12, err_msg=key)
            np.testing.assert_array_equal(file["readouts/target_signal"], case["targets"][rows])
            assert file["samples/iteration"][()].tolist() == [0, 1, 2]


def test_recorded_synapses_are_spread_over_the_projection(recorded, tmp_path: Path) -> None:
    """The first, the last and as many between as asked for; 0 stands for all."""
    case, _, _ = recorded
    weights, ends = {}, {}
    for n in (0, 3):
        simulation = networks.simulation(case)
        simulation.observers = [Recorder(tmp_path / f"record{n}", Record(every=1, what=["weights"], synapses=n))]
        simulation.train(2)
        with h5py.File(tmp_path / f"record{n}.h5") as file:
            for name, group in file["weights"].items():
                if "weight" not in group:  # of no synapse
                    continue
                weights[name, n] = group["weight"][()]
                ends[name, n] = np.stack([group["source"], group["target"]])
    totals = {name: found.shape[1] for (name, n), found in weights.items() if not n and found.shape[1] > 3}
    for name, total in totals.items():
        places = [0, (total - 1) // 2, total - 1]
        np.testing.assert_array_equal(weights[name, 3], weights[name, 0][:, places])
        np.testing.assert_array_equal(ends[name, 3], ends[name, 0][:, places])
    assert len(totals) > 2 and max(totals.values()) > 10


@pytest.mark.slow
def test_short_episodes_are_recorded_with_zeros_behind(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """So that each sample has as many rows; `samples/n_steps` tells how many count."""
    texts = ["n_rec=10", "iterations=2", "record.every=1", 'what=["readout_signal","V_m"]']
    output_of(capsys, *run_of("cart-pole", tmp_path / "run", *texts))
    with h5py.File(tmp_path / "run" / "record.h5") as file, h5py.File(tmp_path / "run" / "results.h5") as results:
        lengths = file["samples/n_steps"][()]
        assert len(lengths) == 2 and np.all(lengths < 1000)
        for name in ("readouts/readout_signal", "state/V_m"):
            samples = np.split(file[name][()], 2)
            for sample, length in zip(samples, lengths, strict=True):
                assert len(sample) == 1000 and not sample[length:].any() and sample[length - 1].any()
            first = results["dynamics/first"][name.partition("/")[2]][()]
            np.testing.assert_array_equal(samples[0][: lengths[0]], first)


@pytest.mark.parametrize(("name", "index"), [("first", 0), ("last", 2)])
def test_dynamics(recorded, name: str, index: int) -> None:
    case, expected, file = recorded
    steps = slice(index * case["interval"], (index + 1) * case["interval"])
    group = file[f"dynamics/{name}"]
    ids = group["record"][()]
    assert len(ids) == 4
    for key in ("V_m", "surrogate_gradient"):
        np.testing.assert_allclose(group[key], expected[key][steps][:, ids], rtol=1e-10, atol=1e-10, err_msg=key)
    for key in ("readout_signal", "error_signal"):
        window = np.arange(case["interval"]) >= case["interval"] - case["learning_window"]
        np.testing.assert_allclose(group[key][window], expected[key][steps][window], rtol=1e-10, err_msg=key)
    np.testing.assert_array_equal(group["target_signal"], case["targets"][steps])
    signals = expected["error_signal"][steps] @ np.nan_to_num(case["w_fb"]).T[:, ids]
    np.testing.assert_allclose(group["learning_signal"], signals, rtol=1e-10, atol=1e-12)
    assert np.abs(signals).max() > 0.01
    spikes = np.zeros((case["interval"], len(case["w_rec"])), bool)
    spikes[group["spike_steps"][()], group["spike_ids"][()]] = True
    inside = (expected["spike_steps"] >= steps.start) & (expected["spike_steps"] < steps.stop)
    assert spikes.sum() == inside.sum() > 10
    assert np.all(spikes[expected["spike_steps"][inside] - steps.start, expected["spike_ids"][inside]])
    inputs = np.zeros_like(case["inputs"][steps])
    inputs[group["input_steps"][()], group["input_ids"][()]] = True
    np.testing.assert_array_equal(inputs, case["inputs"][steps])
    assert group.attrs["iteration"] == index


def test_weights_and_losses(recorded) -> None:
    case, expected, file = recorded
    np.testing.assert_allclose(file["loss"], expected["losses"], rtol=1e-10)
    rates = np.bincount(expected["spike_steps"] // case["interval"], minlength=3)
    rates = rates / (len(case["w_rec"]) * case["interval"] * case["dt"] / 1000.0)
    np.testing.assert_allclose(file["firing_rate"], rates)
    changed = 0.0
    for matrix, pre, post in (("w_in", "in", "rec"), ("w_rec", "rec", "rec"), ("w_out", "rec", "out")):
        for group in file["projections"].values():
            if not (group.attrs["pre"].startswith(pre) and group.attrs["post"].startswith(post)):
                continue
            sizes = [part["n"] for part in case["groups"]]
            target, source = (
                group[key][()] + (sum(sizes[: int(group.attrs[end][3:])]) if group.attrs[end].startswith("rec") else 0)
                for key, end in (("target", "post"), ("source", "pre"))
            )
            np.testing.assert_array_equal(group["weight_initial"], case[matrix][target, source])
            np.testing.assert_allclose(group["weight"], expected[matrix][target, source], rtol=1e-10, atol=1e-10)
            if matrix == "w_rec":
                np.testing.assert_array_equal(group["delay"], case["d_rec"][target, source])
            keys = np.stack([group["target"][()], group["source"][()]])
            assert np.all(np.lexsort(keys[::-1]) == np.arange(keys.shape[1]))
            changed = max(changed, np.max(np.abs(group["weight"][()] - group["weight_initial"][()]), initial=0.0))
    assert changed > 1e-4
    assert file.attrs["task"] == "test" and len(file.attrs["digest"]) == 64
    assert file["timings"].attrs["deliver_s"] >= 0 and file["timings"].attrs["peak_rss_bytes"] > 1e6


def test_network_without_readouts(tmp_path: Path) -> None:
    """Only the firing-rate regularisation learns."""
    cell = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.5, "I_e": np.linspace(0.0, 0.2, 4), "c_reg": 1.0}
    model = small.population(4, cell=cell, weight=0.1)
    path = tmp_path / "results.h5"
    simulation = Simulation(model, small.silence(20), observers=[ResultsFile(path, {}, {("train", 0): "first"})])
    assert simulation.train(2) == [0.0, 0.0]
    assert simulation.rates[0] > 0.0
    with h5py.File(path) as file:
        assert file["dynamics/first/readout_signal"].shape == (20, 0)
        assert np.any(file["projections/rec->rec/weight"][()] != 0.1)


def test_results_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """They have all else, also of a run that was stopped; what reads weights says that there are none."""
    words = ["run", "sine-waves", "--set", "iterations=2", "--set", "figures=none"]
    without = [*words, "--set", "record.weights=false", "--out", tmp_path / "without"]
    runs = ([*words, "--out", tmp_path / "with"], [*without, "--until", "1"], [*without, "--restart"])
    found = [command(capsys, *run) for run in runs]
    assert [code for code, _, _ in found] == [0, 0, 0], found
    with h5py.File(tmp_path / "with/results.h5") as whole, h5py.File(tmp_path / "without/results.h5") as file:
        assert file.attrs["digest"] == whole.attrs["digest"] and set(whole) - set(file) == {"projections"}
        numbers = [len(item["weight"]) for item in whole["projections"].values()]
        assert file.attrs["synapses_not_kept"] == sum(numbers) > 0
        assert report.summarize_run(file, [])["synapses"] == report.summarize_run(whole, [])["synapses"]
    for option, target in (("--network", "net"), ("--nest", "net.py"), ("--nir", "net.nir")):
        told = refusal_of(capsys, "export", tmp_path / "without", option, tmp_path / target)
        assert "results.h5 has no weights: the run kept none" in told
    code, output, _ = command(capsys, "compare", tmp_path / "with", tmp_path / "without")
    assert code == 1 and "is only in the first" in output
